"""The one long look at the library that works in the background: for copies, at labels, for the map. What came out is kept."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..config import PAGE_RUN_END_SECONDS
from ..errors import ImageSearchError

__all__ = ["Found", "Look", "Looks", "Say", "What"]

What = Literal["groups", "check", "map"]
Say = Callable[[str, int, int], None]  # (what is being done, done, total)

log = logging.getLogger("image_search")


@dataclass(frozen=True, slots=True)
class Look:
    """How far a look is; a new row for each change. `step`: what is being done, in the engine's word for it."""

    run: int = 0
    what: What | None = None
    state: Literal["none", "working", "done", "stopped", "failed"] = "none"
    step: str = ""
    done: int = 0
    total: int = 0
    error: ImageSearchError | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found. `key`: what it was asked, and of which state of the library."""

    run: int
    key: Hashable
    value: Any


class _StoppedError(Exception):
    """Raised inside a look to end it; what it has found out so far is kept where it keeps such things."""


class Looks:
    """At most one look at a time; all methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._look = Look()
        self._key: Hashable = None
        self._found: dict[What, Found] = {}
        self._runs = 0

    @property
    def now(self) -> Look:
        return self._look

    def begin(self, what: What, key: Hashable, work: Callable[[Say], Any], *, fresh: bool = False) -> Look | None:
        """How far the look for this is: found already, in work, or begun now. None: another one is in work.

        Args:
            fresh: look again, whatever was found.
        """
        with self._lock:
            if self._look.state == "working":
                return self._look if (self._look.what, self._key) == (what, key) else None
            found = self._found.get(what)
            if found is not None and found.key == key and not fresh:
                return Look(found.run, what, "done")
            self._runs += 1
            self._stop.clear()
            self._key = key
            self._look = Look(self._runs, what, "working")
            self._thread = threading.Thread(target=self._run, args=(what, key, work), name="page-look", daemon=True)
            self._thread.start()
            return self._look

    def found(self, what: What, run: int) -> Any:
        """What this run found; None: it is not kept any more."""
        found = self._found.get(what)
        return None if found is None or found.run != run else found.value

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """End the look and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(PAGE_RUN_END_SECONDS)

    def _run(self, what: What, key: Hashable, work: Callable[[Say], Any]) -> None:
        try:
            value = work(self._say)
        except _StoppedError:
            self._look = replace(self._look, state="stopped")
        except ImageSearchError as error:
            self._look = replace(self._look, state="failed", error=error)
        except Exception as error:  # a thread has nobody above it: say it, and let the page say it
            log.exception("the look for %s failed", what)
            known = ImageSearchError(f"unexpected {type(error).__name__}: {error}", hint="nothing was changed; try again")
            self._look = replace(self._look, state="failed", error=known)
        else:
            self._found[what] = Found(self._look.run, key, value)
            self._look = replace(self._look, state="done")

    def _say(self, step: str, done: int, total: int) -> None:
        if self._stop.is_set():
            raise _StoppedError
        self._look = replace(self._look, step=step, done=done, total=total)
