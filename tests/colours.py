"""A library of plain colours whose model knows their names, in English and Korean."""

from __future__ import annotations

from pathlib import Path

from checkpoints import colour_words
from PIL import Image

from image_search import ImageSearchEngine
from image_search.testing import InProcessPool

SHADES = {"red": (220, 30, 20), "green": (30, 200, 40), "blue": (20, 40, 230), "violet": (200, 20, 210)}


def draw_colours(folder: Path, each: int = 3) -> Path:
    """`each` pictures of every shade, in a folder of its name; each a little lighter than the one before."""
    for name, shade in SHADES.items():
        (folder / name).mkdir(parents=True)
        for n in range(each):
            Image.new("RGB", (20, 20), tuple(min(255, v + 7 * n) for v in shade)).save(folder / name / f"{n}.png")
    return folder


def colour_library(place: Path, *, calibrated: bool = True) -> Path:
    """Its model lies beside it, in the folder `model`."""
    model = colour_words(place / "model", calibrated=calibrated)
    with ImageSearchEngine(place / "library", model=str(model), store="exact", jobs=1, notify=lambda _: None) as engine:
        engine._make_pool = InProcessPool
        engine.index(draw_colours(place / "colours"), progress=False)
    return place / "library"
