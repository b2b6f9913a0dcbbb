"""The library's vectors in bulk, and what has changed since: in memory for exact search, in records for a store that follows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..config import REREAD_SHARE, STORE_BATCH, VECTORS_SPARE
from ..errors import SALVAGE, LibraryDamagedError
from ..paths import as_text, uri_of, whole_path
from ..types import Float32, StoreRecords
from .catalog import Catalog, item_id
from .facts import are_units, check_vector, checksum, no_sense, sensible
from .schema import FILES_IN_ROOTS, State
from .sqlite import in_parts, marks

__all__ = ["Numbers", "Vectors", "changed_count", "gone", "hashes", "records"]

Numbers = npt.NDArray[np.int64]


class Vectors:
    """The vectors of every content that a present file has, as of the last `refresh`: read once, then only what changed.

    Attributes:
        contents: int64 (N,), their ids, in no particular order.
        rows: float32 (N, D), their unit vectors.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._generation = -1
        self._files = self._contents_of_files = np.empty(0, np.int64)  # (F,), (F,): each present file and its content
        self._room: Float32 = np.empty((0, catalog.dim), np.float32)  # (>= N, D)
        self.contents: Numbers = np.empty(0, np.int64)

    @property
    def rows(self) -> Float32:
        return self._room[: len(self.contents)]

    def refresh(self) -> None:
        """Bring it to the catalog's generation, inside the caller's snapshot. Rows that nobody changed are not read and not moved.

        Raises:
            LibraryDamagedError: a vector is missing or its checksum is wrong.
        """
        generation = self._catalog.generation
        if generation == self._generation:
            return
        changed = self._changed()
        self._generation = -1  # an error below leaves it unknown: everything is read again
        if changed is None:
            self._read()
        else:
            self._apply(*changed)
        self._generation = generation

    def _changed(self) -> tuple[Numbers, Numbers] | None:
        """Files written since, and their contents, -1 for those that are gone; None: unknown, or too many to be worth it.

        A row that carries our generation shows that this catalog is the one we read, and not a backup put in its place since.
        """
        if self._catalog.one("SELECT 1 FROM files WHERE generation = ?", (self._generation,)) is None:
            return None
        sql = f"SELECT id, CASE state WHEN '{State.PRESENT}' THEN content_id ELSE -1 END FROM files WHERE generation > ? LIMIT ?"
        limit = int(REREAD_SHARE * len(self._files)) + 1
        with sensible(self._catalog.folder):
            found = np.array(self._catalog.rows(sql, (self._generation, limit)), np.int64).reshape(-1, 2)
        return None if len(found) == limit else (found[:, 0], found[:, 1])

    def _read(self) -> None:
        self._room = np.empty((0, self._catalog.dim), np.float32)  # let go of first: two of them may be more than there is
        self._files, self._contents_of_files = _present(self._catalog)
        self.contents = np.unique(self._contents_of_files)
        self._room = np.empty((_with_spare(len(self.contents)), self._catalog.dim), np.float32)
        _read_vectors(self._catalog, self.contents, self._room[: len(self.contents)])

    def _apply(self, files: Numbers, contents: Numbers) -> None:
        """Take in what changed; `files`, `contents`: int64 (C,) each.

        Rows that stay are not copied. Those that go leave holes, and the last rows that stay fill them; what is new comes after:

            before   a b c d e f        b and d go, e and f stay, x is new
            filled   a e c f            as many holes below `count` as rows that stay above it
            after    a e c f x
        """
        here = contents >= 0
        untouched = ~np.isin(self._files, files)
        self._files = np.concatenate([self._files[untouched], files[here]])
        self._contents_of_files = np.concatenate([self._contents_of_files[untouched], contents[here]])
        # Read again even if known: the number of a content that was forgotten may have gone to another.
        fresh = np.unique(contents[here])
        stays = np.isin(self.contents, self._contents_of_files) & ~np.isin(self.contents, fresh)  # bool (N,)
        count = int(stays.sum())
        holes, last = np.flatnonzero(~stays[:count]), np.flatnonzero(stays[count:]) + count
        self.contents[holes], self._room[holes] = self.contents[last], self._room[last]
        if count + len(fresh) > len(self._room):
            room = np.empty((_with_spare(count + len(fresh)), self._catalog.dim), np.float32)
            room[:count] = self._room[:count]
            self._room = room
        _read_vectors(self._catalog, fresh, self._room[count : count + len(fresh)])
        self.contents = np.concatenate([self.contents[:count], fresh])


