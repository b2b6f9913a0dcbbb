"""image-search ask"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from ..advice import Advice
from ..errors import ImageSearchError, NoWordsError, QueryError
from . import console
from .console import note, print_matches
from .options import (
    asked_store_option,
    debug_option,
    library_option,
    max_megabytes_option,
    max_megapixels_option,
    n_option,
    open_engine,
    private_urls_option,
)

if TYPE_CHECKING:
    from ..engine import ImageSearchEngine
    from ..search.matches import Matches


@click.command()
@library_option
@n_option
@private_urls_option
@max_megapixels_option
@max_megabytes_option
@asked_store_option
@debug_option
def ask(*, n_results: int, **given: Any) -> None:
    """Ask for an image, show what is similar, and ask again.

    Give it a path or an http(s) address; where the library's model knows words, anything else is taken as words. An empty line ends it.
    """
    with open_engine(given, long_lived=True) as engine:
        facts = engine.status()
        wanted = "an image (a path or an http address)" + (", or words for what it shows" if facts["words"] else "")
        note(f"{facts['images']:,} images in {facts['library']}. Give {wanted}; an empty line ends.")
        while True:
            try:
                text = input("image> ") if sys.stdin.isatty() else input()
            except EOFError:
                return
            text = console.unquoted(text)
            if not text:
                return
            try:
                matches = _answer(engine, text, n_results)
                print_matches(matches)
                console.open_picture(matches)
            except ImageSearchError as error:
                note(Advice("error: ", error.line))


def _answer(engine: ImageSearchEngine, text: str, n: int) -> Matches:
    """Searched with as a picture; what can be none, as words."""
    from ..types import Text

    if _means_a_picture(text):
        return engine.search(text, n)
    try:
        matches = engine.search(Text(text), n)
    except NoWordsError as no_words:
        try:
            return engine.search(text, n)
        except QueryError as error:  # what was wrong before there were words, and beside it the way to have them
            raise QueryError(error.what, path=error.path, hint=Advice(error.hint, "; or as words: ", no_words.line)) from no_words
    note(f"This is no file and no address, so it is taken as words: {text}")
    return matches


def _means_a_picture(text: str) -> bool:
    """It is one, or is written like one: a slip in a path must not become a search for its letters."""
    from ..images.fetch import is_address
    from ..images.formats import extensions
    from ..library.catalog import item_number
    from ..paths import local_path

    path = os.path.expanduser(local_path(text))
    written = path.startswith((os.sep, f".{os.sep}", f"..{os.sep}", "~")) or os.path.splitext(path)[1].lower() in extensions()
    return written or is_address(text) or item_number(text) is not None or os.path.lexists(path)
