"""Which folders belong to the library: taking one in, taking paths out, telling it that one has moved. No file is touched.

A folder inside a known root is a part of that root; a known root inside a new folder becomes part of the new one: so a file counts once,
however often it is named. All of it inside the caller's transaction.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..advice import Advice, Setting, Verb
from ..errors import IDS, UsageError
from ..paths import from_bytes, inside, named_place, place_behind, place_of, shown, to_bytes
from .catalog import Catalog, item_number
from .schema import FILES_IN_ROOTS, State

__all__ = ["Target", "adopt", "forget", "forgotten", "need_folder", "relocate"]

_LOOK_AT = 100  # files that are looked for in a folder's new place
_SHOWN = Advice("its folders are shown by: ", Verb("status"))


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

    @property
    def where(self) -> tuple[str, tuple[object, ...]]:
        """SQL and its values: the rows of `files` in the part that is asked for."""
        return part_of(self.root_id, self.below)


def part_of(root_id: int, below: bytes) -> tuple[str, tuple[object, ...]]:
    """SQL and its values: the rows of `files` below a folder of a root; a range, so that the index serves."""
    if not below:
        return "root_id = ?", (root_id,)
    separator = os.sep.encode()
    return "root_id = ? AND path >= ? AND path < ?", (root_id, below + separator, below + bytes([separator[0] + 1]))


def need_folder(folder: str | os.PathLike[str]) -> None:
    """UsageError unless this is a folder."""
    path = os.path.expanduser(os.fspath(folder))
    if not os.path.isdir(path):
        what = "this is a file, not a folder" if os.path.exists(path) else "there is no such folder"
        raise UsageError(what, path=folder, hint="give the folder that holds the images")


def forgotten(catalog: Catalog) -> list[bytes]:
    """Paths that the user took out."""
    return [path for (path,) in catalog.rows("SELECT path FROM forgotten", types=(bytes,))]


# --- taking in --------------------------------------------------------------------------------------------------------------


def adopt(catalog: Catalog, folders: Sequence[str | os.PathLike[str]], name_from: str | None) -> list[Target]:
    """Every folder gets its root.

    Raises UsageError for what is no folder and not known either. A file is taken only if it was forgotten: it may come back, and its
    folder is looked at.
    """
    return _without_overlap(catalog, [_adopt(catalog, folder, name_from) for folder in folders])


def _adopt(catalog: Catalog, folder: str | os.PathLike[str], name_from: str | None) -> Target:
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
            hint = Advice("index that one with ", Setting("name_from", name_from))
            raise UsageError("names are switched for a whole indexed folder", path=from_bytes(root), hint=hint)
        catalog.execute("UPDATE roots SET name_from = ? WHERE id = ?", (name_from, root_id))
    below = b"" if path == root else os.path.relpath(path, root)
    return Target(root_id, root, below, name_from or names)


def _need_not_moved(path: bytes, roots: Sequence[bytes]) -> None:
    """A root that has moved and left a link would be there twice: under its old name through the link, and under the new one."""
    for root in roots:
        now = place_behind(from_bytes(root))
        if now != root and (inside(path, now) or inside(now, path)):
            hint = Advice("tell the library: ", Verb("relocate", (shown(from_bytes(root)), shown(from_bytes(now)))))
            raise UsageError("this indexed folder has moved and left a link", path=from_bytes(root), hint=hint)


def _leave_forgotten(catalog: Catalog, path: bytes, home: bytes | None, roots: Sequence[bytes]) -> None:
    """If a folder above was taken out: one that was indexed by its own name, or never, comes back alone; the others stay out.

    A part of a root does not: it would be missing again at the next look from above.
    """
    for above in forgotten(catalog):
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
    where, values = part_of(root_id, below)
    return below == b"." or catalog.one(f"SELECT 1 FROM files WHERE state != '{State.FORGOTTEN}' AND {where}", values) is not None


def _absorb(catalog: Catalog, inner_id: int, prefix: bytes, root_id: int) -> None:
    catalog.execute(
        "UPDATE files SET root_id = ?, path = CAST(? || path AS BLOB), generation = ? WHERE root_id = ?",
        (root_id, prefix + os.sep.encode(), catalog.generation, inner_id),
    )
    catalog.execute("DELETE FROM roots WHERE id = ?", (inner_id,))


def _without_overlap(catalog: Catalog, targets: list[Target]) -> list[Target]:
    """Folders named together may contain each other, and a root adopted early may have been absorbed since."""
    alive = {number for (number,) in catalog.rows("SELECT id FROM roots")}
    kept: list[Target] = []
    for target in sorted((t for t in targets if t.root_id in alive), key=lambda t: t.folder):
        if not any(inside(target.folder, other.folder) for other in kept):
            kept.append(target)
    return kept


# --- taking out -------------------------------------------------------------------------------------------------------------


def forget(catalog: Catalog, paths: Sequence[str | os.PathLike[str]], generation: int) -> int:
    """Take out files, everything below folders, or items by id; each comes back only when this path itself is indexed.

    Vectors that no other file needs are removed. Returns the number of images that left: 0 if they had left before.
    """
    count = 0
    for place in [_place_in(catalog, os.fspath(path)) for path in paths]:  # all of them looked up before any is taken out
        rows = list(_inside(catalog, place))
        if not rows:
            continue  # it is out already, by an earlier one of these or by another time
        catalog.execute("INSERT OR IGNORE INTO forgotten VALUES (?)", (place,))
        catalog.execute_many(
            f"UPDATE files SET state = '{State.FORGOTTEN}', content_id = NULL, reason = '', decoder = '', generation = ? WHERE id = ?",
            [(generation, file_id) for file_id, _ in rows],
        )
        count += sum(state == State.PRESENT for _, state in rows)
    drop_unused_contents(catalog)
    return count


def drop_unused_contents(catalog: Catalog) -> None:
    """Vectors that no file needs any more."""
    catalog.execute("DELETE FROM content WHERE id NOT IN (SELECT content_id FROM files WHERE content_id IS NOT NULL)")


def _place_in(catalog: Catalog, text: str) -> bytes:
    """The file or folder as it is named, if the library knows that; else what the name, which may be a link, leads to."""
    number = item_number(text)
    if number is not None:
        row = next(iter(catalog.rows(f"SELECT r.path, f.path FROM {FILES_IN_ROOTS} WHERE f.id = ?", (number,), types=(bytes, bytes))), None)
        if row is None:
            raise UsageError(f"there is no image {text} in the library", hint=IDS)
        places: list[bytes] = [os.path.join(row[0], row[1])]
    else:
        places = [named_place(text), place_behind(text)]
    for place in places:
        if any(_inside(catalog, place)):
            return place
    for place in places:
        if any(inside(place, above) for above in forgotten(catalog)):
            return place  # it is out already: the same command can be given again, after a kill above all
    raise UsageError("this is not in the library", path=text, hint=_SHOWN)


def _inside(catalog: Catalog, wanted: bytes) -> Iterator[tuple[int, str]]:
    """(id, state) of this file, or of all that lie in this folder."""
    for file_id, state, root, relative in catalog.rows(
        f"SELECT f.id, f.state, r.path, f.path FROM {FILES_IN_ROOTS} WHERE f.state != '{State.FORGOTTEN}'",
        types=(int, str, bytes, bytes),
    ):
        if inside(os.path.join(root, relative), wanted):
            yield file_id, state


# --- moving -----------------------------------------------------------------------------------------------------------------


def relocate(catalog: Catalog, old: str | os.PathLike[str], new: str | os.PathLike[str], generation: int) -> int:
    """Roots at or below `old` now lie at or below `new`. Returns their number of images.

    Raises UsageError if `old` holds no root, if `new` is no folder or overlaps another root, or if none of the known files is there.
    """
    after = place_of(new)
    roots = catalog.rows("SELECT id, path FROM roots")
    for before in (named_place(old), to_bytes(os.path.abspath(os.path.expanduser(os.fspath(old))))):  # a link on the way may be gone, too
        moved = [(root_id, path) for root_id, path in roots if inside(path, before)]
        if moved:
            break
    else:
        raise UsageError("no indexed folder lies there", path=old, hint=Advice("the folders are shown by: ", Verb("status")))
    if not os.path.isdir(after):
        raise UsageError("there is no such folder", path=new, hint="give the folder's new place")
    moved_ids = {root_id for root_id, _ in moved}
    places = {root_id: _moved(path, before, after) for root_id, path in moved}
    for root_id, path in roots:
        if root_id not in moved_ids and any(inside(path, p) or inside(p, path) for p in places.values()):
            raise UsageError("this folder overlaps another indexed folder", path=new, hint="index it instead: moved files are recognised")
    count = sum(_relocate_root(catalog, root_id, place, generation) for root_id, place in places.items())
    for path in forgotten(catalog):
        if inside(path, before):
            catalog.execute("UPDATE OR REPLACE forgotten SET path = ? WHERE path = ?", (_moved(path, before, after), path))
    return count


def _relocate_root(catalog: Catalog, root_id: int, place: bytes, generation: int) -> int:
    there = f"root_id = ? AND state = '{State.PRESENT}'"
    known = catalog.rows(f"SELECT path, size FROM files WHERE {there} LIMIT ?", (root_id, _LOOK_AT))
    found = sum(_has_size(os.path.join(place, relative), size) for relative, size in known)
    if 2 * found < len(known):
        what = f"only {found} of {len(known)} known images are there" if found else "none of the known images is there"
        raise UsageError(what, path=from_bytes(place), hint="check the folder's new place")
    catalog.execute("UPDATE roots SET path = ?, offline = 0 WHERE id = ?", (place, root_id))
    return catalog.execute(f"UPDATE files SET generation = ? WHERE {there}", (generation, root_id)).rowcount


def _has_size(file: bytes, size: int) -> bool:
    try:
        return os.lstat(file).st_size == size
    except OSError:
        return False


def _moved(path: bytes, before: bytes, after: bytes) -> bytes:
    return after if path == before else os.path.join(after, os.path.relpath(path, before))
