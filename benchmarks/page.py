"""How quick the page is: `python -m benchmarks.page [--images 100000] [--small 5800] [--browser chromium]`; prints a table and the machine.

A library of that many images is made up (clustered unit vectors, D = 384; no pictures), served by `image-search serve` in a process of
its own, and asked. Times of the server are CPU times of its process, so a busy machine does not spoil them; of the browser, wall times.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from image_search.demo import draw
from image_search.library.thumbnails import Thumbnails

from .library import DIM, make_library

ASKED = 60  # searches of each kind


class Served:
    """`image-search serve` on a library, and its CPU seconds."""

    def __init__(self, library: Path, *, wait: bool = True) -> None:
        began = time.monotonic()
        self.run = subprocess.Popen(
            [sys.executable, "-m", "image_search", "serve", "--library", str(library), "--port", "0", "--no-browser"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.run.stdout is not None
        self.address = self.run.stdout.readline().split()[-1]
        self.printed, self.cpu_to_printed = time.monotonic() - began, self.cpu
        port, self.token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", self.address).groups()  # type: ignore[union-attr]
        self.port = int(port)
        while wait:
            try:
                self.ask("GET", "/")
                break
            except OSError:
                time.sleep(0.01)
        self.first_answer = time.monotonic() - began
        self.cpu_to_first_answer = self.cpu

    @property
    def cpu(self) -> float:
        fields = Path(f"/proc/{self.run.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory(self) -> int:
        return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.run.pid}/status").read_text())[1]) * 1024  # type: ignore[index]

    def ask(self, method: str, path: str, data: Any = None) -> bytes:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = None if data is None else json.dumps(data)
        line.request(method, path, body, {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        answer = line.getresponse()
        found = answer.read()
        line.close()
        if answer.status >= 400:
            raise RuntimeError(f"{path}: {answer.status} {found[:200]!r}")
        return found

    def cost(self, requests: list[dict[str, Any]]) -> tuple[float, float]:
        """(CPU ms a search, wall ms p50): one after the other."""
        walls, before = [], self.cpu
        for request in requests:
            began = time.perf_counter()
            self.ask("POST", "/api/search", request)
            walls.append(time.perf_counter() - began)
        return 1000 * (self.cpu - before) / len(requests), 1000 * statistics.median(walls)

    def stop(self) -> None:
        self.run.terminate()
        self.run.wait(60)


def searches(images: int, **more: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [{"queries": [{"id": f"id:{n}"}], **more} for n in rng.integers(1, images + 1, ASKED).tolist()]


def put_thumbnails(library: Path, served: Served, ids: list[str]) -> None:
    """Pictures for those that will be looked at: drawn ones, over and over."""
    from io import BytesIO

    drawn = []
    for seed in range(24):
        out = BytesIO()
        draw("Flowers" if seed % 2 else "House", seed, 256).save(out, "WEBP", quality=80)
        drawn.append(out.getvalue())
    thumbnails = Thumbnails(library, write=True)
    hashes = [(int(id[3:]) - 1).to_bytes(32, "big") for id in ids]
    thumbnails.put((sha256, drawn[n % len(drawn)]) for n, sha256 in enumerate(hashes))
    thumbnails.close()


# In the page: from the click to the first score on the screen, and to the last thumbnail in the window.
SEARCH = """async (at) => {
  const cards = [...document.querySelectorAll(".results .card[data-id]")];
  const face = cards[at % cards.length].querySelector(".face");
  const asked = cards[at % cards.length].dataset.id;
  face.focus({ preventScroll: true });
  const began = performance.now();
  face.dispatchEvent(new KeyboardEvent("keydown", { key: "s", bubbles: true }));
  const frame = () => new Promise((next) => requestAnimationFrame(next));
  const there = () => document.querySelector(".results .card[data-id]")?.dataset.id === asked && document.querySelector(".results .score");
  while (!there()) await frame();
  await frame();
  const score = performance.now() - began;
  const seen = () => [...document.querySelectorAll(".results .card img")].filter((img) => img.getBoundingClientRect().top < innerHeight);
  while (!seen().length || !seen().every((img) => img.complete && img.naturalWidth)) await frame();
  return [score, performance.now() - began];
}"""
SCROLL = """async (by) => {
  const frames = [];
  let last = performance.now();
  const end = last + 4000;
  return await new Promise((done) => {
    const step = (now) => {
      frames.push(now - last);
      last = now;
      scrollBy({ top: by, behavior: "instant" });
      if (now < end && scrollY + innerHeight < document.documentElement.scrollHeight - 4) requestAnimationFrame(step);
      else done(frames.slice(1));
    };
    requestAnimationFrame(step);
  });
}"""
JUMP = """async () => {
  const began = performance.now();
  scrollTo({ top: document.documentElement.scrollHeight / 2, behavior: "instant" });
  const frame = () => new Promise((next) => requestAnimationFrame(next));
  const inside = (node) => { const r = node.getBoundingClientRect(); return r.bottom > 0 && r.top < innerHeight; };
  while (true) {
    await frame();
    const seen = [...document.querySelectorAll(".wall .card")].filter(inside);
    if (seen.length && seen.every((card) => card.querySelector("img")?.complete && card.querySelector("img").naturalWidth)) break;
  }
  return [performance.now() - began, document.querySelectorAll(".wall .card").length];
}"""
BYTES = (
    "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
    ".reduce((sum, e) => sum + e.transferSize, 0)"
)


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def metrics(session: Any) -> dict[str, float]:
    return {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}


def started(library: Path, browser: Any) -> tuple[float, float, float]:
    """From the command: seconds to the printed address, seconds to the usable page; bytes of the first view."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    began = time.monotonic()
    served = Served(library, wait=False)
    try:
        page.goto(served.address)
        page.wait_for_selector(".target")
        usable = time.monotonic() - began
        page.wait_for_selector(".strip .card img")
        page.wait_for_load_state("networkidle")
        return served.printed, usable, page.evaluate(BYTES)
    finally:
        page.context.close()
        served.stop()


