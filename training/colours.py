"""How much of a picture has each colour that people have a name for: what the vocabulary's colours are learnt from.

The named colours are ranges of hue, saturation and value (`words/colours.tsv`); what lies in the middle of a picture counts more than what
lies at its edge, since people mean the thing when they say "red".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.concepts import names, rows

Float32 = npt.NDArray[np.float32]

_STEP = 4  # of 128 px: 32 x 32 pixels tell as much
_MIDDLE = 0.3  # spread of the weights, as a share of the side


@dataclass(frozen=True)
class Colour:
    """A box in hue (degrees; from above to: by way of red), saturation and value; `hue` None: any."""

    english: list[str]
    korean: list[str]
    hue: tuple[float, float] | None
    saturation: tuple[float, float]
    value: tuple[float, float]


def read() -> list[Colour]:
    def span(text: str) -> tuple[float, float]:
        low, high = text.split("-")
        return float(low), float(high)

    return [Colour(names(e), names(k), None if h == "-" else span(h), span(s), span(v)) for e, k, h, s, v in rows("colours")]


def shares(pixels: npt.NDArray[np.uint8], colours: list[Colour]) -> Float32:
    """uint8 (B, S, S, 3) -> float32 (B, colours), 0 to 1."""
    small = pixels[:, _STEP // 2 :: _STEP, _STEP // 2 :: _STEP].astype(np.float32) / 255  # (B, s, s, 3)
    most, least = small.max(-1), small.min(-1)
    spread = np.maximum(most - least, 1e-6)
    red, green, blue = np.moveaxis(small, -1, 0)
    sector = np.where(most == red, (green - blue) / spread, np.where(most == green, 2 + (blue - red) / spread, 4 + (red - green) / spread))
    hue, saturation = (60 * sector) % 360, (most - least) / np.maximum(most, 1e-6)
    place = (np.arange(small.shape[1]) + 0.5) / small.shape[1] - 0.5
    weight = np.exp(-(place[:, None] ** 2 + place[None, :] ** 2) / (2 * _MIDDLE**2)).astype(np.float32)
    weight /= weight.sum()
    found = []
    for colour in colours:
        fits = (saturation >= colour.saturation[0]) & (saturation <= colour.saturation[1])
        fits &= (most >= colour.value[0]) & (most <= colour.value[1])
        if colour.hue is not None:
            low, high = colour.hue
            fits &= ((hue >= low) & (hue < high)) if low < high else ((hue >= low) | (hue < high))
        found.append((fits * weight).sum((1, 2)))
    return np.stack(found, 1).astype(np.float32)
