"""A folder that has moved: told by the user, or recognised when its new place is indexed. Its images keep their vectors and ids.

Whatever is known of the new place already becomes one with what is known of the old one: no file is there twice. All of it inside the
caller's transaction; files are only read, and only to recognise them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from ..advice import Advice, Verb
from ..config import MOVED_HASHED_BYTES, MOVED_HASHED_FILES, MOVED_LOOKED_FOR
from ..errors import UsageError
from ..paths import from_bytes, inside, named_place, place_of, shown, to_bytes
from .catalog import Catalog
from .disks import Disks
from .schema import State, part_of

__all__ = ["clear_look", "drop_emptied", "forgotten", "hand_over", "join_moved", "relocate"]

_FACTS = "name, state, content_id, size, mtime_ns, ctime_ns, inode, reason, decoder"


class _Known(NamedTuple):
    """A file as the catalog knows it."""

    path: bytes
    size: int
    mtime_ns: int
    inode: int
    sha256: bytes


def forgotten(catalog: Catalog) -> list[bytes]:
    """Paths that the user took out."""
    return [path for (path,) in catalog.rows("SELECT path FROM forgotten", types=(bytes,))]


# --- told -------------------------------------------------------------------------------------------------------------------


def relocate(catalog: Catalog, old: str | os.PathLike[str], new: str | os.PathLike[str], generation: int) -> int:
    """Roots at or below `old` now lie at or below `new`, which may have been indexed already. Returns their number of images.

    Raises UsageError if `old` holds no root, if `new` is no folder, or if not even half of the known files are there.
    """
    after = place_of(new)
    roots = catalog.rows("SELECT id, path FROM roots")
    for before in (named_place(old), to_bytes(os.path.abspath(os.path.expanduser(os.fspath(old))))):  # a link on the way may be gone, too
        moved = [(root_id, path) for root_id, path in roots if inside(path, before)]
        if moved:
            break
    else:
        told = Advice("the folders are shown by: ", Verb("status"))
        if any(path == after for _, path in roots):
            told = Advice("the new one is indexed: if this was done before, there is nothing left to do; ", told)
        raise UsageError("no indexed folder lies there", path=old, hint=told)
    if not os.path.isdir(after):
        raise UsageError("there is no such folder", path=new, hint="give the folder's new place")
    places = {root_id: _moved(path, before, after) for root_id, path in moved}
    for root_id, place in places.items():
        _need_half(catalog, root_id, place)
    count = sum(_settle(catalog, root_id, path, places[root_id], generation) for root_id, path in moved)
    _keep_out(catalog, before, after, generation)
    return count


def _need_half(catalog: Catalog, root_id: int, place: bytes) -> None:
    known = _sample(catalog, root_id)
    found = sum(_looks_same(os.path.join(place, file.path), file) for file in known)
    if 2 * found < len(known):
        what = f"only {found} of {len(known)} known images are there" if found else "none of the known images is there"
        raise UsageError(what, path=from_bytes(place), hint="check the folder's new place")


# --- recognised -------------------------------------------------------------------------------------------------------------


def join_moved(catalog: Catalog, folder: bytes) -> list[str]:
    """Roots that are gone from where they were, and whose pictures now lie at or below `folder`, move there.

    A root counts as gone only if the disk is there on which it was: an unplugged disk may hold copies of the same pictures, and these are
    two. Known from the last look; or the very same files (size, time, inode) are here.

    Returns:
        a line for each.
    """
    lines: list[str] = []
    if not os.path.isdir(folder):
        return lines
    disks: Disks | None = None
    for root_id, root in catalog.rows("SELECT id, path FROM roots ORDER BY id"):
        if inside(root, folder) or inside(folder, root):
            continue
        some = catalog.rows(f"SELECT path FROM files WHERE root_id = ? AND state = '{State.PRESENT}' LIMIT 3", (root_id,))
        if not some or any(os.path.lexists(os.path.join(root, path)) for (path,) in some):
            continue  # nearly always: a root that is where it was costs no more
        known = _sample(catalog, root_id)
        if any(os.path.lexists(os.path.join(root, file.path)) for file in known):
            continue
        place = next((place for place in _places(folder, root) if _holds(place, known)), None)
        if place is None:
            continue
        disks = disks or Disks(catalog)
        if _very_same(place, known) or all(disks.proved_gone(from_bytes(os.path.join(root, file.path))) for file in known):
            count = _settle(catalog, root_id, root, place, catalog.generation)
            lines.append(
                f"{shown(from_bytes(root))} has moved to {shown(from_bytes(place))}: its {count:,} images keep their vectors and ids"
            )
        elif catalog.one("SELECT 1 FROM roots WHERE path = ?", (place,)) is None:  # told once
            lines.append(_also_there(root, place))
    return lines


def _also_there(root: bytes, place: bytes) -> str:
    old, new = shown(from_bytes(root)), shown(from_bytes(place))
    return Advice(
        f"the same images are known from {old}, which cannot be reached now, so both will be found. If it has moved to {new}: ",
        Verb("relocate", (old, new)),
    )


def _places(folder: bytes, root: bytes) -> list[bytes]:
    """Where a root may lie now: in the folder's place, or below it by its own last names ("2024", "photos/2024")."""
    parts = root.strip(os.sep.encode()).split(os.sep.encode())
    return [folder, *(os.path.join(folder, *parts[-n:]) for n in range(1, min(3, len(parts)) + 1))]


