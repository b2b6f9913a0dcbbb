"""image-search compare"""

from __future__ import annotations

import functools
from typing import Any

import click

from ..errors import UsageError
from . import console
from .console import print_json
from .options import (
    asked_store_option,
    debug_option,
    json_option,
    library_option,
    max_megabytes_option,
    max_megapixels_option,
    model_option,
    open_engine,
    private_urls_option,
    runtime_option,
)

CODES = """\b
Exit code
  0  the same picture: the same bytes, the same picture or a changed copy;
     with --threshold: at least so similar
  1  another picture, or one of them cannot be read
  2  wrong usage
"""


@click.command(epilog=CODES)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--threshold", type=float, metavar="COSINE", help="Count them as the same from this similarity on, whatever the pixels say.")
@library_option
@model_option
@runtime_option
@private_urls_option
@max_megapixels_option
@max_megabytes_option
@asked_store_option
@json_option
@debug_option
def compare(*, a: str, b: str, threshold: float | None, json_output: bool, **given: Any) -> None:
    """Tell whether two images show the same picture.

    Prints what they are (same bytes, same picture, changed copy, two pictures) and how similar. Each is a path, an http(s) address, the id
    of a library item, or - for stdin. Needs no library; with one, it also says how close that is there.

    \b
    Examples:
      image-search compare a.jpg b.jpg
      image-search compare a.jpg b.jpg --threshold .95 && echo same
    """
    if a == b == "-":
        raise UsageError("only one of the two can come from stdin")
    stdin = functools.cache(functools.partial(console.bytes_from_stdin, given["max_megabytes"]))
    with open_engine(given) as engine:
        found = engine.compare(*(stdin() if image == "-" else image for image in (a, b)), threshold=threshold)
    if json_output:
        print_json(found.to_dict())
    else:
        print(found)
    if not found:
        raise SystemExit(1)
