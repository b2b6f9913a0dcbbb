"""Taking paths out of the library and telling it that a folder has moved; inside the caller's transaction. No file is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ..errors import UsageError
from ..index.plan import inside, named_place, place_behind, place_of
from ..paths import from_bytes, to_bytes
from .catalog import Catalog, item_number

__all__ = ["forget", "relocate"]

_LOOK_AT = 100  # files that are looked for in a folder's new place


def forget(catalog: Catalog, paths: Sequence[str | os.PathLike[str]], generation: int) -> int:
    """Take out files, everything below folders, or items by id; each comes back only when this path itself is indexed.

    Vectors that no other file needs are removed. Returns the number of images that left.
    """
    count = 0
    for place in [_place_in(catalog, os.fspath(path)) for path in paths]:  # all of them looked up before any is taken out
        rows = list(_inside(catalog, place))
        if not rows:
            continue  # an earlier one of these took it out
        catalog.execute("INSERT OR IGNORE INTO forgotten VALUES (?)", (place,))
        catalog.execute_many(
            "UPDATE files SET state = 'forgotten', content_id = NULL, reason = '', decoder = '', generation = ? WHERE id = ?",
            [(generation, file_id) for file_id, _ in rows],
        )
        count += sum(state == "present" for _, state in rows)
    catalog.execute("DELETE FROM content WHERE id NOT IN (SELECT content_id FROM files WHERE content_id IS NOT NULL)")
    return count


def _place_in(catalog: Catalog, text: str) -> bytes:
    """The file or folder as it is named, if the library knows that; else what the name, which may be a link, leads to."""
    number = item_number(text)
    if number is not None:
        row = catalog.one("SELECT r.path, f.path FROM files AS f JOIN roots AS r ON r.id = f.root_id WHERE f.id = ?", (number,))
        if row is None:
            raise UsageError(f"there is no image {text} in the library", hint="ids are shown by: image-search search --json")
        places: list[bytes] = [os.path.join(row[0], row[1])]
    else:
        places = [named_place(text), place_behind(text)]
    for place in places:
        if any(_inside(catalog, place)):
            return place
    raise UsageError("this is not in the library", path=text, hint="its folders are shown by: image-search status")


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
        raise UsageError("no indexed folder lies there", path=old, hint="the folders are shown by: image-search status")
    if not os.path.isdir(after):
        raise UsageError("there is no such folder", path=new, hint="give the folder's new place")
    moved_ids = {root_id for root_id, _ in moved}
    places = {root_id: _moved(path, before, after) for root_id, path in moved}
    for root_id, path in roots:
        if root_id not in moved_ids and any(inside(path, p) or inside(p, path) for p in places.values()):
            raise UsageError("this folder overlaps another indexed folder", path=new, hint="index it instead: moved files are recognised")
    count = 0
    for root_id, place in places.items():
        known = catalog.rows("SELECT path, size FROM files WHERE root_id = ? AND state = 'present' LIMIT ?", (root_id, _LOOK_AT))
        there = sum(_has_size(os.path.join(place, relative), size) for relative, size in known)
        if 2 * there < len(known):
            found = f"only {there} of {len(known)} known images are there" if there else "none of the known images is there"
            raise UsageError(found, path=from_bytes(place), hint="check the folder's new place")
        catalog.execute("UPDATE roots SET path = ?, offline = 0 WHERE id = ?", (place, root_id))
        count += catalog.execute("UPDATE files SET generation = ? WHERE root_id = ? AND state = 'present'", (generation, root_id)).rowcount
    for (path,) in catalog.rows("SELECT path FROM forgotten"):
        if inside(path, before):
            catalog.execute("UPDATE OR REPLACE forgotten SET path = ? WHERE path = ?", (_moved(path, before, after), path))
    return count


def _has_size(file: bytes, size: int) -> bool:
    try:
        return os.lstat(file).st_size == size
    except OSError:
        return False


def _moved(path: bytes, before: bytes, after: bytes) -> bytes:
    return after if path == before else os.path.join(after, os.path.relpath(path, before))


def _inside(catalog: Catalog, wanted: bytes) -> Iterator[tuple[int, str]]:
    """(id, state) of this file, or of all that lie in this folder."""
    return ((file_id, state) for file_id, state, whole in _files(catalog) if inside(whole, wanted))


def _files(catalog: Catalog) -> Iterator[tuple[int, str, bytes]]:
    for file_id, state, root, relative in catalog.rows(
        "SELECT f.id, f.state, r.path, f.path FROM files AS f JOIN roots AS r ON r.id = f.root_id WHERE f.state != 'forgotten'"
    ):
        yield file_id, state, os.path.join(root, relative)
