"""A disk mounted below an indexed folder comes and goes as that part; a deleted file is gone, and its disk is not away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inprocess import Answer
from pictures import fill, picture

from image_search import ImageSearchEngine
from image_search.library.catalog import Catalog
from image_search.testing import quick_engine


class Disk:
    """Another disk at a folder, as far as the system's numbers of disks tell; what it holds lies beside it while it is away."""

    def __init__(self, place: Path, beside: Path) -> None:
        self.place, self.beside = place, beside
        self.there = True

    def unplug(self, *, leave_folder: bool = True) -> None:
        self.place.rename(self.beside)
        if leave_folder:
            self.place.mkdir()
        self.there = False

    def plug_in(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.place.rmdir()
        self.beside.rename(self.place)
        self.there = True


@pytest.fixture
def disk(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """<photos>/usb/..., 2 of 12 + 6 pictures a class: less than half of all."""
    fill(photos / "usb", 2, first=100)
    disk = Disk(photos / "usb", tmp_path / "in a drawer")

    def device(path: str) -> int | None:
        try:
            os.lstat(path)
        except OSError:
            return None
        return 2 if disk.there and (path + os.sep).startswith(str(disk.place) + os.sep) else 1

    monkeypatch.setattr("image_search.paths.device", device)
    monkeypatch.setattr("image_search.images.scan.device", device)
    return disk


def marks(engine: ImageSearchEngine) -> dict[str, str]:
    """path -> "", "offline" or "gone" of everything that can be found."""
    found = engine.search(picture("circle", 0), 10_000)
    return {m.path: "offline" if m.offline else "gone" if m.gone else "" for m in found}


def on(disk: Disk, marks: dict[str, str]) -> set[str]:
    return {mark for path, mark in marks.items() if path.startswith(str(disk.place) + os.sep)}


@pytest.mark.parametrize("leave_folder", [True, False])
def test_a_disk_below_that_is_away_is_offline_as_that_part(tmp_path: Path, photos: Path, disk: Disk, leave_folder: bool) -> None:
    lines: list[str] = []
    with quick_engine(tmp_path / "library", notify=lines.append) as engine:
        assert engine.index(photos).added == 18
        disk.unplug(leave_folder=leave_folder)
        report = engine.index(photos)
        assert (report.unchanged, report.offline, report.missing) == (12, 6, 0)
        assert len(lines) == 1 and str(disk.place) in lines[0] and "6 images stay" in lines[0]
        found = marks(engine)
        assert len(found) == 18 and on(disk, found) == {"offline"} and list(found.values()).count("") == 12
        (root,) = engine.status()["roots"]
        assert (root["offline"], root["images"]) == (False, 18)
        assert root["away"] == [{"path": str(disk.place), "images": 6}]
        disk.plug_in()
        assert engine.index(photos).unchanged == 18
        assert set(marks(engine).values()) == {""} and engine.status()["roots"][0]["away"] == []


def test_pruning_the_folder_above_does_not_prune_a_disk_that_is_away(tmp_path: Path, photos: Path, disk: Disk) -> None:
    with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
        engine.index(photos)
        disk.unplug()
        (photos / "circle" / "0.png").unlink()
        report = engine.index(photos, prune=True)
        assert (report.pruned, report.offline) == (1, 6)
        disk.plug_in()
        assert (engine.index(photos).unchanged, len(marks(engine))) == (17, 17)
        disk.unplug()
        assert engine.index(disk.place, prune=True).pruned == 6  # it was named
        assert len(marks(engine)) == 11


def test_the_folder_above_is_judged_without_the_disk(tmp_path: Path, photos: Path, disk: Disk) -> None:
    """Half of the folder's own images vanish: that they are few beside the disk's says nothing."""
    fill(disk.place, 20, first=200)
    with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
        engine.index(photos)
        shutil.rmtree(photos / "circle")
        shutil.rmtree(photos / "square")
        report = engine.index(photos)
        assert (report.offline, report.missing) == (8, 0)
        assert engine.status()["roots"][0]["offline"]


def test_a_disk_whose_files_were_put_in_its_place_is_a_folder_again(tmp_path: Path, photos: Path, disk: Disk) -> None:
    with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
        engine.index(photos)
        disk.there = False  # nothing is mounted, and the pictures are there: copied
        assert engine.index(photos).unchanged == 18
        shutil.rmtree(disk.place / "circle")
        assert (engine.index(photos).missing, engine.status()["images"]) == (2, 16)  # as in any folder


def test_a_search_knows_without_an_index_run_what_is_away_and_what_is_gone(tmp_path: Path, photos: Path, disk: Disk) -> None:
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos)
        (photos / "circle" / "0.png").unlink()
        (disk.place / "circle" / "100.png").unlink()
        found = marks(engine)
        gone = {path for path, mark in found.items() if mark == "gone"}
        assert gone == {str(photos / "circle" / "0.png"), str(disk.place / "circle" / "100.png")}
        disk.unplug()
        found = marks(engine)
        assert on(disk, found) == {"offline"}
        assert found[str(photos / "circle" / "0.png")] == "gone"


def test_a_folder_that_cannot_be_looked_into_proves_nothing(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos)
        real = os.lstat

        def lstat(path: str, **more: object) -> os.stat_result:
            if os.fsdecode(path).startswith(str(photos / "circle" / "")):
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "lstat", lstat)
        found = marks(engine)
        assert {mark for path, mark in found.items() if "circle" in path} == {"offline"}


