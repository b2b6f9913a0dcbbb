"""What the catalog's file looks like: its tables, the states of a file, how an older format becomes the next one.

    meta      schema, generation, model fingerprint, canonical vectors, closeness sample
    roots     the user's folders; offline = could not be read when last looked at
    mounts    other disks below a root: each is there or away by itself
    content   one row per distinct file content (sha256): the vector and the picture's facts
    files     one row per file path: state, stat, class name, its content
    annotations  what a table of the user's own says of contents
    failures  contents that no decoder could read, so that copies and re-runs are not tried again
    forgotten paths that the user took out
    passed    how many files the last look passed by, by folder and rule
    unusable  what the last look could not take in and `files` does not say: links, special files, what could not be read just then
    decisions what the user said of pictures that were shown as copies of one another; by content, so it stays when files move

Moves, copies and "identical" fall out of the split between content and files. `generation` grows with every commit; every row of `files`
carries the generation that last changed it, which is what a store needs to follow.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sqlite3
from enum import StrEnum
from pathlib import Path

from ..advice import Advice, Setting
from ..errors import SALVAGE, LibraryDamagedError, LibraryVersionError

__all__ = [
    "ANNOTATION_KINDS",
    "FILES_IN_ROOTS",
    "PAGE_BYTES",
    "SCHEMA",
    "SCHEMA_VERSION",
    "UNEMBEDDED",
    "UPGRADES",
    "State",
    "check_schema",
    "part_of",
    "schema_version",
]

SCHEMA_VERSION = 3
# Ten vectors of 384 numbers in a page instead of two in one of 4 KB: a fifth less disk, and a quarter less time to read 100,000 of them.
PAGE_BYTES = 16384


class State(StrEnum):
    """What is known of a file."""

    PRESENT = "present"  # it was there at the last look, and has a vector
    MISSING = "missing"  # it was not; its vector is kept until --prune
    SKIPPED = "skipped"  # it is there and cannot be searched; `reason` says why
    EXCLUDED = "excluded"  # a rule leaves it out, so nobody looked; its vector is kept until --prune
    FORGOTTEN = "forgotten"  # the user took it out; the empty row keeps its id from being used again


# `reason` of a missing file without content: out of reach when the library was brought to another model. The next look that finds it embeds
# it; one that finds it gone takes the word away.
UNEMBEDDED = "not embedded yet"


SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE roots (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,              -- absolute, the system's bytes
    name_from TEXT NOT NULL DEFAULT 'folder',
    offline INTEGER NOT NULL DEFAULT 0,
    mount BLOB NOT NULL DEFAULT x''         -- top of the disk on which it lay at the last look; empty: not known
);
CREATE TABLE mounts (
    path BLOB NOT NULL,                     -- below the root: where another disk begins
    root_id INTEGER NOT NULL REFERENCES roots(id),
    offline INTEGER NOT NULL,
    PRIMARY KEY (path, root_id)             -- in this order no row looks like one of an index: `salvage` tells rows by their columns
) WITHOUT ROWID;
CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,            -- 32 bytes
    vector BLOB NOT NULL,                   -- D float32, little-endian, unit length
    checksum INTEGER NOT NULL,              -- CRC-32 of the vector's bytes
    width INTEGER NOT NULL,                 -- pixels, upright
    height INTEGER NOT NULL,
    format TEXT NOT NULL,
    rules INTEGER NOT NULL DEFAULT 1,       -- version of its format's pixel rules by which the vector was made
    note TEXT NOT NULL DEFAULT '',          -- what is to be said of the picture, as "cut off"
    captured TEXT                           -- when it was taken, see images.captured; '': it does not say; NULL: not looked at yet
);
CREATE INDEX content_by_rules ON content (format, rules);             -- counted at every index run, without the vectors' pages
CREATE INDEX content_with_note ON content (note) WHERE note != '';
CREATE INDEX content_facts ON content (captured, width, height, format); -- read as a whole to filter by, also without the vectors' pages
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used twice
    root_id INTEGER NOT NULL REFERENCES roots(id),
    path BLOB NOT NULL,                     -- below the root, the system's bytes
    name TEXT NOT NULL,                     -- the image's class
    state TEXT NOT NULL,                    -- see State
    content_id INTEGER REFERENCES content(id),
    size INTEGER NOT NULL,                  -- bytes
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    reason TEXT NOT NULL DEFAULT '',        -- of a skipped file
    decoder TEXT NOT NULL DEFAULT '',       -- which decoder and limits said so
    generation INTEGER NOT NULL,
    UNIQUE (root_id, path)
);
CREATE INDEX files_by_content ON files (content_id);
CREATE INDEX files_by_generation ON files (generation);
CREATE TABLE failures (sha256 BLOB PRIMARY KEY, reason TEXT NOT NULL, decoder TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE forgotten (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE passed (
    root_id INTEGER NOT NULL REFERENCES roots(id),
    path BLOB NOT NULL,                     -- of the folder below the root in which the rule was applied
    rule TEXT NOT NULL,                     -- see errors.PassReason
    detail TEXT NOT NULL,                   -- the ending, where the rule is about the format, or empty
    files INTEGER NOT NULL,
    more INTEGER NOT NULL,                  -- 1: at least so many
    PRIMARY KEY (root_id, path, rule, detail)
) WITHOUT ROWID;
CREATE TABLE unusable (
    root_id INTEGER NOT NULL REFERENCES roots(id),
    path BLOB NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (root_id, path)
) WITHOUT ROWID;
CREATE TABLE annotations (
    sha256 BLOB NOT NULL,                   -- of the content that it is about, whether the library has that now or not
    name TEXT NOT NULL,                     -- the column of the user's table
    kind TEXT NOT NULL,                     -- see ANNOTATION_KINDS, the same in all of a column
    value TEXT NOT NULL,                    -- what is missing has no row
    PRIMARY KEY (name, sha256)
) WITHOUT ROWID;
CREATE INDEX annotations_by_content ON annotations (sha256);
CREATE TABLE decisions (
    id INTEGER NOT NULL,                    -- one decision: a row for each of its pictures
    sha256 BLOB NOT NULL,                   -- 32 bytes. Not the row of a content, which may leave and come back
    word TEXT NOT NULL,                     -- see library.decisions
    made INTEGER NOT NULL,                  -- seconds since 1970
    PRIMARY KEY (id, sha256)
) WITHOUT ROWID;
"""

