"""Small copies of the library's pictures, WebP, by content: for the page, and for pictures whose disk is away.

A cache: losing it loses nothing. It is kept in its own file, so that the catalog stays small, and it stays below a size.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from .. import forks
from ..config import FORK_WAIT_SECONDS, THUMBNAILS_BYTES, THUMBNAILS_WAIT_SECONDS
from .catalog import THUMBNAILS_NAME
from .handle import inherit, is_inherited
from .sqlite import FileId, files_of, identity, open_file

__all__ = ["Thumbnails"]

TABLE = "CREATE TABLE thumbnails (n INTEGER PRIMARY KEY, sha256 BLOB UNIQUE, webp BLOB)"


class Thumbnails:
    """Never raises for a damaged, full or read-only cache: a picture without a thumbnail is drawn from its file."""

    def __init__(self, folder: Path, *, write: bool, max_bytes: int = THUMBNAILS_BYTES) -> None:
        self._file = folder / THUMBNAILS_NAME
        self._write = write
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._opened: FileId = None
        self._away = False  # closed for a fork, to be opened again
        self._quiet = False
        self._connection = self._open()
        forks.watch(self)

    def _open(self) -> sqlite3.Connection | None:
        if self._file.is_symlink() or not (self._write or self._file.is_file()) or is_inherited(identity(self._file)):
            return None
        for _ in range(2):
            try:
                return self._connect()
            except (_BadCacheError, sqlite3.Error) as error:
                if not self._write or not _is_bad(error):  # busy, full, unreadable: that is no reason to throw it away
                    return None
                self._begin_anew()
        return None

    def _connect(self) -> sqlite3.Connection:
        if os.path.lexists(f"{self._file}-journal"):  # not ours: see sqlite.connect
            raise _BadCacheError
        here = not os.access(self._file.parent, os.W_OK) and not os.path.lexists(f"{self._file}-wal")
        how = "ro&immutable=1" if here else "rwc" if self._write else "rw"
        connection = open_file(self._file, how, timeout=THUMBNAILS_WAIT_SECONDS)
        try:
            made = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")]
            if self._write:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=OFF")
                if not made:
                    connection.execute(TABLE)
                    made = [TABLE]
            if made != [TABLE]:
                raise _BadCacheError
        except BaseException:
            connection.close()
            raise
        self._opened = identity(self._file)
        return connection

    def _begin_anew(self) -> None:
        for file in files_of(self._file):
            with contextlib.suppress(OSError):
                file.unlink()

    def put(self, pictures: Iterable[tuple[bytes, bytes]]) -> None:
        """(sha256, WebP) pairs, in one go; one that is there already is replaced: the rules of its pixels may have changed."""
        with self._lock:
            self._back()
            if self._connection is not None and identity(self._file) != self._opened:  # removed or replaced: what went in would be lost
                self._close()
                self._connection = self._open()
            if self._connection is None:
                return
            try:
                self._connection.execute("BEGIN")
                try:
                    self._connection.executemany("INSERT OR REPLACE INTO thumbnails (sha256, webp) VALUES (?, ?)", pictures)
                    self._trim()
                    self._connection.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):  # after a full disk SQLite has rolled back by itself
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                if _is_bad(error):
                    self._close()
                    self._begin_anew()
                    self._connection = self._open()

    def _trim(self) -> None:
        assert self._connection is not None
        pages, free, size = (self._connection.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_count", "freelist_count", "page_size"))
        if (pages - free) * size > self._max_bytes:
            self._connection.execute(
                "DELETE FROM thumbnails WHERE n IN (SELECT n FROM thumbnails ORDER BY n LIMIT (SELECT count(*) / 10 + 1 FROM thumbnails))"
            )

    def get(self, sha256: bytes) -> bytes | None:
        with self._lock, contextlib.suppress(sqlite3.Error, TypeError):
            self._back()
            if self._connection is not None:
                row = self._connection.execute("SELECT webp FROM thumbnails WHERE sha256 = ?", (sha256,)).fetchone()
                return None if row is None else bytes(memoryview(row[0]))
        return None

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._away = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- a fork: see handle.py ------------------------------------------------------------------------------------------------

    def _back(self) -> None:
        if self._away:
            self._away = False
            self._connection = self._open()

    def before_fork(self) -> None:
        self._quiet = self._lock.acquire(timeout=FORK_WAIT_SECONDS)
        if self._quiet and self._connection is not None:
            self._close()
            self._away = True

    def after_fork(self, in_child: bool) -> None:
        if in_child and self._connection is not None:
            inherit(self._connection, self._opened)
            self._connection = None
        if self._quiet:
            self._lock.release()
        elif in_child:
            self._lock = threading.Lock()


class _BadCacheError(Exception):
    """Something in it is not of our making."""


def _is_bad(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, _BadCacheError) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
