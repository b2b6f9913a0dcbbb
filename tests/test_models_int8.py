"""dino-int8: another model than dino, made from its file, and what that costs is said."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import SMALL, SMALL_PREPROCESSOR, export_onnx, put_in_cache, save, tiny_onnx
from PIL import Image

from image_search import ImageSearchEngine, errors, models
from image_search.advice import told
from image_search.cli.console import in_shell
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
    assert "image-search evaluate FOLDER --model dino --model dino-int8" in told(said[0], in_shell)
    exact = load_model("dino", download=False)
    pictures = canonical_pictures(exact.fingerprint.preprocess)
    worst = np.sum(exact.embed(pictures).astype(np.float64) * load_model("dino-int8").embed(pictures), axis=1).min()
    assert f"cosine {worst:.5f} to" in said[0], "measured, not written down"
    with ImageSearchEngine(tmp_path / "library", store="exact", jobs=1, notify=said.append) as engine:
        assert engine.search(as_array(photos))[0].similarity == pytest.approx(1, abs=1e-5)
    assert len(said) == 1, "said once"
    with ImageSearchEngine(tmp_path / "library", model="dino", store="exact", jobs=1) as engine, pytest.raises(errors.ModelMismatchError):
        engine.search(as_array(photos))


def products(weights: np.ndarray, numbers: UInt8) -> np.ndarray:
    """numbers (n, K) @ weights (K, N) as AVX2 without VNNI comes to it: pairs of u8 * s8 are added in 16 bits, which saturate."""
    each = numbers.astype(np.int32)[:, :, None] * weights.astype(np.int32)[None]  # (n, K, N)
    pairs = np.clip(each[:, 0::2] + each[:, 1::2], -32768, 32767)
    return np.asarray(pairs.sum(axis=1))


def rounded_weights(model: bytes) -> list[np.ndarray]:
    import onnx

    graph = onnx.load_model_from_string(model).graph
    used = {node.input[1] for node in graph.node if node.op_type == "MatMulInteger"}
    return [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name in used]


def full_range(model: bytes, path: Path) -> bytes:
    """As `in_8_bits` once did it: weights from -127 to 127."""
    onnx, quantize_dynamic = int8.import_quantiser()
    quantize_dynamic(onnx.load_model_from_string(model), path, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True)
    return path.read_bytes()


def test_every_processor_comes_to_the_same_integers(cache: Path, tmp_path: Path) -> None:
    """No pair of products of our weights can saturate 16 bits, whatever flows through the network."""
    model = (cache / "onnx" / "model.onnx").read_bytes()
    numbers = np.full((2, 96), 255, np.uint8)  # the largest there are, and any
    numbers[1] = np.random.default_rng(0).integers(0, 256, 96)
    weights = rounded_weights(int8.in_8_bits(model, cache))
    assert len(weights) == 12, "of two layers: q, k, v, out and two of the perceptron each"
    for each in weights:
        assert each.dtype == np.int8 and 2 * 255 * np.abs(each.astype(int)).max() <= 32767
        exact = numbers[:, : len(each)].astype(np.int32) @ each.astype(np.int32)
        np.testing.assert_array_equal(products(each, numbers[:, : len(each)]), exact)
    full = rounded_weights(full_range(model, tmp_path / "full.onnx"))
    assert any((products(w, numbers[:1, : len(w)]) != numbers[:1, : len(w)].astype(np.int32) @ w.astype(np.int32)).any() for w in full)


@pytest.mark.slow  # quick: test_every_processor_comes_to_the_same_integers
def test_on_a_processor_without_vnni(cache: Path) -> None:
    """The real thing, where an emulator is installed: Haswell knows AVX2 and no VNNI. With 8-bit weights the cosine was .970 to .995."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None or platform.machine() != "x86_64":
        pytest.skip("needs qemu-user on x86-64")
    code = (
        "import sys; from pathlib import Path; import huggingface_hub.constants as c; c.HF_HUB_CACHE = sys.argv[1];"
        "from image_search.models import *; e = load_model('dino-int8', threads=1, download=False);"
        "sys.stdout.buffer.write(canonical_vectors(e).tobytes())"
    )
    python = [str(Path(sys.executable).resolve()), "-c", code, str(cache.parents[2])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    there = subprocess.run([emulator, "-cpu", "Haswell", *python], capture_output=True, check=True, env=environment)
    found = np.frombuffer(there.stdout, np.float32).reshape(8, -1)
    models.check_same_vectors(load_model("dino-int8", download=False), found)


def test_a_library_of_the_earlier_rounding_is_refused_with_the_way_out(
    cache: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(int8, "in_8_bits", lambda model, path: full_range(model, tmp_path / "full.onnx"))
        with ImageSearchEngine(tmp_path / "library", model="dino-int8", store="exact", jobs=1, notify=lambda _: None) as engine:
            engine.index(photos)
    said = "its weights are not those that the library was made with"
    with (
        ImageSearchEngine(tmp_path / "library", store="exact", jobs=1) as engine,
        pytest.raises(errors.ModelMismatchError, match=said) as caught,
    ):
        engine.search(as_array(photos))
    assert caught.value.told(in_shell).endswith(
        "Bring the library to this one: image-search reembed --model dino-int8, or make a second library: "
        "image-search index FOLDER --model dino-int8 --library OTHER"
    )


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
