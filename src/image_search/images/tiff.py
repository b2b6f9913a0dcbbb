"""TIFF of every number: floats of 16, 32, 64 bits, integers of 32, 16 bits a colour, more bands than colours, each in a plane of its own.

Pillow reads what photos are in. Of the rest it refuses much, takes unsigned 32 bits for signed ones, mixes the bytes of separate 16-bit
planes, and swaps compressed big-endian floats. So numbers are read here: libtiff, by way of Pillow, unpacks a block as if it were grey
bytes, whatever its compression, and numpy makes numbers of them. Shown are the first band or, of RGB, the first three; a band that is
said to be alpha is one. Memory: the picture in 8 bits and BLOCK_BYTES.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError  # noqa: F401 - the plugin makes Pillow know the format

from ..errors import SkipReason
from . import ranges
from .formats import Refused
from .ifd import first_directory
from .late import LateImage, exif_of

__all__ = ["Layout", "cut_off", "numbers_image", "open_image"]

Numbers = npt.NDArray[Any]

BLOCK_BYTES = 32 << 20  # unpacked at a time
_GREY, _RGB, _CMYK = (0, 1), 2, 5  # PhotometricInterpretation
_ORIENTATION = 0x0112
_BYTE_STREAMS = {1, 5, 8, 32773, 32946, 34925, 50000}  # compressions that know nothing of pixels: none, LZW, Deflate, PackBits, LZMA, Zstd
_NUMBERS = {(8, 1): "u1", (16, 1): "u2", (32, 1): "u4", (64, 1): "u8", (8, 2): "i1", (16, 2): "i2", (32, 2): "i4", (64, 2): "i8",
            (16, 3): "f2", (32, 3): "f4", (64, 3): "f8"}  # fmt: skip  # (BitsPerSample, SampleFormat)


def open_image(data: bytes) -> Image.Image:
    """A TIFF's first page. Its pixels are read by `load`. Raises Refused: UNSUPPORTED where it is whole and we cannot read it."""
    layout = _layout(data)
    if layout is not None and layout.is_ours:
        return numbers_image(data, layout)
    try:
        return Image.open(io.BytesIO(data), formats=["TIFF"])
    except UnidentifiedImageError as error:
        if layout is None or not layout.is_whole(len(data)):
            raise
        if layout.can_be_ours:
            return numbers_image(data, layout)
        raise Refused(SkipReason.UNSUPPORTED, f"TIFF: {layout.words}") from error


