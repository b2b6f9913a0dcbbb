"""The command's whole way: take what is needed, say the address, open the browser, serve until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from ..paths import shown
from ..signals import Patience
from .start import PageSettings, Start

if TYPE_CHECKING:
    from .server import PageServer

__all__ = ["serve"]


def serve(settings: PageSettings, *, notify: Callable[[str], None], browser: bool = True) -> None:
    """Start the page, say its address, open it in a browser if that is wanted, and serve until Ctrl-C."""
    start = Start(settings, notify)
    ending = _Ending()
    with ending.heard():
        _say(start, notify)
        if browser:
            address = f"{start.shown_address}?token={start.keys.ticket()}"
            threading.Thread(target=_open_browser, args=(address,), daemon=True).start()
        from .server import PageServer  # FastAPI: the browser starts meanwhile

        ending.server = server = PageServer(start, notify=notify)
        if ending.told:
            server.stop()
        server.run()
    notify("Ended.")


def _say(start: Start, notify: Callable[[str], None]) -> None:
    file, host = start.settings.key_file, start.settings.host
    if file is None:
        print(f"The page: {start.address}", flush=True)
    else:  # what is printed may end in a log, and these keys are meant to last
        print(f"The page: {start.shown_address}", flush=True)
        notify(f"It opens with a key of {shown(os.fspath(file))}: {start.shown_address}?token=KEY")
    if not start.local:
        notify(
            f"Listening on {host}: everyone who can reach this machine and knows the key in the address can search and see these"
            " images, and what goes over the network is not encrypted. For more than a trusted network put a TLS proxy in front of it."
        )
    notify("It ends with Ctrl-C.")


class _Ending:
    """Ctrl-C and SIGTERM are the end that was announced, also before the server runs and hears them itself."""

    def __init__(self) -> None:
        self.told = False
        self.server: PageServer | None = None
        self._patience = Patience()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._patience.asked_before(number)
        self.told = True
        if self.server is not None:
            self.server.stop()

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        before = {number: signal.signal(number, self._hear) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _open_browser(address: str) -> None:
    import webbrowser

    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(address)
