"""Promise 8: a library of an older format can be read as it is, and becomes a new one in one step, or stays what it was."""

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

from image_search import DiskFullError, ImageSearchEngine, LibraryDamagedError, LibraryVersionError
from image_search.library import schema
from image_search.library.catalog import Catalog
from image_search.library.reading import Reader
from image_search.library.salvage import salvage
from image_search.testing import quick_engine

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
        now = schema.SCHEMA_VERSION
        monkeypatch.setattr(schema, "SCHEMA_VERSION", now + 1)
        monkeypatch.setattr("image_search.library.catalog.SCHEMA_VERSION", now + 1)
        monkeypatch.setitem(schema.FORMER, now, schema.SCHEMA)
        monkeypatch.setitem(schema.READ_AS, now, (NEW.replace("TABLE", "TEMP TABLE"),))
        monkeypatch.setattr(schema, "SCHEMA", schema.SCHEMA + NEW)
        monkeypatch.setitem(schema.UPGRADES, now, statements)
        schema._our_schema.cache_clear()
        yield
    schema._our_schema.cache_clear()


FILL = "INSERT INTO notes SELECT id, hex(vector) FROM content"


def test_an_older_library_is_brought_up_to_date_by_the_next_run(library: Path, tmp_path: Path) -> None:
    picture = tmp_path / "photos" / "0" / "00003.png"
    truth = true_vectors(tmp_path / "photos")
    with next_version(NEW, FILL):
        before = (library / "catalog.sqlite").read_bytes()
        with ImageSearchEngine(library) as engine:
            assert engine.search(picture, 1)[0].identical
        assert (library / "catalog.sqlite").read_bytes() == before
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
            schema._upgrade(connection, schema.SCHEMA_VERSION - 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    shutil.copytree(library, tmp_path / "copy")
    judge(library, truth, acknowledged=8, complete=True)
    with next_version(NEW, FILL), ImageSearchEngine(tmp_path / "copy", jobs=1) as engine:
        assert engine.index(tmp_path / "photos", progress=False).unchanged == 8


# Formats 1, of version 0.1.0, and 2


def to_format(library: Path, version: int) -> None:
    """Make a catalog of what it was in an older format: the same rows, without what came later."""
    old = library / "old.sqlite"
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute(f"PRAGMA page_size={schema.PAGE_BYTES}")
        connection.executescript(schema.FORMER[version])
        connection.execute("ATTACH ? AS newer", (str(library / "catalog.sqlite"),))
        tables = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        for (table,) in connection.execute(tables).fetchall():
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} SELECT {columns} FROM newer.{table}")
        connection.execute("UPDATE main.meta SET value = ? WHERE key = 'schema_version'", (version,))
        connection.commit()
        connection.execute("DETACH newer")
        connection.execute("PRAGMA main.journal_mode=WAL")
    os.replace(old, library / "catalog.sqlite")


@pytest.fixture(params=[1, 2])
def older(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    draw(tmp_path / "photos", 0, 8)
    with quick_engine(tmp_path / "library") as engine:
        engine.index(tmp_path / "photos", progress=False)
    to_format(tmp_path / "library", request.param)
    return tmp_path / "library"


def test_a_library_of_an_older_format_is_searched_as_it_is(older: Path, tmp_path: Path) -> None:
    before = (older / "catalog.sqlite").read_bytes()
    with quick_engine(older) as engine:
        for picture in (tmp_path / "photos").rglob("*.png"):
            assert engine.search(picture, 1)[0].path == str(picture)
        assert (engine.status()["images"], len(engine.status()["roots"]), engine.verify(), engine.decisions()) == (8, 1, [], [])
        assert len(engine.search("id:1", 8, since="2000", formats="png", min_pixels=1)) == 8  # by the times of the files
    with contextlib.closing(Catalog.open(older)) as catalog:
        reader = Reader(catalog)
        assert len(reader.page()) == 8 and reader.items([1])[1].format == "PNG"
    assert (older / "catalog.sqlite").read_bytes() == before


def test_a_library_of_an_older_format_becomes_the_next_when_it_is_written(older: Path, tmp_path: Path) -> None:
    with quick_engine(older) as reading:
        assert reading.status()["images"] == 8
        with quick_engine(older) as engine:
            report = engine.index(tmp_path / "photos", progress=False)
            assert (report.unchanged, report.embedded, report.dated) == (8, 0, 8)
        with contextlib.closing(Catalog.open(older)) as catalog:
            assert catalog.meta("schema_version") == schema.SCHEMA_VERSION
            assert set(catalog.rows("SELECT note, captured FROM content")) == {("", "")}
        open_before = reading._library._reader
        assert reading.status()["images"] == 8 and reading._library._reader is not open_before  # what it may now ask is new


def test_an_upgraded_catalog_is_a_new_one_to_the_letter(older: Path, tmp_path: Path) -> None:
    """And every row of both formats is saved from its pages, also where one file holds both."""
    Catalog.open(older, write=True).close()
    draw(tmp_path / "photos", 8, 10)
    with quick_engine(older) as engine:
        assert engine.index(tmp_path / "photos", progress=False).added == 2
        engine.decide("leave", "id:1", "id:2")
        assert engine.verify() == []
    saved = salvage(older, tmp_path / "saved")
    assert (saved.images, saved.lost, saved.unknown) == (10, [], 0)
    judged = "SELECT sha256, vector, checksum, width, height, format, rules, note, captured FROM content ORDER BY sha256"
    with contextlib.closing(Catalog.open(older)) as one, contextlib.closing(Catalog.open(tmp_path / "saved")) as other:
        assert one.rows(judged) == other.rows(judged)
        assert one.rows("SELECT * FROM decisions") == other.rows("SELECT * FROM decisions") != []


def test_an_older_format_with_anything_foreign_in_it_is_refused_unchanged(older: Path) -> None:
    with contextlib.closing(sqlite3.connect(older / "catalog.sqlite")) as connection:
        connection.execute("CREATE TRIGGER t AFTER UPDATE ON files BEGIN DELETE FROM content; END")
    before = (older / "catalog.sqlite").read_bytes()
    for write in (False, True):
        with pytest.raises(LibraryDamagedError, match="foreign trigger"):
            Catalog.open(older, write=write)
    assert (older / "catalog.sqlite").read_bytes() == before
