"""One row a format: how it is told by its first bytes, by which names its files go, what opens it. All other facts follow from here.

Read are JPEG (and MPO), PNG, GIF, WebP, BMP, TIFF, AVIF and HEIF: all that people's photos are in. Not read are formats without magic
bytes (TGA takes any noise for a picture), slow ones (JPEG 2000) and those that run other programs (EPS, PDF); those that can be told
are rows all the same, so that a file is called by its name and not "not an image".

A new format is one row, and a function where its first bytes or its plugin need one. Nothing heavy is imported at the top: the folder
scan and the parent of the decode workers read the table, too.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import SkipReason
from .ifd import directories
from .sizes import jxl_size, webp_size

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "FORMATS",
    "Format",
    "Refused",
    "extensions",
    "extra_for",
    "open_as",
    "rules",
    "rules_of",
    "shot_extensions",
    "sniff",
    "unread_extensions",
]

SNIFF_BYTES = 4096


class Refused(Exception):  # noqa: N818 - it travels one step only, to the reply
    """`hint`: what to do, where that is more than the reason's own hint says."""

    def __init__(self, reason: SkipReason, detail: str = "", hint: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.hint = hint


# --- told by more than the first bytes ---------------------------------------------------------------------------------------

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_SHARED_BRANDS = frozenset({b"mif1", b"msf1"})  # of the container; the brands it is compatible with tell what lies in it
_DIB_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})


def _brand(head: bytes) -> bytes:
    """The major brand of an ISO media file ("heic", "isom"); b"" for any other."""
    return head[8:12] if head[4:8] == b"ftyp" else b""


def _compatible(head: bytes) -> set[bytes]:
    return {head[i : i + 4] for i in range(16, min(int.from_bytes(head[:4], "big"), len(head), SNIFF_BYTES), 4)}


def _is_avif(head: bytes) -> bool:
    return _brand(head) in _AVIF_BRANDS or (_brand(head) in _SHARED_BRANDS and bool(_compatible(head) & _AVIF_BRANDS))


def _is_heif(head: bytes) -> bool:
    return _brand(head) in _HEIF_BRANDS | _SHARED_BRANDS  # after AVIF in the table


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


_RAW_PHOTOMETRIC = frozenset({32803, 34892})  # colour filter array, linear raw
_RAW_COMPRESSION = frozenset({34713, 32767, 32769, 32770, 65000, 65535})  # Nikon, Sony, packed, Samsung, Kodak, Pentax


def _raw_kind(data: bytes) -> str:
    """The name of the row of a camera's raw file that is built like a TIFF; "" for any other file, TIFFs that are pictures included."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return ""
    if data[8:10] == b"CR":
        return "CR2"
    make, raw = b"", False
    for number, directory in enumerate(directories(data)):
        if number == 0 and 50706 in directory:  # DNGVersion
            return "DNG"
        told = directory.get(271, b"")
        make = make or (told if isinstance(told, bytes) else b"")
        raw = raw or bool(_RAW_PHOTOMETRIC.intersection(directory.get(262, ())) or _RAW_COMPRESSION.intersection(directory.get(259, ())))
    if not raw:
        return ""
    return "NEF" if make.startswith(b"NIKON") else "ARW" if make.startswith(b"SONY") else "camera raw"


def _is_dib(head: bytes) -> bool:
    return len(head) >= 16 and int.from_bytes(head[:4], "little") in _DIB_HEADERS


def _is_svg(head: bytes) -> bool:
    text = head[:SNIFF_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
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


# --- the table ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Format:
    """What there is to know of one format.

    Attributes:
        name: as Pillow names it; of a format that is not read, as people do.
        magic: any of these at the very beginning makes a file one of these; or `fits` says so of the whole file.
        plugin: the module that opens it, imported when the first such file comes: one of Pillow's kind, or one of ours (".tiff"), which
            has a function `open_image(data)`. "": this format is not read.
        prepare: called with that module before each opening; may raise Refused.
        extensions: names of files that the scan takes for pictures: what cameras, phones, desktops and NAS systems give them when
            they save this format. Of a format that is not read such files are counted. Lower case; the content decides what a file is.
        chosen_by_name: "image/*" does not bring up these files in every system's file dialogue, so the page names the extensions.
        size_of: (width, height) by the header, for a plugin that allocates the whole canvas when it opens.
        draft: the decoder can scale down while it decodes.
        needs: the module that has to be installed beside Pillow and is not always; "": none.
        extra: of ours, with which pip installs it.
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
    needs: str = ""
    extra: str = ""
    draft: bool = False
    film: bool = False
    upright: bool = False
    changes: int = 0

    def begins(self, data: bytes) -> bool:
        return data.startswith(self.magic) or (self.fits is not None and self.fits(data))


