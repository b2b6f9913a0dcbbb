"""The map's layout: `python -m benchmarks.maps FOLDER... [--model mini] [--pictures 20000] [--laid-out 10000]`.

The vectors of the folders' pictures; where more are asked for, points between two near ones with noise of about a neighbour's distance.
Says the CPU seconds, the peak of memory and the trustworthiness (Venna and Kaski 2001): of each of 1,000 pictures' 15 neighbours on the
map, how far down among all by similarity those stand that are none of its 15 nearest; 1 is best, .5 chance. Beside it that of the two
main components.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from image_search import ImageSearchEngine
from image_search.tidy import layout
from image_search.tidy.labelled import of_folder
from image_search.tidy.neighbours import nearest
from image_search.types import Float32

NEIGHBOURS, SAMPLE, NOISE = 15, 1000, 0.25


def trustworthiness(vectors: Float32, places: Float32) -> float:
    count, penalty = len(vectors), 0
    chosen = np.random.default_rng(0).permutation(count)[:SAMPLE]
    for start in range(0, len(chosen), 50):
        rows = chosen[start : start + 50]
        apart = -(vectors[rows] @ vectors.T)
        apart[np.arange(len(rows)), rows] = -np.inf
        rank = np.argsort(np.argsort(apart, axis=1), axis=1)  # 0 is itself
        on_map = ((places[rows, None] - places[None]) ** 2).sum(axis=-1)
        on_map[np.arange(len(rows)), rows] = np.inf
        near = np.argpartition(on_map, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        penalty += int(np.maximum(np.take_along_axis(rank, near, axis=1) - NEIGHBOURS, 0).sum())
    return 1 - 2 * penalty / (len(chosen) * NEIGHBOURS * (2 * count - 3 * NEIGHBOURS - 1))


def so_many(vectors: Float32, count: int) -> Float32:
    rng = np.random.default_rng(0)
    if count <= len(vectors):
        return vectors[rng.permutation(len(vectors))[:count]]
    near, _ = nearest(vectors, 10)
    one = rng.integers(0, len(vectors), count - len(vectors))
    other = near[one, rng.integers(0, near.shape[1], len(one))]
    share = rng.random((len(one), 1)).astype(np.float32)
    noise = rng.normal(0, NOISE / np.sqrt(vectors.shape[1]), (len(one), vectors.shape[1])).astype(np.float32)
    between = vectors[one] * share + vectors[other] * (1 - share) + noise
    return np.concatenate([vectors, between / np.linalg.norm(between, axis=1, keepdims=True)]).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--laid-out", type=int, default=layout.MAP_LAID_OUT)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, ImageSearchEngine(Path(place) / "none", model=given.model) as engine:
        read = np.concatenate([of_folder(str(folder), engine._reader(None)).vectors for folder in given.folders])
    vectors = so_many(read, given.pictures)
    layout.MAP_LAID_OUT = given.laid_out
    started, began = time.process_time(), time.monotonic()
    places = layout.lay_out(vectors, 0)
    cpu, wall = time.process_time() - started, time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(vectors):,} pictures ({len(read):,} real), {min(given.laid_out, len(vectors)):,} laid out")
    print(f"{cpu:.1f} CPU s, {wall:.1f} s, {peak:.0f} MB at most")
    plain = trustworthiness(vectors, layout._components(vectors))
    print(f"trustworthiness {trustworthiness(vectors, places):.3f}, of two main components {plain:.3f}")


if __name__ == "__main__":
    main()
