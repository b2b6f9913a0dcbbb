"""What a search is asked, checked before anything is opened or read."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex, get_args

from ..advice import Advice, Setting
from ..errors import UsageError
from ..types import Region
from .filters import Filters
from .query import Source
from .search import How

__all__ = ["Request", "as_list", "as_region", "as_texts"]


@dataclass(frozen=True, slots=True)
class Request:
    """One search: sources that count for and against, how many matches, what they must be, how to search."""

    likes: list[Source]
    lesses: list[Source]
    n: int
    filters: Filters
    region: Region | None
    how: How

    @classmethod
    def checked(
        cls,
        images: Source | Sequence[Source],
        n_results: int,
        less: Source | Sequence[Source],
        names: str | Sequence[str],
        path: str | None,
        min_similarity: float | None,
        min_closeness: float | None,
        region: Region | Sequence[int] | None,
        how: How,
    ) -> Request:
        """Arguments as for `ImageSearchEngine.search`, in its order; UsageError for what makes no sense."""
        likes = as_list(images)
        if not likes:
            raise UsageError("no image was given")
        if how not in get_args(How):
            raise UsageError(f"search how: auto, exact or store, not {how!r}")
        if region is not None and len(likes) > 1:
            raise UsageError("a region needs a single image")
        if not isinstance(n_results, SupportsIndex) or (n := operator.index(n_results)) < 1:
            hint = Advice("use ", Setting("n_results", "1"), " or more")
            raise UsageError("the number of results must be a whole number, at least 1", hint=hint)
        if min_similarity is not None and not math.isfinite(min_similarity):
            hint = Advice("it goes from -1 to 1, for example ", Setting("min_similarity", ".5"))
            raise UsageError("the least similarity must be a number", hint=hint)
        if min_closeness is not None and not 0 <= min_closeness <= 1:
            raise UsageError("closeness goes from 0 to 1", hint=Advice("for example ", Setting("min_closeness", ".5")))
        filters = Filters(as_texts(names), path, min_similarity, min_closeness)
        return cls(likes, as_list(less), n, filters, as_region(region), how)


def as_list(images: Source | Sequence[Source]) -> list[Any]:
    return list(images) if isinstance(images, (list, tuple)) else [images]


def as_texts(values: str | Sequence[str]) -> tuple[str, ...]:
    """A single text is meant as one, not as its letters."""
    return (values,) if isinstance(values, str) else tuple(values)


def as_region(region: Region | Sequence[int] | None) -> Region | None:
    """Whole numbers of any kind, NumPy's too."""
    if region is None or isinstance(region, Region):
        return region
    try:
        x, y, w, h = map(operator.index, region)
    except (TypeError, ValueError) as error:
        raise UsageError("a region is four whole numbers: x, y, width, height", hint="for example 10, 20, 80, 60") from error
    return Region(x, y, w, h)
