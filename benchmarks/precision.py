"""What fewer bits do to a model's vectors and answers: `python -m benchmarks.precision MODEL FOLDER [--images 1000]`.

MODEL is a folder with an ONNX file; FOLDER holds a class in each of its folders. Compared with ONNX Runtime in float32: OpenVINO in float32
and, whether or not the program itself would believe it, in bf16; and 8-bit numbers. Printed are the cosines of each picture's two vectors,
k1, and how many nearest neighbours are still the same. Random weights say little here: trained ones have outliers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from image_search.config import available_cpus
from image_search.errors import DecodeError, ImageSearchError
from image_search.evaluate.metrics import leave_one_out
from image_search.images.formats import extensions
from image_search.images.pool import DecodePool
from image_search.models.find import find, resolve
from image_search.models.int8 import open_int8
from image_search.models.load import _read
from image_search.models.onnx import OUTPUTS, OnnxEmbedder, open_onnx
from image_search.models.openvino import _compile, import_openvino
from image_search.types import Embedder, Float32

__all__: list[str] = []


def ways(name: str) -> Iterator[tuple[str, Embedder]]:
    """What the model runs as; a way that is not there here is a line that says why."""
    row = resolve(name)
    files = find(row, "onnx")
    if files is None:
        raise SystemExit(f"no ONNX file in {name}")
    checkpoint = _read(row, files, available_cpus())
    first = open_onnx(checkpoint)
    yield "ONNX Runtime, float32", first
    for precision in ("f32", "bf16"):
        try:
            core = import_openvino().Core()
            if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise ImageSearchError("this processor has no bf16")
            run = _compile(core, checkpoint.path, OUTPUTS[first.fingerprint.output], checkpoint.preprocess, precision, checkpoint.threads)
            yield f"OpenVINO, {precision}", OnnxEmbedder(run, "openvino", first.fingerprint, checkpoint.threads)
        except ImageSearchError as error:
            print(f"OpenVINO, {precision}: {error.line}")
    try:
        yield "ONNX Runtime, int8", open_int8(checkpoint)
    except ImageSearchError as error:
        print(f"int8: {error.line}")


def pixels(folder: Path, count: int, model: Embedder) -> tuple[np.ndarray, list[str]]:  # type: ignore[type-arg]
    """uint8 (N, H, W, 3) and class names: every so-manieth picture of the folder, `count` at most."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in extensions())
    paths = paths[:: max(1, -(-len(paths) // count))]
    found, names = [], []
    with DecodePool(available_cpus(), model.fingerprint.preprocess) as pool:
        for path in paths:
            try:
                decoded = pool.decode(path)
            except DecodeError:
                continue
            assert decoded.pixels is not None
            found.append(decoded.pixels)
            names.append(path.parent.name)
    return np.stack(found), names


def embedded(model: Embedder, pictures: np.ndarray) -> Float32:  # type: ignore[type-arg]
    return np.concatenate([model.embed(pictures[start : start + 64]) for start in range(0, len(pictures), 64)])


def nearest(vectors: Float32) -> np.ndarray:  # type: ignore[type-arg]
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    return cosines.argmax(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    args = parser.parse_args()
    pictures = None
    print("| way | lowest cosine | median | k1 | same nearest |\n|---|---|---|---|---|")
    for name, model in ways(args.model):
        if pictures is None:
            pictures, names = pixels(args.folder, args.images, model)
        vectors = embedded(model, pictures)
        model.close()
        if name == "ONNX Runtime, float32":
            reference = vectors
        cosines = np.sum(vectors.astype(np.float64) * reference, axis=1)
        same = float(np.mean(nearest(vectors) == nearest(reference)))
        k1 = leave_one_out(vectors, names).k1
        print(f"| {name} | {cosines.min():.6f} | {np.median(cosines):.6f} | {k1:.3f} | {same:.3f} |", flush=True)


if __name__ == "__main__":
    main()