def _raw(name: str, magic: tuple[bytes, ...] = (), *, extensions: tuple[str, ...], fits: Callable[[bytes], bool] | None = None) -> Format:
    """Camera raw: its preview is a JPEG."""
    return Format(
        name, magic, fits, plugin=".raw", needs="rawpy", extensions=extensions, chosen_by_name=True, draft=True, changes=1
    )  # fmt: skip


# The first row that fits is the format: one that begins like another (camera raw like TIFF) stands before it.
FORMATS: tuple[Format, ...] = (
    Format(
        "JPEG", (b"\xff\xd8\xff",), plugin=".jpeg", draft=True, changes=1,
        extensions=(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    ),
    Format(
        "PNG", (b"\x89PNG\r\n\x1a\n",), plugin="PIL.PngImagePlugin", prepare=_prepare_png, extensions=(".png", ".apng"),
        film=True, changes=1,
    ),
    Format("GIF", (b"GIF87a", b"GIF89a"), plugin="PIL.GifImagePlugin", extensions=(".gif",), film=True, changes=1),
    Format("BMP", (b"BM",), plugin=".bmp", extensions=(".bmp",), changes=1),
    _raw("DNG", fits=lambda data: _raw_kind(data) == "DNG", extensions=(".dng",)),
    _raw("CR2", fits=lambda data: _raw_kind(data) == "CR2", extensions=(".cr2",)),
    _raw("NEF", fits=lambda data: _raw_kind(data) == "NEF", extensions=(".nef", ".nrw")),
    _raw("ARW", fits=lambda data: _raw_kind(data) == "ARW", extensions=(".arw", ".sr2", ".srf")),
    _raw(  # Pentax, Samsung, Hasselblad, Phase One, Epson; Canon's old kind, Minolta, Sigma
        "camera raw", (b"II\x1a\0\0\0HEAPCCDR", b"\0MRM", b"FOVb"), fits=lambda data: _raw_kind(data) == "camera raw",
        extensions=(".pef", ".srw", ".3fr", ".iiq", ".erf", ".crw", ".mrw", ".x3f"),
    ),
    _raw("CR3", fits=lambda data: _brand(data) == b"crx ", extensions=(".cr3",)),
    _raw("ORF", (b"IIRO", b"IIRS", b"MMOR"), extensions=(".orf",)),
    _raw("RW2", (b"IIU\0",), extensions=(".rw2", ".rwl")),
    _raw("RAF", (b"FUJIFILM",), extensions=(".raf",)),
    Format(
        "TIFF", (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), plugin=".tiff", extensions=(".tif", ".tiff"),
        chosen_by_name=True, film=True, upright=True, changes=1,
    ),
    Format("WEBP", fits=_is_webp, plugin="PIL.WebPImagePlugin", extensions=(".webp",), size_of=webp_size, film=True, changes=1),
    Format(  # its own rotation boxes arrive as an orientation tag
        "AVIF", fits=_is_avif, plugin="PIL.AvifImagePlugin", prepare=_prepare_avif, extensions=(".avif",), chosen_by_name=True, film=True,
        changes=1,
    ),
    Format(
        "HEIF", fits=_is_heif, plugin="pillow_heif", prepare=_prepare_heif, extensions=(".heic", ".heif", ".hif"),
        chosen_by_name=True, upright=True, changes=1,
    ),
    Format("DIB", fits=_is_dib, plugin="PIL.BmpImagePlugin", extensions=(".dib",)),
    Format(
        "JXL", (b"\xff\x0a", b"\x00\x00\x00\x0cJXL "), plugin=".jxl", needs="pillow_jxl", extra="jxl", extensions=(".jxl",),
        chosen_by_name=True, size_of=jxl_size, changes=1,
    ),
    Format(
        "JPEG2000", (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"), plugin=".jpeg2000", extensions=(".jp2", ".j2k", ".jpx", ".j2c", ".jpf"),
        chosen_by_name=True, draft=True, changes=1,
    ),
    Format("PSD", (b"8BPS",), plugin=".psd", extensions=(".psd", ".psb"), chosen_by_name=True, changes=1),
    Format("PostScript", (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    Format("PDF", (b"%PDF",)),
    Format("Windows icon", (b"\x00\x00\x01\x00",)),
    Format("macOS icon", (b"icns",)),
    Format("DirectDraw surface", (b"DDS ",), extensions=(".dds",)),
    Format("OpenEXR", (b"v/1\x01",), extensions=(".exr",)),
    Format("Radiance HDR", (b"#?RADIANCE",)),
    Format("FITS", (b"SIMPLE  =",)),
    Format("QOI", (b"qoif",), extensions=(".qoi",)),
    Format(
        "Netpbm", tuple(b"P%d%c" % (n, end) for n in range(1, 8) for end in b"\n "), extensions=(".pbm", ".pgm", ".ppm", ".pnm", ".pam"),
    ),
    Format("SVG", fits=_is_svg),
)  # fmt: skip


def extensions() -> frozenset[str]:
    """Of all formats that are read here, lower case, with the dot."""
    return frozenset(extension for row in FORMATS if row.plugin and _is_here(row) for extension in row.extensions)


def unread_extensions() -> dict[str, str]:
    """Endings of pictures that are not read here, lower case, with the dot -> the format's name."""
    unread = {extension: row.name for row in FORMATS if not (row.plugin and _is_here(row)) for extension in row.extensions}
    return unread | {".tga": "Targa", ".raw": "camera raw"}  # nothing in such a file tells what it is


def extra_for(extension: str) -> str:
    """The extra of ours with which files of this ending would be read here; "" if there is none, or if they are."""
    return next((row.extra for row in FORMATS if extension in row.extensions and not _is_here(row)), "")


def shot_extensions() -> tuple[frozenset[str], frozenset[str]]:
    """Endings of (camera raw, the pictures that cameras write beside it)."""
    raw = frozenset(extension for row in FORMATS if row.plugin == ".raw" for extension in row.extensions)
    return raw, frozenset(extension for row in FORMATS if row.name in ("JPEG", "HEIF") for extension in row.extensions)


def _is_here(row: Format) -> bool:
    return not row.needs or importlib.util.find_spec(row.needs) is not None


def rules() -> int:
    """The version of the rules by which bytes become pixels or a reason; grows with every change of any row, and with RULES."""
    return RULES + sum(row.changes for row in FORMATS)


def rules_of(name: str) -> int:
    """The version of the rules by which this format becomes pixels; of a vector: by which it was made. 1 was the first of all.

    Args:
        name: as Pillow names it; MPO, a JPEG of several pictures, is one of the JPEG row.
    """
    own = "JPEG" if name == "MPO" else name
    return RULES + next((row.changes for row in FORMATS if row.name == own), 0)


RULES = 1  # of pixels.py as a whole: raise it when a rule changes that is not one format's


# --- telling and opening -----------------------------------------------------------------------------------------------------


def sniff(data: bytes) -> Format:
    """The format by its first bytes. Raises Refused: EMPTY, NOT_AN_IMAGE, UNSUPPORTED (with the format's name)."""
    if not data:
        raise Refused(SkipReason.EMPTY)
    row = next((row for row in FORMATS if row.begins(data)), None)
    if row is None:
        brand = _brand(data)
        raise Refused(SkipReason.NOT_AN_IMAGE, f"a media file, {brand!r}" if brand else f"starts with {data[:4]!r}")
    if not row.plugin:
        raise Refused(SkipReason.UNSUPPORTED, row.name)
    return row


def open_as(data: bytes, row: Format) -> Image.Image:
    """Read the header, with this one plugin: Pillow would import and try all forty. Raises Refused, or whatever Pillow raises."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # Pillow warns above 89 MP and refuses above 179 MP; our own limit comes first and is a setting
    try:
        plugin = importlib.import_module(row.plugin, __package__)
    except ImportError as error:
        hint = f'install what reads it: pip install "ai-image-search-engine[{row.extra}]"' if row.extra else ""
        raise Refused(SkipReason.UNSUPPORTED, f"{row.name} needs {row.needs or row.plugin}", hint) from error
    if row.prepare is not None:
        row.prepare(plugin)
    try:
        if row.plugin.startswith("."):
            image: Image.Image = plugin.open_image(data)
            return image
        return Image.open(io.BytesIO(data), formats=[row.name])
    except UnidentifiedImageError as error:  # the magic bytes are right, what follows is not
        raise Refused(SkipReason.DAMAGED, f"not a readable {row.name}") from error
