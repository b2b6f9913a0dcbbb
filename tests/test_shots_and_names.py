"""A raw file beside its JPEG is one picture with it; files without an ending are looked at on request."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import encoded, scene
from inprocess import Answer
from rawfiles import raw_file

from image_search import ImageSearchEngine
from image_search.types import PassRule

RAW = raw_file(scene(640, 480), scene(640, 480, seed=3))
JPEG = encoded(scene(640, 480, seed=1), "JPEG")
OTHER = encoded(scene(640, 480, seed=2), "PNG")


def place(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(RAW if path.suffix.lower() in (".dng", ".nef", ".cr3") else OTHER if path.suffix == ".png" else JPEG)


def present(engine: ImageSearchEngine) -> set[str]:
    return {Path(match.path).name for match in engine.search(JPEG, n_results=50)}


@pytest.mark.parametrize(("beside", "folded"), [
    ("a.jpg", True), ("A.JPG", True), ("a.jpeg", True), ("a.heic", True), ("a.png", False), ("ab.jpg", False), ("sub/a.jpg", False),
])  # fmt: skip
def test_a_raw_file_beside_the_same_shot_is_passed_by_and_counted(
    engine: ImageSearchEngine, tmp_path: Path, beside: str, folded: bool
) -> None:
    place(tmp_path / "album", "a.dng", beside)
    report = engine.index(tmp_path / "album")
    assert {passed.rule: passed.files for passed in report.passed} == ({PassRule.SHOT: 1} if folded else {})
    assert report.added == (1 if folded else 2) and ("a.dng" in present(engine)) != folded


def test_a_raw_file_alone_is_the_picture(engine: ImageSearchEngine, tmp_path: Path) -> None:
    album = tmp_path / "album"
    place(album, "a.dng", "b.jpg")
    engine.index(album)
    assert present(engine) == {"a.dng", "b.jpg"}
    place(album, "a.jpg")  # the camera's JPEG comes later
    report = engine.index(album)
    assert (report.added, report.missing, report.excluded) == (1, 0, 1)
    assert present(engine) == {"a.jpg", "b.jpg"}
    (album / "a.jpg").unlink()
    report = engine.index(album)
    assert report.embedded == 0 and present(engine) == {"a.dng", "b.jpg"}  # its vector was kept


def test_a_jpeg_that_is_left_out_leaves_its_raw_file_in(engine: ImageSearchEngine, tmp_path: Path) -> None:
    place(tmp_path / "album", "a.dng", "a.jpg")
    report = engine.index(tmp_path / "album", exclude="*.jpg")
    assert (report.added, {passed.rule for passed in report.passed}) == (1, {PassRule.EXCLUDED})


def test_a_shot_that_was_forgotten_stays_out(engine: ImageSearchEngine, tmp_path: Path) -> None:
    album = tmp_path / "album"
    place(album, "a.dng", "a.jpg", "b.jpg")
    engine.index(album)
    engine.forget(album / "a.jpg")
    assert engine.index(album).added == 0 and present(engine) == {"b.jpg"}


def test_names_without_an_ending_are_looked_at_on_request_and_stay(engine: ImageSearchEngine, tmp_path: Path) -> None:
    album = tmp_path / "album"
    place(album, "a.jpg", "scan", "deep/IMG_1")
    (album / "README").write_text("no picture")
    report = engine.index(album)
    assert report.added == 1 and {passed.rule: passed.files for passed in report.passed} == {PassRule.OTHER: 3}
    report = engine.index(album, any_name=True)
    assert report.added == 2 and [(Path(s.path).name, s.reason) for s in report.skipped] == [("README", "not an image")]
    report = engine.index(album)
    assert (report.unchanged, report.missing, report.skipped) == (3, 0, [])
    assert {passed.rule: passed.files for passed in report.passed} == {PassRule.OTHER: 1}
    (album / "scan").unlink()
    assert engine.index(album).missing == 1


def test_the_command_has_it(run: Callable[..., Answer], tmp_path: Path) -> None:
    place(tmp_path / "album", "scan", "a.dng", "a.jpg")
    report = json.loads(run("index", tmp_path / "album", "--any-name", "--store", "exact", "--json").out)
    assert report["added"] == 2 and report["passed"] == [{"rule": PassRule.SHOT, "detail": "", "files": 1, "more": False}]


def test_the_report_and_status_say_cut_off(run: Callable[..., Answer], tmp_path: Path) -> None:
    place(tmp_path / "album", "a.jpg")
    (tmp_path / "album" / "b.jpg").write_bytes(encoded(scene(640, 480, seed=4), "JPEG")[:-60])
    assert "cut off" in run("index", tmp_path / "album", "--store", "exact").out
    assert "cut off" in run("status").out
