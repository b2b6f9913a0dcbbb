"""The application: its routes put together, its life, and what becomes of errors. The page itself uses nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import __version__
from ..config import PAGE_SWEEP_SECONDS, PAGE_WARM_SECONDS
from ..errors import (
    DecodeError,
    DiskFullError,
    ImageSearchError,
    LibraryBusyError,
    LibraryNotFoundError,
    LibraryReadOnlyError,
    NoWordsError,
    QueryError,
    UsageError,
)
from .door import POLICY, door, prefers_korean
from .limiter import BusyError
from .problems import ChangedError, UnknownIdError, line_of, malformed, problem_of
from .routes import Backend, health, images, library, originals, page, search, tidy
from .schemas import Problem
from .service import Service

__all__ = ["create_app"]

log = logging.getLogger("image_search")

STATUS: tuple[tuple[type[ImageSearchError], int], ...] = (  # the first that fits; any other is a 500
    (BusyError, 503),
    (LibraryBusyError, 503),
    (DiskFullError, 507),
    (LibraryNotFoundError, 409),
    (NoWordsError, 409),
    (LibraryReadOnlyError, 409),
    (UnknownIdError, 404),
    (ChangedError, 410),
    (QueryError, 422),
    (DecodeError, 422),
    (UsageError, 400),
)
CODES = {404: "NotFound", 405: "NotAllowed", 408: "TooLate", 409: "Running", 410: "Changed", 413: "TooLarge", 503: "Busy"}

COMMON: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words}
    for status, words in {
        400: "the request asks for something impossible",
        401: "no key and no cookie",
        403: "from another page, or with a key that may only read",
        404: "no image or given picture has this id",
        409: "there is no library yet, a run is in work, or the library cannot be written",
        410: "the library has changed since",
        413: "the body is too large",
        421: "wrong Host",
        422: "not of this form, or a picture that cannot be used",
        503: "too much at once; Retry-After says when to come again",
    }.items()
}


def create_app(service: Service, root: str = "") -> FastAPI:
    """The application without its guard; `server.PageServer` puts that around it. `app.state.backend` is what its routes ask.

    Args:
        root: the path below which a proxy shows it, "" or "/photos"; requests arrive here without it.
    """
    app = FastAPI(
        title="image-search",
        version=__version__,
        summary="Give it an image; get the most similar images of the library, with how similar they are.",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # to an address of which it knows neither the scheme nor the path before a proxy
        servers=[{"url": root}] if root else None,
        openapi_url="/api/openapi.json",
        lifespan=_lifespan,
        responses=COMMON,
        exception_handlers={
            ImageSearchError: _known,
            HTTPException: _refused,
            RequestValidationError: _malformed,
            ClientDisconnect: _gone,
            Exception: _unexpected,
        },
    )
    app.state.backend = Backend(service)
    app.state.home = f"{root}/"
    for subject in (search, images, originals, library, tidy, health, page):
        app.include_router(subject.router)
    app.openapi = functools.partial(_described, app.openapi)  # type: ignore[method-assign]
    return app


def _described(plain: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document; the keys are the guard's matter, so FastAPI knows nothing of them."""
    document = plain()
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    return document


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    backend: Backend = app.state.backend
    warm = asyncio.create_task(_warm(backend))
    sweeper = asyncio.create_task(_sweep(backend))
    yield
    backend.ending.set()
    sweeper.cancel()
    await asyncio.gather(warm, sweeper, return_exceptions=True)
    await asyncio.to_thread(backend.close)


async def _warm(backend: Backend) -> None:
    """Once the page's own files are out of the way: together they would take turns, and the page would be there later."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(backend.ending.wait(), PAGE_WARM_SECONDS)
        return
    try:
        await backend.work.run(backend.service.warm_up)
    except ImageSearchError as error:  # the first real question says it to whom it concerns
        log.warning("%s", line_of(error))


async def _sweep(backend: Backend) -> None:
    while True:
        await asyncio.sleep(PAGE_SWEEP_SECONDS)
        await asyncio.to_thread(backend.service.uploads.sweep)


# --- what becomes of errors -----------------------------------------------------------------------------------------------------


def _answer(status: int, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(problem.model_dump(), status, headers)


async def _known(_: Request, error: ImageSearchError) -> Response:
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    problem = problem_of(error)
    if status == 500:
        log.error("%s", line_of(error))
    return _answer(status, problem, {"Retry-After": "1"} if status == 503 else None)


async def _refused(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404 and not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", ""):
        html = door("NotFound", korean=prefers_korean(request.headers.get("accept-language", "")), home=request.app.state.home)
        return HTMLResponse(html, 404, {"Content-Security-Policy": POLICY})
    code = CODES.get(error.status_code, "Refused")
    return _answer(error.status_code, Problem(code=code, message=str(error.detail), hint="", reason=""), dict(error.headers or {}))


async def _malformed(_: Request, error: RequestValidationError) -> Response:
    return _answer(422, malformed(error.errors()))


async def _gone(_: Request, __: ClientDisconnect) -> Response:
    """Who sent it went away in the middle: nobody reads this, and nothing is wrong here."""
    return Response(status_code=499)


async def _unexpected(_: Request, error: Exception) -> Response:
    log.error("unexpected %s in a request", type(error).__name__, exc_info=error)
    return _answer(500, Problem(code="Unexpected", message=f"unexpected {type(error).__name__}", hint="try again", reason=""))
