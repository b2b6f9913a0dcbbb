"""A block: some thousand pictures of a list, as one Parquet file that is written once and never changed.

Its name is a hash of what it is made of: the list's rows (uri, class, size, version) and all that decides what comes out of them (the
model, the limits on a picture). So a block is done where a file of that name lies, whoever wrote it, and a second writer writes the same.
Where pictures could not be reached, a later run tries them again and writes another file beside it, `NAME-1.parquet`, which then counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import DatasetError, SkipReason
from ..library.facts import are_units
from ..types import Fingerprint, Float32
from .arrow import arrow

__all__ = ["DAMAGED", "ENDING", "Item", "Row", "Rows", "attempts", "block_name", "file_name", "read_block", "rows_as_parquet", "schema_of"]

ENDING = ".parquet"
DAMAGED = "this file of the data set is damaged"
_FORMAT = 1  # of a block; another number where the same pictures may give other columns
_FACTS = ("uri", "name", "sha256", "bytes", "width", "height", "format", "captured", "reason")


class Item(NamedTuple):
    """A row of a list.

    Attributes:
        uri: where the picture lies. name: its class, "" if it has none.
        bytes: of the object, -1 if that is not known.
        version: the object's etag or time of change; another one: other content. "" if that is not known.
    """

    uri: str
    name: str
    bytes: int
    version: str


class Row(NamedTuple):
    """A row of a block: a vector (float32 (D,), unit length) or a reason why there is none.

    Attributes:
        sha256: of the bytes, 64 hexadecimal digits; None: they could not be read. bytes: how many, None if that is not known.
        width, height: upright, pixels; format: as Pillow names it; captured: see `types.Decoded`. None where there is a reason.
    """

    uri: str
    name: str
    sha256: str | None
    bytes: int | None
    width: int | None
    height: int | None
    format: str | None
    captured: str | None
    reason: str | None
    vector: Float32 | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a block, a column each; see `Row`.

    Attributes:
        vectors: float32 (N, D), each of unit length; zeros where there is a reason.
    """

    uri: list[str]
    name: list[str]
    sha256: list[str | None]
    bytes: list[int | None]
    width: list[int | None]
    height: list[int | None]
    format: list[str | None]
    captured: list[str | None]
    reason: list[str | None]
    vectors: Float32

    def __len__(self) -> int:
        return len(self.uri)

    def part(self, chosen: Sequence[int]) -> Rows:
        """Only these rows."""
        columns: dict[str, Any] = {name: [getattr(self, name)[at] for at in chosen] for name in _FACTS}
        return Rows(**columns, vectors=self.vectors[list(chosen)])

    def each(self) -> Iterable[Row]:
        for at, facts in enumerate(zip(*(getattr(self, name) for name in _FACTS), strict=True)):
            yield Row._make((*facts, None if facts[-1] is not None else self.vectors[at]))


def block_name(items: Iterable[Item], made_with: str) -> str:
    """32 hexadecimal digits.

    Args:
        made_with: all that decides what comes out of these pictures, as text.
    """
    digest = hashlib.sha256(json.dumps([_FORMAT, made_with]).encode())
    for item in items:
        digest.update(json.dumps(item).encode())
    return digest.hexdigest()[:32]


def file_name(block: str, attempt: int) -> str:
    return f"{block}{ENDING}" if attempt == 0 else f"{block}-{attempt}{ENDING}"


def attempts(names: Iterable[str]) -> dict[str, int]:
    """Of files' names: block -> its last attempt, the one that counts. Other files are none of ours."""
    found: dict[str, int] = {}
    for name in names:
        block, _, number = name.removesuffix(ENDING).partition("-")
        if name.endswith(ENDING) and len(block) == 32 and (not number or number.isdecimal()):
            found[block] = max(found.get(block, 0), int(number or 0))
    return found


def schema_of(model: Fingerprint) -> Any:
    """A block's schema; its metadata names the model."""
    pa = arrow("Data sets")
    needed = ("uri", "name")
    kinds = {"bytes": pa.int64(), "width": pa.int32(), "height": pa.int32()}
    columns = [pa.field(name, kinds.get(name, pa.string()), nullable=name not in needed) for name in _FACTS]
    columns.append(pa.field("vector", pa.list_(pa.field("element", pa.float32(), nullable=False), model.dim)))
    facts = {"image_search.model": model.name, "image_search.fingerprint": model.short, "image_search.similarity": "cosine"}
    return pa.schema(columns, metadata=facts)


def rows_as_parquet(rows: Sequence[Row], model: Fingerprint) -> Any:
    """A buffer of pyarrow's: one row group, every number of every vector bit for bit."""
    pa = arrow("Data sets")
    schema = schema_of(model)
    vectors = np.zeros((len(rows), model.dim), np.float32)  # (N, D)
    for at, row in enumerate(rows):
        if row.vector is not None:
            vectors[at] = row.vector
    missing = pa.array([row.vector is None for row in rows], pa.bool_())
    columns = [pa.array([getattr(row, name) for row in rows], schema.field(name).type) for name in _FACTS]
    flat = pa.array(vectors.reshape(-1), pa.float32())
    columns.append(pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type, mask=missing))
    sink = pa.BufferOutputStream()
    # Numbers of vectors are all different: neither a dictionary nor compression nor statistics gain anything.
    pa.parquet.write_table(
        pa.Table.from_arrays(columns, schema=schema),
        sink,
        row_group_size=max(1, len(rows)),
        compression=dict.fromkeys(_FACTS, "zstd") | {"vector.list.element": "none"},
        use_dictionary=["name", "format", "reason"],
        write_statistics=list(_FACTS),
    )
    return sink.getvalue()


def read_block(data: bytes, model: Fingerprint, address: str) -> Rows:
    """A block as it was written, read as a stranger's.

    Raises DatasetError: it is damaged, was made with another model, or holds what no vector can be.
    """
    pa = arrow("Data sets")
    try:
        file = pa.parquet.ParquetFile(pa.BufferReader(data))
        wanted = schema_of(model)
        if not file.schema_arrow.equals(wanted):
            raise DatasetError("this file has other columns than a block of vectors of this model", path=address)
        if (file.schema_arrow.metadata or {}).get(b"image_search.fingerprint") != model.short.encode():
            raise DatasetError("this file was made with another model", path=address)
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(DAMAGED, path=address, hint="delete it and index again") from error
    facts = {name: table.column(name).to_pylist() for name in _FACTS}
    vectors = _vectors(pa, table, model.dim)
    refused = np.array([reason is not None for reason in facts["reason"]], bool)  # (N,)
    known = {reason.value for reason in SkipReason}
    sound = (
        bool((refused == np.array(table.column("vector").is_null())).all())
        and set(facts["reason"]) - {None} <= known
        and are_units(vectors[~refused])
        and all(text is not None for name in ("uri", "name") for text in facts[name])
    )
    if not sound:
        raise DatasetError("this file holds rows that make no sense", path=address, hint="delete it and index again")
    return Rows(**facts, vectors=vectors)


def _vectors(pa: Any, table: Any, dim: int) -> Float32:
    """float32 (N, D), zeros where there is none."""
    vectors = np.zeros((len(table), dim), np.float32)
    start = 0
    for chunk in table.column("vector").chunks:
        here = np.array(chunk.is_valid())  # (n,) bool
        vectors[start : start + len(chunk)][here] = chunk.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
        start += len(chunk)
    return vectors