ANNOTATION_KINDS = ("number", "text", "date")


def _statement(what: str) -> str:
    """The part of SCHEMA that makes this ("TABLE mounts")."""
    start = SCHEMA.index(f"CREATE {what} ")
    return re.split(r";\s", SCHEMA[start:])[0]


# What each format has that the one before it had not, as SCHEMA makes it; columns stand in UPGRADES and READ_AS.
NEW_IN: dict[int, tuple[str, ...]] = {
    2: ("INDEX content_by_rules", "INDEX content_with_note", "TABLE mounts", "TABLE passed", "TABLE unusable"),
    3: ("INDEX content_facts", "TABLE annotations", "INDEX annotations_by_content", "TABLE decisions"),
}


def _new_in(version: int) -> tuple[str, ...]:
    """Statements that make what is new in this format."""
    return tuple(map(_statement, NEW_IN[version]))


def _empty_since(version: int) -> tuple[str, ...]:
    """Statements that make each table that a catalog of this format lacks, empty and for this connection alone."""
    later = [what for newer, new in NEW_IN.items() if newer > version for what in new if what.startswith("TABLE ")]
    return tuple(_statement(what).replace("CREATE TABLE", "CREATE TEMP TABLE") for what in later)


# Each file f with its root r; their paths together are `paths.whole_path(r.path, f.path)`.
FILES_IN_ROOTS = "files AS f JOIN roots AS r ON r.id = f.root_id"


