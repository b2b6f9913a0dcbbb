"""Labels that may be wrong: the vote of neighbours, on vectors made up for it, on a library and on a folder."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from inprocess import Answer
from pictures import fill, picture

from image_search import ImageSearchEngine, UsageError
from image_search.errors import ImageSearchError, LibraryNotFoundError
from image_search.present.html import Card, Part, Row, page
from image_search.present.json import SCHEMA
from image_search.search.matches import Matches
from image_search.search.query import Query
from image_search.testing import quick_engine
from image_search.tidy.labelled import Labelling
from image_search.tidy.labels import LabelCheck, Labelled, check_labels
from image_search.tidy.neighbours import nearest
from image_search.types import Float32, Match


def clusters(groups: int, each: int, *, spread: float = 0.3, seed: int = 0) -> Float32:
    """float32 (groups * each, 32), unit vectors around as many centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, 1, 32))
    found = (centres + spread * rng.normal(size=(groups, each, 32))).reshape(-1, 32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def checked(vectors: Float32, names: Sequence[str], contents: Sequence[int] | None = None, **how: int) -> LabelCheck:
    rows = np.arange(len(names)) if contents is None else np.array(contents)
    told = lambda wanted: [Labelled(f"id:{n}", f"/p/{n}.jpg", names[n]) for n in wanted]  # noqa: E731
    return check_labels(vectors, rows, list(names), told, model="test", **{"neighbours": 5, **how})


# Neighbours


@pytest.mark.parametrize(("count", "k"), [(1, 3), (2, 5), (300, 7), (1200, 3)])
def test_nearest_are_the_nearest(count: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_search.tidy.neighbours._SCORES", 20_000)  # so that there are many blocks
    vectors = clusters(3, count // 3 + 1)[:count]
    steps: list[int] = []
    found, cosines = nearest(vectors, k, say=lambda done, total: steps.append(done))
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    want = np.argsort(-scores, axis=1, kind="stable")[:, : min(k, count - 1)]
    assert (np.take_along_axis(scores, want, axis=1) == pytest.approx(cosines, abs=1e-5)) if count > 1 else found.shape == (1, 0)
    assert (found == want).mean() > 0.999 if count > 1 else not steps  # equal to the last bits they may change places
    if count > 2:
        among, _ = nearest(vectors[:5], k, among=vectors)
        assert among[:, 0].tolist() == [0, 1, 2, 3, 4], "among others a vector finds itself"


def test_nearest_of_all_alike_are_others() -> None:
    found, cosines = nearest(np.tile(clusters(1, 1), (500, 1)), 4)
    assert found[0].tolist() == [1, 2, 3, 4] and found[300].tolist() == [0, 1, 2, 3] and cosines == pytest.approx(1, abs=1e-5)


# The vote


def test_wrong_labels_stand_first_with_the_right_ones_beside_them() -> None:
    vectors = clusters(4, 30)
    right = [name for name in ("Cat", "Dog", "Fish", "강아지") for _ in range(30)]
    names = list(right)
    wrong = {3: "Dog", 40: "강아지", 100: "Cat"}
    for number, name in wrong.items():
        names[number] = name
    found = checked(vectors, names)
    assert {int(s.id[3:]) for s in found.suspects[:3]} == set(wrong)
    for suspect in found.suspects[:3]:
        number = int(suspect.id[3:])
        assert (suspect.name, suspect.says) == (names[number], right[number]) and suspect.confidence > 0.9
        assert names[int(suspect.like[3:])] == suspect.says and suspect.similarity == pytest.approx(
            float(vectors[number] @ vectors[int(suspect.like[3:])]), abs=1e-5
        )
    assert {c.name: (c.images, c.suspects) for c in found.classes}["Cat"] == (30, 1)
    assert found.agree == pytest.approx(1 - len(found.suspects) / 120)
    assert checked(vectors, names).to_dict() == found.to_dict()


def test_copies_do_not_vote_for_each_other() -> None:
    vectors = clusters(2, 12)
    names = ["a"] * 12 + ["b"] * 12 + ["b"] * 6
    contents = [*range(24), *[0] * 6]  # picture 0 lies six more times in the wrong class, where they would outvote the rest
    found = checked(vectors, names, contents)
    assert {s.id for s in found.suspects} == {f"id:{n}" for n in range(24, 30)}
    assert found.copied[0].names == ["a", *["b"] * 6] and len(found.copied) == 1
    alone = checked(vectors[:3], ["a", "b", "a", "b", "b"], [0, 1, 2, 1, 1])
    assert alone.neighbours == 2, "three contents, so at most two neighbours, however many files there are"


def test_what_is_far_from_everything() -> None:
    far = clusters(1, 1, seed=9)
    found = checked(np.concatenate([clusters(3, 40), far]), ["a"] * 40 + ["b"] * 40 + ["c"] * 41)
    assert found.outliers[0].id == "id:120" and len(found.outliers) < 8
    assert next(c.outliers for c in found.classes if c.name == "c") >= 1


def test_classes_that_mix_are_named_once() -> None:
    names = [("tea", "chai")[n % 2] for n in range(40)] + ["car"] * 20
    found = checked(np.concatenate([clusters(1, 40), clusters(1, 20, seed=5)]), names)
    assert [{m.name, m.other} for m in found.mixed] == [{"tea", "chai"}]
    pair = found.mixed[0]
    assert pair.share >= pair.back > 0.2
    assert {c.name: c.mixes_with for c in found.classes} == {"tea": "chai", "chai": "tea", "car": ""}


def test_fewer_neighbours_vote_where_classes_are_small() -> None:
    def voters(each: int) -> int:
        names = [f"c{n}" for n in range(5) for _ in range(each)]
        told = lambda wanted: [Labelled("", "", names[n]) for n in wanted]  # noqa: E731
        return Labelling(clusters(5, each), np.arange(5 * each), names, told).checked("test", None).neighbours

    assert [voters(each) for each in (3, 10, 40)] == [5, 9, 20]


# The most likely class under a search


def found_by(names: Sequence[str], *, closeness: float | None = 0.5, words: bool = False, queries: int = 1, **how: bool) -> Matches:
    """Matches of these classes, nearest first; "=" before one: identical to the query, "'" : a copy of the one before it."""
    rows = [
        Match(
            f"id:{n}", n, name.lstrip("='"), 0.9 - 0.01 * (n - name.startswith("'")), closeness, f"/{n}", f"/{n}", identical=name[:1] == "="
        )
        for n, name in enumerate(names, 1)
    ]
    query = Query("q", np.ones(3, np.float32), words=words)
    return Matches(rows, queries=[query] * queries, model="m", exact=True, library=Path("/l"), **how)


def test_the_most_likely_class() -> None:
    assert found_by(["Polo"] * 7 + ["Shirt"] * 3).vote() == ("Polo", 7, 10)
    assert found_by(["=Shirt", "Polo", "Polo", "Polo"]).vote() == ("Polo", 3, 3), "the query's own file has no vote"
    assert found_by(["Polo", "'Polo", "'Polo", "Shirt"]).vote() is None, "nor do copies together have three"
    assert found_by(["Polo"] * 6 + ["Shirt"] * 4 + ["Shirt"] * 90).vote() == ("Polo", 6, 10), "the ten nearest"
    assert found_by(["고양이"] * 3, closeness=None).vote() == ("고양이", 3, 3), "a small library has no closeness"
    assert str(found_by(["Polo"] * 4)).endswith("\nmost likely class: Polo (4 of 4)")
    answer = found_by(["Polo"] * 4).to_dict()
    jsonschema.validate(answer, SCHEMA)
    assert answer["vote"] == {"name": "Polo", "votes": 4, "of": 4}


@pytest.mark.parametrize(
    "matches",
    [
        found_by([]),
        found_by(["Polo"] * 2),  # too few
        found_by(["Polo"] * 5 + ["Shirt"] * 5),  # no more than half
        found_by([""] * 5),  # no classes
        found_by(["Polo"] * 10, closeness=0.03),  # nothing here is like it
        found_by(["Polo"] * 10, words=True),
        found_by(["Polo"] * 10, queries=2),
        found_by(["Polo"] * 10, narrowed=True),  # only some classes could be found
    ],
)
def test_nothing_is_said_where_it_would_mislead(matches: Matches) -> None:
    assert matches.vote() is None and "most likely" not in str(matches) and matches.to_dict()["vote"] is None


def test_a_search_in_some_classes_or_folders_is_narrowed(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos, progress=False)
    assert not engine.search("id:1").narrowed
    assert engine.search("id:1", names=["square"]).narrowed and engine.search("id:1", path="*/square/*").narrowed


# A library, a folder


def test_check_of_a_library(engine: ImageSearchEngine, photos: Path) -> None:
    shutil.copy(photos / "circle" / "0.png", photos / "square" / "copy.png")
    engine.index(photos, progress=False)
    steps: list[tuple[str, int, int]] = []
    found = engine.check(progress=lambda *step: steps.append(step))
    assert (found.images, found.unlabelled, found.model) == (13, 0, "quick") and steps[-1] == ("neighbours", 12, 12)
    assert [Path(path).name for path in found.copied[0].paths] == ["0.png", "copy.png"]
    listed = found.suspects + found.outliers
    numbers = engine._open().reader.files([int(one.id[3:]) for one in listed])
    assert {(one.id, one.path) for one in listed} == {(f"id:{f.number}", f.path) for f in numbers}
    assert sum(c.suspects for c in found.classes) == len(found.suspects)
    assert json.loads(json.dumps(found.to_dict()))["images"] == 13


def test_images_without_a_class_do_not_count(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos, progress=False)
    fill(tmp_path / "loose", 2, first=50)
    engine.index(tmp_path / "loose", name_from="none", progress=False)
    found = engine.check(progress=False)
    assert (found.images, found.unlabelled) == (12, 6) and {c.name for c in found.classes} == {"circle", "square", "stripes"}


def test_check_of_a_folder_writes_nothing(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    (photos / "circle" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    before = sorted(tmp_path.rglob("*"))
    found = engine.check(photos, progress=False)
    assert sorted(tmp_path.rglob("*")) == before, "no library either"
    assert found.images == 12 and all(not s.id and s.path.startswith(str(photos)) for s in found.suspects)
    assert [Path(path).name for path, _ in found.skipped] == ["broken.png"] and found.library is None
    engine.index(photos, progress=False)
    assert [s.path for s in engine.check(progress=False).suspects] == [s.path for s in found.suspects]


def test_what_cannot_be_checked_is_one_line(tmp_path: Path) -> None:
    def fails(match: str, kind: type[ImageSearchError], folder: Path | None) -> None:
        with quick_engine(tmp_path / "library", notify=lambda _: None) as engine, pytest.raises(kind, match=match) as caught:
            engine.check(folder, progress=False)
        assert "\n" not in str(caught.value)

    fails("no library", LibraryNotFoundError, None)
    fails("no such folder", UsageError, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    fails("no images", ImageSearchError, tmp_path / "empty")
    fill(tmp_path / "photos", 1)
    for unwanted in ("square", "stripes"):
        shutil.rmtree(tmp_path / "photos" / unwanted)
    fails("one class", UsageError, tmp_path / "photos")  # and one picture
    with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
        engine.index(tmp_path / "photos", name_from="none", progress=False)
    fails("no picture has a class", UsageError, None)
    (tmp_path / "photos" / "circle" / "0.png").write_bytes(b"no picture")
    fails("none of these pictures can be read", ImageSearchError, tmp_path / "photos")
    with quick_engine(tmp_path / "library") as engine, pytest.raises(UsageError, match="neighbours"):
        engine.check(neighbours=0)


def test_all_alike_in_two_classes() -> None:
    found = checked(np.tile(clusters(1, 1), (49, 1)), ["a"] * 25 + ["b"] * 24)
    assert found.images == 49 and not found.outliers and all(np.isfinite(s.confidence) for s in found.suspects)


# What it prints


def test_the_command(run: Callable[..., Answer], photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "circle" / "0.png", photos / "square" / "<b>고양이.png")
    table = run("check", photos)
    assert table.code == 0 and "13 images in 3 classes" in table.out and "the same bytes under several classes: 1" in table.out
    (one,) = re.findall(r"several classes: 1\n(.*?)(?:\n\n|\Z)", table.out, re.S)
    assert [line.split()[0] for line in one.splitlines()] == ["name", "circle", "square"], "its classes, beside its paths"
    rows = list(csv.DictReader(io.StringIO(run("check", photos, "--csv").out)))
    data = json.loads(run("check", photos, "--json").out)
    assert [row["uri"] for row in rows if row["finding"] == "suspect"] == [s["path"] for s in data["suspects"]]
    assert {row["finding"] for row in rows} >= {"same bytes"}
    saved = run("check", photos, "--html", tmp_path / "labels.html")
    text = (tmp_path / "labels.html").read_text("utf-8")
    assert saved.code == 0 and "data:image/webp;base64," in text and "고양이" in text and "<b>" not in text
    assert run("check", photos, "--html", tmp_path / "labels.html").code == 0, "a page of ours is replaced"
    (tmp_path / "mine.html").write_text("<p>my own</p>")
    refused = run("check", photos, "--html", tmp_path / "mine.html")
    assert refused.code == 2 and "is no page of this program" in refused.err and (tmp_path / "mine.html").read_text() == "<p>my own</p>"
    assert run("check", photos, "--json", "--csv").code == 2


def test_a_page_of_a_library_whose_files_are_gone(run: Callable[..., Answer], photos: Path, tmp_path: Path) -> None:
    assert run("index", photos, "--store", "exact").code == 0
    shutil.copy(photos / "circle" / "0.png", photos / "square" / "copy.png")
    run("index", photos)
    (tmp_path / "home-of-none").mkdir()
    shutil.rmtree(photos)
    assert run("check", "library", "--html", tmp_path / "labels.html").code == 0
    assert "data:image/webp;base64," in (tmp_path / "labels.html").read_text("utf-8"), "drawn from the thumbnails"


def test_a_page_stands_alone_and_shows_names_as_they_are() -> None:
    name = '"><script>alert(1)</script>\u202e.jpg'
    text = page(name, [name], [Part(name, name, [[name]], [Row(name, [Card(b"RIFF", name, (name,), name, name), Card(None, name)])])])
    assert "<script" not in text and "\u202e" not in text and "http:" not in text and "https:" not in text
    assert "default-src 'none'" in text and text.count("<figure>") == 2


def test_pictures_that_look_alike_still_differ(tmp_path: Path) -> None:
    """The same picture twice under one class is one voter; it stays its own neighbour's neighbour."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            picture("circle", number).save(tmp_path / name / f"{number}.png")
    with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
        found = engine.check(tmp_path, progress=False)
    assert len(found.copied) == 3 and found.neighbours == 2
