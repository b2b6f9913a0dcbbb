"""What a model makes of the prepared pictures: asked once, for `training.vocabulary`.

    python -m training.vectors --train DATA/train SHARDS --work WORK [HELD] --to VECTORS [--model mini.onnx] [--side PX]

One file a part, VECTORS/SHA/PART.npy, float16 (n, D), SHA the first eight digits of the model's; a part that is there is not made again.
Pictures are read from the Parquet files as the program reads them (squashed to the model's size), not from the larger copies that
training keeps: those give vectors at a cosine of .98.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt

from image_search.models import resolve
from training.prepare import PART
from training.teachers import Float32, unit

MINI = Path(__file__).resolve().parents[1] / "src/image_search/models/mini/mini.onnx"
SIDE = resolve("mini").preprocess.output_size[0]  # px that it sees
_BATCH = 16


def folder_of(vectors: Path, model: Path) -> Path:
    """Where this model's vectors lie."""
    return vectors / hashlib.sha256(model.read_bytes()).hexdigest()[:8]


def open_model(path: Path) -> Callable[[npt.NDArray[np.uint8]], Float32]:
    """uint8 (B, S, S, 3) -> unit rows (B, D). One thread, bf16 where the CPU has it: 2.8 ms a picture instead of 7, at a cosine of .999."""
    import openvino

    options = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False, "INFERENCE_PRECISION_HINT": "bf16"}
    compiled = openvino.Core().compile_model(str(path), "CPU", options)

    def embed(pixels: npt.NDArray[np.uint8]) -> Float32:
        numbers = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32) / 255
        return unit(np.asarray(compiled([numbers])["embedding"], np.float32))

    return embed


def pictures(file: Path, piece: int, side: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Those of one part, in its order: what no decoder reads is left out there, too."""
    import pyarrow.parquet as pq
    from PIL import Image

    for raw in pq.read_table(file, columns=["image"]).slice(piece * PART, PART)["image"].to_pylist():
        try:
            image = Image.open(io.BytesIO(raw)).convert("RGB")
        except Exception:  # as in prepare.py
            continue
        yield np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="folders that hold *.parquet")
    parser.add_argument("--work", type=Path, nargs="+", required=True, help="folders that hold parts/")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=MINI)
    parser.add_argument("--side", type=int, default=SIDE)
    args = parser.parse_args()
    files = {file.stem: file for folder in args.train for file in folder.glob("*.parquet")}
    embed = open_model(args.model)
    out = folder_of(args.to, args.model)
    out.mkdir(parents=True, exist_ok=True)
    parts = [part for work in args.work for part in (work / "parts").iterdir() if not part.name.endswith(".new")]
    for part in sorted(parts, key=lambda part: crc32(part.name.encode())):  # mixed: what is there so far is a fair share
        stem, piece = part.name.rsplit("-", 1)
        if (out / f"{part.name}.npy").exists() or stem not in files:
            continue
        seen = list(pictures(files[stem], int(piece), args.side))
        if len(seen) != len(json.loads((part / "names.json").read_text())):
            raise SystemExit(f"{part} was made of another file than {files[stem]}")
        rows = [embed(np.stack(seen[start : start + _BATCH])) for start in range(0, len(seen), _BATCH)]
        np.save(out / f"{part.name}.npy", np.concatenate(rows).astype(np.float16))
        print(part.name, len(seen), flush=True)


if __name__ == "__main__":
    main()
