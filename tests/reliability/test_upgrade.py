"""Promise 8: a library of an older format becomes a new one in one step, or stays what it was."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import draw, judge, true_vectors

from image_search import DiskFullError, ImageSearchEngine, LibraryVersionError
from image_search.library import schema

NEW = "CREATE TABLE notes (content_id INTEGER PRIMARY KEY, text TEXT NOT NULL);"


@pytest.fixture(autouse=True)
def _plain(plain: None) -> None:
    pass


@pytest.fixture
def library(tmp_path: Path) -> Path:
    draw(tmp_path / "photos", 0, 8)
    with ImageSearchEngine(tmp_path / "library", store="exact", jobs=1) as engine:
        engine.index(tmp_path / "photos", progress=False)
    return tmp_path / "library"


@contextlib.contextmanager
def next_version(*statements: str) -> Iterator[None]:
    """This program, one format later."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
        monkeypatch.setattr(schema, "SCHEMA", schema.SCHEMA + NEW)
        monkeypatch.setattr(schema, "UPGRADES", {1: statements})
        schema._our_schema.cache_clear()
        yield
    schema._our_schema.cache_clear()


FILL = "INSERT INTO notes SELECT id, hex(vector) FROM content"


def test_an_older_library_is_brought_up_to_date_by_the_next_run(library: Path, tmp_path: Path) -> None:
    picture = tmp_path / "photos" / "0" / "00003.png"
    truth = true_vectors(tmp_path / "photos")
    with next_version(NEW, FILL):
        with pytest.raises(LibraryVersionError, match="older version"), ImageSearchEngine(library) as engine:
            engine.search(picture)
        with ImageSearchEngine(library, jobs=1) as engine:
            assert engine.index(tmp_path / "photos", progress=False).embedded == 0
        judge(library, truth, acknowledged=8, complete=True)
    with pytest.raises(LibraryVersionError, match="newer version"), ImageSearchEngine(library) as engine:
        engine.search(picture)


def test_an_upgrade_that_fails_changes_nothing(library: Path, tmp_path: Path) -> None:
    truth = true_vectors(tmp_path / "photos")
    with (
        next_version(NEW, FILL, "PRAGMA max_page_count = 1", "INSERT INTO notes SELECT id + 1000, hex(zeroblob(9999)) FROM content"),
        pytest.raises(DiskFullError),
        ImageSearchEngine(library, jobs=1) as engine,
    ):
        engine.index(tmp_path / "photos", progress=False)
    judge(library, truth, acknowledged=8, complete=True)  # with the old program


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("steps", [1, 5, 20, 60])
def test_an_upgrade_that_is_killed_changes_nothing(library: Path, tmp_path: Path, steps: int) -> None:
    truth = true_vectors(tmp_path / "photos")
    child = os.fork()
    if not child:
        with next_version(NEW, FILL), contextlib.closing(sqlite3.connect(library / "catalog.sqlite", isolation_level=None)) as connection:
            count = 0

            def die() -> int:
                nonlocal count
                count += 1
                if count >= steps:
                    os.kill(os.getpid(), signal.SIGKILL)
                return 0

            connection.set_progress_handler(die, 1)
            schema._upgrade(connection, 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    shutil.copytree(library, tmp_path / "copy")
    judge(library, truth, acknowledged=8, complete=True)
    with next_version(NEW, FILL), ImageSearchEngine(tmp_path / "copy", jobs=1) as engine:
        assert engine.index(tmp_path / "photos", progress=False).unchanged == 8
