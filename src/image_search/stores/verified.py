"""Keeps a store with files in the library's folder: its manifest signed, locked, and never opened where it lies.

    store/            what the store wrote, and its manifest (seal.json)
    store.next-*/     the one in the making: a copy with changes, or built anew; its manifest is written, then it is renamed to store/
    store.old/        the one before, on its way out
    store.read-*/     the copy that a reader has open
    store.lock        held while any of these come and go

A store may write to its files even when it is only asked (Chroma does: a row into SQLite at every opening, now and then a part of the
index; so hard links will not do), and killed while writing leave some that fail for ever, or lie. So readers and writers open a copy
whose every byte was verified on the way. A killed reader leaves a copy to sweep up; a killed writer leaves the store before, whole and
verified at its generation. The price is room for two stores on the disk (Chroma: 2.2 KB a vector each) and, at 100,000 images, .3 s.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from ..config import STORE_GROWTH, STORE_READER_SECONDS, STORE_SPARE_BYTES, STORE_WRITER_SECONDS
from ..errors import DiskFullError, ImageSearchError, LibraryBusyError, StoreError, translated_os_errors
from ..forks import keep_for_ever, watch
from ..library.lock import ProcessLock
from ..types import StoreRecords, VectorStore
from . import StoreSpec, open_files
from .manifest import (
    MANIFEST_NAME,
    Manifest,
    Unverified,
    copy_verified,
    list_files,
    own_secret,
    read_manifest,
    sync_folder,
    verify_files,
    write_manifest,
)
from .protocols import FileStore

__all__ = ["FilesBackend", "file_errors", "is_folder", "remove", "write"]

_MAKE_ROOM = "make room; searching works without the store"
_NOT_CLOSED = ("-journal", "-wal", "-shm")  # ends of names: what SQLite leaves beside a database that was not closed

T = TypeVar("T")


class FilesBackend:
    """See `replica.ReplicaBackend`."""

    def __init__(self, library: Path, spec: StoreSpec, *, dim: int, model: str) -> None:
        self.spec = spec
        self.dim = dim
        self.model = model
        self.library = Path(library)
        self.store = self.library / "store"
        self.old = self.library / "store.old"
        self._reading: tuple[FileStore, Path, ProcessLock] | None = None
        watch(self)

    def is_there(self) -> bool:
        return os.path.lexists(self.store) or os.path.lexists(self.old)

    def verify(self) -> Manifest:
        try:
            manifest = self._manifest(own_secret())
            verify_files(self.store, manifest)
        except FileNotFoundError:  # renamed by a writer under our eyes
            raise Unverified("it is being replaced") from None
        except OSError as error:
            raise Unverified(f"it cannot be read ({error.strerror})") from error
        return manifest

    def open(self, generation: int) -> VectorStore:
        self.close()
        secret = own_secret()
        copy = self.library / f"store.read-{os.getpid()}-{token_hex(4)}"
        guard = ProcessLock(copy / "lock", what="search")
        try:
            with self._lock("search", STORE_READER_SECONDS), file_errors(self.store):
                self._sweep()
                manifest = self._manifest(secret)
                if manifest.generation != generation:
                    raise Unverified("it is not up to date with the catalog")
                self._room(_size(manifest))
                os.mkdir(copy, 0o700)
                guard.acquire()  # tells every sweep that this copy is in use
                os.mkdir(copy / "store", 0o700)
                copy_verified(self.store, manifest, copy / "store")
            store = self._opened(copy / "store", make=False)
            self._reading = store, copy, guard
            self._check_count(store, manifest)
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

    def after_fork(self, in_child: bool) -> None:
        if in_child and self._reading is not None:  # the parent asks it; closed here it would be gone there
            keep_for_ever(self._reading)
            self._reading = None

    def update(self, generation: int, upserts: Iterable[StoreRecords], deletes: Iterable[Sequence[str]]) -> None:
        secret = own_secret()
        with self._lock("index", STORE_WRITER_SECONDS):
            with file_errors(self.store):
                self._sweep()
                manifest = self._manifest(secret)
            gone, some_gone = _peek(ids for ids in deletes if len(ids))
            records, some_records = _peek(batch for batch in upserts if len(batch.ids))
            if not some_gone and not some_records:
                with file_errors(self.store):
                    verify_files(self.store, manifest)
                    write_manifest(self.store, replace(manifest, generation=generation), secret)
                return
            with self._making() as made:
                with file_errors(made):
                    self._room(_size(manifest))
                    copy_verified(self.store, manifest, made)
                with contextlib.closing(self._opened(made, make=False)) as store:
                    before = self._check_count(store, manifest)
                    for ids in gone:
                        store.delete(ids)
                    kept = store.count()
                    written = write(store, self._with_room(records))
                    count = store.count()
                churn = manifest.churn + (before - kept) + (written - (count - kept))  # deleted + replaced
                self._finish(made, Manifest(generation, self.dim, self.model, count, churn, manifest.written_by), secret)

    def rebuild(self, generation: int, records: Iterable[StoreRecords]) -> None:
        secret = own_secret()
        with self._lock("rebuild", STORE_WRITER_SECONDS):
            with file_errors(self.store):
                self._sweep()
            with self._making() as made:
                with contextlib.closing(self._opened(made, make=True)) as store:
                    written = write(store, self._with_room(records))
                    count = store.count()
                if count != written:
                    raise StoreError(f"the vector store holds {count} of {written} images", path=self.store)
                self._finish(made, Manifest(generation, self.dim, self.model, count, 0, self.spec.row.version()), secret)

    def _manifest(self, secret: bytes) -> Manifest:
        """The manifest of the store, if it is one that may be opened at all; its files are not looked at."""
        manifest = read_manifest(self.store, secret)
        if (manifest.model, manifest.dim) != (self.model, self.dim):
            raise Unverified("it holds vectors of another model")
        if manifest.written_by != self.spec.row.version():
            another = f"version of {self.spec.row.title}" if self.spec.row.wrote(manifest.written_by) else "kind of store"
            raise Unverified(f"it was written by another {another} ({manifest.written_by})")
        return manifest

    def _opened(self, files: Path, *, make: bool) -> FileStore:
        return open_files(self.spec, files, dim=self.dim, model=self.model, make=make, where=self.store)

    def _check_count(self, store: VectorStore, manifest: Manifest) -> int:
        if (count := store.count()) != manifest.count:
            raise Unverified(f"{self.spec.row.title} sees another number of images than it was given")
        return count

    def _with_room(self, records: Iterable[StoreRecords]) -> Iterator[StoreRecords]:
        """The same records, each batch after a look at the disk."""
        for batch in records:
            self._room(STORE_GROWTH * batch.vectors.nbytes)
            yield batch

    @contextlib.contextmanager
    def _making(self) -> Iterator[Path]:
        """An empty folder for the next store, of a name never used before (Chroma keeps clients by path); gone
        again if anything fails."""
        made = self.library / f"store.next-{token_hex(8)}"
        try:
            with file_errors(made):
                os.mkdir(made)
            yield made
        except BaseException as error:
            # A store's own words for a full disk may be any (Chroma: "failed to apply logs").
            full = isinstance(error, StoreError) and error.__cause__ is not None and self._free() < STORE_SPARE_BYTES
            remove(made)
            if full:
                raise DiskFullError("the disk is full", path=self.store, hint=_MAKE_ROOM) from error
            raise

    def _finish(self, made: Path, manifest: Manifest, secret: bytes) -> None:
        """Write the next store's manifest and put it in the place of the store."""
        with file_errors(made):
            files = list_files(made)
            if unclean := [name for name in files if name.endswith(_NOT_CLOSED)]:
                raise StoreError(f"{self.spec.row.title} did not close its files ({unclean[0]})", path=made)
            write_manifest(made, replace(manifest, files=files), secret)
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
            finished = path.name.startswith("store.next-") and is_folder(path) and os.path.lexists(path / MANIFEST_NAME)
            if finished and not os.path.lexists(self.store):
                os.rename(path, self.store)  # killed between its two renames; the manifest says what it is worth
            elif path.name.startswith("store.next-") or not _in_use(path):
                remove(path)
        remove(self.old)

    def _room(self, needed: int) -> None:
        free = self._free()
        needed += STORE_SPARE_BYTES
        if free < needed:
            said = f"no room left for the vector store ({free >> 20} MB free, {needed >> 20} needed)"
            raise DiskFullError(said, path=self.library, hint=_MAKE_ROOM)

    def _free(self) -> int:
        return shutil.disk_usage(self.library).free


def write(store: VectorStore, records: Iterable[StoreRecords]) -> int:
    """Put records into a store; their number."""
    written = 0
    for batch in records:
        if len(batch.ids):
            store.upsert(batch.ids, batch.vectors, batch.metadatas)
            written += len(batch.ids)
    return written


def _size(manifest: Manifest) -> int:
    return sum(int(size) for size, _ in manifest.files.values())


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


def file_errors(where: Path) -> contextlib.AbstractContextManager[None]:
    """Around what we do to a store's files ourselves."""
    hint = "searching works without it"

    def failed(reason: str) -> StoreError:
        return StoreError(f"the vector store failed ({reason})", path=where, hint=hint)

    return translated_os_errors("the vector store", where, failed=failed, hint=hint, room=_MAKE_ROOM)
