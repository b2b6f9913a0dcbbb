"""The catalog: one SQLite file that holds every image, its facts, its vector and the model used. The only truth.

    meta      schema, library id, generation, model fingerprint, canonical vectors, closeness sample
    roots     the user's folders; offline = could not be read when last looked at
    content   one row per distinct file content (sha256): the vector and the picture's facts
    files     one row per file path: state, stat, class name, its content
    failures  contents that no decoder could read, so that copies and re-runs are not tried again
    forgotten paths that the user took out

Moves, copies and "identical" fall out of the split between content and files. `generation` grows with every commit; every row of `files`
carries the generation that last changed it, which is what a store needs to follow.

WAL mode, synchronous=FULL: what was committed survives a killed process and a power cut as far as SQLite's promise goes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import shutil
import sqlite3
import stat
import tempfile
import threading
import uuid
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import (
    SALVAGE,
    DiskFullError,
    LibraryBusyError,
    LibraryDamagedError,
    LibraryError,
    LibraryNotFoundError,
    LibraryReadOnlyError,
    LibraryVersionError,
)
from ..types import Fingerprint, Float32

__all__ = ["CATALOG_NAME", "PAGE_BYTES", "SCHEMA_VERSION", "Catalog", "check_vector", "checksum", "item_id", "item_number", "translated"]

CATALOG_NAME = "catalog.sqlite"
SCHEMA_VERSION = 1
_CHANCE_BITS = 20  # of a generation: a catalog restored from a backup counts on to other numbers than the one that was lost
LOCAL = "keep the library on a local disk; the images may lie anywhere"
# Ten vectors of 384 numbers in a page instead of two in one of 4 KB: a fifth less disk, and a quarter less time to read 100,000 of them.
PAGE_BYTES = 16384
BUSY_SECONDS = 5.0  # then an error, never a hang

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE roots (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,              -- absolute, the system's bytes
    name_from TEXT NOT NULL DEFAULT 'folder',
    offline INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,            -- 32 bytes
    vector BLOB NOT NULL,                   -- D float32, little-endian, unit length
    checksum INTEGER NOT NULL,              -- CRC-32 of the vector's bytes
    width INTEGER NOT NULL,                 -- pixels, upright
    height INTEGER NOT NULL,
    format TEXT NOT NULL
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used twice
    root_id INTEGER NOT NULL REFERENCES roots(id),
    path BLOB NOT NULL,                     -- below the root, the system's bytes
    name TEXT NOT NULL,                     -- the image's class
    state TEXT NOT NULL,                    -- present | missing | skipped | forgotten
    content_id INTEGER REFERENCES content(id),
    size INTEGER NOT NULL,                  -- bytes
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    reason TEXT NOT NULL DEFAULT '',        -- of a skipped file
    decoder TEXT NOT NULL DEFAULT '',       -- which decoder and limits said so
    generation INTEGER NOT NULL,
    UNIQUE (root_id, path)
);
CREATE INDEX files_by_content ON files (content_id);
CREATE INDEX files_by_generation ON files (generation);
CREATE TABLE failures (sha256 BLOB PRIMARY KEY, reason TEXT NOT NULL, decoder TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE forgotten (path BLOB PRIMARY KEY) WITHOUT ROWID;
"""

# How an older format becomes the next one: its number -> statements. They run in one transaction with the new number, so a library is of
# the old format or of the new one, whatever happens. What they leave must read like SCHEMA (a table that changes is made anew).
UPGRADES: dict[int, tuple[str, ...]] = {}


def item_id(number: int) -> str:
    """The id of a library item as people and stores see it."""
    return f"id:{number}"


def item_number(text: str) -> int | None:
    """The row number of "id:<number>", None if the text is no id."""
    digits = text.removeprefix("id:")
    return int(digits) if text.startswith("id:") and digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def checksum(vector: bytes) -> int:
    return zlib.crc32(vector)


