"""On which disks the library's folders lie, and whether a file that is not there is gone or out of reach.

An indexed folder may lie on a disk that comes and goes, and so may a part of it, where another disk is mounted below. What was found at the
last look (`roots.mount`, `roots.offline`, `mounts`) is compared with what is mounted now.
"""

from __future__ import annotations

import os

from ..paths import device, disk_top, from_bytes, inside, to_bytes
from .catalog import Catalog

__all__ = ["Disks"]


class Disks:
    """As the catalog knows them when this is made; what is mounted is asked once for each."""

    def __init__(self, catalog: Catalog) -> None:
        roots = catalog.rows("SELECT id, path, mount, offline FROM roots")
        self._roots = sorted(((path, number, mount, bool(offline)) for number, path, mount, offline in roots), key=lambda row: -len(row[0]))
        places = {number: path for number, path, *_ in roots}
        mounts = [(os.path.join(places[number], below), bool(off)) for below, number, off in catalog.rows("SELECT * FROM mounts")]
        self._parts = sorted(mounts, key=lambda row: -len(row[0]))
        self._there: dict[bytes, bool] = {}

    def away(self, path: str) -> bool:
        """Of a file that is not found: its folder or disk cannot be reached now; False: they are there, so it is gone."""
        return self._out_of_reach(path, strict=False)

    def proved_gone(self, path: str) -> bool:
        """It is not there, and the disk is on which it was: the same one, as far as a mount point tells."""
        return not os.path.lexists(path) and not self._out_of_reach(path, strict=True)

    def _out_of_reach(self, path: str, *, strict: bool) -> bool:
        """`strict`: what is mounted now decides alone, and where that is not known, the file counts as out of reach."""
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:  # a folder on the way cannot be read, a network is down
            return True
        place = to_bytes(path)
        root = next((row for row in self._roots if inside(place, row[0])), None)
        if root is None:
            return strict
        folder, _, mount, offline = root
        part = next((row for row in self._parts if inside(place, row[0]) and inside(row[0], folder)), None)
        if part is not None:
            mount, offline = part
        if not strict and (
            offline or not os.path.isdir(from_bytes(folder))
        ):  # a whole folder that is not there may come back, or have moved
            return True
        return not self._mounted(mount) if mount else strict

    def _mounted(self, top: bytes) -> bool:
        """Does a disk begin at this folder now?"""
        if top not in self._there:
            text = from_bytes(top)
            self._there[top] = device(text) is not None and disk_top(text) == text
        return self._there[top]
