"""The decoders of pictures that are asked about: one pool for each kind of picture and each recipe, started when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..config import LIBRARY_LIMITS, MIB, UPLOAD_LIMITS, Limits
from ..forks import Lock
from ..images.pool import DecodePool
from ..types import Preprocess

__all__ = ["Decoders"]


class Decoders:
    """Safe to share between threads.

    Args:
        make: makes a pool: (workers, recipe, limits=...).
        workers: of each.
        max_megapixels: of any picture; None: the usual limits. max_megabytes: of one that is sent or fetched; None: the usual limit.

    Attributes:
        of_files: limits of a picture that lies on this machine.
        of_sent: limits of one that comes over a network or a pipe.
    """

    def __init__(
        self, make: Callable[..., DecodePool], workers: int, *, max_megapixels: float | None = None, max_megabytes: float | None = None
    ) -> None:
        self.of_files, self.of_sent = LIBRARY_LIMITS, UPLOAD_LIMITS
        if max_megapixels is not None:
            self.of_files, self.of_sent = (replace(limits, megapixels=max_megapixels) for limits in (self.of_files, self.of_sent))
        if max_megabytes is not None:
            self.of_sent = replace(self.of_sent, file_bytes=max(1, int(max_megabytes * MIB)))
        self._make = make
        self._workers = workers
        self._pools: dict[tuple[Limits, Preprocess], DecodePool] = {}
        self._making = Lock()

    def pool(self, recipe: Preprocess, *, sent: bool) -> DecodePool:
        limits = self.of_sent if sent else self.of_files
        with self._making:
            if (limits, recipe) not in self._pools:
                self._pools[limits, recipe] = self._make(self._workers, recipe, limits=limits)
            return self._pools[limits, recipe]

    def close(self) -> None:
        """Give them back; they can be asked for again."""
        with self._making:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()
