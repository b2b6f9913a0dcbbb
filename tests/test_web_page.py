"""The page in a real browser: what people do with it, by mouse and by keyboard."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pageserver import CLASSES, PER_CLASS, fill, make_library, picture, serving
from PIL import Image

from image_search.testing import quick_engine
from image_search.web.server import PageServer

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the page is not tested in a browser")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine: the page is not tested in a browser", allow_module_level=True)

SEEN_MS = 60_000  # patience for something to appear; a busy machine is no fault of the page


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 plain pictures, one of them three times, and names that want to be markup."""
    place = tmp_path_factory.mktemp("page")
    folder = fill(place / "pictures")
    for name in ("copy a.jpg", "copy b.jpg"):
        (folder / "Blue" / name).write_bytes((folder / "Blue" / "0.jpg").read_bytes())
    hostile = folder / "<img src=x onerror=alert(1)>"
    hostile.mkdir()
    (hostile / "\"'><script>alert(2)<!--.jpg").write_bytes(picture(1, 900))
    (hostile / "a\u202egpj.exe\x1b[31m.jpg").write_bytes(picture(1, 901))
    return make_library(place)


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[PageServer]:
    with serving(library) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as tool:
        running = tool.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--renderer-process-limit=1"]
        )
        yield running
        running.close()


# Rows so low that all 64 pictures are in the document: elsewhere only those near the window are.
SMALL = "location.protocol === 'http:' && (localStorage.getItem('row') ?? localStorage.setItem('row', '90'))"


class Tab:
    """A page that was opened with the printed address; `problems` collects what a healthy page never says."""

    def __init__(self, context: playwright.BrowserContext, server: PageServer) -> None:
        self.context = context
        context.add_init_script(SMALL)
        self.page = context.new_page()
        self.page.set_default_timeout(SEEN_MS)
        self.problems: list[str] = []
        self.page.on("console", lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.problems.append(str(e)))
        self.page.on("dialog", lambda d: (self.problems.append("a script ran"), d.dismiss()))
        self.page.goto(server.address)

    def give(self, data: bytes, name: str = "query.jpg", by: str = ".target") -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.click(by)
        chooser.value.set_files([{"name": name, "mimeType": "image/jpeg", "buffer": data}])
        self.loaded()

    def until(self, expression: str) -> None:
        """wait_for_function evaluates inside the page, which its content policy rightly forbids."""
        end = time.monotonic() + SEEN_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"never came true: {expression}"
            self.page.wait_for_timeout(30)

    def loaded(self) -> None:
        self.page.wait_for_selector(".results[aria-busy=false]")

    def cards(self) -> list[str]:
        return self.page.eval_on_selector_all(".results .card", "nodes => nodes.map(n => n.dataset.id)")

    def names(self) -> list[str]:
        return self.page.eval_on_selector_all(".results .caption .name", "nodes => nodes.map(n => n.textContent)")

    def scores(self) -> list[float]:
        """From what a pointer that rests is told."""
        titles = self.page.eval_on_selector_all(".results .face", "nodes => nodes.map(n => n.title)")
        return [float(re.search(r"Similarity (-?\d\.\d+)", title)[1]) for title in titles]

    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.closest('.card')?.dataset.id ?? document.activeElement.tagName")

    def rested(self) -> None:
        """Where the window stands is kept a moment after it has come to rest."""
        self.page.wait_for_timeout(200)


def someone(browser: playwright.Browser, **options: object) -> playwright.BrowserContext:
    """A person who has never seen the page: no cookies, no settings, nothing kept."""
    return browser.new_context(**{"viewport": {"width": 1200, "height": 800}, "locale": "en-US", **options})


@pytest.fixture(scope="module")
def regular(browser: playwright.Browser, server: PageServer) -> Iterator[Tab]:
    tab = Tab(someone(browser), server)
    yield tab
    tab.context.close()


