"""Promise 8: a library folder from a stranger runs no code, touches nothing outside itself, and is refused in one line where it lies."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import draw

from image_search import ImageSearchEngine, ImageSearchError, LibraryDamagedError, LibraryNotFoundError, LibraryVersionError
from image_search.library.catalog import Catalog
from image_search.library.thumbnails import Thumbnails


@pytest.fixture(autouse=True)
def _plain(plain: None) -> None:
    pass


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strangers") / "photos"
    draw(folder, 0, 6)
    return folder


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> Path:
    made = photos.with_name("library")
    if not made.exists():
        with ImageSearchEngine(made, store="exact", jobs=1) as engine:
            engine.index(photos, progress=False)
    shutil.copytree(made, tmp_path / "library")
    return tmp_path / "library"


def use(library: Path, photos: Path) -> None:
    """What people do with a library: look, search, draw, index."""
    with ImageSearchEngine(library, jobs=1, notify=lambda line: None) as engine:
        engine.status()
        engine.search(photos / "0" / "00001.png", 3).figure()
        engine.index(photos, progress=False)


def refused(library: Path, photos: Path, what: str = ".") -> ImageSearchError:
    with pytest.raises(ImageSearchError, match=what) as caught:
        use(library, photos)
    with pytest.raises(ImageSearchError, match=what), ImageSearchEngine(library, jobs=1) as engine:
        engine.index(photos, progress=False)
    assert "\n" not in str(caught.value)
    assert str(library) in str(caught.value)
    return caught.value


def alter(file: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def hot_journal(database: Path, victim: Path) -> bytes:
    """A rollback journal that SQLite plays back when it opens the database, and then deletes the file that is named in it as the
    head of a transaction over several files."""
    magic, nonce, name = bytes.fromhex("d9d505f920a163d7"), 12345, os.fsencode(victim)
    size = int.from_bytes(database.read_bytes()[16:18], "big")  # of a page
    page = database.read_bytes()[:size]
    check = nonce + sum(page[at] for at in range(len(page) - 200, 0, -200))
    head = magic + struct.pack(">IIIII", 1, nonce, database.stat().st_size // size, 512, size)
    body = struct.pack(">I", 1) + page + struct.pack(">I", check & 0xFFFFFFFF)
    end = struct.pack(">I", 0x40000000 // size + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    return head.ljust(512, b"\0") + body + end


@pytest.mark.parametrize("name", ["catalog.sqlite", "thumbnails.sqlite"])
def test_a_planted_journal_deletes_no_file_of_the_user(library: Path, photos: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "precious.txt"
    victim.write_text("precious")
    (library / f"{name}-journal").write_bytes(hot_journal(library / name, victim))
    if name == "catalog.sqlite":
        refused(library, photos, "catalog.sqlite-journal")
    else:
        use(library, photos)
    assert victim.read_text() == "precious"


def test_such_a_journal_is_dangerous(library: Path, tmp_path: Path) -> None:
    """The test above can fail: SQLite by itself does delete the file."""
    victim = tmp_path / "precious.txt"
    victim.write_text("precious")
    (library / "catalog.sqlite-journal").write_bytes(hot_journal(library / "catalog.sqlite", victim))
    with contextlib.closing(sqlite3.connect(library / "catalog.sqlite")) as connection:
        connection.execute("SELECT * FROM meta").fetchall()
    assert not victim.exists()


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT"


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TRIGGER t AFTER UPDATE ON files BEGIN DELETE FROM content; END"],
        ["CREATE VIEW v AS SELECT 1"],
        ["CREATE TABLE more (x)"],
        ["CREATE INDEX more ON files (abs(size))"],
        ["DROP TABLE forgotten", f"CREATE VIEW forgotten AS {ENDLESS} x AS path FROM n"],
        ["DROP TABLE forgotten", "CREATE VIRTUAL TABLE forgotten USING fts5(path)"],
        ["DROP TABLE forgotten", "CREATE TABLE forgotten (path BLOB PRIMARY KEY, more AS (zeroblob(999999999)))"],
        ["ALTER TABLE failures ADD COLUMN more DEFAULT (1)"],
        ["UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE (root_id', 'CHECK (size > 0), UNIQUE (root_id') WHERE name = 'files'"],
        ["DROP TABLE failures"],
    ],
)
def test_a_catalog_with_anything_foreign_in_it_is_refused(library: Path, photos: Path, statements: list[str]) -> None:
    alter(library / "catalog.sqlite", *statements)
    assert isinstance(refused(library, photos), LibraryDamagedError)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = '{' WHERE key = 'fingerprint'",
        "UPDATE meta SET value = '{}' WHERE key = 'fingerprint'",
        "UPDATE meta SET value = '[1]' WHERE key = 'fingerprint'",
        "UPDATE meta SET value = replace(value, '\"dim\": 96', '\"dim\": -3') WHERE key = 'fingerprint'",
        "UPDATE meta SET value = replace(value, '\"dim\": 96', '\"dim\": \"a\"') WHERE key = 'fingerprint'",
        "UPDATE meta SET value = x'00' WHERE key = 'canonical'",
        "UPDATE meta SET value = 7 WHERE key = 'canonical'",
        "UPDATE meta SET value = 'many' WHERE key = 'generation'",
        "UPDATE meta SET value = 'old' WHERE key = 'schema_version'",
        "DELETE FROM meta",
    ],
)
def test_a_catalog_whose_facts_are_nonsense_is_refused(library: Path, photos: Path, statement: str) -> None:
    alter(library / "catalog.sqlite", statement)
    assert isinstance(refused(library, photos), LibraryDamagedError)


def test_a_newer_library_is_refused_and_unchanged(library: Path, photos: Path) -> None:
    alter(library / "catalog.sqlite", "UPDATE meta SET value = 999 WHERE key = 'schema_version'")
    before = (library / "catalog.sqlite").read_bytes()
    assert isinstance(refused(library, photos, "999"), LibraryVersionError)
    assert (library / "catalog.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    ("statements", "thumbnail"),
    [
        (["DROP TABLE thumbnails", f"CREATE VIEW thumbnails AS {ENDLESS} x AS sha256, x AS webp FROM n"], None),
        (["CREATE TRIGGER t AFTER INSERT ON thumbnails BEGIN DELETE FROM thumbnails; END"], None),
        (["DROP TABLE thumbnails", "CREATE VIRTUAL TABLE thumbnails USING fts5(sha256, webp)"], None),
    ],
)
def test_a_foreign_thumbnail_cache_is_begun_anew(library: Path, photos: Path, statements: list[str], thumbnail: bytes | None) -> None:
    alter(library / "thumbnails.sqlite", *statements)
    with contextlib.closing(Thumbnails(library, write=False)) as cache:
        assert cache.get(bytes(32)) is thumbnail
    with contextlib.closing(Thumbnails(library, write=True)) as cache:
        cache.put([(bytes(32), b"webp")])
        assert cache.get(bytes(32)) == b"webp"
    use(library, photos)


def test_thumbnails_that_are_no_pictures_are_not_shown(library: Path, photos: Path) -> None:
    alter(library / "thumbnails.sqlite", "UPDATE thumbnails SET webp = zeroblob(100000)")
    away = photos.rename(photos.with_name("away"))
    try:
        with ImageSearchEngine(library, jobs=1) as engine:
            matches = engine.search(away / "0" / "00001.png", 3)
            assert all(match.offline for match in matches)
            assert matches.figure() is not None
    finally:
        away.rename(photos)


@pytest.mark.parametrize("name", ["catalog.sqlite-wal", "catalog.sqlite-shm", "thumbnails.sqlite", "writer.lock", "catalog.sqlite.new"])
@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_no_link_in_it_is_followed_to_a_file_outside(
    library: Path, photos: Path, tmp_path: Path, name: str, make: Callable[[Path, Path], None]
) -> None:
    """The store's own are in test_replica."""
    outside = tmp_path / "precious"
    outside.write_bytes(b"precious" * 1000)
    with contextlib.suppress(FileNotFoundError):
        (library / name).unlink()
    make(outside, library / name)
    with contextlib.suppress(ImageSearchError):
        use(library, photos)
    assert outside.read_bytes() == b"precious" * 1000


def test_a_library_that_is_a_link_to_a_file(tmp_path: Path, library: Path, photos: Path) -> None:
    """A linked catalog could be a file outside; nobody needs one."""
    shutil.move(library / "catalog.sqlite", tmp_path / "elsewhere.sqlite")
    (library / "catalog.sqlite").symlink_to(tmp_path / "elsewhere.sqlite")
    with pytest.raises(LibraryNotFoundError):
        Catalog.open(library)
