"""What the teachers say of every training picture, computed once; and the target that the student learns.

    python -m training.teachers --data DATA --work DIR v2        (resumes where it stopped)
    python -m training.teachers --data DATA --work DIR v1

Each writes DIR/features-v2.f16, (N, 1280) float16 (v1: (N, 1024)); pictures enter whole, squashed to 224 x 224.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training import data

SIDE = 224  # px; at 160 the evaluation sets lose .01 to .03 mAP
WIDTH = {"v1": 1024, "v2": 1280}
_BATCH = 16
_PART = 2_500  # pictures a task: small, so that all processes end together

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Target:
    """features (N, F) -> unit(((features - mean) @ basis)): the space the student learns and the model ships."""

    mean: Float32  # (F,)
    basis: Float32  # (F, D): principal axes, each divided by its spread to the power `whiten`

    def __call__(self, features: Float32) -> Float32:
        return unit((features - self.mean) @ self.basis)


def unit(rows: Float32) -> Float32:
    length: Float32 = np.linalg.norm(rows, axis=1, keepdims=True)
    out: Float32 = rows / np.maximum(length, 1e-12)
    return out


def fit_target(features: Float32, dim: int, whiten: float = 0.5) -> Target:
    """Mean removed, `dim` principal axes, half whitened: spread s becomes s ** (1 - whiten).

    features: float32 (N, F) with unit rows a teacher. Half whitening of Jégou & Chum, "Negative evidences and co-occurrences in
    image retrieval" (2012), between none and full.
    """
    mean = features.mean(axis=0)
    centred = features - mean
    covariance = centred.T @ centred / len(features)  # (F, F)
    values, axes = np.linalg.eigh(covariance.astype(np.float64))
    values, axes = values[::-1][:dim], axes[:, ::-1][:, :dim]
    spread = np.sqrt(np.maximum(values, 1e-12))
    return Target(mean.astype(np.float32), (axes / spread**whiten).astype(np.float32))


def joined(work: Path) -> Float32:
    """float32 (N, F): every teacher's features on disk, each of unit length, side by side."""
    parts = []
    for name, width in WIDTH.items():
        file = work / f"features-{name}.f16"
        if file.exists():
            parts.append(unit(np.fromfile(file, np.float16).reshape(-1, width).astype(np.float32)))
    return np.concatenate(parts, axis=1)


def open_teacher(path: Path) -> Callable[[Float32], Float32]:
    """The teacher as a function: (B, 3, 224, 224) -> (B, F). OpenVINO in bf16 where it is installed (twice as fast), else ONNX Runtime.

    One thread: there is one process a core instead.
    """
    try:
        import openvino
    except ImportError:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda pixels: np.asarray(session.run(None, {"pixels": pixels})[0], np.float32).reshape(len(pixels), -1)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(str(path)), "CPU", {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False})
    return lambda pixels: np.asarray(compiled([pixels])[0], np.float32).reshape(len(pixels), -1)


def features_of(teacher: Callable[[Float32], Float32], pictures: list[npt.NDArray[np.uint8]]) -> Float32:
    """B pictures uint8 (224, 224, 3) -> (B, F)"""
    pixels = np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1  # (B, 3, 224, 224)
    return teacher(np.ascontiguousarray(pixels))


def _work(task: tuple[str, Path, Path, int, int, Path, Path, int]) -> None:
    name, file, model, start, part, target, done_file, total = task
    out = np.memmap(target, np.float16, "r+", shape=(total, WIDTH[name]))
    done = np.memmap(done_file, np.bool_, "r+", shape=(total,))
    teacher = open_teacher(model)
    batch: list[npt.NDArray[np.uint8]] = []
    rows: list[int] = []

    def flush() -> None:
        if rows:
            out[rows] = features_of(teacher, batch)
            done[rows] = True
            batch.clear()
            rows.clear()

    for place, raw in enumerate(data.raw_pictures(file)):
        i = start + place
        if place // _PART != part or done[i]:
            continue
        try:
            batch.append(data.squash(raw, SIDE))
        except Exception:
            continue  # unusable.npy knows it
        rows.append(i)
        if len(rows) == _BATCH:
            flush()
    flush()


def main() -> None:
    import pyarrow.parquet as pq

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(WIDTH))
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train/*.parquet and teachers/*.onnx")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    files = sorted((args.data / "train").glob("*.parquet"))
    starts = np.cumsum([0, *(pq.ParquetFile(file).metadata.num_rows for file in files)])
    total = int(starts[-1])
    model = args.data / "teachers" / f"mobilenet_{args.name}_imagenet.onnx"
    part, done = args.work / f"features-{args.name}.part", args.work / f"features-{args.name}.done"
    if not done.exists():
        np.memmap(part, np.float16, "w+", shape=(total, WIDTH[args.name])).flush()
        np.memmap(done, np.bool_, "w+", shape=(total,)).flush()
    started = time.time()
    tasks = [
        (args.name, file, model, int(start), piece, part, done, total)
        for file, start, end in zip(files, starts, starts[1:], strict=False)
        for piece in range(-(-int(end - start) // _PART))
    ]
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for _ in pool.imap_unordered(_work, tasks, chunksize=1):
            pass
    os.replace(part, args.work / f"features-{args.name}.f16")
    done.unlink()
    print(f"{args.name}: {total} pictures in {time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
