"""The catalog that a library will have, of another model, in the making beside its own.

    reembed/catalog.sqlite   a catalog like any other. What it has by itself is `content`, the vectors; all else follows the library

It follows as a store does: what the user did to the library meanwhile, and what an index run of the old model took in, is taken over by
`follow`, as often as one likes. A vector belongs to a content, whatever becomes of the files that have it: killed anywhere, nothing that
was committed is made again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from ..errors import LibraryError, SkipReason
from ..paths import whole_path
from ..types import FileStat
from .catalog import CATALOG_NAME, NEXT_NAME, Catalog
from .disks import Disks
from .folders import Target, drop_unused_contents
from .schema import FILES_IN_ROOTS, UNEMBEDDED, State
from .sqlite import in_parts, marks

__all__ = ["Owed", "Successor", "Wanted", "remove_successor", "seen", "successor_folder", "under_way"]

_PAGE = 1000  # rows read at once
_TRIES = 3  # of a file that is another one each time: a camera's, say, that is written to every second
_AS_IT_IS = ("roots", "mounts", "passed", "unusable", "annotations", "forgotten", "decisions")
_FACTS = ("library_id", "store", "annotated", "dated")  # of the library as a whole, whatever its model
# Those files of the library (o) whose outcome here (f) says more than that the content has a vector now.
_OUTCOMES = f"""
    CREATE TEMP TABLE outcome AS
    SELECT f.id, f.state, f.content_id, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.reason, f.decoder
    FROM main.files AS f JOIN old.files AS o ON o.id = f.id AND o.root_id = f.root_id AND o.path = f.path
    LEFT JOIN main.content AS n ON n.id = f.content_id LEFT JOIN old.content AS c ON c.id = o.content_id
    WHERE (o.state IN ('{State.PRESENT}', '{State.SKIPPED}') OR o.reason = '{UNEMBEDDED}')
    AND ((f.state = '{State.PRESENT}' AND n.sha256 IS NOT c.sha256) OR (f.state = '{State.SKIPPED}' AND o.state = '{State.PRESENT}'))
"""
_FOLLOW = f"""
    INSERT INTO main.files
    SELECT o.id, o.root_id, o.path, o.name, CASE WHEN o.state = '{State.PRESENT}' AND n.id IS NULL THEN '{State.MISSING}' ELSE o.state END,
    n.id, o.size, o.mtime_ns, o.ctime_ns, o.inode,
    CASE WHEN o.state = '{State.PRESENT}' AND n.id IS NULL THEN '{UNEMBEDDED}' ELSE o.reason END, o.decoder, ?
    FROM old.files AS o LEFT JOIN old.content AS c ON c.id = o.content_id LEFT JOIN main.content AS n ON n.sha256 = c.sha256
"""
# What the new model has to look at: what has a vector in the library and none here, and what had to do without one.
_WANTED = f"""
    CREATE TEMP TABLE wanted AS
    SELECT f.id AS file_id, o.state = '{State.PRESENT}' AS owed FROM main.files AS f JOIN old.files AS o ON o.id = f.id
    WHERE (o.content_id IS NOT NULL AND f.content_id IS NULL AND f.state != '{State.SKIPPED}') OR f.reason = '{UNEMBEDDED}'
    OR (o.state = '{State.SKIPPED}' AND f.state = '{State.SKIPPED}' AND f.reason = ?)
"""


class Wanted(NamedTuple):
    """A file to be looked at: its row, its root, the way below it, its class; device and stat as it lies there now."""

    file_id: int
    root_id: int
    relative: bytes
    name: str
    seen: tuple[int, FileStat]


class Owed(NamedTuple):
    """Files that can be found in the library and have no vector here, each once: their numbers and paths.

    gone: their disk is there, and they are not. away: it is not, or too many of a folder's vanished at once. unread: they are there, and
    could not be read just now.
    """

    gone: list[tuple[int, str]]
    away: list[tuple[int, str]]
    unread: list[tuple[int, str]]


def successor_folder(library: Path) -> Path:
    return library / NEXT_NAME


def remove_successor(library: Path) -> None:
    """It is not wanted any more, or has become the library's own."""
    folder = successor_folder(library)
    if not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)


