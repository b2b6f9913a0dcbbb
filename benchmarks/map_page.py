"""How smoothly the page's map moves: `python -m benchmarks.map_page [--points 20000] [--seconds 5] [--browser chromium]`.

A library of that many images in 40 classes is made up, with places around 40 middles; `image-search serve` shows it. In the browser the
map is dragged, then zoomed in and out with its thumbnails, an event a frame, at 1400 x 900. Said are the time from frame to frame as the
browser counts it, and the script's own time for drawing one, which a busy machine disturbs less. Chromium draws without a graphics card.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from image_search.demo import draw
from image_search.library.catalog import CATALOG_NAME, Catalog
from image_search.library.places import Places, contents_by_hash
from image_search.library.reading import Reader
from image_search.library.thumbnails import Thumbnails
from image_search.tidy import layout

from .library import make_library
from .page import Served

CLASSES = 40

# Moves the map for so many milliseconds, an event before each frame; [ms from frame to frame, ms of script in a frame].
MOVING = """async ([how, most]) => {
  const canvas = document.querySelector("canvas.map");
  const box = canvas.getBoundingClientRect();
  const mouse = { bubbles: true, cancelable: true, pointerId: 7, pointerType: "mouse" };
  const at = (x, y, more) => ({ ...mouse, clientX: box.left + x, clientY: box.top + y, ...more });
  canvas.setPointerCapture = () => {};
  const real = window.requestAnimationFrame;
  const script = [];
  const timed = (work) => (now) => {
    const begun = performance.now();
    work(now);
    script.push(performance.now() - begun);
  };
  window.requestAnimationFrame = (work) => real(timed(work));
  const frame = () => new Promise((go) => real(go));
  const apart = [];
  const start = await frame();
  let last = start;
  if (how === "drag") canvas.dispatchEvent(new PointerEvent("pointerdown", at(500, 300)));
  for (let n = 1; last - start < most; n += 1) {
    const [x, y, deltaY] = [500 + 200 * Math.sin(n / 20), 300 + 100 * Math.cos(n / 20), Math.floor(n / 50) % 2 ? 25 : -25];
    canvas.dispatchEvent(how === "drag" ? new PointerEvent("pointermove", at(x, y)) : new WheelEvent("wheel", at(500, 300, { deltaY })));
    const now = await frame();
    apart.push(now - last);
    last = now;
  }
  if (how === "drag") canvas.dispatchEvent(new PointerEvent("pointerup", at(500, 300)));
  window.requestAnimationFrame = real;
  return [apart, script];
}"""


def _hash(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def make_places(library: Path, points: int) -> None:
    """Places and thumbnails for all of it."""
    dice = np.random.default_rng(5)
    with sqlite3.connect(library / CATALOG_NAME) as connection:  # its made-up hashes begin alike, and the map goes by their beginnings
        connection.executemany("UPDATE content SET sha256 = ? WHERE id = ?", [(_hash(n), n) for n in range(1, points + 1)])
    connection.close()
    catalog = Catalog.open(library)
    hashes = sorted(contents_by_hash(catalog))
    middles = dice.uniform(0.1, 0.9, (CLASSES, 2))
    xy = np.clip(middles[dice.integers(0, CLASSES, points)] + dice.normal(0, 0.03, (points, 2)), 0, 1).astype(np.float32)
    of = f"{layout.VERSION} 0 {Reader(catalog).fingerprint.short}"
    catalog.close()
    assert Places(hashes, xy, np.zeros(points, bool)).save(library, of)
    drawn = []
    for seed in range(24):
        out = io.BytesIO()
        draw("Flowers" if seed % 2 else "House", seed, 256).save(out, "WEBP", quality=80)
        drawn.append(out.getvalue())
    thumbnails = Thumbnails(library, write=True)
    thumbnails.put((_hash(n), drawn[n % len(drawn)]) for n in range(1, points + 1))
    thumbnails.close()


def measured(address: str, browser: str, seconds: float) -> dict[str, list[float]]:
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {}
    with sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        page = running.new_page(viewport={"width": 1400, "height": 900})
        page.goto(address)
        page.goto(f"{address.split('?')[0]}?view=map")
        page.wait_for_selector(".legend li", timeout=120_000)
        for how, spot in (("drag", ""), ("zoom", "&spot=0.5,0.5,6")):
            page.goto(f"{address.split('?')[0]}?view=map{spot}")
            page.wait_for_selector(".legend li", timeout=120_000)
            page.wait_for_timeout(4000)  # thumbnails come
            apart, script = page.evaluate(MOVING, [how, 1000 * seconds])
            found[f"{how}, frame to frame"], found[f"{how}, script"] = apart, script
        found["version"] = [float(running.version.split(".")[0])]
        running.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--browser", default="chromium")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        library = Path(place) / "library"
        make_library(library, asked.points, classes=[f"class {n}" for n in range(CLASSES)])
        make_places(library, asked.points)
        served = Served(library)
        try:
            found = measured(served.address, asked.browser, asked.seconds)
        finally:
            served.stop()
    print(f"{asked.points:,} points, 1400 x 900; {platform.machine()}, Chromium {found.pop('version')[0]:.0f}")
    print(json.dumps({name: _summary(values) for name, values in found.items()}, indent=1))


def _summary(values: list[float]) -> dict[str, Any]:
    part = np.percentile(values, [50, 95])
    return {"ms p50": round(float(part[0]), 1), "ms p95": round(float(part[1]), 1), "mean": round(float(np.mean(values)), 1)}


if __name__ == "__main__":
    main()
