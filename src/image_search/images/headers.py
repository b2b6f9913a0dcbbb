"""What a file's header says beside its pixels and Pillow does not hand on as it stands: orientation, PNG's colour chunks, the colour
boxes of AVIF and HEIF, a profile inside a BMP. Broken headers say nothing; they never cost the picture.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["bmp_profile", "colour_boxes", "orientation", "png_chunks"]

_ORIENTATION, _SHORT = 0x0112, 3
_IHDR_END = 33  # of a PNG: signature and its first chunk


def orientation(exif: bytes | None) -> int:
    """1 to 8 by the tag of this EXIF block; 1 if there is none, or it is no single 16-bit number (browsers want that, too).

    EXIF alone: what an editor left in XMP or in a text named "Raw profile type exif" turns no picture in any viewer.
    """
    if not exif:
        return 1
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, length, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and length == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def png_chunks(data: bytes, names: frozenset[bytes]) -> dict[bytes, bytes]:
    """The first chunk of each of these names before the pixels."""
    found: dict[bytes, bytes] = {}
    at = _IHDR_END
    while at + 8 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name == b"IDAT":
            break
        if name in names:
            found.setdefault(name, data[at + 8 : at + 8 + length])
        at += 12 + length
    return found


def bmp_profile(data: bytes) -> bytes | None:
    """The profile inside a bitmap whose header is BITMAPV5HEADER; None if there is none."""
    if len(data) < 138 or data[14:18] != b"\x7c\0\0\0" or data[70:74] != b"DEBM":  # PROFILE_EMBEDDED, little-endian
        return None
    start, length = struct.unpack_from("<II", data, 14 + 112)
    return data[14 + start : 14 + start + length] or None


# --- ISO media files ---------------------------------------------------------------------------------------------------------


def colour_boxes(data: bytes) -> dict[bytes, bytes]:
    """What AVIF and HEIF say of the primary picture's colours: bodies of "nclx" (the colr box of numbers), "clli", "mdcv"."""
    found: dict[bytes, bytes] = {}
    try:
        meta = _child(data, 0, len(data), b"meta")
        properties = _child(data, meta[0] + 4, meta[1], b"iprp")  # meta is a full box: 4 bytes of version and flags
        shelf = list(_boxes(data, *_child(data, *properties, b"ipco")))
        pitm = _child(data, meta[0] + 4, meta[1], b"pitm")
        primary = int.from_bytes(data[pitm[0] + 4 : pitm[0] + (6 if data[pitm[0]] == 0 else 8)], "big")
        for index in _associated(data, *_child(data, *properties, b"ipma"), primary):
            name, start, end = shelf[index - 1]
            if name == b"colr" and data[start : start + 4] == b"nclx":
                found.setdefault(b"nclx", data[start + 4 : end])
            elif name in (b"clli", b"mdcv"):
                found.setdefault(name, data[start:end])
    except (LookupError, struct.error):
        pass
    return found


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the bodies of the boxes that lie in data[start:end]."""
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        stop = end if size == 0 else start + size
        if (size and size < head) or stop > end:
            return
        yield name, start + head, stop
        start = stop


def _child(data: bytes, start: int, end: int, wanted: bytes) -> tuple[int, int]:
    for name, first, last in _boxes(data, start, end):
        if name == wanted:
            return first, last
    raise LookupError(wanted)


def _associated(data: bytes, start: int, end: int, item: int) -> list[int]:
    """Numbers (from 1) of the properties of an item, by an ipma box."""
    version, flags = data[start], data[start + 3]
    (entries,) = struct.unpack_from(">I", data, start + 4)
    at = start + 8
    for _ in range(entries):
        if at >= end:
            break
        number, count = struct.unpack_from(">HB" if version == 0 else ">IB", data, at)
        at += 3 if version == 0 else 5
        width = 2 if flags & 1 else 1
        if number == item:
            mask = 0x7FFF if width == 2 else 0x7F
            return [int.from_bytes(data[at + i * width : at + (i + 1) * width], "big") & mask for i in range(count)]
        at += count * width
    return []
