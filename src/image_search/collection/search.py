"""A vector in, matches out, from a collection: it finds, float64 decides here, and the answer says whether every row was compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from .. import forks
from ..advice import Advice, Setting
from ..config import CLOSENESS_SAMPLE
from ..errors import UsageError
from ..given import guess
from ..paths import as_text, nfc
from ..search.filters import Filters
from ..search.meaning import OF_PICTURES, Meaning
from ..search.rank import matches_of, near_enough, nearest, scale_of
from ..search.search import How, nothing_passes, unknown_class
from ..stores.collections import UNKNOWN_TIME, Condition, Near, first_after
from ..stores.exact import cosine_of, top_k
from ..types import Float32, Match
from .reading import CollectionReader, file_of

__all__ = ["CollectionSearcher", "class_counts", "conditions"]


class CollectionSearcher:
    """A `search.search.Searching` over one collection; any thread may ask."""

    def __init__(self, reader: CollectionReader) -> None:
        self.reader = reader
        self._centre: Float32 | None = None
        self._counting = forks.Lock()

    @property
    def compares_all(self) -> bool:
        """Its index compares with every row."""
        return self.reader.collection.compares_all()

    def search(
        self, query: Float32, n: int, filters: Filters, how: How, same: frozenset[bytes], meaning: Meaning = OF_PICTURES
    ) -> tuple[list[Match], bool]:
        """As `Searcher.search`. how: "exact": UsageError where the collection is too large for it; else the collection decides."""
        scale = scale_of(self.reader, filters, meaning)
        wanted = conditions(filters)
        left_out = {row.number for row in self.reader.with_bytes(filters.leave_out)}
        near = self.reader.collection.near(query, n + len(left_out), wanted, every=how == "exact")
        if how == "exact" and not near.exact:
            raise UsageError(
                "the collection is too large to be compared with one by one", hint=Advice("leave out ", Setting("how", "exact"))
            )
        same_numbers = {row.number for row in self.reader.with_bytes(same, wanted)}
        cosines = self._cosines(query, near, n + len(left_out), left_out, same_numbers)
        items = self.reader.items(list(cosines))
        found = [(file_of(item), cosines[number]) for number, item in items.items()]
        enough = near_enough(nearest(found, n, same_numbers), filters, scale, meaning)
        return matches_of(enough, same_numbers, items, self.reader), near.exact

    def _cosines(self, query: Float32, near: Near, n: int, left_out: set[int], same: set[int]) -> dict[int, float]:
        """Of the n nearest and all as near as the n-th, and of the identical, by their numbers, as exact search computes them."""
        vectors = dict(zip(near.numbers, near.vectors, strict=True))
        vectors |= self.reader.vectors(same - vectors.keys())
        for number in left_out:
            vectors.pop(number, None)
        if not vectors:
            return {}
        numbers = np.array(list(vectors), np.int64)  # (k,)
        (rows,), (cosines,) = top_k(np.array(list(vectors.values()), np.float32), query[None, :], n, ties=True)
        kept = {int(numbers[row]): float(cosine) for row, cosine in zip(rows, cosines, strict=True)}
        return kept | {number: cosine_of(vectors[number], query) for number in same if number in vectors and number not in kept}

    def search_many(
        self, queries: Float32, n: int, filters: Filters, same: Sequence[frozenset[bytes]], *, exclude_self: bool = False
    ) -> list[list[Match]]:
        """As `Searcher.search_many`, one after the other; whether every row is compared says `compares_all`."""
        return [
            self.search(query, n, filters if not exclude_self else _without(filters, mine), "auto", mine)[0]
            for query, mine in zip(queries, same, strict=True)
        ]

    def centre(self) -> Float32:
        """float32 (D,): the mean of the vectors of up to 1,000 rows from all over it."""
        if self._centre is None:
            rows = first_after(self.reader.collection, 0, CLOSENESS_SAMPLE)
            vectors = list(self.reader.vectors([row.number for row in rows]).values()) or [
                np.zeros(self.reader.fingerprint.dim, np.float32)
            ]
            mean: Float32 = np.array(vectors, np.float32).mean(axis=0, dtype=np.float64).astype(np.float32)
            self._centre = mean
        return self._centre

    def unfulfillable(self, filters: Filters) -> list[Advice]:
        """As `Searcher.unfulfillable`."""
        count = self.reader.collection.count
        names = [name for name in (*filters.names, *filters.not_names) if not count([Condition("name", "in", [_name(name)])])]
        known = {nfc(name): name for name in self.reader.known_classes()} if names else {}
        lines = [unknown_class(name, known.get(guess(nfc(name), known) or ""), filters) for name in names]
        if not names and not count(conditions(filters)):
            lines.append(nothing_passes(filters))
        if filters.by_date and (unread := count([Condition("taken", "<", UNKNOWN_TIME + 1)])):
            lines.append(Advice(f"{unread:,} images do not say when they were taken, so they are left out"))
        return lines

    def close(self) -> None:
        """The collection is its library's."""


def class_counts(reader: CollectionReader, filters: Filters) -> dict[str, int]:
    """How many rows of each known class pass the other filters; classes without any are left out."""
    wanted = conditions(filters)
    if not wanted:
        return dict(reader.classes())
    counted = reader.counted(wanted)
    return {name: count for name, count in counted if count}


def _without(filters: Filters, hashes: frozenset[bytes]) -> Filters:
    return replace(filters, leave_out=filters.leave_out | hashes)


def _name(name: str) -> str:
    return nfc(as_text(name))


# --- filters ------------------------------------------------------------------------------------------------------------------


def conditions(filters: Filters) -> list[Condition]:
    """The filters, as a collection is asked. UsageError for those that it has nothing for."""
    if filters.where is not None:
        raise UsageError("a collection keeps no table of your own", hint=Advice("leave out ", Setting("where")))
    wanted: list[Condition] = []
    for column, how, values in (
        ("name", "in", [_name(name) for name in filters.names]),
        ("name", "not in", [_name(name) for name in filters.not_names]),
        ("format", "in", list(filters.formats)),
        ("folder", "not in", sorted(filters.other_than)),
    ):
        if values:
            wanted.append(Condition(column, how, values))  # type: ignore[arg-type]  # of the table above
    if filters.path is not None:
        wanted.append(Condition("uri", "like", _pattern(filters.path)))
    wanted += [Condition("uri", "unlike", _pattern(pattern)) for pattern in filters.not_path]
    if filters.min_pixels is not None:
        wanted.append(Condition("pixels", ">=", filters.min_pixels))
    if filters.by_date:
        wanted.append(Condition("taken", ">=", UNKNOWN_TIME + 1 if filters.since is None else _seconds(filters.since)))
        if filters.until is not None:
            wanted.append(Condition("taken", "<", _seconds(filters.until)))
    return wanted


def _pattern(glob: str) -> str:
    """A glob with "*" at its beginning or its end alone."""
    if any(letter in glob[1:-1] for letter in "*?[") or glob[:1] in ("?", "[") or glob[-1:] in ("?", "["):
        raise UsageError(
            "a collection knows '*' only at the beginning and the end of a path",
            path=glob,
            hint="for example 's3://bucket/2024/*' or '*/cats/*'",
        )
    return glob


def _seconds(moment: datetime) -> int:
    """Of a clock on the wall, since 1970 on that clock."""
    return int(moment.replace(tzinfo=UTC).timestamp())
