"""Searching with words, and with pictures and words together."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import colour_words
from colours import draw_colours
from PIL import Image

from image_search import ImageSearchEngine, ModelError, QueryError, Text, UsageError
from image_search.testing import InProcessPool, quick_engine

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("words")
    draw_colours(home / "colours")
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


def test_in_the_shell(real_model: None, run: Callable[..., Any], engine: ImageSearchEngine, place: Path) -> None:
    library = ("--library", engine.library)
    assert "green" in run("search", "--text", "green", *library).out
    likely = run("search", "--text", "green", "-n", 12, "--min-probability", ".5", *library)
    assert "probability" in likely.out and {line.split()[1] for line in likely.out.splitlines()[1:]} == {"green"}
    both = run("search", place / "colours" / "red" / "0.png", "--text", "blue", "--text-weight", "20", "-n", "1", *library)
    assert both.code == 0 and "blue" in both.out
    for arguments, says in ((["--text", " "], "no words"), ([], "nothing was given"), (["id:1", "--min-probability", "1"], "are pictures")):
        answer = run("search", *arguments, *library)
        assert answer.code in (1, 2) and says in answer.err and len(answer.err.strip().splitlines()) == 1


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


def test_a_phrase_has_the_probability_that_was_trained(engine: ImageSearchEngine, place: Path) -> None:
    matches = engine.search(Text("red"), 12)
    for match in matches:  # the checkpoint's scale and bias are 10 and -8
        assert match.probability == pytest.approx(1 / (1 + np.exp(8 - 10 * match.similarity)), rel=1e-5)
    row = matches.to_dict()["matches"][0]
    assert row["probability"] == matches[0].probability and row["closeness"] is None
    head, first = str(matches).splitlines()[:2]
    assert head.split()[2:5] == ["similarity", "distance", "probability"] and f"{int(matches[0].probability * 1000) / 1000:.3f}" in first
    least = float(first.split()[4])  # what is shown keeps what is shown
    assert matches[0].id in {match.id for match in engine.search(Text("red"), 12, min_probability=least)}
    assert 0 < len(engine.search(Text("red"), 12, min_probability=0.5)) < 12
    assert str(engine.search(Text("red"), min_probability=1)) == "nothing similar"
    red = place / "colours" / "red" / "0.png"
    assert {match.probability for match in engine.search([red, Text("blue")], 12)} == {None}, "of a sum nothing was trained"


@pytest.mark.parametrize(
    ("asked", "less", "says"),
    [
        (lambda red: red, (), "given to words, and these are pictures"),
        (lambda red: [red, Text("red")], (), "one phrase alone"),
        (lambda _: Text("red"), Text("blue"), "one phrase alone"),
    ],
)
def test_what_has_no_probability(engine: ImageSearchEngine, place: Path, asked: Any, less: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        engine.search(asked(place / "colours" / "red" / "0.png"), less=less, min_probability=0.5)


def test_a_model_that_was_trained_without_one_gives_none(place: Path, tmp_path: Path) -> None:
    colour_words(tmp_path / "model", calibrated=False)
    with ImageSearchEngine(tmp_path / "library", model=str(tmp_path / "model"), store="exact", notify=lambda _: None) as engine:
        engine._make_pool = InProcessPool
        engine.index(place / "colours", progress=False)
        assert engine.search(Text("red"))[0].probability is None
        with pytest.raises(UsageError, match="trained without a probability"):
            engine.search(Text("red"), min_probability=0.5)


def test_ask_takes_what_is_no_file_as_words(real_model: None, run: Callable[..., Any], engine: ImageSearchEngine, place: Path) -> None:
    assert engine.status()["words"] is True
    engine.close()
    said = f"파란\n{place / 'colours' / 'red' / '0.png'}\nnot there.png\nred\x07\n\n"
    answer = run("ask", "-n", "1", "--library", engine.library, stdin=said.encode())
    assert answer.code == 0 and "or words for what it shows" in answer.err
    assert "no file and no address, so it is taken as words: 파란" in answer.err and "blue" in answer.out and "red" in answer.out
    assert answer.err.count("taken as words") == 1 and "no such file: not there.png" in answer.err
    assert "control characters" in answer.err


def test_ask_with_a_model_without_words(run: Callable[..., Any], photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_search.library.model.MODELS", ())  # the quick model has mini's name, but not its words
    run("index", photos)
    answer = run("ask", stdin=b"a red bicycle\n\n")
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error")]
    assert "there is no such file: a red bicycle" in line and "mini knows no words; siglip2" in line and "--model siglip2" in line
    assert "or words" not in answer.err.splitlines()[0]
    assert "knows words" not in run("status").out


def test_the_lines_of_the_python_documents_run(
    engine: ImageSearchEngine, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(place / "colours" / "red" / "0.png", tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    documents = [(DOCS / name).read_text("utf-8") for name in ("python.md", "python.ko.md")]
    english, korean = (re.findall(r"^\| `(engine\..*?)` \|", text, re.MULTILINE) for text in documents)
    assert len(english) == 5 and english == korean
    for line in english:
        assert len(eval(line, {"engine": engine, "Text": Text})) == (2 if "embed_text" in line else 3), line


# --- words that come later ---------------------------------------------------------------------------------------------------

WORDS_FILES = ("onnx/text_model.onnx", "tokenizer.json", "tokenizer_config.json")


class Later:
    """A library of `place`'s pictures, made from a checkpoint that has its picture tower alone so far."""

    def __init__(self, place: Path, home: Path, **options: Any) -> None:
        self.pictures, self.whole, self.model = place / "colours", colour_words(home / "whole", **options), colour_words(home / "model")
        for name in WORDS_FILES:
            (self.model / name).unlink()
        self.library, self.said = home / "library", []
        self.index()

    def open(self) -> ImageSearchEngine:
        engine = ImageSearchEngine(self.library, model=str(self.model), store="exact", notify=self.said.append)
        engine._make_pool = InProcessPool
        return engine

    def index(self) -> int:
        with self.open() as engine:
            return engine.index(self.pictures, progress=False).added

    def bring(self, *names: str, text: str | None = None) -> None:
        for name in names or WORDS_FILES:
            (self.model / name).write_bytes((self.whole / name).read_bytes() if text is None else text.encode())

    def record(self) -> object:
        with self.open() as engine:
            return engine._open().reader.meta("words")


