"""Prepared pictures of a library's images: made of their thumbnails, or of their files; the last ones are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from ..config import THUMBNAIL_SIDE
from ..errors import DecodeError
from ..images.pool import PictureSource
from ..library.reading import Item
from ..types import Picture
from .copies import Prepared, prepare

__all__ = ["Looks"]

KEPT = 256  # pictures of 75 KB


class Looks:
    """Safe to share between threads.

    Args:
        picture: decodes a source, its longer side at most so many pixels; DecodeError where there is no picture.
        thumbnail: WebP by content (SHA-256); None where there is none.
    """

    def __init__(self, picture: Callable[[PictureSource, int], Picture], thumbnail: Callable[[bytes], bytes | None]) -> None:
        self._picture = picture
        self._thumbnail = thumbnail
        self._kept: OrderedDict[bytes, Prepared] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, item: Item) -> Prepared | None:
        """None: its picture cannot be had now, or its file is no longer the one that was indexed."""
        return self.look(item.sha256, item.source)

    def look(self, sha256: bytes, source: PictureSource) -> Prepared | None:
        """The picture of this content, which the source has; None as for `of`."""
        with self._lock:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
                return self._kept[sha256]
        prepared = self._made(sha256, source)
        if prepared is not None:
            with self._lock:
                self._kept[sha256] = prepared
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return prepared

    def _made(self, sha256: bytes, source: PictureSource) -> Prepared | None:
        small = self._thumbnail(sha256)
        if small is not None:
            try:
                return prepare(self._picture(small, THUMBNAIL_SIDE).pixels)
            except DecodeError:
                pass  # a damaged cache; the file is as good
        try:
            picture = self._picture(source, THUMBNAIL_SIDE)
        except DecodeError:
            return None
        return prepare(picture.pixels) if picture.sha256 == sha256 else None
