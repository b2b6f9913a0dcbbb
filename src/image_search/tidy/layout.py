"""Vectors → places in two dimensions: t-SNE for a whole library, and new ones between their neighbours. The only file that knows openTSNE.

t-SNE (van der Maaten and Hinton 2008) by openTSNE with Barnes-Hut, from the two main components, with the learning rate N / 12 of
Belkina et al. (2019). The same vectors give the same places, whatever the number of threads is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..config import MAP_LAID_OUT, available_cpus
from ..errors import MissingExtraError
from ..types import Float32
from .neighbours import Numbers, Say, nearest

__all__ = ["VERSION", "lay_out", "place_between"]

VERSION = 1  # of what `lay_out` gives: raise it when the same vectors may get other places

_PERPLEXITY = 30.0  # neighbours that count, about; three times as many are looked for
_EARLY, _LATE = (250, 12.0, 0.5), (500, 1.0, 0.8)  # iterations, exaggeration, momentum: openTSNE's own
_THETA = 0.8  # of Barnes-Hut, how coarse: 10,000 take 29 CPU s, with openTSNE's .5 43 s, and are as trustworthy (.976)
_THREADS_FROM = 5000  # pictures; below it threads wait for each other longer than they work: 60 took 11 CPU s in place of .14
_CHUNK = 10  # iterations between two looks at the progress
_START = 1e-4  # spread of the first places, as t-SNE wants it
_BETWEEN = 10  # neighbours between which a new picture is placed: of 1, 3, 5, 10, 15 the most trustworthy (.9715 to .9741)
_BESIDE = 0.3  # of the way from the place it gets to the nearest of its other neighbours: two pictures never cover each other wholly


def lay_out(vectors: Float32, seed: int, *, say: Say | None = None) -> Float32:
    """Places for all of them; of more than MAP_LAID_OUT so many, drawn by the seed, are laid out and the others placed between them.

    Args:
        vectors: float32 (N, D), unit vectors.
        say: gets (done, total), steps.

    Returns:
        float32 (N, 2), the longer side of all from 0 to 1, the middle at .5.

    Raises:
        MissingExtraError: from four different vectors on openTSNE is needed.
    """
    different, which = _different(vectors)  # equal ones lie in one place
    chosen = np.sort(np.random.default_rng(seed).permutation(len(different))[:MAP_LAID_OUT])
    some = vectors[different[chosen]]
    places = np.empty((len(different), 2), np.float32)
    places[chosen] = in_square(_components(some) if len(some) < 4 else _tsne(some, seed, say or (lambda *_: None)))
    others = np.setdiff1d(np.arange(len(different)), chosen)
    places[others] = place_between(vectors[different[others]], some, places[chosen])
    return places[which]


def _different(vectors: Float32) -> tuple[Numbers, Numbers]:
    """(M,) the first row of each different vector; (N,) which of them each row is."""
    seen: dict[bytes, int] = {}
    first: list[int] = []
    which = np.empty(len(vectors), np.int64)
    for row, vector in enumerate(vectors):
        which[row] = seen.setdefault(vector.tobytes(), len(seen))
        if which[row] == len(first):
            first.append(row)
    return np.array(first, np.int64), which


def _components(vectors: Float32) -> Float32:
    """float32 (N, D) -> (N, 2): the two main components; exact for up to three."""
    if len(vectors) < 2:
        return np.zeros((len(vectors), 2), np.float32)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)  # (D, D), the largest last
    found = centred @ axes[:, [-1, -2]] if axes.shape[1] > 1 else np.concatenate([centred, 0 * centred], axis=1)
    found *= np.where(found[np.abs(found).argmax(axis=0), [0, 1]] < 0, -1, 1)  # an axis has no direction of its own
    return found.astype(np.float32)


def _tsne(vectors: Float32, seed: int, say: Say) -> Float32:
    openTSNE = _library()  # noqa: N806 - its own name
    count = len(vectors)
    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    total = _EARLY[0] + _LATE[0] + _CHUNK
    near, cosines = nearest(vectors, int(3 * perplexity), say=lambda done, all_: say(_CHUNK * done // all_, total))
    threads = available_cpus() if count >= _THREADS_FROM else 1
    affinities = openTSNE.affinity.PerplexityBasedNN(
        knn_index=openTSNE.nearest_neighbors.PrecomputedNeighbors(near, np.maximum(0, 1 - cosines.astype(np.float64))),
        perplexity=perplexity,
        n_jobs=threads,
    )
    start = _components(vectors).astype(np.float64)
    start = start / max(float(start[:, 0].std()), 1e-12) + np.random.default_rng(seed).normal(0, 0.01, start.shape)  # nobody on another
    how = {"negative_gradient_method": "bh", "theta": _THETA, "n_jobs": threads, "random_state": seed}
    map_ = openTSNE.TSNEEmbedding(start * _START, affinities, **how)
    done = _CHUNK
    for iterations, exaggeration, momentum in (_EARLY, _LATE):
        for _ in range(iterations // _CHUNK):
            map_.optimize(_CHUNK, inplace=True, exaggeration=exaggeration, momentum=momentum, learning_rate=max(200.0, count / 12))
            done += _CHUNK
            say(done, total)
    return np.asarray(map_, np.float32)


def _library() -> Any:
    try:
        import openTSNE
        import openTSNE.affinity
        import openTSNE.nearest_neighbors
    except ImportError as error:
        raise MissingExtraError("openTSNE", "map", "the map") from error
    return openTSNE


def in_square(places: Float32) -> Float32:
    """Moved and scaled, both axes alike: the longer side goes from 0 to 1, the middle lies at .5."""
    if not len(places):
        return places
    low, high = places.min(axis=0), places.max(axis=0)
    side = float((high - low).max())
    return np.asarray((places - (low + high) / 2) / (side or 1.0) + 0.5, np.float32).clip(0, 1)


def place_between(vectors: Float32, known: Float32, places: Float32, *, say: Say | None = None) -> Float32:
    """Places for new vectors among those that have one; nothing that has a place moves, and no layout is needed.

    Each comes to that of its neighbours which is nearest to all of them on the map, the nearer by vector counting more (their weighted
    medoid), and from there a little towards the next. Their mean would often lie in the void between two groups (.913 in place of .974).

    Args:
        vectors: float32 (N, D). known: float32 (M, D), M >= 1 unless N is 0. places: float32 (M, 2).

    Returns:
        float32 (N, 2).
    """
    found = np.empty((len(vectors), 2), np.float32)
    near, cosines = nearest(vectors, _BETWEEN, among=known, say=say)
    if not len(vectors):
        return found
    scale = max(1e-6, float(np.median(cosines[:, 0] - cosines[:, -1])) / 2)
    for start in range(0, len(vectors), 8192):
        part = slice(start, start + 8192)
        around = places[near[part]].astype(np.float64)  # (R, k, 2)
        weights = np.exp((cosines[part].astype(np.float64) - cosines[part, :1]) / scale)  # (R, k)
        apart = np.linalg.norm(around[:, :, None] - around[:, None], axis=-1)  # (R, k, k)
        rows = np.arange(len(around))
        middle = (apart * weights[:, None]).sum(axis=2).argmin(axis=1)  # (R,)
        there = apart[rows, middle]  # (R, k)
        there[rows, middle] = np.inf
        beside = there.argmin(axis=1)
        here = around[rows, middle]
        found[part] = here + _BESIDE * (around[rows, beside] - here)
    return found
