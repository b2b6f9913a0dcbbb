"""The directories of TIFF and of what is built like it (BigTIFF, camera raw): tag -> values. Whole numbers and bytes, nothing else."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["Directory", "directories", "first_directory"]

Directory = dict[int, tuple[int, ...] | bytes]

_LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}  # field type -> struct's letter
_RAW = {2: 1, 5: 8, 7: 1, 10: 8, 11: 4, 12: 8}  # field type -> bytes of one: text, fractions, opaque bytes, floats
_SUB_IFDS = 0x014A
_MOST = 32  # directories looked at; a camera's file has at most eight
_MOST_ENTRIES = 1000  # in one of them; real ones have a few dozen
_MOST_VALUES = 1 << 22  # of one tag; strips of a picture as high as we allow are fewer


class _File:
    """Its byte order and widths. Raises ValueError for what is no such file, struct.error where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
        if not self.order:
            raise ValueError("no byte order")
        self.big = struct.unpack_from(self.order + "H", data, 2)[0] == 43
        self.first: int = struct.unpack_from(self.order + ("Q" if self.big else "I"), data, 8 if self.big else 4)[0]

    def read(self, at: int) -> tuple[Directory, int]:
        """(the directory that stands there, where the next one does; 0: there is none)."""
        count, entry, offset, inline = ("Q", "HHQ", "Q", 8) if self.big else ("H", "HHI", "I", 4)
        number = struct.unpack_from(self.order + count, self.data, at)[0]
        at += 8 if self.big else 2
        size = 20 if self.big else 12
        if number > _MOST_ENTRIES:
            raise ValueError("too many entries")
        found: Directory = {}
        for _ in range(number):
            tag, kind, length = struct.unpack_from(self.order + entry, self.data, at)
            found[tag] = self._value(kind, length, at + size - inline, inline, offset)
            at += size
        try:
            following = int(struct.unpack_from(self.order + offset, self.data, at)[0])
        except struct.error:
            following = 0
        return found, following

    def _value(self, kind: int, length: int, at: int, inline: int, offset: str) -> tuple[int, ...] | bytes:
        letter = _LETTERS.get(kind)
        size = length * (struct.calcsize("=" + letter) if letter else _RAW.get(kind, 1))
        if size > inline:
            at = struct.unpack_from(self.order + offset, self.data, at)[0]
        if at + size > len(self.data) or length > _MOST_VALUES:
            return ()
        return self.data[at : at + size] if letter is None else struct.unpack_from(f"{self.order}{length}{letter}", self.data, at)


def first_directory(data: bytes) -> Directory:
    """Of the first page. A value that lies outside the file is (). Raises ValueError, struct.error."""
    file = _File(data)
    return file.read(file.first)[0]


def directories(data: bytes) -> Iterator[Directory]:
    """All that hang together: the pages and what is below them (SubIFDs), broken ones left out; none twice."""
    try:
        file = _File(data)
    except (ValueError, struct.error):
        return
    todo, seen = [file.first], set[int]()
    while todo and len(seen) < _MOST:
        at = todo.pop(0)
        if at in seen or at == 0:
            continue
        seen.add(at)
        try:
            found, following = file.read(at)
        except (ValueError, struct.error):
            continue
        yield found
        below = found.get(_SUB_IFDS, ())
        todo += [*(below if isinstance(below, tuple) else ()), following]
