"""The server's life: take the library, listen, say the address, open the browser, serve until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import re
import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn

from ..advice import Advice, Setting
from ..config import PAGE_BACKLOG, PAGE_ENDING_SECONDS, PAGE_IDLE_SECONDS, PAGE_PORT
from ..engine import ImageSearchEngine
from ..errors import ImageSearchError, UsageError
from ..paths import from_bytes, place_of, shown
from .app import create_app
from .hosts import LOCAL, Hosts, Pattern, pattern
from .kept import forget_all, sweep_others, uploads_folder
from .keys import Key, Keys, kept_secret, make_key_file, owners_key, place_name, read_key_file, uploads_key
from .protocol import DeadlineProtocol
from .security import App, Guard
from .service import Service, Shared
from .uploads import Uploads

__all__ = ["PageServer", "PageSettings", "serve"]


class _Server(uvicorn.Server):
    """Ctrl-C and SIGTERM are how a server is meant to end: it ends in order, and nothing is raised afterwards."""

    def __init__(self, config: uvicorn.Config, ending: asyncio.Event) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._ending.set()  # pages that watch the progress are let go: they would hold the server open
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class PageSettings:
    """How one library is served.

    Attributes:
        library, model, runtime, store: as in `ImageSearchEngine`.
        host: address to listen on; anything but this machine's own must be meant.
        port: None: the usual one, or a free one if it is taken; 0: a free one.
        folders: may be indexed from the page, beside those in the library.
        urls: pictures may be fetched from public addresses.
        hosts: further names under which a proxy or a container in front of it is reached, as `hosts.pattern` reads them.
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
    hosts: Sequence[str] = ()
    root_path: str = ""
    key_file: str | os.PathLike[str] | None = None
    new_key: bool = False
    fresh_key: bool = False
    model: str | None = None
    runtime: str | None = None
    store: str | None = None


class PageServer:
    """One library on one port; `run` blocks until `stop` (or Ctrl-C).

    Args:
        notify: gets one line for each thing worth knowing; None: the log "image_search".
        protocol: of its connections.

    Raises:
        LibraryBusyError: another process writes to the library. UsageError: the port is taken, no such folder or host.
    """

    def __init__(
        self, settings: PageSettings, *, notify: Callable[[str], None] | None = None, protocol: type[DeadlineProtocol] = DeadlineProtocol
    ) -> None:
        self.host = settings.host
        self.root = _root_path(settings.root_path)
        self.key_file = settings.key_file
        named = _named_keys(settings, notify)
        given = tuple(pattern(host) for host in settings.hosts)
        folders = tuple(_folder(folder) for folder in settings.folders)
        self.socket = _listen(settings.host, settings.port)
        try:
            self.port = int(self.socket.getsockname()[1])
            self.engine = ImageSearchEngine(
                settings.library,
                model=settings.model,
                runtime=settings.runtime,
                store=settings.store,
                long_lived=True,
                notify=notify,
            )
            self.engine.hold_writer_lock("page")
        except BaseException:
            self.socket.close()
            raise
        secret = _secret(settings, self.engine.library, notify)
        keys = named or [owners_key(secret or secrets.token_bytes(32))]
        self.keys = Keys(keys, self.port, path=self.root, lasting=bool(named or secret))
        demo_folder = self.engine.library.parent / "sample-gallery"
        shared = Shared(folders=folders, urls=settings.urls, demo_folder=demo_folder)
        self.service = Service(self.engine, shared, _uploads(self.engine.library, secret, settings.new_key))
        self.app = create_app(self.service, self.root)
        self.guard = Guard(cast(App, self.app), self.keys, hosts=self._hosts(given), root=self.root)
        self._ending: asyncio.Event = self.app.state.backend.ending
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # one line for each malformed request would be a flood
        self._server = _Server(_configured(self.guard, protocol), self._ending)

    def _hosts(self, given: tuple[Pattern, ...]) -> Hosts:
        everywhere = not _is_local(self.host)
        names = LOCAL | {self.host.lower()} | ({socket.gethostname().lower()} if everywhere else set())
        return Hosts(names, self.port, everywhere, given)

    @property
    def address(self) -> str:
        """Opens the page; it carries the key."""
        return f"{self.shown_address}?token={self.keys.token}"

    @property
    def shown_address(self) -> str:
        """Without the key."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self.root}/"

    @property
    def started(self) -> bool:
        return self._server.started

    def run(self) -> None:
        try:
            self._server.run(sockets=[self.socket])
        finally:
            self.service.close()  # also where it ended before it began
            self.socket.close()

    def stop(self) -> None:
        self._ending.set()
        self._server.should_exit = True


def serve(settings: PageSettings, *, notify: Callable[[str], None], browser: bool = True) -> None:
    """Start the page, say its address, open it in a browser if that is wanted, and serve until Ctrl-C."""
    server = PageServer(settings, notify=notify)
    if settings.key_file is None:
        print(f"The page: {server.address}", flush=True)
    else:  # what is printed may end in a log, and these keys are meant to last
        print(f"The page: {server.shown_address}", flush=True)
        notify(f"It opens with a key of {shown(os.fspath(settings.key_file))}: {server.shown_address}?token=KEY")
    if not _is_local(settings.host):
        notify(
            f"Listening on {settings.host}: everyone who can reach this machine and knows the key in the address can search and see these"
            " images, and what goes over the network is not encrypted. For more than a trusted network put a TLS proxy in front of it."
        )
    notify("It ends with Ctrl-C.")
    if browser:
        threading.Thread(target=_open_browser, args=(server.address,), daemon=True).start()
    server.run()
    notify("Ended.")


def _configured(guard: Guard, protocol: type[DeadlineProtocol]) -> uvicorn.Config:
    return uvicorn.Config(
        guard,
        http=protocol,
        ws="none",
        lifespan="on",
        access_log=False,  # what people search for is theirs
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=PAGE_IDLE_SECONDS,
        timeout_graceful_shutdown=PAGE_ENDING_SECONDS,
    )


def _open_browser(address: str) -> None:
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(address)


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


def _uploads(library: Path, secret: bytes | None, renewed: bool) -> Uploads:
    """Pictures that are given are kept as long as the key is."""
    if secret is None:
        return Uploads()
    folders = uploads_folder()
    folder = folders / place_name(library)
    if renewed:
        forget_all(folder)
    sweep_others(folders)
    return Uploads(uploads_key(secret), folder)


# --- listening ------------------------------------------------------------------------------------------------------------------


def _listen(host: str, port: int | None) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, PAGE_PORT if port is None else port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
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
