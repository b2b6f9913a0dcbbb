"""The library as the page has it open: a reader of its own beside the engine's, so that looking things up does not wait for a search."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..config import PAGE_MOMENTS
from ..engine import ImageSearchEngine
from ..errors import LibraryNotFoundError, QueryError
from ..library import reading
from ..library.catalog import Catalog, item_number
from ..library.reading import Item
from ..library.thumbnails import Thumbnails
from .jobs import Jobs
from .recent import Recent

__all__ = ["OpenLibrary"]

V = TypeVar("V")


class OpenLibrary:
    """Opened when it is first asked, anew when it was replaced; any thread may ask."""

    def __init__(self, engine: ImageSearchEngine, jobs: Jobs) -> None:
        self.engine = engine
        self._jobs = jobs
        self._catalog: Catalog | None = None
        self._thumbnails: Thumbnails | None = None
        self._retired: list[Catalog | Thumbnails] = []  # of a library that was replaced; another thread may still read them
        self._opening = threading.Lock()
        self._at_moment: Recent[str, tuple[tuple[int, bool], Any]] = Recent(PAGE_MOMENTS)

    def close(self) -> None:
        for kept in (*self._retired, self._catalog, self._thumbnails):
            if kept is not None:
                kept.close()

    @property
    def exists(self) -> bool:
        """A first run takes its library away again if it fails before it has committed anything: until then there is none."""
        return Catalog.exists(self.engine.library) and not self._jobs.making_library

    def must_exist(self) -> None:
        if not self.exists:
            raise LibraryNotFoundError("there is no library", path=self.engine.library, hint="index a folder first")

    @property
    def catalog(self) -> Catalog:
        with self._opening:
            if self._catalog is not None and self._catalog.replaced:
                self._retired.append(self._catalog)
                self._retired += [self._thumbnails] if self._thumbnails is not None else []
                self._catalog = self._thumbnails = None
            if self._catalog is None:
                self.must_exist()
                self._catalog = Catalog.open(self.engine.library)
            return self._catalog

    @property
    def thumbnails(self) -> Thumbnails:
        with self._opening:
            if self._thumbnails is None:
                self._thumbnails = Thumbnails(self.engine.library, write=True)
            return self._thumbnails

    def now(self, what: str, ask: Callable[[Catalog], V]) -> V:
        """An answer about the whole library, asked again when the catalog has changed or a run has ended (the store is ready then)."""
        moment = (self.catalog.generation, self._jobs.running)
        kept = self._at_moment.get(what)
        if kept is None or kept[0] != moment:
            kept = (moment, ask(self.catalog))
            self._at_moment.put(what, kept)
        value: V = kept[1]
        return value

    def item(self, id: str) -> Item:
        """The image "id:12"; QueryError if it is not there."""
        number = item_number(id)
        found = reading.items(self.catalog, [number]) if number is not None else {}
        if number not in found:
            raise QueryError(f"there is no image {id} in the library", hint="it may have been moved or taken out")
        return found[number]

    def items(self, ids: list[str]) -> list[Item]:
        """These images, each once, in this order, without those that are gone."""
        numbers = [number for id in ids if (number := item_number(id)) is not None]
        found = reading.items(self.catalog, numbers)
        return [found[number] for number in dict.fromkeys(numbers) if number in found]
