"""The pictures that the page shows: the library's, small and large, and those that were given to it. All are encoded anew."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
from typing import Any, NamedTuple

from ..advice import Advice, Setting, Verb
from ..config import (
    PAGE_FULL_PIXELS,
    PAGE_FULL_QUALITY,
    PAGE_VIEW_QUALITY,
    PAGE_VIEW_SIDE,
    PAGE_VIEWS_BYTES,
    THUMBNAIL_QUALITY,
    THUMBNAIL_SIDE,
)
from ..errors import DecodeError, QueryError, SkipReason, UsageError
from ..images.fetch import fetch
from ..library.reading import Item
from ..types import Picture, UInt8
from . import schemas
from .opened import OpenLibrary
from .problems import UnknownIdError
from .recent import Recent
from .uploads import Upload, Uploads

__all__ = ["Original", "Pictures", "Shown", "flat_picture", "upload_address"]


JPEG_SIDE = 65_500  # pixels that one can have


class Shown(NamedTuple):
    """A picture for the page.

    Attributes:
        lasting: it is that of the content which the library knows, so it may be kept under its address. Not where the file has
            changed since it was indexed, or is away and something smaller stands in for it.
    """

    data: bytes
    media_type: str
    lasting: bool


class Original(NamedTuple):
    """What a page says of the picture of which it sends a smaller copy: the file's SHA-256; its upright pixels."""

    sha256: bytes
    width: int
    height: int

    def may_have_copy(self, width: int, height: int) -> bool:
        """Smaller, of the same shape; a copy's sides are rounded to whole pixels."""
        fits = 0 < width <= self.width and 0 < height <= self.height
        return fits and abs(width * self.height - height * self.width) <= max(self.width, self.height)


