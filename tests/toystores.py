"""Two stores and a collection as somebody would add them: a row and a class each. They show that nothing else is needed."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from image_search.errors import StoreError
from image_search.stores import StoreRow
from image_search.stores.collections import Condition, Near, Record, check_rows, no_collection, seconds_of
from image_search.stores.exact import ExactStore, top_k
from image_search.stores.milvus import MilvusStore
from image_search.stores.milvus_connection import connect
from image_search.types import Float32

FILES = StoreRow("toy", "Toy", "toystores:ToyFiles", ("files",))
SERVER = StoreRow("toyserver", "Toy server", "toystores:ToyServer", ("server",))


ALONE = StoreRow("toys", "Toys", "toystores:ToyServer", ("collection",), collections="toystores:ToyCollection", file=".toys")


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


class LiteStore(MilvusStore):
    """Milvus' store over Milvus Lite: a file for each name, and no server."""

    folder: ClassVar[Path]

    @classmethod
    def open_server(cls, address: str, *, name: str, dim: int, model: str, make: bool, fresh: bool) -> LiteStore:
        file = str(cls.folder / "lite.db")
        return cls(connect(file), dim=dim, model=model, where=file, name=name.replace("-", "_"), make=make, fresh=fresh)


class ToyCollection:
    """A collection that is a dictionary of this process, one for each name; every row is compared."""

    held: ClassVar[dict[str, ToyCollection]] = {}

    @classmethod
    def open_collection(cls, address: str, *, name: str, make: Mapping[str, str] | None, dim: int | None) -> ToyCollection:
        where = f"{address}/{name}"
        if where not in cls.held:
            if make is None or dim is None:
                raise no_collection(where)
            cls.held[where] = cls()
            cls.held[where].where, cls.held[where].marked, cls.held[where].dim, cls.held[where].kept = where, dict(make), dim, {}
        return cls.held[where]

    where: str
    marked: dict[str, str]
    dim: int
    kept: dict[int, tuple[Record, Float32]]

    def close(self) -> None:
        pass

    def facts(self) -> dict[str, str]:
        return dict(self.marked)

    def mark(self, facts: Mapping[str, str]) -> None:
        self.marked |= facts

    def compares_all(self) -> bool:
        return True

    def _wanted(self, wanted: Sequence[Condition]) -> list[Record]:
        rows = (record for record, _ in self.kept.values())
        return sorted((row for row in rows if all(passes(row, one) for one in wanted)), key=lambda row: row.number)

    def count(self, wanted: Sequence[Condition] = ()) -> int:
        return len(self._wanted(wanted))

    def near(self, query: Float32, n: int, wanted: Sequence[Condition] = (), *, every: bool = False) -> Near:
        numbers = [row.number for row in self._wanted(wanted)]
        if not numbers:
            return Near([], np.empty((0, self.dim), np.float32), True)
        matrix = np.array([self.kept[number][1] for number in numbers])
        (rows,), _ = top_k(matrix, query[None, :], n)
        return Near([numbers[row] for row in rows], matrix[rows], True)

    def records(self, wanted: Sequence[Condition], *, limit: int) -> list[Record]:
        return self._wanted(wanted)[:limit]

    def vectors(self, numbers: Sequence[int]) -> dict[int, Float32]:
        return {number: self.kept[number][1] for number in numbers if number in self.kept}

    def each(self, batch: int) -> Iterator[tuple[list[Record], Float32]]:
        rows = self._wanted([])
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            yield part, np.array([self.kept[row.number][1] for row in part])

    def put(self, records: Sequence[Record], vectors: Float32) -> None:
        check_rows(records, vectors, self.dim)
        self.kept |= {record.number: (record, np.array(vector)) for record, vector in zip(records, vectors, strict=True)}

    def finish(self, say: Callable[[str], object]) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"index": "none", "pending": 0}


def passes(row: Record, condition: Condition) -> bool:
    column, how, value = condition
    taken = seconds_of(row.captured)
    more = {"folder": row.uri.rpartition("/")[0] + "/", "sha256": row.sha256.hex(), "pixels": row.width * row.height, "taken": taken}
    has = more.get(column, getattr(row, column, None))
    if how in ("like", "unlike"):
        return fnmatch.fnmatchcase(str(has), value) == (how == "like")
    return {"in": lambda: has in value, "not in": lambda: has not in value, ">=": lambda: has >= value, "<": lambda: has < value}[how]()
