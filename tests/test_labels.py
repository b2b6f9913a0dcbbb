"""Labels for pictures, and class names that find them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import colour_words
from inprocess import Answer
from PIL import Image

from image_search.errors import ModelError, QueryError, UsageError
from image_search.evaluate.run import evaluate
from image_search.evaluate.words import label, phrases_of, probabilities, words_found
from image_search.models import checked_phrase, knowing_words
from image_search.testing import QuickModel

SHADES = {"red": (220, 30, 20), "green": (30, 200, 40), "blue": (20, 40, 230)}


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A folder of red, green and blue pictures, two of each."""
    for name, shade in SHADES.items():
        (tmp_path / "colours" / name).mkdir(parents=True)
        for n in range(2):
            Image.new("RGB", (20, 20), tuple(v - 9 * n for v in shade)).save(tmp_path / "colours" / name / f"{n}.png")
    return tmp_path / "colours"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(colour_words(tmp_path / "model"))


@pytest.mark.usefixtures("in_process")
def test_each_picture_gets_its_best_label(colours: Path, model: str) -> None:
    (colours / "blue" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    steps: list[tuple[int, int]] = []
    found = list(label(colours, ["red", " 파란 ", "green", "red"], model=model, progress=lambda *step: steps.append(step)))
    assert [(Path(f.path).name, f.label) for f in found] == [
        ("0.png", "파란"), ("1.png", "파란"), ("broken.jpg", ""),
        ("0.png", "green"), ("1.png", "green"), ("0.png", "red"), ("1.png", "red"),
    ]  # fmt: skip
    for one in found:
        assert one.error if not one.label else one.probability == pytest.approx(1 / (1 + np.exp(8 - 10 * one.similarity)), abs=1e-5)
    assert steps[-1] == (7, 7)


def test_probabilities_without_a_calibration_are_shares() -> None:
    shares = probabilities(np.array([0.3, 0.28, 0.1], np.float32), None)
    assert shares.sum() == pytest.approx(1) and shares[0] / shares[1] == pytest.approx(np.exp(2), rel=1e-3)


def test_class_names_that_find_their_pictures() -> None:
    words = np.eye(3, dtype=np.float32)
    pictures = np.array([[1, 0.1, 0], [0.9, 0.2, 0], [0, 1, 0], [0.8, 0.7, 0], [0, 0, 1]], np.float32)
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    found = words_found(words, pictures, [0, 0, 1, 1, 2])
    assert found.accuracy == pytest.approx(4 / 5)  # the fourth is nearer to the first name
    assert found.p10 == pytest.approx(1.0)
    assert found.map == pytest.approx(1.0)
    worse = words_found(words, pictures, [1, 0, 0, 1, 2])
    assert worse.map < 1 and worse.p10 < 1


@pytest.mark.usefixtures("in_process")
def test_evaluate_measures_words(colours: Path, model: str) -> None:
    (found,) = evaluate(colours, [model], template="a photo of {}")
    assert found.words is not None and (found.words.accuracy, found.words.p10, found.words.map) == (1, 1, 1)
    with pytest.raises(ModelError, match="quick knows no words; siglip2"):
        knowing_words(QuickModel())


def test_the_command(run: Callable[..., Answer], colours: Path, model: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("green\n\nblue\n", "utf-8")
    table = run("label", colours, "--with", "red, 파란", "--with-file", tmp_path / "labels.txt", "--model", model)
    assert table.code == 0 and len(table.out.splitlines()) == 6 and "파란" in table.out
    rows = json.loads(run("label", colours, "--with", "red,blue", "--model", model, "--json").out)
    assert {row["label"] for row in rows} == {"red", "blue"} and set(rows[0]) == {"path", "label", "probability", "similarity", "error"}
    lines = list(csv.DictReader(io.StringIO(run("label", colours, "--with", "red", "--model", model, "--csv").out)))
    assert [line["label"] for line in lines] == ["red"] * 6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--with", " , "], "no label was given"),
        (["--with", "red", "--template", "photo"], "no place for the label"),
        (["--with", "zzzzqqqq", "--model", "mini"], "does not know the word"),
        (["--with-file", "nothing.txt"], "cannot be read"),
        (["--with", "red", "--json", "--csv"], "exclude each other"),
    ],
)
def test_mistakes_are_one_line(run: Callable[..., Answer], colours: Path, arguments: list[str], says: str) -> None:
    answer = run("label", colours, *arguments)
    assert answer.code in (1, 2) and says in answer.err and len(answer.err.strip().splitlines()) == 1


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 100_000, "a\x00b", "bell\x07", "\ud800"])
def test_what_is_no_phrase(text: str) -> None:
    with pytest.raises(QueryError):
        checked_phrase(text)


def test_what_is_a_phrase() -> None:
    assert checked_phrase("  a red\tbicycle\n") == "a red\tbicycle"
    assert phrases_of(["cat", "고양이"], "a photo of {}") == ["a photo of cat", "a photo of 고양이"]
    with pytest.raises(UsageError, match="not a int"):
        checked_phrase(3)
