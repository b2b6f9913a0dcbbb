"""Our vectors against transformers' own, on checkpoints with random weights that are saved here."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import (
    DINO_PREPROCESSOR,
    DINO_VIT_S16,
    DINOV2_PREPROCESSOR,
    DINOV3_PREPROCESSOR,
    SMALL,
    SMALL_PREPROCESSOR,
    export_onnx,
    put_in_cache,
    save,
    weights_beside,
)
from PIL import Image

from image_search import errors
from image_search.config import LIBRARY_LIMITS
from image_search.images import pixels
from image_search.models import canonical_pictures, check_same_vectors, load_model, recipe
from image_search.models import torch as torch_runtime
from image_search.models.vectors import model_input, number_table
from image_search.types import Embedder, Float32, Preprocess, UInt8

torch = pytest.importorskip("torch", reason="the parity tests compare with transformers: pip install -e '.[test]'")
transformers = pytest.importorskip("transformers")

# 64-pixel pictures keep the small checkpoints quick; DINOv2's positions are then stretched from 80 (as the real ones' from 518 to 224).
SMALL_DINOV2_PREPROCESSOR = DINOV2_PREPROCESSOR | {"size": {"shortest_edge": 73}, "crop_size": {"height": 64, "width": 64}}
SMALL_DINOV2 = {k: v for k, v in SMALL.items() if k != "intermediate_size"} | {"image_size": 80}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints, one folder each."""
    home = tmp_path_factory.mktemp("checkpoints")
    save("ViT", home / "vit", preprocessor=SMALL_PREPROCESSOR, **SMALL)
    save("ViT", home / "soft", preprocessor=SMALL_PREPROCESSOR, spread=0.02, **SMALL)  # bf16 keeps its vectors, and not those of
    save("ViT", home / "wild", preprocessor=SMALL_PREPROCESSOR, spread=0.6, **SMALL | {"num_hidden_layers": 6})
    save("ViT", home / "vit_other", preprocessor=SMALL_PREPROCESSOR, **SMALL | {"num_hidden_layers": 1})
    save("ViT", home / "vit_pooler", preprocessor=SMALL_PREPROCESSOR, pooler=True, **SMALL)
    save("ViT", home / "vit_stretched", preprocessor=DINO_PREPROCESSOR | {"size": 96}, **SMALL)
    save("Dinov2", home / "dinov2", preprocessor=SMALL_DINOV2_PREPROCESSOR, **SMALL_DINOV2)
    save("Dinov2WithRegisters", home / "registers", preprocessor=SMALL_DINOV2_PREPROCESSOR, **SMALL_DINOV2)
    native = {k: v for k, v in SMALL.items() if k != "intermediate_size"}
    save("Dinov2WithRegisters", home / "registers_native", preprocessor=SMALL_PREPROCESSOR, **native)
    dinov3 = DINOV3_PREPROCESSOR | {"size": {"height": 64, "width": 64}}
    save("DINOv3ViT", home / "dinov3", preprocessor=dinov3, num_register_tokens=4, **SMALL)
    save("Dinov2", home / "dinov2_native", preprocessor=SMALL_PREPROCESSOR, **native)
    return home


@pytest.fixture(scope="session")
def exported(saved: Path) -> Path:
    for name, outputs in {
        "vit": ("last_hidden_state",),
        "vit_pooler": ("last_hidden_state", "pooler_output"),
        "dinov2_native": ("last_hidden_state",),
        "registers_native": ("last_hidden_state",),
        "dinov3": ("last_hidden_state", "pooler_output"),  # as the hub's file has them
    }.items():
        export_onnx(saved / name, saved / "onnx" / name, outputs=outputs)
    weights_beside(saved / "onnx" / "dinov3")
    return saved / "onnx"


@pytest.fixture(scope="session")
def dino(saved: Path, exported: Path) -> None:
    """And one of the real size, which costs as much as all the others."""
    save("ViT", saved / "dino", preprocessor=DINO_PREPROCESSOR, **DINO_VIT_S16)
    export_onnx(saved / "dino", exported / "dino", outputs=("last_hidden_state",))


