"""The library's vectors in bulk, and what has changed since: in memory for exact search, in records for a store that follows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..config import CODES_FROM, CODES_RENEW_SHARE, REREAD_SHARE, STORE_BATCH, VECTORS_SPARE
from ..errors import SALVAGE, LibraryDamagedError
from ..paths import as_text, uri_of, whole_path
from ..types import Float32, StoreRecords
from . import codes_file
from .catalog import Catalog, item_id
from .codes import Codes, encode
from .facts import are_units, check_vector, checksum, no_sense, sensible
from .schema import FILES_IN_ROOTS, State
from .sqlite import in_parts, marks

__all__ = ["Numbers", "Vectors", "changed_count", "changed_since", "gone", "hashes", "is_in", "records", "renew_codes"]

Numbers = npt.NDArray[np.int64]


class Vectors:
    """The vectors of every content that a present file has, as of the last `refresh`: read once, then only what changed.

    Args:
        coded: begin with the library's codes, where it has them, and read the vectors themselves only when `load_rows` asks for them.

    Attributes:
        contents: int64 (N,), their ids, in no particular order.
    """

    def __init__(self, catalog: Catalog, *, coded: bool = False) -> None:
        self._catalog = catalog
        self._from_file = coded
        self._generation = -1
        self._files = self._contents_of_files = np.empty(0, np.int64)  # (F,), (F,): each present file and its content
        self._rows: Float32 | None = np.empty((0, catalog.dim), np.float32)  # (>= N, D)
        self._codes: Codes | None = None  # of >= N
        self.contents: Numbers = np.empty(0, np.int64)

    @property
    def rows(self) -> Float32:
        """float32 (N, D), the unit vectors."""
        if self._rows is None:
            raise RuntimeError("the rows were not loaded")
        return self._rows[: len(self.contents)]

    @property
    def codes(self) -> Codes | None:
        """Codes of N vectors, if there are any."""
        return None if self._codes is None else self._codes.of(slice(len(self.contents)))

    def refresh(self) -> None:
        """Bring it to the catalog's generation, inside the caller's snapshot. Rows that nobody changed are not read and not moved.

        Raises:
            LibraryDamagedError: a vector is missing or its checksum is wrong.
        """
        generation = self._catalog.generation
        if generation == self._generation:
            return
        if self._generation < 0 and self._from_file:
            self._take(codes_file.read(self._catalog.folder, self._catalog.dim, spare=VECTORS_SPARE))
        changed = changed_since(self._catalog, self._generation, len(self._files))
        self._generation = -1  # an error below leaves it unknown: everything is read again
        if changed is None:
            self._read()
        else:
            self._apply(*changed)
        self._generation = generation

    def load_rows(self) -> None:
        """Have `rows`, too; inside the snapshot of the last `refresh`."""
        if self._rows is None:
            rows = np.empty((_with_spare(len(self.contents)), self._catalog.dim), np.float32)
            _read_vectors(self._catalog, self.contents, rows[: len(self.contents)])
            self._rows = rows

    def some(self, rows: Numbers) -> Float32:
        """float32 (k, D): the vectors of these; from the catalog where they are not loaded, inside the last `refresh`'s snapshot."""
        if self._rows is not None:
            return self._rows[rows]
        found = np.empty((len(rows), self._catalog.dim), np.float32)
        _read_vectors(self._catalog, self.contents[rows], found)
        return found

    def make_codes(self) -> None:
        """Have `codes`, too; of `rows`."""
        if self._codes is None:
            self._codes = encode(self.rows)

    def keep_codes(self) -> None:
        """Write them for those who come later; in the hands of the library's one writer. Raises OSError."""
        if self._codes is not None and len(self.contents):
            kept = codes_file.Kept(self._generation, self._files, self._contents_of_files, self.contents, self._codes)
            codes_file.write(self._catalog.folder, kept)

    def distrust_file(self) -> bool:
        """Read everything from the catalog, inside the snapshot of the last `refresh`. False: nothing came from the file of codes."""
        if not self._from_file or self._codes is None:
            return False
        self._from_file = False
        self._read()
        return True

    def _take(self, kept: codes_file.Kept | None) -> None:
        if kept is not None:
            self._generation, self.contents, self._codes, self._rows = kept.generation, kept.contents, kept.codes, None
            self._files, self._contents_of_files = kept.files, kept.contents_of_files

    def _read(self) -> None:
        self._rows = self._codes = None  # let go of first: two of them may be more than there is
        self._files, self._contents_of_files = _present(self._catalog)
        self.contents = np.unique(self._contents_of_files)
        self.load_rows()

    def _apply(self, files: Numbers, contents: Numbers) -> None:
        """Take in what changed; `files`, `contents`: int64 (C,) each.

        Rows that stay are not copied. Those that go leave holes, and the last rows that stay fill them; what is new comes after:

            before   a b c d e f        b and d go, e and f stay, x is new
            filled   a e c f            as many holes below `count` as rows that stay above it
            after    a e c f x
        """
        if not len(files):
            return
        here = contents >= 0
        untouched = ~is_in(self._files, files)
        self._files = np.concatenate([self._files[untouched], files[here]])
        self._contents_of_files = np.concatenate([self._contents_of_files[untouched], contents[here]])
        # Read again even if known: the number of a content that was forgotten may have gone to another.
        fresh = np.unique(contents[here])
        stays = ~is_in(self.contents, fresh)  # bool (N,)
        if not untouched.all():  # of a million with a million: .03 s
            stays &= np.isin(self.contents, self._contents_of_files)
        count = int(stays.sum())
        holes, last = np.flatnonzero(~stays[:count]), np.flatnonzero(stays[count:]) + count
        vectors = np.empty((len(fresh), self._catalog.dim), np.float32)
        _read_vectors(self._catalog, fresh, vectors)
        self.contents[holes] = self.contents[last]
        self.contents = np.concatenate([self.contents[:count], fresh])
        if self._rows is not None:
            self._rows = _changed_room(self._rows, holes, last, count, vectors)
        if self._codes is not None:
            old, new = self._codes, encode(vectors)
            numbers = _changed_room(old.numbers, holes, last, count, new.numbers)
            scale, slack = (_changed_room(a, holes, last, count, b) for a, b in ((old.scale, new.scale), (old.slack, new.slack)))
            self._codes = Codes(numbers, scale, slack)


