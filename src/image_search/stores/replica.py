"""The store of one library, as the engine sees it: is it an exact copy of the catalog; open it to read, bring it up to date, rebuild it.

Two backends do the work, one for stores with files in the library's folder (`verified`), one for stores on a server (`server`). Both raise
`Unverified` where a store is not known to be intact; here it becomes None and a reason in plain words, and the caller searches exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from ..advice import Advice, Verb
from ..config import DEFAULT_STORE, STORE_MAX_DEAD
from ..errors import ImageSearchError, StoreError, UsageError
from ..types import StoreRecords, VectorStore
from . import StoreSpec, parse_spec
from .manifest import Manifest, Unverified

__all__ = ["ReplicaBackend", "StoreReplica"]


class ReplicaBackend(Protocol):
    """Keeps one library's store. All but `close` raise Unverified where it is not known to be intact or cannot be finished."""

    def is_there(self) -> bool: ...
    def verify(self) -> Manifest: ...
    def open(self, generation: int) -> VectorStore: ...
    def update(self, generation: int, upserts: Iterable[StoreRecords], deletes: Iterable[Sequence[str]]) -> None: ...
    def rebuild(self, generation: int, records: Iterable[StoreRecords]) -> None: ...
    def close(self) -> None: ...


class StoreReplica:
    """The store of one library.

    Args:
        library: the library's folder.
        dim: D of its vectors.
        model: short name of its model's fingerprint; a store of another one is never used.
        spec: see `StoreSpec`: "chroma" (in the library), "chroma:http://host:port" (on a server), "exact" (none: nothing to write).

    Attributes:
        spec: parsed.
        why: plain words why the last `verified_generation` or `open` said None; "" if it did not.
        unknown: one line if there is no such store, as a library from a later version or a stranger may say; else empty. Such a one is
            never verified, and cannot be written.
        needs_rebuild: over 30 % of the records in its index are dead (deleted or replaced), as last verified: rebuild, do not update.
    """

    def __init__(self, library: Path, *, dim: int, model: str, spec: str = DEFAULT_STORE) -> None:
        self.unknown: list[str] = []
        try:
            self.spec = parse_spec(spec)
        except UsageError as error:
            self.spec, self.unknown = StoreSpec("exact"), [error.line]
        if self.spec.place == "collection":  # as a library from a stranger may say
            self.spec, self.unknown = StoreSpec("exact"), [f"{spec!r} is a collection that stands alone, and no store of a library"]
        self.why = ""
        self.needs_rebuild = False
        self._backend = _backend(library, self.spec, dim, model)

    def is_there(self) -> bool:
        """Whether there is anything of it, in whatever state."""
        return self._backend is not None and self._backend.is_there()

    def verified_generation(self) -> int | None:
        """The catalog's generation of which the store is a copy: every byte is hashed (100,000 images: .2 s). None: see `why`."""
        self.why = ""
        try:
            manifest = self._used().verify()
        except (Unverified, ImageSearchError) as error:
            self.why = _words(error)
            return None
        self.needs_rebuild = manifest.churn > STORE_MAX_DEAD * manifest.count
        return manifest.generation

    def open(self, generation: int) -> VectorStore | None:
        """The store to read, if it is an exact copy of this generation; None (and `why`) otherwise. Never waits long.

        A store with files is opened as a copy: it stays as it is whatever others do to the library, until `close`.
        """
        self.close()
        self.why = ""
        try:
            return self._used().open(generation)
        except (Unverified, ImageSearchError) as error:
            self.why = _words(error)
            return None

    def update(self, generation: int, upserts: Iterable[StoreRecords], deletes: Iterable[Sequence[str]]) -> None:
        """Bring a verified store to this generation: `deletes` first, then `upserts`. All or nothing: killed anywhere, it is as it was.

        It costs a copy of the store, so call it once a run and not once a batch. With nothing to write only the manifest is renewed.

        Raises: StoreError: it is not verified (rebuild it), or it failed. DiskFullError, LibraryReadOnlyError, LibraryBusyError.
        """
        if (backend := self._written()) is None:
            return
        try:
            backend.update(generation, upserts, deletes)
        except Unverified as reason:
            hint = Advice("rebuild it with: ", Verb("rebuild"))
            raise StoreError(f"the vector store cannot be brought up to date: {reason}", hint=hint) from reason

    def rebuild(self, generation: int, records: Iterable[StoreRecords]) -> None:
        """Build the store anew beside the old one, which stays until the new one is finished. No id may come twice.

        Raises: StoreError, DiskFullError, LibraryReadOnlyError, LibraryBusyError.
        """
        if (backend := self._written()) is None:
            return
        try:
            backend.rebuild(generation, records)
        except Unverified as reason:
            raise StoreError(f"the vector store cannot be finished: {reason}", hint="searching works without it") from reason

    def close(self) -> None:
        """Close what `open` opened."""
        if self._backend is not None:
            self._backend.close()

    def __enter__(self) -> StoreReplica:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _written(self) -> ReplicaBackend | None:
        if self.unknown:
            raise StoreError(*self.unknown)
        return self._backend

    def _used(self) -> ReplicaBackend:
        if self.unknown:
            raise Unverified(*self.unknown)
        if self._backend is None:
            raise Unverified("this library is searched exactly, without a store")
        return self._backend


def _words(error: Unverified | ImageSearchError) -> str:
    return error.line if isinstance(error, ImageSearchError) else str(error)


def _backend(library: Path, spec: StoreSpec, dim: int, model: str) -> ReplicaBackend | None:
    """None: nothing is kept, so there is nothing to verify."""
    if spec.place == "memory":
        return None
    if spec.place == "files":
        from .verified import FilesBackend

        return FilesBackend(library, spec, dim=dim, model=model)
    from .server import ServerBackend

    return ServerBackend(library, spec, dim=dim, model=model)
