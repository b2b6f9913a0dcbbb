"""A model of the caller's own: any object that keeps `types.Embedder`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_search import ImageSearchEngine, errors
from image_search.types import Embedder, Fingerprint, Float32, Preprocess, TextEmbedder, UInt8


class Colours:
    """Mean colours of 4 x 4 fields; `factor` bends them."""

    runtime = "numpy"

    def __init__(self, factor: float = 0.0, **changes: Any) -> None:
        self.fingerprint = replace(Fingerprint("colours", "here", "1", "0" * 64, "embedding", 48, Preprocess(size=(32, 32))), **changes)
        self.factor, self.closed, self.calls = factor, 0, 0

    def embed(self, pixels: UInt8) -> Float32:
        self.calls += 1
        fields = pixels.reshape(len(pixels), 4, 8, 4, 8, 3).mean(axis=(2, 4)).reshape(len(pixels), 48) + 1
        fields[:, ::2] *= 1 + self.factor
        return (fields / np.linalg.norm(fields, axis=1, keepdims=True)).astype(np.float32)

    def close(self) -> None:
        self.closed += 1


def engine_of(tmp_path: Path, model: object = None, **options: Any) -> ImageSearchEngine:
    return ImageSearchEngine(tmp_path / "library", model=model, store="exact", jobs=1, notify=lambda line: None, **options)


@pytest.fixture
def one(photos: Path) -> UInt8:
    with Image.open(next(photos.rglob("*.*"))) as picture:
        return np.asarray(picture.convert("RGB"))


def test_it_makes_a_library_and_answers_from_it_and_is_not_closed(photos: Path, tmp_path: Path, one: UInt8) -> None:
    model = Colours()
    assert isinstance(model, Embedder) and not isinstance(model, TextEmbedder)
    with engine_of(tmp_path, model) as engine:
        assert engine.index(photos).added == 12
        assert engine.search(one).model == "colours"
        assert engine.embed(one).shape == (1, 48)
    with engine_of(tmp_path, Colours()) as engine:
        assert engine.search(one)[0].similarity == pytest.approx(1, abs=1e-6)
        assert engine.status()["model"] == "colours"
        engine.close()
        assert engine.search(one), "an engine can be used again"
    assert model.closed == 0, "who made it closes it"


def test_it_is_proved_each_time_and_another_one_of_its_name_is_refused(photos: Path, tmp_path: Path, one: UInt8) -> None:
    with engine_of(tmp_path, Colours()) as engine:
        engine.index(photos)
    for _ in range(2):
        same = Colours()
        with engine_of(tmp_path, same) as engine:
            engine.search(one)
            engine.search(one)
        assert same.calls == 3, "the canonical pictures once, two queries"
    for changes, said in [
        ({}, r"colours on numpy gives other vectors than it should \(cosine .*Use the runtime that made the library"),
        ({"weights_sha256": "1" * 64}, r"its weights are not those .*\. Bring the library to this one: .*model='colours'.*reembed.*OTHER"),
        ({"name": "others"}, "made with the model colours, not with others"),
    ]:
        with engine_of(tmp_path, Colours(0.2, **changes)) as engine, pytest.raises(errors.ModelMismatchError, match=said):
            engine.search(one)


def test_without_it_its_library_says_what_is_missing(photos: Path, tmp_path: Path, one: UInt8) -> None:
    with engine_of(tmp_path, Colours()) as engine:
        engine.index(photos)
    with (
        engine_of(tmp_path) as engine,
        pytest.raises(errors.UnknownModelError, match=r"made with the model colours, which is not here: .*library\. Put it back, or give"),
    ):
        engine.search(one)


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("fingerprint", None, "this Broken has no fingerprint: Fingerprint"),
        ("fingerprint", "abc", "this Broken has no proper fingerprint: Fingerprint"),
        ("runtime", None, "this Broken has no runtime: str"),
        ("embed", None, "this Broken has no method embed"),
        ("close", 3, "this Broken has no proper method close"),
    ],
)
def test_what_keeps_no_protocol_is_wrong_usage_and_the_member_is_named(tmp_path: Path, member: str, value: object, said: str) -> None:
    class Broken(Colours):
        pass

    model = Broken()
    setattr(model, member, value)
    with pytest.raises(errors.UsageError, match=said) as caught:
        engine_of(tmp_path, model)
    assert "\n" not in str(caught.value)


def test_its_runtime_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="brings its runtime with it"):
        engine_of(tmp_path, Colours(), runtime="onnx")


@pytest.mark.parametrize(("changes", "said"), [({"dim": 47}, r"not float32 \(8, 47\)"), ({"factor": float("nan")}, "not of length 1")])
def test_vectors_that_are_none_make_no_library(photos: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with engine_of(tmp_path, Colours(**changes)) as engine, pytest.raises(errors.ModelError, match=said):
        engine.index(photos)
    with engine_of(tmp_path) as engine, pytest.raises(errors.LibraryNotFoundError):
        engine.status()
