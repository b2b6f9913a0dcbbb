"""From query to answer: the rows "exact" (the kernel), "filtered" and "store" (a long-lived engine beside bare Chroma)."""

from __future__ import annotations

import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from image_search import ImageSearchEngine
from image_search.config import STORE_PAYS_FROM
from image_search.search.search import How
from image_search.stores.exact import top_k
from image_search.types import Float32

from .library import DIM, clusters, make_library
from .machine import milliseconds
from .report import Row
from .setting import Setting

__all__ = ["exact", "facts", "filtered", "p50", "store"]

N = 10  # results


def p50(ways: Mapping[str, Callable[[int], object]], queries: Sequence[int]) -> dict[str, float]:
    """CPU ms of one query, median; each query goes to every way in turn. The first does not count."""
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for number, query in enumerate(queries):
        for name, way in ways.items():
            began = time.process_time()
            way(query)
            if number:
                seen[name].append(1000 * (time.process_time() - began))
    return {name: statistics.median(times) for name, times in seen.items()}


def exact(setting: Setting) -> Iterator[Row]:
    """Every vector is compared: our kernel, numpy plainly, FAISS."""
    asked = next(clusters(setting.size(60, 10), seed=1))
    for full, goal, aim in ((100_000, 20.0, 8), (500_000, 90.0, 45)):
        count = setting.size(full, full // 10)
        matrix = np.concatenate(list(clusters(count)))
        ways: dict[str, Callable[[int], object]] = {
            "ours": lambda n, matrix=matrix: top_k(matrix, asked[n : n + 1], N)[0][0],  # type: ignore[misc]
            "numpy": lambda n, matrix=matrix: _numpy(matrix, asked[n]),  # type: ignore[misc]
        }
        missing = _add_faiss(ways, matrix, asked)
        found = p50(ways, range(len(asked)))
        right = np.mean([len({*ways["ours"](n)} & _true(matrix, asked[n])) / N for n in range(len(asked))])  # type: ignore[misc]
        tenth = np.median([np.sort(matrix @ query)[-N] for query in asked[:10]])
        yield Row(
            "exact",
            f"exact search, {count:,} × {DIM}",
            "CPU ms p50",
            found.pop("ours"),
            found,
            milliseconds(setting.limits, "read", matrix.nbytes / 1e9),
            goal,
            note=f"aim {aim}; recall {right:.4f} against float64; 10th neighbour's cosine {tenth:.2f}{missing}",
        )


def _numpy(matrix: Float32, query: Float32) -> Any:
    scores = matrix @ query
    best = np.argpartition(scores, -N)[-N:]
    return best[np.argsort(-scores[best])]


def _true(matrix: Float32, query: Float32) -> set[int]:
    """The nearest N by float64; float32 says who may be among them."""
    scores = matrix @ query
    rows = np.flatnonzero(scores >= np.partition(scores, -N)[-N] - 1e-5)
    vectors = matrix[rows].astype(np.float64)
    cosines = vectors @ query.astype(np.float64) / np.linalg.norm(vectors, axis=1)
    return {*rows[np.argsort(-cosines)[:N]].tolist()}


def _add_faiss(ways: dict[str, Callable[[int], object]], matrix: Float32, asked: Float32) -> str:
    try:
        version("faiss-cpu")
        import faiss
    except (PackageNotFoundError, ImportError):
        return "; FAISS is not installed (pip install faiss-cpu)"
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(matrix.shape[1])
    index.add(matrix)
    ways["FAISS Flat"] = lambda n: index.search(asked[n : n + 1], N)
    return ""


# --- through the engine, beside bare Chroma -----------------------------------------------------------------------------------

CLASSES = ["hundredth", "other hundredth", *["half", "other half"] * 49]  # in turn: 1 %, 1 %, 49 %, 49 %


class Chroma:
    """The library's own store, copied and asked without us; the vectors of queries come from the catalog."""

    def __init__(self, library: Path, place: Path) -> None:
        import chromadb

        shutil.copytree(library / "store", place)
        self.client = chromadb.PersistentClient(str(place), chromadb.Settings(anonymized_telemetry=False))
        (self.collection,) = self.client.list_collections()

    def ask(self, vector: Float32, where: dict[str, Any] | None = None) -> list[str]:
        """As the original program asks, metadata included."""
        found = self.collection.query(query_embeddings=[vector], n_results=N, where=where)  # type: ignore[arg-type]
        return found["ids"][0]


def _vectors(engine: ImageSearchEngine, numbers: Sequence[int]) -> dict[int, Float32]:
    return {number: engine.query(f"id:{number}").vector for number in numbers}


def filtered(setting: Setting) -> Iterator[Row]:
    """Only one class: half of the library, and a hundredth."""
    count = setting.size(190_000, 10_000)
    with tempfile.TemporaryDirectory(dir=setting.cache) as place:
        library = Path(place) / "library"
        make_library(library, count, store="chroma", classes=CLASSES)
        with ImageSearchEngine(library) as engine:
            engine.rebuild()
            chroma = Chroma(library, Path(place) / "bare")
            numbers = np.random.default_rng(2).integers(1, count, setting.size(40, 8)).tolist()
            vectors = _vectors(engine, numbers)
            for name, share in (("half", "50 %"), ("hundredth", "1 %")):
                ways: dict[str, Callable[[int], object]] = {
                    "ours": lambda n, name=name: engine.search(f"id:{n}", N, names=name),  # type: ignore[misc]
                    "Chroma where": lambda n, name=name: chroma.ask(vectors[n], {"name": name}),  # type: ignore[misc]
                }
                found = p50(ways, numbers)
                what, note = f"search filtered by class, {share} of {count:,}", f"aim 15; whole engine, n = {N}"
                yield Row(
                    "filtered", what, "CPU ms p50", found.pop("ours"), found, goal=35, note=f"{note}; the filter of the search before"
                )
                turns = itertools.cycle([f"other {name}", name])
                fresh = p50({"ours": lambda n, turns=turns: engine.search(f"id:{n}", N, names=next(turns))}, numbers)  # type: ignore[misc]
                yield Row("filtered", f"{what}, another class each time", "CPU ms p50", fresh["ours"], found, goal=35, note=note)


def facts(setting: Setting) -> Iterator[Row]:
    """Filters by date, size, format, path and folder, alone and together: the first of its kind, another one each time, the same again."""
    count = setting.size(190_000, 10_000)
    kinds: dict[str, list[dict[str, Any]]] = {
        "a date": [{"since": str(year)} for year in range(2005, 2025)],
        "a size": [{"min_pixels": pixels} for pixels in range(400_000, 420_000, 1000)],
        "a format": [{"formats": name} for name in ("jpeg", "heif", "png")],
        "a folder": [{"path": f"*/{n}/*"} for n in range(20)],
        "no folder of these": [{"not_path": (f"*/{n}/*", f"*/{n + 20}/*")} for n in range(20)],
        "files by name": [{"path": f"*{n}.jpg"} for n in range(20)],
        "other folders": [{"other_folders": True}],
        "all of them": [{"since": str(2005 + n), "until": "2020", "min_pixels": 400_000 + n, "formats": ("jpeg", "heif"),
                         "not_path": f"*/{n}/*", "names": "half"} for n in range(15)],
    }  # fmt: skip
    with tempfile.TemporaryDirectory(dir=setting.cache) as place:
        library = Path(place) / "library"
        make_library(library, count, classes=CLASSES)
        numbers = np.random.default_rng(2).integers(1, count, setting.size(20, 6)).tolist()
        for what, several in kinds.items():
            with ImageSearchEngine(library, notify=lambda _: None) as engine:
                engine.search(f"id:{numbers[0]}", N, names="half")  # vectors and classes are there
                began = time.process_time()
                engine.search(f"id:{numbers[0]}", N, **several[0])
                first = 1000 * (time.process_time() - began)
                turns = itertools.cycle(several[1:] or several)
                fresh = p50({"ours": lambda n, turns=turns: engine.search(f"id:{n}", N, **next(turns))}, numbers)  # type: ignore[misc]
                same = p50({"ours": lambda n: engine.search(f"id:{n}", N, **several[0])}, numbers)  # noqa: B023 - asked at once
            note = f"another one each time {fresh['ours']:.1f}, the first {first:.0f}; whole engine, n = {N}"
            yield Row("facts", f"search filtered by {what}, {count:,}", "CPU ms p50", same["ours"], goal=15, note=note)


def store(setting: Setting) -> Iterator[Row]:
    """Nothing filtered, a library that is asked often: the verified store answers. Recall is against exact search of the same engine."""
    count = setting.size(setting.store_vectors, 3_000)
    how: How = "auto" if count >= STORE_PAYS_FROM else "store"  # a small library would be compared exactly
    with tempfile.TemporaryDirectory(dir=setting.cache) as place:
        library = Path(place) / "library"
        make_library(library, count, store="chroma")
        with ImageSearchEngine(library) as engine:
            began = time.process_time()
            engine.rebuild()
            built = time.process_time() - began
            chroma = Chroma(library, Path(place) / "bare")
            numbers = np.random.default_rng(3).integers(1, count, setting.size(100, 20)).tolist()
            vectors = _vectors(engine, numbers)
            ways: dict[str, Callable[[int], object]] = {
                "ours": lambda n: engine.search(f"id:{n}", N, exclude_self=True, how=how),
                "ours, exact": lambda n: engine.search(f"id:{n}", N, exclude_self=True, how="exact"),
                "Chroma": lambda n: chroma.ask(vectors[n]),
            }
            if engine.search("id:1", N, how=how).exact:
                raise RuntimeError("the store did not answer")
            found = p50(ways, numbers)
            right = [_recall(engine, number) for number in numbers]
    note = f"{count:,} images, whole engine, n = {N}, warm; building the store took {built:.0f} CPU s"
    yield Row("store", f"unfiltered search, {count:,}", "CPU ms p50", found.pop("ours"), found, goal=8, note=note)
    yield Row("store", f"its recall@{N} against exact", "share", float(np.mean(right)), goal=0.99, more=True, note=f"{len(right)} queries")


def _recall(engine: ImageSearchEngine, number: int) -> float:
    near, true = (
        {match.id for match in engine.search(f"id:{number}", N, exclude_self=True, how=how)}  # type: ignore[arg-type]
        for how in ("store", "exact")
    )
    return len(near & true) / N
