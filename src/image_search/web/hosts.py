"""Under which names the page may be reached. A stranger's name that leads to this machine (DNS rebinding) must open nothing.

What a rebinding attack needs is a name whose address it can change. A bare address is none, `localhost` is the browser's own, and a
name that the owner gave is the owner's. So a pattern may leave open what only its own holder can fill in, and nothing else.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..advice import Advice, Setting
from ..errors import UsageError

__all__ = ["LOCAL", "Hosts", "Pattern", "pattern", "split_host"]

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_PATTERN = re.compile(rf"(?P<below>\*\.)?(?P<name>\[[0-9a-f:.]+\]|{_LABEL}(?:\.{_LABEL})*\.?)(?::(?P<port>\*|[0-9]{{1,5}}))?")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A name that is ours.

    Attributes:
        name: lower case, without the star.
        below: all names below it, and not it.
        port: None: any.
    """

    name: str
    below: bool
    port: int | None

    def fits(self, host: str, port: int | None) -> bool:
        """`port`: None where the Host header names none: that of http or https."""
        named = host.endswith(f".{self.name}") and host[0] != "." if self.below else host == self.name
        return named and (self.port is None or self.port == port or (port is None and self.port in (80, 443)))


def pattern(text: str) -> Pattern:
    """NAME, NAME:PORT, NAME:*, *.NAME and those with a port; a name alone is good at any port, as before a proxy.

    UsageError for what would let in names that are not the owner's: a star alone, one below a top-level domain (anyone can have
    evil.com; only *.localhost is the browser's own), one inside a word, one in an address.
    """
    hint = Advice("for example ", Setting("hosts", "photos.example.com"), ", or *.example.com, or localhost:*")
    wanted = text.strip().lower()
    if _is_address(wanted):  # ::1 without its brackets, too
        return Pattern(wanted, below=False, port=None)
    parts = _PATTERN.fullmatch(wanted)
    if parts is None:
        what = "a star stands for whole words before a name, or for a port" if "*" in wanted else "this is no name of a host"
        raise UsageError(f"{what}: {text}", hint=hint)
    name, below, port = parts["name"].strip("[]").rstrip("."), parts["below"] is not None, parts["port"]
    if below and (_is_address(name) or ("." not in name and name != "localhost")):
        raise UsageError(f"anybody can have such a name, and lead it to this machine: {text}", hint=hint)
    return Pattern(name, below, None if port in (None, "*") else int(port))


@dataclass(frozen=True, slots=True)
class Hosts:
    """All names of one server.

    Attributes:
        names: those of the address that it listens on, lower case.
        port: that it listens on, at which those names are good.
        everywhere: it listens beyond this machine. Then any bare address is ours, at any port, and so is localhost: a container's
            ports are others outside.
        given: by the owner.
    """

    names: frozenset[str]
    port: int
    everywhere: bool
    given: tuple[Pattern, ...] = ()

    def fits(self, value: str) -> bool:
        """Is this Host header one of ours?"""
        parts = split_host(value)
        if parts is None:
            return False
        host, port = parts
        if host in self.names and (port or 80) == self.port:
            return True
        if self.everywhere and (host in LOCAL or _is_address(host)):
            return True
        return any(each.fits(host, port) for each in self.given)


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


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
