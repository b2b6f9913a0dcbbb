"""A collection that stands alone: vectors with all that searching asks of them, and no catalog behind it. What it must bring; its facts.

A store is a copy of a library's vectors and can be thrown away; a collection *is* the library. It is filled from a data set or from a
library (`collection.load`) and asked where a library is asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from ..advice import Advice, Setting, Verb
from ..errors import ModelMismatchError, StoreError
from ..types import Fingerprint, Float32
from .exact import check_records

__all__ = [
    "UNKNOWN_TIME",
    "Collection",
    "Condition",
    "Description",
    "Near",
    "Record",
    "as_json",
    "check_rows",
    "first_after",
    "no_collection",
    "number_of",
    "same_vectors",
    "seconds_of",
]

NUMBERS = 2**59  # all are below it
MOST_RECORDS = 8000  # that `records` is asked for at most
FORMAT = 1  # of rows and facts; another one is refused
UNKNOWN_TIME = -(2**62)  # `taken` of a picture that does not say when


class Record(NamedTuple):
    """One picture of a collection.

    Attributes:
        number: of its address, see `number_of`.
        uri: where it lies. name: its class, "": none. sha256: 32 bytes, of the file.
        width, height: of the upright picture, pixels. bytes: of the file. format: as Pillow names it.
        captured: when it was taken, see `types.Decoded`.
    """

    number: int
    uri: str
    name: str
    sha256: bytes
    width: int
    height: int
    bytes: int
    format: str
    captured: str


class Condition(NamedTuple):
    """What a row must be: column, how, and the value; all of several.

    Columns: "uri", "folder", "name", "sha256", "format" (texts), "number", "pixels", "taken" (whole numbers; `taken` in seconds since 1970
    of a clock on the wall). "like": a text in which "*" stands for any text, at its beginning or its end; "unlike": not so.
    """

    column: str
    how: Literal["in", "not in", ">=", "<", "like", "unlike"]
    value: Any


class Near(NamedTuple):
    """What lies near a query: the rows' numbers, int64 (k,); their vectors, float32 (k, D); whether every row was compared."""

    numbers: list[int]
    vectors: Float32
    exact: bool


class Description(NamedTuple):
    """What a collection says of itself.

    Attributes:
        fingerprint: of the model that made its vectors. canonical: float32 (8, D), that model's vectors of the canonical pictures.
        more: other facts, texts by their names: "words" (base64), "closeness" (base64), "classes" (JSON), and "loading" (JSON: "from",
            "images") while something is loaded, and until that is finished.
    """

    fingerprint: Fingerprint
    canonical: Float32
    more: dict[str, str]

    def facts(self) -> dict[str, str]:
        """As texts, for a store that keeps texts."""
        canonical = base64.b64encode(np.ascontiguousarray(self.canonical, "<f4").tobytes()).decode()
        return {"format": str(FORMAT), "fingerprint": self.fingerprint.to_json(), "canonical": canonical, **self.more}

    @classmethod
    def of(cls, facts: Mapping[str, str], where: str) -> Description:
        """What was kept, read as a stranger's.

        Raises: StoreError: it was not made by this program, by another version of it, or makes no sense.
        """
        if "fingerprint" not in facts:
            raise StoreError("this collection was not made by this program", path=where, hint="give it another name")
        if facts.get("format") != str(FORMAT):
            raise StoreError("another version of this program made the collection", path=where, hint="load the data set into a new one")
        try:
            fingerprint = Fingerprint.from_json(facts["fingerprint"])
            canonical = np.frombuffer(base64.b64decode(facts["canonical"], validate=True), "<f4").reshape(8, fingerprint.dim)
            if not np.isfinite(canonical).all():
                raise ValueError("not the vectors of the canonical pictures")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError("what the collection says of its model makes no sense", path=where, hint="load it anew") from error
        more = {name: text for name, text in facts.items() if name not in ("format", "fingerprint", "canonical")}
        return cls(fingerprint, canonical.astype(np.float32), more)

    def check_same(self, other: Fingerprint, where: str) -> None:
        """ModelMismatchError unless vectors of this model may go into the collection."""
        mine, theirs = self.fingerprint, other
        if not same_vectors(mine, theirs):
            raise ModelMismatchError(
                f"the collection holds vectors of the model {mine.name} ({mine.dim} dimensions), these are of {theirs.name} ({theirs.dim})",
                path=where,
                hint="load them into a collection of another name",
            )


