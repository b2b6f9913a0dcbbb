"""Searching with words, and with pictures and words together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import colour_words
from PIL import Image

from image_search import ImageSearchEngine, ModelError, QueryError, Text, UsageError
from image_search.testing import InProcessPool, quick_engine

SHADES = {"red": (220, 30, 20), "green": (30, 200, 40), "blue": (20, 40, 230), "violet": (200, 20, 210)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("words")
    for name, shade in SHADES.items():
        (home / "colours" / name).mkdir(parents=True)
        for n in range(3):
            Image.new("RGB", (20, 20), tuple(min(255, v + 7 * n) for v in shade)).save(home / "colours" / name / f"{n}.png")
    colour_words(home / "model")
    return home


@pytest.fixture
def engine(place: Path, tmp_path: Path) -> Iterator[ImageSearchEngine]:
    with ImageSearchEngine(tmp_path / "library", model=str(place / "model"), store="exact", notify=lambda _: None) as engine:
        engine._make_pool = InProcessPool
        engine.index(place / "colours", progress=False)
        yield engine


def names(matches: object) -> set[str]:
    return {match.name for match in matches}  # type: ignore[attr-defined]


def test_words_find_pictures(engine: ImageSearchEngine) -> None:
    assert names(engine.search(Text("red"), 3)) == {"red"}
    assert names(engine.search(Text("  파란 "), 3)) == {"blue"}
    found = engine.search(Text("green"), 3)
    np.testing.assert_allclose(found[0].similarity, float(engine.embed_text("green")[0] @ engine.embed([found[0].path])[0]), atol=1e-6)


def test_a_picture_and_words(engine: ImageSearchEngine, place: Path) -> None:
    red = place / "colours" / "red" / "0.png"
    assert names(engine.search([(red, 20.0), (Text("blue"), 1.0)], 3)) == {"red"}
    assert names(engine.search([(red, 1.0), (Text("blue"), 20.0)], 3)) == {"blue"}
    assert "blue" not in names(engine.search([place / "colours" / "violet" / "0.png"], 3, less=[Text("blue")]))


def test_in_the_shell(program: Callable[..., Any], engine: ImageSearchEngine, place: Path) -> None:
    library = ("--library", engine.library)
    assert "green" in program("search", "--text", "green", *library).stdout
    both = program("search", place / "colours" / "red" / "0.png", "--text", "blue", "--text-weight", "20", "-n", "1", *library)
    assert both.returncode == 0 and "blue" in both.stdout
    for arguments, says in ((["--text", " "], "no words"), ([], "nothing was given")):
        answer = program("search", *arguments, *library)
        assert answer.returncode in (1, 2) and says in answer.stderr and len(answer.stderr.strip().splitlines()) == 1


def test_a_model_that_knows_no_words_says_which_does(place: Path, tmp_path: Path) -> None:
    with quick_engine(tmp_path / "library") as engine:
        engine.index(place / "colours", progress=False)
        with pytest.raises(ModelError, match="quick knows no words; siglip2"):
            engine.search(Text("red"))


def test_no_words(engine: ImageSearchEngine) -> None:
    for text in ("", "\x00", "x" * 100_000):
        with pytest.raises(QueryError):
            engine.search(Text(text))


def test_another_tokenizer_is_another_model(engine: ImageSearchEngine, place: Path, tmp_path: Path) -> None:
    other = colour_words(tmp_path / "model")
    config = other / "tokenizer.json"
    config.write_text(config.read_text().replace('"red"', '"rot"').replace('"photo"', '"red"'))
    engine.close()
    (place / "model").rename(place / "kept")
    try:
        other.rename(place / "model")
        # The neutral phrases are the same to both, so the words pass as the library's own; what is asked decides.
        with ImageSearchEngine(engine.library, notify=lambda _: None) as again:
            assert np.isfinite(again.embed_text("rot")).all()
    finally:
        (place / "model").rename(tmp_path / "away")
        (place / "kept").rename(place / "model")


def test_words_have_no_closeness_and_are_drawn(engine: ImageSearchEngine, tmp_path: Path) -> None:
    matches = engine.search(Text("빨간"), 2)
    assert [match.closeness for match in matches] == [None, None]
    assert matches.to_dict()["query"] == "빨간"
    matches.plot(tmp_path / "words.png")
    with Image.open(tmp_path / "words.png") as drawn:
        assert drawn.width > drawn.height
    with pytest.raises(UsageError, match="closeness compares pictures"):
        engine.search(Text("red"), min_closeness=0.5)
