"""A collection in the place of a library's folder: it is opened and asked like one; whatever would write to it is told who fills it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from .. import forks
from ..advice import Advice, Verb
from ..errors import UsageError
from ..library.catalog import Catalog
from ..library.library import Library
from ..library.thumbnails import Thumbnails
from ..private import private_folder
from ..stores import StoreSpec, open_collection
from .pictures import Pictures
from .reading import CollectionReader

__all__ = ["CollectionLibrary", "place_of"]


def place_of(spec: StoreSpec) -> Path:
    """What is kept of a collection on this machine (small pictures): a folder of its own in the user's cache."""
    import platformdirs

    name = hashlib.sha256(str(spec).encode()).hexdigest()[:24]
    return Path(platformdirs.user_cache_dir("image-search", appauthor=False)) / "collections" / name


class CollectionLibrary(Library):
    """Safe to share between threads; opened when it is first asked.

    Args:
        most: gives the bytes that a picture fetched for showing may have.
    """

    def __init__(self, spec: StoreSpec, most: Callable[[], int]) -> None:
        super().__init__(place_of(spec))
        self.spec = spec
        self._pictures = Pictures(most)
        self._found: CollectionReader | None = None
        self._finding = forks.Lock()

    @property
    def exists(self) -> bool:
        """Whether it does is found out by asking it."""
        return True

    def reader(self) -> CollectionReader:
        with self._finding:
            if self._found is None:
                collection = open_collection(self.spec)
                try:
                    self._found = CollectionReader(collection, str(self.spec), self.folder, self._pictures.fetch)
                except BaseException:
                    collection.close()
                    raise
            return self._found

    def thumbnails(self, *, write: bool = False) -> Thumbnails:
        """A cache on this machine; where it cannot be kept, nothing is."""
        if write:
            with contextlib.suppress(OSError):
                private_folder(self.folder)
        return super().thumbnails(write=write)

    def close(self) -> None:
        super().close()
        with self._finding:
            found, self._found = self._found, None
        if found is not None:
            found.collection.close()

    def after_fork(self, in_child: bool) -> None:
        super().after_fork(in_child)
        if in_child:
            forks.keep_for_ever(self._found)
            self._found = None

    def hold_writer_lock(self, what: str) -> None:
        """Nobody writes here."""

    @contextlib.contextmanager
    def writing(self, create: Callable[[], Catalog] | None = None) -> Iterator[Catalog]:
        raise self._filled_by_load()
        yield

    @contextlib.contextmanager
    def trial(self) -> Iterator[Catalog]:
        raise self._filled_by_load()
        yield

    def must_be_a_folder(self) -> None:
        raise self._filled_by_load()

    def _filled_by_load(self) -> UsageError:
        return UsageError(
            f"{self.spec} is a collection, which nothing but `load` and `move` fill",
            hint=Advice("fill it with: ", Verb("load", ("DATASET",)), ", or name a library"),
        )
