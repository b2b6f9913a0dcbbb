"""Another catalog in the place of a library's own, while others have that open: in one step, whenever it is killed.

Two SQLite files that follow each other under one name share the names of their logs, and what was open goes on with what it has. So:

1. The log of the old one is empty, and its index says nothing (as after a crash: whoever comes next makes it anew from the log).
2. The new one is locked, so that nobody who opens it now takes the old one's log for its own; it is renamed; the old one's log and index
   lose their names, and only then the lock goes.

Killed in between, the old file or the new one lies there, with a log that is empty. Who has the old one open goes on reading it, and
notices by the file's number (`Catalog.replaced`); SQLite itself takes nothing away for a file that has lost its name.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .. import forks
from ..advice import Advice, Verb
from ..errors import LibraryBusyError
from .catalog import CATALOG_NAME, Catalog, making
from .sqlite import files_of, open_file, translated

__all__ = ["REPLACES_OPEN_FILES", "empty_log", "is_log_empty", "put_in_place"]

REPLACES_OPEN_FILES = os.name != "nt"
_INDEX_HEAD = 96  # bytes: both copies of the log index's head, https://sqlite.org/walformat.html, 2.1


def put_in_place(made: Path, folder: Path) -> None:
    """The catalog `made` becomes that of the library.

    Args:
        made: closed, its log empty and gone, on the library's disk. The library's own catalog stands still (`Catalog.standing_still`), and
            its log is empty; where open files are not replaced, it is closed.

    Raises:
        LibraryBusyError: another program has the old one open, on a system that replaces no such file (Windows).
    """
    old = folder / CATALOG_NAME
    with making(folder), translated(folder), _locked(made):
        _clear_index(old.with_name(f"{old.name}-shm"))
        try:
            os.replace(made, old)
        except PermissionError as error:
            raise LibraryBusyError(
                "another program has the library open",
                path=folder,
                hint=Advice("close it and run the same command again, what was done is kept; most likely it is ", Verb("serve")),
            ) from error
        for beside in files_of(old)[:-1]:
            beside.unlink(missing_ok=True)
        _sync(folder)
    for beside in files_of(made)[:-1]:
        beside.unlink(missing_ok=True)


def empty_log(catalog: Catalog) -> None:
    """Bring all of a catalog's log into its file and leave the log empty, unless somebody is reading from it just now."""
    catalog.rows("PRAGMA wal_checkpoint(TRUNCATE)")


def is_log_empty(folder: Path) -> bool:
    log = folder / f"{CATALOG_NAME}-wal"
    return not log.exists() or not log.stat().st_size


@contextlib.contextmanager
def _locked(made: Path) -> Iterator[None]:
    """Whoever opens it waits. On Windows nobody can have the old one open now, and no file is renamed that is."""
    if not REPLACES_OPEN_FILES:
        yield
        return
    with contextlib.closing(open_file(made, "rw")) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # before anything is read: then no log's index is shared with others
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # from here on it is held
        yield


def _clear_index(index: Path) -> None:
    """The handle stays open: closing it would take away the locks that SQLite holds on this file in this process."""
    with contextlib.suppress(FileNotFoundError):
        handle = open(index, "r+b", buffering=0)  # noqa: SIM115
        forks.keep_for_ever(handle)
        handle.write(bytes(_INDEX_HEAD))


def _sync(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Windows does it by itself
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
