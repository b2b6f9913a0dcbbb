"""What `load` and `move` have in common: from where, to where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..advice import Advice, Setting
from ..errors import UsageError
from ..library.catalog import Catalog
from ..library.library import Library
from ..library.reading import Reader
from ..search import closeness
from ..stores import STORES, parse_spec
from .folder import create, folder_of, take_in
from .library import CollectionLibrary
from .load import Loaded, Source, fill, of_collection, of_library
from .reading import CollectionReader

__all__ = ["engine_of", "filled", "must_stand_alone", "names_store", "source_of"]

E = TypeVar("E")


def source_of(reader: Reader, say: Callable[[str], None]) -> Source:
    """A library or a collection, to be taken elsewhere."""
    if isinstance(reader, CollectionReader):
        if reader.collection.facts().get("loading"):
            say("Something is being loaded into the collection, or that was cut off; what is there now is taken along.")
        return of_collection(reader.collection, reader.description)
    return of_library(reader)


def names_store(text: str) -> bool:
    """Whether it names a store, and no folder."""
    return text.partition(":")[0] in STORES and ":" in text


def must_stand_alone(store: str) -> None:
    """UsageError where this is the store of a library, into which nothing can be brought without that."""
    if parse_spec(store).place != "collection":
        hint = Advice("name the library's folder beside ", Setting("store", store))
        raise UsageError("this is the store of a library, and no collection", path=store, hint=hint)


def engine_of(engine: Callable[..., E], place: str, store: str | None, notify: Callable[[str], None]) -> E:
    """An engine for a collection, or for a library's folder and its store."""
    if not names_store(place):
        return engine(place, store=store, notify=notify)
    must_stand_alone(place)
    if store is not None:
        raise UsageError("a collection has no store beside it", path=place, hint=Advice("leave out ", Setting("store")))
    return engine(store=place, notify=notify)


def filled(
    library: Library,
    source: Source,
    say: Callable[[str], None],
    progress: Callable[[int, int, int], object],
    follow: Callable[[Catalog], Any],
) -> Loaded:
    """Bring the source into a collection or a folder; `follow`: what is derived from a catalog follows it."""
    if isinstance(library, CollectionLibrary):
        return fill(library.spec, source, say, progress)
    folder = folder_of(source)
    with library.writing(lambda: create(library.folder, source)) as catalog:
        loaded = take_in(catalog, folder, source, progress)
        closeness.renew(catalog)
        follow(catalog)
        loaded.images = Reader(catalog).images()
    return loaded
