"""Decoding in a cage: the parent's side. Bytes that strangers made are decoded in worker processes that may die.

A worker is `python -m image_search.images.worker` over pipes, so it works from a script without a `__main__` guard, from a notebook
and from stdin, and nothing is forked while other libraries' threads run. Each holds one file at a time under a memory and a CPU cap;
the parent watches the clock. A worker that dies costs exactly the image it held, which is named and not tried again.

Here sources become jobs and replies become pictures; who does the jobs stands in `cage.py`.
"""

from __future__ import annotations

import functools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, astuple
from typing import Any, Generic, TypeVar

import numpy as np

from ..config import DECODER_PAYS_SECONDS, LIBRARY_LIMITS, PREFETCH, Limits
from ..errors import DecodeError, SkipReason, UsageError
from ..types import Decoded, FileStat, Picture, Preprocess, Region, UInt8
from .cage import Cage, Job, Jobs
from .formats import rules
from .opening import Elsewhere, FileInRoot
from .worker import Reply

__all__ = ["DecodePool", "PictureSource", "decoder_name"]

T = TypeVar("T")
# a path that somebody named, an encoded picture, a file of an indexed folder, one that has to be fetched first
PictureSource = str | bytes | FileInRoot | Elsewhere


@functools.cache
def decoder_name(megapixels: float) -> str:
    """Which decoder and limit judged a file ("20/pillow 13.0.0/heif 1.8.1/..., 200 MP"): a file known as bad is tried again by another.

    Reading package metadata takes 40 CPU ms, so it is read when it is asked for.
    """
    from importlib.metadata import PackageNotFoundError, version

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "none"

    others = f"heif {of('pillow-heif')}/raw {of('rawpy')}/jxl {of('pillow-jxl-plugin')}"
    return f"{rules()}/pillow {of('pillow')}/{others}, {megapixels:g} MP"