@dataclass(frozen=True, slots=True)
class Layout:
    """How a page's numbers lie in the file. A block is a strip or a tile; `across` of them stand beside each other."""

    width: int
    height: int
    bits: tuple[int, ...]
    kind: int  # SampleFormat: 1 unsigned, 2 signed, 3 float
    photometric: int
    compression: int
    predictor: int
    extra: tuple[int, ...]  # ExtraSamples: 1, 2 alpha
    separate: bool  # each band in a plane of its own
    order: str  # "<" or ">"
    block: tuple[int, int]  # (width, height)
    tiled: bool
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    turn: int  # Orientation
    profile: bytes | None  # ICC

    @classmethod
    def of_rows(cls, at: int, counts: tuple[int, ...], size: tuple[int, int], bits: tuple[int, ...], compression: int) -> Layout:
        """Of big-endian numbers, each band for itself, each row so many bytes, one after the other from `at` on."""
        return cls(
            *size, bits, 3 if bits[0] == 32 else 1, _RGB if len(bits) == 3 else 1, compression, 1, (), len(bits) > 1, ">",
            (size[0], 1), False, tuple(itertools.accumulate(counts[:-1], initial=at)), counts, 1, None,
        )  # fmt: skip

    @property
    def bands(self) -> int:
        return len(self.bits)

    @property
    def across(self) -> int:
        return -(-self.width // self.block[0])

    @property
    def down(self) -> int:
        return -(-self.height // self.block[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + _NUMBERS[self.bits[0], self.kind])

    @property
    def words(self) -> str:
        return f"{self.bits} bits, format {self.kind}, photometric {self.photometric}, compression {self.compression}"

    @property
    def colours(self) -> int:
        return 3 if self.photometric == _RGB else 4 if self.photometric == _CMYK else 1

    @property
    def has_alpha(self) -> bool:
        return self.colours < 4 and self.bands > self.colours and self.extra[:1] in ((1,), (2,))

    @property
    def can_be_ours(self) -> bool:
        return (
            len(set(self.bits)) == 1
            and (self.bits[0], self.kind) in _NUMBERS
            and self.photometric in (*_GREY, _RGB, _CMYK)
            and self.bands >= self.colours
            and self.compression in _BYTE_STREAMS
            and self.predictor in (1, 2, 3)
            and (self.predictor != 3 or self.kind == 3)
            and len(self.offsets) == len(self.counts) == self.across * self.down * (self.bands if self.separate else 1)
        )

    @property
    def is_ours(self) -> bool:
        """Numbers that are no bytes; bytes are Pillow's as long as it knows their bands."""
        strange = self.separate and self.photometric in _GREY  # Pillow has no grey of several planes
        return self.can_be_ours and (strange or (self.bits[0], self.kind) != (8, 1))

    def is_whole(self, size: int) -> bool:
        """All blocks lie within so many bytes."""
        return bool(self.offsets) and all(at + count <= size for at, count in zip(self.offsets, self.counts, strict=False))

    def missing(self, size: int) -> npt.NDArray[np.bool_]:
        """Which rows are not wholly in the first `size` bytes: bool (height,)."""
        gone = np.zeros(self.height, np.bool_)
        for number, (at, count) in enumerate(zip(self.offsets, self.counts, strict=True)):
            if at + count > size:
                top = number // self.across % self.down * self.block[1]
                rows = 0
                if self.compression == 1 and not self.tiled:
                    rows = max(0, size - at) * min(self.block[1], self.height - top) // count
                gone[top + rows : top + self.block[1]] = True
        return gone


def _layout(data: bytes) -> Layout | None:
    """Of the first page; None where the directory cannot be read."""
    try:
        tags = first_directory(data)

        def many(tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
            value = tags.get(tag, default)
            return value if isinstance(value, tuple) else ()

        def one(tag: int, default: int) -> int:
            return (many(tag) or (default,))[0]

        width, height, bands = one(256, 0), one(257, 0), one(277, 1)
        bits = many(258, (1,))
        tiled = 322 in tags
        block = (one(322, 0), one(323, 0)) if tiled else (width, min(height, one(278, height)))
        if min(width, height, bands, *block) < 1 or max(width, height, *block) >= 1 << 31 or bands > 4096:
            return None
        offsets, counts = (many(324), many(325)) if tiled else (many(273), many(279))
        kind = one(339, 1)
        return Layout(
            width, height, bits * bands if len(bits) == 1 else bits, 1 if kind == 4 else kind, one(262, 1), one(259, 1), one(317, 1),
            many(338), one(284, 1) == 2 and bands > 1, "<" if data[:2] == b"II" else ">", block, tiled, offsets, counts, one(274, 1),
            profile if isinstance(profile := tags.get(34675), bytes) else None,
        )  # fmt: skip
    except (ValueError, struct.error):
        return None


# --- blocks ------------------------------------------------------------------------------------------------------------------


def _rows(data: bytes, layout: Layout, band: int | None) -> Iterator[Numbers]:
    """All rows from the top, some at a time: (rows, width, bands); of separate ones only this `band`: (rows, width, 1)."""
    bands, start = (layout.bands, 0) if band is None else (1, band * layout.across * layout.down)
    wide, high = layout.block
    unit = bands * layout.dtype.itemsize
    step = max(1, BLOCK_BYTES // (layout.across * wide * high * unit))
    for first in range(0, layout.down, step):
        last = min(first + step, layout.down)
        rows = (last - first) * high if layout.tiled else min(last * high, layout.height) - first * high
        some = slice(start + first * layout.across, start + last * layout.across)
        with Image.open(_bytes_page(data, layout, some, rows, unit), formats=["TIFF"]) as image:
            raw = np.asarray(image)  # (rows, bytes)
        yield _numbers(raw, layout, bands)[: layout.height - first * high, : layout.width]


def _bytes_page(data: bytes, layout: Layout, some: slice, rows: int, unit: int) -> io.BytesIO:
    """A TIFF of one page, `rows` high, that holds these blocks as grey bytes, `unit` of them for each pixel."""
    wide, high = layout.block
    counts = layout.counts[some]
    blocks = [data[at : at + count].ljust(count, b"\0") for at, count in zip(layout.offsets[some], counts, strict=True)]
    width = layout.width if not layout.tiled else layout.across * wide
    tags = {256: [width * unit], 257: [rows], 258: [8], 259: [layout.compression], 262: [1], 277: [1]}
    if layout.tiled:
        tags |= {322: [wide * unit], 323: [high], 324: [0] * len(counts), 325: list(counts)}
    else:
        tags |= {273: [0] * len(counts), 278: [min(high, rows)], 279: list(counts)}
    more_at = 8 + 2 + 12 * len(tags) + 4  # where the lists stand, then the blocks
    blocks_at = more_at + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    tags[324 if layout.tiled else 273] = list(itertools.accumulate(counts[:-1], initial=blocks_at))
    directory = more = b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, more = struct.pack("<I", more_at + len(more)), more + packed
        directory += struct.pack("<HHI", tag, 4, len(values)) + packed
    return io.BytesIO(b"".join([b"II*\0", struct.pack("<IH", 8, len(tags)), directory, bytes(4), more, *blocks]))


def _numbers(raw: Numbers, layout: Layout, bands: int) -> Numbers:
    """(rows, bytes) of blocks beside each other -> (rows, columns, bands) numbers, the predictor undone block by block."""
    rows, across, size = len(raw), layout.across, layout.dtype.itemsize
    if layout.predictor == 3:  # Adobe's technical note 3: differences of bytes, the highest bytes of all numbers first
        parts = np.add.accumulate(raw.reshape(rows * across, -1, bands), axis=1, dtype=np.uint8)
        parts = parts.reshape(rows * across, size, -1).transpose(0, 2, 1)  # (rows of blocks, numbers, bytes)
        return np.ascontiguousarray(parts).view(f">f{size}").reshape(rows, -1, bands)
    numbers = np.ascontiguousarray(raw).view(layout.dtype).reshape(rows, across, -1, bands)
    if layout.predictor == 2:  # differences, which wrap
        numbers = numbers.view(f"{layout.order}u{size}").astype(f"u{size}")
        numbers = np.add.accumulate(numbers, axis=2, dtype=numbers.dtype).view(layout.dtype.newbyteorder("="))
    return numbers.reshape(rows, -1, bands)


# --- the picture -------------------------------------------------------------------------------------------------------------


def numbers_image(data: bytes, layout: Layout, format: str = "TIFF", *, tolerant: bool = False) -> Image.Image:
    """Of mode L, LA, RGB, RGBA or CMYK, turned as it says; if tolerant, not turned, and without a word of what is missing."""
    bands = layout.colours + layout.has_alpha
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[layout.colours] + "A" * layout.has_alpha

    def read() -> Image.Image:
        if not (tolerant or layout.is_whole(len(data))):
            raise OSError("image file is truncated")
        shown = ranges.shown_range(_sample(data, layout))
        if layout.separate:
            image = Image.merge(mode, [_drawn(data, layout, band, "L", range(band, band + 1), shown) for band in range(bands)])
        else:
            image = _drawn(data, layout, None, mode, range(bands), shown)
        image.getexif()[_ORIENTATION] = layout.turn
        return image if tolerant else ImageOps.exif_transpose(image)

    image = LateImage(format, mode, (layout.width, layout.height), read)
    if tolerant:
        image.info["exif"] = exif_of(layout.turn)
    if layout.profile:
        image.info["icc_profile"] = layout.profile
    return image


def _sample(data: bytes, layout: Layout) -> Numbers:
    """Numbers from all over the picture, enough of them to tell its range."""
    colours = layout.colours
    every = max(1, layout.width * layout.height * colours // ranges.SAMPLE)
    bands = range(colours) if layout.separate else (None,)
    return np.concatenate([rows[:, :, :colours].reshape(-1)[::every] for band in bands for rows in _rows(data, layout, band)])


def _drawn(data: bytes, layout: Layout, plane: int | None, mode: str, bands: range, shown: tuple[float, float]) -> Image.Image:
    """These bands as an image; `plane`: where each lies in one of its own, the one that is read."""
    image = Image.new(mode, (layout.width, layout.height))
    at = 0
    for rows in _rows(data, layout, plane):
        eight = np.empty((*rows.shape[:2], len(bands)), np.uint8)
        for number, band in enumerate(bands):
            numbers = rows[:, :, number if plane is None else 0]
            eight[:, :, number] = ranges.opaque(numbers) if band >= layout.colours else ranges.eight_bits(numbers, shown)
            if layout.photometric == 0 and band == 0:  # white is zero
                eight[:, :, number] ^= 255
        image.paste(Image.frombytes(mode, (layout.width, len(rows)), eight.tobytes()), (0, at))
        at += len(rows)
    return image


def cut_off(data: bytes) -> tuple[Image.Image, npt.NDArray[np.bool_]] | None:
    """Of a TIFF without its end: the picture, not turned, and which of its rows are missing, bool (height,). None: of another kind."""
    layout = _layout(data)
    if layout is None or not layout.can_be_ours:
        return None
    return numbers_image(data, layout, tolerant=True), layout.missing(len(data))
