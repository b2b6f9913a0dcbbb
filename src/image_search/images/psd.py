"""Photoshop: the flat picture that stands behind the layers. Pillow reads it with 8 bits a channel, tiff.py's reader with 16 and 32."""

from __future__ import annotations

import io
import struct

from PIL import Image, PsdImagePlugin  # noqa: F401 - the plugin makes Pillow know the format

from ..errors import SkipReason
from .formats import Refused
from .tiff import Layout, numbers_image

__all__ = ["open_image"]

_HEADER = struct.Struct(">4sH6xHIIHH")  # signature, version, channels, height, width, bits, mode
_GREY, _RGB = (1, 8), 3  # modes; the others are bilevel, palettes, CMYK, Lab
_PACKBITS = 32773  # as TIFF numbers it


def open_image(data: bytes) -> Image.Image:
    """A PSD or PSB. Raises Refused: UNSUPPORTED for colours that are not read, and for pictures packed with Deflate."""
    try:
        _, version, channels, height, width, bits, mode = _HEADER.unpack_from(data)
    except struct.error as error:
        raise Refused(SkipReason.DAMAGED, "PSD: it ends within its header") from error
    if (version, bits) in ((1, 1), (1, 8)) and mode in (0, 1, 2, 3, 4, 7, 8, 9):
        return Image.open(io.BytesIO(data), formats=["PSD"])
    layout = None
    if version in (1, 2) and bits in (8, 16, 32) and (mode == _RGB or mode in _GREY) and min(width, height) > 0:
        layout = _layout(data, version, channels, (width, height), bits, 3 if mode == _RGB else 1)
    if layout is None:
        raise Refused(SkipReason.UNSUPPORTED, f"PSD: version {version}, {bits} bits, mode {mode}")
    return numbers_image(data, layout, "PSD")


def _layout(data: bytes, version: int, channels: int, size: tuple[int, int], bits: int, colours: int) -> Layout | None:
    """Where its rows lie; None if they are packed in a way that is not read. Raises struct.error where the file ends too early."""
    at = _HEADER.size
    for section in range(3):  # colours, resources, layers
        wide = section == 2 and version == 2
        at += struct.unpack_from(">Q" if wide else ">I", data, at)[0] + (8 if wide else 4)
    packed = struct.unpack_from(">H", data, at)[0]
    rows = size[1] * colours
    if packed == 0:
        counts, at = (size[0] * bits // 8,) * rows, at + 2
    elif packed == 1:
        letter, width = ("I", 4) if version == 2 else ("H", 2)
        counts = struct.unpack_from(f">{rows}{letter}", data, at + 2)
        at += 2 + width * size[1] * channels
    else:
        return None
    return Layout.of_rows(at, counts, size, (bits,) * colours, _PACKBITS if packed else 1)
