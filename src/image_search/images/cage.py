"""The decode workers of one pool: at most so many processes, each holding one file at a time, replaced when they die or wear out."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from .. import forks
from ..config import BYTES_PER_PIXEL, LARGE_MEMORY_SHARE, Limits
from ..errors import DecodeError, ImageSearchError, SkipReason
from .process import WorkerProcess, available_bytes, end_all, watch
from .worker import EndOfStreamError, Reply

__all__ = ["Cage", "Job", "Jobs"]


class Job(NamedTuple):
    """What a worker is asked (`header`, `payload`: see worker.py), and what its asker knows of it.

    Attributes:
        path: of the file, for errors; None for bytes.
        known: called with the sha256 before decoding; True: the caller has this content.
        fits: can this be the reply? One that does not fit comes from a worker that the file has upset.
    """

    header: dict[str, Any]
    payload: bytes
    path: str | None
    known: Callable[[bytes], bool] | None
    fits: Callable[[Reply], bool]


class Jobs(Protocol):
    """Where a pool's jobs are done. `Cage` does them in processes of its own; `image_search.testing` has one that does not."""

    def ask(self, job: Job) -> Reply:
        """The last reply to it."""
        ...

    def close(self) -> None: ...


class Cage:
    """Worker processes; thread-safe.

    Args:
        workers: at most, >= 1. The first starts at once (without waiting for it), the others when they are needed.
        handshake: what each is told first, see worker.py.
        limits: what one picture may cost.
    """

    def __init__(self, workers: int, handshake: dict[str, Any], limits: Limits) -> None:
        self._most = workers
        self._handshake = handshake
        self._limits = limits
        self._closed = False
        self._empty()
        self._idle.append(self._start())
        forks.watch(self)

    def _empty(self) -> None:
        self.all: list[WorkerProcess] = []
        self._large = threading.Lock()
        self._free = threading.Condition()
        self._idle: list[WorkerProcess] = []
        self._stop = threading.Event()
        self._watched = False
        self._end = weakref.finalize(self, end_all, self.all, self._stop)  # also when the cage is forgotten, and at exit

    def ask(self, job: Job) -> Reply:
        """See `Jobs`. Blocks until a worker is free and done. DecodeError if the worker dies of this file.

        A picture for which the usual memory is too little has another try with as much as the largest may need, if the machine has it.
        """
        try:
            reply = self._ask(job, self._limits.memory_bytes)
        except DecodeError as error:
            if error.reason != SkipReason.TOO_MUCH_MEMORY:
                raise
            reply = {"error": error.reason.name, "detail": error.detail, "hint": "", "sha256": None}, b""
        if reply[0].get("error") != SkipReason.TOO_MUCH_MEMORY.name:
            return reply
        with self._large:  # one at a time
            memory = self._much_memory()
            if memory <= self._limits.memory_bytes:
                return reply
            # Whoever asked wanted it: to be asked again would look as if another file had the same bytes.
            return self._ask(job._replace(header={**job.header, "ask": False}, known=None), memory)

    def _much_memory(self) -> int:
        """Bytes for the largest picture that the limits allow, and its file; a share of what is free if that is less."""
        needed = int(self._limits.megapixels * 1e6 * BYTES_PER_PIXEL) + self._limits.file_bytes
        return min(needed, int(available_bytes() * LARGE_MEMORY_SHARE))

    def _ask(self, job: Job, memory: int) -> Reply:
        with self._worker() as worker:
            try:
                worker.memory_bytes = memory
                reply = worker.ask({**job.header, "memory": memory}, job.payload, job.known, self._limits.wall_seconds)
                if not job.fits(reply):
                    raise EndOfStreamError
            except EndOfStreamError as error:
                reason = worker.reap()
                if self._closed:
                    raise ImageSearchError("decoding was stopped", path=job.path) from None
                raise DecodeError(reason, path=job.path, detail=f"worker ended with {worker.process.returncode}") from error
        return reply

    def close(self) -> None:
        """End all workers, within 2 s. A job that is running in another thread raises ImageSearchError there."""
        with self._free:
            self._closed = True
            self._free.notify_all()
        self._end()

    @contextlib.contextmanager
    def _worker(self) -> Iterator[WorkerProcess]:
        """A worker of one's own; a dead, worn-out or interrupted one does not come back."""
        with self._free:
            while not (self._closed or self._idle or len(self.all) < self._most):
                self._free.wait()
            if self._closed:
                raise ImageSearchError("the decoder is closed")
            worker = self._idle.pop() if self._idle else self._start()
            if worker.process.poll() is not None:  # ended while idle: no image is to blame
                self.all.remove(worker)
                worker.end()
                worker = self._start()
            worker.held = True
        try:
            try:
                worker.wait_ready()
            except ImageSearchError:
                if self._closed:  # before it had begun
                    raise ImageSearchError("the decoder is closed") from None
                raise
            yield worker
        finally:
            worker.held = False
            kept = worker.fit and worker.served < self._limits.files_per_worker and not self._closed
            if not kept:
                worker.end()
            with self._free:
                (self._idle.append if kept else self.all.remove)(worker)
                self._free.notify()

    def after_fork(self, in_child: bool) -> None:
        """A child has its own workers, from its first picture on; these stay the parent's."""
        if in_child:
            self._end.detach()  # it would end them at the child's exit
            for worker in self.all:
                worker.let_go()
            self._empty()

    def _start(self) -> WorkerProcess:
        if not self._watched:
            self._watched = True
            threading.Thread(target=watch, args=(self.all, self._stop), name="decode-watch", daemon=True).start()
        worker = WorkerProcess(self._handshake)
        self.all.append(worker)
        return worker
