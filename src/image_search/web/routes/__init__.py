"""What all routes share: what stands behind them, and how bytes are described and kept. A file of routes a subject."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from ...config import (
    PAGE_FETCHES,
    PAGE_FETCHES_WAITING,
    PAGE_LOOKUPS,
    PAGE_LOOKUPS_WAITING,
    PAGE_WAITING,
    available_cpus,
)
from ..limiter import Limiter
from ..service import Service

__all__ = ["FOR_EVER", "NOT_KEPT", "Backend", "Behind", "of_bytes"]

FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # the address changes with the content
NOT_KEPT = {"Cache-Control": "no-store"}


def _workers() -> Limiter:
    cpus = available_cpus()
    return Limiter(running=max(2, cpus), waiting=max(PAGE_WAITING, 4 * cpus))


@dataclass(frozen=True, slots=True)
class Backend:
    """What stands behind the routes of one application.

    Attributes:
        service: one library; its functions block, so each is called through one of the limiters.
        work: decodes, embeds, searches.
        lookups: looks things up.
        fetches: fetches pictures by their addresses.
        streams: one object for each page that watches the progress.
        ending: set when the server is told to stop.
    """

    service: Service
    work: Limiter = field(default_factory=_workers)
    lookups: Limiter = field(default_factory=lambda: Limiter(running=PAGE_LOOKUPS, waiting=PAGE_LOOKUPS_WAITING))
    fetches: Limiter = field(default_factory=lambda: Limiter(running=PAGE_FETCHES, waiting=PAGE_FETCHES_WAITING))
    streams: set[object] = field(default_factory=set)
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        """Let the limiters go and close the library. Waits for an index run to come to its next commit."""
        for limiter in (self.work, self.lookups, self.fetches):
            limiter.close()
        self.service.close()


async def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


Behind = Annotated[Backend, Depends(_backend)]  # a route's parameter of this type is the application's backend


def of_bytes(*types: str) -> dict[int | str, dict[str, Any]]:
    """How the document describes an answer that is no JSON."""
    return {200: {"content": {name: {"schema": {"type": "string", "format": "binary"}} for name in types}}}
