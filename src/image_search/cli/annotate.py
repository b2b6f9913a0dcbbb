"""image-search annotate"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from ..present.text_fit import many
from .console import note, print_json
from .options import debug_option, json_option, library_option, open_engine

_NAMED = 3  # rows about no image that are named


@click.command()
@click.argument("table", metavar="[TABLE]", required=False, help="A CSV file with a line of headings, or a Parquet file.")
@click.option("--key", metavar="COLUMN", help="The column that says which image a row is about. Default: sha256, path, uri or file.")
@click.option(
    "--drop", metavar="COLUMN", multiple=True, help="Remove this column from the library, before the table is added; may be repeated."
)
@library_option
@json_option
@debug_option
def annotate(*, table: str | None, json_output: bool, **given: Any) -> None:
    """Add a table of your own; its columns become filters.

    Filter with search --where. A path is absolute, or relative to the table's folder or to an indexed one. The values belong to the
    content of the image files, so they survive moves and renames. A table changes only the rows and columns that it has; an existing
    column keeps its kind. Without a table, the columns that there are are listed.

    \b
    Examples:
      image-search annotate facts.csv
      image-search search photo.jpg --where "price < 20 and brand = 'x'"
    """
    from ..paths import shown
    from ..present.table import columns_table

    drop, key = given.pop("drop"), given.pop("key")
    with open_engine(given) as engine:
        came = engine.annotate(table, key=key, drop=drop)
    if json_output:
        print_json(asdict(came))
        return
    if table is not None:
        about = f"{many(came.rows, 'row')} about {many(came.images, 'image')}"
        note(f"{about}{'' if came.images else '; nothing was changed'}")
        if came.unmatched:
            some = ", ".join(shown(key) for key in came.unmatched[:_NAMED])
            about = f"{many(len(came.unmatched), 'row')} {'is' if len(came.unmatched) == 1 else 'are'} about no image of the library"
            note(f"{about}: {some}{', ...' if len(came.unmatched) > _NAMED else ''}")
    print(columns_table(came.columns))
