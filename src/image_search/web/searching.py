"""The search behind the page: pictures by their ids in, matches as the page shows them out."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..collection.search import class_counts
from ..config import PAGE_COMPARED, PAGE_QUERIES, PAGE_RESULTS
from ..library.annotations import columns_of
from ..library.catalog import item_number
from ..library.reading import Item, Reader
from ..models import near_identical
from ..paths import as_text, shown
from ..present.json import matches_json
from ..search.filters import Filters
from ..search.matches import Matches
from ..search.own_folders import own_folders
from ..search.query import Query
from ..search.sieve import Sieve
from ..tidy.fold import repeats
from ..types import Match, Region, Text
from .asking import ColumnKind, Dates, Facets, FacetsRequest, FormatCount
from .browsing import Whereabouts, thumbnail_address, utc, view_address
from .opened import OpenLibrary
from .pictures import Pictures, upload_address
from .problems import plain
from .recent import Recent
from .schemas import (
    ClassCount,
    Classes,
    Columns,
    CountsRequest,
    Hit,
    QueryPart,
    QueryShown,
    SearchAnswer,
    SearchRequest,
    VoteShown,
)
from .walls import as_text_of, heights, shapes, small_heights

__all__ = ["Searching"]

V = TypeVar("V")

# What a question is made of. The reader, because a replaced library may have vectors of another model; the content (of what was sent:
# its size, negative), because the same id may get another picture.
_Key = tuple[Reader, str, Region | None, int]


class _Found(NamedTuple):
    """A match as the page counts it; `same_as`: rank of an earlier one that shows the same picture."""

    rank: int
    item: Item
    match: Match
    same_as: int | None


class Searching:
    """In one library; any thread may ask."""

    def __init__(self, library: OpenLibrary, pictures: Pictures) -> None:
        self._library = library
        self._pictures = pictures
        self._queries: Recent[_Key, Query] = Recent(PAGE_QUERIES)
        self._sieve: tuple[Reader, Sieve] | None = None
        self._sifting = threading.Lock()

    def search(self, request: SearchRequest) -> SearchAnswer:
        self._library.must_exist()
        read = [(part, *self._query(part)) for part in request.queries]
        matches = self._library.engine.search(
            [(query, part.weight) for part, query, _ in read if not part.less],
            request.n,
            less=[(query, part.weight) for part, query, _ in read if part.less],
            names=request.names,
            min_similarity=request.min_similarity,
            min_closeness=request.min_closeness,
            min_probability=request.min_probability,
            exclude_self=request.exclude_self,
            other_folders=request.other_folders,
            **request.given(),
        )
        found = self._found(matches)
        where = Whereabouts(self._library.reader)
        full = request.full if self._library.alone is None else len(found)  # its numbers are longer than JavaScript's
        return SearchAnswer(
            queries=[shown_query for _, _, shown_query in read],
            matches=[_hit(one, where) for one in found[:full]],
            rest=_columns(found[full:]) if len(found) > full else None,
            model=shown(matches.model),
            exact=matches.exact,
            vote=None if (vote := matches.vote()) is None else VoteShown(name=as_text(vote.name), votes=vote.votes, of=vote.of),
            complete=len(matches) < request.n,
            near_identical=near_identical(matches.model),
        )

    def class_counts(self, request: CountsRequest) -> Classes:
        """How many images of each class pass the other filters: of the whole library, or of the matches that are near enough."""
        self._library.must_exist()
        read = [(part, self._query(part)[0]) for part in request.queries]
        if request.queries and (request.min_similarity is not None or request.min_probability is not None):
            matches = self._library.engine.search(
                [(query, part.weight) for part, query in read if not part.less],
                PAGE_RESULTS,
                less=[(query, part.weight) for part, query in read if part.less],
                min_similarity=request.min_similarity,
                min_probability=request.min_probability,
                other_folders=request.other_folders,
                **request.given(),
            )
            counts = dict(Counter(match.name for match in matches))
        else:
            filters = Filters.checked(**request.given())
            if request.other_folders and read:
                likes = [replace(query, less=part.less) for part, query in read]
                filters = replace(filters, other_than=own_folders(likes, self._library.reader, lambda _: None))
            reader = self._library.reader
            if (alone := self._library.alone) is not None:
                counts = class_counts(alone, filters)
            else:
                counts = self._sifted(lambda sieve: sieve.counts(filters)) if filters.by_file else dict(reader.classes())
        return Classes(classes=[ClassCount(name=as_text(name), images=images) for name, images in sorted(counts.items())])

    def facets(self, request: FacetsRequest) -> Facets:
        """When the images were taken, and of which formats they are, that pass the other filters."""
        self._library.must_exist()
        filters = Filters.checked(names=request.names, **request.given())
        if self._library.alone is not None:  # its dates and formats are not counted
            return Facets(dates=Dates(unit="year", first="", images=[], by_file=0, unread=0), formats=[], columns=[])
        line, own, unread = self._sifted(lambda sieve: sieve.dates(replace(filters, since=None, until=None)))
        formats = self._sifted(lambda sieve: sieve.formats(replace(filters, formats=())))
        return Facets(
            dates=Dates(unit=line.unit, first=line.first, images=line.counts, by_file=sum(line.counts) - own, unread=unread),
            formats=[FormatCount(name=as_text(name), images=images) for name, images in formats],
            columns=[ColumnKind(name=shown(name), kind=kind) for name, kind, _ in columns_of(self._library.reader.catalog)],
        )

    def _sifted(self, ask: Callable[[Sieve], V]) -> V:
        reader = self._library.reader
        with self._sifting:
            if self._sieve is None or self._sieve[0] is not reader:
                self._sieve = reader, Sieve(reader)
            with reader.snapshot():
                return ask(self._sieve[1])

    def _query(self, part: QueryPart) -> tuple[Query, QueryShown]:
        """The vector (kept between searches) and what the page shows of it."""
        if part.id is None:
            return self._words(part)
        source: str | bytes | Query
        region = None if part.region is None else part.region.region()
        if part.id.startswith("up:"):
            upload = self._pictures.uploaded(part.id)
            source, content, label, view = upload.data, -len(upload.data), "", upload_address(upload)
            width, height = upload.width, upload.height
            if upload.original and region is None and (known := self._library.reader.content_of(bytes.fromhex(upload.original))):
                source, content = self._known(part.id, known, bytes.fromhex(upload.original)), known
            region = None if region is None else upload.on_data(region)
        else:
            item = self._library.item(part.id)
            source, content, label, view = part.id, item.content, os.path.basename(item.path), view_address(item)
            width, height = item.width, item.height
        key = (self._library.reader, part.id, region, content)
        query = self._queries.get(key)
        if query is None:
            query = self._library.engine.query(source, region=region)
            query = replace(query, show=None, label=part.id)  # the vector is kept, 20 MB of picture are not
            self._queries.put(key, query)
        return query, QueryShown(id=part.id, text="", read=None, label=shown(label), less=part.less, width=width, height=height, view=view)

    def _known(self, label: str, content: int, sha256: bytes) -> Query:
        """A picture whose vector the library has."""
        reader = self._library.reader
        return Query(label, reader.vector(content), sha256=sha256, model=reader.fingerprint.short)

    def _words(self, part: QueryPart) -> tuple[Query, QueryShown]:
        phrase = str(part.text).strip()
        key = (self._library.reader, f"text {phrase}", None, 0)  # no id is like that
        query = self._queries.get(key)
        if query is None:
            query = self._library.engine.query(Text(phrase))
            self._queries.put(key, query)
        return query, QueryShown(
            id="", text=plain(phrase), read=query.read, label=plain(phrase), less=part.less, width=0, height=0, view=""
        )

    def _found(self, matches: Matches) -> list[_Found]:
        reader = self._library.reader
        numbers = [number for match in matches if (number := item_number(match.id)) is not None]
        items = reader.items(numbers)
        there = [(items[number], match) for number, match in zip(numbers, matches, strict=True) if number in items]
        same = repeats(reader, self._library.engine.looks, [item for item, _ in there], most=PAGE_COMPARED)
        return [
            _Found(position + 1, item, match, None if repeat is None else repeat.first + 1)
            for position, ((item, match), repeat) in enumerate(zip(there, same, strict=True))
        ]


def _hit(found: _Found, where: Whereabouts) -> Hit:
    item = found.item
    match = _as_json(found.match)
    return Hit(
        id=match["id"],
        rank=found.rank,
        name=match["name"],
        similarity=match["similarity"],
        closeness=match["closeness"],
        probability=match["probability"],
        path=shown(item.path),
        uri=match["uri"],
        identical=match["identical"],
        offline=match["offline"],
        gone=match["gone"],
        state=where.of(item),
        width=item.width,
        height=item.height,
        format=item.format,
        bytes=item.size,
        captured=item.captured or None,
        modified=utc(item.mtime_ns),
        same_as=found.same_as,
        thumbnail=thumbnail_address(item),
    )


def _columns(found: Sequence[_Found]) -> Columns:
    """Rounded to what is shown of them: that halves what is sent."""
    sizes = np.array([(one.item.width, one.item.height) for one in found], np.float64)
    first = found[0].match
    return Columns(
        ids=[one.item.number for one in found],
        similarity=[round(max(-1.0, min(1.0, float(one.match.similarity))), 4) for one in found],
        closeness=[round(one.match.closeness or 0.0, 3) for one in found] if first.closeness is not None else None,
        probability=[round(one.match.probability or 0.0, 4) for one in found] if first.probability is not None else None,
        shape=as_text_of(shapes(sizes)),
        heights=small_heights(heights(sizes)),
        same_as=[one.same_as for one in found],
    )


def _as_json(match: Match) -> dict[str, Any]:
    row: dict[str, Any] = matches_json([match], query="", model="", exact=True)["matches"][0]
    return row
