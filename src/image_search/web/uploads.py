"""The pictures that were sent to the page, in memory, for a while: so that filters and regions cost no second upload."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from ..config import PAGE_UPLOADS, PAGE_UPLOADS_BYTES
from .recent import Recent

__all__ = ["Upload", "Uploads"]


@dataclass(frozen=True, slots=True)
class Upload:
    """`data` as sent; `view` the re-encoded JPEG; width and height of the upright picture."""

    id: str
    data: bytes
    view: bytes
    width: int
    height: int


class Uploads:
    """The newest pictures; the same bytes have the same id as long as this object lives.

    Args:
        largest: bytes of one; two of them find room.
    """

    def __init__(self, largest: int = 0) -> None:
        self._key = secrets.token_bytes(32)
        self._kept: Recent[str, Upload] = Recent(
            max(PAGE_UPLOADS_BYTES, 2 * largest), lambda upload: len(upload.data) + len(upload.view), most=PAGE_UPLOADS
        )

    def id_of(self, data: bytes) -> str:
        """Opaque: who has not sent the picture cannot tell its id."""
        digest = hmac.new(self._key, data, hashlib.sha256).digest()[:16]
        return "up:" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def put(self, upload: Upload) -> None:
        self._kept.put(upload.id, upload)

    def get(self, id: str) -> Upload | None:
        return self._kept.get(id)
