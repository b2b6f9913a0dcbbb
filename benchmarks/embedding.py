"""From pixels to vector, and from file to pixels: the rows "model" and "decode"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from image_search.config import LIBRARY_LIMITS, THUMBNAIL_SIDE
from image_search.images.pixels import RenderSpec, render
from image_search.models import load_model
from image_search.models.vectors import model_input, number_table
from image_search.types import Float32

from . import checkpoint, pictures
from .clock import medians
from .machine import VIT_S16_GFLOP, milliseconds
from .report import Row
from .runtimes import RUNTIMES, load
from .setting import Setting

__all__ = ["decode", "model"]

GOALS = {"ONNX Runtime": 120.0, "OpenVINO, f32": 108.0, "OpenVINO": 60.0}  # CPU ms an image


def worst_cosine(ours: Float32, theirs: Float32) -> float:
    one, other = ours.astype(np.float64), theirs.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / lengths).min())


def model(setting: Setting) -> Iterator[Row]:
    """ViT-S/16 alone: the same weights and pixels in every runtime, one thread."""
    import torch

    folder = checkpoint.dino(setting.cache)
    reference = checkpoint.torch_model(folder)
    original, _, _ = checkpoint.original_loop(folder)
    wide, few = 32, setting.size(4, 2)  # pictures in transformers' batch, in a call of the others
    recipe = load_model(str(folder), runtime="onnx", threads=1).fingerprint.preprocess
    paths = pictures.make(setting.cache, "VGA", wide)
    pixels = np.stack(
        [np.asarray(render(p.read_bytes(), RenderSpec(size=recipe.size), LIBRARY_LIMITS).pixels) for p in paths]
    )  # (N, H, W, 3)
    table = number_table(recipe)
    numbers = np.stack([model_input(picture, table) for picture in pixels])  # (N, 3, H, W) float32
    tensor = torch.from_numpy(numbers)

    def in_batches() -> Float32:
        with torch.inference_mode():
            return reference(pixel_values=tensor).last_hidden_state[:, 0].numpy()  # type: ignore[no-any-return]

    ways: dict[str, Callable[[int], Float32] | str] = {"OpenVINO, f32": openvino_f32(folder, numbers), "int8": int8(folder, numbers)}
    names = {}
    for words, runtime, _ in RUNTIMES:
        embedder, why = load(folder, runtime, 1)
        ways[words] = why if embedder is None else lambda n, embedder=embedder: embedder.embed(pixels[:n])  # type: ignore[misc]
        names[words] = "" if embedder is None else f"{embedder.runtime}; "
    calls: dict[str, Callable[[], object]] = {
        "original": lambda: [original(tensor[n : n + 1]) for n in range(few)],
        "transformers, batch 32": in_batches,
    } | {words: lambda way=way: way(few) for words, way in ways.items() if not isinstance(way, str)}  # type: ignore[misc]
    found = medians(calls, setting.size(7, 1), per={name: wide if name.startswith("transformers") else few for name in calls})
    right = in_batches()
    beside = {name: found[name] for name in ("original", "transformers, batch 32")}
    for words, kind in (("ONNX Runtime", "fp32"), ("OpenVINO, f32", "fp32"), ("OpenVINO", "bf16"), ("int8", "int8")):
        way = ways[words]
        ran = names.get(words, "")
        note = way if isinstance(way, str) else f"{ran}lowest cosine with transformers {worst_cosine(way(wide), right):.6f}"
        limit = milliseconds(setting.limits, kind, VIT_S16_GFLOP)
        yield Row("model", f"ViT-S/16, {words}", "CPU ms an image", found.get(words), beside, limit, GOALS.get(words), note=note)
    yield from _mini(setting)


def openvino_f32(folder: Path, numbers: Float32) -> Callable[[int], Float32] | str:
    """OpenVINO without the program's choice of bf16: the first n pictures to vectors, or why not."""
    try:
        from image_search.models.openvino import import_openvino

        openvino = import_openvino()
    except ImportError as error:
        return f"not run: {error}"
    graph = openvino.Core().read_model(str(folder / "onnx" / "model.onnx"))
    graph.reshape([1, 3, 224, 224])
    request = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    request = request.create_infer_request()
    return lambda n: np.stack([request.infer([numbers[i : i + 1]])[0][0, 0] for i in range(n)])