def _no_room(folder: Path) -> bool:
    """SQLite calls it an I/O error when there is no room for its shared file (32 KB at first)."""
    try:
        return shutil.disk_usage(folder).free < 128 * 1024
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(folder / CATALOG_NAME)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def check_vector(vector: object, check: int, dim: int, whose: str, folder: Path) -> None:
    """LibraryDamagedError unless these are the bytes that were written."""
    if not isinstance(vector, bytes) or zlib.crc32(vector) != check or len(vector) != 4 * dim:
        raise LibraryDamagedError(f"the vector of {whose} is damaged", path=folder, hint=SALVAGE)


@contextlib.contextmanager
def translated(folder: Path) -> Iterator[None]:
    """SQLite's and the system's words for a failing library become ours; used at every entrance of this room."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error).lower()
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code below the extended one
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or "locked" in text:
            raise LibraryBusyError("another program holds the catalog", path=folder, hint="try again when it is done") from error
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _no_room(folder)):
            raise DiskFullError(
                "the disk is full", path=folder, hint="make room and run the same command again; nothing is lost"
            ) from error
        if code == sqlite3.SQLITE_READONLY:
            raise LibraryReadOnlyError("the library cannot be written", path=folder, hint="check its permissions") from error
        if code == sqlite3.SQLITE_IOERR:
            raise LibraryError(
                f"reading or writing the library failed ({error})", path=folder, hint="check the disk, then run the same command again"
            ) from error
        if code == sqlite3.SQLITE_CANTOPEN:
            raise LibraryError("the catalog cannot be opened", path=folder, hint="check the folder's permissions") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT) or "decode to utf-8" in text:
            raise LibraryDamagedError(f"the catalog is damaged ({error})", path=folder, hint=SALVAGE) from error
        raise
    except UnicodeDecodeError as error:  # text in the file is none
        raise LibraryDamagedError("the catalog is damaged (its text is no text)", path=folder, hint=SALVAGE) from error


class Catalog:
    """One open connection; safe to share between threads (a lock serialises its use).

    Attributes:
        folder: the library.
        fingerprint: of the model that made its vectors.
        canonical: float32 (8, D), that model's vectors of the canonical pictures.
        library_id: hex digits, made with the library.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection, *, writable: bool, scratch: Path | None = None) -> None:
        self.folder = folder
        self.writable = writable
        self._connection = connection
        self._scratch = scratch
        self._lock = threading.RLock()
        self._file = _identity(folder)
        try:
            self.fingerprint = Fingerprint.from_json(self._meta("fingerprint"))
            self.library_id = str(self._meta("library_id"))
            self.canonical: Float32 = np.frombuffer(self._meta("canonical"), dtype="<f4").reshape(-1, self.dim)
            int(self._meta("generation"))
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
        names = (CATALOG_NAME, f"{CATALOG_NAME}.new", "thumbnails.sqlite")
        ours = {path.name for name in names for path in _files_of(folder / name)}
        if folder.is_dir() and any(not (p.name.endswith(".lock") or p.name in ours) for p in folder.iterdir()):
            raise LibraryError("this folder is not empty and holds no library", path=folder, hint="give --library a new folder")

    @classmethod
    def create(cls, folder: Path, fingerprint: Fingerprint, canonical: Float32) -> Catalog:
        """A new, empty library; complete or not there at all (built beside, renamed into place)."""
        fresh = folder / f"{CATALOG_NAME}.new"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            cls.check_place(folder)
            # Of a run that was killed here. A log without its catalog, above all: SQLite would play it into the new one.
            for path in (*_files_of(fresh), *_files_of(folder / CATALOG_NAME)):
                path.unlink(missing_ok=True)
            with translated(folder), contextlib.closing(_connect(fresh, "rwc", log=False)) as connection:
                connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
                connection.executescript(f"BEGIN; {SCHEMA}")
                facts: dict[str, str | int | bytes] = {
                    "schema_version": SCHEMA_VERSION,
                    "library_id": uuid.uuid4().hex,
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
        except OSError as error:
            raise _folder_error(folder, error) from error
        finally:  # also when it was stopped on the way
            with contextlib.suppress(OSError):
                for path in _files_of(fresh):
                    path.unlink(missing_ok=True)
        return cls.open(folder, write=True)

    @staticmethod
    def remove(folder: Path) -> None:
        """Take back a new library in which there is nothing. Nobody may have it open to write."""
        for name in (CATALOG_NAME, "thumbnails.sqlite"):
            for path in _files_of(folder / name):
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
            raise LibraryNotFoundError("there is no library", path=folder, hint="make one with: image-search index FOLDER")
        scratch = None
        with translated(folder):
            if write:
                if not os.access(file, os.W_OK) or not os.access(folder, os.W_OK):
                    raise LibraryReadOnlyError("the library cannot be written", path=folder, hint="check its permissions")
                connection = _connect(file, "rw")
            else:
                connection, scratch = _connect_to_read(folder)
            try:
                _check(folder, connection, write)
                return cls(folder, connection, writable=write, scratch=scratch)
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
        """Has another file, or none, taken the place of the one that is open?"""
        return _identity(self.folder) != self._file

    # --- talking to SQLite --------------------------------------------------------------------------------------------------

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

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One statement; inside `transaction()` for anything that must last."""
        with self._lock, translated(self.folder):
            return self._connection.execute(sql, parameters)

    def execute_many(self, sql: str, parameters: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]) -> None:
        with self._lock, translated(self.folder):
            self._connection.executemany(sql, parameters)

    def _meta(self, key: str) -> Any:
        row = self.one("SELECT value FROM meta WHERE key = ?", (key,))
        if row is None:
            raise LibraryDamagedError(f"the catalog lacks its {key}", path=self.folder, hint=SALVAGE)
        return row[0]

    @property
    def generation(self) -> int:
        return int(self._meta("generation"))

    def meta_or_none(self, key: str) -> Any:
        row = self.one("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else row[0]

    def set_meta(self, key: str, value: str | int | bytes) -> None:
        self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # --- vectors ------------------------------------------------------------------------------------------------------------

    def vector(self, content: int) -> Float32:
        """float32 (D,) of one content."""
        row = self.one("SELECT vector, checksum FROM content WHERE id = ?", (content,))
        if row is None:
            raise LibraryDamagedError(f"the vector of content {content} is gone", path=self.folder, hint=SALVAGE)
        check_vector(row[0], row[1], self.dim, f"content {content}", self.folder)
        return np.frombuffer(row[0], "<f4")


def _files_of(file: Path) -> list[Path]:
    """An SQLite file and what SQLite puts beside it; the file itself comes last, since the others are worth nothing without it."""
    return [file.with_name(f"{file.name}{end}") for end in ("-journal", "-wal", "-shm", "")]


def _connect(file: Path, mode: str, extra: str = "", *, log: bool = True) -> sqlite3.Connection:
    # quote() keeps "?" and "#" in folder names out of the URI's syntax.
    from urllib.parse import quote

    _only_ours(file)
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(file.absolute()))}?mode={mode}{extra}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA trusted_schema=OFF")  # a stranger's library runs no code of its own
        connection.execute("PRAGMA cell_size_check=ON")  # damage is seen when a page is read, not when it is used
        if mode != "ro":
            connection.execute(f"PRAGMA journal_mode={'WAL' if log else 'DELETE'}")
            connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _only_ours(file: Path) -> None:
    """SQLite trusts what lies beside its file: it would write through a link, and delete the file that a rollback journal names.

    Ours never has a journal (it has a write-ahead log), and no file of ours has a second name.
    """
    for end in ("-journal", "-wal", "-shm"):
        beside = f"{file}{end}"
        with contextlib.suppress(FileNotFoundError):
            info = os.lstat(beside)
            if end == "-journal":
                raise LibraryDamagedError("this file is none of the library's", path=beside, hint="if the library is your own, remove it")
            if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
                raise LibraryDamagedError("this file is a link", path=beside, hint="if the library is your own, replace it by a copy")


def _connect_to_read(folder: Path) -> tuple[sqlite3.Connection, Path | None]:
    """A connection that sees what is committed now, and the folder of its private copy if it needed one.

    SQLite's way to read beside a writer needs a small file in the folder. Where that cannot be made (no permission, a read-only or a
    full disk), a writer's own will do; without a writer the file stands still, and is read as it is, or with its log from a copy.
    """
    file = folder / CATALOG_NAME
    for way in ("rw", "ro") if os.access(folder, os.W_OK) and os.access(file, os.W_OK) else ("ro",):
        try:
            connection = _connect(file, way)
            try:
                connection.execute("PRAGMA query_only=ON")
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            except BaseException:
                connection.close()
                raise
            return connection, None
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise  # what another program is changing must not be read past its lock
    log = file.with_name(f"{CATALOG_NAME}-wal")
    if not log.exists() or log.stat().st_size == 0:
        return _connect(file, "ro", "&immutable=1"), None
    scratch = Path(tempfile.mkdtemp(prefix="image-search-"))
    try:
        for part in (file, log):
            shutil.copyfile(part, scratch / part.name, follow_symlinks=False)
        return _connect(scratch / CATALOG_NAME, "rw"), scratch
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _check(folder: Path, connection: sqlite3.Connection, write: bool) -> None:
    """Is this our catalog, of a version that we know, with nothing in it that we did not put there?"""
    found = _schema(connection)
    if ("table", "meta") not in found:
        raise LibraryDamagedError("this is no catalog of image-search", path=folder, hint="give --library another folder")
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    version = row[0] if row else None
    if not isinstance(version, int) or version < 1:
        raise LibraryDamagedError("the catalog lacks its version", path=folder, hint=SALVAGE)
    if version > SCHEMA_VERSION:
        raise LibraryVersionError(
            f"the library was made by a newer version of image-search (format {version}, this one knows {SCHEMA_VERSION})",
            path=folder,
            hint="upgrade with: pip install --upgrade ai-image-search-engine",
        )
    if version < SCHEMA_VERSION:
        if not write:
            raise LibraryVersionError(
                "the library was made by an older version of image-search",
                path=folder,
                hint="bring it up to date: image-search index FOLDER",
            )
        _upgrade(connection, version)
        found = _schema(connection)
    ours = _our_schema()
    for kind, name in ours.keys() - found.keys():
        raise LibraryDamagedError(f"the catalog lacks the {kind} {name}", path=folder, hint=SALVAGE)
    for (kind, name), text in found.items():
        if ours.get((kind, name)) != text:
            raise LibraryDamagedError(f"the catalog holds a foreign {kind} {name!r}", path=folder, hint="do not use this library")


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version, SCHEMA_VERSION):
            for statement in UPGRADES[number]:
                connection.execute(statement)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (SCHEMA_VERSION,))
        connection.commit()
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
        raise


def _schema(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """(type, name) of everything in a database -> how it was made, without comments and spaces."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    return {(kind, name): re.sub(r"--[^\n]*|\s", "", sql or "") for kind, name, sql in rows}


@functools.cache
def _our_schema() -> dict[tuple[str, str], str]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        return _schema(connection)


def _folder_error(folder: Path, error: OSError) -> LibraryError:
    import errno

    if error.errno == errno.ENOSPC:
        return DiskFullError("the disk is full", path=folder, hint="make room and run the same command again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return LibraryReadOnlyError(
            "the library cannot be written", path=folder, hint="check the folder's permissions or give another --library"
        )
    return LibraryError(f"the library cannot be made ({error.strerror})", path=folder, hint="give another --library")
