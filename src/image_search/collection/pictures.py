"""The pictures of a collection, fetched where they lie by the file systems of data sets: bounded like what is sent, the last ones kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from ..config import COLLECTION_KEPT_BYTES
from ..dataset.filesystems import place
from ..errors import DecodeError, ImageSearchError, SkipReason
from ..images.formats import Refused
from ..images.opening import open_regular
from ..paths import is_address, local_path, to_bytes

__all__ = ["Fetch", "Pictures"]

Fetch = Callable[[str, bytes], bytes]  # an address and its SHA-256 -> the file's bytes; DecodeError says why there are none


def _read(path: str, most: int) -> bytes:
    """A regular file of this machine: nothing that would wait for ever."""
    handle, seen = open_regular(to_bytes(path))
    with open(handle, "rb") as file:
        if seen.st_size > most:
            raise Refused(SkipReason.FILE_TOO_LARGE, f"{seen.st_size} bytes")
        return file.read(most)


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
            data = place(uri, "Fetching pictures").object(self._most()) if is_address(uri) else _read(local_path(uri), self._most())
        except DecodeError:
            raise
        except Refused as error:
            raise DecodeError(error.reason, path=uri, detail=error.detail) from error
        except (ImageSearchError, OSError) as error:
            raise DecodeError(SkipReason.UNREADABLE, path=uri, detail=str(error), hint="check the address and the rights") from error
        with self._lock:
            if key not in self._kept:
                self._kept[key] = data
                self._size += len(data)
            while self._size > COLLECTION_KEPT_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1])
        return data
