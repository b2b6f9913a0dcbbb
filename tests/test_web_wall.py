"""The wall in a real browser: it never loses the place, fills its rows, holds few cards, and says what is so."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pageserver import Client, fill, make_library, picture, serving
from PIL import Image

from image_search.web.server import PageServer

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the page is not tested in a browser")
from test_web_page import Tab, browser, library, regular, server, someone, tab

__all__ = ["browser", "library", "regular", "server", "tab"]  # fixtures of the page's other tests

LARGE = "location.protocol === 'http:' && localStorage.setItem('row', '300')"
SCROLL = "scrollTo({ top: %d, behavior: 'instant' })"
LONG = "Screenshot 2024-05-12 at 10.11.12 b2f1c0de-1234-4abc-9def-0123456789ab.jpg"


@pytest.fixture
def tall(tab: Tab) -> Iterator[Tab]:
    """Rows so high that the results are many windows long."""
    tab.page.evaluate("localStorage.setItem('row', '300')")
    tab.page.reload()
    tab.page.wait_for_selector(".strip .card")
    tab.page.locator(".strip .face").first.click()
    tab.loaded()
    tab.page.evaluate(SCROLL % 1500)
    tab.rested()
    yield tab


def test_the_comparison_leaves_the_wall_where_it_was(tall: Tab) -> None:
    """The same nodes, the same place, the focus on the picture seen last."""
    page = tall.page
    tall.until("!document.querySelector('.coming')")
    page.evaluate("window.before = [...document.querySelectorAll('.results .card')]")
    seen = page.evaluate(
        "[...document.querySelectorAll('.results .card')].filter((n) => n.getBoundingClientRect().top > 100)"
        ".slice(0, 2).map((n) => n.dataset.id)"
    )
    page.locator(f".card[data-id='{seen[0]}'] .face").click()
    page.wait_for_selector("dialog.compare[open]")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**open={seen[1]}")
    page.keyboard.press("Escape")
    tall.until("!location.search.includes('open')")
    assert page.evaluate("scrollY") == 1500
    assert page.evaluate("window.before.every((node) => node.isConnected)")
    assert tall.focused() == seen[1]
    page.go_back()
    page.wait_for_selector("dialog.compare[open]")
    page.locator("dialog.compare .head .icon-button").last.click()
    tall.until("!location.search.includes('open')")
    assert page.evaluate("scrollY") == 1500


def test_back_forward_and_reload_find_the_place_again(tall: Tab) -> None:
    page = tall.page
    first = page.url
    page.reload()
    tall.loaded()
    tall.until("Math.abs(scrollY - 1500) < 3")
    page.keyboard.press("ArrowDown")
    tall.rested()
    page.evaluate(SCROLL % 1700)
    tall.rested()
    inside = "[...document.querySelectorAll('.results .card')].find((n) => n.getBoundingClientRect().top > 100).dataset.id"
    card = page.locator(f".card[data-id='{page.evaluate(inside)}']")
    card.hover()
    card.locator(".act").first.click()
    tall.until(f"location.href !== {first!r}")
    tall.loaded()
    assert page.evaluate("scrollY") == 0 and tall.focused() == "H1"
    before = page.evaluate("JSON.parse(sessionStorage.places)")
    page.go_back()
    tall.loaded()
    place = before[page.evaluate("history.state.step")]
    tall.until(f"document.querySelector('.card[aria-posinset=\"{place['at'] + 1}\"]') && scrollY > 1000")
    page.go_forward()
    tall.until("scrollY === 0")
    page.click("nav >> text=Library")
    page.wait_for_selector(".library .card[data-id]")
    page.go_back()
    tall.until("document.body.dataset.view === 'search'")


def test_what_was_chosen_stays_through_new_searches(tab: Tab) -> None:
    page = tab.page
    tab.give(picture(0, 601))
    page.locator(".results .mark").nth(1).click(force=True)
    tab.give(picture(2, 602), by="text=More like another image…")
    tab.until("location.search.split('q=').length === 3")
    tab.loaded()
    page.locator(".results .mark").nth(0).click(force=True)
    page.click("nav >> text=Library")
    page.wait_for_selector(".library .card[data-id]")
    page.locator(".library .mark").nth(30).click(force=True)
    page.reload()
    page.wait_for_selector(".tray >> text=3 chosen")
    assert page.locator(".tray-pictures img").count() == 3
    with page.expect_download() as download:
        page.click(".tray >> text=JSON")
    rows = json.loads(Path(download.value.path()).read_bytes())
    assert len(rows) == 3 and all(Path(row["uri"]).is_file() and row["width"] == 96 for row in rows)
    page.locator(".tray-pictures button").first.click()
    page.wait_for_selector(".tray >> text=2 chosen")
    page.locator(".tray button[title='Choose none']").click()
    assert page.locator(".tray").count() == 0


def test_a_folded_picture_is_chosen_with_all_that_look_the_same(tab: Tab, library: Path) -> None:
    tab.give((library.parent / "pictures" / "Blue" / "0.jpg").read_bytes())
    tab.page.locator(".card", has=tab.page.locator(".repeats")).locator(".mark").click(force=True)
    tab.page.wait_for_selector(".tray >> text=3 chosen")
    tab.page.wait_for_selector(".toast >> text=3 files that look the same were chosen")
    with tab.page.expect_download() as download:
        tab.page.click(".tray >> text=List")
    assert {Path(line).name for line in Path(download.value.path()).read_text().splitlines()} == {"0.jpg", "copy a.jpg", "copy b.jpg"}


def test_rows_fill_the_width_and_pictures_keep_their_shape(browser, tmp_path: Path) -> None:
    """At any width; a panorama is shown by its middle, with a mark; a small picture is not blown up beyond twice its size."""
    folder = fill(tmp_path / "pictures", 5)
    sizes = {"wide": (1600, 100), "tall": (60, 900), "tiny": (40, 30), "photo": (400, 300), "portrait": (300, 400)}
    for name, size in sizes.items():
        Image.new("RGB", size, (90, 120, 200)).save(folder / "Green" / f"{name}.png")
    place = make_library(tmp_path, 5)
    with serving(place) as server:
        for width in (320, 900, 3840):
            one = Tab(someone(browser, viewport={"width": width, "height": 900}), server)
            one.page.click("nav >> text=Library")
            one.page.wait_for_selector(".library .card[data-id]")
            boxes = one.page.eval_on_selector_all(
                ".library .card",
                "nodes => nodes.map((n) => { const r = n.getBoundingClientRect(); return [r.top, r.left, r.right, r.height]; })",
            )
            inside = one.page.evaluate(
                "(() => { const r = document.querySelector('.wall').getBoundingClientRect(); return [r.left, r.right]; })()"
            )
            rows: dict[float, list[list[float]]] = {}
            for box in boxes:
                rows.setdefault(round(box[0]), []).append(box)
            heads = one.page.locator(".heads h2").count()
            full = [row for row in rows.values() if abs(max(b[2] for b in row) - inside[1]) <= 1]
            assert len(rows) - len(full) <= heads  # only the last row of a class may end early
            for row in rows.values():
                row.sort(key=lambda b: b[1])
                assert abs(row[0][1] - inside[0]) <= 1
                assert all(2 <= right[1] - left[2] <= 5 for left, right in itertools.pairwise(row)), row
            shown = {
                Path(name).stem: (w, h, iw, ih)
                for name, w, h, iw, ih in one.page.eval_on_selector_all(
                    ".library .face",
                    "nodes => nodes.map((n) => { const p = n.querySelector('.picture').getBoundingClientRect(), i = n.querySelector('img')"
                    ".getBoundingClientRect(); return [n.title, p.width, p.height, i.width, i.height]; })",
                )
            }
            for name, ratio in (("wide", 3), ("tall", 1 / 3), ("photo", 4 / 3), ("portrait", 3 / 4)):
                assert shown[name][0] / shown[name][1] == pytest.approx(ratio, rel=0.06), (width, name)
            assert shown["tiny"][2] <= 80 and shown["tiny"][3] <= 60
            assert one.page.locator(".extreme .wide").count() == 2
            assert one.page.evaluate("document.documentElement.scrollWidth") <= width
            assert one.problems == []
            one.context.close()


def test_few_cards_are_in_the_document_whatever_the_library_holds(browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library of 6,000: what is far away is asked for when it is scrolled to, and only then."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1])
    pytest.importorskip("benchmarks", reason="benchmarks/ is not part of this copy")
    from benchmarks.library import make_library as made_up

    place = tmp_path / "library"
    made_up(place, 6_000)
    with serving(place, model=None, store="exact") as server:
        one = Tab(someone(browser, viewport={"width": 1600, "height": 1000}), server)
        asked: list[str] = []
        one.page.on("request", lambda r: asked.append(r.url) if "generation=" in r.url else None)
        one.page.route("**/thumbnail*", lambda route: route.fulfill(status=200, content_type="image/webp", body=b""))
        one.page.click("nav >> text=Library")
        one.page.wait_for_selector(".library .card[data-id]")
        assert one.page.locator(".names [role=option]").count() < 20  # of 200
        one.page.wait_for_timeout(300)
        few = len(asked)
        assert few <= 6
        one.page.evaluate("scrollTo({ top: document.documentElement.scrollHeight / 2, behavior: 'instant' })")
        one.until("document.querySelector('.here').textContent.startsWith('class')")
        one.until("Number(document.querySelector('.library .card[data-id]')?.getAttribute('aria-posinset')) > 2500")
        assert one.page.locator(".library .card").count() <= 400 and len(asked) <= few + 6
        names = one.page.locator(".heads h2").all_text_contents()
        assert names and all(re.match(r"class \d+ 30", name) for name in names)
        one.context.close()


def test_a_long_name_breaks_nothing(tab: Tab) -> None:
    page = tab.page
    with page.expect_file_chooser() as chooser:
        page.click(".target")
    chooser.value.set_files([{"name": LONG, "mimeType": "image/jpeg", "buffer": picture(1, 77)}])
    tab.loaded()
    assert page.locator(".query-name .name").text_content() == LONG
    assert page.evaluate("document.documentElement.scrollWidth") <= 1200
    cut = "[...document.querySelectorAll('.drawer, .bar')].filter((n) => n.scrollWidth > n.clientWidth).map((n) => n.className)"
    assert page.evaluate(cut) == []
    assert page.evaluate("document.querySelector('.bar .tools').getBoundingClientRect().right") <= 1200


def test_the_class_list_is_one_tab_stop_and_its_counts_follow_the_filters(tab: Tab) -> None:
    page = tab.page
    tab.give(picture(0, 71))
    assert tab.focused() == "H1"
    page.locator("#cut").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "option"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    page.wait_for_url("**name=Green")
    tab.until("document.activeElement.getAttribute('role') === 'option'")
    assert page.evaluate("document.activeElement.textContent").startswith("Green")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "path"
    page.keyboard.type("pictures/Red/1")
    counts = "[...document.querySelectorAll('.filters [role=option]')].map((n) => [n.dataset.name, Number(n.lastChild.textContent)])"
    tab.until(f"({counts}).some(([name, n]) => name === 'Red' && n === 11)")
    found = dict(page.evaluate(counts))
    assert found["Blue"] == found["Green"] == 0 and len(found) == 4
    page.locator(".filters [role=option]", has_text="Green").click()
    page.wait_for_selector("h1 >> text=11 images")


def test_nothing_found_says_by_which_filter(tab: Tab) -> None:
    page = tab.page
    tab.give(picture(0, 72))
    page.keyboard.press("/")
    page.keyboard.type("zzznothing")
    page.wait_for_selector(".state >> text=No path contains “zzznothing”")
    assert not page.locator("#cut").is_visible() and not page.get_by_label("Choose all shown").is_visible()
    page.locator(".state button").click()
    tab.until("document.querySelectorAll('.results .card').length > 60")
    page.goto(f"{page.url}&name=Red&min=0.999")
    page.wait_for_selector(".state >> text=No image reaches a similarity of 1.00")
    assert page.locator(".state button").all_text_contents() == ["Without “Similarity from 1.00”", "Without “Class: Red”"]
    page.locator(".state button").first.click()
    page.wait_for_selector("h1 >> text=20 images")
    assert page.locator(".chip").all_text_contents() == ["Class: Red×"]


def test_where_a_file_is_and_what_a_zip_leaves_out(browser, tmp_path: Path) -> None:
    place = make_library(tmp_path, 2)
    (tmp_path / "pictures" / "Red" / "0.jpg").unlink()
    (tmp_path / "pictures" / "Red" / "1.jpg").write_bytes(b"no picture any more")
    with serving(place) as server:
        one = Tab(someone(browser), server)
        one.give(picture(2, 0))
        pills = {
            Path(one.page.locator(".face").nth(n).get_attribute("title").splitlines()[0]).name
            + one.page.locator(".card").nth(n).locator(".pill").last.text_content()
            for n in range(2)
        }
        assert pills >= {"1.jpgchanged since it was indexed"}
        assert "file is gone" in one.page.locator(".results").text_content() or one.page.locator(".pill.identical").count() == 1
        one.page.get_by_label("Choose all shown").click()
        with one.page.expect_download() as download:
            one.page.click(".tray >> text=Copies (zip)")
        one.page.wait_for_selector("dialog >> text=5 of 6 files are copied")
        said = one.page.locator("dialog.wide").text_content()
        assert "1 is left out: the file is gone." in said and "1 has changed since it was indexed" in said
        with zipfile.ZipFile(download.value.path()) as archive:
            assert "Red/0.jpg: the file is no longer in its folder" in archive.read("NOT COPIED.txt").decode()
            assert "Red/1.jpg" in archive.read("CHANGED.txt").decode() and len(archive.namelist()) == 7
        one.context.close()
        assert one.problems == []


def test_a_stopped_run_says_how_far_it_came_and_goes_on(browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_search.index.run.COMMIT_SECONDS", 0.0)
    with serving(tmp_path / "library", folders=[fill(tmp_path / "mine", 4)], store="exact") as server:
        real = server.service.jobs._show

        def stop_after_five(done: int, total: int, skipped: int) -> None:
            if done >= 5:
                server.service.jobs.stop()
            real(done, total, skipped)

        server.service.jobs._show = stop_after_five  # type: ignore[method-assign]
        one = Tab(someone(browser), server)
        one.page.wait_for_selector("text=No library yet")
        first = one.page.locator(".first-steps .primary")
        assert first.count() == 1 and first.text_content() == f"Index {tmp_path / 'mine'}"  # one's own folder before the sample
        assert one.page.locator("text=serve --allow").count() == 0
        first.click()
        one.page.wait_for_selector(".job >> text=/Stopped at \\d+ of 12/")
        assert one.page.locator(".first").count() == 0
        one.page.click("nav >> text=Library")
        one.page.click(".bar >> text=Folders")
        one.page.wait_for_selector(".folders >> text=/\\d+ of 12 images indexed/")
        one.page.keyboard.press("Escape")
        server.service.jobs._show = real  # type: ignore[method-assign]
        one.page.click(".job >> text=Go on")
        one.page.wait_for_selector("h1 >> text=12 images")
        one.context.close()
        assert one.problems == []


def test_a_server_that_is_gone_is_said_once(browser, tmp_path: Path) -> None:
    place = make_library(tmp_path, 2)
    with serving(place) as server:
        one = Tab(someone(browser), server)
        one.give(picture(2, 3))
    one.page.locator(".results .face").nth(2).focus()
    one.page.keyboard.press("s")
    one.page.wait_for_selector("#gone >> text=The server does not answer.")
    assert one.page.locator("text=The server does not answer").count() <= 2
    assert one.page.locator("#gone").count() == 1 and one.page.locator(".toast").count() == 0
    one.context.close()


def test_one_number_under_a_picture_as_one_likes(tab: Tab) -> None:
    page = tab.page
    tab.give(picture(0, 73))
    under = ".results .caption .score"
    assert re.fullmatch(r"very close|close|related", page.locator(under).first.text_content())
    page.click(".bar >> text=View")
    page.locator("text=Similarity, as a number").click()
    tab.until(f"/^Similarity 0\\.\\d{{3}}$/.test(document.querySelector('{under}').textContent)")
    page.reload()
    tab.loaded()
    assert re.fullmatch(r"Similarity 0\.\d{3}", page.locator(under).first.text_content())
    assert page.locator(".results .caption i").count() == 0  # and no bar


def test_every_key_is_in_the_list(tab: Tab) -> None:
    page = tab.page
    page.wait_for_selector(".target")
    page.keyboard.press("?")
    listed = set(page.locator("#keys kbd").all_text_contents())
    assert {"/", "f", "s", "m", "l", "x", "g", "c", "Space", "Enter", "Esc", "?", "Home", "End", "Shift"} <= listed
    page.keyboard.press("Escape")
    tab.give(picture(0, 74))
    page.keyboard.press("f")
    assert not page.locator(".drawer").is_visible()
    page.keyboard.press("f")
    assert page.locator(".drawer").is_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_selector(".tray >> text=3 chosen")


def test_on_a_phone_the_first_row_is_on_the_first_screen(browser, server: PageServer) -> None:
    one = Tab(someone(browser, viewport={"width": 390, "height": 664}, has_touch=True, is_mobile=True), server)
    assert one.page.locator("text=Take a photo").is_visible()
    one.give(picture(0, 75))
    last = "document.querySelector('.results .card').getBoundingClientRect().bottom"
    assert one.page.evaluate(last) < 400
    one.page.locator(".results .mark").first.tap()
    one.page.wait_for_selector(".tray >> text=1 chosen")
    assert one.page.evaluate("document.documentElement.scrollWidth") == 390
    one.context.close()
    assert one.problems == []


def test_the_interface_of_the_wall(server: PageServer) -> None:
    """Shapes, classes, rows of one moment, counts under the other filters, matches in columns."""
    client = Client(server)
    wall = client.get("/api/images/wall").json
    assert wall["images"] == 64 and [s["name"] for s in wall["sections"]] == sorted(s["name"] for s in wall["sections"])
    assert sum(s["images"] for s in wall["sections"]) == 64
    rows = client.get(f"/api/images?start=20&limit=30&generation={wall['generation']}").json["items"]
    names = [name for s in wall["sections"] for name in [s["name"]] * s["images"]]
    assert [row["name"] for row in rows] == names[20:50]
    assert all(row["state"] == "here" and os.path.isfile(row["uri"]) for row in rows)
    red = client.get(f"/api/images?start=0&limit=500&name=Red&generation={wall['generation']}").json["items"]
    assert {row["name"] for row in red} == {"Red"} and len(red) == 20
    assert client.get("/api/images?start=0&generation=9999").status == 410
    again = client.post("/api/rows", {"ids": [row["id"] for row in reversed(red)]}).json["items"]
    assert again == red[::-1]
    counts = {c["name"]: c["images"] for c in client.post("/api/counts", {"path": "*pictures/Red*"}).json["classes"]}
    assert counts == {"Red": 20}
    query = {"queries": [{"id": red[0]["id"]}], "n": 5000}
    whole = client.post("/api/search", query).json
    part = client.post("/api/search", {**query, "full": 10}).json
    assert part["matches"] == whole["matches"][:10] and whole["rest"] is None and part["complete"]
    assert [f"id:{n}" for n in part["rest"]["ids"]] == [m["id"] for m in whole["matches"][10:]]
    assert part["rest"]["similarity"] == pytest.approx([m["similarity"] for m in whole["matches"][10:]], abs=1e-4)
    assert base64.b64decode(part["rest"]["heights"]) == bytes([48] * 54)
    assert part["rest"]["same_as"] == [m["same_as"] for m in whole["matches"][10:]]
    near = [m for m in whole["matches"] if m["similarity"] >= 0.6]
    counts = {
        c["name"]: c["images"] for c in client.post("/api/counts", {"queries": query["queries"], "min_similarity": 0.6}).json["classes"]
    }
    assert sum(counts.values()) == len(near) and counts["Red"] == sum(m["name"] == "Red" for m in near)


def test_files_of_the_page_go_out_small(server: PageServer) -> None:
    import gzip

    client = Client(server)
    plain = client.get("/static/words.js")
    small = client.get("/static/words.js", **{"Accept-Encoding": "gzip, br"})
    assert small.headers["content-encoding"] == "gzip" and gzip.decompress(small.body) == plain.body
    assert len(small.body) < len(plain.body) / 2 and "content-encoding" not in plain.headers
