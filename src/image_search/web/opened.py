"""The library as the page has it open: a reader of its own beside the engine's, so that looking things up does not wait for a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..collection.reading import CollectionReader
from ..config import PAGE_MOMENTS
from ..engine import ImageSearchEngine
from ..errors import LibraryNotFoundError
from ..library.catalog import item_number
from ..library.reading import Item, Reader
from ..library.thumbnails import Thumbnails
from .jobs import Jobs
from .problems import UnknownIdError
from .recent import Recent

__all__ = ["OpenLibrary"]

V = TypeVar("V")


class OpenLibrary:
    """Opened when it is first asked, again when it was replaced; any thread may ask."""

    def __init__(self, engine: ImageSearchEngine, jobs: Jobs) -> None:
        self.engine = engine
        self._jobs = jobs
        self._library = engine.second_library()
        self._at_moment: Recent[str, tuple[tuple[int, bool], Any]] = Recent(PAGE_MOMENTS)

    def close(self) -> None:
        self._library.close()

    @property
    def exists(self) -> bool:
        """A first run takes its library away again if it fails before it has committed anything: until then there is none."""
        return self._library.exists and not self._jobs.making_library

    def must_exist(self) -> None:
        if not self.exists:
            raise LibraryNotFoundError("there is no library", path=self.engine.library, hint="index a folder first")

    @property
    def reader(self) -> Reader:
        self.must_exist()
        return self._library.reader()

    @property
    def alone(self) -> CollectionReader | None:
        """The reader, where it is a collection that stands alone: nothing of it can be held in memory to be counted."""
        reader = self.reader
        return reader if isinstance(reader, CollectionReader) else None

    @property
    def thumbnails(self) -> Thumbnails:
        return self._library.thumbnails(write=True)

    def now(self, what: str, ask: Callable[[Reader], V]) -> V:
        """An answer about the whole library, asked again when the catalog has changed or a run has ended (the store is ready then)."""
        moment = (self.reader.generation, self._jobs.running)
        kept = self._at_moment.get(what)
        if kept is None or kept[0] != moment:
            kept = (moment, ask(self.reader))
            self._at_moment.put(what, kept)
        value: V = kept[1]
        return value

    def item(self, id: str) -> Item:
        """The image "id:12"; UnknownIdError if it is not there."""
        number = item_number(id)
        found = None if number is None else self.reader.item(number)
        if found is None:
            raise UnknownIdError(f"there is no image {id} in the library", hint="it may have been moved or taken out")
        return found

    def items(self, ids: list[str]) -> list[Item]:
        """These images, each once, in this order, without those that are gone."""
        numbers = [number for id in ids if (number := item_number(id)) is not None]
        found = self.reader.items(numbers)
        return [found[number] for number in dict.fromkeys(numbers) if number in found]
