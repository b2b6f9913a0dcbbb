"""Is a catalog damaged, and what is still good of it: saved into a new library. The damaged one is only read.

SQLite finds a row by way of other pages; where these are damaged it gives up on everything behind them. So the pages are read here one by
one, in the file format of https://sqlite.org/fileformat2.html: a row is good if it can be taken apart, has the columns of its table, and,
for a vector, the checksum that was written with it. A row behind a damaged page costs that row and no other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import given
from ..advice import Advice, Setting, Verb
from ..errors import LibraryDamagedError, LibraryError, LibraryNotFoundError
from ..images.captured import is_captured
from ..paths import from_bytes
from .catalog import CATALOG_NAME, Catalog, item_id, making
from .facts import is_good_vector, makes_sense, read_canonical, read_fingerprint
from .lock import ProcessLock
from .schema import ANNOTATION_KINDS, PAGE_BYTES, State
from .sqlite import files_of, marks, translated

__all__ = ["Saved", "find_damage", "salvage"]

PAGES = (PAGE_BYTES, 4096)  # bytes; catalogs had the second at first
_LOCK = "writer.lock"
TABLE_LEAF, INDEX_LEAF, INDEX_INNER = 13, 10, 2  # kinds of pages that hold rows


def find_damage(catalog: Catalog) -> list[str]:
    """Everything that can be told to be wrong with a catalog, a line each; reads all of it. Empty: nothing was found.

    SQLite's own check compares every table with its indexes, so it finds a changed path, hash or id; then every vector's checksum and
    length, the kind of every value, the facts of the whole library, and every reference between tables. What it cannot tell: a changed
    size, time or class name (the next `index` sets them right by itself) or a picture's changed width, height, format or capture date.
    """
    found: list[str] = []
    try:
        found += [f"structure: {line}" for (line,) in catalog.rows("PRAGMA integrity_check(20)") if line != "ok"]
        for page in catalog.pages("SELECT id, sha256, vector, checksum FROM content"):
            found += [f"the vector of content {number} is damaged" for number, *row in page if not _good_vector(tuple(row), catalog.dim)]
        found += _odd_values(catalog)
        dates = catalog.rows("SELECT DISTINCT captured FROM content WHERE captured != ''")
        found += [f"the capture date {date!r:.40} makes no sense" for (date,) in dates if not is_captured(date)]
        for number, state, content, root in catalog.rows(
            "SELECT f.id, f.state, c.id, r.id FROM files AS f LEFT JOIN content AS c ON c.id = f.content_id"
            " LEFT JOIN roots AS r ON r.id = f.root_id"
            f" WHERE r.id IS NULL OR f.state NOT IN ({marks(list(State))}) OR (f.state = '{State.PRESENT}' AND c.id IS NULL)",
            list(State),
        ):
            what = "its folder" if root is None else "its vector" if content is None and state == State.PRESENT else "its state"
            found.append(f"{item_id(number)} has lost {what}")
    except LibraryError as error:
        found.append(error.what)
    return found


def _odd_values(catalog: Catalog) -> list[str]:
    """Values of another kind than their column, and facts that make no sense: no program of ours writes them."""
    found = [f"the fact {key} makes no sense" for key, value in catalog.rows("SELECT key, value FROM meta") if not makes_sense(key, value)]
    for (table,) in catalog.rows("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name != 'meta'"):
        for _, column, kind, never_null, *_ in catalog.rows(f"PRAGMA main.table_info({table})"):
            right = (kind.lower(),) if never_null else (kind.lower(), "null")
            count = catalog.value(f"SELECT count(*) FROM main.{table} WHERE typeof({column}) NOT IN ({marks(right)})", right)
            found += [f"{count} values of {table}.{column} are of the wrong kind"] if count else []
    return found


# Where nothing is left to save: into another folder, for this one would be refused again.
_AGAIN = Advice("index your folders into a new library: ", Verb("index", ("FOLDER", Setting("library", "OTHER"))))


@dataclass(slots=True)
class Saved:
    """What was saved. `images` have their vectors; `lost` are files known by name whose vectors are gone: indexing them again is enough.

    `unknown` counts files of which not even the name is left. `vectors` are all that were saved, also those without a file: they need
    not be embedded again.
    """

    library: Path
    images: int = 0
    vectors: int = 0
    lost: list[str] = field(default_factory=list)
    unknown: int = 0


def salvage(damaged: Path, to: Path) -> Saved:
    """Save what is good of the library in `damaged` into a new library in `to`; what one that was killed has left there is taken away.

    Raises:
        LibraryNotFoundError: there is no catalog. LibraryError: `to` is not empty. LibraryDamagedError: what made its vectors is lost,
            or every image.
        DiskFullError, LibraryReadOnlyError, LibraryBusyError: of `to`.
    """
    damaged, to = Path(given.path(damaged, "the damaged library")), Path(given.path(to, "the new library"))
    file = damaged / CATALOG_NAME
    if not file.is_file() or file.is_symlink():
        raise LibraryNotFoundError("there is no catalog", path=damaged, hint=Advice("give the library's folder with ", Setting("library")))
    _must_be_free(to)
    with translated(to), tempfile.TemporaryDirectory(prefix="image-search-") as scratch:
        try:
            rows = _all_rows(_whole_copy(file, Path(scratch)))
        except OSError as error:
            raise LibraryDamagedError(f"the catalog cannot be read ({error.strerror})", path=file) from error
    try:
        fingerprint = read_fingerprint(rows.meta["fingerprint"])
        canonical = read_canonical(rows.meta["canonical"], fingerprint.dim)
    except (KeyError, ValueError) as error:
        raise LibraryDamagedError(
            "nothing can be saved: the record of the model that made the vectors is lost", path=damaged, hint=_AGAIN
        ) from error
    if not rows.files and not rows.content:
        raise LibraryDamagedError("nothing can be saved: no image is left in this catalog", path=damaged, hint=_AGAIN)
    with making(to):
        to.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(ProcessLock(to / _LOCK, what="salvage"))
        _must_be_free(to)  # another one may have been quicker
        try:
            Catalog.remove(to)
            with contextlib.closing(Catalog.create(to, fingerprint, canonical)) as catalog:
                return _fill(catalog, rows, to)
        except BaseException:  # a full disk, say: the same command can be run again
            with contextlib.suppress(OSError):
                Catalog.remove(to)
                stack.close()
                (to / _LOCK).unlink()
                to.rmdir()
            raise


def _must_be_free(to: Path) -> None:
    """LibraryError unless there is nothing, or nothing but a new catalog without an image: one that was killed leaves no more, since it
    fills it in one transaction."""
    if os.path.lexists(to):
        ours = {path.name for name in (CATALOG_NAME, f"{CATALOG_NAME}.new") for path in files_of(to / name)} | {_LOCK}
        try:
            free = not to.is_symlink() and all(path.name in ours for path in to.iterdir())
            if free and Catalog.exists(to):
                with contextlib.closing(Catalog.open(to)) as catalog:
                    free = catalog.generation == 0
        except (OSError, LibraryError):
            free = False
        if not free:
            raise LibraryError("there is something already", path=to, hint=Advice("give a new folder with ", Setting("to")))


def _whole_copy(file: Path, scratch: Path) -> bytes:
    """The catalog's bytes, with what is still in its log, as far as SQLite can bring it in."""
    for name in (file, file.with_name(f"{file.name}-wal")):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(name, scratch / name.name, follow_symlinks=False)
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(scratch / file.name)) as connection:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (scratch / file.name).read_bytes()


