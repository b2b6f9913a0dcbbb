"""How much of an NVIDIA GPU the program uses: `python -m benchmarks.gpu`. Pictures a second, beside the card's own measured peak.

ViT-S/16 and ViT-B/16 with random weights: the model alone (bytes in main memory to vectors in main memory) in both precisions and several
batch sizes, and end to end, JPEG files to vectors in the catalog with 16 decode workers. The peak is the best rate at which the card
multiplies large square matrices; float32 without TF32, as the program computes. Wall time, medians: on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from image_search.config import THUMBNAIL_SIDE

from . import machine, pictures
from .checkpoint import ARCHITECTURE, PREPROCESSOR
from .report import Row, as_json, markdown

TOKENS, PATCH = 197, 16 * 16 * 3
WIDTHS = {"ViT-S/16": 384, "ViT-B/16": 768}
DECODERS = 16
ORIGINALS = 16  # pictures drawn, a third of a second each; the files are their copies


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """How much is done; `rehearsal` goes through everything on the CPU."""

    device: str
    sides: tuple[int, ...]  # of the matrices
    batches: dict[str, tuple[int, ...]]  # fp32 takes most of the time and cares least
    pictures: int  # for the model alone, and a round
    rounds: int
    files: int
    megapixels: str
    decoders: int


FULL = Size("cuda", (4096, 8192), {"fp32": (64, 256), "bf16": (16, 64, 128, 256)}, 2048, 3, 6000, "2 MP", DECODERS)
REHEARSAL = Size("cpu", (256,), {"fp32": (2,), "bf16": (2,)}, 4, 1, 8, "VGA", 2)


def gflop(width: int, layers: int = 12) -> float:
    """Of one picture of 224 px: patches, linear layers, attention; two for each multiply-add."""
    linear = 4 * width**2 + 2 * width * 4 * width
    return 2e-9 * ((TOKENS - 1) * PATCH * width + layers * (TOKENS * linear + 2 * TOKENS**2 * width))


def peaks(size: Size) -> dict[str, float]:
    """GFLOP/s in "bf16" and "fp32", the best of several sizes and rounds."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    found = {}
    for name, kind in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        rates = []
        for side in size.sides:
            a, b = (torch.randn(side, side, device=size.device).to(kind) for _ in range(2))
            repeat = 10 if size.device == "cuda" else 2

            def products(a: Any = a, b: Any = b, repeat: int = repeat) -> None:
                for _ in range(repeat):
                    a @ b
                if size.device == "cuda":
                    torch.cuda.synchronize()

            products()
            rates += [repeat * 2e-9 * side**3 / seconds(products) for _ in range(5)]
        found[name] = max(rates)
    return found


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def checkpoint(cache: Path, name: str, width: int) -> Path:
    """A folder as from the hub, random weights; made if it is not there."""
    import torch
    import transformers

    folder = cache / f"{name.replace('/', '-')}-random-torch"
    if not folder.exists():
        torch.manual_seed(7)
        config = transformers.ViTConfig(
            **ARCHITECTURE | {"hidden_size": width, "num_attention_heads": width // 64, "intermediate_size": 4 * width}
        )
        with tempfile.TemporaryDirectory(dir=cache) as place:
            transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(place)
            (Path(place) / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
            Path(place).rename(folder)
            Path(place).mkdir()
    return folder


def alone(size: Size, name: str, folder: Path, peak: dict[str, float]) -> Iterator[Row]:
    import transformers

    from image_search.models import canonical_pictures, load_model
    from image_search.models.torch import TorchEmbedder

    fingerprint = load_model(str(folder), runtime="torch").fingerprint
    model = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="sdpa").eval().to(size.device)
    pixels = np.random.default_rng(0).integers(0, 256, (size.pictures, 224, 224, 3), np.uint8)
    canonical = canonical_pictures(fingerprint.preprocess)
    exact = None
    for kind, batches in size.batches.items():
        for batch in batches:
            way = TorchEmbedder(model, size.device, fingerprint, {"interpolate_pos_encoding": False}, batch=batch, bf16=kind == "bf16")
            vectors = way.embed(canonical)
            exact = vectors if exact is None else exact
            way.embed(pixels[: 2 * batch])
            rate = len(pixels) / statistics.median(seconds(lambda way=way: way.embed(pixels)) for _ in range(size.rounds))  # type: ignore[misc]
            worst = float(np.sum(vectors.astype(np.float64) * exact, axis=1).min())
            note = f"lowest cosine to fp32 on the canonical pictures {worst:.6f}"
            yield Row(
                "gpu",
                f"{name} alone, {kind}, batches of {batch}",
                "pictures/s",
                rate,
                {},
                peak[kind] / gflop(WIDTHS[name]),
                None,
                True,
                note,
            )


def end_to_end(size: Size, cache: Path, folders: dict[str, Path], peak: dict[str, float]) -> Iterator[Row]:
    from image_search import ImageSearchEngine
    from image_search.images.pool import DecodePool
    from image_search.models import load_model

    originals = pictures.make(cache, size.megapixels, min(ORIGINALS, size.files // 2))
    decoding = 0.0
    with tempfile.TemporaryDirectory() as place:
        files = pictures.copies(originals, Path(place) / "files", size.files)
        warm = pictures.copies(originals, Path(place) / "warm", size.decoders)
        for number, path in enumerate(sorted(warm.iterdir())):  # other bytes than the files have, or they would be known
            path.write_bytes(path.read_bytes() + b"%d" % number)
        for name, folder in folders.items():
            model = load_model(str(folder), runtime="torch")
            if not decoding:  # the same for all: they want the same pixels
                paths = [str(path) for path in sorted(files.iterdir())]
                with DecodePool(size.decoders, model.fingerprint.preprocess, thumbnail_side=THUMBNAIL_SIDE) as pool:
                    decoding = len(paths) / seconds(lambda pool=pool, paths=paths: [None for _ in pool.decode_each(paths)])  # type: ignore[misc]
            with ImageSearchEngine(
                f"{place}/{folder.name}", model=str(folder), runtime="torch", store="exact", jobs=size.decoders, notify=print
            ) as engine:
                engine.index(warm)
                took = seconds(lambda engine=engine: engine.index(files))  # type: ignore[misc]
                embedded = engine.status()["contents"] - size.decoders
            if embedded != size.files:
                raise RuntimeError(f"{embedded} of {size.files} pictures were embedded")
            kind = "bf16" if "bf16" in model.runtime else "fp32"
            what = f"{name}, {size.megapixels} JPEG to catalog, {size.decoders} decode workers"
            limit = peak[kind] / gflop(WIDTHS[name])
            yield Row("gpu", what, "pictures/s", size.files / took, {"decoding alone": decoding}, limit, None, True, model.runtime)


def missing() -> str:
    """Why nothing can be measured here; "" if it can."""
    try:
        import torch
        import transformers
    except ImportError as error:
        return f"not run: {error.name} is not installed"
    del transformers
    return "" if torch.cuda.is_available() else f"not run: torch {torch.__version__} finds no CUDA device here"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rehearse", action="store_true", help="go through it on the CPU with a handful of pictures; no figure of it counts"
    )
    parser.add_argument("--to", type=Path, default=Path("benchmark-report"), help="folder of gpu.md and gpu.json")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "image-search-benchmarks", help="for what is made once")
    options = parser.parse_args()
    for folder in (options.to, options.cache):
        folder.mkdir(parents=True, exist_ok=True)
    facts, rows, why = machine.facts(), [], "" if options.rehearse else missing()
    if why:
        rows = [Row("gpu", name, "pictures/s", more=True, note=why) for name in WIDTHS]
        print(why, file=sys.stderr)
    else:
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        size = REHEARSAL if options.rehearse else FULL
        peak = peaks(size)
        facts["GPU"] = torch.cuda.get_device_name() if size.device == "cuda" else "none: rehearsed on the CPU, no figure here counts"
        facts["peak"] = ", ".join(f"{kind} {rate / 1000:.3g} TFLOP/s" for kind, rate in peak.items())
        folders = {name: checkpoint(options.cache, name, width) for name, width in WIDTHS.items()}
        for name, folder in folders.items():
            rows += alone(size, name, folder, peak)
        rows += end_to_end(size, options.cache, folders, peak)
    (options.to / "gpu.md").write_text(markdown(facts, rows, []))
    (options.to / "gpu.json").write_text(as_json(facts, rows, []))
    print(markdown(facts, rows, []))


if __name__ == "__main__":
    main()
