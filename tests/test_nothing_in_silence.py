"""What an index run does not take in is counted, and what was taken in does not leave without a word."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from inprocess import Answer
from pictures import SHAPES, fill, picture

from image_search import ImageSearchEngine, ImageSearchError, UsageError
from image_search.testing import quick_engine
from image_search.types import PassRule

Paths = set[str]


def found(engine: ImageSearchEngine) -> Paths:
    return {m.path for m in engine.search(picture("circle", 0), 10_000)}


def ids(engine: ImageSearchEngine) -> dict[str, str]:
    return {m.path: m.id for m in engine.search(picture("circle", 0), 10_000)}


def below(folder: Path) -> Paths:
    return {str(path) for path in folder.rglob("*.png")}


# --- passed by ----------------------------------------------------------------------------------------------------------------


def clutter(photos: Path) -> dict[str, int]:
    """Files of every kind that nobody looks at. Returns rule -> how many."""
    for name in (".hidden", "Thumbs", "@eaDir", "skipme"):
        fill(photos / name, 1)
    (photos / ".hidden" / "notes.txt").write_text("no picture, so nothing is lost")
    (photos / "deep" / ".git" / "objects").mkdir(parents=True)
    for name in ("._a.png", "b.exr", "c.TGA", "d.ppm", "e", "f.txt", "g.jpg_large", "deep/h.dds", "deep/.git/objects/i.jpg"):
        (photos / name).write_bytes(b"x")
    return {PassRule.HIDDEN: 5, PassRule.COPIES: 6, PassRule.EXCLUDED: 3, PassRule.UNREAD: 4, PassRule.OTHER: 3}


def by_rule(passed: list[dict[str, object]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in passed:
        assert not one["more"] and bool(one["detail"]) == (one["rule"] == PassRule.UNREAD)
        counts[str(one["rule"])] = counts.get(str(one["rule"]), 0) + int(str(one["files"]))
    return counts


def test_report_json_and_status_count_the_same_files(run: Callable[..., Answer], photos: Path) -> None:
    wanted = clutter(photos)
    (photos / "link.png").symlink_to(photos / "circle" / "0.png")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    report = json.loads(run("index", photos, "--exclude", "skipme", "--store", "exact", "--json").out)
    status = json.loads(run("status", "--json").out)
    assert by_rule(report["passed"]) == by_rule(status["passed"]) == wanted
    assert report["passed"] == status["passed"]
    reasons = {"symbolic link": 1, "not a regular file": 1, "damaged image": 1}
    assert {reason: sum(s["reason"] == reason for s in report["skipped"]) for reason in reasons} == status["reasons"] == reasons
    assert len(report["skipped"]) == status["skipped"] == 3
    shown, told = run("index", photos, "--exclude", "skipme").out, run("status").out
    for text in (shown, told):
        assert "passed by        21" in text and "4 of a format that is not read here: .dds (DirectDraw surface) 1" in text
        for rule, files in wanted.items():
            assert f"  {files} {rule}" in text
        assert "skipped" in text and "3" in text.split("skipped")[1].split("\n")[0]


def test_the_counts_follow_the_part_that_was_looked_at(engine: ImageSearchEngine, photos: Path) -> None:
    clutter(photos)
    picture("circle", 600).save(photos / "deep" / "0.png")
    engine.index(photos, exclude="skipme")
    before = engine.status()["passed"]
    (photos / "deep" / "h.dds").unlink()
    report = engine.index(photos / "deep")
    assert [(p.rule, p.files) for p in report.passed] == [(PassRule.HIDDEN, 1)]
    gone = [one for one in before if one["detail"] == ".dds"]
    assert engine.status()["passed"] == [one for one in before if one not in gone]


def test_a_folder_that_is_passed_by_is_looked_through_only_so_far(
    engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("image_search.images.scan.PASSED_BY_ENTRIES", 5)
    fill(photos / ".snapshots", 10)
    (passed,) = engine.index(photos).passed
    assert (passed.rule, passed.more) == (PassRule.HIDDEN, True) and passed.files <= 5


def test_a_file_that_cannot_be_read_just_now_stays_and_is_counted_alike(
    engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.index(photos)
    path = photos / "circle" / "0.png"
    picture("circle", 77).save(path)
    real = os.open

    def refused(name: object, *rest: object, **more: object) -> int:
        if os.path.basename(os.fsdecode(name)) == path.name:  # type: ignore[arg-type]  # alone of all files it has changed
            raise PermissionError(13, "Permission denied")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refused)
    for _ in range(2):
        report = engine.index(photos)
        status = engine.status()
        assert [s.reason for s in report.skipped] == ["cannot be read"]
        assert (status["skipped"], status["reasons"], status["images"]) == (1, {"cannot be read": 1}, 12)
    monkeypatch.undo()
    assert engine.index(photos).updated == 1
    assert (engine.status()["skipped"], engine.status()["images"]) == (0, 12)


def test_what_was_taken_out_is_not_counted_any_more(engine: ImageSearchEngine, photos: Path) -> None:
    for folder in ("circle", "square"):
        (photos / folder / "notes.txt").write_text("x")
        (photos / folder / "link.png").symlink_to(photos / "stripes" / "0.png")
    engine.index(photos)
    engine.forget(photos / "circle")
    status = engine.status()
    assert (status["skipped"], [p["files"] for p in status["passed"]]) == (1, [1])
    engine.index(photos)
    assert engine.status()["passed"] == status["passed"]


def test_a_link_counts_once_where_a_folder_becomes_one_of_its_own(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    (photos / "circle" / "link.png").symlink_to(photos / "stripes" / "0.png")
    engine.index(photos)
    engine.index(photos / "circle", exclude="circle")  # left out by the rule, so a root by its own name
    assert engine.status()["skipped"] == 1
    elsewhere = tmp_path / "elsewhere"
    fill(elsewhere, 1, first=50)
    engine.index(elsewhere)
    shutil.copytree(elsewhere, photos / "new")
    (photos / "new" / "link.png").symlink_to(photos / "stripes" / "0.png")
    engine.index(photos)
    shutil.rmtree(elsewhere)
    engine.relocate(elsewhere, photos / "new")
    engine.index(photos / "new")
    assert engine.status()["skipped"] == 2


def test_no_images_says_why(engine: ImageSearchEngine, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.exr").write_bytes(b"x")
    with pytest.raises(ImageSearchError, match=r"1 of a format that is not read here \(\.exr\)"):
        engine.index(folder)
    fill(folder / ".private", 1)
    with pytest.raises(ImageSearchError, match=r"3 hidden, or in a hidden folder.*when it is named itself"):
        engine.index(folder)
    assert not (tmp_path / "library").exists()


def test_a_folder_whose_only_picture_was_taken_out_says_so(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos)
    alone = tmp_path / "alone"
    alone.mkdir()
    picture("circle", 900).save(alone / "one.png")
    engine.index(alone)
    engine.forget(alone / "one.png")
    with pytest.raises(ImageSearchError, match="taken out of the library") as told:
        engine.index(alone)
    assert str(alone / "one.png") in told.value.hint
    assert engine.index(alone / "one.png").added == 1


# --- excluded -----------------------------------------------------------------------------------------------------------------


def test_what_is_excluded_is_not_missing(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    report = engine.index(photos, exclude="circle")
    assert (report.excluded, report.missing, report.offline) == (4, 0, 0)
    status = engine.status()
    assert (status["images"], status["excluded"], status["missing"]) == (8, 4, 0)
    assert engine.index(photos, exclude="circle").excluded == 0  # nothing that could be found is left to go
    report = engine.index(photos)
    assert (report.embedded, len(found(engine)), engine.status()["excluded"]) == (0, 12, 0)


def test_a_picture_whose_only_file_is_out_of_reach_can_be_searched_with(engine: ImageSearchEngine, photos: Path) -> None:
    """Left out by a rule, or missing: its vector is kept, and the others are found by it."""
    engine.index(photos)
    circle = (photos / "circle" / "0.png").read_bytes()
    engine.index(photos, exclude="circle")
    assert {m.path for m in engine.search(circle, 100)} == below(photos) - below(photos / "circle")
    engine.index(photos)
    (photos / "circle" / "0.png").unlink()
    assert engine.index(photos).missing == 1
    assert {m.path for m in engine.search(circle, 100)} == below(photos)
    assert not any(m.identical for m in engine.search(circle, 100))


def test_more_than_half_excluded_is_no_reason_to_call_a_folder_offline(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    report = engine.index(photos, exclude=["circle", "square"])
    assert (report.excluded, report.offline) == (8, 0)


def test_what_was_excluded_and_is_deleted_is_missing_when_it_is_looked_for(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    engine.index(photos, exclude="circle")
    (photos / "circle" / "0.png").unlink()
    engine.index(photos)
    status = engine.status()
    assert (status["images"], status["missing"], status["excluded"]) == (11, 1, 0)


def test_prune_says_how_many_left_and_where(tmp_path: Path, photos: Path) -> None:
    lines: list[str] = []
    with quick_engine(tmp_path / "library", notify=lines.append) as engine:
        engine.index(photos)
        (photos / "circle" / "0.png").unlink()
        report = engine.index(photos, exclude="square", prune=True)
        assert (report.missing, report.excluded, report.pruned) == (1, 4, 5)
        assert lines == [f"5 images of {photos} have left the library for good"]
        status = engine.status()
        assert (status["contents"], status["missing"], status["excluded"]) == (7, 0, 0)
        lines.clear()
        assert engine.index(photos, exclude="square", prune=True).pruned == 0 and lines == []


# --- a folder that was named ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["thumbs", ".private", "@eaDir", "plain"])
@pytest.mark.parametrize("first", ["child", "parent"])
def test_a_named_folder_keeps_its_pictures_whatever_rule_the_one_above_has(
    engine: ImageSearchEngine, photos: Path, name: str, first: str
) -> None:
    child = photos / name
    fill(child, 1, first=100)
    order = [child, photos] if first == "child" else [photos, child]
    for folder in order:
        engine.index(folder)
    assert found(engine) == below(photos)
    picture("circle", 300).save(child / "new.png")
    report = engine.index(photos)  # looks at what lies below as well
    assert (report.added, report.missing, report.excluded) == (1, 0, 0)
    assert engine.index(photos, prune=True).pruned == 0
    assert found(engine) == below(photos)
    assert not any(p.files for p in report.passed if p.rule in (PassRule.HIDDEN, PassRule.COPIES))


def test_a_rule_of_the_run_above_does_not_reach_a_root_below(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos / "circle")
    engine.index(photos, exclude="circle")
    assert found(engine) == below(photos)


def test_each_root_keeps_where_its_names_come_from(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos / "circle", name_from="none")
    engine.index(photos)
    assert {m.name for m in engine.search(picture("circle", 0), 100)} == {"", "square", "stripes"}
    engine.index(photos, name_from="none")
    engine.index(photos / "circle", name_from="folder")
    assert {m.name for m in engine.search(picture("circle", 0), 100)} == {"", "circle"}


def test_pruning_above_drops_nothing_of_a_root_below(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos / "circle")
    engine.index(photos)
    (photos / "circle").rename(tmp_path / "unplugged")
    report = engine.index(photos, prune=True)
    assert (report.offline, report.pruned, report.missing) == (4, 0, 0)
    (tmp_path / "unplugged").rename(photos / "circle")
    assert engine.index(photos).embedded == 0
    (photos / "circle").rename(tmp_path / "unplugged")
    assert engine.index(photos / "circle", prune=True).pruned == 4  # named itself


def test_what_was_dropped_in_silence_once_comes_back_when_it_is_named(engine: ImageSearchEngine, photos: Path) -> None:
    """As a library of format 1 may be: the rows lie in the root above, marked by its rule."""
    fill(photos / "thumbs", 1, first=100)
    engine.index(photos / "thumbs")
    before = ids(engine)
    engine.index(photos)
    with engine._library.writing() as catalog, catalog.transaction() as generation:
        inner, outer = (catalog.value("SELECT id FROM roots WHERE path = ?", (os.fsencode(p),)) for p in (photos / "thumbs", photos))
        catalog.execute(
            "UPDATE files SET root_id = ?, path = CAST('thumbs/' || path AS BLOB), state = 'missing', generation = ? WHERE root_id = ?",
            (outer, generation, inner),
        )
        catalog.execute("DELETE FROM roots WHERE id = ?", (inner,))
    assert len(found(engine)) == 12
    report = engine.index(photos / "thumbs")
    assert (report.added, report.embedded) == (3, 0)
    assert before.items() <= ids(engine).items()  # with their ids


def test_a_root_below_that_was_forgotten_stays_out(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos / "circle")
    engine.index(photos)
    assert engine.forget(photos / "circle") == 4
    assert engine.index(photos).added == 0
    assert engine.index(photos / "circle").added == 4


def test_a_root_that_comes_back_leaves_the_rest_of_the_forgotten_folder_out(engine: ImageSearchEngine, photos: Path) -> None:
    inner = photos / "album" / "inner"
    fill(inner, 1, first=100)
    picture("circle", 600).save(photos / "album" / "0.png")
    engine.index(inner)
    engine.index(photos)
    assert engine.forget(photos / "album") == 4
    assert engine.index(inner).added == 3
    picture("circle", 601).save(inner / "circle" / "new.png")
    assert engine.index(photos).added == 1  # looked at with the folder above, as any root that is in
    assert str(photos / "album" / "0.png") not in found(engine)
    with pytest.raises(UsageError, match="taken out"):
        engine.index(photos / "album" / "circle")
    (photos / "album" / "circle").mkdir()
    assert engine.index(inner / "circle").unchanged == 2  # a part of what is in
    assert engine.index(photos / "album").added == 1 and found(engine) == below(photos)


def test_a_root_below_that_is_gone_for_good_does_not_keep_the_one_above_from_being_indexed(
    engine: ImageSearchEngine, photos: Path, tmp_path: Path
) -> None:
    engine.index(photos / "circle")
    engine.index(photos)
    shutil.rmtree(photos / "circle")
    assert engine.index(photos / "circle", prune=True).pruned == 4
    picture("square", 600).save(photos / "square" / "new.png")
    assert engine.index(photos).added == 1
    assert [root["path"] for root in engine.status()["roots"]] == [str(photos)]


def test_a_copy_of_an_excluded_picture_does_not_take_its_id(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    before = ids(engine)
    shutil.copyfile(photos / "circle" / "0.png", photos / "square" / "copy.png")
    report = engine.index(photos, exclude="circle")
    assert (report.added, report.moved, report.excluded) == (1, 0, 4)
    engine.index(photos)
    assert before.items() <= ids(engine).items()
    (photos / "circle" / "1.png").rename(photos / "square" / "moved.png")
    assert engine.index(photos, exclude="circle").moved == 1  # it is not there any more
    assert ids(engine)[str(photos / "square" / "moved.png")] == before[str(photos / "circle" / "1.png")]


# --- a folder that has moved ----------------------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path: Path) -> list[str]:
    return []


@pytest.fixture
def telling(tmp_path: Path, told: list[str]) -> ImageSearchEngine:
    return quick_engine(tmp_path / "library", notify=told.append)


def test_a_folder_indexed_at_its_new_place_is_the_old_one(
    telling: ImageSearchEngine, told: list[str], photos: Path, tmp_path: Path
) -> None:
    with telling as engine:
        engine.index(photos, name_from="none")
        engine.forget(photos / "square" / "0.png")
        before = {os.path.relpath(path, photos): id for path, id in ids(engine).items()}
        new = tmp_path / "disk" / "pictures"
        new.parent.mkdir()
        photos.rename(new)
        report = engine.index(new)
        assert (report.unchanged, report.added, report.moved, report.embedded) == (11, 0, 0, 0)
        assert told == [f"{photos} has moved to {new}: its 11 images keep their vectors and ids"]
        assert {os.path.relpath(path, new): id for path, id in ids(engine).items()} == before  # and what was taken out stays out
        assert {m.name for m in engine.search(picture("circle", 0), 100)} == {""}
        assert [root["path"] for root in engine.status()["roots"]] == [str(new)]
        with pytest.raises(UsageError, match="nothing left to do"):
            engine.relocate(photos, new)


def test_a_moved_folder_is_recognised_below_the_new_one(telling: ImageSearchEngine, told: list[str], photos: Path, tmp_path: Path) -> None:
    with telling as engine:
        engine.index(photos)
        (tmp_path / "disk").mkdir()
        photos.rename(tmp_path / "disk" / "photos")
        fill(tmp_path / "disk" / "more", 1, first=50)
        report = engine.index(tmp_path / "disk")
        assert (report.unchanged, report.added) == (12, 3) and len(told) == 1
        assert found(engine) == below(tmp_path / "disk")


def test_single_files_that_moved_into_another_indexed_folder_are_not_there_twice(
    engine: ImageSearchEngine, photos: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    fill(other, 1, first=50)
    engine.index([photos, other])
    before = ids(engine)
    (photos / "circle" / "0.png").rename(other / "came.png")
    assert engine.index(other).moved == 1
    assert ids(engine)[str(other / "came.png")] == before[str(photos / "circle" / "0.png")]
    shutil.copy(photos / "circle" / "1.png", other / "copy.png")
    assert (engine.index(other).moved, engine.status()["images"]) == (0, 16)


def another_disk_that_went(monkeypatch: pytest.MonkeyPatch, disk: Path) -> None:
    """What lies below `disk` was on a disk of its own, and that is gone."""

    def device(path: str) -> int | None:
        try:
            os.lstat(path)
        except OSError:
            return None
        return 1

    monkeypatch.setattr("image_search.paths.device", device)
    monkeypatch.setattr("image_search.images.scan.device", device)
    shutil.rmtree(disk)
    disk.mkdir()


def test_copies_on_a_disk_that_is_away_are_not_a_folder_that_moved(
    telling: ImageSearchEngine, told: list[str], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usb = tmp_path / "usb"
    shutil.copytree(photos, usb / "photos")
    real = os.lstat(tmp_path).st_dev
    with monkeypatch.context() as plugged, telling as engine:
        for where in ("image_search.paths.device", "image_search.images.scan.device"):
            plugged.setattr(where, lambda path: 99 if str(path).startswith(str(usb)) else real)
        engine.index(usb / "photos")
        another_disk_that_went(plugged, usb)
        engine.index(photos)
        assert len(found(engine)) == 24
        assert len(told) == 1 and f"relocate({str(usb / 'photos')!r}, {str(photos)!r})" in told[0]
        assert engine.relocate(usb / "photos", photos) == 12  # as it says
        assert found(engine) == below(photos)


def test_relocate_joins_a_new_place_that_was_indexed_already(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    engine.index(photos)
    before = {os.path.relpath(path, photos): id for path, id in ids(engine).items()}
    shutil.copytree(photos, new)
    picture("circle", 500).save(new / "circle" / "only here.png")
    engine.index(new)
    assert len(found(engine)) == 25
    shutil.rmtree(photos)
    assert engine.relocate(photos, new) == 13
    assert found(engine) == below(new)
    after = {os.path.relpath(path, new): id for path, id in ids(engine).items()}
    assert before.items() <= after.items()
    assert engine.verify() == [] and engine.index(new).unchanged == 13


@pytest.mark.parametrize("where", ["inside another root", "around another root"])
def test_relocate_into_and_around_other_roots(engine: ImageSearchEngine, photos: Path, tmp_path: Path, where: str) -> None:
    new = tmp_path / "all" / "new"
    engine.index(photos)
    before = {os.path.relpath(path, photos): id for path, id in ids(engine).items()}
    shutil.copytree(photos, new)
    engine.index(tmp_path / "all" if where == "inside another root" else new / "circle")
    shutil.rmtree(photos)
    engine.relocate(photos, new)
    assert {os.path.relpath(path, new): id for path, id in ids(engine).items()} == before
    assert engine.verify() == []
    assert engine.index(tmp_path / "all").unchanged == 12
    assert len(found(engine)) == 12


def test_what_was_taken_out_stays_out_when_old_and_new_become_one(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    engine.index(photos)
    engine.forget(photos / "circle", photos / "square" / "0.png")
    shutil.copytree(photos, new)
    engine.index(new)
    shutil.rmtree(photos)
    engine.relocate(photos, new)
    assert len(found(engine)) == 7
    assert engine.index(new).added == 0
    assert engine.index(new / "circle").added == 4


def test_no_class_name_is_written_in_escapes(photos: Path, tmp_path: Path, program: Callable[..., object]) -> None:
    """Python without its UTF-8 mode in a locale without UTF-8: what is kept is what any other session would keep."""
    (photos / "circle").rename(photos / "여름 100%")
    for shape in SHAPES[1:]:
        shutil.rmtree(photos / shape)
    done = program(
        "index", photos, "--model", "mini", "--store", "exact", "--library", tmp_path / "library",
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    with ImageSearchEngine(tmp_path / "library") as engine:
        match = engine.search("id:1", 1)[0]
        assert (match.name, match.uri) == ("여름 100%", match.path)


def test_the_report_is_plain_data(engine: ImageSearchEngine, photos: Path) -> None:
    clutter(photos)
    assert json.loads(json.dumps(asdict(engine.index(photos))))["passed"][0]["files"] == 6
