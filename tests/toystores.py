"""Two stores as somebody would add them: a row and a class each. They show that nothing else is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from image_search.errors import StoreError
from image_search.stores import StoreRow
from image_search.stores.exact import ExactStore
from image_search.types import Float32

FILES = StoreRow("toy", "Toy", "toystores:ToyFiles", ("files",))
SERVER = StoreRow("toyserver", "Toy server", "toystores:ToyServer", ("server",))


class ToyFiles(ExactStore):
    """Its vectors lie in vectors.npy, all else in records.json."""

    @classmethod
    def version(cls) -> str:
        return "1"

    @classmethod
    def open_files(cls, folder: Path, *, dim: int, model: str, make: bool, where: str) -> ToyFiles:
        store = cls(dim)
        store.folder, store.model = folder, model
        if not (folder / "records.json").exists():
            if not make:
                raise StoreError("the toy is not there", path=where)
            folder.mkdir(exist_ok=True)
            store.save()
        held = json.loads((folder / "records.json").read_text())
        if (held["model"], held["dim"]) != (model, dim):
            raise StoreError("it holds vectors of another model", path=where)
        ExactStore.upsert(store, held["ids"], np.load(folder / "vectors.npy"), held["metadatas"])
        return store

    folder: Path
    model: str

    def save(self) -> None:
        vectors = np.array([vector for vector, _ in self._records.values()], np.float32).reshape(-1, self.dim)
        metadatas = [metadata for _, metadata in self._records.values()]
        held = {"model": self.model, "dim": self.dim, "ids": list(self._records), "metadatas": metadatas}
        np.save(self.folder / "vectors.npy", vectors)
        (self.folder / "records.json").write_text(json.dumps(held))

    def upsert(self, ids: Sequence[str], vectors: Float32, metadatas: Sequence[Mapping[str, str]]) -> None:
        super().upsert(ids, vectors, metadatas)
        self.save()

    def delete(self, ids: Sequence[str]) -> None:
        super().delete(ids)
        self.save()


class ToyServer(ExactStore):
    """A "server" is a dictionary of this process, one for each address."""

    servers: ClassVar[dict[str, dict[str, ToyServer]]] = {}

    @classmethod
    def open_server(cls, address: str, *, name: str, dim: int, model: str, make: bool, fresh: bool) -> ToyServer:
        if address not in cls.servers:
            raise StoreError("the toy does not answer", path=address)
        held = cls.servers[address]
        if fresh or (make and name not in held):
            held[name] = cls(dim)
            held[name].address, held[name].name, held[name].model, held[name].marked = address, name, model, {}
        if name not in held:
            raise StoreError("the toy is not there", path=address)
        if (held[name].model, held[name].dim) != (model, dim):
            raise StoreError("it holds vectors of another model", path=address)
        return held[name]

    address: str
    name: str
    model: str
    marked: dict[str, Any]

    def close(self) -> None:
        pass

    def facts(self) -> dict[str, Any]:
        return dict(self.marked)

    def mark(self, facts: Mapping[str, str | int | None]) -> None:
        self.marked = {key: value for key, value in {**self.marked, **facts}.items() if value is not None}

    def replace(self, name: str) -> None:
        held = self.servers[self.address]
        held[name] = held.pop(self.name)
        self.name = name
