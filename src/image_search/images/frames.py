"""Which frame of a file is shown, and how it becomes 8-bit RGB on white: any mode, any numbers, ink, veils, bare canvas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import SkipReason
from .formats import Format, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..config import Limits
    from .colour import Conversion

__all__ = ["Shown", "check_size", "first_telling_frame"]

FLAT_RANGE = 8  # of 255: a frame whose channels all stay within it is blank (lossy codecs make a blank frame a little noisy)
MAX_EARLY = 16_000_000  # pixels whose colours are converted before they are scaled: 2 CPU s, .5 GB at worst


def check_size(size: tuple[int, int], budget: float) -> int:
    width, height = size
    if width < 1 or height < 1:
        raise Refused(SkipReason.TOO_SMALL, f"{width}x{height}")
    if width * height > budget:
        raise Refused(SkipReason.TOO_MANY_PIXELS, f"{width}x{height}")
    return width * height


# --- frames ------------------------------------------------------------------------------------------------------------------

Shown = tuple[Image.Image, "Conversion | None"]  # RGB, and what still leads from its numbers to sRGB


def first_telling_frame(image: Image.Image, row: Format, limits: Limits, space: Conversion | None) -> Shown:
    """The first of a few frames that is not flat, as RGB; the first if all are."""
    _start(image, row)
    canvas = _Canvas()
    first, left = _rgb(canvas.shown(image), space)
    if not row.film or not _is_flat(first):
        return first, left
    first = first.copy()  # seeking draws over it
    for frame, rest in _next_frames(image, limits, canvas, space):
        if frame.size == first.size and not _is_flat(frame):
            return frame, rest
    return first, left


def _start(image: Image.Image, row: Format) -> None:
    """Load the first frame. A PNG film may have a picture for programs that show no films; those who do leave it out."""
    if row.upright:
        image.info.pop("xmp", None)  # Pillow turns a TIFF by it where the file's own tag is missing; nobody else does
    if image.info.get("default_image"):
        try:
            image.seek(1)
            image.load()
            return
        except Exception:
            image.seek(0)
    image.load()


def _next_frames(image: Image.Image, limits: Limits, canvas: _Canvas, space: Conversion | None) -> Iterator[Shown]:
    """Frames 2 to `limits.frames`, while the pixels of all together stay within the limit. A broken frame ends it."""
    budget = limits.megapixels * 1e6 - image.size[0] * image.size[1]
    for number in range(image.tell() + 1, limits.frames):
        try:
            image.seek(number)
            image.info.pop("xmp", None)
            budget -= check_size(image.size, budget)
            image.load()
            yield _rgb(canvas.shown(image), space)
        except Exception:  # EOFError is the normal end; the first frame is good whatever the others are
            return


class _Canvas:
    """What no frame of a GIF has drawn on yet is see-through, so white; Pillow leaves it in the colour with the number 0."""

    def __init__(self) -> None:
        self._full = False
        self._bare: Image.Image | None = None  # 255 where it is

    def shown(self, image: Image.Image) -> Image.Image:
        """The frame that is loaded, with white where the canvas is bare."""
        extent = getattr(image, "dispose_extent", None)
        self._full = self._full or image.format != "GIF" or extent in (None, (0, 0, *image.size))  # nearly always at once
        if self._full:
            return image
        if self._bare is None or self._bare.size != image.size:
            self._bare = Image.new("L", image.size, 255)
        self._bare.paste(0, extent)
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.composite(white, image.convert("RGBA"), self._bare)


def _is_flat(image: Image.Image) -> bool:
    """All channels stay within FLAT_RANGE. A coarse sample first: nearly every picture shows its colours there."""
    for sample in (image.resize((32, 32), Image.Resampling.NEAREST), image):
        if any(high - low > FLAT_RANGE for low, high in sample.getextrema()):  # type: ignore[misc]
            return False
    return True


# --- 8-bit RGB ---------------------------------------------------------------------------------------------------------------


def _rgb(image: Image.Image, space: Conversion | None) -> Shown:
    """Any mode -> RGB on white. What mixes colours (white behind a veil) or has no numbers of light (ink) is turned into sRGB first."""
    if image.mode == "CMYK":
        return (image.convert("RGB") if space is None else _early(image, space)), None
    rgb, alpha = _colour_and_alpha(image)
    if space is not None and (space.early or alpha is not None):
        rgb, space = _early(rgb, space), None
    if alpha is not None:
        white = Image.new("RGB", rgb.size, (255, 255, 255))
        white.paste(rgb, mask=alpha if alpha.size == rgb.size else alpha.resize(rgb.size, Image.Resampling.BOX))
        rgb = white
    return rgb, space


def _early(image: Image.Image, space: Conversion) -> Image.Image:
    """In sRGB before it is scaled; at 20 to 100 ns a pixel, a giant is scaled down by a whole number first, as JPEG's draft is."""
    factor = math.ceil(math.sqrt(image.size[0] * image.size[1] / MAX_EARLY))
    return space.apply(image if factor <= 1 else image.reduce(factor))


def _colour_and_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """RGB, and alpha if anything is see-through."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image, None
    if mode.startswith("I") or mode == "F":
        from .ranges import from_numbers

        return from_numbers(image), None
    if mode in ("La", "RGBa"):
        image = image.convert("LA" if mode == "La" else "RGBA")
    if not image.has_transparency_data or mode in ("YCbCr", "LAB", "HSV"):
        return image.convert("RGB"), None
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    return image.convert("RGB"), None if alpha.getextrema()[0] == 255 else alpha
