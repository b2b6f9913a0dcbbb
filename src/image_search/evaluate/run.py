"""How good is a model on *these* pictures? Classes are the folders they lie in; nothing is written, no library is touched.

Retrieval figures as in `metrics` (leave-one-out, cosine), changed copies as in `distortions`, the vector store held against exact search.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import given
from ..advice import Advice, Setting
from ..config import DEFAULT_STORE, EVALUATE_COPIES, EVALUATE_COPY_SIDE, EVALUATE_STORE_DEPTH, MOST_JOBS, available_cpus
from ..embedding import Embedded, embed_each, in_order
from ..errors import DecodeError, ImageSearchError, UsageError
from ..images.pool import DecodePool
from ..images.scan import ImageFile, scan
from ..models import check_runtime, knowing_words, load_model
from ..stores import open_store
from ..stores.exact import top_k
from ..types import Embedder, Float32, UInt8
from .metrics import copies_found, leave_one_out
from .words import WordFigures, class_names_found, phrases_of

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one model on one folder; shares are 0 to 1, higher is better.

    Attributes:
        model, dim: which, and the length of its vectors.
        images, classes, skipped: what was measured on, and files that could not be read.
        k1, k5, p10, map100: see `metrics.Retrieval`.
        copies: R@1 by kind of change, and their "mean".
        store_recall10: share of the exact ten nearest that the store finds, too.
        decode_ms, embed_ms: CPU milliseconds an image, of this process and its workers.
        words: how well class names find their pictures; None: not asked for.
    """

    model: str
    dim: int
    images: int
    classes: int
    skipped: int
    k1: float
    k5: float
    p10: float
    map100: float
    copies: dict[str, float]
    store_recall10: float
    decode_ms: float
    embed_ms: float
    words: WordFigures | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    folder: str | os.PathLike[str],
    models: str | Sequence[str],
    *,
    runtime: str | None = None,
    jobs: int | None = None,
    template: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Evaluation]:
    """Measure models on a folder whose sub-folders are the classes.

    Args:
        models: names as for an engine, one or several.
        template: also search with the classes' names, said like this, `{}` for the name; None: not.
        progress: gets (what is being done, done, total).

    Raises:
        UsageError: no such folder, or fewer than two classes with two pictures each. ModelError: a model cannot be used.
    """
    names = given.texts(models, "models")
    if not names:
        raise UsageError("no model was named", hint=Advice("for example ", Setting("model", "mini")))
    workers = available_cpus() if jobs is None else given.whole(jobs, "jobs", most=MOST_JOBS)
    if runtime is not None:
        check_runtime(runtime)
    if template is not None:
        phrases_of(["name"], given.text(template, "template"))
    say = (lambda *_: None) if progress is None else given.function(progress, "progress")
    root = os.path.realpath(os.path.expanduser(given.path(folder, "the folder")))
    if not os.path.isdir(root):
        raise UsageError("there is no such folder", path=folder, hint="give a folder whose sub-folders are the classes")
    paths = [found.path for found in scan(root) if isinstance(found, ImageFile)]
    _classes(paths, root)
    return [_evaluate(paths, root, name, runtime, workers, template, say) for name in names]


def _classes(paths: Sequence[str], root: str) -> list[str]:
    """Each picture's class. UsageError where there are too few to measure anything."""
    labels = [os.path.relpath(os.path.dirname(path), root) for path in paths]
    if sum(count > 1 for count in Counter(labels).values()) < 2:
        raise UsageError("there must be at least two sub-folders with two pictures each", path=root, hint="a sub-folder is a class")
    return labels


def _evaluate(
    paths: list[str], root: str, name: str, runtime: str | None, jobs: int, template: str | None, say: Callable[[str, int, int], None]
) -> Evaluation:
    with contextlib.closing(load_model(name, runtime=runtime, threads=jobs)) as loaded:
        words = None if template is None else knowing_words(loaded)  # before an hour of pictures
        model = _Timed(loaded)
        recipe = model.fingerprint.preprocess
        started = _cpu_seconds()
        with DecodePool(jobs, recipe) as pool:
            read, vectors = _vectors(model, pool, paths, lambda done: say(f"{name}: pictures", done, len(paths)))
        embed_seconds = model.seconds
        decode_seconds = _cpu_seconds() - started - embed_seconds
        labels = _classes(read, root)
        with DecodePool(jobs, recipe) as pool:
            copies = _copies(model, pool, read, vectors, lambda done, total: say(f"{name}: copies", done, total))
        figures = leave_one_out(vectors, labels)
        names = sorted(set(labels))
        found = None if words is None or template is None else class_names_found(words, names, template, vectors, labels)
    return Evaluation(
        model=model.fingerprint.name if name == "auto" else name,
        dim=vectors.shape[1],
        images=len(read),
        classes=len(set(labels)),
        skipped=len(paths) - len(read),
        k1=figures.k1,
        k5=figures.k5,
        p10=figures.p10,
        map100=figures.map100,
        copies=copies,
        store_recall10=_store_recall(vectors),
        decode_ms=1000 * decode_seconds / max(1, len(read)),
        embed_ms=1000 * embed_seconds / max(1, len(read)),
        words=found,
    )


