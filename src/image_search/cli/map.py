"""image-search map"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .console import note, print_json
from .options import FILE, debug_option, json_option, library_option, open_engine


@click.command()
@click.option("--save", type=FILE, metavar="FILE", help="Save the map as a picture: png, jpg, webp, pdf or svg.")
@click.option("--fresh", is_flag=True, help="Lay it out anew, even if one is kept.")
@click.option(
    "--seed", type=click.IntRange(min=0, max=2**31 - 1), metavar="N", default=0, show_default=True, help="Another number is another map."
)
@library_option
@json_option
@debug_option
def map(*, save: Path | None, fresh: bool, seed: int, json_output: bool, **given: Any) -> None:
    """Lay the library out as a map: what is alike lies together.

    The map is kept with the library. New pictures are placed between the others, and none of these moves; --fresh lays all of it out
    anew. The layout needs the extra [map].

    \b
    Examples:
      image-search map --save map.png
      image-search map --json > map.json
    """
    if save is not None:
        from ..present.figure import check_target

        check_target(save)
    with open_engine(given) as engine:
        found = engine.map(fresh=fresh, seed=seed)
        if json_output:
            print_json(found.to_dict())
        else:
            classes = len({name for name in found.names if name})
            print(f"images      {len(found):,} in {classes:,} classes")
            print(f"laid out    {int((~found.placed).sum()):,}")
            print(f"placed      {int(found.placed.sum()):,} between them, later")
        if save is not None:
            from ..present.fonts import font_advice

            if line := font_advice(found.names):
                note(line)
            found.save(save)
            note(f"Saved the map: {save}")
        elif not json_output:
            note("To see it: image-search map --save map.png")
