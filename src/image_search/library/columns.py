"""What filters ask of every file that can be found, a column at a time, in arrays: of a large library it is kept in memory.

All columns of one moment have the same files in the same order, that of their numbers. To be read in one snapshot.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..paths import from_bytes, nfc
from .annotations import Column, column_of
from .catalog import Catalog
from .facts import sensible
from .schema import State
from .vectors import Numbers

__all__ = ["Classes", "Columns", "Moments", "Pictures", "Places"]

Codes = npt.NDArray[np.int32]
Moments = npt.NDArray[np.datetime64]

_FILES = f"FROM files WHERE state = '{State.PRESENT}' AND content_id IS NOT NULL ORDER BY id"
_HALF_HOUR = 1800  # seconds: time zones begin and end their summer on whole ones
_FIRST, _LAST = -62135596800, 253402300799  # the years 1 and 9999, seconds since 1970


class Classes(NamedTuple):
    """numbers, contents: int64 (F,). codes: int32 (F,), each file's place in `names`, the classes."""

    numbers: Numbers
    contents: Numbers
    codes: Codes
    names: list[str]

    def rows(self) -> list[tuple[int, int, str]]:
        """(number, content, class) of each file."""
        return [(n, content, self.names[code]) for n, content, code in zip(*(part.tolist() for part in self[:3]), strict=True)]


class Places(NamedTuple):
    """codes: int32 (F,), each file's place in `folders`: absolute, "/" at the end. names: the files' own. NFC, with "/" everywhere."""

    codes: Codes
    folders: list[str]
    names: list[str]


class Pictures(NamedTuple):
    """Facts of the files' pictures.

    Attributes:
        taken: datetime64[s] (F,), the clock on the wall; where the picture does not say it, of the file's own time here.
        own: bool (F,), the picture says it itself.
        pixels: int64 (F,), width times height.
        codes: int32 (F,), each one's place in `formats`.
        unread: files whose pictures were not asked yet when they were taken.
    """

    taken: Moments
    own: npt.NDArray[np.bool_]
    pixels: Numbers
    codes: Codes
    formats: list[str]
    unread: int


