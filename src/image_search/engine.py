"""`ImageSearchEngine`: one library, opened. A short method for each verb; the work is done in the rooms it imports."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import math
import operator
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsIndex

import numpy as np

from .config import LIBRARY_LIMITS, THUMBNAIL_SIDE, UPLOAD_LIMITS, Limits, available_cpus, default_library
from .errors import (
    SALVAGE,
    LibraryDamagedError,
    LibraryError,
    LibraryNotFoundError,
    ModelMismatchError,
    StoreError,
    UsageError,
)
from .images.pool import DecodePool
from .images.scan import Excluder
from .index import plan as planning
from .index.run import Progress, plan_only, run
from .library import writing as upkeep
from .library.catalog import Catalog
from .library.lock import ProcessLock
from .library.salvage import find_damage
from .library.thumbnails import Thumbnails
from .library.vectors import Matrix
from .models import canonical_pictures, check_runtime, check_same_vectors, choose_auto, exact_of, load_model, loss_in_int8, resolve
from .paths import from_bytes
from .search.closeness import sample
from .search.matches import Matches
from .search.query import Query, QueryReader, Source
from .search.search import Filters, How, Searcher, combine
from .stores import server_of
from .stores import sync as storing
from .stores.replica import Mirror
from .types import Embedder, Fingerprint, Float32, IndexReport, Picture, Preprocess, Region

__all__ = ["ImageSearchEngine"]

log = logging.getLogger("image_search")

Folder = str | os.PathLike[str]


class ImageSearchEngine:
    """Give it an image; get the most similar images of a library.

    Args:
        library: the library's folder (made by the first `index`); None: $IMAGE_SEARCH_LIBRARY or the per-user data folder.
        model: a row's name ("mini", "dino", ...), a Hugging Face id or a folder; None or "auto": the library's own model, for a
            new library the best that is on this machine. A library keeps its model for life.
        runtime: "onnx", "openvino" or "torch" (see `models.load_model`); None: what suits the model.
        store: "chroma" or "chroma:http://host:port"; None: the one the library had last.
        jobs: decode workers and model threads; None: one for each CPU.
        allow_private_urls: queries may be fetched from this machine and local networks.
        long_lived: this object will be asked often, so the vector store may answer; False: always exact.
        notify: gets one plain line for each thing worth knowing; None: the log "image_search".

    Use it with `with`, or call `close()`. Safe to share between threads for searching.
    """

    def __init__(
        self,
        library: Folder | None = None,
        *,
        model: str | None = None,
        runtime: str | None = None,
        store: str | None = None,
        jobs: int | None = None,
        allow_private_urls: bool = False,
        long_lived: bool = True,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        if jobs is not None and jobs < 1:
            raise UsageError("the number of jobs must be at least 1")
        if runtime is not None:
            check_runtime(runtime)
        if store is not None:
            server_of(store)  # a name that is none must not get into the catalog
        self.library = default_library(library)
        self.jobs = jobs or available_cpus()
        self._model = None if model == "auto" else model
        self._runtime = runtime
        self._store = store
        self._long_lived = long_lived
        self._allow_private_urls = allow_private_urls
        self._notify = notify or log.warning
        self._searcher: Searcher | None = None
        self._embedder: Embedder | None = None
        self._proved_for: Fingerprint | None = None  # the library's model that `_embedder` was proved to be
        self._retired: list[Catalog] = []  # of libraries that were replaced while they were open; another thread may still read them
        self._make_pool: Callable[..., DecodePool] = DecodePool  # `image_search.testing` has another
        self._pools: dict[tuple[Limits, Preprocess], DecodePool] = {}
        self._owned: ProcessLock | None = None
        self._opening = threading.RLock()  # two first questions at once open one library
        self._loading = threading.RLock()  # and load one model

    def __enter__(self) -> ImageSearchEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back everything: workers, store, lock, model. The engine can be used again afterwards."""
        if self._searcher is not None:
            self._searcher.close()
            self._searcher.catalog.close()
        for pool in self._pools.values():
            pool.close()
        if self._embedder is not None:
            self._embedder.close()
        for catalog in self._retired:
            catalog.close()
        if self._owned is not None:
            self._owned.release()
        self._searcher = self._embedder = self._owned = self._proved_for = None
        self._pools, self._retired = {}, []

    def own(self, what: str) -> None:
        """Be the library's only writer until `close()`; others are told `what` holds it. LibraryBusyError if another process is."""
        if self._owned is None:
            _make_folder(self.library)
            lock = ProcessLock(self.library / "writer.lock", what=what)
            lock.acquire()
            self._owned = lock

    # --- index --------------------------------------------------------------------------------------------------------------

    def index(
        self,
        folders: Folder | Sequence[Folder],
        *,
        name_from: str | None = None,
        exclude: str | Sequence[str] = (),
        max_megapixels: float | None = None,
        verify: bool = False,
        prune: bool = False,
        dry_run: bool = False,
        progress: bool | Progress = True,
    ) -> IndexReport:
        """Bring the library up to date with these folders: only what is new or changed is embedded.

        Args:
            folders: one or several; inside them hidden, thumbnail and recycle folders are passed by.
            name_from: "folder": an image's class is the folder it lies in; "none": no classes; None: as before, "folder" at first.
            exclude: globs of names or of paths below the folder.
            max_megapixels: larger pictures are skipped; 200 unless told.
            verify: hash every file, for file systems whose times and inodes say nothing.
            prune: what is gone leaves the library for good, also where most of a folder or its whole disk is gone.
            dry_run: say what would be done; changes nothing.
            progress: True: a bar on stderr (in a terminal or notebook); a callable gets (done, total, skipped), files; False: none.

        Raises:
            UsageError: no such folder. LibraryBusyError: another process indexes. ModelMismatchError, DiskFullError, ...
            What was counted as done before an error is safe.
        """
        if name_from not in (None, "folder", "none"):
            raise UsageError(f"names come from folder or none, not from {name_from!r}")
        chosen = [folders] if isinstance(folders, (str, os.PathLike)) else list(folders)
        if not chosen:
            raise UsageError("no folder was given")
        if not Catalog.exists(self.library):  # else a folder that it knows may be away
            for folder in chosen:
                planning.need_folder(folder)
        limits = LIBRARY_LIMITS if max_megapixels is None else replace(LIBRARY_LIMITS, megapixels=max_megapixels)
        excluder = Excluder(_texts(exclude))
        started = time.monotonic()
        if dry_run:
            return self._dry_run(chosen, name_from, excluder, limits, verify, prune)
        with self._writing(make=True) as catalog:
            with catalog.transaction():
                plan = self._plan(catalog, chosen, name_from, excluder, limits, verify)
            report = self._work(catalog, plan, limits, excluder, prune, progress)
            self._renew_closeness(catalog)
            if catalog.generation:  # else there is nothing in it, and nothing may stay behind
                self._follow(catalog, storing.follow)
        report.seconds = time.monotonic() - started
        return report

    def _plan(
        self, catalog: Catalog, folders: Sequence[Folder], name_from: str | None, excluder: Excluder, limits: Limits, verify: bool
    ) -> planning.Plan:
        targets = planning.adopt_roots(catalog, folders, name_from)
        plan = planning.make_plan(
            catalog, targets, excluder=excluder, decoder=_decoder(limits), verify=verify, never=[os.path.realpath(self.library)]
        )
        planning.need_images(plan, catalog)
        return plan

    def _work(
        self, catalog: Catalog, plan: planning.Plan, limits: Limits, excluder: Excluder, prune: bool, progress: bool | Progress
    ) -> IndexReport:
        with contextlib.ExitStack() as stack:
            embedder: Embedder | None = None
            pool: DecodePool | None = None
            if plan.todo:  # else nothing needs the model
                pool = stack.enter_context(
                    self._make_pool(self.jobs, catalog.fingerprint.preprocess, limits=limits, thumbnail_side=THUMBNAIL_SIDE)
                )
                embedder = self._model_of(catalog)
            thumbnails = stack.enter_context(contextlib.closing(Thumbnails(self.library, write=True)))
            show = stack.enter_context(_progress_bar(plan.todo)) if progress is True else progress or (lambda *_: None)
            report, lines = run(
                catalog, plan, embedder, pool, thumbnails, decoder=_decoder(limits), excluder=excluder, prune=prune, progress=show
            )
        for line in lines:
            self._notify(line)
        return report

    def _dry_run(
        self, folders: Sequence[Folder], name_from: str | None, excluder: Excluder, limits: Limits, verify: bool, prune: bool
    ) -> IndexReport:
        """The plan, made on a copy of nothing or inside a transaction that is taken back."""
        with contextlib.ExitStack() as stack:
            if Catalog.exists(self.library):
                stack.enter_context(self._writer_lock())
                catalog = stack.enter_context(contextlib.closing(Catalog.open(self.library, write=True)))
                self._check_model(catalog)
            else:
                if self._model is not None:
                    resolve(self._model)
                scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="image-search-")))
                nobody = Fingerprint("none", "none", "", "", "embedding", 1, Preprocess(size=(1, 1)))
                catalog = stack.enter_context(contextlib.closing(Catalog.create(scratch, nobody, np.zeros((1, 1), np.float32))))
            with contextlib.suppress(_TakenBackError), catalog.transaction():
                plan = self._plan(catalog, folders, name_from, excluder, limits, verify)
                report, lines = plan_only(catalog, plan, excluder, prune)
                raise _TakenBackError
        for line in lines:
            self._notify(line)
        return report

    @contextlib.contextmanager
    def _writing(self, *, make: bool = False, choose_store: bool = True) -> Iterator[Catalog]:
        """The catalog, to write, with nobody else writing. `make`: the library, if there is none."""
        fresh = not Catalog.exists(self.library)
        if fresh and not make:
            raise LibraryNotFoundError("there is no library", path=self.library, hint="make one with: image-search index FOLDER")
        if fresh:
            # Whatever can go wrong goes wrong before anything lies in a folder that may not be ours.
            Catalog.check_place(self.library)
            self._choose_model()
            _make_folder(self.library)
        with self._writer_lock():
            catalog = Catalog.open(self.library, write=True) if Catalog.exists(self.library) else self._create()
            try:
                self._check_model(catalog)
                if self._store is not None and choose_store:
                    catalog.set_meta("store", self._store)
                yield catalog
            finally:
                empty = fresh and catalog.generation == 0
                catalog.close()
                if empty:  # the first run failed before it had anything: leave no empty library behind
                    Catalog.remove(self.library)

    def _writer_lock(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext() if self._owned else ProcessLock(self.library / "writer.lock", what="index")

    def _choose_model(self) -> Embedder:
        """The model of a new library: the one that was asked for, or the best that is here."""
        if self._embedder is None:
            name, line = (self._model, None) if self._model else choose_auto()
            if line:
                self._notify(line)
            self._embedder = load_model(name, runtime=self._runtime, threads=self.jobs)
        return self._embedder

    def _create(self) -> Catalog:
        model = self._choose_model()
        catalog = Catalog.create(self.library, model.fingerprint, model.embed(canonical_pictures(model.fingerprint.preprocess)))
        catalog.set_meta("runtime", model.runtime)
        if line := loss_in_int8(model):
            self._notify(line)
        return catalog

    def _renew_closeness(self, catalog: Catalog) -> None:
        generation = catalog.generation
        if catalog.meta_or_none("closeness_generation") == generation:
            return
        matrix = Matrix(catalog)
        with catalog.snapshot():
            matrix.follow()
        values = sample(matrix.rows)
        catalog.set_meta("closeness_generation", generation)
        if values is None:
            catalog.execute("DELETE FROM meta WHERE key = 'closeness'")
        else:
            catalog.set_meta("closeness", values.astype("<f4").tobytes())

    def _follow(self, catalog: Catalog, how: Callable[[Catalog, Mirror], None]) -> None:
        """The store comes second: whatever becomes of it, the catalog answers."""
        if self._searcher is not None:
            self._searcher.close()
        try:
            with contextlib.closing(self._mirror(catalog)) as mirror:
                # A library from somebody else may name a server: nothing is sent to one that the user did not name.
                if self._store is None and self._store_spec(catalog).startswith("chroma:") and mirror.sealed_generation() is None:
                    raise StoreError(f"{mirror.why}; to use it again, name it: --store {self._store_spec(catalog)}")
                how(catalog, mirror)
        except (StoreError, LibraryError) as error:
            self._notify(f"The images are safe and can be searched (exactly), but the store is not up to date: {error}")

    # --- search -------------------------------------------------------------------------------------------------------------

    def search(
        self,
        images: Source | Sequence[Source],
        n_results: int = 3,
        *,
        less: Source | Sequence[Source] = (),
        names: str | Sequence[str] = (),
        path: str | None = None,
        min_similarity: float | None = None,
        min_closeness: float | None = None,
        region: Region | Sequence[int] | None = None,
        exclude_self: bool = False,
        how: How = "auto",
    ) -> Matches:
        """The images of the library that are most similar to one image, or to the mean of several.

        Args:
            images: path, http(s) address, bytes of an image file, array, PIL image, id of a library item, or a list of these.
            n_results: how many, >= 1; more than the library holds gives all of it.
            less: images that the results should not resemble: half their mean is subtracted.
            names: only these classes. path: only paths that match this glob.
            min_similarity: only matches with at least this cosine. min_closeness: at least this percentile, 0 to 1.
            region: x, y, w, h in pixels of the upright picture; for a single image.
            exclude_self: leave out files whose bytes are the query's.
            how: "auto", "exact" (compare with every image) or "store" (ask the vector store).

        Raises:
            LibraryNotFoundError, QueryError, UsageError, ModelError, StoreError (only for how="store").
        """
        likes, lesses = _as_list(images), _as_list(less)
        if not likes:
            raise UsageError("no image was given")
        if how not in ("auto", "exact", "store"):
            raise UsageError(f"search how: auto, exact or store, not {how!r}")
        if region is not None and len(likes) > 1:
            raise UsageError("a region needs a single image")
        if not isinstance(n_results, SupportsIndex) or (count := operator.index(n_results)) < 1:
            raise UsageError("the number of results must be a whole number, at least 1", hint="use -n 1 or more")
        if min_similarity is not None and not math.isfinite(min_similarity):
            raise UsageError("the least similarity must be a number", hint="it goes from -1 to 1, for example --min-similarity .5")
        if min_closeness is not None and not 0 <= min_closeness <= 1:
            raise UsageError("closeness goes from 0 to 1", hint="for example --min-closeness .5")
        box = _box(region)
        searcher = self._open()
        reader = self._reader(searcher.catalog)
        queries = [reader.read(source, region=box) for source in likes] + [reader.read(source, less=True) for source in lesses]
        wanted = combine([q.vector for q in queries if not q.less], [q.vector for q in queries if q.less])
        same = frozenset(q.sha256 for q in queries if q.sha256 is not None and not q.less)
        filters = Filters(_texts(names), path, min_similarity, min_closeness, same if exclude_self else frozenset())
        found, exact = searcher.search(wanted, count, filters, how, same)
        if not found and filters.by_file and not searcher.passes(filters):
            self._notify("No image in the library has this class and path (--name: the whole name; --path: the whole path, as '*/2024/*')")
        return Matches(found, queries=queries, model=searcher.catalog.fingerprint.name, exact=exact, library=self.library)

    def embed(self, images: Source | Sequence[Source]) -> Float32:
        """Vectors of images, float32 (N, D), each of unit length; with the library's model, or without a library the engine's."""
        catalog = self._open().catalog if Catalog.exists(self.library) else None
        if not _as_list(images):
            raise UsageError("no image was given")
        reader = self._reader(catalog)
        return np.stack([reader.read(source).vector for source in _as_list(images)])

    def query(self, image: Source, *, region: Region | Sequence[int] | None = None) -> Query:
        """A picture read and embedded once, to be searched with as often as you like: `search` takes it wherever it takes an image.

        It is good for this library as long as its model, that is for ever. Errors as in `search`.
        """
        return self._reader(self._open().catalog).read(image, region=_box(region))

    def picture(self, source: str | bytes, *, max_side: int) -> Picture:
        """For showing, its longer side at most `max_side` pixels.

        Args:
            source: a path, or encoded bytes, which get an upload's limits.

        Raises DecodeError with its reason.
        """
        limits = UPLOAD_LIMITS if isinstance(source, bytes) else LIBRARY_LIMITS
        return self._pool(limits, self._open().catalog.fingerprint.preprocess).picture(source, max_side=max_side)

    def _open(self) -> Searcher:
        with self._opening:
            if self._searcher is not None and self._searcher.catalog.replaced:  # by a backup, or a first run that took its library back
                self._searcher.close()
                self._retired.append(self._searcher.catalog)
                self._searcher = None
            if self._searcher is None:
                catalog = Catalog.open(self.library)
                try:
                    self._check_model(catalog)
                    self._searcher = Searcher(catalog, self._mirror(catalog), long_lived=self._long_lived)
                except BaseException:
                    catalog.close()
                    raise
            return self._searcher

    def _reader(self, catalog: Catalog | None) -> QueryReader:
        model = self._choose_model if catalog is None else functools.partial(self._model_of, catalog)
        recipe = (model() if catalog is None else catalog).fingerprint.preprocess
        return QueryReader(
            catalog,
            pool=lambda: self._pool(LIBRARY_LIMITS, recipe),
            upload_pool=lambda: self._pool(UPLOAD_LIMITS, recipe),
            embedder=model,
            allow_private_urls=self._allow_private_urls,
        )

    def _pool(self, limits: Limits, recipe: Preprocess) -> DecodePool:
        with self._opening:
            if (limits, recipe) not in self._pools:
                self._pools[limits, recipe] = self._make_pool(1 if not self._long_lived else self.jobs, recipe, limits=limits)
            return self._pools[limits, recipe]

    # --- model --------------------------------------------------------------------------------------------------------------

    def _check_model(self, catalog: Catalog) -> None:
        """Refuse another model than the library's by name, before anything is loaded."""
        if self._model is not None and resolve(self._model).name != catalog.fingerprint.name:
            raise _mismatch(self._model, catalog.fingerprint, self.library)

    def _model_of(self, catalog: Catalog) -> Embedder:
        """The library's model, loaded and proved to be the one that made its vectors."""
        with self._loading:
            embedder = self._embedder
            if embedder is None or self._proved_for != catalog.fingerprint:  # it may have been loaded before there was a library
                self._check_model(catalog)
                if embedder is None or embedder.fingerprint.name != catalog.fingerprint.name:
                    name, known = catalog.fingerprint.name, self._model is not None
                    embedder = load_model(name, runtime=self._runtime, threads=self.jobs, download=known)
                mine, theirs = embedder.fingerprint, catalog.fingerprint
                if (mine.dim, mine.output, mine.preprocess) != (theirs.dim, theirs.output, theirs.preprocess):
                    raise _mismatch(mine.name, theirs, self.library)
                moved = exact_of(mine.name) is not None  # 8-bit kernels differ from processor to processor
                if moved or mine.weights_sha256 != theirs.weights_sha256 or embedder.runtime != catalog.meta_or_none("runtime"):
                    check_same_vectors(embedder, catalog.canonical)
                self._embedder, self._proved_for = embedder, catalog.fingerprint
            return embedder

    # --- the library --------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What the library holds: counts, model, store, roots. Plain data."""
        catalog = self._open().catalog
        counts = dict(catalog.rows("SELECT state, count(*) FROM files GROUP BY state"))
        with contextlib.closing(self._mirror(catalog)) as mirror:
            sealed = mirror.sealed_generation()
            why = "" if sealed == catalog.generation else mirror.why or "the library has changed since"
        return {
            "library": str(self.library),
            "images": counts.get("present", 0),
            "contents": catalog.rows("SELECT count(DISTINCT content_id) FROM files WHERE state = 'present'")[0][0],
            "classes": catalog.rows("SELECT count(DISTINCT name) FROM files WHERE state = 'present' AND name != ''")[0][0],
            "missing": catalog.rows("SELECT count(content_id) FROM files WHERE state = 'missing'")[0][0],  # a pruned one is no more
            "skipped": counts.get("skipped", 0),
            "forgotten": catalog.rows("SELECT count(*) FROM forgotten")[0][0],
            "model": catalog.fingerprint.name,
            "dimensions": catalog.dim,
            "store": self._store_spec(catalog),
            "store_ready": sealed == catalog.generation,
            "store_note": why,
            "roots": [
                {"path": from_bytes(path), "offline": bool(offline) or not os.path.isdir(path), "images": images}
                for path, offline, images in catalog.rows(
                    "SELECT r.path, r.offline, count(f.id) FROM roots AS r LEFT JOIN files AS f ON f.root_id = r.id"
                    " AND f.state = 'present' GROUP BY r.id ORDER BY r.path"
                )
            ],
        }

    def forget(self, *paths: Folder) -> int:
        """Take files, folders or ids out of the library, and remember it until the path is indexed by its own name. Files are not touched.

        Returns:
            the number of images that left the library.
        """
        with self._writing() as catalog:
            with catalog.transaction() as generation:
                count = upkeep.forget(catalog, paths, generation)
            self._renew_closeness(catalog)
            self._follow(catalog, storing.follow)
        return count

    def relocate(self, old: Folder, new: Folder) -> int:
        """A folder that was indexed has moved: its images keep their vectors and ids. Returns their number."""
        with self._writing() as catalog:
            with catalog.transaction() as generation:
                count = upkeep.relocate(catalog, old, new, generation)
            self._follow(catalog, storing.follow)
        return count

    def verify(self) -> list[str]:
        """Read the whole catalog and say what is damaged in it, a line each; empty: nothing was found. See `salvage.find_damage`."""
        return find_damage(self._open().catalog)

    def rebuild(self) -> int:
        """Make the store anew from the catalog, without the model. Returns the number of images in it.

        Raises LibraryDamagedError if the catalog is damaged: what is wrong is not copied.
        """
        with self._writing(choose_store=False) as catalog:
            if damage := find_damage(catalog):
                raise LibraryDamagedError(f"the catalog is damaged ({damage[0]})", path=self.library, hint=SALVAGE)
            if self._searcher is not None:
                self._searcher.close()
            with contextlib.closing(self._mirror(catalog)) as mirror:
                storing.rebuild(catalog, mirror)
            if self._store is not None:  # a store that cannot be made does not replace the one that is there
                catalog.set_meta("store", self._store)
            return int(catalog.rows("SELECT count(*) FROM files WHERE state = 'present'")[0][0])

    def _store_spec(self, catalog: Catalog) -> str:
        return self._store or catalog.meta_or_none("store") or "chroma"

    def _mirror(self, catalog: Catalog) -> Mirror:
        fingerprint = hashlib.sha256(catalog.fingerprint.to_json().encode()).hexdigest()[:16]
        return Mirror(self.library, dim=catalog.dim, model=fingerprint, spec=self._store_spec(catalog))


class _TakenBackError(Exception):
    """Ends a transaction that was only to be looked at."""


def _texts(values: str | Sequence[str]) -> tuple[str, ...]:
    """A single text is meant as one, not as its letters."""
    return (values,) if isinstance(values, str) else tuple(values)


def _box(region: Region | Sequence[int] | None) -> Region | None:
    """Whole numbers of any kind, NumPy's too."""
    if region is None or isinstance(region, Region):
        return region
    try:
        x, y, w, h = map(operator.index, region)
    except (TypeError, ValueError) as error:
        raise UsageError("a region is four whole numbers: x, y, width, height", hint="for example region=(10, 20, 80, 60)") from error
    return Region(x, y, w, h)


def _as_list(images: Source | Sequence[Source]) -> list[Any]:
    return list(images) if isinstance(images, (list, tuple)) else [images]


def _decoder(limits: Limits) -> str:
    """Which decoder and limits judged a file: another judge tries it again."""
    from .images.pool import DECODER_VERSION

    return f"{DECODER_VERSION}, {limits.megapixels:g} MP"


def _make_folder(library: Path) -> None:
    try:
        library.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LibraryError(f"the library cannot be made ({error.strerror})", path=library, hint="give another --library") from error


def _mismatch(asked: str, library: Fingerprint, folder: Path) -> ModelMismatchError:
    return ModelMismatchError(
        f"the library was made with the model {library.name}, not with {asked}",
        path=folder,
        hint=f"for {asked}, make a second library: image-search index FOLDER --model {asked} --library OTHER",
    )


@contextlib.contextmanager
def _progress_bar(total: int) -> Iterator[Progress]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets gets the plain bar, and need not be told so
        from tqdm.auto import tqdm

    with tqdm(total=total, unit="img", desc="index", disable=None if total else True, dynamic_ncols=True) as bar:

        def show(done: int, _total: int, skipped: int) -> None:
            bar.update(done - bar.n)
            if skipped:
                bar.set_postfix_str(f"{skipped} skipped", refresh=False)

        yield show
