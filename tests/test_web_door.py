"""In a browser: the door, a tab that outlives a restart, the page below a path, the drawn document."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import playwright.sync_api as playwright
import pytest
from pageserver import Client, make_library, picture, serving
from test_web_http import proxied

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine: the page is not tested in a browser", allow_module_level=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("door"), per_class=3)


def tab(browser: playwright.Browser, problems: list[str], **options: object) -> playwright.Page:
    page = browser.new_context(**{"locale": "en-US", **options}).new_page()
    page.set_default_timeout(60_000)
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: problems.append(str(e)))
    return page


def give(page: playwright.Page) -> None:
    with page.expect_file_chooser() as chooser:
        page.click(".target")
    chooser.value.set_files([{"name": "query.jpg", "mimeType": "image/jpeg", "buffer": picture(1, 950)}])
    page.wait_for_selector(".results[aria-busy=false]")


def test_a_tab_and_a_bookmark_outlive_a_restart(browser: playwright.Browser, library: Path) -> None:
    problems: list[str] = []
    page = tab(browser, problems)
    with serving(library) as first:
        port = first.port
        page.goto(first.address)
        give(page)
        bookmark, cards = page.url, page.eval_on_selector_all(".results .card", "nodes => nodes.map(n => n.dataset.id)")
        assert "up:" in bookmark and "token" not in bookmark and len(cards) == 9
    with serving(library, port=port):
        page.reload()
        page.wait_for_selector(".results[aria-busy=false]")
        assert page.eval_on_selector_all(".results .card", "nodes => nodes.map(n => n.dataset.id)") == cards
        page.go_back()
        page.wait_for_selector(".target")
        later = page.context.new_page()
        later.goto(bookmark)
        later.wait_for_selector(".results[aria-busy=false]")
        assert later.eval_on_selector_all(".results .card", "nodes => nodes.map(n => n.dataset.id)") == cards
    assert problems == []
    page.context.close()


@pytest.mark.parametrize("options", [{"locale": "ko-KR", "color_scheme": "dark", "viewport": {"width": 390, "height": 800}}, {}])
def test_the_door_is_styled_and_loads_nothing(browser: playwright.Browser, library: Path, options: dict[str, object]) -> None:
    problems: list[str] = []
    page = tab(browser, problems, **options)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with serving(library) as server:
        page.goto(f"http://127.0.0.1:{server.port}/?token=old&q=id:1")
    korean = "locale" in options
    assert page.inner_text("h1") == ("키가 필요한 페이지입니다" if korean else "This page needs its key")
    assert page.evaluate("document.documentElement.lang") == ("ko" if korean else "en")
    colours = page.evaluate("['body', 'main'].map((name) => getComputedStyle(document.querySelector(name)).backgroundColor)")
    assert len(set(colours)) == 2 and ("rgb(255, 255, 255)" in colours) != korean, colours
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert [url for url in asked if "/?token=" not in url and "favicon" not in url] == []
    assert all("401" in text for text in problems), problems
    page.context.close()


def test_a_link_from_another_site_opens_the_page_for_who_has_the_cookie(browser: playwright.Browser, library: Path) -> None:
    """The cookie is strict, so it does not come with the first request; the door asks a second time, and only then."""
    problems: list[str] = []
    page = tab(browser, problems)
    with serving(library) as server:
        page.goto(server.address)
        page.wait_for_selector(".target")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.is_navigation_request() else None)
        there = f"http://127.0.0.1:{server.port}/?q=id:1"
        mail = f'<a href="{there}">look</a>'
        page.route("http://mail.localhost/", lambda route: route.fulfill(body=mail, content_type="text/html"))
        page.goto("http://mail.localhost/")
        page.click("a")
        page.wait_for_selector(".results[aria-busy=false]")
        assert asked == ["http://mail.localhost/", there, there]
        stranger = tab(browser, problems)
        stranger.route("http://mail.localhost/", lambda route: route.fulfill(body=mail, content_type="text/html"))
        stranger.goto("http://mail.localhost/")
        stranger.click("a")
        stranger.wait_for_selector("text=This page needs its key")
        stranger.wait_for_timeout(500)
        assert stranger.inner_text("h1") == "This page needs its key"
    assert all("401" in text for text in problems), problems
    page.context.close()
    stranger.context.close()


def test_the_page_works_below_a_path(browser: playwright.Browser, tmp_path: Path) -> None:
    problems: list[str] = []
    page = tab(browser, problems)
    library = make_library(tmp_path, per_class=2)
    with serving(library, root_path="/photos", hosts=["photos.localhost"]) as server, proxied(server, strips=True) as base:
        page.goto(f"{base}?token={server.keys.token}")
        give(page)
        assert page.url.startswith(f"{base}?q=up:")
        shown = "[...document.querySelectorAll('.results .card img')].filter((image) => image.naturalWidth > 0).length"
        for _ in range(600):
            if page.evaluate(shown):
                break
            page.wait_for_timeout(50)
        assert page.evaluate(shown) > 0
        page.go_back()
        page.wait_for_selector(".target")
    assert problems == []
    page.context.close()


def test_the_drawn_document_names_every_request(browser: playwright.Browser, library: Path) -> None:
    problems: list[str] = []
    with serving(library) as server:
        page = tab(browser, problems)
        page.goto(f"http://127.0.0.1:{server.port}/api/docs?token={server.keys.token}")
        page.wait_for_selector("details")
        assert server.keys.token not in page.url
        drawn = page.eval_on_selector_all(
            "details", "nodes => nodes.map((n) => [...n.querySelectorAll('summary > *')].map((m) => m.textContent))"
        )
        document = Client(server).get("/api/openapi.json").json
        wanted = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
        assert {(method, path) for method, path, _ in drawn} == wanted and all(words for *_, words in drawn)
        page.get_by_text("/api/search/batch", exact=True).click()
        inside = page.inner_text("details[open]")
        for words in ("searches", "min_similarity", "near_identical", "closeness", "problem", "curl -H", "SearchRequest"):
            assert words in inside, words
    assert problems == []
    page.context.close()