class Columns:
    """Of one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @property
    def moment(self) -> tuple[int, int, int]:
        """Another one means: the columns have changed."""
        return self._catalog.generation, self._catalog.meta("dated") or 0, self._catalog.meta("annotated") or 0

    def classes(self) -> Classes:
        names = _Codes()
        with sensible(self._catalog.folder):
            numbers, contents, codes = self._read(f"SELECT id, content_id, name {_FILES}", np.int64, np.int64, names.of)
            return Classes(numbers, contents, codes, names.texts)

    def places(self) -> Places:
        with sensible(self._catalog.folder):
            roots = {number: from_bytes(path) for number, path in self._catalog.rows("SELECT id, path FROM roots")}
            known: dict[tuple[int, bytes], int] = {}
            names: list[str] = []
            separator = os.sep.encode()

            def folders_of(pairs: Sequence[tuple[int, bytes]]) -> Codes:
                codes = []
                for root, path in pairs:
                    folder, _, name = path.rpartition(separator)
                    codes.append(known.setdefault((root, folder), len(known)))
                    names.append(_shown(from_bytes(name)))
                return np.array(codes, np.int32)

            pages = self._catalog.pages(f"SELECT root_id, path {_FILES}")
            codes = np.concatenate([np.empty(0, np.int32), *map(folders_of, pages)])
            folders = [_shown(os.path.join(roots[root], from_bytes(folder), "")) for root, folder in known]
        return Places(codes, folders, names)

    def pictures(self, contents: Numbers) -> Pictures:
        """Of the files that have these contents: int64 (F,), as `classes` has them."""
        formats = _Codes()
        with sensible(self._catalog.folder):
            facts = "SELECT id, captured, captured IS NULL, width * height, format FROM content"
            ids, taken, unread, pixels, codes = self._read(facts, np.int64, _moments, np.bool_, np.int64, formats.of)
            order = np.argsort(ids)
            rows = order[np.searchsorted(ids[order], contents).clip(max=max(0, len(order) - 1))] if len(order) else order
            if not np.array_equal(ids[rows], contents):
                raise ValueError("a file without its content")
            (modified,) = self._read(f"SELECT mtime_ns {_FILES}", np.int64)
            mine = taken[rows]
            own = ~np.isnat(mine)
            mine[~own] = _on_the_wall(modified[~own] // 10**9)
            return Pictures(mine, own, pixels[rows], codes[rows], formats.texts, int(unread[rows].sum()))

    def annotation(self, name: str, contents: Numbers) -> Column:
        """A column of the user's own table. UsageError: there is none of this name."""
        return column_of(self._catalog, name, contents)

    def totals(self) -> dict[str, Any]:
        """Of what can be found: bytes of the files; how many different pictures are of each format, say when they were taken, and were
        not asked yet; the first and the last of these dates, None where there is none."""
        there = f"EXISTS (SELECT 1 FROM files WHERE content_id = c.id AND state = '{State.PRESENT}')"
        rows = self._catalog.rows(
            "SELECT c.format, count(*), count(nullif(c.captured, '')), sum(c.captured IS NULL), min(nullif(c.captured, '')),"
            f" max(c.captured) FROM content AS c WHERE {there} GROUP BY c.format ORDER BY 2 DESC, 1"
        )
        with sensible(self._catalog.folder):
            dates = [date[:19] for row in rows for date in row[4:] if date]
            return {
                "bytes": self._catalog.value(f"SELECT coalesce(sum(size), 0) FROM files WHERE state = '{State.PRESENT}'"),
                "formats": {format: pictures for format, pictures, *_ in rows},
                "captured": {
                    "pictures": sum(row[2] for row in rows),
                    "not_asked": sum(row[3] for row in rows),
                    "first": min(dates, default=None),
                    "last": max(dates, default=None),
                },
            }

    def _read(self, sql: str, *kinds: Any) -> list[Any]:
        """An array of each column of a statement, by its dtype or by what makes one of a part of it. A page at a time: a million rows kept
        as Python's numbers cost more to keep track of than to read."""
        made = [(lambda values, kind=kind: np.array(values, kind)) if isinstance(kind, type) else kind for kind in kinds]
        parts: list[list[Any]] = [[make(())] for make in made]
        for page in self._catalog.pages(sql):
            for part, make, values in zip(parts, made, zip(*page, strict=True), strict=True):
                part.append(make(values))
        return [np.concatenate(part) for part in parts]


class _Codes:
    """Texts that come again and again, as numbers."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, texts: Sequence[str]) -> Codes:
        known = self._known
        return np.array([known.setdefault(text, len(known)) for text in texts], np.int32)

    @property
    def texts(self) -> list[str]:
        if not all(isinstance(text, str) for text in self._known):
            raise TypeError("no text")
        return list(self._known)


def _moments(captured: Sequence[str | None]) -> Moments:
    return np.array([said[:19] if said else "NaT" for said in captured], "datetime64[s]")


def _shown(path: str) -> str:
    path = path.replace(os.sep, "/")
    return path if path.isascii() else nfc(path)


def _on_the_wall(seconds: Numbers) -> Moments:
    """int64 (N,) since 1970 -> datetime64[s] (N,) of a clock in this machine's time zone, as it was then."""
    seconds = np.clip(seconds, _FIRST, _LAST)
    halves, where = np.unique(seconds // _HALF_HOUR, return_inverse=True)
    shifts = np.array([_shift(half * _HALF_HOUR) for half in halves.tolist()], np.int64)
    return (seconds + (shifts[where] if len(shifts) else 0)).astype("datetime64[s]")


def _shift(seconds: int) -> int:
    try:
        return time.localtime(seconds).tm_gmtoff
    except (OSError, OverflowError, ValueError):  # before 1970 on Windows; where a shift leads out of the years
        return 0
