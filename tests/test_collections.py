"""One contract for every collection that stands alone: what it keeps, and that it is asked like a library. And how it is filled."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import toystores
from inprocess import Answer, Quick
from milvusserver import milvus_server
from test_stores import chroma_server  # noqa: F401 - the fixture

import image_search.cluster.embed
import image_search.collection.load
import image_search.stores.collections
from image_search import ImageSearchEngine, embed_dataset
from image_search.collection.library import CANNOT
from image_search.collection.load import Batch, Source
from image_search.errors import DecodeError, MissingExtraError, ModelMismatchError, NeedsFolderError, SkipReason, StoreError, UsageError
from image_search.library.library import Library
from image_search.models import canonical_vectors
from image_search.search.query import Query
from image_search.stores import STORES, open_collection, parse_spec
from image_search.stores.collections import Condition, Description, Record, first_after, number_of
from image_search.stores.exact import top_k
from image_search.stores.milvus_client import Field, Table
from image_search.stores.milvus_connection import milvus_errors
from image_search.testing import InProcessPool, QuickModel, quick_engine
from image_search.types import Fingerprint, Float32

DIM = QuickModel.fingerprint.dim
FINGERPRINT = QuickModel.fingerprint


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with milvus_server(tmp_path_factory.mktemp("milvus")) as address:
        yield address


KINDS = ["toys", "lite", pytest.param("server", marks=pytest.mark.slow)]
_made = iter(range(1000))


@pytest.fixture(params=KINDS)
def spec(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """How to name a collection of this kind that is not there yet."""
    return named(str(request.param), request, tmp_path, monkeypatch)


def named(kind: str, request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if kind == "toys":
        monkeypatch.setitem(STORES, "toys", toystores.ALONE)
        monkeypatch.setattr(toystores.ToyCollection, "held", {})
        return f"toys:{folder}/photos.toys"
    if kind == "lite":
        pytest.importorskip("pymilvus", reason="pymilvus is not here: pip install 'ai-image-search-engine[milvus]'")
        pytest.importorskip("milvus_lite", reason="Milvus Lite is not here: pip install 'ai-image-search-engine[milvus]'")
        return f"milvus:{folder}/photos.db"
    return f"milvus:{request.getfixturevalue('server')}/photos{os.getpid()}_{next(_made)}"


def unit(rng: np.random.Generator, n: int) -> Float32:
    x = rng.standard_normal((n, DIM)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def record(uri: str, name: str = "cat", captured: str = "", width: int = 40) -> Record:
    return Record(number_of(uri), uri, name, number_of(uri).to_bytes(32, "big"), width, 30, 1000, "JPEG", captured)


def facts(fingerprint: Fingerprint = FINGERPRINT) -> dict[str, str]:
    return Description(fingerprint, canonical_vectors(QuickModel()), {}).facts()


def opened(spec: str, make: bool = True) -> Any:
    return open_collection(parse_spec(spec), make=facts() if make else None, dim=DIM if make else None)


# What it keeps


def test_rows_come_back_as_they_were_given(spec: str) -> None:
    odd = 'it\'s "q" \\ 사진\n_%'
    rows = [record(f"s3://b/{odd}/{i}.jpg", odd if i else "", "2024-05-01T10:00:00" if i == 1 else "") for i in range(5)]
    x = unit(np.random.default_rng(1), 5)
    with pytest.raises(StoreError, match="there is no collection"):
        opened(spec, make=False)
    collection = opened(spec)
    assert (collection.count(), collection.records([], limit=9), list(collection.each(2))) == (0, [], [])
    collection.put(rows, x)
    collection.put(rows[:1], x[1:2])  # replaced
    collection.finish(lambda line: None)
    collection.mark({"generation": "7", "classes": '["사진"]'})
    collection.close()
    collection = opened(spec, make=False)
    assert collection.count() == 5
    assert collection.records([], limit=9) == sorted(rows, key=lambda row: row.number)
    assert len(collection.records([], limit=2)) == 2
    assert {number: vector.tobytes() for number, vector in collection.vectors([rows[0].number, rows[3].number, 5]).items()} == {
        rows[0].number: x[1].tobytes(),
        rows[3].number: x[3].tobytes(),
    }
    seen = [row for some, _ in collection.each(2) for row in some]
    assert sorted(seen, key=lambda row: row.number) == sorted(rows, key=lambda row: row.number)
    held = collection.facts()
    assert (held["generation"], held["classes"]) == ("7", '["사진"]')
    description = Description.of(held, "here")
    assert description.fingerprint == FINGERPRINT
    assert description.canonical.tobytes() == canonical_vectors(QuickModel()).tobytes()
    assert collection.state()["pending"] == 0
    collection.close()


def test_conditions_say_which_rows(spec: str) -> None:
    names = ["cat", "dog", "a_b", "axb", 'q"\\']
    rows = [record(f"s3://b/f{i % 2}/{i}.jpg", names[i], f"20{20 + i}-01-01T00:00:00" if i else "", 10 * (i + 1)) for i in range(5)]
    collection = opened(spec)
    collection.put(rows, unit(np.random.default_rng(2), 5))
    asked: list[tuple[list[tuple[Any, ...]], set[int]]] = [
        ([], {0, 1, 2, 3, 4}),
        ([("name", "in", ["cat", 'q"\\'])], {0, 4}),
        ([("name", "not in", ["a_b"])], {0, 1, 3, 4}),
        ([("name", "in", ["no'; or 1 == 1"])], set()),
        ([("folder", "not in", ["s3://b/f0/"])], {1, 3}),
        ([("uri", "like", "s3://b/f1*")], {1, 3}),
        ([("uri", "unlike", "s3://b/f1*")], {0, 2, 4}),
        ([("taken", "<", 1609459200)], {0}),  # 2021; of one it is not known
        ([("taken", ">=", 1609459200), ("taken", "<", 1672531200)], {1, 2}),
        ([("pixels", ">=", 1200), ("format", "in", ["JPEG"])], {3, 4}),
        ([("sha256", "in", [rows[2].sha256.hex()]), ("number", ">=", 0)], {2}),
        ([("number", "in", [rows[1].number, 3])], {1}),
    ]
    for wanted, places in asked:
        conditions = [Condition(*one) for one in wanted]
        assert {row.uri for row in collection.records(conditions, limit=9)} == {rows[at].uri for at in places}, wanted
        assert collection.count(conditions) == len(places)
        assert set(collection.near(unit(np.random.default_rng(3), 1)[0], 9, conditions).numbers) == {rows[at].number for at in places}
    collection.close()


def test_what_is_no_vector_is_refused_and_changes_nothing(spec: str) -> None:
    collection = opened(spec)
    row, x = [record("a")], unit(np.random.default_rng(4), 1)
    for bad in (x * np.nan, x[:, :-1], x * 2, x * 0):
        with pytest.raises(StoreError):
            collection.put(row, bad)
    with pytest.raises(StoreError, match="twice"):
        collection.put(row * 2, np.concatenate([x, x]))
    assert collection.count() == 0
    collection.close()


def test_rows_by_their_numbers_whatever_order_they_came_in(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_search.stores.collections, "MOST_RECORDS", 40)
    rows = [record(f"s3://b/{i}.jpg", "cat" if i % 3 else "dog") for i in range(200)]
    collection = opened(spec)
    collection.put(rows, unit(np.random.default_rng(7), 200))
    ordered, dogs = sorted(rows), sorted(row for row in rows if row.name == "dog")
    assert first_after(collection, 0, 30) == ordered[:30]
    assert first_after(collection, ordered[29].number, 30) == ordered[30:60]
    assert first_after(collection, ordered[190].number, 30) == ordered[191:]
    assert first_after(collection, 0, 5, [Condition("name", "in", ["dog"])]) == dogs[:5]
    assert first_after(collection, 0, 5, [Condition("name", "in", ["cow"])]) == []
    collection.close()


def test_a_collection_of_somebody_else_is_refused() -> None:
    for held, said in (
        ({}, "was not made by this program"),
        (facts() | {"format": "9"}, "another version"),
        (facts() | {"canonical": "AAAA"}, "makes no sense"),
        (facts() | {"fingerprint": "{}"}, "makes no sense"),
    ):
        with pytest.raises(StoreError, match=said):
            Description.of(held, "here")


def test_numbers_are_those_of_their_addresses() -> None:
    assert number_of("s3://b/1.jpg") == number_of("s3://b/1.jpg") != number_of("s3://b/2.jpg")
    assert 0 <= max(number_of(f"{i}") for i in range(1000)) < 2**59 < 10**18


# Asked like a library


def engine_on(spec: str, lines: list[str] | None = None) -> ImageSearchEngine:
    return quick_engine(store=spec, notify=(lines if lines is not None else []).append)


@pytest.fixture
def library(photos: Path, tmp_path: Path) -> Path:
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos, progress=False)
    return tmp_path / "library"


def moved(library: Path, spec: str) -> Any:
    with quick_engine(library) as engine:
        return engine.move(spec, progress=False)


def test_it_answers_as_the_library_does(library: Path, photos: Path, spec: str) -> None:
    report = moved(library, spec)
    assert (report.loaded, report.unchanged, report.left_out, report.images) == (12, 0, 0, 12)
    query = photos / "circle" / "1.png"
    settings: list[dict[str, Any]] = [
        {},
        {"names": "square"},
        {"not_names": ["circle", "square"]},
        {"exclude_self": True},
        {"other_folders": True},
        {"path": f"{photos}/s*"},
        {"not_path": f"{photos}/s*"},
        {"min_pixels": 1},
        {"formats": "png"},
        {"formats": "gif"},
        {"min_similarity": 0.5},
        {"fold": True},
        {"copies": True},
        {"less": photos / "square" / "1.png"},
        {"how": "exact"},
    ]
    with quick_engine(library) as plain, engine_on(spec) as alone:
        for given in settings:
            one, two = plain.search(query, 20, **given), alone.search(query, 20, **given)
            assert [facts_of(match) for match in two] == [facts_of(match) for match in one], given
            assert [match.similarity for match in two] == pytest.approx([match.similarity for match in one], abs=1e-6)
            assert two.exact
            assert two.to_dict()["query"] == one.to_dict()["query"]
        by_id = alone.search(alone.search(query, 2)[1].id, 3)
        assert [match.path for match in by_id] == [match.path for match in plain.search(plain.search(query, 2)[1].id, 3)]
        both = [list(engine.search_each([query, photos / "square" / "0.png"], 3, names="square")) for engine in (plain, alone)]
        assert [[facts_of(match) for match in one] for one in both[0]] == [[facts_of(match) for match in one] for one in both[1]]


def facts_of(match: Any) -> tuple[Any, ...]:
    also = tuple((one.path, one.copy) for one in match.also)
    return match.rank, match.name, match.path, match.identical, match.width, match.height, match.format, match.bytes, match.variant, also


def test_what_it_has_nothing_for_is_said_in_one_line(library: Path, photos: Path, spec: str) -> None:
    moved(library, spec)
    lines: list[str] = []
    with engine_on(spec, lines) as engine:
        for refused in (
            lambda: engine.index(photos, progress=False),
            lambda: engine.index(photos, progress=False, dry_run=True),
            lambda: engine.forget(photos),
            lambda: engine.rebuild(),
            lambda: engine.reembed(progress=False),
        ):
            with pytest.raises(UsageError, match="is a collection, which nothing but `load` and `move` fill"):
                refused()
        for refused in (engine.duplicates, engine.map, engine.check, engine.decisions, engine.verify, engine.annotate):
            with pytest.raises(
                UsageError,
                match=r"needs a library in a folder.*Bring it into a folder",
            ):
                refused()
        for given in ({"where": "a = 1"}, {"path": "*a*b*"}):
            with pytest.raises(UsageError, match="a collection"):
                engine.search(photos / "circle" / "1.png", **given)
        assert not engine.search(photos / "circle" / "1.png", names="circel")
        assert lines == ["No image in the library has the class circel. Did you mean circle?"]
        assert not engine.search(photos / "circle" / "1.png", since="2030")
        assert [line[:30] for line in lines[1:]] == ["No image in the library passes", "12 images do not say when they"]
        status = engine.status()
    assert (status["images"], status["classes"], status["model"], status["store"], status["store_ready"]) == (12, 3, "quick", spec, True)
    with pytest.raises(UsageError, match="stands alone, and no store of a library"):
        ImageSearchEngine(library, store=spec)
    with ImageSearchEngine(store=spec, model="mini") as engine, pytest.raises(ModelMismatchError) as caught:
        engine.search(photos / "circle" / "1.png")
    assert "reembed" not in str(caught.value) and "not with mini" in str(caught.value)  # which it could not obey


@pytest.fixture
def toys(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """For what no kind of collection has a hand in."""
    return named("toys", request, tmp_path, monkeypatch)


def test_each_verb_is_done_or_refused(library: Path, photos: Path, toys: str, tmp_path: Path) -> None:
    """What is in the table is a verb, and says so at once; whatever is not there, a collection does."""
    spec = toys
    moved(library, spec)
    picture = photos / "circle" / "1.png"
    table = [verb for verbs in CANNOT.values() for verb in verbs]
    done: dict[str, Callable[[ImageSearchEngine], Any] | None] = {
        "close": lambda engine: engine.close(),
        "compare": lambda engine: engine.compare(picture, picture).same or pytest.fail(),
        "embed": lambda engine: engine.embed(picture),
        "embed_each": lambda engine: list(engine.embed_each([picture])),
        "fold": lambda engine: engine.fold(engine.search(picture, 12)),
        "hold_writer_lock": lambda engine: engine.hold_writer_lock("test"),
        "load": None,  # in tests of their own
        "move": lambda engine: engine.move(tmp_path / "back.library", progress=False),
        "picture": lambda engine: engine.picture(picture, max_side=20),
        "query": lambda engine: engine.query(picture),
        "search": lambda engine: engine.search(picture),
        "search_each": lambda engine: list(engine.search_each([picture])),
        "second_library": lambda engine: engine.second_library().close(),
        "status": lambda engine: engine.status(),
        "tags": lambda engine: engine.tags(picture),
        "tags_each": lambda engine: list(engine.tags_each([picture])),
        "words": lambda engine: engine.words(),
        "embed_text": None,  # a model's matter
    }
    verbs = {name for name, kind in inspect.getmembers(ImageSearchEngine, inspect.isfunction) if not name.startswith("_")}
    assert sorted(verbs) == sorted([*table, *done])
    with engine_on(spec) as engine:
        for verb in table:
            with pytest.raises(UsageError, match=r"is a collection"):
                getattr(engine, verb)()
        for call in done.values():
            if call is not None:
                call(engine)
    with engine_on(spec) as engine, pytest.raises(NeedsFolderError):
        engine.annotate("table.csv", key="path")


def test_a_search_asks_for_its_rows_once(library: Path, photos: Path, toys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is a round trip away: rows that have the query's bytes, then the matches."""
    moved(library, toys)
    asked: list[int] = []
    records = toystores.ToyCollection.records
    monkeypatch.setattr(toystores.ToyCollection, "records", lambda self, *given, **more: asked.append(1) or records(self, *given, **more))
    with engine_on(toys) as engine:
        query = engine.query(photos / "circle" / "1.png")
        asked.clear()
        assert len(engine.search(query, 5)) == 5
    assert len(asked) == 2


