"""Milvus as the store of a library (a copy of its vectors on a server), and as a collection that stands alone (there, or in a file)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..advice import Advice, Verb
from ..config import MILVUS_BATCH, MILVUS_EXACT_ROWS, MILVUS_PIECES, MILVUS_TOP
from ..errors import StoreError, UsageError
from ..paths import as_text, nfc
from ..types import Float32
from .collections import Condition, Near, Record, check_rows, no_collection, seconds_of
from .exact import check_queries, check_records
from .milvus_client import VECTOR, Field, Hit, Table
from .milvus_connection import as_literal, connect, exists, is_file

__all__ = ["MilvusCollection", "MilvusStore"]

_LONG = 65_535  # bytes that a text can have
_SPARE = 10  # more neighbours than asked for: float32 finds them, float64 decides
_BOTH_SIDES = 16  # queries in one call


# --- the store of a library ---------------------------------------------------------------------------------------------------


class MilvusStore:
    """A `ServerStore` in one Milvus collection: cosine, ids, `uri` and `name`, which any Milvus client can read.

    Args:
        client: from `connect`; closed with this store, and also when this fails.
        dim, model: what it holds; one of another dimension or model raises StoreError.
        make, fresh: as in `ServerStore.open_server`.
    """

    @classmethod
    def open_server(cls, address: str, *, name: str, dim: int, model: str, make: bool, fresh: bool) -> MilvusStore:
        return cls(connect(address), dim=dim, model=model, where=address, name=_name(name), make=make, fresh=fresh)

    def __init__(self, client: Any, *, dim: int, model: str, where: str, name: str, make: bool, fresh: bool = False) -> None:
        self.dim = dim
        self.where = where
        self._client = client
        self._table = Table(client, name, where, Field("id", "VARCHAR", _LONG))
        self._written = False  # since the index was last made
        try:
            if fresh:
                self._table.drop()
            if not self._table.exists():
                if not make and not fresh:
                    raise StoreError(f"Milvus has no collection {name}", path=where)
                facts = {"made_by": "image-search", "model": model, "dim": str(dim)}
                self._table.create(dim, [Field("uri", "VARCHAR", _LONG), Field("name", "VARCHAR", _LONG)], facts)
            held = self._table.facts()
            if (held.get("model"), self._table.dim()) != (model, dim):
                hint = Advice("rebuild it with: ", Verb("rebuild"))
                raise StoreError("the vector store holds vectors of another model", path=where, hint=hint)
            self._table.load()
        except BaseException:
            self.close()
            raise

    def upsert(self, ids: Sequence[str], vectors: Float32, metadatas: Sequence[Mapping[str, str]]) -> None:
        check_records(ids, vectors, metadatas, self.dim)
        self._written = True
        for start in range(0, len(ids), MILVUS_BATCH):
            part = slice(start, start + MILVUS_BATCH)
            self._table.upsert(
                [
                    {"id": id_, VECTOR: vector, "uri": _text(metadata.get("uri", "")), "name": _text(metadata.get("name", ""))}
                    for id_, vector, metadata in zip(ids[part], vectors[part], metadatas[part], strict=True)
                ]
            )

    def delete(self, ids: Sequence[str]) -> None:
        self._written = True
        for start in range(0, len(ids), MILVUS_BATCH):
            self._table.delete(ids[start : start + MILVUS_BATCH])

    def query(self, vectors: Float32, n: int) -> tuple[list[list[str]], list[list[float]]]:
        if n < 1:
            raise UsageError("the number of results must be at least 1")
        check_queries(vectors, self.dim)
        n = min(n, MILVUS_TOP)
        usual = self._table.index().usual(n)
        found = [
            row
            for start in range(0, len(vectors), _BOTH_SIDES)
            for row in self._table.search(vectors[start : start + _BOTH_SIDES], n, "", usual)
        ]
        return [[str(hit.key) for hit in row] for row in found], [[min(1.0, max(-1.0, hit.similarity)) for hit in row] for row in found]

    def count(self) -> int:
        return self._table.count()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # it is gone either way
                client.close()

    def facts(self) -> dict[str, Any]:
        return {name: int(value) if name in ("count", "dim") else value for name, value in self._table.facts().items()}

    def mark(self, facts: Mapping[str, str | int | None]) -> None:
        """What ends a run of changes (a generation) also brings the index up to it."""
        if self._written and facts.get("generation") is not None:
            self._table.settle()
            self._written = False
        self._table.mark({name: "" if value is None else str(value) for name, value in facts.items()})

    def replace(self, name: str) -> None:
        Table(self._client, _name(name), self.where, self._table.key).drop()
        self._table.rename(_name(name))


def _name(name: str) -> str:
    """Letters, digits and "_" are all that a collection's name may have."""
    return name.replace("-", "_")


