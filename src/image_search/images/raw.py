"""Camera raw: the picture that the camera put into the file for looking at. LibRaw finds it (rawpy); pixels are Pillow's as ever.

Cameras keep a JPEG of nearly full size, DNG converters one of a thousand pixels or more. A raw file without one, or with a thumbnail
only, is developed at half size. Of a camera that LibRaw does not know yet the largest JPEG is taken that the file's directories name.
"""

from __future__ import annotations

import io
from typing import Any

import rawpy
from PIL import Image, JpegImagePlugin  # noqa: F401 - the plugin makes Pillow know the format

from ..errors import SkipReason
from .formats import Refused
from .ifd import Directory, directories
from .late import LateImage, exif_of

__all__ = ["open_image"]

LEAST_SIDE = 512  # pixels, longer side of a preview that will do: one of 160 has no details
_ORIENTATION = 0x0112
_TURNS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's flip -> EXIF orientation
_UNKNOWN = (rawpy.LibRawFileUnsupportedError, rawpy.LibRawNotImplementedError, rawpy.NotSupportedError)
_TOO_BIG = (rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawTooBigError, rawpy.LibRawMemPoolOverflowError)


def open_image(data: bytes) -> Image.Image:
    """The preview; or what `load` will develop. Its EXIF says how it lies.

    Raises:
        Refused: UNSUPPORTED for a camera that LibRaw does not know, without a preview. MemoryError. Whatever LibRaw raises.
    """
    try:
        raw = rawpy.imread(io.BytesIO(data))
    except _TOO_BIG as error:
        raise MemoryError from error
    except rawpy.LibRawError as error:
        preview = _named_preview(data)
        if preview is None and isinstance(error, _UNKNOWN):
            raise Refused(SkipReason.UNSUPPORTED, f"raw: {error}") from error
        if preview is None:
            raise
        return preview
    preview = _preview(raw) or _named_preview(data)
    if preview is not None and max(preview.size) >= LEAST_SIDE:
        return preview
    size = (raw.sizes.height, raw.sizes.width) if raw.sizes.flip in (5, 6) else (raw.sizes.width, raw.sizes.height)
    return LateImage("", "RGB", size, lambda: _developed(raw, preview))


def _preview(raw: Any) -> Image.Image | None:
    """LibRaw's choice, the largest; None if there is none that it can give."""
    try:
        found = raw.extract_thumb()
    except (rawpy.LibRawError, rawpy.NotSupportedError):
        return None
    if found.format == rawpy.ThumbFormat.JPEG:
        return _jpeg(found.data, _TURNS.get(raw.sizes.flip, 1))
    image = Image.fromarray(found.data)
    image.info["exif"] = exif_of(_TURNS.get(raw.sizes.flip, 1))
    return image


def _jpeg(data: bytes, turn: int) -> Image.Image | None:
    """Turned as it says, or, where it says nothing, by `turn`. Its format is the raw file's."""
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
        image.info["facts"] = image.info.get("exif")
        exif = image.getexif()
        turn = exif.get(_ORIENTATION, turn)
        exif[_ORIENTATION] = turn = turn if turn in range(1, 9) else 1
        image.info["exif"] = exif_of(turn)
    except Exception:  # broken metadata raises all kinds
        return None
    image.format = ""
    return image


def _developed(raw: Any, preview: Image.Image | None) -> Image.Image:
    """Half as wide and high, upright; where that fails, the thumbnail."""
    try:
        return Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True))
    except _TOO_BIG as error:
        raise MemoryError from error
    except (rawpy.LibRawError, rawpy.NotSupportedError):
        if preview is None:
            raise
        preview.load()
        return preview.convert("RGB")


def _named_preview(data: bytes) -> Image.Image | None:
    """The largest JPEG that a directory, or the header of a Fujifilm file, names; None if there is none."""
    turn, found = 1, []
    for directory in directories(data):
        told = directory.get(_ORIENTATION, ())
        turn = told[0] if told and turn == 1 else turn
        found += _named(data, directory)
    if data.startswith(b"FUJIFILM"):
        at, length = int.from_bytes(data[84:88], "big"), int.from_bytes(data[88:92], "big")
        found.append(data[at : at + length])
    jpegs = [image for one in found if one.startswith(b"\xff\xd8\xff") and (image := _jpeg(one, turn)) is not None]
    return max(jpegs, key=lambda image: image.size[0] * image.size[1], default=None)


def _named(data: bytes, directory: Directory) -> list[bytes]:
    """What it names as JPEG: by JPEGInterchangeFormat, as a single strip, or as Panasonic's JpgFromRaw."""
    whole = directory.get(0x002E, b"")
    found = [whole] if isinstance(whole, bytes) else []
    for start, length in ((0x0201, 0x0202), (0x0111, 0x0117)):
        at, count = directory.get(start, ()), directory.get(length, ())
        if len(at) == len(count) == 1:
            found.append(data[at[0] : at[0] + count[0]])
    return found
