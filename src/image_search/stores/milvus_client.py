"""Milvus, on a server or in a file (Milvus Lite): what this program asks of a table of vectors there, and where its errors become ours.

What is known of it (pymilvus 3.0, Lite 3.2, server 2.3.5) and provided for here: pymilvus reads a `.env` file when it is imported (not
here) and prints every error with its trace (silenced); an index is built long after it is called "Finished" (`settle` waits for it), and
until then another one answers; by default a reader may miss what it has just written ("Session" does not); NaN and zero vectors are
taken (refused before they get here); Lite compares with every row whatever index it was asked for, and its file belongs to one process; a
server that went away is asked again for minutes unless every call has a limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..config import (
    MILVUS_BUILD_SECONDS,
    MILVUS_DELETED_SECONDS,
    MILVUS_FLUSH_SECONDS,
    MILVUS_LOOK_SECONDS,
    MILVUS_QUIET_LOOKS,
    MILVUS_READY_SECONDS,
    MILVUS_STEP_SECONDS,
    STORE_ANSWER_SECONDS,
)
from ..errors import StoreError
from ..types import Float32
from .milvus_connection import as_literal, is_file, milvus_errors
from .milvus_index import INDEXES, Index, index_for

__all__ = ["VECTOR", "Field", "Hit", "Table"]

VECTOR = "vector"
_PROPERTY = "image_search."  # before the names of our facts among a collection's properties
_PAGE = 8000  # rows of one answer; Milvus gives 16,384 at most, and 64 MB


class Field(NamedTuple):
    """A column beside the vector: "INT64", "INT32" or "VARCHAR" (of at most `length` bytes); `indexed`: filters ask for it."""

    name: str
    kind: str
    length: int = 0
    indexed: bool = False


class Hit(NamedTuple):
    """What a search found: its key and its cosine as the index computed it."""

    key: Any
    similarity: float


def _now_and_then(say: Callable[[str], object]) -> Callable[[str], None]:
    """The same, at most once in 30 seconds."""
    last = [-math.inf]

    def told(line: str) -> None:
        if time.monotonic() - last[0] > 30:
            last[0] = time.monotonic()
            say(line)

    return told


class Table:
    """One collection of Milvus: a key, columns, a unit vector compared by cosine, and facts of ours in its properties.

    Args:
        client: from `connect`; closed by whoever has it. name: the collection's. where: for messages. key: the key's column.
    """

    def __init__(self, client: Any, name: str, where: str, key: Field) -> None:
        self.client = client
        self.name = name
        self.where = where
        self.key = key
        self.lite = is_file(where)
        self._kind: str | None = None
        self._deleted = -math.inf  # when

    def exists(self) -> bool:
        with milvus_errors(self.where):
            return bool(self.client.has_collection(self.name, timeout=STORE_ANSWER_SECONDS))

    def create(self, dim: int, fields: Sequence[Field], facts: Mapping[str, str]) -> None:
        """With an index for few rows; loaded."""
        from pymilvus import DataType

        with milvus_errors(self.where):
            schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
            for field in (self.key, *fields):
                more = {"max_length": field.length} if field.kind == "VARCHAR" else {}
                schema.add_field(field.name, getattr(DataType, field.kind), is_primary=field is self.key, **more)
            schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dim)
            properties = {_PROPERTY + name: value for name, value in facts.items()}
            self.client.create_collection(
                self.name, schema=schema, properties=properties, consistency_level="Session", timeout=STORE_ANSWER_SECONDS
            )
            for field in fields:
                if field.indexed and not self.lite:
                    self._index(field.name, "INVERTED" if self._is_new() else "", {})
        self._build(INDEXES[0])
        self.load()

    def _is_new(self) -> bool:
        """Servers before 2.4 know no inverted index; what they choose by themselves is asked for by no name."""
        version = str(self.client.get_server_version(timeout=STORE_ANSWER_SECONDS)).lstrip("v").split(".")
        return version[:2] >= ["2", "4"]

    def load(self, seconds: float = MILVUS_READY_SECONDS) -> None:
        """Into the server's memory, where it is searched; one that has just been started takes its time for it.

        Raises: StoreError, also where it is not there after so many seconds.
        """
        until = time.monotonic() + seconds
        with milvus_errors(self.where):
            self.client.load_collection(
                self.name, timeout=STORE_ANSWER_SECONDS, _async=True
            )  # it would ask a dead server as long as it may
            while self.client.get_load_state(self.name, timeout=STORE_ANSWER_SECONDS)["state"].name != "Loaded":
                if time.monotonic() > until:
                    hint = "wait a little, and do it again"
                    raise StoreError("Milvus is still bringing the collection into its memory", path=self.where, hint=hint)
                time.sleep(MILVUS_STEP_SECONDS)

    def drop(self) -> None:
        with milvus_errors(self.where):
            if self.client.has_collection(self.name, timeout=STORE_ANSWER_SECONDS):
                self.client.drop_collection(self.name, timeout=STORE_ANSWER_SECONDS)
        self._kind = None

    def rename(self, name: str) -> None:
        with milvus_errors(self.where):
            self.client.rename_collection(self.name, name, timeout=STORE_ANSWER_SECONDS)
        self.name = name

    # --- facts --------------------------------------------------------------------------------------------------------------

    def dim(self) -> int | None:
        """None: it has no vectors under our name."""
        with milvus_errors(self.where):
            for field in self.client.describe_collection(self.name, timeout=STORE_ANSWER_SECONDS)["fields"]:
                if field["name"] == VECTOR:
                    return int(field["params"]["dim"])
        return None

    def facts(self) -> dict[str, str]:
        with milvus_errors(self.where):
            held = self.client.describe_collection(self.name, timeout=STORE_ANSWER_SECONDS).get("properties") or {}
        return {
            name.removeprefix(_PROPERTY): str(value) for name, value in dict(held).items() if name.startswith(_PROPERTY) and value != ""
        }

    def mark(self, facts: Mapping[str, str]) -> None:
        """An empty text takes a fact away: the servers in use cannot remove a property."""
        with milvus_errors(self.where):
            self.client.alter_collection_properties(
                self.name, {_PROPERTY + name: value for name, value in facts.items()}, timeout=STORE_ANSWER_SECONDS
            )

    # --- rows ---------------------------------------------------------------------------------------------------------------

    def upsert(self, rows: list[dict[str, Any]]) -> None:
        with milvus_errors(self.where):
            self.client.upsert(self.name, rows, timeout=STORE_ANSWER_SECONDS)

    def delete(self, keys: Sequence[str | int]) -> None:
        with milvus_errors(self.where):
            self.client.delete(self.name, filter=self.with_keys(keys), timeout=STORE_ANSWER_SECONDS)
        self._deleted = time.monotonic()

    def _asking(self) -> dict[str, Any]:
        """How every question is asked: "Session" shows what this client wrote, but not at once what it deleted."""
        recent = time.monotonic() - self._deleted < MILVUS_DELETED_SECONDS
        return {"timeout": STORE_ANSWER_SECONDS, "consistency_level": "Strong" if recent else "Session"}

    def with_keys(self, keys: Sequence[str | int]) -> str:
        return f"{self.key.name} in [{', '.join(map(as_literal, keys))}]"

    def count(self, where: str = "") -> int:
        with milvus_errors(self.where):
            (row,) = self.client.query(self.name, filter=where, output_fields=["count(*)"], **self._asking())
            return int(row["count(*)"])

    def rows(self, where: str, columns: Sequence[str], *, limit: int = _PAGE) -> list[dict[str, Any]]:
        """At most `limit` rows, in no particular order."""
        with milvus_errors(self.where):
            found = self.client.query(self.name, filter=where, output_fields=list(columns), limit=limit, **self._asking())
            return [dict(row) for row in found]

    def pages(self, columns: Sequence[str], batch: int) -> Iterator[list[dict[str, Any]]]:
        """All rows, a page at a time, in order of their keys, which are whole numbers from 0 on."""
        with milvus_errors(self.where):
            pages = self.client.query_iterator(
                self.name, batch_size=batch, filter=f"{self.key.name} >= 0", output_fields=list(columns), timeout=STORE_ANSWER_SECONDS
            )
        try:
            while True:
                with milvus_errors(self.where):
                    rows = [dict(row) for row in pages.next()]
                if not rows:
                    return
                yield rows
        finally:
            pages.close()

    def search(self, queries: Float32, n: int, where: str, parameters: dict[str, Any]) -> list[list[Hit]]:
        with milvus_errors(self.where):
            answer = self.client.search(
                self.name,
                list(queries),
                anns_field=VECTOR,
                limit=n,
                filter=where,
                output_fields=[self.key.name],
                search_params={"metric_type": "COSINE", "params": parameters},
                **self._asking(),
            )
            return [[Hit(hit[self.key.name], float(hit["distance"])) for hit in row] for row in answer]

    # --- index --------------------------------------------------------------------------------------------------------------

    def index(self) -> Index:
        """The one that it has; of a kind that is none of ours the first above FLAT."""
        if self._kind is None:
            self._kind = str(self._described().get("index_type", ""))
        return next((index for index in INDEXES if index.kind == self._kind), INDEXES[1])

    def state(self) -> tuple[str, int]:
        """(kind of the index, rows that it does not have yet: none where rows are compared one by one anyway)."""
        described = self._described()
        kind = str(described.get("index_type", ""))
        return kind, 0 if kind == INDEXES[0].kind else int(described.get("pending_index_rows", 0) or 0)

    def settle(self, say: Callable[[str], object] = lambda line: None) -> None:
        """Everything written is kept, the index is the one for so many rows, has all of them, and answers.

        A server builds an index for each of its segments, one after the other, and again for the segments into which it has put
        others together; so these are put together first.

        Args:
            say: gets "still indexing: N rows to go" at the start and every 30 seconds.

        Raises: StoreError, also where the index makes no step for MILVUS_BUILD_SECONDS.
        """
        with milvus_errors(self.where):
            self.client.flush(self.name, timeout=MILVUS_FLUSH_SECONDS)
        wanted, kind = index_for(self.count()), self.state()[0]
        if kind == wanted.kind and (self.lite or wanted.compares_all):
            return
        if kind != wanted.kind:
            with milvus_errors(self.where):
                self.client.release_collection(self.name, timeout=STORE_ANSWER_SECONDS)
                if kind:
                    self.client.drop_index(self.name, VECTOR, timeout=STORE_ANSWER_SECONDS)
            self._build(wanted)
        if not (self.lite or wanted.compares_all):
            told = _now_and_then(say)
            self._compact(told)
            self._wait(told)
        with milvus_errors(self.where):
            self.client.release_collection(self.name, timeout=STORE_ANSWER_SECONDS)
        self.load(MILVUS_BUILD_SECONDS)

    def _compact(self, say: Callable[[str], object]) -> None:
        with milvus_errors(self.where):
            job = self.client.compact(self.name, timeout=STORE_ANSWER_SECONDS)
            until = time.monotonic() + MILVUS_BUILD_SECONDS
            while time.monotonic() < until and self.client.get_compaction_state(job, timeout=STORE_ANSWER_SECONDS) != "Completed":
                say("Still putting rows together")
                time.sleep(MILVUS_LOOK_SECONDS)

    def _build(self, index: Index) -> None:
        self._index(VECTOR, index.kind, dict(index.build), metric_type="COSINE")
        self._kind = index.kind

    def _index(self, column: str, kind: str, build: dict[str, Any], **more: str) -> None:
        with milvus_errors(self.where):
            parameters = self.client.prepare_index_params()
            parameters.add_index(column, index_type=kind, index_name=column, params=build, **more)
            self.client.create_index(self.name, parameters, sync=False, timeout=STORE_ANSWER_SECONDS)

    def _described(self) -> Mapping[str, Any]:
        with milvus_errors(self.where):
            return dict(self.client.describe_index(self.name, VECTOR, timeout=STORE_ANSWER_SECONDS) or {})

    def _wait(self, say: Callable[[str], object]) -> None:
        """Until no row is pending, and none is at the next looks: a segment that has just come has not been counted yet."""
        least, moved, quiet = float("inf"), time.monotonic(), 0
        while quiet < MILVUS_QUIET_LOOKS:
            pending = self._pending()
            quiet = 0 if pending else quiet + 1
            now = time.monotonic()
            if pending < least:
                least, moved = pending, now
            if pending and now - moved > MILVUS_BUILD_SECONDS:
                raise StoreError(
                    f"Milvus does not finish its index ({pending:,} rows to go)",
                    path=self.where,
                    hint="look at the server, then do it again",
                )
            if pending:
                say(f"Still indexing: {pending:,} rows to go")
            time.sleep(MILVUS_LOOK_SECONDS)

    def _pending(self) -> int:
        """A busy server may leave this question without an answer."""
        try:
            return self.state()[1]
        except StoreError as error:
            if "deadline" not in str(error.__cause__).lower():
                raise
            return 1