def small_library(place: Path, images: int, browser: Any) -> list[tuple[str, str, str]]:
    """What a person waits for, in a library of some thousand pictures."""
    library = place / "small"
    make_library(library, images)
    served = Served(library)
    rows = []
    try:
        put_thumbnails(library, served, [f"id:{n}" for n in range(1, images + 1)])
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto(served.address)
        page.goto(f"http://127.0.0.1:{served.port}/?q=id:77")
        page.wait_for_selector(".results[aria-busy=false]")
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        times, scripts = [], []
        for n in range(30):
            before = metrics(session)
            times.append(page.evaluate(SEARCH, 5 + n))
            page.wait_for_selector(".results[aria-busy=false]")
            scripts.append(metrics(session)["ScriptDuration"] - before["ScriptDuration"])
        frames = page.evaluate(SCROLL, 40)
        page.context.close()
    finally:
        served.stop()
    starts = [started(library, browser) for _ in range(5)]
    printed, usable, sent = (statistics.median(values) for values in zip(*starts, strict=True))
    rows.append(("from the command to the printed address, s", f"{printed:.2f}", "0.6"))
    rows.append(("from the command to the usable page, s", f"{usable:.2f}", "1.0"))
    rows.append(("the first view transfers, its pictures too, KB", f"{sent / 1000:.0f}", "150"))
    for words, at, goal in (
        ("a search: from the key to the first score, ms, p50 (p95)", 0, 120),
        ("... to all thumbnails in the window", 1, 400),
    ):
        values = [one[at] for one in times]
        rows.append((words, f"{statistics.median(values):.0f} ({p95(values):.0f})", str(goal)))
    rows.append(("script on the main thread for a search and its 5,000 matches, ms", f"{1000 * statistics.median(scripts):.0f}", "30"))
    rows.append(("a frame while scrolling the results, ms, p50 (p95)", f"{statistics.median(frames):.1f} ({p95(frames):.1f})", "50"))
    return rows


