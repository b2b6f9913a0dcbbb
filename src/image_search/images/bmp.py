"""BMP. Pillow reads the usual ones; here are those that say with masks of their own which bits are red, green and blue."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

from PIL import BmpImagePlugin, Image  # noqa: F401 - the plugin makes Pillow know the format

from ..errors import SkipReason
from .formats import Refused
from .late import LateImage

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..types import UInt8

__all__ = ["open_image"]

_HEADER = struct.Struct("<Iii2xHI")  # its length, width, height, bits of a pixel, compression
_BITFIELDS = (3, 6)  # compression: masks for three colours, or four with alpha


def open_image(data: bytes) -> Image.Image:
    """A BMP. Raises Refused: UNSUPPORTED for kinds that are whole and not read (OS/2's own compressions, JPEG within BMP)."""
    try:
        image = Image.open(io.BytesIO(data), formats=["BMP"])
        size, width, height, bits, compression = _HEADER.unpack_from(data.ljust(14 + _HEADER.size), 14)
        if size >= 40 and compression in _BITFIELDS and bits == 16 and len(_masks(data)) == 4:  # Pillow leaves its alpha out
            return _masked(data, width, height, bits)
        return image
    except OSError as error:
        try:
            size, width, height, bits, compression = _HEADER.unpack_from(data, 14)
        except struct.error:
            raise error from None
        if size < 40 or width < 1 or height == 0:
            raise
        if compression not in _BITFIELDS or bits not in (16, 32):
            raise Refused(SkipReason.UNSUPPORTED, f"BMP: {bits} bits, compression {compression}") from error
        return _masked(data, width, height, bits)


def _masked(data: bytes, width: int, height: int, bits: int) -> Image.Image:
    masks = _masks(data)
    start = struct.unpack_from("<I", data, 10)[0]
    stride = -(-width * bits // 32) * 4  # bytes of a row

    def read() -> Image.Image:
        import numpy as np

        rows = np.frombuffer(data, np.uint8, stride * abs(height), start).reshape(-1, stride)
        numbers = rows[:, : width * bits // 8].view(f"<u{bits // 8}")  # (rows, columns)
        if height > 0:  # the last row comes first
            numbers = numbers[::-1]
        planes = [Image.fromarray(_eight(numbers, mask)) for mask in masks]
        return Image.merge("RGBA" if len(planes) == 4 else "RGB", planes)

    return LateImage("BMP", "RGBA" if len(masks) == 4 else "RGB", (width, abs(height)), read)


def _masks(data: bytes) -> tuple[int, ...]:
    """Red, green, blue; and alpha, if the header has room for it or the compression says so, and any bit is alpha's.

    Browsers do the same: what has a mask of alpha is as clear as it says, even where all of it is zero; the fourth byte of 32 bits
    without masks is nothing.
    """
    header, compression = struct.unpack_from("<I12xI", data, 14)
    *colours, alpha = struct.unpack_from("<4I", data.ljust(70, b"\0"), 54)
    return (*colours, alpha) if alpha and (header >= 56 or compression == 6) else tuple(colours)


def _eight(numbers: npt.NDArray[Any], mask: int) -> UInt8:
    """The bits under the mask as 0 to 255."""
    import numpy as np

    if not mask:
        return np.zeros(numbers.shape, np.uint8)
    low = (mask & -mask).bit_length() - 1
    top = mask >> low
    eight: UInt8 = np.rint(((numbers & numbers.dtype.type(mask)) >> low) * np.float32(255 / top)).astype(np.uint8)
    return eight
