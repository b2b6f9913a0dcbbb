"""The figures of a shipped model file: retrieval on the open sets, changed copies, and what should not matter.

    python -m training.evaluate mini.onnx --data DATA [--side PX] [--every 1] [--json out.json]

Protocol: leave-one-out, cosine, the whole picture resized (bilinear) to side x side; see image_search.evaluate.metrics. `--every 4` takes
every fourth picture of each class: quick, and good for comparing states of one run only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from image_search.evaluate.distortions import DISTORTIONS, Distortion, jpeg
from image_search.evaluate.metrics import copies_found, leave_one_out
from training.vectors import SIDE

SETS = ("tinyimagenet", "clothing", "grocery", "scenes")
_LIBRARY, _COPIED = 3_000, 500
_BATCH = 32

Float32 = npt.NDArray[np.float32]


def open_model(file: Path, side: int, threads: int = 1) -> Callable[[list[Image.Image]], Float32]:
    """PIL pictures, B of them -> float32 (B, D)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    run = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def embed(pictures: list[Image.Image]) -> Float32:
        small = [np.asarray(p.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)) for p in pictures]
        pixels = np.stack(small).transpose(0, 3, 1, 2).astype(np.float32) / 255  # (B, 3, S, S)
        return np.asarray(run.run(["embedding"], {"pixels": np.ascontiguousarray(pixels)})[0], np.float32)

    return embed


def embed_all(embed: Callable[[list[Image.Image]], Float32], pictures: Iterator[Image.Image]) -> Float32:
    rows: list[Float32] = []
    batch: list[Image.Image] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == _BATCH:
            rows.append(embed(batch))
            batch = []
    if batch:
        rows.append(embed(batch))
    return np.concatenate(rows)


def opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def files_of(folder: Path, every: int = 1) -> tuple[list[Path], list[str]]:
    """Every `every`-th picture of each class, and its class (the folder it lies in)."""
    files = [file for kind in sorted(folder.iterdir()) if kind.is_dir() for file in sorted(kind.glob("*.jpg"))[::every]]
    return files, [file.parent.name for file in files]


# ---- changed copies ----------------------------------------------------------------------------------------------------------------


def scaled(picture: Image.Image, share: float) -> Image.Image:
    return picture.resize((max(1, round(picture.width * share)), max(1, round(picture.height * share))), Image.Resampling.BILINEAR)


HARDER: dict[str, Distortion] = {  # told beside the others, not part of the mean
    "rotate 30°": lambda p, dice: p.rotate(30, Image.Resampling.BILINEAR),
    "padded": lambda p, dice: ImageOps.pad(p, (int(max(p.size) * 1.4),) * 2, color=(255, 255, 255)),
}
SAME: dict[str, tuple[float, Distortion]] = {  # least median cosine asked for
    "JPEG q30": (0.9, lambda p, dice: jpeg(p, 30)),
    "30 % size": (0.9, lambda p, dice: scaled(p, 0.3)),
    "brightness -20 %": (0.9, lambda p, dice: ImageEnhance.Brightness(p).enhance(0.8)),
    "brightness +20 %": (0.9, lambda p, dice: ImageEnhance.Brightness(p).enhance(1.2)),
    "mirror": (0.8, lambda p, dice: ImageOps.mirror(p)),
}


def measure(model: Path, folder: Path, side: int, every: int = 1, threads: int = 1) -> dict[str, object]:
    embed = open_model(model, side, threads)
    found: dict[str, object] = {"model": model.name, "side": side, "every": every}
    vectors: dict[str, Float32] = {}
    lists: dict[str, list[Path]] = {}
    for name in SETS:
        files, labels = files_of(folder / name, every)
        vectors[name] = embed_all(embed, (opened(file) for file in files))
        lists[name] = files
        found[name] = {key: round(value, 4) for key, value in leave_one_out(vectors[name], labels).as_dict().items()}
    photos = lists["grocery"] + lists["clothing"]
    both = np.concatenate([vectors["grocery"], vectors["clothing"]])
    dice = np.random.default_rng(0)
    library = dice.permutation(len(photos))[:_LIBRARY]
    copied = library[: _COPIED // every]
    rates = {}
    for name, change in (DISTORTIONS | HARDER).items():
        changed = embed_all(embed, (change(opened(photos[i]), np.random.default_rng(int(i))) for i in copied))
        rates[name] = round(copies_found(changed, both[library], np.arange(len(copied))), 4)
    found["copies"] = {"mean": round(float(np.mean([rates[name] for name in DISTORTIONS])), 4)} | rates
    some = dice.permutation(len(lists["clothing"]))[: _COPIED // every]
    same = {}
    for name, (_, change) in SAME.items():
        changed = embed_all(embed, (change(opened(lists["clothing"][i]), np.random.default_rng(int(i))) for i in some))
        same[name] = round(float(np.median((changed * vectors["clothing"][some]).sum(axis=1))), 4)
    found["median cosine"] = same
    found["CPU ms a picture"] = round(speed(model, side), 2)
    return found


def speed(model: Path, side: int, rounds: int = 40) -> float:
    """CPU milliseconds a picture, one thread, one picture at a time: network only, best of `rounds`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    run = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    times = []
    for _ in range(rounds):
        started = time.thread_time()
        run.run(["embedding"], {"pixels": pixels})
        times.append(time.thread_time() - started)
    return min(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds eval/")
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = measure(args.model, args.data / "eval", args.side, args.every, args.threads)
    print("| " + " | ".join(SETS) + " | copies R@1 | ms |")
    cells = [f"{found[name]['k1']:.3f} / {found[name]['map100']:.3f}" for name in SETS]  # type: ignore[index]
    print("| " + " | ".join(cells) + f" | {found['copies']['mean']:.3f} | {found['CPU ms a picture']} |")  # type: ignore[index]
    print(json.dumps(found, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
