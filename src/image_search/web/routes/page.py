"""The page itself: its files, as they are."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

HERE = Path(__file__).parents[1]
SERVED = (*(HERE / "static").iterdir(), *(HERE / "pages").glob("docs.*"))  # the page; the document of its interface
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}


class _File(NamedTuple):
    data: bytes
    small: bytes  # the same, gzip
    media_type: str
    tag: str


def _read(path: Path) -> _File:
    data = path.read_bytes()
    return _File(data, gzip.compress(data, 9, mtime=0), TYPES[path.suffix], f'"{hashlib.sha256(data).hexdigest()[:16]}"')


FILES = {path.name: _read(path) for path in SERVED if path.suffix in TYPES}  # known at start: no name can lead anywhere else


@router.get("/")
async def page(request: Request) -> Response:
    return _sent(FILES["index.html"], request, {})


@router.get("/api/docs")
async def docs() -> Response:
    return Response(FILES["docs.html"].data, media_type=FILES["docs.html"].media_type)


@router.get("/static/{name}")
async def static(name: str, request: Request) -> Response:
    if name not in FILES:
        raise HTTPException(404)
    file = FILES[name]
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}  # asked again each time, sent again only after an update
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return _sent(file, request, headers)


def _sent(file: _File, request: Request, headers: dict[str, str]) -> Response:
    """A third of its size where the browser takes it: a phone in a wireless network waits for the bytes."""
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.data, media_type=file.media_type, headers={**headers, "Vary": "Accept-Encoding"})
    return Response(file.small, media_type=file.media_type, headers={**headers, "Vary": "Accept-Encoding", "Content-Encoding": "gzip"})
