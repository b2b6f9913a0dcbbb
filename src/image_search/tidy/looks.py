"""Prepared pictures of a library's images: made of their thumbnails, or of their files; the last ones are kept."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable

from ..config import THUMBNAIL_SIDE
from ..errors import DecodeError
from ..images.pool import PictureSource
from ..library.reading import Item
from ..types import Picture
from .copies import Prepared, prepare

__all__ = ["Looks", "made_ready"]

KEPT = 256  # pictures of 75 KB

Decode = Callable[[PictureSource, int], Picture]  # a source, its longer side at most so many pixels; DecodeError where there is no picture
Small = Callable[[bytes], bytes | None]  # SHA-256 of a content -> its thumbnail, WebP; None where there is none


def made_ready(sha256: bytes, source: PictureSource, thumbnail: Small, decode: Decode) -> Prepared | None:
    """The picture of this content, to be compared: from its thumbnail, which is there also when its disk is away, else from the source.

    None: it cannot be had now, or the source has another content by now.
    """
    small = thumbnail(sha256)
    if small is not None:
        with contextlib.suppress(DecodeError):  # a damaged cache; the file is as good
            return prepare(decode(small, THUMBNAIL_SIDE).pixels)
    with contextlib.suppress(DecodeError):
        picture = decode(source, THUMBNAIL_SIDE)
        return prepare(picture.pixels) if picture.sha256 == sha256 else None
    return None


class Looks:
    """Safe to share between threads.

    Args:
        picture, thumbnail: as for `made_ready`.
    """

    def __init__(self, picture: Decode, thumbnail: Small) -> None:
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
        prepared = made_ready(sha256, source, self._thumbnail, self._picture)
        if prepared is not None:
            with self._lock:
                self._kept[sha256] = prepared
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return prepared
