"""The page's filters by what is known of files, in a real browser: dragged, typed, by keyboard, kept by the address, in both languages."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pageserver import Client, picture, serving
from PIL import Image
from test_web_page import Tab, browser, playwright, someone  # noqa: F401 - `browser` is a fixture

from image_search.testing import quick_engine
from image_search.web.server import PageServer

YEARS = range(2015, 2025)


def dated(seed: int, year: int | None, format: str = "JPEG") -> bytes:
    block = Image.Exif()
    if year is not None:
        block.get_ifd(0x8769)[0x9003] = f"{year}:06:{seed % 28 + 1:02} 12:00:00"
        block.get_ifd(0x8769)[0x9011] = "+09:00"
    out = io.BytesIO()
    Image.open(io.BytesIO(picture(seed % 3, seed, 96, "PNG"))).save(out, format, **({"exif": block.tobytes()} if year is not None else {}))
    return out.getvalue()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two JPEGs of each year; four PNGs that say nothing, whose files are of 2024; a large one."""
    place = tmp_path_factory.mktemp("dated")
    for number, year in enumerate(YEARS):
        for twice in range(2):
            path = place / "pictures" / ("series" if twice else "single") / f"{year}-{twice}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dated(2 * number + twice, year))
    for number in range(4):
        path = place / "pictures" / "drawn" / f"draft {number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dated(50 + number, None, "PNG"))
        os.utime(path, (1_717_200_000 + number, 1_717_200_000))  # June 2024
    large = Image.open(io.BytesIO(picture(0, 70, 96, "PNG"))).resize((1200, 1000))
    large.save(place / "pictures" / "single" / "large.jpg", exif=exif_of(2020))
    with quick_engine(place / "library") as engine:
        engine.index(place / "pictures", progress=False)
    return place / "library"


def exif_of(year: int) -> bytes:
    block = Image.Exif()
    block.get_ifd(0x8769)[0x9003] = f"{year}:01:01 08:00:00"
    return block.tobytes()


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[PageServer]:
    with serving(library) as running:
        yield running


@pytest.fixture
def tab(browser: Any, server: PageServer) -> Iterator[Tab]:  # noqa: F811
    context = someone(browser)
    tab = Tab(context, server)
    tab.page.goto(f"{server.address.split('?')[0]}?q=id:1")
    tab.loaded()
    tab.until("document.querySelectorAll('.dates rect').length > 0")
    yield tab
    assert tab.problems == []
    context.close()


ALL = 25


def shown(tab: Tab, count: int) -> None:
    tab.until(f"document.querySelectorAll('.results .card').length === {count} && document.querySelector('.results').ariaBusy === 'false'")


def test_dates_are_dragged_and_the_address_keeps_them(tab: Tab) -> None:
    shown(tab, ALL)
    bars = tab.page.locator(".dates rect.in")
    assert bars.count() == len(YEARS)
    assert tab.page.text_content(".dates .hint") == "4 of these do not say it: their files’ dates count."
    box = tab.page.locator(".dates .span").bounding_box()
    y, width = box["y"] + box["height"] / 2, box["width"] - 16
    tab.page.mouse.move(box["x"] + 8, y)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 8 + 0.5 * width, y, steps=5)
    assert tab.page.locator(".dates rect.in").count() == 5, "before it is let go"
    tab.page.mouse.up()
    tab.page.wait_for_url("**since=2020*")
    shown(tab, 5 * 2 + 4 + 1)
    assert tab.page.input_value("#date-since") == "2020" and tab.page.text_content(".dates output") == "from 2020"
    tab.page.mouse.move(box["x"] + 8 + width, y)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 8 + 0.7 * width, y, steps=5)
    tab.page.mouse.up()
    tab.page.wait_for_url("**until=2021*")
    shown(tab, 2 * 2 + 1)
    tab.page.reload()
    tab.loaded()
    shown(tab, 5)
    tab.until("document.querySelectorAll('.dates rect.in').length === 2")
    assert tab.page.text_content(".chips .chip span") == "Taken: 2020 – 2021"
    tab.page.go_back()
    shown(tab, 15)
    tab.page.click(".chips .chip")
    shown(tab, ALL)
    assert tab.page.input_value("#date-since") == ""


