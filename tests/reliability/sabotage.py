"""Protections switched off, one by one, to show that the tests of this folder notice."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from image_search.index import run as indexing
from image_search.library import catalog
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
    real = catalog._connect

    def connect(file: Path, mode: str, extra: str = "", *, log: bool = True) -> sqlite3.Connection:
        connection = real(file, mode, extra, log=log)
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA cache_size=4")  # spills in the middle of a transaction, as a large one would
        return connection

    catalog._connect = connect


def no_sync() -> None:
    """SQLite does not wait until its log is on the disk."""
    real = catalog._connect

    def connect(file: Path, mode: str, extra: str = "", *, log: bool = True) -> sqlite3.Connection:
        connection = real(file, mode, extra, log=log)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    catalog._connect = connect


def misaligned() -> None:
    """Vectors land at the neighbour's picture."""
    real = indexing._Run.embed

    def embed(self: indexing._Run) -> None:
        self.batch.reverse()
        model, self.embedder = self.embedder, _Reversing(self.embedder)  # type: ignore[assignment]
        try:
            real(self)
        finally:
            self.embedder = model

    indexing._Run.embed = embed  # type: ignore[method-assign]


class _Reversing:
    def __init__(self, model: object) -> None:
        self.model = model

    def embed(self, pixels):  # type: ignore[no-untyped-def]
        return self.model.embed(pixels)[::-1]  # type: ignore[attr-defined]