def _fill(catalog: Catalog, rows: _Rows, to: Path) -> Saved:
    saved = Saved(to)
    good = {number: row for number, row in rows.content.items() if _good_vector(row, catalog.dim)}
    with catalog.transaction() as generation:
        for number, root in rows.roots.items():
            catalog.execute(f"INSERT OR IGNORE INTO roots VALUES ({marks(root)}, ?)", (number, *root))
        for mount in rows.mounts:
            catalog.execute("INSERT OR IGNORE INTO mounts VALUES (?, ?, ?)", mount)
        for number, row in good.items():
            catalog.execute(f"INSERT OR IGNORE INTO content VALUES ({marks(row)}, ?)", (number, *row))
        for number, (root, path, name, state, content, *facts) in rows.files.items():
            if root not in rows.roots:
                saved.unknown += 1
                continue
            there = state != State.PRESENT or content in good
            if not there:
                saved.lost.append(os.path.join(from_bytes(rows.roots[root][0]), from_bytes(path)))
            saved.images += state == State.PRESENT and there
            kept = (
                number,
                root,
                path,
                name,
                state if there else State.MISSING.value,
                content if content in good else None,
                *facts[:-1],
                generation,
            )
            catalog.execute(f"INSERT OR IGNORE INTO files VALUES ({marks(kept)})", kept)
        for hash_and_reason in rows.failures:
            catalog.execute("INSERT OR IGNORE INTO failures VALUES (?, ?, ?)", hash_and_reason)
        for annotation in rows.annotations:
            catalog.execute("INSERT OR IGNORE INTO annotations (name, sha256, kind, value) VALUES (?, ?, ?, ?)", annotation)
        for path in rows.forgotten:
            catalog.execute("INSERT OR IGNORE INTO forgotten VALUES (?)", (path,))
        for decision in rows.decisions:
            catalog.execute("INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?)", decision)
        saved.unknown += max([rows.last_file, *rows.files], default=0) - len(rows.files)
        saved.vectors = len(good)
        if isinstance(runtime := rows.meta.get("runtime"), str):
            catalog.set_meta("runtime", runtime)
        if rows.meta.get("store") == "exact":
            catalog.set_meta("store", "exact")
    saved.lost.sort()
    return saved


