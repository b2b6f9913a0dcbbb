"""HTTP/1.1 with deadlines: uvicorn waits for ever for a request that trickles in and for a reader that does not read.

Bodies have their deadline in `security`, which counts them anyway.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..config import PAGE_HEADER_SECONDS, PAGE_MAX_CONNECTIONS, PAGE_WRITE_SECONDS

__all__ = ["DeadlineProtocol"]


class DeadlineProtocol(H11Protocol):
    """One connection. Its limits are class attributes so that a test can shorten them."""

    header_seconds = PAGE_HEADER_SECONDS
    write_seconds = PAGE_WRITE_SECONDS
    max_connections = PAGE_MAX_CONNECTIONS

    _header_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        self._written()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._header_timer is None and self.conn.their_state is h11.IDLE:
            self._expect_headers()  # the first bytes of the next request; more of them win no time
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.their_state is not h11.IDLE:
            self._headers_came()

    def send_400_response(self, msg: str) -> None:
        """What comes is no HTTP, be it the rest of a body: whoever works on the request is told, for uvicorn does not, and would be
        answering a connection that it has closed."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # the answer is on its way already
            self.transport.abort()
            return
        super().send_400_response(msg)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._written()
        super().resume_writing()

    def _expect_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.header_seconds, self._too_late)

    def _headers_came(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _written(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _too_late(self) -> None:
        self._header_timer = None
        self.transport.abort()