def a_photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft blobs and grain: every frequency, no symmetry."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (7, 9, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    grain = draw.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))


def decoded(image: Image.Image, preprocess: Preprocess) -> UInt8:
    """(H, W, 3) through our decoder, without JPEG's draft mode."""
    file = io.BytesIO()
    image.save(file, "PNG")
    spec = pixels.RenderSpec(preprocess.size, preprocess.shortest_edge, preprocess.crop, preprocess.resample)
    return np.asarray(pixels.render(file.getvalue(), spec, LIBRARY_LIMITS).pixels)


def reference(checkpoint: Path, images: list[Image.Image], output: str = "cls") -> Float32:
    """(N, D) unit length: AutoImageProcessor and the model's class, as its card tells people to use them."""
    model = transformers.AutoModel.from_pretrained(checkpoint).eval()
    extra = {"interpolate_pos_encoding": True} if checkpoint.name == "vit_stretched" else {}
    if checkpoint.name == "dinov3":
        numbers = as_dinov3_sees(images)
    else:
        numbers = transformers.AutoImageProcessor.from_pretrained(checkpoint, backend="pil")(images=images, return_tensors="pt")[
            "pixel_values"
        ]
    with torch.inference_mode():
        out = model(pixel_values=numbers, **extra)
    raw = (out.pooler_output if output == "pooler" else out.last_hidden_state[:, 0]).numpy()
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def as_dinov3_sees(images: list[Image.Image]) -> object:
    """float32 (N, 3, 64, 64), as DINOv3ViTImageProcessor, which needs torchvision: scaled, resized as floats, normalised."""
    mean, std = (torch.tensor(DINOV3_PREPROCESSOR[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
    scaled = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255 for image in images)
    return torch.cat([torch.nn.functional.interpolate(one, (64, 64), mode="bilinear", antialias=True) for one in scaled]).sub(mean).div(std)


def worst_cosine(a: Float32, b: Float32) -> float:
    return float(np.sum(a.astype(np.float64) * b, axis=1).min())


PHOTOS = [a_photo(*size, seed) for seed, size in enumerate([(301, 200), (200, 301), (80, 80), (33, 400), (640, 480)])]


@pytest.mark.parametrize(
    ("name", "runtime", "output"),
    [
        pytest.param("dino", "torch", "cls", marks=pytest.mark.slow),  # vit's way, and larger
        pytest.param("dino", "onnx", "cls", marks=pytest.mark.slow),
        ("vit", "torch", "cls"),
        ("vit", "onnx", "cls"),
        ("vit_pooler", "torch", "pooler"),
        ("vit_pooler", "onnx", "pooler"),
        ("vit_stretched", "torch", "cls"),
        ("dinov2", "torch", "cls"),
        ("dinov2_native", "onnx", "cls"),
        ("registers", "torch", "cls"),
        ("registers_native", "onnx", "cls"),
        ("dinov3", "torch", "cls"),
        ("dinov3", "onnx", "cls"),
    ],
)
def test_the_whole_way_from_a_picture_equals_transformers(
    request: pytest.FixtureRequest, saved: Path, exported: Path, name: str, runtime: str, output: str
) -> None:
    if name == "dino":
        request.getfixturevalue("dino")
    embedder = load_model(str((exported if runtime == "onnx" else saved) / name))
    assert embedder.runtime.startswith(runtime) and embedder.fingerprint.output == output
    recipe_ = embedder.fingerprint.preprocess
    photos = PHOTOS[:3] if name == "dino" else PHOTOS  # the real size takes .2 s a picture
    found = embedder.embed(np.stack([decoded(photo, recipe_) for photo in photos]))
    expected = reference(saved / name, photos, output)
    assert worst_cosine(expected, np.roll(expected, 1, axis=0)) < 0.99, "different pictures must differ, or the next line proves nothing"
    # DINOv3's numbers are resized as floats, ours as bytes: half a grey level. The same numbers are the next test's.
    assert worst_cosine(found, expected) >= (0.9999 if name == "dinov3" else 0.999999 if runtime == "torch" else 0.99999)


def test_registers_and_dinov3_give_the_class_token(saved: Path, exported: Path) -> None:
    """The registers stand right behind it; the ONNX export is told apart from its patches by place alone."""
    for name in ("registers", "dinov3"):
        embedder = load_model(str(saved / name))
        pictures = canonical_pictures(embedder.fingerprint.preprocess)
        numbers = np.stack([model_input(p, number_table(embedder.fingerprint.preprocess)) for p in pictures])
        model = transformers.AutoModel.from_pretrained(saved / name).eval()
        with torch.inference_mode():
            tokens = model(torch.from_numpy(numbers)).last_hidden_state[:, :6].numpy()
        tokens = tokens / np.linalg.norm(tokens, axis=2, keepdims=True)
        found = embedder.embed(pictures)
        assert worst_cosine(found, tokens[:, 0]) >= 0.999999
        assert max(worst_cosine(found, tokens[:, i]) for i in range(1, 6)) < 0.99
    for name in ("registers_native", "dinov3"):
        by_torch, by_onnx = load_model(str(saved / name)), load_model(str(exported / name))
        pictures = canonical_pictures(by_onnx.fingerprint.preprocess)
        assert worst_cosine(by_onnx.embed(pictures), by_torch.embed(pictures)) >= 0.99999


@pytest.mark.parametrize("settings", [DINO_PREPROCESSOR, DINOV2_PREPROCESSOR, SMALL_DINOV2_PREPROCESSOR], ids=["dino", "dinov2", "small"])
def test_the_numbers_a_model_sees_equal_the_image_processor_s(tmp_path: Path, settings: dict[str, object]) -> None:
    """Exactly: not one number in 150,000 may differ."""
    check_numbers(tmp_path, settings)


@pytest.mark.parametrize(
    "change",
    [
        {"resample": 0},
        {"resample": 1, "rescale_factor": 1 / 127.5},
        {"do_rescale": False},
        {"do_normalize": False},
        {"size": {"height": 48, "width": 96}},
        {"do_center_crop": True, "crop_size": 180},
        {"do_center_crop": True, "crop_size": 231},
        {"feature_extractor_type": None, "image_processor_type": "ViTImageProcessor", "image_mean": None, "image_std": None},
        {"feature_extractor_type": "BitImageProcessor", "do_center_crop": None, "crop_size": None, "size": 50},
    ],
    ids=str,
)
def test_the_switches_of_a_recipe_mean_what_they_mean_to_transformers(tmp_path: Path, change: dict[str, object]) -> None:
    check_numbers(tmp_path, {key: value for key, value in (DINO_PREPROCESSOR | change).items() if value is not None})


def check_numbers(folder: Path, settings: dict[str, object]) -> None:
    (folder / "config.json").write_text('{"model_type": "vit"}')
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    ours = recipe.read_recipe(settings, path="p", model_type="vit")
    for photo in PHOTOS:
        expected = processor(images=photo, return_tensors="np")["pixel_values"][0]
        np.testing.assert_array_equal(model_input(decoded(photo, ours), number_table(ours)), expected)


@pytest.mark.slow
@pytest.mark.usefixtures("dino")
def test_bits_are_the_same_in_every_process_and_batch(saved: Path, exported: Path) -> None:
    """The original's pooler_output had a cosine of .04 between two processes. One process for each runtime: torch takes 5 s to import."""
    code = (
        "import sys; from image_search.models import *; e = load_model(sys.argv[1]);"
        "sys.stdout.buffer.write(e.embed(canonical_pictures(e.fingerprint.preprocess)[:3]).tobytes())"
    )
    for folder in (saved / "dino", exported / "dino"):
        embedder = load_model(str(folder))
        pictures = canonical_pictures(embedder.fingerprint.preprocess)[:3]
        here = embedder.embed(pictures)
        there = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, check=True)
        assert there.stdout == here.tobytes()
        assert there.stderr == b"", "neither a load report nor a progress bar"
        np.testing.assert_array_equal(embedder.embed(pictures[:0:-1]), here[:0:-1])


def on_a_device(checkpoint: Path, **options: object) -> torch_runtime.TorchEmbedder:
    """As on an accelerator, on the CPU: batches of one size, pixels looked up there, bfloat16 by autocast. The streams are not tried."""
    plain = load_model(str(checkpoint), runtime="torch")
    model = transformers.AutoModel.from_pretrained(checkpoint).eval()
    return torch_runtime.TorchEmbedder(model, "cpu", plain.fingerprint, {"interpolate_pos_encoding": False}, **options)


@pytest.mark.parametrize("bf16", [False, True])
def test_batches_of_one_size_keep_neighbours_apart(saved: Path, bf16: bool) -> None:
    embedder = on_a_device(saved / "soft", batch=4, bf16=bf16)
    pictures = canonical_pictures(embedder.fingerprint.preprocess)
    pictures = np.concatenate([pictures, pictures[:2, ::-1]])  # 10: two full batches and a half
    found = embedder.embed(pictures)
    assert found.shape == (10, 48) and len(embedder._lanes) == 1
    for first in range(0, 10, 4):
        for count in (1, 2, 3):  # its places filled with black instead
            np.testing.assert_array_equal(embedder.embed(pictures[first : first + count]), found[first : first + count])
    others = pictures.copy()
    others[1::2] = 255 - others[1::2]
    again = embedder.embed(others)
    np.testing.assert_array_equal(again[::2], found[::2])
    assert (again[1::2] != found[1::2]).any(axis=1).all()
    exact = load_model(str(saved / "soft"), runtime="torch").embed(pictures)
    assert worst_cosine(found, exact) >= (0.9999 if bf16 else 0.999999)
    assert (found != exact).any() or not bf16, "bfloat16 was not used"
    assert embedder.embed(pictures[:0]).shape == (0, 48)


def test_the_numbers_looked_up_on_the_device_are_the_processor_s(saved: Path) -> None:
    embedder = on_a_device(saved / "vit", batch=2)
    recipe_ = embedder.fingerprint.preprocess
    pictures = np.random.default_rng(0).integers(0, 256, (2, *recipe_.output_size, 3), np.uint8)
    numbers = torch_runtime._Lane(embedder, 2).numbers(pictures).numpy()
    np.testing.assert_array_equal(numbers, np.stack([model_input(p, number_table(recipe_)) for p in pictures]))


def test_bf16_is_used_only_where_the_vectors_stay(saved: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch_runtime, "_has_bf16", lambda device: True)
    quick = load_model(str(saved / "soft"), runtime="torch")
    assert quick.runtime == "torch (cpu, bf16)" and caplog.text == ""
    plain = load_model(str(saved / "wild"), runtime="torch")
    assert plain.runtime == "torch (cpu)" and "runs in full precision" in caplog.text
    plain.embed(canonical_pictures(plain.fingerprint.preprocess))  # the refused one was closed, the model is still there
    assert plain._model.config._attn_implementation == "sdpa"  # type: ignore[attr-defined]


def test_dino_from_the_cache_on_both_runtimes_is_one_model(
    saved: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library made on ONNX is searched on torch: another file, the same vectors, proved on the canonical pictures."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    put_in_cache(tmp_path, "facebook/dino-vits16", saved / "vit")
    assert load_model("dino", download=False).runtime.startswith("torch"), "what the original left in the cache is enough"
    put_in_cache(tmp_path, "Xenova/dino-vits16", exported / "vit")
    by_onnx, by_torch = load_model("dino", download=False), load_model("dino", runtime="torch", download=False)
    assert (by_onnx.runtime, by_torch.runtime.split()[0]) == ("onnx (cpu)", "torch")
    assert by_onnx.fingerprint.weights_sha256 != by_torch.fingerprint.weights_sha256
    canonical = by_onnx.embed(canonical_pictures(by_onnx.fingerprint.preprocess))
    check_same_vectors(by_torch, canonical)
    shutil.rmtree(tmp_path / "models--facebook--dino-vits16")
    put_in_cache(tmp_path, "facebook/dino-vits16", saved / "vit_other")
    with pytest.raises(errors.ModelMismatchError, match="other vectors"):
        check_same_vectors(load_model("dino", runtime="torch", download=False), canonical)


def test_an_untrained_pooler_in_an_onnx_file_is_left_alone(saved: Path, exported: Path, tmp_path: Path) -> None:
    """Exported from a checkpoint without pooler, which lies beside it: the file offers pooler_output, and it is noise."""
    shutil.copytree(saved / "vit", tmp_path / "m")
    shutil.copytree(exported / "vit_pooler" / "onnx", tmp_path / "m" / "onnx")
    assert load_model(str(tmp_path / "m"), runtime="onnx").fingerprint.output == "cls"
    shutil.copy(saved / "vit_pooler" / "model.safetensors", tmp_path / "m" / "model.safetensors")
    assert load_model(str(tmp_path / "m"), runtime="onnx").fingerprint.output == "pooler"


def test_a_classifier_s_checkpoint_gives_its_class_token(saved: Path, tmp_path: Path) -> None:
    """Its tensors are called vit.…, and a head comes along."""
    classifier = transformers.ViTForImageClassification.from_pretrained(saved / "vit")
    classifier.save_pretrained(tmp_path)
    shutil.copy(saved / "vit" / "preprocessor_config.json", tmp_path)
    embedder, plain = load_model(str(tmp_path)), load_model(str(saved / "vit"))
    pictures = canonical_pictures(plain.fingerprint.preprocess)
    np.testing.assert_array_equal(embedder.embed(pictures), plain.embed(pictures))


def test_a_row_of_a_torch_model_without_numbers_is_nan_and_its_neighbours_stay(saved: Path, tmp_path: Path) -> None:
    embedder: Embedder = load_model(str(saved / "vit"))
    pictures = canonical_pictures(embedder.fingerprint.preprocess)
    whole = embedder.embed(pictures)
    table = embedder._table.copy()  # type: ignore[attr-defined]
    table[0, 255] = np.inf  # pictures with full red: 0 (a field of colours), 1 (chessboard), ...
    embedder._table = table  # type: ignore[attr-defined]
    embedder._lanes.clear()  # type: ignore[attr-defined]  # they keep it on the device
    hit = (pictures[..., 0] == 255).any(axis=(1, 2))
    assert 0 < hit.sum() < 8
    found = embedder.embed(pictures)
    assert np.isnan(found[hit]).all()
    np.testing.assert_array_equal(found[~hit], whole[~hit])


@pytest.mark.parametrize("damage", ["cut", "header", "tensor gone", "shape"])
def test_a_damaged_checkpoint_is_named(saved: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "m"
    shutil.copytree(saved / "vit", folder)
    file = folder / "model.safetensors"
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "header":
        file.write_bytes(bytes([content[0] ^ 0xFF]) + content[1:])
    else:
        from safetensors.torch import load_file, save_file

        tensors = load_file(file)
        name = next(n for n in tensors if n.endswith("layernorm.weight"))
        tensor = tensors.pop(name)
        if damage == "shape":
            tensors[name] = torch.cat([tensor, tensor])
        save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(errors.ModelDamagedError) as caught:
        load_model(str(folder))
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_extra_prints_its_pip_line(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(errors.MissingExtraError, match=r'pip install "ai-image-search-engine\[torch\]"'):
        load_model(str(saved / "vit"))
    assert issubclass(errors.MissingExtraError, ImportError)


def test_what_transformers_says_and_shows_is_as_before(saved: Path) -> None:
    logging = transformers.utils.logging
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    load_model(str(saved / "vit"))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.INFO, True)
    logging.set_verbosity_warning()
