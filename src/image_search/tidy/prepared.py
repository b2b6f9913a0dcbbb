"""What is kept of a picture to compare it with others: a small grey copy, a few colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..types import Float32, UInt8
from .features import Features, features_of

__all__ = ["SIDE", "Prepared", "prepare", "resized"]

SIDE = 128  # pixels, longer side: finer detail does not survive JPEG at quality 10
COLOURS = 8  # cells a side, in which mean colours are kept


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture made ready for `compare`; some 70 KB, can be pickled.

    Attributes:
        grey: uint8 (h, w), luma, longer side at most SIDE.
        side: pixels of the longer side of what it was made from.
        features: places on it, in pixels of the same copy with a longer side of SIDE.
        colours: uint8 (COLOURS, COLOURS, 3), mean sRGB colours, for pictures without any detail.
    """

    grey: UInt8
    side: int
    features: Features
    colours: UInt8


def prepare(pixels: UInt8) -> Prepared:
    """Of an upright picture, uint8 (H, W, 3), sRGB; of any size, 256 pixels (a thumbnail) are as good as more."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    width, height = picture.size
    grey = picture.convert("L")
    share = SIDE / max(width, height)
    size = max(1, round(width * share)), max(1, round(height * share))
    small = np.asarray(grey.resize(size, Image.Resampling.BOX) if share < 1 else grey, np.uint8)
    colours = np.asarray(picture.resize((COLOURS, COLOURS), Image.Resampling.BOX), np.uint8)
    return Prepared(small, max(width, height), features_of(resized(small, *size)), colours)


def resized(grey: UInt8 | Float32, width: int, height: int) -> Float32:
    """float32 (height, width): each pixel the mean of what it covers, or interpolated where there are fewer."""
    from PIL import Image

    picture = Image.fromarray(np.asarray(grey, np.float32))
    return np.asarray(
        picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.BILINEAR), np.float32
    )
