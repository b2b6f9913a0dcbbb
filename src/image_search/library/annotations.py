"""What the user's own tables say of images: kept by content, so that it survives moves, renames and being indexed again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..given import guess
from ..paths import nfc, whole_path
from .catalog import Catalog
from .facts import sensible
from .schema import ANNOTATION_KINDS, FILES_IN_ROOTS
from .sqlite import in_parts, marks
from .vectors import Numbers

__all__ = ["Column", "annotate", "column_of", "columns_of", "drop", "hashes_by_path", "holders", "known_hashes", "said_of", "values_of"]


class Column(NamedTuple):
    """One column of the user's table, for files in some order.

    Attributes:
        name: as in the table, NFC. kind: "number", "text" or "date" (ISO 8601, "2024-05-01" or "2024-05-01T12:30:05").
        values: the different ones, numbers as float, others as text.
        codes: int64 (F,), each file's place in `values`; -1: missing.
    """

    name: str
    kind: str
    values: Sequence[str | float]
    codes: npt.NDArray[np.int64]


def columns_of(catalog: Catalog) -> list[tuple[str, str, int]]:
    """(name, kind, contents that have a value), by name."""
    sql = "SELECT name, min(kind), count(*) FROM annotations GROUP BY name ORDER BY name"
    return catalog.rows(sql, types=(str, str, int))


def annotate(catalog: Catalog, name: str, kind: str, values: Iterable[tuple[bytes, str | None]]) -> None:
    """Set one column of these contents (sha256); None: missing. Others keep what they have.

    Args:
        kind: the column's, where others have values of it.
        values: as `Column` has them; numbers as text.
    """
    given = list(values)
    catalog.execute_many("DELETE FROM annotations WHERE name = ? AND sha256 = ?", [(name, sha256) for sha256, _ in given])
    catalog.execute_many(
        "INSERT INTO annotations (name, sha256, kind, value) VALUES (?, ?, ?, ?)",
        [(name, sha256, kind, value) for sha256, value in given if value is not None],
    )
    _has_changed(catalog)


def holders(catalog: Catalog, name: str) -> set[bytes]:
    """The contents (sha256) that have a value in this column, also those that the library has no file of now."""
    return {sha256 for (sha256,) in catalog.rows("SELECT sha256 FROM annotations WHERE name = ?", (name,), types=(bytes,))}


def drop(catalog: Catalog, name: str) -> None:
    """Raises UsageError: there is no such column."""
    known(catalog, name)
    catalog.execute("DELETE FROM annotations WHERE name = ?", (name,))
    _has_changed(catalog)


def _has_changed(catalog: Catalog) -> None:
    """What others keep of the columns in memory is as old as this number."""
    catalog.set_meta("annotated", (catalog.meta("annotated") or 0) + 1)


def known(catalog: Catalog, name: str) -> str:
    """The column's kind. Raises UsageError where there is none, with the one that was likely meant."""
    kinds = {column: kind for column, kind, _ in columns_of(catalog)}
    if name in kinds:
        return kinds[name]
    near = guess(name, kinds)
    some = ", ".join(list(kinds)[:10])
    hint = f"did you mean {near}?" if near else f"its columns are {some}" if kinds else "it has none: they come from a table of your own"
    raise UsageError(f"the library has no column {name[:60]!r}", hint=hint)


def column_of(catalog: Catalog, name: str, contents: Numbers) -> Column:
    """One column for these contents, int64 (F,). Raises UsageError: there is no such column."""
    kind = known(catalog, name)
    places: dict[str, int] = {}
    rows = catalog.rows("SELECT c.id, a.value FROM annotations AS a JOIN content AS c ON c.sha256 = a.sha256 WHERE a.name = ?", (name,))
    with sensible(catalog.folder):
        if kind not in ANNOTATION_KINDS:
            raise ValueError("no kind")
        codes = np.full(len(contents), -1, np.int64)
        if rows:
            ids = np.array([content for content, _ in rows], np.int64)
            mine = np.array([places.setdefault(value, len(places)) for _, value in rows], np.int64)
            order = np.argsort(ids)
            where = np.searchsorted(ids[order], contents).clip(max=len(ids) - 1)
            there = ids[order][where] == contents
            codes[there] = mine[order][where[there]]
        values: list[Any] = [float(value) for value in places] if kind == "number" else list(places)
    return Column(name, kind, values, codes)


def values_of(catalog: Catalog, contents: Sequence[bytes]) -> dict[bytes, dict[str, str]]:
    """sha256 -> column -> value, of those of these contents of which a table says something."""
    found: dict[bytes, dict[str, str]] = {}
    for part in in_parts(contents):
        sql = f"SELECT sha256, name, value FROM annotations WHERE sha256 IN ({marks(part)})"
        for sha256, name, value in catalog.rows(sql, part, types=(bytes, str, str)):
            found.setdefault(sha256, {})[name] = value
    return found


def said_of(catalog: Catalog, sha256: bytes) -> list[tuple[str, str]]:
    """(column, value) of one content, by column."""
    return catalog.rows("SELECT name, value FROM annotations WHERE sha256 = ? ORDER BY name", (sha256,), types=(str, str))


def known_hashes(catalog: Catalog) -> set[bytes]:
    """Of all contents."""
    return {sha256 for page in catalog.pages("SELECT sha256 FROM content", types=(bytes,)) for (sha256,) in page}


def hashes_by_path(catalog: Catalog) -> dict[str, bytes]:
    """The content of each path that the library knows, NFC; also of those that are away."""
    sql = f"SELECT r.path, f.path, c.sha256 FROM {FILES_IN_ROOTS} JOIN content AS c ON c.id = f.content_id"
    return {nfc(whole_path(root, path)): sha256 for page in catalog.pages(sql, types=(bytes, bytes, bytes)) for root, path, sha256 in page}
