"""Everything that training needs to know of each picture, computed once: its pixels, the teachers' features of it and of a part of it,
its colours and texture.

    python -m training.prepare --train DATA/train SHARDS --teachers DATA/teachers --work WORK [--without SOURCE ...] [--only SOURCE ...]

Reads Parquet files with the columns image, label, source; makes the folders WORK/parts/NAME (see data.py), 2,000 pictures each. Stop it
whenever you like: it goes on at the first part that is missing, and new files can be added at any time. One process a core.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt

from training import data, looks, teachers
from training.config import Config

PART = 2_000  # pictures: a minute's work
_BATCH = 16  # pictures that a teacher sees at once
_LARGE = 112  # px of the short side from which on a part of a picture is worth a look of its own

Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def part_of(dice: np.random.Generator, area: tuple[float, float], ratio: float) -> Box:
    """A box within the picture: left, top, right, bottom as shares; of a share of its area within `area`, squashed by at most `ratio`."""
    share, bend = dice.uniform(*area), ratio ** dice.uniform(-0.5, 0.5)
    across, down = min(1.0, share**0.5 * bend), min(1.0, share**0.5 / bend)
    left, top = dice.uniform(0, 1 - across), dice.uniform(0, 1 - down)
    return left, top, left + across, top + down


def prepare(task: tuple[Path, int, Path, Path]) -> int:
    """Pictures `piece` * 2,000 and on of one Parquet file, as one part. Returns how many."""
    import pyarrow.parquet as pq
    from PIL import Image

    file, piece, models, part = task
    config = Config()
    table = pq.read_table(file).slice(piece * PART, PART)
    asked = {name: teachers.open_teacher(models / f"mobilenet_{name}_imagenet.onnx") for name in teachers.WIDTH}
    pixels: list[npt.NDArray[np.uint8]] = []
    names: list[tuple[str, str]] = []
    whole: list[dict[str, npt.NDArray[np.float32]]] = []
    parts: list[dict[str, npt.NDArray[np.float32]]] = []
    boxes: list[Box] = []
    owners: list[int] = []
    waiting: list[tuple[bool, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]] = []

    def ask() -> None:
        if not waiting:
            return
        found = {name: teachers.features_of(teacher, [large for _, large, _ in waiting]) for name, teacher in asked.items()}
        small = np.stack([small for _, _, small in waiting])
        found["looks"] = np.concatenate([looks.colours(small), looks.texture(small)], 1)
        for i, (is_whole, _, _) in enumerate(waiting):
            (whole if is_whole else parts).append({kind: values[i] for kind, values in found.items()})
        waiting.clear()

    def look_at(image: Image.Image, box: Box) -> None:
        cut = tuple(share * size for share, size in zip(box, image.size * 2, strict=True))
        large, small = (np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=cut)) for side in (teachers.SIDE, looks.SIDE))
        waiting.append((box == WHOLE, large, small))
        if len(waiting) == _BATCH:
            ask()

    for row, (raw, label, source) in enumerate(zip(*(table[name].to_pylist() for name in ("image", "label", "source")), strict=True)):
        try:
            image = Image.open(io.BytesIO(raw)).convert("RGB")
        except Exception:  # whatever a decoder makes of a damaged file
            continue
        dice = np.random.default_rng([crc32(file.name.encode()), piece, row])
        for _ in range(config.parts if min(image.size) >= _LARGE else 0):
            boxes.append(part_of(dice, config.part_area, config.crop_ratio))
            owners.append(len(pixels))
            look_at(image, boxes[-1])
        look_at(image, WHOLE)
        pixels.append(np.asarray(image.resize((config.store_side,) * 2, Image.Resampling.BILINEAR)))
        names.append((source, label))
    ask()
    crops: dict[str, npt.NDArray[np.generic]] = {kind: np.stack([row[kind] for row in whole + parts]) for kind in data.FEATURES}
    crops["pictures"] = np.array([*range(len(pixels)), *owners], np.int64)
    crops["boxes"] = np.array([*[WHOLE] * len(pixels), *boxes], np.float32)
    data.save(part, np.stack(pixels), names, crops)
    return len(pixels)


def main() -> None:
    import pyarrow.parquet as pq

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="folders that hold *.parquet")
    parser.add_argument("--teachers", type=Path, required=True, help="folder that holds the teachers")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--without", nargs="*", default=[], help="sources to leave out")
    parser.add_argument("--only", nargs="*", help="sources to take")
    parser.add_argument("--most", type=int, help="parts to make before it ends")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(args.teachers / "mobilenet_v2_imagenet_head.npz", args.work / "head.npz")
    tasks = []
    for file in sorted(file for folder in args.train for file in folder.glob("*.parquet")):
        rows = pq.ParquetFile(file).metadata.num_rows
        source = pq.ParquetFile(file).read_row_group(0, ["source"])["source"][0].as_py() if rows else ""  # the first: mostly the only one
        if source in args.without or (args.only is not None and source not in args.only):
            continue
        for piece in range(-(-rows // PART)):
            part = args.work / "parts" / f"{file.stem}-{piece:02d}"
            if not part.exists():
                tasks.append((crc32(part.name.encode()), (file, piece, args.teachers, part)))
    started, done = time.time(), 0
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for count in pool.imap_unordered(
            prepare, [task for _, task in sorted(tasks)[: args.most]], chunksize=1
        ):  # mixed: a share of them is fair
            done += count
            print(f"{done} pictures in {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
