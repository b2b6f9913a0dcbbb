"""Copies, labels that may be wrong, the map: a long look in the background, then what it found, part by part."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException

from ...config import PAGE_GROUPS, PAGE_POINTS, PAGE_ROWS
from ..tidy_schemas import (
    DecisionRequest,
    DecisionRow,
    Decisions,
    GroupMembers,
    Groups,
    LabelsShown,
    LookRequest,
    LookState,
    MapPoints,
    Outliers,
    Suspects,
)
from . import Behind

__all__ = ["router"]

router = APIRouter(tags=["order in it"])

Run = Annotated[int, Query(ge=0, le=10**9, description="of the look, as it said itself; 410: it is no longer kept")]
Start = Annotated[int, Query(ge=0, le=10**9)]
Number = Annotated[int, Query(ge=0, le=10**9)]
Few = Annotated[int, Query(ge=1, le=PAGE_GROUPS)]
Some = Annotated[int, Query(ge=1, le=PAGE_ROWS)]
Class = Annotated[str | None, Query(max_length=1000)]


@router.post("/api/looks", status_code=202)
async def begin(asked: LookRequest, request: Request, behind: Behind) -> LookState:
    """Look for copies, at labels or for the map, in the background; 409: another look is in work."""
    if asked.fresh and asked.what == "map" and request.state.read_only:
        raise HTTPException(403, "this key may look and search, and not lay out the map anew")
    state = await behind.lookups.run(behind.service.tidying.begin, asked)
    if state is None:
        raise HTTPException(409, "another look is in work")
    return state


@router.get("/api/looks")
async def look(behind: Behind) -> LookState:
    """How far it is."""
    return behind.service.tidying.state()


@router.post("/api/looks/stop", status_code=202)
async def stop(behind: Behind) -> LookState:
    """Ask it to stop; what it found out about copies so far stays."""
    return behind.service.tidying.stop()


@router.get("/api/groups")
async def groups(behind: Behind, run: Run, start: Start = 0, limit: Few = 20) -> Groups:
    """Groups of copies, those first of which most bytes could be spared."""
    return await behind.lookups.run(behind.service.tidying.groups, run, start, limit)


@router.get("/api/groups/{id}")
async def group(id: int, behind: Behind, run: Run, start: Start = 0, limit: Some = 100) -> GroupMembers:
    """The files of one group, by its number."""
    if not 0 <= id <= 10**9:
        raise HTTPException(404, "there is no such group")
    return await behind.lookups.run(behind.service.tidying.members, run, id, start, limit)


@router.get("/api/decisions")
async def decisions(behind: Behind) -> Decisions:
    """What was decided of copies."""
    return await behind.lookups.run(behind.service.tidying.decisions)


@router.post("/api/decisions")
async def decide(asked: DecisionRequest, behind: Behind) -> DecisionRow:
    """Remember, by their content, that pictures are not the same, or may lie as they do; the next look shows them together no more."""
    return await behind.lookups.run(behind.service.tidying.decide, asked)


@router.post("/api/decisions/{id}/undo")
async def undo(id: int, behind: Behind) -> Decisions:
    """Forget one of them, by its number; the others are answered."""
    if not 0 < id <= 10**9:
        raise HTTPException(404, "there is no such decision")
    return await behind.lookups.run(behind.service.tidying.undo, id)


@router.get("/api/check")
async def labels(behind: Behind, run: Run) -> LabelsShown:
    """What a look at the labels found, in numbers: by class, and which classes mix."""
    return await behind.lookups.run(behind.service.tidying.labels, run)


@router.get("/api/check/suspects")
async def suspects(
    behind: Behind, run: Run, start: Start = 0, limit: Some = 100, name: Class = None, says: Class = None
) -> Suspects:  # fmt: skip
    """Pictures whose neighbours say another class; of the class `name`, with neighbours that say `says`, where these are given."""
    return await behind.lookups.run(behind.service.tidying.suspects, run, start, limit, name, says)


@router.get("/api/check/outliers")
async def outliers(behind: Behind, run: Run, start: Start = 0, limit: Some = 100) -> Outliers:
    """Pictures that are far from everything."""
    return await behind.lookups.run(behind.service.tidying.outliers, run, start, limit)


@router.get("/api/map")
async def map(
    behind: Behind, run: Run, start: Start = 0, limit: Annotated[int, Query(ge=1, le=PAGE_POINTS)] = PAGE_POINTS
) -> MapPoints:  # fmt: skip
    """Where the images lie."""
    return await behind.lookups.run(behind.service.tidying.map, run, start, limit)
