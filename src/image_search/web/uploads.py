"""The pictures that were sent to the page, in memory, for a while: so that filters and regions cost no second upload."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["Upload", "Uploads"]

MAX_BYTES = 128 * 1024**2  # of encoded pictures: six of the largest, thousands of usual ones
MAX_COUNT = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """`data` as sent; `view` the re-encoded JPEG; width and height of the upright picture."""

    id: str
    data: bytes
    view: bytes
    width: int
    height: int


class Uploads:
    """The newest pictures; the same bytes have the same id as long as this object lives."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def id_of(self, data: bytes) -> str:
        """Opaque: who has not sent the picture cannot tell its id."""
        digest = hmac.new(self._key, data, hashlib.sha256).digest()[:16]
        return "up:" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def put(self, upload: Upload) -> None:
        with self._lock:
            self._drop(upload.id)
            self._kept[upload.id] = upload
            self._bytes += len(upload.data) + len(upload.view)
            while len(self._kept) > MAX_COUNT or self._bytes > MAX_BYTES:
                self._drop(next(iter(self._kept)))

    def get(self, id: str) -> Upload | None:
        with self._lock:
            if id in self._kept:
                self._kept.move_to_end(id)
            return self._kept.get(id)

    def _drop(self, id: str) -> None:
        old = self._kept.pop(id, None)
        if old is not None:
            self._bytes -= len(old.data) + len(old.view)