class DecodePool:
    """Decodes images in worker processes; thread-safe.

    Args:
        workers: processes at most, >= 1. The first starts at once (without waiting for it), the others when they are needed.
        preprocess: how the model wants its pixels.
        limits: what one picture may cost.
        thumbnail_side: longer side of the WebP thumbnail that comes with each picture, pixels; None: no thumbnails.
        jobs: makes what does the jobs, from workers, handshake and limits.
    """

    def __init__(
        self,
        workers: int,
        preprocess: Preprocess,
        *,
        limits: Limits = LIBRARY_LIMITS,
        thumbnail_side: int | None = None,
        jobs: Callable[[int, dict[str, Any], Limits], Jobs] = Cage,
    ) -> None:
        if workers < 1:
            raise UsageError("at least one decode worker is needed")
        self.workers = workers
        self.limits = limits
        self._shape = (*preprocess.output_size, 3)
        spec = {
            "size": preprocess.size,
            "shortest_edge": preprocess.shortest_edge,
            "crop": preprocess.crop,
            "resample": preprocess.resample,
            "thumbnail_side": thumbnail_side,
        }
        self._jobs = jobs(workers, {"limits": asdict(limits), "spec": spec}, limits)

    def decode(self, source: PictureSource, *, region: Region | None = None, known: Callable[[bytes], bool] | None = None) -> Decoded:
        """One picture, ready for the model. Blocks until a worker is free and done.

        Args:
            source: a path (str; may hold surrogate escapes; a link is refused: resolve it before if it is meant), an encoded
                image (bytes), or a file of an indexed folder.
            region: only this part of the upright picture; a box longer than 2:1 grows to 2:1 with its surroundings.
            known: called with the sha256 before decoding; True: the caller has this content, nothing is decoded and `pixels` is None.

        Raises DecodeError with its reason; UsageError for a region that reaches outside the picture.
        """
        reply, body = self._run(source, region, known, None)
        digest = bytes.fromhex(reply["sha256"])
        found = None if reply["stat"] is None else FileStat.of(*reply["stat"])
        if "shape" not in reply:
            return Decoded(digest, None, stat=found)
        pixels, rest = _array(reply, body)
        thumbnail = None if reply["thumbnail"] is None else rest
        return Decoded(digest, pixels, reply["width"], reply["height"], reply["format"], thumbnail, found, reply["note"], reply["captured"])

    def picture(self, source: PictureSource, *, max_side: int, region: Region | None = None) -> Picture:
        """For showing: with true proportions, longer side at most `max_side`, never enlarged. Rules, cage and errors as in `decode`."""
        reply, body = self._run(source, region, None, max_side)
        return Picture(_array(reply, body)[0], reply["width"], reply["height"], bytes.fromhex(reply["sha256"]))

    def decode_each(
        self,
        sources: Iterable[PictureSource],
        *,
        known: Callable[[bytes], bool] | None = None,
        region: Region | None = None,
        prefetch: int = PREFETCH,
        read: Callable[[PictureSource], PictureSource] | None = None,
        threads: int | None = None,
    ) -> Iterator[tuple[PictureSource, Decoded | DecodeError]]:
        """Many pictures, in order of completion, each with its result or its DecodeError; one thread per worker.

        At most `prefetch` results wait or are in work, so memory is flat in the number of sources. `sources` and `known`
        are called from these threads (one call at a time for `sources`); what they raise is raised here. Closing the generator stops it
        at once: a decode that is running then ends in the background, its result dropped.

        Args:
            read: makes of a source what is decoded, as the bytes behind an address; called from several threads. DecodeError is its result.
            threads: instead of one per worker; more of them where `read` waits for a network.
        """

        def decode(source: PictureSource, known: Callable[[bytes], bool] | None) -> Decoded:
            return self.decode(source if read is None else read(source), region=region, known=known)

        return _Stream(decode, threads or self.workers, sources, known, prefetch).results()

    def captured_each(self, sources: Iterable[FileInRoot]) -> Iterator[tuple[PictureSource, tuple[str, FileStat] | DecodeError]]:
        """When each was taken, by its header alone (see `Decoded.captured`), and the file's stat as it was then; in order of completion.

        Of a JPEG its first 128 KB are read. Nothing is hashed: that the file is still the same, its stat says.
        """
        return _Stream(lambda source, _: self._captured(source), self.workers, sources, None, PREFETCH).results()

    def close(self) -> None:
        """End all workers, within 2 s. A decode that is running in another thread raises ImageSearchError there."""
        self._jobs.close()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _captured(self, source: PictureSource) -> tuple[str, FileStat]:
        reply, _ = self._run(source, None, None, None, header=True)
        return reply["captured"], FileStat.of(*reply["stat"])

    def _run(
        self,
        source: PictureSource,
        region: Region | None,
        known: Callable[[bytes], bool] | None,
        max_side: int | None,
        *,
        header: bool = False,
    ) -> Reply:
        if isinstance(source, Elsewhere):
            source = source.read()
        path, payload = self._payload(source)
        seen = source.seen if isinstance(source, FileInRoot) else None
        job = {
            "job": "bytes" if isinstance(source, bytes) else "path" if isinstance(source, str) else "below",
            "seen": None if seen is None else (seen[0], *astuple(seen[1])),
            "ask": known is not None,
            "region": None if region is None else astuple(region),
            "max_side": max_side,
            "header": header,
        }
        reply, body = self._jobs.ask(Job(job, payload, path, known, lambda reply: self._fits(reply, max_side)))
        if "outside" in reply:
            assert region is not None
            wide, high = reply["outside"]
            raise UsageError(
                f"the region {region.x},{region.y},{region.w},{region.h} reaches outside the picture, which is {wide}x{high} pixels",
                path=path,
                hint="give x,y,w,h in pixels of the upright picture",
            )
        if "error" in reply:
            digest = reply["sha256"] and bytes.fromhex(reply["sha256"])
            raise DecodeError(SkipReason[reply["error"]], path=path, detail=reply["detail"], sha256=digest, hint=reply["hint"])
        return reply, body

    def _payload(self, source: str | bytes | FileInRoot) -> tuple[str | None, bytes]:
        """(path or None, what the worker gets)."""
        if isinstance(source, FileInRoot):
            return source.path, b"\0".join(_without_nul(part, source.path) for part in (source.root, source.relative))
        if isinstance(source, bytes):
            if len(source) > self.limits.file_bytes:
                raise DecodeError(SkipReason.FILE_TOO_LARGE, detail=f"{len(source)} bytes")
            return None, source
        # A worker keeps the folder it was started in; and ours may be gone, which is nothing to a whole path.
        return source, _without_nul(source if os.path.isabs(source) else os.path.join(os.getcwd(), source), source)

    def _fits(self, answer: Reply, max_side: int | None) -> bool:
        """Its pixels have the right shape, and as many bytes."""
        reply, body = answer
        if "shape" not in reply:
            return True
        high, wide, _ = shape = tuple(reply["shape"])
        right = shape == self._shape if max_side is None else max(high, wide) <= max_side
        return right and len(body) == high * wide * 3 + (reply["thumbnail"] or 0)


