"""Many questions, one answer each: queries as they are read go through exact search in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..config import EACH_BATCH, EACH_SECONDS
from ..errors import QueryError
from ..library.library import Library
from ..types import Match, TextEmbedder
from .matches import Matches
from .meaning import meaning_of
from .own_folders import own_folders
from .query import Query
from .request import Request
from .search import How, Searching

__all__ = ["Each", "Search"]

Search = Callable[[int], tuple[list[Match], bool]]  # so many matches, and whether every image was compared


@dataclass(frozen=True, slots=True)
class Each:
    """What every one of many questions is asked with.

    Attributes:
        asked: what holds for all of them. library: its folder.
        notify: gets a line for people. words: the library's model, if it knows words.
        folded: a search -> its answer with each picture once. opened: opens the library to look at.
    """

    searcher: Searching
    asked: Request
    library: Path
    notify: Callable[[str], None]
    words: Callable[[], TextEmbedder]
    folded: Callable[[Search], tuple[list[Match], bool]]
    opened: Callable[[], Library] | None = None

    def answers(self, queries: Iterable[Query | QueryError]) -> Iterator[Matches | QueryError]:
        """For each query its matches, in order; an error stays in its place.

        Up to EACH_BATCH of them are compared with the library at once, and none waits for others longer than EACH_SECONDS after the next
        one has come: in a batch of 64 a comparison with 100,000 vectors of 256 numbers costs 1.2 CPU ms, alone in float32 4.6.
        """
        waiting: list[Query | QueryError] = []
        since = 0.0
        for query in queries:
            since = since if waiting else time.monotonic()
            waiting.append(query)
            if len(waiting) >= EACH_BATCH or time.monotonic() - since >= EACH_SECONDS:
                yield from self._answered(waiting)
                waiting = []
        yield from self._answered(waiting)

    def _answered(self, waiting: Sequence[Query | QueryError]) -> Iterator[Matches | QueryError]:
        found = iter(self._found([one for one in waiting if isinstance(one, Query)]))
        model, narrowed = self.searcher.reader.fingerprint.name, self.asked.filters.by_file
        exact = self.searcher.compares_all
        for one in waiting:
            if isinstance(one, QueryError):
                yield one
            else:
                yield Matches(
                    next(found), queries=[one], model=model, exact=exact, library=self.library, narrowed=narrowed, opened=self.opened
                )

    def _found(self, queries: Sequence[Query]) -> list[list[Match]]:
        asked, searcher = self.asked, self.searcher
        same = [frozenset() if query.sha256 is None else frozenset((query.sha256,)) for query in queries]
        if asked.fold or asked.other_folders or any(query.words for query in queries):
            return [self._alone(query, mine) for query, mine in zip(queries, same, strict=True)]
        meaning_of([None], asked.filters, self.words)  # do the filters fit pictures?
        vectors = np.array([query.vector for query in queries], np.float32).reshape(len(queries), searcher.reader.fingerprint.dim)
        return searcher.search_many(vectors, asked.n, asked.filters, same, exclude_self=asked.exclude_self)

    def _alone(self, query: Query, mine: frozenset[bytes]) -> list[Match]:
        """Where what passes, how many are looked at or what numbers mean differs from one to the next."""
        asked, searcher = self.asked, self.searcher
        meaning = meaning_of([query.label if query.words else None], asked.filters, self.words)
        filters = replace(
            asked.filters,
            leave_out=mine if asked.exclude_self else frozenset(),
            other_than=own_folders([query], searcher.reader, self.notify) if asked.other_folders else frozenset(),
        )

        def search(n: int) -> tuple[list[Match], bool]:
            how: How = "exact" if searcher.compares_all else "auto"
            return searcher.search(query.vector, n, filters, how, mine, meaning)

        return (self.folded(search) if asked.fold else search(asked.n))[0]
