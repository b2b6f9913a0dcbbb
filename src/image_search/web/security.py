"""Who may ask at all. Every request passes here first, static files included; every answer leaves with the same strict headers.

Host                must be one of ours: a stranger's name that leads to this machine (DNS rebinding) opens nothing
Origin              if there is one it must be ours, "null" is not; what changes something needs it, or a token in a header
Sec-Fetch-Site      other sites get nothing, other ports of this machine neither; only a link to the page itself may come from anywhere
token, cookie       the address that is printed carries the token; it becomes a SameSite=Strict, HttpOnly cookie
size and time       of a body are counted while it comes, before anything looks at it
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import json
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException

from ..config import MIB, PAGE_BODY_SECONDS, PAGE_BUFFERED_BYTES, PAGE_DRAIN_SECONDS, PAGE_JSON_BYTES, UPLOAD_LIMITS

__all__ = ["Guard", "Keys", "allowed_host", "split_host"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

UPLOAD_PATH = "/api/uploads"

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


class Keys:
    """The secret of one server: the token in its address, and what its cookie holds."""

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(24)
        self.session = secrets.token_urlsafe(24)
        self.cookie = f"image-search-{port}"  # cookies do not tell ports apart, names do

    def header(self) -> str:
        return f"{self.cookie}={self.session}; Path=/; HttpOnly; SameSite=Strict"


def split_host(value: str) -> tuple[str, int | None] | None:
    """("127.0.0.1", 80) from a Host header; None if it is none."""
    try:
        parts = urlsplit(f"//{value}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.netloc != value or "@" in value or any(c in value for c in "/?#\\ \t"):
        return None
    return parts.hostname.lower().rstrip("."), port


def allowed_host(host: str, names: frozenset[str], everywhere: bool) -> bool:
    """Ours by name; or, when listening beyond this machine, any bare address: a rebinding attack needs a name."""
    if host in names:
        return True
    if not everywhere:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware around the whole application.

    Args:
        names: host names and addresses that are ours, lower case.
        port: that we listen on; another one in Host is refused unless `proxied`.
        everywhere: listening beyond this machine.
        proxied: names the owner gave for a proxy in front of us: any port, http or https.
        upload_bytes: of a picture that is sent.
    """

    body_seconds = PAGE_BODY_SECONDS

    def __init__(
        self,
        app: App,
        keys: Keys,
        *,
        names: frozenset[str],
        port: int,
        everywhere: bool,
        proxied: frozenset[str],
        upload_bytes: int = UPLOAD_LIMITS.file_bytes,
    ) -> None:
        self._app = app
        self._keys = keys
        self._names = names
        self._port = port
        self._everywhere = everywhere
        self._proxied = proxied
        self.upload_bytes = upload_bytes
        self._buffered = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":  # nothing here speaks websockets
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        headers: dict[str, list[str]] = {}
        for raw_name, raw_value in scope["headers"]:
            headers.setdefault(raw_name.decode("latin-1").lower(), []).append(raw_value.decode("latin-1"))
        body = _Body(self, scope, headers, receive)
        changes = scope["method"] not in ("GET", "HEAD")
        with_token = self._has_token(headers)
        wrong = (
            self._wrong_host(headers)
            or self._wrong_origin(headers, changes, with_token)
            or self._wrong_site(scope, headers)
            or (body.too_large and _Refusal(413, "TooLarge", f"more than {body.limit // MIB or 1} MB are not taken", "save it smaller"))
        )
        cookie = None
        if not wrong and not with_token and not self._has_cookie(headers):
            if scope["path"] == "/" and self._token_in_address(scope):
                cookie = self._keys.header()
            else:
                wrong = _Refusal(401, "NotAllowed", "open the address that image-search printed when it started", "It carries the key")
        answer = _Answer(send, body, cookie, scope)
        try:
            if wrong:
                await body.drain()
                await answer.refuse(wrong)
            else:
                await self._app(scope, body.receive, answer.send)
        finally:
            self._buffered -= body.counted

    # --- checks: None, or the refusal ---------------------------------------------------------------------------------------

    def _is_ours(self, value: str) -> bool:
        parts = split_host(value)
        if parts is None:
            return False
        host, port = parts
        return host in self._proxied or ((port or 80) == self._port and allowed_host(host, self._names, self._everywhere))

    def _wrong_host(self, headers: dict[str, list[str]]) -> _Refusal | None:
        values = headers.get("host", [])
        if len(values) == 1 and self._is_ours(values[0]):
            return None
        return _Refusal(
            421, "WrongHost", "this server does not answer under that name", "allow it with: image-search serve --allow-host NAME"
        )

    def _wrong_origin(self, headers: dict[str, list[str]], changes: bool, with_token: bool) -> _Refusal | None:
        values = headers.get("origin", [])
        if not values:
            if not changes or with_token:
                return None
            return _Refusal(403, "WrongOrigin", "a change must come from the page itself", "or send the token: Authorization: Bearer TOKEN")
        if len(values) == 1:
            scheme, _, host = values[0].partition("://")
            # The whole of Host and Origin must agree, so that one of our names cannot speak for another.
            if scheme in ("http", "https") and self._is_ours(host) and host.lower() == headers["host"][0].lower():
                return None
        return _Refusal(403, "WrongOrigin", "requests from other pages are refused", "")

    def _wrong_site(self, scope: Message, headers: dict[str, list[str]]) -> _Refusal | None:
        site = headers.get("sec-fetch-site", ["none"])
        if len(site) == 1 and site[0] in ("none", "same-origin"):
            return None
        link = headers.get("sec-fetch-mode") == ["navigate"] and headers.get("sec-fetch-dest", ["document"]) == ["document"]
        if link and scope["method"] == "GET" and scope["path"] == "/":
            return None
        return _Refusal(403, "WrongSite", "requests from other pages are refused", "")

    def _has_token(self, headers: dict[str, list[str]]) -> bool:
        given = headers.get("authorization", [])
        return len(given) == 1 and _same(given[0], f"Bearer {self._keys.token}")

    def _has_cookie(self, headers: dict[str, list[str]]) -> bool:
        # By hand: other programs of this machine set cookies for the same host, and a parser gives up at the first that is malformed.
        pairs = (pair.strip().partition("=") for value in headers.get("cookie", []) for pair in value.split(";"))
        return any(name == self._keys.cookie and _same(value, self._keys.session) for name, _, value in pairs)

    def _token_in_address(self, scope: Message) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return scope["method"] == "GET" and len(given) == 1 and _same(given[0], self._keys.token)

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
                raise HTTPException(413, f"more than {self.limit // MIB or 1} MB are not taken")
            if not room:
                raise HTTPException(503, "too many uploads at once", {"Retry-After": "2"})
        return message

    async def drain(self) -> None:
        """Take a small body off the line: closing with it unread would reset the connection, and the answer would be lost."""
        if self.too_large:
            return
        self._deadline = min(self._deadline, time.monotonic() + PAGE_DRAIN_SECONDS)
        self.limit = PAGE_JSON_BYTES
        with contextlib.suppress(HTTPException):
            while not self.complete and (await self.receive())["type"] == "http.request":
                pass


class _Answer:
    """Adds the headers that every answer carries, and closes a connection whose request was not read to its end."""

    def __init__(self, send: Send, body: _Body, cookie: str | None, scope: Message) -> None:
        self._send = send
        self._body = body
        self._cookie = cookie
        self._plain = not scope["path"].startswith("/api/")  # somebody reads it in a browser

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", []), *HEADERS]
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
            if self._cookie is not None:
                headers.append((b"set-cookie", self._cookie.encode()))
            if not self._body.complete:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, refusal: _Refusal) -> None:
        status, code, message, hint = refusal
        problem = {"code": code, "message": message, "hint": hint, "reason": ""}
        sentences = ". ".join(f"{part[0].upper()}{part[1:]}" for part in (message, hint) if part)
        data = (f"{sentences}\n" if self._plain else json.dumps(problem)).encode()
        kind = b"text/plain; charset=utf-8" if self._plain else b"application/json"
        headers = [(b"content-type", kind), (b"content-length", str(len(data)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": data})


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "replace"), right.encode())
