"""Recipes and catalogs from strangers: what is infinite, no number or of an odd kind is one of our errors, and `verify` calls it damage."""

from __future__ import annotations

import json
import shutil
import sqlite3
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import fill

import image_search.models
from image_search import ImageSearchEngine, ImageSearchError, LibraryDamagedError, ModelError, StoreError
from image_search.models.recipe import read_recipe
from image_search.testing import InProcessPool, QuickModel, quick_engine
from image_search.types import Preprocess

INF, NAN = float("inf"), float("nan")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    fill(folder / "photos", 17)  # 51: enough for closeness
    with quick_engine(folder / "library") as engine:
        engine.index(folder / "photos")
    return folder


Change = Callable[[sqlite3.Connection], object]


def fact(key: str, value: object) -> Change:
    return lambda db: db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def model(**changes: object) -> Change:
    def change(db: sqlite3.Connection) -> None:
        (text,) = db.execute("SELECT value FROM meta WHERE key = 'fingerprint'").fetchone()
        data = json.loads(text)
        for name, value in changes.items():
            (data["preprocess"] if name in data["preprocess"] else data)[name] = value
        fact("fingerprint", json.dumps(data))(db)

    return change


def column(name: str, value: object) -> Change:
    table, _, column = name.partition(".")
    return lambda db: db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = 2", (value,))


