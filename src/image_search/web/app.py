"""The routes: HTTP in, `service` asked in a thread, HTTP out. The page itself uses nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from .. import __version__
from ..config import available_cpus
from ..errors import (
    DecodeError,
    DiskFullError,
    ImageSearchError,
    LibraryBusyError,
    LibraryNotFoundError,
    QueryError,
    UsageError,
)
from .archive import zipped
from .limiter import BusyError, Gate
from .schemas import (
    MAX_RESULTS,
    Address,
    Classes,
    Facts,
    IndexRequest,
    ItemId,
    JobState,
    Page,
    Problem,
    SearchAnswer,
    SearchRequest,
    SkippedFiles,
    State,
    Upload,
)
from .service import Service, Shown, problem_of

__all__ = ["create_app"]

STATIC = Path(__file__).with_name("static")
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # the address changes with the content
MAX_STREAMS = 32  # pages that watch the progress
TICK = 0.25  # seconds between looks at the progress
BEAT = 10.0  # seconds after which a silent stream says that it lives

log = logging.getLogger("image_search")

STATUS: tuple[tuple[type[ImageSearchError], int], ...] = (
    (BusyError, 503),
    (LibraryBusyError, 503),
    (DiskFullError, 507),
    (LibraryNotFoundError, 409),
    (QueryError, 422),
    (DecodeError, 422),
    (UsageError, 400),
)

COMMON: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words}
    for status, words in {
        400: "the request asks for something impossible",
        401: "no token and no cookie",
        403: "from another page",
        409: "there is no library yet, or a run is in work",
        413: "the body is too large",
        421: "wrong Host",
        422: "not of this form, or a picture that cannot be used",
        503: "too much at once; Retry-After says when to come again",
    }.items()
}


def create_app(service: Service) -> FastAPI:
    """The application without its guard; `server.guarded` puts that around it."""
    cpus = available_cpus()
    work = Gate(running=max(2, cpus), waiting=max(64, 4 * cpus))  # decodes, embeds, searches
    light = Gate(running=4, waiting=512)  # looks things up
    fetching = Gate(running=4, waiting=8)
    ending = asyncio.Event()
    streams: set[object] = set()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warm = asyncio.create_task(_warm(work, service))
        yield
        ending.set()
        await asyncio.gather(warm, return_exceptions=True)
        for gate in (work, light, fetching):
            gate.close()
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="image-search",
        version=__version__,
        summary="Give it an image; get the most similar images of the library, with how similar they are.",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        responses=COMMON,
    )
    app.state.ending = ending
    _errors(app)

    # --- searching ----------------------------------------------------------------------------------------------------------

    @app.post("/api/search", tags=["search"], response_model=SearchAnswer)
    async def search(request: SearchRequest) -> Response:
        """The images of the library that are most similar to one or several pictures, nearest first."""
        # Written as JSON in the same thread; FastAPI would build the 500 matches a second time, on the loop (20 ms).
        return Response(await work.run(lambda: service.search(request).model_dump_json()), media_type="application/json")

    @app.post(
        "/api/uploads",
        tags=["search"],
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
        },
    )
    async def upload(request: Request) -> Upload:
        """A picture to search with: the file's bytes as the body, at most 20 MB and 50 megapixels. The answer's id goes into a search."""
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
        return await work.run(service.upload, bytes(data))

    @app.post("/api/addresses", tags=["search"])
    async def address(request: Address) -> Upload:
        """A picture by its address, where the server's owner allows that; public http(s) addresses only."""
        return await fetching.run(service.fetched, request.url)

    @app.get("/api/uploads/{id}/view", tags=["search"], response_class=Response, responses=_picture("image/jpeg"))
    async def upload_view(id: str) -> Response:
        return Response(service.uploaded(id).view, media_type="image/jpeg", headers=FOR_EVER)

    # --- images of the library ----------------------------------------------------------------------------------------------

    @app.get("/api/images", tags=["library"])
    async def images(
        name: Annotated[str | None, Query(max_length=1000, description="only this class")] = None,
        after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> Page:
        """The library's images, page by page."""
        return await light.run(service.page, name, after, limit)

    @app.get("/api/images/sample", tags=["library"])
    async def sample(n: Annotated[int, Query(ge=1, le=100)] = 24) -> Page:
        """Some images from all over the library."""
        return await light.run(service.sample, n)

    @app.get("/api/images.zip", tags=["library"], response_class=Response, responses=_picture("application/zip"))
    async def images_zip(id: Annotated[list[ItemId], Query(min_length=1, max_length=MAX_RESULTS)]) -> Response:
        """Copies of these images' files, in this order."""
        chosen = await light.run(service.chosen, id)
        headers = {"Content-Disposition": 'attachment; filename="images.zip"', "Cache-Control": "no-store"}
        return StreamingResponse(zipped(chosen), media_type="application/zip", headers=headers)

    @app.get("/api/images/{id}", tags=["library"])
    async def facts(id: str) -> Facts:
        """What is known of one image."""
        return await light.run(service.facts, id)

    @app.get("/api/images/{id}/thumbnail", tags=["library"], response_class=Response, responses=_picture("image/webp"))
    async def thumbnail(id: str) -> Response:
        """Its small picture, 256 pixels."""
        return _shown(await light.run(service.thumbnail, id))

    @app.get("/api/images/{id}/view", tags=["library"], response_class=Response, responses=_picture("image/jpeg", "image/webp"))
    async def view(id: str) -> Response:
        """Its picture, re-encoded, at most 1600 pixels wide or high."""
        return _shown(await work.run(service.view, id))

    # --- the library --------------------------------------------------------------------------------------------------------

    @app.get("/api/library", tags=["library"])
    async def state() -> State:
        """The library, the folders that may be indexed, what is going on."""
        return await light.run(service.state, __version__)

    @app.get("/api/classes", tags=["library"])
    async def classes() -> Classes:
        """Every class with the number of its images."""
        return await light.run(service.classes)

    @app.get("/api/skipped", tags=["library"])
    async def skipped() -> SkippedFiles:
        """The files that could not be used, and why."""
        return await light.run(service.skipped)

    @app.post("/api/index", tags=["library"], status_code=202)
    async def index(request: IndexRequest) -> JobState:
        """Begin to index one of the allowed folders in the background."""
        return await light.run(_begun, service, request.folder)

    @app.post("/api/demo", tags=["library"], status_code=202)
    async def demo() -> JobState:
        """Draw the sample gallery and index it, in the background."""
        return await light.run(_begun, service, None)

    @app.post("/api/index/stop", tags=["library"], status_code=202)
    async def stop() -> JobState:
        """Ask the run to stop; what it has counted stays."""
        service.jobs.stop()
        return service.job_state()

    @app.get("/api/events", tags=["library"], response_class=Response, responses=_picture("text/event-stream"))
    async def events(request: Request) -> Response:
        """Progress as server-sent events: each `data` is a JobState."""
        if len(streams) >= MAX_STREAMS:
            raise BusyError("too many pages watch the progress", hint="close some of them")
        return StreamingResponse(_progress(service, ending, streams), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    # --- the page -----------------------------------------------------------------------------------------------------------

    files = _static_files()

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        data, kind, _ = files["index.html"]
        return Response(data, media_type=kind)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404)
        data, kind, tag = files[name]
        headers = {"ETag": tag, "Cache-Control": "no-cache"}  # asked again each time, sent again only after an update
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=kind, headers=headers)

    return app


