"""image-search check"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import LABEL_NEIGHBOURS
from ..errors import UsageError
from .console import note, print_json
from .options import FILE, debug_option, jobs_option, json_option, library_option, model_option, open_engine, runtime_option

if TYPE_CHECKING:
    from ..tidy.labels import LabelCheck


@click.command()
@click.argument("folder", metavar="[FOLDER]", default="library", help="Its sub-folders are the classes. Default: library, your library.")
@click.option(
    "--neighbours",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"How many of the nearest pictures vote on each. Default: {LABEL_NEIGHBOURS}, or fewer where classes are small.",
)
@library_option
@model_option
@runtime_option
@jobs_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for programs: finding, uri, id, name, says, confidence, similarity.")
@click.option("--html", type=FILE, metavar="FILE", help="Save one page with the pictures.")
@debug_option
def check(*, folder: str, neighbours: int | None, json_output: bool, as_csv: bool, html: Path | None, **given: Any) -> None:
    """Find labels that may be wrong.

    A class is the folder in which a picture lies. Listed are pictures whose nearest neighbours say another class, the surest first;
    pictures that are far from everything; classes that mix; the same bytes under several classes. Nothing is changed: it says what to
    look at.

    `check library`, or no argument, looks at your library. With a FOLDER (./library for a folder of that name) every picture below it
    is read now, and no library is written.

    \b
    against  the share of the neighbours' vote that goes against the class
    share    the share that is for the class that they say

    \b
    Examples:
      image-search check
      image-search check data/food --html labels.html
      image-search check data/food --csv > labels.csv
    """
    if json_output and as_csv:
        raise UsageError("--json and --csv exclude each other")
    if html is not None:
        from ..present.html import check_page

        check_page(html)
    with open_engine(given, long_lived=True) as engine:
        found = engine.check(None if folder == "library" else folder, neighbours=neighbours)
    if json_output:
        print_json(found.to_dict())
    elif as_csv:
        _print_csv(found)
    else:
        print(found)
    if html is not None:
        found.save(html)
        note(f"Saved the page: {html}")


def _print_csv(found: LabelCheck) -> None:
    from ..paths import as_text, uri_of

    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("finding", "uri", "id", "name", "says", "confidence", "similarity"))
    for s in found.suspects:
        rows.writerow(("suspect", uri_of(s.path), s.id, as_text(s.name), as_text(s.says), f"{s.confidence:.4f}", f"{s.similarity:.4f}"))
    for o in found.outliers:
        rows.writerow(("outlier", uri_of(o.path), o.id, as_text(o.name), "", "", f"{o.similarity:.4f}"))
    for c in found.copied:
        for path, id_, name in zip(c.paths, c.ids, c.names, strict=True):
            rows.writerow(("same bytes", uri_of(path), id_, as_text(name), "", "", ""))
