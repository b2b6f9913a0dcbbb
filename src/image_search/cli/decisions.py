"""image-search decisions"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..paths import shown
from .console import print_json
from .options import debug_option, json_option, library_option, open_engine

if TYPE_CHECKING:
    from ..library.decisions import Decision


@click.command()
@click.argument("pictures", metavar="[PICTURE...]", nargs=-1, help="Paths or ids.")
@click.option("--not-the-same", is_flag=True, help="These are not copies of one another, whatever they look like.")
@click.option(
    "--leave", is_flag=True, help="Leave these as they are: copies, and meant to be. Of a single one: its copies of the same bytes."
)
@click.option("--undo", type=int, metavar="NUMBER", help="Take a decision back.")
@library_option
@json_option
@debug_option
def decisions(*, pictures: tuple[str, ...], not_the_same: bool, leave: bool, undo: int | None, json_output: bool, **given: Any) -> None:
    """List, make or undo your decisions about copies.

    Without an option it lists them. A decision is remembered by content: it holds wherever the files go, and image-search duplicates
    no longer shows these together.

    \b
    Examples:
      image-search decisions --not-the-same red-shirt.jpg blue-shirt.jpg
      image-search decisions --leave ~/Pictures/cover.jpg ~/Site/cover.jpg
      image-search decisions
      image-search decisions --undo 2
    """
    if not_the_same + leave + (undo is not None) > 1:
        raise UsageError("--not-the-same, --leave and --undo exclude each other")
    if pictures and not (not_the_same or leave):
        raise UsageError("these pictures need a decision", hint="say --not-the-same or --leave")
    with open_engine(given) as engine:
        if undo is not None:
            engine.undo_decision(undo)
        elif not_the_same or leave:
            engine.decide("not the same" if not_the_same else "leave", *pictures)
        found = [_as_dict(one) for one in engine.decisions()]
    if json_output:
        print_json(found)
        return
    if not found:
        print("nothing was decided yet")
    for one in found:
        print(f"{one['number']}. {one['word']}, {one['made']}")
        for picture in one["pictures"]:
            print(f"     {shown(picture['uri']) or 'not in the library now: ' + picture['sha256'][:16]}")


def _as_dict(decision: Decision) -> dict[str, Any]:
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(decision.made))
    pictures = [{"sha256": sha256.hex(), "uri": uri} for sha256, uri in zip(decision.pictures, decision.uris, strict=True)]
    return {"number": decision.number, "word": decision.word.value, "made": made, "pictures": pictures}
