"""How many may work and how many may wait: beyond that the answer is "come again", at once, and memory stays bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from ..config import PAGE_PATIENCE_SECONDS
from ..errors import ImageSearchError

__all__ = ["BusyError", "Limiter"]

P = ParamSpec("P")
T = TypeVar("T")


class BusyError(ImageSearchError):
    """Too many at once; `retry_after` seconds is when to try again."""

    retry_after = 1


class Limiter:
    """Runs blocking functions in threads.

    Args:
        running: at the same time at most.
        waiting: for their turn at most.
        patience: seconds a turn is waited for.
    """

    def __init__(self, running: int, waiting: int, patience: float = PAGE_PATIENCE_SECONDS) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._turns = asyncio.Semaphore(running)
        self._threads = ThreadPoolExecutor(running, thread_name_prefix="page")
        self._waiting = waiting
        self._patience = patience

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result. BusyError if too many wait already or the turn does not come in time.

        A caller who goes away does not free its thread before the function is done.
        """
        if self._turns.locked():
            await self._wait()
        else:
            await self._turns.acquire()  # at once
        work = asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))
        work.add_done_callback(lambda _: self._turns.release())
        return await asyncio.shield(work)

    async def _wait(self) -> None:
        if self._waiting <= 0:
            raise _busy()
        self._waiting -= 1
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError as error:
            raise _busy() from error
        finally:
            self._waiting += 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _busy() -> BusyError:
    return BusyError("too many requests at once", hint="try again in a moment")
