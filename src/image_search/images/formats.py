"""One row a format: how it is told by its first bytes, by which names its files go, what opens it. All other facts follow from here.

Read are JPEG (and MPO), PNG, GIF, WebP, BMP, TIFF, AVIF and HEIF: all that people's photos are in. Not read are formats without magic
bytes (TGA takes any noise for a picture), slow ones (JPEG 2000) and those that run other programs (EPS, PDF); those that can be told
are rows all the same, so that a file is called by its name and not "not an image".

A new format is one row, and a function where its first bytes or its plugin need one. Nothing heavy is imported at the top: the folder
scan and the parent of the decode workers read the table, too.
"""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import SkipReason

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FORMATS", "Format", "Refused", "extensions", "open_as", "rules", "rules_of", "sniff"]

SNIFF_BYTES = 4096


class Refused(Exception):  # noqa: N818 - it travels one step only, to the reply
    def __init__(self, reason: SkipReason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


# --- told by more than the first bytes ---------------------------------------------------------------------------------------

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_SHARED_BRANDS = frozenset({b"mif1", b"msf1"})  # of the container; the brands it is compatible with tell what lies in it
_DIB_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})


def _brand(head: bytes) -> bytes:
    """The major brand of an ISO media file ("heic", "isom"); b"" for any other."""
    return head[8:12] if head[4:8] == b"ftyp" else b""


def _compatible(head: bytes) -> set[bytes]:
    return {head[i : i + 4] for i in range(16, min(int.from_bytes(head[:4], "big"), len(head)), 4)}


def _is_avif(head: bytes) -> bool:
    return _brand(head) in _AVIF_BRANDS or (_brand(head) in _SHARED_BRANDS and bool(_compatible(head) & _AVIF_BRANDS))


def _is_heif(head: bytes) -> bool:
    return _brand(head) in _HEIF_BRANDS | _SHARED_BRANDS  # after AVIF in the table


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _is_dib(head: bytes) -> bool:
    return len(head) >= 16 and int.from_bytes(head[:4], "little") in _DIB_HEADERS


def _is_svg(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text)


# --- what a plugin needs before it opens its first file ----------------------------------------------------------------------


def _prepare_png(plugin: ModuleType) -> None:
    # A photo with 2 MB of editing history is no attack; the cage's memory cap is the real limit.
    plugin.MAX_TEXT_CHUNK = 16 * 1024 * 1024  # type: ignore[attr-defined]


def _prepare_avif(plugin: ModuleType) -> None:
    if not plugin.SUPPORTED:
        raise Refused(SkipReason.UNSUPPORTED, "this Pillow has no AVIF")
    plugin.DEFAULT_MAX_THREADS = 1  # type: ignore[attr-defined]  # workers are the parallel part


def _prepare_heif(plugin: ModuleType) -> None:
    from PIL import Image

    if "HEIF" not in Image.OPEN:
        plugin.register_heif_opener(decode_threads=1)


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) by the header: Pillow allocates the whole canvas when it opens a WebP, so look before."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", body[6:10])
    return width & 0x3FFF, height & 0x3FFF


# --- the table ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Format:
    """What there is to know of one format.

    Attributes:
        name: as Pillow names it; of a format that is not read, as people do.
        magic: any of these at the very beginning makes a file one of these; or `fits` says so of the first 4 KiB.
        plugin: the module that opens it, imported when the first such file comes; "": this format is not read.
        prepare: called with that module before each opening; may raise Refused.
        extensions: names of files that the scan takes for pictures: what cameras, phones, desktops and NAS systems give them when
            they save this format. Lower case; the content decides what a file really is.
        chosen_by_name: "image/*" does not bring up these files in every system's file dialogue, so the page names the extensions.
        size_of: (width, height) by the header, for a plugin that allocates the whole canvas when it opens.
        draft: the decoder can scale down while it decodes.
        film: its further frames are looked at when the first is blank; those of MPO and HEIF are other views, no film.
        upright: the decoder itself turns a picture as its orientation says.
        changes: raise it by one when the same bytes may give other pixels or another reason; 1 for a new row.
    """

    name: str
    magic: tuple[bytes, ...] = ()
    fits: Callable[[bytes], bool] | None = None
    plugin: str = ""
    prepare: Callable[[ModuleType], None] | None = None
    extensions: tuple[str, ...] = ()
    chosen_by_name: bool = False
    size_of: Callable[[bytes], tuple[int, int]] | None = None
    draft: bool = False
    film: bool = False
    upright: bool = False
    changes: int = 0

    def begins(self, head: bytes) -> bool:
        return head.startswith(self.magic) or (self.fits is not None and self.fits(head))