def test_a_store_of_a_library_is_no_collection(library: Path, tmp_path: Path) -> None:
    with quick_engine(library) as engine:
        for place in ("chroma:http://127.0.0.1:1", "milvus:http://127.0.0.1:1", "milvus:x"):
            with pytest.raises(UsageError):
                engine.move(place, progress=False)


def test_what_a_spec_of_a_collection_names() -> None:
    for text, address, name in (
        ("milvus:http://localhost:19530/photos", "http://localhost:19530", "photos"),
        ("milvus:https://[::1]:19530/a_1", "https://[::1]:19530", "a_1"),
        ("milvus:photos.db", "photos.db", "images"),
        ("milvus:/some where/photos.db/cats", "/some where/photos.db", "cats"),
    ):
        spec = parse_spec(text)
        assert (spec.address, spec.collection, spec.place, str(spec)) == (address, name, "collection", text)
    assert parse_spec("milvus:http://localhost:19530").place == "server"
    bad = [
        "milvus:http://localhost/photos",
        "milvus:http://localhost:1/a-b",
        "milvus:.db",
        "milvus:photos",
        "milvus:ftp://a:1/x",
        "exact:a.db",
    ]
    for text in bad:
        with pytest.raises(UsageError, match="there is no store"):
            parse_spec(text)


