"""Words on the page, in a real browser: beside a picture and alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from colours import colour_library
from pageserver import make_library, serving

from image_search.web.server import PageServer

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the page is not tested in a browser")
from test_web_page import Tab, browser, someone  # noqa: F401 - `browser` is a fixture; without a browser this skips, too


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """Its model knows colours, in English and Korean."""
    place = tmp_path_factory.mktemp("words")
    with serving(colour_library(place), model=str(place / "model"), store="exact") as running:
        yield running


@pytest.fixture
def tab(browser: object, server: PageServer, request: pytest.FixtureRequest) -> Iterator[Tab]:  # noqa: F811
    tab = Tab(someone(browser, **getattr(request, "param", {})), server)
    yield tab
    assert tab.problems == []
    tab.context.close()


def given(tab: Tab) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(tab.page.url).query)


def visit(tab: Tab, server: PageServer, query: str) -> None:
    tab.page.goto(f"http://127.0.0.1:{server.port}/?{query}")


def write(tab: Tab, words: str, key: str = "Enter") -> None:
    field = tab.page.get_by_role("searchbox", name="Search with words")
    field.fill(words)
    field.press(key)
    tab.loaded()


@pytest.mark.parametrize("tab", [{"locale": "ko-KR", "color_scheme": "dark"}], indirect=True)
def test_a_korean_phrase(tab: Tab) -> None:
    field = tab.page.get_by_role("searchbox", name="말로 찾기")
    field.fill("  파란 ")
    field.press("Enter")
    tab.loaded()
    assert tab.names()[:3] == ["blue"] * 3 and given(tab) == [("text", "파란")]
    assert tab.page.locator(".query .spoken").text_content() == "“파란”" and tab.page.locator(".query-thumb").is_hidden()
    assert tab.focused() == "H1"
    for step in (tab.page.reload, lambda: (tab.page.go_back(), tab.page.wait_for_selector(".target"), tab.page.go_forward())):
        step()
        tab.page.wait_for_selector(".query .spoken")
        tab.loaded()
        assert tab.names()[:3] == ["blue"] * 3
    tab.page.get_by_role("searchbox", name="말로 찾기").fill("초록")
    tab.page.get_by_role("button", name="이 말에서 더 멀게").click()
    tab.page.wait_for_selector(".part.words.less")
    assert ("less_text", "초록") in given(tab)


def test_beside_a_picture(tab: Tab, server: PageServer) -> None:
    write(tab, "red")
    red = tab.cards()[0]
    visit(tab, server, f"q={red}")
    tab.loaded()
    write(tab, "blue")
    tab.page.wait_for_selector(".part.words")
    assert given(tab) == [("q", red), ("text", "blue")]
    assert set(tab.names()[:6]) <= {"red", "blue", "violet"} and "blue" in tab.names()[:7]
    tab.page.get_by_role("searchbox", name="Search with words").fill("green")
    tab.page.get_by_role("button", name="Less like these words").click()
    tab.page.wait_for_selector(".part.words.less")
    assert given(tab) == [("q", red), ("text", "blue"), ("less_text", "green")] and tab.names()[-1] == "green"
    tab.page.get_by_role("button", name="Remove: green").click()
    tab.page.wait_for_selector(".part.words.less", state="detached")
    tab.page.locator(".query-out").get_by_role("button").click()  # the picture; the words stay, and stand in its place
    tab.page.wait_for_selector(".query.of-words")
    tab.loaded()
    assert given(tab) == [("text", "blue")] and set(tab.names()[:3]) == {"blue"}
    tab.page.get_by_role("button", name="Change these words: blue").click()
    tab.page.keyboard.type("green")  # what was there is selected
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector(".spoken >> text=green")
    tab.loaded()
    assert given(tab) == [("text", "green")] and set(tab.names()[:3]) == {"green"}


def test_what_the_model_says_of_words_can_be_asked_for(tab: Tab) -> None:
    write(tab, "red")
    assert len(tab.cards()) == 12 and tab.page.locator("label[for=cut]").text_content().startswith("Probability")
    first = tab.page.locator(".results .face").first
    assert first.get_attribute("title").splitlines()[1].startswith("Probability 8") and "%" in first.text_content()
    tab.page.locator("#cut").fill("0.5")
    tab.until("document.querySelectorAll('.results .card').length < 12")
    assert ("fits", "0.5") in given(tab)
    shown = tab.cards()
    counts = "[...document.querySelectorAll('[aria-label=Classes] small')].reduce((sum, node) => sum + Number(node.textContent), 0)"
    tab.until(f"{counts} === {len(shown)}")
    tab.page.locator("#cut").fill("0.99")
    tab.page.wait_for_selector(".state >> text=No image fits these words with a probability of 99%")
    tab.page.get_by_role("button", name="Without “Probability from 99%”").first.click()
    tab.until("document.querySelectorAll('.results .card').length === 12")
    tab.page.locator(".results .caption").first.click()
    dialog = tab.page.locator("dialog.compare")
    assert dialog.locator(".said").text_content() == "“red”" and dialog.locator(".ways").is_hidden()
    assert "with a probability of 8" in dialog.locator(".sheet").text_content()
    tab.page.keyboard.press("c")  # there is one way
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_selector(".position >> text=2 of 12")
    assert dialog.locator(".said").is_visible()


def test_words_that_cannot_be_searched_with(tab: Tab, server: PageServer) -> None:
    field = tab.page.get_by_role("searchbox", name="Search with words")
    for words, says in ((" \t ", "Say what the picture shows"), ("x" * 100_000, "100,000 letters")):
        field.evaluate("(node, words) => (node.value = words)", words)
        field.press("Enter")
        assert says in field.evaluate("node => node.validationMessage") and given(tab) == []
    visit(tab, server, "text=re%07d")
    tab.page.wait_for_selector(".state >> text=There are control characters among these words")
    tab.problems.clear()  # a browser tells of every answer that is no success
    again = tab.page.locator(".state").get_by_role("searchbox", name="Search with words")
    assert again.input_value() == "re\x07d"
    again.fill("red")
    again.press("Enter")
    tab.loaded()
    assert given(tab) == [("text", "red")] and set(tab.names()[:3]) == {"red"}
    visit(tab, server, "text=%20&less_text=")
    tab.page.wait_for_selector(".target")


@pytest.mark.parametrize("tab", [{"viewport": {"width": 390, "height": 780}}], indirect=True)
def test_on_a_phone_the_field_is_a_sheet(tab: Tab) -> None:
    tab.page.wait_for_selector(".phrase")
    tab.page.keyboard.press("w")
    tab.page.keyboard.type("red")
    tab.page.keyboard.press("Enter")
    tab.loaded()
    assert set(tab.names()[:3]) == {"red"} and tab.page.locator(".query .spoken").is_visible()
    tab.page.get_by_role("button", name="Search with words").click()
    sheet = tab.page.get_by_role("dialog", name="Search with words")
    sheet.get_by_role("searchbox").fill("blue")
    sheet.get_by_role("button", name="More like these words").click()
    tab.page.wait_for_selector(".part.words")
    assert sheet.count() == 0 and given(tab) == [("text", "red"), ("text", "blue")]
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_model_without_words(browser: object, tmp_path: Path) -> None:  # noqa: F811
    with serving(make_library(tmp_path, per_class=2)) as server:
        tab = Tab(someone(browser), server)
        line = "This library's model, quick, knows no words. siglip2 (1,540 MB) or clip-b32"
        tab.page.wait_for_selector(".intake .no-words")
        assert tab.page.locator(".intake .no-words").text_content().startswith(line) and tab.page.locator(".phrase").count() == 0
        tab.page.locator(".strip .face").first.click()
        tab.loaded()
        tab.page.get_by_role("button", name="Search with words").click()
        assert line in tab.page.get_by_role("dialog", name="Search with words").text_content()
        before = tab.page.url
        tab.page.goto(f"{before}&text=red")
        tab.page.wait_for_selector(f".state >> text={line}")
        assert "--model siglip2" in tab.page.locator(".state code").text_content()
        tab.page.get_by_role("button", name="Without “red”").click()
        tab.loaded()
        assert tab.page.url == before and len(tab.cards()) == 6
        tab.context.close()


def test_the_built_in_vocabulary_completes_what_is_typed(browser: object, tmp_path: Path) -> None:  # noqa: F811
    with serving(make_library(tmp_path, 2, "mini"), model="mini", store="exact") as running:
        tab = Tab(someone(browser), running)
        field = tab.page.locator("input[name=words]").first
        field.type("red tabb")
        tab.page.wait_for_selector("datalist option", state="attached")
        first = tab.page.locator("datalist option").first.get_attribute("value")
        assert first == "red tabby" and tab.page.get_by_role("combobox", name="Search with words").count() == 1
        field.fill("red zzzz")
        tab.page.wait_for_selector("input[name=words]:not([list])")
        assert tab.problems == []
        tab.context.close()
