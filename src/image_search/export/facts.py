"""A table of the user's own, CSV or Parquet: which images its rows are about, and what its columns hold."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from ..advice import Advice, Setting
from ..errors import UsageError, in_words
from ..library.annotations import annotate, columns_of, hashes_by_path, holders, known_hashes
from ..library.catalog import Catalog
from ..library.reading import Reader
from ..paths import local_path, nfc, real_path
from .parquet import ENDING, read_parquet

__all__ = ["Annotated", "bring_in"]

_KEYS = ("sha256", "path", "uri", "file")  # headings of the column that says which image, looked for in this order
_MOST_COLUMNS, _LONGEST_NAME, _LONGEST_VALUE = 200, 100, 2000
_SHOWN = 40  # letters of a value that an error shows
_DELIMITERS = (",", ";", "\t")


@dataclass(slots=True)
class Annotated:
    """What came of a table.

    Attributes:
        rows: of the table. images: contents of the library that they are about.
        unmatched: keys of rows that are about no image of the library.
        columns: all columns that the library has now: (name, kind, contents that have a value).
    """

    rows: int = 0
    images: int = 0
    unmatched: list[str] = field(default_factory=list)
    columns: list[tuple[str, str, int]] = field(default_factory=list)


def bring_in(catalog: Catalog, path: str, key: str | None) -> Annotated:
    """Read the table and keep its columns with the images that it is about; inside a transaction of the caller's.

    A path is absolute, or relative to the table's folder or to an indexed one. Of several rows about one image the last counts. A column is
    of numbers or of dates if all its values are, else of text; an empty value is missing. A column that is there keeps its kind; one of
    text is looked at anew where the table names all images that have a value in it.

    Raises UsageError: no table, no key column, a line that does not fit, a value of another kind than its column. Nothing has changed then.
    """
    header, rows = _table(path)
    place = _key_column(header, key, path)
    found = _Finder(catalog, os.path.dirname(os.path.abspath(path)), by_hash=_plain(header[place]) == "sha256")
    result = Annotated(rows=len(rows))
    about: dict[bytes, int] = {}  # content -> its last row
    for number, row in enumerate(rows):
        sha256 = found.sha256(row[place])
        if sha256 is None:
            result.unmatched.append(row[place])
        else:
            about[sha256] = number
    result.images = len(about)
    if about:
        before = {name: kind for name, kind, _ in columns_of(catalog)}
        columns = {name: [row[column] for row in rows] for column, name in enumerate(header) if column != place}
        read = {}  # all of them, before anything changes
        for name, texts in columns.items():
            kept = before.get(name)
            if kept == "text" and holders(catalog, name) <= about.keys():
                kept = None
            read[name] = _typed(texts) if kept is None else (kept, _of_kind(kept, name, texts, about.values(), path))
        for name, (kind, values) in read.items():
            annotate(catalog, name, kind, ((sha256, values[number]) for sha256, number in about.items()))
    result.columns = columns_of(catalog)
    return result


def _plain(heading: str) -> str:
    return heading.casefold().strip()


def _key_column(header: Sequence[str], key: str | None, path: str) -> int:
    plain = [_plain(name) for name in header]
    for wanted in _KEYS if key is None else (_plain(key),):
        if wanted in plain:
            return plain.index(wanted)
    hint = "name one of its columns path or sha256" if key is None else f"its columns are {', '.join(header[:10])}"
    raise UsageError("the table does not say which image a row is about", path=path, hint=hint)


class _Finder:
    """Key -> content."""

    def __init__(self, catalog: Catalog, base: str, *, by_hash: bool) -> None:
        self._by_hash = by_hash
        self._paths = {} if by_hash else hashes_by_path(catalog)
        self._known = known_hashes(catalog) if by_hash else set()
        self._bases = [real_path(base), *Reader(catalog).root_paths()]

    def sha256(self, key: str) -> bytes | None:
        if self._by_hash:
            try:
                found = bytes.fromhex(key.strip())
            except ValueError:
                return None
            return found if found in self._known else None
        path = os.path.expanduser(local_path(key.strip()))
        for base in self._bases:
            whole = os.path.normpath(os.path.join(base, path))
            for name in (whole, os.path.join(real_path(os.path.dirname(whole)), os.path.basename(whole))):
                if (content := self._paths.get(nfc(name))) is not None:
                    return content
        return None


# --- reading ------------------------------------------------------------------------------------------------------------------


def _table(path: str) -> tuple[list[str], list[list[str]]]:
    """(headings, rows of as many texts; "" is missing)."""
    if not os.path.isfile(path):
        raise UsageError("there is no such file", path=path, hint="give a CSV or Parquet file")
    header, rows = _columns_of_parquet(path) if path.lower().endswith(ENDING) else _csv(path)
    header = [nfc(name.strip()) for name in header]
    if not all(header) or len(set(header)) < len(header) or any(len(name) > _LONGEST_NAME for name in header):
        raise UsageError(f"each column needs a name of its own, of at most {_LONGEST_NAME} letters", path=path)
    if len(header) > _MOST_COLUMNS:
        raise UsageError(f"a table has at most {_MOST_COLUMNS} columns", path=path, hint="take only those that you want to filter by")
    return header, rows


def _csv(path: str) -> tuple[list[str], list[list[str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(_DELIMITERS, key=first.count), strict=True)
            header = next(reader, [])
            rows = []
            for row in reader:
                if row and len(row) != len(header):
                    raise UsageError(f"line {reader.line_num} has {len(row)} values, and the table {len(header)} columns", path=path)
                if row:
                    rows.append(row)
    except UnicodeDecodeError as error:
        raise UsageError("the table is not in UTF-8", path=path, hint="save it as CSV in UTF-8") from error
    except (csv.Error, OSError) as error:
        raise UsageError(f"the table cannot be read ({in_words(error)})", path=path) from error
    if not header:
        raise UsageError("the table is empty", path=path, hint="its first line has the columns' names")
    return header, rows


def _columns_of_parquet(path: str) -> tuple[list[str], list[list[str]]]:
    columns = read_parquet(path)
    texts = [[_text(value) for value in values] for values in columns.values()]
    return list(columns), [list(row) for row in zip(*texts, strict=True)]


def _text(value: Any) -> str:
    """ "" for what is missing, or no single value."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or isinstance(value, (list, dict, bytes)):
        return ""
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