# Pictures


def test_pictures_are_fetched_where_they_lie(library: Path, photos: Path, spec: str) -> None:
    moved(library, spec)
    with engine_on(spec) as engine:
        matches = engine.search(photos / "circle" / "1.png", 3)
        item = engine.second_library().reader().items([int(matches[0].id[3:])])[int(matches[0].id[3:])]
        assert engine.picture(item.source, max_side=20).pixels.shape[:2] == (15, 20)
        (photos / "circle" / "1.png").unlink()
        assert engine.picture(item.source, max_side=20).pixels.shape[:2] == (15, 20)  # kept
        assert engine.search(matches[0].id, 1)[0].gone
        other = engine.second_library().reader().item(int(matches[1].id[3:]))
        assert other is not None
        os.truncate(other.path, 0)
        with pytest.raises(DecodeError) as caught:
            engine.picture(other.source, max_side=20)
        assert caught.value.reason in (SkipReason.EMPTY, SkipReason.NOT_AN_IMAGE)
        third = engine.second_library().reader().item(int(matches[2].id[3:]))
        assert third is not None
        os.unlink(third.path)
        os.mkfifo(third.path) if hasattr(os, "mkfifo") else None
        with pytest.raises(DecodeError) as caught:  # at once
            engine.picture(third.source, max_side=20)
        assert caught.value.reason in (SkipReason.SPECIAL, SkipReason.VANISHED)


