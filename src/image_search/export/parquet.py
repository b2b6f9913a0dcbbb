"""A library as one Parquet file, for DuckDB, pandas, Polars, Spark."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from ..config import EXPORT_ROWS
from ..dataset.arrow import arrow
from ..errors import UsageError, in_words
from ..library.reading import Reader
from ..library.rows import Row, Told, each_row, told_columns, told_values
from .aside import written_aside

__all__ = ["ENDING", "read_parquet", "write_parquet"]

ENDING = ".parquet"


def write_parquet(reader: Reader, path: str, progress: Callable[[int, int, int], object], *, replace: bool = False) -> int:
    """One row an image, in order of the ids; returns how many. Memory is that of EXPORT_ROWS rows, however many there are.

    Columns: those of `library.rows.Row`; `captured` is a timestamp without a time zone (the camera's own clock), null where the picture
    says none, and `vector` a fixed-size list of D float32; then those of the user's own tables (`annotate`): numbers as float64, dates as
    timestamps, null where there is no value. The schema's metadata names the model.

    Raises UsageError (the name), MissingExtraError (pyarrow), DiskFullError, ImageSearchError.
    """
    if not path.endswith(ENDING):
        raise UsageError(f"a file of vectors ends in {ENDING}", path=path, hint=f"for example vectors{ENDING}")
    pa = arrow("Writing Parquet")
    folder, name = os.path.split(os.path.abspath(os.path.expanduser(path)))
    if not os.path.isdir(folder):
        raise UsageError("there is no such folder", path=folder, hint="create it first")
    told = told_columns(reader)
    schema = _schema(pa, reader, told)
    total, done = reader.images(), 0
    progress(0, total, 0)
    with written_aside(folder, [name], replace=replace) as (draft,):
        # Numbers of vectors are all different: neither a dictionary nor compression nor statistics gain anything.
        plain = [field.name for field in schema if field.name != "vector"]
        options: dict[str, Any] = {
            "compression": dict.fromkeys(plain, "zstd") | {"vector.list.element": "none"},
            "use_dictionary": ["name", "format"],
            "write_statistics": plain,
        }
        with pa.parquet.ParquetWriter(draft, schema, **options) as writer:
            for rows in each_row(reader, EXPORT_ROWS):
                writer.write_batch(
                    _batch(pa, schema, rows, [_typed(c, v) for c, v in zip(told, told_values(reader, told, rows), strict=True)])
                )
                progress(done := done + len(rows), total, 0)
    return done


def read_parquet(path: str) -> dict[str, list[Any]]:
    """The columns of a user's file, as Python's values. Raises UsageError, MissingExtraError."""
    pa = arrow("Reading Parquet")
    try:
        table = pa.parquet.read_table(path)
        return {str(name): table.column(place).to_pylist() for place, name in enumerate(table.column_names)}
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"the table cannot be read ({in_words(error)[:200]})", path=path) from error


def _schema(pa: Any, reader: Reader, told: Sequence[Told]) -> Any:
    kinds = {"number": pa.float64(), "date": pa.timestamp("us"), "text": pa.string()}
    model = reader.fingerprint
    columns = [
        *((name, pa.string()) for name in ("id", "uri", "name", "sha256")),
        *((name, pa.int32()) for name in ("width", "height")),
        ("format", pa.string()),
        ("bytes", pa.int64()),
        ("captured", pa.timestamp("us")),
        ("vector", pa.list_(pa.field("element", pa.float32(), nullable=False), model.dim)),
    ]
    facts = {"image_search.model": model.name, "image_search.weights_sha256": model.weights_sha256, "image_search.similarity": "cosine"}
    fields = [pa.field(name, kind, nullable=name == "captured") for name, kind in columns]
    return pa.schema([*fields, *(pa.field(name, kinds[kind]) for name, kind, _ in told)], metadata=facts)


def _batch(pa: Any, schema: Any, rows: Sequence[Row], told: Sequence[Sequence[Any]]) -> Any:
    *facts, vectors = zip(*rows, strict=True)
    columns = dict(zip(Row._fields, facts, strict=False))
    columns["captured"] = tuple(map(_time, columns["captured"]))
    of_row = [schema.field(name) for name in Row._fields]
    arrays = [pa.array(columns[field.name], field.type) for field in of_row[:-1]]
    flat = pa.array(np.concatenate(vectors), pa.float32())  # (rows * D,)
    arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type))
    arrays += [pa.array(values, schema.field(place).type) for place, values in enumerate(told, len(of_row))]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _typed(column: Told, values: Sequence[str | None]) -> list[Any]:
    makes: dict[str, Callable[[str], Any]] = {"number": float, "date": datetime.fromisoformat}
    make = makes.get(column.kind, str)
    return [None if value is None else make(value) for value in values]


def _time(captured: str) -> datetime | None:
    """As the camera's clock stood; its time zone, where it says one, is not applied."""
    return datetime.fromisoformat(captured).replace(tzinfo=None) if captured else None
