"""Folders under watch: which of them to look through again, and when. The only file that knows watchfiles.

What the system tells of changes only says *that* something happened; what it was is found by an index run, which believes the disk
alone. So nothing depends on every change being told: a folder that went away or came back is noticed by its own number, and every
WATCH_LOOK_SECONDS all are looked through, which finds what a network disk does not tell.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ..config import (
    WATCH_AGAIN_SECONDS,
    WATCH_GATHER_SECONDS,
    WATCH_LOOK_SECONDS,
    WATCH_QUIET_SECONDS,
    WATCH_REST,
    WATCH_REST_SECONDS,
    WATCH_SIGNS_SECONDS,
    WATCH_TICK_SECONDS,
)
from ..errors import DiskFullError, LibraryBusyError, LibraryError
from ..images.formats import extensions
from ..images.scan import Excluder
from ..paths import from_bytes, place_of
from ..types import IndexReport

__all__ = ["StillThere", "Watch", "keep_up"]

Told = Callable[[str | None, bool], None]  # the path that changed, and whether that was its content alone; None: no more is told
Listen = Callable[[Sequence[str], Told], "Listening"]


class Listening(Protocol):
    def stop(self) -> None: ...


class StillThere:
    """A library that was there once must stay: one that went away is not silently made anew, with the default model.

    Args:
        library: its folder, for the error. exists: is there one now?
    """

    def __init__(self, library: str | os.PathLike[str], exists: Callable[[], bool]) -> None:
        self._library = library
        self._exists = exists
        self.was = False

    def check(self) -> None:
        """Raises LibraryError: it is gone."""
        if self.lost:
            raise self.gone()
        self.was = self._exists()

    @property
    def lost(self) -> bool:
        return self.was and not self._exists()

    def gone(self) -> LibraryError:
        return LibraryError("the library is gone", path=self._library, hint="put it back, or start again to make a new one")


class Watch:
    """Waits for changes in folders.

    Args:
        folders: which; asked again now and then, for there may be others. library: its folder, whose changes are our own.
        excluder: what is left out by rule; nothing that happens there counts.
        notify: gets one plain line for each thing worth knowing.
        still: the library, of which is seen now and then whether it is there; None: nobody asks.
        listen: starts to tell of changes below these folders.
    """

    def __init__(
        self,
        folders: Callable[[], Sequence[str]],
        library: str | os.PathLike[str],
        excluder: Excluder,
        notify: Callable[[str], None],
        listen: Listen | None = None,
        still: StillThere | None = None,
    ) -> None:
        self.still = still or StillThere(library, lambda: True)
        self._folders = folders
        self.folders: list[str] = []
        self._library = from_bytes(place_of(library))
        self._excluder = excluder
        self.notify = notify
        self._listen = listen or _listen
        self._pictures = extensions()
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # folders in which something happened
        self._deaf = False  # said already
        self._rest_until = 0.0
        self._look_at = time.monotonic() + WATCH_LOOK_SECONDS
        self._signs_at = 0.0
        self._signs = self._seen()
        self._listening = self._begin()

    def close(self) -> None:
        self._listening.stop()

    def due(self, stop: threading.Event) -> list[str]:
        """Wait until something has happened and it has become quiet again; the folders to look through, none: told to stop.

        Raises LibraryError: the library is gone.
        """
        dirty: set[str] = set()
        first = last = time.monotonic()
        while not stop.is_set():
            happened = self._happened()
            now = time.monotonic()
            if happened:
                first, last = first if dirty else now, now
                dirty |= happened
            if now >= self._look_at:
                dirty.update(self.folders)
            quiet = now - last >= WATCH_QUIET_SECONDS or now - first >= WATCH_GATHER_SECONDS
            if dirty and quiet and now >= self._rest_until:
                return [folder for folder in self.folders if folder in dirty]
        return []

    def looked(self, folders: Sequence[str], seconds: float) -> None:
        """They have been looked through in this time: in a folder where something always happens, most of the time goes to others."""
        now = time.monotonic()
        self._rest_until = now + min(WATCH_REST * seconds, WATCH_REST_SECONDS)
        if len(folders) == len(self.folders):
            self._look_at = now + WATCH_LOOK_SECONDS

    def _happened(self) -> set[str]:
        """Folders in which something has happened, after a moment's wait for it."""
        found: set[str] = set()
        if time.monotonic() >= self._signs_at:
            found |= self._came_or_went()
        try:
            folder = self._queue.get(timeout=WATCH_TICK_SECONDS)
            while True:
                if folder is None:
                    self._say_deaf()
                else:
                    found.add(folder)
                folder = self._queue.get_nowait()
        except queue.Empty:
            return found

    def _came_or_went(self) -> set[str]:
        self._signs_at = time.monotonic() + WATCH_SIGNS_SECONDS
        self.still.check()
        before, self._signs = self._signs, self._seen()
        changed = {folder for folder in self.folders if folder not in before or before[folder] != self._signs[folder]}
        if changed or before.keys() != self._signs.keys():  # what was watched is no longer what lies there
            self._listening.stop()
            self._listening = self._begin()
        return changed

    def _seen(self) -> dict[str, tuple[int, int] | None]:
        """Which folder lies at each place: its disk and its number there; None: none."""
        self.folders = list(dict.fromkeys(from_bytes(place_of(folder)) for folder in self._folders()))
        return {folder: _sign(folder) for folder in self.folders}

    def _begin(self) -> Listening:
        return self._listen([folder for folder in self.folders if self._signs[folder] is not None], self._told)

    def _told(self, path: str | None, content_alone: bool) -> None:
        """From another thread."""
        if path is None:
            self._queue.put(None)
        elif not _inside(path, self._library):
            for folder in self.folders:
                if _inside(path, folder) and self._counts(path[len(folder) :].lstrip(os.sep), content_alone):
                    self._queue.put(folder)

    def _counts(self, relative: str, content_alone: bool) -> bool:
        """A file of another kind that is written to, such as a log, cannot change the library."""
        ending = os.path.splitext(relative)[1].lower()
        if content_alone and ending and ending not in self._pictures:
            return False
        return not relative or not self._excluder.path(os.fsencode(relative))

    def _say_deaf(self) -> None:
        if not self._deaf:
            self._deaf = True
            self.notify(f"The system tells of no changes here; the folders are looked through every {WATCH_LOOK_SECONDS / 60:.0f} minutes")


