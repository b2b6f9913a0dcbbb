"""Matches' files, copied into a folder of the user's."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from inprocess import Answer
from pictures import picture

import image_search.search.copying
from image_search import DiskFullError, ImageSearchEngine, ImageSearchError, Matches, UsageError


@pytest.fixture
def matches(engine: ImageSearchEngine, photos: Path) -> Matches:
    """All 12 pictures: of each class 0.png to 3.png."""
    engine.index(photos)
    return engine.search(photos / "circle" / "0.png", 12)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_files_of_one_name_are_kept_apart_and_copying_again_changes_nothing(matches: Matches, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "copies"
    os.utime(matches[0].path, ns=(1, 1_234_567_890_123_456_789))
    copies = matches.copy_to(folder)
    assert sorted(map(os.path.basename, copies.copied)) == sorted(f"{n}{again}.png" for n in range(4) for again in ("", " (2)", " (3)"))
    assert [Path(path).read_bytes() for path in copies.copied] == [Path(match.path).read_bytes() for match in matches]
    assert os.stat(copies.copied[0]).st_mtime_ns == 1_234_567_890_123_456_789 and not (copies.failed or copies.changed or copies.already)
    before = contents(folder)
    again = matches.copy_to(folder)
    assert again.copied == [] and again.already == copies.copied and contents(folder) == before
    shutil.rmtree(folder)
    matches.copy_to(folder)
    assert contents(folder) == before, "the same names each time"


def test_nothing_is_replaced(matches: Matches, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"mine")
    (folder / "1.png").mkdir()
    (folder / "2.png").symlink_to(tmp_path / "elsewhere.png")
    copies = matches.copy_to(folder)
    assert (folder / "0.png").read_bytes() == b"mine" and (folder / "1.png").is_dir() and (folder / "2.png").is_symlink()
    assert not (tmp_path / "elsewhere.png").exists() and len(copies.copied) == 12 and len(list(folder.iterdir())) == 15


def test_the_same_bytes_under_one_name_are_copied_once(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    (photos / "again").mkdir()
    shutil.copy(photos / "circle" / "0.png", photos / "again")
    engine.index(photos)
    copies = engine.search(photos / "circle" / "0.png", 2).copy_to(tmp_path / "copies")
    assert len(copies.copied) == 1 and copies.already == copies.copied and os.listdir(tmp_path / "copies") == ["0.png"]


def test_what_is_gone_and_what_has_changed_is_said(matches: Matches, tmp_path: Path) -> None:
    gone, changed, linked = (Path(match.path) for match in (matches[0], matches[1], matches[2]))
    gone.unlink()
    picture("circle", 77).save(changed)
    linked.unlink()
    (tmp_path / "secret.png").write_bytes(b"secret")
    linked.symlink_to(tmp_path / "secret.png")
    copies = matches.copy_to(tmp_path / "copies")
    assert [(one.path, one.reason) for one in copies.failed] == [
        (str(gone), "vanished before it was read"),
        (str(linked), "symbolic link"),
    ]
    assert copies.changed == [str(changed)] and Path(copies.copied[0]).read_bytes() == changed.read_bytes()
    assert b"secret" not in contents(tmp_path / "copies").values()


@pytest.mark.parametrize("place", ["photos", "photos/circle", "photos/new/deep", "library", "library/copies", "link"])
def test_the_library_and_its_images_folders_are_refused(matches: Matches, tmp_path: Path, place: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="another one"):
        matches.copy_to(tmp_path / place)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_file_is_no_folder(matches: Matches, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="none"):
        matches.copy_to(tmp_path / "file")
    with pytest.raises(ImageSearchError):
        matches.copy_to(tmp_path / "file" / "below")


@pytest.mark.parametrize("when", ["write", "link"])
def test_a_full_disk_leaves_nothing_half(matches: Matches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    folder = tmp_path / "copies"
    calls = 0

    def full(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    if when == "write":
        monkeypatch.setattr(image_search.search.copying.os, "fsync", full)
    else:
        link = os.link
        monkeypatch.setattr(image_search.search.copying.os, "link", lambda draft, path: (full(), link(draft, path)))
    with pytest.raises(DiskFullError) as failed:
        matches.copy_to(folder)
    assert str(failed.value) == f"the disk is full: {folder}. Make room and do it again: what was copied stays"
    monkeypatch.undo()
    whole = {Path(match.path).read_bytes() for match in matches}
    assert 2 <= len(contents(folder)) <= 3 and set(contents(folder).values()) < whole
    matches.copy_to(folder)
    assert len(contents(folder)) == 12 and set(contents(folder).values()) == whole


def test_a_write_that_reads_otherwise_is_no_copy(matches: Matches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flipped(handle: int) -> None:
        os.pwrite(handle, bytes([os.pread(handle, 1, 20)[0] ^ 1]), 20)

    monkeypatch.setattr(image_search.search.copying.os, "fsync", flipped)
    with pytest.raises(ImageSearchError, match="cannot be written"):
        matches.copy_to(tmp_path / "copies")
    assert os.listdir(tmp_path / "copies") == []


def test_a_disk_without_hard_links(matches: Matches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(draft: str, path: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    folder = tmp_path / "copies"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"mine")
    monkeypatch.setattr(image_search.search.copying.os, "link", none)
    assert len(matches.copy_to(folder).copied) == 12 and (folder / "0.png").read_bytes() == b"mine"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(matches: Matches, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(ImageSearchError, match="another folder"):
        matches.copy_to(tmp_path / "locked")


def test_the_program_copies(run: Callable[..., Answer], photos: Path, tmp_path: Path) -> None:
    run("index", photos, "--store", "exact")
    query = tmp_path / "query.png"
    picture("circle", 5).save(query)
    answer = run("search", query, "-n", 5, "--copy-to", tmp_path / "copies")
    assert (
        answer.code == 0 and answer.err == f"Copied 5 of 5 images to {tmp_path / 'copies'}\n" and len(os.listdir(tmp_path / "copies")) == 5
    )
    assert "5 were there already" in run("search", query, "-n", 5, "--copy-to", tmp_path / "copies", "--json").err
    assert (answer := run("search", query, "--copy-to", photos)).code == 2 and "indexed folder" in answer.err
    assert answer.out == "", "refused before anything is shown"
    assert (answer := run("search", query, "--copy-to", query)).code == 2 and answer.out == "" and "this is none" in answer.err
    assert run("search", "--text", "").code == run("search", query, "--less-text", " ").code == 2
    none = run("search", query, "--name", "nosuch", "--copy-to", tmp_path / "empty")
    assert none.code == run("search", query, "--name", "nosuch").code and not (tmp_path / "empty").exists()
    shutil.rmtree(photos / "circle")
    gone = run("search", query, "-n", 12, "--copy-to", tmp_path / "copies")
    assert gone.code == 1 and gone.err.count("Not copied, vanished before it was read") == 4
