"""Every image with everything that is known of it, its vector too, page by page: for those who take a library along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..paths import as_text, uri_of, whole_path
from ..types import Float32
from .annotations import columns_of, values_of
from .catalog import item_id
from .facts import check_types, check_vector
from .reading import Reader
from .schema import FILES_IN_ROOTS, State

__all__ = ["Row", "Told", "each_row", "told_columns", "told_values"]


class Row(NamedTuple):
    """One image.

    Attributes:
        id: "id:<number>". uri: its path as valid Unicode, one for one. name: its class, "" if it has none.
        sha256: of the file's bytes, 64 hexadecimal digits.
        width, height: of the upright picture, pixels. format: as Pillow names it. bytes: of the file.
        captured: when it was taken, see `types.Decoded`; "" if it does not say.
        vector: float32 (D,), unit length.
    """

    id: str
    uri: str
    name: str
    sha256: str
    width: int
    height: int
    format: str
    bytes: int
    captured: str
    vector: Float32


class Told(NamedTuple):
    """A column of the user's own tables, as it leaves the library.

    Attributes:
        name: as in the table; "table.name" where a column of `Row` is called so.
        kind: see `annotations.Column`.
        column: as the library calls it.
    """

    name: str
    kind: str
    column: str


def told_columns(reader: Reader) -> list[Told]:
    """By name."""
    return [Told(f"table.{name}" if name in Row._fields else name, kind, name) for name, kind, _ in columns_of(reader.catalog)]


def told_values(reader: Reader, columns: Sequence[Told], rows: Sequence[Row]) -> list[list[str | None]]:
    """Of each column its value for each of these images, as the library keeps it; None: missing."""
    found = values_of(reader.catalog, [bytes.fromhex(row.sha256) for row in rows]) if columns else {}
    of_rows = [found.get(bytes.fromhex(row.sha256), {}) for row in rows]
    return [[values.get(column) for values in of_rows] for _, _, column in columns]


_ROWS = (
    "SELECT f.id, r.path, f.path, f.name, c.sha256, c.width, c.height, c.format, f.size, coalesce(c.captured, ''), c.vector, c.checksum"
    f" FROM {FILES_IN_ROOTS} JOIN content AS c ON c.id = f.content_id WHERE f.state = '{State.PRESENT}' ORDER BY f.id"
)
_TYPES = (int, bytes, bytes, str, bytes, int, int, str, int, str, bytes, int)


def each_row(reader: Reader, size: int) -> Iterator[list[Row]]:
    """Up to `size` images at a time in order of their ids, all as of one moment. LibraryDamagedError for what is not as it was written."""
    folder, dim = reader.folder, reader.fingerprint.dim
    for page in reader.catalog.pages(_ROWS, size=size):
        check_types(page, _TYPES, folder)
        found = []
        for number, root, path, name, sha256, width, height, format, length, captured, vector, check in page:
            check_vector(vector, check, dim, item_id(number), folder)
            uri = uri_of(whole_path(root, path))
            facts = (as_text(name), sha256.hex(), width, height, as_text(format), length, as_text(captured))
            found.append(Row(item_id(number), uri, *facts, np.frombuffer(vector, "<f4")))
        yield found
