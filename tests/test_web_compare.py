"""Comparing, drawing a region and giving a large picture, in a real browser."""

from __future__ import annotations

import base64
import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pageserver import Client, fill, make_library, picture, serving
from PIL import Image

from image_search.web.server import PageServer

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the page is not tested in a browser")
from test_web_page import Tab, browser, someone  # noqa: F401 - `browser` is a fixture; without a browser this skips, too


def noisy(width: int, height: int, seed: int = 0, *, turn: int = 0, format: str = "JPEG", quality: int = 97) -> bytes:
    """A picture with so much in it that its file is large: the left half red, the right one blue, the top bright."""
    dice = np.random.default_rng(seed)
    pixels = dice.integers(0, 120, (height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2, 0] += 120
    pixels[:, width // 2 :, 2] += 120
    pixels[: height // 2, :, 1] += 110
    out, exif = io.BytesIO(), Image.Exif()
    if turn:
        exif[0x0112] = turn
    Image.fromarray(pixels).save(out, format, quality=quality, exif=exif)
    return out.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large photo, a panorama, a portrait, tiny ones, and a few of each colour."""
    place = tmp_path_factory.mktemp("compare")
    folder = fill(place / "pictures", 3)
    (folder / "Shapes").mkdir()
    for name, data in {
        "large.jpg": noisy(1600, 1200, 1),
        "wide.jpg": noisy(4000, 400, 2, quality=60),
        "tall.jpg": noisy(300, 900, 3, quality=60),
        "tiny.jpg": noisy(40, 30, 4),
        "제주 바다.jpg": noisy(900, 600, 5, quality=60),
    }.items():
        (folder / "Shapes" / name).write_bytes(data)
    make_library(place, per_class=3)
    return place


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[PageServer]:
    with serving(place / "library") as running:
        yield running


@pytest.fixture(scope="module")
def ids(server: PageServer) -> dict[str, str]:
    return {os.path.basename(item["path"]): item["id"] for item in Client(server).get("/api/images?limit=500").json["items"]}


@pytest.fixture(scope="module")
def regular(browser: Any, server: PageServer) -> Iterator[Tab]:  # noqa: F811
    tab = Tab(someone(browser, viewport={"width": 1280, "height": 800}), server)
    yield tab
    tab.context.close()


@pytest.fixture
def tab(regular: Tab, server: PageServer) -> Iterator[Tab]:
    regular.problems.clear()
    regular.page.goto("about:blank")
    regular.page.goto(server.address)
    yield regular
    regular.page.unroute_all()
    regular.context.clear_permissions()
    assert regular.problems == []


def compare(tab: Tab, server: PageServer, query: str, match: str) -> None:
    """By address, so that it does not matter how the wall looks."""
    tab.page.goto(f"http://127.0.0.1:{server.port}/?q={query}&open={match}")
    tab.page.wait_for_selector("dialog.compare[open] .file")
    tab.until("[...document.querySelectorAll('.port img')].every((image) => image.complete && image.offsetWidth > 0)")


def boxes(tab: Tab, selector: str) -> list[dict[str, float]]:
    """Of ours, then theirs."""
    script = f"""['ours', 'theirs'].map((kind) => {{
      const edge = document.querySelector(`.stage figure.${{kind}} {selector}`).getBoundingClientRect();
      return {{ x: edge.x, y: edge.y, w: edge.width, h: edge.height }};
    }})"""
    found: list[dict[str, float]] = tab.page.evaluate(script)
    return found


# --- comparing ------------------------------------------------------------------------------------------------------------------


def test_side_by_side_at_one_height_with_captions_on_one_line(tab: Tab, server: PageServer, ids: dict[str, str]) -> None:
    compare(tab, server, ids["large.jpg"], ids["제주 바다.jpg"])
    ours, theirs = boxes(tab, "img")
    assert ours["h"] == pytest.approx(theirs["h"], abs=1) and ours["y"] == pytest.approx(theirs["y"], abs=1)
    assert ours["w"] / ours["h"] == pytest.approx(4 / 3, abs=0.01) and theirs["w"] / theirs["h"] == pytest.approx(1.5, abs=0.01)
    captions = boxes(tab, "figcaption")
    assert captions[0]["y"] == pytest.approx(captions[1]["y"], abs=0.5) and captions[0]["h"] == captions[1]["h"]
    stage = tab.page.locator(".pictures").bounding_box()
    assert ours["x"] - stage["x"] == pytest.approx(stage["x"] + stage["width"] - theirs["x"] - theirs["w"], abs=1), "equal gaps"
    assert "900 × 600" in tab.page.locator(".stage .theirs figcaption").text_content()
    tab.page.keyboard.press("ArrowRight")
    tab.until(f"!location.search.endsWith({ids['제주 바다.jpg']!r})")


def test_a_panorama_and_a_tiny_picture_are_neither_lost_nor_blown_up(tab: Tab, server: PageServer, ids: dict[str, str]) -> None:
    compare(tab, server, ids["wide.jpg"], ids["tall.jpg"])
    wide, tall = boxes(tab, "img")
    assert wide["w"] > 400 and wide["h"] > 40 and tall["h"] > 300 and tall["w"] > 100
    compare(tab, server, ids["large.jpg"], ids["tiny.jpg"])
    large, tiny = boxes(tab, "img")
    assert (tiny["w"], tiny["h"]) == (pytest.approx(120, abs=1), pytest.approx(90, abs=1)) and large["w"] > 500
    assert "40 × 30" in tab.page.locator(".stage .theirs figcaption").text_content()


def test_the_slider_shows_each_on_its_side_and_says_which(tab: Tab, server: PageServer, ids: dict[str, str]) -> None:
    compare(tab, server, ids["tall.jpg"], ids["large.jpg"])
    tab.page.keyboard.press("c")
    tab.page.wait_for_selector(".stage.slider .divider")
    assert tab.page.locator(".tag.ours").text_content() == "Your image" and tab.page.locator(".tag.theirs").text_content() == "Shapes"
    tab.page.wait_for_timeout(100)
    seen = np.asarray(Image.open(io.BytesIO(tab.page.screenshot())).convert("RGB")).astype(int)
    _, hidden = boxes(tab, "img")
    left = seen[int(hidden["y"]) + 200 : int(hidden["y"]) + 260, int(hidden["x"]) - 3 : int(hidden["x"]) + 12]
    assert np.abs(left - left[0, 0]).max() <= 2, "no sliver of the hidden picture"
    box = tab.page.locator(".overlaid").bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.05, box["y"] + 60, steps=4)
    tab.page.mouse.up()
    assert float(tab.page.locator(".overlaid input").input_value()) == pytest.approx(5, abs=1)
    assert not tab.page.locator(".tag.ours").is_visible() and tab.page.locator(".tag.theirs").is_visible()
    tab.page.locator(".overlaid input").focus()
    tab.page.keyboard.press("ArrowRight")
    assert float(tab.page.locator(".overlaid input").input_value()) == pytest.approx(6, abs=1)
    assert "open=" in tab.page.url, "the arrow moved the slider, not to the next match"


def share_under(tab: Tab, x: float, y: float, box: dict[str, float]) -> tuple[float, float]:
    return (x - box["x"]) / box["w"], (y - box["y"]) / box["h"]


def test_both_zoom_and_move_together(tab: Tab, server: PageServer, ids: dict[str, str]) -> None:
    compare(tab, server, ids["large.jpg"], ids["제주 바다.jpg"])
    before = boxes(tab, "img")
    x, y = before[0]["x"] + before[0]["w"] * 0.3, before[0]["y"] + before[0]["h"] * 0.6
    tab.page.mouse.move(x, y)
    for wide in (2, 8):  # first until it fills its room: before, it stands in the middle
        while boxes(tab, "img")[0]["w"] < wide * before[0]["w"]:
            share = share_under(tab, x, y, boxes(tab, "img")[0])
            tab.page.mouse.wheel(0, -200)
            tab.page.wait_for_timeout(40)
    after = boxes(tab, "img")
    assert after[0]["w"] / before[0]["w"] == pytest.approx(after[1]["w"] / before[1]["w"], rel=0.01)
    assert share_under(tab, x, y, after[0]) == pytest.approx(share, abs=0.003), "what lay under the pointer lies there still"
    centre = [
        share_under(tab, port["x"] + port["w"] / 2, port["y"] + port["h"] / 2, box)
        for port, box in zip(boxes(tab, ".port"), after, strict=True)
    ]
    assert centre[0] == pytest.approx(centre[1], abs=0.03), "both show the same place"
    tab.page.mouse.down()
    tab.page.mouse.move(x - 80, y, steps=3)
    tab.page.mouse.up()
    moved = boxes(tab, "img")
    assert moved[0]["x"] == pytest.approx(after[0]["x"] - 80, abs=2) and moved[1]["x"] < after[1]["x"] - 20
    tab.page.keyboard.press("0")
    assert boxes(tab, "img")[0]["w"] == pytest.approx(before[0]["w"], abs=1)


def test_single_pixels_by_button_key_and_double_click(tab: Tab, server: PageServer, ids: dict[str, str]) -> None:
    compare(tab, server, ids["large.jpg"], ids["wide.jpg"])
    assert [tab.page.evaluate(f"document.querySelector('.{kind} img').naturalWidth") for kind in ("ours", "theirs")] == [1600, 1600]
    tab.page.locator(".stage .one").click()
    assert tab.page.locator(".stage .one").get_attribute("aria-pressed") == "true"
    assert [round(box["w"]) for box in boxes(tab, "img")] == [1600, 4000]
    assert tab.page.locator(".stage .share").text_content() == "100%"
    tab.until("document.querySelector('.theirs img').naturalWidth === 4000")  # all its pixels have come
    tab.page.keyboard.press("1")
    fit = boxes(tab, "img")
    assert fit[0]["w"] < 1200
    tab.page.mouse.dblclick(fit[0]["x"] + 5, fit[0]["y"] + 5)
    assert round(boxes(tab, "img")[0]["w"]) == 1600
    (image, _), (port, _) = boxes(tab, "img"), boxes(tab, ".port")
    assert image["x"] == pytest.approx(port["x"], abs=1) and image["y"] == pytest.approx(fit[0]["y"] + 5 - 1200 * 5 / fit[0]["h"], abs=2)
    tab.page.mouse.dblclick(fit[0]["x"] + 50, fit[0]["y"] + 5)
    assert boxes(tab, "img")[0]["w"] == pytest.approx(fit[0]["w"], abs=1)


def test_the_words_and_keys_of_what_can_be_done(tab: Tab, server: PageServer, ids: dict[str, str]) -> None:
    compare(tab, server, ids["large.jpg"], ids["tall.jpg"])
    words = [re.sub(r"\s+", " ", text).strip() for text in tab.page.locator(".sheet .button").all_text_contents()]
    assert words[:4] == ["Search with this", "More like this", "Less like this", "Choose"]
    assert {"Download", "Copy picture"} <= set(words)
    for key, expected in {"m": f"q={ids['large.jpg']}&q={ids['tall.jpg']}", "l": f"q={ids['large.jpg']}&q=-{ids['tall.jpg']}"}.items():
        compare(tab, server, ids["large.jpg"], ids["tall.jpg"])
        tab.page.keyboard.press(key)
        tab.until(f"location.search === '?{expected}'")
    compare(tab, server, ids["large.jpg"], ids["tall.jpg"])
    tab.page.keyboard.press("s")
    tab.until(f"location.search === '?q={ids['tall.jpg']}'")


def fingers(tab: Tab, kind: str, *points: tuple[float, float]) -> None:
    if not hasattr(tab, "hand"):
        tab.hand = tab.context.new_cdp_session(tab.page)  # type: ignore[attr-defined]
    touched = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]
    tab.hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def phone(browser: Any, server: PageServer) -> Iterator[Tab]:  # noqa: F811
    tab = Tab(someone(browser, viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, device_scale_factor=2), server)
    yield tab
    assert tab.problems == []
    tab.context.close()


def test_two_fingers_and_a_double_tap(phone: Tab, server: PageServer, ids: dict[str, str]) -> None:
    compare(phone, server, ids["large.jpg"], ids["제주 바다.jpg"])
    assert phone.page.evaluate("document.querySelector('.compare .body').scrollWidth") <= 390
    before = boxes(phone, "img")[0]
    x, y = before["x"] + before["w"] / 2, before["y"] + before["h"] / 2
    fingers(phone, "touchStart", (x - 20, y), (x + 20, y))
    for apart in (30, 40, 60):
        fingers(phone, "touchMove", (x - apart, y), (x + apart, y))
    fingers(phone, "touchEnd")
    after = boxes(phone, "img")[0]
    assert after["w"] == pytest.approx(3 * before["w"], rel=0.1)
    assert share_under(phone, x, y, after) == pytest.approx((0.5, 0.5), abs=0.05)
    phone.page.keyboard.press("0")
    for _ in range(2):
        fingers(phone, "touchStart", (x, y))
        fingers(phone, "touchEnd")
    phone.until("document.querySelector('.stage .one').getAttribute('aria-pressed') === 'true'")
    assert boxes(phone, "img")[0]["w"] == pytest.approx(800, abs=1), "1600 pixels on a screen with two for each"
    phone.page.keyboard.press("0")
    shown = phone.page.url
    fingers(phone, "touchStart", (x + 60, y))
    for dx in (30, -10, -60):
        fingers(phone, "touchMove", (x + dx, y))
    fingers(phone, "touchEnd")
    phone.until(f"location.href !== {shown!r}")  # pushed aside: the next match


# --- its file -------------------------------------------------------------------------------------------------------------------


def test_download_and_copy(tab: Tab, server: PageServer, ids: dict[str, str], place: Path) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    compare(tab, server, ids["tall.jpg"], ids["제주 바다.jpg"])
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "제주 바다.jpg"
    assert Path(download.value.path()).read_bytes() == (place / "pictures" / "Shapes" / "제주 바다.jpg").read_bytes()
    tab.page.get_by_role("button", name="Copy picture").click()
    tab.page.wait_for_selector(".toast >> text=Picture copied")
    size = """navigator.clipboard.read().then(async ([item]) => {
      const picture = await createImageBitmap(await item.getType("image/png"));
      return [picture.width, picture.height];
    })"""
    assert tab.page.evaluate(size) == [900, 600]
    tab.page.get_by_role("button", name="Copy path").click()
    tab.page.wait_for_selector(".toast >> text=Path copied")
    assert Path(tab.page.evaluate("navigator.clipboard.readText()")).is_file()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the desktop's program has another name here")
def test_open_and_show_in_folder(
    tab: Tab, server: PageServer, ids: dict[str, str], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(tab, server, ids["large.jpg"], ids["tall.jpg"])
    assert tab.page.get_by_role("button", name="Show in folder").count() == 0, "no desktop here: nothing is offered"
    program = tmp_path / "xdg-open"
    program.write_text(f'#!/bin/sh\necho "$1" >> "{tmp_path}/asked"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("DISPLAY", ":99")
    compare(tab, server, ids["large.jpg"], ids["tall.jpg"])
    for name in ("Open", "Show in folder"):
        tab.page.get_by_role("button", name=name, exact=True).click()
        tab.page.wait_for_selector(".toast >> text=Opened on this machine")
        tab.page.evaluate("document.querySelectorAll('.toast').forEach((node) => node.remove())")
    folder = place / "pictures" / "Shapes"
    assert (tmp_path / "asked").read_text().splitlines() == [str(folder / "tall.jpg"), str(folder)]


# --- giving a picture -----------------------------------------------------------------------------------------------------------


def given(tab: Tab, data: bytes, name: str = "query.jpg") -> list[dict[str, Any]]:
    """What was sent when this picture was chosen: headers and sizes."""
    sent: list[dict[str, Any]] = []

    def seen(route: Any) -> None:
        body = route.request.post_data_buffer or b""
        sent.append({**route.request.headers, "bytes": len(body), "begins": body[:12]})
        route.continue_()

    tab.page.route("**/api/uploads", seen)
    tab.give(data, name)
    return sent


@pytest.mark.parametrize("turn", [0, 6])
def test_a_large_photo_is_made_small_before_it_is_sent(tab: Tab, place: Path, turn: int) -> None:
    data = (place / "pictures" / "Shapes" / "large.jpg").read_bytes() if turn == 0 else noisy(1600, 1200, 77, turn=turn)
    (sent,) = given(tab, data)
    assert len(data) > 1_500_000 and sent["bytes"] < 300_000 and sent["begins"][8:12] == b"WEBP"
    assert len(sent["x-original-sha256"]) == 64 and sent["x-original-size"] == ("1200x1600" if turn else "1600x1200")
    id = re.search(r"q=(up:[\w-]+)", tab.page.url)[1]  # type: ignore[index]
    answer = tab.page.evaluate(f"import('/static/api.js').then((api) => api.search({{ queries: [{{ id: '{id}' }}], n: 3 }}))")
    assert answer["matches"][0]["identical"] is (turn == 0)
    assert (answer["queries"][0]["width"], answer["queries"][0]["height"]) == ((1200, 1600) if turn else (1600, 1200))
    if turn:  # what was bright and above is now on the right; red, once on the left, above
        draw = """(id) => fetch(`/api/uploads/${id}/view`).then((a) => a.blob()).then(createImageBitmap).then((p) => {
          const c = document.createElement("canvas"); c.width = p.width; c.height = p.height;
          const paint = c.getContext("2d", { willReadFrequently: true }); paint.drawImage(p, 0, 0);
          const at = (x, y) => [...paint.getImageData(x * p.width, y * p.height, 1, 1).data.slice(0, 3)];
          return [p.width, p.height, at(0.75, 0.25), at(0.25, 0.75)];
        })"""
        width, height, bright, dark = tab.page.evaluate(draw, id)
        assert (width, height) == (150, 200)
        assert bright[0] > bright[2] + 60 and dark[2] > dark[0] + 60 and bright[1] > dark[1] + 60


def test_what_goes_as_it_is(tab: Tab) -> None:
    small = picture(1, 5)
    png = noisy(700, 500, 6, format="PNG")
    for data, name in ((small, "a.jpg"), (png, "b.png"), (noisy(40, 3000, 7, quality=100), "c.jpg")):
        (sent,) = given(tab, data, name)
        assert sent["bytes"] == len(data) and "x-original-sha256" not in sent, name
        tab.page.unroute_all()
        tab.page.goto(tab.page.url.split("?")[0])


def test_a_part_is_searched_with_all_its_pixels(tab: Tab) -> None:
    data = noisy(1600, 1200, 78)
    sent = given(tab, data)
    id = re.search(r"q=(up:[\w-]+)", tab.page.url)[1]  # type: ignore[index]
    tab.page.evaluate(f"import('/static/upload.js').then((upload) => upload.ensureFull('{id}'))")
    assert [one["bytes"] == len(data) for one in sent] == [False, True]
    tab.page.evaluate(f"import('/static/upload.js').then((upload) => upload.ensureFull('{id}'))")
    assert len(sent) == 2, "once"
    size = "import('/static/upload.js').then((upload) => upload.sharpest(`api/uploads/ID/view`)).then(fetch).then((a) => a.blob())"
    assert tab.page.evaluate(f"{size}.then(createImageBitmap).then((p) => p.width)".replace("ID", id)) == 1600


def test_progress_is_seen_and_can_be_stopped(tab: Tab) -> None:
    cdp = tab.context.new_cdp_session(tab.page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 20_000}
    cdp.send("Network.emulateNetworkConditions", slow)
    with tab.page.expect_file_chooser() as chooser:
        tab.page.click(".target")
    chooser.value.set_files([{"name": "a long name of a photo.png", "mimeType": "image/png", "buffer": noisy(700, 500, 8, format="PNG")}])
    tab.until("Number(document.querySelector('.giving progress')?.value) > 0")
    assert re.fullmatch(r"\d+%", tab.page.locator(".giving .share").text_content())
    assert tab.page.locator(".giving .said").text_content() == "Sending a long name of a photo.png…"
    before = tab.page.url
    tab.page.get_by_role("button", name="Cancel").click()
    tab.page.wait_for_selector(".giving", state="detached")
    cdp.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
    cdp.detach()
    assert tab.page.url == before and tab.page.locator(".toast").count() == 0 and tab.page.locator(".target").count() == 1
    assert tab.page.evaluate("document.body.classList.contains('reading')") is False


def test_the_hash_by_hand_is_the_hash(tab: Tab) -> None:
    """A page that came from another machine without encryption has no `crypto.subtle`."""
    script = """async () => {
      const { byHand, sha256 } = await import("/static/sha256.js");
      const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      const out = [];
      for (const size of [0, 1, 55, 56, 63, 64, 119, 120, 1048576 + 5]) {
        const blob = new Blob([new Uint8Array(size).map((_, at) => at * 7)]);
        out.push(hex(await byHand(blob)) === (await sha256(blob)));
      }
      return out;
    }"""
    assert tab.page.evaluate(script) == [True] * 9


DISPLAY_P3 = """async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 16, height: 16 });
  canvas.getContext("2d", { colorSpace: "display-p3" }).fillRect(0, 0, 16, 16);
  const file = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 1));
  return btoa(String.fromCharCode(...new Uint8Array(await file.arrayBuffer())));
}"""


@pytest.mark.slow
def test_a_copy_has_its_original_s_vector(tab: Tab, tmp_path: Path) -> None:
    """Cosine >= .9999 with the bundled model, or what all pixels of the same file give: drawn, with grain, turned, of odd sides, in P3."""
    from image_search import ImageSearchEngine
    from image_search.demo import draw

    dice = np.random.default_rng(5)
    with ImageSearchEngine(tmp_path / "library", model="mini", jobs=1, notify=lambda _: None) as engine:
        engine.index(fill(tmp_path / "pictures", 1), progress=False)
        wide_gamut = base64.b64decode(tab.page.evaluate(DISPLAY_P3))
        profile = Image.open(io.BytesIO(wide_gamut)).info["icc_profile"]
        for width, height, turn in ((2400, 1800, 0), (2400, 1800, 1), *((2401 + turn, 1804 - turn, turn) for turn in range(2, 9))):
            drawn = draw("Flowers" if turn % 2 else "House", turn).resize((width, height), Image.Resampling.BICUBIC)
            light = np.asarray(drawn).astype(np.float32)
            grain = dice.normal(0, 8, (height, width, 1)) * (light * (255 - light) / 127.5**2)  # none in white and black, as in photos
            pixels = np.rint(light + grain).clip(0, 255).astype(np.uint8)
            out, exif = io.BytesIO(), Image.Exif()
            exif[0x0112] = turn or 1
            own = {} if turn else {"icc_profile": profile}
            Image.fromarray(pixels).save(out, "JPEG", quality=92, exif=exif, **own)
            script = """async (text) => {
              const { shrunk } = await import("/static/shrink.js");
              const file = new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "a.jpg");
              const { copy } = await shrunk(file, { width: 192, height: 192 });
              const bytes = new Uint8Array(await copy.arrayBuffer());
              return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
            }"""
            copy = base64.b64decode(tab.page.evaluate(script, base64.b64encode(out.getvalue()).decode()))
            assert Image.open(io.BytesIO(copy)).info.get("icc_profile") == own.get("icc_profile")
            original = engine.query(out.getvalue()).vector
            whole = io.BytesIO()
            Image.open(out).save(whole, "PNG", compress_level=1, exif=exif, **own)
            bound = float(engine.query(whole.getvalue()).vector @ original)  # all pixels of the same file: the model itself wavers so much
            cosine = float(engine.query(copy).vector @ original)
            assert cosine >= min(0.9999, bound), (width, height, turn, bound)


# --- a region --------------------------------------------------------------------------------------------------------------------


MOUNT = """async ({ id, width, height, box }) => {
  const { makeRegion } = await import("/static/region.js");
  document.getElementById("tried")?.remove();
  const image = document.createElement("img");
  image.src = `/api/images/${id}/view`;
  image.draggable = false;
  window.boxes = [];
  const region = makeRegion(image, width, height, box, (at) => window.boxes.push(at));
  const holder = document.createElement("dialog");
  holder.id = "tried";
  holder.className = "small wide";
  holder.append(region.element);
  document.body.append(holder);
  holder.showModal();
  window.tried = region;
  await image.decode();
}"""


def mount(tab: Tab, id: str, box: dict[str, int] | None = None) -> dict[str, float]:
    """The tool on the panorama, as large as a dialog."""
    tab.page.evaluate(MOUNT, {"id": id, "width": 4000, "height": 400, "box": box})
    frame: dict[str, float] = tab.page.locator("#tried .region").bounding_box()
    return frame


def test_a_box_on_a_panorama(tab: Tab, ids: dict[str, str]) -> None:
    frame = mount(tab, ids["wide.jpg"])
    assert frame["height"] > 200, "a panorama gets room to be zoomed into"
    x, y = frame["x"] + frame["width"] * 0.7, frame["y"] + frame["height"] / 2
    tab.page.mouse.move(x, y)
    for _ in range(8):
        tab.page.mouse.wheel(0, -200)
    tab.until("document.querySelector('#tried .layer').offsetWidth > 8000")
    tab.until("document.querySelector('#tried img').naturalWidth === 4000")  # with all its pixels, since they are wanted now
    tab.page.mouse.down()
    tab.page.mouse.move(x + 100, y + 80, steps=4)
    tab.page.mouse.up()
    (box,) = tab.page.evaluate("window.boxes")
    scale = tab.page.evaluate("document.querySelector('#tried .layer').offsetWidth / 4000")
    assert box["x"] == pytest.approx(2800, abs=15)
    assert (box["w"], box["h"]) == (pytest.approx(100 / scale, abs=3), pytest.approx(80 / scale, abs=3))
    tab.page.get_by_role("button", name=re.compile("Farther")).click()
    assert tab.page.evaluate("window.boxes.length") == 1, "its buttons draw nothing"


def test_a_box_by_keyboard_alone(tab: Tab, ids: dict[str, str]) -> None:
    mount(tab, ids["wide.jpg"])
    tab.page.evaluate("window.tried.begin()")
    press = tab.page.keyboard.press
    for _ in range(4):
        press("+")
    assert tab.page.evaluate("document.activeElement.className") == "box"
    wide = tab.page.evaluate("document.querySelector('#tried .layer').offsetWidth")
    assert wide > 3000
    for _ in range(10):
        press("Shift+ArrowLeft")
    press("ArrowRight")
    tab.until("window.boxes.length === 2")
    first, second = tab.page.evaluate("window.boxes")
    assert (first["x"], first["w"]) == (1000, 2000) and second["w"] < first["w"] and second["x"] > first["x"]
    box, frame = (tab.page.locator(f"#tried {name}").bounding_box() for name in (".box", ".region"))
    assert box["x"] + box["width"] / 2 == pytest.approx(frame["x"] + frame["width"] / 2, abs=3), "it stays in sight"
    press("0")
    assert tab.page.evaluate("document.querySelector('#tried .layer').offsetWidth") < wide
    press("Delete")
    assert tab.page.evaluate("window.boxes.at(-1)") is None


def test_a_small_box_is_come_closer_to(tab: Tab, ids: dict[str, str]) -> None:
    frame = mount(tab, ids["wide.jpg"], {"x": 3000, "y": 100, "w": 60, "h": 60})
    box = tab.page.locator("#tried .box").bounding_box()
    assert box["width"] > frame["width"] * 0.1 and frame["x"] < box["x"] < frame["x"] + frame["width"]


def test_a_box_with_fingers(phone: Tab, ids: dict[str, str]) -> None:
    frame = mount(phone, ids["wide.jpg"])
    x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    fingers(phone, "touchStart", (x, y))  # not asked for yet: a finger scrolls, and draws nothing
    fingers(phone, "touchMove", (x + 50, y + 30))
    fingers(phone, "touchEnd")
    assert phone.page.evaluate("window.boxes") == []
    fingers(phone, "touchStart", (x - 10, y), (x + 10, y))
    for apart in (30, 60, 120):
        fingers(phone, "touchMove", (x - apart, y), (x + apart, y))
    fingers(phone, "touchEnd")
    assert phone.page.evaluate("document.querySelector('#tried .layer').offsetWidth") > 3000
    phone.page.evaluate("window.tried.begin()")
    before = phone.page.evaluate("window.boxes.at(-1)")
    fingers(phone, "touchStart", (x, y))
    for dx in (10, 30, 40):
        fingers(phone, "touchMove", (x + dx, y))
    fingers(phone, "touchEnd")
    moved = phone.page.evaluate("window.boxes.at(-1)")
    assert moved["x"] > before["x"] and (moved["w"], moved["h"]) == (before["w"], before["h"])
    fingers(phone, "touchStart", (x, y))
    fingers(phone, "touchStart", (x, y), (x + 40, y))  # a second finger: nothing is drawn, it is zoomed
    fingers(phone, "touchMove", (x - 20, y), (x + 60, y))
    fingers(phone, "touchEnd")
    assert phone.page.evaluate("window.boxes.at(-1)") == moved
