"""How much is done, counted: a lost optimisation fails here. No test looks at a clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import fill, picture

from image_search import ImageSearchEngine
from image_search.images.pool import DecodePool
from image_search.library.catalog import Catalog
from image_search.testing import QuickModel, quick_engine


class Work:
    """Pictures decoded, pictures embedded, SQL statements started; `count(what)` says what one call needed."""

    def __init__(self) -> None:
        self.decoded = self.embedded = self.statements = 0

    def count(self, what: Callable[[], object]) -> tuple[int, int, int]:
        self.decoded = self.embedded = self.statements = 0
        what()
        return self.decoded, self.embedded, self.statements


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    init, embed, decode = Catalog.__init__, QuickModel.embed, DecodePool.decode

    def opened(self: Catalog, folder: Path, connection: Any, **rest: Any) -> None:
        def started(_: str) -> None:
            work.statements += 1

        connection.set_trace_callback(started)
        init(self, folder, connection, **rest)

    def embedding(self: QuickModel, pixels: Any) -> Any:
        work.embedded += len(pixels)
        return embed(self, pixels)

    def decoding(self: DecodePool, source: Any, **rest: Any) -> Any:
        outcome = decode(self, source, **rest)
        work.decoded += outcome.pixels is not None  # else its bytes were known
        return outcome

    monkeypatch.setattr(Catalog, "__init__", opened)
    monkeypatch.setattr(QuickModel, "embed", embedding)
    monkeypatch.setattr(DecodePool, "decode", decoding)
    return work


def library(folder: Path, each: int) -> ImageSearchEngine:
    """3 classes of `each` different pictures."""
    fill(folder / "photos", each)
    return quick_engine(folder / "library")


@pytest.fixture(scope="module")
def unchanging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos and their library, made with `mini`."""
    place = tmp_path_factory.mktemp("unchanging")
    fill(place / "photos", 2)
    with ImageSearchEngine(place / "library", model="mini", store="exact") as engine:
        engine.index(place / "photos", progress=False)
    return place


def test_an_index_run_decodes_and_embeds_each_content_once(tmp_path: Path, work: Work) -> None:
    with library(tmp_path, 5) as engine:
        (tmp_path / "photos" / "copy.png").write_bytes(next((tmp_path / "photos").rglob("*.png")).read_bytes())
        decoded, embedded, _ = work.count(lambda: engine.index(tmp_path / "photos", progress=False))
        assert (decoded, embedded) == (15, 15 + 8)  # and the canonical pictures of a new library
        decoded, embedded, _ = work.count(lambda: engine.index(tmp_path / "photos", progress=False))
        assert (decoded, embedded) == (0, 0)


def test_an_unchanged_file_costs_one_statement(tmp_path: Path, work: Work) -> None:
    """Note that it was seen; what is known of it is read with its neighbours, 200 at a time."""
    counts = []
    for each in (5, 20):
        folder = tmp_path / str(each)
        with library(folder, each) as engine:
            engine.index(folder / "photos", progress=False)
            decoded, embedded, statements = work.count(lambda e=engine, f=folder: e.index(f / "photos", progress=False))  # type: ignore[misc]
            assert (decoded, embedded) == (0, 0)
            counts.append(statements)
    few, many = counts
    assert many - few == 45
    assert few - 15 <= 55  # of the run as a whole


def test_a_search_costs_the_same_in_any_library(tmp_path: Path, work: Work) -> None:
    """One decoding and one embedding for a new picture, none for one of the library; a statement for each match, none for the others."""
    counts = []
    for each in (20, 60):
        folder = tmp_path / str(each)
        with library(folder, each) as engine:
            engine.index(folder / "photos", progress=False)
            new = picture("circle", 777)
            engine.search(new, 5)  # reads the vectors
            counts.append([work.count(lambda q=q, e=engine: e.search(q, 5)) for q in (new, "id:1")])  # type: ignore[misc]
    assert counts[0] == counts[1]
    (new_decoded, new_embedded, _), (known_decoded, known_embedded, statements) = counts[0]
    assert (new_decoded, new_embedded) == (1, 1)
    assert (known_decoded, known_embedded) == (0, 0)
    assert statements <= 15


HEAVY = [
    "PIL",
    "chromadb",
    "fastapi",
    "huggingface_hub",
    "matplotlib",
    "numpy",
    "onnxruntime",
    "openvino",
    "pydantic",
    "sqlite3",
    "torch",
    "transformers",
    "uvicorn",
]
SEARCH = ["search", "--library", "{library}"]


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import image_search", ()),
        ("import image_search.images.worker, image_search.images.pixels", ("PIL",)),
        ("from image_search import ImageSearchEngine", ("numpy", "sqlite3")),
        (["--help"], ()),
        ([*SEARCH, "{query}"], ("numpy", "onnxruntime", "sqlite3")),
        ([*SEARCH, "id:1"], ("numpy", "sqlite3")),
        (["index", "--library", "{library}", "{photos}"], ("numpy", "sqlite3")),  # nothing is new
        (["status", "--library", "{library}"], ("numpy", "sqlite3")),
    ],
)
def test_nothing_is_imported_that_is_not_needed(unchanging: Path, tmp_path: Path, code: str | list[str], needed: tuple[str, ...]) -> None:
    query, folder = tmp_path / "query.png", unchanging / "library"
    picture("circle", 777).save(query)
    if isinstance(code, list):
        words = [word.format(library=folder, query=query, photos=unchanging / "photos") for word in code]
        code = f"sys.argv[1:] = {words!r}; from image_search.cli import main; main()"
    watch = f"import atexit, sys; atexit.register(lambda: print('LOADED', *sorted(sys.modules.keys() & {{*{HEAVY}}})))"
    done = subprocess.run([sys.executable, "-c", f"{watch}\n{code}"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (loaded,) = (line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    assert loaded.split()[1:] == list(needed)
