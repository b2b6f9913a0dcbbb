"""What an index run writes into the catalog; inside the caller's transaction, whose generation every changed row carries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from ..errors import SkipReason
from ..images.formats import rules_of
from ..images.scan import PassedBy
from ..paths import disk_top, from_bytes, to_bytes
from ..types import Decoded, FileStat, Float32
from .catalog import Catalog
from .facts import checksum
from .folders import Target, drop_unused_contents
from .schema import UNEMBEDDED, State, part_of
from .worklist import Gone, Todo, Worklist

__all__ = [
    "Placed",
    "add_content",
    "cannot_use",
    "date_contents",
    "known_failure",
    "pass_by",
    "place",
    "prune",
    "refuse",
    "remember_failure",
    "renew_content",
    "set_disk",
    "set_offline",
    "set_state",
]

_REASONS = frozenset(reason.value for reason in SkipReason)
Placed = Literal["added", "updated", "moved", "unchanged"]


def add_content(catalog: Catalog, decoded: Decoded, vector: Float32) -> None:
    """A new picture: float32 (D,) of unit length, the picture's facts, and by which rules its pixels were made."""
    blob = np.ascontiguousarray(vector, "<f4").tobytes()
    facts = (decoded.width, decoded.height, decoded.format, rules_of(decoded.format), decoded.note, decoded.captured)
    catalog.execute(
        "INSERT OR IGNORE INTO content (sha256, vector, checksum, width, height, format, rules, note, captured)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (decoded.sha256, blob, checksum(blob), *facts),
    )


def renew_content(catalog: Catalog, decoded: Decoded, vector: Float32, generation: int) -> bool:
    """The picture was read again by newer rules: float32 (D,) replaces its vector. False: the catalog does not have it."""
    row = catalog.one("SELECT id, vector FROM content WHERE sha256 = ?", (decoded.sha256,))
    if row is None:
        return False
    number, before = row
    blob = np.ascontiguousarray(vector, "<f4").tobytes()
    facts = (decoded.width, decoded.height, decoded.format, rules_of(decoded.format), decoded.note, decoded.captured)
    catalog.execute(
        "UPDATE content SET vector = ?, checksum = ?, width = ?, height = ?, format = ?, rules = ?, note = ?, captured = ? WHERE id = ?",
        (blob, checksum(blob), *facts, number),
    )
    if blob != before:  # a store, and whoever keeps vectors in memory, has to hear of it
        catalog.execute("UPDATE files SET generation = ? WHERE content_id = ?", (generation, number))
    return True


def date_contents(catalog: Catalog, found: Sequence[tuple[str, int]]) -> None:
    """(captured, content): when these contents were taken. No file has changed, so the generation stays and no store need follow; a
    number of its own tells whoever keeps dates in memory."""
    catalog.execute_many("UPDATE content SET captured = ? WHERE id = ?", found)
    catalog.set_meta("dated", (catalog.meta("dated") or 0) + len(found))


def place(catalog: Catalog, worklist: Worklist, item: Todo, sha256: bytes, stat: FileStat, generation: int) -> Placed:
    """This path now holds this content, which is in the catalog. A row whose file is gone and had it before is the same image, moved."""
    content = catalog.value("SELECT id FROM content WHERE sha256 = ?", (sha256,))
    facts = (item.name, State.PRESENT.value, content, stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, generation)
    if item.file_id is not None:
        before = catalog.rows("SELECT state, content_id FROM files WHERE id = ?", (item.file_id,))[0]
        catalog.execute(
            "UPDATE files SET name = ?, state = ?, content_id = ?, size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?, generation = ?,"
            " reason = '', decoder = '' WHERE id = ?",
            (*facts, item.file_id),
        )
        if before == (State.PRESENT, content):
            return "unchanged"  # touched or verified: the bytes are the same
        return "updated" if before[0] == State.PRESENT else "added"
    moved = worklist.moved_from(content)
    if moved is not None:
        catalog.execute(
            "UPDATE files SET root_id = ?, path = ?, name = ?, state = ?, content_id = ?, size = ?, mtime_ns = ?, ctime_ns = ?,"
            " inode = ?, generation = ?, reason = '', decoder = '' WHERE id = ?",
            (item.root_id, item.relative, *facts, moved),
        )
        worklist.see(moved)
        return "moved"
    row = catalog.execute(
        "INSERT INTO files (root_id, path, name, state, content_id, size, mtime_ns, ctime_ns, inode, generation)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (item.root_id, item.relative, *facts),
    ).lastrowid
    assert row is not None
    worklist.see(row)
    return "added"


