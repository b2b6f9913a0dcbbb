"""Exact cosine search with numpy: the reference, the judge of every other store, the fallback, and the way filters are answered.

float32 finds the candidates, float64 decides: a float32 product over 384 dimensions is off by 1e-7 to 8e-7 and differs in its last bits
with the number of threads and the shape of the call; the answer must not. Equal similarities are ordered by index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import StoreError, UsageError
from ..library.codes import Codes
from ..types import Float32

__all__ = ["ExactStore", "check_queries", "check_records", "cosine_of", "top_k", "top_k_by_codes"]

# Over twice the largest error seen of a float32 product of unit vectors (8e-7, 384 to 2,048 dimensions): no match falls through.
_MARGIN = np.float32(4e-6)
_SCORES = 8 * 1024 * 1024  # float32 scores held at once, 32 MB: queries are taken in groups of this / N
_GATHER = 0.15  # below this share of allowed rows (measured: .17) copying them out is cheaper than multiplying all
_ROWS = 8192  # rows copied out at once: 12 MB in float32, 25 MB in float64 at 384 dimensions


def top_k(
    matrix: Float32, queries: Float32, n: int, *, mask: npt.NDArray[np.bool_] | None = None, ties: bool = False
) -> tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.float64]]]:
    """The n nearest rows of each query, by cosine.

    Args:
        matrix: float32 (N, D), rows of unit length; may be memory-mapped. Rows that are not finite are never found.
        queries: float32 (Q, D), finite, not zero.
        n: how many, >= 1; fewer come back only if fewer rows are allowed.
        mask: bool (N,), the rows that are allowed; None: all.
        ties: also all that are exactly as near as the n-th.

    Returns:
        per query the row numbers (int64) and the cosines (float64, -1 to 1), highest first, equal ones by row number.

    Raises:
        UsageError: n < 1. StoreError: wrong shapes, NaN or zero in a query.
    """
    if n < 1:
        raise UsageError("the number of results must be at least 1")
    check_queries(queries, matrix.shape[1])
    allowed = None if mask is None else np.flatnonzero(mask)
    if allowed is not None and len(allowed) == len(matrix):
        allowed = None
    total = len(matrix) if allowed is None else len(allowed)
    if not total:
        return [np.empty(0, np.int64) for _ in queries], [np.empty(0, np.float64) for _ in queries]
    few = allowed if allowed is not None and total <= _GATHER * len(matrix) else None
    found: list[npt.NDArray[np.int64]] = []
    cosines: list[npt.NDArray[np.float64]] = []
    group = max(1, _SCORES // len(matrix))
    for start in range(0, len(queries), group):
        some = queries[start : start + group]
        for scores, query in zip(_scores(matrix, some, few), some, strict=True):
            near = _near(scores if few is not None or allowed is None else scores[allowed], n)
            rows = near if allowed is None else allowed[near]
            best = _best(rows, _cosines(matrix, rows, query), n, ties=ties)
            found.append(best[0])
            cosines.append(best[1])
    return found, cosines


def top_k_by_codes(
    codes: Codes,
    query: Float32,
    n: int,
    *,
    vectors: Callable[[npt.NDArray[np.int64]], Float32],
    most: int,
    mask: npt.NDArray[np.bool_] | None = None,
    ties: bool = False,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]] | None:
    """What `top_k` gives for one query, from a quarter of the bytes: only rows whose codes cannot rule them out are looked at.

    A row is left out only if the highest cosine that its code allows is below the n-th highest of the lowest ones, so the answer is the
    exact one for any vectors at all.

    Args:
        codes: of N vectors.
        query: float32 (D,), finite, not zero.
        vectors: row numbers (k,) -> float32 (k, D), their vectors.
        most: None comes back if more than so many rows would have to be looked at: then `top_k` is as quick.
        n, mask, ties: as for `top_k`.
    """
    check_queries(query[None, :], codes.numbers.shape[1])
    allowed = None if mask is None else np.flatnonzero(mask)
    if n >= (len(codes.numbers) if allowed is None else len(allowed)) or n > most:
        return None
    if allowed is not None and len(allowed) <= _GATHER * len(codes.numbers):
        lowest, highest = codes.of(allowed).bounds(query)
    else:
        lowest, highest = codes.bounds(query)
        if allowed is not None:
            lowest, highest = lowest[allowed], highest[allowed]
    near = np.flatnonzero(highest >= _nth(lowest, n))
    if len(near) > most:
        return None
    rows = near if allowed is None else allowed[near]
    found = vectors(rows)
    return _best(rows, _cosines(found, np.arange(len(found)), query), n, ties=ties)


def _best(
    rows: npt.NDArray[np.int64], cosines: npt.NDArray[np.float64], n: int, *, ties: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The n highest, equal ones by row number; with `ties` all that are as high as the n-th."""
    order = np.lexsort((rows, -cosines))
    order = order[: int((cosines >= cosines[order[n - 1]]).sum()) if ties and len(order) > n else n]
    return rows[order], cosines[order]


