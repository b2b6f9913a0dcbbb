"""A file that the user named, written whole or not at all; what was there and is not ours stays."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Sequence

from .. import given
from ..errors import ImageSearchError, UsageError, translated_os_errors

__all__ = ["SIGNATURE", "target_of", "write"]

SIGNATURE = "AI Image Search Engine"  # in every file that is saved: only such files are replaced


def target_of(path: str | os.PathLike[str], endings: Sequence[str], *, kind: str, ours: str, most: int) -> tuple[str, str]:
    """(file to be written, its ending) of a name; UsageError if nothing of this kind ("picture", "page") can be saved under it.

    Args:
        ours: what such a file is called if it was made here: "comparison".
        most: no file of ours is larger, bytes: a larger one is none and is not replaced.
    """
    path = given.path(path, f"the {kind}'s name")
    target = os.path.realpath(path)  # a link keeps pointing at its file
    ending = os.path.splitext(path)[1].lower()
    if ending not in endings:
        raise UsageError(f"a {kind} cannot be saved under this name", path=path, hint=f"end it in one of {' '.join(endings)}")
    if os.path.exists(target) and not os.path.isfile(target):
        raise UsageError("not a file", path=path, hint=f"give the name of a {kind} file")
    if not os.path.isdir(os.path.dirname(target)):
        raise UsageError("there is no such folder", path=os.path.dirname(target), hint="create it first")
    if os.path.exists(target) and not _made_here(target, most):
        raise UsageError(f"this file is there already and is no {ours}", path=path, hint="give a new name")
    return target, ending


def _made_here(file: str, most: int) -> bool:
    """May it be replaced? Somebody's photo may not; an empty file is no loss."""
    try:
        with open(file, "rb") as opened:
            data = opened.read(most + 1)
    except OSError:
        return False
    return not data or (len(data) <= most and SIGNATURE.encode() in data)


def write(target: str, data: bytes, path: str | os.PathLike[str], *, kind: str) -> None:
    """Put it there; `path` is the name as the user gave it. DiskFullError, or ImageSearchError (no permission, ...)."""
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.part")
    another = "choose another folder or name"
    try:
        with translated_os_errors(
            f"the {kind}",
            path,
            failed=lambda said: ImageSearchError(f"the {kind} cannot be written ({said})", path=path, hint=another),
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