def int8(folder: Path, numbers: Float32) -> Callable[[int], Float32] | str:
    """The program's opt-in for 8-bit weights: the first n pictures to vectors, or why not."""
    try:
        from image_search.models.graph import OnnxFile
        from image_search.models.int8 import in_8_bits
        from image_search.models.onnx import open_session

        path = folder / "onnx" / "model.onnx"
        session = open_session(OnnxFile(in_8_bits(path.read_bytes(), path)), path)
    except ImportError as error:
        return f"not run: {error}"
    return lambda n: np.stack([session.run(None, {"pixel_values": numbers[i : i + 1]})[0][0, 0] for i in range(n)])


def _mini(setting: Setting) -> Iterator[Row]:
    mini = load_model("mini", threads=1)
    high, wide = mini.fingerprint.preprocess.output_size
    pixels = np.random.default_rng(0).integers(0, 256, (16, high, wide, 3), np.uint8)
    found = medians({"mini": lambda: mini.embed(pixels)}, setting.rounds, per=len(pixels))["mini"]
    yield Row("model", "mini, ONNX Runtime", "CPU ms an image", found, goal=10, note="100 images/s on one core")


def decode(setting: Setting) -> Iterator[Row]:
    """A JPEG to the pixels of the model, as the decode worker does it; beside it the original's way and JPEG's own floor."""
    folder = checkpoint.dino(setting.cache)
    _, loop, processor = checkpoint.original_loop(folder)
    onnx = load_model(str(folder), threads=1)
    recipe = onnx.fingerprint.preprocess
    for size in pictures.SIZES:
        paths = pictures.make(setting.cache, size, setting.size(6, 2))
        data = [path.read_bytes() for path in paths]
        calls: dict[str, Callable[[], object]] = {
            "ours": lambda data=data: [render(d, RenderSpec(size=recipe.size), LIBRARY_LIMITS).pixels for d in data],  # type: ignore[misc]
            "with thumbnail": lambda data=data: [  # type: ignore[misc]
                render(d, RenderSpec(size=recipe.size, thumbnail_side=THUMBNAIL_SIDE), LIBRARY_LIMITS).pixels for d in data
            ],
            "with a profile": lambda data=data: [  # type: ignore[misc]
                render(pictures.in_display_p3(d), RenderSpec(size=recipe.size), LIBRARY_LIMITS).pixels for d in data
            ],
            "original": lambda paths=paths: [processor(images=_opened(p), return_tensors="np")["pixel_values"][0] for p in paths],  # type: ignore[misc]
            "floor": lambda paths=paths: [_smallest(p) for p in paths],  # type: ignore[misc]
        }
        found = medians(calls, setting.rounds, per=len(paths))
        ours = onnx.embed(np.stack([np.asarray(p) for p in calls["ours"]()]))  # type: ignore[attr-defined]
        cosine = worst_cosine(ours, np.array(loop(paths), np.float32))
        kilobytes = sum(map(len, data)) / len(data) / 1000
        yield Row(
            "decode",
            f"decode + resize, {size} JPEG",
            "CPU ms an image",
            found["ours"],
            {"original": found["original"]},
            found["floor"],
            30 if size == "12 MP" else None,
            note=f"limit: the same file decoded at 1/8; {kilobytes:.0f} KB; with a thumbnail {found['with thumbnail']:.1f}; "
            f"with a Display P3 profile {found['with a profile']:.1f}",
        )
        if size == "12 MP":
            yield Row(
                "decode",
                "lowest vector cosine with the full decode, 12 MP",
                "cosine",
                cosine,
                goal=0.9999,
                more=True,
                note=f"{cosine:.7f} over {len(paths)} pictures, DINO ViT-S/16 with random weights; full decode by the reference processor",
            )


def _opened(path: object) -> Image.Image:
    image = Image.open(path)  # type: ignore[arg-type]
    image.load()
    return image


def _smallest(path: object) -> None:
    with Image.open(path) as image:  # type: ignore[arg-type]
        image.draft("RGB", (image.width // 8, image.height // 8))
        image.load()