def _present(catalog: Catalog) -> tuple[Numbers, Numbers]:
    """int64 (F,), (F,): every present file and its content."""
    sql = f"SELECT id, content_id FROM files WHERE state = '{State.PRESENT}' AND content_id IS NOT NULL"
    numbers = itertools.chain.from_iterable(itertools.chain.from_iterable(catalog.pages(sql)))
    with sensible(catalog.folder):
        pairs = np.fromiter(numbers, np.int64).reshape(-1, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def _read_vectors(catalog: Catalog, contents: Numbers, into: Float32) -> None:
    """The unit vectors of these contents.

    Args:
        contents: int64 (N,), ascending.
        into: float32 (N, D), written.

    Raises:
        LibraryDamagedError: one is missing, or its checksum is wrong.
    """
    found = 0
    for page in _pages(catalog, contents):
        numbers, vectors, checks = zip(*page, strict=True)
        rows = np.frombuffer(b"".join(vectors), "<f4").reshape(-1, catalog.dim) if _all_right(vectors, checks, catalog.dim) else None
        if rows is None or not are_units(rows):
            for content, vector, check in page:
                check_vector(vector, check, catalog.dim, f"content {content}", catalog.folder)
            raise no_sense(catalog.folder)
        places = np.searchsorted(contents, numbers).clip(max=len(contents) - 1)
        wanted = contents[places] == numbers  # the others are of files that are missing
        if not wanted.all():
            places, rows = places[wanted], rows[wanted]
        into[places] = rows
        found += len(rows)
    if found != len(contents):  # a file without its vector
        text = f"the catalog names {len(contents)} contents and holds {found} of them"
        raise LibraryDamagedError(text, path=catalog.folder, hint=SALVAGE)


def _all_right(vectors: Sequence[Any], checks: Sequence[Any], dim: int) -> bool:
    try:
        return tuple(map(checksum, vectors)) == checks and set(map(len, vectors)) == {4 * dim}
    except TypeError:  # not even bytes: a damaged row
        return False


def _pages(catalog: Catalog, contents: Numbers) -> Iterator[list[Any]]:
    """(id, vector, checksum) of these contents, each once; where many are wanted of all contents, in the order on the disk."""
    highest = catalog.value("SELECT coalesce(max(id), 0) FROM content")
    if len(contents) > REREAD_SHARE * highest:
        yield from catalog.pages("SELECT id, vector, checksum FROM content", size=500)  # .8 MB: they stay in the processor's cache
        return
    for some in in_parts(contents.tolist()):
        yield catalog.rows(f"SELECT id, vector, checksum FROM content WHERE id IN ({marks(some)})", some)


def _with_spare(count: int) -> int:
    return count + int(VECTORS_SPARE * count) + 64


def hashes(catalog: Catalog) -> dict[int, tuple[bytes, int]]:
    """(sha256, checksum of its vector) of every content, also of those without a file."""
    found: dict[int, tuple[bytes, int]] = {}
    for page in catalog.pages("SELECT id, sha256, checksum FROM content", types=(int, bytes, int)):
        found.update((number, (sha256, check)) for number, sha256, check in page)
    return found


# --- for a store that follows -------------------------------------------------------------------------------------------------


def records(catalog: Catalog, since: int | None = None) -> Iterator[StoreRecords]:
    """Every image as a store keeps it, in order of its number; `since`: only those changed after this generation.

    Raises LibraryDamagedError: no damage goes into a store.
    """
    sql = (
        f"SELECT f.id, c.vector, c.checksum, r.path, f.path, f.name FROM {FILES_IN_ROOTS}"
        f" JOIN content AS c ON c.id = f.content_id WHERE f.state = '{State.PRESENT}'"
    )
    sql, values = (f"{sql} ORDER BY f.id", ()) if since is None else (f"{sql} AND f.generation > ?", (since,))
    for page in catalog.pages(sql, values, STORE_BATCH, types=(int, bytes, int, bytes, bytes, str)):
        for number, vector, check, *_ in page:
            check_vector(vector, check, catalog.dim, item_id(number), catalog.folder)
        yield StoreRecords(
            ids=[item_id(number) for number, *_ in page],
            vectors=np.frombuffer(b"".join(row[1] for row in page), "<f4").reshape(len(page), catalog.dim),
            # A name may hold bytes that are no UTF-8, which a store cannot keep.
            metadatas=[{"uri": uri_of(whole_path(root, path)), "name": as_text(name)} for _, _, _, root, path, name in page],
        )


def gone(catalog: Catalog, since: int) -> Iterator[list[str]]:
    """Ids of files that are no longer to be found, changed after this generation."""
    sql = f"SELECT id FROM files WHERE state != '{State.PRESENT}' AND generation > ?"
    for page in catalog.pages(sql, (since,), STORE_BATCH):
        yield [item_id(number) for (number,) in page]


def changed_count(catalog: Catalog, since: int) -> int:
    """Files changed after this generation."""
    return int(catalog.value("SELECT count(*) FROM files WHERE generation > ?", (since,)))
