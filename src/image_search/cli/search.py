"""image-search search"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import signals
from ..advice import Advice, capitalised
from ..config import FITS_BADLY
from ..errors import UsageError
from . import console
from .console import note, print_json, print_matches
from .options import (
    FILE,
    asked_store_option,
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
)

if TYPE_CHECKING:
    from ..engine import ImageSearchEngine
    from ..search.matches import Matches
    from ..types import Match

WORDS = """\b
similarity   cosine of the two vectors, -1 to 1; 1.000 for an identical file
distance     1 - similarity; lower is nearer
closeness    0 to 1: how near for this library; .5 is a typical nearest
             neighbour here. None in a library of fewer than 50 images
probability  0 to 1: that the words fit, as the model itself says; for words
             alone, and models that were trained to say it
"""

HINTED = 30  # matches of which is said that they show the same picture


def say_repeats(folded: Sequence[Match]) -> None:
    """How many of the first matches show what another of them shows."""
    pictures = [match for match in folded if match.also]
    count = sum(1 + len(match.also) for match in pictures)
    if count:
        note(f"{count} of these show {'the same picture' if len(pictures) == 1 else f'{len(pictures)} pictures'} (--fold)")


def _region(text: str) -> tuple[int, ...]:
    numbers: tuple[int, ...] = ()
    with contextlib.suppress(ValueError):
        numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) != 4 or min(numbers) < 0 or 0 in numbers[2:]:
        raise UsageError(f"a region is x,y,w,h in whole pixels, not {text!r}", hint="for example --region 120,80,300,300")
    return numbers


def _check_given(images: Sequence[str], texts: Sequence[str], less_texts: Sequence[str]) -> None:
    if not images and not texts:
        raise UsageError("nothing was given to search with", hint="give an image, or words with --text")
    if not all(phrase.strip() for phrase in (*texts, *less_texts)):
        raise UsageError("there are no words to search with", hint="say what the picture shows, for example: a red bicycle")


def _check_each(*others: Any) -> None:
    if any(others):
        raise UsageError(
            "--each answers image by image, in JSON or CSV: without --less, --text, --region, --copies, --store-only, --save, --show and"
            " --copy-to",
            hint="leave them out, or search without --each",
        )


def _search_each(images: tuple[str, ...], as_csv: bool, as_json: bool, given: dict[str, Any]) -> int:
    """The exit code."""
    from .each import search_each

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    if not images:
        raise UsageError("nothing was given to search with", hint="give images or folders, or - for a list on stdin")
    del given["region"], given["copies"]
    signals.say_at_the_end()
    with open_engine(given, long_lived=True) as engine:  # which has a decoder for each CPU
        return min(1, search_each(engine, images, as_csv=as_csv, **given))


@click.command(epilog=WORDS)
@click.argument(
    "images",
    metavar="IMAGE...",
    nargs=-1,
    help="A path, an http(s) address, the id of a library item, or - for stdin. Several are searched for by their mean (see --each).",
)
@click.option("--less", metavar="IMAGE", multiple=True, help="Less like this image; may be repeated.")
@click.option(
    "--text", "texts", metavar="WORDS", multiple=True, help="What the picture shows, in words; for models that know words; may be repeated."
)
@click.option("--less-text", "less_texts", metavar="WORDS", multiple=True, help="Less like these words; may be repeated.")
@click.option("--text-weight", type=float, metavar="N", default=1.0, show_default=True, help="How much words count beside an image's 1.")
@n_option
@filter_options
@click.option("--min-similarity", type=float, metavar="COSINE", help="Only matches with at least this similarity.")
@click.option("--min-closeness", type=float, metavar="SHARE", help="Only matches with at least this closeness.")
@click.option("--min-probability", type=float, metavar="SHARE", help="Only matches that --text fits with at least this probability.")
@click.option("--region", type=_region, metavar="x,y,w,h", help="Search with this part of the image, in pixels as you see it.")
@click.option("--exclude-self", is_flag=True, help="Leave out files identical to the query.")
@click.option("--other-folders", is_flag=True, help="Leave out the query's own folders, so that its series does not fill the answer.")
@click.option(
    "--fold", "--group", "fold", is_flag=True, help="Each picture once: its copies, told by their pixels, stand behind the nearest of them."
)
@click.option("--copies", is_flag=True, help="Also search with the image mirrored, turned and cropped, and say which was nearest.")
@click.option("--each", is_flag=True, help="One answer per image, a line of JSON each; takes folders and globs, too; - reads a list.")
@click.option("--csv", "csv_output", is_flag=True, help="With --each: CSV, one line per match.")
@click.option("--exact", is_flag=True, help="Compare with every image, as single searches do anyway.")
@click.option("--store-only", is_flag=True, help="Ask the vector store alone, and fail if it cannot answer.")
@click.option("--save", type=FILE, metavar="FILE", help="Save the comparison picture: png, jpg, webp, pdf or svg.")
@click.option("--copy-to", type=FILE, metavar="FOLDER", help="Copy the matches' files into this folder; nothing there is replaced.")
@click.option("--show", is_flag=True, help="Open the comparison picture.")
@library_option
@model_option
@runtime_option
@asked_store_option
@private_urls_option
@max_megapixels_option
@max_megabytes_option
@json_option
@debug_option
@click.pass_context
def search(
    context: click.Context,
    /,
    *,
    images: tuple[str, ...],
    less: tuple[str, ...],
    texts: tuple[str, ...],
    less_texts: tuple[str, ...],
    text_weight: float,
    each: bool,
    csv_output: bool,
    exact: bool,
    store_only: bool,
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
      image-search search photo.jpg --copies --fold -n 9
      image-search search photo.jpg --since 2023 --until 2024-06 --min-pixels 2MP
      image-search search --text "a red bicycle in the snow"
      curl -s https://example.org/cat.jpg | image-search search -
      image-search search photo.jpg -n 20 --copy-to similar/
      image-search search --each new/ --csv > nearest.csv
    """
    after = {name: given.pop(name) for name in ("save", "show", "copy_to")}
    if each:
        _check_each(less, texts, less_texts, given["region"], given["copies"], store_only, *after.values())
        context.exit(_search_each(images, csv_output, json_output, given))
    if csv_output:
        raise UsageError("--csv goes with --each", hint="or use --json")
    if exact and store_only:
        raise UsageError("--exact and --store-only exclude each other")
    if after["save"] is not None:
        from ..present.figure import check_target

        check_target(after["save"])
    from ..types import Text

    _check_given(images, texts, less_texts)
    stdin = functools.cache(functools.partial(console.bytes_from_stdin, given["max_megabytes"]))
    with open_engine(given) as engine:
        matches = engine.search(
            [*(stdin() if image == "-" else image for image in images), *((Text(text), text_weight) for text in texts)],
            less=[*(stdin() if image == "-" else image for image in less), *((Text(text), text_weight) for text in less_texts)],
            how="exact" if exact else "store" if store_only else "auto",
            **given,
        )
        if after["copy_to"] is not None:
            matches.check_copy_to(after["copy_to"])
        _print(engine, matches, as_json=json_output, folded=given["fold"])
        context.exit(_after(matches, **after))


