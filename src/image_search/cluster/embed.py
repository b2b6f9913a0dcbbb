"""Pictures of folders and buckets into a data set: the model is chosen, the list written, missing blocks made, here or by a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from .. import given
from ..advice import Advice, Setting
from ..config import BLOCK_IMAGES, LIBRARY_LIMITS, MANIFEST_BLOCKS, MIB, MOST_JOBS, Limits, available_cpus
from ..dataset.dataset import read_facts
from ..dataset.filesystems import Place, place
from ..dataset.growing import Held, Job, Work, ensure, finish, foresee, make_work, must_be_free, write_list, write_manifest
from ..dataset.growing import prune as prune_dataset
from ..dataset.listing import Listing, list_places, read_list
from ..dataset.work import Made, Order, Worker
from ..errors import DatasetError, ModelMismatchError, UsageError
from ..images.scan import Excluder
from ..models import canonical_vectors, check_embedder, choose_auto, load_model, loss_in_int8, prove, resolve
from ..present.progress import bar
from ..types import Embedder, Fingerprint, Float32

__all__ = ["DatasetReport", "embed_dataset"]

log = logging.getLogger("image_search")

Address = str | os.PathLike[str]
_Facts = tuple[Fingerprint, Float32]  # what a data set says of its model, see `read_facts`
_FAILED_HERE, _FAILED_THERE = 1, 8  # blocks that fail one after the other: then something is wrong with more than a block


@dataclass
class DatasetReport:
    """What one run did; counts are pictures unless they say otherwise.

    Attributes:
        images: in the list. vectors: of them, that have one now. refused: reason -> pictures that have none.
        embedded: that went through the model in this run; the others were there.
        blocks: of the list. made: of them, that this run wrote. pruned: old ones that left for good.
        passed: files that are no pictures by their names, or were left out. nameless, foreign, repeated: rows of a list without an
            address, with one of a kind that is not read, or with one that came before. unread: folders that could not be read.
    """

    images: int = 0
    vectors: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    embedded: int = 0
    blocks: int = 0
    made: int = 0
    pruned: int = 0
    passed: int = 0
    nameless: int = 0
    foreign: int = 0
    repeated: int = 0
    unread: list[str] = field(default_factory=list)
    seconds: float = 0.0


def embed_dataset(  # long: a parameter a line
    sources: Address | Sequence[Address] = (),
    *,
    out: Address,
    uris: Address | None = None,
    cluster: str | None = None,
    model: str | Embedder | None = None,
    runtime: str | None = None,
    jobs: int | None = None,
    name_from: str | None = None,
    exclude: str | Sequence[str] = (),
    any_name: bool = False,
    max_megapixels: float | None = None,
    max_megabytes: float | None = None,
    prune: bool = False,
    dry_run: bool = False,
    block_images: int = BLOCK_IMAGES,
    progress: bool | Callable[[int, int, int], None] = True,
    notify: Callable[[str], None] | None = None,
) -> DatasetReport:
    """Bring a data set of Parquet files up to date with folders, buckets or a list: only what is new or changed is embedded.

    Args:
        sources: folders, `s3://bucket/prefix`, `gs://`, `abfs://`; or none, and `uris`.
        out: the data set's folder or prefix; made if it is not there.
        uris: a list in place of sources: Parquet or CSV with a column uri, and perhaps name, bytes, etag or modified.
        cluster: None: this process. "auto", "local", "ray://HOST:PORT": Ray (`cluster.ray.connected`).
        model: a name, or an embedder (for a cluster one that can be pickled); None: the data set's own, at first the best that is here.
        runtime: as for `load_model`. jobs: pictures at once; on a cluster, CPUs of one worker.
        name_from: "folder" (None is that): a picture's class is the folder it lies in; "none": no classes.
        exclude: globs of names or of paths below the sources. any_name: also files whose names have no ending.
        max_megapixels, max_megabytes: larger pictures and files get a reason in place of a vector.
        prune: delete what the list no longer names, vectors too.
        dry_run: write nothing; the report says what a run would do: `images` in the list, `embedded`, `blocks`, `made`.
        block_images: pictures of one file, about.
        progress: True: a bar on stderr; a callable gets (done, total, refused); False: none. notify: gets lines worth knowing.

    Raises:
        UsageError, DatasetError (bucket, rights, network, an empty prefix), ClusterError, ModelError, MissingExtraError. What was
        written before is not lost: the next run goes on.
    """
    started = time.monotonic()
    say = log.warning if notify is None else given.function(notify, "notify")
    chosen = [os.fspath(one) for one in ([sources] if isinstance(sources, (str, os.PathLike)) else sources)]
    if bool(chosen) == (uris is not None):
        raise UsageError("give folders or buckets, or else a list of addresses", hint=Advice("a list: ", Setting("uris", "LIST.parquet")))
    names = name_from is None or given.one_of(name_from, "name_from", ("folder", "none")) == "folder"
    threads = 0 if jobs is None else given.whole(jobs, "jobs", most=MOST_JOBS)
    block = given.whole(block_images, "block_images", least=1, most=100_000)
    limits = _limits(max_megapixels, max_megabytes)
    home = place(os.fspath(out))
    must_be_free(home)
    listing = _listed(chosen, uris, Excluder(given.texts(exclude, "exclude")), names, given.truth(any_name, "any_name"), progress)
    facts = read_facts(home)
    name = _name_of(home, facts, model, say)
    if given.truth(dry_run, "dry_run"):
        return _foreseen(home, listing, "" if facts is None else _made_with(facts[0], limits), block, started)
    embedder, own = _model_of(home, facts, model, name, runtime, threads or available_cpus(), say)
    try:
        list_id = write_list(home, listing.table, _made_with(embedder.fingerprint, limits), block)
        work = make_work(home, list_id)
        order = Order(home.address, embedder.fingerprint.name if own else embedder, runtime, threads, limits)
        run = _Run(home, work, embedder, progress)
        run.all(order, cluster, say)
    finally:
        if own:
            embedder.close()
    return _report(run, listing, list_id, started, prune=given.truth(prune, "prune"))


def _limits(max_megapixels: float | None, max_megabytes: float | None) -> Limits:
    limits = LIBRARY_LIMITS
    if max_megapixels is not None:
        limits = replace(limits, megapixels=given.number(max_megapixels, "max_megapixels"))
    if max_megabytes is not None:
        limits = replace(limits, file_bytes=int(given.number(max_megabytes, "max_megabytes", least=1) * MIB))
    return limits


def _listed(
    sources: list[str],
    uris: Address | None,
    excluder: Excluder,
    names: bool,
    any_name: bool,
    progress: bool | Callable[[int, int, int], None],
) -> Listing:
    with bar("list") if progress is True else contextlib.nullcontext(lambda *_: None) as shown:

        def show(done: int) -> None:
            shown(done, None)

        if uris is not None:
            return read_list(os.fspath(uris), show)
        return list_places(sources, excluder=excluder, names=names, any_name=any_name, progress=show)


def _made_with(model: Fingerprint, limits: Limits) -> str:
    """All that decides what comes out of a picture."""
    return f"{model.to_json()} {limits.megapixels:g} {limits.file_bytes}"


def _name_of(home: Place, facts: _Facts | None, asked: str | Embedder | None, say: Callable[[str], None]) -> str:
    """The data set's model, or of a new one that which was asked for. ModelMismatchError: they are two."""
    if asked is not None and not isinstance(asked, str):
        name = check_embedder(asked).fingerprint.name
    else:
        asked = None if asked == "auto" else asked
        name, line = (asked, None) if asked else (facts[0].name, None) if facts else choose_auto()
        if line:
            say(line)
        name = resolve(name).name
    if facts is not None and facts[0].name != name:
        raise ModelMismatchError(
            f"the data set was made with the model {facts[0].name}, not with {name}",
            path=home.address,
            hint="take that model, or another place",
        )
    return name