@pytest.fixture
def tab(regular: Tab, server: PageServer) -> Iterator[Tab]:
    """Opened anew in a browser that has the page's files, but no cookie and no settings."""
    regular.problems.clear()
    regular.page.goto("about:blank")
    regular.page.goto(server.address)
    yield regular
    regular.page.unroute_all()
    regular.page.evaluate("localStorage.clear(), sessionStorage.clear()")
    regular.page.goto("about:blank")  # so that nothing is asked without a cookie
    regular.context.clear_cookies()
    regular.context.clear_permissions()
    assert regular.problems == []


DROP = """([base64, names]) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  for (const name of names) data.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const fire = (type, target) => target.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data }));
  fire("dragenter", document.body);
  const zone = document.querySelector(".overlay .zone.ZONE");
  fire("dragover", zone);
  fire("drop", zone);
}"""


DRAG = """() => {
  const data = new DataTransfer();
  const fire = (type, target) => target.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data }));
  fire("dragstart", document.querySelector(".results .card"));
  fire("dragenter", document.body);
  fire("drop", document.querySelector(".overlay .zone.like"));
}"""


def drop(tab: Tab, data: bytes, zone: str = "new", names: tuple[str, ...] = ("dropped.jpg",)) -> None:
    tab.page.evaluate(DROP.replace("ZONE", zone), [base64.b64encode(data).decode(), list(names)])


def test_the_key_leaves_the_address_and_the_cookie_stays(tab: Tab, server: PageServer) -> None:
    tab.page.wait_for_selector(".target")
    assert server.keys.token not in tab.page.url
    (cookie,) = tab.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert tab.page.evaluate("document.cookie") == ""
    tab.page.reload()
    tab.page.wait_for_selector(".strip .card")


def test_drop_an_image_and_see_what_is_similar(tab: Tab) -> None:
    tab.page.wait_for_selector(".target")
    drop(tab, picture(2, 777))
    tab.loaded()
    assert set(tab.names()[:10]) == {"Red"}
    assert tab.page.locator(".query-thumb img").evaluate("img => img.complete && img.naturalWidth") == 96
    scores = tab.scores()
    assert scores == sorted(scores, reverse=True) and len(scores) == 62
    assert re.fullmatch(r"(very close|close|related)Red", tab.page.locator(".results .caption").first.text_content())
    assert tab.page.locator("h1").text_content() == "62 images, most similar first"
    assert tab.page.locator(".meta").text_content() == "2 more look the same, folded"
    assert tab.focused() == "H1"


def test_paste(tab: Tab) -> None:
    tab.page.wait_for_selector(".target")
    tab.page.evaluate(
        """(base64) => {
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], "x.png", { type: "image/png" }));
          document.body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: data }));
        }""",
        base64.b64encode(picture(1, 50, format="PNG")).decode(),
    )
    tab.loaded()
    assert "Green" in tab.names()[:3]  # two of another name are of the same kind


def test_more_like_this_back_forward_reload(tab: Tab) -> None:
    first = tab.page.locator(".strip .card").first
    first.wait_for()
    id = first.get_attribute("data-id")
    first.locator(".face").click()
    tab.loaded()
    assert tab.page.url.endswith(f"?q={id}") and tab.cards()[0] == id
    second = tab.cards()[4]
    card = tab.page.locator(f".card[data-id='{second}']")
    card.hover()
    card.locator(".act").first.click()
    tab.page.wait_for_url(f"**/?q={second}")
    tab.loaded()
    assert tab.cards()[0] == second
    tab.page.go_back()
    tab.page.wait_for_selector(f".results .card:first-child[data-id='{id}']")
    tab.page.go_forward()
    tab.page.wait_for_selector(f".results .card:first-child[data-id='{second}']")
    tab.page.reload()
    tab.page.wait_for_selector(f".results .card:first-child[data-id='{second}']")


