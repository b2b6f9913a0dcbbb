"""Is an evaluation picture among the training pictures? Perceptual hashes within 4 of 64 bits count as the same and leave the training.

    python -m training.dedupe --data DATA --work DIR

Looks at all parts that are ready, prints the pairs and writes the training pictures down in DIR/left-out.json. The hash: sign of the
8 x 8 lowest frequencies of the 32 x 32 grey picture's cosine transform against their median (Zauner, "Implementation and benchmarking
of perceptual image hash functions", 2010).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training import data

_LIMIT = 4  # bits
_SIDE = 32


def hashes(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """uint8 (N, 32, 32) grey -> (N,) 64 bits each."""
    frequency = np.arange(8)[:, None]
    cosines = np.cos((2 * np.arange(_SIDE) + 1) * frequency * np.pi / (2 * _SIDE))  # (8, 32)
    waves = cosines @ pixels.astype(np.float64) @ cosines.T  # (N, 8, 8)
    flat = waves.reshape(len(pixels), 64)
    bits = flat > np.median(flat[:, 1:], axis=1, keepdims=True)  # the mean brightness would shift the median
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def grey(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(picture).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


def near(left: npt.NDArray[np.uint64], right: npt.NDArray[np.uint64], limit: int = _LIMIT) -> npt.NDArray[np.int64]:
    """All pairs (i, j) with at most `limit` bits between left[i] and right[j]: (P, 2)."""
    found = [np.empty((0, 2), np.int64)]
    for j, one in enumerate(right):
        rows = np.flatnonzero(np.bitwise_count(left ^ one) <= limit)
        if len(rows):
            found.append(np.stack([rows, np.full(len(rows), j)], 1))
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds eval/")
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    pictures = data.load(args.work)
    training = hashes(np.stack([grey(picture) for store in pictures.stores for picture in store]))
    files = sorted((args.data / "eval").glob("*/*/*.jpg"))
    side = pictures.stores[0].shape[1]
    evaluation = hashes(np.stack([grey(data.squash(file.read_bytes(), side)) for file in files]))
    pairs = near(training, evaluation)
    rows = sorted({int(i) for i, _ in pairs})
    places = np.searchsorted(pictures.starts, rows, side="right") - 1
    out = [[pictures.parts[place].name, row - int(pictures.starts[place])] for row, place in zip(rows, places, strict=True)]
    (args.work / "left-out.json").write_text(json.dumps(out))
    for i, j in pairs:
        print(int(i), files[int(j)].relative_to(args.data / "eval").as_posix())
    print(f"{len(pairs)} pairs; {len(rows)} of {len(training)} training pictures left out ({len(files)} evaluation pictures)")


if __name__ == "__main__":
    main()
