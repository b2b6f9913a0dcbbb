"""The store of one library, as the engine sees it: does it mirror the catalog, open it to read, let it follow, build it anew.

Two keepers do the work, one for a store in the library's folder (`folder`), one for a Chroma server (`remote`). Both raise `Doubt` where a
store is not proven; here it becomes None and a reason in plain words, and the caller answers exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from ..errors import ImageSearchError, StoreError
from ..types import StoreRecords, VectorStore
from . import server_of
from .manifest import Doubt, Seal

__all__ = ["Mirror"]

_WORN = 0.3  # share of dead records in the index from which building anew beats following


class Keeper(Protocol):
    """Keeps one library's store. All but `close` raise Doubt where it is not proven or cannot be sealed."""

    def prove(self) -> Seal: ...
    def open(self, generation: int) -> VectorStore: ...
    def update(self, generation: int, upserts: Iterable[StoreRecords], deletes: Iterable[Sequence[str]]) -> None: ...
    def rebuild(self, generation: int, records: Iterable[StoreRecords]) -> None: ...
    def close(self) -> None: ...


class Mirror:
    """The store of one library.

    Args:
        library: the library's folder.
        dim: D of its vectors.
        model: short name of its model's fingerprint; a store of another one is never used.
        spec: "chroma" (in the library), "chroma:http://host:port" (on a server), "exact" (none: never sealed, nothing to write).

    Attributes:
        why: plain words why the last `sealed_generation` or `open` said None; "" if it did not.
        worn: over 30 % of the records in its index are dead (deleted or replaced), as last proven: rebuild rather than update.
    """

    def __init__(self, library: Path, *, dim: int, model: str, spec: str = "chroma") -> None:
        self.why = ""
        self.worn = False
        server = server_of(spec)
        self._keeper: Keeper | None
        if spec == "exact":
            self._keeper = None
        elif server is None:
            from .verified import FolderKeeper

            self._keeper = FolderKeeper(library, dim=dim, model=model)
        else:
            from .server import ServerKeeper

            self._keeper = ServerKeeper(library, server, dim=dim, model=model)

    def sealed_generation(self) -> int | None:
        """The catalog generation that the store mirrors, proven by its seal: every byte is hashed (100,000 images: .2 s). None: `why`."""
        self.why = ""
        try:
            seal = self._used().prove()
        except (Doubt, ImageSearchError) as error:
            self.why = str(error)
            return None
        self.worn = seal.churn > _WORN * seal.count
        return seal.generation

    def open(self, generation: int) -> VectorStore | None:
        """The store to read, if it is proven to mirror exactly this generation; None (and `why`) otherwise. Never waits long.

        A store in a folder is opened as a copy: it stays as it is whatever others do to the library, until `close`.
        """
        self.close()
        self.why = ""
        try:
            return self._used().open(generation)
        except (Doubt, ImageSearchError) as error:
            self.why = str(error)
            return None

    def update(self, generation: int, upserts: Iterable[StoreRecords], deletes: Iterable[Sequence[str]]) -> None:
        """Bring a sealed store to this generation: `deletes` first, then `upserts`. All or nothing: killed anywhere, it is as it was.

        It costs a copy of the store, so call it once a run and not once a batch. With nothing to write only the seal is renewed.

        Raises: StoreError: it is not sealed (rebuild it), or Chroma failed. DiskFullError, LibraryReadOnlyError, LibraryBusyError.
        """
        if self._keeper is None:
            return
        try:
            self._keeper.update(generation, upserts, deletes)
        except Doubt as doubt:
            raise StoreError(
                f"the vector store cannot be brought up to date: {doubt}", hint="make it anew: image-search rebuild"
            ) from doubt

    def rebuild(self, generation: int, records: Iterable[StoreRecords]) -> None:
        """Build the store anew beside the old one, which stays until the new one is sealed. No id may come twice.

        Raises: StoreError, DiskFullError, LibraryReadOnlyError, LibraryBusyError.
        """
        if self._keeper is None:
            return
        try:
            self._keeper.rebuild(generation, records)
        except Doubt as doubt:
            raise StoreError(f"the vector store cannot be sealed: {doubt}", hint="searching works without it") from doubt

    def close(self) -> None:
        """Close what `open` opened."""
        if self._keeper is not None:
            self._keeper.close()

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _used(self) -> Keeper:
        if self._keeper is None:
            raise Doubt("this library is searched exactly, without a store")
        return self._keeper
