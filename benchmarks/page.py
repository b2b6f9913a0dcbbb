"""How quick the page is: `python -m benchmarks.page [--images 100000] [--browser chromium]`; prints a table and the machine it ran on.

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

    def __init__(self, library: Path) -> None:
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
        while True:
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


def put_thumbnails(library: Path, served: Served, query: str) -> None:
    """Pictures for the 500 results that are scrolled through."""
    from io import BytesIO

    drawn = []
    for seed in range(24):
        out = BytesIO()
        draw("Flowers" if seed % 2 else "House", seed, 256).save(out, "WEBP", quality=80)
        drawn.append(out.getvalue())
    matches = json.loads(served.ask("POST", "/api/search", {"queries": [{"id": query}], "n": 500}))["matches"]
    thumbnails = Thumbnails(library, write=True)
    hashes = [(int(match["id"][3:]) - 1).to_bytes(32, "big") for match in matches]
    thumbnails.put((sha256, drawn[n % len(drawn)]) for n, sha256 in enumerate(hashes))
    thumbnails.close()


SCROLL = """async () => {
  const frames = [];
  let last = performance.now();
  const end = last + 4000;
  return await new Promise((done) => {
    const step = (now) => {
      frames.push(now - last);
      last = now;
      scrollBy(0, 40);
      if (now < end && scrollY + innerHeight < document.documentElement.scrollHeight - 4) requestAnimationFrame(step);
      else done(frames.slice(1));
    };
    requestAnimationFrame(step);
  });
}"""


def in_browser(served: Served, executable: str, query: str) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        page.goto(served.address)
        page.wait_for_selector(".target")
        usable = page.evaluate("performance.now()")
        sizes = page.evaluate(
            "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".filter(e => !/thumbnail|view/.test(e.name)).reduce((sum, e) => sum + e.transferSize, 0)"
        )
        page.goto(f"http://127.0.0.1:{served.port}/?q={query}")
        page.wait_for_selector(".results[aria-busy=false]")
        page.wait_for_timeout(1500)
        cards = page.locator(".results .card").count()
        frames = page.evaluate(SCROLL)
        work = page.context.new_cdp_session(page)
        work.send("Performance.enable")
        before = {m["name"]: m["value"] for m in work.send("Performance.getMetrics")["metrics"]}
        page.evaluate("scrollTo(0, 0)")
        count = len(page.evaluate(SCROLL))
        after = {m["name"]: m["value"] for m in work.send("Performance.getMetrics")["metrics"]}
        browser.close()
    return {
        "cards": cards,
        "usable_ms": usable,
        "first_paint_bytes": sizes,
        "frame_ms_p50": statistics.median(frames),
        "frame_ms_p95": statistics.quantiles(frames, n=20)[-1],
        "main_thread_ms_a_frame": 1000 * (after["TaskDuration"] - before["TaskDuration"]) / max(1, count),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
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
                "search, one class of 200": {"n": 60, "names": ["class 7"]},
                "search, by path": {"n": 60, "path": "*pictures/12*"},
            }
            for words, more in kinds.items():
                cpu, wall = served.cost(searches(options.images, **more))
                rows.append((f"{words}, CPU ms (wall ms p50)", f"{cpu:.1f} ({wall:.1f})", "60"))
            rows.append(("peak memory of the server, MB", f"{served.memory / 1e6:.0f}", ""))
            if options.browser:
                put_thumbnails(library, served, "id:777")
                seen = in_browser(served, options.browser, "id:777")
                rows += [
                    ("page usable, ms after the browser asked", f"{seen['usable_ms']:.0f}", "1000"),
                    ("first paint transfers, KB", f"{seen['first_paint_bytes'] / 1000:.0f}", "150"),
                    (
                        f"a frame while scrolling {seen['cards']:.0f} results, ms p50 (p95)",
                        f"{seen['frame_ms_p50']:.1f} ({seen['frame_ms_p95']:.1f})",
                        "16.7",
                    ),
                    ("main thread's work in each of them, ms", f"{seen['main_thread_ms_a_frame']:.1f}", "16.7"),
                ]
        finally:
            served.stop()
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    print(f"{options.images:,} images x {DIM}; Python {platform.python_version()}, {machine}\n")
    print("| what | measured | goal |\n|---|---:|---:|")
    for row in rows:
        print("| {} | {} | {} |".format(*row))


if __name__ == "__main__":
    main()