def part_of(root_id: int, below: bytes) -> tuple[str, tuple[object, ...]]:
    """SQL and its values: the rows below a folder of a root, by their `root_id` and `path`; a range, so that the index serves."""
    if not below:
        return "root_id = ?", (root_id,)
    separator = os.sep.encode()
    return "root_id = ? AND path >= ? AND path < ?", (root_id, below + separator, below + bytes([separator[0] + 1]))


# How an older format becomes the next one: its number -> statements. They run in one transaction with the new number, so a library is of
# the old format or of the new one, whatever happens. What they leave must read like SCHEMA (a column added by ALTER TABLE stands last).
UPGRADES: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE roots ADD COLUMN mount BLOB NOT NULL DEFAULT x''",
        "ALTER TABLE content ADD COLUMN rules INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE content ADD COLUMN note TEXT NOT NULL DEFAULT ''",
        *_new_in(2),
    ),
    2: ("ALTER TABLE content ADD COLUMN captured TEXT", *_new_in(3)),
}

# How an older format is read as it stands, by a program that must not write: what it lacks stands before it in temporary tables and views.
_PICTURES = "id, sha256, vector, checksum, width, height, format"
READ_AS: dict[int, tuple[str, ...]] = {
    1: (
        "CREATE TEMP VIEW roots AS SELECT id, path, name_from, offline, x'' AS mount FROM main.roots",
        f"CREATE TEMP VIEW content AS SELECT {_PICTURES}, 1 AS rules, '' AS note, NULL AS captured FROM main.content",
        *_empty_since(1),
    ),
    2: (f"CREATE TEMP VIEW content AS SELECT {_PICTURES}, rules, note, NULL AS captured FROM main.content", *_empty_since(2)),
}

# What a catalog of an older format holds, and nothing else.
FORMER: dict[int, str] = {
    1: """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE roots (
        id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, name_from TEXT NOT NULL DEFAULT 'folder', offline INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE content (
        id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, vector BLOB NOT NULL, checksum INTEGER NOT NULL, width INTEGER NOT NULL,
        height INTEGER NOT NULL, format TEXT NOT NULL
    );
    CREATE TABLE files (
        id INTEGER PRIMARY KEY AUTOINCREMENT, root_id INTEGER NOT NULL REFERENCES roots(id), path BLOB NOT NULL, name TEXT NOT NULL,
        state TEXT NOT NULL, content_id INTEGER REFERENCES content(id), size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT '', decoder TEXT NOT NULL DEFAULT '',
        generation INTEGER NOT NULL, UNIQUE (root_id, path)
    );
    CREATE INDEX files_by_content ON files (content_id);
    CREATE INDEX files_by_generation ON files (generation);
    CREATE TABLE failures (sha256 BLOB PRIMARY KEY, reason TEXT NOT NULL, decoder TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE forgotten (path BLOB PRIMARY KEY) WITHOUT ROWID;
    """,
    2: """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE roots (
        id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, name_from TEXT NOT NULL DEFAULT 'folder', offline INTEGER NOT NULL DEFAULT 0,
        mount BLOB NOT NULL DEFAULT x''
    );
    CREATE TABLE mounts (
        path BLOB NOT NULL, root_id INTEGER NOT NULL REFERENCES roots(id), offline INTEGER NOT NULL, PRIMARY KEY (path, root_id)
    ) WITHOUT ROWID;
    CREATE TABLE content (
        id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, vector BLOB NOT NULL, checksum INTEGER NOT NULL, width INTEGER NOT NULL,
        height INTEGER NOT NULL, format TEXT NOT NULL, rules INTEGER NOT NULL DEFAULT 1, note TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX content_by_rules ON content (format, rules);
    CREATE INDEX content_with_note ON content (note) WHERE note != '';
    CREATE TABLE files (
        id INTEGER PRIMARY KEY AUTOINCREMENT, root_id INTEGER NOT NULL REFERENCES roots(id), path BLOB NOT NULL, name TEXT NOT NULL,
        state TEXT NOT NULL, content_id INTEGER REFERENCES content(id), size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT '', decoder TEXT NOT NULL DEFAULT '',
        generation INTEGER NOT NULL, UNIQUE (root_id, path)
    );
    CREATE INDEX files_by_content ON files (content_id);
    CREATE INDEX files_by_generation ON files (generation);
    CREATE TABLE failures (sha256 BLOB PRIMARY KEY, reason TEXT NOT NULL, decoder TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE forgotten (path BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE passed (
        root_id INTEGER NOT NULL REFERENCES roots(id), path BLOB NOT NULL, rule TEXT NOT NULL, detail TEXT NOT NULL,
        files INTEGER NOT NULL, more INTEGER NOT NULL, PRIMARY KEY (root_id, path, rule, detail)
    ) WITHOUT ROWID;
    CREATE TABLE unusable (
        root_id INTEGER NOT NULL REFERENCES roots(id), path BLOB NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (root_id, path)
    ) WITHOUT ROWID;
    """,
}


