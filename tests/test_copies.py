"""One picture or two: told by pixels; folded in a search; compared by a command."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pageserver import Client, serving
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

import image_search.tidy.fold
from image_search.cli.app import main
from image_search.cli.search import say_repeats
from image_search.errors import QueryError, UsageError
from image_search.evaluate.distortions import crop, jpeg, text_over
from image_search.testing import quick_engine
from image_search.tidy.comparison import Comparison
from image_search.tidy.copies import Kind, Prepared, compare, prepare
from image_search.tidy.found import Copies, Pair
from image_search.tidy.groups import Why, beside, by_date, generations


def scene(seed: int, size: tuple[int, int] = (240, 180)) -> Image.Image:
    """Something with edges, flats and texture everywhere, as photographs have."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 215, (5, 7, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(coarse)
    for _ in range(30):
        x, y, r = (int(v) for v in rng.integers(0, (size[0], size[1], 28)))
        box, colour = (x - r, y - r, x + r + 3, y + r // 2 + 3), tuple(int(v) for v in rng.integers(0, 256, 3))
        (draw.ellipse if r % 2 else draw.rectangle)(box, fill=colour)
    return coarse


def seen(picture: Image.Image) -> Prepared:
    return prepare(np.asarray(picture.convert("RGB")))


SAME: dict[str, Callable[[Image.Image], Image.Image]] = {
    "itself": lambda p: p,
    "JPEG, quality 10": lambda p: jpeg(p, 10),
    "a quarter of its sides": lambda p: p.resize((60, 45), Image.Resampling.BICUBIC),
    "twice its sides": lambda p: p.resize((480, 360), Image.Resampling.BICUBIC),
    "grey": lambda p: p.convert("L"),
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.2),
    "less colour": lambda p: ImageEnhance.Color(p).enhance(0.4),
}
CHANGED: dict[str, tuple[Callable[[Image.Image], Image.Image], str]] = {
    "mirrored": (ImageOps.mirror, "mirrored"),
    "turned right": (lambda p: p.rotate(-90, expand=True), "turned 90"),
    "turned left": (lambda p: p.rotate(90, expand=True), "turned 270"),
    "upside down": (lambda p: p.rotate(180), "turned 180"),
    "cropped": (lambda p: crop(p, 0.6, np.random.default_rng(1)), "cropped"),
    "bordered": (lambda p: ImageOps.expand(p, 20, (250, 240, 230)), "bordered"),
    "slanted": (lambda p: p.rotate(-12, Image.Resampling.BILINEAR), "turned 12"),
    "written on": (lambda p: text_over(p, np.random.default_rng(1)), "written on"),
    "mirrored and cropped": (lambda p: crop(ImageOps.mirror(p), 0.6, np.random.default_rng(1)), "mirrored, cropped"),
}


@pytest.mark.parametrize("how", SAME)
def test_the_same_picture(how: str) -> None:
    original = scene(1)
    verdict = compare(seen(original), seen(SAME[how](original)))
    assert (verdict.kind, verdict.change) == (Kind.SAME_PICTURE, "")


@pytest.mark.parametrize("how", CHANGED)
def test_a_changed_copy_and_what_was_done(how: str) -> None:
    change, words = CHANGED[how]
    original, copy = seen(scene(1)), seen(change(scene(1)))
    verdict = compare(original, copy)
    assert (verdict.kind, verdict.change) == (Kind.CHANGED_COPY, words)
    back = compare(copy, original)
    assert back.kind is Kind.CHANGED_COPY
    opposite = {"turned 90": "turned 270", "turned 270": "turned 90", "turned 12": "turned -12"}
    assert back.change == opposite.get(words, words)
    told = 0 if how in ("mirrored", "turned right", "turned left", "upside down") else 1
    assert (verdict.changed, back.changed) == (told, -told), "the second was made of the first, where the pixels can tell"


def test_different_pictures_are_not_the_same() -> None:
    several = [seen(scene(seed)) for seed in range(2, 8)]
    assert [compare(a, b).kind for i, a in enumerate(several) for b in several[:i]] == [None] * 15


def test_another_thing_before_the_same_background_is_another_picture() -> None:
    """Two shirts on one hanger."""
    one, two = scene(1), scene(1)
    two.paste(scene(9, (120, 140)), (60, 20))
    one.paste(scene(10, (120, 140)), (60, 20))
    assert compare(seen(one), seen(two)).kind is None


def test_a_second_photograph_of_the_same_things_is_another_picture() -> None:
    """Seen from a little further left, near things move against far ones."""
    far, near = scene(1), scene(20, (240, 70))

    def photograph(step: int) -> Image.Image:
        out = far.crop((step, 0, step + 220, 180))
        out.paste(near.crop((3 * step, 0, 3 * step + 220, 70)), (0, 110))
        return out

    assert compare(seen(photograph(0)), seen(photograph(4))).kind is None