def test_dates_are_typed_and_what_is_no_date_asks_nothing(tab: Tab) -> None:
    asked: list[str] = []
    tab.page.fill("#date-since", "2024-02-31")
    tab.until("document.querySelector('#date-since').ariaInvalid === 'true'")
    assert "since" not in tab.page.url
    tab.page.fill("#date-since", "2023-06")
    tab.page.wait_for_url("**since=2023-06*")
    shown(tab, 2 * 2 + 4)
    tab.page.on("request", lambda r: asked.append(r.url) if "/api/search" in r.url else None)
    tab.page.fill("#date-until", "2022")
    tab.until("document.querySelector('#date-until').ariaInvalid === 'true'")
    assert asked == []
    tab.page.fill("#date-until", "2024-05-31")
    shown(tab, 2)


def test_the_handles_are_moved_by_keys_and_say_where_they_are(tab: Tab) -> None:
    low, high = tab.page.locator(".dates .span input").all()
    low.focus()
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_url("**since=2016*")
    assert low.get_attribute("aria-valuetext") == "2016" and low.get_attribute("aria-label") == "Taken from"
    high.focus()
    for _ in range(12):
        tab.page.keyboard.press("ArrowLeft")
    tab.page.wait_for_url("**until=2016*")
    assert "since=2016" in tab.page.url and high.get_attribute("aria-valuetext") == "2016"
    shown(tab, 2)


def test_formats_sizes_words_and_folders(tab: Tab) -> None:
    tab.page.get_by_role("listbox", name="Formats").locator("[role=option]", has_text="PNG").click()
    tab.page.wait_for_url("**format=PNG*")
    shown(tab, 4)
    tab.page.click(".chips .chip")
    shown(tab, ALL)
    tab.page.select_option("#pixels", "1000000")
    shown(tab, 1)
    assert tab.page.text_content(".chips .chip span") == "At least 1 MP" and "pixels=1000000" in tab.page.url
    tab.page.select_option("#pixels", "")
    tab.page.fill("#not", "single, series")
    tab.page.wait_for_url("**not=single*")
    shown(tab, 4)
    tab.page.check("#other")
    tab.page.wait_for_url("**other=1*")
    tab.until("document.querySelectorAll('.results .card').length === 0")
    tab.page.wait_for_selector(".state >> text=No image passes these filters together")
    tab.page.get_by_role("button", name="Clear filters").first.click()
    shown(tab, ALL)
    assert tab.page.input_value("#not") == "" and not tab.page.is_checked("#other")
    assert re.search(r"\?q=id:1$", tab.page.url)


def test_counts_follow_the_other_filters(tab: Tab) -> None:
    tab.page.goto(f"{tab.page.url}&format=PNG&since=2024")
    tab.loaded()
    counts = "[...document.querySelectorAll('.filters [role=option]')].map((n) => [n.dataset.name, Number(n.lastChild.textContent)])"
    tab.until(f"{counts}.some(([name, n]) => name === 'JPEG' && n === 2)")
    found = dict(tab.page.evaluate(counts))
    assert (found["drawn"], found["series"], found["PNG"], found["JPEG"]) == (4, 0, 4, 2)


