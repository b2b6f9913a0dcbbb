"""The files themselves: one to take along; opened, or shown in its folder, for whoever sits at this machine."""

from __future__ import annotations

import ipaddress

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from .. import originals
from . import NOT_KEPT, Behind, of_bytes

__all__ = ["at_this_machine", "router"]

router = APIRouter(tags=["library"])

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")  # a proxy's marks: who asks is elsewhere


def at_this_machine(request: Request) -> bool:
    """Does whoever asks sit here? The connection comes from this machine, under a name of this machine, and nobody passed it on."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback and request.url.hostname in _LOCAL and not any(name in request.headers for name in _PASSED_ON)


def _only_here(request: Request) -> None:
    if not at_this_machine(request):
        raise HTTPException(403, "files are opened only for who uses the page on the machine where they lie")


_Here = [Depends(_only_here)]


@router.get("/api/images/{id}/file", response_class=Response, responses=of_bytes("application/octet-stream"))
async def file(id: str, behind: Behind) -> Response:
    """Its file, byte for byte as it was indexed."""
    found = await behind.work.run(originals.original, behind.service.library, id)
    headers = {"Content-Disposition": originals.attachment(found.name), "Content-Length": str(found.size), **NOT_KEPT}
    return StreamingResponse(found.blocks, media_type="application/octet-stream", headers=headers)


@router.post("/api/images/{id}/open", status_code=204, response_class=Response, dependencies=_Here)
async def open_file(id: str, behind: Behind) -> None:
    """Open its file with the desktop's program, where the page is used on the machine itself."""
    await behind.lookups.run(originals.open_in_program, behind.service.library, id)


@router.post("/api/images/{id}/reveal", status_code=204, response_class=Response, dependencies=_Here)
async def reveal(id: str, behind: Behind) -> None:
    """Show its file in its folder, where the page is used on the machine itself."""
    await behind.lookups.run(originals.show_in_folder, behind.service.library, id)
