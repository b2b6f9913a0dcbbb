"""The application: its routes put together, its life, and what becomes of errors. The page itself uses nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from .. import __version__
from ..errors import (
    DecodeError,
    DiskFullError,
    ImageSearchError,
    LibraryBusyError,
    LibraryNotFoundError,
    QueryError,
    UsageError,
)
from .limiter import BusyError
from .problems import problem_of
from .routes import Backend, images, library, originals, page, search
from .schemas import Problem
from .service import Service

__all__ = ["create_app"]

log = logging.getLogger("image_search")

STATUS: tuple[tuple[type[ImageSearchError], int], ...] = (  # the first that fits; any other is a 500
    (BusyError, 503),
    (LibraryBusyError, 503),
    (DiskFullError, 507),
    (LibraryNotFoundError, 409),
    (QueryError, 422),
    (DecodeError, 422),
    (UsageError, 400),
)
CODES = {404: "NotFound", 405: "NotAllowed", 408: "TooLate", 409: "Running", 413: "TooLarge", 503: "Busy"}

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
    """The application without its guard; `server.PageServer` puts that around it. `app.state.backend` is what its routes ask."""
    app = FastAPI(
        title="image-search",
        version=__version__,
        summary="Give it an image; get the most similar images of the library, with how similar they are.",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=_lifespan,
        responses=COMMON,
        exception_handlers={
            ImageSearchError: _known,
            HTTPException: _refused,
            RequestValidationError: _malformed,
            Exception: _unexpected,
        },
    )
    app.state.backend = Backend(service)
    for subject in (search, images, originals, library, page):
        app.include_router(subject.router)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    backend: Backend = app.state.backend
    warm = asyncio.create_task(_warm(backend))
    yield
    backend.ending.set()
    await asyncio.gather(warm, return_exceptions=True)
    await asyncio.to_thread(backend.close)


async def _warm(backend: Backend) -> None:
    try:
        await backend.work.run(backend.service.warm_up)
    except ImageSearchError as error:  # the first real question says it to whom it concerns
        log.warning("%s", problem_of(error).message)


# --- what becomes of errors -----------------------------------------------------------------------------------------------------


def _answer(status: int, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(problem.model_dump(), status, headers)


async def _known(_: Request, error: ImageSearchError) -> Response:
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    problem = problem_of(error)
    if status == 500:
        log.error("%s", problem.message)
    return _answer(status, problem, {"Retry-After": "1"} if status == 503 else None)


async def _refused(_: Request, error: HTTPException) -> Response:
    code = CODES.get(error.status_code, "Refused")
    return _answer(error.status_code, Problem(code=code, message=str(error.detail), hint="", reason=""), dict(error.headers or {}))


async def _malformed(_: Request, error: RequestValidationError) -> Response:
    where = [".".join(str(part) for part in one["loc"] if part != "body") for one in error.errors()[:3]]
    text = json.dumps("; ".join(f"{w}: {one['msg']}" for w, one in zip(where, error.errors(), strict=False)))[1:-1]
    return _answer(422, Problem(code="Malformed", message=f"the request is not of the documented form ({text})", hint="", reason=""))


async def _unexpected(_: Request, error: Exception) -> Response:
    log.error("unexpected %s in a request", type(error).__name__, exc_info=error)
    return _answer(500, Problem(code="Unexpected", message=f"unexpected {type(error).__name__}", hint="try again", reason=""))
