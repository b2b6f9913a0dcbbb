"""JPEG. Pillow reads it; the kinds that libjpeg does not know are called by name, and lossless ones are never scaled while they decode."""

from __future__ import annotations

import io

from PIL import Image, JpegImagePlugin, UnidentifiedImageError  # noqa: F401 - the plugin makes Pillow know the format

from ..errors import SkipReason
from .formats import Refused
from .late import LateImage

__all__ = ["open_image"]

_NO_FRAMES = (0xC4, 0xC8, 0xCC)  # markers between those of frames: tables, reserved
_LOSSLESS = (0xC3, 0xCB)
_HIERARCHICAL = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)


def open_image(data: bytes) -> Image.Image:
    """Its header is read; its pixels are by `load`. Raises Refused: UNSUPPORTED for 12 bits and for hierarchical ones."""
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
    except UnidentifiedImageError as error:
        kind, bits = _frame(data)
        if kind in _HIERARCHICAL or (kind and bits != 8):
            raise Refused(SkipReason.UNSUPPORTED, f"JPEG of {bits} bits, kind {kind - 0xC0}") from error
        raise
    if _frame(data)[0] not in _LOSSLESS:
        return image

    def whole() -> Image.Image:
        image.load()
        return image

    late = LateImage("JPEG", image.mode, image.size, whole)  # it has no draft
    late.info = image.info
    return late


def _frame(data: bytes) -> tuple[int, int]:
    """(marker, bits of a sample) of the frame header; (0, 0) if there is none."""
    at = 2
    while at + 5 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
            return marker, data[at + 4]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0
