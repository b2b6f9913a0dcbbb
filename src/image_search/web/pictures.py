"""The pictures that the page shows: the library's, small and large, and those that were given to it. All are encoded anew."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

from ..advice import Advice, Setting, Verb
from ..config import PAGE_VIEW_QUALITY, PAGE_VIEW_SIDE, PAGE_VIEWS_BYTES, THUMBNAIL_QUALITY, THUMBNAIL_SIDE
from ..errors import DecodeError, QueryError, SkipReason, UsageError
from ..images.fetch import fetch
from ..library.reading import Item
from ..types import Picture, UInt8
from . import schemas
from .opened import OpenLibrary
from .problems import UnknownIdError
from .recent import Recent
from .uploads import Upload, Uploads

__all__ = ["Pictures", "Shown", "flat_picture", "upload_address"]


class Shown(NamedTuple):
    """A picture for the page.

    Attributes:
        lasting: it is that of the content which the library knows, so it may be kept under its address. Not where the file has
            changed since it was indexed, or is away and something smaller stands in for it.
    """

    data: bytes
    media_type: str
    lasting: bool


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

    def view(self, id: str) -> Shown:
        """A picture up to 1600 pixels; of one that is away the thumbnail."""
        item = self._library.item(id)
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

    def upload(self, data: bytes) -> schemas.Upload:
        """Keep a picture that was sent; QueryError if it is none."""
        upload = self._uploads.get(self._uploads.id_of(data))
        if upload is None:
            if not data:
                raise QueryError("the picture is empty", hint="choose another file")
            self._library.must_exist()
            try:
                seen = self._library.engine.picture(data, max_side=PAGE_VIEW_SIDE)
            except DecodeError as error:
                raise QueryError(f"this cannot be searched with: {error.reason.value}", hint=error.hint) from error
            upload = Upload(self._uploads.id_of(data), data, _jpeg(seen.pixels), seen.width, seen.height)
            self._uploads.put(upload)
        return schemas.Upload(id=upload.id, width=upload.width, height=upload.height, view=upload_address(upload.id))

    def fetched(self, url: str) -> schemas.Upload:
        """Keep the picture behind an address, if the owner allowed that; public addresses only."""
        if not self._urls:
            hint = Advice("start it with: ", Verb("serve", (Setting("allow_urls", "True"),)))
            raise UsageError("addresses are not fetched here", hint=hint)
        self._library.must_exist()
        return self.upload(fetch(url))

    def uploaded(self, id: str) -> Upload:
        upload = self._uploads.get(id)
        if upload is None:
            raise UnknownIdError("this picture is no longer kept", hint="give it again")
        return upload


def upload_address(id: str) -> str:
    return f"api/uploads/{id}/view"


def flat_picture() -> bytes:
    """A grey PNG: something to warm up with."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (64, 64), (120, 130, 140)).save(out, "PNG")
    return out.getvalue()


def _webp(pixels: UInt8) -> bytes:
    return _encoded(pixels, "WEBP", quality=THUMBNAIL_QUALITY, method=4)


def _jpeg(pixels: UInt8) -> bytes:
    return _encoded(pixels, "JPEG", quality=PAGE_VIEW_QUALITY)


def _encoded(pixels: UInt8, format: str, **options: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format, **options)
    return out.getvalue()
