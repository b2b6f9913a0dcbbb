"""dino-int8: another model than dino, made from its file, and what that costs is said."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import SMALL, SMALL_PREPROCESSOR, export_onnx, put_in_cache, save, tiny_onnx
from PIL import Image

from image_search import ImageSearchEngine, errors, models
from image_search.models import canonical_pictures, int8, load_model
from image_search.types import UInt8

pytest.importorskip("onnx", reason="needs the int8 extra: pip install -e '.[int8]'")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="needs the torch extra to make a checkpoint")
    home = tmp_path_factory.mktemp("int8")
    save("ViT", home / "torch", preprocessor=SMALL_PREPROCESSOR, **SMALL)
    return export_onnx(home / "torch", home / "onnx")


@pytest.fixture
def cache(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which dino's ONNX file is: a small one."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "hub").mkdir()
    return put_in_cache(tmp_path / "hub", "Xenova/dino-vits16", checkpoint)


def as_array(photos: Path) -> UInt8:
    """One of them, so that its vector is made and not looked up."""
    with Image.open(next(photos.rglob("*.*"))) as picture:
        return np.asarray(picture.convert("RGB"))


def test_it_is_another_model_made_of_dino_s_file(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in cache.rglob("*")}
    exact, rounded = load_model("dino", download=False), load_model("dino-int8", download=False)
    assert exact.fingerprint.weights_sha256 != rounded.fingerprint.weights_sha256
    assert (rounded.fingerprint.name, rounded.fingerprint.output, rounded.runtime) == ("dino-int8", "cls", "onnx (cpu)")
    pictures = canonical_pictures(exact.fingerprint.preprocess)
    a, b = exact.embed(pictures), rounded.embed(pictures)
    cosines = np.sum(a.astype(np.float64) * b, axis=1)
    assert 0.99 < cosines.min() < cosines.max() < 0.999999, "rounded, and still the same network"
    np.testing.assert_array_equal(rounded.embed(pictures[5:2:-1]), b[5:2:-1])
    assert {p: p.stat().st_mtime_ns for p in cache.rglob("*")} == before, "nothing is written beside the file"
    assert capfd.readouterr() == ("", "")


def test_its_bits_are_the_same_in_every_process(cache: Path) -> None:
    path = cache / "onnx" / "model.onnx"
    here = hashlib.sha256(int8.in_8_bits(path.read_bytes(), path)).hexdigest()
    code = (
        "import hashlib, sys; from pathlib import Path; from image_search.models.int8 import *; p = Path(sys.argv[1]);"
        "print(hashlib.sha256(in_8_bits(p.read_bytes(), p)).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert (there.stdout, there.stderr) == (here + "\n", "")


def test_a_library_of_it_says_what_it_loses_and_is_never_asked_with_dino(cache: Path, photos: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with ImageSearchEngine(tmp_path / "library", model="dino-int8", store="exact", jobs=1, notify=said.append) as engine:
        assert engine.index(photos).added == 12
    assert len(said) == 1 and said[0].startswith("dino-int8 is dino in 8-bit numbers: its vectors differ (cosine 0.9")
    assert "image-search evaluate FOLDER --model dino --model dino-int8" in said[0]
    exact = load_model("dino", download=False)
    pictures = canonical_pictures(exact.fingerprint.preprocess)
    worst = np.sum(exact.embed(pictures).astype(np.float64) * load_model("dino-int8").embed(pictures), axis=1).min()
    assert f"cosine {worst:.5f} to" in said[0], "measured, not written down"
    with ImageSearchEngine(tmp_path / "library", store="exact", jobs=1, notify=said.append) as engine:
        assert engine.search(as_array(photos))[0].similarity == pytest.approx(1, abs=1e-5)
    assert len(said) == 1, "said once"
    with ImageSearchEngine(tmp_path / "library", model="dino", store="exact", jobs=1) as engine, pytest.raises(errors.ModelMismatchError):
        engine.search(as_array(photos))


def test_another_processor_s_kernels_are_noticed(cache: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file and the same runtime: processors without VNNI may still round differently."""
    from image_search.models import onnx as onnx_runtime

    with ImageSearchEngine(tmp_path / "library", model="dino-int8", store="exact", jobs=1, notify=lambda _: None) as engine:
        engine.index(photos)
    run = onnx_runtime.run
    monkeypatch.setattr(onnx_runtime, "run", lambda *arguments: run(*arguments) + np.float32(0.1))
    with ImageSearchEngine(tmp_path / "library", store="exact", jobs=1) as engine, pytest.raises(errors.ModelMismatchError):
        engine.search(as_array(photos))


def test_it_is_never_picked_by_itself_and_runs_on_nothing_else(cache: Path) -> None:
    assert models.choose_auto() == ("dino", None)
    assert models.resolve("facebook/dino-vits16").name == "dino"
    assert models.is_available(models.resolve("dino-int8"))
    for runtime in ("torch", "openvino"):
        with pytest.raises(errors.UsageError, match=f"dino-int8 does not run on {runtime}"):
            load_model("dino-int8", runtime=runtime)


def test_without_the_extra_its_pip_line_is_printed_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    for name in [name for name in sys.modules if name.startswith("onnxruntime.quantization")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(errors.MissingExtraError, match=r'pip install "ai-image-search-engine\[int8\]"'):
        load_model("dino-int8")


def test_a_file_that_cannot_be_rounded_is_one_plain_line(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path) / "model.onnx"
    with pytest.raises(errors.ModelError, match=r"cannot be turned into 8-bit numbers: .*model\.onnx\. Use the model itself"):
        int8.in_8_bits(path.read_bytes()[:50], path)
