"""High dynamic range (PQ, HLG) -> sRGB, as Chromium shows it on a screen of standard range.

Light in cd/m2 and BT.2020, white at 203 (ITU-R BT.2408), tone mapped by the reference white operator of SMPTE ST 2094-50, annex C.
Decoders give 8 bits, in which one step of PQ is 2 to 4 of sRGB: skies would come out in bands, and a model sees those (cosine .966 with
the picture that was encoded in 10 bits, .988 without bands). So the bits that were rounded away are taken from the neighbours: of all
values that round to the one that is there, the nearest to the mean around it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from PIL import Image

from .light import HLG, PQ, PRIMARIES, USUAL_PEAK, colourants

__all__ = ["HLG", "PQ", "tone_mapped"]

WHITE = 203.0  # cd/m2 of diffuse white (BT.2408)
STEPS = 4096  # entries of a table; of the coded value 16 for each of 255
SMOOTHED = 8  # pixels: a side of the squares whose means are the neighbourhood
STRIP = 1 << 18  # pixels at once: 20 MB


def tone_mapped(image: Image.Image, *, primaries: int, transfer: int, peak: float, least: tuple[int, int] | None = None) -> Image.Image:
    """RGB in PQ or HLG -> RGB in sRGB, 100 ns a pixel.

    Args:
        primaries, transfer: of ITU-T H.273.
        peak: the brightest light in cd/m2, which becomes white.
        least: (width, height) down to which the picture may be scaled first, by a whole number; None: not at all.
    """
    import numpy as np

    if least is not None and (factor := min(image.size[0] // least[0], image.size[1] // least[1])) > 1:
        image = image.reduce(factor)
    around = [_neighbourhood(band) for band in image.split()]
    values: Any = np.asarray(image)  # (H, W, 3) uint8
    done = np.empty_like(values)
    rows = max(1, STRIP // image.size[0])
    for top in range(0, len(values), rows):
        here = values[top : top + rows].astype(np.float32)
        near = np.stack([band[top : top + rows] for band in around], axis=2)
        done[top : top + rows] = _shown(np.clip(near, here - 0.5, here + 0.5), primaries, transfer, peak)
    return Image.fromarray(done)


def _neighbourhood(band: Image.Image) -> Any:
    """(H, W) float32: means of squares, and between them what lies between."""
    import numpy as np

    wide, high = band.size
    small = band.convert("F").reduce(SMOOTHED)
    box = (0, 0, wide / SMOOTHED, high / SMOOTHED)
    return np.asarray(small.resize(band.size, Image.Resampling.BILINEAR, box))


def _shown(coded: Any, primaries: int, transfer: int, peak: float) -> Any:
    """(H, W, 3) float32 in 0..255 -> uint8."""
    import numpy as np

    light_of, to_wide, to_srgb, gain_of, encoded = _tables(primaries, transfer, peak)
    light = light_of[_index(coded / 255)]  # scene light of HLG
    light = light @ to_wide
    if transfer == HLG:  # the system gamma of BT.2100 for a display of 1,000 cd/m2
        luminance = light @ np.array((0.2627, 0.6780, 0.0593), np.float32)
        light *= np.maximum(luminance, 1e-9)[..., None] ** np.float32(0.2) * np.float32(USUAL_PEAK / WHITE)
    brightest = light.max(axis=2) / np.float32(gain_of[1])
    light *= gain_of[0][_index(np.sqrt(brightest))][..., None]
    return encoded[_index(np.sqrt(np.maximum(light @ to_srgb, 0)))]


def _index(values: Any) -> Any:
    """0..1 -> places in a table; what lies outside is at its ends."""
    import numpy as np

    return np.clip(values * np.float32(STEPS - 1) + np.float32(0.5), 0, STEPS - 1).astype(np.int32)


@lru_cache(maxsize=4)
def _tables(primaries: int, transfer: int, peak: float) -> tuple[Any, Any, Any, tuple[Any, float], Any]:
    """Coded value -> light (white is 1; of HLG the scene's, 1 at most); matrices (from the right); root of brightness -> gain, with the
    brightness at the table's end; root of light -> sRGB in uint8."""
    import numpy as np

    axis = np.linspace(0, 1, STEPS)
    wide = colourants(PRIMARIES[9])
    to_wide = np.linalg.solve(wide, colourants(PRIMARIES[primaries])).T
    to_srgb = np.linalg.solve(colourants(PRIMARIES[1]), wide).T
    end = max(peak, 10000.0) / WHITE
    square = axis**2
    encoded = np.where(square <= 0.0031308, square * 12.92, 1.055 * square ** (1 / 2.4) - 0.055)
    return (
        (_pq_light(axis) if transfer == PQ else _hlg_light(axis)).astype(np.float32),
        to_wide.astype(np.float32),
        to_srgb.astype(np.float32),
        (_gain(square * end, peak / WHITE).astype(np.float32), end),
        np.rint(encoded * 255).astype(np.uint8),
    )


def _pq_light(coded: Any) -> Any:
    """SMPTE ST 2084."""
    power = coded ** (1 / 78.84375)
    return 10000 / WHITE * ((power - 0.8359375).clip(0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)


def _hlg_light(coded: Any) -> Any:
    """ARIB STD-B67: light of the scene, 0..1."""
    import numpy as np

    return np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - 0.55991073) / 0.17883277) + 0.28466892) / 12)


def _gain(brightest: Any, peak: float) -> Any:
    """What light is multiplied with, by its brightest channel, so that `peak` becomes white; 1 is diffuse white.

    Up to white a constant: .5 for 1,000 cd/m2 and more, 1 for a file that stays below white. Above it a Bézier curve to (peak, 1).
    """
    import numpy as np

    if peak <= 1:
        return np.ones_like(brightest)
    knee = 1 - 0.5 * min(np.log(peak) / np.log(USUAL_PEAK / WHITE), 1.0)
    x_middle, y_middle = 0.35 + 0.65 / knee, 0.35 * knee + 0.65
    a, b = 1 - 2 * x_middle + peak, 2 * (x_middle - 1)  # x(t) = 1 + b t + a t²
    x = np.clip(brightest, 1, peak)
    t = 2 * (x - 1) / (b + np.sqrt(b * b + 4 * a * (x - 1)))
    y = knee + t * (2 * (y_middle - knee) + t * (knee - 2 * y_middle + 1))
    return y / np.maximum(brightest, 1)
