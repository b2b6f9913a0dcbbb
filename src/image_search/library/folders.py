"""Which folders belong to the library: taking one in, taking paths out. No file is touched.

A folder inside a known root is a part of that root; a root below another one stays a root, with rules of its own, and what lies in it is
its own alone: so a file counts once, however often it is named. All of it inside the caller's transaction.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ..advice import Advice, Setting, Verb
from ..errors import IDS, UsageError
from ..paths import from_bytes, inside, named_place, place_behind, place_of, shown
from .catalog import Catalog, item_number
from .moving import clear_look, forgotten, hand_over, join_moved
from .schema import FILES_IN_ROOTS, State, part_of

__all__ = ["Target", "adopt", "drop_unused_contents", "forget", "need_folder"]

_SHOWN = Advice("its folders are shown by: ", Verb("status"))


@dataclass(slots=True)
class Target:
    """One folder to index: the root it belongs to, and the part of it that is asked for."""

    root_id: int
    root: bytes
    below: bytes  # relative to the root; b"" = all of it
    name_from: str
    named: bool = True  # by the user; False: it lies below one that was
    unreadable: list[bytes] = field(default_factory=list)  # folders that could not be listed
    known: int = 0  # present files below, before this run
    disks: dict[bytes, int] = field(default_factory=dict)  # other disks known to begin below -> of `known`, those on this one
    found_disks: set[bytes] = field(default_factory=set)  # other disks that are there now

    @property
    def folder(self) -> bytes:
        return os.path.join(self.root, self.below) if self.below else self.root

    def holds(self, relative: bytes) -> bool:
        """Does this path of the root lie in the part that is asked for?"""
        return not self.below or inside(relative, self.below)

    def disk_of(self, relative: bytes) -> bytes | None:
        """The disk below that holds this path; None: it is on the target's own."""
        return max((top for top in self.disks if inside(relative, top)), key=len, default=None)

    def hides(self, relative: bytes) -> bool:
        """Does this path lie below a folder that could not be read, so that its absence proves nothing?"""
        return any(not top or inside(relative, top) for top in self.unreadable)

    @property
    def where(self) -> tuple[str, tuple[object, ...]]:
        """SQL and its values: the rows of `files` in the part that is asked for."""
        return part_of(self.root_id, self.below)


def need_folder(*folders: str | os.PathLike[str]) -> None:
    """UsageError unless each is a folder."""
    for folder in folders:
        path = os.path.expanduser(os.fspath(folder))
        if not os.path.isdir(path):
            what = "this is a file, not a folder" if os.path.exists(path) else "there is no such folder"
            raise UsageError(what, path=folder, hint="give the folder that holds the images")


# --- taking in --------------------------------------------------------------------------------------------------------------


def adopt(
    catalog: Catalog, folders: Sequence[str | os.PathLike[str]], name_from: str | None, leaves_out: Callable[[bytes], bool]
) -> tuple[list[Target], list[str]]:
    """Every folder gets its root, and the roots that lie below it are looked at with it, each by itself.

    Args:
        leaves_out: would the rules leave out this path below a root? A folder that is named nevertheless becomes a root of its own, which
            no rule of the one above leaves out again.

    Returns:
        the targets, by folder; and a line for each root that was recognised at a new place.

    Raises UsageError for what is no folder and not known either. A file is taken only if it was forgotten: it may come back, and its
    folder is looked at.
    """
    lines: list[str] = []
    named = [_adopt(catalog, folder, name_from, leaves_out, lines) for folder in folders]
    below = [
        Target(number, root, b"", names, named=False)
        for number, root, names in catalog.rows("SELECT id, path, name_from FROM roots")
        if any(inside(root, target.folder) for target in named) and not _is_out(catalog, number, root)
    ]
    kept: list[Target] = []
    for target in sorted([*named, *below], key=lambda t: (t.folder, not t.named)):  # folders named together may contain each other
        if not any(target.root_id == other.root_id and inside(target.folder, other.folder) for other in kept):
            kept.append(target)
    return kept, lines


