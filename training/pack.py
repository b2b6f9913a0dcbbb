"""Training pictures in a few files that are small enough to be sent to another machine: `training.gpu` learns from them.

    python -m training.pack --train DATA/train SHARDS --without SOURCE ... --megabytes 35 56 --to PACKS

Pictures of the small kind go as they are, others squashed to 128 x 128 and as WebP of quality 62 (2.4 kB each). They are mixed, so that
each pack is a share of all. pack-NN.npz has `data` (all files, one after the other), `ends` (N,), and `names` (N,), rows of names.json.
"""

from __future__ import annotations

import argparse
import io
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.config import Config
from training.data import squash
from training.prepare import PART

SIDE = Config.store_side  # px
_QUALITY = 62
_CHUNK = 256  # pictures a process decodes at once

Named = tuple[str, str, bytes]  # source, label, file


def read(file: Path, without: frozenset[str], left_out: frozenset[int]) -> list[Named]:
    """The pictures of one Parquet file; those that do not open are passed by."""
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    found = []
    columns = (table[name].to_pylist() for name in ("image", "label", "source"))
    for row, (raw, label, source) in enumerate(zip(*columns, strict=True)):
        if source in without or row in left_out:
            continue
        try:
            image = Image.open(io.BytesIO(raw)).convert("RGB")
        except Exception:  # whatever a decoder makes of a damaged file
            continue
        if min(image.size) > SIDE:
            image.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(small := io.BytesIO(), "WEBP", quality=_QUALITY, method=2)
            raw = small.getvalue()
        found.append((source, label, raw))
    return found


def write(pictures: list[Named], sizes: list[float], folder: Path) -> None:
    """Into packs of so many megabytes each, the last size for all further ones."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted({(source, label) for source, label, _ in pictures})
    place = {name: i for i, name in enumerate(names)}
    (folder / "names.json").write_text(json.dumps(names))
    rows: list[int] = []
    room, number = sizes[0] * 1e6, 0
    mixed = np.random.default_rng(5).permutation(len(pictures))
    for at, row in enumerate(mixed):
        rows.append(int(row))
        room -= len(pictures[row][2])
        if room <= 0 or at + 1 == len(mixed):
            files = [pictures[i][2] for i in rows]
            np.savez(
                folder / f"pack-{number:02d}.npz",
                data=np.frombuffer(b"".join(files), np.uint8),
                ends=np.cumsum([len(file) for file in files]),
                names=np.array([place[pictures[i][:2]] for i in rows], np.int64),
            )
            number += 1
            rows, room = [], sizes[min(number, len(sizes) - 1)] * 1e6


def decode(files: list[bytes]) -> npt.NDArray[np.uint8]:
    """(N, SIDE, SIDE, 3)"""
    return np.stack([squash(file, SIDE) for file in files])


def unpack(pack: Path, pool: ProcessPoolExecutor) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pixels (N, SIDE, SIDE, 3) and rows of names.json (N,)."""
    with np.load(pack) as stored:
        raw, ends, names = stored["data"].tobytes(), stored["ends"], stored["names"]
    starts = np.concatenate([[0], ends[:-1]])
    files = [raw[start:end] for start, end in zip(starts, ends, strict=True)]
    parts = pool.map(decode, [files[at : at + _CHUNK] for at in range(0, len(files), _CHUNK)])
    return np.concatenate(list(parts)), names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="folders that hold *.parquet")
    parser.add_argument("--without", nargs="*", default=[], help="sources to leave out")
    parser.add_argument("--left-out", type=Path, help="WORK/left-out.json, see training.dedupe")
    parser.add_argument("--megabytes", type=float, nargs="+", default=[56.0], help="of the first pack, the second, ...")
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    left_out: dict[str, set[int]] = {}
    for part, row in json.loads(args.left_out.read_text()) if args.left_out else []:
        stem, _, piece = part.rpartition("-")
        left_out.setdefault(stem, set()).add(int(piece) * PART + row)
    files = sorted(file for folder in args.train for file in folder.glob("*.parquet"))
    with ProcessPoolExecutor() as pool:
        without = [frozenset(args.without)] * len(files)
        pictures = [
            one for found in pool.map(read, files, without, [frozenset(left_out.get(file.stem, ())) for file in files]) for one in found
        ]
    write(sorted(pictures), args.megabytes, args.to)
    print(f"{len(pictures):,} pictures, {sum(len(file) for *_, file in pictures) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
