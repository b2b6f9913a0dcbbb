"""The images of the library: page by page, one by one, as a zip."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from ...config import PAGE_ROWS, PAGE_ZIP_FILES
from .. import browsing
from ..archive import zipped
from ..pictures import Shown
from ..schemas import Facts, ItemId, Page, RowsRequest, WallShown
from ..service import Service
from . import FOR_EVER, NOT_KEPT, Behind, of_bytes

__all__ = ["router"]

router = APIRouter(tags=["library"])


@router.get("/api/images")
async def images(
    behind: Behind,
    name: Annotated[str | None, Query(max_length=1000, description="only this class")] = None,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_ROWS)] = 100,
    start: Annotated[int | None, Query(ge=0, lt=2**31, description="from this place of the wall on, in its order")] = None,
    generation: Annotated[int, Query(ge=0, lt=2**63, description="which wall: as it said itself")] = 0,
) -> Page:
    """The library's images, page by page: by number (`after`), or in the order of the wall (`start`)."""
    if start is None:
        return await behind.lookups.run(browsing.page, behind.service.library, name, after, limit)
    return await behind.lookups.run(_of_wall, behind.service, generation, name, start, limit)


@router.get("/api/images/wall")
async def wall(behind: Behind, name: Annotated[str | None, Query(max_length=1000, description="only this class")] = None) -> WallShown:
    """The whole library by class and path, as shapes: to be laid out before anything of it is asked for."""
    return await behind.lookups.run(behind.service.walls.shown, name)


@router.post("/api/rows")
async def rows(request: RowsRequest, behind: Behind) -> Page:
    """Some images by their ids, without those that are no longer in the library."""
    return await behind.lookups.run(browsing.rows, behind.service.library, request.ids)


@router.get("/api/images/sample")
async def sample(behind: Behind, n: Annotated[int, Query(ge=1, le=100)] = 24) -> Page:
    """Some images from all over the library."""
    return await behind.lookups.run(browsing.sample, behind.service.library, n)


@router.get("/api/images.zip", response_class=Response, responses=of_bytes("application/zip"))
async def images_zip(behind: Behind, id: Annotated[list[ItemId], Query(min_length=1, max_length=PAGE_ZIP_FILES)]) -> Response:
    """Copies of these images' files, in this order."""
    chosen = await behind.lookups.run(behind.service.library.items, id)
    headers = {"Content-Disposition": 'attachment; filename="images.zip"', **NOT_KEPT}
    return StreamingResponse(
        zipped(chosen, browsing.Whereabouts(behind.service.library.reader)), media_type="application/zip", headers=headers
    )


@router.get("/api/images/{id}")
async def facts(id: str, behind: Behind) -> Facts:
    """What is known of one image."""
    return await behind.lookups.run(browsing.facts, behind.service.library, id)


@router.get("/api/images/{id}/thumbnail", response_class=Response, responses=of_bytes("image/webp"))
async def thumbnail(id: str, behind: Behind) -> Response:
    """Its small picture, 256 pixels."""
    return _answer(await behind.lookups.run(behind.service.pictures.thumbnail, id))


@router.get("/api/images/{id}/view", response_class=Response, responses=of_bytes("image/jpeg", "image/webp"))
async def view(id: str, behind: Behind, full: Annotated[bool, Query(description="all its pixels, up to 24 million")] = False) -> Response:
    """Its picture, re-encoded, at most 1600 pixels wide or high."""
    return _answer(await behind.work.run(behind.service.pictures.view, id, full=full))


def _of_wall(service: Service, generation: int, name: str | None, start: int, limit: int) -> Page:
    numbers = service.walls.numbers(generation, name, start, limit)
    if numbers is None:
        raise HTTPException(410, "the library has changed since: ask for the wall again")
    return browsing.numbered(service.library, numbers)


def _answer(picture: Shown) -> Response:
    return Response(picture.data, media_type=picture.media_type, headers=FOR_EVER if picture.lasting else NOT_KEPT)
