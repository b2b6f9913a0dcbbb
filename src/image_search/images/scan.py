"""Walks a folder and says what lies there: image files, what cannot be used, how much was passed by, where another disk begins.

Never follows links, never opens a file. An unreadable folder is reported, so that nobody takes it for an empty one, and every file is
either told or counted.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..config import EXCLUDED_FOLDERS, PASSED_BY_ENTRIES
from ..errors import SkipReason
from ..paths import device, nfc
from ..types import FileStat, PassRule
from . import formats

__all__ = ["Excluder", "ImageFile", "NotIndexed", "OtherDisk", "PassedBy", "scan", "stat_of"]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A regular file with an image's ending, or without one if asked for.

    Attributes:
        relative: its path below the root, in the system's bytes.
        device: number of its disk.
    """

    relative: bytes
    path: str
    stat: FileStat
    device: int


@dataclass(frozen=True, slots=True)
class NotIndexed:
    """A file or folder that cannot be used. For an unreadable folder `folder` is True: nothing is known of what lies below."""

    relative: bytes
    path: str
    reason: SkipReason
    folder: bool = False


@dataclass(frozen=True, slots=True)
class PassedBy:
    """Files in or below this folder that a rule leaves out; see `types.Passed`."""

    folder: bytes
    rule: PassRule
    detail: str
    files: int
    more: bool


@dataclass(frozen=True, slots=True)
class OtherDisk:
    """At this folder below the root another disk is mounted."""

    relative: bytes


class Excluder:
    """Decides by name alone; the same rule serves the walk and the question why a known file was not seen.

    Args:
        globs: matched against the path below the root and against each single name, case-sensitive, composed (NFC).
    """

    def __init__(self, globs: Iterable[str] = ()) -> None:
        rules = [fnmatch.translate(nfc(g.rstrip("/"))) for g in globs]
        self._pattern = re.compile("|".join(rules)) if rules else None

    def entry(self, relative: bytes, name: str) -> PassRule | None:
        """The rule that leaves this one entry (file or folder) out, if there is one. `relative`: its path below the root."""
        if name.startswith("."):
            return PassRule.HIDDEN
        if name.lower() in EXCLUDED_FOLDERS:
            return PassRule.COPIES
        if self._pattern is not None and (self._pattern.match(nfc(name)) or self._pattern.match(nfc(_as_glob(relative)))):
            return PassRule.EXCLUDED
        return None

    def path(self, relative: bytes) -> bool:
        """Is this file left out, by its own name or by that of a folder above it?"""
        parts = relative.split(_SEPARATOR)
        return any(self.entry(_SEPARATOR.join(parts[: i + 1]), os.fsdecode(name)) for i, name in enumerate(parts))


def stat_of(status: os.stat_result) -> FileStat:
    return FileStat.of(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


_SEPARATOR = os.sep.encode()

Found = ImageFile | NotIndexed | PassedBy | OtherDisk


def scan(
    root: str,
    *,
    below: bytes = b"",
    excluder: Excluder | None = None,
    never: Iterable[str] = (),
    nameless: Callable[[bytes], bool] = lambda relative: False,
) -> Iterator[Found]:
    """Yield what lies below `root`, folder by folder, names in order.

    Args:
        root: absolute path of a folder.
        below: walk only this folder, relative to the root; "" for all of it.
        excluder: what is left out; hidden, thumbnail and recycle folders by default.
        never: absolute paths that are passed by in silence (the library itself, other roots, what the user made us forget).
        nameless: is this file, whose name has no ending, to be looked at as a picture?

    A raw file beside the JPEG or HEIC of the same shot (same folder, same name but for the ending) is passed by: that is the picture. So
    it is where the JPEG was forgotten; where it is left out by a rule, the raw file is the picture.
    An unreadable folder, the root included, is one `NotIndexed(folder=True)`; the walk goes on beside it.
    """
    excluder = excluder or Excluder()
    avoid = {os.fspath(p) for p in never}
    names = _Names()
    start = os.path.join(root, os.fsdecode(below)) if below else root
    stack = [(below, device(os.path.dirname(start) if below else start))]  # with the disk of the folder above
    while stack:
        relative, disk_above = stack.pop()
        folder = os.path.join(root, os.fsdecode(relative)) if relative else root
        disk = device(folder)
        if disk is not None and disk != disk_above:
            yield OtherDisk(relative)
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda e: e.name)
        except OSError:
            yield NotIndexed(relative, folder, SkipReason.UNREADABLE, folder=True)
            continue
        deeper: list[bytes] = []
        passed: Counter[tuple[PassRule, str]] = Counter()
        endless: set[PassRule] = set()
        shots = names.shots(found, relative, excluder)
        for entry in found:
            if entry.path in avoid:
                continue
            here = _below(relative, entry)
            if (rule := excluder.entry(here, entry.name)) is not None:
                pictures, more = _pictures_in(entry, names, avoid)
                passed[rule, ""] += pictures
                endless |= {rule} if more else set()
                continue
            seen = _look(entry, here, names, shots, nameless)
            if seen == "folder":
                deeper.append(here)
            elif isinstance(seen, tuple):
                passed[seen] += 1
            else:
                yield seen
        yield from (PassedBy(relative, rule, detail, n, rule in endless) for (rule, detail), n in passed.items() if n)
        stack.extend((one, disk) for one in reversed(deeper))


