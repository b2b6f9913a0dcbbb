"""How near a match is *for this library*: its similarity's percentile among the library's own nearest-neighbour similarities.

Cosine ranges differ from model to model and from library to library; a percentile of what is usual here means the same everywhere:
.5 is as near as a typical image's nearest neighbour.

The sample is kept in the catalog's facts, beside the generation that it was drawn from and the version of what it means.
"""

from __future__ import annotations

import numpy as np

from ..config import CLOSENESS_SAMPLE, MIN_CLOSENESS_IMAGES
from ..library.catalog import Catalog
from ..library.reading import Reader
from ..library.vectors import Vectors
from ..types import Float32

__all__ = ["DEFINITION", "load", "percentile", "renew", "sample"]

# Of what `sample` gives: raise it when the same library may get another one. Version 0.1 did not say: it had 1.
DEFINITION = 1
_SAMPLE, _GENERATION, _DEFINITION = "closeness", "closeness_generation", "closeness_definition"  # as the catalog calls them
_DTYPE = "<f4"
_COLUMNS = 16384  # vectors compared at once: 1,000 x 16,384 float32 = 64 MB


def load(library: Catalog | Reader) -> Float32 | None:
    """The library's sample, float32 (S,), ascending; None if it has none, or one of another definition (until the next `renew`)."""
    blob = library.meta(_SAMPLE)
    return None if blob is None or not _is_ours(library) else np.frombuffer(blob, _DTYPE)


def renew(catalog: Catalog) -> None:
    """Draw the sample again if the library has changed since, or if it was drawn by another definition."""
    generation = catalog.generation
    if catalog.meta(_GENERATION) == generation and _is_ours(catalog):
        return
    vectors = Vectors(catalog)
    with catalog.snapshot():
        vectors.refresh()
    values = sample(vectors.rows)
    with catalog.transaction():
        catalog.set_meta(_GENERATION, generation)
        catalog.set_meta(_DEFINITION, DEFINITION)
        catalog.set_meta(_SAMPLE, None if values is None else values.astype(_DTYPE).tobytes())


def _is_ours(library: Catalog | Reader) -> bool:
    return (library.meta(_DEFINITION) or 1) == DEFINITION


def sample(matrix: Float32) -> Float32 | None:
    """The best-match similarities of up to 1,000 images, sorted.

    Args:
        matrix: float32 (N, D), unit vectors of distinct contents, so that leaving out itself leaves out the identical.

    Returns:
        float32 (min(N, 1000),), ascending; None below 50 images. The same library gives the same sample.
    """
    count = len(matrix)
    if count < MIN_CLOSENESS_IMAGES:
        return None
    chosen = np.sort(np.random.default_rng(0).permutation(count)[:CLOSENESS_SAMPLE])
    best = np.full(len(chosen), -1.0, np.float32)
    for start in range(0, count, _COLUMNS):
        part = matrix[start : start + _COLUMNS]
        similar = matrix[chosen] @ part.T  # (S, C)
        here = np.flatnonzero((chosen >= start) & (chosen < start + len(part)))
        similar[here, chosen[here] - start] = -1.0  # itself
        np.maximum(best, similar.max(axis=1), out=best)
    return np.sort(best)


def percentile(similarity: float, sorted_sample: Float32 | None) -> float | None:
    """0 to 1: the share of the sample that is not higher; None without a sample."""
    if sorted_sample is None:
        return None
    return float(np.searchsorted(sorted_sample, np.float32(similarity), side="right") / len(sorted_sample))
