"""Files without their end (a download that stopped, a card pulled out): shown as far as they go, if half of the rows are there.

Called only for what the plain way refuses as damaged. What is missing becomes white, as what is see-through does; browsers do the same.
A format's decoder does not say how far it came, so that is found out:

    JPEG              gets its end marker: libjpeg then gives what there is, progressive ones whole, and grey (128) below
    PNG, GIF, BMP     are read twice into memory filled differently; where the results differ nothing was written
    TIFF              says where its strips lie
    WebP, HEIC        get zeros for what is missing, once from the end and once from a little before it; rows that differ are beyond
    JPEG 2000         gets zeros for what is missing: it becomes finer towards its end, so half of the bytes is all of the picture

AVIF, JPEG XL and lossless WebP give nothing without their last byte. A PNG with a wrong checksum beside the pixels is read here, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFile, ImageOps

from ..errors import SkipReason
from .formats import Format, Refused, open_as

__all__ = ["CUT_OFF", "rescued"]

CUT_OFF = "cut off"  # the note that goes with such a picture
NOTE = "note"  # its key in an image's `info`

Missing = npt.NDArray[np.bool_]  # (height,): rows that are not there
Check = Callable[[tuple[int, int]], object]

PROBES = (16, 64, 256, 1024, 4096)  # bytes before the end; the fewest that show in the pixels: few rows, even of a very flat picture
GREY = 128  # libjpeg's missing blocks, all channels


class Found(NamedTuple):
    image: Image.Image  # loaded
    missing: Missing
    cut: bool  # the file is cut off; else it had another fault, which does not show
    repeat: bool = False  # interlaced: rows that are missing lie between others and are shown as the one above them


def rescued(data: bytes, row: Format, check: Check) -> Image.Image:
    """What is there of a damaged file, as a loaded image with what its header says (`info`).

    Args:
        check: called with a size before pixels are decoded; may raise Refused.

    Raises:
        Refused: DAMAGED where less than half of the rows are there, or what `check` raises. Whatever a decoder raises.
    """
    with _tolerant():
        image, missing, cut, repeat = _WAYS.get(row.name, _filled_twice)(data, row, check)
    if 2 * int(missing.sum()) > len(missing):
        raise Refused(SkipReason.DAMAGED, f"{int(missing.sum())} of {len(missing)} rows are missing")
    if missing.any():
        image = _repeated(image, missing) if repeat else _whitened(image, missing)
    if row.upright:
        image = ImageOps.exif_transpose(image)
    if cut:
        image.info[NOTE] = CUT_OFF
    return image


@contextlib.contextmanager
def _tolerant() -> Iterator[None]:
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _opened(data: bytes, row: Format, check: Check) -> Image.Image:
    image = open_as(data, row)
    check(image.size)
    return image


def _whitened(image: Image.Image, missing: Missing) -> Image.Image:
    """The rows that are missing, white; `info`, with its EXIF, stays."""
    image = _plain(image)
    white: Any = _WHITE.get(image.mode) or image.getextrema()[1]  # of numbers the largest that is there
    image.paste(white, (0, 0, *image.size), _mask(missing, image.size[0]))
    return image


def _plain(image: Image.Image) -> Image.Image:
    """Without a palette, so that it can be painted on."""
    if image.im.mode in (*_WHITE, "I", "F", "I;16", "I;16B"):  # a grey GIF calls its palette L
        return image
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    plain.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return plain


_WHITE = {"L": 255, "RGB": (255, 255, 255), "RGBA": (255, 255, 255, 255), "CMYK": (0, 0, 0, 0)}


def _repeated(image: Image.Image, missing: Missing) -> Image.Image:
    image, missing = _plain(image), missing.copy()
    while missing.any() and not missing.all():
        first = missing & ~np.roll(missing, 1)  # the row above is there; of the first row, the last one
        image.paste(ImageChops.offset(image, 0, 1), (0, 0), _mask(first, image.size[0]))
        missing &= ~first
    return image


def _mask(rows: Missing, width: int) -> Image.Image:
    return Image.fromarray(rows[:, None] * np.uint8(255)).resize((width, len(rows)), Image.Resampling.NEAREST)


def _thin(image: Image.Image) -> npt.NDArray[Any]:
    """(height, numbers): at most 256 pixels of each row."""
    some = image.resize((min(image.size[0], 256), image.size[1]), Image.Resampling.NEAREST)
    return np.asarray(some).reshape(image.size[1], -1)


# --- format by format --------------------------------------------------------------------------------------------------------


def _jpeg(data: bytes, row: Format, check: Check) -> Found:
    image = _opened(data + b"\xff\xd9", row, check)
    image.load()
    written = np.flatnonzero((np.abs(_thin(image).astype(np.int16) - GREY) > 1).any(axis=1))
    missing = np.arange(image.size[1]) > (written[-1] if len(written) else -1)
    return Found(image, missing, True)


def _filled_twice(data: bytes, row: Format, check: Check) -> Found:
    """Both times into memory of our own filling. Interlaced rows that are missing between others are those above them."""
    first, second = (_filled(data, row, check, fill) for fill in (0, 255))
    missing = (_thin(first) != _thin(second)).any(axis=1)
    cut = bool(missing.any())
    between = missing[1:-1] & ~missing[:-2] & ~missing[2:]
    return Found(first, missing, cut, repeat=bool(between.sum() > 1))


def _filled(data: bytes, row: Format, check: Check, fill: int) -> Image.Image:
    image = _opened(data, row, check)
    assert isinstance(image, ImageFile.ImageFile)
    image.load_prepare()
    bands = len(image.getbands())
    image.im.paste(fill if bands == 1 else (fill,) * bands, (0, 0, *image.size))
    try:
        image.load()
    except OSError:  # what came before it is there
        image.tile = []
    return image


def _tiff(data: bytes, row: Format, check: Check) -> Found:
    from .tiff import cut_off

    found = cut_off(data)
    if found is None:
        return _filled_twice(data, row, check)
    image, missing = found
    check(image.size)
    image.load()
    return Found(image, missing, bool(missing.any()))


def _padded_twice(data: bytes, row: Format, check: Check) -> Found:
    whole = 2 * len(data) if data[:4] != b"RIFF" else min(2 * len(data), int.from_bytes(data[4:8], "little") + 8)
    if whole <= len(data):
        raise Refused(SkipReason.DAMAGED, "nothing is missing at its end")

    def seen(end: int) -> Image.Image:
        image = _opened(data[:end].ljust(whole, b"\0"), row, check)
        image.load()
        return image

    image = seen(len(data))
    for probe in PROBES:
        beyond = np.flatnonzero((_thin(image) != _thin(seen(len(data) - probe))).any(axis=1))
        if len(beyond):
            return Found(image, np.arange(image.size[1]) >= beyond[0], True)
    raise Refused(SkipReason.DAMAGED, "its end tells nothing")


def _jpeg_2000(data: bytes, row: Format, check: Check) -> Found:
    """The last part that has begun is as long as its header says; the end marker follows. Tiles that are missing are black."""
    part = data.rfind(b"\xff\x90\x00\x0a")  # SOT, its length; then which tile, and how many bytes
    length = int.from_bytes(data[part + 6 : part + 10], "big")
    if part < 0 or 2 * (len(data) - part) < length:
        raise Refused(SkipReason.DAMAGED, "less than half of it is there")
    image = _opened(data.ljust(part + length, b"\0") + b"\xff\xd9", row, check)
    image.load()
    written = np.flatnonzero(_thin(image).any(axis=1))
    return Found(image, np.arange(image.size[1]) > (written[-1] if len(written) else -1), True)


_WAYS: dict[str, Callable[[bytes, Format, Check], Found]] = {
    "JPEG": _jpeg,
    "TIFF": _tiff,
    "WEBP": _padded_twice,
    "HEIF": _padded_twice,
    "JPEG2000": _jpeg_2000,
}
