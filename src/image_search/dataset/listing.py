"""The list comes first: every picture below folders and prefixes, or of a table that somebody has made, with its size and version.

A bucket is listed in parallel below its sub-folders. That is what takes longest at first: a page of 1,000 keys costs some 50 ms, so a
hundred million keys in one folder take 1.5 hours; then a list made elsewhere (an inventory of the bucket) is the better beginning.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..config import DATASET_LISTERS
from ..errors import DatasetError, UsageError, in_words
from ..images.formats import extensions, shot_extensions
from ..images.scan import Excluder, ImageFile, NotIndexed, scan
from ..paths import as_text, local_path, real_path, uri_of
from .arrow import arrow
from .blocks import Item
from .filesystems import KNOWN, Place, is_known, is_remote, place

__all__ = ["Listing", "list_places", "read_list"]

_BATCH = 50_000  # rows that are Python's at one time
_SIZES, _VERSIONS = ("bytes", "size"), ("version", "etag", "modified")  # what a table may call these columns; "etag" of S3's own inventory


@dataclass(slots=True)
class Listing:
    """What is to be embedded.

    Attributes:
        table: a pyarrow table of `Item`s, in order of their uris, each uri once.
        passed: files that are no pictures by their names, or were left out by a rule.
        nameless: rows of a table without an address. foreign: with one of a kind that is not read. repeated: with one that came before.
        unread: folders that could not be read: what lies in them is not in the list.
    """

    table: Any
    passed: int = 0
    nameless: int = 0
    foreign: int = 0
    repeated: int = 0
    unread: list[str] = field(default_factory=list)


def list_places(sources: Sequence[str], *, excluder: Excluder, names: bool, any_name: bool, progress: Callable[[int], object]) -> Listing:
    """Every picture below these folders and prefixes, by its name alone; nothing is opened.

    Args:
        names: a picture's class is the folder it lies in.
        any_name: also files whose names have no ending.
        progress: is told how many there are so far.

    Raises DatasetError: no such folder or bucket, no rights, no network, no picture at all.
    """
    found = Listing(None)
    batches: list[Any] = []
    total = 0
    for source in sources:
        here = place(source)
        items = (
            _in_folder(here, excluder, names, any_name, found)
            if here.local
            else _in_bucket(here, excluder, names, any_name, found)
        )  # fmt: skip
        for batch in _batches(items):
            batches.append(batch)
            progress(total := total + len(batch))
    if not total and found.unread:
        raise DatasetError("this folder cannot be read", path=found.unread[0], hint="check its permissions")
    if not total:
        others = f"; {found.passed:,} other files" if found.passed else ""
        raise DatasetError(f"there are no pictures here{others}", path=sources[0], hint="check the address")
    return _in_order(batches, found)


def read_list(address: str, progress: Callable[[int], object]) -> Listing:
    """A table with a column `uri` (Parquet, or CSV with a line of names), and perhaps `name`, `bytes`, and `etag` or `modified`.

    A path that does not begin at the top counts from the current folder. Where the list does not say how large they are and which version
    they have, each object is asked, which takes a request each.
    """
    found = Listing(None)
    batches, total = [], 0
    for part in _parts_of(address):
        rows, complete = _items_of(part, address)
        named = [row for row in rows if row.uri]
        good = [row._replace(uri=_whole(row.uri)) for row in named if is_known(row.uri)]
        found.nameless += len(rows) - len(named)
        found.foreign += len(named) - len(good)
        if good:
            batches.append(_as_table(good if complete else _asked(good)))
            progress(total := total + len(good))
    if not total:
        raise DatasetError("there are no addresses in this list that are read", path=address, hint=KNOWN)
    return _in_order(batches, found)


def _in_folder(here: Place, excluder: Excluder, names: bool, any_name: bool, into: Listing) -> Iterator[Item]:
    """As an index run sees a folder. What cannot be opened is a row, and gets its reason when it is read."""
    if not os.path.isdir(here.path):
        raise UsageError("there is no such folder", path=here.address, hint="check the name")
    root = real_path(here.path)
    for entry in scan(root, excluder=excluder, nameless=lambda _: any_name):
        if isinstance(entry, (ImageFile, NotIndexed)):
            if isinstance(entry, NotIndexed) and entry.folder:
                into.unread.append(entry.path)
                continue
            size, version = (entry.stat.size, str(entry.stat.mtime_ns)) if isinstance(entry, ImageFile) else (-1, "")
            yield Item(uri_of(entry.path), as_text(os.path.basename(os.path.dirname(entry.path))) if names else "", size, version)
        elif hasattr(entry, "files"):
            into.passed += entry.files


def _in_bucket(here: Place, excluder: Excluder, names: bool, any_name: bool, into: Listing) -> Iterator[Item]:
    endings, (raw, developed) = extensions(), shot_extensions()
    bucket = here.path.partition("/")[0]
    scheme = here.address.partition("://")[0]
    above = len(here.path) + 1  # of a key, what `here` has
    root = here.address.partition("://")[2].partition("/")[0]  # as the address calls the bucket

    def left_out(path: str) -> bool:
        return excluder.path(os.fsencode(path[above:].replace("/", os.sep)))

    for found in _walk(here):
        named = [(*_shot(path), path, size, mtime) for path, size, mtime in found]
        shots: set[str] = set()  # as of a folder: a raw file beside the JPEG of the same shot is passed by
        if any(ending in raw for _, ending, *_ in named):
            shots = {shot for shot, ending, path, *_ in named if ending in developed and not left_out(path)}
        for shot, ending, path, size, mtime in named:
            wanted = ending in endings or (any_name and not ending)
            if not wanted or (ending in raw and shot in shots) or left_out(path):
                into.passed += 1
                continue
            name = path.rpartition("/")[0].rpartition("/")[2] if names else ""
            yield Item(f"{scheme}://{root}/{path[len(bucket) + 1 :]}", name, size, mtime)


def _shot(path: str) -> tuple[str, str]:
    """(the path without its name's ending, the ending), the name in lower case."""
    folder, _, base = path.rpartition("/")
    stem, ending = os.path.splitext(base.lower())
    return f"{folder}/{stem}", ending


def _walk(here: Place) -> Iterator[list[tuple[str, int, str]]]:
    """(path, bytes, time of change in ns) of every object below, those of a folder together: level by level until there is enough to do
    at once, then each whole."""
    with ThreadPoolExecutor(DATASET_LISTERS, "list") as threads:
        level = [here]
        for _ in range(4 if here.shows_folders else 0):
            if len(level) >= DATASET_LISTERS:
                break
            deeper: list[Place] = []
            for place_of, infos in zip(level, threads.map(lambda one: one.entries(recursive=False), level), strict=True):
                deeper += [place_of.below(name.rpartition("/")[2]) for name, size, _ in infos if size is None]
                yield [(name, size, mtime) for name, size, mtime in infos if size is not None]
            level = deeper
        for infos in threads.map(lambda one: one.entries(recursive=True), level):
            yield [(name, size, mtime) for name, size, mtime in infos if size is not None]


def _parts_of(address: str) -> Iterator[Any]:
    """The list, a record batch of pyarrow's at a time: one of 50 million rows has 6 GB."""
    pa = arrow("Lists")
    here = place(address)
    data = here.read()
    if data is None:
        raise UsageError("there is no such list", path=here.address, hint="check the name")
    try:
        if address.lower().endswith((".csv", ".txt")):
            text = dict.fromkeys(("uri", "name", "etag", "version", "modified"), pa.string())
            options = pa.csv.ConvertOptions(column_types=text, strings_can_be_null=True)
            yield from pa.csv.open_csv(pa.BufferReader(data), convert_options=options)
        else:
            yield from pa.parquet.ParquetFile(pa.BufferReader(data)).iter_batches(_BATCH)
    except (pa.ArrowException, OSError) as error:
        hint = "a list is a Parquet file, or a CSV file with a line of names, that has a column uri"
        raise UsageError(f"the list cannot be read ({in_words(error)[:150]})", path=here.address, hint=hint) from error


def _items_of(part: Any, address: str) -> tuple[list[Item], bool]:
    """(rows, whether they say how large their objects are, and of which version); "" for an address that is missing."""
    pa = arrow("Lists")
    names = {name.lower(): name for name in reversed(part.schema.names)}
    if "uri" not in names:
        raise UsageError("the list has no column uri", path=address, hint=f"it has {', '.join(part.schema.names)[:200] or 'none'}")

    kind = part.schema.field(names["uri"]).type
    if not any(is_a(kind) for is_a in (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary, pa.types.is_null)):
        raise UsageError(f"the list's column uri holds no text, but {kind}", path=address)

    def column(called: tuple[str, ...], kind: Any, missing: object) -> list[Any]:
        name = next((names[one] for one in called if one in names), None)
        return [missing] * len(part) if name is None else pa.compute.fill_null(part.column(name).cast(kind), missing).to_pylist()

    text = pa.large_string()
    try:
        columns = column(("uri",), text, ""), column(("name",), text, ""), column(_SIZES, pa.int64(), -1), column(_VERSIONS, text, "")
    except pa.ArrowException as error:
        raise UsageError(f"the list has a column of the wrong kind ({in_words(error)[:150]})", path=address) from error
    complete = all(any(name in names for name in kinds) for kinds in (_SIZES, _VERSIONS))
    return list(map(Item._make, zip(*columns, strict=True))), complete


def _whole(uri: str) -> str:
    """As every list calls it: a path of this machine from its top."""
    return uri if is_remote(uri) else uri_of(os.path.abspath(os.path.expanduser(local_path(uri))))


def _asked(rows: list[Item]) -> list[Item]:
    """Each with its size and time of change as they are now; one that is not there stays as it is, and is told when it is read."""

    def asked(row: Item) -> Item:
        try:
            size, mtime = place(row.uri).facts()
        except (DatasetError, UsageError):
            return row
        return row._replace(bytes=size, version=mtime)

    with ThreadPoolExecutor(DATASET_LISTERS, "ask") as threads:
        return list(threads.map(asked, rows))


def _batches(items: Iterator[Item]) -> Iterator[Any]:
    rows: list[Item] = []
    for item in items:
        rows.append(item)
        if len(rows) == _BATCH:
            yield _as_table(rows)
            rows = []
    if rows:
        yield _as_table(rows)


def _as_table(rows: list[Item]) -> Any:
    pa = arrow("Lists")
    kinds = (pa.large_string(), pa.large_string(), pa.int64(), pa.large_string())
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return pa.table(columns, names=list(Item._fields))


def _in_order(batches: list[Any], found: Listing) -> Listing:
    """Sorted by uri, each of them once: of equal ones the first in the list."""
    pa = arrow("Lists")
    table = pa.concat_tables(batches)
    batches.clear()
    table = table.take(pa.compute.sort_indices(table, [("uri", "ascending")])).combine_chunks()  # a stable sort
    uris = table.column("uri").chunk(0)
    if len(table) > 1:
        new = pa.compute.not_equal(uris[1:], uris[:-1])
        if not pa.compute.all(new).as_py():
            table = table.filter(pa.concat_arrays([pa.array([True]), new]))
    found.repeated += len(uris) - len(table)
    found.table = table
    return found
