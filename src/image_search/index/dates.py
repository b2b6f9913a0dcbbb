"""After an index run: when the pictures were taken that an older version of this program took in, by their headers; no model is asked.

What was read is committed about once a second; a picture whose file could not be read just then is asked again by the next run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..config import COMMIT_SECONDS
from ..errors import DecodeError
from ..images.opening import FileInRoot
from ..images.pool import DecodePool, PictureSource
from ..library import writing
from ..library.catalog import Catalog
from ..library.worklist import Undated, Worklist
from ..types import FileStat
from .run import OF_THE_MOMENT, Progress

__all__ = ["read_dates"]


def read_dates(catalog: Catalog, work: Worklist, pool: DecodePool, progress: Progress) -> int:
    """Fill in what is still NULL in `content.captured`, of contents whose files this run has seen. Gives how many were filled in."""
    total, asked, done = work.undated(), 0, 0
    waiting: dict[PictureSource, Undated] = {}
    read: list[tuple[str, int]] = []  # captured, content
    committed_at = time.monotonic()

    def sources() -> Iterator[FileInRoot]:
        for item in work.each_undated():
            waiting[item.source] = item
            yield item.source

    def commit() -> None:
        nonlocal committed_at, done, read
        committed_at = time.monotonic()
        if read:
            with catalog.transaction():
                writing.date_contents(catalog, read)
        done, read = done + len(read), []
        progress(asked, total, 0)

    try:
        for source, outcome in pool.captured_each(sources()):
            item = waiting.pop(source)
            asked += 1
            if (found := _told(outcome, item.stat)) is not None:
                read.append((found, item.content))
            if time.monotonic() - committed_at >= COMMIT_SECONDS:
                commit()
    finally:
        commit()
    return done


def _told(outcome: tuple[str, FileStat] | DecodeError, stat: FileStat) -> str | None:
    """None: another look may say more: the file could not be read just now, or is another one by now."""
    if isinstance(outcome, DecodeError):
        return None if outcome.reason in OF_THE_MOMENT else ""
    captured, now = outcome
    return captured if now == stat else None