def _good_vector(row: tuple[Any, ...], dim: int) -> bool:
    _, vector, check, *_ = row
    return is_good_vector(vector, check, dim)


_LATER = (int, str, str | None)  # columns of content that are not of its first format: rules, note, captured


def _fits(values: Sequence[Any], kinds: Sequence[Any]) -> bool:
    """Columns that were added to a table later: rows from before have none of them."""
    return len(values) <= len(kinds) and all(isinstance(value, kind) for value, kind in zip(values, kinds, strict=False))


def _all_rows(data: bytes) -> _Rows:
    """With the page size that finds more: the place where it is written may be damaged."""
    return max((_Rows(data, size) for size in PAGES), key=lambda rows: ("fingerprint" in rows.meta, len(rows.content) + len(rows.files)))


class _Rows:
    """Every row of our tables that can be taken out of a catalog's bytes."""

    def __init__(self, data: bytes, page_size: int) -> None:
        self.data = data
        self.page_size = page_size  # bytes
        self.meta: dict[str, Any] = {}
        self.roots: dict[int, tuple[bytes, str, int, bytes]] = {}
        self.mounts: list[tuple[Any, ...]] = []
        self.content: dict[int, tuple[Any, ...]] = {}
        self.files: dict[int, tuple[Any, ...]] = {}
        self.failures: list[tuple[Any, ...]] = []
        self.annotations: list[tuple[Any, ...]] = []
        self.forgotten: list[bytes] = []
        self.decisions: list[tuple[Any, ...]] = []
        self.last_file = 0
        unused = self._unused()
        for page in range(1, len(data) // self.page_size + 1):
            if page not in unused:
                for number, row in self._rows(page):
                    self._sort_in(number, row)

    def _sort_in(self, number: int, row: tuple[Any, ...]) -> None:
        """Which table is this a row of? Ours differ in their columns. What fits none is not kept."""
        match row:
            case (None, bytes(sha256), bytes(_), int(_), int(_), int(_), str(_), *later) if len(sha256) == 32 and _fits(later, _LATER):
                facts = (*row[1:], *(1, "", None)[len(later) :])
                self.content[number] = (*facts[:-1], facts[-1] if is_captured(facts[-1]) else None)  # None: the next index asks again
            case (
                None,
                int(_),
                bytes(_),
                str(_),
                str(state),
                int(_) | None,
                int(_),
                int(_),
                int(_),
                int(_),
                str(_),
                str(_),
                int(newer),
            ) if state in set(State):
                if number not in self.files or self.files[number][-1] < newer:
                    self.files[number] = row[1:]
            case (None, bytes(path), str(name_from), int(offline), *later) if _fits(later, (bytes,)):
                self.roots[number] = path, name_from, offline, *later, *(b"",)[len(later) :]
            case (bytes(_), int(_), int(_)):
                self.mounts.append(row)
            case (bytes(sha256), str(_), str(_)) if len(sha256) == 32:
                self.failures.append(row)
            case (str(_), bytes(sha256), str(kind), str(_)) if len(sha256) == 32 and kind in ANNOTATION_KINDS:
                self.annotations.append(row)
            case (int(_), bytes(sha256), str(_), int(_)) if len(sha256) == 32:
                self.decisions.append(row)
            case ("files", int(last)):
                self.last_file = last
            case (str(key), value) if key not in ("files", ""):
                self.meta[key] = value
            case (bytes(path),):
                self.forgotten.append(path)

    def _unused(self) -> set[int]:
        """Pages on the list of free ones: what they hold was deleted."""
        found: set[int] = set()
        trunk = int.from_bytes(self.data[32:36], "big")
        while 0 < trunk <= len(self.data) // self.page_size and trunk not in found:
            found.add(trunk)
            page = self._page(trunk)
            count = min(int.from_bytes(page[4:8], "big"), self.page_size // 4 - 2)
            found.update(int.from_bytes(page[8 + 4 * n : 12 + 4 * n], "big") for n in range(count))
            trunk = int.from_bytes(page[:4], "big")
        return found

    def _page(self, number: int) -> bytes:
        return self.data[(number - 1) * self.page_size : number * self.page_size]

    def _rows(self, number: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
        page = self._page(number)
        head = 100 if number == 1 else 0
        kind = page[head]
        if kind not in (TABLE_LEAF, INDEX_LEAF, INDEX_INNER):
            return
        first = head + (12 if kind == INDEX_INNER else 8)
        for n in range(min(int.from_bytes(page[head + 3 : head + 5], "big"), (self.page_size - first) // 2)):
            at = int.from_bytes(page[first + 2 * n : first + 2 * n + 2], "big")
            with contextlib.suppress(IndexError, ValueError):
                yield self._cell(page, at + 4 if kind == INDEX_INNER else at, kind)

    def _cell(self, page: bytes, at: int, kind: int) -> tuple[int, tuple[Any, ...]]:
        size, at = _varint(page, at)
        number = 0
        if kind == TABLE_LEAF:
            number, at = _varint(page, at)
        most = self.page_size - 35 if kind == TABLE_LEAF else (self.page_size - 12) * 64 // 255 - 23
        if size <= most:
            return number, _record(page[at : at + size], size)
        least = (self.page_size - 12) * 32 // 255 - 23
        local = least + (size - least) % (self.page_size - 4)
        local = local if local <= most else least
        body = bytearray(page[at : at + local])
        following = int.from_bytes(page[at + local : at + local + 4], "big")
        while len(body) < size and 0 < following <= len(self.data) // self.page_size:
            more = self._page(following)
            body += more[4 : 4 + size - len(body)]
            following = int.from_bytes(more[:4], "big")
        return number, _record(bytes(body), size)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends)."""
    value = 0
    for n in range(9):
        byte = data[at + n]
        if n == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + n + 1
    raise ValueError


def _record(body: bytes, size: int) -> tuple[Any, ...]:
    """The values of one row. ValueError, IndexError: this is none."""
    if len(body) != size:
        raise ValueError
    end, at = _varint(body, 0)
    kinds = []
    while at < end:
        kind, at = _varint(body, at)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        length = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, -1, -1)[kind] if kind < 12 else (kind - 12) // 2
        raw = body[at : at + length]
        if length < 0 or len(raw) != length:
            raise ValueError
        at += length
        if kind == 0:
            values.append(None)
        elif kind >= 12:
            values.append(raw.decode() if kind % 2 else raw)
        elif kind == 7:
            raise ValueError  # no table of ours holds a float
        else:
            values.append(kind - 8 if kind in (8, 9) else int.from_bytes(raw, "big", signed=True))
    if at != size:
        raise ValueError
    return tuple(values)
