"""What an index run has to do: compares the folders with the catalog, before anything is decoded.

The plan lives in temporary tables of the catalog's connection, so that a million files cost no memory:

    plan.todo   files that are new, changed or to be verified
    plan.seen   rows of `files` whose path was found again
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import HINTS as _HINTS
from ..errors import ImageSearchError, SkipReason, UsageError
from ..images.scan import Excluder, ImageFile, NotIndexed, scan
from ..library.catalog import Catalog
from ..paths import from_bytes, real_path, shown, to_bytes, uri_of
from ..types import FileStat, Skipped

__all__ = [
    "Plan",
    "Target",
    "Todo",
    "adopt_roots",
    "class_of",
    "inside",
    "make_plan",
    "named_place",
    "need_folder",
    "need_images",
    "place_behind",
    "place_of",
    "restricted",
    "skipped",
    "todo",
]


@dataclass(slots=True)
class Target:
    """One folder to index: the root it belongs to, and the part of it that is asked for."""

    root_id: int
    root: bytes
    below: bytes  # relative to the root; b"" = all of it
    name_from: str
    unreadable: list[bytes] = field(default_factory=list)  # folders that could not be listed
    known: int = 0  # present files below, before this run

    @property
    def folder(self) -> bytes:
        return os.path.join(self.root, self.below) if self.below else self.root

    def holds(self, relative: bytes) -> bool:
        """Does this path of the root lie in the part that is asked for?"""
        return not self.below or inside(relative, self.below)

    def hides(self, relative: bytes) -> bool:
        """Does this path lie below a folder that could not be read, so that its absence proves nothing?"""
        return any(not top or inside(relative, top) for top in self.unreadable)


@dataclass(frozen=True, slots=True)
class Todo:
    """A file to be hashed and, if its content is new, decoded and embedded. `file_id` is its row in the catalog, if it has one."""

    root_id: int
    relative: bytes
    path: str
    name: str
    stat: FileStat
    file_id: int | None


@dataclass(slots=True)
class Plan:
    targets: list[Target]
    todo: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)


def skipped(path: str, reason: SkipReason | str) -> Skipped:
    known = SkipReason(reason)
    return Skipped(shown(path), known.value, _HINTS[known])


def class_of(target_name_from: str, root: bytes, relative: bytes) -> str:
    """The image's class: the folder it lies in (for files at the top, the root's own name), or "" if names were switched off.

    Valid Unicode: a class is text, in the catalog and in every store; bytes that are none are percent-encoded, as in a uri.
    """
    if target_name_from == "none":
        return ""
    folder = os.path.dirname(relative) or root
    return uri_of(from_bytes(os.path.basename(folder)))


def named_place(path: str | os.PathLike[str]) -> bytes:
    """The path as the catalog keeps it: the folders on the way may be links, the last name is meant as it is."""
    whole = _named(path)
    folder, name = os.path.split(whole)  # not normalised: ".." after a link is the system's
    if not name:  # "folder/"; of "/" nothing is left to take off
        folder, name = os.path.split(folder)
    return to_bytes(real_path(whole) if name in ("", ".", "..") else os.path.join(real_path(folder), name))


def place_behind(path: str | os.PathLike[str]) -> bytes:
    """What the name leads to, if it is a link."""
    return to_bytes(real_path(_named(path)))


def place_of(path: str | os.PathLike[str]) -> bytes:
    """As the catalog keeps it; but a folder that is named by a link is the folder behind it."""
    return named_place(path) if os.path.isfile(_named(path)) else place_behind(path)


def _named(path: str | os.PathLike[str]) -> str:
    """Raises UsageError for an empty name, as of a variable that is not set: to the system it would be the current folder."""
    if whole := os.path.expanduser(os.fspath(path)):
        return whole
    raise UsageError("an empty name is no file and no folder", hint="for the current folder give .")


def need_folder(folder: str | os.PathLike[str]) -> None:
    """UsageError unless this is a folder."""
    path = os.path.expanduser(os.fspath(folder))
    if not os.path.isdir(path):
        what = "this is a file, not a folder" if os.path.exists(path) else "there is no such folder"
        raise UsageError(what, path=folder, hint="give the folder that holds the images")


def adopt_roots(catalog: Catalog, folders: Sequence[str | os.PathLike[str]], name_from: str | None) -> list[Target]:
    """Every folder gets its root; inside the caller's transaction.

    A folder inside a known root is a part of that root; a known root inside a new folder becomes part of the new one: so a file
    counts once, however often it is named. Raises UsageError for what is no folder and not known either. A file is taken only if it
    was forgotten: it may come back, and its folder is looked at.
    """
    targets: list[Target] = []
    for folder in folders:
        path = place_of(folder)
        roots = catalog.rows("SELECT id, path, name_from FROM roots")
        comes_back = catalog.execute("DELETE FROM forgotten WHERE path = ?", (path,)).rowcount
        if os.path.exists(path) and not os.path.isdir(path):
            if not comes_back:
                need_folder(folder)
            path = os.path.dirname(path)
        _need_not_moved(path, [root for _, root, _ in roots])
        home = next(((i, root, names) for i, root, names in roots if inside(path, root)), None)
        _leave_forgotten(catalog, path, None if home is None else home[1], [root for _, root, _ in roots])
        if home is None or not (os.path.exists(path) or _is_known(catalog, home[0], os.path.relpath(path, home[1]))):
            need_folder(folder)
        if home is None:
            names = name_from or "folder"
            root_id = catalog.execute("INSERT INTO roots (path, name_from) VALUES (?, ?)", (path, names)).lastrowid
            assert root_id is not None
            for inner_id, inner, _ in roots:
                if inside(inner, path):
                    _absorb(catalog, inner_id, os.path.relpath(inner, path), root_id)
            home = (root_id, path, names)
        root_id, root, names = home
        if name_from is not None and name_from != names:
            if path != root:
                raise UsageError(
                    "names are switched for a whole indexed folder",
                    path=from_bytes(root),
                    hint=f"index that one with --name-from {name_from}",
                )
            catalog.execute("UPDATE roots SET name_from = ? WHERE id = ?", (name_from, root_id))
        below = b"" if path == root else os.path.relpath(path, root)
        targets.append(Target(root_id, root, below, name_from or names))
    return _without_overlap(catalog, targets)


def _need_not_moved(path: bytes, roots: Sequence[bytes]) -> None:
    """A root that has moved and left a link would be there twice: under its old name through the link, and under the new one."""
    for root in roots:
        now = place_behind(from_bytes(root))
        if now != root and (inside(path, now) or inside(now, path)):
            hint = f"image-search relocate {shown(from_bytes(root))} {shown(from_bytes(now))}"
            raise UsageError("this indexed folder has moved and left a link", path=from_bytes(root), hint=hint)


def _leave_forgotten(catalog: Catalog, path: bytes, home: bytes | None, roots: Sequence[bytes]) -> None:
    """If a folder above was taken out: one that was indexed by its own name, or never, comes back alone; the others stay out.

    A part of a root does not: it would be missing again at the next look from above.
    """
    for (above,) in catalog.rows("SELECT path FROM forgotten"):
        if not inside(path, above):
            continue
        if home is not None and path != home:
            out = above if inside(above, home) else home
            hint = f"index that one: {shown(from_bytes(out))}"
            raise UsageError("this lies in a folder that was taken out of the library", path=from_bytes(path), hint=hint)
        catalog.execute("DELETE FROM forgotten WHERE path = ?", (above,))
        others = [root for root in roots if inside(root, above) and not inside(root, path)]
        catalog.execute_many("INSERT OR IGNORE INTO forgotten VALUES (?)", [(root,) for root in others])


def _is_known(catalog: Catalog, root_id: int, below: bytes) -> bool:
    return below == b"." or catalog.one(*restricted("SELECT 1 FROM files WHERE state != 'forgotten'", root_id, below)) is not None


def inside(path: bytes, root: bytes) -> bool:
    """Is this the folder itself, or something below it?"""
    return path == root or path.startswith(root.rstrip(os.sep.encode()) + os.sep.encode())


def _absorb(catalog: Catalog, inner_id: int, prefix: bytes, root_id: int) -> None:
    generation = catalog.generation
    separator = os.sep.encode()
    catalog.execute(
        "UPDATE files SET root_id = ?, path = CAST(? || path AS BLOB), generation = ? WHERE root_id = ?",
        (root_id, prefix + separator, generation, inner_id),
    )
    catalog.execute("DELETE FROM roots WHERE id = ?", (inner_id,))


def _without_overlap(catalog: Catalog, targets: list[Target]) -> list[Target]:
    """Folders named together may contain each other, and a root adopted early may have been absorbed since."""
    alive = {row[0] for row in catalog.rows("SELECT id FROM roots")}
    kept: list[Target] = []
    for target in sorted((t for t in targets if t.root_id in alive), key=lambda t: t.folder):
        if not any(inside(target.folder, other.folder) for other in kept):
            kept.append(target)
    return kept


def make_plan(catalog: Catalog, targets: list[Target], *, excluder: Excluder, decoder: str, verify: bool, never: Sequence[str]) -> Plan:
    """Walk every target and fill `plan.todo` and `plan.seen`.

    Args:
        decoder: version and limits of the decoder: a file that it could not read is not tried again by the same one.
        verify: hash every file, whatever its stat says.
        never: paths that are passed by in silence.

    A target whose folder cannot be listed at all keeps its images; `unreadable` says so.
    """
    for table, columns in (
        ("todo", "n INTEGER PRIMARY KEY, root_id, path BLOB, name TEXT, size, mtime_ns, ctime_ns, inode, file_id"),
        ("seen", "file_id INTEGER PRIMARY KEY"),
    ):
        catalog.execute(f"DROP TABLE IF EXISTS temp.{table}")
        catalog.execute(f"CREATE TEMP TABLE {table} ({columns})")
    plan = Plan(targets)
    forgotten = [from_bytes(row[0]) for row in catalog.rows("SELECT path FROM forgotten")]
    avoid = {*never, *forgotten}
    for target in targets:
        target.known = catalog.rows(*restricted("SELECT count(*) FROM files WHERE state = 'present'", target.root_id, target.below))[0][0]
        for found in scan(from_bytes(target.root), below=target.below, excluder=excluder, never=avoid):
            if isinstance(found, NotIndexed):
                if found.folder:
                    target.unreadable.append(found.relative)
                if not (found.folder and found.relative == target.below):
                    plan.skipped.append(skipped(found.path, found.reason))
            else:
                _compare(catalog, plan, target, found, decoder, verify)
    return plan


def _compare(catalog: Catalog, plan: Plan, target: Target, file: ImageFile, decoder: str, verify: bool) -> None:
    name = class_of(target.name_from, target.root, file.relative)
    row = catalog.one(
        "SELECT id, state, size, mtime_ns, ctime_ns, inode, decoder, reason, name FROM files WHERE root_id = ? AND path = ?",
        (target.root_id, file.relative),
    )
    stat = file.stat
    file_id = None
    if row is not None:
        file_id, state, *known, by_decoder, reason, known_name = row
        catalog.execute("INSERT OR IGNORE INTO temp.seen VALUES (?)", (file_id,))
        same = known == [stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode] and not verify
        if same and known_name != name:
            catalog.execute("UPDATE files SET name = ?, generation = ? WHERE id = ?", (name, catalog.generation, file_id))
        if same and state == "present":
            plan.unchanged += 1
            return
        if same and state == "skipped" and by_decoder == decoder:
            plan.skipped.append(skipped(file.path, reason))
            return
    catalog.execute(
        "INSERT INTO temp.todo VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
        (target.root_id, file.relative, name, stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, file_id),
    )
    plan.todo += 1


def todo(catalog: Catalog, targets: Sequence[Target]) -> Iterator[Todo]:
    """The work, in the order of the walk; read in pages, since rows are written meanwhile."""
    roots = {t.root_id: t.root for t in targets}
    last = 0
    while True:
        page = catalog.rows("SELECT * FROM temp.todo WHERE n > ? ORDER BY n LIMIT 1000", (last,))
        if not page:
            return
        for n, root_id, relative, name, size, mtime_ns, ctime_ns, inode, file_id in page:
            last = n
            path = from_bytes(os.path.join(roots[root_id], relative))
            yield Todo(root_id, relative, path, name, FileStat(size, mtime_ns, ctime_ns, inode), file_id)


def vanished(catalog: Catalog, target: Target) -> Iterator[tuple[int, bytes, str]]:
    """Rows (id, path, state) below the target that the walk proved to be gone: not seen, and not hidden by an unreadable folder."""
    sql, values = restricted(
        "SELECT id, path, state FROM files WHERE state IN ('present', 'skipped') AND id NOT IN (SELECT file_id FROM temp.seen)",
        target.root_id,
        target.below,
    )
    for file_id, relative, state in catalog.rows(sql, values):
        if not target.hides(relative):
            yield file_id, relative, state


def restricted(sql: str, root_id: int, below: bytes) -> tuple[str, tuple[object, ...]]:
    """Restrict a statement on `files` to a part of its root; a range, so that the index serves."""
    if not below:
        return f"{sql} AND root_id = ?", (root_id,)
    separator = os.sep.encode()
    return f"{sql} AND root_id = ? AND path >= ? AND path < ?", (root_id, below + separator, below + bytes([separator[0] + 1]))


def need_images(plan: Plan, catalog: Catalog) -> None:
    """An empty folder is a mistake of the caller, unless the library knew images there; missing ones whose vectors it keeps count."""
    sql = "SELECT 1 FROM files WHERE state = 'missing' AND content_id IS NOT NULL"
    known = [bool(t.known or catalog.one(*restricted(sql, t.root_id, t.below))) for t in plan.targets]
    for target, is_known in zip(plan.targets, known, strict=True):
        if target.unreadable == [target.below] and not is_known:
            raise ImageSearchError("this folder cannot be read", path=from_bytes(target.folder), hint="check its permissions")
    if plan.todo or plan.unchanged or plan.skipped or any(known):
        return
    folder = Path(from_bytes(plan.targets[0].folder))
    raise ImageSearchError("there are no images in this folder", path=folder, hint="give a folder with JPEG, PNG, WebP, HEIC, ... files")
