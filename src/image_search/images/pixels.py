"""Encoded bytes -> upright 8-bit RGB, as a person sees the picture. Pure rules; the decode worker calls them inside its cage.

    bytes → sniff (format by magic) → open (header) → limits → [JPEG draft] → load → 8-bit RGB on white → upright → resize → cut → sRGB

Only Pillow is imported at the top (a worker must start fast); numpy for 16-bit and float pictures, pillow-heif for HEIF bytes, LittleCMS
for a colour profile that is not sRGB's.

The judge is a browser: tests/test_as_browsers_show.py draws the same bytes in one. Colours are colour.py's; they are turned into sRGB
last, on the few pixels that are left, where that is as good (`Conversion.early`). CMYK JPEGs are taken as inverted (Adobe's convention;
browsers do the same).
"""

from __future__ import annotations

import io
import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from ..config import BYTES_PER_PIXEL, THUMBNAIL_QUALITY
from ..errors import SkipReason
from ..region import Region
from .captured import captured
from .colour import conversion
from .formats import Format, Refused, open_as, sniff
from .frames import check_size, first_telling_frame
from .headers import orientation

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Limits
    from .colour import Conversion

    _Check = Callable[[tuple[int, int]], int]  # size -> pixels
    _Opened = Callable[[bytes, Format], Image.Image]

__all__ = ["OutsidePicture", "Picture", "RenderSpec", "render"]

DRAFT_MARGIN = 2  # JPEGs are decoded at >= twice the model's size: cosine >= .999995 with the full decode, 5x faster at 12 MP
MIN_REGION_RATIO = 2  # a box longer than 2:1 grows to it: models see squares, and a thin strip squeezed into one shows nothing
MAX_RESIZED = 16_000_000  # pixels; a 1x20000 picture resized by its shorter side would be 5 GB
LOSSLESS_BELOW = 64  # pixels, the longer side: such a thumbnail then has at most 12 KB


