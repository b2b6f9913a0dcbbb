"""What a search is asked, checked before anything is opened or read."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from .. import given
from ..advice import Advice, Setting
from ..errors import UsageError
from ..types import Region
from .filters import Filters
from .query import Source
from .search import How

__all__ = ["Request", "as_list", "as_region", "check_many"]


@dataclass(frozen=True, slots=True)
class Request:
    """One search: sources that count for and against, how many matches, what they must be, how to search."""

    likes: list[Source]
    lesses: list[Source]
    n: int
    filters: Filters
    region: Region | None
    exclude_self: bool
    other_folders: bool
    fold: bool
    copies: bool
    how: How

    @classmethod
    def checked(
        cls,
        images: Source | Sequence[Source],
        n_results: int,
        *,
        less: Source | Sequence[Source],
        region: Region | Sequence[int] | None,
        exclude_self: bool,
        other_folders: bool,
        fold: bool,
        copies: bool,
        how: How,
        **filters: Any,
    ) -> Request:
        """Arguments as for `ImageSearchEngine.search`, `filters` those of `Filters.checked`; UsageError for what makes no sense."""
        likes = as_list(images)
        if not likes:
            raise UsageError("no image was given")
        if region is not None and len(likes) > 1:
            raise UsageError("a region needs a single image")
        if given.truth(copies, "copies") and len(likes) > 1:
            raise UsageError("copies are looked for with a single image")
        more = Advice("use ", Setting("n_results", "1"), " or more")
        return cls(
            likes=likes,
            lesses=as_list(less),
            n=given.whole(n_results, "the number of results", hint=more),
            filters=Filters.checked(**filters),
            region=as_region(region),
            exclude_self=given.truth(exclude_self, "exclude_self"),
            other_folders=given.truth(other_folders, "other_folders"),
            fold=given.truth(fold, "fold"),
            copies=given.truth(copies, "copies"),
            how=cast(How, given.one_of(how, "how", get_args(How))),
        )


def check_many(images: object) -> None:
    """UsageError unless these are several, in a list or the like: a text or bytes are one."""
    if isinstance(images, (str, bytes)) or not isinstance(images, Iterable):
        raise UsageError(f"the images must be several, in a list or the like, not {type(images).__name__}")


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
