"""Words over HTTP and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colours import colour_library
from pageserver import Client, make_library, serving

from image_search.web.server import PageServer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("words")
    colour_library(place)
    return place


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[PageServer]:
    with serving(place / "library", model=str(place / "model"), store="exact") as running:
        yield running


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """Whose model knows no words."""
    with serving(make_library(tmp_path_factory.mktemp("plain"), per_class=2)) as running:
        yield running


def found(server: PageServer, *queries: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = Client(server).post("/api/search", {"queries": list(queries), "n": 3, **more})
    assert answer.status == 200, answer.body
    return answer.json


def names(answer: dict[str, Any]) -> list[str]:
    return [match["name"] for match in answer["matches"]]


def picture_of(server: PageServer, name: str) -> str:
    items = Client(server).get("/api/images?limit=50").json["items"]
    return next(item["id"] for item in items if item["name"] == name)


def test_words_beside_pictures_with_weights(server: PageServer) -> None:
    assert names(found(server, {"text": "빨간"})) == ["red"] * 3
    blue = {"id": picture_of(server, "blue")}
    assert names(found(server, blue, {"text": "red", "weight": 0.02})) == ["blue"] * 3
    assert names(found(server, {**blue, "weight": 0.02}, {"text": "red"})) == ["red"] * 3
    violet = {"id": picture_of(server, "violet")}
    assert "blue" not in names(found(server, violet, {"text": "파란", "less": True}, exclude_self=True))
    batch = Client(server).post("/api/search/batch", {"searches": [{"queries": [{"text": "green"}], "n": 1}, {"queries": [blue], "n": 1}]})
    assert [row["answer"]["matches"][0]["name"] for row in batch.json["answers"]] == ["green", "blue"]


def test_what_is_said_of_words(server: PageServer) -> None:
    answer = found(server, {"text": "  red \n"}, n=12, full=2)
    (query,) = answer["queries"]
    assert (query["id"], query["text"], query["label"], query["view"], query["width"], query["read"]) == ("", "red", "red", "", 0, None)
    for match in answer["matches"]:
        assert match["closeness"] is None
        assert match["probability"] == pytest.approx(1 / (1 + np.exp(8 - 10 * match["similarity"])), rel=1e-5)
    rest = answer["rest"]
    assert rest["closeness"] is None and len(rest["probability"]) == 10
    assert answer["matches"][1]["probability"] >= rest["probability"][0] >= rest["probability"][-1]
    likely = found(server, {"text": "red"}, n=12, min_probability=0.5)
    assert 0 < len(likely["matches"]) < 12 and likely["complete"]
    counts = Client(server).post("/api/counts", {"queries": [{"text": "red"}], "min_probability": 0.5}).json["classes"]
    assert sum(row["images"] for row in counts) == len(likely["matches"])
    (cut,) = found(server, {"text": "red " * 100})["queries"]
    assert cut["read"] == 64


def test_words_that_cannot_be_searched_with(server: PageServer) -> None:
    one = {"text": "red"}
    for queries, status, says in (
        ([{"text": ""}], 422, "there are no words"),
        ([{"text": " \t\n "}], 422, "there are no words"),
        ([{"text": "re\x00d"}], 422, "control characters"),
        ([{"text": "x" * 3000}], 422, "these are 3,000 letters"),
        ([{"text": "x" * 100_000}], 413, "64 KB"),
        ([{"text": "\ud800"}], 422, "control characters"),
        ([{"text": 5}], 422, "queries.0.text must be text"),
        ([{}], 422, "queries.0 must have an id or a text"),
        ([{"id": "id:1", **one}], 422, "queries.0 must have an id or a text"),
        ([{**one, "region": {"x": 0, "y": 0, "w": 1, "h": 1}}], 422, "words have no parts"),
        ([{**one, "weight": 0}], 422, "queries.0.weight must be at least 0.001"),
        ([{**one, "less": True}], 400, "no image was given"),
    ):
        answer = Client(server).post("/api/search", {"queries": queries})
        assert (answer.status, says in answer.json["message"]) == (status, True), (queries[0], answer.body[:300])
    for more, says in (({"min_closeness": 0.5}, "these are words"), ({"min_probability": 2}, "at most 1")):
        answer = Client(server).post("/api/search", {"queries": [one], **more})
        assert answer.status in (400, 422) and says in answer.json["message"]


def test_a_model_without_words_says_which_knows_some(server: PageServer, plain: PageServer) -> None:
    answer = Client(plain).post("/api/search", {"queries": [{"text": "red"}]})
    assert answer.status == 409 and answer.json["code"] == "NoWords"
    assert "knows no words; siglip2 (1,540 MB" in answer.json["message"] and "--model siglip2" in answer.json["hint"]
    state = Client(plain).get("/api/library").json
    assert state["library"]["words"] is False and state["words_models"][0] == {"name": "siglip2", "megabytes": 1540.0}
    assert Client(server).get("/api/library").json["library"]["words"] is True
