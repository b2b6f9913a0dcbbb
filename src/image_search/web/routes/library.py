"""The library as a whole, and the index run in the background."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from ...config import PAGE_BEAT_SECONDS, PAGE_STREAMS, PAGE_TICK_SECONDS
from .. import browsing
from ..asking import Facets, FacetsRequest
from ..limiter import BusyError
from ..schemas import Classes, CountsRequest, IndexRequest, JobState, KnownWords, SkippedFiles, State
from ..service import Service
from . import NOT_KEPT, Backend, Behind, of_bytes
from .originals import at_this_machine

__all__ = ["router"]

router = APIRouter(tags=["library"])


@router.get("/api/library")
async def state(request: Request, behind: Behind) -> State:
    """The library, the folders that may be indexed, what is going on."""
    here, read_only = at_this_machine(request), request.state.read_only
    return await behind.lookups.run(behind.service.state, here=here, read_only=read_only)


@router.get("/api/classes")
async def classes(behind: Behind) -> Classes:
    """Every class with the number of its images."""
    return await behind.lookups.run(browsing.classes, behind.service.library)


@router.get("/api/words")
async def known_words(
    behind: Behind, prefix: Annotated[str, Query(max_length=100)] = "", n: Annotated[int, Query(ge=1, le=100)] = 10
) -> KnownWords:
    """Words to search with that begin like this, of a library whose model knows only some."""
    return KnownWords(words=await behind.lookups.run(behind.service.known_words, prefix, n))


@router.post("/api/counts")
async def class_counts(request: CountsRequest, behind: Behind) -> Classes:
    """Every class with the number of its images that pass the other filters."""
    return await behind.work.run(behind.service.searching.class_counts, request)


@router.post("/api/facets")
async def facets(request: FacetsRequest, behind: Behind) -> Facets:
    """When the images were taken and of which formats they are, under the other filters: as a histogram and as counts."""
    return await behind.work.run(behind.service.searching.facets, request)


@router.get("/api/skipped")
async def skipped(behind: Behind) -> SkippedFiles:
    """The files that could not be used, and why."""
    return await behind.lookups.run(browsing.skipped, behind.service.library)


@router.post("/api/index", status_code=202)
async def index(request: IndexRequest, behind: Behind) -> JobState:
    """Begin to index one of the allowed folders in the background."""
    return await behind.lookups.run(lambda: _begun(behind.service, behind.service.index(request.folder)))


@router.post("/api/demo", status_code=202)
async def demo(behind: Behind) -> JobState:
    """Draw the sample gallery and index it, in the background."""
    return await behind.lookups.run(lambda: _begun(behind.service, behind.service.demo()))


@router.post("/api/index/stop", status_code=202)
async def stop(behind: Behind) -> JobState:
    """Ask the run to stop; what it has counted stays."""
    behind.service.jobs.stop()
    return behind.service.job_state()


@router.get("/api/events", response_class=Response, responses=of_bytes("text/event-stream"))
async def events(behind: Behind) -> Response:
    """Progress as server-sent events: each `data` is a JobState."""
    if len(behind.streams) >= PAGE_STREAMS:
        raise BusyError("too many pages watch the progress", hint="close some of them")
    return StreamingResponse(_progress(behind), media_type="text/event-stream", headers=NOT_KEPT)


def _begun(service: Service, begun: bool) -> JobState:
    if not begun:
        raise HTTPException(409, "an index run is in work")
    return service.job_state()


async def _progress(behind: Backend) -> AsyncIterator[str]:
    me = object()
    behind.streams.add(me)
    try:
        jobs, seen, quiet = behind.service.jobs, -1, 0.0
        while not behind.ending.is_set():
            if jobs.version != seen:
                seen, quiet = jobs.version, 0.0
                yield f"data: {behind.service.job_state().model_dump_json()}\n\n"
            elif quiet >= PAGE_BEAT_SECONDS:
                quiet = 0.0
                yield ": alive\n\n"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(behind.ending.wait(), PAGE_TICK_SECONDS)
            quiet += PAGE_TICK_SECONDS
    finally:
        behind.streams.discard(me)
