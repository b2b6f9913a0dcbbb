"""What an index run has to do, in temporary tables of the catalog's connection: a million files cost no memory.

worklist.todo      files that are new, changed, to be verified or to be read again
worklist.seen      rows of `files` whose path was found again
worklist.outdated  contents whose vectors older pixel rules made, if these are to be renewed
worklist.undated   contents of which an older version of this program did not ask when they were taken, each with a file to ask
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..images.opening import FileInRoot
from ..paths import from_bytes, inside, whole_path
from ..types import FileStat
from .catalog import Catalog
from .disks import Disks
from .folders import Target
from .reading import outdated_rules
from .schema import FILES_IN_ROOTS, UNEMBEDDED, State, part_of

__all__ = ["Gone", "KnownFile", "Todo", "Undated", "Worklist"]

_PAGE = 1000  # rows read at once
# Of a file as an index run judges whether it is gone: one that waits for its vector was there.
_STATE = f"CASE WHEN reason = '{UNEMBEDDED}' THEN '{State.PRESENT}' ELSE state END"
_STRETCH = 200  # known files read at once while one walks: one by one they were a third of looking at an unchanged folder


@dataclass(frozen=True, slots=True)
class Todo:
    """A file to be hashed and, if its content is new, decoded and embedded. `file_id` is its row in the catalog, if it has one."""

    root_id: int
    relative: bytes
    source: FileInRoot
    name: str
    stat: FileStat
    file_id: int | None

    @property
    def path(self) -> str:
        return self.source.path


class Undated(NamedTuple):
    """A content of which is not known yet when it was taken, and a file to ask."""

    content: int
    source: FileInRoot
    stat: FileStat


class KnownFile(NamedTuple):
    """What the catalog knows of a path. A plain tuple: one is made for each file of a folder."""

    file_id: int
    state: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    decoder: str
    reason: str
    name: str
    content: int | None

    def has(self, stat: FileStat) -> bool:
        """Nothing says that the file has changed since."""
        return self[2:6] == (stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode)


class _Stretch(NamedTuple):
    """All known files of a root from one path to another; `last` None: to the end."""

    root_id: int
    first: bytes
    last: bytes | None
    known: dict[bytes, KnownFile]

    def covers(self, root_id: int, path: bytes) -> bool:
        return root_id == self.root_id and self.first <= path and (self.last is None or path <= self.last)


class Gone(NamedTuple):
    """A row whose file is no longer there."""

    file_id: int
    relative: bytes
    state: str


class Worklist:
    """Made empty, inside the caller's transaction; filled by the plan, read by the run."""

    def __init__(
        self, catalog: Catalog, targets: Sequence[Target], *, left_out: Callable[[bytes], bool] = lambda _: False, renew: bool = False
    ) -> None:
        self._catalog = catalog
        self._left_out = left_out  # does a rule of this run pass by this path below a root?
        self._seen: list[int] = []  # not yet in the table
        self._next = _Stretch(-1, b"", b"", {})
        self._disks: Disks | None = None
        self.targets = list(targets)
        self.renews = renew
        # Only in a library of an older version.
        self._dates = catalog.one("SELECT 1 FROM content WHERE captured IS NULL LIMIT 1") is not None
        undated = "content_id INTEGER PRIMARY KEY, root_id, path BLOB, device TEXT, size, mtime_ns, ctime_ns, inode"
        for table, columns in (
            ("todo", "n INTEGER PRIMARY KEY, root_id, path BLOB, name TEXT, device TEXT, size, mtime_ns, ctime_ns, inode, file_id"),
            ("seen", "file_id INTEGER PRIMARY KEY"),
            *([("outdated", "content_id INTEGER PRIMARY KEY, sha256 BLOB UNIQUE")] if renew else []),
            *([("undated", undated)] if self._dates else []),
        ):
            catalog.execute(f"DROP TABLE IF EXISTS temp.{table}")
            catalog.execute(f"CREATE TEMP TABLE {table} ({columns})")
        if renew:
            for format, rules in outdated_rules(catalog):
                sql = "INSERT INTO temp.outdated SELECT id, sha256 FROM content WHERE format = ? AND rules = ?"
                catalog.execute(sql, (format, rules))
        if self._dates:
            catalog.execute("INSERT INTO temp.undated (content_id) SELECT id FROM content WHERE captured IS NULL")
        for target in self.targets:
            target.known = self._present(target.where)
            self._note_disks(target)

    def _present(self, part: tuple[str, tuple[object, ...]]) -> int:
        where, values = part
        return int(self._catalog.value(f"SELECT count(*) FROM files WHERE {_STATE} = '{State.PRESENT}' AND {where}", values))

    def _note_disks(self, target: Target) -> None:
        """Of each disk that begins below the target: the images on it, without those on disks that begin further below."""
        tops = [path for (path,) in self._catalog.rows("SELECT path FROM mounts WHERE root_id = ?", (target.root_id,))]
        for top in sorted((top for top in tops if target.holds(top) and top != target.below), key=len, reverse=True):
            deeper = sum(known for other, known in target.disks.items() if inside(other, top))
            target.disks[top] = self._present(part_of(target.root_id, top)) - deeper

    def has_missing(self, target: Target) -> bool:
        """Is anything missing below the target whose vector is kept?"""
        where, values = target.where
        sql = f"SELECT 1 FROM files WHERE state = '{State.MISSING}' AND content_id IS NOT NULL AND {where}"
        return self._catalog.one(sql, values) is not None

    # --- filling ------------------------------------------------------------------------------------------------------------

    def find(self, target: Target, relative: bytes) -> KnownFile | None:
        """What the catalog knows of this path. The walk goes by name, as the index does: the rows that follow are read along with it."""
        if not self._next.covers(target.root_id, relative):
            self._next = self._following(target.root_id, relative)
        return self._next.known.get(relative)

    def _following(self, root_id: int, relative: bytes) -> _Stretch:
        rows = self._catalog.rows(
            "SELECT path, id, state, size, mtime_ns, ctime_ns, inode, decoder, reason, name, content_id FROM files"
            " WHERE root_id = ? AND path >= ? ORDER BY path LIMIT ?",
            (root_id, relative, _STRETCH),
        )
        last = rows[-1][0] if len(rows) == _STRETCH else None
        return _Stretch(root_id, relative, last, {path: KnownFile(*rest) for path, *rest in rows})

    def see(self, file_id: int) -> None:
        """Its path was found again."""
        self._seen.append(file_id)
        if len(self._seen) >= _PAGE:
            self.flush()

    def flush(self) -> None:
        """Write down what was seen: a thousand at once cost a third of a thousand single ones."""
        self._catalog.execute_many("INSERT OR IGNORE INTO temp.seen VALUES (?)", [(file_id,) for file_id in self._seen])
        self._seen.clear()

    def is_outdated(self, content: int | bytes | None) -> bool:
        """Is this content (its number or its SHA-256) still to be renewed?"""
        if not self.renews or content is None:
            return False
        column = "content_id" if isinstance(content, int) else "sha256"
        return self._catalog.one(f"SELECT 1 FROM temp.outdated WHERE {column} = ?", (content,)) is not None

    def is_renewed(self, sha256: bytes) -> None:
        self._catalog.execute("DELETE FROM temp.outdated WHERE sha256 = ?", (sha256,))

    def ask_when(self, root_id: int, relative: bytes, device: int, stat: FileStat, content: int | None) -> None:
        """This file holds this content; of one whose date is not known it is to be asked."""
        if self._dates and content is not None:
            self._catalog.execute(
                "UPDATE temp.undated SET root_id = ?, path = ?, device = ?, size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?"
                " WHERE content_id = ?",
                (root_id, relative, str(device), stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, content),
            )

    def undated(self) -> int:
        """How many contents there are to ask for their dates."""
        return int(self._catalog.value("SELECT count(*) FROM temp.undated WHERE path IS NOT NULL")) if self._dates else 0

    def rename_class(self, file_id: int, name: str) -> None:
        self._catalog.execute("UPDATE files SET name = ?, generation = ? WHERE id = ?", (name, self._catalog.generation, file_id))

    def add(self, target: Target, relative: bytes, name: str, seen: tuple[int, FileStat], file_id: int | None) -> None:
        """`seen`: device and stat of the file that the walk found."""
        device, stat = seen
        self._catalog.execute(
            "INSERT INTO temp.todo VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (target.root_id, relative, name, str(device), stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, file_id),
        )

    # --- reading ------------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Todo]:
        """The work, in the order of the walk; read in pages, since rows are written meanwhile."""
        roots = {t.root_id: from_bytes(t.root) for t in self.targets}
        last = 0
        while page := self._catalog.rows("SELECT * FROM temp.todo WHERE n > ? ORDER BY n LIMIT ?", (last, _PAGE)):
            for n, root_id, relative, name, device, size, mtime_ns, ctime_ns, inode, file_id in page:
                last = n
                stat = FileStat(size, mtime_ns, ctime_ns, inode)
                source = FileInRoot(roots[root_id], from_bytes(relative), (int(device), stat))
                yield Todo(root_id, relative, source, name, stat, file_id)

    def each_undated(self) -> Iterator[Undated]:
        """In pages as well."""
        roots = {t.root_id: from_bytes(t.root) for t in self.targets}
        last = 0
        sql = "SELECT * FROM temp.undated WHERE content_id > ? AND path IS NOT NULL ORDER BY content_id LIMIT ?"
        while page := self._catalog.rows(sql, (last, _PAGE)):
            for content, root_id, relative, device, *facts in page:
                last, stat = content, FileStat(*facts)
                yield Undated(content, FileInRoot(roots[root_id], from_bytes(relative), (int(device), stat)), stat)

    def known_below(self, target: Target) -> list[Gone]:
        """Every file below the target that was there, skipped or excluded, seen again or not."""
        return self._below(target, "")

    def vanished(self, target: Target) -> list[Gone]:
        """Those that the walk proved to be gone: not seen, and not hidden by an unreadable folder."""
        self.flush()
        unseen = self._below(target, " AND id NOT IN (SELECT file_id FROM temp.seen)")
        return [file for file in unseen if not target.hides(file.relative)]

    def _below(self, target: Target, more: str) -> list[Gone]:
        where, values = target.where
        states = f"'{State.PRESENT}', '{State.SKIPPED}', '{State.EXCLUDED}'"
        sql = f"SELECT id, path, {_STATE} FROM files WHERE {_STATE} IN ({states}) AND {where}{more}"
        return [Gone(*row) for row in self._catalog.rows(sql, values, types=(int, bytes, str))]

    def moved_from(self, content: int) -> int | None:
        """A row with this content whose file is gone: the same image, moved. None: there is none."""
        self.flush()
        for file_id, root_id, root, relative, state in self._catalog.rows(
            f"SELECT f.id, f.root_id, r.path, f.path, f.state FROM {FILES_IN_ROOTS}"
            f" WHERE f.content_id = ? AND f.state IN ('{State.PRESENT}', '{State.MISSING}')"
            " AND f.id NOT IN (SELECT file_id FROM temp.seen)",
            (content,),
            types=(int, int, bytes, bytes, str),
        ):
            if state == State.MISSING or self._is_gone(root_id, relative, whole_path(root, relative)):
                return int(file_id)
        return None

    def _is_gone(self, root_id: int, relative: bytes, path: str) -> bool:
        """Of an image that this walk did not see."""
        if any(t.root_id == root_id and t.holds(relative) and not t.hides(relative) for t in self.targets):
            return not (self._left_out(relative) and _is_file(path))
        return self._proved_gone(path)

    def _proved_gone(self, path: str) -> bool:
        """Of a file that this walk does not come to: in another folder of the library."""
        if self._disks is None:
            self._disks = Disks(self._catalog)
        return self._disks.proved_gone(path)


def _is_file(path: str) -> bool:
    """A file itself; not a link in its place."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
