"""Pictures whose vectors were made elsewhere (a data set, a collection) are written into the catalog; inside the caller's transaction.

Their files were not looked at: the row keeps no time of the file, so the next index run hashes it, finds its content known, and embeds
nothing.
"""

from __future__ import annotations

import os
from typing import Literal

from ..paths import to_bytes
from ..types import Decoded, Float32
from .catalog import Catalog
from .folders import adopt
from .schema import State
from .writing import add_content

__all__ = ["take", "take_root"]


def take_root(catalog: Catalog, folder: str) -> tuple[int, bytes]:
    """(number, path) of the indexed folder in which this one lies; it becomes one itself if there is none. UsageError: it is no folder."""
    target = adopt(catalog, [folder], None, lambda path: False)[0][0]
    return target.root_id, target.root


def take(
    catalog: Catalog, root: tuple[int, bytes], path: str, name: str, size: int, decoded: Decoded, vector: Float32, generation: int
) -> Literal["added", "unchanged"]:
    """A file of this root. What the catalog knows of its path already counts, if it is of the same content.

    Args:
        path: absolute. size: bytes. decoded: its facts, without pixels. vector: float32 (D,), unit length.
    """
    add_content(catalog, decoded, vector)
    content = catalog.value("SELECT id FROM content WHERE sha256 = ?", (decoded.sha256,))
    relative = os.path.relpath(to_bytes(path), root[1])
    known = catalog.one("SELECT content_id, state FROM files WHERE root_id = ? AND path = ?", (root[0], relative))
    if known is not None and tuple(known) == (content, State.PRESENT):
        return "unchanged"
    catalog.execute(
        "INSERT INTO files (root_id, path, name, state, content_id, size, mtime_ns, ctime_ns, inode, generation)"
        f" VALUES (?, ?, ?, '{State.PRESENT}', ?, ?, 0, 0, 0, ?) ON CONFLICT (root_id, path) DO UPDATE SET name = excluded.name,"
        " state = excluded.state, content_id = excluded.content_id, size = excluded.size, mtime_ns = 0, ctime_ns = 0, inode = 0,"
        " reason = '', decoder = '', generation = excluded.generation",
        (root[0], relative, name, content, size, generation),
    )
    return "added"
