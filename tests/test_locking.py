"""The lock between processes: one holder, named to the second, free again when its holder dies, blind to planted links."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from image_search.errors import DiskFullError, LibraryBusyError, LibraryError, LibraryNotFoundError, LibraryReadOnlyError
from image_search.library import lock as locking
from image_search.library.lock import ProcessLock

HOLD = """
import sys
from image_search.library.lock import ProcessLock
with ProcessLock(sys.argv[1], what="index"):
    print("held", flush=True)
    sys.stdin.read()
"""

COUNT = """
import sys
from image_search.library.lock import ProcessLock
for _ in range(20):
    lock = ProcessLock(sys.argv[1])
    lock.acquire(timeout=60)
    value = int(open(sys.argv[2]).read())
    open(sys.argv[2], "w").write(str(value + 1))
    lock.release()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path/lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_the_second_process_is_told_who_holds_it(tmp_path, holder):
    with pytest.raises(LibraryBusyError) as caught:
        ProcessLock(tmp_path / "lock").acquire()
    assert caught.value.pid == holder.pid
    assert f"in use by process {holder.pid} (image-search index)" in str(caught.value)
    assert caught.value.path == str(tmp_path)


def test_a_killed_holder_holds_nothing(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert str(holder.pid) in (tmp_path / "lock").read_text()  # its name is still there, and proves nothing
    with ProcessLock(tmp_path / "lock") as lock:
        assert lock.held


def test_waiting_takes_it_over_as_soon_as_it_is_free(tmp_path, holder):
    holder.stdin.close()
    lock = ProcessLock(tmp_path / "lock")
    lock.acquire(timeout=60)
    lock.release()
    assert not lock.held


def test_two_objects_of_one_process_exclude_each_other(tmp_path):
    with ProcessLock(tmp_path / "lock", what="page"):
        with pytest.raises(LibraryBusyError) as caught:
            ProcessLock(tmp_path / "lock").acquire()
        assert caught.value.pid == os.getpid()
    with ProcessLock(tmp_path / "lock"):
        pass


def test_taking_it_twice_is_a_mistake_of_ours(tmp_path):
    with ProcessLock(tmp_path / "lock") as lock, pytest.raises(RuntimeError):
        lock.acquire()


def test_no_count_is_lost_between_four_processes(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    workers = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path / "lock"), str(counter)]) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert counter.read_text() == "80"


def test_a_link_at_its_place_is_not_followed(tmp_path):
    mine = tmp_path / "letter.txt"
    mine.write_text("dear reader")
    (tmp_path / "lock").symlink_to(mine)
    with pytest.raises(LibraryError, match="link or special file"):
        ProcessLock(tmp_path / "lock").acquire()
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").symlink_to(tmp_path / "not there")
    with pytest.raises(LibraryError, match="link or special file"):
        ProcessLock(tmp_path / "lock").acquire()
    assert not (tmp_path / "not there").exists()
    (tmp_path / "lock").unlink()
    os.link(mine, tmp_path / "lock")
    with pytest.raises(LibraryError, match="link or special file"):
        ProcessLock(tmp_path / "lock").acquire()
    assert mine.read_text() == "dear reader"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_no_special_file_stops_it(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "folder"):
        with pytest.raises(LibraryError, match="link or special file"):
            ProcessLock(tmp_path / name).acquire()


def test_a_lock_file_that_is_replaced_guards_nothing(tmp_path, monkeypatch):
    """Who locked the file of this name and finds another one there must not believe to hold it."""
    path = tmp_path / "lock"
    real = filelock.lock_descriptor

    def replaced_meanwhile(fd, *, blocking):
        if not (tmp_path / "gone").exists():
            path.rename(tmp_path / "gone")
            path.touch()
        return real(fd, blocking=blocking)

    monkeypatch.setattr(filelock, "lock_descriptor", replaced_meanwhile)
    lock = ProcessLock(path)
    lock.acquire(timeout=60)
    with pytest.raises(LibraryBusyError):
        ProcessLock(path).acquire()
    lock.release()


def test_where_nothing_can_be_written_it_says_so(tmp_path, monkeypatch):
    with pytest.raises(LibraryNotFoundError):
        ProcessLock(tmp_path / "nowhere" / "lock").acquire()
    for code, kind in ((errno.EROFS, LibraryReadOnlyError), (errno.EACCES, LibraryReadOnlyError), (errno.ENOSPC, DiskFullError)):

        def refuse(*_args, code=code):
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch, pytest.raises(kind):
            patch.setattr(locking.os, "open", refuse)
            ProcessLock(tmp_path / "lock").acquire()


def test_a_strangers_words_are_not_shown(tmp_path):
    """The lock file may come with someone else's library."""
    with ProcessLock(tmp_path / "lock", what="\x1b[2J owned"), pytest.raises(LibraryBusyError) as caught:
        ProcessLock(tmp_path / "lock").acquire()
    assert "owned" not in str(caught.value)
    lock = ProcessLock(tmp_path / "lock")
    lock.acquire()
    for junk in (b"", b" ", b' {"pid": "x", "what": 1}', b" []", b"\xff" * 10_000):
        Path(lock.path).write_bytes(junk)
        with pytest.raises(LibraryBusyError, match="in use by another process") as caught:
            ProcessLock(tmp_path / "lock").acquire()
        assert caught.value.pid is None
    lock.release()
