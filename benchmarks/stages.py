"""Where the time goes: CPU time of named functions of the program, the inner ones taken out of the outer ones."""

from __future__ import annotations

import functools
import threading
import time
from importlib import import_module
from typing import Any

__all__ = ["Stages"]


class Stages:
    """Attributes:
    cpu: words -> CPU seconds of this process (all its threads) while the main thread was in that function.
    calls: words -> how often.
    """

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._inner: list[float] = []  # for each function we are in: what its inner ones took
        self._sealed = False  # in a function whose inner ones are its own

    def watch(self, words: str, place: str, *, whole: bool = False) -> None:
        """Time a function from now on; `place` is where its callers find it, "module:name" or "module:Class.name".

        `whole`: what other watched functions do inside it counts as its own.
        """
        module, _, name = place.partition(":")
        holder: Any = import_module(module)
        *path, last = name.split(".")
        for part in path:
            holder = getattr(holder, part)
        setattr(holder, last, self.timed(words, getattr(holder, last), whole=whole))

    def timed(self, words: str, function: Any, *, whole: bool = False) -> Any:
        self.cpu.setdefault(words, 0.0)
        self.calls.setdefault(words, 0)

        @functools.wraps(function)
        def call(*values: Any, **named: Any) -> Any:
            if self._sealed or threading.current_thread() is not threading.main_thread():
                return function(*values, **named)
            self._sealed = whole
            self._inner.append(0.0)
            began = time.process_time()
            try:
                return function(*values, **named)
            finally:
                took = time.process_time() - began
                self._sealed = False
                self.cpu[words] += took - self._inner.pop()
                self.calls[words] += 1
                if self._inner:
                    self._inner[-1] += took

        return call
