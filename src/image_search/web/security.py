"""Who may ask at all. Every request passes here first, static files included; every answer leaves with the same strict headers.

Host                must be one of ours: a stranger's name that leads to this machine (DNS rebinding) opens nothing
Origin              if there is one it must be ours, "null" is not; what changes something needs it, or a token in a header
Sec-Fetch-Site      other sites get nothing, other ports of this machine neither; only a link to the page itself may come from anywhere
key, cookie         the address that is printed carries a key; it becomes a SameSite=Strict, HttpOnly cookie
role                a key that may only read gets no further with anything that changes something
size and time       of a body are counted while it comes, before anything looks at it
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

from ..config import MIB, PAGE_BODY_SECONDS, PAGE_BUFFERED_BYTES, PAGE_DRAIN_SECONDS, PAGE_JSON_BYTES, UPLOAD_LIMITS
from . import door
from .hosts import Hosts
from .keys import Key, Keys

__all__ = ["Guard"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

UPLOAD_PATH = "/api/uploads"
PAGES = frozenset({"/", "/api/docs"})  # what a person opens, with the key in the address and by a link from anywhere
NO_KEY = frozenset({"/api/health"})
# What a key that may only read may POST: it asks, with more than fits an address. All else that is no GET is refused to it, so a new route
# that changes something is closed to it from the beginning.
READING = frozenset(
    {"/api/search", "/api/search/batch", "/api/uploads", "/api/addresses", "/api/counts", "/api/facets", "/api/rows", "/api/looks"}
)

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = [
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]


class _Refusal(NamedTuple):
    status: int
    code: str
    message: str
    hint: str


_AMBIGUOUS = _Refusal(400, "Malformed", "a body has either Transfer-Encoding or Content-Length", "send one of them")


class Guard:
    """ASGI middleware around the whole application.

    Args:
        keys: that open it.
        hosts: under which it may be reached.
        root: the path below which a proxy shows it, "" or "/photos". Requests may come with it or without it: some proxies take it away.
        upload_bytes: of a picture that is sent.
    """

    body_seconds = PAGE_BODY_SECONDS

    def __init__(self, app: App, keys: Keys, *, hosts: Hosts, root: str = "", upload_bytes: int = UPLOAD_LIMITS.file_bytes) -> None:
        self._app = app
        self._keys = keys
        self._hosts = hosts
        self._root = root
        self.upload_bytes = upload_bytes
        self._buffered = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":  # nothing here speaks websockets
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(self._below_root(scope), receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        headers: dict[str, list[str]] = {}
        for raw_name, raw_value in scope["headers"]:
            headers.setdefault(raw_name.decode("latin-1").lower(), []).append(raw_value.decode("latin-1"))
        body = _Body(self, scope, headers, receive)
        changes = scope["method"] not in ("GET", "HEAD")
        by_token = self._key_in_header(headers)
        wrong: _Refusal | bool | None = (
            (body.ambiguous and _AMBIGUOUS)
            or self._wrong_host(headers)
            or self._wrong_origin(headers, changes, by_token is not None)
            or self._wrong_site(scope, headers)
            or (body.too_large and _Refusal(413, "TooLarge", f"more than {_amount(body.limit)} are not taken", "send less at once"))
        )
        cookie = None
        if not wrong:
            key = by_token or self._key_in_cookie(headers)
            if key is None and (key := self._key_in_address(scope)) is not None:
                cookie = self._keys.header(key)
            wrong = self._wrong_key(scope, key, changes)
            scope = {**scope, "state": {**scope.get("state", {}), "read_only": key is None or key.read_only}}
        answer = _Answer(send, body, cookie, scope, headers, self._root)
        try:
            if isinstance(wrong, _Refusal):
                await body.drain()
                await answer.refuse(wrong)
            elif scope["path"] == "" and not changes:
                await answer.go_home()
            else:
                await self._app(scope, body.receive, answer.send)
        finally:
            self._buffered -= body.counted

    def _below_root(self, scope: Message) -> Message:
        """The request as if there were no proxy; the path is "" for the root itself without its last "/"."""
        path = scope["path"]
        if not self._root or not (path == self._root or path.startswith(f"{self._root}/")):
            return scope
        return {**scope, "path": path[len(self._root) :], "raw_path": scope.get("raw_path", b"")[len(self._root) :]}

    # --- checks: None, or the refusal ---------------------------------------------------------------------------------------

    def _wrong_host(self, headers: dict[str, list[str]]) -> _Refusal | None:
        values = headers.get("host", [])
        if len(values) == 1 and self._hosts.fits(values[0]):
            return None
        return _Refusal(
            421, "WrongHost", "this server does not answer under that name", "allow it with: image-search serve --allow-host NAME"
        )

    def _wrong_origin(self, headers: dict[str, list[str]], changes: bool, with_token: bool) -> _Refusal | None:
        values = headers.get("origin", [])
        if not values:
            if not changes or with_token:
                return None
            return _Refusal(403, "WrongOrigin", "a change must come from the page itself", "or send the key: Authorization: Bearer KEY")
        if len(values) == 1:
            scheme, _, host = values[0].partition("://")
            # The whole of Host and Origin must agree, so that one of our names cannot speak for another.
            if scheme in ("http", "https") and self._hosts.fits(host) and host.lower() == headers["host"][0].lower():
                return None
        return _Refusal(403, "WrongOrigin", "requests from other pages are refused", "a proxy must pass the Host header on")

    def _wrong_site(self, scope: Message, headers: dict[str, list[str]]) -> _Refusal | None:
        site = headers.get("sec-fetch-site", ["none"])
        if len(site) == 1 and site[0] in ("none", "same-origin"):
            return None
        link = headers.get("sec-fetch-mode") == ["navigate"] and headers.get("sec-fetch-dest", ["document"]) == ["document"]
        if link and scope["method"] == "GET" and (scope["path"] or "/") in PAGES:
            return None
        return _Refusal(403, "WrongSite", "requests from other pages are refused", "")

    def _wrong_key(self, scope: Message, key: Key | None, changes: bool) -> _Refusal | None:
        if scope["path"] in NO_KEY and not changes:
            return None
        if key is None:
            return _Refusal(401, "NotAllowed", "open the address that image-search printed when it started", "it carries the key")
        if changes and key.read_only and scope["path"] not in READING:
            return _Refusal(
                403, "ReadOnly", "this key may look and search, and change nothing", "ask who runs it for a key that may do all"
            )
        return None

    # --- where a key is -----------------------------------------------------------------------------------------------------

    def _key_in_header(self, headers: dict[str, list[str]]) -> Key | None:
        given = headers.get("authorization", [])
        return self._keys.by_token(given[0].removeprefix("Bearer ")) if len(given) == 1 and given[0].startswith("Bearer ") else None

    def _key_in_cookie(self, headers: dict[str, list[str]]) -> Key | None:
        # By hand: other programs of this machine set cookies for the same host, and a parser gives up at the first that is malformed.
        pairs = (pair.strip().partition("=") for value in headers.get("cookie", []) for pair in value.split(";"))
        found = (self._keys.by_session(value) for name, _, value in pairs if name == self._keys.cookie)
        return next((key for key in found if key is not None), None)

    def _key_in_address(self, scope: Message) -> Key | None:
        if scope["method"] != "GET" or (scope["path"] or "/") not in PAGES:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return self._keys.by_token(given[0]) or self._keys.by_ticket(given[0]) if len(given) == 1 else None

    # --- memory -------------------------------------------------------------------------------------------------------------

    def take(self, count: int) -> bool:
        """Room for these bytes among all that are being received?"""
        self._buffered += count
        return self._buffered <= max(PAGE_BUFFERED_BYTES, self.upload_bytes)


class _Body:
    """A request's body on its way in: counted, and late after `body_seconds`."""

    def __init__(self, guard: Guard, scope: Message, headers: dict[str, list[str]], receive: Receive) -> None:
        self._guard = guard
        self._receive = receive
        self.limit = guard.upload_bytes if scope["path"] == UPLOAD_PATH else PAGE_JSON_BYTES
        longer = max(1.0, self.limit / UPLOAD_LIMITS.file_bytes)  # what may be larger may take as much longer
        self._deadline = time.monotonic() + guard.body_seconds * longer
        length = headers.get("content-length", ["0"])[0]
        self.expected = "transfer-encoding" in headers or length != "0"
        self.too_large = length.isascii() and length.isdigit() and int(length[:18]) > self.limit
        # A proxy in front of us may believe the one and we the other: what is the rest of a body here would be a request there.
        self.ambiguous = "transfer-encoding" in headers and "content-length" in headers
        self.counted = 0
        self.complete = not self.expected

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()  # waits for the client to go away
        try:
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(408, "the request took too long to arrive") from error
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            self.counted += count
            self.complete = not message.get("more_body", False)
            room = self._guard.take(count)
            if self.counted > self.limit:
                raise HTTPException(413, f"more than {_amount(self.limit)} are not taken")
            if not room:
                raise HTTPException(503, "too many uploads at once", {"Retry-After": "2"})
        return message

    async def drain(self) -> None:
        """Take a small body off the line: closing with it unread would reset the connection, and the answer would be lost."""
        if self.too_large or self.ambiguous:
            return
        self._deadline = min(self._deadline, time.monotonic() + PAGE_DRAIN_SECONDS)
        self.limit = PAGE_JSON_BYTES
        with contextlib.suppress(HTTPException):
            while not self.complete and (await self.receive())["type"] == "http.request":
                pass