def _model_of(
    home: Place,
    facts: _Facts | None,
    asked: str | Embedder | None,
    name: str,
    runtime: str | None,
    threads: int,
    say: Callable[[str], None],
) -> tuple[Embedder, bool]:
    """(the model, whether it is ours to close). From here on there is a data set."""
    own = asked is None or isinstance(asked, str)
    if asked is None or isinstance(asked, str):
        embedder = load_model(name, runtime=runtime, threads=threads, download=facts is None or asked not in (None, "auto"))
        if facts is None and (line := loss_in_int8(embedder)):
            say(line)
    else:
        embedder = asked
    if facts is None:
        ensure(home, embedder.fingerprint, canonical_vectors(embedder))
    else:
        prove(embedder, facts[1], facts[0], from_memory=own)
    return embedder, own


class _Run:
    """The blocks of one run: made, counted, told."""

    def __init__(self, home: Place, work: Work, embedder: Embedder, progress: bool | Callable[[int, int, int], None]) -> None:
        self.home = home
        self.work = work
        self.embedder = embedder
        self.progress = progress
        self.held = dict(work.held)
        self.fresh: list[Held] = list(work.unsaid)  # without a manifest yet
        self.embedded = self.made = self.done = self.ended = 0
        self.refused: Counter[str] = Counter()

    def all(self, order: Order, cluster: str | None, say: Callable[[str], None]) -> None:
        """Every job; what failed is tried once more at the end. Whatever ends it, what was made is told in a manifest."""
        jobs = self.work.jobs
        try:
            if jobs:
                with self._telling() as tell:
                    if cluster is None:
                        self._here(order, jobs, tell)
                    else:
                        self._there(order, cluster, jobs, tell, say)
        finally:
            self._tell_manifest()

    def _here(self, order: Order, jobs: Sequence[Job], tell: Callable[[], None]) -> None:
        with contextlib.closing(Worker(replace(order, threads=order.threads or available_cpus(), model=self.embedder))) as worker:
            self._take(map(worker.make, jobs), tell, _FAILED_HERE)

    def _there(self, order: Order, cluster: str, jobs: Sequence[Job], tell: Callable[[], None], say: Callable[[str], None]) -> None:
        from .ray import connected

        with connected(cluster, say) as found:
            on_gpu = self.embedder.runtime.startswith("torch")
            failed = self._take(found.make(order, jobs, on_gpu=on_gpu), tell, _FAILED_THERE)
            if failed:
                again = [job for job in jobs if job.block in failed]
                self._take(found.make(order, again, on_gpu=on_gpu), tell, 1)

    def _take(self, results: Iterator[Made], tell: Callable[[], None], patience: int) -> set[str]:
        """Count what comes; returns the blocks that failed. DatasetError: as many as `patience` one after the other."""
        failed: set[str] = set()
        in_a_row = 0
        for made in results:
            if made.error is not None:
                failed.add(made.block)
                in_a_row += 1
                if in_a_row >= patience:
                    what, path, hint = made.error
                    raise DatasetError(what, path=path, hint=hint)
                continue
            in_a_row = 0
            self.ended += 1
            self.done += made.images
            self.embedded += made.embedded
            if made.held is not None:
                self.made += 1
                self.held[made.block] = made.held
                self.fresh.append(made.held)
            self.refused.update(self.held[made.block].reasons)
            tell()
            if len(self.fresh) >= MANIFEST_BLOCKS:
                self._tell_manifest()
        return failed

    def _tell_manifest(self) -> None:
        rows, self.fresh = self.fresh, []
        write_manifest(self.home, rows, self.embedder.fingerprint)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[Callable[[], None]]:
        total, blocks = self.work.images, len(self.work.jobs)
        if self.progress is not True:
            told = self.progress or (lambda *_: None)
            yield lambda: told(self.done, total, self.refused.total())
            return
        with bar("embed", total) as shown:
            shown(0, total)

            def tell() -> None:
                reasons = (f"{count} {reason}" for reason, count in self.refused.most_common(3))
                shown(self.done, total, note=", ".join([f"{self.ended}/{blocks} blocks", *reasons]))

            yield tell


def _foreseen(home: Place, listing: Listing, made_with: str, block: int, started: float) -> DatasetReport:
    blocks, made, embedded = foresee(home, listing.table, made_with, block)
    return replace(_listed_in(listing, started), blocks=blocks, made=made, embedded=embedded)


def _listed_in(listing: Listing, started: float) -> DatasetReport:
    """What the list says."""
    return DatasetReport(
        images=len(listing.table),
        passed=listing.passed,
        nameless=listing.nameless,
        foreign=listing.foreign,
        repeated=listing.repeated,
        unread=listing.unread,
        seconds=time.monotonic() - started,
    )


def _report(run: _Run, listing: Listing, list_id: str, started: float, *, prune: bool) -> DatasetReport:
    held = run.held.values()
    missing = [job for job in run.work.jobs if job.block not in run.held]
    assert not missing
    finish(run.home, list_id)
    refused: Counter[str] = Counter()
    for one in held:
        refused.update(one.reasons)
    return replace(
        _listed_in(listing, started),
        vectors=sum(one.vectors for one in held),
        refused=dict(refused.most_common()),
        embedded=run.embedded,
        blocks=len(run.held),
        made=run.made,
        pruned=prune_dataset(run.home, list_id) if prune else 0,
    )
