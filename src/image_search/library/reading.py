"""Read-only questions to the catalog: which classes are there, which images, what is known of one. Knows nothing of HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import HINTS, SkipReason
from ..paths import from_bytes
from ..types import Skipped
from .catalog import Catalog

__all__ = ["Item", "classes", "copies", "items", "page", "same_picture", "sample", "skipped", "skipped_counts"]

_IN = 900  # values in one "IN (...)": SQLite allows 999 everywhere
_ITEM = (
    "SELECT f.id, f.name, r.path, f.path, f.size, f.mtime_ns, c.id, c.sha256, c.width, c.height, c.format"
    " FROM files AS f JOIN roots AS r ON r.id = f.root_id JOIN content AS c ON c.id = f.content_id WHERE f.state = 'present'"
)


@dataclass(frozen=True, slots=True)
class Item:
    """One image of the library and what the catalog knows of it; nothing is read from its disk.

    Attributes:
        number: the row's number; its id is "id:<number>".
        name: its class, "" if it has none.
        root: the indexed folder it lies in, absolute; may hold surrogate escapes, as `path` may.
        path: absolute.
        size: bytes of the file.
        mtime_ns: the file's time when it was indexed, nanoseconds since 1970.
        content: number of its content; copies of one file share it.
        sha256: 32 bytes.
        width, height: of the upright picture, pixels.
        format: as Pillow names it.
    """

    number: int
    name: str
    root: str
    path: str
    size: int
    mtime_ns: int
    content: int
    sha256: bytes
    width: int
    height: int
    format: str

    @property
    def lies_in_root(self) -> bool:
        """Does the path, with every link followed, still lie in its folder?"""
        root = os.path.realpath(self.root)
        return os.path.realpath(self.path).startswith(root.rstrip(os.sep) + os.sep)


def _item(row: Sequence[Any]) -> Item:
    number, name, root, path, *rest = row
    return Item(number, name, from_bytes(root), from_bytes(os.path.join(root, path)), *rest)


def classes(catalog: Catalog) -> list[tuple[str, int]]:
    """(class, number of images), by name; the images without a class are under ""."""
    return catalog.rows("SELECT name, count(*) FROM files WHERE state = 'present' GROUP BY name ORDER BY name")


def items(catalog: Catalog, numbers: Sequence[int]) -> dict[int, Item]:
    """Those of these images that are present."""
    found = {}
    for start in range(0, len(numbers), _IN):
        part = numbers[start : start + _IN]
        for row in catalog.rows(f"{_ITEM} AND f.id IN ({','.join('?' * len(part))})", part):
            found[row[0]] = _item(row)
    return found


def page(catalog: Catalog, *, name: str | None = None, after: int = 0, limit: int = 100) -> list[Item]:
    """Up to `limit` images in order of their number, from the first above `after`; `name`: only of this class."""
    if name is None:
        return [_item(row) for row in catalog.rows(f"{_ITEM} AND f.id > ? ORDER BY f.id LIMIT ?", (after, limit))]
    return [_item(row) for row in catalog.rows(f"{_ITEM} AND f.id > ? AND f.name = ? ORDER BY f.id LIMIT ?", (after, name, limit))]


def sample(catalog: Catalog, n: int) -> list[Item]:
    """Up to `n` images from all over the library, the same ones until the library changes.

    Numbers are drawn evenly over the range of ids, so this costs `n` look-ups in a library of any size.
    """
    low, high = catalog.rows("SELECT min(id), max(id) FROM files WHERE state = 'present'")[0]
    if low is None:
        return []
    chosen: dict[int, Item] = {}
    for start in np.linspace(low, high + 1, n, endpoint=False, dtype=np.int64).tolist():
        for row in catalog.rows(f"{_ITEM} AND f.id >= ? ORDER BY f.id LIMIT 1", (start,)):
            chosen[row[0]] = _item(row)
    return list(chosen.values())


def copies(catalog: Catalog, item: Item) -> int:
    """How many other present files have the same bytes."""
    return int(catalog.rows("SELECT count(*) FROM files WHERE state = 'present' AND content_id = ?", (item.content,))[0][0]) - 1


def skipped_counts(catalog: Catalog) -> list[tuple[str, int]]:
    """(reason, number of files), the most frequent first."""
    return catalog.rows("SELECT reason, count(*) FROM files WHERE state = 'skipped' GROUP BY reason ORDER BY 2 DESC, 1")


def skipped(catalog: Catalog, *, limit: int = 200) -> list[Skipped]:
    """The files that were last found to be unusable, newest first."""
    rows = catalog.rows(
        "SELECT r.path, f.path, f.reason FROM files AS f JOIN roots AS r ON r.id = f.root_id WHERE f.state = 'skipped'"
        " ORDER BY f.generation DESC, f.id DESC LIMIT ?",
        (limit,),
    )
    hints = {reason.value: hint for reason, hint in HINTS.items()}
    return [Skipped(from_bytes(os.path.join(root, path)), reason, hints.get(reason, "")) for root, path, reason in rows]


def reason_code(words: str) -> str:
    """The closed list's own name of a reason, "" if it is none."""
    return next((reason.name for reason in SkipReason if reason.value == words), "")


def same_picture(catalog: Catalog, contents: Sequence[int], threshold: float | None) -> list[int]:
    """Which of these show the same picture as one before them?

    Args:
        contents: content numbers, best match first.
        threshold: similarity from which two pictures count as one; None: only the very same content does.

    Returns:
        for each the position of the first one that it repeats; its own position if it repeats none.
    """
    leader_of: dict[int, int] = {}
    leaders: list[int] = []
    vectors = _vectors(catalog, set(contents)) if threshold is not None else {}
    matrix = np.empty((len(contents), catalog.dim), np.float32)
    answer = []
    for position, content in enumerate(contents):
        if content not in leader_of:
            leader_of[content] = position
            if threshold is not None and content in vectors:
                near = np.flatnonzero(matrix[: len(leaders)] @ vectors[content] >= threshold)
                if near.size:
                    leader_of[content] = leaders[int(near[0])]
                else:
                    matrix[len(leaders)] = vectors[content]
                    leaders.append(position)
        answer.append(leader_of[content])
    return answer


def _vectors(catalog: Catalog, contents: Iterable[int]) -> dict[int, np.ndarray[Any, np.dtype[np.float32]]]:
    wanted = list(contents)
    found = {}
    for start in range(0, len(wanted), _IN):
        part = wanted[start : start + _IN]
        for content, blob in catalog.rows(f"SELECT id, vector FROM content WHERE id IN ({','.join('?' * len(part))})", part):
            found[content] = np.frombuffer(blob, "<f4")
    return found
