"""The server's life: take the library, listen, say the address, open the browser, serve until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import cast

import uvicorn

from ..engine import ImageSearchEngine
from ..errors import ImageSearchError, UsageError
from ..paths import from_bytes, place_of
from .app import create_app
from .protocol import DeadlineProtocol
from .security import App, Guard, Keys
from .service import Service, Shared

__all__ = ["DEFAULT_PORT", "PageServer", "serve"]

DEFAULT_PORT = 8417  # if it is taken and none was asked for, any free one
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


class PageServer:
    """One library on one port; `run` blocks until `stop` (or Ctrl-C).

    Args:
        library, model, runtime, store: as in `ImageSearchEngine`.
        host: address to listen on; anything but this machine's own must be meant.
        port: None: the usual one, or a free one if it is taken; 0: a free one.
        folders: may be indexed from the page, beside those in the library.
        urls: pictures may be fetched from public addresses.
        hosts: further names under which a proxy in front of it is reached.
        notify: gets one line for each thing worth knowing.

    Raises:
        LibraryBusyError: another process writes to the library. UsageError: the port is taken, no such folder or host.
    """

    def __init__(
        self,
        library: str | os.PathLike[str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        folders: Sequence[str | os.PathLike[str]] = (),
        urls: bool = False,
        hosts: Sequence[str] = (),
        notify: Callable[[str], None] | None = None,
        model: str | None = None,
        runtime: str | None = None,
        store: str | None = None,
        protocol: type[DeadlineProtocol] = DeadlineProtocol,
    ) -> None:
        allowed = tuple(_folder(folder) for folder in folders)
        self.socket = _listen(host, port)
        try:
            self.port = int(self.socket.getsockname()[1])
            self.host = host
            self.keys = Keys(self.port)
            self.engine = ImageSearchEngine(library, model=model, runtime=runtime, store=store, long_lived=True, notify=notify)
            self.engine.hold_writer_lock("page")
        except BaseException:
            self.socket.close()
            raise
        shared = Shared(folders=allowed, urls=urls, demo_folder=self.engine.library.parent / "sample-gallery")
        self.service = Service(self.engine, shared)
        self.app = create_app(self.service)
        everywhere = not _is_local(host)
        names = LOCAL | {host.lower()} | ({socket.gethostname().lower()} if everywhere else set())
        self.guard = Guard(
            cast(App, self.app), self.keys, names=names, port=self.port, everywhere=everywhere, proxied=frozenset(h.lower() for h in hosts)
        )
        config = uvicorn.Config(
            self.guard,
            http=protocol,
            ws="none",
            lifespan="on",
            access_log=False,  # what people search for is theirs
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=3,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # one line for each malformed request would be a flood
        self._server = _Server(config, self.app.state.ending)

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
        self.app.state.ending.set()
        self._server.should_exit = True


def serve(
    library: str | os.PathLike[str] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    folders: Sequence[str] = (),
    urls: bool = False,
    hosts: Sequence[str] = (),
    browser: bool = True,
    model: str | None = None,
    runtime: str | None = None,
    store: str | None = None,
    notify: Callable[[str], None],
) -> None:
    """Start the page, say its address, open it in a browser if that is wanted, and serve until Ctrl-C."""
    server = PageServer(
        library, host=host, port=port, folders=folders, urls=urls, hosts=hosts, notify=notify, model=model, runtime=runtime, store=store
    )
    print(f"The page: {server.address}", flush=True)
    if not _is_local(host):
        notify(
            f"Listening on {host}: everyone who can reach this machine and knows the key in the address can search and see these images,"
            " and what goes over the network is not encrypted. For more than a trusted network put a TLS proxy in front of it."
        )
    notify("It ends with Ctrl-C.")
    if browser:
        threading.Thread(target=_open_browser, args=(server.address,), daemon=True).start()
    server.run()
    notify("Ended.")


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
        family, _, _, _, address = socket.getaddrinfo(host, DEFAULT_PORT if port is None else port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"there is no address {host!r} to listen on", hint="leave out --host, or give an address of this machine"
        ) from error
    attempts = [address, (address[0], 0, *address[2:])] if port is None else [address]
    failure: OSError | None = None
    for wanted in attempts:
        sock = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # on Windows it would let two servers share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(wanted)
            sock.listen(256)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise ImageSearchError(
        f"cannot listen on {host}:{port}: {failure.strerror if failure else ''}", hint="choose another --port"
    ) from failure