def test_words_that_come_later_are_recorded_by_the_next_run_which_embeds_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Later(place, tmp_path)
    with later.open() as engine, pytest.raises(ModelError, match=r"words of model .* are not on this machine"):
        engine.search(Text("red"))
    assert (later.index(), later.record(), later.said) == (0, None, [])
    later.bring()
    before = (later.library / "catalog.sqlite").read_bytes()
    with later.open() as engine:
        assert names(engine.search(Text("red"), 3)) == {"red"}
    assert (later.library / "catalog.sqlite").read_bytes() == before, "a search writes nothing"

    def killed(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("image_search.library.model.words_record", killed)
        with pytest.raises(KeyboardInterrupt):
            later.index()
    assert later.record() is None
    embedded: list[int] = []
    with later.open() as engine:
        real = engine._model.of
        monkeypatch.setattr(engine._model, "of", lambda *known: embedded.append(1) or real(*known))
        assert engine.index(later.pictures, progress=False).added == 0
        assert engine.index(later.pictures, progress=False).added == 0
    assert embedded == [1], "the second run finds them recorded, and needs no model"
    assert isinstance(later.record(), bytes) and later.said == []
    with later.open() as engine:
        assert names(engine.search(Text("red"), 3)) == {"red"}


def test_other_words_than_the_recorded_ones_are_refused(place: Path, tmp_path: Path) -> None:
    later = Later(place, tmp_path / "one")
    later.bring()
    later.index()
    later.whole = colour_words(tmp_path / "other", unknown=(0.05, 0.0, 0.05))
    later.bring("onnx/text_model.onnx")
    with later.open() as engine, pytest.raises(ModelError, match="has other words than those that the library was made with"):
        engine.search(Text("red"))
    recorded = later.record()
    later.index()
    assert later.record() == recorded, "another run does not take them over"


@pytest.mark.parametrize(
    ("options", "text", "says"),
    [
        ({"unknown": (0.05,) * 4}, None, r"the words of model .* have 4 numbers, its pictures 3\. Its files do not belong together"),
        ({}, "{", r"this tokenizer does not load: .*tokenizer\.json"),
    ],
)
def test_words_that_do_not_fit_are_one_line_and_the_pictures_stay(
    place: Path, tmp_path: Path, options: dict[str, Any], text: str | None, says: str
) -> None:
    later = Later(place, tmp_path, **options)
    later.bring()
    if text is not None:
        later.bring("tokenizer.json", text=text)
    assert later.index() == 0
    (line,) = later.said
    assert re.search(r"^The model's words are not ready: " + says, line) and "\n" not in line
    assert later.record() is None
    with later.open() as engine:
        assert names(engine.search(later.pictures / "red" / "0.png", 3)) == {"red"}
        with pytest.raises(ModelError, match=says):
            engine.search(Text("red"))