def _below(folder: bytes, entry: os.DirEntry[str]) -> bytes:
    name = os.fsencode(entry.name)
    return folder + _SEPARATOR + name if folder else name


def _as_glob(relative: bytes) -> str:
    return os.fsdecode(relative).replace(os.sep, "/")


def _ending(name: str) -> str:
    """What `os.path.splitext` says of a name, in lower case, in a third of its time: it is asked for every file of a disk."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 and name[:dot].strip(".") else ""


class _Names:
    """What a file's name says of it."""

    def __init__(self) -> None:
        self._pictures = formats.extensions()
        self._unread = formats.unread_extensions()
        self._all = self._pictures | self._unread.keys()
        self._raw, self._developed = formats.shot_extensions()

    def picture(self, name: str) -> bool:
        return _ending(name) in self._pictures

    def rule(self, name: str) -> tuple[PassRule, str]:
        """Of a file that is no picture to us."""
        ending = _ending(name)
        return (PassRule.UNREAD, ending) if ending in self._unread else (PassRule.OTHER, "")

    def shots(self, entries: list[os.DirEntry[str]], folder: bytes, excluder: Excluder) -> set[str]:
        """Names without ending, in lower case, of the pictures of a folder beside which a raw file is the same shot."""
        if not any(_ending(entry.name) in self._raw for entry in entries):
            return set()
        split = [(*os.path.splitext(entry.name.lower()), entry) for entry in entries]
        beside = [(stem, entry) for stem, ending, entry in split if ending in self._developed and entry.is_file(follow_symlinks=False)]
        return {stem for stem, entry in beside if excluder.entry(_below(folder, entry), entry.name) is None}

    def is_shot(self, name: str, shots: set[str]) -> bool:
        return bool(shots) and _ending(name) in self._raw and os.path.splitext(name.lower())[0] in shots

    def says_picture(self, name: str) -> bool:
        """Of any format, read or not."""
        return _ending(name) in self._all


def _pictures_in(entry: os.DirEntry[str], names: _Names, avoid: set[str]) -> tuple[int, bool]:
    """(how many, perhaps more): files with a picture's name in what a rule leaves out, to be counted and no more.

    Looked through up to PASSED_BY_ENTRIES entries, and on one disk: a hidden folder may hold fifty snapshots of the whole disk.
    """
    count = looked = 0
    try:
        if entry.is_symlink() or _is_junction(entry) or not entry.is_dir(follow_symlinks=False):
            return int(names.says_picture(entry.name)), False
    except OSError:
        return 0, False
    disk = device(entry.path)
    stack = [entry.path]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folder) as entries:
                for inner in entries:
                    looked += 1
                    if looked > PASSED_BY_ENTRIES:
                        return count, True
                    if inner.path in avoid or inner.is_symlink() or _is_junction(inner):
                        continue
                    if not inner.is_dir(follow_symlinks=False):
                        count += names.says_picture(inner.name)
                    elif device(inner.path) == disk:
                        stack.append(inner.path)
        except OSError:
            continue
    return count, False


def _look(
    entry: os.DirEntry[str], relative: bytes, names: _Names, shots: set[str], nameless: Callable[[bytes], bool]
) -> ImageFile | NotIndexed | Literal["folder"] | tuple[PassRule, str]:
    """One entry: "folder", a file, a reason why it cannot be used, or the rule by which a file that is no picture to us is passed by."""
    picture = names.picture(entry.name)
    try:
        if entry.is_symlink() or _is_junction(entry):
            # A link to a folder may lead out of the root or round in a circle; it is named, never followed.
            linked_folder = not picture and entry.is_dir()
            return NotIndexed(relative, entry.path, SkipReason.LINK) if picture or linked_folder else names.rule(entry.name)
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        if not picture and not (_is_nameless(entry) and nameless(relative)):
            return names.rule(entry.name)
        if names.is_shot(entry.name, shots):
            return PassRule.SHOT, ""
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return NotIndexed(relative, entry.path, SkipReason.UNREADABLE) if picture else names.rule(entry.name)
    if not stat.S_ISREG(status.st_mode):
        return NotIndexed(relative, entry.path, SkipReason.SPECIAL)
    if os.name == "nt":  # DirEntry.stat has no inode on Windows
        status = os.stat(entry.path, follow_symlinks=False)
    return ImageFile(relative, entry.path, stat_of(status), status.st_dev)


def _is_nameless(entry: os.DirEntry[str]) -> bool:
    """A regular file whose name has no ending."""
    return not _ending(entry.name) and entry.is_file(follow_symlinks=False)


def _is_junction(entry: os.DirEntry[str]) -> bool:
    return os.path.isjunction(entry.path) if hasattr(os.path, "isjunction") and os.name == "nt" else False
