"""Which pairs of pictures were compared, and what came of it: a file in the library beside the catalog.

A cache: losing it costs the time to compare again. What is in it is taken at its word only for pictures that the catalog has, so a
stranger's can at worst hide or show a pair. One process at a time remembers; whoever comes second, or may not write, works on a copy in
memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import LibraryError
from ..types import Float32
from .catalog import PAIRS_NAME
from .lock import ProcessLock
from .sqlite import files_of, open_file, translated

__all__ = ["Compared", "Copy", "FoundPairs"]

_TABLES = (
    "CREATE TABLE made_by (facts TEXT NOT NULL)",  # one row: model, rules, floor, as JSON
    # A picture that was compared with all others; `checksum` of its vector, which new pixel rules may change.
    "CREATE TABLE compared (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, checksum INTEGER NOT NULL)",
    # kind: NULL: not looked at yet; '': two different pictures; see tidy.copies.Kind
    "CREATE TABLE pairs (one INTEGER NOT NULL, other INTEGER NOT NULL, similarity REAL NOT NULL, kind TEXT, change TEXT NOT NULL,"
    " PRIMARY KEY (one, other)) WITHOUT ROWID",
)
_SECONDS = 1.0  # that another program's lock is waited for
_LOCK = "pairs.lock"
_PAGE = 10_000  # rows read at once

Numbers = npt.NDArray[np.int64]


class Compared(NamedTuple):
    """P pairs that were compared, by the numbers of their pictures.

    Attributes:
        one, other: int64 (P,), one < other.
        similarity: float32 (P,).
        looked: bool (P,), somebody has looked at it.
    """

    one: Numbers
    other: Numbers
    similarity: Float32
    looked: npt.NDArray[np.bool_]


class Copy(NamedTuple):
    """A pair that is the same picture, or a changed copy; as it was told to `judge`."""

    one: int
    other: int
    similarity: float
    kind: str
    change: str


class FoundPairs:
    """Open for one run; `close` it, or use it with `with`.

    Args:
        folder: the library.

    Attributes:
        remembers: what is found now will be there at the next run. False: the library cannot be written, or another run has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / PAIRS_NAME
        self._lock: ProcessLock | None = ProcessLock(folder / _LOCK, what="comparing", thing="the list of pairs")
        try:
            self._lock.acquire()
        except LibraryError:  # busy, or not to be written
            self._lock = None
        self._connection = self._to_write() if self._lock is not None else None
        self.remembers = self._connection is not None
        if self._connection is None:
            self._connection = self._in_memory()

    def __enter__(self) -> FoundPairs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        if self._lock is not None:
            self._lock.release()

    # --- opening ------------------------------------------------------------------------------------------------------------

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def _to_write(self) -> sqlite3.Connection | None:
        """The file, made anew if it is none of ours; None where it cannot be written."""
        for _ in range(2):
            if any(os.path.lexists(path) and (path.is_symlink() or path.name.endswith("-journal")) for path in files_of(self._file)):
                self._remove()
            try:
                connection = open_file(self._file, "rwc", timeout=_SECONDS)
                try:
                    connection.execute("PRAGMA journal_mode=WAL")
                    connection.execute("PRAGMA synchronous=NORMAL")
                    _make_or_check(connection)
                    connection.execute("BEGIN IMMEDIATE")  # can it be written?
                    connection.execute("ROLLBACK")
                except BaseException:
                    connection.close()
                    raise
                return connection
            except (_ForeignError, sqlite3.DatabaseError) as error:
                if not _is_bad(error):
                    return None
                self._remove()
        return None

    def _in_memory(self) -> sqlite3.Connection:
        """Its own copy of what another one keeps; empty where that cannot be read."""
        memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        with contextlib.suppress(_ForeignError, sqlite3.Error, OSError):
            if self._file.is_file() and not self._file.is_symlink():
                still = not os.access(self.folder, os.W_OK) and not os.path.lexists(f"{self._file}-wal")
                with contextlib.closing(open_file(self._file, "ro&immutable=1" if still else "ro", timeout=_SECONDS)) as there:
                    there.backup(memory)
                _make_or_check(memory)
                memory.execute("PRAGMA trusted_schema=OFF")
                return memory
        memory.close()
        memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        _make_or_check(memory)
        return memory

    def _remove(self) -> None:
        for file in files_of(self._file):
            with contextlib.suppress(OSError):
                file.unlink()

    # --- what is in it --------------------------------------------------------------------------------------------------------

    def made_by(self) -> dict[str, Any]:
        """What `begin` was told; {}: nothing yet, or nothing that makes sense."""
        with translated(self.folder), contextlib.suppress(ValueError, TypeError):
            row = self._db.execute("SELECT facts FROM made_by").fetchone()
            facts = json.loads(row[0]) if row else {}
            return facts if isinstance(facts, dict) else {}
        return {}

    def begin(self, facts: dict[str, Any]) -> None:
        """Anew: nothing was compared yet by these rules."""
        with translated(self.folder), self._transaction():
            for table in ("pairs", "compared", "made_by"):
                self._db.execute(f"DELETE FROM {table}")
            self._db.execute("INSERT INTO made_by VALUES (?)", (json.dumps(facts),))

    def compared(self) -> dict[bytes, tuple[int, int]]:
        """sha256 -> (number, checksum of the vector) of every picture that was compared with all others."""
        with translated(self.folder):
            rows = self._db.execute("SELECT sha256, id, checksum FROM compared").fetchall()
        return {sha256: (number, check) for sha256, number, check in rows if _are((sha256, number, check), (bytes, int, int))}

    def pairs(self) -> Compared:
        """All of them, by their numbers."""
        # A stranger's file may hold any value in any column.
        sql = (
            "SELECT one, other, similarity, kind IS NOT NULL FROM pairs"
            " WHERE typeof(one) = 'integer' AND typeof(other) = 'integer' AND typeof(similarity) = 'real'"
        )
        pages: list[npt.NDArray[np.float64]] = [np.empty((0, 4))]
        with translated(self.folder):
            cursor = self._db.execute(sql)
            while page := cursor.fetchmany(_PAGE):
                pages.append(np.array(page, np.float64))  # numbers below 2**53 stay what they are
        found = np.concatenate(pages)
        return Compared(
            found[:, 0].astype(np.int64), found[:, 1].astype(np.int64), found[:, 2].astype(np.float32).clip(-1, 1), found[:, 3] != 0
        )

    def copies(self) -> list[Copy]:
        """Those that are no two different pictures. A row that makes no sense is none."""
        with translated(self.folder):
            rows = self._db.execute("SELECT one, other, similarity, kind, change FROM pairs WHERE kind != ''").fetchall()
        return [Copy(*row) for row in rows if _are(row, (int, int, float, str, str))]

    def add(self, pictures: Iterable[tuple[bytes, int]], pairs: Iterable[tuple[bytes, bytes, float]], gone: Sequence[int]) -> None:
        """Pictures (sha256, checksum of the vector) that have been compared with all others, and the pairs that were found.

        All or nothing. `gone`: numbers of pictures that leave first, with their pairs.
        """
        with translated(self.folder), self._transaction():
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS leaving (id INTEGER PRIMARY KEY)")
            self._db.execute("DELETE FROM temp.leaving")
            self._db.executemany("INSERT OR IGNORE INTO temp.leaving VALUES (?)", ((number,) for number in gone))
            if gone:
                leaving = "(SELECT id FROM temp.leaving)"
                self._db.execute(f"DELETE FROM pairs WHERE one IN {leaving} OR other IN {leaving}")
                self._db.execute(f"DELETE FROM compared WHERE id IN {leaving}")
            self._db.executemany("INSERT OR IGNORE INTO compared (sha256, checksum) VALUES (?, ?)", pictures)
            number = {sha256: n for sha256, (n, _) in self.compared().items()}
            self._db.executemany(
                "INSERT OR IGNORE INTO pairs VALUES (?, ?, ?, NULL, '')",
                ((*sorted((number[one], number[other])), similarity) for one, other, similarity in pairs),
            )

    def judge(self, verdicts: Iterable[tuple[int, int, str, str]]) -> None:
        """(one, other, kind, change) of pairs that were looked at; kind "": two different pictures."""
        with translated(self.folder), self._transaction():
            self._db.executemany(
                "UPDATE pairs SET kind = ?, change = ? WHERE one = ? AND other = ?",
                ((kind, change, one, other) for one, other, kind, change in verdicts),
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # after a full disk SQLite has rolled back by itself
                self._db.execute("ROLLBACK")
            raise


def _make_or_check(connection: sqlite3.Connection) -> None:
    found = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")]
    if not found:
        for table in _TABLES:
            connection.execute(table)
    elif found != list(_TABLES) or connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise _ForeignError


def _are(values: Sequence[object], kinds: Sequence[Any]) -> bool:
    return all(isinstance(value, kind) for value, kind in zip(values, kinds, strict=True))


class _ForeignError(Exception):
    """Something in it is not of our making."""


def _is_bad(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, _ForeignError) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
