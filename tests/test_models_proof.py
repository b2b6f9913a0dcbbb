"""A library's model must draw the library's vectors on this machine; proved once, remembered, and never believed elsewhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_search import ImageSearchEngine, errors
from image_search.library import model as library_model
from image_search.models import RUNTIMES, canonical_vectors, load_model, proof, prove, remember, resolve
from image_search.models import onnx as onnx_runtime
from image_search.types import Embedder, Float32, UInt8

ON_MINI = sorted({row.name for row in RUNTIMES if row.supports(resolve("mini"))})


class Counted:
    """Any embedder; counts how many pictures it was given."""

    def __init__(self, inner: Embedder) -> None:
        self.inner, self.fingerprint, self.runtime, self.pictures = inner, inner.fingerprint, inner.runtime, 0

    def embed(self, pixels: UInt8) -> Float32:
        self.pictures += len(pixels)
        return self.inner.embed(pixels)

    def close(self) -> None: ...


@pytest.fixture(params=ON_MINI)
def runtime(request: pytest.FixtureRequest) -> str:
    row = next(row for row in RUNTIMES if row.name == request.param)
    if any(importlib.util.find_spec(package) is None for package in row.packages):
        pytest.skip(f"needs {' and '.join(row.packages)}")
    return row.name


@pytest.fixture
def mini(runtime: str) -> Counted:
    return Counted(load_model("mini", runtime=runtime))


def turned(vectors: Float32) -> Float32:
    """The last of them at cosine .9998 to what it was."""
    aside = np.zeros_like(vectors[-1])
    aside[0] = 1
    aside -= aside @ vectors[-1] * vectors[-1]
    found = vectors.copy()
    found[-1] = 0.9998 * found[-1] + np.sqrt(1 - 0.9998**2) * aside / np.linalg.norm(aside)
    return found


def test_what_was_proved_is_not_proved_again(mini: Counted) -> None:
    canonical = canonical_vectors(mini.inner)
    for pictures in (8, 8, 8):
        prove(mini, canonical, mini.fingerprint)
        assert mini.pictures == pictures
    prove(mini, canonical, mini.fingerprint, from_memory=False)
    assert mini.pictures == 16


def test_other_vectors_are_refused_and_not_remembered(mini: Counted) -> None:
    canonical = canonical_vectors(mini.inner)
    remember(mini, canonical)
    for pictures in (8, 16):
        with pytest.raises(errors.ModelMismatchError, match="gives other vectors than it should"):
            prove(mini, turned(canonical), mini.fingerprint)
        assert mini.pictures == pictures


def test_another_processor_version_or_program_proves_again(mini: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    canonical = canonical_vectors(mini.inner)
    remember(mini, canonical)
    prove(mini, canonical, mini.fingerprint)
    assert mini.pictures == 0
    package = next(row.packages[0] for row in RUNTIMES if row.name == mini.runtime.split()[0])
    for number, (where, value) in enumerate(
        [
            ("image_search.models.proof._processor", lambda runtime: ["Haswell"]),
            (f"{package}.__version__", "0.0.1"),
            ("image_search.models.proof._WAY", 2),
        ]
    ):
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(where, value)
            for _ in range(2):
                prove(mini, canonical, mini.fingerprint)
                assert mini.pictures == 8 * (number + 1), where


def test_the_processor_is_told_by_its_abilities() -> None:
    kind = proof._processor("onnx (cpu)")
    assert kind[0] and kind == proof._processor("onnx (cpu)")
    if Path("/proc/cpuinfo").exists():
        assert any(line.lower().startswith(("flags", "features")) for line in kind)


def test_a_memory_that_is_lost_or_cannot_be_kept_costs_a_proof_and_nothing_else(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mini = Counted(load_model("mini"))
    canonical = canonical_vectors(mini.inner)
    remember(mini, canonical)
    (kept,) = [path for path in own_home.rglob("proofs/*") if path.is_file()]
    assert kept.stat().st_size == 0
    kept.unlink()
    prove(mini, canonical, mini.fingerprint)
    assert kept.exists() and mini.pictures == 8
    blocked = tmp_path / "a file"
    blocked.touch()
    for folder in (blocked, Path("not/absolute")):
        monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, folder=folder, **__: str(folder))
        before = mini.pictures
        prove(mini, canonical, mini.fingerprint)
        prove(mini, canonical, mini.fingerprint)
        assert mini.pictures == before + 16


def test_what_a_model_drew_here_is_not_drawn_again_for_the_next_library(
    own_home: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is damaged of it, or was drawn elsewhere, is drawn anew."""
    drawn: list[int] = []
    canonical = proof.canonical_vectors
    monkeypatch.setattr(library_model, "canonical_vectors", lambda model: (drawn.append(1), canonical(model))[1])

    def made(name: str) -> bytes:
        with ImageSearchEngine(tmp_path / name, model="mini", store="exact", jobs=1) as engine:
            engine.index(photos / "circle")
            return engine._open().reader.canonical.tobytes()

    first = made("first")
    assert made("second") == first and len(drawn) == 1
    (kept,) = [path for path in own_home.rglob("proofs/*") if path.stat().st_size]
    kept.write_bytes(kept.read_bytes()[:-1] + b"\0")
    assert made("third") == first and len(drawn) == 2
    assert made("fourth") == first and len(drawn) == 2
    monkeypatch.setattr(proof, "_processor", lambda runtime: ["another"])
    assert made("fifth") == first and len(drawn) == 3


# The others prove alike, by `prove`, which the tests above ask on each of them; five engines on openvino take 3 CPU s.
@pytest.mark.parametrize(
    "runtime", [pytest.param(name, marks=() if name == "onnx" else pytest.mark.slow) for name in ON_MINI], indirect=True
)
def test_a_library_is_proved_where_it_is_made_and_again_where_it_is_carried(
    runtime: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Image.open(next(photos.rglob("*.*"))) as picture:
        one = np.asarray(picture.convert("RGB"))  # so that its vector is made and not looked up
    options = {"store": "exact", "jobs": 1, "runtime": runtime}
    with ImageSearchEngine(tmp_path / "library", model="mini", **options) as engine:
        engine.index(photos)
    with monkeypatch.context() as elsewhere:  # kernels that come to something else
        embed = onnx_runtime.OnnxEmbedder.embed
        elsewhere.setattr(
            onnx_runtime.OnnxEmbedder,
            "embed",
            lambda self, pixels: turned(embed(self, pixels)) if len(pixels) == 8 else embed(self, pixels),
        )
        with ImageSearchEngine(tmp_path / "library", **options) as engine:
            engine.search(one)  # made here: known, and not looked at
        elsewhere.setattr(proof, "_processor", lambda runtime: ["another"])
        for _ in range(2):
            with (
                ImageSearchEngine(tmp_path / "library", **options) as engine,
                pytest.raises(errors.ModelMismatchError, match="other vectors"),
            ):
                engine.search(one)
    monkeypatch.setattr(proof, "_processor", lambda runtime: ["another"])
    with ImageSearchEngine(tmp_path / "library", **options) as engine:
        assert engine.search(one)[0].similarity == pytest.approx(1, abs=2e-4)
