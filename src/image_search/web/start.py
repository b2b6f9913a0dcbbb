"""What a start takes before anything is served: the settings looked over, the socket, the library's lock, the keys.

Light on purpose: with these in hand the address is printed and the browser started, and only then FastAPI is imported, which takes as long
as all of this together. Who connects meanwhile waits in the socket's line.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import given
from ..advice import Advice, Setting
from ..config import OWN_MEGABYTES, OWN_MEGAPIXELS, PAGE_BACKLOG, PAGE_PORT
from ..engine import ImageSearchEngine
from ..errors import ImageSearchError, UsageError
from ..paths import from_bytes, place_of, shown
from .hosts import LOCAL, Hosts, Pattern, pattern
from .keys import Key, Keys, kept_secret, make_key_file, owners_key, read_key_file

__all__ = ["PageSettings", "Start"]


@dataclass(frozen=True, slots=True)
class PageSettings:
    """How one library is served.

    Attributes:
        library, model, runtime, store: as in `ImageSearchEngine`.
        host: address to listen on; anything but this machine's own must be meant.
        port: None: the usual one, or a free one if it is taken; 0: a free one.
        folders: may be indexed from the page, beside those in the library.
        watch: the library's folders are kept up to date.
        urls: pictures may be fetched from public addresses.
        hosts: further names under which a proxy or a container in front of it is reached, as `hosts.pattern` reads them.
        max_megapixels, max_megabytes: as in `ImageSearchEngine`; None: 200 each for the page of one's own machine; where others may reach
            it, the engine's.
        root_path: below which a proxy shows it, such as "/photos".
        key_file: a file of named keys, which then are the only ones; made with two keys if it is not there.
        new_key: renew the library's own key: the address printed before opens nothing any more.
        fresh_key: a key for this start alone, and nothing kept on the disk.
    """

    library: str | os.PathLike[str] | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    folders: Sequence[str | os.PathLike[str]] = ()
    urls: bool = False
    watch: bool = False
    hosts: Sequence[str] = ()
    root_path: str = ""
    key_file: str | os.PathLike[str] | None = None
    new_key: bool = False
    fresh_key: bool = False
    model: str | None = None
    runtime: str | None = None
    store: str | None = None
    max_megapixels: float | None = None
    max_megabytes: float | None = None


class Start:
    """Whoever has it serves the library, or closes it.

    Attributes:
        socket: listens already. engine: holds the library's lock.
        root: "" or "/photos". folders: that may be indexed.
        secret: the library's own, kept from start to start; None: there is none that lasts.
        keys, hosts: who gets in, and under which names.
    """

    def __init__(self, settings: PageSettings, notify: Callable[[str], None] | None = None) -> None:
        self.settings = settings = _checked(settings)
        self.root = _root_path(settings.root_path)
        named = _named_keys(settings, notify)
        others = tuple(pattern(host) for host in settings.hosts)
        self.folders = tuple(_folder(folder) for folder in settings.folders)
        self.socket = _listen(settings.host, settings.port)
        own = self.local and not others
        try:
            self.port = int(self.socket.getsockname()[1])
            self.engine = ImageSearchEngine(
                settings.library,
                model=settings.model,
                runtime=settings.runtime,
                store=settings.store,
                max_megapixels=OWN_MEGAPIXELS if settings.max_megapixels is None and own else settings.max_megapixels,
                max_megabytes=OWN_MEGABYTES if settings.max_megabytes is None and own else settings.max_megabytes,
                long_lived=True,
                notify=notify,
            )
            self.engine.hold_writer_lock("page")
        except BaseException:
            self.socket.close()
            raise
        self.secret = _secret(settings, self.engine.library, notify)
        keys = named or [owners_key(self.secret or secrets.token_bytes(32))]
        self.keys = Keys(keys, self.port, path=self.root, lasting=bool(named or self.secret))
        self.hosts = self._hosts(others)

    @property
    def local(self) -> bool:
        """Only this machine reaches it."""
        return _is_local(self.settings.host)

    def _hosts(self, others: tuple[Pattern, ...]) -> Hosts:
        everywhere = not self.local
        names = LOCAL | {self.settings.host.lower()} | ({socket.gethostname().lower()} if everywhere else set())
        return Hosts(names, self.port, everywhere, others)

    @property
    def address(self) -> str:
        """Opens the page; it carries the key."""
        return f"{self.shown_address}?token={self.keys.token}"

    @property
    def shown_address(self) -> str:
        """Without the key."""
        host = "127.0.0.1" if self.settings.host in ("0.0.0.0", "::", "") else self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self.root}/"


def _checked(settings: PageSettings) -> PageSettings:
    """Each of its kind; what is the engine's is left to the engine."""
    return replace(
        settings,
        host=given.text(settings.host, "host"),
        port=None if settings.port is None else given.whole(settings.port, "port", least=0, most=65535),
        folders=given.paths(settings.folders, "the folder"),
        urls=given.truth(settings.urls, "urls"),
        watch=given.truth(settings.watch, "watch"),
        hosts=given.texts(settings.hosts, "hosts"),
        root_path=given.text(settings.root_path, "root_path"),
        key_file=None if settings.key_file is None else given.path(settings.key_file, "key_file"),
        new_key=given.truth(settings.new_key, "new_key"),
        fresh_key=given.truth(settings.fresh_key, "fresh_key"),
    )


