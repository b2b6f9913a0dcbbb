"""Small pictures that differ in what they show, made quickly and always the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "stripes")


def picture(shape: str, seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """RGB; the shape is the class, colours and places vary with the seed."""
    rng = np.random.default_rng([seed, SHAPES.index(shape)])
    width, height = size
    back = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(back).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    colour = tuple(int(c) for c in rng.integers(0, 256, 3))
    x, y, r = rng.integers(width // 4, width * 3 // 4), rng.integers(height // 4, height * 3 // 4), height // 4
    if shape == "circle":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "square":
        draw.rectangle((x - r, y - r, x + r, y + r), fill=colour)
    else:
        for left in range(int(x) % 20, width, 20):
            draw.rectangle((left, 0, left + 8, height), fill=colour)
    return image


def fill(folder: Path, per_class: int, *, first: int = 0, suffix: str = ".png") -> list[Path]:
    """<folder>/<shape>/<n><suffix>, per_class of each shape."""
    paths = []
    for shape in SHAPES:
        (folder / shape).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + per_class):
            path = folder / shape / f"{number}{suffix}"
            picture(shape, number).save(
                path, compress_level=2
            )  # a third of what 6 costs; 1 is the engine's own, for arrays, whose bytes would be known
            paths.append(path)
    return paths
