"""What a search is asked, checked before anything is opened or read."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from .. import given
from ..advice import Advice, Setting
from ..errors import UsageError
from ..types import Region
from .filters import Filters
from .query import Source
from .search import How

__all__ = ["Request", "as_list", "as_region"]


@dataclass(frozen=True, slots=True)
class Request:
    """One search: sources that count for and against, how many matches, what they must be, how to search."""

    likes: list[Source]
    lesses: list[Source]
    n: int
    filters: Filters
    region: Region | None
    exclude_self: bool
    fold: bool
    copies: bool
    how: How

    @classmethod
    def checked(
        cls,
        images: Source | Sequence[Source],
        n_results: int,
        less: Source | Sequence[Source],
        names: str | Sequence[str] | None,
        path: str | os.PathLike[str] | None,
        min_similarity: float | None,
        min_closeness: float | None,
        min_probability: float | None,
        region: Region | Sequence[int] | None,
        exclude_self: bool,
        fold: bool,
        copies: bool,
        how: How,
    ) -> Request:
        """Arguments as for `ImageSearchEngine.search`, in its order; UsageError for what makes no sense."""
        likes = as_list(images)
        if not likes:
            raise UsageError("no image was given")
        if region is not None and len(likes) > 1:
            raise UsageError("a region needs a single image")
        if copies and len(likes) > 1:
            raise UsageError("copies are looked for with a single image")
        more = Advice("use ", Setting("n_results", "1"), " or more")
        similar = Advice("for example ", Setting("min_similarity", ".5"))
        close = Advice("for example ", Setting("min_closeness", ".5"))
        likely = Advice("for example ", Setting("min_probability", ".5"))
        filters = Filters(
            given.texts(names, "names"),
            None if path is None else given.path(path, "path"),
            None if min_similarity is None else given.number(min_similarity, "the least similarity", least=-1, most=1, hint=similar),
            None if min_closeness is None else given.number(min_closeness, "the least closeness", least=0, most=1, hint=close),
            None if min_probability is None else given.number(min_probability, "the least probability", least=0, most=1, hint=likely),
        )
        return cls(
            likes=likes,
            lesses=as_list(less),
            n=given.whole(n_results, "the number of results", hint=more),
            filters=filters,
            region=as_region(region),
            exclude_self=given.truth(exclude_self, "exclude_self"),
            fold=given.truth(fold, "fold"),
            copies=given.truth(copies, "copies"),
            how=cast(How, given.one_of(how, "how", get_args(How))),
        )


def as_list(images: Source | Sequence[Source]) -> list[Any]:
    return list(images) if isinstance(images, (list, tuple)) else [images]


def as_region(region: Region | Sequence[int] | None) -> Region | None:
    """Whole numbers of any kind, NumPy's too."""
    if region is None:
        return region
    try:
        x, y, w, h = map(operator.index, (region.x, region.y, region.w, region.h) if isinstance(region, Region) else region)
    except (TypeError, ValueError) as error:
        raise UsageError("a region is four whole numbers: x, y, width, height", hint="for example 10, 20, 80, 60") from error
    return Region(x, y, w, h)
