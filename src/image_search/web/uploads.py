"""The pictures that were sent to the page, in memory, for a while: so that filters and regions cost no second upload."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from ..config import PAGE_UPLOADS, PAGE_UPLOADS_BYTES
from ..types import Region
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
    """The newest pictures; the same original has the same id as long as this object lives."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._kept: Recent[str, Upload] = Recent(PAGE_UPLOADS_BYTES, lambda upload: len(upload.data) + len(upload.view), most=PAGE_UPLOADS)

    def id_of(self, sha256: bytes) -> str:
        """By the original's SHA-256. Opaque: who does not have the picture cannot tell its id."""
        digest = hmac.new(self._key, sha256, hashlib.sha256).digest()[:16]
        return "up:" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def put(self, upload: Upload) -> None:
        self._kept.put(upload.id, upload)

    def get(self, id: str) -> Upload | None:
        return self._kept.get(id)
