"""Looking through the library: its classes, its images page by page, what is known of one, what was skipped."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from ..library.catalog import item_id
from ..library.reading import Item, Reader, reason_code
from ..paths import as_text, shown, uri_of
from .opened import OpenLibrary
from .problems import plain
from .schemas import ClassCount, Classes, Facts, ItemRow, Page, SkippedFile, SkippedFiles, SkippedReason, Where

__all__ = ["classes", "facts", "numbered", "page", "rows", "sample", "skipped", "state_of", "thumbnail_address", "view_address"]


def classes(library: OpenLibrary) -> Classes:
    rows = library.now("classes", Reader.classes)
    return Classes(classes=[ClassCount(name=as_text(name), images=images) for name, images in rows])


def page(library: OpenLibrary, name: str | None, after: int, limit: int) -> Page:
    found = library.reader.page(name=name, after=after, limit=limit)
    return Page(items=[_row(item) for item in found], next=found[-1].number if len(found) == limit else None)


def rows(library: OpenLibrary, ids: list[str]) -> Page:
    """These images in this order, without those that are no longer in the library."""
    return Page(items=[_row(item) for item in library.items(ids)], next=None)


def numbered(library: OpenLibrary, numbers: list[int]) -> Page:
    """Images by their numbers, in this order; None in the place of one that has gone since."""
    found = library.reader.items(numbers)
    return Page(items=[_row(found[number]) if number in found else None for number in numbers], next=None)


def sample(library: OpenLibrary, n: int) -> Page:
    found = library.now(f"sample {n}", lambda reader: reader.sample(n))
    return Page(items=[_row(item) for item in found], next=None)


def facts(library: OpenLibrary, id: str) -> Facts:
    item = library.item(id)
    return Facts(
        **_row(item).model_dump(),
        format=item.format,
        bytes=item.size,
        modified=_time(item.mtime_ns),
        copies=library.reader.copies(item),
        offline=not os.path.lexists(item.path),
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
    """Changes with the content, so that a browser may keep a picture for ever."""
    return item.sha256[:6].hex()


def _row(item: Item) -> ItemRow:
    return ItemRow(
        id=item_id(item.number),
        name=as_text(item.name),
        path=shown(item.path),
        uri=uri_of(item.path),
        state=state_of(item),
        width=item.width,
        height=item.height,
        thumbnail=thumbnail_address(item),
    )


def state_of(item: Item) -> Where:
    """Where the file is now, by a look at its folder; nothing is opened."""
    try:
        seen = os.lstat(item.path)
    except (FileNotFoundError, NotADirectoryError):
        return "gone" if os.path.isdir(item.root) else "away"
    except OSError:
        return "away"
    return "here" if (seen.st_size, seen.st_mtime_ns) == (item.size, item.mtime_ns) else "changed"


def _time(ns: int) -> str:
    try:
        return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""
