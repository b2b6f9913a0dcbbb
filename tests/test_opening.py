"""A user's file is opened where the library knows it, and nowhere else: what a folder that has become a link leads to stays closed."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pageserver import Client, make_library, serving
from pictures import fill, picture
from PIL import Image

from image_search import QueryError
from image_search.errors import SkipReason
from image_search.images import opening, worker
from image_search.images.formats import Refused
from image_search.index import run
from image_search.library.catalog import Catalog
from image_search.library.reading import Reader
from image_search.region import Region
from image_search.testing import quick_engine
from image_search.web.archive import zipped
from image_search.web.browsing import Whereabouts

posix = pytest.mark.skipif(os.name != "posix", reason="links without rights, FIFOs")


def become_link(folder: Path, outside: Path) -> None:
    """The folder is put aside, and a link lies in its place."""
    folder.rename(folder.with_name(f"{folder.name}.aside"))
    folder.symlink_to(outside)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree" / "D" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "D" / "deep" / "a.png").write_bytes(b"mine")
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "deep" / "a.png").write_bytes(b"secret")
    return tmp_path / "tree"


def read(root: Path, relative: str) -> bytes | SkipReason:
    try:
        handle, _ = opening.open_below(os.fsencode(root), relative.encode())
    except Refused as refused:
        return refused.reason
    with os.fdopen(handle, "rb") as file:
        return file.read()


@posix
@pytest.mark.parametrize("walks", [True, False])
def test_no_link_below_the_folder_is_followed(tree: Path, monkeypatch: pytest.MonkeyPatch, walks: bool) -> None:
    """`walks`: as where folders have handles, and as where they have none."""
    monkeypatch.setattr(opening, "_WALKS", walks)
    (tree / "last.png").symlink_to(tree / "D" / "deep" / "a.png")
    os.mkfifo(tree / "pipe.png")
    (tree.parent / "link").symlink_to(tree)
    assert read(tree, "D/deep/a.png") == b"mine" == read(tree.parent / "link", "D/deep/a.png")
    assert read(tree, "last.png") == SkipReason.LINK
    assert read(tree, "pipe.png") == SkipReason.SPECIAL
    assert read(tree, "D/gone.png") == read(tree, "D/deep/a.png/b.png") == read(tree / "none", "a.png") == SkipReason.VANISHED
    for leads_out in ("../outside/deep/a.png", "D/../../outside/deep/a.png", str(tree.parent / "outside/deep/a.png"), "", "D/./deep/a.png"):
        assert read(tree, leads_out) == SkipReason.LINK, leads_out
    become_link(tree / "D", tree.parent / "outside")
    assert read(tree, "D/deep/a.png") == SkipReason.LINK
    (tree / "D").unlink()
    (tree / "D").mkdir()
    (tree / "D" / "deep").symlink_to(tree.parent / "outside" / "deep")
    assert read(tree, "D/deep/a.png") == SkipReason.LINK


@posix
def test_a_folder_exchanged_at_any_step_of_opening_gives_no_other_file(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange falls before the n-th system call; and it is undone before the last, so that looking afterwards would see nothing."""
    found = set()
    for step in range(12):
        calls = 0

        def exchange(at: int = step) -> None:
            nonlocal calls
            if calls == at:
                become_link(tree / "D", tree.parent / "outside")
            calls += 1

        real_open, real_stat = os.open, os.stat
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", lambda *a, _do=exchange, _real=real_open, **k: (_do(), _real(*a, **k))[1])
            patch.setattr(os, "stat", lambda *a, _do=exchange, _real=real_stat, **k: (_do(), _real(*a, **k))[1])
            found.add(read(tree, "D/deep/a.png"))
        if (tree / "D").is_symlink():
            (tree / "D").unlink()
            (tree / "D.aside").rename(tree / "D")
    assert found == {b"mine", SkipReason.LINK}


def test_the_file_that_was_seen_is_told_by_its_number_or_by_all_the_rest() -> None:
    def file(device: int = 1, inode: int = 7, size: int = 10, time: int = 5) -> os.stat_result:
        return SimpleNamespace(st_dev=device, st_ino=inode, st_size=size, st_mtime_ns=time, st_ctime_ns=time)  # type: ignore[return-value]

    seen = (1, 10, 5, 5, 7)
    assert worker._is_the_one(file(), seen) and worker._is_the_one(file(size=11, time=6), seen), "changed, but the same file"
    assert worker._is_the_one(file(inode=8), seen), "a file system that numbers anew"
    assert not worker._is_the_one(file(inode=8, size=11), seen) and not worker._is_the_one(file(inode=8, time=6), seen)
    assert worker._is_the_one(file(inode=2**64 - 1), (1, 10, 5, 5, 2**63 - 1)), "numbers are kept in 63 bits"
    if os.name == "posix":
        assert not worker._is_the_one(file(device=2), seen)


