"""A picture as copies of it may look: mirrored, turned, cropped; and one answer from the questions with all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..types import Float32, Match, UInt8

__all__ = ["SIDE", "merged", "variants"]

SIDE = 448  # pixels, longer side: twice what models look at, so that crops have enough
_CROP = 0.6**0.5  # of each side: 60 % of the area
_CROPS = {"middle": (0.5, 0.5), "upper left": (0, 0), "upper right": (1, 0), "lower left": (0, 1), "lower right": (1, 1)}


def variants(pixels: UInt8) -> list[tuple[str, UInt8]]:
    """Name and pixels of each, without the picture as it is; uint8 (H, W, 3). Turns are clockwise."""
    height, width = pixels.shape[:2]
    h, w = max(1, round(height * _CROP)), max(1, round(width * _CROP))
    turned = [(f"turned {90 * quarters}", np.rot90(pixels, -quarters)) for quarters in (1, 2, 3)]
    crops = []
    for name, (x, y) in _CROPS.items():
        left, top = round((width - w) * x), round((height - h) * y)
        crops.append((f"cropped, {name}", pixels[top : top + h, left : left + w]))
    return [(name, np.ascontiguousarray(part)) for name, part in [("mirrored", pixels[:, ::-1]), *turned, *crops]]


def merged(
    search: Callable[[Float32, int], tuple[list[Match], bool]], questions: Sequence[tuple[str, Float32]], n: int
) -> tuple[list[Match], bool]:
    """The n images that are nearest to any of these vectors, each with the name of the one that it is nearest to.

    Args:
        questions: (name, float32 (D,)); of equal similarities the earlier one counts.
    """
    if len(questions) == 1:
        return search(questions[0][1], n)
    best: dict[str, Match] = {}
    every = True
    for name, vector in questions:
        found, exact = search(vector, n)
        every = every and exact
        for match in found:
            if match.id not in best or match.similarity > best[match.id].similarity:
                best[match.id] = replace(match, variant=name)
    ranked = sorted(best.values(), key=lambda match: -match.similarity)[:n]
    return [replace(match, rank=rank) for rank, match in enumerate(ranked, 1)], every
