"""The server's life: take the library, listen, say the address, open the browser, serve until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import cast

import uvicorn

from .. import given
from ..advice import Advice, Setting
from ..config import OWN_MEGABYTES, OWN_MEGAPIXELS, PAGE_BACKLOG, PAGE_ENDING_SECONDS, PAGE_IDLE_SECONDS, PAGE_PORT
from ..engine import ImageSearchEngine
from ..errors import ImageSearchError, UsageError
from ..paths import from_bytes, place_of
from .app import create_app
from .protocol import DeadlineProtocol
from .security import App, Guard, Keys
from .service import Service, Shared

__all__ = ["PageServer", "PageSettings", "serve"]

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


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
        hosts: further names under which a proxy in front of it is reached.
        max_megapixels, max_megabytes: as in `ImageSearchEngine`; None: 200 each for the page of one's own machine; where others may reach
            it, the engine's.
    """

    library: str | os.PathLike[str] | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    folders: Sequence[str | os.PathLike[str]] = ()
    urls: bool = False
    hosts: Sequence[str] = ()
    model: str | None = None
    runtime: str | None = None
    store: str | None = None
    max_megapixels: float | None = None
    max_megabytes: float | None = None

    @property
    def local(self) -> bool:
        """Only this machine reaches it, and no proxy."""
        return _is_local(self.host) and not self.hosts


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
        self.host = given.text(settings.host, "host")
        folders = tuple(_folder(folder) for folder in given.paths(settings.folders, "the folder"))
        hosts, urls = given.texts(settings.hosts, "hosts"), given.truth(settings.urls, "urls")
        self.socket = _listen(self.host, None if settings.port is None else given.whole(settings.port, "port", least=0, most=65535))
        try:
            self.port = int(self.socket.getsockname()[1])
            self.keys = Keys(self.port)
            self.engine = ImageSearchEngine(
                settings.library,
                model=settings.model,
                runtime=settings.runtime,
                store=settings.store,
                max_megapixels=OWN_MEGAPIXELS if settings.max_megapixels is None and settings.local else settings.max_megapixels,
                max_megabytes=OWN_MEGABYTES if settings.max_megabytes is None and settings.local else settings.max_megabytes,
                long_lived=True,
                notify=notify,
            )
            self.engine.hold_writer_lock("page")
        except BaseException:
            self.socket.close()
            raise
        demo_folder = self.engine.library.parent / "sample-gallery"
        self.service = Service(self.engine, Shared(folders=folders, urls=urls, demo_folder=demo_folder))
        self.app = create_app(self.service)
        self.guard = self._guarded(hosts)
        self._ending: asyncio.Event = self.app.state.backend.ending
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # one line for each malformed request would be a flood
        self._server = _Server(_configured(self.guard, protocol), self._ending)

    def _guarded(self, hosts: Sequence[str]) -> Guard:
        everywhere = not _is_local(self.host)
        return Guard(
            cast(App, self.app),
            self.keys,
            names=LOCAL | {self.host.lower()} | ({socket.gethostname().lower()} if everywhere else set()),
            port=self.port,
            everywhere=everywhere,
            proxied=frozenset(name.lower() for name in hosts),
            upload_bytes=self.engine.decoders.of_sent.file_bytes,
        )

    @property
    def address(self) -> str:
        """Opens the page; it carries the key."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/?token={self.keys.token}"

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
    print(f"The page: {server.address}", flush=True)
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
