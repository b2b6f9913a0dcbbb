"""For tests, ours and yours: a model that costs nothing, decoding without processes, and an engine made of both.

    from image_search.testing import quick_engine

    def test_my_album(tmp_path, photos):
        with quick_engine(tmp_path / "library") as engine:
            engine.index(photos)
            assert engine.search(photos / "a.jpg")[0].similarity == 1

A library of 12 small pictures is made in a twentieth of a second, a fiftieth of what the bundled model and the decode workers take.
What comes out is real: pixels by the same rules, errors with the same reasons, a library like any other. What it says of similarity is
not worth much: `QuickModel` sees where a picture is bright, and no more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .config import LIBRARY_LIMITS, Limits
from .engine import ImageSearchEngine
from .errors import ImageSearchError
from .images.cage import Job
from .images.pool import DecodePool
from .images.worker import Reply, answer
from .types import Fingerprint, Float32, Preprocess, UInt8

__all__ = ["InProcessPool", "QuickModel", "quick_engine"]


class QuickModel:
    """An `Embedder` that costs nothing: means of a picture's 4 x 4 fields, and their sines. Alike in every process.

    The sines make the vectors of like pictures differ, so that each picture is its own nearest neighbour.
    """

    runtime = "quick"
    fingerprint = Fingerprint("quick", "image_search.testing", "", "0" * 64, "embedding", 96, Preprocess(size=(16, 16)))

    def embed(self, pixels: UInt8) -> Float32:
        """uint8 (N, 16, 16, 3) RGB -> float32 (N, 96), each row of length 1."""
        fields = pixels.reshape(-1, 4, 4, 4, 4, 3)  # (N, row of fields, row in it, column of fields, column in it, 3)
        means = fields.astype(np.float64).mean(axis=(2, 4)).reshape(len(pixels), 48)  # (N, 4, 4, 3) flat
        vectors = np.concatenate([means - 127.5, np.sin(means)], axis=1)  # (N, 96)
        unit: Float32 = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def close(self) -> None:
        """There is nothing to give back."""


class InProcessPool(DecodePool):
    """A `DecodePool` that decodes in this process: the same calls, pixels, errors and reasons, started in no time.

    For pictures you trust: no limit on memory or time holds (`limits.memory_bytes`, `cpu_seconds`, `wall_seconds`), and what crashes
    a decoder crashes this process. It sets what the workers set in Pillow for themselves: no limit on pixels but ours, one thread
    for each AVIF or HEIF, 16 MiB of text in a PNG.

    Args:
        workers: threads of `decode_each`, >= 1.
        preprocess, limits, thumbnail_side: as for `DecodePool`.
    """

    def __init__(self, workers: int, preprocess: Preprocess, *, limits: Limits = LIBRARY_LIMITS, thumbnail_side: int | None = None) -> None:
        super().__init__(workers, preprocess, limits=limits, thumbnail_side=thumbnail_side, jobs=_Here)


class _Here:
    """Does the jobs in the thread that asks."""

    def __init__(self, workers: int, handshake: dict[str, Any], limits: Limits) -> None:
        from .images.pixels import RenderSpec

        self._spec = RenderSpec(**handshake["spec"])
        self._limits = limits
        self._closed = False

    def ask(self, job: Job) -> Reply:
        if self._closed:
            raise ImageSearchError("the decoder is closed")
        return answer(job.header, job.payload, self._spec, self._limits, lambda found: self._wanted(job, found))

    @staticmethod
    def _wanted(job: Job, found: dict[str, Any]) -> bool:
        return job.known is None or not job.known(bytes.fromhex(found["sha256"]))

    def close(self) -> None:
        self._closed = True


def quick_engine(
    library: str | os.PathLike[str] | None = None,
    *,
    store: str | None = "exact",
    jobs: int | None = 1,
    long_lived: bool = True,
    allow_private_urls: bool = False,
    notify: Callable[[str], None] | None = None,
) -> ImageSearchEngine:
    """An engine with `QuickModel` and `InProcessPool`; without a vector store unless you name one. To be closed like any other."""
    engine = ImageSearchEngine(
        library,
        model=QuickModel(),
        store=store,
        jobs=jobs,
        long_lived=long_lived,
        allow_private_urls=allow_private_urls,
        notify=notify,
    )
    engine._make_pool = InProcessPool
    return engine
