"""Numbers that are no bytes (16 bits, 32 bits, floats) -> 0 to 255. What is shown as black and as white is decided here.

A file of such numbers seldom says what its white is, so it is read off the numbers, and never off a single one: a hot pixel, or the
overshoot of a sharpened edge, must not turn the whole picture black. The thousandth at either end does not count (STRAY).

    integers   0 to the smallest of 255, 1023, 4095, 16383, 65535 that holds them: detectors, microscopes and depth cameras write 10,
               12 or 14 bits into 16. Larger ones and negative ones: from the smallest to the largest that counts.
    floats     0 to 1, or 0 to 255, where they fill at least an eighth of it and leave it by no more than an eighth; else from the
               smallest to the largest that counts. NaN and infinities become black.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..types import UInt8

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["eight_bits", "from_numbers", "opaque", "shown_range"]

Numbers = npt.NDArray[Any]

# Bad pixels of a detector are fewer (makers guarantee .1 % and better); ImageJ's automatic contrast gives away .35 %.
STRAY = 0.001  # of all numbers, at each end
FEWEST = 64  # below so many each one counts
SAMPLE = 1 << 20  # numbers looked at; sampling error of such a percentile is then under .01 %
INTEGER_TOPS = (255, 1023, 4095, 16383, 65535)
FLOAT_TOPS = (1.0, 255.0)
SLACK = 1 / 8  # of a top: what floats may overshoot it (sharpening), and the least that they fill of it


def shown_range(values: Numbers) -> tuple[float, float]:
    """(black, white) of real numbers of any shape and dtype; white > black."""
    if values.dtype == np.bool_:
        return 0.0, 1.0
    low, high = _extent(values)
    if values.dtype.kind in "ui":
        tops = (255,) if values.dtype == np.uint8 else INTEGER_TOPS
        holding = [float(top) for top in tops if low >= 0 and high <= top]
        few = values.dtype != np.uint8 and high < 255 * SLACK  # classes of pixels, counts: as bytes they would be black
        if holding and not few:
            return 0.0, holding[0]
    for top in FLOAT_TOPS if values.dtype.kind == "f" else ():
        if -SLACK * top <= low and SLACK * top <= high <= (1 + SLACK) * top:
            return 0.0, top
    return low, max(high, np.nextafter(low, np.inf), low + 1e-30)


def eight_bits(values: Numbers, shown: tuple[float, float]) -> UInt8:
    """Real numbers of any shape -> uint8 of the same shape: black 0, white 255, linear between, clipped outside."""
    low, high = shown
    if values.dtype == np.uint8 and shown == (0.0, 255.0):
        return values
    if values.dtype == np.uint16:
        return _line(np.arange(65536), low, high)[values]
    return _line(values, low, high)


def opaque(values: Numbers) -> UInt8:
    """Alpha of any dtype -> uint8: of integers the largest that they can hold is opaque, of floats 1."""
    top = 1.0 if values.dtype.kind in "bf" else float(np.iinfo(values.dtype).max)
    return eight_bits(values, (0.0, top))


def from_numbers(image: Image.Image) -> Image.Image:
    """A Pillow image of mode I, I;16, I;16B or F -> RGB."""
    from PIL import Image

    values: Numbers = np.asarray(image)
    grey = eight_bits(values, shown_range(values))
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(262) == 0:  # PhotometricInterpretation: white is zero
        grey = 255 - grey
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey = np.where(values == clear, np.uint8(255), grey)
    return Image.fromarray(grey).convert("RGB")


def _line(values: Numbers, low: float, high: float) -> UInt8:
    exact = np.float64 if values.dtype.itemsize > 4 or values.dtype.kind in "ui" else np.float32
    with np.errstate(over="ignore", invalid="ignore"):  # what is no number, or leaves float32, is clipped
        numbers: Numbers = values.astype(exact)
        np.subtract(numbers, exact(low), out=numbers)
        np.multiply(numbers, exact(255 / (high - low)), out=numbers)
        np.nan_to_num(numbers, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        np.rint(numbers, out=numbers)
        return np.clip(numbers, 0, 255, out=numbers).astype(np.uint8)


def _extent(values: Numbers) -> tuple[float, float]:
    """The smallest and the largest number that counts; (0, 0) if there is none."""
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.size // SAMPLE)]
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    if not flat.size:
        return 0.0, 0.0
    stray = max(1, int(flat.size * STRAY)) if flat.size >= FEWEST else 0
    ordered = np.partition(flat, (stray, flat.size - 1 - stray))
    return float(ordered[stray]), float(ordered[flat.size - 1 - stray])
