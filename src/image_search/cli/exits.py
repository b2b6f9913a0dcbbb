"""Every end of the program: its exit code, its one line on stderr, and the signals that may end it.

0 done, 1 known failure, 2 wrong usage, 130 interrupted (Ctrl-C), 143 terminated.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import click

from ..advice import Advice
from ..errors import ImageSearchError, LibraryNotFoundError, UnknownModelError, UsageError
from .console import note

__all__ = ["CODES", "code_of", "every_end", "listen_for_signals", "show_traces"]

CODES: dict[type[ImageSearchError], int] = {UsageError: 2, UnknownModelError: 2}  # of an error and its kinds; of all others 1

_debug = False
_told_to_stop = 0  # the signal


def code_of(error: ImageSearchError) -> int:
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), 1)


def show_traces() -> None:
    """From here on an error ends the program with its stack trace (--debug)."""
    global _debug
    _debug = True


class _StoppedError(SystemExit):
    """Ctrl-C or SIGTERM. Not a KeyboardInterrupt, which Click turns into its own; a SystemExit, which no seam takes for a failure."""


def _stop(number: int, frame: FrameType | None) -> None:
    global _told_to_stop
    _told_to_stop = number
    raise _StoppedError(number)


def listen_for_signals() -> None:
    """Begin a run: Ctrl-C and SIGTERM end it in order, and nothing is remembered of a run before it in this process."""
    global _debug, _told_to_stop
    _debug, _told_to_stop = False, 0
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us there handles them
            signal.signal(number, _stop)


@contextlib.contextmanager
def every_end() -> Iterator[None]:
    """What happens inside ends here, whatever it was: an exit code, and at most a few plain lines."""
    try:
        try:
            yield
        except Exception:
            if _told_to_stop and not _debug:  # an import that was cut short says what it likes
                raise _StoppedError(_told_to_stop) from None
            raise
    except ImageSearchError as error:
        if _debug:
            raise
        hint = " (image-search demo builds a sample)" if isinstance(error, LibraryNotFoundError) else ""
        note(Advice("error: ", error.line, hint))
        sys.exit(code_of(error))
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:  # wrong usage, in Click's own words
        words = io.StringIO()
        error.show(words)
        for line in words.getvalue().splitlines():
            note(line)
        if isinstance(error, click.exceptions.NoSuchCommand):
            note("To search with an image: image-search search IMAGE")
        sys.exit(error.exit_code)
    except _StoppedError as stopped:
        (number,) = stopped.args
        word = "terminated" if number == signal.SIGTERM else "interrupted"
        note(f"{word}; everything done so far is safe, run the same command again to go on")
        sys.exit(128 + number)
    except BrokenPipeError:  # the reader of our output went away: nothing to complain about
        _close_output()
        sys.exit(0)
    except Exception as error:
        if _debug:
            raise
        if isinstance(error, OSError) and error.filename is None:  # most likely our own output, which would be tried again at the exit
            _close_output()
        note(f"error: {_foreign(error)}")
        sys.exit(1)


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