def _is_local(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _folder(folder: str | os.PathLike[str]) -> str:
    path = from_bytes(place_of(folder))
    if not os.path.isdir(path):
        raise UsageError("there is no such folder", path=path, hint="give the folder that holds the images")
    return path


def _root_path(text: str) -> str:
    """ "" or "/photos"."""
    root = "/" + text.strip("/") if text.strip("/") else ""
    if root and (not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", root) or root.split("/")[1] in ("api", "static")):
        hint = Advice("for example ", Setting("root_path", "/photos"), "; it does not begin with /api or /static, which are the page's own")
        raise UsageError(f"this is no path for the page: {shown(text)}", hint=hint)
    return root


# --- keys -----------------------------------------------------------------------------------------------------------------------


def _named_keys(settings: PageSettings, notify: Callable[[str], None] | None) -> list[Key]:
    """Those of the key file; none if there is no such file."""
    if settings.new_key and settings.fresh_key:
        raise UsageError("a key is either renewed or good for this start only", hint=Advice("leave out ", Setting("fresh_key")))
    if settings.key_file is None:
        return []
    if settings.new_key or settings.fresh_key:
        raise UsageError("with a key file there is no other key to renew", hint="renew the keys in the file")
    file = Path(settings.key_file)
    if not os.path.lexists(file):
        make_key_file(file)
        (notify or logging.getLogger("image_search").info)(f"Made {shown(str(file))}: a key that may do all, and one that may only read.")
    return read_key_file(file)


def _secret(settings: PageSettings, library: Path, notify: Callable[[str], None] | None) -> bytes | None:
    """The library's own, kept from start to start; None where it is not to be kept, or cannot be."""
    if settings.fresh_key:
        return None
    tell = notify or logging.getLogger("image_search").warning
    try:
        secret, said = kept_secret(library, renew=settings.new_key)
    except OSError as error:
        tell(f"The key cannot be kept, and is good for this start only: {error.strerror or error}: {shown(error.filename or '')}")
        return None
    if said:
        tell(said)
    return secret


# --- listening ------------------------------------------------------------------------------------------------------------------


def _listen(host: str, port: int | None) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, PAGE_PORT if port is None else port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise UsageError(
            f"there is no address {host!r} to listen on", hint=Advice("leave out ", Setting("host"), ", or give an address of this machine")
        ) from error
    attempts = [address, (address[0], 0, *address[2:])] if port is None else [address]
    failure: OSError | None = None
    for wanted in attempts:
        sock = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # on Windows it would let two servers share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(wanted)
            sock.listen(PAGE_BACKLOG)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    assert failure is not None
    wrong = Setting("host") if failure.errno == errno.EADDRNOTAVAIL else Setting("port")
    where = host if port is None else f"{host}:{port}"
    raise ImageSearchError(f"cannot listen on {where}: {failure.strerror}", hint=Advice("choose another ", wrong)) from failure
