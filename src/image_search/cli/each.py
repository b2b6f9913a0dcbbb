"""`search --each`: where many queries come from, and one answer a line for each of them."""

from __future__ import annotations

import csv
import glob
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import QueryError, UsageError
from ..paths import shown
from ..present.json import CSV_COLUMNS, csv_rows, failed_csv_row, failed_json
from .console import note, print_json, words

if TYPE_CHECKING:
    from ..engine import ImageSearchEngine
    from ..search.matches import Matches

__all__ = ["images_of", "search_each"]

_LINE_BYTES = 64 * 1024  # read from stdin at once


def search_each(engine: ImageSearchEngine, images: Iterable[str], n_results: int, *, as_csv: bool, **filters: Any) -> int:
    """Print an answer for each; returns how many could not be searched with."""
    from ..present.progress import bar

    asked: deque[str] = deque()

    def noted() -> Iterator[str]:
        for image in images_of(images):
            asked.append(image)
            yield image

    show_answer = _csv_writer() if as_csv else _json_line
    done = failed = 0
    with bar("search", 0 if sys.stdout.isatty() else None) as progress:  # on a terminal the answers themselves tell how far it is
        for answer in engine.search_each(noted(), n_results, **filters):
            show_answer(asked.popleft(), answer)
            done, failed = done + 1, failed + isinstance(answer, QueryError)
            progress(done, None, failed)
            sys.stdout.flush()
    if not done:
        raise UsageError("there is no image among what was given", hint="give images, folders that hold some, or - for a list on stdin")
    if failed:
        note(f"{failed:,} of {done:,} images could not be searched with; their lines say why")
    return failed


def images_of(arguments: Iterable[str]) -> Iterator[str]:
    """The images that are meant: folders with all that lies below, globs that no shell has opened, the lines of stdin for "-"."""
    for argument in arguments:
        if argument == "-":
            for line in _lines_of_stdin():
                yield from _images_at(line)
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            found = sorted(glob.iglob(os.path.expanduser(argument), recursive=True))
            for path in found or [argument]:  # one that fits nothing is said like a file that is not there
                yield from _images_at(path)
        else:
            yield from _images_at(argument)


def _images_at(path: str) -> Iterator[str]:
    folder = os.path.expanduser(path)
    if not os.path.isdir(folder):
        yield path
        return
    from ..images.scan import ImageFile, NotIndexed, scan

    for found in scan(os.path.abspath(folder)):
        if isinstance(found, ImageFile):
            yield found.path
        elif isinstance(found, NotIndexed) and found.folder:
            note(f"This folder cannot be read: {found.path}")
        elif isinstance(found, NotIndexed):
            note(f"Passed by ({found.reason.value}): {found.path}")


def _lines_of_stdin() -> Iterator[str]:
    """Its lines that are not empty. Not through the buffer: a thread that waits there, and so holds its lock, upsets the end."""
    rest = b""
    if sys.stdin is None:  # closed by who started us
        return
    stream = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    while data := stream.read(_LINE_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        yield from (os.fsdecode(line) for line in map(_without_return, lines) if line)
    if _without_return(rest):
        yield os.fsdecode(_without_return(rest))


def _without_return(line: bytes) -> bytes:
    return line.removesuffix(b"\r")


def _json_line(query: str, answer: Matches | QueryError) -> None:
    print_json(failed_json(query, words(answer.line)) if isinstance(answer, QueryError) else answer.to_dict())


def _csv_writer() -> Callable[[str, Matches | QueryError], None]:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    terminal = sys.stdout.isatty()  # which no name is to play with; a file gets names as they are

    def show(query: str, answer: Matches | QueryError) -> None:
        rows = [failed_csv_row(query, words(answer.line))] if isinstance(answer, QueryError) else csv_rows(query, answer)
        writer.writerows([[shown(cell) if terminal and isinstance(cell, str) else cell for cell in row] for row in rows])

    return show
