"""Files and folders that this user alone can read: secrets, keys, pictures that somebody gave.

Another user of the machine may have put a link or a file of his own where one of ours is expected, or be able to read what lies there:
such a thing is refused, never followed and never trusted. On Windows what protects them is the user's profile folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

__all__ = ["NotPrivate", "private_folder", "read_private", "write_private"]

_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class NotPrivate(OSError):  # noqa: N818 - as PermissionError: what is wrong, not that something is
    """It is a link or no plain file, belongs to somebody else, or others may read it; says which."""


def private_folder(folder: Path) -> Path:
    """The folder itself, there and open to its owner alone. NotPrivate if it is a link or somebody else's; OSError if it cannot be made."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    info = os.lstat(folder)
    if not stat.S_ISDIR(info.st_mode):
        raise NotPrivate("a link or file lies where this folder should be")
    if os.name != "nt":
        if info.st_uid != os.geteuid():
            raise NotPrivate("this folder belongs to another user")
        if info.st_mode & _OTHERS:  # ours, so it may be closed
            os.chmod(folder, 0o700)
    return folder


def read_private(path: Path, most: int, *, by_root: bool = False) -> bytes:
    """What a plain file holds that its owner alone can read: at most `most` bytes, and one more if there are more.

    Args:
        by_root: it may also belong to the machine's administrator, as what he puts into a container does.

    Raises NotPrivate; FileNotFoundError and other OSErrors as they come.
    """
    if path.is_symlink():
        raise NotPrivate("this is a link")
    with open(os.open(path, _READ), "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise NotPrivate("this is no plain file")
        if os.name != "nt":
            if info.st_uid != os.geteuid() and not (by_root and info.st_uid == 0):
                raise NotPrivate("this file belongs to another user")
            if info.st_mode & _OTHERS:
                raise NotPrivate("other users can read or change this file")
        return file.read(most + 1)


def write_private(path: Path, data: bytes, *, replace: bool = True, durable: bool = True) -> None:
    """Whole or not at all, for its owner alone; a link that lies there is replaced, not followed.

    Args:
        replace: else the first of several processes wins, and what is there stays.
        durable: on the disk before it gets its name. Without that a power cut may leave it empty.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, _WRITE, 0o600), "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
            return
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(draft, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(draft)
