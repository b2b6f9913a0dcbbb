"""Ctrl-C and SIGTERM before the program can end in order and after it has: one line, and out. Imports next to nothing.

While everything else is still being imported nothing is under way that could be lost, and when all is said there is nothing left to do.
In between `cli/exits.py` ends the run in order.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False  # as in __init__.py
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

__all__ = ["ENDING", "Patience", "leave", "listen", "said", "say_at_the_end"]

ENDING = (signal.SIGINT, signal.SIGTERM)
PATIENCE_SECONDS = 2.0  # a run ends in order within them; who asks again after that is not to wait
_told = False
_line: str | None = None  # None: the usual one


def said(number: int) -> str:
    """The line for people, once; "" afterwards. No full stop."""
    global _told
    if _told:
        return ""
    _told = True
    if _line:
        return _line
    word = "terminated" if number == signal.SIGTERM else "interrupted"
    return word if _line is not None else f"{word}; everything done so far is safe, run the same command again to go on"


def say_at_the_end(line: str = "") -> None:
    """Of a run that does not go on where it was when it is begun again. `line`: of one that has no other end; "": its word alone."""
    global _line
    _line = line


def leave(number: int, frame: FrameType | None = None) -> NoReturn:
    """End the process now, whatever it is in the middle of."""
    try:
        if line := said(number):
            os.write(2, f"{line}\n".encode())
    except (OSError, ValueError):  # closed by who started us
        pass
    os._exit(128 + number)


def listen(handler: Callable[[int, FrameType | None], object] = leave, *, anew: bool = False) -> None:
    """From here on both signals are this handler's.

    Args:
        anew: another run begins in this process, which has a line of its own.
    """
    global _told, _line
    if anew:
        _told, _line = False, None
    for number in ENDING:
        try:
            signal.signal(number, handler)
        except ValueError:  # not in the main thread: whoever runs us there handles them
            return


class Patience:
    """Of someone who has asked for the end and asks again: shortly after the first time it is the same wish, later it means now."""

    def __init__(self) -> None:
        self.number = 0  # the first signal
        self._since = 0.0

    def asked_before(self, number: int) -> bool:
        """Called for each signal; False for the first. Does not come back for one that comes long after the first."""
        if not self.number:
            self.number, self._since = number, time.monotonic()
            return False
        if time.monotonic() - self._since > PATIENCE_SECONDS:
            leave(self.number)
        return True