# --- through the program --------------------------------------------------------------------------------------------------------


def hashes(folder: Path) -> set[bytes]:
    return {hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*.png")}


@posix
def test_a_folder_that_becomes_a_link_during_index_is_not_followed(tmp_path: Path) -> None:
    """Same names behind the link, other pictures; and a file that another one took the place of."""
    tree = tmp_path / "tree"
    for name, first in (("tree/A", 0), ("tree/D", 10), ("outside", 500)):
        (tmp_path / name).mkdir(parents=True)
        for number in range(200 if name != "tree/A" else 3):
            pixels = np.random.default_rng(first + number).integers(0, 255, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number:03}.png")
    secret = hashes(tmp_path / "outside")
    done = []

    def act(count: int, *_: int) -> None:
        if not done:
            become_link(tree / "D", tmp_path / "outside")
        done.append(count)

    with quick_engine(tmp_path / "library") as engine:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "COMMIT_SECONDS", 0)
            report = engine.index(tree, progress=act)
        assert {one.reason for one in report.skipped} == {"changed while it was read"} and len(report.skipped) > 50
        known = {item.sha256 for item in Reader(Catalog.open(tmp_path / "library")).page(limit=1000)}
        assert not known & secret and len(known) == report.added
        assert all(engine._library.thumbnails().get(sha256) is None for sha256 in secret)


@posix
def test_a_part_of_an_image_and_the_comparison_show_nothing_from_behind_a_link(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    fill(photos, 2)
    (tmp_path / "outside").mkdir()
    for number in range(2):
        picture("stripes", 50 + number).save(tmp_path / "outside" / f"{number}.png")
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos)
        one = next(m for m in engine.search(photos / "circle" / "0.png", 1))
        expected = engine.search(one.id, 3).figure()
        become_link(photos / "circle", tmp_path / "outside")
        with pytest.raises(QueryError, match="symbolic link"):
            engine.search(one.id, 1, region=Region(0, 0, 40, 40))
        with pytest.raises(QueryError, match="symbolic link"):
            engine.query(one.id, region=Region(0, 0, 40, 40))
        seen = engine.search(one.id, 1)
        assert seen[0].root == str(photos)
        panels = [axes.images[0].get_array() for axes in seen.figure().axes if axes.images]
        assert len(panels) == 1, "the query has no picture, its match the library's thumbnail"
        assert expected.axes


@posix
def test_the_page_shows_and_packs_nothing_from_behind_a_link(tmp_path: Path) -> None:
    library = make_library(tmp_path, per_class=2)
    photos, outside = tmp_path / "pictures", tmp_path / "outside"
    shutil.copytree(photos / "Blue", outside)
    with serving(library) as server:
        client = Client(server)
        item = next(row for row in client.get("/api/images").json["items"] if row["name"] == "Red")
        become_link(photos / "Red", outside)
        answer = client.get(item["thumbnail"].replace("thumbnail", "view"))
        assert answer.status == 422 and "leads out of its folder" in answer.json["message"]
        packed = zipfile.ZipFile(io.BytesIO(client.get(f"/api/images.zip?id={item['id']}").body))
        assert packed.namelist() == ["NOT COPIED.txt"] and str(photos / "Red") in packed.read("NOT COPIED.txt").decode()


@posix
def test_a_folder_exchanged_while_the_zip_is_written_gives_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    fill(photos, 1)
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos)
    reader = Reader(Catalog.open(tmp_path / "library"))
    (item,) = (one for one in reader.page() if one.name == "circle")
    mine = Path(item.path).read_bytes()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "0.png").write_bytes(b"secret")
    regular = opening.open_regular

    def exchanging(path: bytes, *, folder: int | None = None) -> tuple[int, os.stat_result]:
        become_link(photos / "circle", tmp_path / "outside")
        return regular(path, folder=folder)

    monkeypatch.setattr(opening, "open_regular", exchanging)
    packed = zipfile.ZipFile(io.BytesIO(b"".join(zipped([item], Whereabouts(reader)))))
    assert [packed.read(name) for name in packed.namelist()] == [mine]
