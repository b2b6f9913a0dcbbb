"""Encoded bytes -> upright 8-bit RGB, as a person sees the picture. Pure rules; the decode worker calls them inside its cage.

    bytes → sniff (format by magic) → open (header) → limits → [JPEG draft] → load → 8-bit RGB on white → upright → resize → cut

Only Pillow is imported at the top (a worker must start fast); numpy for 16-bit and float pictures, pillow-heif for HEIF bytes.

Decided here: colour profiles (ICC) are left alone: models were trained on raw sRGB-like values, and viewers differ. CMYK JPEGs are
taken as inverted (Adobe's convention; browsers do the same).
"""

from __future__ import annotations

import io
import math
from dataclasses import astuple, dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from ..config import BYTES_PER_PIXEL, THUMBNAIL_QUALITY
from ..errors import SkipReason
from ..region import Region
from .formats import Format, Refused, open_as, sniff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..config import Limits

__all__ = ["OutsidePicture", "Picture", "RenderSpec", "render"]

DRAFT_MARGIN = 2  # JPEGs are decoded at >= twice the model's size: cosine >= .999995 with the full decode, 5x faster at 12 MP
FLAT_RANGE = 8  # of 255: a frame whose channels all stay within it is blank (lossy codecs make a blank frame a little noisy)
MIN_REGION_RATIO = 2  # a box longer than 2:1 grows to it: models see squares, and a thin strip squeezed into one shows nothing
MAX_RESIZED = 16_000_000  # pixels; a 1x20000 picture resized by its shorter side would be 5 GB


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


def render(data: bytes, spec: RenderSpec, limits: Limits) -> Picture:
    """Encoded bytes -> what the spec says. Raises Refused, OutsidePicture, MemoryError; nothing else."""
    row = sniff(data)
    try:
        return _rendered(data, row, spec, limits, open_as)
    except Refused as refused:
        if refused.reason != SkipReason.DAMAGED:
            raise
        from .cutoff import rescued

        check = partial(_check_size, budget=limits.megapixels * 1e6)
        try:
            return _rendered(data, row, spec, limits, lambda data, row: rescued(data, row, check))
        except Refused:
            raise refused from None


def _rendered(data: bytes, row: Format, spec: RenderSpec, limits: Limits, opened: Callable[[bytes, Format], Image.Image]) -> Picture:
    pixels = 0
    try:
        budget = limits.megapixels * 1e6
        if row.size_of is not None:
            pixels = _check_size(row.size_of(data), budget)
        image = opened(data, row)
        pixels = _check_size(image.size, budget)
        turn = _turn(image) if row.draft else 0
        if turn:
            full = _upright_size(image.size, turn)
            area = _area(full, spec)
            _draft(image, full, area, spec, turned=turn >= 5)
        rgb = _first_telling_frame(image, row, limits)
        if not turn:  # PNG may hold its orientation after the pixels, TIFF turns itself on load: size and tag are known only now
            turn = 1 if row.upright else _turn(image)
            full = _upright_size(rgb.size, turn)
            area = _area(full, spec)
        rgb = _transpose(rgb, turn)
        thumbnail = None if spec.thumbnail_side is None else _thumbnail(rgb, full, spec.thumbnail_side)
        return Picture(_cut(rgb, full, area, spec), *full, image.format or row.name, thumbnail, image.info.get("note", ""))
    except (Refused, OutsidePicture, MemoryError):
        raise
    except (
        Exception
    ) as error:  # Pillow's plugins raise OSError, ValueError, SyntaxError, RuntimeError, TypeError, IndexError, struct.error...
        raise _refused(error, pixels, limits) from error


def _check_size(size: tuple[int, int], budget: float) -> int:
    width, height = size
    if width < 1 or height < 1:
        raise Refused(SkipReason.TOO_SMALL, f"{width}x{height}")
    if width * height > budget:
        raise Refused(SkipReason.TOO_MANY_PIXELS, f"{width}x{height}")
    return width * height


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


