"""Fetches a picture from an address: http(s) only, public hosts only unless allowed, bounded in time, bytes and redirects.

The host is resolved once, and the connection goes to the address that was checked, so that a name which changes its address between
check and connection (DNS rebinding) gains nothing. Every redirect is checked in the same way. Proxies of the environment are not used.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from ..advice import Advice, Setting
from ..config import MIB, UPLOAD_LIMITS, URL_ADDRESSES, URL_REDIRECTS, URL_SECONDS
from ..errors import QueryError

if TYPE_CHECKING:
    import httpcore

__all__ = ["fetch", "is_address", "is_public"]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NOT_PUBLIC = [  # which Python calls global: site-local; local-use NAT64; IPv4-compatible; IPv4-translated
    ipaddress.ip_network(net) for net in ("fec0::/10", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")
]


def is_address(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def is_public(address: str) -> bool:
    """Is this IP address one of the open internet, also when an IPv4 address hides inside an IPv6 one?"""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if any(ip in net for net in _NOT_PUBLIC):
            return False
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if any(v4 is not None and not is_public(str(v4)) for v4 in inner):
            return False
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
    return ip.is_global and not ip.is_multicast


def fetch(
    url: str,
    *,
    allow_private: bool = False,
    seconds: float = URL_SECONDS,
    max_bytes: int = UPLOAD_LIMITS.file_bytes,
    redirects: int = URL_REDIRECTS,
) -> bytes:
    """The bytes behind an address.

    Args:
        allow_private: also addresses of this machine and of local networks.
        seconds: for everything together, resolving and redirects included.
        max_bytes: of the body.

    Raises:
        QueryError: in one line, without telling open ports from closed ones.
    """
    import httpcore

    deadline = time.monotonic() + seconds
    try:
        current = _in_ascii(url)
        with httpcore.ConnectionPool(network_backend=_checked_backend(allow_private, deadline), max_connections=1) as pool:
            for _ in range(redirects + 1):
                _check_url(current, url)
                with pool.stream("GET", current, headers=_headers(current)) as response:
                    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers}
                    if response.status in (301, 302, 303, 307, 308) and "location" in headers:
                        current = _in_ascii(urljoin(current, headers["location"].encode("latin-1").decode(errors="surrogateescape")))
                        continue
                    return _body(url, response, headers, max_bytes, deadline)
    except (TimeoutError, httpcore.TimeoutException) as error:
        raise QueryError(
            f"the address gave no picture within {seconds:.0f} seconds", path=url, hint="try again, or save the picture first"
        ) from error
    except _RefusedError as error:
        raise QueryError(
            "this address is on a private network and is not fetched",
            path=url,
            hint=Advice("allow it with ", Setting("allow_private_urls", "True")),
        ) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError, ValueError) as error:
        raise QueryError("the address cannot be reached", path=url, hint="check it in a browser, or save the picture first") from error
    raise QueryError(f"the address was redirected more than {redirects} times", path=url, hint="give the picture's own address")


def _headers(url: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"Host", urlsplit(url).netloc.encode("ascii")),
        (b"Accept", b"image/*"),
        (b"Accept-Encoding", b"identity"),  # a gzip bomb has no way in
        (b"User-Agent", b"ai-image-search-engine"),
    ]


def _in_ascii(url: str) -> str:
    """As it goes over the wire: the host in IDNA, other letters percent-encoded. UnicodeError (a ValueError) for a host that is no name."""
    if url.isascii():
        return url
    parts = urlsplit(url)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    path, query = (quote(text, safe="/%:@!$&'()*+,;=~?", errors="surrogateescape") for text in (parts.path, parts.query))
    return urlunsplit((parts.scheme, host, path, query, ""))


def _check_url(current: str, asked: str) -> None:
    parts = urlsplit(current)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise QueryError("only http and https addresses are fetched", path=asked, hint="save the picture and give the file")
    if parts.username is not None or parts.password is not None:
        raise QueryError("addresses with a user name in them are not fetched", path=asked, hint="save the picture and give the file")


def _body(url: str, response: httpcore.Response, headers: dict[str, str], max_bytes: int, deadline: float) -> bytes:
    if response.status != 200:
        raise QueryError(f"the server answered {response.status}", path=url, hint="check the address in a browser")
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise QueryError("the server sent the picture in a packed form", path=url, hint="save the picture and give the file")
    if headers.get("content-type", "").lower().startswith("text/html"):
        raise QueryError("the address shows a web page, not a picture", path=url, hint="give the address of the picture itself")
    length = headers.get("content-length", "")
    body = bytearray()
    if not (length.isascii() and length.isdigit() and int(length) > max_bytes):
        for chunk in response.iter_stream():
            body += chunk
            if time.monotonic() > deadline:
                raise TimeoutError
            if len(body) > max_bytes:
                break
        else:
            return bytes(body)
    hint = Advice("save it and give the file, or raise the limit with ", Setting("max_megabytes"))
    raise QueryError(f"the picture is larger than {max_bytes / MIB:g} MB", path=url, hint=hint)


class _RefusedError(Exception):
    """No address of this host may be connected to."""


def _checked_backend(allow_private: bool, deadline: float) -> Any:
    """A network backend of httpcore that connects to checked addresses only and ends at the deadline."""
    import httpcore

    system = httpcore.SyncBackend()

    def left() -> float:
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout("deadline")
        return seconds

    class Stream(httpcore.NetworkStream):
        """Each byte that trickles in renews no deadline."""

        def __init__(self, inner: httpcore.NetworkStream) -> None:
            self._inner = inner

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            return self._inner.read(max_bytes, left())

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._inner.write(buffer, left())

        def close(self) -> None:
            self._inner.close()

        def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> httpcore.NetworkStream:
            return Stream(self._inner.start_tls(ssl_context, server_hostname, left()))

        def get_extra_info(self, info: str) -> Any:
            return self._inner.get_extra_info(info)

    class Backend(httpcore.NetworkBackend):
        def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> httpcore.NetworkStream:
            addresses = _resolve(host, port, left())
            allowed = [a for a in addresses if allow_private or is_public(a)]
            if not allowed:
                raise _RefusedError(host)
            *others, last = allowed[:URL_ADDRESSES]
            for number, address in enumerate(others):  # one that is dead, often the IPv6 one, leaves time for the next
                with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                    seconds = left() / (len(others) + 1 - number)
                    return Stream(system.connect_tcp(address, port, seconds, local_address, socket_options))
            return Stream(system.connect_tcp(last, port, left(), local_address, socket_options))

    return Backend()


def _resolve(host: str, port: int, seconds: float) -> list[str]:
    """The host's addresses. In a thread, since the system's resolver knows no deadline."""
    found: list[str] = []
    errors: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            found.extend(str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            errors.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise OSError(f"cannot resolve {host}") from errors[0]
    if not found:
        raise TimeoutError
    return found
