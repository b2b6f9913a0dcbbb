"""Copies, labels and the map in a real browser: by mouse and by keyboard, kept by the address, in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pageserver import Client, picture, serving
from test_web_page import Tab, browser, playwright, someone  # noqa: F401 - `browser` is a fixture
from test_web_tidy import make_untidy

from image_search.private import write_private
from image_search.tidy.map import LibraryMap
from image_search.web.server import PageServer

LOCALES = ("en-US", "ko-KR")
READER = "r" * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """Its map has a class in each corner, laid out by nobody."""
    with serving(make_untidy(tmp_path_factory.mktemp("untidy"))) as running:
        running.engine.map = lambda **_: corners(running)  # type: ignore[method-assign]
        yield running


def corners(server: PageServer) -> LibraryMap:
    items = server.service.library.reader.page(limit=100)
    names = [item.name for item in items]
    middle = {"Blue": (0.15, 0.85), "Green": (0.85, 0.85), "Red": (0.5, 0.1)}
    dice = np.random.default_rng(3)
    xy = np.array([middle[name] for name in names]) + dice.uniform(-0.08, 0.08, (len(names), 2))
    return LibraryMap(
        np.array([item.number for item in items]), xy.astype(np.float32), names, np.zeros(len(names), bool), "quick", Path("x")
    )  # fmt: skip


def opened(browser: Any, server: PageServer, query: str, **options: Any) -> Tab:  # noqa: F811
    tab = Tab(someone(browser, **options), server)
    tab.page.goto(f"{server.address.split('?')[0]}{query}")
    return tab


def done(tab: Tab) -> None:
    assert tab.problems == []
    tab.context.close()


def address(tab: Tab) -> str:
    return str(tab.page.url.split("?")[1])


@pytest.mark.parametrize("locale", LOCALES)
def test_groups_are_compared_decided_and_undone_by_keyboard(browser: Any, server: PageServer, locale: str) -> None:  # noqa: F811
    korean = locale == "ko-KR"
    tab = opened(browser, server, "", locale=locale)
    page = tab.page
    page.click("#top nav a:last-child")
    page.wait_for_selector(".group")
    assert address(tab) == "view=groups" and page.locator(".group").count() == 2
    assert ("묶음 2개" if korean else "2 groups, 4 files") in page.inner_text(".told")
    assert ("픽셀이 가장 많음" if korean else "most pixels") in page.inner_text(".groups")
    page.keyboard.press("ArrowDown")  # onto the first
    at = "document.activeElement.closest('.member')?.querySelector('strong').textContent ?? ''"
    tab.until(f"({at}).startsWith('{'가장 좋음' if korean else 'Best'}')")
    while ("같은 이미지" if korean else "Same picture") not in page.evaluate(at):
        page.keyboard.press("ArrowRight")
        if ("같은 이미지" if korean else "Same picture") not in page.evaluate(at):
            page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.compare[open]")
    assert "open=id" in address(tab) and ("가장 좋음" if korean else "Best") in page.inner_text("figure.ours figcaption")
    page.reload()
    page.wait_for_selector("dialog.compare[open]")
    page.keyboard.press("Escape")
    tab.until("!location.search.includes('open')")
    page.locator(".member .face").last.focus()
    small = page.locator(".member", has_text="5 small.jpg")
    small.locator(".face").focus()
    page.keyboard.press("n")
    page.wait_for_selector(".member.apart")
    page.keyboard.press("u")
    tab.until("!document.querySelector('.member.apart')")
    small.locator(".face").focus()
    page.keyboard.press("v")
    page.wait_for_selector(".group.left")
    page.reload()  # what is left is shown no more
    tab.until("document.querySelectorAll('.group').length === 1")
    page.click(".tidy-bar .tools .button")
    page.wait_for_selector(".decisions li")
    row = page.locator(".decisions li")
    assert row.count() == 1 and ("그대로 두기" if korean else "Leave these") in row.inner_text()
    row.locator("button").click()
    tab.until("document.querySelectorAll('.decisions button').length === 0")
    page.keyboard.press("Escape")
    tab.until("document.querySelectorAll('.group').length === 2")
    done(tab)


@pytest.mark.parametrize("locale", LOCALES)
def test_labels_are_walked_through_by_keyboard(browser: Any, server: PageServer, locale: str) -> None:  # noqa: F811
    korean = locale == "ko-KR"
    tab = opened(browser, server, "?view=check", locale=locale)
    page = tab.page
    page.wait_for_selector(".walk li")
    assert page.locator(".walk li").count() == 1
    verdict = page.inner_text(".verdict")
    assert "Green" in verdict and "Red" in verdict and "wrong.jpg" in verdict
    assert ("이웃이 말하는 분류" if korean else "Its neighbours say") in verdict
    page.wait_for_selector(".neighbours .other")
    page.keyboard.press("x")
    page.wait_for_selector(".walk li.picked")
    page.keyboard.press("x")
    page.click(".check-parts nav a:nth-child(2)")
    assert "part=outliers" in address(tab)
    page.click(".check-parts nav a:nth-child(3)")
    page.wait_for_selector(".tables tbody tr")
    page.locator(".tables td a").first.click()  # the suspects of one class
    page.wait_for_selector(".walk li")
    assert "name=Green" in address(tab)
    page.keyboard.press("Enter")  # beside the nearest of what its neighbours say
    page.wait_for_selector("dialog.compare[open]")
    page.keyboard.press("Escape")
    tab.until("!document.querySelector('dialog.compare[open]') && !location.search.includes('open=')")  # closing is a step of its own
    page.go_back()
    page.go_back()
    tab.until("location.search.includes('view=check')")
    done(tab)


@pytest.mark.parametrize("locale", LOCALES)
def test_the_map_is_moved_looped_and_searched(browser: Any, server: PageServer, locale: str) -> None:  # noqa: F811
    tab = opened(browser, server, "?view=map", locale=locale)
    page = tab.page
    page.wait_for_selector(".legend li")
    assert ("이미지 33개" if locale == "ko-KR" else "33 pictures") in page.inner_text(".told")
    box = page.locator("canvas.map").bounding_box()
    side = min(box["width"], box["height"]) * 0.94
    corner = box["x"] + box["width"] / 2 - 0.5 * side, box["y"] + box["height"] / 2 - 0.5 * side
    loop = [(corner[0] + x * side, corner[1] + y * side) for x, y in ((0.3, 0.7), (0.7, 0.7), (0.7, 1.0), (0.3, 1.0))]
    page.keyboard.down("Shift")
    page.mouse.move(*loop[0])
    page.mouse.down()
    for point in loop[1:]:
        page.mouse.move(*point, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    tab.until("document.querySelectorAll('.chosen-here .card img').length > 0")
    assert page.inner_text(".chosen-here h2").split()[0 if locale == "en-US" else -1].strip("개") == "11", "all of the red class"
    page.locator("canvas.map").focus()
    page.keyboard.press("Escape")
    tab.until("document.querySelector('.chosen-here').hidden")
    page.locator(".legend button", has_text="Red").click()
    tab.until("location.search.includes('name=Red')")
    page.mouse.move(corner[0] + 0.5 * side, corner[1] + 0.9 * side)
    page.mouse.wheel(0, -700)
    tab.until("location.search.includes('spot=')")
    before = address(tab)
    page.reload()
    page.wait_for_selector(".legend button[aria-pressed=true]")
    assert address(tab) == before
    page.locator("canvas.map").focus()
    page.keyboard.press("0")
    tab.until("!location.search.includes('spot=')")
    page.wait_for_timeout(300)
    blue, found = (corner[0] + 0.5 * side, corner[1] + 0.9 * side), False
    for dx in range(-60, 61, 12):  # a picture lies somewhere here
        page.mouse.click(blue[0] + dx, blue[1])
        if found := "q=id" in page.url:
            break
    assert found
    tab.loaded()
    page.go_back()
    page.wait_for_selector(".legend li")
    done(tab)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_narrow_window_is_enough(browser: Any, server: PageServer, locale: str) -> None:  # noqa: F811
    options = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}
    tab = opened(browser, server, "?view=groups", locale=locale, **options)
    for number, there in enumerate((".group", ".walk li", ".legend li"), 1):
        tab.page.click(f".tidy-bar .ways a:nth-child({number})")
        tab.page.wait_for_selector(there)
        assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), there
    done(tab)


def test_where_there_is_nothing_to_look_at_it_is_said_in_one_line(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "pictures").mkdir()
    with serving(tmp_path / "library", folders=(str(tmp_path / "pictures"),)) as server:
        tab = opened(browser, server, "?view=check")
        tab.page.wait_for_selector(".state")
        assert "No library yet" in tab.page.inner_text(".state")
        (tmp_path / "pictures" / "one.jpg").write_bytes(picture(0, 1))
        Client(server).post("/api/index", {"folder": 0})
        Client(server).wait_for_job()
        for view, said in (("check", "There is only one class"), ("groups", "No copies")):
            tab.page.goto(f"{server.address.split('?')[0]}?view={view}")
            tab.page.wait_for_selector(".state h2")
            tab.until(f"document.querySelector('.state h2')?.textContent === {said!r}")
        assert [problem for problem in tab.problems if "409" not in problem] == []
        tab.context.close()


def test_a_key_that_may_only_read_looks_and_decides_nothing(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    write_private(keys := tmp_path / "keys.txt", f"owner all {'o' * 40}\nshop read {READER}\n".encode())
    with serving(make_untidy(tmp_path), key_file=keys) as server:
        context = someone(browser)
        page = context.new_page()
        page.goto(f"{server.address.split('?')[0]}?token={READER}")
        page.goto(f"{server.address.split('?')[0]}?view=groups")
        page.wait_for_selector(".group")
        assert page.locator(".group .leave, .group .differ").count() == 0
        context.close()
