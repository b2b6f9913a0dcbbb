"""The catalog: one SQLite file that holds every image, its facts, its vector and the model used. The only truth.

Here it is made, opened, read and written as a whole; `reading`, `writing`, `folders`, `worklist`, `vectors` and `salvage` say what. Its
tables are in `schema`. WAL mode, synchronous=FULL: what was committed survives a killed process and a power cut as far as SQLite keeps its
promise.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
import threading
import uuid
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..advice import Advice, Setting
from ..errors import MAKE_ONE, SALVAGE, LibraryDamagedError, LibraryError, LibraryNotFoundError, LibraryReadOnlyError, translated_os_errors
from ..types import Fingerprint, Float32
from .schema import PAGE_BYTES, SCHEMA, SCHEMA_VERSION, check_schema, schema_version
from .sqlite import connect, connect_to_read, files_of, translated

__all__ = ["CATALOG_NAME", "THUMBNAILS_NAME", "Catalog", "check_vector", "checksum", "item_id", "item_number"]

CATALOG_NAME = "catalog.sqlite"
THUMBNAILS_NAME = "thumbnails.sqlite"
_CHANCE_BITS = 20  # of a generation: a catalog restored from a backup counts on to other numbers than the one that was lost
LOCAL = "keep the library on a local disk; the images may lie anywhere"


def item_id(number: int) -> str:
    """The id of a library item as people and stores see it."""
    return f"id:{number}"


def item_number(text: str) -> int | None:
    """The row number of "id:<number>", None if the text is no id."""
    digits = text.removeprefix("id:")
    return int(digits) if text.startswith("id:") and digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def checksum(vector: bytes) -> int:
    return zlib.crc32(vector)


def check_vector(vector: object, check: int, dim: int, whose: str, folder: Path) -> None:
    """LibraryDamagedError unless these are the bytes that were written."""
    if not isinstance(vector, bytes) or zlib.crc32(vector) != check or len(vector) != 4 * dim:
        raise LibraryDamagedError(f"the vector of {whose} is damaged", path=folder, hint=SALVAGE)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(folder / CATALOG_NAME)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Catalog:
    """One open connection; safe to share between threads (a lock serialises its use).

    Attributes:
        folder: the library.
        fingerprint: of the model that made its vectors.
        canonical: float32 (8, D), that model's vectors of the canonical pictures.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection, *, version: int, writable: bool, scratch: Path | None = None) -> None:
        self.folder = folder
        self._version = version  # of the file's format when it was opened
        self.writable = writable
        self._connection = connection
        self._scratch = scratch
        self._lock = threading.RLock()
        self._file = _identity(folder)
        try:
            self.fingerprint = Fingerprint.from_json(self._needed_meta("fingerprint"))
            self.canonical: Float32 = np.frombuffer(self._needed_meta("canonical"), dtype="<f4").reshape(-1, self.dim)
            int(self._needed_meta("generation"))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise LibraryDamagedError("the catalog's facts make no sense", path=folder, hint=SALVAGE) from error

    @property
    def dim(self) -> int:
        return self.fingerprint.dim

    # --- opening ------------------------------------------------------------------------------------------------------------

    @staticmethod
    def exists(folder: Path) -> bool:
        return (folder / CATALOG_NAME).is_file()

    @staticmethod
    def check_place(folder: Path) -> None:
        """LibraryError if a new library would lie among other things, such as the user's pictures."""
        names = (CATALOG_NAME, f"{CATALOG_NAME}.new", THUMBNAILS_NAME)
        ours = {path.name for name in names for path in files_of(folder / name)}
        if folder.is_dir() and any(not (p.name.endswith(".lock") or p.name in ours) for p in folder.iterdir()):
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
        for name in (CATALOG_NAME, THUMBNAILS_NAME):
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
        file = folder / CATALOG_NAME
        if not file.is_file() or file.is_symlink():
            # A link could make a stranger's library read files outside it.
            raise no_library(folder)
        scratch = None
        with translated(folder):
            if write:
                if not os.access(file, os.W_OK) or not os.access(folder, os.W_OK):
                    raise LibraryReadOnlyError("the library cannot be written", path=folder, hint="check its permissions")
                connection = connect(file, "rw")
            else:
                connection, scratch = connect_to_read(file)
            try:
                version = check_schema(folder, connection, write=write)
                return cls(folder, connection, version=version, writable=write, scratch=scratch)
            except BaseException:
                connection.close()
                if scratch is not None:
                    shutil.rmtree(scratch, ignore_errors=True)
                raise

    def close(self) -> None:
        with self._lock, translated(self.folder):
            try:
                if self.writable:
                    with contextlib.suppress(sqlite3.Error):  # readers in the middle of a query: the next writer does it
                        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._connection.close()
                if self._scratch is not None:
                    shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def replaced(self) -> bool:
        """Has another file, or none, taken the place of the one that is open, or has the file become one of a newer format?"""
        if _identity(self.folder) != self._file:
            return True
        if self._version == SCHEMA_VERSION:
            return False
        with self._lock, translated(self.folder):
            return schema_version(self._connection) != self._version

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
                if not self._connection.execute("SELECT 1 FROM files WHERE generation = ?", (generation,)).fetchone():
                    self._connection.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (before,))
                self._connection.commit()
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # after a full disk SQLite has rolled back by itself
                    self._connection.rollback()
                raise

    # --- facts of the whole library -------------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        return int(self._needed_meta("generation"))

    def meta(self, key: str) -> Any:
        """A fact of the whole library, None if it has none of this name."""
        row = self.one("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else row[0]

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

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._lock, translated(self.folder):
            return self._connection.execute(sql, parameters).fetchall()

    def pages(self, sql: str, parameters: Sequence[Any] = (), size: int = 2000) -> Iterator[list[Any]]:
        """The rows of one statement, `size` at a time, as of one moment."""
        with self._lock, translated(self.folder):
            cursor = self._connection.execute(sql, parameters)
        while True:
            with self._lock, translated(self.folder):
                page = cursor.fetchmany(size)
            if not page:
                return
            yield page

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
    return LibraryNotFoundError("there is no library", path=folder, hint=MAKE_ONE)


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
