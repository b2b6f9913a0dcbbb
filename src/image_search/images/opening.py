"""Opening a user's file: what is opened is proved, not looked up beforehand, so that nothing can be exchanged in between.

A file that was named by somebody is opened as it is named (`open_regular`). One that the catalog knows is opened from its indexed folder
down, a folder at a time, each without following a link (`open_below`): what lies behind a folder that has become a link is not opened.
That costs 11 us of CPU a file, three folders deep; a small file that is only hashed costs the worker and its parent 900.

Both give a handle and what the system says of it, and raise Refused.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DecodeError, SkipReason
from .formats import Refused

if TYPE_CHECKING:
    from ..types import FileStat

__all__ = ["Elsewhere", "FileInRoot", "open_below", "open_regular", "opened", "refused"]


@dataclass(frozen=True, slots=True)
class FileInRoot:
    """A file of an indexed folder. It is opened from that folder down, and no link below the folder is followed.

    Attributes:
        root: the indexed folder, absolute. relative: the way below it. Both may hold surrogate escapes.
        seen: device and stat of what the walk found there: only that may be opened. None: whatever lies there now.
    """

    root: str
    relative: str
    seen: tuple[int, FileStat] | None = None

    @classmethod
    def of(cls, root: str, path: str) -> FileInRoot:
        """Of two absolute paths; a path that does not lie below the root stays whole, and is not opened."""
        return cls(root, path.removeprefix(os.path.join(root, "")))

    @property
    def path(self) -> str:
        return os.path.join(self.root, self.relative)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A picture that lies behind an address: its bytes are fetched when it is its turn, and are judged like those that somebody sent.

    Attributes:
        path: the address. read: fetches the bytes; DecodeError says why there are none.
    """

    path: str
    read: Callable[[], bytes]


_FILE = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):  # O_NONBLOCK: a FIFO does not stop us
    _FILE |= getattr(os, _name, 0)
# O_PATH, where there is one (Linux), needs no more than the right to pass through, as a whole path would.
_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_PATH", 0)
_WALKS = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW") and hasattr(os, "O_DIRECTORY")


def opened(source: FileInRoot | Elsewhere) -> tuple[io.BufferedReader | io.BytesIO, os.stat_result | None]:
    """A picture of the library's, to read from its beginning, and what the system says of its file, where it is one. Raises Refused."""
    if isinstance(source, FileInRoot):
        handle, stat = open_below(os.fsencode(source.root), os.fsencode(source.relative))
        return open(handle, "rb"), stat
    try:
        return io.BytesIO(source.read()), None
    except DecodeError as error:
        raise Refused(error.reason, error.detail) from error


def open_regular(path: bytes, *, folder: int | None = None) -> tuple[int, os.stat_result]:
    """A regular file, to read. Never blocks on a FIFO, never follows a link in the last place. Refused where that is not so.

    Args:
        folder: a handle; `path` is then a name in that folder.
    """
    try:
        only_regular(
            os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode
        )  # opening a device can do things; no O_NOFOLLOW on Windows
        handle = os.open(path, _FILE, dir_fd=folder)
    except OSError as error:
        raise refused(error) from error
    try:
        found = os.fstat(handle)
        only_regular(found.st_mode)
    except BaseException:
        os.close(handle)
        raise
    return handle, found


def open_below(root: bytes, relative: bytes) -> tuple[int, os.stat_result]:
    """A regular file below a folder, to read; no link below the folder is followed. Links in the folder's own path are.

    Raises:
        Refused: LINK where a link lies on the way, or the way leads out ("..."); VANISHED, UNREADABLE, SPECIAL.
    """
    parts = relative.split(os.sep.encode())
    if any(part in (b"", b".", b"..") for part in parts) or os.path.splitdrive(relative)[0]:  # a catalog from a stranger may say so
        raise Refused(SkipReason.LINK, "leads out of its folder")
    if not _WALKS:
        return _open_and_prove(root, relative)
    try:
        here = os.open(root, os.O_RDONLY | _FOLDER)
    except OSError as error:
        raise refused(error) from error
    try:
        for part in parts[:-1]:
            there = _step(here, part)
            os.close(here)
            here = there
        return open_regular(parts[-1], folder=here)
    finally:
        os.close(here)


def _step(here: int, name: bytes) -> int:
    """A folder in this folder."""
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | _FOLDER, dir_fd=here)
    except OSError as error:
        try:
            linked = stat.S_ISLNK(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode)
        except OSError:
            linked = False
        raise Refused(SkipReason.LINK, "a folder on the way is a link") if linked else refused(error) from error


def _open_and_prove(root: bytes, relative: bytes) -> tuple[int, os.stat_result]:
    """Where folders have no handles (Windows, which renames no folder in which a file is open): first opened, then shown to lie there."""
    path = os.path.join(root, relative)
    handle, found = open_regular(path)
    try:
        straight = os.path.normcase(os.path.realpath(path)) == os.path.normcase(os.path.join(os.path.realpath(root), relative))
        if not straight or found.st_ino != os.lstat(path).st_ino:
            raise Refused(SkipReason.LINK, "a folder on the way is a link")
    except OSError as error:
        os.close(handle)
        raise refused(error) from error
    except BaseException:
        os.close(handle)
        raise
    return handle, found


def only_regular(mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise Refused(SkipReason.LINK)
    if not stat.S_ISREG(mode):
        raise Refused(SkipReason.SPECIAL, stat.filemode(mode))


def refused(error: OSError) -> Refused:
    """The system's refusal to open or read, as one of the closed list."""
    reason = SkipReason.UNREADABLE
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        reason = SkipReason.VANISHED
    elif error.errno == errno.ELOOP:
        reason = SkipReason.LINK
    elif error.errno == errno.ENXIO:
        reason = SkipReason.SPECIAL
    return Refused(reason, str(error.strerror))
