"""The library kept up to date while the page is there: `serve --watch`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..config import PAGE_RUN_END_SECONDS
from ..errors import ImageSearchError
from ..images.scan import Excluder
from ..index.watch import StillThere, Watch, keep_up
from .jobs import Jobs
from .opened import OpenLibrary

__all__ = ["Watching"]

log = logging.getLogger("image_search")


class Watching:
    """A thread that looks through the library's folders whenever something in them changes; also through those that are added meanwhile.

    Attributes:
        lost: why it ended, where that is the library's end; `when_lost` is called then.
    """

    def __init__(self, library: OpenLibrary, jobs: Jobs, notify: Callable[[str], None] = log.warning) -> None:
        self.lost: ImageSearchError | None = None
        self.when_lost: Callable[[], object] = lambda: None
        self._still = StillThere(library.engine.library, lambda: library.exists)
        self._library = library
        self._jobs = jobs
        self._notify = notify
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="page-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """A run in work ends at its next commit."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(PAGE_RUN_END_SECONDS)

    def _folders(self) -> list[str]:
        try:
            return self._library.reader.root_paths() if self._library.exists else []
        except ImageSearchError:  # it is being replaced; the next question says so
            return []

    def _run(self) -> None:
        try:
            for _ in keep_up(self._watch, lambda folders: self._jobs.look(folders, self._stop), self._stop):
                pass
        except ImageSearchError as error:
            if self._still.lost:
                self.lost = error
                self.when_lost()
                return
            self._notify(f"The library is no longer watched: {error.line}")
        except Exception:  # a thread has nobody above it
            log.exception("watching failed")

    def _watch(self) -> Watch:
        return Watch(self._folders, self._library.engine.library, Excluder(), self._notify, still=self._still)
