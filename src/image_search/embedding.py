"""Pictures in, vectors out: the one stage through which everything that embeds goes. No catalog, no store, nothing kept.

    embed_each   in order of completion, for those who have a use for each result at once (an index run)
    in_order     the same results, as they were asked for (`engine.embed`, `evaluate`)

Decoding runs ahead in its own processes while the model computes here, so both have something to do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from .config import LONGEST_WAIT_SECONDS, MAX_BATCH, MODEL_CALL_SECONDS, available_cpus
from .errors import DecodeError, SkipReason
from .images.pool import PictureSource
from .types import Decoded, Embedder, Float32, Region

__all__ = ["Decoding", "Embedded", "embed_each", "in_order"]


class Decoding(Protocol):
    """What makes pictures of sources: a `DecodePool`, or what reads the sources first."""

    def decode_each(
        self, sources: Iterable[PictureSource], *, known: Callable[[bytes], bool] | None = None, region: Region | None = None
    ) -> Iterator[tuple[PictureSource, Decoded | DecodeError]]: ...


@dataclass(frozen=True, slots=True)
class Embedded:
    """One picture's vector.

    Attributes:
        source: as it was asked for.
        decoded: the picture's facts, without its pixels.
        vector: float32 (D,), unit length; None: the caller said that it knows this content.
    """

    source: PictureSource
    decoded: Decoded
    vector: Float32 | None


def embed_each(
    sources: Iterable[PictureSource],
    pool: Decoding,
    embedder: Embedder | Callable[[], Embedder],
    known: Callable[[bytes], bool] | None = None,
    *,
    region: Region | None = None,
) -> Iterator[Embedded | DecodeError]:
    """Decode and embed many pictures; results come in order of completion.

    Args:
        sources: paths (links are refused: resolve them before if they are meant), encoded pictures, files of indexed folders. Read from
            other threads, one call at a time, and never further ahead than the pool allows: a million cost no memory.
        embedder: the model, or a function that gives it when the first picture needs it.
        known: called with a picture's sha256 before it is decoded; True: nothing is decoded, and its `vector` is None.
        region: only this part of each upright picture.

    Yields:
        for each source its vector, or the DecodeError (with its `source`) that says why there is none.

    Raises:
        UsageError: a region outside a picture. ModelError. Whatever `sources` and `known` raise.
    """
    batches = _Batches(embedder)
    for source, outcome in pool.decode_each(sources, known=known, region=region):
        if isinstance(outcome, DecodeError):
            outcome.source = source
            yield outcome
        elif outcome.pixels is None:
            yield Embedded(source, outcome, None)
        else:
            batches.add(source, outcome)
        if batches.due():  # also where nothing new comes: what waits is to be committed
            yield from batches.embed()
    yield from batches.embed()


def in_order(
    sources: Iterable[PictureSource], embed: Callable[[Iterator[PictureSource]], Iterator[Embedded | DecodeError]]
) -> Iterator[Embedded | DecodeError]:
    """The results of `embed(sources)`, one for each source, in the order of the sources.

    What is done before its turn waits here, a vector each.
    """
    asked: deque[PictureSource] = deque()
    done: dict[PictureSource, deque[Embedded | DecodeError]] = {}

    def noted() -> Iterator[PictureSource]:
        for source in sources:
            asked.append(source)
            yield source

    for result in embed(noted()):
        assert result.source is not None
        done.setdefault(result.source, deque()).append(result)  # a source may have been asked for twice
        while asked and (ready := done.get(asked[0])):
            yield ready.popleft()
            if not ready:
                del done[asked[0]]
            asked.popleft()


class _Batches:
    """Pictures on their way into the model, as many at once as it takes in a short call."""

    def __init__(self, embedder: Embedder | Callable[[], Embedder]) -> None:
        self._embedder = embedder
        self._cpus = available_cpus()
        self._size = self._cpus
        self._waiting: list[tuple[PictureSource, Decoded]] = []
        self._since = 0.0  # when the first of them came

    def add(self, source: PictureSource, decoded: Decoded) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append((source, decoded))

    def due(self) -> bool:
        """There are enough of them, or the first has waited long enough: what is slow to decode must not keep it from being committed."""
        return len(self._waiting) >= self._size or (bool(self._waiting) and time.monotonic() - self._since >= LONGEST_WAIT_SECONDS)

    def embed(self) -> Iterator[Embedded | DecodeError]:
        """One or more short calls of the model over what waits."""
        while self._waiting:
            part, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            pixels = np.stack([decoded.pixels for _, decoded in part if decoded.pixels is not None])  # (N, H, W, 3) uint8
            model = self._model()
            started = time.monotonic()
            vectors = model.embed(pixels)  # (N, D) float32, a bad row is NaN
            seconds = (time.monotonic() - started) / len(part)
            wanted = min(MAX_BATCH, int(MODEL_CALL_SECONDS / max(seconds, 1e-4)))
            self._size = max(1, wanted // self._cpus) * self._cpus  # else some have nothing to do at the end of each call
            for (source, decoded), vector in zip(part, vectors, strict=True):
                if np.isfinite(vector).all():
                    yield Embedded(source, replace(decoded, pixels=None), vector)
                else:
                    path = None if isinstance(source, bytes) else source if isinstance(source, str) else source.path
                    error = DecodeError(SkipReason.NO_VECTOR, path=path, sha256=decoded.sha256)
                    error.source = source
                    yield error

    def _model(self) -> Embedder:
        if not hasattr(self._embedder, "embed"):  # asked plainly: since Python 3.12 a protocol does not see what `__getattr__` gives
            self._embedder = self._embedder()
        return self._embedder  # type: ignore[return-value]
