"""Several queries become one vector: pictures, words, and how much each of them counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..models import centre_of_words
from ..types import Float32
from .query import Query, QueryReader
from .search import Searching

__all__ = ["Part", "blend", "blended"]

_AGAINST = 0.5  # of what counts against, relative to what counts for (Rocchio 1971: 1 and .5)


class Part(NamedTuple):
    """One query: float32 (D,) of unit length, whether it is words, whether it counts against, and its weight (above 0)."""

    vector: Float32
    words: bool = False
    less: bool = False
    weight: float = 1.0


def blend(parts: Sequence[Part], centres: Callable[[], tuple[Float32, Float32]]) -> Float32:
    """The weighted mean of what counts for, minus half of that of what counts against; float32 (D,) of unit length.

    A single query is asked as it is, and so are pictures among themselves. Where words are among several, each is taken relative to the
    centre of its kind, at length 1: a model with two towers keeps its pictures in one narrow cone and its words in another, so that in a
    plain sum the distance between the cones decides and not what was asked (Liang et al. 2022, "Mind the gap").

    Args:
        parts: at least one that counts for.
        centres: gives float32 (D,) twice, the mean of the library's pictures and `models.centre_of_words`; asked only where it is needed.

    Raises:
        UsageError: they cancel each other out.
    """
    if len(parts) == 1:
        return parts[0].vector
    vectors = [part.vector.astype(np.float64) for part in parts]
    if any(part.words for part in parts):
        of_pictures, of_words = centres()
        vectors = [_unit(vector - (of_words if part.words else of_pictures)) for part, vector in zip(parts, vectors, strict=True)]
    wanted = _mean(parts, vectors, less=False) - _AGAINST * _mean(parts, vectors, less=True)
    length = float(np.linalg.norm(wanted))
    if length < 1e-6:
        raise UsageError("these queries cancel each other out", hint="leave some of them out")
    return np.asarray(wanted / length, np.float32)


def blended(queries: Sequence[Query], searcher: Searching, reader: QueryReader) -> Float32:
    """`blend` for queries of one library."""

    def centres() -> tuple[Float32, Float32]:
        return searcher.centre(), centre_of_words(reader.words())

    return blend([Part(query.vector, query.words, query.less, query.weight) for query in queries], centres)


def _mean(parts: Sequence[Part], vectors: Sequence[npt.NDArray[np.float64]], *, less: bool) -> npt.NDArray[np.float64]:
    chosen = [(vector, part.weight) for part, vector in zip(parts, vectors, strict=True) if part.less == less]
    if not chosen:
        return np.zeros_like(vectors[0])
    return np.average([vector for vector, _ in chosen], axis=0, weights=[weight for _, weight in chosen])


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """At length 1; a query that lies in the very centre of its kind says nothing, and stays nothing."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-6 else np.zeros_like(vector)
