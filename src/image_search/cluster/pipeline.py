"""Blocks by Ray Data: what runs in the cluster.

Ray Data does what would otherwise be written by hand: a pool of actors that grows to what the cluster has, no more blocks on their way
than these can take, new actors for those that died, and what they had in work given to others. What travels is a block's name and its
counts; lists and vectors are read and written by the actors themselves.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ..dataset.growing import Job
from ..dataset.work import Made, Order, Worker
from ..errors import ImageSearchError, in_words

__all__ = ["program_version", "wave", "wave_from_afar"]


def wave(ray: Any, order: Order, jobs: Sequence[Job], cpus: int, gpus: int, most: int) -> Iterator[Made]:
    """Some blocks by Ray Data: each is a row of its own, so that its end is told when it ends."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with _settings(ray):  # a data set keeps those that it was made with
        rows = ray.data.from_items([{"job": pickle.dumps(job)} for job in jobs], override_num_blocks=len(jobs))
    made = rows.map_batches(
        _Actor,
        fn_constructor_args=(pickle.dumps(order),),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(most, len(jobs))),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    for row in made.iter_rows():
        yield pickle.loads(row["made"])


@contextlib.contextmanager
def _settings(ray: Any) -> Iterator[None]:
    """Ray Data's, for our rows alone: the caller's own data sets keep theirs."""
    context = ray.data.DataContext.get_current()
    quiet = ("enable_progress_bars", "print_on_execution_start")  # ours shows pictures
    before = [getattr(context, name) for name in quiet]
    for name in quiet:
        setattr(context, name, False)
    try:
        yield
    finally:
        for name, value in zip(quiet, before, strict=True):
            setattr(context, name, value)


def wave_from_afar(ray: Any, order: Order, jobs: Sequence[Job], *sizes: int) -> Iterator[Made]:
    """`wave` by an actor in the cluster, whose results are fetched."""
    driver = ray.remote(num_cpus=0)(_Driver).remote(pickle.dumps((order, list(jobs))), *sizes)
    try:
        while (made := ray.get(driver.take.remote())) is not None:
            yield from map(pickle.loads, made)
    finally:
        ray.kill(driver)  # and with it what it has begun


class _Driver:
    def __init__(self, what: bytes, *sizes: int) -> None:
        import ray
        import ray.data

        self._made: queue.SimpleQueue[bytes | Exception | None] = queue.SimpleQueue()
        order, jobs = pickle.loads(what)

        def work() -> None:
            try:
                for made in wave(ray, order, jobs, *sizes):
                    self._made.put(pickle.dumps(made))
                self._made.put(None)
            except Exception as error:
                self._made.put(RuntimeError(in_words(error)[:300]))

        threading.Thread(target=work, daemon=True).start()

    def take(self) -> list[bytes] | None:
        """What came since the last time, after a second at most; None: it was the last."""
        try:
            made = self._made.get(timeout=1)
        except queue.Empty:
            return []
        if isinstance(made, Exception):
            raise made
        return None if made is None else [made]


def program_version() -> str:
    import image_search

    return image_search.__version__


class _Actor:
    """A worker of the cluster. What cannot be opened is told as the outcome of its jobs: as an exception it would be tried for ever."""

    def __init__(self, order: bytes) -> None:
        self._worker: Worker | None = None
        self._error: tuple[str, str | None, str] | None = None
        try:
            self._worker = Worker(pickle.loads(order))
        except ImageSearchError as error:
            self._error = error.what, error.path, str(error.hint)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        jobs = [pickle.loads(job) for job in batch["job"]]
        return {"made": [pickle.dumps(self._made(job)) for job in jobs]}

    def _made(self, job: Job) -> Made:
        return Made(job.block, job.images, None, 0, self._error) if self._worker is None else self._worker.make(job)
