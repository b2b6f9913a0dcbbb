"""Every end of the program: its exit code, its one line on stderr, and the signals that may end it.

0 done, 1 known failure, 2 wrong usage, 130 interrupted (Ctrl-C), 143 terminated.
"""

from __future__ import annotations

import _thread
import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import click

from .. import signals
from ..advice import Advice
from ..errors import ImageSearchError, LibraryNotFoundError, UnknownModelError, UsageError
from .console import note

__all__ = ["CODES", "code_of", "every_end", "listen_for_signals", "show_traces"]

CODES: dict[type[ImageSearchError], int] = {UsageError: 2, UnknownModelError: 2}  # of an error and its kinds; of all others 1

_debug = False
_stopping = signals.Patience()
_lost = False  # it came where nothing can be raised
_AGAIN_SECONDS = 0.05


def code_of(error: ImageSearchError) -> int:
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), 1)


def show_traces() -> None:
    """From here on an error ends the program with its stack trace (--debug)."""
    global _debug
    _debug = True


class _StoppedError(SystemExit):
    """Ctrl-C or SIGTERM. Not a KeyboardInterrupt, which Click turns into its own; a SystemExit, which no seam takes for a failure."""


def _stop(number: int, frame: FrameType | None) -> None:
    """The first one ends the run in order."""
    global _lost
    if _stopping.asked_before(number) and not _lost:
        return
    _lost = False
    raise _StoppedError(_stopping.number)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    """What happens in a place that can raise nothing, such as a finaliser: if it was the stop, it comes again outside."""
    global _lost
    if isinstance(args.exc_value, _StoppedError):
        _lost = True
        threading.Timer(_AGAIN_SECONDS, _thread.interrupt_main, (_stopping.number,)).start()
    elif not _stopping.number:  # else it follows from the stop
        sys.__unraisablehook__(args)


def listen_for_signals() -> None:
    """Begin a run: Ctrl-C and SIGTERM end it in order, and nothing is remembered of a run before it in this process."""
    global _debug, _stopping, _lost
    _debug, _stopping, _lost = False, signals.Patience(), False
    sys.unraisablehook = _unraisable
    signals.listen(_stop, anew=True)


@contextlib.contextmanager
def every_end() -> Iterator[None]:
    """What happens inside ends here, whatever it was: an exit code, and at most a few plain lines."""
    try:
        try:
            yield
        except BaseException as error:
            code = _end(error)
        else:
            code = 0
        signals.listen()  # what the interpreter does from here on can be cut short
    except _StoppedError as stopped:  # while it was ending anyway
        code = _end(stopped)
        signals.listen()
    sys.unraisablehook = sys.__unraisablehook__
    if code:
        sys.exit(code)


def _end(error: BaseException) -> int:
    """Say what there is to say of it; its exit code."""
    if _stopping.number and not _debug and isinstance(error, Exception):
        error = _StoppedError(_stopping.number)  # an import that was cut short says what it likes
    if isinstance(error, _StoppedError):
        (number,) = error.args
        if line := signals.said(number):
            note(line)
        return 128 + int(number)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        return _wrong_usage(error)
    if isinstance(error, BrokenPipeError):  # the reader of our output went away: nothing to complain about
        _close_output()
        return 0
    if _debug or not isinstance(error, Exception):
        raise error
    if isinstance(error, ImageSearchError):
        hint = " (image-search demo builds a sample)" if isinstance(error, LibraryNotFoundError) else ""
        note(Advice("error: ", error.line, hint))
        return code_of(error)
    if isinstance(error, OSError) and error.filename is None:  # most likely our own output, which would be tried again at the exit
        _close_output()
    note(f"error: {_foreign(error)}")
    return 1


def _wrong_usage(error: click.ClickException) -> int:
    """In Click's own words."""
    words = io.StringIO()
    error.show(words)
    for line in words.getvalue().splitlines():
        note(line)
    if isinstance(error, click.exceptions.NoSuchCommand):
        note("To search with an image: image-search search IMAGE")
    for argument in sys.argv[1:]:
        if argument.startswith("-") and os.path.lexists(argument):
            note(f"To name the file that is called like this: {os.path.join(os.curdir, argument)}")
    return error.exit_code


def _foreign(error: Exception) -> str:
    """The words for an error that is none of ours."""
    if isinstance(error, MemoryError):
        return f"not enough memory ({error})"
    if isinstance(error, OSError):  # of the system, which names the file
        where = "" if error.filename is None else f": {os.fsdecode(error.filename)}"
        return f"{(error.strerror or str(error)).lower()}{where}. If this surprises you, run it again with --debug"
    return f"unexpected {type(error).__name__}: {error}. Run it again with --debug and report what it prints"


def _close_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