def _amount(limit: int) -> str:
    return f"{limit // MIB} MB" if limit >= MIB else f"{limit // 1024} KB"


class _Answer:
    """Adds the headers that every answer carries, and closes a connection whose request was not read to its end."""

    def __init__(self, send: Send, body: _Body, cookie: str | None, scope: Message, headers: dict[str, list[str]], root: str) -> None:
        self._send = send
        self._body = body
        self._cookie = cookie
        self._scope = scope
        self._headers = headers
        self._root = root

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in message.get("headers", [])}
            headers = [*message.get("headers", []), *(pair for pair in HEADERS if pair[0] not in own)]
            if b"cache-control" not in own:
                headers.append((b"cache-control", b"no-store"))
            if self._cookie is not None:
                headers.append((b"set-cookie", self._cookie.encode()))
            if not self._body.complete:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, refusal: _Refusal) -> None:
        """JSON for programs, the small page for browsers, a line for whoever asks by hand."""
        status, code, message, hint = refusal
        more: list[tuple[bytes, bytes]] = []
        if self._scope["path"].startswith("/api/") and self._scope["path"] not in PAGES:
            kind, data = b"application/json", json.dumps({"code": code, "message": message, "hint": hint, "reason": ""}).encode()
        elif any("text/html" in value for value in self._headers.get("accept", [])):
            kind = b"text/html; charset=utf-8"
            korean = door.prefers_korean(",".join(self._headers.get("accept-language", [])))
            # Who follows a link from elsewhere comes without the strict cookie, whether he has one or not.
            again = code == "NotAllowed" and self._headers.get("sec-fetch-site", ["none"])[0] not in ("none", "same-origin")
            data = door.door(code, korean=korean, home=f"{self._root}/", again=again)
            more = [(b"content-security-policy", door.POLICY.encode())]
        else:
            kind = b"text/plain; charset=utf-8"
            data = f"{message[0].upper()}{message[1:]}{f' ({hint})' if hint else ''}.\n".encode()
        await self._whole(status, [(b"content-type", kind), *more], data)

    async def go_home(self) -> None:
        """From /photos to /photos/: what the page loads lies beside its address."""
        query = self._scope["query_string"]
        await self._whole(307, [(b"location", self._root.encode() + b"/" + (b"?" + query if query else b""))], b"")

    async def _whole(self, status: int, headers: list[tuple[bytes, bytes]], data: bytes) -> None:
        headers = [*headers, (b"content-length", str(len(data)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"" if self._scope["method"] == "HEAD" else data})
