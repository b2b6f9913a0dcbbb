"""The judge of pixels: pictures in odd encodings look in this program as they look in a browser, to the eye and to the model.

TIFF and HEIF, which a browser does not show, and the few cases where the browser is the odd one are judged by the picture that was
encoded (`Odd.wanted`).
"""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from odd_encodings import Pixels
from odd_pictures import Odd, all_pictures
from PIL import Image

from image_search.config import LIBRARY_LIMITS
from image_search.images.formats import Refused
from image_search.images.pixels import RenderSpec, render
from image_search.models import load_model
from image_search.types import Float32

COSINE, DIFFERENCE = 0.98, 8.0  # at least; at most, mean of 255
CELL, COLUMNS = (168, 124), 12  # pixels: no picture is larger
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOADED = """async () => {
  const size = async (image) => { await image.decode(); return [image.naturalWidth, image.naturalHeight]; };
  return Promise.all([...document.images].map((image) => size(image).catch(() => null)));
}"""


@pytest.fixture(scope="module")
def pictures() -> list[Odd]:
    return all_pictures()


@pytest.mark.slow  # 8 CPU s
def test_pictures_look_as_a_browser_shows_them(pictures: list[Odd]) -> None:
    judged = [picture for picture in pictures if picture.wanted is None]
    assert len(judged) >= 60
    assert len({picture.name for picture in pictures}) == len(pictures)
    assert list(differences(judged, shown(judged))) == []


def test_pictures_that_no_browser_shows_look_as_they_were_drawn(pictures: list[Odd]) -> None:
    judged = [picture for picture in pictures if picture.wanted is not None]
    assert list(differences(judged, [picture.wanted for picture in judged])) == []


def shown(pictures: Sequence[Odd]) -> list[Pixels | None]:
    """What Chromium draws, on one page and in one photograph of it; None where it draws nothing."""
    tool = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser judges the pixels")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: no browser judges the pixels")
    places = [(i % COLUMNS * CELL[0], i // COLUMNS * CELL[1]) for i in range(len(pictures))]
    images = [
        f'<img style="position:absolute;left:{x}px;top:{y}px" src="data:image/x;base64,{base64.b64encode(picture.data).decode()}">'
        for picture, (x, y) in zip(pictures, places, strict=True)
    ]
    with tool.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--renderer-process-limit=1", "--force-color-profile=srgb"],
        )
        page = browser.new_page(viewport={"width": COLUMNS * CELL[0], "height": places[-1][1] + CELL[1]})
        page.set_content('<body style="margin:0;background:#fff">' + "".join(images))
        sizes = page.evaluate(LOADED)
        screen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        browser.close()
    return [None if size is None else screen[y : y + size[1], x : x + size[0]] for size, (x, y) in zip(sizes, places, strict=True)]


def differences(pictures: Sequence[Odd], wanted: Sequence[Pixels | None]) -> Iterator[str]:
    """A line for each picture that is not as wanted."""
    ours = [drawn(picture) for picture in pictures]
    alike = [
        (picture.name, mine, theirs)
        for picture, mine, theirs in zip(pictures, ours, wanted, strict=True)
        if not isinstance(mine, str) and theirs is not None and mine.shape == theirs.shape
    ]
    for picture, mine, theirs in zip(pictures, ours, wanted, strict=True):
        if isinstance(mine, str):
            if theirs is not None:
                yield f"{picture.name}: {mine}"
        elif theirs is None:
            yield f"{picture.name}: no browser shows it"
        elif mine.shape != theirs.shape:
            yield f"{picture.name}: {mine.shape}, not {theirs.shape}"
    cosines = np.sum(vectors([mine for _, mine, _ in alike]) * vectors([theirs for _, _, theirs in alike]), axis=1)
    for (name, mine, theirs), cosine in zip(alike, cosines, strict=True):
        difference = np.abs(mine.astype(int) - theirs).mean()
        if cosine < COSINE or difference > DIFFERENCE:
            yield f"{name}: cosine {cosine:.3f}, difference {difference:.1f}"


def drawn(picture: Odd) -> Pixels | str:
    """Our upright RGB, or why there is none."""
    try:
        return np.asarray(render(picture.data, RenderSpec(max_side=400), LIBRARY_LIMITS).pixels)
    except Refused as refused:
        return f"{refused.reason}: {refused.detail}"


def vectors(pixels: Sequence[Pixels]) -> Float32:
    """One of `mini` for each; of alike pictures one is asked for."""
    model = load_model("mini")
    size = model.fingerprint.preprocess.size
    assert size is not None
    small = [np.asarray(Image.fromarray(one).resize(size[::-1], Image.Resampling.BILINEAR)) for one in pixels]
    different, place = np.unique(np.stack(small), axis=0, return_inverse=True)
    return model.embed(different)[place.ravel()]
