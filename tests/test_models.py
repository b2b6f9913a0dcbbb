"""The model table, the built-in model, recipes, local folders and damage. The hub: test_models_hub.py; torch: test_models_parity.py."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkpoints import DINO_PREPROCESSOR, DINOV2_PREPROCESSOR, onnx_in_two_files, tiny_onnx
from onnx import TensorProto, helper

from image_search import errors, models
from image_search.models import MODELS, ModelRow, canonical_pictures, check_same_vectors, find, load_model, resolve
from image_search.models import onnx as onnx_runtime
from image_search.models.files import choose_weights
from image_search.models.graph import OnnxFile, read_onnx
from image_search.models.recipe import read_recipe
from image_search.models.vectors import number_table
from image_search.types import Embedder, Fingerprint, Preprocess

MINI = Path(models.__file__).parent / "mini"
# The user's own, before a test gets a home of its own: models that are there are tried as well.
HF_HOME = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
HF_HUB_CACHE = os.environ.get("HF_HUB_CACHE") or str(HF_HOME / "hub")


@pytest.fixture(scope="module")
def mini() -> Embedder:
    return load_model("mini")


# --- the table ---------------------------------------------------------------------------------------------------------------


def test_importing_the_table_imports_no_runtime() -> None:
    heavy = {"onnxruntime", "openvino", "torch", "transformers", "huggingface_hub"}
    code = f"import sys, image_search.models; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_rows_are_told_apart_and_complete() -> None:
    assert [row.name for row in MODELS] == [
        "mini",
        "dino",
        "dinov2-s",
        "dinov2-reg-s",
        "dinov2-b",
        "dinov3-s",
        "dino-b8",
        "vit-in21k",
        "siglip2",
        "clip-b32",
        "dino-int8",
    ]
    for row in MODELS:
        assert row.licence and row.megabytes and row.about
        assert (row.onnx_repo is None) or row.onnx_file


def test_a_runtime_is_a_row() -> None:
    able = {row.name: [runtime.opens.split(":")[0] for runtime in models.RUNTIMES if runtime.supports(row)] for row in MODELS}
    full = ["onnx", "openvino", "torch"]
    assert able == {
        "mini": full[:2],
        "dino": full,
        "dinov2-s": full,
        "dinov2-reg-s": full,
        "dinov2-b": full,
        "dinov3-s": full,
        "dino-b8": full,
        "vit-in21k": full,
        "siglip2": full,
        "clip-b32": full,
        "dino-int8": ["int8"],
    }


def test_resolve(tmp_path: Path) -> None:
    assert resolve("dino") is resolve("facebook/dino-vits16"), "one model, one row: its hub id runs on ONNX as well"
    assert resolve("some/vit-model") == ModelRow(name="some/vit-model", source="some/vit-model", about="from the Hugging Face hub")
    folder = tiny_onnx(tmp_path / "my model")
    assert resolve(str(folder)).source == str(folder)
    assert resolve(str(folder)).is_folder and not resolve("dino").is_folder


def test_a_relative_folder_is_remembered_as_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_onnx(tmp_path / "org" / "model")
    monkeypatch.chdir(tmp_path)
    assert resolve("org/model").name == str(tmp_path / "org" / "model"), "a folder that holds a model beats a hub id of the same name"


@pytest.mark.parametrize(
    "name", ["", "dno", "bundled", "/no/such/folder", "./nothing", "a/b/c", "org/na me", "~nobody/x", "x" * 300, "a\0b"]
)
def test_an_unknown_model_names_the_rows(name: str) -> None:
    known = ", ".join(row.name for row in MODELS)
    with pytest.raises(errors.UnknownModelError, match=known + r", a Hugging Face id \(org/name\) or a folder"):
        resolve(name)


def test_an_unknown_runtime_and_torch_for_mini_are_wrong_usage() -> None:
    with pytest.raises(errors.UsageError, match="Use one of onnx, openvino, torch"):
        load_model("mini", runtime="cuda")
    with pytest.raises(errors.UsageError, match="does not run on torch"):
        load_model("mini", runtime="torch")


@pytest.mark.parametrize("runtime", [None, "openvino"])
@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_contract(row: ModelRow, runtime: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What every embedder must do; a row whose files are not on this machine is skipped, saying so."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", HF_HUB_CACHE)
    if not models.is_available(row):
        pytest.skip(f"{row.name} is not on this machine")
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="needs the openvino extra")
    embedder = load_model(row.name, runtime=runtime, download=False)
    print_ = embedder.fingerprint
    assert isinstance(embedder, Embedder)
    assert (print_.name, print_.source, print_.revision) == (row.name, row.source, row.revision)
    assert row.dim in (None, print_.dim)
    assert len(print_.weights_sha256) == 64
    assert Fingerprint.from_json(print_.to_json()) == print_
    pictures = canonical_pictures(print_.preprocess)
    vectors = embedder.embed(pictures)
    assert vectors.shape == (8, print_.dim) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors @ vectors.T)[~np.eye(8, dtype=bool)].max() < 0.999, "eight pictures, eight vectors"
    np.testing.assert_array_equal(embedder.embed(pictures[5:2:-2]), vectors[5:2:-2])
    assert embedder.embed(pictures[:0]).shape == (0, print_.dim)
    with pytest.raises(ValueError, match="pixels must be uint8"):
        embedder.embed(pictures[:, 1:])
    with pytest.raises(ValueError, match="pixels must be uint8"):
        embedder.embed(pictures.astype(np.float32))  # type: ignore[arg-type]
    embedder.close()


# --- mini --------------------------------------------------------------------------------------------------------------------


def test_mini_gives_the_vectors_that_were_recorded_with_it(mini: Embedder) -> None:
    check_same_vectors(mini, np.load(Path(__file__).parent / "mini_canonical.npy"))


def test_mini_s_row_tells_the_truth_about_its_file() -> None:
    row = resolve("mini")
    content = (MINI / "mini.onnx").read_bytes()
    assert row.sha256 == hashlib.sha256(content).hexdigest()
    assert row.megabytes == pytest.approx(len(content) / 1e6, abs=0.05)


# On openvino the quick sibling is test_models_openvino.test_its_bits_are_the_same_in_every_process_and_batch.
@pytest.mark.parametrize("runtime", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_mini_s_bits_depend_on_the_pixels_alone(runtime: str) -> None:
    """Not on threads, batch, place in the batch, other callers, or the process."""
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="needs the openvino extra")
    mini = load_model("mini", runtime=runtime)
    recipe = mini.fingerprint.preprocess
    pictures = np.concatenate(
        [canonical_pictures(recipe), np.random.default_rng(0).integers(0, 256, (9, *recipe.output_size, 3), np.uint8)]
    )
    alone = np.concatenate([mini.embed(p[None]) for p in pictures])
    for threads in (1, 2, 5):
        other = load_model("mini", runtime=runtime, threads=threads)
        np.testing.assert_array_equal(other.embed(pictures), alone)
        np.testing.assert_array_equal(other.embed(pictures[::-1])[::-1], alone)
        other.close()
    with ThreadPoolExecutor(3) as callers:
        for found in callers.map(mini.embed, [pictures] * 3):
            np.testing.assert_array_equal(found, alone)
    code = (
        "import sys; from image_search.models import *; e = load_model('mini', runtime=sys.argv[2], threads=int(sys.argv[1]));"
        "sys.stdout.buffer.write(e.embed(canonical_pictures(e.fingerprint.preprocess)).tobytes())"
    )
    there = subprocess.run([sys.executable, "-c", code, "1", runtime], capture_output=True, check=True).stdout
    assert there == alone[:8].tobytes()


def test_close_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    embedder = load_model("mini", threads=3)
    embedder.embed(canonical_pictures(embedder.fingerprint.preprocess))
    assert set(threading.enumerate()) - before
    embedder.close()
    assert not set(threading.enumerate()) - before


def test_mini_with_a_flipped_byte_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the byte is a weight, and the file would load and find nonsense."""
    content = bytearray((MINI / "mini.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "mini.onnx").write_bytes(content)
    onnx_runtime.open_session(OnnxFile(bytes(content)), tmp_path)  # it does load: only the hash tells
    monkeypatch.setattr(find, "HERE", tmp_path)
    with pytest.raises(errors.ModelDamagedError, match=r"damaged .*mini\.onnx\. Install this package again"):
        load_model("mini")


# --- canonical pictures and the proof of sameness ------------------------------------------------------------------------------


def test_canonical_pictures_are_the_same_bytes_everywhere() -> None:
    found = {
        size: hashlib.sha256(canonical_pictures(Preprocess(size=size)).tobytes()).hexdigest()[:16]
        for size in ((96, 96), (224, 224), (5, 7))
    }
    assert found == {(96, 96): "82ca675cd8816f01", (224, 224): "b9ad008c0234b3f5", (5, 7): "9dee1842db3303fa"}


class Turned:
    """An embedder whose vectors are turned by a little: what another runtime may do, or another model."""

    def __init__(self, inner: Embedder, cosine: float) -> None:
        self.inner, self.cosine, self.fingerprint, self.runtime = inner, cosine, inner.fingerprint, "onnx (test)"

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        found = self.inner.embed(pixels)
        aside = np.zeros_like(found[-1])
        aside[0] = 1
        aside -= aside @ found[-1] * found[-1]
        aside /= np.linalg.norm(aside)
        found[-1] = self.cosine * found[-1] + np.sqrt(1 - self.cosine**2) * aside  # one of eight is enough
        return found

    def close(self) -> None: ...


def test_another_runtime_must_give_the_same_vectors(mini: Embedder) -> None:
    expected = mini.embed(canonical_pictures(mini.fingerprint.preprocess))
    check_same_vectors(Turned(mini, 0.99995), expected)
    for cosine in (0.9998, float("nan")):
        with pytest.raises(errors.ModelMismatchError, match="other vectors than it should"):
            check_same_vectors(Turned(mini, cosine), expected)
    with pytest.raises(errors.ModelMismatchError, match="not 7"):
        check_same_vectors(mini, np.zeros((8, 7), np.float32))


# --- recipes -----------------------------------------------------------------------------------------------------------------


def test_recipes_in_old_and_new_spelling() -> None:
    imagenet = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    assert read_recipe(DINO_PREPROCESSOR, path="p") == Preprocess(size=(224, 224), resample="bilinear", **imagenet)
    assert read_recipe(DINOV2_PREPROCESSOR, path="p") == Preprocess(
        size=None, shortest_edge=256, crop=(224, 224), resample="bicubic", **imagenet
    )
    old_bit = {"image_processor_type": "BitImageProcessor", "size": 256, "crop_size": 224}
    assert read_recipe(old_bit, path="p").shortest_edge == 256
    nothing = read_recipe({}, path="p", model_type="vit")
    assert (nothing.size, nothing.mean, nothing.resample) == ((224, 224), (0.5, 0.5, 0.5), "bilinear")
    assert read_recipe({}, path="p", model_type="dinov2").crop == (224, 224)
    bare = read_recipe(DINO_PREPROCESSOR | {"do_rescale": False, "do_normalize": False}, path="p")
    assert (bare.rescale, bare.mean, bare.std) == (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert number_table(bare)[1].tolist() == list(range(256))
    cut = read_recipe(DINO_PREPROCESSOR | {"do_center_crop": True, "crop_size": {"height": 192, "width": 160}}, path="p")
    assert cut.output_size == (192, 160)


@pytest.mark.parametrize(
    "change",
    [
        {"feature_extractor_type": "FlavaFeatureExtractor"},
        {"do_resize": False},
        {"size": {"longest_edge": 224}},
        {"size": {"shortest_edge": 224}},
        {"size": -3},
        {"size": 100_000},
        {"size": True},
        {"resample": 5},
        {"image_mean": [0.5]},
        {"image_std": 0},
        {"rescale_factor": "x"},
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_followed_is_refused_with_its_file(change: dict[str, object]) -> None:
    with pytest.raises(errors.ModelError, match=r"some/preprocessor_config\.json"):
        read_recipe(DINO_PREPROCESSOR | change, path="some/preprocessor_config.json")


# --- local folders -----------------------------------------------------------------------------------------------------------


def test_a_folder_with_an_onnx_file_and_bad_rows(tmp_path: Path) -> None:
    """A picture for which the model gives infinity is all NaN; its neighbours keep their bits."""
    embedder = load_model(str(tiny_onnx(tmp_path / "m")), threads=2)
    assert (embedder.fingerprint.dim, embedder.fingerprint.output) == (3, "embedding")
    assert embedder.fingerprint.weights_sha256 == hashlib.sha256((tmp_path / "m" / "model.onnx").read_bytes()).hexdigest()
    pictures = np.random.default_rng(1).integers(1, 255, (5, 8, 8, 3), np.uint8)
    whole = embedder.embed(pictures)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    pictures[[1, 3]] = 0
    found = embedder.embed(pictures)
    assert np.isnan(found[[1, 3]]).all()
    np.testing.assert_array_equal(found[[0, 2, 4]], whole[[0, 2, 4]])


@pytest.mark.parametrize("location", ["model.onnx_data", "model.onnx.data"])
def test_weights_kept_beside_the_onnx_file_are_loaded_and_hashed(tmp_path: Path, location: str) -> None:
    folder = onnx_in_two_files(tmp_path / "m", location)
    before = load_model(str(folder)).fingerprint
    assert before.dim == 64
    data = bytearray((folder / location).read_bytes())
    data[3] ^= 1
    (folder / location).write_bytes(data)
    assert load_model(str(folder)).fingerprint.weights_sha256 != before.weights_sha256
    (folder / location).unlink()
    with pytest.raises(errors.ModelDamagedError, match=r"does not load: .*model\.onnx"):
        load_model(str(folder))


def test_an_onnx_file_is_read_once_and_hashed_whole(tmp_path: Path) -> None:
    path = MINI / "mini.onnx"
    read = read_onnx((path,))
    assert read.digests == (resolve("mini").sha256,)
    taken = sum(array.nbytes for array in read.arrays.values())
    assert taken > 0.9 * path.stat().st_size and len(read.content) + taken == pytest.approx(path.stat().st_size, rel=0.01)
    assert all(array.ctypes.data % 16 == 0 for array in read.arrays.values()), "else ONNX Runtime copies it once more"
    whole = onnx.load(path)
    for tensor in whole.graph.initializer:
        if tensor.name in read.arrays:
            np.testing.assert_array_equal(read.arrays[tensor.name], onnx.numpy_helper.to_array(tensor))


def test_an_onnx_file_of_any_build_is_read_and_the_runtime_judges(tmp_path: Path) -> None:
    """Cut anywhere, with any byte changed: never an exception, never a wrong hash."""
    weights = onnx.numpy_helper.from_array(np.ones((3, 120), np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", side]) for name, side in (("x", 3), ("y", 120))]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
    content = helper.make_model(graph).SerializeToString()
    file, draw = tmp_path / "m.onnx", np.random.default_rng(0)
    spoiled = [content[:cut] for cut in range(0, len(content), 7)]
    for place in [*range(60), *draw.integers(60, len(content), 60)]:
        spoiled.append(content[:place] + bytes([draw.integers(256)]) + content[place + 1 :])
    for some in (content, *spoiled):
        file.write_bytes(some)
        read = read_onnx((file,))
        assert read.digests == (hashlib.sha256(some).hexdigest(),)
    with pytest.raises(errors.ModelMissingError, match="cannot be read"):
        read_onnx((tmp_path / "none.onnx",))


@pytest.mark.parametrize("named", ["../secret", "other.bin", "{absolute}", "sub/../../secret", "model.onnx_data.bak"])
@pytest.mark.parametrize("has_data", [True, False])
def test_an_onnx_file_reads_nothing_but_what_was_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, has_data: bool
) -> None:
    """Neither outside its folder nor in it, nor in the current one: what is not in the fingerprint must not be in the vectors."""
    folder = onnx_in_two_files(tmp_path / "m", named=named.format(absolute=tmp_path / "secret"))
    (folder / "sub").mkdir()
    data = (folder / "model.onnx_data").read_bytes()
    for place in (tmp_path / "secret", folder / "other.bin", folder / "model.onnx_data.bak"):
        place.write_bytes(data)
    if not has_data:
        (folder / "model.onnx_data").unlink()
    monkeypatch.chdir(folder)
    with pytest.raises(errors.ModelDamagedError, match="does not load"):
        load_model(str(folder))


def test_a_folder_whose_name_is_no_unicode(tmp_path: Path) -> None:
    try:
        folder = tiny_onnx(tmp_path / "m").rename(tmp_path / "m\udcff")
    except OSError:
        pytest.skip("this file system has no such names")
    assert load_model(str(folder)).fingerprint.dim == 3


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "name"])
def test_a_damaged_onnx_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    file = tiny_onnx(tmp_path / "m") / "model.onnx"
    content = file.read_bytes()
    file.write_bytes(
        {
            "empty": b"",
            "cut": content[: len(content) // 2],
            "noise": bytes(range(256)) * 9,
            "name": content.replace(b"embedding", b"embeddin\xff"),
        }[damage]
    )
    with pytest.raises(errors.ModelDamagedError, match=r"does not load: .*model\.onnx"):
        load_model(str(tmp_path / "m"))
    assert capsys.readouterr().out == ""  # results go there; ONNX Runtime would print its own fallback


def test_a_model_that_loads_and_does_not_run_is_named(tmp_path: Path) -> None:
    file = tiny_onnx(tmp_path / "m") / "model.onnx"
    model = onnx.load(file)
    model.graph.node[0].op_type = "Reshape"  # to a shape that no picture has
    del model.graph.node[0].attribute[:]
    model.graph.node[0].input.append("shape")
    model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [2], [5, 3]))
    onnx.save(model, file)
    with pytest.raises(errors.ModelDamagedError, match=r"does not run: .*model\.onnx"):
        load_model(str(tmp_path / "m")).embed(np.zeros((2, 8, 8, 3), np.uint8))


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    folder = tiny_onnx(tmp_path / "m", config={"model_type": "resnet"})
    with pytest.raises(errors.ModelError, match=r"the architecture resnet is not supported \(only vit, dinov2"):
        load_model(str(folder))


@pytest.mark.parametrize(("file", "content"), [("config.json", "{"), ("config.json", "[]"), ("preprocessor_config.json", "\x00")])
def test_a_damaged_configuration_is_named(tmp_path: Path, file: str, content: str) -> None:
    folder = tiny_onnx(tmp_path / "m", config={"model_type": "vit"})
    (folder / file).write_text(content)
    with pytest.raises(errors.ModelDamagedError, match=rf"configuration .*{file}"):
        load_model(str(folder))


def test_a_folder_that_does_not_fit_says_why(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelError, match="takes pictures of"):
        load_model(str(tiny_onnx(tmp_path / "size", preprocessor=DINO_PREPROCESSOR)))
    (tiny_onnx(tmp_path / "recipe") / "preprocessor_config.json").unlink()
    with pytest.raises(errors.ModelError, match=r"no preprocessor_config\.json"):
        load_model(str(tmp_path / "recipe"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.ModelError, match="holds no weights"):
        load_model(str(tmp_path / "empty"))
    with pytest.raises(errors.ModelMissingError, match="no weights for the runtime torch"):
        load_model(str(tiny_onnx(tmp_path / "onnx only")), runtime="torch")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "vit"}')
    (folder / "preprocessor_config.json").write_text(json.dumps(DINO_PREPROCESSOR))
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    for runtime in (None, "torch"):
        with pytest.raises(errors.ModelError, match="only as a pickle"):
            load_model(str(folder), runtime=runtime)


def test_weights_in_several_files_are_taken_only_whole() -> None:
    parts = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    index = "model.safetensors.index.json"
    assert choose_weights([*parts, index, "config.json"], "torch") == parts
    for some in ([*parts[:2], index], parts, [index], [*parts, "model-00001-of-00002.safetensors", index]):
        assert choose_weights(some, "torch") == []