def test_flat_pictures_are_compared_by_their_colours() -> None:
    red, red_too, blue = (seen(Image.new("RGB", (90, 60), colour)) for colour in ((200, 20, 20), (201, 21, 19), (20, 20, 200)))
    assert compare(red, red_too).kind is Kind.SAME_PICTURE and compare(red, blue).kind is None
    assert compare(red, seen(scene(1))).kind is None


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 5), (17, 16), (2000, 30)])
def test_pictures_of_any_shape(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    odd = prepare(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    assert compare(odd, odd).kind is Kind.SAME_PICTURE
    assert compare(odd, seen(scene(1))).kind is None and compare(seen(scene(1)), odd).kind is None


def test_prepared_pictures_are_small_and_travel() -> None:
    data = pickle.dumps(seen(scene(1, (1200, 900))))
    assert len(data) < 100_000
    assert compare(pickle.loads(data), seen(scene(1, (1200, 900)))).kind is Kind.SAME_PICTURE


# --- in a library -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copies")
    photos = folder / "photos"
    photos.mkdir()
    for seed in range(1, 7):
        scene(seed).save(photos / f"{seed}.png")
    (photos / "same.png").write_bytes((photos / "1.png").read_bytes())
    jpeg(scene(1), 60).save(photos / "small.jpg")
    ImageOps.mirror(scene(2)).save(photos / "mirrored.png")
    with quick_engine(folder / "library") as engine:
        engine.index(photos, progress=False)
    return folder


def names(matches: object) -> list[str]:
    return [Path(match.path).name for match in matches]  # type: ignore[attr-defined]


def test_folded_each_picture_comes_once(library: Path) -> None:
    with quick_engine(library / "library") as engine:
        found = engine.search(library / "photos" / "1.png", 4, fold=True)
        assert len(found) == 4 and [m.rank for m in found] == [1, 2, 3, 4]
        assert {names(found)[0], *names(found[0].also)} == {"1.png", "same.png", "small.jpg"}
        assert sorted(match.copy for match in found[0].also) == ["same bytes", "same picture"]
        assert found[0].also[0].rank == 2, "as it would have been"
        row = found.to_dict()["matches"][0]
        assert [also["copy"] for also in row["also"]] == [also.copy for also in found[0].also]
        assert "+2 the same" in str(found)
        everything = engine.search(library / "photos" / "1.png", 100, fold=True)
        assert sum(1 + len(match.also) for match in everything) == 9
        assert names(engine.search(library / "photos" / "1.png", 4, group=True)) == names(found), "its older name"


def test_which_one_was_changed_is_said(tmp_path: Path) -> None:
    """Whichever comes first."""
    (tmp_path / "photos").mkdir()
    whole, part = tmp_path / "photos" / "whole.png", tmp_path / "photos" / "part.png"
    scene(1).save(whole)
    CHANGED["bordered"][0](scene(1)).save(part)
    with quick_engine(tmp_path / "library") as engine:
        engine.index(tmp_path / "photos", progress=False)
        found = engine.compare(whole, part)
        assert (found.changed, found.to_dict()["changed"]) == ("b", "b")
        assert "changed copy (bordered; the second is the changed one)" in str(found)
        assert "(bordered; the first is the changed one)" in str(engine.compare(part, whole))
        assert engine.compare(whole, ImageOps.mirror(scene(1))).changed == ""
        for first, said in ((whole, "this"), (part, "first")):
            (match,) = engine.fold([replace(m, variant="asked") for m in engine.search(first, 2)])
            assert [(also.copy, also.changed) for also in match.also] == [("bordered", said)]


def test_how_many_are_asked_for_does_not_change_what_stands_behind_the_first(library: Path) -> None:
    with quick_engine(library / "library") as engine:
        behind = [names(engine.search(library / "photos" / "1.png", n, fold=True)[0].also) for n in (1, 2, 3, 9)]
    assert len(behind[0]) == 2 and behind == [behind[0]] * 4


def test_what_was_decided_not_to_be_the_same_is_not_folded(library: Path) -> None:
    one, small = library / "photos" / "1.png", library / "photos" / "small.jpg"
    with quick_engine(library / "library") as engine:
        left = engine.decide("leave", one, small)
        assert len(engine.search(one, 3, fold=True)[0].also) == 2, "left as they are, they are the same all the same"
        plain = engine.compare(one, small)
        decided = engine.decide("not the same", one, small)
        try:
            found = engine.search(one, 3, fold=True)
            assert sorted(names([found[0], *found[0].also])) == ["1.png", "same.png"] and "small.jpg" in names(found)
            said = engine.compare(one, small)
            assert said and said.kind is Kind.SAME_PICTURE and said.to_dict()["decided"] == "not the same", "the pixels say what they say"
            assert str(said).splitlines() == [str(plain), "decided otherwise: not the same"]
        finally:
            engine.undo_decision(decided.number)
            engine.undo_decision(left.number)
        assert not engine.compare(one, small).decided and len(engine.search(one, 3, fold=True)[0].also) == 2


def test_closeness_is_never_rounded_up() -> None:
    said = str(Comparison("a", "b", 0.9996, 0.8788, None, "", False, "mini"))
    assert said == "two pictures: similarity 0.999, closeness 0.87", "a limit set to what is shown keeps it"


def test_only_near_ones_are_looked_at(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    compare_them = image_search.tidy.fold.compare
    monkeypatch.setattr(image_search.tidy.fold, "compare", lambda a, b: asked.append(1) or compare_them(a, b))
    with quick_engine(library / "library") as engine:
        plain = engine.search(library / "photos" / "1.png", 9)
        assert not asked and not any(match.also for match in plain), "a search that does not ask for it pays nothing"
        monkeypatch.setattr(image_search.tidy.fold, "NEAR", 2.0)
        assert len(engine.fold(plain)) == 8 and not asked, "of the same bytes no pixel is looked at"
        monkeypatch.setattr(image_search.tidy.fold, "NEAR", -1.0)
        assert len(engine.fold(plain)) == 6 and 0 < len(asked) <= 3 * 8
        made = len(engine.looks._kept)
        engine.fold(plain)
        assert len(engine.looks._kept) == made == 8, "each content is prepared once"


def test_a_file_that_changed_or_went_is_no_copy(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    scene(1).save(photos / "a.png")
    jpeg(scene(1), 70).save(photos / "b.jpg")
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos, progress=False)
    (tmp_path / "library" / "thumbnails.sqlite").unlink()
    scene(2).save(photos / "b.jpg")
    with quick_engine(tmp_path / "library") as engine:
        assert len(engine.search(scene(1), 5, fold=True)) == 2


def test_copies_of_the_query_are_asked_for_too(library: Path) -> None:
    with quick_engine(library / "library") as engine:
        query = library / "photos" / "2.png"
        plain = engine.search(query, 9)
        found = engine.search(query, 9, copies=True)
        hit = next(match for match in found if match.path.endswith("mirrored.png"))
        assert hit.variant == "mirrored" and hit.similarity > 0.99 and "as mirrored" in str(found)
        assert hit.rank == 2 and next(match for match in plain if match.id == hit.id).rank > 2
        assert found[0].variant == "" and "variant" not in found.to_dict()["matches"][0]
        folded = engine.search(query, 9, copies=True, fold=True)
        assert [Path(match.path).name for match in folded[0].also] == ["mirrored.png"] and folded[0].also[0].copy == "mirrored"
        with pytest.raises(UsageError, match="single image"):
            engine.search([query, library / "photos" / "1.png"], copies=True)
        with pytest.raises(UsageError, match="whole picture"):
            engine.search(query, copies=True, region=(0, 0, 50, 50))


def test_what_was_changed_is_never_the_best_of_its_original(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "made").mkdir(parents=True)
    jpeg(scene(1), 85).save(photos / "z.jpg", quality=85)
    made = {"a.jpg": ImageOps.mirror(scene(1)), "b.png": ImageOps.expand(scene(1), 20, (250, 240, 230)), "c.jpg": scene(1).rotate(180)}
    for name, picture in made.items():
        picture.save(photos / "made" / name, quality=95)
    os.utime(photos / "z.jpg", (1.6e9, 1.6e9))
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos, progress=False)
        (found,) = engine.duplicates(progress=False)
        assert found.best.item.path == str(photos / "z.jpg"), "however many pixels and bytes the others have"
        assert {Path(m.item.path).name: (m.change, m.changed_one) for m in found.rest} == {
            "a.jpg": ("mirrored", ""), "b.png": ("bordered", "this"), "c.jpg": ("turned 180", "")
        }  # fmt: skip
        again = engine.duplicates(progress=False)
        assert again.looked_at == 0 and again.to_dict()["groups"] == engine.duplicates(progress=False).to_dict()["groups"]
        (photos / "made" / "a.jpg").unlink()
        (photos / "made" / "c.jpg").unlink()
        (preferred,) = (kept := engine.duplicates(prefer=photos / "made", progress=False))
        assert [Path(m.item.path).name for m in preferred.members] == ["b.png", "z.jpg"]
        assert (preferred.rest[0].change, preferred.rest[0].changed_one) == ("bordered", "best"), "true, read from the best's side"
        assert "copy; the best is bordered" in str(kept)
        (plain,) = engine.duplicates(progress=False)
        assert (plain.why, Path(plain.best.item.path).name) == (Why.UNCHANGED, "z.jpg")


def test_of_mirrored_ones_the_earlier_is_the_original() -> None:
    def item(number: int, captured: str, mtime: int, width: int = 4) -> Any:
        return SimpleNamespace(number=number, captured=captured, mtime_ns=mtime, width=width, height=3)

    early, late, unknown, large = item(1, "2020", 9), item(2, "2021", 1), item(3, "", 0), item(4, "", 10, 8)
    assert by_date(early, late) == 1 and by_date(late, early) == -1 and by_date(late, unknown) == 1 and by_date(early, early) == 0
    assert by_date(early, large) == 0, "more pixels say more"
    items = {1: early, 2: late, 3: unknown}
    known = Copies(pairs={(1, 2): Pair(Kind.CHANGED_COPY, "mirrored", "mirrored", 0.9), (2, 3): Pair(Kind.SAME_PICTURE, "", "", 0.9)})
    assert generations(beside(known, lambda *_: True), items.__getitem__) == {2: 1}
    ring = {(1, 2): 1, (2, 3): 1, (1, 3): -1}
    known.pairs = {pair: Pair(Kind.CHANGED_COPY, "cropped", "cropped", 0.9, changed) for pair, changed in ring.items()}
    assert set(generations(beside(known, lambda *_: True), items.__getitem__)) == {1, 2, 3}, "an impossible ring comes to an end"


def test_two_pictures_compared(library: Path, tmp_path: Path) -> None:
    photos = library / "photos"
    with quick_engine(library / "library") as engine:
        assert engine.compare(photos / "1.png", photos / "same.png").kind is Kind.SAME_BYTES
        same = engine.compare(photos / "1.png", photos / "small.jpg")
        assert same and same.kind is Kind.SAME_PICTURE and same.closeness is None and str(same).startswith("same picture: similarity ")
        mirrored = engine.compare(photos / "2.png", photos / "mirrored.png")
        assert mirrored and (mirrored.kind, mirrored.change) == (Kind.CHANGED_COPY, "mirrored")
        other = engine.compare(photos / "1.png", scene(2))
        assert not other and other.kind is None and other.to_dict()["kind"] is None
        assert engine.compare(photos / "1.png", scene(2), threshold=-1).same and not engine.compare(photos / "1.png", scene(2), threshold=1)
        json.dumps(mirrored.to_dict())
        with pytest.raises(UsageError):
            engine.compare(photos / "1.png", scene(2), threshold=3)
        with pytest.raises(QueryError):
            engine.compare(photos / "1.png", tmp_path / "none.png")
    with quick_engine(tmp_path / "no-library") as engine:
        assert engine.compare(photos / "1.png", photos / "small.jpg").same
    assert not (tmp_path / "no-library").exists()


def test_the_page_folds_by_the_same_code(library: Path) -> None:
    with serving(library / "library", folding=True) as server:
        rows = Client(server).get("/api/images?limit=20").json["items"]
        id = next(row["id"] for row in rows if row["path"].endswith("/1.png"))
        found = Client(server).post("/api/search", {"queries": [{"id": id}], "n": 60}).json["matches"]
    by_rank = {match["rank"]: Path(match["path"]).name for match in found}
    assert [match["rank"] for match in found] == list(range(1, 10)), "folding reorders nothing and drops nothing"
    shows = {by_rank[match["rank"]]: by_rank[match["same_as"]] for match in found if match["same_as"]}
    assert set(shows.values()) == {"1.png"} and set(shows) == {"same.png", "small.jpg"}  # the mirrored one is not near for this model


def test_the_command_compare(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    photos = library / "photos"

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["image-search", "compare", *map(str, arguments), "--library", str(tmp_path / "nowhere")])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capsys.readouterr().out

    code, said = run(photos / "2.png", photos / "mirrored.png", "--json")
    assert code == 0 and json.loads(said)["change"] == "mirrored"
    code, said = run(photos / "1.png", photos / "3.png")
    assert code == 1 and said.startswith("two pictures: similarity ")
    assert run(photos / "1.png", photos / "3.png", "--threshold", "-1")[0] == 0
    assert run(photos / "1.png", photos / "3.png", "--threshold", "7")[0] == 2
    assert run("-", "-")[0] == 2


def test_a_table_in_a_terminal_says_what_repeats(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with quick_engine(library / "library") as engine:
        plain = engine.search(library / "photos" / "1.png", 9)
        say_repeats(engine.fold(plain))
        assert capsys.readouterr().err == "3 of these show the same picture (--fold)\n"
        say_repeats(engine.fold([match for match in plain if match.path.endswith(("3.png", "4.png"))]))
        assert capsys.readouterr().err == ""
