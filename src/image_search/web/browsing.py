"""Looking through the library: its classes, its images page by page, what is known of one, what was skipped."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from ..images.formats import rules_of
from ..library.catalog import item_id
from ..library.reading import Item, Reader, reason_code
from ..paths import as_text, shown, uri_of
from .opened import OpenLibrary
from .problems import plain
from .schemas import ClassCount, Classes, Facts, ItemRow, Page, SkippedFile, SkippedFiles, SkippedReason

__all__ = ["classes", "facts", "page", "sample", "skipped", "thumbnail_address", "view_address"]


def classes(library: OpenLibrary) -> Classes:
    rows = library.now("classes", Reader.classes)
    return Classes(classes=[ClassCount(name=as_text(name), images=images) for name, images in rows])


def page(library: OpenLibrary, name: str | None, after: int, limit: int) -> Page:
    found = library.reader.page(name=name, after=after, limit=limit)
    return Page(items=[_row(item) for item in found], next=found[-1].number if len(found) == limit else None)


def sample(library: OpenLibrary, n: int) -> Page:
    found = library.now(f"sample {n}", lambda reader: reader.sample(n))
    return Page(items=[_row(item) for item in found], next=None)


def facts(library: OpenLibrary, id: str) -> Facts:
    item = library.item(id)
    absent = not os.path.lexists(item.path)
    away = absent and library.reader.disks().away(item.path)
    return Facts(
        **_row(item).model_dump(),
        uri=uri_of(item.path),
        format=item.format,
        bytes=item.size,
        modified=_time(item.mtime_ns),
        copies=library.reader.copies(item),
        offline=away,
        gone=absent and not away,
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


def _row(item: Item) -> ItemRow:
    return ItemRow(
        id=item_id(item.number),
        name=as_text(item.name),
        path=shown(item.path),
        width=item.width,
        height=item.height,
        thumbnail=thumbnail_address(item),
    )


def _time(ns: int) -> str:
    try:
        return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""
