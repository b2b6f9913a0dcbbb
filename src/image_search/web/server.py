"""The server: what a start has taken, with the application and its guard behind it, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn

from ..config import PAGE_ENDING_SECONDS, PAGE_IDLE_SECONDS
from ..signals import Patience
from .app import create_app
from .kept import forget_all, sweep_others, uploads_folder
from .keys import place_name, uploads_key
from .protocol import DeadlineProtocol
from .security import App, Guard
from .service import Service, Shared
from .start import PageSettings, Start
from .uploads import Uploads

__all__ = ["PageServer", "PageSettings"]


class _Server(uvicorn.Server):
    """Ctrl-C and SIGTERM are how a server is meant to end: it ends in order, and nothing is raised afterwards."""

    def __init__(self, config: uvicorn.Config, ending: asyncio.Event) -> None:
        super().__init__(config)
        self._ending = ending
        self._told = Patience()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._told.asked_before(sig):  # to uvicorn a second one means: cut everything off, with a trace
            return
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
        settings: or the start that was made of them.
        notify: gets one line for each thing worth knowing; None: the log "image_search".
        protocol: of its connections.

    Raises:
        LibraryBusyError: another process writes to the library. UsageError: the port is taken, no such folder or host.
    """

    def __init__(
        self,
        settings: PageSettings | Start,
        *,
        notify: Callable[[str], None] | None = None,
        protocol: type[DeadlineProtocol] = DeadlineProtocol,
    ) -> None:
        self.start = start = settings if isinstance(settings, Start) else Start(settings, notify)
        self.engine, self.port, self.keys, self.address = start.engine, start.port, start.keys, start.address
        demo_folder = self.engine.library.parent / "sample-gallery"
        shared = Shared(folders=start.folders, urls=start.settings.urls, demo_folder=demo_folder, watch=start.settings.watch)
        upload_bytes = self.engine.decoders.of_sent.file_bytes
        uploads = _uploads(self.engine.library, start.secret, start.settings.new_key, upload_bytes)
        self.service = Service(self.engine, shared, uploads)
        self.app = create_app(self.service, start.root)
        self.guard = Guard(cast(App, self.app), self.keys, hosts=start.hosts, root=start.root, upload_bytes=upload_bytes)
        self._ending: asyncio.Event = self.app.state.backend.ending
        if self.service.watching is not None:
            self.service.watching.when_lost = self.stop
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # one line for each malformed request would be a flood
        self._server = _Server(_configured(self.guard, protocol), self._ending)

    @property
    def started(self) -> bool:
        return self._server.started

    def run(self) -> None:
        """Raises LibraryError: the library was watched, and is gone."""
        try:
            self._server.run(sockets=[self.start.socket])
        finally:
            self.service.close()  # also where it ended before it began
            self.start.socket.close()
        if self.service.watching is not None and self.service.watching.lost is not None:
            raise self.service.watching.lost

    def stop(self) -> None:
        self._ending.set()
        self._server.should_exit = True


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


def _uploads(library: Path, secret: bytes | None, renewed: bool, largest: int) -> Uploads:
    """Pictures that are given are kept as long as the key is."""
    if secret is None:
        return Uploads(largest=largest)
    folders = uploads_folder()
    folder = folders / place_name(library)
    if renewed:
        forget_all(folder)
    sweep_others(folders)
    return Uploads(uploads_key(secret), folder, largest)