def test_details_say_when_it_was_taken_or_the_date_of_its_file(tab: Tab, server: PageServer) -> None:
    items = {Path(item["path"]).name: item for item in Client(server).get("/api/images?limit=100").json["items"]}
    assert items["2020-0.jpg"]["captured"] == "2020-06-11T12:00:00+09:00" and items["draft 0.png"]["captured"] is None
    for name, words in (("2020-0.jpg", "TakenJun 11, 2020, 12:00 PM (UTC+09:00)"), ("draft 0.png", "File of")):
        tab.page.goto(f"{server.address.split('?')[0]}?q=id:1&open={items[name]['id']}")
        tab.until(f"document.querySelector('.sheet dl')?.textContent.includes({words!r})")


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_on_a_narrow_screen_in_the_dark_in_both_languages(browser: Any, server: PageServer, locale: str) -> None:  # noqa: F811
    context = someone(browser, viewport={"width": 360, "height": 740}, locale=locale, color_scheme="dark", has_touch=True)
    tab = Tab(context, server)
    tab.page.goto(f"{server.address.split('?')[0]}?q=id:1&since=2018&until=2019&format=JPEG")
    tab.loaded()
    shown(tab, 4)
    tab.page.click(".bar .tools .button >> nth=0")
    tab.page.wait_for_selector("dialog[open] .dates rect.in")
    words = tab.page.text_content("dialog[open]")
    assert ("찍은 날" in words and "형식" in words) if locale == "ko-KR" else ("Taken" in words and "Formats" in words)
    assert tab.page.evaluate("document.querySelector('dialog[open]').scrollWidth <= innerWidth")
    if place := os.environ.get("SCREENSHOTS"):
        tab.page.locator("dialog[open] .dates").scroll_into_view_if_needed()
        tab.page.screenshot(path=f"{place}/filters-{locale}.png")
    assert tab.problems == []
    context.close()


# --- over HTTP ------------------------------------------------------------------------------------------------------------------


def test_filters_and_facets_over_http(server: PageServer) -> None:
    client = Client(server)

    def found(**filters: Any) -> set[str]:
        answer = client.post("/api/search", {"queries": [{"id": "id:1"}], "n": 100, **filters})
        assert answer.status == 200, answer.json
        return {Path(match["path"]).name for match in answer.json["matches"]}

    assert found(since="2016", until="2016") == {"2016-0.jpg", "2016-1.jpg"}
    assert found(min_pixels=10**6) == {"large.jpg"}
    assert found(formats=["png"], not_path=["*0.png", "*1.png"]) == {"draft 2.png", "draft 3.png"}
    assert found(not_names=["drawn", "single"]) == {f"{year}-1.jpg" for year in YEARS}
    assert len(found(other_folders=True)) == ALL - 4
    for wrong, code in (({"since": "soon"}, 400), ({"formats": ["jepg"]}, 400), ({"min_pixels": 0}, 422), ({"not_path": "text"}, 422)):
        assert client.post("/api/search", {"queries": [{"id": "id:1"}], **wrong}).status == code, wrong
    facets = client.post("/api/facets", {}).json
    assert facets["formats"] == [{"name": "JPEG", "images": 21}, {"name": "PNG", "images": 4}]
    dates = facets["dates"]
    assert dates == {"unit": "year", "first": "2015-01-01", "images": [2, 2, 2, 2, 2, 3, 2, 2, 2, 6], "by_file": 4, "unread": 0}
    few = client.post("/api/facets", {"formats": ["png"]}).json["dates"]
    assert (few["unit"], few["images"]) == ("day", [4])
    some = client.post("/api/facets", {"since": "9999", "path": "*/20[12][90]-*"}).json["dates"]
    assert (some["unit"], some["first"], some["images"]) == ("month", "2019-06-01", [2, *[0] * 11, 2])
    part = client.post("/api/facets", {"formats": ["png"], "since": "2030"}).json
    assert sum(part["dates"]["images"]) == 4 and part["formats"] == [], "each leaves out its own filter alone"
    counted = client.post("/api/counts", {"since": "2020", "other_folders": True, "queries": [{"id": "id:1"}]}).json["classes"]
    assert {row["name"]: row["images"] for row in counted} == {"series": 5, "single": 6}