def _shown(picture: Shown) -> Response:
    headers = FOR_EVER if picture.lasting else {"Cache-Control": "no-store"}
    return Response(picture.data, media_type=picture.media_type, headers=headers)


def _static_files() -> dict[str, tuple[bytes, str, str]]:
    """name -> (bytes, media type, ETag): the page's files, known at start, so that no name can lead anywhere else."""
    types = {
        ".js": "text/javascript; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".svg": "image/svg+xml",
        ".html": "text/html; charset=utf-8",
    }
    files = {path.name: (path.read_bytes(), types[path.suffix]) for path in STATIC.iterdir() if path.suffix in types}
    return {name: (data, kind, f'"{hashlib.sha256(data).hexdigest()[:16]}"') for name, (data, kind) in files.items()}


def _picture(*types: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {name: {"schema": {"type": "string", "format": "binary"}} for name in types}}}


async def _warm(work: Gate, service: Service) -> None:
    try:
        await work.run(service.warm_up)
    except ImageSearchError as error:  # the first real question says it to whom it concerns
        log.warning("%s", problem_of(error).message)


def _begun(service: Service, folder: int | None) -> JobState:
    if not (service.demo() if folder is None else service.index(folder)):
        raise HTTPException(409, "an index run is in work")
    return service.job_state()


async def _progress(service: Service, ending: asyncio.Event, streams: set[object]) -> AsyncIterator[str]:
    me = object()
    streams.add(me)
    try:
        seen, quiet = -1, 0.0
        while not ending.is_set():
            if service.jobs.version != seen:
                seen, quiet = service.jobs.version, 0.0
                yield f"data: {service.job_state().model_dump_json()}\n\n"
            elif quiet >= BEAT:
                quiet = 0.0
                yield ": alive\n\n"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), TICK)
            quiet += TICK
    finally:
        streams.discard(me)


def _errors(app: FastAPI) -> None:
    def answer(status: int, problem: Problem, headers: dict[str, str] | None = None) -> Response:
        return JSONResponse(problem.model_dump(), status, headers)

    @app.exception_handler(ImageSearchError)
    async def known(_: Request, error: ImageSearchError) -> Response:
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
        if status == 500:
            log.error("%s", problem_of(error).message)
        return answer(status, problem_of(error), {"Retry-After": "1"} if status == 503 else None)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        codes = {404: "NotFound", 405: "NotAllowed", 408: "TooLate", 409: "Running", 413: "TooLarge", 503: "Busy"}
        code = codes.get(error.status_code, "Refused")
        return answer(error.status_code, Problem(code=code, message=str(error.detail), hint="", reason=""), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        where = [".".join(str(part) for part in one["loc"] if part != "body") for one in error.errors()[:3]]
        text = json.dumps("; ".join(f"{w}: {one['msg']}" for w, one in zip(where, error.errors(), strict=False)))[1:-1]
        return answer(422, Problem(code="Malformed", message=f"the request is not of the documented form ({text})", hint="", reason=""))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> Response:
        log.error("unexpected %s in a request", type(error).__name__, exc_info=error)
        return answer(500, Problem(code="Unexpected", message=f"unexpected {type(error).__name__}", hint="try again", reason=""))