@pytest.mark.parametrize("leave_folder", [True, False])
def test_an_indexed_folder_that_is_a_disk_or_is_not_there_is_offline_as_index_says(
    tmp_path: Path, photos: Path, disk: Disk, leave_folder: bool
) -> None:
    with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
        engine.index([disk.place, photos])
        for _ in range(2):  # before an index run has said so, and after
            if disk.there:
                disk.unplug(leave_folder=leave_folder)
            assert on(disk, marks(engine)) == {"offline"}
            assert engine.index(disk.place).offline == 6
        shutil.rmtree(photos)
        assert set(marks(engine).values()) == {"offline"}


def test_gone_is_said_in_table_json_and_picture(run: Callable[..., Answer], photos: Path) -> None:
    run("index", photos, "--store", "exact")
    query = photos / "circle" / "1.png"
    (photos / "circle" / "0.png").unlink()
    answer = json.loads(run("search", query, "-n", 12, "--json").out)
    assert [(m["gone"], m["offline"]) for m in answer["matches"] if m["uri"].endswith("circle/0.png")] == [(True, False)]
    line = next(line for line in run("search", query, "-n", 12).out.splitlines() if line.endswith("circle/0.png"))
    assert "gone" in line and "offline" not in line


def test_a_row_of_a_disk_is_saved_from_a_damaged_catalog(tmp_path: Path, photos: Path, disk: Disk) -> None:
    from image_search.library.salvage import salvage

    with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
        engine.index(photos)
        disk.unplug()
        engine.index(photos)
    saved = salvage(tmp_path / "library", tmp_path / "saved")
    assert saved.images == 18
    with contextlib.closing(Catalog.open(tmp_path / "saved")) as catalog:
        assert catalog.rows("SELECT path, offline FROM mounts") == [(b"usb", 1)]


@pytest.fixture
def mounted(photos: Path) -> Iterator[Path]:
    """A real disk in memory, mounted below the photos."""
    place = photos / "real disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True)
    if made.returncode:
        pytest.skip("needs the right to mount a disk in memory")
    try:
        yield place
    finally:
        while subprocess.run(["umount", place], capture_output=True).returncode == 0:
            pass


@pytest.mark.slow
def test_a_real_disk_comes_and_goes(tmp_path: Path, photos: Path, mounted: Path) -> None:
    fill(mounted, 1, first=100)
    with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
        engine.index(photos)
        (mounted / "circle" / "100.png").unlink()
        assert marks(engine)[str(mounted / "circle" / "100.png")] == "gone"
        kept = tmp_path / "kept"
        shutil.copytree(mounted, kept)
        subprocess.run(["umount", mounted], check=True)
        assert marks(engine)[str(mounted / "circle" / "100.png")] == "offline"
        report = engine.index(photos, prune=True)
        assert (report.offline, report.missing, report.pruned) == (3, 0, 0)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mounted], check=True)
        shutil.copytree(kept, mounted, dirs_exist_ok=True)
        report = engine.index(photos)
        assert (report.missing, report.embedded, len(marks(engine))) == (1, 0, 14)
