"""image-search tags"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..advice import Advice
from ..errors import QueryError
from ..paths import shown
from .console import note, print_json, words
from .options import debug_option, json_option, library_option, open_engine, private_urls_option

if TYPE_CHECKING:
    from ..models import Tag


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@library_option
@private_urls_option
@json_option
@debug_option
@click.pass_context
def tags(context: click.Context, /, *, images: tuple[str, ...], json_output: bool, **given: Any) -> None:
    """Name what pictures show, with the built-in vocabulary.

    At most three words a picture, each with its probability; "I do not know" where none is more likely than not. Nothing is written,
    and no network is needed. IMAGE is a file, an http(s) address, or the id of a library item (id:42). One that cannot be read has an error
    in its place, and the exit code is 1.

    \b
    Example:
      image-search tags photo.jpg
    """
    with open_engine(given, long_lived=len(images) > 1) as engine:
        found = list(engine.tags_each(images))
    if json_output:
        print_json([_as_dict(image, one) for image, one in zip(images, found, strict=True)])
    else:
        for image, one in zip(images, found, strict=True):
            _say(image, one)
    context.exit(any(isinstance(one, QueryError) for one in found))


def _as_dict(image: str, one: list[Tag] | QueryError) -> dict[str, Any]:
    if isinstance(one, QueryError):
        return {"image": shown(image), "error": words(one.line)}
    return {"image": shown(image), "tags": [asdict(tag) for tag in one]}


def _say(image: str, one: list[Tag] | QueryError) -> None:
    if isinstance(one, QueryError):
        note(Advice("error: ", one.line))
        return
    from ..present.table import tags_words

    print(f"{shown(image)}: {tags_words(one)}")
