"""Where each picture lies on the map, kept with the library in a file of its own. A cache: losing it loses nothing but its making.

A line of JSON (what it is of, how many, a checksum), then 25 bytes a picture. It is read as a stranger's: what does not fit is not used.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..types import Float32
from .catalog import MAP_NAME, Catalog
from .facts import sensible

__all__ = ["Places", "contents_by_hash"]

_ROW = np.dtype([("sha256", "V16"), ("place", "<f4", 2), ("placed", "u1")])
_HEAD = 1000  # bytes of the first line at most
_MOST = 50_000_000  # pictures: 1.25 GB; a file that says more is none of ours


def contents_by_hash(catalog: Catalog) -> dict[bytes, int]:
    """The first half of its SHA-256 -> the number, of every content, also of those whose files are missing."""
    with sensible(catalog.folder):
        return {bytes(sha256[:16]): int(number) for page in catalog.pages("SELECT id, sha256 FROM content") for number, sha256 in page}


@dataclass(frozen=True, slots=True)
class Places:
    """Places by content.

    Attributes:
        hashes: the first 16 bytes of each content's SHA-256.
        xy: float32 (N, 2), each 0 to 1.
        placed: bool (N,), those that came after the layout and lie between others.
    """

    hashes: list[bytes]
    xy: Float32
    placed: npt.NDArray[np.bool_]

    @classmethod
    def load(cls, folder: Path, of: str) -> Places | None:
        """What is kept; None: nothing, or nothing that can be used. `of`: model, seed and version of the layout, as they were saved."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError), open(folder / MAP_NAME, "rb") as file:
            if os.path.islink(folder / MAP_NAME):
                return None
            head = json.loads(file.readline(_HEAD))
            if head["of"] != of or not 0 < int(head["count"]) <= _MOST:
                return None
            data = file.read(int(head["count"]) * _ROW.itemsize + 1)
            if len(data) != int(head["count"]) * _ROW.itemsize or zlib.crc32(data) != head["crc32"]:
                return None
            rows = np.frombuffer(data, _ROW)
            xy = rows["place"].astype(np.float32)
            if not (np.isfinite(xy).all() and (xy >= 0).all() and (xy <= 1).all()):
                return None
            return cls([bytes(one) for one in rows["sha256"]], xy, rows["placed"] != 0)
        return None

    def save(self, folder: Path, of: str) -> bool:
        """Whole or not at all; False: it cannot be kept (read-only, full). Whoever saves last is kept."""
        rows = np.empty(len(self.hashes), _ROW)
        rows["sha256"] = np.frombuffer(b"".join(self.hashes), "V16")
        rows["place"], rows["placed"] = self.xy, self.placed
        data = rows.tobytes()
        head = json.dumps({"of": of, "count": len(rows), "crc32": zlib.crc32(data)})
        draft = folder / f"{MAP_NAME}.{secrets.token_hex(8)}"
        try:
            with open(draft, "xb") as file:
                file.write(head.encode() + b"\n" + data)
            os.replace(draft, folder / MAP_NAME)
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):  # gone where all went well
                draft.unlink()
        return True

    def each(self) -> Iterator[tuple[bytes, Float32, bool]]:
        yield from zip(self.hashes, self.xy, self.placed.tolist(), strict=True)
