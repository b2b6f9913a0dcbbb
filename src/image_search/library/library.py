"""One library's folder: opened to read whenever it is asked for, opened to write by one process at a time, replaced under our eyes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from .. import forks
from ..config import BUSY_SECONDS
from ..errors import LibraryBusyError, LibraryNotFoundError
from ..types import Fingerprint, Preprocess
from .catalog import Catalog, making, no_library
from .lock import ProcessLock
from .reading import Reader
from .thumbnails import Thumbnails

__all__ = ["Library"]


class Library:
    """Safe to share between threads. Nothing is opened before it is asked for, and nothing is made but by `writing`.

    Attributes:
        folder: where it lies, or will. name: the same, as people call it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder)
        self._reader: Reader | None = None
        self._thumbnails: Thumbnails | None = None
        self._retired: list[Catalog | Thumbnails] = []  # of libraries that were replaced while open; another thread may still read them
        self._held: ProcessLock | None = None
        self._turn: ProcessLock | None = None
        self._turns = 0  # writers of this process that share it
        self._alone_in_turn = False
        self._taking = forks.Lock()
        self._opening = forks.Lock()  # two first questions at once open one library
        forks.watch(self)

    @property
    def exists(self) -> bool:
        return Catalog.exists(self.folder)

    def reader(self) -> Reader:
        """To read. Another object than before if the library was replaced: by a backup, or by a first run that took its own back.

        Raises:
            LibraryNotFoundError, LibraryVersionError, LibraryDamagedError, LibraryBusyError.
        """
        with self._opening:
            if self._reader is not None and self._reader.catalog.replaced:
                self._retired += [self._reader.catalog, *([self._thumbnails] if self._thumbnails else [])]
                self._reader = self._thumbnails = None
            if self._reader is None:
                self._reader = Reader(Catalog.open(self.folder))
            return self._reader

    def second(self) -> Library:
        """The same once more, for who looks things up beside a search, and closes it."""
        return Library(self.folder)

    def thumbnails(self, *, write: bool = False) -> Thumbnails:
        """Its small pictures; `write`: to add to, if the first one who asks wants that."""
        with self._opening:
            if self._thumbnails is None:
                self._thumbnails = Thumbnails(self.folder, write=write)
            return self._thumbnails

    def close_readers(self) -> None:
        """Let go of what is open to read; it is opened again when it is asked for."""
        with self._opening:
            opened = [*self._retired, *([self._reader.catalog] if self._reader else []), *([self._thumbnails] if self._thumbnails else [])]
            self._reader, self._thumbnails, self._retired = None, None, []
        for one in opened:
            one.close()

    def close(self) -> None:
        """Give back everything; it can be used again afterwards."""
        self.close_readers()
        held, self._held = self._held, None
        if held is not None:
            held.release()

    def after_fork(self, in_child: bool) -> None:
        if in_child:
            self._held = self._turn = None  # they stay the parent's
            self._turns = 0

    # --- writing --------------------------------------------------------------------------------------------------------------

    def hold_writer_lock(self, what: str) -> None:
        """Be the only writer until `close`; others are told `what` holds it. LibraryBusyError if another process is."""
        if self._held is None:
            if not self.exists:
                Catalog.check_place(self.folder)
            self._make_folder()
            lock = ProcessLock(self.folder / "writer.lock", what=what)
            lock.acquire()
            self._held = lock

    @contextlib.contextmanager
    def writing(self, create: Callable[[], Catalog] | None = None) -> Iterator[Catalog]:
        """The catalog, to write, with nobody else writing.

        On leaving it the catalog must still be the one at the library's path, else LibraryError.

        Args:
            create: makes it if there is none; None: that is a LibraryNotFoundError. A new library in which nothing was written is taken
                back: a first run that failed leaves nothing behind.
        """
        fresh = not self.exists
        if fresh and create is None:
            raise no_library(self.folder)
        made = fresh and self._held is None and not self.folder.exists()
        if fresh:
            Catalog.check_place(self.folder)
            self._make_folder()
        with self._alone(make=fresh):
            try:
                catalog = create() if create is not None and not self.exists else Catalog.open(self.folder, write=True)
                try:
                    yield catalog
                    catalog.must_be_in_place()
                finally:
                    empty = fresh and not catalog.replaced and catalog.generation == 0
                    catalog.close()
                    if empty:
                        Catalog.remove(self.folder)
            finally:
                if made and not self.exists:
                    self._remove_folder()

    @contextlib.contextmanager
    def trial(self) -> Iterator[Catalog]:
        """The catalog inside a transaction that is taken back; where there is no library, an empty one somewhere else."""
        with contextlib.ExitStack() as stack:
            if self.exists:
                stack.enter_context(self._alone())
                catalog = Catalog.open(self.folder, write=True)
            else:
                scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="image-search-")))
                nobody = Fingerprint("none", "none", "", "", "embedding", 1, Preprocess(size=(1, 1)))
                catalog = Catalog.create(scratch, nobody, np.ones((8, 1), np.float32))
            stack.enter_context(contextlib.closing(catalog))
            with contextlib.suppress(_TakenBackError), catalog.transaction():
                yield catalog
                raise _TakenBackError

    @contextlib.contextmanager
    def _alone(self, *, make: bool = False) -> Iterator[None]:
        """With nobody else writing. `make`: the folder, if a first run that found nothing has just taken it away again."""
        if self._held:
            with self.turn("index"):
                yield
            return
        lock = ProcessLock(self.folder / "writer.lock", what="index")
        try:
            lock.acquire()
        except LibraryNotFoundError:
            if not make:
                raise
            self._make_folder()
            lock.acquire()
        try:
            with self.turn("index"):
                yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def turn(self, what: str, *, alone: bool = False, wait: float = BUSY_SECONDS) -> Iterator[None]:
        """While somebody writes, nobody puts another catalog in its place, and the other way round.

        The writer's lock does not say that: the page holds it from its start to its end, and writes now and then. Threads of one process
        may write beside each other, but not beside one that is `alone`. LibraryBusyError after `wait` seconds.
        """
        with self._taking:
            if self._turn is None:
                lock = ProcessLock(self.folder / "turn.lock", what=what)
                lock.acquire(wait)
                self._turn, self._alone_in_turn = lock, alone
            elif alone or self._alone_in_turn:
                raise LibraryBusyError("the library is in use by another thread", path=self.folder, hint="wait until it is done")
            self._turns += 1
        try:
            yield
        finally:
            with self._taking:
                self._turns -= 1
                if self._turns <= 0 and self._turn is not None:
                    self._turn.release()
                    self._turn, self._turns = None, 0

    def _remove_folder(self) -> None:
        """Ours, and nothing but locks in it. Under the lock: whoever opened it just now finds that it is no longer here, and looks anew.
        Where an open file cannot be removed (Windows), the folder stays."""
        with contextlib.suppress(OSError):
            if {path.name for path in self.folder.iterdir()} <= {"writer.lock", "store.lock", "turn.lock"}:
                for path in self.folder.iterdir():
                    path.unlink()
                self.folder.rmdir()

    def _make_folder(self) -> None:
        with making(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)


class _TakenBackError(Exception):
    """Ends a transaction that was only to be looked at."""
