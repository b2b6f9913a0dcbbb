"""image-search duplicates"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from . import console
from .options import FILE, debug_option, jobs_option, json_option, library_option, open_engine

if TYPE_CHECKING:
    from ..tidy.duplicates import Duplicates

WORDS = """\b
same bytes    the very same file, whatever it is called
same picture  saved again, in another size or format, lightly edited
changed copy  cropped, mirrored, turned, framed, written on
"""
KINDS = {"bytes": "same bytes", "picture": "same picture", "changed": "changed copy"}


@click.command(epilog=WORDS)
@click.argument("folders", metavar="[FOLDER...]", nargs=-1, help="Only files in these folders. Default: all of the library.")
@click.option("--across", metavar="KEPT OTHER", nargs=2, help="Two folders: only files of the second that are copies of one in the first.")
@click.option(
    "--prefer", metavar="FOLDER", multiple=True, help="Its files are the better copies; may be repeated, the most preferred first."
)
@click.option("--since", metavar="DATE", help="Only groups with a picture taken from then on: 2024, 2024-05, 2024-05-01.")
@click.option("--kind", "kinds", type=click.Choice(list(KINDS)), multiple=True, help="Only these copies; may be repeated. Default: all.")
@click.option("--list-rest", is_flag=True, help="Print the paths of all but the best, one per line, for scripts.")
@click.option("-0", "--null", "null", is_flag=True, help="With --list-rest: end each path with a NUL, for xargs -0.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for programs, one row per file.")
@click.option("--html", type=FILE, metavar="FILE", help="Save a page with the pictures, side by side.")
@library_option
@jobs_option
@json_option
@debug_option
def duplicates(
    *,
    folders: tuple[str, ...],
    across: tuple[str, str] | None,
    kinds: tuple[str, ...],
    list_rest: bool,
    null: bool,
    as_csv: bool,
    html: Path | None,
    json_output: bool,
    **given: Any,
) -> None:
    """Find copies, in groups, and the best file of each.

    Nothing is deleted, moved or changed, ever. The best is a copy that is not itself cropped out of another, framed or written on; of
    these the one with the most pixels, in the format that loses less, the least compressed, the one that still has its date. What was
    found is remembered: the next time only new pictures are compared.

    \b
    Examples:
      image-search duplicates
      image-search duplicates ~/Pictures --prefer ~/Pictures/Albums --html copies.html
      image-search duplicates --across data/train data/test
      image-search duplicates --kind bytes --list-rest -0 | xargs -0 -p trash
    """
    if list_rest + as_csv + json_output > 1:
        raise UsageError("--list-rest, --csv and --json exclude each other")
    if null and not list_rest:
        raise UsageError("--null goes with --list-rest")
    if html is not None:
        from ..present.duplicates_page import check_page

        check_page(html)
    with open_engine(given) as engine:
        found = engine.duplicates(folders, across=across or None, kinds=[KINDS[kind] for kind in kinds], **given)
        if html is not None:
            _save(found, html)
    if list_rest:
        _list_rest(found, b"\0" if null else b"\n")
    elif as_csv:
        from ..present.duplicates import CSV_HEAD, csv_rows

        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(CSV_HEAD)
        rows.writerows(csv_rows(found.to_dict()))
    elif json_output:
        console.print_json(found.to_dict())
    else:
        from ..present.duplicates import duplicates_table

        # None for a pipe or a file, where nothing is shortened
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print(duplicates_table(found.to_dict(), width=width))


def _save(found: Duplicates, html: Path) -> None:
    from ..library.library import Library
    from ..present.duplicates_page import save_page

    with contextlib.closing(Library(found.library)) as library:
        save_page(found.to_dict(), library.thumbnails().get, html)
    console.note(f"Saved the page: {html}")


def _list_rest(found: Duplicates, end: bytes) -> None:
    """The paths as the system has them, byte for byte: whoever reads them will act on them."""
    paths = list(_rest(found))
    if end == b"\n" and any(b"\n" in path for path in paths):
        raise UsageError("a name has a line break in it", hint="end each path with a NUL: --null")
    sys.stdout.flush()
    out = getattr(sys.stdout, "buffer", None)
    if out is None:
        raise UsageError("stdout takes no bytes", hint="run it in a shell")
    out.write(b"".join(path + end for path in paths))
    out.flush()


def _rest(found: Duplicates) -> Iterator[bytes]:
    """Not those that cannot be reached: nobody has looked whether they are still what they were."""
    for group in found:
        yield from (os.fsencode(member.item.path) for member in group.rest if not (member.offline or group.best.offline))
