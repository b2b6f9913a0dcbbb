"""The store of one library: which one it is, and how it keeps up with the catalog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..advice import Advice, Setting, Verb
from ..config import DEFAULT_STORE, STORE_PAYS_FROM
from ..errors import LibraryError, MissingExtraError, StoreError
from ..library.catalog import Catalog
from ..library.reading import Reader
from . import sync
from .replica import StoreReplica

__all__ = ["LibraryStore"]


class LibraryStore:
    """The store comes second: whatever becomes of it, the catalog answers.

    Args:
        folder: the library's.
        asked: a spec that the caller named; None: the one that the library had last.
        notify: gets one plain line for each thing worth knowing.
    """

    def __init__(self, folder: Path, asked: str | None, notify: Callable[[str], None]) -> None:
        self._folder = folder
        self._asked = asked
        self._notify = notify

    def spec(self, library: Catalog | Reader) -> str:
        return self._asked or library.meta("store") or DEFAULT_STORE

    def replica(self, library: Catalog | Reader) -> StoreReplica:
        return StoreReplica(self._folder, dim=library.fingerprint.dim, model=library.fingerprint.short, spec=self.spec(library))

    def facts(self, reader: Reader) -> dict[str, Any]:
        """ "store" (its name), "store_ready" (it is a verified copy of the library as it is), "store_note" (why not)."""
        with self.replica(reader) as replica:
            ready = replica.verified_generation() == reader.generation
            why = "" if ready else replica.why or "the library has changed since"
        if not self.needed(reader):
            why = f"a store is kept from {STORE_PAYS_FROM:,} images on, or where you name one"
        return {"store": self.spec(reader), "store_ready": ready, "store_note": why}

    def needed(self, library: Catalog | Reader) -> bool:
        """Whether one is kept: it was named, or is there, or the library is so large that it would be asked.

        Below that it would cost .9 CPU s a run (Chroma's import) and a tenth of a first run, and no search would ask it.
        """
        if self._asked is not None or library.meta("store") is not None:
            return True
        reader = library if isinstance(library, Reader) else Reader(library)
        return reader.about_how_many() >= STORE_PAYS_FROM or self.replica(library).is_there()

    def choose(self, catalog: Catalog) -> None:
        """The one that was named is the library's own from now on."""
        if self._asked is not None:
            catalog.set_meta("store", self._asked)

    def follow(self, catalog: Catalog) -> None:
        """Bring it up to date, if one is kept; where that fails, say so. Raises LibraryError only where the catalog itself is not in its
        place."""
        if not self.needed(catalog):
            return
        try:
            with self.replica(catalog) as replica:
                # A library from somebody else may name a server: nothing is sent to one that the user did not name.
                if self._asked is None and replica.spec.place == "server" and replica.verified_generation() is None:
                    again = Verb("rebuild", (Setting("store", str(replica.spec)),))
                    raise StoreError(Advice(replica.why, "; to use it again, name it: ", again))
                sync.bring_up_to_date(catalog, replica)
        except (StoreError, LibraryError, MissingExtraError) as error:
            catalog.must_be_in_place()  # else they are not
            self._notify(Advice("The images are safe and can be searched (exactly), but the store is not up to date: ", error.line))

    def rebuild(self, catalog: Catalog) -> None:
        """Make it anew from the catalog, without the model. Raises StoreError, DiskFullError, MissingExtraError."""
        with self.replica(catalog) as replica:
            sync.rebuild(catalog, replica)
        self.choose(catalog)  # one that cannot be made does not replace the one that is there