def large_library(library: Path, served: Served, images: int, browser: Any) -> list[tuple[str, str, str]]:
    """The wall of the whole library: a jump to its middle, scrolling on from there."""
    wall = json.loads(served.ask("GET", "/api/images/wall"))
    found = []
    for start in (0, images // 2 - 500, images // 2, images // 2 + 500, images // 2 + 1000):
        address = f"/api/images?start={start}&limit=500&generation={wall['generation']}"
        found += [item["id"] for item in json.loads(served.ask("GET", address))["items"]]
    put_thumbnails(library, served, found)
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(served.address)
    page.goto(f"http://127.0.0.1:{served.port}/?view=library")
    page.wait_for_selector(".library .card img")
    jumps = []
    for _ in range(7):
        jumps.append(page.evaluate(JUMP))
        page.reload()
        page.wait_for_selector(".library .card img")
        page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
        page.wait_for_timeout(300)
    page.evaluate(JUMP)
    frames = page.evaluate(SCROLL, 60)
    dragged = page.evaluate(SCROLL, 4000)
    page.context.close()
    return [
        (f"a jump to the middle of {images:,} pictures until they are shown, ms", f"{statistics.median(j[0] for j in jumps):.0f}", "300"),
        ("cards in the document then", f"{max(j[1] for j in jumps)}", "400"),
        ("a frame while scrolling there, ms, p50 (p95)", f"{statistics.median(frames):.1f} ({p95(frames):.1f})", "50"),
        ("a frame while dragging the scroll bar, ms, p50 (p95)", f"{statistics.median(dragged):.1f} ({p95(dragged):.1f})", "50"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=5_800, help="images of the library that is searched in the browser")
    parser.add_argument("--browser", default=shutil.which("chromium"), help="Chromium; without one the browser's rows are left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        library = Path(place) / "library"
        make_library(library, options.images)
        served = Served(library)
        try:
            rows: list[tuple[str, str, str]] = [
                ("the address is printed after the command, CPU s (wall s)", f"{served.cpu_to_printed:.2f} ({served.printed:.2f})", "0.6"),
                ("server answers after start, CPU s (wall s)", f"{served.cpu_to_first_answer:.2f} ({served.first_answer:.2f})", "1"),
            ]
            served.ask("POST", "/api/search", searches(options.images)[0])  # reads the vectors
            kinds = {
                "search, 60 results": {"n": 60},
                "search, 500 results": {"n": 500},
                "search, 5,000 results, 60 of them in full": {"n": 5000, "full": 60},
                "search, one class of 200": {"n": 60, "names": ["class 7"]},
                "search, by path": {"n": 60, "path": "*pictures/12*"},
            }
            for words, more in kinds.items():
                cpu, wall = served.cost(searches(options.images, **more))
                rows.append((f"{words}, CPU ms (wall ms p50)", f"{cpu:.1f} ({wall:.1f})", "60"))
            rows.append(("peak memory of the server, MB", f"{served.memory / 1e6:.0f}", ""))
            if options.browser:
                from playwright.sync_api import sync_playwright

                with sync_playwright() as tool:
                    browser = tool.chromium.launch(executable_path=options.browser, args=["--no-sandbox"])
                    rows += large_library(library, served, options.images, browser)
                    served.stop()
                    rows += small_library(Path(place), options.small, browser)
                    browser.close()
        finally:
            served.stop()
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    print(f"{options.images:,} images x {DIM}; Python {platform.python_version()}, {machine}\n")
    print("| what | measured | goal |\n|---|---:|---:|")
    for row in rows:
        print("| {} | {} | {} |".format(*row))


if __name__ == "__main__":
    main()