def _text(value: str) -> str:
    """Valid Unicode of at most 65,535 bytes."""
    return as_text(value).encode()[:_LONG].decode(errors="ignore")


# --- a collection that stands alone --------------------------------------------------------------------------------------------

_FIELDS = (
    Field("uri", "VARCHAR", 8192, indexed=True),
    Field("folder", "VARCHAR", 8192),  # the address up to its last "/"
    Field("name", "VARCHAR", 4096, indexed=True),
    Field("sha256", "VARCHAR", 64, indexed=True),
    Field("width", "INT32"),
    Field("height", "INT32"),
    Field("bytes", "INT64"),
    Field("format", "VARCHAR", 64),
    Field("captured", "VARCHAR", 64),
    Field("taken", "INT64"),
    Field("pixels", "INT64"),
)
_RECORD = ("id", *(field.name for field in _FIELDS if field.name in Record._fields))


class MilvusCollection:
    """A `collections.Collection`."""

    @classmethod
    def open_collection(cls, address: str, *, name: str, make: Mapping[str, str] | None, dim: int | None) -> MilvusCollection:
        """The collection of this name.

        Args:
            make: its facts, where there is none; it then gets vectors of `dim` numbers. None: that there is none is a StoreError.
        """
        if make is None and is_file(address) and not exists(address):
            raise no_collection(f"{address}/{name}")  # to look for it would make the file
        return cls(connect(address), address, name, make, dim)

    def __init__(self, client: Any, address: str, name: str, make: Mapping[str, str] | None, dim: int | None) -> None:
        self.where = f"{address}/{name}"
        self._client = client
        self._table = Table(client, name, address, Field("id", "INT64"))
        try:
            if not self._table.exists():
                if make is None or dim is None:
                    raise no_collection(self.where)
                self._table.create(dim, _FIELDS, make)
            self.dim = self._table.dim()
            self._table.load()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()

    def facts(self) -> dict[str, str]:
        return self._table.facts()

    def mark(self, facts: Mapping[str, str]) -> None:
        self._table.mark(facts)

    def count(self, wanted: Sequence[Condition] = ()) -> int:
        return self._table.count(_where(wanted))

    def compares_all(self) -> bool:
        return self._table.lite or self._table.index().compares_all

    def near(self, query: Float32, n: int, wanted: Sequence[Condition] = (), *, every: bool = False) -> Near:
        """Without a filter the index answers. With one an index is no help, since what lies near the query is of other classes, and its
        answers are wrong without being fewer: up to MILVUS_EXACT_ROWS rows that pass are compared one by one, of more the index is asked
        for much, and the answer says that it is not exact."""
        index, where = self._table.index(), _where(wanted)
        n = min(MILVUS_TOP, n + _SPARE)
        exact = self.compares_all()
        if exact or not (where or every):
            (hits,) = self._table.search(query[None, :], n, where, index.usual(n))
        elif index.kind == "HNSW" and self._table.count(where) <= MILVUS_EXACT_ROWS:
            hits, exact = self._in_pieces(query, n, where, index.usual(n)), True
        else:
            (hits,) = self._table.search(query[None, :], n, where, index.more(n))
        found = self.vectors([hit.key for hit in hits])
        numbers = [hit.key for hit in hits if hit.key in found]  # one may have been taken out in between
        rows: Any = [found[number] for number in numbers]
        return Near(numbers, np.array(rows, np.float32).reshape(len(rows), query.shape[0]), exact)

    def _in_pieces(self, query: Float32, n: int, where: str, usual: dict[str, Any]) -> list[Hit]:
        """Each row that passes compared: HNSW compares one by one where a filter leaves less than 7 % of a segment's rows, so the rows are
        asked for in 20 pieces of 5 %, by their numbers, which are spread evenly."""

        def piece(which: int) -> list[Hit]:
            return self._table.search(query[None, :], n, f"{where and f'({where}) and '}id % {MILVUS_PIECES} == {which}", usual)[0]

        with ThreadPoolExecutor(4) as threads:
            hits = [hit for found in threads.map(piece, range(MILVUS_PIECES)) for hit in found]
        return sorted(hits, key=lambda hit: (-hit.similarity, hit.key))[:n]

    def records(self, wanted: Sequence[Condition], *, limit: int) -> list[Record]:
        found = [_record(row) for row in self._table.rows(_where(wanted) or "id >= 0", _RECORD, limit=limit)]
        return sorted(found, key=lambda record: record.number)

    def vectors(self, numbers: Sequence[int]) -> dict[int, Float32]:
        found = {}
        for start in range(0, len(numbers), MILVUS_BATCH):
            part = numbers[start : start + MILVUS_BATCH]
            for row in self._table.rows(self._table.with_keys(part), ("id", VECTOR)):
                found[int(row["id"])] = np.asarray(row[VECTOR], np.float32)
        return found

    def each(self, batch: int) -> Iterator[tuple[list[Record], Float32]]:
        for rows in self._table.pages((*_RECORD, VECTOR), batch):
            vectors: Any = [row[VECTOR] for row in rows]
            yield [_record(row) for row in rows], np.array(vectors, np.float32).reshape(len(rows), self.dim or 0)

    def put(self, records: Sequence[Record], vectors: Float32) -> None:
        check_rows(records, vectors, self.dim or 0)
        for start in range(0, len(records), MILVUS_BATCH):
            part = slice(start, start + MILVUS_BATCH)
            self._table.upsert([_row(record, vector) for record, vector in zip(records[part], vectors[part], strict=True)])

    def finish(self, say: Callable[[str], object]) -> None:
        self._table.settle(say)

    def state(self) -> dict[str, Any]:
        kind, pending = self._table.state()
        return {"index": kind, "pending": pending}


