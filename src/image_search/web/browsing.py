"""Looking through the library: its classes, its images page by page, what is known of one, what was skipped."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from ..errors import reason_code
from ..images.formats import rules_of
from ..library.annotations import said_of
from ..library.catalog import item_id
from ..library.disks import Disks
from ..library.reading import Item, Reader
from ..paths import as_text, is_address, shown, uri_of
from .opened import OpenLibrary
from .problems import plain
from .schemas import ClassCount, Classes, Facts, ItemRow, Page, SkippedFile, SkippedFiles, SkippedReason, Where

__all__ = [
    "Whereabouts",
    "classes",
    "facts",
    "numbered",
    "page",
    "row",
    "rows",
    "sample",
    "skipped",
    "thumbnail_address",
    "utc",
    "view_address",
]


class Whereabouts:
    """Where files are now, for as long as one question takes: by a look at their folders, nothing is opened."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._disks: Disks | None = None

    def of(self, item: Item) -> Where:
        if is_address(item.path):  # whether it is there is seen when it is fetched
            return "here"
        try:
            seen = os.lstat(item.path)
        except OSError:
            if self._disks is None:
                self._disks = self._reader.disks()
            return "away" if self._disks.away(item.path) else "gone"
        return "here" if (seen.st_size, item.mtime_ns and seen.st_mtime_ns) == (item.size, item.mtime_ns) else "changed"


def classes(library: OpenLibrary) -> Classes:
    rows = library.now("classes", lambda reader: reader.classes())
    return Classes(classes=[ClassCount(name=as_text(name), images=images) for name, images in rows])


def page(library: OpenLibrary, name: str | None, after: int, limit: int) -> Page:
    found = library.reader.page(name=name, after=after, limit=limit)
    return Page(items=_rows(library, found), next=found[-1].number if len(found) == limit else None)


def rows(library: OpenLibrary, ids: list[str]) -> Page:
    """These images in this order, without those that are no longer in the library."""
    return Page(items=_rows(library, library.items(ids)), next=None)


def numbered(library: OpenLibrary, numbers: list[int]) -> Page:
    """Images by their numbers, in this order; None in the place of one that has gone since."""
    found = library.reader.items(numbers)
    where = Whereabouts(library.reader)
    return Page(items=[row(found[number], where) if number in found else None for number in numbers], next=None)


def sample(library: OpenLibrary, n: int) -> Page:
    found = library.now(f"sample {n}", lambda reader: reader.sample(n))
    return Page(items=_rows(library, found), next=None)


def facts(library: OpenLibrary, id: str) -> Facts:
    item = library.item(id)
    known = row(item, Whereabouts(library.reader))
    return Facts(
        annotations={
            shown(name): shown(value) for name, value in (said_of(library.reader.catalog, item.sha256) if library.alone is None else ())
        },
        **known.model_dump(),
        copies=library.reader.copies(item),
        offline=known.state == "away",
        gone=known.state == "gone",
        view=view_address(item),
    )


def skipped(library: OpenLibrary) -> SkippedFiles:
    return SkippedFiles(
        reasons=[SkippedReason(reason=reason, code=reason_code(reason), files=files) for reason, files in library.reader.skipped_counts()],
        files=[
            SkippedFile(path=shown(file.path), reason=file.reason, code=reason_code(file.reason), hint=plain(file.hint))
            for file in library.reader.skipped()
        ],
    )


def thumbnail_address(item: Item) -> str:
    return f"api/images/{item_id(item.number)}/thumbnail?v={_version(item)}"


def view_address(item: Item) -> str:
    return f"api/images/{item_id(item.number)}/view?v={_version(item)}"


def _version(item: Item) -> str:
    """Changes with the content and the rules of its pixels, its thumbnail's and today's, so that a browser may keep a picture for ever."""
    return f"{item.sha256[:6].hex()}-{item.rules}.{rules_of(item.format)}"


def _rows(library: OpenLibrary, items: list[Item]) -> list[ItemRow | None]:
    where = Whereabouts(library.reader)
    return [row(item, where) for item in items]


def row(item: Item, where: Whereabouts) -> ItemRow:
    return ItemRow(
        id=item_id(item.number),
        name=as_text(item.name),
        path=shown(item.path),
        uri=uri_of(item.path),
        state=where.of(item),
        width=item.width,
        height=item.height,
        format=item.format,
        bytes=item.size,
        captured=item.captured or None,
        modified=utc(item.mtime_ns),
        thumbnail=thumbnail_address(item),
    )


def utc(ns: int) -> str:
    """ "" for 0: it is not known."""
    if not ns:
        return ""
    try:
        return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""
