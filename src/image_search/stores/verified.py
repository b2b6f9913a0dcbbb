"""Keeps a Chroma store in the library's folder: sealed, locked, and never opened where it lies.

    store/            what Chroma wrote, and its seal
    store.next-*/     the one in the making: a copy with changes, or built anew; sealed, then renamed to store/
    store.old/        the one before, on its way out
    store.read-*/     the copy that a reader has open
    store.lock        held while any of these come and go

Chroma writes to its files even when it is only asked (a row into SQLite at every opening, now and then a part of the index; so hard links
will not do), and killed while writing it leaves an index that fails for ever, or lies. So readers and writers open a copy whose every byte
was proven on the way. A killed reader leaves a copy to sweep up; a killed writer leaves the store before, whole and sealed at its
generation. The price is room for two stores on the disk (2.2 KB a vector each) and, at 100,000 images, .3 s.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from ..errors import DiskFullError, ImageSearchError, LibraryBusyError, LibraryReadOnlyError, StoreError
from ..library.lock import ProcessLock
from ..types import StoreRecords, VectorStore
from .chroma import ChromaStore, open_folder
from .manifest import SEAL_NAME, Doubt, Seal, copy_proven, prove, read_seal, read_secret, sealed_files, sync_folder, write_seal

__all__ = ["FolderKeeper", "file_errors", "is_folder", "own_secret", "remove"]

_WRITER_WAITS = 10.0  # seconds, for readers that are making their copy
_READER_WAITS = 0.25  # seconds, for another reader; a writer takes longer, and then exact search answers
_SPARE = 32 * 1024 * 1024  # bytes of the disk that are left to others
_GROWTH = 3  # a batch takes up to this many times its vectors' bytes: index, SQLite, its journal
_MAKE_ROOM = "make room; searching works without the store"

T = TypeVar("T")


class FolderKeeper:
    """See `mirror.Keeper`."""

    def __init__(self, library: Path, *, dim: int, model: str) -> None:
        self.dim = dim
        self.model = model
        self.library = Path(library)
        self.store = self.library / "store"
        self.old = self.library / "store.old"
        self._reading: tuple[ChromaStore, Path, ProcessLock] | None = None

    def prove(self) -> Seal:
        try:
            seal = self._sealed(own_secret())
            prove(self.store, seal)
        except FileNotFoundError:  # renamed by a writer under our eyes
            raise Doubt("it is being replaced") from None
        except OSError as error:
            raise Doubt(f"it cannot be read ({error.strerror})") from error
        return seal

    def open(self, generation: int) -> VectorStore:
        self.close()
        secret = own_secret()
        copy = self.library / f"store.read-{os.getpid()}-{token_hex(4)}"
        guard = ProcessLock(copy / "lock", what="search")
        try:
            with self._lock("search", _READER_WAITS), file_errors(self.store):
                self._sweep()
                seal = self._sealed(secret)
                if seal.generation != generation:
                    raise Doubt("it is not up to date with the catalog")
                self._room(_size(seal))
                os.mkdir(copy, 0o700)
                guard.acquire()  # tells every sweep that this copy is in use
                os.mkdir(copy / "store", 0o700)
                copy_proven(self.store, seal, copy / "store")
            store = self._chroma(copy / "store", make=False)
            self._reading = store, copy, guard
            if store.count() != seal.count:
                raise Doubt("Chroma sees another number of images than it was given")
        except BaseException:
            if self._reading is not None:
                self.close()
            else:
                guard.release()
                remove(copy)
            raise
        return store

    def close(self) -> None:
        if self._reading is not None:
            (store, copy, guard), self._reading = self._reading, None
            try:
                store.close()
            finally:
                guard.release()
                remove(copy)

    def update(self, generation: int, upserts: Iterable[StoreRecords], deletes: Iterable[Sequence[str]]) -> None:
        secret = own_secret()
        with self._lock("index", _WRITER_WAITS):
            with file_errors(self.store):
                self._sweep()
                seal = self._sealed(secret)
            gone, some_gone = _peek(ids for ids in deletes if len(ids))
            records, some_records = _peek(batch for batch in upserts if len(batch.ids))
            if not some_gone and not some_records:
                with file_errors(self.store):
                    prove(self.store, seal)
                    write_seal(self.store, replace(seal, generation=generation), secret)
                return
            with self._making() as made:
                with file_errors(made):
                    self._room(_size(seal))
                    copy_proven(self.store, seal, made)
                with contextlib.closing(self._chroma(made, make=False)) as store:
                    before = store.count()
                    if before != seal.count:
                        raise Doubt("Chroma sees another number of images than it was given")
                    for ids in gone:
                        store.delete(ids)
                    kept = store.count()
                    written = self._write(store, records)
                    count = store.count()
                churn = seal.churn + (before - kept) + (written - (count - kept))  # deleted + replaced
                self._finish(made, Seal(generation, self.dim, self.model, count, churn, seal.chroma), secret)

    def rebuild(self, generation: int, records: Iterable[StoreRecords]) -> None:
        secret = own_secret()
        with self._lock("rebuild", _WRITER_WAITS):
            with file_errors(self.store):
                self._sweep()
            with self._making() as made:
                with contextlib.closing(self._chroma(made, make=True)) as store:
                    written = self._write(store, iter(records))
                    count = store.count()
                if count != written:
                    raise StoreError(f"the vector store holds {count} of {written} images", path=self.store)
                self._finish(made, Seal(generation, self.dim, self.model, count, 0, version("chromadb")), secret)

    def _sealed(self, secret: bytes) -> Seal:
        seal = read_seal(self.store, secret)
        if (seal.model, seal.dim) != (self.model, self.dim):
            raise Doubt("it holds vectors of another model")
        if seal.chroma != version("chromadb"):
            raise Doubt(f"it was written by another version of Chroma ({seal.chroma})")
        return seal

    def _write(self, store: ChromaStore, records: Iterator[StoreRecords]) -> int:
        written = 0
        for batch in records:
            self._room(_GROWTH * batch.vectors.nbytes)
            store.upsert(batch.ids, batch.vectors, batch.metadatas)
            written += len(batch.ids)
        return written

    def _chroma(self, files: Path, *, make: bool) -> ChromaStore:
        return ChromaStore(open_folder(files), dim=self.dim, model=self.model, where=str(self.store), make=make)

    @contextlib.contextmanager
    def _making(self) -> Iterator[Path]:
        """An empty folder for the next store, of a name never used before (Chroma keeps clients by path); gone again if anything fails."""
        made = self.library / f"store.next-{token_hex(8)}"
        try:
            with file_errors(made):
                os.mkdir(made)
            yield made
        except BaseException as error:
            # Chroma's own words for a full disk are mostly others ("failed to apply logs").
            full = isinstance(error, StoreError) and error.__cause__ is not None and self._free() < _SPARE
            remove(made)
            if full:
                raise DiskFullError("the disk is full", path=self.store, hint=_MAKE_ROOM) from error
            raise

    def _finish(self, made: Path, seal: Seal, secret: bytes) -> None:
        """Seal the next store and put it in the place of the store."""
        with file_errors(made):
            files = sealed_files(made)
            if unclean := [name for name in files if name.endswith(("-journal", "-wal", "-shm"))]:
                raise StoreError(f"Chroma did not close its files ({unclean[0]})", path=made)
            write_seal(made, replace(seal, files=files), secret)
            if os.path.lexists(self.store):
                os.rename(self.store, self.old)
            os.rename(made, self.store)
            sync_folder(self.library)
            remove(self.old)

    def _lock(self, what: str, timeout: float) -> contextlib.AbstractContextManager[None]:
        return _locked(ProcessLock(self.library / "store.lock", what=what, thing="the vector store"), timeout)

    def _sweep(self) -> None:
        """Under the lock: what killed processes left behind."""
        found = [Path(entry.path) for entry in os.scandir(self.library) if entry.name.startswith(("store.next-", "store.read-"))]
        for path in found:
            sealed = path.name.startswith("store.next-") and is_folder(path) and os.path.lexists(path / SEAL_NAME)
            if sealed and not os.path.lexists(self.store):
                os.rename(path, self.store)  # killed between its two renames; the seal says what it is worth
            elif path.name.startswith("store.next-") or not _in_use(path):
                remove(path)
        remove(self.old)

    def _room(self, needed: int) -> None:
        free = self._free()
        if free < needed + _SPARE:
            said = f"no room left for the vector store ({free >> 20} MB free, {(needed + _SPARE) >> 20} needed)"
            raise DiskFullError(said, path=self.library, hint=_MAKE_ROOM)

    def _free(self) -> int:
        return shutil.disk_usage(self.library).free


def _size(seal: Seal) -> int:
    return sum(int(size) for size, _ in seal.files.values())


def own_secret() -> bytes:
    """The user's secret, or Doubt."""
    secret = read_secret()
    if secret is None:
        raise Doubt("there is no private place to keep this user's secret")
    return secret


@contextlib.contextmanager
def _locked(lock: ProcessLock, timeout: float) -> Iterator[None]:
    lock.acquire(timeout)
    try:
        yield
    finally:
        lock.release()


def _in_use(copy: Path) -> bool:
    """Whether the reader that made this copy lives."""
    if not is_folder(copy):
        return False
    try:
        with ProcessLock(copy / "lock"):
            return False
    except LibraryBusyError:
        return True
    except (ImageSearchError, OSError):
        return False


def _peek(items: Iterable[T]) -> tuple[Iterator[T], bool]:
    """The same items, and whether there are any."""
    rest = iter(items)
    for first in rest:
        return itertools.chain([first], rest), True
    return rest, False


def remove(path: Path) -> None:
    """A folder of ours with all that is in it; of a link only the link."""
    if is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)


def is_folder(path: Path) -> bool:
    """A real one, no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


@contextlib.contextmanager
def file_errors(where: Path) -> Iterator[None]:
    """Around what we do to files ourselves."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError("the disk is full", path=where, hint=_MAKE_ROOM) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise LibraryReadOnlyError("the vector store cannot be written", path=where, hint="searching works without it") from error
        raise StoreError(f"the vector store failed ({error.strerror})", path=where, hint="searching works without it") from error
