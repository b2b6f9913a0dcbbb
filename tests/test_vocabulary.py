"""The words that the built-in model knows without a network, and what it says of a picture by itself."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import fill

from image_search import ImageSearchEngine, ModelDamagedError, QueryError, Text
from image_search.evaluate.words import class_names_found
from image_search.library.model import WORDS
from image_search.models import MODELS, Tag, Vocabulary, VocabularyEmbedder, centre_of_words, load_model, words_record
from image_search.models.vocabulary import read_vocabulary
from image_search.search.blend import Part, blend

MINI = next(row for row in MODELS if row.name == "mini")
FILE = Path(str(load_model.__globals__["__file__"])).parent / "mini" / str(MINI.vocabulary)


@pytest.fixture(scope="module")
def shipped() -> Vocabulary:
    return read_vocabulary(FILE, str(MINI.sha256), 256)


@pytest.fixture(scope="module")
def small() -> Vocabulary:
    """Four things along the axes, and what is told of them."""
    return Vocabulary(
        english=(("animal",), ("dog", "puppy"), ("red",), ("orange fruit", "orange"), ("orange colour", "orange")),
        korean=(("동물",), ("개", "강아지"), ("빨강", "빨간"), ("오렌지",), ("주황",)),
        kinds=("group", "class", "colour", "class", "colour"),
        vectors=np.eye(5, 8, dtype=np.float32),
        chances=np.array([[8, -1, 0.4], [8, -4, 0.02], [8, -4, 0.1], [8, -4, 0.01], [8, -4, 0.1]], np.float32),
        sha256="",
    )


def test_what_is_shipped(shipped: Vocabulary) -> None:
    assert len(shipped.english) >= 1500 and FILE.stat().st_size <= 1_000_000
    assert all(any("가" <= c <= "힣" for c in name) for names in shipped.korean for name in names)
    assert np.allclose(np.linalg.norm(shipped.vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("phrase", "same"),
    [
        ("Tabby Cats", "tabby cat"),
        ("a photo of a tabby-cat", "tabby"),
        ("태비 고양이", "tabby"),
        ("고양이", "cat"),
        (unicodedata.normalize("NFD", "고양이"), "cat"),
        ("고양이가 있는 사진", "cat"),
        ("빨간 자동차", "red car"),
        ("빨간자동차", "red car"),
        ("the wolves", "wolf"),
        ("strawberries and a knife", "knife with strawberries"),
        ("골든리트리버", "골든 리트리버"),
        ("n02123045", "tabby"),
    ],
)
def test_a_phrase_is_read_as_people_mean_it(shipped: Vocabulary, phrase: str, same: str) -> None:
    np.testing.assert_allclose(shipped.vector(phrase), shipped.vector(same), atol=1e-5)


@pytest.mark.parametrize(
    ("phrase", "word", "near"),
    [("a saxofone", "saxofone", "saxophone"), ("빨간 고얌이", "고얌이", "고양이"), ("red zzzzqqqq", "zzzzqqqq", "")],
)
def test_an_unknown_word_is_said_with_those_near_it(shipped: Vocabulary, phrase: str, word: str, near: str) -> None:
    with pytest.raises(QueryError) as caught:
        shipped.vector(phrase)
    assert repr(word) in caught.value.what and near in caught.value.what and "siglip2" in str(caught.value.hint)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("phrase", ["a photo of the", "...", "사진"])
def test_words_that_say_nothing(shipped: Vocabulary, phrase: str) -> None:
    with pytest.raises(QueryError, match="name nothing"):
        shipped.vector(phrase)


def test_a_colour_and_a_thing_are_summed(small: Vocabulary) -> None:
    np.testing.assert_allclose(small.vector("red dog"), np.array([0, 1, 1, 0, 0, 0, 0, 0]) / np.sqrt(2), atol=1e-6)
    np.testing.assert_allclose(small.vector("orange dog"), np.array([0, 1, 0, 0, 1, 0, 0, 0]) / np.sqrt(2), atol=1e-6)
    assert small.calibration("puppy") == (8, -4) and small.calibration("red dog") is None


def test_tags_say_what_tells_most_and_is_likely(small: Vocabulary) -> None:
    animal, dog, red = np.eye(8, dtype=np.float32)[:3]
    assert [tag.name for tag in small.tags(dog * 0.9 + animal * 0.4)] == ["dog", "animal"]
    assert [tag.korean for tag in small.tags(animal * 0.9)] == ["동물"]
    assert small.tags(red) == [], "a colour is no thing"
    assert small.tags(np.zeros(8, np.float32)) == [], "it cannot be told"


def test_what_is_typed_is_completed(small: Vocabulary, shipped: Vocabulary) -> None:
    assert small.names.starting("or", 5) == ["orange", "orange fruit", "orange colour"]
    for typed in ("ㄱ", "가", "강", "강ㅇ", "강아"):
        assert small.names.starting(typed, 5) == (["개", "강아지"] if typed == "ㄱ" else ["강아지"])
    assert shipped.names.starting("tabby", 2) == ["tabby", "tabby cat"] and len(shipped.names.starting("", 7)) == 7


def changed(tmp_path: Path, **parts: Any) -> Path:
    with np.load(FILE) as stored:
        held = dict(stored)
    np.savez(tmp_path / "v.npz", **{**held, **parts})
    return tmp_path / "v.npz"


def test_a_damaged_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelDamagedError, match="another model"):
        read_vocabulary(FILE, "0" * 64, 256)
    (tmp_path / "cut.npz").write_bytes(FILE.read_bytes()[:1000])
    wrong = [
        tmp_path / "cut.npz",
        tmp_path / "none.npz",
        changed(tmp_path, vectors=np.ones((3, 256), np.int8)),
        changed(tmp_path, names=np.frombuffer(b"[]", np.uint8)),
    ]
    for path in wrong:
        with pytest.raises(ModelDamagedError, match="cannot be read"):
            read_vocabulary(path, str(MINI.sha256), 256)
    with pytest.raises(ModelDamagedError, match="cannot be read"):
        read_vocabulary(FILE, str(MINI.sha256), 128)


def test_words_are_no_part_of_a_library(real_engine: ImageSearchEngine, photos: Path, shipped: Vocabulary) -> None:
    """One that was made before its model had words knows them, and one made now is the same."""
    real_engine.index(photos, progress=False)
    model = load_model("mini")
    assert isinstance(model, VocabularyEmbedder) and words_record(model) is None
    assert real_engine._open().reader.meta(WORDS) is None and real_engine._open().reader.fingerprint == model.fingerprint
    found = real_engine.search(Text("빨간 자동차"), 2)
    assert len(found) == 2 and found[0].closeness is None and found[0].probability is None, "a sum has no probability"
    assert all(0 <= float(match.probability or 0) <= 1 for match in real_engine.search(Text("cat"), 5, min_probability=0.0001))
    assert len(real_engine.search(Text("volcano"), 5, min_probability=0.999)) == 0
    np.testing.assert_allclose(real_engine.embed_text("red car")[0], shipped.vector("red car"), atol=1e-6)
    assert len(real_engine.search([next(photos.rglob("*.*g")), Text("red")], 1)) == 1
    assert real_engine.words("tabby c") == ["tabby cat"]
    assert len(real_engine.tags([str(next(photos.rglob("*.*g"))), "id:1"])) == 2


def test_pictures_and_words_of_a_vocabulary_are_weighed_from_the_middle(small: Vocabulary) -> None:
    class Model(VocabularyEmbedder):
        @property
        def fingerprint(self) -> Any:
            return type("F", (), {"dim": 8})()

    words = centre_of_words(Model(None, lambda: small))  # type: ignore[arg-type]
    assert not words.any()
    middle = np.full(8, 0.1, np.float32)
    both = blend([Part(np.eye(8, dtype=np.float32)[5]), Part(small.vector("red"), words=True)], lambda: (middle, words))
    assert both[2] == pytest.approx(1 / np.sqrt(2), abs=0.2)


def test_only_class_names_that_are_known_are_measured(small: Vocabulary) -> None:
    class Model(VocabularyEmbedder):
        fingerprint = type("F", (), {"name": "mini"})()  # type: ignore[assignment]

    model = Model(None, lambda: small)  # type: ignore[arg-type]
    pictures = np.eye(8, dtype=np.float32)[[1, 1, 0, 6]]
    found = class_names_found(model, ["animal", "puppy", "zebra"], "a photo of {}", pictures, ["puppy", "puppy", "animal", "zebra"])
    assert (found.accuracy, found.p10, found.classes, found.of) == (1, 1, 2, 3)
    with pytest.raises(QueryError, match="none of these 1"):
        class_names_found(model, ["zebra"], "{}", pictures, ["zebra"] * 4)


def test_in_the_shell(run: Callable[..., Any], photos: Path) -> None:
    picture = next(photos.rglob("*.*g"))
    said = run("tags", picture)
    assert said.code == 0 and str(picture) in said.out
    (row,) = json.loads(run("tags", picture, "--json").out)
    assert row["image"] == str(picture) and all(set(tag) == {"name", "korean", "probability"} for tag in row["tags"])
    missing = run("tags", "nothing.jpg")
    assert missing.code == 1 and "no such file" in missing.err
    some = run("tags", "nothing.jpg", picture, "id:999")
    assert some.code == 1 and some.out == said.out and len(some.err.splitlines()) == 2
    rows = json.loads(run("tags", "nothing.jpg", picture, "--json").out)
    assert [sorted(row) for row in rows] == [["error", "image"], ["image", "tags"]]


def test_words_that_fit_nothing_are_said_to(real_model: None, run: Callable[..., Any], photos: Path) -> None:
    run("index", photos, "--model", "mini")
    said = run("search", "--text", "hermit crab", "-n", "1")
    shown = next(part for part in said.out.split() if part.startswith("0.") and part in said.err)
    assert f"None of these fits the words well: the highest probability is {shown}" in said.err
    assert "None of these" not in run("search", photos / "circle" / "0.png").err


def test_a_library_of_another_model_is_tagged_by_mini(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos, progress=False)
    picture = next(photos.rglob("*.*g"))
    item = engine.search(picture, 1)[0]
    assert engine.tags(item.id) == engine.tags(item.path) and engine.words("cat") == []


def test_what_is_new_gets_tags_by_the_vectors_that_it_has(
    real_engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert real_engine.index(photos, progress=False).tags == {}, "nobody asked"
    more = photos.parent / "more"
    fill(more, 1, first=50)
    shutil.copy(photos / "circle" / "0.png", more / "again.png")
    embedded: list[int] = []
    model = real_engine._model.of(real_engine._open().reader.fingerprint, real_engine._open().reader.canonical)
    assert isinstance(model, VocabularyEmbedder)
    real = model.embed
    monkeypatch.setattr(model, "embed", lambda pixels: (embedded.append(len(pixels)), real(pixels))[1])
    report = real_engine.index([photos, more], tags=True, progress=False)
    assert (report.added, sum(embedded)) == (4, 3), "a known content and the tags cost nothing"
    assert sorted(report.tags) == sorted(str(path) for path in more.rglob("*.png"))
    for path, tags in report.tags.items():
        assert tags == real_engine.tags(path)[0]
    assert real_engine.index([photos, more], tags=True, progress=False).tags == {}


def test_what_is_new_in_a_library_of_another_model(engine: ImageSearchEngine, photos: Path) -> None:
    report = engine.index(photos, tags=True, progress=False)
    assert len(report.tags) == 12
    path, tags = next(iter(report.tags.items()))
    assert tags == engine.tags(path)[0]


def test_tags_of_an_index_run_in_the_shell(run: Callable[..., Any], photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"circle": [Tag("ball", "\uacf5", 0.9)], "square": [Tag("box", "\uc0c1\uc790", 0.7)], "stripes": []}
    monkeypatch.setattr(
        "image_search.engine.ImageSearchEngine._tags_of", lambda self, catalog, new: {path: said[Path(path).parent.name] for path, _ in new}
    )
    found = run("index", photos, "--tags")
    assert "tagged           12  ball 4, box 4; I do not know 4\n" in found.out
    assert "tags" not in json.loads(run("index", photos, "--json").out)
    (photos / "circle" / "0.png").rename(photos / "circle" / "moved.png")
    fill(photos, 1, first=70)
    rows = json.loads(run("index", photos, "--tags", "--json").out)["tags"]
    assert len(rows) == 3 and rows[0]["tags"] == [{"name": "ball", "korean": "\uacf5", "probability": 0.9}]


def test_many_go_through_the_model_together(engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one by one: then one core waits for the other."""
    calls: list[int] = []
    paths = sorted(map(str, photos.rglob("*.png")))
    engine.tags(paths[0])
    real = engine._tagger.embed  # type: ignore[union-attr]
    monkeypatch.setattr(engine._tagger, "embed", lambda pixels: (calls.append(len(pixels)), real(pixels))[1])
    monkeypatch.setattr("image_search.embedding.available_cpus", lambda: 4)
    found = list(engine.tags_each([*paths, "nothing.jpg"]))
    assert [isinstance(one, QueryError) for one in found] == [False] * 12 + [True]
    assert found[:12] == engine.tags(paths) and max(calls) > 1
