"""What an index run writes into the catalog; inside the caller's transaction, whose generation every changed row carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..errors import SkipReason
from ..images.formats import rules_of
from ..types import Decoded, FileStat, Float32
from .catalog import Catalog, checksum
from .folders import Target, drop_unused_contents
from .schema import State
from .worklist import Gone, Todo, Worklist

__all__ = ["Placed", "add_content", "known_failure", "place", "prune", "refuse", "remember_failure", "set_missing", "set_offline"]

Placed = Literal["added", "updated", "moved", "unchanged"]


def add_content(catalog: Catalog, decoded: Decoded, vector: Float32) -> None:
    """A new picture: float32 (D,) of unit length, the picture's facts, and by which rules its pixels were made."""
    blob = np.ascontiguousarray(vector, "<f4").tobytes()
    facts = (decoded.width, decoded.height, decoded.format, rules_of(decoded.format), decoded.note)
    catalog.execute(
        "INSERT OR IGNORE INTO content (sha256, vector, checksum, width, height, format, rules, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (decoded.sha256, blob, checksum(blob), *facts),
    )


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
    return None if row is None else SkipReason(row[0])


def set_missing(catalog: Catalog, files: list[Gone], generation: int) -> None:
    """They are gone; their vectors are kept."""
    catalog.execute_many(
        f"UPDATE files SET state = '{State.MISSING}', generation = ? WHERE id = ?", [(generation, file.file_id) for file in files]
    )


def set_offline(catalog: Catalog, root_id: int, offline: bool) -> None:
    catalog.execute("UPDATE roots SET offline = ? WHERE id = ?", (int(offline), root_id))


def prune(catalog: Catalog, targets: Sequence[Target], generation: int) -> None:
    """Missing files lose their vectors; the empty row stays, so that a store learns of it and the id is never used again."""
    for target in targets:
        where, values = target.where
        sql = f"UPDATE files SET content_id = NULL, generation = ? WHERE state = '{State.MISSING}' AND {where}"
        catalog.execute(sql, (generation, *values))
    drop_unused_contents(catalog)