def test_a_region_drawn_with_the_mouse_and_moved_by_keys(tab: Tab) -> None:
    halves = Image.new("RGB", (192, 96))
    halves.paste(Image.open(io.BytesIO(picture(0, 31))), (0, 0))
    halves.paste(Image.open(io.BytesIO(picture(2, 32))), (96, 0))
    out = io.BytesIO()
    halves.save(out, "PNG")
    tab.give(out.getvalue())
    tab.page.click(".query-thumb")
    box = tab.page.locator(".region").bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] * 0.52, box["y"] + 2)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + box["height"] * 0.98, steps=5)
    tab.page.mouse.up()
    tab.page.wait_for_url("**region=*")
    tab.until("document.querySelector('.results .name')?.textContent === 'Red'")
    tab.loaded()
    left = int(re.search(r"region=(\d+)", tab.page.url)[1])
    assert 95 <= left <= 105
    tab.page.locator(".box").focus()
    for _ in range(30):
        tab.page.keyboard.press("ArrowLeft")
    tab.until("document.querySelector('.results .name')?.textContent === 'Blue'")
    assert tab.page.evaluate("document.activeElement.className") == "box"
    tab.page.keyboard.press("Delete")
    tab.until("!location.search.includes('region')")
    tab.loaded()


def test_combining_images(tab: Tab) -> None:
    tab.give(picture(0, 1))
    tab.give(picture(2, 2), by="text=More like another image…")
    tab.page.wait_for_selector(".parts .part")
    tab.loaded()
    assert {"Blue", "Red"} <= set(tab.names()[:30]) and "Green" not in tab.names()[:30]
    drop(tab, picture(0, 3), zone="less")
    tab.page.wait_for_selector(".part.less")
    tab.loaded()
    assert "q=-up" in tab.page.url and tab.names()[0] == "Red"
    tab.page.locator(".part button").first.click()
    tab.until("document.querySelectorAll('.part').length === 1")
    tab.page.evaluate(DRAG)  # an image of the library, dragged onto "more like this"
    tab.until("document.querySelectorAll('.part').length === 2")
    assert re.search(r"q=id:\d+", tab.page.url)


def test_filters_and_the_cut_off(tab: Tab) -> None:
    tab.give(picture(0, 70))
    total = len(tab.cards())
    tab.page.locator(".filters [role=option]", has_text="Red").click()
    tab.until(f"document.querySelectorAll('.results .card').length === {PER_CLASS}")
    assert set(tab.names()) == {"Red"} and "name=Red" in tab.page.url
    tab.page.click("text=Clear filters")
    tab.until(f"document.querySelectorAll('.results .card').length === {total}")
    asked = []
    tab.page.on("request", lambda r: asked.append(r.url) if "/api/search" in r.url else None)
    slider = tab.page.locator("#cut")
    slider.evaluate("(node) => { node.value = '0.7'; node.dispatchEvent(new Event('input')); node.dispatchEvent(new Event('change')); }")
    tab.page.wait_for_url("**min=0.7")
    shown = len(tab.cards())
    scores = tab.scores()
    assert 0 < shown < total and min(scores) >= 0.7 and asked == []
    assert tab.page.locator("h1").text_content() == f"{shown} images, most similar first"
    slider.evaluate("(node) => { node.value = '1'; node.dispatchEvent(new Event('input')); node.dispatchEvent(new Event('change')); }")
    tab.page.wait_for_selector(".state >> text=No image reaches a similarity of 1.00")
    tab.page.locator(".state button").click()
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("pictures/Green")
    tab.page.wait_for_url("**path=*")
    tab.until(f"document.querySelectorAll('.results .card').length === {PER_CLASS}")


