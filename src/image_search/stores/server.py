"""Keeps a library's store on a server. There are no files to verify: the store there says by itself what it holds.

It names the generation and the number of images; both are taken away before the first change and put back after the last. A manifest in
the library (store.server/) says the same and names the server, signed with the user's secret: a library that came from a stranger cannot
make a search send its queries to the stranger's server. The store's name is made of the library's place and that secret, so libraries
can share a server.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import StoreError
from ..forks import keep_for_ever, watch
from ..library.lock import ProcessLock
from ..types import StoreRecords, VectorStore
from . import StoreSpec, name_on_server, open_server
from .manifest import MANIFEST_NAME, Manifest, Unverified, own_secret, read_manifest, write_manifest
from .protocols import ServerStore
from .verified import file_errors, is_folder, remove, write

__all__ = ["ServerBackend"]

_UNFINISHED = {"generation": None, "count": None}


class ServerBackend:
    """See `replica.ReplicaBackend`."""

    def __init__(self, library: Path, spec: StoreSpec, *, dim: int, model: str) -> None:
        self.spec = spec
        self.dim = dim
        self.model = model
        self.address = str(spec.address)
        self.server = spec.row.server(self.address)  # as a manifest names it
        self.name = name_on_server(library)
        self.library = Path(library)
        self.manifest = self.library / "store.server"
        self._reading: ServerStore | None = None
        watch(self)

    def is_there(self) -> bool:
        return os.path.lexists(self.manifest)

    def verify(self) -> Manifest:
        mine = self._mine()
        with contextlib.closing(self._open()) as store:
            self._agree(store, mine)
        return mine

    def open(self, generation: int) -> VectorStore:
        self.close()
        mine = self._mine()
        if mine.generation != generation:
            raise Unverified("it is not up to date with the catalog")
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

    def after_fork(self, in_child: bool) -> None:
        if in_child and self._reading is not None:  # the parent asks it; closed here it would be gone there
            keep_for_ever(self._reading)
            self._reading = None

    def update(self, generation: int, upserts: Iterable[StoreRecords], deletes: Iterable[Sequence[str]]) -> None:
        with self._lock("index"):
            mine = self._mine()
            with contextlib.closing(self._open()) as store:
                self._agree(store, mine)
                self._remove_manifest()
                store.mark(_UNFINISHED)
                for ids in deletes:
                    store.delete(ids)
                kept = store.count()
                written = write(store, upserts)
                count = store.count()
                churn = mine.churn + (mine.count - kept) + (written - (count - kept))  # deleted + replaced
                store.mark({"generation": str(generation), "count": count})
            self._write_manifest(generation, count, churn)

    def rebuild(self, generation: int, records: Iterable[StoreRecords]) -> None:
        draft = f"{self.name}-next"
        with self._lock("rebuild"):
            own_secret()
            self._remove_manifest()
            with contextlib.closing(open_server(self.spec, name=draft, dim=self.dim, model=self.model, fresh=True)) as store:
                written = write(store, records)
                count = store.count()
                if count != written:
                    raise StoreError(f"the vector store holds {count} of {written} images", path=self.address)
                store.mark({"generation": str(generation), "count": count})
                store.replace(self.name)
            self._write_manifest(generation, count, 0)

    def _lock(self, what: str) -> ProcessLock:
        return ProcessLock(self.library / "store.lock", what=what, thing="the vector store")

    def _open(self) -> ServerStore:
        return open_server(self.spec, name=self.name, dim=self.dim, model=self.model)

    def _mine(self) -> Manifest:
        """The manifest in the library; nothing is asked of a server that it does not name."""
        manifest = read_manifest(self.manifest, own_secret())
        if manifest.written_by != self.server:
            raise Unverified("it was made on another server")
        if (manifest.model, manifest.dim) != (self.model, self.dim):
            raise Unverified("it holds vectors of another model")
        return manifest

    def _agree(self, store: ServerStore, mine: Manifest) -> None:
        facts = store.facts()
        if "generation" not in facts:
            raise Unverified("it was not finished")
        if (facts["generation"], facts.get("count")) != (str(mine.generation), mine.count):
            raise Unverified("the server holds another state of it")
        if store.count() != mine.count:
            raise Unverified("the server holds another number of images than it was given")

    def _remove_manifest(self) -> None:
        with file_errors(self.manifest):
            if not is_folder(self.manifest):
                remove(self.manifest)
                os.mkdir(self.manifest)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.manifest / MANIFEST_NAME)

    def _write_manifest(self, generation: int, count: int, churn: int) -> None:
        with file_errors(self.manifest):
            write_manifest(self.manifest, Manifest(generation, self.dim, self.model, count, churn, self.server), own_secret())