def _holds(place: bytes, known: Sequence[_Known]) -> bool:
    """Do more than half of these files lie there by their names and sizes, and is what was tried of them the same to the last byte?"""
    there = [file for file in known if _looks_same(os.path.join(place, file.path), file)]
    if 2 * len(there) <= len(known):
        return False
    small = sorted(there, key=lambda file: file.size)[:MOVED_HASHED_FILES]
    tried = [file for n, file in enumerate(small) if not n or sum(f.size for f in small[: n + 1]) <= MOVED_HASHED_BYTES]
    return all(_hash(os.path.join(place, file.path)) == file.sha256 for file in tried)


def _very_same(place: bytes, known: Sequence[_Known]) -> bool:
    """Are these the same files, moved within their disk? A copy has another inode."""
    same = total = 0
    for file in known:
        try:
            found = os.lstat(os.path.join(place, file.path))
        except OSError:
            continue
        total += 1
        same += (found.st_size, found.st_mtime_ns, found.st_ino) == (file.size, file.mtime_ns, file.inode)
    return bool(total) and same == total


def _sample(catalog: Catalog, root_id: int) -> list[_Known]:
    """Up to MOVED_LOOKED_FOR images of a root, from all over it."""
    rows = f"FROM files AS f WHERE f.root_id = ? AND f.state = '{State.PRESENT}'"
    step = max(1, int(catalog.value(f"SELECT count(*) {rows}", (root_id,))) // MOVED_LOOKED_FOR)
    sql = (
        "SELECT path, size, mtime_ns, inode, sha256 FROM (SELECT f.path, f.size, f.mtime_ns, f.inode, f.content_id,"
        f" row_number() OVER (ORDER BY f.path) AS n {rows}) JOIN content AS c ON c.id = content_id WHERE n % ? = 0 LIMIT ?"
    )
    return [_Known(*row) for row in catalog.rows(sql, (root_id, step, MOVED_LOOKED_FOR))]


def _looks_same(path: bytes, file: _Known) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == file.size


def _hash(path: bytes) -> bytes | None:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest() if stat.S_ISREG(os.fstat(handle).st_mode) else None
    except OSError:
        return None


def drop_emptied(catalog: Catalog) -> None:
    """Roots below others whose folder is gone and of whose files nothing is left, since all of them moved elsewhere one by one."""
    roots = catalog.rows("SELECT id, path FROM roots")
    for root_id, path in roots:
        above = max(
            ((root, number) for number, root in roots if root != path and inside(path, root)), key=lambda row: len(row[0]), default=None
        )
        held = f"root_id = ? AND (content_id IS NOT NULL OR state IN ('{State.PRESENT}', '{State.SKIPPED}'))"
        if above is None or os.path.lexists(path) or catalog.one(f"SELECT 1 FROM files WHERE {held}", (root_id,)):
            continue
        _bury_rest(catalog, root_id, above[1], catalog.generation)
        for table in ("mounts", "passed", "unusable"):
            catalog.execute(f"DELETE FROM {table} WHERE root_id = ?", (root_id,))
        catalog.execute("DELETE FROM roots WHERE id = ?", (root_id,))


# --- in the catalog ---------------------------------------------------------------------------------------------------------


def _settle(catalog: Catalog, root_id: int, before: bytes, place: bytes, generation: int) -> int:
    """This root now lies at `place`, and becomes one with what is known of that. Returns its number of images."""
    roots = [(number, path) for number, path in catalog.rows("SELECT id, path FROM roots") if number != root_id]
    for table in ("mounts", "passed", "unusable"):  # of the old place; the next look finds them
        catalog.execute(f"DELETE FROM {table} WHERE root_id = ?", (root_id,))
    same = next((number for number, path in roots if path == place), None)
    if same is not None:
        hand_over(catalog, root_id, b"", same, generation)
        _bury_rest(catalog, root_id, same, generation)
        catalog.execute("DELETE FROM roots WHERE id = ?", (root_id,))
        root_id = same
    else:
        catalog.execute("UPDATE roots SET path = ?, offline = 0, mount = x'' WHERE id = ?", (place, root_id))
        above = max(((path, number) for number, path in roots if inside(place, path)), key=lambda row: len(row[0]), default=None)
        if above is not None:
            hand_over(catalog, above[1], os.path.relpath(place, above[0]), root_id, generation)
    for number, path in roots:
        if path != place and inside(path, place):
            hand_over(catalog, root_id, os.path.relpath(path, place), number, generation)
    _keep_out(catalog, before, place, generation)
    there = f"root_id = ? AND state = '{State.PRESENT}'"
    return catalog.execute(f"UPDATE files SET generation = ? WHERE {there}", (generation, root_id)).rowcount


def _keep_out(catalog: Catalog, before: bytes, place: bytes, generation: int) -> None:
    """What the user took out stays out at the new place, also if it was taken in there meanwhile."""
    for path in forgotten(catalog):
        if not inside(path, before):
            continue
        now = _moved(path, before, place)
        catalog.execute("UPDATE OR REPLACE forgotten SET path = ? WHERE path = ?", (now, path))
        for number, root in catalog.rows("SELECT id, path FROM roots"):
            if inside(now, root):
                below = b"" if now == root else os.path.relpath(now, root)
                where, values = part_of(number, below)
                catalog.execute(
                    f"UPDATE files SET state = '{State.FORGOTTEN}', content_id = NULL, reason = '', decoder = '', generation = ?"
                    f" WHERE state != '{State.FORGOTTEN}' AND ({where} OR (root_id = ? AND path = ?))",
                    (generation, *values, number, below),
                )


def hand_over(catalog: Catalog, from_id: int, below: bytes, to_id: int, generation: int) -> None:
    """The files of one root below this folder (b"": all of them) become files of another root, which begins there.

    Where both know a file, the older number stays, with the facts of the one that was seen. What the last look said of that part is no
    longer told of the first root: the next look tells it of the other one.
    """
    clear_look(catalog, from_id, below)
    where, values = part_of(from_id, below)
    skip = len(below) + 1 if below else 0
    for number, path, state in catalog.rows(f"SELECT id, path, state FROM files WHERE {where}", values):
        relative = path[skip:]
        other = catalog.one("SELECT id, state FROM files WHERE root_id = ? AND path = ?", (to_id, relative))
        if other is None:
            catalog.execute("UPDATE files SET root_id = ?, path = ?, generation = ? WHERE id = ?", (to_id, relative, generation, number))
            continue
        other_number, other_state = other
        best = min(((_WORTH[State(other_state)], other_number), (_WORTH[State(state)], number)))[1]
        facts = catalog.rows(f"SELECT {_FACTS} FROM files WHERE id = ?", (best,))[0]
        stays, goes = sorted((number, other_number))
        _bury(catalog, goes, to_id, generation)
        catalog.execute(
            "UPDATE files SET name = ?, state = ?, content_id = ?, size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?, reason = ?,"
            " decoder = ?, root_id = ?, path = ?, generation = ? WHERE id = ?",
            (*facts, to_id, relative, generation, stays),
        )


def clear_look(catalog: Catalog, root_id: int, below: bytes) -> None:
    """What the last look at this part of a root passed by or could not use is no longer told."""
    where, values = part_of(root_id, below)
    for table in ("passed", "unusable"):
        catalog.execute(f"DELETE FROM {table} WHERE ({where}) OR (root_id = ? AND path = ?)", (*values, root_id, below))


# Of two rows of one file; what the user took out stays out.
_WORTH = {State.FORGOTTEN: 0, State.PRESENT: 1, State.SKIPPED: 2, State.EXCLUDED: 3, State.MISSING: 4}


def _bury(catalog: Catalog, number: int, root_id: int, generation: int) -> None:
    """An empty row keeps its number from being used again and tells a store of it; no file bears a name with a zero in it."""
    catalog.execute(
        f"UPDATE files SET state = '{State.FORGOTTEN}', content_id = NULL, reason = '', decoder = '', root_id = ?,"
        " path = CAST(path || x'00' || id AS BLOB), generation = ? WHERE id = ?",
        (root_id, generation, number),
    )


def _bury_rest(catalog: Catalog, root_id: int, into: int, generation: int) -> None:
    for (number,) in catalog.rows("SELECT id FROM files WHERE root_id = ?", (root_id,)):
        _bury(catalog, number, into, generation)


def _moved(path: bytes, before: bytes, after: bytes) -> bytes:
    return after if path == before else os.path.join(after, os.path.relpath(path, before))
