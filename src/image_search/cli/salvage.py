"""image-search salvage"""

from __future__ import annotations

from pathlib import Path

import click

from ..config import default_library
from ..paths import shown
from .console import note
from .options import FILE, debug_option, library_option


@click.command()
@library_option
@click.option("--to", type=FILE, metavar="FOLDER", help="The new library. Default: beside the damaged one, with .saved added to its name.")
@debug_option
def salvage(*, library: str | None, to: Path | None) -> None:
    """Save what is still good in a damaged library into a new one. The damaged one is only read."""
    from ..library.salvage import salvage as save

    damaged = default_library(library)
    saved = save(damaged, default_library(to) if to is not None else damaged.with_name(f"{damaged.name}.saved"))
    for path in saved.lost:
        note(f"lost: {path}")
    if saved.unknown:
        note(f"lost: {saved.unknown:,} more files, and their names with them")
    print(f"saved {saved.images:,} images and {saved.vectors:,} vectors in {shown(str(saved.library))}")
    note(f"Index your folders with --library {saved.library}: what was lost comes back, and only that is embedded.")
