"""Searching: a picture is sent or named, then asked with."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from ...errors import ImageSearchError
from ..pictures import Original
from ..problems import problem_of
from ..schemas import Address, BatchAnswer, SearchAnswer, SearchBatch, SearchRequest, Upload
from . import FOR_EVER, Backend, Behind, of_bytes

__all__ = ["router"]

router = APIRouter(tags=["search"])

_A_FILE = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.post("/api/search", response_model=SearchAnswer)
async def search(request: SearchRequest, behind: Behind) -> Response:
    """The images of the library that are most similar to one or several pictures, nearest first."""
    return Response(await behind.work.run(_answered, behind, request), media_type="application/json")


@router.post("/api/search/batch", response_model=BatchAnswer)
async def search_batch(batch: SearchBatch, request: Request, behind: Behind) -> Response:
    """Several searches in one request, one answer for each: where one of them fails, the others are answered all the same.

    They take their turns one after the other, so that nobody who searches beside them waits for all of them.
    """
    rows: list[str] = []
    for one in batch.searches:
        if await request.is_disconnected():
            break
        try:
            answer = await behind.work.run(_answered, behind, one)
            rows.append(f'{{"answer":{answer},"problem":null}}')
        except ImageSearchError as error:
            rows.append(f'{{"answer":null,"problem":{problem_of(error).model_dump_json()}}}')
    return Response(f'{{"answers":[{",".join(rows)}]}}', media_type="application/json")


def _answered(behind: Backend, request: SearchRequest) -> str:
    """Written as JSON in the same thread; FastAPI would build the matches a second time, on the loop (20 ms)."""
    return behind.service.searching.search(request).model_dump_json()


@router.post("/api/uploads", openapi_extra={"requestBody": _A_FILE})
async def upload(
    request: Request,
    behind: Behind,
    x_original_sha256: Annotated[str | None, Header(pattern="^[0-9a-fA-F]{64}$", description="the body is a copy of this file")] = None,
    x_original_size: Annotated[str | None, Header(pattern="^[1-9][0-9]{0,5}x[1-9][0-9]{0,5}$", description="its pixels: 4032x3024")] = None,
) -> Upload:
    """A picture to search with: the file's bytes as the body, as large as `/api/library` says. The answer's id goes into a search.

    Or a smaller copy of it, with both headers: where the library has the original, it is searched with that one's vector, and marked.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
    original = None
    if x_original_sha256 is not None and x_original_size is not None:
        width, height = map(int, x_original_size.split("x"))
        original = Original(bytes.fromhex(x_original_sha256), width, height)
    return await behind.work.run(behind.service.pictures.upload, bytes(data), original)


@router.post("/api/addresses")
async def address(request: Address, behind: Behind) -> Upload:
    """A picture by its address, where the server's owner allows that; public http(s) addresses only."""
    return await behind.fetches.run(behind.service.pictures.fetched, request.url)


@router.get("/api/uploads/{id}/view", response_class=Response, responses=of_bytes("image/jpeg"))
async def upload_view(
    id: str, behind: Behind, full: Annotated[bool, Query(description="all its pixels, up to 24 million")] = False
) -> Response:
    """A picture that was sent, re-encoded, at most 1600 pixels wide or high."""
    view = await behind.work.run(behind.service.pictures.upload_view, id, full=full)
    return Response(view, media_type="image/jpeg", headers=FOR_EVER)
