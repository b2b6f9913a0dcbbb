"""SQLite as this room uses it: opening a file of ours, ways to read beside a writer, and the one place where its errors become ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ..config import BUSY_SECONDS
from ..errors import (
    SALVAGE,
    DiskFullError,
    LibraryBusyError,
    LibraryDamagedError,
    LibraryError,
    LibraryReadOnlyError,
)

__all__ = ["FileId", "connect", "connect_to_read", "files_of", "identity", "in_parts", "marks", "open_file", "translated"]

VALUES = 900  # in one "IN (...)": SQLite allows 999 everywhere
T = TypeVar("T")
FileId = tuple[int, int] | None  # device and inode; None: there is no file


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
        if isinstance(error, sqlite3.ProgrammingError) and "closed" in text:
            raise LibraryError("the library was closed while it was in use", path=folder, hint="ask again") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT) or "decode to utf-8" in text:
            raise LibraryDamagedError(f"the catalog is damaged ({error})", path=folder, hint=SALVAGE) from error
        raise
    except UnicodeDecodeError as error:  # text in the file is none
        raise LibraryDamagedError("the catalog is damaged (its text is no text)", path=folder, hint=SALVAGE) from error


def _no_room(folder: Path) -> bool:
    """SQLite calls it an I/O error when there is no room for its shared file (32 KB at first)."""
    try:
        return shutil.disk_usage(folder).free < 128 * 1024
    except OSError:
        return False


def marks(values: Sequence[object]) -> str:
    """?,?,? for "IN (...)"."""
    return ",".join("?" * len(values))


def in_parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many as fit into one statement at a time."""
    for start in range(0, len(values), VALUES):
        yield values[start : start + VALUES]


def files_of(file: Path) -> list[Path]:
    """An SQLite file and what SQLite puts beside it; the file itself comes last, since the others are worth nothing without it."""
    return [file.with_name(f"{file.name}{end}") for end in ("-journal", "-wal", "-shm", "")]


def identity(file: Path) -> FileId:
    """Device and inode of what lies at this path now; None: nothing."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_file(file: Path, mode: str, *, timeout: float | None = None) -> sqlite3.Connection:
    """A connection to this very file: `mode` is "ro", "rw" or "rwc" (may be made), "&immutable=1" may follow. Waits `timeout` seconds, or
    as long as for a catalog."""
    # quote() keeps "?" and "#" in folder names out of the URI's syntax.
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(file.absolute()))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS if timeout is None else timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA trusted_schema=OFF")  # a stranger's library runs no code of its own
    except BaseException:
        connection.close()
        raise
    return connection


def connect(file: Path, mode: str, *, log: bool = True) -> sqlite3.Connection:
    """A connection to a catalog, as durable as SQLite can be. `log`: False while it is made under another name."""
    _only_ours(file)
    connection = open_file(file, mode)
    try:
        connection.execute("PRAGMA cell_size_check=ON")  # damage is seen when a page is read, not when it is used
        if not mode.startswith("ro"):
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


def connect_to_read(file: Path) -> tuple[sqlite3.Connection, Path | None]:
    """A connection that sees what is committed now, and the folder of its private copy if it needed one.

    SQLite's way to read beside a writer needs a small file in the folder. Where that cannot be made (no permission, a read-only or a
    full disk), a writer's own will do; without a writer the file stands still, and is read as it is, or with its log from a copy.
    """
    for way in ("rw", "ro") if os.access(file.parent, os.W_OK) and os.access(file, os.W_OK) else ("ro",):
        try:
            connection = connect(file, way)
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
    log = file.with_name(f"{file.name}-wal")
    if not log.exists() or log.stat().st_size == 0:
        return connect(file, "ro&immutable=1"), None
    scratch = Path(tempfile.mkdtemp(prefix="image-search-"))
    try:
        for part in (file, log):
            shutil.copyfile(part, scratch / part.name, follow_symlinks=False)
        return connect(scratch / file.name, "rw"), scratch
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
