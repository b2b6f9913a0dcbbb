"""OpenVINO: the same vectors as ONNX Runtime, the same errors, and nothing told to anybody."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import DINO_PREPROCESSOR, DINO_VIT_S16, SMALL, SMALL_PREPROCESSOR, export_onnx, save, tiny_onnx
from PIL import Image

from image_search import ImageSearchEngine, errors, models
from image_search.models import canonical_pictures, check_same_vectors, load_model
from image_search.models import openvino as openvino_runtime

openvino = pytest.importorskip("openvino", reason="needs the openvino extra: pip install -e '.[openvino]'")

HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
QUICK = f"openvino (cpu, {'bf16' if HAS_BF16 else 'f32'})"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints whose weights are as they are drawn for training: bf16 keeps what such a network says."""
    pytest.importorskip("torch", reason="needs the torch extra to make a checkpoint")
    home = tmp_path_factory.mktemp("made")
    make(home, "small", SMALL_PREPROCESSOR, SMALL)
    return home


@pytest.fixture(scope="module")
def made_dino(made: Path) -> Path:
    make(made, "dino", DINO_PREPROCESSOR, DINO_VIT_S16)
    return made


def make(home: Path, name: str, preprocessor: dict[str, Any], config: dict[str, Any]) -> None:
    save("ViT", home / "torch" / name, preprocessor=preprocessor, spread=0.02, **config)
    export_onnx(home / "torch" / name, home / name)


@pytest.mark.parametrize("name", ["mini", "small", pytest.param("dino", marks=pytest.mark.slow)])
def test_a_library_made_with_onnx_runtime_may_be_asked_with_it(name: str, request: pytest.FixtureRequest) -> None:
    model = name if name == "mini" else str(request.getfixturevalue("made_dino" if name == "dino" else "made") / name)
    by_onnx, by_openvino = load_model(model), load_model(model, runtime="openvino")
    assert by_onnx.runtime == "onnx (cpu)"
    # mini's vectors, whitened, do not stand bf16; which weights do is known only when it is tried.
    assert by_openvino.runtime == ("openvino (cpu, f32)" if name == "mini" else QUICK)
    assert by_onnx.fingerprint == by_openvino.fingerprint
    expected = by_onnx.embed(canonical_pictures(by_onnx.fingerprint.preprocess))
    check_same_vectors(by_openvino, expected)


@pytest.mark.parametrize("name", ["mini", "small"])
def test_its_bits_are_the_same_in_every_process_and_batch(name: str, request: pytest.FixtureRequest) -> None:
    model = name if name == "mini" else str(request.getfixturevalue("made") / name)
    embedder = load_model(model, runtime="openvino", threads=2)
    pictures = canonical_pictures(embedder.fingerprint.preprocess)
    found = embedder.embed(pictures)
    assert (found != load_model(model).embed(pictures)).any(), "another runtime has other last bits, or it was not asked"
    np.testing.assert_array_equal(embedder.embed(pictures[3:1:-1]), found[3:1:-1])
    np.testing.assert_array_equal(embedder.embed(pictures[:1]), found[:1])
    with ThreadPoolExecutor(3) as callers:  # more than it has requests
        for again in callers.map(embedder.embed, [pictures] * 6):
            np.testing.assert_array_equal(again, found)
    code = (
        "import sys; from image_search.models import *; e = load_model(sys.argv[1], runtime='openvino', threads=1);"
        "sys.stdout.buffer.write(e.embed(canonical_pictures(e.fingerprint.preprocess)).tobytes())"
    )
    there = subprocess.run([sys.executable, "-c", code, model], capture_output=True, check=True)
    assert there.stdout == found.tobytes()
    assert there.stderr == b"" or (name == "mini" and HAS_BF16 and there.stderr.endswith(b"it runs in full precision, which is slower\n"))


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bf16")
def test_a_model_that_bf16_would_change_runs_in_f32_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Weights ten times as wide: attention then jumps from one patch to the next with the eighth bit."""
    pytest.importorskip("torch", reason="needs the torch extra to make a checkpoint")
    save("ViT", tmp_path / "torch", preprocessor=SMALL_PREPROCESSOR, spread=0.6, **SMALL | {"num_hidden_layers": 6})
    model = str(export_onnx(tmp_path / "torch", tmp_path / "onnx"))
    with caplog.at_level(logging.WARNING, "image_search"):
        embedder = load_model(model, runtime="openvino")
    assert embedder.runtime == "openvino (cpu, f32)"
    assert "openvino (cpu, bf16) gives other vectors than it should" in caplog.text and "runs in full precision" in caplog.text
    pictures = canonical_pictures(embedder.fingerprint.preprocess)
    assert np.sum(load_model(model).embed(pictures) * embedder.embed(pictures), axis=1).min() > 0.99999


def test_the_first_call_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first calls at once can hang for ever inside OpenVINO."""
    callers: list[str] = []
    infer = openvino.InferRequest.infer

    def watched(*arguments: object, **named: object) -> object:
        callers.append(threading.current_thread().name)
        return infer(*arguments, **named)

    monkeypatch.setattr(openvino.InferRequest, "infer", watched)
    load_model("mini", runtime="openvino", threads=2)
    assert callers[0] == threading.current_thread().name
    assert any(name.startswith("embed") for name in callers[1:]), "only then several at once"


