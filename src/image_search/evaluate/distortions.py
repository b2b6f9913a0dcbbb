"""Changed copies of a picture: what people do to pictures they pass on. For measuring whether a search still finds the original."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

__all__ = ["DISTORTIONS", "Distortion", "crop", "jpeg"]

# A picture and its own generator of random numbers -> the changed copy; RGB in, RGB out.
Distortion = Callable[[Image.Image, np.random.Generator], Image.Image]


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    raw = io.BytesIO()
    picture.save(raw, "JPEG", quality=quality)
    return Image.open(raw).convert("RGB")


def crop(picture: Image.Image, area: float, rng: np.random.Generator) -> Image.Image:
    """A part of this share of the area, of the same proportions, anywhere."""
    w, h = (max(1, round(side * area**0.5)) for side in picture.size)
    x, y = int(rng.integers(0, picture.width - w + 1)), int(rng.integers(0, picture.height - h + 1))
    return picture.crop((x, y, x + w, y + h))


def text_over(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A line of text across the lower part, on a dark band."""
    out = picture.copy()
    draw = ImageDraw.Draw(out)
    high = max(10, picture.height // 8)
    top = int(picture.height * rng.uniform(0.6, 0.85))
    draw.rectangle((0, top, picture.width, top + high), fill=(20, 20, 20))
    draw.text((picture.width // 20, top), "Sample text 12:30", fill=(255, 255, 255), font=ImageFont.load_default(high * 0.8))
    return out


DISTORTIONS: dict[str, Distortion] = {
    "crop 60 %": lambda picture, rng: crop(picture, 0.6, rng),
    "mirror": lambda picture, rng: ImageOps.mirror(picture),
    "rotate 10°": lambda picture, rng: picture.rotate(10, Image.Resampling.BILINEAR),
    "JPEG q10": lambda picture, rng: jpeg(picture, 10),
    "grey": lambda picture, rng: picture.convert("L").convert("RGB"),
    "text": text_over,
}
