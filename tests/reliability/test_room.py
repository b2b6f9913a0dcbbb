"""Promises 1, 5 and 7 where the folder is short of room or permission: full disks, read-only libraries, unreadable files, locks."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import HERE, draw, judge, leftovers, small_disk, true_vectors

from image_search import DiskFullError, ImageSearchEngine, LibraryBusyError, LibraryReadOnlyError
from image_search.library.catalog import Catalog

COUNT = 60


@pytest.fixture(autouse=True)
def _plain(plain: None) -> None:
    pass


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("room") / "photos"
    draw(folder, 0, COUNT)
    return folder


@pytest.fixture(scope="module")
def truth(photos: Path) -> dict[str, bytes]:
    return true_vectors(photos)


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> Path:
    made = photos.with_name("library")
    if not made.exists():
        with ImageSearchEngine(made, store="exact", jobs=1) as engine:
            engine.index(photos, progress=False)
    shutil.copytree(made, tmp_path / "library")
    return tmp_path / "library"


def index(library: Path, photos: Path, store: str = "exact") -> tuple[int, Exception | None]:
    """One run; what it acknowledged, and how it ended."""
    done = 0

    def acknowledge(files: int, total: int, skipped: int) -> None:
        nonlocal done
        done = files

    try:
        with ImageSearchEngine(library, store=store, jobs=1, notify=lambda line: None) as engine:
            engine.index(photos, progress=acknowledge)
    except DiskFullError as error:
        return done, error
    return done, None


@pytest.mark.parametrize("room", ["150k", "300k", "420k"])
def test_a_full_disk_loses_nothing_and_searching_goes_on(photos: Path, truth: dict[str, bytes], tmp_path: Path, room: str) -> None:
    with small_disk(tmp_path / "disk", room) as disk:
        library = disk / "library"
        done, error = index(library, photos)
        assert error is not None and "disk is full" in str(error)
        with contextlib.suppress(OSError):  # not one byte is left
            (disk / "filler").write_bytes(bytes(1 << 20))
        there = judge(library, truth, acknowledged=done)
        (disk / "filler").unlink(missing_ok=True)
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        with ImageSearchEngine(library, store="exact", jobs=1) as engine:
            assert engine.index(photos, progress=False).embedded == COUNT - there
        judge(library, truth, acknowledged=COUNT, complete=True)


@pytest.mark.slow
def test_disks_of_every_size(photos: Path, truth: dict[str, bytes], tmp_path: Path) -> None:
    """With a store, too: sizes from too small for anything to large enough, in two runs each; never a lost image, never a wrong answer."""
    ends = []
    for size in [*range(40, 900, 40), *range(1000, 50_000, 7000)]:
        with small_disk(tmp_path / f"disk{size}", f"{size}k") as disk:
            library = disk / "library"
            done, error = index(library, photos, "chroma")
            there = judge(library, truth, acknowledged=done, complete=error is None)
            more, again = index(library, photos, "chroma")
            judge(library, truth, acknowledged=max(there, more), complete=again is None)
            subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
            assert index(library, photos, "chroma")[1] is None
            judge(library, truth, acknowledged=COUNT, complete=True)
            assert leftovers(library) == []
            ends.append((size, there, type(error).__name__))
    print("\nKB of disk, images saved, end:", *ends)
    assert {end for *_, end in ends} == {"DiskFullError", "NoneType"}


def without_rights(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code as somebody for whom the permissions of files count: root without the right to pass them by."""
    start = f"import sys; sys.path.insert(0, {str(HERE)!r}); from harness import use_plain_model; use_plain_model()\n"
    run = [sys.executable, "-c", start + code, *map(str, arguments)]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        if not (setpriv := shutil.which("setpriv")):
            pytest.skip("root without setpriv passes permissions by")
        run = [setpriv, "--bounding-set", "-dac_override,-dac_read_search", *run]
    return subprocess.run(run, capture_output=True, text=True, timeout=120)


