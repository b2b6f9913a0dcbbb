"""Each picture's nearest others, exactly: all are compared with all, in blocks, so that memory does not grow with the library."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..types import Float32

__all__ = ["Numbers", "Say", "nearest"]

Numbers = npt.NDArray[np.int64]
Say = Callable[[int, int], None]  # (done, total), pictures

_SCORES = 8 * 1024 * 1024  # float32 similarities held at once, 32 MB; a block takes .1 to .2 s, so an interrupt is prompt
_ROWS = 1024  # rows of a block at most: more of them make the product no faster
_CROWDED = 8  # times as many candidates as wanted: so many equal values lie at the edge that each row is taken by itself


def nearest(matrix: Float32, k: int, *, among: Float32 | None = None, say: Say | None = None) -> tuple[Numbers, Float32]:
    """The k nearest of each row, by cosine.

    Args:
        matrix: float32 (N, D), unit vectors.
        k: how many, >= 1; fewer come back where there are fewer others.
        among: float32 (M, D), where they are looked for; None: among the rows themselves, of which none is its own neighbour.
        say: gets (rows done, rows) after each block.

    Returns:
        int64 (N, k) row numbers and float32 (N, k) cosines, nearest first, equal ones by row number.
    """
    others = matrix if among is None else among
    k = min(k, len(others) - (among is None))
    found = np.empty((len(matrix), max(k, 0)), np.int64)
    cosines = np.empty(found.shape, np.float32)
    if k <= 0:
        return found, cosines
    step = max(1, min(_ROWS, _SCORES // len(others)))
    for start in range(0, len(matrix), step):
        part = slice(start, min(start + step, len(matrix)))
        scores = matrix[part] @ others.T  # (R, M)
        if among is None:
            scores[np.arange(len(scores)), np.arange(part.start, part.stop)] = -np.inf
        found[part], cosines[part] = _highest(scores, k)
        if say is not None:
            say(part.stop, len(matrix))
    return found, cosines


def _highest(scores: Float32, k: int) -> tuple[Numbers, Float32]:
    """float32 (R, M) -> columns and values (R, k) of the highest, in order.

    The k-th highest of the maxima of groups bounds the k-th highest from below, and leaves few to sort: five times as fast as
    partitioning whole rows of 10,000.
    """
    rows, count = scores.shape
    size = min(64, count // (4 * k))  # columns of a group
    if size > 1:
        maxima = scores[:, : count // size * size].reshape(rows, size, -1).max(axis=1)  # (R, groups)
        edge = np.partition(maxima, -k, axis=1)[:, -k]  # (R,)
        near = scores >= edge[:, None]  # bool (R, M)
        if np.count_nonzero(near) <= _CROWDED * k * rows:
            row, column = np.nonzero(near)
            values = scores[row, column]
            order = np.lexsort((column, -values, row))
            first = np.searchsorted(row, np.arange(rows))  # `row` ascends, and sorting by it keeps each row's places
            chosen = order[first[:, None] + np.arange(k)]  # (R, k)
            return column[chosen], values[chosen]
    columns = np.array([_first(values, k) for values in scores], np.int64)
    return columns, np.take_along_axis(scores, columns, axis=1)


def _first(values: Float32, k: int) -> Numbers:
    """float32 (M,) -> the columns (k,) of the highest; also where all are equal, without sorting them."""
    edge = np.partition(values, -k)[-k]
    above = np.flatnonzero(values > edge)
    above = above[np.argsort(-values[above], kind="stable")]
    return np.concatenate([above, np.flatnonzero(values == edge)[: k - len(above)]])
