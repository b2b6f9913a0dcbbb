"""Given pictures as files in the user's cache folder, a folder for each library: few, small, and not for long.

Each file is named by its picture's id and signed with the library's own key: a file that was cut short, changed, or put there by somebody
else is not there. It is written whole or not at all, so a killed program leaves nothing that misleads. What goes wrong here costs a
second upload, never an answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import os
import re
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config import PAGE_UPLOADS, PAGE_UPLOADS_BYTES, PAGE_UPLOADS_SECONDS
from ..private import private_folder, read_private, write_private

__all__ = ["KeptFiles", "forget_all", "sweep_others", "uploads_folder"]

log = logging.getLogger("image_search")

_NAME = re.compile(r"[A-Za-z0-9_-]{22}")
_SIGNATURE = 32  # bytes, HMAC-SHA-256 of all that follows
_LENGTHS = struct.Struct(">III")  # bytes of the facts, the view, the picture
_DRAFT_SECONDS = 600  # after which a file that is still being written belongs to nobody


def uploads_folder() -> Path:
    """Where the folders of all libraries are."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("image-search", appauthor=False)) / "given"


class KeptFiles:
    """At most `PAGE_UPLOADS` files of `PAGE_UPLOADS_BYTES` in all, none unused for longer than `PAGE_UPLOADS_SECONDS`. Any thread may ask.

    Where the folder cannot be had, or is not this user's own, nothing is kept; that is logged once.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._key = key
        self._lock = threading.Lock()
        self._failed = False
        self.sweep()

    def put(self, name: str, facts: dict[str, Any], view: bytes, data: bytes) -> None:
        head = json.dumps(facts).encode()
        if len(view) + len(data) + 4096 > PAGE_UPLOADS_BYTES:
            return  # it alone is more than may be kept
        rest = b"".join((_LENGTHS.pack(len(head), len(view), len(data)), head, view, data))
        with self._lock, self._said_once():
            self._must_be_ours()
            # Not durable: after a power cut its signature is wrong, and it is not there.
            write_private(self._folder / name, self._signature(name, rest) + rest, durable=False)
            _sweep(self._folder)

    def get(self, name: str) -> tuple[dict[str, Any], bytes, bytes] | None:
        """Its facts, its view, the picture; None if there is none, or not one of ours."""
        if not _NAME.fullmatch(name):
            return None
        path = self._folder / name
        try:
            if _is_old(os.lstat(path)):
                return None
            found = self._opened(name, read_private(path, PAGE_UPLOADS_BYTES))
        except (OSError, ValueError):
            return None
        self.used(name)
        return found

    def _opened(self, name: str, content: bytes) -> tuple[dict[str, Any], bytes, bytes]:
        signature, rest = content[:_SIGNATURE], content[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._signature(name, rest)):
            raise ValueError("not ours")
        facts, view, data = _LENGTHS.unpack_from(rest)
        start = _LENGTHS.size
        head = json.loads(rest[start : start + facts])
        start += facts
        return head, rest[start : start + view], rest[start + view : start + view + data]

    def _signature(self, name: str, rest: bytes) -> bytes:
        return hmac.digest(self._key, b"given\0" + name.encode() + rest, hashlib.sha256)

    def used(self, name: str) -> None:
        """It was looked at: it stays for another week, and longer than those that were not."""
        with contextlib.suppress(OSError):
            os.utime(self._folder / name)

    def sweep(self) -> None:
        """Take away what is too old or too much, and what a killed program left half written; called now and then."""
        with self._lock, self._said_once():
            self._must_be_ours()
            _sweep(self._folder)

    def _must_be_ours(self) -> None:
        private_folder(self._folder.parent)
        private_folder(self._folder)

    @contextlib.contextmanager
    def _said_once(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._failed:
                log.warning("Given pictures are kept in memory only: %s: %s", self._folder, error.strerror or error)
            self._failed = True


def sweep_others(folders: Path) -> None:
    """What libraries that are not served any more have left there for too long."""
    with contextlib.suppress(OSError):
        private_folder(folders)
        for entry in list(os.scandir(folders)):
            if entry.is_dir(follow_symlinks=False):
                _sweep(Path(entry.path))
                with contextlib.suppress(OSError):  # not empty
                    os.rmdir(entry.path)


def forget_all(folder: Path) -> None:
    """The key was renewed: nobody can read them any more."""
    with contextlib.suppress(OSError):
        private_folder(folder.parent)
        private_folder(folder)
        for entry in list(os.scandir(folder)):
            os.unlink(entry.path)


def _sweep(folder: Path) -> None:
    """The newest stay, as many and as much as may."""
    with os.scandir(folder) as entries:
        found = [(entry.stat(follow_symlinks=False), entry) for entry in entries]
    room, seen = PAGE_UPLOADS_BYTES, 0
    for info, entry in sorted(found, key=lambda one: -one[0].st_mtime_ns):
        if not _NAME.fullmatch(entry.name):  # a draft, which is written within moments
            if time.time() - info.st_mtime > _DRAFT_SECONDS:
                os.unlink(entry.path)
            continue
        room, seen = room - info.st_size, seen + 1
        if _is_old(info) or seen > PAGE_UPLOADS or room < 0:
            os.unlink(entry.path)


def _is_old(info: os.stat_result) -> bool:
    return time.time() - info.st_mtime > PAGE_UPLOADS_SECONDS
