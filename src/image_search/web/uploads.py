"""The pictures that were sent to the page, for a while: so that filters and regions cost no second upload."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path

from ..config import PAGE_UPLOADS, PAGE_UPLOADS_BYTES
from ..types import Region
from .kept import KeptFiles
from .recent import Recent

__all__ = ["Upload", "Uploads"]


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that was sent, or a smaller copy of it.

    Attributes:
        id: of the original, so that it stays the same when that is sent after its copy.
        data: as sent.
        view: the re-encoded JPEG.
        width, height: of the original, upright; regions count in its pixels.
        original: SHA-256 of the original where `data` is a copy, as hexadecimal digits; else "".
        copy_width, copy_height: of that copy.
    """

    id: str
    data: bytes
    view: bytes
    width: int
    height: int
    original: str = ""
    copy_width: int = 0
    copy_height: int = 0

    def on_data(self, region: Region) -> Region:
        """Part of the original -> the same part of `data`: at least one pixel, inside it."""
        if not self.original:
            return region
        right, bottom = region.x + region.w, region.y + region.h
        if right > self.width or bottom > self.height:
            return region  # outside: that is said where regions are checked
        x0, x1 = (min(self.copy_width, x * self.copy_width // self.width) for x in (region.x, right))
        y0, y1 = (min(self.copy_height, y * self.copy_height // self.height) for y in (region.y, bottom))
        x0, y0 = min(x0, self.copy_width - 1), min(y0, self.copy_height - 1)
        return Region(x0, y0, max(1, x1 - x0), max(1, y1 - y0))


class Uploads:
    """The newest pictures, in memory, and in a folder if there is one: then they outlive a restart. Any thread may ask.

    Args:
        key: 32 bytes; who does not know it can neither tell the id of a picture that he has nor make a file that is taken for one of
            ours. The same original has the same id as long as the key is the same. None: a new one.
        folder: of this library and key alone; one process at a time.
        largest: bytes of one; two of them find room in memory.
    """

    def __init__(self, key: bytes | None = None, folder: Path | None = None, largest: int = 0) -> None:
        self._key = key or secrets.token_bytes(32)
        self._kept: Recent[str, Upload] = Recent(
            max(PAGE_UPLOADS_BYTES, 2 * largest), lambda upload: len(upload.data) + len(upload.view), most=PAGE_UPLOADS
        )
        self._files = None if folder is None else KeptFiles(folder, self._key)

    def id_of(self, sha256: bytes) -> str:
        """By the original's SHA-256. Opaque: who does not have the picture cannot tell its id."""
        digest = hmac.new(self._key, sha256, hashlib.sha256).digest()[:16]
        return "up:" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def put(self, upload: Upload) -> None:
        self._kept.put(upload.id, upload)
        if self._files is not None:
            facts, view, data = _parts(upload)
            self._files.put(upload.id.removeprefix("up:"), facts, view, data)

    def get(self, id: str) -> Upload | None:
        """From memory, or read from the disk; None if it is not kept, or no longer."""
        found = self._kept.get(id)
        if self._files is None:
            return found
        name = id.removeprefix("up:")
        if found is not None:
            self._files.used(name)
            return found
        read = self._files.get(name)
        if read is None:
            return None
        facts, view, data = read
        try:
            found = Upload(id=id, data=data, view=view, **facts)
        except TypeError:  # of another version of this program, with other facts
            return None
        self._kept.put(id, found)
        return found

    def sweep(self) -> None:
        """Take away what has not been used for a week; called now and then."""
        if self._files is not None:
            self._files.sweep()


def _parts(upload: Upload) -> tuple[dict[str, object], bytes, bytes]:
    fields = Upload.__dataclass_fields__
    return {name: getattr(upload, name) for name in fields if name not in ("id", "data", "view")}, upload.view, upload.data
