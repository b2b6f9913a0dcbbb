"""The pictures of a collection, fetched where they lie by the file systems of data sets: bounded like what is sent, the last ones kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from ..config import COLLECTION_KEPT_BYTES
from ..dataset.filesystems import place
from ..errors import DecodeError, ImageSearchError, SkipReason

__all__ = ["Fetch", "Pictures"]

Fetch = Callable[[str, bytes], bytes]  # an address and its SHA-256 -> the file's bytes; DecodeError says why there are none


class Pictures:
    """Files as they are now, by their address; any thread may ask.

    Args:
        most: gives the bytes that one may have.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def fetch(self, uri: str, sha256: bytes) -> bytes:
        """Raises DecodeError: FILE_TOO_LARGE, VANISHED, UNREADABLE, ...

        sha256: of what the collection knows under this address; another one: it was loaded anew, and is fetched anew.
        """
        key = uri, sha256
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        try:
            data = place(uri, "Fetching pictures").object(self._most())
        except DecodeError:
            raise
        except ImageSearchError as error:
            raise DecodeError(SkipReason.UNREADABLE, path=uri, detail=error.line, hint=error.hint) from error
        with self._lock:
            if key not in self._kept:
                self._kept[key] = data
                self._size += len(data)
            while self._size > COLLECTION_KEPT_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1])
        return data
