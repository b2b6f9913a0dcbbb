"""A collection in the place of a library's folder: it is opened and asked like one, and says what it cannot do."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from .. import forks
from ..advice import Advice, Verb
from ..errors import NeedsFolderError, UsageError
from ..library.library import Library
from ..library.reading import Reader
from ..library.thumbnails import Thumbnails
from ..private import private_folder
from ..stores import StoreSpec, open_collection
from .pictures import Pictures
from .reading import CollectionReader
from .search import CollectionSearcher

__all__ = ["CollectionLibrary", "place_of"]


def _filled_by_load(name: str) -> UsageError:
    hint = Advice("fill it with: ", Verb("load", ("DATASET",)), ", or name a library")
    return UsageError(f"{name} is a collection, which nothing but `load` and `move` fill", hint=hint)


def _needs_a_folder(name: str) -> UsageError:
    hint = Advice("bring it into a folder with: ", Verb("move", (name, "NEW.library")))
    return NeedsFolderError(f"this needs a library in a folder, and {name} is a collection that stands alone", hint=hint)


# What it cannot do, by the verbs of `ImageSearchEngine`, and what is said then. It does all others as a library's folder does.
CANNOT = {
    _filled_by_load: ("forget", "index", "rebuild", "reembed", "relocate", "watch"),
    _needs_a_folder: ("annotate", "check", "decide", "decisions", "duplicates", "export", "map", "undo_decision", "verify"),
}


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
        self.name = str(spec)
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
                    self._found = CollectionReader(collection, self.folder, self._pictures.fetch)
                except BaseException:
                    collection.close()
                    raise
            return self._found

    def second(self) -> Library:
        """This one: whoever closes it closes what the next question opens again."""
        return self

    def searcher(self, _: Reader) -> CollectionSearcher:
        return CollectionSearcher(self.reader())

    def store_facts(self, _: Reader) -> dict[str, Any]:
        """As `LibraryStore.facts`, and "index" (its kind), "pending" (rows that it does not have yet), "loading": None, or of a load that
        is under way or was cut off, "from" where, and about how many "images"."""
        collection = self.reader().collection
        state, loading = collection.state(), _loading(collection.facts().get("loading", ""))
        note = f"still indexing, {state['pending']:,} rows to go" if state["pending"] else "not all is loaded" if loading else ""
        return {"store": self.name, "store_ready": not note, "store_note": note, **state, "loading": loading}

    def refuse_on(self, engine: object) -> None:
        """What it cannot do is refused by this engine, whoever asks for it."""

        def refused(why: Callable[[str], UsageError], *_: Any, **__: Any) -> NoReturn:
            raise why(self.name)

        for why, verbs in CANNOT.items():
            for verb in verbs:
                setattr(engine, verb, functools.partial(refused, why))

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


def _loading(text: str) -> dict[str, Any] | None:
    """What a load said of itself when it began; None: none is under way."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        found = json.loads(text)
        return {"from": str(found["from"]), "images": int(found["images"])}
    return None
