"""From files and their similarities to matches: the nearest, as far as they are near enough, with their numbers and facts."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ..advice import Advice, Setting
from ..config import MIN_CLOSENESS_IMAGES
from ..errors import UsageError
from ..library.catalog import item_id
from ..library.disks import Disks
from ..library.reading import File, Item, Reader
from ..models import chances
from ..paths import is_address, modified, uri_of
from ..types import Float32, Match
from . import closeness
from .filters import Filters
from .meaning import Meaning

__all__ = ["Found", "matches_of", "near_enough", "nearest", "scale_of"]

Found = tuple[File, float]  # and its similarity

# A cosine of the same vector is off by some 1e-16; bytes that are the query's own are as near as can be.
_SAME = 1 - 1e-6


def nearest(found: list[Found], n: int, same: set[int]) -> list[Found]:
    """The n most similar; of equal ones first the identical, then by id. From here on what is sorted, filtered and shown is one number."""
    rows = [(file, 1.0 if file.content in same and cosine > _SAME else cosine) for file, cosine in found]
    return sorted(rows, key=lambda row: (-row[1], row[0].content not in same, row[0].number))[:n]


def scale_of(reader: Reader, filters: Filters, meaning: Meaning) -> Float32 | None:
    """The library's closeness sample; UsageError where there is none and a filter asks for it."""
    scale = closeness.load(reader) if meaning.closeness else None
    if filters.min_closeness is not None and scale is None:
        raise UsageError(
            f"there is no closeness here: it needs {MIN_CLOSENESS_IMAGES} images, and an `index` that came to its end",
            hint=Advice("use ", Setting("min_similarity"), ", or index again"),
        )
    return scale


class _Numbered(NamedTuple):
    """A file found, and its numbers; see `Match`."""

    file: File
    similarity: float
    closeness: float | None
    probability: float | None


def near_enough(found: list[Found], filters: Filters, scale: Float32 | None, meaning: Meaning) -> list[_Numbered]:
    """Those from the first on that are. `found`: nearest first; `scale`: the library's closeness sample."""
    numbered: list[_Numbered] = []
    least = (filters.min_similarity, filters.min_closeness, filters.min_probability)
    limited = any(wanted is not None for wanted in least)
    similarities = [similarity for _, similarity in found]
    fits: list[Any] = [None] * len(found) if meaning.calibration is None else chances(similarities, meaning.calibration).tolist()
    for (file, similarity), fit in zip(found, fits, strict=True):
        numbers = _Numbered(file, similarity, closeness.percentile(similarity, scale), fit)
        if limited and any(has is not None and wanted is not None and has < wanted for wanted, has in zip(least, numbers[1:], strict=True)):
            break
        numbered.append(numbers)
    return numbered


def matches_of(found: list[_Numbered], same: set[int], items: dict[int, Item], reader: Reader) -> list[Match]:
    matches: list[Match] = []
    disks: Disks | None = None
    for rank, (file, similarity, close, fits) in enumerate(found, 1):
        absent = not is_address(file.path) and not os.path.lexists(file.path)
        if absent and disks is None:
            disks = reader.disks()
        away = absent and disks is not None and disks.away(file.path)
        item = items[file.number]
        match = Match(
            id=item_id(file.number),
            rank=rank,
            name=file.name,
            similarity=similarity,
            closeness=close,
            path=file.path,
            uri=uri_of(file.path),
            identical=file.content in same,
            offline=away,
            gone=absent and not away,
            root=file.root,
            width=item.width,
            height=item.height,
            format=item.format,
            bytes=item.size,
            captured=item.captured,
            modified=modified(item.mtime_ns) if item.mtime_ns else "",
            probability=fits,
        )
        matches.append(match)
    return matches