def test_a_condition_on_ones_own_table(tab: Tab, server: PageServer, tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text("path,price\n" + "".join(f"{name}/0.jpg,{5 + 10 * place}\n" for place, name in enumerate(CLASSES)))
    server.engine.annotate(tmp_path / "facts.csv")
    try:
        tab.give(picture(0, 70))
        field = tab.page.locator("#where")
        field.fill("price <")
        field.press("Enter")
        tab.page.wait_for_selector("#where-columns >> text=a value is missing")
        assert len(tab.cards()) > 2, "what is shown stays"
        assert all("400" in problem for problem in tab.problems)
        tab.problems.clear()
        field.fill("price < 20")
        field.press("Enter")
        tab.until("document.querySelectorAll('.results .card').length === 2")
        assert "where=price" in tab.page.url and tab.page.locator(".chip", has_text="price < 20").is_visible()
        tab.page.locator(".results .card").first.click()
        tab.page.wait_for_selector(".sheet dt >> text=price")
    finally:
        server.engine.annotate(drop="price")


def test_the_same_picture_is_shown_once_and_can_be_unfolded(tab: Tab, library: Path) -> None:
    tab.give((library.parent / "pictures" / "Blue" / "0.jpg").read_bytes())
    assert len(tab.cards()) == 62 and tab.page.locator(".pill.identical").count() == 1
    tab.page.locator(".repeats").click()
    assert len(tab.cards()) == 64 and tab.page.locator(".card.member").count() == 2
    tab.page.locator(".repeats").click()
    assert len(tab.cards()) == 62
    tab.page.click("text=View")
    tab.page.locator("#group").uncheck()
    tab.page.wait_for_url("**each=1")
    assert len(tab.cards()) == 64 and tab.page.locator(".repeats").count() == 0


def test_comparing_with_the_keyboard_alone(tab: Tab) -> None:
    press = tab.page.keyboard.press
    tab.page.wait_for_selector(".strip .card.current .face")
    press("ArrowDown")  # into the grid of samples
    press("ArrowRight")
    press("Enter")
    tab.loaded()
    press("ArrowDown")
    press("ArrowRight")
    press("Enter")
    tab.page.wait_for_selector("dialog.compare[open]")
    shown = re.search(r"open=(id:\d+)", tab.page.url)[1]
    assert shown == tab.cards()[1]
    tab.page.wait_for_selector(".sheet >> text=JPEG")
    press("ArrowRight")
    tab.page.wait_for_url(f"**open={tab.cards()[2]}")
    for way in ("slider", "flicker", "side"):
        press("c")
        tab.page.wait_for_selector(f".stage.{way}")
        if way == "flicker":
            press(" ")  # by hand from here on
            before = tab.page.locator(".which").text_content()
            press(" ")
            assert tab.page.locator(".which").text_content() != before
    assert float(tab.page.locator(".big strong").text_content()) == tab.scores()[2]
    press("x")
    press("Escape")
    tab.until("!location.search.includes('open')")
    assert "1 chosen" in tab.page.locator(".tray").text_content()
    press("Escape")
    assert tab.page.locator(".tray").count() == 0
    press("x")
    press("ArrowDown")
    before, focused = tab.page.url, tab.focused()
    press("m")
    tab.until(f"location.href.endsWith('&q={focused}')")
    tab.loaded()
    assert tab.focused() == "H1" and tab.page.url.startswith(before.split("&")[0])
    press("ArrowDown")
    press("ArrowRight")
    focused = tab.focused()
    press("l")
    tab.until(f"location.href.endsWith('&q=-{focused}')")
    tab.loaded()
    press("ArrowDown")
    focused = tab.focused()
    press("s")
    tab.until(f"location.search === '?q={focused}'")
    assert "1 chosen" in tab.page.locator(".tray").text_content()
    press("?")
    tab.page.wait_for_selector("#keys[open]")
    press("Escape")
    tab.page.wait_for_selector("#keys", state="detached")


def test_copying_the_path_and_exporting(tab: Tab, library: Path) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.page.locator(".strip .card .face").first.click()
    tab.loaded()
    tab.page.locator(".results .face").nth(1).click()
    tab.page.click("text=Search with this >> xpath=ancestor::dialog//button[@title='Copy path']")
    tab.page.wait_for_selector(".toast >> text=Path copied")
    copied = tab.page.evaluate("navigator.clipboard.readText()")
    assert Path(copied).is_file() and copied.startswith(str(library.parent))
    tab.page.keyboard.press("Escape")
    for n in (0, 1, 2):
        tab.page.locator(".results .mark").nth(n).click(force=True)
    files = {}
    for word in ("List", "CSV", "JSON", "Copies (zip)"):
        with tab.page.expect_download() as download:
            tab.page.click(f".tray >> text={word}")
        files[word] = Path(download.value.path()).read_bytes()
    paths = files["List"].decode().splitlines()
    assert len(paths) == 3 and all(Path(p).is_file() for p in paths)
    rows = list(csv.DictReader(io.StringIO(files["CSV"].decode("utf-8-sig"))))
    assert [row["path"] for row in rows] == paths == [row["uri"] for row in json.loads(files["JSON"])]
    with zipfile.ZipFile(io.BytesIO(files["Copies (zip)"])) as archive:
        assert [archive.read(name) for name in archive.namelist()] == [Path(p).read_bytes() for p in paths]


def test_no_cell_is_a_formula_in_any_country(tab: Tab) -> None:
    """Also where cells are parted by other letters than commas, so that our quotes, which do not begin a cell there, count for nothing."""
    signs = [*"=+-@", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
    before = ["", " ", "\t", "\r", "\n", '"', "'", "a;", "a; ", 'a;"', "a|", "a\t", "a\n", "a\r\n", '";', "a;;", "\n;"]
    names = [f"{first}{sign}cmd|' /C calc'!A0" for first in before for sign in signs] + ["\tx", "\rx", "\nx"]
    plain = ["Cat", "a, b", 'say "hi"', "고양이", "x=1", "a-b;c", "/photos/2024-05/a+b@c.jpg"]
    cells = tab.page.evaluate("names => import('/static/tray.js').then((module) => names.map(module.cell))", names + plain)
    for name, cell in zip(names, cells, strict=False):
        row = f"1,{cell},0.5"
        for separator in ",;\t|":
            for fields in csv.reader(io.StringIO(row, newline=""), delimiter=separator):
                for field in fields:
                    assert field.lstrip(' "')[:1] not in signs and field[:1] not in ("\t", "\r", "\n"), (name, cell, separator, field)
    read = [next(csv.reader([f"1,{cell}"]))[1] for cell in cells[len(names) :]]
    assert read == plain, "what is harmless stays as it is"
    assert tab.page.evaluate("import('/static/tray.js').then((module) => module.cell(-0.5))") == "-0.5", "numbers are numbers"


def test_hostile_names_are_text(tab: Tab) -> None:
    tab.give(picture(1, 900))
    tab.page.locator(".results .face").first.click()
    tab.page.wait_for_selector("dialog.compare .path")
    assert tab.page.locator("dialog.compare .path").text_content().endswith("<img src=x onerror=alert(1)>/\"'><script>alert(2)<!--.jpg")
    assert tab.page.locator("dialog.compare dd").first.text_content() == "<img src=x onerror=alert(1)>"
    tab.page.keyboard.press("Escape")
    tab.page.click("nav >> text=Library")
    tab.page.locator(".library .names [role=option]", has_text="<img src=x").click()
    tab.page.wait_for_selector("h1 >> text=<img src=x onerror=alert(1)>")
    tab.until("document.querySelectorAll('.library .face').length === 2")
    titles = tab.page.eval_on_selector_all(".library .face", "nodes => nodes.map(n => n.title)")
    assert any("a\\u202egpj.exe\\x1b[31m.jpg" in title for title in titles)
    assert tab.page.locator("main img[src='x'], main script").count() == 0


def test_bad_files_are_refused_in_words(tab: Tab) -> None:
    tab.page.wait_for_selector(".target")
    drop(tab, b"this is no picture")
    tab.page.wait_for_selector(".toast.wrong >> text=not an image")
    assert tab.page.locator(".target").count() == 1
    tab.page.goto(f"{tab.page.url}?q=up:AAAAAAAAAAAAAAAAAAAAAA")
    tab.page.wait_for_selector(".state >> text=no longer kept")
    assert tab.page.locator(".state button").all_text_contents() == ["Choose an image", "New search"]
    for nothing in ("#cut", "#size", "input[type=checkbox]", ".toolbar button", ".bar button"):
        assert tab.page.locator(nothing).locator("visible=true").count() == 0, nothing
    tab.problems.clear()  # the browser itself reports every 4xx


def test_browsing_the_library(tab: Tab) -> None:
    tab.page.click("nav >> text=Library")
    tab.page.wait_for_selector("h1 >> text=64 images")
    tab.until("document.querySelectorAll('.library .card').length === 64")
    tab.page.locator(".library .names [role=option]", has_text="Green").click()
    tab.until(f"document.querySelectorAll('.library .card').length === {PER_CLASS}")
    assert "name=Green" in tab.page.url
    tab.page.locator(".library .face").first.click()
    tab.loaded()
    assert tab.names()[0] == "Green"
    tab.page.go_back()
    tab.page.wait_for_selector("h1 >> text=Green")


def test_korean_dark_and_their_switches(browser: playwright.Browser, server: PageServer) -> None:
    tab = Tab(someone(browser, locale="ko-KR", color_scheme="dark"), server)
    tab.page.wait_for_selector("text=여기에 이미지를 놓으세요")
    assert tab.page.evaluate("document.documentElement.lang") == "ko"
    dark = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.page.click("#theme")
    tab.until(f"getComputedStyle(document.body).backgroundColor !== '{dark}'")
    tab.page.click(".language")
    tab.page.wait_for_selector("text=Drop an image here")
    tab.page.reload()
    tab.page.wait_for_selector("text=Drop an image here")
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    tab.context.close()
    assert tab.problems == []


def test_phone_width(browser: playwright.Browser, server: PageServer) -> None:
    tab = Tab(someone(browser, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, device_scale_factor=2), server)
    wide = "document.documentElement.scrollWidth"
    tab.page.wait_for_selector(".strip .card")
    assert tab.page.evaluate(wide) == 360
    tab.give(picture(0, 5))
    assert tab.page.evaluate(wide) == 360
    tab.page.locator(".results .face").first.tap()
    tab.page.wait_for_selector("dialog.compare[open]")
    assert tab.page.evaluate("document.querySelector('dialog.compare').scrollWidth") <= 360
    tab.page.locator("dialog.compare .head .icon-button").last.tap()
    tab.page.locator(".bar .tools .button").first.tap()
    tab.page.wait_for_selector("dialog:modal >> text=Similarity")
    tab.page.locator("dialog:modal .sheet-head .icon-button").tap()
    tab.page.locator(".query-thumb").tap()
    tab.page.locator("text=Search a part").tap()
    tab.page.wait_for_url("**region=*")
    tab.page.locator("text=Done").tap()
    tab.page.click("nav >> text=Library")
    tab.page.wait_for_selector(".library .card")
    assert tab.page.evaluate(wide) == 360
    tab.page.locator(".bar .tools .button").nth(1).tap()
    tab.page.wait_for_selector("dialog:modal >> text=Update")  # in reach, however long the wall is
    tab.context.close()
    assert tab.problems == []


def test_nothing_jumps_while_pictures_arrive(browser: playwright.Browser, server: PageServer) -> None:
    tab = Tab(someone(browser), server)
    tab.page.evaluate(
        """() => {
          window.shift = 0;
          new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) window.shift += e.value; })
            .observe({ type: "layout-shift", buffered: true });
        }"""
    )
    tab.page.wait_for_selector(".strip .card")
    assert tab.page.evaluate("window.shift") < 0.1  # what web vitals call good
    held: list[playwright.Route] = []
    let = threading.Event()
    tab.page.route("**/thumbnail*", lambda route: route.continue_() if let.is_set() else held.append(route))
    tab.give(picture(2, 9))
    tab.page.wait_for_timeout(300)  # the answer takes the place of the samples, as it should
    tab.page.evaluate("window.shift = 0")
    assert held
    let.set()
    for route in held:
        route.continue_()
    tab.page.mouse.wheel(0, 1500)
    tab.page.wait_for_timeout(300)
    assert tab.page.evaluate("window.shift") < 0.1
    tab.context.close()
    assert tab.problems == []


def test_the_first_paint_is_small(browser: playwright.Browser, server: PageServer) -> None:
    tab = Tab(someone(browser), server)
    tab.page.wait_for_selector(".target")
    sizes = tab.page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".filter(e => !e.name.includes('/thumbnail') && !e.name.includes('/view')).map(e => [e.name, e.transferSize])"
    )
    assert 20_000 < sum(size for _, size in sizes) <= 90_000, sizes
    tab.context.close()


@pytest.mark.slow
def test_without_a_library_one_button_builds_the_gallery(
    browser: playwright.Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_search.demo import draw_gallery

    monkeypatch.setattr("image_search.demo.draw_gallery", lambda folder, progress: draw_gallery(folder, per_class=1, progress=progress))
    with serving(tmp_path / "library", folders=[fill(tmp_path / "mine", 2)], store="exact") as server:
        tab = Tab(someone(browser), server)
        tab.page.wait_for_selector("text=No library yet")
        assert tab.page.locator("text=mine").count() == 1
        tab.page.click("text=Build the sample gallery")
        tab.page.wait_for_selector(".strip .card >> nth=5", timeout=2 * SEEN_MS)
        tab.page.wait_for_selector(".job >> text=Indexed: 12 added")
        tab.page.click("nav >> text=Library")
        tab.page.click(".bar >> text=Folders")
        tab.page.wait_for_selector(".folders >> text=not indexed yet")
        tab.page.locator(".folders button", has_text="Index").click()
        tab.page.wait_for_selector("h1 >> text=18 images", timeout=2 * SEEN_MS)
        tab.page.click(".bar >> text=Folders")
        assert tab.page.locator(".folders li").count() == 2
        tab.context.close()
        assert tab.problems == []


@pytest.mark.parametrize("images", [0, 1])
def test_the_smallest_libraries(browser: playwright.Browser, tmp_path: Path, images: int) -> None:
    library = make_library(tmp_path, per_class=1)
    with quick_engine(library) as engine:
        engine.forget(*[f"id:{n}" for n in range(1, 4 - images)])
    with serving(library) as server:
        tab = Tab(someone(browser), server)
        if images:
            tab.page.locator(".strip .card .face").click()
            tab.loaded()
            assert tab.page.locator("h1").text_content() == "1 image, most similar first"
            assert re.fullmatch(r"Similarity 1\.000\w+", tab.page.locator(".results .caption").text_content())  # no closeness here
            tab.page.locator(".results .face").click()
            tab.page.wait_for_selector(".position >> text=1 of 1")
            tab.page.keyboard.press("Escape")
        else:
            tab.page.wait_for_selector("text=The library is empty")
        tab.page.click("nav >> text=Library")
        tab.page.wait_for_selector(f"h1 >> text={images} image")
        tab.context.close()
        assert tab.problems == []


def test_keys_in_the_comparison_reach_it_and_leave_the_system_s_alone(tab: Tab) -> None:
    """From the first match, whose "previous" is disabled; and after a button that had the focus was drawn anew."""
    page = tab.page
    tab.give(picture(2, 501))
    page.locator(".card .face").first.click()
    page.wait_for_selector("dialog.compare[open]")
    page.keyboard.press("ArrowRight")
    tab.until("document.querySelector('.compare .position').textContent.startsWith('2')")
    page.locator(".compare .pick").click()
    for at in ("3", "4"):
        page.keyboard.press("ArrowRight")
        tab.until(f"document.querySelector('.compare .position').textContent.startsWith('{at}')")
    page.keyboard.press("Control+c")
    page.keyboard.press("Alt+ArrowRight")
    assert page.locator(".compare .stage").get_attribute("class") == "stage side"
    assert page.locator(".compare .position").text_content().startswith("4")  # type: ignore[union-attr]
    press = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'ㅊ', code: 'KeyC', bubbles: true }))"
    page.evaluate(press)  # c, while Korean is being written
    assert page.locator(".compare .stage").get_attribute("class") == "stage slider"
    page.evaluate("import('/static/dom.js').then((dom) => dom.toast('said', true))")
    on_top = "(() => { const at = document.querySelector('.toast').getBoundingClientRect();"
    on_top += " return document.elementFromPoint(at.x + 5, at.y + 5)?.className.includes('toast'); })()"
    tab.until(f"document.querySelector('.toast') && {on_top}")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.compare", state="hidden")
    assert page.evaluate("document.querySelector('#toasts').parentElement === document.body")


