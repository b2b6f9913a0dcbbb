"""Protections switched off, one by one, to show that the tests of this folder notice."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from image_search import embedding
from image_search.index import run as indexing
from image_search.library import catalog, sqlite
from image_search.library.catalog import Catalog


def acknowledge_early() -> None:
    """Progress is told before the commit instead of after it."""
    real = indexing._Run.commit

    def commit(self: indexing._Run) -> None:
        self.progress(self.done + len(self.buffer), self.plan.todo, 0)
        real(self)

    indexing._Run.commit = commit  # type: ignore[method-assign]


def no_transactions() -> None:
    """Each statement for itself."""

    @contextlib.contextmanager
    def transaction(self: Catalog) -> Iterator[int]:
        generation = self.generation + 1
        self.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (generation,))
        yield generation

    Catalog.transaction = transaction  # type: ignore[method-assign,assignment]


def no_journal() -> None:
    """SQLite writes in place, without a log."""
    real = sqlite.connect

    def connect(file: Path, mode: str, *, log: bool = True) -> sqlite3.Connection:
        connection = real(file, mode, log=log)
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA cache_size=4")  # spills in the middle of a transaction, as a large one would
        return connection

    catalog.connect = connect  # type: ignore[assignment]


def no_sync() -> None:
    """SQLite does not wait until its log is on the disk."""
    real = sqlite.connect

    def connect(file: Path, mode: str, *, log: bool = True) -> sqlite3.Connection:
        connection = real(file, mode, log=log)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    catalog.connect = connect  # type: ignore[assignment]


def misaligned() -> None:
    """Vectors land at the neighbour's picture."""
    real = embedding._Batches._model
    embedding._Batches._model = lambda self: _Reversing(real(self))  # type: ignore[method-assign,assignment,return-value]


class _Reversing:
    def __init__(self, model: object) -> None:
        self.model = model

    def embed(self, pixels):  # type: ignore[no-untyped-def]
        return self.model.embed(pixels)[::-1]  # type: ignore[attr-defined]