def _print(engine: ImageSearchEngine, matches: Matches, *, as_json: bool, folded: bool) -> None:
    if as_json:
        print_json(matches.to_dict())
        return
    print_matches(matches)
    if (best := max((match.probability or 0 for match in matches if match.probability is not None), default=1.0)) < FITS_BADLY:
        from ..present.text_fit import number

        note(f"None of these fits the words well: the highest probability is {number(best)}")
    if not folded and sys.stdout.isatty():  # who reads it with a program asks for it, and pays nothing for it
        say_repeats(engine.fold(matches[:HINTED]))


def _after(matches: Matches, *, save: Path | None, show: bool, copy_to: Path | None) -> int:
    """What else was wished for; the exit code."""
    if save is not None:
        console.advise_fonts(matches)
        matches.plot(save)
        note(f"Saved the comparison: {save}")
    if show:
        console.open_picture(matches)
    return 0 if copy_to is None else _copy(matches, copy_to)


def _copy(matches: Matches, folder: Path) -> int:
    """The exit code: 1 if any file could not be copied."""
    if not matches:
        note("Nothing was copied: there are no matches")
        return 0
    from ..present.progress import bar

    with bar("copy", len(matches)) as progress:
        copies = matches.copy_to(folder, progress=progress)
    already = f"; {len(copies.already):,} were there already" if copies.already else ""
    note(f"Copied {len(copies.copied):,} of {len(matches):,} images to {folder}{already}")
    for path in copies.changed:
        note(f"Copied as it is now; it has changed since it was indexed: {path}")
    for one in copies.failed:
        note(Advice(f"Not copied, {one.reason}: {one.path}. ", capitalised(one.hint)))
    return min(1, len(copies.failed))
