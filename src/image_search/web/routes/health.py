"""Whether the server is there, for whatever watches it. Asked without a key, so it says nothing of the library."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.exceptions import HTTPException

from ..schemas import Health
from . import Behind

__all__ = ["router"]

router = APIRouter(tags=["server"])


@router.get("/api/health", openapi_extra={"security": []})
async def health(behind: Behind) -> Health:
    """It answers. The only request that needs no key."""
    if behind.ending.is_set():
        raise HTTPException(503, "the server is ending")
    return Health(status="ok")