class _Stream(Generic[T]):
    """The threads behind `decode_each`: what `do` gives for each source, or its DecodeError."""

    def __init__(
        self,
        do: Callable[[PictureSource, Callable[[bytes], bool] | None], T],
        workers: int,
        sources: Iterable[PictureSource],
        known: Callable[[bytes], bool] | None,
        prefetch: int,
    ) -> None:
        self.do = do
        self.workers = workers
        self.sources = iter(sources)
        self.known = known
        self.one_at_a_time = threading.Lock()
        self.room = threading.Semaphore(prefetch)
        self.done: queue.SimpleQueue[tuple[PictureSource, T | DecodeError] | BaseException | None] = queue.SimpleQueue()
        self.stopped = False
        self.started = 0
        self.waited = 0.0  # seconds, by whoever takes the results, since the last thread began

    def results(self) -> Iterator[tuple[PictureSource, T | DecodeError]]:
        ended = 0
        self._start_one()
        try:
            while ended < self.started:
                item = self.done.get() if ended else self._next()
                if item is None:
                    ended += 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    self.room.release()
                    yield item
        finally:
            self.stopped = True
            self.room.release(self.workers)  # threads that wait for room look up and leave

    def _next(self) -> tuple[PictureSource, T | DecodeError] | BaseException | None:
        """The next result, with another thread to help where waiting for it has come to cost as much as a worker does to start.

        So small pictures before a slow model are decoded by one process, and a single picture needs no crowd.
        """
        while self.started < self.workers:
            began = time.monotonic()
            try:
                return self.done.get(timeout=max(0.0, DECODER_PAYS_SECONDS - self.waited))
            except queue.Empty:
                self._start_one()
                began, self.waited = time.monotonic(), 0.0
            finally:
                self.waited += time.monotonic() - began
        return self.done.get()

    def _start_one(self) -> None:
        self.started += 1
        threading.Thread(target=self._work, name=f"decode-{self.started}", daemon=True).start()

    def _work(self) -> None:
        try:
            while True:
                self.room.acquire()
                with self.one_at_a_time:
                    source = None if self.stopped else next(self.sources, None)
                if source is None:
                    break
                result: T | DecodeError
                try:
                    result = self.do(source, self.known and self._known)
                except DecodeError as error:
                    result = error
                self.done.put((source, result))
        except BaseException as error:
            self.done.put(error)
        self.room.release()  # the next thread finds the end, too
        self.done.put(None)

    def _known(self, digest: bytes) -> bool:
        assert self.known is not None
        return self.stopped or self.known(digest)  # stopped: nobody wants the pixels


def _without_nul(name: str, path: str) -> bytes:
    """The name's bytes as the system takes them; DecodeError where it takes none of these."""
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError as error:
        raise DecodeError(SkipReason.VANISHED, path=path, detail=str(error)) from error
    if b"\0" in raw:
        raise DecodeError(SkipReason.VANISHED, path=path, detail="a NUL in the name")
    return raw


def _array(reply: dict[str, Any], body: bytes | bytearray) -> tuple[UInt8, bytes]:
    """(pixels, what comes after them)."""
    high, wide, channels = reply["shape"]
    count = high * wide * channels
    return np.frombuffer(body, np.uint8, count).reshape(high, wide, channels), bytes(memoryview(body)[count:])