def check_schema(folder: Path, connection: sqlite3.Connection, *, write: bool) -> int:
    """Is this our catalog, of a version that we know, with nothing in it that we did not put there?

    An older one is upgraded to write, and to read left as it is: after a new version of the program everything can be searched, also
    from a disk that cannot be written.

    Returns:
        the format that the file has now.

    Raises:
        LibraryDamagedError, LibraryVersionError.
    """
    found = _schema(connection)
    if ("table", "meta") not in found:
        raise LibraryDamagedError(
            "this is no catalog of image-search", path=folder, hint=Advice("give ", Setting("library"), " another folder")
        )
    version = schema_version(connection)
    if version is None or version < 1:
        raise LibraryDamagedError("the catalog lacks its version", path=folder, hint=SALVAGE)
    if version > SCHEMA_VERSION:
        raise LibraryVersionError(
            f"the library was made by a newer version of image-search (format {version}, this one knows {SCHEMA_VERSION})",
            path=folder,
            hint="upgrade with: pip install --upgrade ai-image-search-engine",
        )
    _check_tables(folder, found, version)  # before anything of it is used
    if version < SCHEMA_VERSION and write:
        _upgrade(connection, version)
        version = SCHEMA_VERSION
        _check_tables(folder, _schema(connection), version)
    elif version < SCHEMA_VERSION:
        _read_as_it_is(connection, version)
    return version


def schema_version(connection: sqlite3.Connection) -> int | None:
    row = connection.execute("SELECT value FROM main.meta WHERE key = 'schema_version'").fetchone()
    return row[0] if row and isinstance(row[0], int) else None


def _check_tables(folder: Path, found: dict[tuple[str, str], str], version: int) -> None:
    ours = _our_schema(version)
    for kind, name in ours.keys() - found.keys():
        raise LibraryDamagedError(f"the catalog lacks the {kind} {name}", path=folder, hint=SALVAGE)
    for (kind, name), text in found.items():
        if ours.get((kind, name)) != text:
            raise LibraryDamagedError(f"the catalog holds a foreign {kind} {name!r}", path=folder, hint="do not use this library")


def _read_as_it_is(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("PRAGMA query_only=OFF")  # it keeps from temporary tables, too
    try:
        for statement in READ_AS[version]:
            connection.execute(statement)
    finally:
        connection.execute("PRAGMA query_only=ON")


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version, SCHEMA_VERSION):
            for statement in UPGRADES[number]:
                connection.execute(statement)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (SCHEMA_VERSION,))
        connection.commit()
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
        raise


def _schema(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """(type, name) of everything in a database -> how it was made, without comments and spaces."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    return {(kind, name): re.sub(r"--[^\n]*|\s", "", sql or "") for kind, name, sql in rows}


@functools.cache
def _our_schema(version: int) -> dict[tuple[str, str], str]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA if version == SCHEMA_VERSION else FORMER[version])
        return _schema(connection)