def changed_since(catalog: Catalog, generation: int, known: int) -> tuple[Numbers, Numbers] | None:
    """Files written after this generation, in order of their numbers, and their contents, -1 for those that are gone: int64 (C,) each.

    Args:
        known: how many files were there then.

    Returns None: too much has changed to be worth it; or the catalog never had that generation, and is not the one that was read, but a
    backup put in its place since.
    """
    if not catalog.had(generation):
        return None
    contents = f"CASE state WHEN '{State.PRESENT}' THEN content_id ELSE -1 END"
    limit = int(REREAD_SHARE * known) + 1
    with sensible(catalog.folder):
        rows = catalog.rows(f"SELECT id, {contents} FROM files WHERE generation > ? LIMIT ?", (generation, limit))
        found = np.array(rows, np.int64).reshape(-1, 2)
    if len(found) == limit:
        return None
    found = found[np.argsort(found[:, 0])]  # not by SQLite, which would go through all files in their order
    return found[:, 0], found[:, 1]


def is_in(numbers: Numbers, some: Numbers) -> npt.NDArray[np.bool_]:
    """np.isin; at once where `some` are all larger, as what is new mostly is."""
    if not len(numbers) or not len(some) or some.min() > numbers.max():
        return np.zeros(len(numbers), np.bool_)
    return np.isin(numbers, some)


def renew_codes(catalog: Catalog, *, always: bool = False) -> None:
    """Write the library's codes anew, if there are none of its history or enough has changed since; by its one writer.

    Args:
        always: also after the smallest change: what was forgotten shall not stay in the file.

    Raises OSError.
    """
    kept = codes_file.kept_generation(catalog.folder, catalog.dim)
    if kept == catalog.generation:
        return
    if not always and kept is not None and catalog.had(kept):
        files = catalog.value("SELECT coalesce(max(id), 0) FROM files")
        if changed_count(catalog, kept) <= CODES_RENEW_SHARE * files:
            return
    if catalog.value("SELECT count(*) FROM (SELECT 1 FROM content LIMIT ?)", (CODES_FROM,)) < CODES_FROM:
        codes_file.remove(catalog.folder)
        return
    vectors = Vectors(catalog, coded=True)
    with catalog.snapshot():
        vectors.refresh()
        if vectors.codes is None:
            vectors.make_codes()
    vectors.keep_codes()


def _changed_room(room: npt.NDArray[Any], holes: Numbers, last: Numbers, count: int, fresh: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """See `Vectors._apply`; in the same room as long as it is large enough."""
    room[holes] = room[last]
    if count + len(fresh) > len(room):
        room = np.concatenate([room[:count], np.empty((_with_spare(count + len(fresh)) - count, *room.shape[1:]), room.dtype)])
    room[count : count + len(fresh)] = fresh
    return room


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
        contents: int64 (N,), each once.
        into: float32 (N, D), written, in the same order.

    Raises:
        LibraryDamagedError: one is missing, or its checksum is wrong.
    """
    found, order = 0, np.argsort(contents)
    contents = contents[order]
    for page in filter(None, _pages(catalog, contents)):
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
        into[order[places]] = rows
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
