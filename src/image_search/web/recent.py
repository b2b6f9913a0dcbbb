"""What was used last, up to a weight."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Recent"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values used last; any thread may ask.

    Args:
        limit: of their weights together. One value is kept even if it alone is heavier.
        weigh: what a value weighs; by default 1 each, so that `limit` is their number.
        most: of them at most, whatever they weigh.
    """

    def __init__(self, limit: int, weigh: Callable[[V], int] = lambda _: 1, *, most: int | None = None) -> None:
        self._limit, self._weigh, self._most = limit, weigh, most
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()
        self.weight = 0  # of all that are kept

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: K, value: V) -> None:
        with self._lock:
            if key in self._kept:
                self.weight -= self._weigh(self._kept.pop(key))
            self._kept[key] = value
            self.weight += self._weigh(value)
            while len(self._kept) > 1 and (self.weight > self._limit or (self._most is not None and len(self._kept) > self._most)):
                self.weight -= self._weigh(self._kept.popitem(last=False)[1])
