"""JPEGs that cost what photos cost: noise of every octave, shapes, a sensor's grain. Made once into the cache."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from image_search.images.light import PRIMARIES, SRGB, curve_of, profile_of

__all__ = ["SIZES", "copies", "in_display_p3", "make", "tiny"]

SIZES = {"12 MP": (4000, 3000), "2 MP": (1600, 1200), "VGA": (640, 480)}
QUALITY = 90


def make(cache: Path, size: str, count: int) -> list[Path]:
    """So many different JPEGs of this size (a key of SIZES)."""
    folder = cache / "pictures" / size.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for seed in range(count):
        path = folder / f"{seed}.jpg"
        if not path.exists():
            fresh = path.with_suffix(".part")
            _draw(*SIZES[size], seed).save(fresh, "JPEG", quality=QUALITY)
            fresh.rename(path)
        found.append(path)
    return found


def copies(originals: list[Path], folder: Path, count: int) -> Path:
    """A folder of `count` files with different bytes and the originals' pixels in turn: a JPEG comment counts them."""
    folder.mkdir(parents=True, exist_ok=True)
    data = [path.read_bytes() for path in originals]
    for number in range(count):
        (folder / f"{number:06}.jpg").write_bytes(_marked(data[number % len(data)], number))
    return folder


def tiny(folder: Path, count: int) -> list[Path]:
    """`count` different files of one 32 x 32 JPEG, 500 to a folder."""
    out = io.BytesIO()
    _draw(32, 32, 0).save(out, "JPEG", quality=60)
    paths = []
    for number in range(count):
        path = folder / f"{number // 500:03}" / f"{number:06}.jpg"
        if number % 500 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_marked(out.getvalue(), number))
        paths.append(path)
    return paths


def in_display_p3(jpeg: bytes) -> bytes:
    """The same numbers with a profile that says that they are Display P3's."""
    curve = curve_of(SRGB)
    assert curve is not None
    profile = profile_of(PRIMARIES[12], curve)
    assert profile is not None
    segment = b"ICC_PROFILE\0\1\1" + profile
    return jpeg[:2] + b"\xff\xe2" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]


def _marked(jpeg: bytes, number: int) -> bytes:
    comment = b"%012d" % number
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def _draw(width: int, height: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    cells, weight = 4, 70.0
    while cells < max(width, height):
        high, wide = max(2, cells * height // max(width, height)), max(2, cells * width // max(width, height))
        noise = Image.fromarray(rng.integers(0, 256, (high, wide, 3), np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
        total += (np.asarray(noise, np.float32) - 128) * (weight / 128)
        cells, weight = cells * 2, weight * 0.62
    picture = Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        reach = int(rng.integers(4, max(6, width // 6)))
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + reach, y + int(reach * rng.uniform(0.3, 1.5)) + 1), fill=colour)
    grain = rng.normal(0, 3, (height, width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(np.asarray(picture, np.float32) + grain, 0, 255).astype(np.uint8))
