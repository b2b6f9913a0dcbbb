"""Every picture compared with every other one: the row "pairs"."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

import numpy as np

from image_search.tidy.pairs import NEIGHBOURS, Pairs, floor, near_pairs
from image_search.types import Float32

from .library import clusters
from .report import Row
from .setting import Setting

__all__ = ["pairs"]

DIM = 256  # of `mini`
WHOLE = 1_000_000


def pairs(setting: Setting) -> Iterator[Row]:
    """All pairs of a library, then of 1 % that came in since; memory; and what a million would take by the first."""
    count = setting.size(100_000, 5_000)
    vectors = np.empty((count, DIM), np.float32)
    start = 0
    for part in clusters(count, DIM):
        vectors[start : start + len(part)] = part
        start += len(part)
    least = floor(vectors)
    began = time.process_time()
    found = near_pairs(vectors, least=least)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    limit = count * count * DIM / setting.limits["fp32"] / 1e9 if "fp32" in setting.limits else None
    note = f"{len(found.first):,} pairs for the {NEIGHBOURS} nearest of each; the pixels of pairs apart"
    yield Row("pairs", f"all pairs of {count:,} × {DIM}", "CPU s", seconds, limit=limit, goal=60, note=note)
    yield Row("pairs", f"memory of that, with its {vectors.nbytes / 1e6:.0f} MB of vectors", "MB", peak, goal=600)
    fresh = np.zeros(count, np.bool_)
    fresh[np.random.default_rng(4).choice(count, count // 100, replace=False)] = True
    new = _again(vectors, least, fresh, found)
    yield Row("pairs", "of these, after 1 % came in", "CPU s", new, note="only the new ones are compared")
    hours = seconds * (WHOLE / count) ** 2 / 2 / 3600
    yield Row("pairs", f"{WHOLE:,} × {DIM}, by the square of the first", "hours of two cores", hours, goal=2, note="not run: computed")


def _again(vectors: Float32, least: float, fresh: np.ndarray[tuple[int], np.dtype[np.bool_]], found: Pairs) -> float:
    known = found.of(~(fresh[found.first] | fresh[found.second]))
    began = time.process_time()
    near_pairs(vectors, least=least, fresh=fresh, known=known)
    return time.process_time() - began
