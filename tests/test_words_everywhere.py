"""A library of photos, made with a SigLIP 2 of exact architecture: words, a picture and both, asked in four ways, have one answer each.

Its weights are random, so which pictures come first means nothing; that it is the same ones everywhere does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from checkpoints import two_towers
from pageserver import Client, serving

from image_search import ImageSearchEngine, Text

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the page is not tested in a browser")
from test_web_page import Tab, browser, someone  # noqa: F401 - `browser` is a fixture; without a browser this skips, too

pytestmark = pytest.mark.slow

WORDS = "눈 속의 빨간 원피스"
FIRST = 20
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if not (SHARED / "eval" / "clothing").is_dir():
        pytest.skip("needs ../shared/eval, which is not here")
    place = tmp_path_factory.mktemp("everywhere")
    two_towers("siglip2", place / "model")
    for folder in sorted((SHARED / "eval" / "clothing").iterdir()):
        (place / "photos" / folder.name).mkdir(parents=True)
        for photo in sorted(folder.iterdir())[:4]:
            shutil.copy(photo, place / "photos" / folder.name)
    with ImageSearchEngine(place / "library", model=str(place / "model"), notify=lambda _: None) as engine:
        engine.index(place / "photos", progress=False)
    yield place


@pytest.mark.parametrize(
    ("images", "texts", "lesses"), [((), (WORDS,), ()), (("id:7",), (), ()), (("id:7",), (WORDS, "at night"), ("people",))]
)
def test_four_ways_have_one_answer(
    place: Path,
    program: Callable[..., Any],
    browser: Any,  # noqa: F811
    images: tuple[str, ...],
    texts: tuple[str, ...],
    lesses: tuple[str, ...],
) -> None:
    with ImageSearchEngine(place / "library", notify=lambda _: None) as engine:
        matches = engine.search([*images, *map(Text, texts)], FIRST, less=[*map(Text, lesses)])
    wanted = [match.id for match in matches]
    assert len(wanted) == FIRST and all((match.probability is None) == bool(images) for match in matches)

    options = [part for text in texts for part in ("--text", text)] + [part for text in lesses for part in ("--less-text", text)]
    shell = program("search", *images, *options, "-n", FIRST, "--json", "--library", place / "library")
    assert [match["id"] for match in json.loads(shell.stdout)["matches"]] == wanted

    with serving(place / "library", model=str(place / "model"), store=None) as server:
        queries = [{"id": id} for id in images] + [{"text": text} for text in texts] + [{"text": text, "less": True} for text in lesses]
        answer = Client(server).post("/api/search", {"queries": queries, "n": FIRST}).json
        assert [match["id"] for match in answer["matches"]] == wanted
        assert [match["probability"] for match in answer["matches"]] == [match.probability for match in matches]

        tab = Tab(someone(browser), server)
        asked = [("q", id) for id in images] + [("text", text) for text in texts] + [("less_text", text) for text in lesses]
        tab.page.goto(f"http://127.0.0.1:{server.port}/?{urlencode(asked)}")
        tab.loaded()
        assert tab.cards()[:FIRST] == wanted and tab.problems == []
        tab.context.close()
