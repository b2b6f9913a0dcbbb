"""Small copies of the library's pictures, WebP, by content: for the page, and for pictures whose disk is away.

A cache: losing it loses nothing. It is kept in its own file, so that the catalog stays small, and it stays below a size.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Thumbnails"]

FILE_NAME = "thumbnails.sqlite"
MAX_BYTES = 2 * 1024**3  # ~250,000 pictures of 8 KB; then the oldest go


class Thumbnails:
    """Never raises for a damaged, full or read-only cache: a picture without a thumbnail is drawn from its file."""

    def __init__(self, folder: Path, *, write: bool, max_bytes: int = MAX_BYTES) -> None:
        self._file = folder / FILE_NAME
        self._write = write
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection | None:
        if self._file.is_symlink() or not (self._write or self._file.is_file()):
            return None
        for _ in range(2):
            connection = sqlite3.connect(self._file, timeout=1.0, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA trusted_schema=OFF")
                if self._write:
                    connection.execute("PRAGMA journal_mode=WAL")
                    connection.execute("PRAGMA synchronous=OFF")
                    connection.execute("CREATE TABLE IF NOT EXISTS thumbnails (n INTEGER PRIMARY KEY, sha256 BLOB UNIQUE, webp BLOB)")
                return connection
            except sqlite3.DatabaseError:
                connection.close()
                if not self._write:
                    return None
                with contextlib.suppress(OSError):  # a damaged cache is begun anew
                    self._file.unlink()
        return None

    def put(self, pictures: Iterable[tuple[bytes, bytes]]) -> None:
        """(sha256, WebP) pairs, in one go."""
        if self._connection is None:
            return
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._connection.execute("BEGIN")
            try:
                self._connection.executemany("INSERT OR IGNORE INTO thumbnails (sha256, webp) VALUES (?, ?)", pictures)
                self._trim()
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                self._connection.execute("ROLLBACK")

    def _trim(self) -> None:
        assert self._connection is not None
        pages, free, size = (self._connection.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_count", "freelist_count", "page_size"))
        if (pages - free) * size > self._max_bytes:
            self._connection.execute(
                "DELETE FROM thumbnails WHERE n IN (SELECT n FROM thumbnails ORDER BY n LIMIT (SELECT count(*) / 10 + 1 FROM thumbnails))"
            )

    def get(self, sha256: bytes) -> bytes | None:
        if self._connection is None:
            return None
        with self._lock, contextlib.suppress(sqlite3.Error):
            row = self._connection.execute("SELECT webp FROM thumbnails WHERE sha256 = ?", (sha256,)).fetchone()
            return None if row is None else bytes(row[0])
        return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
