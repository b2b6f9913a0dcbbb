"""When a picture was taken, as its EXIF block says: the clock on the wall where it was taken, with what else the camera knew of it.

    "2024-05-01T23:30:05"   "2024-05-01T23:30:05.25"   "2024-05-01T23:30:05.25+09:00"

The first 19 characters are the camera's own clock; nothing is converted to another time zone, so that a photo taken in the evening of the
first of May in Tokyo is one of the first of May wherever it is looked for. A fraction of a second and the time zone follow where the camera
says them. Asked are, in this order, when it was taken, when it was digitised, and when it was written (tags of CIPA DC-008, EXIF 2.32).
A date that no calendar has, and the zero of a clock that nobody set, are none.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any

__all__ = ["captured", "in_exif", "is_captured"]

# Of each moment: tags of its date, its fraction of a second, its time zone. DateTimeOriginal, DateTimeDigitized, DateTime.
_MOMENTS = ((0x9003, 0x9291, 0x9011), (0x9004, 0x9292, 0x9012), (0x0132, 0x9290, 0x9010))
_WANTED = frozenset(tag for moment in _MOMENTS for tag in moment)
_EXIF_DIRECTORY = 0x8769
_ASCII = 2
_MOST_ENTRIES = 1000
_LONGEST = 64  # bytes of a date that is looked at
_DATE = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?(?:[.,](\d{1,9})\d*)?\s*(Z|[+-]\d\d:?\d\d)?")
_ZONE = re.compile(r"([+-])(0\d|1[0-4]):?([0-5]\d)")
_KEPT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?([+-](0\d|1[0-4]):[0-5]\d)?")
# Where a clock begins that nobody has set: .NET, QuickTime and Macintosh, Unix, DOS.
_ZEROS = frozenset(f"{day}T00:00:00" for day in ("0001-01-01", "1904-01-01", "1970-01-01", "1980-01-01"))
_PNG, _IHDR_END = b"\x89PNG\r\n\x1a\n", 33
_PSD_EXIF = b"8BIM\x04\x22"
_CR3_EXIF = b"CMT2"
_HEAD = 1 << 16  # bytes in which a CR3's box lies


def captured(data: bytes, info: Mapping[Any, Any]) -> str:
    """When this picture was taken; "": it does not say.

    Args:
        data: the encoded picture. info: what Pillow knows of it once it is opened; "facts" is its EXIF block where "exif" is one of ours.
    """
    for block in _blocks(data, info):
        if found := in_exif(block):
            return found
    return ""


def is_captured(text: object) -> bool:
    """Can this have been said by `captured`? A catalog may come from a stranger."""
    return text == "" or (isinstance(text, str) and _KEPT.fullmatch(text) is not None and _in_calendar(text[:19]))


def in_exif(block: bytes) -> str:
    """When, by an EXIF block or a file that is built like one (TIFF, camera raw); "": it does not say."""
    told = _texts(block.removeprefix(b"Exif\0\0"))
    for date, fraction, zone in _MOMENTS:
        if found := _moment(told.get(date, ""), told.get(fraction, ""), told.get(zone, "")):
            return found
    return ""


def _blocks(data: bytes, info: Mapping[Any, Any]) -> list[bytes]:
    """Where it may stand: the file itself, what Pillow found, what Pillow does not look for."""
    told = info.get("facts") or info.get("exif")
    found = [told] if isinstance(told, bytes) else []
    if data[:2] in (b"II", b"MM"):
        found.insert(0, data)
    elif data.startswith(_PNG) and not found:
        found.append(_png_exif(data))
    elif data.startswith(b"8BPS") and (at := data.find(_PSD_EXIF)) >= 0:
        found.append(_photoshop(data, at + len(_PSD_EXIF)))
    elif data[4:12] == b"ftypcrx " and (at := data.find(_CR3_EXIF, 0, _HEAD)) >= 0:
        found.append(data[at + 4 : at + _HEAD])
    return found


def _png_exif(data: bytes) -> bytes:
    """Its eXIf chunk, also one that stands behind the pixels."""
    at = _IHDR_END
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"eXIf":
            return data[at + 8 : at + 8 + length]
        at += 12 + length
    return b""


def _photoshop(data: bytes, at: int) -> bytes:
    """Of the image resource whose name (a byte of length, padded to an even number) begins here."""
    at += 2 + data[at] // 2 * 2 if at < len(data) else 0
    return data[at + 4 : at + 4 + int.from_bytes(data[at : at + 4], "big")]


def _texts(tiff: bytes) -> dict[int, str]:
    """Tag -> text, of the wanted ones in the first directory and in the one it names for EXIF, as far as these can be read."""
    found: dict[int, str] = {}
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
    try:
        big = struct.unpack_from(order + "H", tiff, 2)[0] == 43 if order else False  # BigTIFF
        count, entry, offset, inline = ("Q", "HHQQ", "Q", 8) if big else ("H", "HHII", "I", 4)
        todo = [struct.unpack_from(order + offset, tiff, 8 if big else 4)[0]] if order else []
        for at in todo:
            (number,) = struct.unpack_from(order + count, tiff, at)
            first, size = at + struct.calcsize("=" + count), struct.calcsize("=" + entry)
            entries = tiff[first : first + size * min(number, _MOST_ENTRIES)]
            rows = struct.iter_unpack(order + entry, entries[: len(entries) // size * size])
            for end, (tag, kind, length, value) in enumerate(rows, 1):
                if tag == _EXIF_DIRECTORY and len(todo) == 1:
                    todo.append(value)
                elif tag in _WANTED and kind == _ASCII:
                    start = value if length > inline else first + size * end - inline
                    text = tiff[start : start + length] if length <= _LONGEST else b""
                    if len(text) == length:  # else it ends too early
                        found.setdefault(tag, text.split(b"\0")[0].decode("latin-1").strip())
    except struct.error:  # it ends too early
        pass
    return found


def _moment(date: str, fraction: str, zone: str) -> str:
    """In our words; "" for a date that cannot be."""
    match = _DATE.fullmatch(date)
    if match is None:
        return ""
    year, month, day, hour, minute, second, own_fraction, own_zone = match.groups()
    text = f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}"
    if text in _ZEROS or not _in_calendar(text):
        return ""
    digits = own_fraction or (fraction[:9] if fraction.isascii() and fraction.isdigit() else "")
    return text + (f".{digits}" if digits else "") + _zone(own_zone or zone)


def _zone(text: str) -> str:
    if text in ("Z", "z"):
        return "+00:00"
    match = _ZONE.fullmatch(text)
    return f"{match[1]}{match[2]}:{match[3]}" if match else ""


def _in_calendar(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