def test_never_other_vectors_than_onnx_runtime_s(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = openvino_runtime._compile

    def turned(*arguments: object) -> openvino_runtime.Run:
        run = compiled(*arguments)  # type: ignore[arg-type]
        return lambda numbers: run(numbers)[:, ::-1]

    monkeypatch.setattr(openvino_runtime, "_compile", turned)
    with pytest.raises(errors.ModelMismatchError, match=r"mini on openvino \(cpu, f32\) gives other vectors.*Leave out runtime="):
        load_model("mini", runtime="openvino")


def test_it_tells_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    """Imported plainly, the package sends an event to its maker and writes ~/intel: the second half shows that this test would see it."""
    code = """
import os, sys
seen = []
watched = ("socket.", "subprocess.", "os.fork", "os.posix_spawn", "os.system")
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith(watched) else None)
if sys.argv[1] == "plainly":
    import openvino
else:
    from image_search.models import *
    embedder = load_model("mini", runtime="openvino")
    embedder.embed(canonical_pictures(embedder.fingerprint.preprocess))
    assert "openvino.tools.ovc" not in sys.modules
telling = [name for name in sys.modules if "telemetry" in name]
print(seen, telling, flush=True)
os._exit(0)
"""
    (tmp_path / "intel").mkdir()
    plain = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD", "JENKINS_URL")} | {"HOME": str(tmp_path)}
    there = subprocess.run([sys.executable, "-c", code, "ours"], capture_output=True, text=True, check=True, env=plain)
    assert there.stdout == "[] []\n"
    assert list(tmp_path.rglob("*")) == [tmp_path / "intel"]
    # Where this file says so it sends nothing: nor does this test.
    (tmp_path / "intel" / "openvino_telemetry").write_text("0")
    there = subprocess.run([sys.executable, "-c", code, "plainly"], capture_output=True, text=True, check=True, env=plain)
    assert "telemetry" in there.stdout or importlib.util.find_spec("openvino_telemetry") is None


def test_without_the_extra_its_pip_line_is_printed_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    for model in ("mini", "dino"):
        with pytest.raises(errors.MissingExtraError, match=r'openvino.*pip install "ai-image-search-engine\[openvino\]"'):
            load_model(model, runtime="openvino")
    assert load_model("mini").runtime == "onnx (cpu)", "it is never picked by itself"


@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_a_damaged_file_is_named_as_on_onnx_runtime(tmp_path: Path, damage: str) -> None:
    file = tiny_onnx(tmp_path / "m") / "model.onnx"
    content = file.read_bytes()
    file.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "noise": bytes(range(256)) * 9}[damage])
    said = []
    for runtime in ("onnx", "openvino"):
        with pytest.raises(errors.ModelDamagedError) as caught:
            load_model(str(tmp_path / "m"), runtime=runtime)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_what_openvino_cannot_read_is_one_plain_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    core = openvino.Core()
    with pytest.raises(errors.ModelError, match=r"OpenVINO cannot run this model file: .*broken\.onnx\. Leave out runtime=") as caught:
        openvino_runtime._compile(core, broken, "embedding", load_model("mini").fingerprint.preprocess, "f32", 1)
    assert "\n" not in str(caught.value)


def test_weights_beside_the_file(tmp_path: Path) -> None:
    """Read from the model's own folder, whatever the current one is."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to take a model apart")
    folder = tmp_path / "모델"
    (folder / "onnx").mkdir(parents=True)
    model = onnx.load(Path(models.__file__).parent / "mini" / "mini.onnx")
    onnx.save_model(model, folder / "onnx" / "model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    mini = load_model("mini")
    size = mini.fingerprint.preprocess.output_size[0]
    (folder / "preprocessor_config.json").write_text(f'{{"size": {size}, "do_normalize": false, "resample": 2}}')
    check_same_vectors(load_model(str(folder), runtime="openvino"), mini.embed(canonical_pictures(mini.fingerprint.preprocess)))


def test_an_engine_makes_a_library_with_it_and_asks_it_with_the_other(photos: Path, tmp_path: Path) -> None:
    with ImageSearchEngine(tmp_path / "library", model="mini", runtime="openvino", store="exact", jobs=1) as engine:
        assert engine.index(photos).added == 12
    with Image.open(next(photos.rglob("*.*"))) as picture:
        one = np.asarray(picture.convert("RGB"))  # so that its vector is made and not looked up
    with ImageSearchEngine(tmp_path / "library", store="exact", jobs=1) as engine:
        assert engine.search(one)[0].similarity == pytest.approx(1, abs=2e-4)