class OutsidePicture(Exception):  # noqa: N818
    """The region reaches outside the picture of this (width, height)."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(size)
        self.size = size


@dataclass(frozen=True, slots=True)
class RenderSpec:
    """What shall come out: for a model (`size` or `shortest_edge`, see types.Preprocess) or, with `max_side`, for showing."""

    size: tuple[int, int] | None = None  # (height, width)
    shortest_edge: int | None = None
    crop: tuple[int, int] | None = None  # (height, width)
    resample: str = "bilinear"
    max_side: int | None = None  # proportions kept, never enlarged
    thumbnail_side: int | None = None
    region: Region | None = None

    def resized(self, width: float, height: float) -> tuple[int, int]:
        """(width, height) after the resize, before the crop, of a picture of this size."""
        if self.max_side is not None:
            return _fit(width, height, self.max_side)
        if self.size is not None:
            return self.size[1], self.size[0]
        assert self.shortest_edge is not None
        short, long = min(width, height), max(width, height)
        other = int(self.shortest_edge * long / short)  # rounded down, as transformers does
        return (self.shortest_edge, other) if width <= height else (other, self.shortest_edge)


class Picture(NamedTuple):
    pixels: Image.Image  # RGB
    width: int  # of the upright picture
    height: int
    format: str
    thumbnail: bytes | None
    note: str = ""  # what else is to be said of it: "cut off"
    captured: str = ""  # when it was taken, see captured.py


def render(data: bytes, spec: RenderSpec, limits: Limits, sized: Callable[[int], None] = lambda pixels: None) -> Picture:
    """Encoded bytes -> what the spec says. Raises Refused, OutsidePicture, MemoryError; nothing else.

    `sized` is told how many pixels there are before they are decoded.
    """
    row = sniff(data)

    def check(size: tuple[int, int]) -> int:
        pixels = check_size(size, limits.megapixels * 1e6)
        sized(pixels)
        return pixels

    try:
        return _rendered(data, row, spec, limits, check, open_as)
    except Refused as refused:
        if refused.reason != SkipReason.DAMAGED:
            raise
        from .cutoff import rescued

        try:
            return _rendered(data, row, spec, limits, check, lambda data, row: rescued(data, row, check))
        except Refused:
            raise refused from None


def _rendered(data: bytes, row: Format, spec: RenderSpec, limits: Limits, check: _Check, opened: _Opened) -> Picture:
    pixels = 0
    try:
        if row.size_of is not None:
            pixels = check(row.size_of(data))
        image = opened(data, row)
        pixels = check(image.size)
        turn = 1 if row.upright else orientation(image.info.get("exif"))
        taken = captured(data, image.info)
        space = conversion(image, data, row.name)
        if row.draft or space is not None:
            full = _upright_size(image.size, turn)
            area = _area(full, spec)
            least = _least(full, area, spec, turned=turn >= 5)
            space = space and space.leaving(least)
        if row.draft:
            image.draft(None, least)
        rgb, space = first_telling_frame(image, row, limits, space)
        if not row.draft:  # TIFF turns itself on load: its size is known only now
            full = _upright_size(image.size, turn)
            area = _area(full, spec)
        rgb = _transpose(rgb, turn)
        thumbnail = None if spec.thumbnail_side is None else _thumbnail(rgb, full, spec.thumbnail_side, space)
        shown = _in_srgb(_cut(rgb, full, area, spec), space)
        return Picture(shown, *full, image.format or row.name, thumbnail, image.info.get("note", ""), taken)
    except (Refused, OutsidePicture, MemoryError):
        raise
    except (
        Exception
    ) as error:  # Pillow's plugins raise OSError, ValueError, SyntaxError, RuntimeError, TypeError, IndexError, struct.error...
        raise _refused(error, pixels, limits) from error


# --- upright -----------------------------------------------------------------------------------------------------------------

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright_size(size: tuple[int, int], turn: int) -> tuple[int, int]:
    return (size[1], size[0]) if turn >= 5 else size


def _transpose(image: Image.Image, turn: int) -> Image.Image:
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


# --- the part that is wanted -------------------------------------------------------------------------------------------------


def _area(full: tuple[int, int], spec: RenderSpec) -> Region:
    """The region, grown to at most 2:1 with its surroundings, inside the picture; the whole picture if there is none."""
    if spec.region is None:
        return Region(0, 0, *full)
    x, y, w, h = astuple(spec.region)
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > full[0] or y + h > full[1]:
        raise OutsidePicture(full)
    x, w = _grow(x, w, math.ceil(h / MIN_REGION_RATIO), full[0])
    y, h = _grow(y, h, math.ceil(w / MIN_REGION_RATIO), full[1])
    return Region(x, y, w, h)


def _grow(start: int, length: int, wanted: int, limit: int) -> tuple[int, int]:
    """Widen [start, start + length) around its middle to the wanted length, shifted and cut to lie in [0, limit)."""
    if length >= wanted:
        return start, length
    wanted = min(wanted, limit)
    start -= (wanted - length) // 2
    return max(0, min(start, limit - wanted)), wanted


def _fit(width: float, height: float, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _least(full: tuple[int, int], area: Region, spec: RenderSpec, *, turned: bool) -> tuple[int, int]:
    """(width, height) as stored down to which a decoder may scale: the wanted part then still has twice the pixels needed."""
    margin = 1 if spec.max_side is not None else DRAFT_MARGIN
    wide, high = spec.resized(area.w, area.h)
    need = math.ceil(full[0] * wide * margin / area.w), math.ceil(full[1] * high * margin / area.h)
    return (need[1], need[0]) if turned else need


def _cut(image: Image.Image, full: tuple[int, int], area: Region, spec: RenderSpec) -> Image.Image:
    """The upright picture, perhaps at draft scale -> the wanted part at the wanted size."""
    right, bottom = area.x + area.w, area.y + area.h
    if image.size == full and (area.w, area.h) != full:
        image = image.crop((area.x, area.y, right, bottom))
        box = (0.0, 0.0, float(area.w), float(area.h))
    else:
        sx, sy = image.size[0] / full[0], image.size[1] / full[1]
        box = (area.x * sx, area.y * sy, min(image.size[0], right * sx), min(image.size[1], bottom * sy))
    size = spec.resized(area.w, area.h)
    if spec.max_side is not None:
        return image.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=2.0)
    resample = Image.Resampling[spec.resample.upper()]
    if spec.crop is None:
        return image.resize(size, resample, box)
    return _centre(image, box, size, spec.crop, resample)


def _centre(
    image: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int], crop: tuple[int, int], resample: Image.Resampling
) -> Image.Image:
    """Resize to `size`, then the central crop (height, width); what is missing is black. Same rounding as transformers' center_crop."""
    (wide, high), (crop_high, crop_wide) = size, crop
    left, top = max(0, (wide - crop_wide) // 2), max(0, (high - crop_high) // 2)
    right, bottom = left + min(wide, crop_wide), top + min(high, crop_high)
    if wide * high <= MAX_RESIZED:
        part = image.resize(size, resample, box).crop((left, top, right, bottom))
    else:  # a very long picture: only the part that stays
        sx, sy = (box[2] - box[0]) / wide, (box[3] - box[1]) / high
        inner = (box[0] + left * sx, box[1] + top * sy, box[0] + right * sx, box[1] + bottom * sy)
        part = image.resize((right - left, bottom - top), resample, inner)
    if part.size == (crop_wide, crop_high):
        return part
    frame = Image.new("RGB", (crop_wide, crop_high))
    frame.paste(part, ((crop_wide - part.size[0] + 1) // 2, (crop_high - part.size[1] + 1) // 2))
    return frame


def _in_srgb(image: Image.Image, space: Conversion | None) -> Image.Image:
    return image if space is None else space.apply(image)


def _thumbnail(image: Image.Image, full: tuple[int, int], side: int, space: Conversion | None) -> bytes:
    """WebP; of a picture below 64 pixels without loss, since halved chroma would take the colours of icons and pixel art."""
    from PIL import WebPImagePlugin  # noqa: F401

    wide, high = _fit(*full, side)
    small = image.resize((min(wide, image.size[0]), min(high, image.size[1])), Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    exact = max(full) < LOSSLESS_BELOW
    _in_srgb(small, space).save(out, "WEBP", quality=THUMBNAIL_QUALITY, method=0, lossless=exact)
    return out.getvalue()


# --- words for failures ------------------------------------------------------------------------------------------------------


def _refused(error: Exception, pixels: int, limits: Limits) -> Refused:
    """Any decoder's exception -> a reason of the closed list.

    Under a memory cap a good big file says "broken data stream": if the picture may need more than the cap and the message does not
    say that bytes are missing, it is the memory.
    """
    detail = f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, NotImplementedError) or "nsupported" in detail:  # so says libheif of codecs that it lacks
        return Refused(SkipReason.UNSUPPORTED, detail)
    missing = "truncated" in detail or "not processed" in detail
    if pixels * BYTES_PER_PIXEL > limits.memory_bytes and not missing:
        return Refused(SkipReason.TOO_MUCH_MEMORY, detail)
    return Refused(SkipReason.DAMAGED, detail)