@pytest.mark.slow
def test_back_and_clear_take_the_path_with_them(tab: Tab) -> None:
    page = tab.page
    tab.give(picture(0, 502))
    page.fill("#path", "Red")
    tab.until("location.search.includes('path=Red')")
    page.fill("#path", "")
    page.locator("#path").type("Gre")
    tab.until("location.search.includes('path=Gre')")
    page.go_back()
    tab.until("document.querySelector('#path').value !== 'Gre'")
    page.locator(".results").click(position={"x": 3, "y": 3})
    page.wait_for_timeout(400)
    assert "Gre" not in page.url
    page.fill("#path", "Blu")
    page.get_by_role("button", name="Clear filters").click()
    page.wait_for_timeout(400)
    assert "path" not in page.url and page.input_value("#path") == ""


@pytest.mark.slow
def test_a_finger_may_move_the_box_it_asked_for(browser: playwright.Browser, server: PageServer) -> None:
    tab = Tab(someone(browser, viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True), server)
    tab.give(picture(1, 503))
    tab.page.locator(".query-thumb").tap()
    tab.page.get_by_role("button", name="Search a part", exact=True).tap()
    tab.until("location.search.includes('region=')")
    tab.loaded()
    tab.page.wait_for_selector(".region.by-touch .box")
    drag = """() => {
      const box = document.querySelector(".region .box"), frame = box.closest(".region"), at = box.getBoundingClientRect();
      frame.setPointerCapture = () => {};
      const fire = (type, by) => box.dispatchEvent(new PointerEvent(type, {
        bubbles: true, cancelable: true, pointerType: "touch", pointerId: 5, button: 0,
        clientX: at.x + at.width / 2 - by, clientY: at.y + at.height / 2 - by }));
      fire("pointerdown", 0); fire("pointermove", 20); fire("pointerup", 20);
    }"""
    before = tab.page.url
    tab.page.evaluate(drag)
    tab.until(f"location.href !== {before!r}")
    assert tab.problems == []
    tab.context.close()