def _adopt(
    catalog: Catalog, folder: str | os.PathLike[str], name_from: str | None, leaves_out: Callable[[bytes], bool], lines: list[str]
) -> Target:
    path = place_of(folder)
    comes_back = catalog.execute("DELETE FROM forgotten WHERE path = ?", (path,)).rowcount
    if os.path.exists(path) and not os.path.isdir(path):
        if not comes_back:
            need_folder(folder)
        path = os.path.dirname(path)
    roots = catalog.rows("SELECT id, path, name_from FROM roots")
    _need_not_moved(path, [root for _, root, _ in roots])
    home = _home(roots, path)
    _leave_forgotten(catalog, path, home, [root for _, root, _ in roots])
    if home is None or not (os.path.exists(path) or _is_known(catalog, home[0], os.path.relpath(path, home[1]))):
        need_folder(folder)
    if moved := join_moved(catalog, path):
        lines += moved
        home = _home(catalog.rows("SELECT id, path, name_from FROM roots"), path)
    if home is None or (path != home[1] and leaves_out(os.path.relpath(path, home[1]))):
        home = _new_root(catalog, path, name_from, home)
    root_id, root, names = home
    if name_from is not None and name_from != names:
        if path != root:
            hint = Advice("index that one with ", Setting("name_from", name_from))
            raise UsageError("names are switched for a whole indexed folder", path=from_bytes(root), hint=hint)
        catalog.execute("UPDATE roots SET name_from = ? WHERE id = ?", (name_from, root_id))
    below = b"" if path == root else os.path.relpath(path, root)
    return Target(root_id, root, below, name_from or names)


_Root = tuple[int, bytes, str]


def _home(roots: Sequence[_Root], path: bytes) -> _Root | None:
    """The innermost root in which this lies."""
    return max((root for root in roots if inside(path, root[1])), key=lambda root: len(root[1]), default=None)


def _new_root(catalog: Catalog, path: bytes, name_from: str | None, above: _Root | None) -> _Root:
    """With what the root above it, if there is one, knows of it."""
    names = name_from or (above[2] if above is not None else "folder")
    number = catalog.execute("INSERT INTO roots (path, name_from) VALUES (?, ?)", (path, names)).lastrowid
    assert number is not None
    if above is not None:
        hand_over(catalog, above[0], os.path.relpath(path, above[1]), number, catalog.generation)
    return number, path, names


def _need_not_moved(path: bytes, roots: Sequence[bytes]) -> None:
    """A root that has moved and left a link would be there twice: under its old name through the link, and under the new one."""
    for root in roots:
        now = place_behind(from_bytes(root))
        if now != root and (inside(path, now) or inside(now, path)):
            hint = Advice("tell the library: ", Verb("relocate", (shown(from_bytes(root)), shown(from_bytes(now)))))
            raise UsageError("this indexed folder has moved and left a link", path=from_bytes(root), hint=hint)


def _leave_forgotten(catalog: Catalog, path: bytes, home: _Root | None, roots: Sequence[bytes]) -> None:
    """If a folder above was taken out: one that was indexed by its own name, or never, comes back alone; the others stay out.

    A part of a root does not: it would be missing again at the next look from above.
    """
    for above in forgotten(catalog):
        if not inside(path, above):
            continue
        if home is not None and path != home[1]:
            if not inside(above, home[1]) and not _is_out(catalog, home[0], home[1]):
                continue
            out = above if inside(above, home[1]) else home[1]
            hint = f"index that one: {shown(from_bytes(out))}"
            raise UsageError("this lies in a folder that was taken out of the library", path=from_bytes(path), hint=hint)
        if any(inside(above, root) and above != root for root in roots):
            continue  # what lies there of the root above it stays out
        catalog.execute("DELETE FROM forgotten WHERE path = ?", (above,))
        others = [root for root in roots if inside(root, above) and not inside(root, path)]
        catalog.execute_many("INSERT OR IGNORE INTO forgotten VALUES (?)", [(root,) for root in others])


def _is_out(catalog: Catalog, root_id: int, root: bytes) -> bool:
    """Was this root taken out? One in a folder that was, and that came back by its own name since, has files again."""
    if not any(inside(root, path) for path in forgotten(catalog)):
        return False
    return catalog.one(f"SELECT 1 FROM files WHERE root_id = ? AND state != '{State.FORGOTTEN}'", (root_id,)) is None


def _is_known(catalog: Catalog, root_id: int, below: bytes) -> bool:
    where, values = part_of(root_id, below)
    return below == b"." or catalog.one(f"SELECT 1 FROM files WHERE state != '{State.FORGOTTEN}' AND {where}", values) is not None


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
        for root_id, root in catalog.rows("SELECT id, path FROM roots"):
            if inside(root, place):
                clear_look(catalog, root_id, b"")
            elif inside(place, root):
                clear_look(catalog, root_id, os.path.relpath(place, root))
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
