"""The map as a picture: thumbnails at their places, framed in the colour of their class, and what colour is which class.

So many pictures would cover each other that most are a dot; a thumbnail is drawn where none lies yet.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..paths import nfc
from ..types import Float32
from .canvas import QUIET, Canvas, Rect

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_map", "thumbnail_places"]

SIDE, MARGIN, LEGEND, HEAD = 1800, 48, 300, 72  # pixels of the map's own square, around it, beside it, above it
SMALLEST, LARGEST = 56, 128  # pixels of a thumbnail with its frame: of 1,000 pictures and more, of a few
FRAME, DOT = 3, 3  # pixels: frame of a thumbnail; radius of a dot
LINE, TITLE, TEXT = 26, 13.0, 10.0  # pixels between lines of the legend; points
# As many as eyes tell apart beside each other; the other classes are grey. From the tableau palette and darker ones of other hues.
COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf", "#1b4965", "#7fb800", "#f4b400",
    "#5d2e8c", "#b5179e", "#00796b", "#6d4c41", "#3d5afe", "#ff5252", "#827717", "#455a64",
)  # fmt: skip
OTHERS = "#9aa0a8"
_SEED = 0


def _size(count: int) -> int:
    """Pixels of a thumbnail: as large as leaves room for about all of a few."""
    return int(np.clip(SIDE / np.sqrt(max(1, count)), SMALLEST, LARGEST))


def thumbnail_places(xy: Float32) -> list[int]:
    """Which pictures get a thumbnail: as many as fit without covering each other, in an order that is the same each time.

    Args:
        xy: float32 (N, 2), 0 to 1.

    Returns:
        their numbers, in the order in which they are drawn.
    """
    size = _size(len(xy))
    pixels = xy.astype(np.float64) * (SIDE - size)
    taken: dict[tuple[int, int], list[int]] = {}  # cells as large as a thumbnail: only those around can hold one that it would cover
    chosen: list[int] = []
    for number in np.random.default_rng(_SEED).permutation(len(xy)).tolist():
        x, y = pixels[number]
        cell = int(x // size), int(y // size)
        around = [n for i in (-1, 0, 1) for j in (-1, 0, 1) for n in taken.get((cell[0] + i, cell[1] + j), ())]
        if all(max(abs(pixels[n][0] - x), abs(pixels[n][1] - y)) >= size for n in around):
            taken.setdefault(cell, []).append(number)
            chosen.append(number)
    return chosen


def draw_map(xy: Float32, names: Sequence[str], pictures: Mapping[int, bytes]) -> Figure:
    """Draw it.

    Args:
        xy: float32 (N, 2), 0 to 1, y upwards.
        names: N classes, "" for none.
        pictures: number of a picture -> its thumbnail, encoded; drawn in this order over the dots of all.
    """
    colours = _colours(names)
    legend = _legend(names, colours)
    shown = f"{len(pictures):,} of them shown"
    canvas = Canvas([shown, *(text for text, _ in legend)])
    height = max(SIDE + 2 * MARGIN, HEAD + LINE * len(legend) + 2 * MARGIN)
    canvas.open(SIDE + 2 * MARGIN + LEGEND, height)
    axes = canvas.axes(Rect(MARGIN, MARGIN, SIDE, SIDE), "map")
    axes.imshow(_drawn(xy, names, colours, pictures), interpolation="nearest", aspect="auto")
    x = SIDE + 2 * MARGIN
    canvas.text(x, MARGIN, f"{len(xy):,} images", TITLE, bold=True)
    canvas.text(x, MARGIN + LINE, shown, TEXT, QUIET)
    for number, (text, colour) in enumerate(legend):
        y = MARGIN + HEAD + LINE * number
        canvas.card(Rect(x, y - 7, 14, 14), colour, radius=3)
        (short, *_) = canvas.wrap(text, LEGEND - MARGIN - 24, TEXT)
        canvas.text(x + 24, y, short, TEXT, QUIET)
    return canvas.figure


def _colours(names: Sequence[str]) -> dict[str, str]:
    """The most frequent classes get a colour each, by name, so that a picture more does not change them all."""
    counts = Counter(name for name in names if name)
    most = sorted(counts, key=lambda name: (-counts[name], name))[: len(COLOURS)]
    return dict(zip(sorted(most), COLOURS, strict=False))


def _legend(names: Sequence[str], colours: Mapping[str, str]) -> list[tuple[str, str]]:
    counts = Counter(names)
    lines = [(f"{nfc(name)} ({counts[name]:,})", colour) for name, colour in colours.items()]
    rest = [name for name in counts if name and name not in colours]
    if rest:
        lines.append((f"{len(rest):,} more classes ({sum(counts[name] for name in rest):,})", OTHERS))
    if counts[""] and colours:
        lines.append((f"without a class ({counts['']:,})", OTHERS))
    return lines


def _drawn(xy: Float32, names: Sequence[str], colours: Mapping[str, str], pictures: Mapping[int, bytes]) -> Any:
    """The square itself, uint8 (SIDE, SIDE, 3)."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE), "#fbfbfc")
    draw = ImageDraw.Draw(image)
    size = _size(len(xy))
    middle = np.stack([xy[:, 0], 1 - xy[:, 1]], axis=1).astype(np.float64) * (SIDE - size) + size / 2
    for (x, y), name in zip(middle.tolist(), names, strict=True):
        draw.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), fill=colours.get(name, OTHERS))
    inside = size - 2 * FRAME - 2  # and a pixel of the ground around the frame
    for number, data in pictures.items():
        try:
            with Image.open(io.BytesIO(data)) as opened:
                small = opened.convert("RGB")
        except (OSError, ValueError):  # a thumbnail that was damaged on the disk stays a dot
            continue
        small.thumbnail((inside, inside), Image.Resampling.LANCZOS)
        x, y = (round(value) for value in middle[number])
        left, top = x - small.width // 2, y - small.height // 2
        frame = (left - FRAME, top - FRAME, left + small.width + FRAME - 1, top + small.height + FRAME - 1)
        draw.rectangle(frame, fill=colours.get(names[number], OTHERS))
        image.paste(small, (left, top))
    return np.asarray(image)
