"""`search --each`: many questions, one answer each."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from inprocess import Answer
from pictures import fill, picture

import image_search.search.search
from image_search import ImageSearchEngine, Matches, QueryError, UsageError
from image_search.config import EACH_BATCH
from image_search.present.json import CSV_COLUMNS, FAILED_SCHEMA, SCHEMA
from image_search.search.query import Query
from image_search.testing import quick_engine


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageSearchEngine]:
    """90 pictures, three of them twice."""
    folder = tmp_path_factory.mktemp("each")
    paths = fill(folder / "photos", 30)
    for path in paths[:3]:
        (folder / "photos" / f"again-{path.name}").write_bytes(path.read_bytes())
    with quick_engine(folder / "library", notify=lambda line: None) as engine:
        engine.index(folder / "photos")
        yield engine


def photos_of(engine: ImageSearchEngine) -> list[Path]:
    return sorted((engine.library.parent / "photos").rglob("*.png"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_results": 1},
        {"exclude_self": True},
        {"names": "circle", "exclude_self": True},
        {"path": "*/square/*", "n_results": 40},
        {"min_closeness": 0.6, "n_results": 20},
        {"fold": True, "exclude_self": True},
        {"other_folders": True},
        {"not_names": "circle", "not_path": "*/1*", "formats": "png", "since": "2001"},
        {"n_results": 1000},
    ],
)
def test_each_answer_is_that_of_a_search_of_its_own(big: ImageSearchEngine, options: dict[str, object]) -> None:
    paths = photos_of(big)[::7]
    answers = list(big.search_each(paths, **options))  # type: ignore[arg-type]
    assert len(answers) == len(paths)
    for path, answer in zip(paths, answers, strict=True):
        assert isinstance(answer, Matches) and answer.queries[0].label == str(path)
        assert answer.to_dict() == big.search(path, how="exact", **options).to_dict()  # type: ignore[arg-type]


def test_what_cannot_be_read_is_an_error_in_its_place(big: ImageSearchEngine, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    good = photos_of(big)[0]
    answers = list(big.search_each([good, tmp_path / "none.jpg", tmp_path / "empty.jpg", "id:999999", 7, good], 1))  # type: ignore[list-item]
    assert [isinstance(one, QueryError) for one in answers] == [False, True, True, True, True, False]
    with pytest.raises(UsageError, match="several"):
        big.search_each(str(good))
    with pytest.raises(UsageError, match="number of results"):
        big.search_each([good], 0)
    assert list(big.search_each([])) == []


def test_questions_are_compared_in_batches(big: ImageSearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    top_k = image_search.search.search.top_k

    def counted(matrix, queries, n, **options):  # type: ignore[no-untyped-def]
        sizes.append(len(queries))
        return top_k(matrix, queries, n, **options)

    monkeypatch.setattr(image_search.search.search, "top_k", counted)
    rng = np.random.default_rng(0)
    queries = [Query(str(number), vector / np.linalg.norm(vector)) for number, vector in enumerate(rng.normal(size=(150, 96)).astype("f4"))]
    assert [answer.queries[0].label for answer in big.search_each(queries)] == [str(number) for number in range(150)]
    assert sizes[:-1] == [EACH_BATCH] * (len(sizes) - 1) and sum(sizes) == 150


def test_questions_are_read_as_they_are_answered(big: ImageSearchEngine) -> None:
    asked = 0

    def endless() -> Iterator[Path]:
        nonlocal asked
        while True:
            asked += 1
            yield photos_of(big)[asked % 60]

    answers = big.search_each(endless())
    for _ in range(200):
        next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert asked < 200 + 1200


# The program


@pytest.fixture
def indexed(run: Callable[..., Answer], photos: Path) -> Path:
    assert run("index", photos, "--store", "exact").code == 0
    return photos


def test_a_line_of_json_for_each(run: Callable[..., Answer], indexed: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    fill(new, 1, first=90)
    (new / "notes.txt").write_text("no picture")
    (new / "circle" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    listed = f"{indexed}/circle/1.png\r\n\n{new / 'none.png'}\n{new / 'square'}\n{indexed}/circle/2.png".encode()
    answer = run("search", "--each", new, indexed / "circle" / "0.png", str(indexed / "*" / "3.png"), "-", "-n", 2, stdin=listed)
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert [os.path.relpath(line["query"], tmp_path) for line in lines] == [
        "new/circle/90.png", "new/circle/bad.jpg", "new/square/90.png", "new/stripes/90.png", "photos/circle/0.png",
        "photos/circle/3.png", "photos/square/3.png", "photos/stripes/3.png", "photos/circle/1.png", "new/none.png", "new/square/90.png",
        "photos/circle/2.png",
    ]  # fmt: skip
    failed = [line for line in lines if "error" in line]
    assert answer.code == 1 and len(failed) == 2 and "2 of 12" in answer.err
    for line in lines:
        jsonschema.validate(line, FAILED_SCHEMA if "error" in line else SCHEMA)
    assert all(len(line["matches"]) == 2 for line in lines if "matches" in line)
    assert lines[4]["matches"][0]["identical"]


def test_csv(run: Callable[..., Answer], indexed: Path, tmp_path: Path) -> None:
    answer = run("search", "--each", "--csv", indexed / "circle", tmp_path / "none.png", "-n", 2)
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert list(rows[0]) == list(CSV_COLUMNS) and len(rows) == 4 * 2 + 1 and answer.code == 1
    assert rows[0]["query"] == rows[0]["uri"] == str(indexed / "circle" / "0.png") and rows[0]["rank"] == "1" and rows[1]["rank"] == "2"
    assert rows[-1]["error"].startswith("there is no such file") and rows[-1]["uri"] == ""
    assert run("search", "--each", "--csv", indexed / "circle", "--name", "square", "--min-similarity", 1).out.count("\n") == 5


def test_what_does_not_go_with_each(run: Callable[..., Answer], indexed: Path, tmp_path: Path) -> None:
    image = indexed / "circle" / "0.png"
    for more in (
        ("--less", image),
        ("--text", "dog"),
        ("--save", "a.png"),
        ("--store-only",),
        ("--region", "0,0,9,9"),
    ):
        assert (answer := run("search", "--each", image, *more)).code == 2 and answer.out == "" and "--each" in answer.err
    assert run("search", image, "--csv").code == run("search", "--each", image, "--csv", "--json").code == 2
    assert run("search", "--each").code == 2
    (tmp_path / "empty").mkdir()
    assert "no image among" in run("search", "--each", tmp_path / "empty").err


def test_ctrl_c_while_it_waits_for_a_list(indexed: Path) -> None:
    """It ends in order, and what was answered before is there."""
    command = [sys.executable, "-m", "image_search", "search", "--each", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        said = process.stderr.read().decode()
        assert said.count("\n") == 1 and "Traceback" not in said


def test_a_picture_of_each_kind_of_source(big: ImageSearchEngine) -> None:
    image = picture("circle", 3)
    first, second = big.search_each([image, np.asarray(image)], 1)
    assert isinstance(first, Matches) and isinstance(second, Matches) and first[0].id == second[0].id
