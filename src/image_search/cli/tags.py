"""image-search tags"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from ..paths import shown
from .console import print_json
from .options import debug_option, json_option, library_option, open_engine, private_urls_option


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@library_option
@private_urls_option
@json_option
@debug_option
def tags(*, images: tuple[str, ...], json_output: bool, **given: Any) -> None:
    """Say what pictures show, in the words of the built-in vocabulary.

    At most three words a picture, each with its probability; "I do not know" where none is more likely than not. Nothing is written,
    and no network is needed. IMAGE is a file, an http(s) address, or the id of a library item (id:42).

    \b
    Example:
      image-search tags photo.jpg
    """
    with open_engine(given) as engine:
        found = engine.tags(list(images))
    if json_output:
        print_json([{"image": shown(i), "tags": [asdict(tag) for tag in some]} for i, some in zip(images, found, strict=True)])
        return
    for image, some in zip(images, found, strict=True):
        said = ", ".join(f"{tag.name} ({tag.korean}) {tag.probability:.0%}" for tag in some)
        print(f"{shown(image)}: {said or 'I do not know'}")
