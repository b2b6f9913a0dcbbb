"""The search behind the page: pictures by their ids in, matches as the page shows them out."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from ..config import PAGE_QUERIES
from ..library.catalog import item_number
from ..library.reading import Reader
from ..models import near_identical
from ..paths import shown
from ..present.json import matches_json
from ..search.matches import Matches
from ..search.query import Query
from ..search.same_picture import same_picture
from ..types import Region
from .browsing import thumbnail_address, view_address
from .opened import OpenLibrary
from .pictures import Pictures, upload_address
from .recent import Recent
from .schemas import Hit, QueryPart, QueryShown, SearchAnswer, SearchRequest

__all__ = ["Searching"]

# What a question is made of. The reader, because a replaced library may have vectors of another model; the content, because the
# same id may get another picture.
_Key = tuple[Reader, str, Region | None, int]


class Searching:
    """In one library; any thread may ask."""

    def __init__(self, library: OpenLibrary, pictures: Pictures) -> None:
        self._library = library
        self._pictures = pictures
        self._queries: Recent[_Key, Query] = Recent(PAGE_QUERIES)

    def search(self, request: SearchRequest) -> SearchAnswer:
        self._library.must_exist()
        read = [(part, *self._query(part)) for part in request.queries]
        matches = self._library.engine.search(
            [query for part, query, _ in read if not part.less],
            request.n,
            less=[query for part, query, _ in read if part.less],
            names=request.names,
            path=request.path or None,
            min_similarity=request.min_similarity,
            min_closeness=request.min_closeness,
            exclude_self=request.exclude_self,
        )
        threshold = self.threshold(matches.model)
        return SearchAnswer(
            queries=[shown_query for _, _, shown_query in read],
            matches=self._hits(matches, threshold),
            model=shown(matches.model),
            exact=matches.exact,
            complete=len(matches) < request.n,
            near_identical=threshold,
        )

    @staticmethod
    def threshold(model: str) -> float | None:
        """Similarity from which two pictures count as the same one; None: not measured for this model."""
        return near_identical(model)

    def _query(self, part: QueryPart) -> tuple[Query, QueryShown]:
        """The vector (kept between searches) and what the page shows of it."""
        source: str | bytes
        if part.id.startswith("up:"):
            upload = self._pictures.uploaded(part.id)
            source, content, label, view = upload.data, 0, "", upload_address(part.id)
            width, height = upload.width, upload.height
        else:
            item = self._library.item(part.id)
            source, content, label, view = part.id, item.content, os.path.basename(item.path), view_address(item)
            width, height = item.width, item.height
        region = None if part.region is None else part.region.region()
        key = (self._library.reader, part.id, region, content)
        query = self._queries.get(key)
        if query is None:
            query = self._library.engine.query(source, region=region)
            query = replace(query, show=None, label=part.id)  # the vector is kept, 20 MB of picture are not
            self._queries.put(key, query)
        return query, QueryShown(id=part.id, label=shown(label), less=part.less, width=width, height=height, view=view)

    def _hits(self, matches: Matches, threshold: float | None) -> list[Hit]:
        reader = self._library.reader
        numbers = [number for match in matches if (number := item_number(match.id)) is not None]
        found = reader.items(numbers)
        rows = [(found[n], match) for n, match in zip(numbers, _as_json(matches), strict=True) if n in found]
        leaders = same_picture(reader, [item.content for item, _ in rows], threshold)
        return [
            Hit(
                id=match["id"],
                rank=position + 1,
                name=match["name"],
                similarity=match["similarity"],
                closeness=match["closeness"],
                path=shown(item.path),
                uri=match["uri"],
                identical=match["identical"],
                offline=match["offline"],
                gone=match["gone"],
                width=item.width,
                height=item.height,
                same_as=None if leader == position else leader + 1,
                thumbnail=thumbnail_address(item),
            )
            for position, ((item, match), leader) in enumerate(zip(rows, leaders, strict=True))
        ]


def _as_json(matches: Matches) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = matches_json(list(matches), query="", model="", exact=True)["matches"]
    return rows
