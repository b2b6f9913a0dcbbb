"""How good are vectors at finding pictures of the same class: leave-one-out retrieval figures. Pure numpy.

Every vector is once the query; all others are ranked by cosine similarity (equal ones by index), and a result is relevant if it has
the query's label. A query with nothing relevant among the others says nothing about the vectors and is left out (counted in `singletons`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from image_search.types import Float32

__all__ = ["Retrieval", "copies_found", "leave_one_out"]

_CUTOFF = 100  # mAP@100 and its divisor
_CHUNK_VALUES = 1 << 24  # similarities held at once: 64 MiB of float32


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Leave-one-out figures, each in 0..1, higher is better.

    Attributes:
        k1: share of queries whose nearest neighbour has their label.
        k5: share of queries whose label wins the vote of the 5 nearest (on a tie, the label that stands first wins).
        p10: mean share of relevant results among the first 10 (fewer if there are fewer others).
        map100: mean average precision over the first 100 results; divisor min(relevant, 100).
        queries: how many vectors were queries.
        singletons: how many vectors are alone with their label and were left out as queries (they stay among the results).
    """

    k1: float
    k5: float
    p10: float
    map100: float
    queries: int
    singletons: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


def leave_one_out(vectors: Float32, labels: Sequence[object] | npt.NDArray[np.generic]) -> Retrieval:
    """Rank all other vectors for each vector.

    Args:
        vectors: float32 (N, D), finite; they are brought to unit length here.
        labels: N labels, compared by equality.

    Returns:
        The figures; all zero if no label occurs twice.

    Raises:
        ValueError: shapes do not fit, or a vector is zero or not finite.
    """
    unit = _unit(vectors)
    count = len(unit)
    if len(labels) != count:
        raise ValueError(f"{count} vectors, but {len(labels)} labels")
    if count == 0:
        return Retrieval(0.0, 0.0, 0.0, 0.0, 0, 0)
    codes = _codes(labels)  # (N,)
    relevant = np.bincount(codes)[codes] - 1  # (N,) others with the same label
    depth = min(_CUTOFF, count - 1)
    first = five = ten = average = 0.0
    step = max(1, _CHUNK_VALUES // count)
    for start in range(0, count, step):
        rows = np.arange(start, min(start + step, count))
        rows = rows[relevant[rows] > 0]
        if not len(rows):
            continue
        similarity = unit[rows] @ unit.T  # (R, N)
        similarity[np.arange(len(rows)), rows] = -np.inf  # never oneself
        found = codes[top(similarity, depth)]  # (R, depth)
        hits = found == codes[rows][:, None]  # (R, depth)
        first += float(hits[:, 0].sum())
        five += float((_vote(found[:, :5]) == codes[rows]).sum())
        ten += float(hits[:, :10].mean(axis=1).sum())
        precision = np.cumsum(hits, axis=1) / np.arange(1, depth + 1)  # (R, depth)
        average += float(((precision * hits).sum(axis=1) / np.minimum(relevant[rows], _CUTOFF)).sum())
    queries = int((relevant > 0).sum())
    if not queries:
        return Retrieval(0.0, 0.0, 0.0, 0.0, 0, count)
    return Retrieval(first / queries, five / queries, ten / queries, average / queries, queries, count - queries)


def copies_found(copies: Float32, originals: Float32, where: Sequence[int] | npt.NDArray[np.integer]) -> float:
    """R@1: share of changed copies whose nearest original is the one they were made from.

    Args:
        copies: float32 (C, D).
        originals: float32 (N, D), the library; ties go to the lower index.
        where: (C,) index of each copy's original.

    Returns:
        0..1; 0 without copies.
    """
    sources = np.asarray(where, dtype=np.int64)
    if len(sources) != len(copies):
        raise ValueError(f"{len(copies)} copies, but {len(sources)} originals named")
    if not len(sources):
        return 0.0
    left, right = _unit(copies), _unit(originals)
    if sources.min() < 0 or sources.max() >= len(right):
        raise ValueError(f"an original outside 0..{len(right) - 1} is named")
    step = max(1, _CHUNK_VALUES // len(right))
    best = [np.argmax(left[start : start + step] @ right.T, axis=1) for start in range(0, len(left), step)]
    return float((np.concatenate(best) == sources).mean())


def top(similarity: Float32, depth: int) -> npt.NDArray[np.int64]:
    """float32 (R, N) -> (R, depth) columns of the largest values, highest first, equal ones by column; depth <= N."""
    count = similarity.shape[1]
    if depth >= count:
        return np.argsort(-similarity, axis=1, kind="stable")[:, :depth]
    # Everything not below the depth-th largest value is a candidate; among equal values at the edge the lower columns must win,
    # which a partition alone does not promise.
    edge = np.partition(similarity, count - depth, axis=1)[:, count - depth]  # (R,)
    picked = np.empty((len(similarity), depth), np.int64)
    for row, values in enumerate(similarity):
        candidates = np.flatnonzero(values >= edge[row])  # ascending columns
        picked[row] = candidates[np.argsort(-values[candidates], kind="stable")[:depth]]
    return picked


def _unit(vectors: Float32) -> Float32:
    values = np.asarray(vectors, dtype=np.float32)
    if values.ndim != 2:
        raise ValueError(f"vectors must be (N, D), not {values.shape}")
    length = np.linalg.norm(values, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(length[:, 0]) & (length[:, 0] > 0)))
    if len(bad):
        raise ValueError(f"vector {bad[0]} is zero or not finite")
    unit: Float32 = values / length
    return unit


def _codes(labels: Sequence[object] | npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Labels -> 0, 1, 2, ... in order of first appearance."""
    seen: dict[object, int] = {}
    values = labels.tolist() if isinstance(labels, np.ndarray) else labels
    return np.array([seen.setdefault(label, len(seen)) for label in values], dtype=np.int64)


def _vote(found: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(R, K) labels, nearest first -> (R,) the most frequent; on a tie the one that appears first."""
    votes = (found[:, :, None] == found[:, None, :]).sum(axis=2)  # (R, K): votes for the label at each place
    chosen: npt.NDArray[np.int64] = found[np.arange(len(found)), votes.argmax(axis=1)]
    return chosen
