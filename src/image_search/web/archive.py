"""Copies of chosen files as a zip, written while it is sent: memory stays at one block whatever is chosen."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Iterator, Sequence

from ..config import PAGE_ZIP_BLOCK_BYTES
from ..images.formats import Refused
from ..images.opening import opened
from ..library.reading import Item
from ..paths import shown
from .browsing import Whereabouts
from .originals import cut, harmless

__all__ = ["entry_name", "zipped"]

NOT_COPIED = "NOT COPIED.txt"
CHANGED = "CHANGED.txt"
_WHY = {"gone": "the file is no longer in its folder", "away": "its folder or disk cannot be reached"}


class _Sink:
    """A file that forgets what was taken from it; zipfile needs no way back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def take(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data


def entry_name(position: int, item: Item) -> str:
    """A name that is unique, in the order chosen, and harmless in any file system: "001 Cat - 8.jpg"."""
    stem, dot = os.path.splitext(harmless(os.path.basename(item.path)).strip(". "))
    name = f"{cut(harmless(item.name), 80)} - " if item.name else ""
    return f"{position:03d} {name}{cut(stem, 120)}{cut(dot, 10)}"


def zipped(items: Sequence[Item], where: Whereabouts) -> Iterator[bytes]:
    """The zip's bytes. What is left out, and what is no longer the file that was indexed, is named in a list inside, with the reason."""
    sink = _Sink()
    left_out, changed = [], []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for position, item in enumerate(items, 1):
            state = where.of(item)
            try:
                for _ in _copied(archive, entry_name(position, item), item):
                    yield sink.take()
                if state == "changed":
                    changed.append(shown(item.path))
            except (OSError, Refused) as error:
                why = error.reason.value if isinstance(error, Refused) else error.strerror or str(error)
                left_out.append(f"{shown(item.path)}: {_WHY.get(state) or why}")
        if left_out:
            archive.writestr(NOT_COPIED, "\n".join(left_out) + "\n")
        if changed:
            archive.writestr(CHANGED, "Copied as they are now; they have changed since they were indexed:\n" + "\n".join(changed) + "\n")
    yield sink.take()


def _copied(archive: zipfile.ZipFile, name: str, item: Item) -> Iterator[None]:
    file, status = opened(item.source)
    with file:
        written = time.localtime(time.time() if status is None else max(0, status.st_mtime))[:6]
        info = zipfile.ZipInfo(name, min(max(written, (1980, 1, 1, 0, 0, 0)), (2107, 12, 31, 23, 59, 58)))  # what a zip can say
        info.external_attr = 0o644 << 16
        with archive.open(info, "w", force_zip64=status is not None and status.st_size > 2**31 - 1) as entry:
            while block := file.read(PAGE_ZIP_BLOCK_BYTES):
                entry.write(block)
                yield