def under_way(library: Path) -> tuple[str, int] | None:
    """Name of the model and number of its vectors so far; None: no such catalog is in the making, or none that can be read."""
    folder = successor_folder(library)
    if folder.is_symlink() or not Catalog.exists(folder):
        return None
    with contextlib.suppress(LibraryError), contextlib.closing(Catalog.open(folder)) as catalog:
        return catalog.fingerprint.name, int(catalog.value("SELECT count(*) FROM content"))
    return None


class Successor:
    """In the hands of one process.

    Args:
        library: its folder. catalog: the one in the making, open to write; closed by whoever opened it.

    Attributes:
        updated: files of which another content was found than the library knows, as of the last `follow`.
        skipped: path and reason of those that are there and have no vector of the new model, as of the last `follow`.
    """

    def __init__(self, library: Path, catalog: Catalog) -> None:
        self.catalog = catalog
        self._library = library
        self.updated = 0
        self.skipped: list[tuple[str, str]] = []
        catalog.execute("CREATE TEMP TABLE tried (file_id INTEGER PRIMARY KEY, tries, size, mtime_ns, ctime_ns, inode)")

    def follow(self, passing: Iterable[SkipReason]) -> None:
        """All but the vectors as the library has it now.

        Args:
            passing: reasons that may be others at the next try: what they kept out is tried again.
        """
        catalog = self.catalog
        catalog.execute("ATTACH ? AS old", (f"file:{quote(os.fsencode((self._library / CATALOG_NAME).absolute()))}?mode=ro",))
        try:
            highest = "(SELECT value FROM old.meta WHERE key = 'generation')"
            catalog.execute(f"UPDATE main.meta SET value = max(value, {highest}) WHERE key = 'generation'")
            with catalog.transaction() as generation:
                for table in ("outcome", "wanted"):
                    catalog.execute(f"DROP TABLE IF EXISTS temp.{table}")
                catalog.execute(_OUTCOMES)
                self._take_over(generation)
                self._keep_outcomes({reason.value for reason in passing}, generation)
                catalog.execute(_WANTED, (SkipReason.NO_VECTOR.value,))
        finally:
            catalog.execute("DETACH old")

    def _take_over(self, generation: int) -> None:
        catalog = self.catalog
        catalog.execute(f"INSERT OR REPLACE INTO main.meta SELECT * FROM old.meta WHERE key IN ({marks(_FACTS)})", _FACTS)
        catalog.execute("DELETE FROM main.files")
        for table in _AS_IT_IS:
            catalog.execute(f"DELETE FROM main.{table}")
            catalog.execute(f"INSERT INTO main.{table} SELECT * FROM old.{table}")
        model_alone = (SkipReason.NO_VECTOR.value,)  # said by the old model, of which nothing is to be believed here
        catalog.execute("INSERT OR IGNORE INTO main.failures SELECT * FROM old.failures WHERE reason != ?", model_alone)
        catalog.execute(_FOLLOW, (generation,))
        catalog.execute("DELETE FROM main.sqlite_sequence WHERE name = 'files'")
        catalog.execute("INSERT INTO main.sqlite_sequence SELECT * FROM old.sqlite_sequence WHERE name = 'files'")

    def _keep_outcomes(self, passing: set[str], generation: int) -> None:
        """What was found out of a file holds as long as that is the file that lies there."""
        catalog = self.catalog
        found = catalog.rows(
            "SELECT o.id, o.state, o.content_id, o.size, o.mtime_ns, o.ctime_ns, o.inode, o.reason, o.decoder, r.path, f.path"
            " FROM temp.outcome AS o JOIN main.files AS f ON f.id = o.id JOIN main.roots AS r ON r.id = f.root_id"
        )
        self.updated, self.skipped = 0, []
        for number, state, content, *facts, reason, decoder, root, path in found:
            now = seen(whole_path(root, path))
            if reason not in passing and now is not None and now[1] == FileStat(*facts):
                catalog.execute(
                    "UPDATE main.files SET state = ?, content_id = ?, size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?, reason = ?,"
                    " decoder = ?, generation = ? WHERE id = ?",
                    (state, content, *facts, reason, decoder, generation, number),
                )
                if state == State.SKIPPED:
                    self.skipped.append((whole_path(root, path), reason))
                self.updated += state == State.PRESENT

    # --- what there is to do ------------------------------------------------------------------------------------------------

    def wanted(self) -> Iterator[list[Wanted]]:
        """Files that have no vector yet, are there, and were not tried by this process as they are now; some at a time."""
        last = 0
        sql = (
            f"SELECT f.id, f.root_id, r.path, f.path, f.name, t.tries, t.size, t.mtime_ns, t.ctime_ns, t.inode FROM {FILES_IN_ROOTS}"
            " JOIN temp.wanted AS w ON w.file_id = f.id LEFT JOIN temp.tried AS t ON t.file_id = f.id WHERE f.id > ? ORDER BY f.id LIMIT ?"
        )
        while page := self.catalog.rows(sql, (last, _PAGE)):
            last = page[-1][0]
            found = [(row, seen(whole_path(row[2], row[3]))) for row in page]
            yield [
                Wanted(row[0], row[1], row[3], row[4], now) for row, now in found if now is not None and _is_new(row[5], row[6:], now[1])
            ]

    def tried(self, files: Iterable[Wanted]) -> None:
        self.catalog.execute_many(
            "INSERT INTO temp.tried VALUES (?, 1, ?, ?, ?, ?) ON CONFLICT (file_id) DO UPDATE SET tries = tries + 1, size = excluded.size,"
            " mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, inode = excluded.inode",
            [(file.file_id, *astuple(file.seen[1])) for file in files],
        )

    def targets(self) -> list[Target]:
        rows = self.catalog.rows("SELECT id, path, name_from FROM roots", types=(int, bytes, str))
        return [Target(number, path, b"", names) for number, path, names in rows]

    # --- what is left -------------------------------------------------------------------------------------------------------

    def owed(self) -> Owed:
        """Whether a file is gone is judged as an index run does: a disk or a folder that is away proves nothing."""
        rows = self.catalog.rows(
            f"SELECT f.id, f.root_id, r.path, f.path FROM {FILES_IN_ROOTS} JOIN temp.wanted AS w ON w.file_id = f.id"
            f" WHERE w.owed AND f.reason = '{UNEMBEDDED}' ORDER BY r.path, f.path",
            types=(int, int, bytes, bytes),
        )
        there = dict(self.catalog.rows(f"SELECT root_id, count(*) FROM files WHERE state = '{State.PRESENT}' GROUP BY root_id"))
        disks = Disks(self.catalog)
        found = Owed([], [], [])
        gone: dict[int, list[tuple[int, str]]] = {}
        for number, root_id, root, relative in rows:
            path = whole_path(root, relative)
            if os.path.lexists(path):
                found.unread.append((number, path))
            elif disks.away(path):
                found.away.append((number, path))
            else:
                gone.setdefault(root_id, []).append((number, path))
        for root_id, files in gone.items():
            (found.gone if len(files) <= there.get(root_id, 0) else found.away).extend(files)
        return found

    def without(self) -> int:
        """Missing and excluded files whose vector the library keeps, and that have none here."""
        states = f"'{State.MISSING}', '{State.EXCLUDED}'"
        sql = (
            "SELECT count(*) FROM files AS f JOIN temp.wanted AS w ON w.file_id = f.id"
            f" WHERE NOT w.owed AND f.content_id IS NULL AND f.reason != '{UNEMBEDDED}' AND f.state IN ({states})"
        )
        return int(self.catalog.value(sql))

    def finish(self, gone: Iterable[int]) -> tuple[int, int]:
        """Nothing more will come: what is gone is missing, and vectors that no file needs go. Gives how many images can be found, and how
        many different ones."""
        catalog = self.catalog
        with catalog.transaction() as generation:
            for part in in_parts(list(gone)):
                catalog.execute(f"UPDATE files SET reason = '' WHERE id IN ({marks(part)})", part)
            drop_unused_contents(catalog)
            catalog.execute("UPDATE files SET generation = ?", (generation,))
        catalog.set_meta("past", None)  # whoever kept something of the old model's, codes or a store, finds no generation of his own here
        present = f"FROM files WHERE state = '{State.PRESENT}'"
        images, pictures = catalog.rows(f"SELECT count(*), count(DISTINCT content_id) {present}")[0]
        return images, pictures


def _is_new(tries: int | None, before: Sequence[int], now: FileStat) -> bool:
    return not tries or (tries < _TRIES and now != FileStat(*before))


def seen(path: str) -> tuple[int, FileStat] | None:
    """Device and stat of a regular file that lies there now; None: there is none."""
    try:
        info = os.lstat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(info.st_mode):
        return None
    return info.st_dev, FileStat.of(info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
