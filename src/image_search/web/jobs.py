"""The one index run that works in the background, and how far it is."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..config import PAGE_RATE_SECONDS, PAGE_RUN_END_SECONDS
from ..engine import ImageSearchEngine
from ..errors import ImageSearchError, LibraryNotFoundError
from ..library.catalog import Catalog
from ..present.table import changes_line
from ..types import IndexReport

__all__ = ["Job", "Jobs", "Phase"]

Phase = Literal["none", "drawing", "scanning", "indexing", "finishing", "done", "stopped", "failed"]
RUNNING: frozenset[str] = frozenset({"drawing", "scanning", "indexing", "finishing"})

log = logging.getLogger("image_search")


@dataclass(frozen=True, slots=True)
class Job:
    """How far a run is; a new row for each change. `rate`: files a second lately; `seconds_left`: None if not known yet."""

    state: Phase = "none"
    folder: str = ""
    done: int = 0
    total: int = 0
    skipped: int = 0
    added: int = 0
    updated: int = 0
    missing: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    error: ImageSearchError | None = field(default=None, compare=False)


class _StoppedError(Exception):
    """Raised inside the run to end it; what was counted is committed."""


class Jobs:
    """At most one run at a time; all methods may be called from any thread."""

    def __init__(self, engine: ImageSearchEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # of whoever indexes: a run that was asked for waits for a look that nobody sees
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._job = Job()
        self._marks: deque[tuple[float, int]] = deque()  # (when, done)
        self._first = False  # there was no library when it began
        self.version = 0  # changes whenever `now` does
        self.runs = 0  # begun so far

    @property
    def now(self) -> Job:
        return self._job

    @property
    def running(self) -> bool:
        return self._job.state in RUNNING

    @property
    def making_library(self) -> bool:
        """Is a first run in work that has committed nothing yet? If it fails it takes its library away again."""
        return self._first and self.running and self._job.done == 0

    def index(self, folder: str) -> bool:
        """Begin; False: one is running already."""
        return self._begin("scanning", folder, lambda: self._index(folder))

    def demo(self, folder: Path) -> bool:
        """Draw the sample gallery into the folder and index it; False: one is running already."""

        def work() -> None:
            from ..demo import draw_gallery  # with all its scenes .08 s of a start

            draw_gallery(folder, progress=lambda done, total: self._show(done, total, 0))
            self._set(Job("scanning", str(folder)))
            self._index(str(folder))

        return self._begin("drawing", str(folder), work)

    def look(self, folders: Sequence[str], stop: threading.Event) -> IndexReport:
        """An index run of the program's own, in the thread that asks; the page shows it from where there is something to embed, or its end
        where something has changed. Ends at its next commit once `stop` is set. Raises what `index` raises."""
        shown = False
        job = Job("indexing", ", ".join(folders))

        def show(done: int, total: int, skipped: int) -> None:
            nonlocal shown
            if stop.is_set():
                raise _StoppedError
            with self._lock:
                if total and not shown and not self.running:
                    shown, self._first = True, False
                    self._show_new(job)
            if shown:
                self._show(done, total, skipped)

        with self._turn:
            try:
                if not Catalog.exists(self._engine.library):  # it went while the turn was another's: none is made of folders that it had
                    raise LibraryNotFoundError("there is no library", path=self._engine.library)
                report = self._engine.index(folders, progress=show)
            except _StoppedError:
                if shown:
                    self._set(replace(self._job, state="stopped", seconds_left=None))
                return IndexReport()
            except ImageSearchError as error:
                if shown or not self.running:
                    self._set(replace(job, state="failed", error=error))
                raise
        with self._lock:
            if not shown and changes_line(report) and not self.running:
                shown = True
                self._show_new(job)
        if shown:
            self._end(report)
        return report

    def _show_new(self, job: Job) -> None:
        self._stop.clear()
        self._marks.clear()
        self._marks.append((time.monotonic(), 0))
        self.runs += 1
        self._set(job)

    def stop(self) -> None:
        """Ask the run to end at its next commit."""
        self._stop.set()

    def close(self) -> None:
        """End the run and wait for it: what it has committed stays."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(PAGE_RUN_END_SECONDS)

    def _begin(self, phase: Phase, folder: str, work: Callable[[], None]) -> bool:
        with self._lock:
            if self.running:
                return False
            self._first = not Catalog.exists(self._engine.library)
            self._show_new(Job(phase, folder))
            self._thread = threading.Thread(target=self._run, args=(work,), name="page-index", daemon=True)
            self._thread.start()
            return True

    def _run(self, work: Callable[[], None]) -> None:
        try:
            with self._turn:
                work()
        except _StoppedError:
            self._set(replace(self._job, state="stopped", seconds_left=None))
        except ImageSearchError as error:
            self._set(replace(self._job, state="failed", seconds_left=None, error=error))
        except Exception as error:  # a thread has nobody above it: say it, and let the page say it
            log.exception("the index run failed")
            known = ImageSearchError(f"unexpected {type(error).__name__}: {error}", hint="what was counted is safe; try again")
            self._set(replace(self._job, state="failed", seconds_left=None, error=known))

    def _index(self, folder: str) -> None:
        self._marks.clear()
        self._marks.append((time.monotonic(), 0))
        self._end(self._engine.index(folder, progress=self._show))

    def _end(self, report: IndexReport) -> None:
        self._set(
            replace(
                self._job,
                state="done",
                seconds_left=None,
                skipped=len(report.skipped),
                added=report.added,
                updated=report.updated,
                missing=report.missing,
            )
        )

    def _show(self, done: int, total: int, skipped: int) -> None:
        if self._stop.is_set():
            raise _StoppedError
        now = time.monotonic()
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[0][0] > PAGE_RATE_SECONDS:
            self._marks.popleft()
        since, before = self._marks[0]
        rate = (done - before) / (now - since) if now > since else 0.0
        drawing = self._job.state == "drawing"
        phase: Phase = "drawing" if drawing else "finishing" if done >= total else "indexing"
        left = (total - done) / rate if rate > 0 else None
        self._set(replace(self._job, state=phase, done=done, total=total, skipped=skipped, rate=rate, seconds_left=left))

    def _set(self, job: Job) -> None:
        self._job = job
        self.version += 1
