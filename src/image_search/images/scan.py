"""Walks a folder and says what lies there: image files, what was skipped by rule, and what could not be read.

Never follows links, never opens a file. An unreadable folder is reported, so that nobody takes it for an empty one.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..config import EXCLUDED_FOLDERS
from ..errors import SkipReason
from ..paths import nfc
from ..types import FileStat
from . import formats

__all__ = ["Excluder", "ImageFile", "NotIndexed", "scan", "stat_of"]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A regular file with an image's extension. `relative` is its path below the root, in the system's bytes; `device` its disk."""

    relative: bytes
    path: str
    stat: FileStat
    device: int


@dataclass(frozen=True, slots=True)
class NotIndexed:
    """A file or folder that the scan passed by. For an unreadable folder `folder` is True: nothing is known of what lies below."""

    relative: bytes
    path: str
    reason: SkipReason
    folder: bool = False


class Excluder:
    """Decides by name alone; the same rule serves the walk and the question why a known file was not seen.

    Args:
        globs: matched against the path below the root and against each single name, case-sensitive, composed (NFC).
    """

    def __init__(self, globs: Iterable[str] = ()) -> None:
        self._pattern = re.compile("|".join(fnmatch.translate(nfc(g.rstrip("/"))) for g in globs) or r"(?!)")

    def entry(self, relative: str, name: str) -> bool:
        """Is this one entry (file or folder) left out? `relative` uses "/"."""
        if name.startswith(".") or name.lower() in EXCLUDED_FOLDERS:
            return True
        return bool(self._pattern.match(nfc(name)) or self._pattern.match(nfc(relative)))

    def path(self, relative: bytes) -> bool:
        """Is this file left out, by its own name or by that of a folder above it?"""
        parts = os.fsdecode(relative).replace(os.sep, "/").split("/")
        return any(self.entry("/".join(parts[: i + 1]), name) for i, name in enumerate(parts))


def stat_of(status: os.stat_result) -> FileStat:
    return FileStat.of(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def scan(root: str, *, below: bytes = b"", excluder: Excluder | None = None, never: Iterable[str] = ()) -> Iterator[ImageFile | NotIndexed]:
    """Yield what lies below `root`, folder by folder, names in order.

    Args:
        root: absolute path of a folder.
        below: walk only this folder, relative to the root; "" for all of it.
        excluder: what is left out; hidden, thumbnail and recycle folders by default.
        never: absolute paths that are passed by in silence (the library itself, what the user made us forget).

    An unreadable folder, the root included, is one `NotIndexed(folder=True)`; the walk goes on beside it.
    """
    excluder = excluder or Excluder()
    avoid = {os.fspath(p) for p in never}
    pictures = formats.extensions()
    stack = [below]
    while stack:
        relative = stack.pop()
        folder = os.path.join(root, os.fsdecode(relative)) if relative else root
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda e: e.name)
        except OSError:
            yield NotIndexed(relative, folder, SkipReason.UNREADABLE, folder=True)
            continue
        deeper: list[bytes] = []
        for entry in found:
            here = os.path.join(relative, os.fsencode(entry.name)) if relative else os.fsencode(entry.name)
            if entry.path in avoid or excluder.entry(os.fsdecode(here).replace(os.sep, "/"), entry.name):
                continue
            seen = _look(entry, here, pictures)
            if seen == "folder":
                deeper.append(here)
            elif seen is not None:
                yield seen
        stack.extend(reversed(deeper))


def _look(entry: os.DirEntry[str], relative: bytes, pictures: frozenset[str]) -> ImageFile | NotIndexed | Literal["folder"] | None:
    """One entry: "folder", a file, a reason, or None for a file that is no picture by its name."""
    picture = os.path.splitext(entry.name)[1].lower() in pictures
    try:
        if entry.is_symlink() or _is_junction(entry):
            # A link to a folder may lead out of the root or round in a circle; it is named, never followed.
            linked_folder = not picture and entry.is_dir()
            return NotIndexed(relative, entry.path, SkipReason.LINK) if picture or linked_folder else None
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        if not picture:
            return None
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return NotIndexed(relative, entry.path, SkipReason.UNREADABLE) if picture else None
    if not stat.S_ISREG(status.st_mode):
        return NotIndexed(relative, entry.path, SkipReason.SPECIAL)
    if os.name == "nt":  # DirEntry.stat has no inode on Windows
        status = os.stat(entry.path, follow_symlinks=False)
    return ImageFile(relative, entry.path, stat_of(status), status.st_dev)


def _is_junction(entry: os.DirEntry[str]) -> bool:
    return os.path.isjunction(entry.path) if hasattr(os.path, "isjunction") and os.name == "nt" else False
