"""An index run in a process of its own that dies, and root without its right to read everything."""

from __future__ import annotations

import ctypes
import os
import signal
import traceback
from contextlib import suppress
from typing import Any

from image_search import ImageSearchError
from image_search.testing import quick_engine

__all__ = ["give_up_rights", "index_and_die"]


def give_up_rights(really: bool = True) -> bool:
    """Root reads everything; without these capabilities it is a user like any other. False: they cannot be given up here."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return True
    with suppress(OSError, AttributeError):
        libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        if libc.capget(header, sets):
            return False
        sets[0] = sets[0] & ~0b110 if really else sets[1]  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        return not libc.capset(header, sets)
    return False


def index_and_die(library: str, folder: str, options: dict[str, Any], step: int) -> int:
    """In a process of its own: kill -9 before the n-th statement. Returns its status, 0 if it came to its end before that."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        _index_and_die(library, folder, options, step)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _index_and_die(library: str, folder: str, options: dict[str, Any], step: int) -> None:
    from image_search.index import run as indexing
    from image_search.library.catalog import Catalog

    give_up_rights()
    indexing.COMMIT_SECONDS = 0
    left = step

    def counted(real: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **more)

        return call

    for name in ("execute", "execute_many", "set_meta"):
        setattr(Catalog, name, counted(getattr(Catalog, name)))
    with suppress(ImageSearchError), quick_engine(library, notify=lambda line: None) as engine:
        engine.index(folder, progress=False, **options)