def _scores(matrix: Float32, queries: Float32, rows: npt.NDArray[np.int64] | None) -> Float32:
    """float32 cosines, good to _MARGIN / 2: (N, D), (q, D) -> (q, N), or (q, len(rows)) of only these rows."""
    lengths = np.sqrt(np.einsum("qd,qd->q", queries, queries, dtype=np.float64)).astype(np.float32)
    unit = queries / lengths[:, None]
    if rows is not None:
        out = np.empty((len(unit), len(rows)), np.float32)
        for start in range(0, len(rows), _ROWS):
            out[:, start : start + _ROWS] = _products(matrix[rows[start : start + _ROWS]], unit)
        return out
    return _products(matrix, unit)


def _products(matrix: Float32, unit: Float32) -> Float32:
    """(N, D), (q, D) -> (q, N). One query reads the matrix at the speed of memory (100,000 x 384: 5.1 CPU ms; `matrix @ query` 12.4)."""
    if len(unit) == 1:
        return np.asarray(np.vecdot(matrix, unit[0]))[None, :]
    return np.asarray(unit @ matrix.T)


def _near(scores: Float32, n: int) -> npt.NDArray[np.int64]:
    """Indices of everything that may be among the n highest."""
    if not np.isfinite(scores.max()):  # from a row that is no vector
        scores = np.where(np.isfinite(scores), scores, np.float32(-np.inf))
    if n >= len(scores):
        return np.flatnonzero(scores > -np.inf)
    return np.flatnonzero(scores >= max(_nth(scores, n) - _MARGIN, np.finfo(np.float32).min))


def _nth(scores: Float32, n: int) -> np.float32:
    """The n-th highest. The n-th highest of the maxima of groups bounds it from below, and leaves few to sort: 10x faster at a million."""
    groups = len(scores) // 64
    if groups > 4 * n:
        maxima = scores[: groups * 64].reshape(64, groups).max(axis=0)
        scores = scores[scores >= np.partition(maxima, -n)[-n]]
    return np.float32(np.partition(scores, -n)[-n])


def cosine_of(vector: Float32, query: Float32) -> float:
    """Of two vectors, float32 (D,), to the bit as `top_k` computes it."""
    _, (cosines,) = top_k(vector[None, :], query[None, :], 1)
    return float(cosines[0])


def _cosines(matrix: Float32, rows: npt.NDArray[np.int64], query: Float32) -> npt.NDArray[np.float64]:
    """float64 cosines of some rows. Sums run along each row in one fixed order, so equal rows get equal bits wherever they lie."""
    wanted = query.astype(np.float64)
    wanted /= np.sqrt((wanted * wanted).sum())
    out = np.empty(len(rows), np.float64)
    for start in range(0, len(rows), _ROWS):
        part = matrix[rows[start : start + _ROWS]].astype(np.float64)  # (r, D)
        lengths = np.sqrt((part * part).sum(axis=1))
        lengths[lengths == 0] = np.inf  # a zero row is near to nothing: 0
        out[start : start + _ROWS] = (part * wanted).sum(axis=1) / lengths
    return np.clip(out, -1.0, 1.0)


def check_queries(queries: Float32, dim: int) -> None:
    """StoreError unless float32-like (Q, dim), finite, no row zero."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise StoreError(f"a query has the wrong shape: {queries.shape}, expected (any number, {dim})")
    if not np.isfinite(queries).all():
        raise StoreError("a query vector is not finite")
    if len(queries) and not np.abs(queries).max(axis=1).min() > 0:
        raise StoreError("a query vector is zero")


def check_records(ids: Sequence[str], vectors: Float32, metadatas: Sequence[Mapping[str, str]], dim: int) -> None:
    """StoreError unless these records can go into a store: same lengths, ids unique and not empty, vectors finite (N, dim)."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise StoreError(f"vectors have the wrong shape: {vectors.shape}, expected (any number, {dim})")
    if not len(ids) == len(vectors) == len(metadatas):
        raise StoreError(f"{len(ids)} ids, {len(vectors)} vectors and {len(metadatas)} metadata do not belong together")
    if len(set(ids)) != len(ids):
        raise StoreError("an id appears twice in one call")
    if not all(ids):
        raise StoreError("an id is empty")
    if not np.isfinite(vectors).all():
        raise StoreError("a vector is not finite")


class ExactStore:
    """A `VectorStore` in memory. Ties are ordered as the ids came in."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._records: dict[str, tuple[Float32, dict[str, str]]] = {}
        self._built: tuple[list[str], Float32] | None = None  # ids and their matrix, until the next change

    def upsert(self, ids: Sequence[str], vectors: Float32, metadatas: Sequence[Mapping[str, str]]) -> None:
        check_records(ids, vectors, metadatas, self.dim)
        self._built = None
        for id_, vector, metadata in zip(ids, vectors, metadatas, strict=True):
            self._records[id_] = (np.array(vector, np.float32), dict(metadata))

    def delete(self, ids: Sequence[str]) -> None:
        self._built = None
        for id_ in ids:
            self._records.pop(id_, None)

    def query(self, vectors: Float32, n: int) -> tuple[list[list[str]], list[list[float]]]:
        if self._built is None:
            rows: list[Any] = [vector for vector, _ in self._records.values()]
            self._built = list(self._records), np.array(rows, np.float32).reshape(len(rows), self.dim)
        names, matrix = self._built
        found, cosines = top_k(matrix, vectors, n)
        return [[names[i] for i in rows] for rows in found], [row.tolist() for row in cosines]

    def count(self) -> int:
        return len(self._records)

    def close(self) -> None:
        self._records.clear()
        self._built = None
