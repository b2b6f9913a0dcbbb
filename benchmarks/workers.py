"""How to divide two cores between model and decoders: the section "workers". Wall time, so only of a machine that does nothing else."""

from __future__ import annotations

import queue
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from image_search import models
from image_search.config import LIBRARY_LIMITS, THUMBNAIL_SIDE
from image_search.errors import DecodeError
from image_search.images.pixels import RenderSpec, render
from image_search.images.pool import DecodePool
from image_search.models import load_model
from image_search.models.vectors import model_input, number_table
from image_search.types import Embedder, Float32, Preprocess, UInt8

from . import checkpoint, pictures
from .clock import pin
from .drive import children
from .report import Table
from .setting import Setting

__all__ = ["workers"]

CORES = 2
BATCH = 16
Embed = Callable[[UInt8], object]


def wide_session(model: Path) -> Callable[[Float32], object]:
    """ONNX Runtime with both cores in one call, float32 (N, 3, H, W)."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = CORES
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda numbers: session.run(None, {session.get_inputs()[0].name: numbers})


def in_processes(folder: Path, recipe: Preprocess, embed: Embed, decoders: int) -> None:
    """Decode workers beside, batches to the model: as `index` does it."""
    batch: list[UInt8] = []
    with DecodePool(decoders, recipe, thumbnail_side=THUMBNAIL_SIDE) as pool:
        for _, decoded in pool.decode_each(sorted(map(str, folder.iterdir()))):
            if isinstance(decoded, DecodeError) or decoded.pixels is None:
                raise RuntimeError(decoded)
            batch.append(decoded.pixels)
            if len(batch) == BATCH:
                embed(np.stack(batch))
                batch = []
        if batch:
            embed(np.stack(batch))


def in_threads(folder: Path, recipe: Preprocess, model: Embedder) -> None:
    """Two workers, each of which decodes a picture and embeds it; no cage, so not for strangers' files."""
    spec = RenderSpec(size=recipe.size, thumbnail_side=THUMBNAIL_SIDE)
    paths: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for path in folder.iterdir():
        paths.put(path)

    def work() -> None:
        while not paths.empty():
            try:
                data = paths.get_nowait().read_bytes()
            except queue.Empty:
                return
            model.embed(np.asarray(render(data, spec, LIBRARY_LIMITS).pixels)[None])

    with ThreadPoolExecutor(CORES) as pool:
        for done in [pool.submit(work) for _ in range(CORES)]:
            done.result()


def workers(setting: Setting) -> Iterator[Table]:
    pin(CORES)
    folder = checkpoint.dino(setting.cache)
    mini = Path(models.__file__).parent / "mini" / "mini.onnx"
    yield _table(setting, "DINO ViT-S/16, ONNX Runtime", str(folder), folder / "onnx" / "model.onnx", setting.size(48, 8))
    yield _table(setting, "mini", "mini", mini, setting.size(240, 8))


def _table(setting: Setting, name: str, source: str, file: Path, count: int) -> Table:
    two, one = load_model(source, runtime="onnx", threads=2), load_model(source, runtime="onnx", threads=1)
    recipe = two.fingerprint.preprocess
    numbers = number_table(recipe)
    wide = wide_session(file)

    def both_cores(pixels: UInt8) -> None:
        wide(np.stack([model_input(picture, numbers) for picture in pixels]))

    ways: dict[str, Callable[[Path], None]] = {
        "2 models of 1 thread, 2 decode processes beside (as `index`)": lambda f: in_processes(f, recipe, two.embed, 2),
        "2 models of 1 thread, 1 decode process beside": lambda f: in_processes(f, recipe, two.embed, 1),
        "1 model of 1 thread, 1 decode process beside": lambda f: in_processes(f, recipe, one.embed, 1),
        "1 model of 2 threads, batches of 16, 2 decode processes": lambda f: in_processes(f, recipe, both_cores, 2),
        "1 model of 2 threads, batches of 16, 1 decode process": lambda f: in_processes(f, recipe, both_cores, 1),
        "2 workers, each decodes and embeds, no processes": lambda f: in_threads(f, recipe, two),
    }
    seen: dict[str, dict[str, list[tuple[float, float]]]] = {words: {size: [] for size in pictures.SIZES} for words in ways}
    with tempfile.TemporaryDirectory() as place:
        for size in pictures.SIZES:
            files = pictures.copies(pictures.make(setting.cache, size, setting.size(6, 2)), Path(place) / size, count)
            for _ in range(setting.size(2, 1)):
                for words, way in ways.items():
                    wall, cpu = time.monotonic(), _cpu()
                    way(files)
                    seen[words][size].append((time.monotonic() - wall, _cpu() - cpu))
    rows = []
    for words, sizes in seen.items():
        cells = []
        for runs in sizes.values():
            wall = statistics.median(run[0] for run in runs)
            cpu = statistics.median(run[1] for run in runs)
            cells.append(f"{count / wall:.1f} ({cpu / wall / CORES:.0%})")
        rows.append([words, *cells])
    head = ["way", *(f"{size}, images/s (share of both cores used)" for size in pictures.SIZES)]
    return Table("workers", f"{CORES} cores, {name}: models, threads, decoders", head, rows)


def _cpu() -> float:
    """CPU seconds of this process and of the decode workers that have ended."""
    return time.process_time() + children()