def vector(change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Change:
    """Of one picture, with the right checksum."""

    def changed(db: sqlite3.Connection) -> None:
        (blob,) = db.execute("SELECT vector FROM content WHERE id = 2").fetchone()
        with np.errstate(all="ignore"):
            new = change(np.frombuffer(blob, "<f4").copy()).astype("<f4").tobytes()
        db.execute("UPDATE content SET vector = ?, checksum = ? WHERE id = 2", (new, zlib.crc32(new)))

    return changed


def with_one(value: float) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    def change(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        vector[3] = value
        return vector

    return change


VECTORS = {
    "not a number": vector(with_one(NAN)),
    "infinite": vector(with_one(INF)),
    "huge": vector(lambda v: v * 1e30),
    "the largest": vector(lambda v: np.full_like(v, 3e38)),
    "zero": vector(lambda v: v * 0),
    "twice as long": vector(lambda v: v * 2),
}
REFUSED = {
    **{f"generation {value}": fact("generation", value) for value in (INF, 1e300, -5, 2**63 - 1, "x", b"", b"12")},
    **{f"canonical {value!r:.9}": fact("canonical", value) for value in (INF, "x", b"", np.full((8, 96), NAN, "<f4").tobytes())},
    **{f"fingerprint {value!r:.9}": fact("fingerprint", value) for value in (INF, "x", "[]", b"{}", "[" * 100_000)},
    **{f"dim {value}": model(dim=value) for value in (INF, "96", -1, 0, 2**40, None, True, 95)},
    **{f"name {value}": model(name=value) for value in (None, 5, "", [1])},
    **{f"size {value}": model(size=value) for value in ([0, 0], [1e9, 1e9], "x", [16], None, [16.5, 16], [INF, 1])},
    **{f"crop {value}": model(crop=value) for value in ([1, 2, 3], 5, [NAN, 1])},
    **{f"rescale {value}": model(rescale=value) for value in (INF, NAN, "x", None, 1e300)},
    **{f"mean {value}": model(mean=value) for value in ([INF] * 3, [1], "abc", [1e300] * 3)},
    **{f"std {value}": model(std=value) for value in ([0, 0, 0], [1e-300] * 3, None)},
    **{f"roots.{name}": column(f"roots.{name}", value) for name, value in (("path", INF), ("path", "text"), ("offline", "x"))},
    "an odd record": model(more=1),
}
for _name in [name for name in REFUSED if name.startswith("roots.")]:  # there is one root
    REFUSED[_name] = lambda db, _n=_name: db.execute(f"UPDATE roots SET {_n[6:]} = 5.5")  # type: ignore[misc]
DAMAGE = {
    **{f"closeness {value!r:.9}": fact("closeness", value) for value in (INF, b"", b"abc", np.full(60, NAN, "<f4").tobytes())},
    **{f"store {value!r}": fact("store", value) for value in (INF, b"\xff")},
    **{f"{key} {value!r}": fact(key, value) for key in ("store_generation", "closeness_generation") for value in (INF, "x")},
    **{f"runtime {value!r}": fact("runtime", value) for value in (INF,)},
    **{f"files.path {value!r}": column("files.path", value) for value in (INF, "text")},
    **{f"files.{name}": column(f"files.{name}", value) for name, value in (("name", b"\xff"), ("content_id", "x"), ("size", INF))},
    **{f"files.{name}": column(f"files.{name}", "x") for name in ("root_id", "inode")},
    **{f"content.{name}": column(f"content.{name}", value) for name, value in (("width", INF), ("format", b"\xff"), ("sha256", 5))},
}


def use(library: Path, photos: Path) -> dict[str, str]:
    """What each of the things that people do came to: "done", or our error's words; every warning is an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        query = photos / "circle" / "0.png"
        deeds: dict[str, Callable[[ImageSearchEngine], object]] = {
            "status": lambda e: e.status(),
            "search": lambda e: json.dumps(e.search(query, 100).to_dict(), allow_nan=False),
            "filtered": lambda e: (e.search(query, 100, path="*"), e.search(query, 100, names="circle")),
            "verify": lambda e: e.verify() and _damaged(e.verify()),
            "index": lambda e: e.index(photos),
            "forget": lambda e: e.forget("id:2"),
        }
        said = {}
        for name, deed in deeds.items():
            try:
                with quick_engine(library, store=None, notify=lambda _: None) as engine:
                    deed(engine)
                said[name] = "done"
            except ImageSearchError as error:
                said[name] = str(error)
        return said


def _damaged(lines: list[str]) -> None:
    raise LibraryDamagedError("; ".join(lines))


def changed(made: Path, place: Path, change: Change) -> Path:
    shutil.copytree(made / "library", place)
    db = sqlite3.connect(place / "catalog.sqlite")
    with db:
        change(db)
    db.close()
    return place


@pytest.mark.parametrize("cases", [VECTORS, REFUSED, DAMAGE], ids=["vectors", "facts of the model", "other values"])
def test_odd_values_are_our_errors_and_damage(made: Path, tmp_path: Path, cases: dict[str, Change]) -> None:
    for number, (name, change) in enumerate(cases.items()):
        said = use(changed(made, tmp_path / str(number), change), made / "photos")
        assert any(word in said["verify"] for word in ("damaged", "sense", "wrong kind", "lacks its generation")), (name, said)
        if cases is VECTORS:
            assert "damaged" in said["search"], (name, said)
        if cases is REFUSED:
            assert set(said.values()) == {said["search"]} and said["search"].startswith("the catalog"), (name, said)


def test_a_store_that_nobody_knows_does_not_keep_from_searching(made: Path, tmp_path: Path) -> None:
    library, lines = changed(made, tmp_path / "library", fact("store", "weaver:http://far.example:1")), list[str]()
    with quick_engine(library, store=None, notify=lines.append) as engine:
        assert len(engine.search("id:1", 3)) == 3
        facts = engine.status()
        assert not facts["store_ready"] and facts["store_note"].startswith("there is no store 'weaver:http://far.example:1'")
        with pytest.raises(StoreError, match="there is no store 'weaver"):
            engine.search("id:1", 3, how="store")
        assert [line for line in engine.verify() if "there is no store 'weaver" in line]
        assert engine.index(made / "photos").unchanged == 51
        assert len(lines) == 1 and "can be searched (exactly)" in lines[0] and "Use chroma" in lines[0]
        with pytest.raises(StoreError, match="there is no store"):
            engine.rebuild()
    with quick_engine(library, store="exact", notify=lines.append) as engine:
        engine.index(made / "photos")
        assert engine.verify() == [] and len(lines) == 1, "a store that is named takes its place"


# --- recipes and models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        {"size": INF},
        {"size": NAN},
        {"size": {"height": INF, "width": 8}},
        {"size": "224"},
        {"size": True},
        {"size": {"shortest_edge": [1]}, "image_processor_type": "BitImageProcessor"},
        {"resample": INF},
        {"resample": 77},
        {"rescale_factor": INF},
        {"rescale_factor": NAN},
        {"rescale_factor": 1e300},
        {"rescale_factor": "x"},
        {"image_mean": INF},
        {"image_mean": [0, NAN, 0]},
        {"image_mean": {"a": 1}},
        {"image_mean": [1e300] * 3},
        {"image_std": 0},
        {"image_std": [1e-300] * 3},
        {"image_std": [1, 1]},
        {"do_resize": "False"},
        {"do_normalize": 0},
        {"image_processor_type": ["ViT"]},
    ],
    ids=repr,
)
def test_a_recipe_that_cannot_be_followed_is_refused(odd: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModelError) as caught:
            read_recipe(odd, path="preprocessor_config.json", model_type="vit")
    assert "\n" not in str(caught.value) and "preprocessor_config.json" in str(caught.value)


class Odd(QuickModel):
    """A model of one's own whose vectors cannot be used."""

    def __init__(self, vectors: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]] = lambda v: v, **recipe: Any) -> None:
        self._vectors = vectors
        self.fingerprint = replace(QuickModel.fingerprint, preprocess=replace(Preprocess(size=(16, 16)), **recipe))

    def embed(self, pixels: Any) -> Any:
        return self._vectors(super().embed(pixels))


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (Odd(lambda v: v * NAN), "not of length 1"),
        (Odd(lambda v: v * np.float32(1e30)), "not of length 1"),
        (Odd(lambda v: np.repeat(v[:1], len(v), 0)), "the same vector for eight different pictures"),
        (Odd(size=(0, 16)), "cannot be used"),
        (Odd(mean=(NAN, 0.0, 0.0)), "cannot be used"),
        (Odd(rescale=INF), "cannot be used"),
    ],
)
def test_an_unusable_model_is_found_before_there_is_a_library(tmp_path: Path, odd: Odd, said: str) -> None:
    fill(tmp_path / "photos", 1)
    engine = ImageSearchEngine(tmp_path / "library", model=odd, store="exact", notify=lambda _: None)
    engine._make_pool = InProcessPool
    with engine, pytest.raises(ModelError, match=said):
        engine.index(tmp_path / "photos")
    assert not (tmp_path / "library").exists()


def test_a_folder_with_an_odd_recipe_is_refused_before_there_is_a_library(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 1)
    bundled = Path(image_search.models.__file__).with_name("mini")
    (tmp_path / "model").mkdir()
    shutil.copy(next(bundled.glob("*.onnx")), tmp_path / "model" / "model.onnx")
    (tmp_path / "model" / "preprocessor_config.json").write_text('{"size": 224, "image_std": [1e-300, 1, 1], "rescale_factor": 1e999}')
    with (
        ImageSearchEngine(tmp_path / "library", model=str(tmp_path / "model"), store="exact") as engine,
        pytest.raises(ModelError, match="this preprocessing cannot be followed"),
    ):
        engine.index(tmp_path / "photos")
    assert not (tmp_path / "library").exists()
    (tmp_path / "model" / "preprocessor_config.json").write_text("[" * 100_000)
    with (
        ImageSearchEngine(tmp_path / "library", model=str(tmp_path / "model")) as engine,
        pytest.raises(ModelError, match="cannot be read"),
    ):
        engine.index(tmp_path / "photos")