@contextlib.contextmanager
def closed(library: Path) -> Iterator[None]:
    """Nobody may write there."""
    for path in (*library.rglob("*"), library):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path in (library, *library.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


SEARCH = """
from image_search import ImageSearchEngine
with ImageSearchEngine(sys.argv[1], notify=print) as engine:
    best = engine.search(sys.argv[2], 1)[0]
    print(len(engine.search(sys.argv[2], 100)), best.identical, best.name)
"""


@pytest.mark.parametrize("state", ["closed", "log left over", "writer at work"])
def test_a_library_without_write_permission_is_searched(library: Path, photos: Path, state: str) -> None:
    picture = photos / "0" / "00003.png"
    with contextlib.ExitStack() as stack:
        if state != "closed":
            writer = stack.enter_context(contextlib.closing(Catalog.open(library, write=True)))
            with writer.transaction():
                writer.execute("UPDATE files SET name = 'fresh'")
        if state == "log left over":
            shutil.copytree(library, library.with_name("copy"))
            library = library.with_name("copy")
            (library / "catalog.sqlite-shm").unlink()
        before = {path.name: path.read_bytes() for path in library.iterdir()}
        with closed(library):
            done = without_rights(SEARCH, library, picture)
        assert (done.returncode, done.stdout.split()) == (0, [str(COUNT), "True", "0" if state == "closed" else "fresh"]), done
        if state != "writer at work":  # whose shared file counts its readers
            assert {path.name: path.read_bytes() for path in library.iterdir()} == before
    with closed(library):
        done = without_rights(
            "from image_search import ImageSearchEngine\nImageSearchEngine(sys.argv[1]).index(sys.argv[2])", library, photos
        )
    assert "LibraryReadOnlyError: the library cannot be written" in done.stderr


def test_a_library_on_a_read_only_disk_is_searched(library: Path, photos: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "5m") as disk:
        shutil.copytree(library, disk / "library")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with ImageSearchEngine(disk / "library") as engine:
            assert len(engine.search(photos / "0" / "00003.png", 100)) == COUNT
            with pytest.raises(LibraryReadOnlyError):
                engine.index(photos, progress=False)


def test_files_and_folders_without_permission_stay_in_the_library(tmp_path: Path) -> None:
    own = tmp_path / "own"
    draw(own, 0, 30)
    library = tmp_path / "library"
    run = """
from image_search import ImageSearchEngine
with ImageSearchEngine(sys.argv[1], store="exact", jobs=1, notify=print) as engine:
    report = engine.index(sys.argv[2], progress=False)
    print(report.missing, report.offline, len(report.skipped), engine.status()["images"], [s.reason for s in report.skipped])
"""
    assert without_rights(run, library, own).stdout.startswith("0 0 0 30")
    (own / "0" / "00001.png").chmod(0)
    (own / "0" / "00001.png").touch()  # to be read again, and cannot be
    (own / "1").chmod(0)
    done = without_rights(run, library, own)
    assert done.stdout.startswith("0 0 2 30 ['cannot be read', 'cannot be read']"), done
    own.chmod(0)
    done = without_rights(run, library, own)
    assert done.stdout.splitlines()[-1].startswith("0 30 0 30") and "offline" in done.stdout, done
    own.chmod(0o755)
    (own / "1").chmod(0o755)
    (own / "0" / "00001.png").chmod(0o644)
    assert without_rights(run, library, own).stdout.startswith("0 0 0 30")


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_lock_on_the_catalog_is_an_error_in_time(library: Path, photos: Path, statement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers are told; readers do not even notice."""
    monkeypatch.setattr("image_search.library.sqlite.BUSY_SECONDS", 0.3)
    with contextlib.closing(sqlite3.connect(library / "catalog.sqlite", isolation_level=None)) as foreign:
        foreign.execute(statement)
        with ImageSearchEngine(library, jobs=1) as engine:
            with pytest.raises(LibraryBusyError, match="another program holds the catalog"):
                engine.index(photos, progress=False)
            assert len(engine.search(photos / "0" / "00003.png", 100)) == COUNT


def test_even_readers_are_told_where_all_is_locked(library: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_search.library.sqlite.BUSY_SECONDS", 0.3)
    with contextlib.closing(sqlite3.connect(library / "catalog.sqlite", isolation_level=None)) as foreign:
        foreign.execute("PRAGMA locking_mode=EXCLUSIVE")
        foreign.execute("BEGIN EXCLUSIVE")
        foreign.execute("UPDATE roots SET name_from = name_from")
        with pytest.raises(LibraryBusyError), ImageSearchEngine(library) as engine:
            engine.search(photos / "0" / "00003.png", 1)


def test_readers_go_on_beside_a_writer_and_see_what_it_commits(library: Path, photos: Path, tmp_path: Path) -> None:
    """A thread searches with one open library all through an index run; new readers open it meanwhile; none waits or fails."""
    more = tmp_path / "more"
    draw(more, COUNT, COUNT + 60)
    seen: list[int] = []
    stop = threading.Event()
    failed: list[BaseException] = []

    def search() -> None:
        try:
            with ImageSearchEngine(library) as old:
                while not stop.is_set():
                    with ImageSearchEngine(library) as new:
                        seen.append(len(old.search(photos / "0" / "00003.png", 1000)))
                        assert len(new.search(photos / "0" / "00003.png", 1000)) >= seen[-1]
        except BaseException as error:
            failed.append(error)

    reader = threading.Thread(target=search)
    reader.start()
    while not seen and reader.is_alive():
        time.sleep(0.01)
    with ImageSearchEngine(library, jobs=1) as writer:
        writer.index(more, progress=False)
    enough = len(seen) + 2  # a search that began after the last commit
    while len(seen) < enough and reader.is_alive():
        time.sleep(0.01)
    stop.set()
    reader.join()
    assert failed == []
    assert seen == sorted(seen)
    assert seen[0] == COUNT and seen[-1] == COUNT + 60


def test_three_writers_at_once_lose_nothing(tmp_path: Path, photos: Path, truth: dict[str, bytes]) -> None:
    said = tmp_path / "said"
    run = [sys.executable, str(HERE / "one_run.py"), str(photos), str(tmp_path / "library"), str(said), "exact"]
    writers = [subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(3)]
    words = [writer.communicate(timeout=60)[0] for writer in writers]
    pids = {str(writer.pid) for writer in writers}
    for writer, word in zip(writers, words, strict=True):
        if writer.returncode:  # or it came when another one was done
            assert "LibraryBusyError: the library is in use by process" in word and any(pid in word for pid in pids - {str(writer.pid)})
    assert any(writer.returncode == 0 for writer in writers), words
    judge(tmp_path / "library", truth, acknowledged=COUNT, complete=True)
