"""How near the copy that the page sends of a large photo is to its original: `python -m benchmarks.copies FOLDER [--browser chromium]`.

FOLDER holds photos. 24 of them are enlarged to 12 megapixels with grain (none in white and black), 6 mosaics and a panorama are made of
all, and some are turned, progressive, 4:4:4, grey or in Display P3. Each is made small by the page's own code in a browser; its vector by
`mini` is compared with that of the original's file.
"""

from __future__ import annotations

import argparse
import base64
import functools
import http.server
import io
import random
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import image_search
from image_search import ImageSearchEngine
from image_search.images.pixels import DRAFT_MARGIN
from image_search.models import resolve

STATIC = Path(image_search.__file__).parent / "web" / "static"
SIZE = (4032, 3024)
SHRINK = """async ([text, needs]) => {
  const { shrunk } = await import("./shrink.js");
  const data = await (await fetch(`data:;base64,${text}`)).blob();
  const made = await shrunk(data, needs);
  if (!made) return null;
  const bytes = new Uint8Array(await made.copy.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""
DISPLAY_P3 = """async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 16, height: 16 });
  canvas.getContext("2d", { colorSpace: "display-p3" }).fillRect(0, 0, 16, 16);
  const file = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 1));
  return btoa(String.fromCharCode(...new Uint8Array(await file.arrayBuffer())));
}"""


def enlarged(photo: Path, dice: np.random.Generator) -> Image.Image:
    width, height = SIZE
    light = np.asarray(Image.open(photo).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)).astype(np.float32)
    soft = light * (255 - light) / 127.5**2
    for block, strength in ((8, 9), (3, 7), (1, 5)):
        grain = dice.normal(0, strength, (-(-height // block), -(-width // block), 1)).astype(np.float32)
        light += grain.repeat(block, 0).repeat(block, 1)[:height, :width] * soft
    return Image.fromarray(np.rint(light).clip(0, 255).astype(np.uint8))


def mosaic(photos: list[Path], size: tuple[int, int], tile: int, dice: random.Random) -> Image.Image:
    whole = Image.new("RGB", size)
    for y in range(0, size[1], tile):
        for x in range(0, size[0], tile):
            whole.paste(Image.open(dice.choice(photos)).convert("RGB").resize((tile, tile), Image.Resampling.BICUBIC), (x, y))
    return whole


def originals(photos: list[Path], profile: bytes) -> Iterator[tuple[str, bytes]]:
    dice, grain = random.Random(3), np.random.default_rng(3)
    chosen = dice.sample(photos, min(24, len(photos)))

    def saved(image: Image.Image, **options: Any) -> bytes:
        out = io.BytesIO()
        image.save(out, "JPEG", **{"quality": 93, **options})
        return out.getvalue()

    for photo in chosen:
        yield "photo", saved(enlarged(photo, grain))
    for tile in (168, 224, 336, 504, 672, 1008):
        yield "mosaic", saved(mosaic(photos, SIZE, tile, dice))
    yield "panorama", saved(mosaic(photos, (12000, 1200), 300, dice), quality=88)
    for turn in (3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield "turned", saved(enlarged(chosen[turn], grain), exif=exif)
    yield "progressive", saved(enlarged(chosen[0], grain), progressive=True)
    yield "4:4:4", saved(enlarged(chosen[1], grain), subsampling=0)
    yield "grey", saved(enlarged(chosen[2], grain).convert("L"))
    for photo in chosen[3:9]:
        yield "Display P3", saved(enlarged(photo, grain), icc_profile=profile)


def all_pixels(data: bytes) -> bytes:
    """The same picture without a loss and without a decoder's reduced size: what the model itself makes of that difference."""
    out = io.BytesIO()
    image = Image.open(io.BytesIO(data))
    image.save(out, "PNG", compress_level=1, exif=image.getexif(), icc_profile=image.info.get("icc_profile"))
    return out.getvalue()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    asked = parser.parse_args()
    photos = sorted(path for path in asked.folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    rows: dict[str, list[tuple[float, float, int, int]]] = {}
    with tempfile.TemporaryDirectory() as place, sync_playwright() as tool:
        for file in STATIC.iterdir():
            shutil.copy(file, place)
        (Path(place) / "blank.html").write_text("<!doctype html><title>blank</title>")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=place))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = tool.chromium.launch(executable_path=asked.browser, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/blank.html")
        profile = Image.open(io.BytesIO(base64.b64decode(page.evaluate(DISPLAY_P3)))).info["icc_profile"]
        with ImageSearchEngine(Path(place) / "library", model="mini", notify=lambda _: None) as engine:
            (Path(place) / "one").mkdir()
            Image.open(photos[0]).save(Path(place) / "one" / "one.png")
            engine.index(Path(place) / "one", progress=False)
            height, width = (DRAFT_MARGIN * pixels for pixels in resolve("mini").preprocess.output_size)
            needs = {"width": width, "height": height}
            for kind, data in originals(photos, profile):
                sent = page.evaluate(SHRINK, [base64.b64encode(data).decode(), needs])
                copy = data if sent is None else base64.b64decode(sent)
                original = engine.query(data).vector
                near, whole = (float(engine.query(each).vector @ original) for each in (copy, all_pixels(data)))
                rows.setdefault(kind, []).append((near, whole, len(copy), len(data)))
        browser.close()
        server.shutdown()
    rows["all"] = [row for some in rows.values() for row in some]
    print("| kind | pictures | least cosine | below .9999 | all pixels: least | median KB (least to most) | original, median KB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for kind, some in rows.items():
        cosines, wholes, sent_bytes, whole = zip(*some, strict=True)
        sizes = f"{statistics.median(sent_bytes) / 1000:.0f} ({min(sent_bytes) / 1000:.0f} to {max(sent_bytes) / 1000:.0f})"
        near = f"{min(cosines):.5f} | {sum(cosine < 0.9999 for cosine in cosines)} | {min(wholes):.5f}"
        print(f"| {kind} | {len(some)} | {near} | {sizes} | {statistics.median(whole) / 1000:.0f} |")


if __name__ == "__main__":
    main()
