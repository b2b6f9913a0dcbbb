"""Values of the wrong kind, everywhere in the public Python interface: one line of a UsageError, and nothing has happened."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import fill, picture

from image_search import ImageSearchEngine, ImageSearchError, Matches, QueryError, Region, UsageError, given
from image_search.demo import draw, draw_gallery, draw_queries
from image_search.evaluate.run import evaluate
from image_search.evaluate.words import label
from image_search.library.salvage import salvage
from image_search.models import load_model
from image_search.search.query import Query
from image_search.stores import parse_spec
from image_search.testing import QuickModel, quick_engine
from image_search.web.server import PageServer, PageSettings

VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "whole": 7,
    "below": -7,
    "float": 0.5,
    "nan": float("nan"),
    "infinite": float("inf"),
    "huge": 10**400,
    "text": "a text",
    "number in a text": "0.5",
    "half a character": "\ud800",
    "no file's name": "a\0b",
    "bytes": b"a text",
    "path": Path("a path"),
    "object": object(),
    "dict": {"a": 1},
    "list of objects": [object()],
    "array": np.zeros(3),
    "function": print,
}
TEXTS = {"text", "number in a text"}
ODD = {"half a character", "no file's name"}
PATHS = TEXTS | {"path"}
TRUTHS = {"true"}
COUNTS = {"whole"}
FLOATS = {"whole", "float"}
# What each parameter takes of these; for all others there is to be a UsageError. Images have a table of their own.
TAKES: dict[str, dict[str, set[str]]] = {
    "ImageSearchEngine": {
        "library": {"none"} | PATHS,
        "model": {"none"} | TEXTS | ODD,  # of the table or not, is asked when it is needed
        "runtime": {"none"},
        "store": {"none"},
        "jobs": {"none"} | COUNTS,
        "allow_private_urls": TRUTHS,
        "max_megapixels": {"none"} | FLOATS,
        "max_megabytes": {"none", "whole"},
        "long_lived": TRUTHS,
        "notify": {"none", "function"},
    },
    "index": {
        "folders": set(),  # nothing of this is there
        "name_from": {"none"},
        "exclude": {"none"} | TEXTS | ODD,
        "max_megapixels": {"none"} | FLOATS,
        "verify": TRUTHS,
        "prune": TRUTHS,
        "reread": TRUTHS,
        "any_name": TRUTHS,
        "tags": TRUTHS,
        "dry_run": TRUTHS,
        "progress": TRUTHS | {"function"},
    },
    "search": {
        "n_results": COUNTS | {"huge"},
        "names": {"none"} | TEXTS | ODD,
        "not_names": {"none"} | TEXTS | ODD,
        "path": {"none"} | PATHS,
        "not_path": {"none"} | TEXTS | ODD,
        "since": {"none"},  # a date: see test_filters.py
        "until": {"none"},
        "min_pixels": {"none"} | COUNTS,
        "formats": {"none"},
        "where": {"none"},
        "min_similarity": {"none", "float"},
        "min_closeness": {"none", "float"},
        "min_probability": {"none", "float"},
        "region": {"none"},
        "exclude_self": TRUTHS,
        "other_folders": TRUTHS,
        "fold": TRUTHS,
        "copies": TRUTHS,
        "group": TRUTHS,
        "how": set(),
    },
    "search_each": {"n_results": COUNTS | {"huge"}, "exclude_self": TRUTHS, "other_folders": TRUTHS, "fold": TRUTHS},
    "watch": {
        "folders": PATHS,  # in a library that is there a folder may be away
        "name_from": {"none"},
        "exclude": {"none"} | TEXTS | ODD,
        "max_megapixels": {"none"} | FLOATS,
        "any_name": TRUTHS,
        "progress": TRUTHS | {"function"},
        "stop": {"none"},
    },
    "annotate": {"table": {"none"}, "key": {"none"}, "drop": {"none"}},
    "export": {"to": set(), "kind": set(), "replace": TRUTHS, "progress": TRUTHS | {"function"}},
    "load": {"dataset": set(), "progress": TRUTHS | {"function"}},
    "move": {"to": PATHS, "store": {"none"}, "progress": TRUTHS | {"function"}},
    "decide": {"word": set(), "pictures": set()},
    "undo_decision": {"number": COUNTS | {"huge"}},
    "duplicates": {
        "folders": {"none"},
        "across": {"none"},
        "prefer": {"none"} | PATHS | TEXTS | ODD,
        "since": {"none"},
        "kinds": {"none"},
        "progress": TRUTHS | {"function"},
    },
    "compare": {"threshold": {"none", "float"}},
    "fold": {"matches": set()},
    "query": {"region": {"none"}},
    "check": {"folder": {"none"}, "neighbours": {"none"} | COUNTS, "progress": TRUTHS | {"function"}},
    "map": {"fresh": TRUTHS, "seed": COUNTS, "progress": TRUTHS | {"function"}},
    "embed_text": {"texts": TEXTS | ODD},
    "words": {"prefix": TEXTS | ODD, "n_results": COUNTS},
    "picture": {"source": {"bytes"}, "max_side": COUNTS},
    "forget": {"paths": set()},
    "relocate": {"old": set(), "new": set()},
    "reembed": {"leave_unreachable": TRUTHS, "max_megapixels": {"none"} | FLOATS, "progress": TRUTHS | {"function"}},
    "hold_writer_lock": {"what": TEXTS | ODD},
    "plot": {"path": {"none"}},
    "load_model": {"name": set(), "runtime": {"none"}, "threads": {"none"} | COUNTS, "download": TRUTHS},
    "evaluate": {
        "folder": set(),
        "models": set(),
        "runtime": {"none"},
        "jobs": {"none"} | COUNTS,
        "template": {"none"},
        "progress": {"none", "function"},
    },
    "label": {
        "folder": set(),
        "labels": TEXTS,
        "model": TEXTS | ODD,  # is asked when it is needed
        "template": set(),  # none of these has a place for the label
        "runtime": {"none"},
        "jobs": {"none"} | COUNTS,
        "progress": {"none", "function"},
    },
    "salvage": {"damaged": set(), "to": PATHS},
    "draw": {"name": set(), "seed": {"whole", "below", "huge"}, "size": set()},
    "draw_gallery": {"folder": PATHS, "per_class": COUNTS, "progress": {"none", "function"}},
    "draw_queries": {"folder": PATHS},
    "parse_spec": {"spec": set()},
    "PageSettings": {
        "host": set(),
        "port": {"none"} | COUNTS,
        "folders": set(),
        "urls": TRUTHS,
        "watch": TRUTHS,
        "hosts": {"none", "number in a text"},  # a name may be like that
        "root_path": {"number in a text"},
        "key_file": {"none"} | PATHS,
        "new_key": TRUTHS,
        "fresh_key": TRUTHS,
    },
}
IMAGES = {
    ("search", "images"),
    ("search", "less"),
    ("compare", "a"),
    ("compare", "b"),
    ("query", "image"),
    ("embed", "images"),
    ("embed_each", "images"),
    ("search_each", "images"),
    ("tags", "images"),
    ("tags_each", "images"),
}
OF_THE_ENGINE = {"library", "model", "runtime", "store", "max_megapixels", "max_megabytes"}  # given to the engine as they are
WITHOUT = {"second_library", "close", "status", "verify", "rebuild", "decisions"}  # that take nothing


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageSearchEngine]:
    place = tmp_path_factory.mktemp("given")
    fill(place / "photos", 4)
    with quick_engine(place / "library", notify=lambda line: None) as engine:
        engine.index(place / "photos", progress=False)
        yield engine


def call(what: str, engine: ImageSearchEngine, place: Path) -> tuple[Callable[..., object], dict[str, Any]]:
    """The function, and arguments that are right."""
    photos = engine.library.parent / "photos"
    first = {
        "index": {"folders": photos},
        "search": {"images": "id:1"},
        "query": {"image": "id:1"},
        "compare": {"a": "id:1", "b": "id:2"},
        "picture": {"source": "id:1"},
        "watch": {"folders": photos},
        "search_each": {"images": []},
        "export": {"to": place / "a.parquet", "replace": True},
        "load": {"dataset": place / "no data set"},
        "move": {"to": place / "moved.library"},
    }
    calls: dict[str, tuple[Callable[..., object], dict[str, Any]]] = {
        "ImageSearchEngine": (ImageSearchEngine, {"library": place}),
        "picture": (engine.picture, {"source": photos / "circle" / "0.png", "max_side": 8}),
        "relocate": (engine.relocate, {"old": photos, "new": photos}),
        "plot": (Matches([], queries=[], model="", exact=True, library=place).plot, {}),
        "load_model": (load_model, {"name": "mini"}),
        "evaluate": (evaluate, {"folder": photos, "models": ["mini"]}),
        "label": (label, {"folder": photos, "labels": ["circle"], "model": "mini"}),
        "salvage": (salvage, {"damaged": place, "to": place / "to"}),
        "draw": (draw, {"name": "Cat", "seed": 1}),
        "draw_gallery": (draw_gallery, {"folder": place, "per_class": 1}),
        "draw_queries": (draw_queries, {"folder": place}),
        "parse_spec": (parse_spec, {}),
        "PageSettings": (lambda **given: PageServer(PageSettings(library=place / "page", **{"port": 0, **given})), {}),
    }
    if what == "decide":
        return (lambda word="leave", pictures="id:1": engine.decide(word, pictures)), {}
    if what == "forget":
        return (lambda paths: engine.forget(paths)), {}
    return calls.get(what) or (getattr(engine, what), first.get(what, {}))


def test_no_parameter_is_left_out() -> None:
    public = {name: one for name, one in inspect.getmembers(ImageSearchEngine, inspect.isfunction) if not name.startswith("_")}
    functions = {**public, "ImageSearchEngine": ImageSearchEngine, "plot": Matches.plot, "load_model": load_model, "evaluate": evaluate}
    functions |= {one.__name__: one for one in (label, salvage, draw, draw_gallery, draw_queries, parse_spec)}
    for name, function in functions.items():
        parameters = inspect.signature(function).parameters.values()
        there = {one.name for one in parameters if one.kind is not one.VAR_KEYWORD} - {"self"}  # what goes to `search` as it is
        assert there == set(TAKES.get(name, ())) | {parameter for verb, parameter in IMAGES if verb == name}, name
        assert bool(there) != (name in WITHOUT), name
    assert {field.name for field in dataclasses.fields(PageSettings)} == set(TAKES["PageSettings"]) | OF_THE_ENGINE


@pytest.mark.parametrize(("what", "parameter"), [(what, parameter) for what, several in TAKES.items() for parameter in several])
def test_a_value_of_the_wrong_kind_is_one_plain_line(engine: ImageSearchEngine, tmp_path: Path, what: str, parameter: str) -> None:
    function, right = call(what, engine, tmp_path)
    for kind, value in VALUES.items():
        if kind in TAKES[what][parameter]:
            continue
        with pytest.raises(ImageSearchError) as caught:
            function(**{**right, parameter: value})
            print(f"{what}({parameter}=<{kind}>) was taken")
        assert isinstance(caught.value, UsageError) or kind in PATHS | ODD, (kind, caught.value)  # a name of nothing that is there
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300, kind
    assert len(engine.search("id:1", 100)) == 12, "nothing has happened"


@pytest.mark.parametrize(
    ("what", "parameter"),
    [
        (what, parameter)
        for what in ("index", "search", "ImageSearchEngine")
        for parameter in TAKES[what]
        if parameter not in ("min_closeness", "min_probability")  # a small library has the one, pictures have not the other
    ],
)
def test_what_is_said_to_be_taken_is_taken(engine: ImageSearchEngine, tmp_path: Path, what: str, parameter: str) -> None:
    """So that the table above says no more than is so."""
    function, right = call(what, engine, tmp_path)
    for kind in TAKES[what][parameter]:
        made = function(**{**right, parameter: VALUES[kind]})
        if isinstance(made, ImageSearchEngine):
            made.close()


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int64(1), 1, True])
def test_numbers_of_other_kinds(engine: ImageSearchEngine, number: Any) -> None:
    if number is True:  # is no number, though Python counts with it
        with pytest.raises(UsageError, match="must be a number, not bool"):
            engine.search("id:1", min_similarity=number)
        return
    assert len(engine.search("id:1", min_similarity=number)) >= 1
    assert len(engine.search("id:1", np.int16(2), names=np.array(["circle"]), exclude_self=np.bool_(False))) == 2  # type: ignore[arg-type]


def test_images_of_the_wrong_kind(engine: ImageSearchEngine) -> None:
    wrong = [value for kind, value in VALUES.items() if kind in ("none", "true", "whole", "float", "object", "dict", "function")]
    for value in (*wrong, {"a.jpg"}, (name for name in ("a.jpg",)), Query("mine", [1.0]), Query("mine", np.zeros(96, np.float32))):
        for ask in (engine.search, engine.embed, engine.query, lambda image: engine.search("id:1", less=[image])):
            with pytest.raises(UsageError) as caught:
                ask(value)
            assert "\n" not in str(caught.value)
    for several in (None, 7, "a.jpg", b"bytes"):
        with pytest.raises(UsageError, match="must be several"):
            engine.embed_each(several)
    found = list(engine.embed_each([None, picture("circle", 90), 7]))
    assert [isinstance(one, QueryError) for one in found] == [True, False, True], "one slip of many stops nothing"


def test_a_region_of_the_wrong_kind(engine: ImageSearchEngine) -> None:
    for region in (Region("1", 2, 3, 4), Region(1.5, 2, 3, 4), Region(None, 2, 3, 4)):
        with pytest.raises(UsageError, match="four whole numbers"):
            engine.search("id:1", region=region)
    assert len(engine.search("id:1", region=Region(*map(np.int64, (0, 0, 30, 30))))) == 3


def test_a_model_of_the_wrong_kind(tmp_path: Path) -> None:
    for model in (7, b"mini", ["mini"], object()):
        with pytest.raises(UsageError, match="model"):
            ImageSearchEngine(tmp_path, model=model)
    with pytest.raises(UsageError, match="brings its runtime"):
        ImageSearchEngine(tmp_path, model=QuickModel(), runtime="onnx")


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("cat", ["Cat", "Car"], "Cat"),
        ("CAT", ["cat", "Cat"], "cat"),
        ("demo.librry", ["demo.library", "photos"], "demo.library"),
        ("고양히", ["고양이", "강아지"], None),  # two of three letters are not enough to guess by
        ("고양이들", ["고양이", "강아지"], "고양이"),
        ("zebra", ["Cat", "Car"], None),
        ("", ["Cat"], None),
        ("Cat", [], None),
    ],
)
def test_what_was_likely_meant(word: str, known: list[str], meant: str | None) -> None:
    assert given.guess(word, known) == meant