@pytest.mark.slow
def test_the_answer_is_asked_for_anew_when_the_library_has_changed(browser: playwright.Browser, tmp_path: Path) -> None:
    library = make_library(tmp_path, 2)
    with serving(library) as server:
        tab = Tab(someone(browser), server)
        tab.give(picture(0, 504))
        assert len(tab.cards()) == 6
        (tmp_path / "pictures" / "Red" / "new.jpg").write_bytes(picture(0, 505))
        tab.page.get_by_role("link", name="Library").click()
        tab.page.click(".bar >> text=Folders")
        tab.page.get_by_role("button", name=re.compile("^Update")).click()
        tab.until("document.querySelector('h1 small')?.textContent.startsWith('7')")
        tab.page.go_back()
        tab.until("document.body.dataset.view === 'search' && document.querySelectorAll('.results .card').length === 7")
        (tmp_path / "pictures" / "Red" / "new.jpg").rename(tmp_path / "pictures" / "Blue" / "new.jpg")
        tab.page.go_forward()
        tab.until("document.body.dataset.view === 'library'")
        tab.page.click(".bar >> text=Folders")
        tab.page.get_by_role("button", name=re.compile("^Update")).click()
        tab.until("[...document.querySelectorAll('.library .names small')].map((n) => n.textContent).join() === '7,3,2,2'")
        tab.page.go_back()
        tab.until("document.body.dataset.view === 'search'")
        (tmp_path / "pictures" / "Red" / "newer.jpg").write_bytes(picture(0, 506))  # while the answer is looked at
        start = "import('/static/api.js').then((api) => api.state().then((now) => api.index(now.folders[0].number)).then(() => true))"
        assert tab.page.evaluate(start)
        tab.until("document.querySelectorAll('.results .card').length === 8")
        assert tab.problems == []
        tab.context.close()


@pytest.mark.slow
def test_the_image_given_last_is_the_one_that_is_shown(tab: Tab) -> None:
    slow = iter([800, 0])
    tab.page.route("**/api/uploads", lambda route: (tab.page.wait_for_timeout(next(slow)), route.continue_()))
    paste = """(base64) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], "x.jpg", { type: "image/jpeg" }));
      dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
    }"""
    for seed in (506, 507):  # red, then blue
        tab.page.evaluate(paste, base64.b64encode(picture(seed % 3, seed)).decode())
    tab.loaded()
    tab.until("!document.body.classList.contains('reading')")
    tab.until("document.querySelectorAll('#toasts .busy').length === 0")  # the slow one has come, too
    assert tab.names()[0] == "Blue"  # 507 % 3 is 0
