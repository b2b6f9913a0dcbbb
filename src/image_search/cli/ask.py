"""image-search ask"""

from __future__ import annotations

import sys
from typing import Any

import click

from ..advice import Advice
from ..errors import ImageSearchError
from . import console
from .console import note, print_matches
from .options import (
    debug_option,
    library_option,
    max_megabytes_option,
    max_megapixels_option,
    n_option,
    open_engine,
    private_urls_option,
)


@click.command()
@library_option
@n_option
@private_urls_option
@max_megapixels_option
@max_megabytes_option
@debug_option
def ask(*, n_results: int, **given: Any) -> None:
    """Ask for an image, show what is similar, and ask again.

    Give it a path or an http(s) address. An empty line ends it.
    """
    with open_engine(given, long_lived=True) as engine:
        images = engine.status()["images"]
        note(f"{images:,} images in {engine.library}. Give an image (a path or an http address); an empty line ends.")
        while True:
            try:
                text = input("image> ") if sys.stdin.isatty() else input()
            except EOFError:
                return
            text = console.unquoted(text)
            if not text:
                return
            try:
                matches = engine.search(text, n_results)
                print_matches(matches)
                console.open_picture(matches)
            except ImageSearchError as error:
                note(Advice("error: ", error.line))
