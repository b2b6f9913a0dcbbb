"""One SQLite connection: its lock, its end, and what becomes of it when the process forks."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from .. import forks
from ..config import FORK_WAIT_SECONDS
from ..errors import LibraryError
from .sqlite import FileId

__all__ = ["Handle", "check_not_inherited", "inherit", "is_inherited"]

_inherited: set[FileId] = set()  # files that a parent had open when this process was forked from it


class Handle:
    """Used by one thread at a time, under `lock`.

    SQLite keeps its locks by process: a connection that crosses a fork, or a second one to the same file beside it, believes in locks that
    the child does not hold, and reads what others are rewriting (https://sqlite.org/howtocorrupt.html, 2.6). So it is closed before the
    fork and opened again, in parent and child, when it is used next.

    Args:
        connection: open.
        file: which file that is.
        where: of what library, for errors.
        again: opens it again; None: it cannot be (a writer has temporary tables): a child then keeps away from that file.

    Attributes:
        in_use: results that are being fetched, page by page: it cannot be closed now.
    """

    def __init__(self, connection: sqlite3.Connection, file: FileId, where: Path, again: Callable[[], sqlite3.Connection] | None) -> None:
        self.lock = threading.RLock()
        self.in_use = 0
        self._file = file
        self._where = where
        self._again = again
        self._open: sqlite3.Connection | None = connection
        self._closed = self._quiet = False
        forks.watch(self)

    @property
    def connection(self) -> sqlite3.Connection:
        """LibraryError: it was closed."""
        if self._open is None:
            check_not_inherited(self._file, self._where)
            if self._closed or self._again is None:
                raise LibraryError("the library was closed while it was in use", path=self._where, hint="ask again")
            self._open = self._again()
        return self._open

    def close(self) -> None:
        self._closed = True
        if self._open is not None:
            self._open.close()
            self._open = None

    def give_away(self) -> sqlite3.Connection:
        """The connection, to somebody who closes it."""
        given, self._open, self._closed = self.connection, None, True
        return given

    def before_fork(self) -> None:
        self._quiet = self.lock.acquire(timeout=FORK_WAIT_SECONDS)
        if self._quiet and self._again is not None and self._open is not None and not (self._open.in_transaction or self.in_use):
            self._open.close()
            self._open = None

    def after_fork(self, in_child: bool) -> None:
        if in_child and self._open is not None:
            inherit(self._open, self._file)
            self._open, self._closed = None, True
        if self._quiet:
            self.lock.release()
        elif in_child:
            self.lock = threading.RLock()  # held by a thread that is not here


def inherit(connection: sqlite3.Connection, file: FileId) -> None:
    """In a child: a connection that was open when the process was forked is neither used nor closed, and its file not opened again."""
    forks.keep_for_ever(connection)  # closing it would tidy up what the parent works with
    _inherited.add(file)


def is_inherited(file: FileId) -> bool:
    return file is not None and file in _inherited


def check_not_inherited(file: FileId, where: Path) -> None:
    """LibraryError if this file must not be opened: a connection to it came with a fork."""
    if is_inherited(file):
        raise LibraryError(
            "this library was at work in the process that this one was forked from",
            path=where,
            hint='start the other process with multiprocessing\'s method "spawn", or before the library is used',
        )