def _turn(image: Image.Image) -> int:
    """EXIF orientation 1 to 8, read from the tag alone: broken metadata must not cost the picture."""
    try:
        turn = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return turn if turn in _TURNS else 1


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


def _draft(image: Image.Image, full: tuple[int, int], area: Region, spec: RenderSpec, *, turned: bool) -> None:
    """Let the JPEG decoder scale by 1/2, 1/4 or 1/8, so far that the wanted part still has twice the pixels needed."""
    margin = 1 if spec.max_side is not None else DRAFT_MARGIN
    wide, high = spec.resized(area.w, area.h)
    need = math.ceil(full[0] * wide * margin / area.w), math.ceil(full[1] * high * margin / area.h)
    image.draft(None, (need[1], need[0]) if turned else need)


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


def _thumbnail(image: Image.Image, full: tuple[int, int], side: int) -> bytes:
    from PIL import WebPImagePlugin  # noqa: F401

    wide, high = _fit(*full, side)
    small = image.resize((min(wide, image.size[0]), min(high, image.size[1])), Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=THUMBNAIL_QUALITY, method=0)
    return out.getvalue()


# --- frames ------------------------------------------------------------------------------------------------------------------


def _first_telling_frame(image: Image.Image, row: Format, limits: Limits) -> Image.Image:
    """The first of a few frames that is not flat, as RGB; the first if all are."""
    image.load()
    first = _rgb(image)
    if not row.film or not _is_flat(first):
        return first
    first = first.copy()  # seeking draws over it
    for frame in _next_frames(image, limits):
        if frame.size == first.size and not _is_flat(frame):
            return frame
    return first


def _next_frames(image: Image.Image, limits: Limits) -> Iterator[Image.Image]:
    """Frames 2 to `limits.frames`, while the pixels of all together stay within the limit. A broken frame ends it."""
    budget = limits.megapixels * 1e6 - image.size[0] * image.size[1]
    for number in range(1, limits.frames):
        try:
            image.seek(number)
            budget -= _check_size(image.size, budget)
            image.load()
            yield _rgb(image)
        except Exception:  # EOFError is the normal end; the first frame is good whatever the others are
            return


def _is_flat(image: Image.Image) -> bool:
    """All channels stay within FLAT_RANGE. A coarse sample first: nearly every picture shows its colours there."""
    for sample in (image.resize((32, 32), Image.Resampling.NEAREST), image):
        if any(high - low > FLAT_RANGE for low, high in sample.getextrema()):  # type: ignore[misc]
            return False
    return True


# --- 8-bit RGB ---------------------------------------------------------------------------------------------------------------


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode -> RGB on white."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image
    if mode.startswith("I") or mode == "F":
        from .ranges import from_numbers

        return from_numbers(image)
    if mode in ("La", "RGBa"):
        image = image.convert("LA" if mode == "La" else "RGBA")
    if image.has_transparency_data and mode not in ("CMYK", "YCbCr", "LAB", "HSV"):
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        if alpha.getextrema()[0] != 255:
            white = Image.new("RGB", rgba.size, (255, 255, 255))
            white.paste(rgba, mask=alpha)
            return white
        image = rgba
    return image.convert("RGB")


# --- words for failures ------------------------------------------------------------------------------------------------------


def _refused(error: Exception, pixels: int, limits: Limits) -> Refused:
    """Any decoder's exception -> a reason of the closed list.

    Under a memory cap a good big file says "broken data stream": if the picture may need more than the cap and the message does not
    say that bytes are missing, it is the memory.
    """
    detail = f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, NotImplementedError):
        return Refused(SkipReason.UNSUPPORTED, detail)
    missing = "truncated" in detail or "not processed" in detail
    if pixels * BYTES_PER_PIXEL > limits.memory_bytes and not missing:
        return Refused(SkipReason.TOO_MUCH_MEMORY, detail)
    return Refused(SkipReason.DAMAGED, detail)
