"""The catalog: one SQLite file that holds every image, its facts, its vector and the model used. The only truth.

Here it is made, opened, read and written as a whole; `reading`, `writing`, `folders`, `worklist`, `vectors` and `salvage` say what. Its
tables are in `schema`. WAL mode, synchronous=FULL: what was committed survives a killed process and a power cut as far as SQLite keeps its
promise.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..advice import Advice, Setting, Verb
from ..errors import MAKE_ONE, SALVAGE, LibraryDamagedError, LibraryError, LibraryNotFoundError, LibraryReadOnlyError, translated_os_errors
from ..given import guess
from ..types import Fingerprint, Float32
from .codes_file import CODES_NAME
from .facts import check_types, makes_sense, must_be_no_dataset, read_canonical, read_fingerprint
from .handle import Handle, check_not_inherited
from .schema import PAGE_BYTES, SCHEMA, SCHEMA_VERSION, check_schema, schema_version
from .sqlite import FileId, connect, connect_to_read, files_of, identity, translated

__all__ = ["CATALOG_NAME", "MAP_NAME", "NEXT_NAME", "PAIRS_NAME", "THUMBNAILS_NAME", "Catalog", "item_id", "item_number"]

CATALOG_NAME = "catalog.sqlite"
THUMBNAILS_NAME = "thumbnails.sqlite"
PAIRS_NAME = "pairs.sqlite"
MAP_NAME = "map.places"
NEXT_NAME = "reembed"  # a folder: the catalog of another model, in the making
# Of a library without its catalog only these may be left: what it made by itself, and can make again.
_DERIVED = (CODES_NAME, MAP_NAME, PAIRS_NAME, THUMBNAILS_NAME)
_PAST = 256  # generations that are remembered: 2 KB
_CHANCE_BITS = 20  # of a generation: a catalog restored from a backup counts on to other numbers than the one that was lost
_LOOK_AT = 1000  # entries of a folder in which a library of a similar name is looked for
LOCAL = "keep the library on a local disk; the images may lie anywhere"


def item_id(number: int) -> str:
    """The id of a library item as people and stores see it."""
    return f"id:{number}"


def item_number(text: str) -> int | None:
    """The row number of "id:<number>", None if the text is no id."""
    digits = text.removeprefix("id:")
    return int(digits) if text.startswith("id:") and digits.isascii() and digits.isdigit() and len(digits) < 19 else None


class Catalog:
    """One open connection; safe to share between threads (a lock serialises its use).

    Attributes:
        folder: the library.
        fingerprint: of the model that made its vectors.
        canonical: float32 (8, D), that model's vectors of the canonical pictures.
    """

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, *, version: int, file: FileId, writable: bool, scratch: Path | None = None
    ) -> None:
        self.folder = folder
        self._version = version  # of the file's format when it was opened
        self.writable = writable
        self._scratch = scratch
        self._file = file
        self._handle = Handle(connection, file, folder, None if writable else self._opened_again)
        try:
            self.fingerprint = read_fingerprint(self._needed_meta("fingerprint"))
            self.canonical: Float32 = read_canonical(self._needed_meta("canonical"), self.dim)
            self.generation  # noqa: B018 - it is there, and a number
            self.rows("SELECT id, path, name_from, offline, mount FROM roots", types=(int, bytes, str, int, bytes))
            mounts = "SELECT m.path, m.root_id, m.offline, r.id FROM mounts AS m LEFT JOIN roots AS r ON r.id = m.root_id"
            self.rows(mounts, types=(bytes, int, int, int))
        except ValueError as error:
            raise LibraryDamagedError("the catalog's facts make no sense", path=folder, hint=SALVAGE) from error

    @property
    def dim(self) -> int:
        return self.fingerprint.dim

    @property
    def _lock(self) -> threading.RLock:
        return self._handle.lock

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._handle.connection

    # --- opening ------------------------------------------------------------------------------------------------------------

    @staticmethod
    def exists(folder: Path) -> bool:
        return (folder / CATALOG_NAME).is_file()

    @staticmethod
    def check_place(folder: Path) -> None:
        """LibraryError if a new library would lie among other things, such as the user's pictures."""
        must_be_no_dataset(folder)
        names = (CATALOG_NAME, f"{CATALOG_NAME}.new", *_DERIVED)
        ours = {path.name for name in names for path in files_of(folder / name)}
        if folder.is_dir() and any(not (p.name.endswith(".lock") or p.name in {*ours, NEXT_NAME}) for p in folder.iterdir()):
            hint = Advice("give ", Setting("library"), " a new folder")
            raise LibraryError("this folder is not empty and holds no library", path=folder, hint=hint)

    @classmethod
    def create(cls, folder: Path, fingerprint: Fingerprint, canonical: Float32) -> Catalog:
        """A new, empty library; complete or not there at all (built beside, renamed into place)."""
        fresh = folder / f"{CATALOG_NAME}.new"
        with making(folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                cls.check_place(folder)
                # Of a run that was killed here. A log without its catalog, above all: SQLite would play it into the new one.
                for path in (*files_of(fresh), *files_of(folder / CATALOG_NAME)):
                    path.unlink(missing_ok=True)
                with translated(folder), contextlib.closing(connect(fresh, "rwc", log=False)) as connection:
                    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
                    connection.executescript(f"BEGIN; {SCHEMA}")
                    facts: dict[str, str | int | bytes] = {
                        "schema_version": SCHEMA_VERSION,
                        "library_id": uuid.uuid4().hex,  # asked for by version 0.1
                        "generation": 0,
                        "fingerprint": fingerprint.to_json(),
                        "canonical": np.ascontiguousarray(canonical, dtype="<f4").tobytes(),
                    }
                    connection.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
                    connection.commit()
                    # Only now with a log: what cannot be moved out of it on closing would stay behind under the old name.
                    if connection.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
                        raise LibraryError("this disk fails, or is of a kind that cannot hold a library", path=folder, hint=LOCAL)
                os.replace(fresh, folder / CATALOG_NAME)
            finally:  # also when it was stopped on the way
                with contextlib.suppress(OSError):
                    for path in files_of(fresh):
                        path.unlink(missing_ok=True)
        return cls.open(folder, write=True)

    @staticmethod
    def remove(folder: Path) -> None:
        """Take back a new library in which there is nothing. Nobody may have it open to write."""
        for name in (CATALOG_NAME, *_DERIVED):
            for path in files_of(folder / name):
                path.unlink(missing_ok=True)

    @classmethod
    def open(cls, folder: Path, *, write: bool = False) -> Catalog:
        """Open an existing library.

        Reading works while another process writes, and from a folder that cannot be written: the file is then taken as
        immutable, or, if a write-ahead log was left over, read from a temporary copy.

        Raises:
            LibraryNotFoundError, LibraryVersionError, LibraryDamagedError, LibraryBusyError, LibraryReadOnlyError.
        """
        while True:
            opened = identity(folder / CATALOG_NAME)  # before it is opened: whatever takes its place from here on is another
            try:
                catalog = cls._open(folder, opened, write)
            except LibraryError:
                if identity(folder / CATALOG_NAME) == opened:
                    raise
                continue  # it was replaced while it was opened: what went wrong may be of two files beside each other
            if not catalog.replaced_by_another:
                return catalog
            catalog.close()

    @classmethod
    def _open(cls, folder: Path, opened: FileId, write: bool) -> Catalog:
        file = folder / CATALOG_NAME
        if not file.is_file() or file.is_symlink():
            # A link could make a stranger's library read files outside it.
            raise no_library(folder)
        scratch = None
        check_not_inherited(opened, folder)
        with translated(folder):
            if write:
                if not os.access(file, os.W_OK) or not os.access(folder, os.W_OK):
                    raise LibraryReadOnlyError("the library cannot be written", path=folder, hint="check its permissions")
                connection = connect(file, "rw")
            else:
                connection, scratch = connect_to_read(file)
            try:
                version = check_schema(folder, connection, write=write)
                return cls(folder, connection, version=version, file=opened, writable=write, scratch=scratch)
            except BaseException:
                connection.close()
                if scratch is not None:
                    shutil.rmtree(scratch, ignore_errors=True)
                raise

    def _opened_again(self) -> sqlite3.Connection:
        """After a fork, for which it was closed."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        found = Catalog.open(self.folder)
        if found._file != self._file:
            found.close()
            raise LibraryError("the library was replaced", path=self.folder, hint="ask again")
        self._scratch = found._scratch
        return found._handle.give_away()

    def close(self) -> None:
        with self._lock, translated(self.folder):
            try:
                if self.writable:
                    with contextlib.suppress(sqlite3.Error, LibraryError):  # readers in a query: the next writer does it; closed already
                        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._handle.close()
                if self._scratch is not None:
                    shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def replaced(self) -> bool:
        """Has another file, or none, taken the place of the one that is open, or has the file become one of a newer format?"""
        if self.replaced_by_another:
            return True
        if self._version == SCHEMA_VERSION:
            return False
        with self._lock, translated(self.folder):
            return schema_version(self._connection) != self._version

    @property
    def replaced_by_another(self) -> bool:
        return identity(self.folder / CATALOG_NAME) != self._file

    def must_be_in_place(self) -> None:
        """LibraryError if the file that is written is no longer the one at the library's path: nobody would find what goes into it."""
        if self.replaced_by_another:
            raise LibraryError(
                "the library was removed or replaced while it was written to",
                path=self.folder,
                hint=Advice("bring it back, or index into a new one: ", Verb("index", ("FOLDER", Setting("library", "OTHER")))),
            )

    # --- as of one moment, and all or nothing ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several reads as of one moment, whatever a writer commits meanwhile."""
        with self._lock, translated(self.folder):
            if self._connection.in_transaction:  # part of a larger one
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.rollback()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[int]:
        """All or nothing. Gives the new generation; rows of `files` that are written carry it. If none was, it stays the old one."""
        with self._lock, translated(self.folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                before = self.generation
                generation = (before >> _CHANCE_BITS) + 1 << _CHANCE_BITS | secrets.randbits(_CHANCE_BITS)
                self._connection.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (generation,))
                yield generation
                if self._connection.execute("SELECT 1 FROM files WHERE generation = ?", (generation,)).fetchone():
                    past = (self.meta("past") or b"")[-8 * (_PAST - 1) :]
                    self.set_meta("past", past + before.to_bytes(8, "little"))
                else:
                    self._connection.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (before,))
                self._connection.commit()
                self.must_be_in_place()  # last: what is said to be done lies where it will be looked for
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # after a full disk SQLite has rolled back by itself
                    self._connection.rollback()
                raise

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Nobody commits anything meanwhile, whatever locks of ours he holds or does not know. Nothing is written here."""
        with self._lock, translated(self.folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                self._connection.rollback()

    # --- facts of the whole library -------------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        found: int = self._needed_meta("generation")
        return found

    def had(self, generation: int) -> bool:
        """Was this a generation of this catalog, or is it? Another history comes to other numbers (see `_CHANCE_BITS`). Of the last ones
        it is always known, of older ones as long as a row carries it."""
        known = np.frombuffer(self.meta("past") or b"", "<i8")
        sql = "SELECT 1 FROM files WHERE generation = ? LIMIT 1"
        return generation == self.generation or generation in known or self.one(sql, (generation,)) is not None

    def meta(self, key: str) -> Any:
        """A fact of the whole library, None if it has none of this name that makes sense."""
        row = self.one("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None or not makes_sense(key, row[0]) else row[0]

    def set_meta(self, key: str, value: str | int | bytes | None) -> None:
        """Set it; None takes it away."""
        if value is None:
            self.execute("DELETE FROM meta WHERE key = ?", (key,))
        else:
            self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _needed_meta(self, key: str) -> Any:
        value = self.meta(key)
        if value is None:
            raise LibraryDamagedError(f"the catalog lacks its {key}", path=self.folder, hint=SALVAGE)
        return value

    # --- SQL, for the files of this room ----------------------------------------------------------------------------------------

    def rows(self, sql: str, parameters: Sequence[Any] = (), *, types: tuple[type, ...] | None = None) -> list[Any]:
        """The rows of one statement. `types`: of their values; LibraryDamagedError where one is of another, as in a stranger's file."""
        with self._lock, translated(self.folder):
            found = self._connection.execute(sql, parameters).fetchall()
        if types is not None:
            check_types(found, types, self.folder)
        return found

    def pages(
        self, sql: str, parameters: Sequence[Any] = (), size: int = 2000, *, types: tuple[type, ...] | None = None
    ) -> Iterator[list[Any]]:
        """The rows of one statement, `size` at a time, as of one moment. `types` as in `rows`."""
        with self._lock, translated(self.folder):
            cursor = self._connection.execute(sql, parameters)
            self._handle.in_use += 1
        try:
            while True:
                with self._lock, translated(self.folder):
                    page = cursor.fetchmany(size)
                if not page:
                    return
                if types is not None:
                    check_types(page, types, self.folder)
                yield page
        finally:
            with self._lock:
                self._handle.in_use -= 1

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Any | None:
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Of a statement that always gives one row of one column."""
        return self.rows(sql, parameters)[0][0]

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One statement; inside `transaction()` for anything that must last."""
        with self._lock, translated(self.folder):
            return self._connection.execute(sql, parameters)

    def execute_many(self, sql: str, parameters: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]) -> None:
        with self._lock, translated(self.folder):
            self._connection.executemany(sql, parameters)


def no_library(folder: Path) -> LibraryNotFoundError:
    must_be_no_dataset(folder)
    near = guess(folder.name, _libraries_in(folder.parent))
    hint = MAKE_ONE if near is None else Advice(f"did you mean {folder.with_name(near)}? Or ", MAKE_ONE)
    return LibraryNotFoundError("there is no library", path=folder, hint=hint)


def _libraries_in(folder: Path) -> list[str]:
    """Names; as many as are found soon."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in itertools.islice(entries, _LOOK_AT) if os.path.isfile(os.path.join(entry.path, CATALOG_NAME)))
    return []


def making(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Around making a library: what the system refuses becomes one of our errors."""
    another = Setting("library")
    return translated_os_errors(
        "the library",
        folder,
        failed=lambda said: LibraryError(f"the library cannot be made ({said})", path=folder, hint=Advice("give another ", another)),
        hint=Advice("check the folder's permissions or give another ", another),
        room="make room and run the same command again",
    )
