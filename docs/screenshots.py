"""Takes the pictures of the page in docs/images: `python docs/screenshots.py [--at FOLDER] [--browser chromium]`.

Everything in them is drawn by the sample gallery. FOLDER is where it is drawn, since its path can be read in the pictures.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from image_search.demo import draw

IMAGES = Path(__file__).parent / "images"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 780}


def drawn(name: str, seed: int) -> dict[str, Any]:
    out = io.BytesIO()
    draw(name, seed, 768).save(out, "JPEG", quality=92)
    return {"name": f"{name.lower()}.jpg", "mimeType": "image/jpeg", "buffer": out.getvalue()}


def keep(page: Page, name: str) -> None:
    page.mouse.move(2, 2)
    page.wait_for_timeout(700)  # pictures and transitions
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(IMAGES / f"page-{name}.webp", quality=86, method=6)


def give(page: Page, file: dict[str, Any]) -> None:
    page.wait_for_selector(".target")
    with page.expect_file_chooser() as chooser:
        page.click(".target")
    chooser.value.set_files([file])
    page.wait_for_selector(".results[aria-busy=false] .card")


def opened(browser: Browser, address: str, **options: Any) -> Page:
    page = browser.new_context(**{"viewport": DESK, "locale": "en-US", "color_scheme": "light", **options}).new_page()
    page.goto(address)
    return page


def take(browser: Browser, address: str) -> None:
    page = opened(browser, address)
    page.wait_for_selector("text=No library yet")
    page.click("text=Build the sample gallery")
    page.wait_for_selector(".job >> text=Indexed", timeout=300_000)
    page.click("nav >> text=Library")
    page.wait_for_selector(".library .card[data-id] >> nth=20")
    page.click("[aria-label='Hide this']")
    page.evaluate("scrollTo(0, 700)")
    keep(page, "library")

    page.click("nav >> text=Search")
    give(page, drawn("Bicycle", 1002))
    for n in (0, 1, 3):
        page.locator(".results .mark").nth(n).click(force=True)
    keep(page, "results")
    page.click("[aria-label='Choose none']")
    page.locator(".results .face").nth(1).click()
    page.wait_for_selector("dialog.compare >> text=JPEG")
    keep(page, "compare")
    page.keyboard.press("Escape")

    page.click("nav >> text=Search")
    give(page, drawn("Lighthouse", 1004))
    page.click(".query-thumb")
    box = page.locator(".region").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.08)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.84, box["y"] + box["height"] * 0.78, steps=4)
    page.mouse.up()
    page.wait_for_url("**region=*")
    page.wait_for_selector(".results[aria-busy=false] .card")
    keep(page, "region")

    dark = opened(browser, address, color_scheme="dark", locale="ko-KR")
    give(dark, drawn("Burger", 1003))
    keep(dark, "korean-dark")
    phone = opened(browser, address, viewport=PHONE, device_scale_factor=2, has_touch=True, is_mobile=True)
    give(phone, drawn("Fish", 1002))
    keep(phone, "phone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at", type=Path, help="Default: a temporary folder")
    parser.add_argument("--browser", default=shutil.which("chromium"))
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as tool:
        place = (options.at or Path(temporary)).absolute()
        browser = tool.chromium.launch(executable_path=options.browser, args=["--no-sandbox"])
        run = subprocess.Popen(
            [sys.executable, "-m", "image_search", "serve", "--no-browser", "--port", "0", "--library", str(place / "library")],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert run.stdout is not None
            take(browser, run.stdout.readline().split()[-1])
        finally:
            run.terminate()
            run.wait(60)
        browser.close()


if __name__ == "__main__":
    main()
