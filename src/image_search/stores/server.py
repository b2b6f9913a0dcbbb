"""Keeps a library's store on a Chroma server. There are no files to prove: the collection's own metadata says what it holds.

It names the generation and the number of images; it is taken away before the first change and put back after the last. A seal in the
library (store.server/) says the same and names the server, signed with the user's secret: a library that came from a stranger cannot make
a search send its queries to the stranger's server. The collection's name is made of the library's place and that secret, so libraries
can share a server.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import StoreError
from ..library.lock import ProcessLock
from ..types import StoreRecords, VectorStore
from .chroma import ChromaStore, forget_collection, open_server
from .manifest import SEAL_NAME, Doubt, Seal, library_id, read_seal, read_secret, write_seal
from .verified import file_errors, is_folder, own_secret, remove

__all__ = ["ServerKeeper"]

_NO_SEAL = {"generation": None, "count": None}


class ServerKeeper:
    """See `mirror.Keeper`."""

    def __init__(self, library: Path, server: str, *, dim: int, model: str) -> None:
        self.dim = dim
        self.model = model
        self.server = server
        self.name = f"images-{library_id(library, read_secret())}"
        self.library = Path(library)
        self.seal = self.library / "store.server"
        self._reading: ChromaStore | None = None

    def prove(self) -> Seal:
        mine = self._mine()
        with contextlib.closing(self._open()) as store:
            self._agree(store, mine)
        return mine

    def open(self, generation: int) -> VectorStore:
        self.close()
        mine = self._mine()
        if mine.generation != generation:
            raise Doubt("it is not up to date with the catalog")
        store = self._open()
        try:
            self._agree(store, mine)
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
        with self._lock("index"):
            seal = self._mine()
            with contextlib.closing(self._open()) as store:
                self._agree(store, seal)
                self._unseal()
                store.mark(_NO_SEAL)
                for ids in deletes:
                    store.delete(ids)
                kept = store.count()
                written = _write(store, upserts)
                count = store.count()
                churn = seal.churn + (seal.count - kept) + (written - (count - kept))  # deleted + replaced
                store.mark({"generation": str(generation), "count": count})
            self._write_seal(generation, count, churn)

    def rebuild(self, generation: int, records: Iterable[StoreRecords]) -> None:
        draft = f"{self.name}-next"
        with self._lock("rebuild"):
            own_secret()
            self._unseal()
            client = open_server(self.server)
            forget_collection(client, draft, self.server)
            with contextlib.closing(ChromaStore(client, dim=self.dim, model=self.model, where=self.server, name=draft)) as store:
                written = _write(store, records)
                count = store.count()
                if count != written:
                    raise StoreError(f"the vector store holds {count} of {written} images", path=self.server)
                store.mark({"generation": str(generation), "count": count})
                forget_collection(client, self.name, self.server)
                store.rename(self.name)
            self._write_seal(generation, count, 0)

    def _lock(self, what: str) -> ProcessLock:
        return ProcessLock(self.library / "store.lock", what=what, thing="the vector store")

    def _open(self) -> ChromaStore:
        return ChromaStore(open_server(self.server), dim=self.dim, model=self.model, where=self.server, name=self.name, make=False)

    def _mine(self) -> Seal:
        """The seal in the library; nothing is asked of a server that it does not name."""
        seal = read_seal(self.seal, own_secret())
        if seal.chroma != self.server:
            raise Doubt("it was made on another server")
        if (seal.model, seal.dim) != (self.model, self.dim):
            raise Doubt("it holds vectors of another model")
        return seal

    def _agree(self, store: ChromaStore, mine: Seal) -> None:
        facts = store.facts()
        if "generation" not in facts:
            raise Doubt("it was not sealed: writing it was not finished")
        if (facts["generation"], facts.get("count")) != (str(mine.generation), mine.count):
            raise Doubt("the server holds another state of it")
        if store.count() != mine.count:
            raise Doubt("the server holds another number of images than it was given")

    def _unseal(self) -> None:
        with file_errors(self.seal):
            if not is_folder(self.seal):
                remove(self.seal)
                os.mkdir(self.seal)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.seal / SEAL_NAME)

    def _write_seal(self, generation: int, count: int, churn: int) -> None:
        with file_errors(self.seal):
            write_seal(self.seal, Seal(generation, self.dim, self.model, count, churn, chroma=self.server), own_secret())


def _write(store: ChromaStore, records: Iterable[StoreRecords]) -> int:
    written = 0
    for batch in records:
        if len(batch.ids):
            store.upsert(batch.ids, batch.vectors, batch.metadatas)
            written += len(batch.ids)
    return written