class _Timed:
    """An `Embedder` that counts the CPU seconds spent in it, of all its threads; the decoders work in processes of their own."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.fingerprint, self.runtime, self.close = embedder.fingerprint, embedder.runtime, embedder.close
        self.seconds = 0.0

    def embed(self, pixels: UInt8) -> Float32:
        started = time.process_time()
        vectors = self._embedder.embed(pixels)
        self.seconds += time.process_time() - started
        return vectors


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _vectors(model: Embedder, pool: DecodePool, paths: Sequence[str], say: Callable[[int], None]) -> tuple[list[str], Float32]:
    """(paths that could be read, in the order given; their vectors (N, D))."""
    read: list[str] = []
    vectors: list[Float32] = []
    for path, found in zip(paths, in_order(paths, lambda each: embed_each(each, pool, model)), strict=True):
        if isinstance(found, Embedded) and found.vector is not None:
            read.append(path)
            vectors.append(found.vector)
        say(len(read))
    if not read:
        raise ImageSearchError("none of these pictures can be read", path=os.path.dirname(paths[0]))
    return read, np.stack(vectors)


def _copies(model: Embedder, pool: DecodePool, paths: list[str], vectors: Float32, say: Callable[[int, int], None]) -> dict[str, float]:
    """R@1 of changed copies of up to 500 pictures among all of them; a picture that cannot be read or embedded again is left out."""
    from .distortions import DISTORTIONS

    chosen = np.sort(np.random.default_rng(0).permutation(len(paths))[:EVALUATE_COPIES])
    taken: deque[int] = deque()  # pictures whose copies are under way, in their order

    def changed() -> Iterator[bytes]:
        """Every chosen picture's copies, one after the other, in the order of the table."""
        for index in chosen:
            with contextlib.suppress(DecodeError):
                copies = list(_changed(pool.picture(paths[index], max_side=EVALUATE_COPY_SIDE).pixels, int(index)))
                taken.append(int(index))
                yield from copies

    found: list[list[Float32]] = []  # for each picture its copies' vectors
    where: list[int] = []
    results = in_order(changed(), lambda each: embed_each(each, pool, model))
    while copies := list(itertools.islice(results, len(DISTORTIONS))):
        index = taken.popleft()
        good = [copy.vector for copy in copies if isinstance(copy, Embedded) and copy.vector is not None]
        if len(good) == len(copies):
            found.append(good)
            where.append(index)
        say(len(where), len(chosen))
    by_kind = zip(DISTORTIONS, zip(*found, strict=True), strict=True)
    rates = {kind: copies_found(np.array(rows, np.float32), vectors, where) for kind, rows in by_kind}
    return {"mean": float(np.mean(list(rates.values()))), **rates}


def _changed(pixels: UInt8, index: int) -> Iterator[bytes]:
    """uint8 (h, w, 3) -> its changed copies, losslessly encoded; the same for the same index."""
    from PIL import Image

    from ..search.query import encoded
    from .distortions import DISTORTIONS

    picture = Image.fromarray(pixels)
    for change in DISTORTIONS.values():
        yield encoded(change(picture, np.random.default_rng(index)))


def _store_recall(vectors: Float32) -> float:
    """Of up to 500 queries: which share of the exact ten nearest does the store find?"""
    ids = [str(number) for number in range(len(vectors))]
    queries = vectors[np.random.default_rng(0).permutation(len(vectors))[:EVALUATE_COPIES]]
    exact, _ = top_k(vectors, queries, EVALUATE_STORE_DEPTH)
    with (
        tempfile.TemporaryDirectory(prefix="image-search-") as folder,
        contextlib.closing(open_store(DEFAULT_STORE, folder=Path(folder), dim=vectors.shape[1], model="evaluation")) as store,
    ):
        for start in range(0, len(ids), 1000):
            part = slice(start, start + 1000)
            store.upsert(ids[part], vectors[part], [{"uri": i, "name": ""} for i in ids[part]])
        found, _ = store.query(queries, EVALUATE_STORE_DEPTH)
    hits = sum(len({str(i) for i in rows} & set(near)) for rows, near in zip(exact, found, strict=True))
    return hits / sum(len(rows) for rows in exact)
