"""What kind of picture is this? Told by its first bytes, never by the file's name; and opened with exactly that one plugin.

Read are JPEG (and MPO), PNG, GIF, WebP, BMP, TIFF, AVIF and HEIF: all that people's photos are in. Not read are formats without magic
bytes (TGA takes any noise for a picture), slow ones (JPEG 2000) and those that run other programs (EPS, PDF).
"""

from __future__ import annotations

import io
import struct

from PIL import Image, UnidentifiedImageError

from ..errors import SkipReason

__all__ = ["Refused", "open_as", "sniff", "webp_size"]

# Pillow warns above 89 MP and refuses above 179 MP; our own limit comes first and is a setting.
Image.MAX_IMAGE_PIXELS = None

SNIFF_BYTES = 4096

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_DIB_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})

# Image formats we know by their first bytes but do not read: slow, without magic bytes, or able to run code.
_OTHER_IMAGES: tuple[bytes, ...] = (
    b"8BPS",  # Photoshop
    b"\xff\x0a",  # JPEG XL
    b"\x00\x00\x00\x0cJXL ",
    b"\x00\x00\x00\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"%!PS",
    b"\xc5\xd0\xd3\xc6",  # EPS
    b"%PDF",
    b"\x00\x00\x01\x00",  # Windows icon
    b"icns",
    b"DDS ",
    b"v/1\x01",  # OpenEXR
    b"#?RADIANCE",
    b"SIMPLE  =",  # FITS
    b"qoif",
    b"FUJIFILM",  # raw
    *(b"P%d\n" % n for n in range(1, 8)),
    *(b"P%d " % n for n in range(1, 8)),
)


class Refused(Exception):  # noqa: N818 - it travels one step only, to the reply
    def __init__(self, reason: SkipReason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def sniff(data: bytes) -> str:
    """The format by its first bytes, as Pillow names it. Raises Refused: EMPTY, NOT_AN_IMAGE, UNSUPPORTED."""
    if not data:
        raise Refused(SkipReason.EMPTY)
    head = data[:SNIFF_BYTES]
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _sniff_boxes(head)
    if len(head) >= 16 and int.from_bytes(head[:4], "little") in _DIB_HEADERS:
        return "DIB"
    if head.startswith(_OTHER_IMAGES):
        raise Refused(SkipReason.UNSUPPORTED, f"starts with {head[:4]!r}")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        raise Refused(SkipReason.UNSUPPORTED, "SVG")
    raise Refused(SkipReason.NOT_AN_IMAGE, f"starts with {head[:4]!r}")


def _sniff_boxes(head: bytes) -> str:
    major = head[8:12]
    brands = {head[i : i + 4] for i in range(16, min(int.from_bytes(head[:4], "big"), len(head)), 4)}
    if major in (b"avif", b"avis"):
        return "AVIF"
    if major in _HEIF_BRANDS:
        return "HEIF"
    if major in (b"mif1", b"msf1"):
        return "AVIF" if brands & {b"avif", b"avis"} else "HEIF"
    if major == b"crx ":
        raise Refused(SkipReason.UNSUPPORTED, "camera raw")
    raise Refused(SkipReason.NOT_AN_IMAGE, f"a media file, {major!r}")


def open_as(data: bytes, name: str) -> Image.Image:
    """Read the header. Raises Refused, or whatever Pillow raises."""
    _register(name)
    try:
        return Image.open(io.BytesIO(data), formats=[name])
    except UnidentifiedImageError as error:  # the magic bytes are right, what follows is not
        raise Refused(SkipReason.DAMAGED, f"not a readable {name}") from error


def _register(name: str) -> None:
    """Import the one plugin that is needed; Pillow would import all forty."""
    if name == "HEIF":
        try:
            import pillow_heif
        except ImportError as error:
            raise Refused(SkipReason.UNSUPPORTED, "HEIF needs pillow-heif") from error
        if "HEIF" not in Image.OPEN:
            pillow_heif.register_heif_opener(decode_threads=1)
    elif name == "WEBP":
        from PIL import WebPImagePlugin  # noqa: F401
    elif name == "AVIF":
        from PIL import AvifImagePlugin

        if not AvifImagePlugin.SUPPORTED:
            raise Refused(SkipReason.UNSUPPORTED, "this Pillow has no AVIF")
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # workers are the parallel part
    elif name == "TIFF":
        from PIL import TiffImagePlugin  # noqa: F401
    elif name == "PNG":
        from PIL import PngImagePlugin

        # A photo with 2 MB of editing history is no attack; the cage's memory cap is the real limit.
        PngImagePlugin.MAX_TEXT_CHUNK = 16 * 1024 * 1024


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