# Filling


@pytest.fixture
def dataset(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """12 pictures with a vector, one without; four a block."""
    pytest.importorskip("pyarrow")
    from image_search.dataset.work import Order

    monkeypatch.setattr(image_search.cluster.embed, "Order", functools.partial(Order, pool=InProcessPool))
    (photos / "circle" / "broken.jpg").write_bytes(b"no picture")
    embed_dataset(photos, out=tmp_path / "vectors", model=QuickModel(), block_images=4, jobs=1, progress=False)
    return str(tmp_path / "vectors")


def test_a_load_that_was_cut_off_is_finished_by_the_next(
    dataset: str, photos: Path, spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(image_search.collection.load, "LOAD_BATCH", 2)
    kind = type(opened(spec.replace("photos", "other")))
    whole, puts = kind.put, []

    def cut_off(self: Any, records: Any, vectors: Any) -> None:
        if len(puts) == 3:
            raise StoreError("Milvus does not answer", path=self.where)
        puts.append(len(records))
        whole(self, records, vectors)

    lines: list[str] = []
    with engine_on(spec) as engine:
        monkeypatch.setattr(kind, "put", cut_off)
        with pytest.raises(StoreError, match="does not answer"):
            engine.load(dataset, progress=False)
        half = engine.status()
        assert half["loading"] == {"from": dataset, "images": 13}
        assert (half["images"], half["store_ready"], half["store_note"]) == (sum(puts), False, "not all is loaded")
        assert 0 < half["classes"] <= 3
        with engine_on(spec, lines) as other:
            assert other.move(tmp_path / "half.library", progress=False).images == sum(puts)
        assert [line[:46] for line in lines] == ["Something is being loaded into the collection,"]
        monkeypatch.setattr(kind, "put", whole)
        told: list[tuple[int, int, int]] = []
        report = engine.load(dataset, progress=lambda *at: told.append(at))
        assert (report.loaded, report.unchanged, report.refused, report.images) == (12 - sum(puts), sum(puts), 1, 12)
        assert told[-1][0] == 12
        again = engine.load(dataset, progress=False)
        assert (again.loaded, again.unchanged) == (0, 12)
        assert len(engine.search(photos / "circle" / "1.png", 20)) == 12
        assert [engine.status()[name] for name in ("classes", "loading", "store_ready")] == [3, None, True]
    with quick_engine(tmp_path / "library") as plain:
        plain.index(photos, progress=False)
        wanted = [match.path for match in plain.search(photos / "circle" / "1.png", 20)]
    with engine_on(spec) as engine:
        assert [match.path for match in engine.search(photos / "circle" / "1.png", 20)] == wanted


def test_a_data_set_that_is_not_done_is_told(dataset: str, toys: str) -> None:
    sorted(Path(dataset, "blocks").iterdir())[0].unlink()
    lines: list[str] = []
    with engine_on(toys, lines) as engine:
        report = engine.load(dataset, progress=False)
    missing = 13 - report.images - report.refused
    assert missing > 0
    assert [line.partition(":")[0] for line in lines] == [f"{missing} of the data set's 13 pictures were not embedded yet"]


def test_vectors_of_another_model_are_refused(library: Path, spec: str, tmp_path: Path) -> None:
    moved(library, spec)
    other = Source(
        dataclasses.replace(FINGERPRINT, weights_sha256="1" * 64), canonical_vectors(QuickModel()), 0, lambda: iter(()), lambda: 0
    )
    with engine_on(spec) as engine, pytest.raises(ModelMismatchError, match="holds vectors of the model quick"):
        engine._filled(other, False)
    with quick_engine(library) as engine, pytest.raises(ModelMismatchError, match="was made with the model quick"):
        engine._filled(dataclasses.replace(other, batches=lambda: one_row(library)), False)


def one_row(folder: Path) -> Iterator[Batch]:
    yield Batch([record(str(folder / "a.jpg"))], unit(np.random.default_rng(1), 1))


def test_addresses_that_share_a_number_are_told(spec: str, tmp_path: Path) -> None:
    x = unit(np.random.default_rng(5), 4)
    rows = [record("s3://b/1"), record("s3://b/2"), record("s3://b/" + "x" * 9000), record("s3://b/3")]
    rows[1] = rows[1]._replace(number=rows[0].number)
    source = Source(FINGERPRINT, canonical_vectors(QuickModel()), 4, lambda: iter([Batch(rows, x)]), lambda: 0)
    with engine_on(spec) as engine:
        report = engine._filled(source, False)
        assert (report.loaded, report.left_out, report.images) == (2, 2, 2)


def test_a_data_set_becomes_a_library_that_index_knows(dataset: str, photos: Path, tmp_path: Path) -> None:
    with quick_engine(tmp_path / "new.library") as engine:
        report = engine.load(dataset, progress=False)
        assert (report.loaded, report.refused, report.images) == (12, 1, 12)
        assert engine.search(photos / "circle" / "1.png", 3)[0].identical
        run = engine.index(photos, progress=False)
        assert (run.embedded, run.unchanged, len(run.skipped)) == (0, 12, 1)
        assert engine.verify() == []


def test_a_library_is_filled_and_its_store_named_in_one_go(
    dataset: str, photos: Path, run: Callable[..., Answer], toys: str, tmp_path: Path
) -> None:
    server = "chroma:http://127.0.0.1:8000"
    wrong: list[tuple[list[str | Path], str]] = [
        (["load", dataset, "--store", server], "name the library's folder beside --store chroma:http://127.0.0.1:8000"),
        (
            ["load", dataset, "--store", f"{server}/photos"],
            "name the library's folder, and its store as --store chroma:http://127.0.0.1:8000",
        ),
        (["load", dataset, "--store", "exact"], "name the library's folder beside --store exact"),
        (["move", toys, "--store", server], "name the library's folder beside --store chroma:http://127.0.0.1:8000"),
        (["move", toys, toys, "--store", "exact"], "leave out --store"),
    ]
    moved_in = run("load", dataset, "--store", toys)
    assert moved_in.code == 0, moved_in.err
    for words, hint in wrong:
        answer = run(*words)
        assert (answer.code, answer.err.count("\n")) == (2, 1) and hint in answer.err.replace(". Name", ". name").replace(
            ". Leave", ". leave"
        ), answer.err
    for words in (["load", dataset, "--library", tmp_path / "one.library"], ["move", toys, tmp_path / "two.library"]):
        answer = run(*words, "--store", "exact")
        assert answer.out.endswith(f": 12 in {words[-1]}\n"), answer.err
        assert "store       exact" in run("status", "--library", words[-1]).out


@pytest.mark.slow
def test_a_library_is_filled_with_a_store_on_a_server(dataset: str, photos: Path, chroma_server: str, tmp_path: Path) -> None:  # noqa: F811
    store = f"chroma:{chroma_server}"
    lines: list[str] = []
    with quick_engine(tmp_path / "one.library", store=store, notify=lines.append) as engine:
        assert engine.load(dataset, progress=False).loaded == 12
        assert engine.load(dataset, progress=False).unchanged == 12
        assert (engine.status()["store"], engine.status()["store_ready"]) == (store, True)
        exact = engine.search(photos / "circle" / "1.png", 5, how="exact")
        assert [one.path for one in engine.search(photos / "circle" / "1.png", 5, how="store")] == [one.path for one in exact]
        assert engine.move(tmp_path / "two.library", store=store, progress=False).images == 12
    with quick_engine(tmp_path / "two.library", store=None) as engine:  # it remembers its store
        assert (engine.status()["store"], engine.status()["store_ready"]) == (store, True)
    assert lines == []


def test_a_data_set_in_the_place_of_a_library(dataset: str, photos: Path, run: Callable[..., Answer]) -> None:
    before = sorted(os.listdir(dataset))
    for words in (["status"], ["search", photos / "circle" / "1.png"], ["serve", "--no-browser"], ["index", photos]):
        answer = run(*words, "--library", dataset)
        way = f"image-search load {dataset} --library NEW.library"
        assert (answer.code, answer.err) == (1, f"error: this is a data set, and no library: {dataset}. Bring it into one with: {way}\n")
    assert sorted(os.listdir(dataset)) == before


def test_pictures_behind_addresses_make_no_library(tmp_path: Path) -> None:
    x = unit(np.random.default_rng(6), 1)
    for row, said in ((record("s3://b/1.jpg"), "these lie elsewhere"), (record("/nowhere/at/all/1.jpg"), "do not lie on this machine")):
        source = Source(FINGERPRINT, canonical_vectors(QuickModel()), 1, lambda row=row: iter([Batch([row], x)]), lambda: 0)
        with quick_engine(tmp_path / "none.library") as engine, pytest.raises(UsageError, match=said):
            engine._filled(source, False)
    assert not (tmp_path / "none.library").exists()


def test_there_and_back_again(library: Path, photos: Path, spec: str, tmp_path: Path) -> None:
    moved(library, spec)
    with engine_on(spec) as engine:
        assert engine.move(tmp_path / "back.library", progress=False).images == 12
    with quick_engine(library) as one, quick_engine(tmp_path / "back.library") as two:
        assert two.index(photos, progress=False).embedded == 0
        assert [match.path for match in one.search(photos / "circle" / "1.png", 20)] == [
            match.path for match in two.search(photos / "circle" / "1.png", 20)
        ]


def test_the_commands(
    library: Path, photos: Path, run: Callable[..., Answer], spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Library(library).writing() as catalog:
        catalog.set_meta("fingerprint", Quick.fingerprint.to_json()) if catalog.meta("fingerprint") else None
    answer = run("move", library, "--store", spec)
    assert answer.out == f"12 images loaded: 12 in {spec}\n", answer.err
    assert '"unchanged": 12' in run("move", library, spec, "--json").out
    assert "store       12 rows, index" in run("status", "--store", spec).out
    collection = opened(spec, make=False)
    collection.mark({"loading": '{"from": "s3://b/vectors", "images": 1300}'})
    collection.close()
    half = run("status", "--store", spec).out
    assert ": not all is loaded\nloading     about 1,300 pictures of s3://b/vectors are being loaded, or that was cut off; " in half
    picture = photos / "circle" / "1.png"
    assert run("compare", picture, picture, "--store", spec).out.startswith("same bytes: ")
    asked = run("ask", "--store", spec, stdin=f"{picture}\n\n".encode())
    assert f"12 images in {spec}." in asked.err and "identical" in asked.out
    assert run("move", library).err.startswith("error: no destination was given")
    assert run("load", "vectors").err.startswith("error: no destination was given")
    assert run("index", photos, "--store", spec).err.startswith(f"error: {spec} is a collection")


# A filter on the class, which is correlated with what lies near


def clustered(n: int, classes: int) -> tuple[Float32, list[str]]:
    """Vectors of classes of very different sizes, each in a region of its own: float32 (n, DIM), and their classes."""
    rng = np.random.default_rng(0)
    sizes = 1 / np.arange(1, classes + 1)
    labels = np.sort(rng.choice(classes, n, p=sizes / sizes.sum()))
    centres, inner = rng.standard_normal((classes, 24)), 0.5 * rng.standard_normal((classes, 10, 24))
    z = centres[labels] + inner[labels, rng.integers(0, 10, n)] + 0.35 * rng.standard_normal((n, 24))
    x = (z @ rng.standard_normal((24, DIM))).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, [f"c{label}" for label in labels]


def in_batches(rows: list[Record], x: Float32) -> Source:
    batches = lambda: (Batch(rows[at : at + 1000], x[at : at + 1000]) for at in range(0, len(rows), 1000))  # noqa: E731
    return Source(FINGERPRINT, canonical_vectors(QuickModel()), len(rows), batches, lambda: 0)


LIBRARIES = [name for name, row in STORES.items() if {"memory", "files"} & set(row.places)]
EVERY = [
    *((kind, size, ()) for kind, size in (("exact", 1500), ("toys", 500), ("lite", 3000))),
    *((kind, 100_000, pytest.mark.slow) for kind in (*LIBRARIES, "server")),
]


@pytest.mark.parametrize(("kind", "size"), [pytest.param(kind, size, marks=mark, id=f"{kind} {size}") for kind, size, mark in EVERY])
def test_a_filter_on_another_class_finds_its_nearest(
    kind: str, size: int, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every store: recall@10 of at least .99, or the answer says that it is not exact. The queries are of other classes."""
    x, names = clustered(size, 100)
    (tmp_path / "photos").mkdir()
    rows = [record(str(tmp_path / "photos" / f"{i}.jpg"), name) for i, name in enumerate(names)]
    place_in = {row.uri: at for at, row in enumerate(rows)}
    alone = kind not in LIBRARIES
    store = named(kind, request, tmp_path, monkeypatch) if alone else kind
    with quick_engine(None if alone else tmp_path / "library", store=store, notify=lambda line: None) as engine:
        report = engine._filled(in_batches(rows, x), False)
        assert report.images == size
        labels = np.array(names)
        for name in ("c0", "c40", max(names, key=lambda name: int(name[1:]))):
            mine, others = np.flatnonzero(labels == name), np.flatnonzero(labels != name)
            recalls, exact = [], True
            for at in np.random.default_rng(1).choice(others, 10):
                query = x[at] + 0.02 * np.random.default_rng(at).standard_normal(DIM).astype(np.float32)
                matches = engine.search(Query("query", query), 10, names=name)
                (wanted,), _ = top_k(x[mine], query[None, :], 10)
                recalls.append(len({place_in[match.path] for match in matches} & set(mine[wanted].tolist())) / min(10, len(mine)))
                exact = exact and matches.exact
            assert np.mean(recalls) >= 0.99 or not exact, (name, np.mean(recalls), exact)
        if kind == "server":
            assert engine.status()["index"] == "HNSW"
            recalls = []
            for at in np.random.default_rng(2).choice(size, 40):
                query = x[at] + 0.02 * np.random.default_rng(at).standard_normal(DIM).astype(np.float32)
                found = {place_in[match.path] for match in engine.search(Query("query", query), 10)}
                (wanted,), _ = top_k(x, query[None, :], 10)
                recalls.append(len(found & set(wanted.tolist())) / 10)
            assert np.mean(recalls) >= 0.99


# A bucket, and what Milvus' client would do by itself


@pytest.mark.slow
def test_a_bucket_becomes_a_collection_and_its_pictures_are_fetched(
    photos: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """index, load, search: the matches of the plain library, and its similarities."""
    spec = named("lite", request, tmp_path, monkeypatch)
    from clouds import bucket, s3_server, upload

    from image_search.dataset.work import Order

    monkeypatch.setattr(image_search.cluster.embed, "Order", functools.partial(Order, pool=InProcessPool))
    with s3_server(monkeypatch):
        bucket("photos")
        upload(photos, "s3://photos")
        embed_dataset("s3://photos", out="s3://photos/vectors", model=QuickModel(), block_images=5, jobs=1, progress=False)
        with engine_on(spec) as engine, quick_engine(tmp_path / "library") as plain:
            plain.index(photos, progress=False)
            assert engine.load("s3://photos/vectors", progress=False).images == 12
            for query in (photos / "circle" / "1.png", photos / "square" / "2.png"):
                for given in ({}, {"names": "stripes"}, {"fold": True}):
                    one, two = plain.search(query, 12, **given), engine.search(query, 12, **given)
                    assert [match.uri for match in two] == [match.path.replace(str(photos), "s3://photos") for match in one]
                    assert [match.similarity for match in two] == pytest.approx([match.similarity for match in one], abs=1e-6)
            assert len(engine.search(photos / "circle" / "1.png", 5, path="s3://photos/square/*")) == 4
            match = two[0]
            copies = two.copy_to(tmp_path / "copies")
            assert len(copies.copied) == len(two) and not copies.failed
            assert (tmp_path / "copies" / match.path.rpartition("/")[2]).read_bytes() == (photos / match.path[12:]).read_bytes()
            with pytest.raises(UsageError, match="these lie elsewhere"):
                engine.move(tmp_path / "folder.library", progress=False)


def test_milvus_is_quiet_and_reads_no_settings_that_lie_about(tmp_path: Path, own_home: Path) -> None:
    """pymilvus reads a .env file, and prints every error with its trace; nothing is written into the home."""
    pytest.importorskip("pymilvus", reason="pymilvus is not here: pip install 'ai-image-search-engine[milvus]'")
    (tmp_path / ".env").write_text("PLANTED=yes\nMILVUS_URI=http://127.0.0.1:1\n")
    code = """
import os, sys
from image_search.errors import StoreError
from image_search.stores import open_collection, parse_spec
sys.ps1 = ">"  # where python-dotenv would look into the working folder
spec = parse_spec("milvus:photos.db")
try:
    open_collection(spec)
except StoreError as error:
    assert "there is no collection" in str(error)
collection = open_collection(spec, make={"fingerprint": "x"}, dim=4)
try:
    collection._table.rows("no such ( column", ["id"])
except StoreError as error:
    assert "Milvus failed" in str(error) and chr(10) not in str(error)
collection.close()
assert "PLANTED" not in os.environ
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert not [path for path in own_home.rglob("*") if path.is_file()]


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus", reason="pymilvus is not here: pip install 'ai-image-search-engine[milvus]'")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with engine_on(f"milvus:{address}/photos") as engine, pytest.raises(StoreError) as caught:
            engine.status()
    assert str(caught.value).startswith("Milvus does not answer (") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("unrecoverable error", "Milvus is not ready (unrecoverable error): here. Where it has just been started"),
        ("[query] Retry timeout: 60s, <_MultiThreadedRendezvous: StatusCode.UNAVAILABLE>", "Milvus does not answer: here. Start it"),
        ("no such field", "Milvus failed (no such field): here"),
        (
            'cannot parse expression: uri like "%/cats/%", error: unsupported pattern: %/cats/%, only prefix pattern match like ab%',
            "this Milvus server knows '*' only at the end of a path: here. For example 's3://bucket/2024/*'",
        ),
    ],
)
def test_what_milvus_says_is_told_in_our_words(said: str, told: str) -> None:
    with pytest.raises((StoreError, UsageError)) as caught, milvus_errors("here"):
        raise RuntimeError(said)
    assert str(caught.value).startswith(told)


def test_a_collection_that_does_not_come_into_memory_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loading:
        asked = 0

        def load_collection(self, *_: Any, **how: Any) -> None:
            assert how["timeout"] <= 60

        def get_load_state(self, *_: Any, **how: Any) -> dict[str, Any]:
            self.asked += 1
            return {"state": SimpleNamespace(name="Loaded" if self.asked > 3 else "Loading"), "progress": 40}

    monkeypatch.setattr(image_search.stores.milvus_client, "MILVUS_STEP_SECONDS", 0)
    Table(Loading(), "photos", "http://here:1", Field("id", "INT64")).load()
    with pytest.raises(StoreError, match="still bringing the collection into its memory"):
        Table(Loading(), "photos", "http://here:1", Field("id", "INT64")).load(-1)


def test_without_its_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with (
        engine_on("milvus:http://127.0.0.1:1/photos") as engine,
        pytest.raises(MissingExtraError, match=r"the store milvus needs .*\[milvus\]"),
    ):
        engine.status()


# The page


def test_the_page_asks_a_collection(library: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi")
    from image_search.web import browsing
    from image_search.web.asking import FacetsRequest
    from image_search.web.originals import original
    from image_search.web.schemas import CountsRequest, QueryPart, SearchRequest
    from image_search.web.service import Service, Shared
    from image_search.web.tidy_schemas import LookRequest

    monkeypatch.setitem(STORES, "toys", toystores.ALONE)
    monkeypatch.setattr(toystores.ToyCollection, "held", {})
    spec = f"toys:{tmp_path}/page.toys"
    moved(library, spec)
    service = Service(engine_on(spec), Shared())
    try:
        service.warm_up()
        state = service.state().library
        assert state is not None and (state.path, state.images, state.classes, state.store_ready) == (spec, 12, 3, True)
        first = browsing.sample(service.library, 3).items[0]
        assert first is not None and (first.state, first.modified) == ("here", "")
        assert service.pictures.thumbnail(first.id).lasting and service.pictures.view(first.id).media_type == "image/jpeg"
        assert original(service.library, first.id).size == os.path.getsize(first.path)
        assert browsing.facts(service.library, first.id).copies == 0
        answer = service.searching.search(SearchRequest(queries=[QueryPart(id=first.id)], n=12, full=2))
        assert (answer.matches[0].id, len(answer.matches), answer.rest) == (first.id, 12, None)
        assert [one.images for one in browsing.classes(service.library).classes] == [4, 4, 4]
        assert [one.images for one in service.searching.class_counts(CountsRequest(path=f"{photos}/s*")).classes] == [4, 4]
        assert service.searching.facets(FacetsRequest()).formats == []
        assert (service.walls.shown(None).images, service.walls.shown("circle").images) == (12, 4)
        assert len(browsing.page(service.library, None, 0, 5).items) == 5
        assert browsing.skipped(service.library).files == []
        for what in ("groups", "check", "map"):  # the page says it in its own language
            service.tidying.begin(LookRequest(what=what))
            service.tidying._looks._thread.join()
            problem = service.tidying.state().problem
            assert (problem.code, problem.hint.partition(": ")[2]) == ("NeedsFolder", f"image-search move {spec} NEW.library")
        assert service.tidying.decisions().items == []
    finally:
        service.close()
