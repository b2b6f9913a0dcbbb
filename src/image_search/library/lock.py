"""One lock between processes: the system frees it when its holder dies, and it names the holder to whoever comes second.

The lock is the operating system's (flock, LockFileEx) on a file that is never removed: removing it would let two processes lock two
files of one name. The file's first byte is what is locked (Windows keeps others from reading it); behind it the holder writes its
process id and what it does, for the second one's message. That text proves nothing and is never acted upon.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from types import TracebackType

from .. import forks
from ..errors import MAKE_ONE, LibraryBusyError, LibraryError, LibraryNotFoundError, translated_os_errors

__all__ = ["ProcessLock"]

_POLL_SECONDS = 0.02
_NAME_SECONDS = 0.2  # how long to wait for a holder that has locked but not yet written its name
_MAX_TEXT = 256  # bytes of the holder's name that are read


class ProcessLock:
    """An exclusive lock of one file, held by at most one `ProcessLock` object of all processes on this machine.

    Args:
        path: the lock file; made if absent, its folder must exist.
        what: what the holder does ("index", "page"), told to the one who comes second.
        thing: what is locked, for the same message.

    `with ProcessLock(path):` takes it at once or raises. One object serves one thread.
    """

    def __init__(self, path: str | os.PathLike[str], *, what: str = "", thing: str = "the library") -> None:
        self.path = os.fspath(path)
        self.what = what
        self.thing = thing
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        return self._fd is not None

    def acquire(self, timeout: float = 0.0) -> None:
        """Take the lock; wait at most `timeout` seconds for its holder.

        Raises:
            LibraryBusyError: another process (or another lock object here) holds it; `pid` is the holder's if it could be read.
            LibraryReadOnlyError: the lock file cannot be written. LibraryNotFoundError: its folder is not there.
            LibraryError: something that is no plain file lies at its path (a link is never followed).
        """
        from filelock import lock_descriptor

        if self._fd is not None:
            raise RuntimeError(f"this lock is already held: {self.path}")
        deadline = time.monotonic() + timeout
        while True:
            fd = self._open()
            try:
                locked = lock_descriptor(fd, blocking=False)
                if locked and self._is_still_here(fd):
                    self._write_name(fd)
                    self._fd, fd = fd, -1
                    forks.watch(self)
                    return
            except OSError as error:
                raise LibraryError("this file system cannot lock files", path=self.path, hint="keep the library on a local disk") from error
            finally:
                if fd >= 0:
                    os.close(fd)
            if time.monotonic() >= deadline:
                raise self._busy()
            time.sleep(_POLL_SECONDS)

    def release(self) -> None:
        """Give it back; does nothing when it is not held."""
        from filelock import unlock_descriptor

        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)  # nobody is named by a lock that nobody holds
            with contextlib.suppress(OSError):
                unlock_descriptor(fd)
        finally:
            os.close(fd)

    def after_fork(self, in_child: bool) -> None:
        if in_child and self._fd is not None:  # unlocked here it would be unlocked there; kept open it would outlive the parent
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> ProcessLock:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with _opening(self.path):
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISLNK(os.lstat(self.path).st_mode):  # for systems without O_NOFOLLOW
                    raise _not_plain(self.path)
            fd = os.open(self.path, flags, 0o666)
        info = os.fstat(fd)
        # A second name of the file may lie anywhere: writing here would write there.
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
            os.close(fd)
            raise _not_plain(self.path)
        return fd

    def _is_still_here(self, fd: int) -> bool:
        """False if someone removed or replaced the file between our open and our lock: that lock guards nothing."""
        try:
            return os.path.samestat(os.fstat(fd), os.lstat(self.path))
        except OSError:
            return False

    def _write_name(self, fd: int) -> None:
        with contextlib.suppress(OSError):  # a full disk must not keep anyone from the lock
            os.ftruncate(fd, 0)
            os.write(fd, b" " + json.dumps({"pid": os.getpid(), "what": self.what}).encode())

    def _busy(self) -> LibraryBusyError:
        pid, what = self._holder()
        who = "another process" if pid is None else f"process {pid}"
        return LibraryBusyError(
            f"{self.thing} is in use by {who}{f' (image-search {what})' if what else ''}",
            path=os.path.dirname(self.path),
            hint="wait until it is done, or stop it",
            pid=pid,
        )

    def _holder(self) -> tuple[int | None, str]:
        deadline = time.monotonic() + _NAME_SECONDS
        while True:
            try:
                fd = self._open()
                try:
                    os.lseek(fd, 1, os.SEEK_SET)
                    data = json.loads(os.read(fd, _MAX_TEXT))
                finally:
                    os.close(fd)
                pid, what = data["pid"], data["what"]
                if isinstance(pid, int) and isinstance(what, str):  # the file may come from a stranger: only plain words are shown
                    return pid, what if re.fullmatch(r"[a-z][a-z -]{0,19}", what) else ""
                return None, ""
            except (OSError, LibraryError, ValueError, KeyError, TypeError):
                if time.monotonic() >= deadline:
                    return None, ""
                time.sleep(_POLL_SECONDS)


def _not_plain(path: str) -> LibraryError:
    return LibraryError("a link or special file lies where the lock file should be", path=path, hint="remove it")


@contextlib.contextmanager
def _opening(path: str) -> Iterator[None]:
    """Around opening the lock file: what it says of the library where it fails."""
    folder = os.path.dirname(path)
    with translated_os_errors(
        "the library",
        folder,
        failed=lambda said: LibraryError(f"the library cannot be locked ({said})", path=folder),
        hint="searching works; to index, check its permissions",
    ):
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise LibraryNotFoundError("there is no library", path=folder, hint=MAKE_ONE) from error
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EWOULDBLOCK):
                raise _not_plain(path) from error
            raise
