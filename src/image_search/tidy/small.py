"""Small pictures of images for what is saved as a page or a map: from the library's cache, else from the files as they are now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..config import THUMBNAIL_SIDE, available_cpus
from ..errors import LibraryError
from ..library.catalog import item_number
from ..library.library import Library
from ..types import Decoded, Preprocess

__all__ = ["small_pictures"]


def small_pictures(library: Path | None, pictures: Iterable[tuple[str, str]]) -> dict[str, bytes]:
    """The small pictures of these images, WebP, by path; one that can be had nowhere is missing.

    Args:
        library: its folder; None: there is none, all are read from their files.
        pictures: (id, path) each; a path that is read from its file must be no link.
    """
    found: dict[str, bytes] = {}
    wanted: list[str] = []
    with contextlib.ExitStack() as stack:
        opened = None if library is None else stack.enter_context(contextlib.closing(Library(library)))
        for id_, path in dict.fromkeys(pictures):
            small = None if opened is None else _kept(opened, id_)
            if small is not None:
                found[path] = small
            elif path:
                wanted.append(path)
    found.update(_read(wanted))
    return found


def _kept(library: Library, id_: str) -> bytes | None:
    with contextlib.suppress(LibraryError):  # it went away meanwhile: a page without pictures is a page all the same
        sha256 = library.reader().sha256_of(item_number(id_) or 0)
        return None if sha256 is None else library.thumbnails().get(sha256)
    return None


def _read(paths: list[str]) -> Iterator[tuple[str, bytes]]:
    if not paths:
        return
    from ..images.pool import DecodePool

    # The recipe serves the model only; the thumbnail is made beside it.
    with DecodePool(min(len(paths), available_cpus()), Preprocess(size=(1, 1)), thumbnail_side=THUMBNAIL_SIDE) as pool:
        for source, decoded in pool.decode_each(paths):
            if isinstance(decoded, Decoded) and decoded.thumbnail is not None and isinstance(source, str):
                yield source, decoded.thumbnail
