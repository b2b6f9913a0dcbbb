"""image-search models"""

from __future__ import annotations

import click

from .console import print_json
from .options import debug_option, json_option


@click.command()
@json_option
@debug_option
def models(*, json_output: bool) -> None:
    """List the models, their size, and which are on this machine."""
    from ..models import MODELS, is_available

    rows = [
        {
            "name": row.name,
            "source": row.source,
            "dimensions": row.dim,
            "megabytes": row.megabytes,
            "licence": row.licence,
            "terms": row.terms or None,
            "here": is_available(row),
            "about": row.about,
        }
        for row in MODELS
    ]
    if json_output:
        print_json(rows)
        return
    for row in rows:
        here = "here" if row["here"] else "to be fetched once"
        licence = row["licence"] if row["terms"] is None else f"{row['licence']}: {row['terms']}"
        print(f"{row['name']:<13}{row['megabytes'] or '?':>5} MB  {here:<19}{row['about']} ({licence})")
    print("Any Hugging Face model of the ViT family works too, by its id or as a local folder: --model org/name")
