"""Keeps a library's store on a Chroma server. There are no files to prove: the collection's own metadata is the seal.

It says which generation and how many images the collection holds; it is taken away before the first change and put back after the last.
The collection's name is made of the library's place and the user's secret, so libraries can share a server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import StoreError
from ..locking import ProcessLock
from ..types import StoreRecords, VectorStore
from .chroma import ChromaStore, forget_collection, open_server
from .seal import Doubt, Seal, library_id, read_secret

__all__ = ["ServerKeeper"]

_NO_SEAL = {"generation": None, "count": None, "churn": None}


class ServerKeeper:
    """See `mirror.Keeper`."""

    def __init__(self, library: Path, server: str, *, dim: int, model: str) -> None:
        self.dim = dim
        self.model = model
        self.server = server
        self.name = f"images-{library_id(library, read_secret())}"
        self._lock_path = Path(library) / "store.lock"
        self._reading: ChromaStore | None = None

    def prove(self) -> Seal:
        with contextlib.closing(self._open()) as store:
            return self._sealed(store)

    def open(self, generation: int) -> VectorStore:
        self.close()
        store = self._open()
        try:
            if self._sealed(store).generation != generation:
                raise Doubt("it is not up to date with the catalog")
        except BaseException:
            store.close()
            raise
        self._reading = store
        return store

    def close(self) -> None:
        if self._reading is not None:
            store, self._reading = self._reading, None
            store.close()

    def update(self, generation: int, upserts: Iterable[StoreRecords], deletes: Iterable[Sequence[str]]) -> None:
        with self._lock("index"), contextlib.closing(self._open()) as store:
            seal = self._sealed(store)
            store.mark(_NO_SEAL)
            for ids in deletes:
                store.delete(ids)
            kept = store.count()
            written = _write(store, upserts)
            count = store.count()
            churn = seal.churn + (seal.count - kept) + (written - (count - kept))  # deleted + replaced
            store.mark({"generation": str(generation), "count": count, "churn": churn})

    def rebuild(self, generation: int, records: Iterable[StoreRecords]) -> None:
        draft = f"{self.name}-next"
        with self._lock("rebuild"):
            client = open_server(self.server)
            forget_collection(client, draft, self.server)
            with contextlib.closing(ChromaStore(client, dim=self.dim, model=self.model, where=self.server, name=draft)) as store:
                written = _write(store, records)
                count = store.count()
                if count != written:
                    raise StoreError(f"the vector store holds {count} of {written} images", path=self.server)
                store.mark({"generation": str(generation), "count": count, "churn": 0})
                forget_collection(client, self.name, self.server)
                store.rename(self.name)

    def _lock(self, what: str) -> ProcessLock:
        return ProcessLock(self._lock_path, what=what, thing="the vector store")

    def _open(self) -> ChromaStore:
        return ChromaStore(open_server(self.server), dim=self.dim, model=self.model, where=self.server, name=self.name, make=False)

    def _sealed(self, store: ChromaStore) -> Seal:
        facts = store.facts()
        try:
            generation, count, churn = int(facts["generation"]), int(facts["count"]), int(facts["churn"])
        except (KeyError, ValueError, TypeError):
            raise Doubt("it was not sealed: writing it was not finished") from None
        if store.count() != count:
            raise Doubt("the server holds another number of images than it was given")
        return Seal(generation, self.dim, self.model, count, churn, chroma="")


def _write(store: ChromaStore, records: Iterable[StoreRecords]) -> int:
    written = 0
    for batch in records:
        if len(batch.ids):
            store.upsert(batch.ids, batch.vectors, batch.metadatas)
            written += len(batch.ids)
    return written