class Pictures:
    """Of one library; `urls`: those behind public addresses may be given as well. Any thread may ask."""

    def __init__(self, library: OpenLibrary, urls: bool, uploads: Uploads) -> None:
        self._library = library
        self._urls = urls
        self._uploads = uploads
        self._views: Recent[bytes, bytes] = Recent(PAGE_VIEWS_BYTES, len)

    # --- the library's ------------------------------------------------------------------------------------------------------

    def thumbnail(self, id: str) -> Shown:
        """WebP; made from the file and kept if the library has none. DecodeError where there is no picture to be had."""
        item = self._library.item(id)
        small = self._library.thumbnails.get(item.sha256)
        if small is not None:
            return Shown(small, "image/webp", lasting=True)
        picture = self._picture(item, THUMBNAIL_SIDE)
        small = _webp(picture.pixels)
        if lasting := picture.sha256 == item.sha256:
            self._library.thumbnails.put([(item.sha256, small)])
        return Shown(small, "image/webp", lasting)

    def view(self, id: str, *, full: bool = False) -> Shown:
        """A picture up to 1600 pixels; `full`: with all its pixels, up to PAGE_FULL_PIXELS; of one that is away the thumbnail."""
        item = self._library.item(id)
        side = _full_side(item.width, item.height)
        if full and side > PAGE_VIEW_SIDE and _unchanged(item):  # another file in its place may be of any size
            with contextlib.suppress(DecodeError):
                picture = self._picture(item, side)
                return Shown(_jpeg(picture.pixels, PAGE_FULL_QUALITY), "image/jpeg", picture.sha256 == item.sha256)
        large = self._views.get(item.sha256)
        if large is not None:
            return Shown(large, "image/jpeg", lasting=True)
        try:
            picture = self._picture(item, PAGE_VIEW_SIDE)
        except DecodeError:
            small = self._library.thumbnails.get(item.sha256)
            if small is None:
                raise
            return Shown(small, "image/webp", lasting=False)
        large = _jpeg(picture.pixels)
        if lasting := picture.sha256 == item.sha256:
            self._views.put(item.sha256, large)
        return Shown(large, "image/jpeg", lasting)

    def _picture(self, item: Item, side: int) -> Picture:
        try:
            return self._library.engine.picture(item.source, max_side=side)
        except DecodeError as error:
            if error.reason != SkipReason.LINK:
                raise
            raise QueryError("this image now leads out of its folder and is not shown", hint="index the folder it points to") from error

    # --- given ones ---------------------------------------------------------------------------------------------------------

    def upload(self, data: bytes, original: Original | None = None) -> schemas.Upload:
        """Keep a picture that was sent, or the copy of an `original`; QueryError if it is none, or no copy of such a one."""
        digest = hashlib.sha256(data).digest()
        if original is not None and original.sha256 == digest:
            original = None
        id = self._uploads.id_of(digest if original is None else original.sha256)
        upload = self._uploads.get(id)
        if upload is None or (upload.original and upload.data != data):  # the original takes the place of its copy, never the reverse
            upload = self._read(id, data, original)
            self._uploads.put(upload)
        return schemas.Upload(id=id, width=upload.width, height=upload.height, view=upload_address(upload))

    def _read(self, id: str, data: bytes, original: Original | None) -> Upload:
        if not data:
            raise QueryError("the picture is empty", hint="choose another file")
        self._library.must_exist()
        try:
            seen = self._library.engine.picture(data, max_side=PAGE_VIEW_SIDE)
        except DecodeError as error:
            raise QueryError(f"this cannot be searched with: {error.reason.value}", hint=error.hint) from error
        view = _jpeg(seen.pixels)
        if original is None:
            return Upload(id, data, view, seen.width, seen.height)
        if not original.may_have_copy(seen.width, seen.height):
            raise QueryError("the copy that was sent has not the shape of its original", hint="send the original")
        sha256 = original.sha256.hex()
        return Upload(id, data, view, original.width, original.height, original=sha256, copy_width=seen.width, copy_height=seen.height)

    def upload_view(self, id: str, *, full: bool = False) -> bytes:
        """A JPEG of a picture that was sent; `full`: with all its pixels, up to PAGE_FULL_PIXELS."""
        upload = self.uploaded(id)
        side = _full_side(upload.width, upload.height)
        if not full or side <= PAGE_VIEW_SIDE:
            return upload.view
        try:
            return _jpeg(self._library.engine.picture(upload.data, max_side=side).pixels, PAGE_FULL_QUALITY)
        except DecodeError as error:
            raise QueryError(f"this cannot be shown: {error.reason.value}", hint=error.hint) from error

    def fetched(self, url: str) -> schemas.Upload:
        """Keep the picture behind an address, if the owner allowed that; public addresses only."""
        if not self._urls:
            hint = Advice("start it with: ", Verb("serve", (Setting("allow_urls", "True"),)))
            raise UsageError("addresses are not fetched here", hint=hint)
        self._library.must_exist()
        return self.upload(fetch(url, max_bytes=self._library.engine.decoders.of_sent.file_bytes))

    def uploaded(self, id: str) -> Upload:
        upload = self._uploads.get(id)
        if upload is None:
            raise UnknownIdError("this picture is no longer kept", hint="give it again")
        return upload


def upload_address(upload: Upload) -> str:
    """Changes with what was sent, so that a browser may keep the picture for ever."""
    return f"api/uploads/{upload.id}/view?v={len(upload.data):x}"


def _full_side(width: int, height: int) -> int:
    """The longer side of a picture shown with all its pixels, or as many as PAGE_FULL_PIXELS allows and a JPEG can have."""
    return min(JPEG_SIDE, int(max(width, height) * min(1.0, math.sqrt(PAGE_FULL_PIXELS / (width * height)))))


def _unchanged(item: Item) -> bool:
    try:
        seen = os.lstat(item.path)
    except OSError:
        return False
    return (seen.st_size, seen.st_mtime_ns) == (item.size, item.mtime_ns)


def flat_picture() -> bytes:
    """A grey PNG: something to warm up with."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (64, 64), (120, 130, 140)).save(out, "PNG")
    return out.getvalue()


def _webp(pixels: UInt8) -> bytes:
    return _encoded(pixels, "WEBP", quality=THUMBNAIL_QUALITY, method=4)


def _jpeg(pixels: UInt8, quality: int = PAGE_VIEW_QUALITY) -> bytes:
    return _encoded(pixels, "JPEG", quality=quality)


def _encoded(pixels: UInt8, format: str, **options: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format, **options)
    return out.getvalue()
