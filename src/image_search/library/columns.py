"""What filters ask of every file that can be found, a column at a time, in arrays: of a large library it is kept in memory.

All columns of one moment have the same files in the same order, that of their numbers. To be read in one snapshot.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ..paths import from_bytes, nfc
from .annotations import Column, column_of
from .catalog import Catalog
from .facts import sensible
from .schema import State
from .vectors import Numbers, changed_since, is_in

__all__ = ["Changes", "Classes", "Columns", "Moments", "Pictures", "Places"]

T = TypeVar("T")
Codes = npt.NDArray[np.int32]
Moments = npt.NDArray[np.datetime64]

_PRESENT = f"WHERE f.state = '{State.PRESENT}' AND f.content_id IS NOT NULL"
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
    """codes: int32 (F,), each file's place in `folders`: absolute, "/" at the end. names: the files' own. NFC, with "/" everywhere.
    keys: of each folder its root's number, and its path below it, as the catalog has it."""

    codes: Codes
    folders: list[str]
    names: list[str]
    keys: list[tuple[int, bytes]]


class Pictures(NamedTuple):
    """Facts of the files' pictures.

    Attributes:
        taken: datetime64[s] (F,), the clock on the wall; where the picture does not say it, of the file's own time here.
        own: bool (F,), the picture says it itself.
        pixels: int64 (F,), width times height.
        codes: int32 (F,), each one's place in `formats`.
        unread: bool (F,), the picture was not asked yet when it was taken.
    """

    taken: Moments
    own: npt.NDArray[np.bool_]
    pixels: Numbers
    codes: Codes
    formats: list[str]
    unread: npt.NDArray[np.bool_]


class Changes(NamedTuple):
    """From one moment of a catalog to the next.

    Attributes:
        since: the generation before.
        stays: int64 (S,), places of the rows that are as they were.
        order: int64 (F,), the rows in order of their files' numbers, of those that stay followed by the new ones; None: they are so.
        some_went: not all rows stay.
    """

    since: int
    stays: Numbers
    order: Numbers | None
    some_went: bool

    def merged(self, before: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
        rows = np.concatenate([before[self.stays] if self.some_went else before, new])
        return rows if self.order is None else rows[self.order]

    def merged_texts(self, before: list[str], new: list[str]) -> list[str]:
        rows = [*([before[row] for row in self.stays.tolist()] if self.some_went else before), *new]
        return rows if self.order is None else [rows[row] for row in self.order.tolist()]


class Columns:
    """Of one catalog. `before`, `changes`: what was read at an earlier moment, and what has changed since; only that is read then."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @property
    def moment(self) -> tuple[int, int, int]:
        """Another one means: the columns have changed."""
        return self._catalog.generation, self._catalog.meta("dated") or 0, self._catalog.meta("annotated") or 0

    def changes(self, since: int, numbers: Numbers) -> Changes | None:
        """What was written after this generation, whose files had these numbers; None: of another history, or too much."""
        changed = changed_since(self._catalog, since, len(numbers))
        if changed is None:
            return None
        files, contents = changed
        stays = np.flatnonzero(~is_in(numbers, files))
        left, new = numbers[stays], files[contents >= 0]
        in_order = not len(new) or not len(left) or new[0] > left[-1]
        return Changes(since, stays, None if in_order else np.argsort(np.concatenate([left, new])), len(stays) < len(numbers))

    def classes(self, before: Classes | None = None, changes: Changes | None = None) -> Classes:
        names = _Codes(before.names if before else ())
        with sensible(self._catalog.folder):
            numbers, contents, codes = self._read("f.id, f.content_id, f.name", changes, np.int64, np.int64, names.of)
            texts = names.texts
        if before and changes:
            numbers, contents = changes.merged(before.numbers, numbers), changes.merged(before.contents, contents)
            codes, texts = _in_use(changes.merged(before.codes, codes), texts, changes)
        return Classes(numbers, contents, codes, texts)

    def places(self, before: Places | None = None, changes: Changes | None = None) -> Places:
        known = {key: code for code, key in enumerate(before.keys if before else ())}
        names: list[str] = []
        separator = os.sep.encode()

        def folders_of(pairs: Sequence[tuple[int, bytes]]) -> Codes:
            codes = []
            for root, path in pairs:
                folder, _, name = path.rpartition(separator)
                codes.append(known.setdefault((root, folder), len(known)))
                names.append(_shown(from_bytes(name)))
            return np.array(codes, np.int32)

        with sensible(self._catalog.folder):
            roots = {number: from_bytes(path) for number, path in self._catalog.rows("SELECT id, path FROM roots")}
            pages = self._pages("f.root_id, f.path", changes)
            codes = np.concatenate([np.empty(0, np.int32), *map(folders_of, pages)])
            keys = list(known)
            if before and changes:
                names = changes.merged_texts(before.names, names)
                codes, keys = _in_use(changes.merged(before.codes, codes), keys, changes)
            folders = [_shown(os.path.join(roots[root], from_bytes(folder), "")) for root, folder in keys]
        return Places(codes, folders, names, keys)

    def pictures(self, before: Pictures | None = None, changes: Changes | None = None) -> Pictures:
        formats = _Codes(before.formats if before else ())
        facts = "c.captured, c.captured IS NULL, c.width * c.height, c.format, f.mtime_ns"
        kinds = (_moments, np.bool_, np.int64, formats.of, np.int64)
        with sensible(self._catalog.folder):
            content = " LEFT JOIN content AS c ON c.id = f.content_id"
            taken, unread, pixels, codes, modified = self._read(facts, changes, *kinds, join=content)
            texts = formats.texts
        own = ~np.isnat(taken)
        taken[~own] = _on_the_wall(modified[~own] // 10**9)
        if before and changes:
            taken, own = changes.merged(before.taken, taken), changes.merged(before.own, own)
            pixels, codes = changes.merged(before.pixels, pixels), changes.merged(before.codes, codes)
            unread = changes.merged(before.unread, unread)
        return Pictures(taken, own, pixels, codes, texts, unread)

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

    def _pages(self, facts: str, changes: Changes | None, join: str = "") -> Iterator[list[Any]]:
        """Facts of the files that can be found, in order of their numbers, a page at a time; of those that changed."""
        which, values = (f"{_PRESENT} AND f.generation > ?", (changes.since,)) if changes else (_PRESENT, ())
        return self._catalog.pages(f"SELECT {facts} FROM files AS f{join} {which} ORDER BY f.id", values)

    def _read(self, facts: str, changes: Changes | None, *kinds: Any, join: str = "") -> list[Any]:
        """An array of each of the facts, by its dtype or by what makes one of a part of it. A page at a time: a million rows kept
        as Python's numbers cost more to keep track of than to read."""
        made = [(lambda values, kind=kind: np.array(values, kind)) if isinstance(kind, type) else kind for kind in kinds]
        parts: list[list[Any]] = [[make(())] for make in made]
        for page in self._pages(facts, changes, join):
            for part, make, values in zip(parts, made, zip(*page, strict=True), strict=True):
                part.append(make(values))
        return [np.concatenate(part) for part in parts]


def _in_use(codes: Codes, texts: list[T], changes: Changes) -> tuple[Codes, list[T]]:
    """Without the texts that no row has any more; in order of their first row, as if all had been read at once."""
    if not changes.some_went and changes.order is None:
        return codes, texts
    used, first, codes_of_used = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place[codes_of_used], [texts[used[row]] for row in order]


class _Codes:
    """Texts that come again and again, as numbers."""

    def __init__(self, known: Sequence[str] = ()) -> None:
        self._known: dict[str, int] = {text: code for code, text in enumerate(known)}

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