def refuse(catalog: Catalog, worklist: Worklist, item: Todo, reason: SkipReason, decoder: str, generation: int) -> None:
    """A file that cannot be searched. `decoder`: which decoder and limits said so; the same one need not try again."""
    stat = item.stat
    facts = (item.name, stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, reason.value, decoder, generation)
    if item.file_id is None:
        row = catalog.execute(
            "INSERT INTO files (root_id, path, name, state, size, mtime_ns, ctime_ns, inode, reason, decoder, generation)"
            f" VALUES (?, ?, ?, '{State.SKIPPED}', ?, ?, ?, ?, ?, ?, ?)",
            (item.root_id, item.relative, *facts),
        ).lastrowid
        assert row is not None
        worklist.see(row)
    else:
        catalog.execute(
            f"UPDATE files SET name = ?, state = '{State.SKIPPED}', content_id = NULL, size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?,"
            " reason = ?, decoder = ?, generation = ? WHERE id = ?",
            (*facts, item.file_id),
        )


def remember_failure(catalog: Catalog, sha256: bytes, reason: SkipReason, decoder: str) -> None:
    """No copy of these bytes need be tried by this decoder."""
    catalog.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (sha256, reason.value, decoder))


def known_failure(catalog: Catalog, sha256: bytes, decoder: str) -> SkipReason | None:
    """Why this decoder could not read these bytes, if it has tried."""
    row = catalog.one("SELECT reason FROM failures WHERE sha256 = ? AND decoder = ?", (sha256, decoder))
    return SkipReason(row[0]) if row is not None and row[0] in _REASONS else None  # a later version may know others


def set_state(catalog: Catalog, files: Iterable[Gone], state: Literal[State.MISSING, State.EXCLUDED], generation: int) -> None:
    """They are gone, or left out by a rule; their vectors are kept, and none is made of those that wait for it."""
    catalog.execute_many(
        f"UPDATE files SET state = ?, reason = replace(reason, '{UNEMBEDDED}', ''), generation = ?"
        f" WHERE id = ? AND (state IS NOT '{state}' OR reason = '{UNEMBEDDED}')",
        [(state.value, generation, file.file_id) for file in files],
    )


def set_offline(catalog: Catalog, target: Target, offline: bool) -> None:
    """Could this root, or the disk that begins at this folder of it, not be read? If it could: where its disk is mounted is noted."""
    if target.below:
        catalog.execute("UPDATE mounts SET offline = ? WHERE root_id = ? AND path = ?", (int(offline), target.root_id, target.below))
        return
    top = None if offline else disk_top(from_bytes(target.root))
    seen = None if top is None else to_bytes(top)
    catalog.execute("UPDATE roots SET offline = ?, mount = coalesce(?, mount) WHERE id = ?", (int(offline), seen, target.root_id))


def set_disk(catalog: Catalog, target: Target, top: bytes, *, offline: bool) -> None:
    """Another disk begins at this folder below the root; where none does any more, and nothing is away, the folder is one like others."""
    if offline or top in target.found_disks:
        catalog.execute("INSERT OR REPLACE INTO mounts (path, root_id, offline) VALUES (?, ?, ?)", (top, target.root_id, int(offline)))
    else:
        catalog.execute("DELETE FROM mounts WHERE root_id = ? AND path = ?", (target.root_id, top))


def prune(catalog: Catalog, target: Target, generation: int) -> int:
    """Missing and excluded files lose their vectors; the empty rows stay, so that a store learns of it and no id is used again.

    Not those on other disks that begin below. Returns the number of files that left.
    """
    where, values = target.where
    for top in target.disks:
        inner, more = part_of(target.root_id, top)
        where, values = f"{where} AND NOT ({inner})", (*values, *more)
    gone = f"content_id IS NOT NULL AND state IN ('{State.MISSING}', '{State.EXCLUDED}') AND {where}"
    count = catalog.execute(f"UPDATE files SET content_id = NULL, generation = ? WHERE {gone}", (generation, *values)).rowcount
    drop_unused_contents(catalog)
    return count


# --- what is not in `files` -------------------------------------------------------------------------------------------------


def pass_by(catalog: Catalog, target: Target, found: PassedBy) -> None:
    catalog.execute(
        "INSERT OR REPLACE INTO passed (root_id, path, rule, detail, files, more) VALUES (?, ?, ?, ?, ?, ?)",
        (target.root_id, found.folder, found.rule.value, found.detail, found.files, int(found.more)),
    )


def cannot_use(catalog: Catalog, root_id: int, relative: bytes, reason: SkipReason | str) -> None:
    """It is there, and `files` does not say why it is not used, or says something older that stays true."""
    catalog.execute("INSERT OR REPLACE INTO unusable VALUES (?, ?, ?)", (root_id, relative, SkipReason(reason).value))
