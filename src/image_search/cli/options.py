"""Options that several commands take, each said once, and the engine that they describe."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import OWN_MEGABYTES, OWN_MEGAPIXELS
from ..errors import UsageError
from .console import note
from .exits import show_traces

if TYPE_CHECKING:
    from ..engine import ImageSearchEngine

__all__ = [
    "FILE",
    "any_name_option",
    "asked_store_option",
    "debug_option",
    "exclude_option",
    "filter_options",
    "folders_argument",
    "jobs_option",
    "json_option",
    "library_option",
    "max_megabytes_option",
    "max_megapixels_option",
    "model_option",
    "n_option",
    "name_from_option",
    "no_browser_option",
    "open_engine",
    "private_urls_option",
    "runtime_option",
    "skip_megapixels_option",
    "store_option",
]

FILE = click.Path(path_type=Path)

RUNTIMES = "onnx, torch, or openvino (about twice as fast where processor and model allow bf16)"
STORES = "chroma, chroma:http://HOST:PORT, milvus:http://HOST:PORT, or exact (no store: searches compare with every image)"
COLLECTIONS = "milvus:http://HOST:PORT/NAME or milvus:FILE.db"


def _debug(_context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        show_traces()


# Of an index run, once or again and again
folders_argument = click.argument(
    "folders", metavar="FOLDER...", nargs=-1, required=True, help="Folders with images; sub-folders are included."
)
name_from_option = click.option(
    "--name-from",
    type=click.Choice(["folder", "none"]),
    help="Where an image's class comes from: the folder it lies in, or nowhere. Default: as last time; folder for a new library.",
)
exclude_option = click.option("--exclude", metavar="GLOB", multiple=True, help="Leave out these names or paths; may be repeated.")
skip_megapixels_option = click.option(
    "--max-megapixels", type=click.FloatRange(min=0.001), metavar="MP", help="Skip larger pictures. Default: 200."
)
any_name_option = click.option("--any-name", is_flag=True, help="Look at files without an ending, too; their content tells what they are.")

library_option = click.option(  # text: an empty name must not become the current folder
    "--library", metavar="FOLDER", help="The library's folder. Default: $IMAGE_SEARCH_LIBRARY, or else your per-user data folder."
)
model_option = click.option(
    "--model",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="A name from `image-search models`, a Hugging Face id or a folder; auto: the library's own; for a new one the best that is here.",
)
runtime_option = click.option("--runtime", metavar="NAME", help=f"What runs the model: {RUNTIMES}. Default: what suits the model.")
store_option = click.option(  # of what writes a library
    "--store", metavar="NAME", help=f"The vector store: {STORES}. Default: as before; else chroma from 100,000 images on."
)
asked_store_option = click.option(  # of what asks
    "--store",
    metavar="NAME",
    help=f"The vector store: {STORES}; instead of a library a collection: {COLLECTIONS}. "
    "Default: as before; else chroma from 100,000 images on.",
)
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Decode N pictures at once, and give the model N threads. Default: one per CPU.",
)
max_megapixels_option = click.option(
    "--max-megapixels",
    type=click.FloatRange(min=0.001),
    metavar="MP",
    default=OWN_MEGAPIXELS,
    help=f"Refuse larger pictures. Default: {OWN_MEGAPIXELS:g}.",
)
max_megabytes_option = click.option(
    "--max-megabytes",
    type=click.FloatRange(min=1),
    metavar="MB",
    default=OWN_MEGABYTES,
    help=f"Refuse larger files from a pipe or an address. Default: {OWN_MEGABYTES:g}.",
)
n_option = click.option("-n", "--n-results", type=int, metavar="N", default=3, show_default=True, help="How many matches to show.")
no_browser_option = click.option("--no-browser", is_flag=True, help="Start the page and print its address, but open no browser.")
private_urls_option = click.option("--allow-private-urls", is_flag=True, help="Also fetch pictures from this machine and local networks.")
json_option = click.option("--json", "json_output", is_flag=True, help="Print the result as JSON, for programs.")
debug_option = click.option("--debug", is_flag=True, callback=_debug, expose_value=False, help="Show the whole stack trace of an error.")


def _pixels(text: str) -> int:
    """2000000, 2MP or 1920x1080."""
    match = re.fullmatch(r"(\d+)|(\d*\.?\d+) ?MP|(\d+)x(\d+)", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f"--min-pixels is a number of pixels, not {text[:40]!r}", hint="for example 2MP, 1920x1080 or 2000000")
    whole, millions, wide, high = match.groups()
    return int(whole) if whole else round(float(millions) * 1e6) if millions else int(wide) * int(high)


_FILTERS = (
    click.option("--name", "names", metavar="CLASS", multiple=True, help="Only this class; may be repeated."),
    click.option("--not-name", "not_names", metavar="CLASS", multiple=True, help="Not this class; may be repeated."),
    click.option("--path", metavar="GLOB", help="Only paths like this one, such as '*/2024/*'."),
    click.option("--not-path", metavar="GLOB", multiple=True, help="No paths like this one; may be repeated."),
    click.option(
        "--since", metavar="DATE", help="Taken from then on: 2024, 2024-05, 2024-05-01; where a picture has no date, its file's counts."
    ),
    click.option("--until", metavar="DATE", help="Taken up to then; the whole of that year, month or day."),
    click.option("--min-pixels", type=_pixels, metavar="N", help="Width times height at least this: 2MP, 1920x1080 or 2000000."),
    click.option("--where", metavar="CONDITION", help="By your own table (annotate): \"price < 20 and brand = 'x'\"."),
    click.option(
        "--format", "formats", metavar="NAME", multiple=True, help="Only files of this format (jpeg, heic, ...); may be repeated."
    ),
)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which files of the library are meant, by what is known of them."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


_OF_THE_ENGINE = ("library", "model", "runtime", "store", "jobs", "allow_private_urls", "max_megapixels", "max_megabytes")


def open_engine(given: dict[str, Any], *, long_lived: bool = False) -> ImageSearchEngine:
    """An engine made with those of the command's options that are the engine's own; they are taken out of `given`."""
    from ..engine import ImageSearchEngine

    own = {name: given.pop(name) for name in _OF_THE_ENGINE if name in given}
    return ImageSearchEngine(long_lived=long_lived, notify=note, **own)