def keep_up(make: Callable[[], Watch], index: Callable[[list[str]], IndexReport], stop: threading.Event) -> Iterator[IndexReport]:
    """Look through all folders, and again wherever something happens, until told to stop; the report of each run.

    Where another process writes to the library, or its disk is full, it is tried again after WATCH_AGAIN_SECONDS. Raises LibraryError: the
    library is gone.
    """
    with contextlib.closing(make()) as watch:
        folders = watch.folders
        said = ""
        while not stop.is_set():
            if not folders:
                folders = watch.due(stop)
                continue
            try:
                watch.still.check()
                report = index(folders)
                watch.still.check()
            except (LibraryBusyError, DiskFullError) as error:
                if error.what != said:  # once, not every time
                    watch.notify(error.line)
                said = error.what
                stop.wait(WATCH_AGAIN_SECONDS)
                if stop.is_set():
                    return
                continue
            except LibraryError as error:  # of any run that found it gone, or lost it while it wrote
                if watch.still.lost:
                    raise watch.still.gone() from error
                raise
            said = ""
            watch.looked(folders, report.seconds)
            yield report
            folders = watch.due(stop)


def _sign(folder: str) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _listen(folders: Sequence[str], told: Told) -> Listening:
    return _Told(folders, told)


class _Told:
    """A thread that hears of changes: the main thread stays free for Ctrl-C, which watchfiles would swallow there."""

    def __init__(self, folders: Sequence[str], told: Told) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(folders, told), name="watch", daemon=True)
        if folders:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def _run(self, folders: Sequence[str], told: Told) -> None:
        import watchfiles

        try:
            for changes in watchfiles.watch(
                *folders,
                watch_filter=None,
                step=200,  # ms between looks at what has come, and at `stop`: five times a second
                debounce=1000,
                stop_event=self._stop,
                rust_timeout=0,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                for kind, path in changes:
                    told(path, kind is watchfiles.Change.modified)
        except Exception:  # no more watches to be had, a folder gone in this moment, a name that Rust cannot keep
            told(None, False)
