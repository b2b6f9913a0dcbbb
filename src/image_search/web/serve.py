"""The command's whole way: take what is needed, say the address, open the browser, serve until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

from ..paths import shown
from .start import PageSettings, Start

__all__ = ["serve"]


def serve(settings: PageSettings, *, notify: Callable[[str], None], browser: bool = True) -> None:
    """Start the page, say its address, open it in a browser if that is wanted, and serve until Ctrl-C."""
    start = Start(settings, notify)
    if settings.key_file is None:
        print(f"The page: {start.address}", flush=True)
    else:  # what is printed may end in a log, and these keys are meant to last
        print(f"The page: {start.shown_address}", flush=True)
        notify(f"It opens with a key of {shown(os.fspath(settings.key_file))}: {start.shown_address}?token=KEY")
    if not start.local:
        notify(
            f"Listening on {settings.host}: everyone who can reach this machine and knows the key in the address can search and see these"
            " images, and what goes over the network is not encrypted. For more than a trusted network put a TLS proxy in front of it."
        )
    notify("It ends with Ctrl-C.")
    if browser:
        threading.Thread(target=_open_browser, args=(f"{start.shown_address}?token={start.keys.ticket()}",), daemon=True).start()
    from .server import PageServer  # FastAPI: the browser starts meanwhile

    PageServer(start, notify=notify).run()
    notify("Ended.")


def _open_browser(address: str) -> None:
    import webbrowser

    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(address)
