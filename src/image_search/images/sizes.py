"""(width, height) by the header, for decoders that take memory for all pixels when they open a file."""

from __future__ import annotations

import struct

__all__ = ["jxl_size", "webp_size"]


def webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) by the header: Pillow allocates the whole canvas when it opens a WebP, so look before."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", body[6:10])
    return width & 0x3FFF, height & 0x3FFF


def jxl_size(data: bytes) -> tuple[int, int]:
    """Of a JPEG XL, before it is turned. Raises ValueError where it ends too early or has no pixels."""
    bits = int.from_bytes(_codestream(data)[2:14], "little")  # after ff 0a

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & (1 << count) - 1, bits >> count
        return value

    def side(small: bool) -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = bool(take(1))
    height = side(small)
    over, under = ((0, 1), (1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[take(3)]  # ISO/IEC 18181-1, table of ratios
    return (height * over // under if over else side(small)), height


def _codestream(data: bytes) -> bytes:
    """The first bytes of it: bare, or in a box "jxlc", or in the first of boxes "jxlp"."""
    if data.startswith(b"\xff\x0a"):
        return data[:14]
    at = 0
    while at + 16 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = at + 8
        if length == 1:
            length, body = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        if kind in (b"jxlc", b"jxlp"):
            body += 4 * (kind == b"jxlp")
            return data[body : body + 14]
        if length < 8:
            break
        at += length
    raise ValueError("no pixels in this JPEG XL")