# --- kinds --------------------------------------------------------------------------------------------------------------------


def _typed(texts: Iterable[str]) -> tuple[str, list[str | None]]:
    """(kind, the values as the library keeps them; None: missing)."""
    values = _values(texts)
    there = [value for value in values if value is not None]
    for kind, read in _READ.items():
        if there and all(read(value) for value in there):
            return kind, [None if value is None else read(value) for value in values]
    return "text", list(values)


def _of_kind(kind: str, name: str, texts: Iterable[str], rows: Iterable[int], path: str) -> list[str | None]:
    """The values as a column of this kind keeps them; only those of `rows` are read. Raises UsageError: one of them is of another kind."""
    values = _values(texts)
    for number in rows if kind in _READ else ():
        value = values[number]
        if value is not None and not (found := _READ[kind](value)):
            wrong = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
            raise UsageError(
                f"{name} holds {kind}s, and {wrong!r} in row {number + 1} is none; nothing was changed",
                path=path,
                hint=Advice("leave the value empty, or begin the column anew, without its other values, with ", Setting("drop", name)),
            )
        values[number] = value and found
    return values


def _values(texts: Iterable[str]) -> list[str | None]:
    return [nfc(text.strip())[:_LONGEST_VALUE] or None for text in texts]


def _number(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return ""
    return repr(number).removesuffix(".0") if math.isfinite(number) and "_" not in text else ""


def _date(text: str) -> str:
    try:
        if len(text) == 10:
            return date.fromisoformat(text).isoformat()
        return datetime.fromisoformat(text).replace(tzinfo=None).isoformat(timespec="seconds") if len(text) >= 16 else ""
    except ValueError:
        return ""


_READ: dict[str, Callable[[str], str]] = {"number": _number, "date": _date}  # "" for what is of another kind
