"""image-search search"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from . import console
from .console import note, print_json, print_matches
from .options import (
    FILE,
    debug_option,
    filter_options,
    json_option,
    library_option,
    max_megabytes_option,
    max_megapixels_option,
    model_option,
    n_option,
    open_engine,
    private_urls_option,
    runtime_option,
    store_option,
)

WORDS = """\b
similarity  cosine of the two vectors, -1 to 1; 1.000 for an identical file
distance    1 - similarity; lower is nearer
closeness   0 to 1: how near for this library; .5 is a typical nearest
            neighbour here. None in a library of fewer than 50 images
"""


def _region(text: str) -> tuple[int, ...]:
    numbers: tuple[int, ...] = ()
    with contextlib.suppress(ValueError):
        numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) != 4 or min(numbers) < 0 or 0 in numbers[2:]:
        raise UsageError(f"a region is x,y,w,h in whole pixels, not {text!r}", hint="for example --region 120,80,300,300")
    return numbers


@click.command(epilog=WORDS)
@click.argument(
    "images",
    metavar="IMAGE...",
    nargs=-1,
    help="A path, an http(s) address, the id of a library item, or - for stdin. Several are searched for by their mean.",
)
@click.option("--less", metavar="IMAGE", multiple=True, help="Less like this image; may be repeated.")
@click.option("--text", "texts", metavar="WORDS", multiple=True, help="What the picture shows, in words; for models that know words.")
@click.option("--less-text", "less_texts", metavar="WORDS", multiple=True, help="Less like these words; may be repeated.")
@click.option("--text-weight", type=float, metavar="N", default=1.0, show_default=True, help="How much words count beside an image's 1.")
@n_option
@filter_options
@click.option("--min-similarity", type=float, metavar="COSINE", help="Only matches with at least this similarity.")
@click.option("--min-closeness", type=float, metavar="SHARE", help="Only matches with at least this closeness.")
@click.option("--region", type=_region, metavar="x,y,w,h", help="Search with this part of the image, in pixels as you see it.")
@click.option("--exclude-self", is_flag=True, help="Leave out files identical to the query.")
@click.option("--other-folders", is_flag=True, help="Leave out the query's own folders, so that its series does not fill the answer.")
@click.option("--group", is_flag=True, help="Of matches that show the same picture (copies, turned or nearly the same), only the nearest.")
@click.option("--exact", is_flag=True, help="Compare with every image, as single searches do anyway.")
@click.option("--store-only", is_flag=True, help="Ask the vector store alone, and fail if it cannot answer.")
@click.option("--save", type=FILE, metavar="FILE", help="Save the comparison picture: png, jpg, webp, pdf or svg.")
@click.option("--show", is_flag=True, help="Open the comparison picture.")
@library_option
@model_option
@runtime_option
@store_option
@private_urls_option
@max_megapixels_option
@max_megabytes_option
@json_option
@debug_option
def search(
    *,
    images: tuple[str, ...],
    less: tuple[str, ...],
    texts: tuple[str, ...],
    less_texts: tuple[str, ...],
    text_weight: float,
    exact: bool,
    store_only: bool,
    save: Path | None,
    show: bool,
    json_output: bool,
    **given: Any,
) -> None:
    """Find the library's images most similar to one of yours.

    \b
    Examples:
      image-search search burger.jpg
      image-search search burger.jpg -n 12 --save compare.png
      image-search search a.jpg b.jpg --less c.jpg --name Burger --min-closeness .5
      image-search search photo.jpg --region 120,80,300,300 --json
      image-search search photo.jpg --since 2023 --until 2024-06 --min-pixels 2MP
      image-search search --text "a red bicycle in the snow"
      curl -s https://example.org/cat.jpg | image-search search -
    """
    if exact and store_only:
        raise UsageError("--exact and --store-only exclude each other")
    if save is not None:
        from ..present.figure import check_target

        check_target(save)
    from ..types import Text

    if not images and not texts:
        raise UsageError("nothing was given to search with", hint="give an image, or words with --text")
    stdin = functools.cache(functools.partial(console.bytes_from_stdin, given["max_megabytes"]))
    with open_engine(given) as engine:
        matches = engine.search(
            [*(stdin() if image == "-" else image for image in images), *((Text(text), text_weight) for text in texts)],
            less=[*(stdin() if image == "-" else image for image in less), *((Text(text), text_weight) for text in less_texts)],
            how="exact" if exact else "store" if store_only else "auto",
            **given,
        )
        if json_output:
            print_json(matches.to_dict())
        else:
            print_matches(matches)
        if save is not None:
            console.advise_fonts(matches)
            matches.plot(save)
            note(f"Saved the comparison: {save}")
        if show:
            console.open_picture(matches)