def same_vectors(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether both make the same vectors: the name alone may differ, and where the model came from."""
    return replace(one, name="", source="", revision="") == replace(other, name="", source="", revision="")


class Collection(Protocol):
    """Safe to share between threads. Its members raise StoreError."""

    where: str

    def facts(self) -> dict[str, str]:
        """What was marked; with "fingerprint" in it if this program made it."""
        ...

    def mark(self, facts: Mapping[str, str]) -> None:
        """Add facts or replace them; "" is none."""
        ...

    def count(self, wanted: Sequence[Condition] = ()) -> int: ...

    def compares_all(self) -> bool:
        """Its index compares with every row, with or without a filter."""
        ...

    def near(self, query: Float32, n: int, wanted: Sequence[Condition] = (), *, every: bool = False) -> Near:
        """At least the n nearest rows that are wanted, as far as there are so many, and some more, in any order.

        Args:
            query: float32 (D,). every: compare every row that is wanted, if they are not too many for that.
        """
        ...

    def records(self, wanted: Sequence[Condition], *, limit: int) -> list[Record]:
        """At most `limit` of them, any; by their numbers. limit: at most MOST_RECORDS."""
        ...

    def vectors(self, numbers: Sequence[int]) -> dict[int, Float32]:
        """float32 (D,) each, of those that are there."""
        ...

    def each(self, batch: int) -> Iterable[tuple[list[Record], Float32]]:
        """All rows with their vectors, float32 (k, D), in order of their numbers."""
        ...

    def put(self, records: Sequence[Record], vectors: Float32) -> None:
        """Insert or replace; vectors float32 (k, D), finite and of unit length, or nothing is written and a StoreError says so."""
        ...

    def finish(self, say: Callable[[str], object]) -> None:
        """After the last `put`: everything is kept, and its index has it; `say` gets a line while that takes its time."""
        ...

    def state(self) -> dict[str, Any]:
        """ "index" (its kind), "pending" (rows that it does not have yet)."""
        ...

    def close(self) -> None: ...


def number_of(uri: str) -> int:
    """The number of an address: the first 59 bits of its SHA-256, the same in every load; it fits an id ("id:" and 18 digits).

    Among 10 million addresses two share a number with a probability of 1e-4, among 1,000 million with .6: who loads looks for it.
    """
    return int.from_bytes(hashlib.sha256(uri.encode("utf-8", "surrogateescape")).digest()[:8], "big") >> 5


def seconds_of(captured: str) -> int:
    """When a picture was taken, in seconds since 1970 of the camera's clock; UNKNOWN_TIME where it does not say."""
    try:
        return int(datetime.fromisoformat(captured[:19]).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return UNKNOWN_TIME


def check_rows(records: Sequence[Record], vectors: Float32, dim: int) -> None:
    """StoreError unless they can go into a collection: as for a store, and of unit length."""
    check_records([str(record.number) for record in records], vectors, [{}] * len(records), dim)
    if len(vectors) and not np.allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1, atol=1e-3):
        raise StoreError("a vector is not of length 1", hint="make the data set again")


def first_after(collection: Collection, after: int, limit: int, wanted: Sequence[Condition] = ()) -> list[Record]:
    """The `limit` rows with the lowest numbers above `after`, in their order. As numbers are hashes, those of a new collection's first
    `limit` rows are a fair sample of all of it.

    A collection gives rows in any order, so it is asked for so small a range of numbers that it gives all of that.
    """
    count = collection.count(wanted)
    width = NUMBERS if count <= limit else int(NUMBERS * (limit + 4 * math.sqrt(limit)) / count) + 1
    too_few, too_many = 0, 2 * NUMBERS  # widths that gave fewer than `limit`, and more than can be had at once
    while True:
        here = [Condition("number", ">=", after + 1), Condition("number", "<", after + 1 + width), *wanted]
        found = collection.records(here, limit=MOST_RECORDS)
        if len(found) >= MOST_RECORDS and width > 1:
            too_many = width
        elif len(found) >= limit or after + width >= NUMBERS:
            return sorted(found)[:limit]
        else:
            too_few = width
        width = min(2 * width, (too_few + too_many + 1) // 2)


def no_collection(where: str) -> StoreError:
    return StoreError(
        "there is no collection", path=where, hint=Advice("make it with: ", Verb("load", ("DATASET", Setting("store", "NAME"))))
    )


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