# The first row that fits is the format: one that begins like another (camera raw like TIFF) stands before it.
FORMATS: tuple[Format, ...] = (
    Format("JPEG", (b"\xff\xd8\xff",), plugin="PIL.JpegImagePlugin", extensions=(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), draft=True),
    Format(
        "PNG", (b"\x89PNG\r\n\x1a\n",), plugin="PIL.PngImagePlugin", prepare=_prepare_png, extensions=(".png", ".apng"), film=True
    ),
    Format("GIF", (b"GIF87a", b"GIF89a"), plugin="PIL.GifImagePlugin", extensions=(".gif",), film=True),
    Format("BMP", (b"BM",), plugin="PIL.BmpImagePlugin", extensions=(".bmp",)),
    Format(
        "TIFF", (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), plugin="PIL.TiffImagePlugin", extensions=(".tif", ".tiff"),
        chosen_by_name=True, film=True, upright=True,
    ),
    Format("WEBP", fits=_is_webp, plugin="PIL.WebPImagePlugin", extensions=(".webp",), size_of=_webp_size, film=True),
    Format(  # its own rotation boxes arrive as an orientation tag
        "AVIF", fits=_is_avif, plugin="PIL.AvifImagePlugin", prepare=_prepare_avif, extensions=(".avif",), chosen_by_name=True, film=True
    ),
    Format(
        "HEIF", fits=_is_heif, plugin="pillow_heif", prepare=_prepare_heif, extensions=(".heic", ".heif", ".hif"),
        chosen_by_name=True, upright=True,
    ),
    Format("DIB", fits=_is_dib, plugin="PIL.BmpImagePlugin", extensions=(".dib",)),
    Format("Canon raw", fits=lambda head: _brand(head) == b"crx "),
    Format("Fujifilm raw", (b"FUJIFILM",)),
    Format("Photoshop", (b"8BPS",)),
    Format("JPEG XL", (b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")),
    Format("JPEG 2000", (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")),
    Format("PostScript", (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    Format("PDF", (b"%PDF",)),
    Format("Windows icon", (b"\x00\x00\x01\x00",)),
    Format("macOS icon", (b"icns",)),
    Format("DirectDraw surface", (b"DDS ",)),
    Format("OpenEXR", (b"v/1\x01",)),
    Format("Radiance HDR", (b"#?RADIANCE",)),
    Format("FITS", (b"SIMPLE  =",)),
    Format("QOI", (b"qoif",)),
    Format("Netpbm", tuple(b"P%d%c" % (n, end) for n in range(1, 8) for end in b"\n ")),
    Format("SVG", fits=_is_svg),
)  # fmt: skip


def extensions() -> frozenset[str]:
    """Of all formats that are read, lower case, with the dot."""
    return frozenset(extension for row in FORMATS if row.plugin for extension in row.extensions)


def rules() -> int:
    """The version of the rules by which bytes become pixels or a reason; grows with every change of any row, and with RULES."""
    return RULES + sum(row.changes for row in FORMATS)


def rules_of(name: str) -> int:
    """The version of the rules by which this format becomes pixels; of a vector: by which it was made. 1 was the first of all.

    Args:
        name: as Pillow names it. A name without a row (MPO, which is a JPEG of several pictures) has that of the first row.
    """
    return RULES + next((row.changes for row in FORMATS if row.name == name), FORMATS[0].changes)


RULES = 1  # of pixels.py as a whole: raise it when a rule changes that is not one format's


# --- telling and opening -----------------------------------------------------------------------------------------------------


def sniff(data: bytes) -> Format:
    """The format by its first bytes. Raises Refused: EMPTY, NOT_AN_IMAGE, UNSUPPORTED (with the format's name)."""
    if not data:
        raise Refused(SkipReason.EMPTY)
    head = data[:SNIFF_BYTES]
    row = next((row for row in FORMATS if row.begins(head)), None)
    if row is None:
        brand = _brand(head)
        raise Refused(SkipReason.NOT_AN_IMAGE, f"a media file, {brand!r}" if brand else f"starts with {head[:4]!r}")
    if not row.plugin:
        raise Refused(SkipReason.UNSUPPORTED, row.name)
    return row


def open_as(data: bytes, row: Format) -> Image.Image:
    """Read the header, with this one plugin: Pillow would import and try all forty. Raises Refused, or whatever Pillow raises."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # Pillow warns above 89 MP and refuses above 179 MP; our own limit comes first and is a setting
    try:
        plugin = importlib.import_module(row.plugin)
    except ImportError as error:
        raise Refused(SkipReason.UNSUPPORTED, f"{row.name} needs {row.plugin}") from error
    if row.prepare is not None:
        row.prepare(plugin)
    try:
        return Image.open(io.BytesIO(data), formats=[row.name])
    except UnidentifiedImageError as error:  # the magic bytes are right, what follows is not
        raise Refused(SkipReason.DAMAGED, f"not a readable {row.name}") from error
