"""How one search is answered: read the queries, ask the searcher, fold what shows the same picture."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from . import given
from .config import MOST_SIDE
from .errors import UsageError
from .images.opening import Elsewhere, FileInRoot
from .images.pool import PictureSource
from .opened import OpenLibrary
from .search.blend import blended
from .search.filters import undated_line
from .search.matches import Matches
from .search.meaning import meaning_of
from .search.own_folders import own_folders
from .search.query import Query, QueryReader
from .search.request import Request
from .search.variants import merged
from .types import Float32, Match, Picture

if TYPE_CHECKING:
    from .tidy.looks import Looks

__all__ = ["AnsweringLibrary"]


class AnsweringLibrary(OpenLibrary):
    """A library that can be asked, and shown."""

    def _found(self, asked: Request) -> Matches:
        searcher = self._open()
        reader = self._reader(searcher.reader)
        queries = reader.read_all(asked.likes, asked.lesses, asked.region)
        wanted = blended(queries, searcher, reader)
        meaning = meaning_of([query.label if query.words else None for query in queries], asked.filters, reader.words)
        same = frozenset(q.sha256 for q in queries if q.sha256 is not None and not q.less)
        filters = replace(
            asked.filters,
            leave_out=same if asked.exclude_self else frozenset(),
            other_than=own_folders(queries, searcher.reader, self._notify) if asked.other_folders else frozenset(),
        )
        questions = [("", wanted), *(self._variants(queries[0], reader) if asked.copies else ())]
        nearest = functools.partial(merged, lambda vector, n: searcher.search(vector, n, filters, asked.how, same, meaning), questions)
        found, exact = self._folded(nearest, asked.n) if asked.fold else nearest(asked.n)
        self._say(searcher.unfulfillable(filters) if filters.by_file else ())
        self._say(undated_line(found) if filters.by_date else ())
        model, narrowed = searcher.reader.fingerprint.name, asked.filters.by_file
        return Matches(
            found, queries=queries, model=model, exact=exact, library=self.library, narrowed=narrowed, opened=self.second_library
        )

    def _folded(self, search: Callable[[int], tuple[list[Match], bool]], n: int) -> tuple[list[Match], bool]:
        """Each picture once; see `tidy.fold.folded_search`."""
        from .tidy.fold import folded_search  # its pixels take .03 s to import

        return folded_search(search, self._open().reader, self.looks, n)

    def _variants(self, query: Query, reader: QueryReader) -> list[tuple[str, Float32]]:
        """The query mirrored, turned, cropped: name and vector of each."""
        from .search.variants import SIDE, variants

        if query.show is None or query.show.region is not None:
            raise UsageError("copies are looked for with a whole picture")
        pixels = self.picture(query.show.source, max_side=SIDE).pixels
        return [(name, reader.read(changed).vector) for name, changed in variants(pixels)]

    def picture(self, source: PictureSource, *, max_side: int) -> Picture:
        """For showing, its longer side at most `max_side` pixels. Raises DecodeError with its reason.

        Args:
            source: a path, a file of an indexed folder, or encoded bytes, which get an upload's limits.
        """
        recipe = self._open().reader.fingerprint.preprocess
        side = given.whole(max_side, "max_side", most=MOST_SIDE)
        if not isinstance(source, (bytes, FileInRoot, Elsewhere)):
            source = given.path(source, "the picture")
        return self.decoders.pool(recipe, sent=isinstance(source, (bytes, Elsewhere))).picture(source, max_side=side)

    @functools.cached_property
    def looks(self) -> Looks:
        """What the library's pictures look like, to be compared by pixels."""
        from .tidy.looks import Looks

        return Looks(self._small, lambda sha256: self._library.thumbnails().get(sha256))

    def _small(self, source: PictureSource, side: int) -> Picture:
        recipe = (self._open().reader if self._library.exists else self._model.for_a_new_library()).fingerprint.preprocess
        return self.decoders.pool(recipe, sent=isinstance(source, (bytes, Elsewhere))).picture(source, max_side=side)
