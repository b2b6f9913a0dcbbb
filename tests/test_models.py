"""The model table, the built-in model, recipes, damage and the hub. What needs torch is in test_models_parity.py."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkpoints import COMMIT, DINO_PREPROCESSOR, DINOV2_PREPROCESSOR, put_in_cache
from onnx import TensorProto, helper

from image_search import errors, models
from image_search.models import MODELS, ModelRow, canonical_pictures, check_same_model, check_same_vectors, load_model, resolve
from image_search.models import onnx as onnx_runtime
from image_search.models.recipe import read_recipe
from image_search.models.vectors import number_table
from image_search.types import Embedder, Fingerprint, Preprocess

MINI = Path(models.__file__).parent / "mini"


@pytest.fixture(scope="module")
def mini() -> Embedder:
    return load_model("mini")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache in place of the user's."""
    import huggingface_hub

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every attempt to reach another machine fails, and is noted here."""
    attempts: list[object] = []

    def refuse(*args: object, **_: object) -> None:
        attempts.append(args)
        raise OSError("network is unreachable")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    return attempts


def tiny_onnx(folder: Path, *, preprocessor: dict[str, object] | None = None, config: dict[str, object] | None = None) -> Path:
    """A folder with an ONNX "model" of 8 x 8 pictures: mean red, green, blue, of which it takes the logarithm."""
    node = [
        helper.make_node("ReduceMean", ["pixel_values"], ["mean"], axes=[2, 3], keepdims=0),  # (N, 3)
        helper.make_node("Log", ["mean"], ["embedding"]),  # black: -inf
    ]
    graph = helper.make_graph(
        node,
        "tiny",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3])],
    )
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    recipe = DINO_PREPROCESSOR | {"size": 8, "do_normalize": False} if preprocessor is None else preprocessor
    (folder / "preprocessor_config.json").write_text(json.dumps(recipe))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


# --- the table ---------------------------------------------------------------------------------------------------------------


def test_importing_the_table_imports_no_runtime() -> None:
    heavy = {"onnxruntime", "torch", "transformers", "huggingface_hub"}
    code = f"import sys, image_search.models; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_rows_are_told_apart_and_complete() -> None:
    assert [row.name for row in MODELS] == ["mini", "dino", "dinov2-s", "vit-in21k"]
    for row in MODELS:
        assert row.licence and row.megabytes and row.about
        assert (row.onnx_repo is None) or row.onnx_file


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


@pytest.mark.parametrize("name", ["", "dno", "bundled", "/no/such/folder", "./nothing", "a/b/c", "org/na me"])
def test_an_unknown_model_names_the_rows(name: str) -> None:
    with pytest.raises(errors.UnknownModelError, match=r"mini, dino, dinov2-s, vit-in21k, a Hugging Face id \(org/name\) or a folder"):
        resolve(name)


def test_an_unknown_runtime_and_torch_for_mini_are_wrong_usage() -> None:
    with pytest.raises(errors.UsageError, match="Use onnx or torch"):
        load_model("mini", runtime="cuda")
    with pytest.raises(errors.UsageError, match="onnx only"):
        load_model("mini", runtime="torch")


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_contract(row: ModelRow) -> None:
    """What every embedder must do; a row whose files are not on this machine is skipped, saying so."""
    if not models.is_available(row):
        pytest.skip(f"{row.name} is not on this machine")
    embedder = load_model(row.name, download=False)
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
    check_same_vectors(mini, np.load(MINI / "canonical.npy"))


def test_mini_s_row_tells_the_truth_about_its_file() -> None:
    row = resolve("mini")
    content = (MINI / "mini.onnx").read_bytes()
    assert row.sha256 == hashlib.sha256(content).hexdigest()
    assert row.megabytes == pytest.approx(len(content) / 1e6, abs=0.05)


def test_mini_s_bits_depend_on_the_pixels_alone(mini: Embedder) -> None:
    """Not on threads, batch, place in the batch, other callers, or the process."""
    recipe = mini.fingerprint.preprocess
    pictures = np.concatenate(
        [canonical_pictures(recipe), np.random.default_rng(0).integers(0, 256, (9, *recipe.output_size, 3), np.uint8)]
    )
    alone = np.concatenate([mini.embed(p[None]) for p in pictures])
    for threads in (1, 2, 5):
        other = load_model("mini", threads=threads)
        np.testing.assert_array_equal(other.embed(pictures), alone)
        np.testing.assert_array_equal(other.embed(pictures[::-1])[::-1], alone)
        other.close()
    with ThreadPoolExecutor(3) as callers:
        for found in callers.map(mini.embed, [pictures] * 3):
            np.testing.assert_array_equal(found, alone)
    code = (
        "import sys; from image_search.models import *; e = load_model('mini', threads=int(sys.argv[1]));"
        "sys.stdout.buffer.write(e.embed(canonical_pictures(e.fingerprint.preprocess)).tobytes())"
    )
    for threads in (1, 2):
        there = subprocess.run([sys.executable, "-c", code, str(threads)], capture_output=True, check=True).stdout
        assert there == alone[:8].tobytes()


def test_close_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    embedder = load_model("mini", threads=3)
    embedder.embed(canonical_pictures(embedder.fingerprint.preprocess))
    assert threading.active_count() > before
    embedder.close()
    assert threading.active_count() == before


def test_mini_with_a_flipped_byte_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the byte is a weight, and the file would load and find nonsense."""
    content = bytearray((MINI / "mini.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "mini.onnx").write_bytes(content)
    onnx_runtime.open_session(bytes(content), tmp_path)  # it does load: only the hash tells
    monkeypatch.setattr(models, "__file__", str(tmp_path / "__init__.py"))
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

    def __init__(self, inner: Embedder, cosine: float, **changes: object) -> None:
        from dataclasses import replace

        self.inner, self.cosine, self.fingerprint, self.runtime = inner, cosine, replace(inner.fingerprint, **changes), "onnx (test)"  # type: ignore[arg-type]

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


def test_only_the_library_s_model_may_enter_it(mini: Embedder) -> None:
    canonical = mini.embed(canonical_pictures(mini.fingerprint.preprocess))
    library = mini.fingerprint
    check_same_model(mini, library, canonical)
    check_same_model(Turned(mini, 0.99995, weights_sha256="other file"), library, canonical)
    with pytest.raises(errors.ModelMismatchError, match="other vectors"):
        check_same_model(Turned(mini, 0.9, weights_sha256="other file"), library, canonical)
    with pytest.raises(errors.ModelMismatchError, match=r"made with the model mini, not dino.*--model dino --library OTHER"):
        check_same_model(Turned(mini, 1, name="dino", source="facebook/dino-vits16", weights_sha256="x"), library, canonical)
    with pytest.raises(errors.ModelMismatchError, match="another version of the model mini"):
        check_same_model(Turned(mini, 1, preprocess=Preprocess(size=(96, 96), resample="bicubic")), library, canonical)


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
        {"feature_extractor_type": "CLIPFeatureExtractor"},
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


def test_weights_kept_beside_the_onnx_file_are_loaded_and_hashed(tmp_path: Path) -> None:
    folder = tiny_onnx(tmp_path / "m")
    weights = helper.make_tensor(
        "w", TensorProto.FLOAT, [3, 64], np.random.default_rng(0).normal(size=192).astype(np.float32).tobytes(), raw=True
    )
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["mean", "w"], ["embedding"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 64])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    before = load_model(str(folder)).fingerprint
    assert before.dim == 64
    data = bytearray((folder / "model.onnx.data").read_bytes())
    data[3] ^= 1
    (folder / "model.onnx.data").write_bytes(data)
    assert load_model(str(folder)).fingerprint.weights_sha256 != before.weights_sha256
    (folder / "model.onnx.data").unlink()
    with pytest.raises(errors.ModelDamagedError, match=r"does not load: .*model\.onnx"):
        load_model(str(folder))


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


# --- the hub -----------------------------------------------------------------------------------------------------------------


def test_auto_is_mini_until_dino_is_here_and_asks_nobody(cache: Path, no_network: list[object], tmp_path: Path) -> None:
    name, line = models.choose_auto()
    assert name == "mini" and line is not None and "--model dino" in line and "87 MB" in line
    assert load_model("auto", download=False).fingerprint.name == "mini"
    put_in_cache(cache, "Xenova/dino-vits16", tiny_hub_folder(tmp_path / "src"))
    assert models.choose_auto() == ("dino", None)
    assert models.is_available(resolve("dino")) and not models.is_available(resolve("dinov2-s"))
    assert no_network == []


def tiny_hub_folder(folder: Path) -> Path:
    tiny_onnx(folder, config={"model_type": "vit"})
    (folder / "onnx").mkdir()
    shutil.move(folder / "model.onnx", folder / "onnx" / "model.onnx")
    return folder


def test_half_a_download_is_not_available(cache: Path, tmp_path: Path) -> None:
    folder = tiny_hub_folder(tmp_path / "src")
    snapshot = put_in_cache(cache, "Xenova/dino-vits16", folder)
    (snapshot / "preprocessor_config.json").unlink()
    assert models.choose_auto()[0] == "mini"


def test_a_cached_model_loads_without_network_and_a_flipped_byte_in_it_is_found(
    cache: Path, no_network: list[object], tmp_path: Path
) -> None:
    snapshot = put_in_cache(cache, "some/model", tiny_hub_folder(tmp_path / "src"))
    embedder = load_model("some/model")
    assert embedder.fingerprint.source == "some/model" and embedder.fingerprint.revision == "main"
    assert no_network == []
    blob = (snapshot / "onnx" / "model.onnx").resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(errors.ModelDamagedError, match=blob.name):
        load_model("some/model")


@pytest.mark.parametrize("name", ["dino", "vit-in21k", "some/model"])
def test_nothing_is_fetched_unless_asked(cache: Path, no_network: list[object], name: str) -> None:
    with pytest.raises(errors.ModelMissingError, match=f"{name} is not on this machine. Fetch it.*--model {name}"):
        load_model(name, download=False)
    assert no_network == []


def test_no_network_and_hf_hub_offline_are_one_line_each(cache: Path, no_network: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.ModelMissingError, match=r"could not be fetched \(.*--model mini") as caught:
        load_model("dino")
    assert "\n" not in str(caught.value) and caught.value.__cause__ is not None
    assert no_network, "it was asked for, so it was tried"
    no_network.clear()
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(errors.ModelMissingError, match="HF_HUB_OFFLINE"):
        load_model("dino")
    assert no_network == []


HUB = '''
"""A hub of one repository on the loopback; argv: the repository's files as JSON, what to load."""
import hashlib, http.server, json, os, sys, threading, tempfile
files = {name: text.encode("latin-1") for name, text in json.loads(sys.argv[1]).items()}
asked = []

class Hub(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer()

    def answer(self, head=False):
        asked.append(self.path)
        if self.path.startswith("/api/models/some/model"):
            body = json.dumps({"id": "some/model", "sha": "COMMIT", "siblings": [{"rfilename": n} for n in files]}).encode()
            if "/tree/" in self.path:
                body = json.dumps([{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in files.items()]).encode()
            return self.send(200, body, {})
        if self.path.startswith("/some/model/resolve/"):
            name = self.path.split("/", 5)[5]
            if name in files:
                tag = hashlib.sha256(files[name]).hexdigest()
                return self.send(200, b"" if head else files[name], {"ETag": f'"{tag}"', "X-Repo-Commit": "COMMIT"}, len(files[name]))
        code = "GatedRepo" if "gated" in self.path else "RepoNotFound"
        self.send(403 if code == "GatedRepo" else 404, b"", {"X-Error-Code": code})

    def send(self, status, body, headers, length=None):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": tempfile.mkdtemp(), "HF_HUB_DISABLE_TELEMETRY": "1"}
os.environ.pop("HF_HUB_OFFLINE", None)
from image_search.errors import ImageSearchError
from image_search.models import load_model
for _ in range(2):
    del asked[:]
    try:
        print(load_model(sys.argv[2]).fingerprint.to_json())
    except ImageSearchError as error:
        print(type(error).__name__, error)
    print(len([path for path in asked if "/resolve/" in path]), len(asked))
server.shutdown()
'''


def from_a_hub(files: dict[str, bytes], name: str = "some/model") -> list[str]:
    """What loading prints, twice, each time followed by the numbers of file and other requests: from a hub that we run ourselves."""
    texts = json.dumps({path: content.decode("latin-1") for path, content in files.items()})
    code = HUB.replace("COMMIT", COMMIT)
    return subprocess.run(
        [sys.executable, "-c", code, texts, name], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()


def test_a_model_is_fetched_once_and_only_what_it_needs(tmp_path: Path) -> None:
    folder = tiny_hub_folder(tmp_path / "src")
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    first, requests, second, again = from_a_hub(files | {"onnx/model_fp16.onnx": b"not asked for", "README.md": b"nor this"})
    assert json.loads(first)["weights_sha256"] == hashlib.sha256(files["onnx/model.onnx"]).hexdigest()
    assert int(requests.split()[0]) in (3, 6), "three files: a GET each, perhaps a HEAD before"
    assert second == first and again == "0 0", "the second time nobody is asked"


def test_a_hub_that_has_nothing_for_us() -> None:
    said = from_a_hub({"config.json": b'{"model_type": "vit"}', "preprocessor_config.json": b"{}", "pytorch_model.bin": b"pickle"})
    assert said[0].startswith("ModelError some/model offers its weights only as a pickle")
    assert said[1].startswith("0 "), "and nothing of it was fetched"
    assert from_a_hub({}, "some/typo")[0].startswith(
        "UnknownModelError there is no model some/typo (revision main) on the Hugging Face hub"
    )
    assert "ccept its licence" in from_a_hub({}, "some/gated")[0]
