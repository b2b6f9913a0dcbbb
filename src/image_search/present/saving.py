"""Files that the program writes where it is told to: whole or not at all, and only over what it made itself."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil

from ..errors import ImageSearchError, translated_os_errors

__all__ = ["made_here", "write_whole"]


def made_here(file: str, signature: str, most: int) -> bool:
    """May it be replaced? Somebody's file may not; an empty one is no loss. `most`: bytes; a larger file is none of ours."""
    try:
        with open(file, "rb") as opened:
            data = opened.read(most + 1)
    except OSError:
        return False
    return not data or (len(data) <= most and signature.encode() in data)


def write_whole(target: str, data: bytes, what: str, path: str | os.PathLike[str]) -> None:
    """The file is there whole or not at all, and one that was there stays until then.

    Args:
        target: the file itself, where `path`, as it was given, may be a link to it. what: "the picture", for errors.

    Raises DiskFullError, or ImageSearchError (no permission, ...).
    """
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.part")
    another = "choose another folder or name"
    try:
        with translated_os_errors(
            what,
            path,
            failed=lambda said: ImageSearchError(f"{what} cannot be written ({said})", path=path, hint=another),
            hint=another,
            room="free some space or choose another disk",
            refused=ImageSearchError,
        ):
            if os.path.exists(target) and not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if os.path.exists(target):
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):  # gone where all went well
            os.remove(temporary)