def _row(record: Record, vector: Float32) -> dict[str, Any]:
    return {
        "id": record.number,
        VECTOR: vector,
        "uri": record.uri,
        "folder": record.uri.rpartition("/")[0] + "/",
        "name": nfc(record.name),
        "sha256": record.sha256.hex(),
        "width": record.width,
        "height": record.height,
        "bytes": record.bytes,
        "format": record.format,
        "captured": record.captured,
        "taken": seconds_of(record.captured),
        "pixels": record.width * record.height,
    }


def _record(row: Mapping[str, Any]) -> Record:
    try:
        number, uri, name, sha256, width, height, size, format, captured = (row[column] for column in _RECORD)
        return Record(
            int(number), str(uri), str(name), bytes.fromhex(sha256), int(width), int(height), int(size), str(format), str(captured)
        )
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError("a row of the collection makes no sense", hint="load the data set into a new collection") from error


def _where(wanted: Iterable[Condition]) -> str:
    return " and ".join(_condition(*one) for one in wanted)


def _condition(column: str, how: str, value: Any) -> str:
    column = "id" if column == "number" else column
    if how == "like":
        begin, end = value.startswith("*"), value.endswith("*")
        text = value[begin : len(value) - end]
        for plain in ("\\", "%", "_"):
            text = text.replace(plain, f"\\{plain}")
        if end and not begin:  # as a range: servers before 2.4 take "_" in what begins a text for itself, later ones for any letter
            return f"{column} >= {as_literal(value[:-1])} and {column} < {as_literal(value[:-1] + chr(0x10FFFF))}"
        return f"{column} like {as_literal(('%' if begin else '') + text + ('%' if end else ''))}"
    if how == "unlike":
        return f"not ({_condition(column, 'like', value)})"
    if how in ("in", "not in"):
        return f"{column} {how} [{', '.join(map(as_literal, value))}]"
    return f"{column} {how} {as_literal(value)}"
