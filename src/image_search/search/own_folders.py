"""In which folders what is searched with lies: left out where its series would fill the answer.

These are the folder of the file itself, in the library or not, and every folder in which the library has a file of the same bytes: shots
of one series lie beside each of them. A folder inside such a folder is another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from ..images.opening import FileInRoot
from ..library.catalog import item_number
from ..library.reading import Reader
from ..paths import nfc
from .query import Query

__all__ = ["own_folders"]


def own_folders(queries: Iterable[Query], reader: Reader, notify: Callable[[str], None]) -> frozenset[str]:
    """Of all that the matches should resemble; as `library.columns.Places` writes folders."""
    likes = [query for query in queries if not query.less]
    found = frozenset(_as_column(path) for query in likes for path in _paths(query, reader))
    if not found:
        notify("What is searched with lies in no folder: none is left out")
    return found


def _paths(query: Query, reader: Reader) -> Iterator[str]:
    source = None if query.show is None else query.show.source
    if isinstance(source, FileInRoot):
        yield source.path
    elif isinstance(source, str):
        yield source
    if (number := item_number(query.label)) is not None and (item := reader.item(number)) is not None:
        yield item.path  # a query made before, of which only the vector was kept
    if query.sha256 is not None and (content := reader.content_of(query.sha256)) is not None:
        yield from (file.path for file in reader.files_with([content]))


def _as_column(path: str) -> str:
    return nfc(os.path.join(os.path.dirname(path), "").replace(os.sep, "/"))
