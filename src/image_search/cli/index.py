"""image-search index"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .console import note, print_json, say
from .options import (
    any_name_option,
    debug_option,
    exclude_option,
    folders_argument,
    jobs_option,
    json_option,
    library_option,
    model_option,
    name_from_option,
    open_engine,
    runtime_option,
    skip_megapixels_option,
    store_option,
)

if TYPE_CHECKING:
    from ..types import IndexReport


@click.command()
@folders_argument
@library_option
@model_option
@name_from_option
@exclude_option
@jobs_option
@skip_megapixels_option
@click.option("--verify", is_flag=True, help="Read every file again, even those that look unchanged.")
@click.option("--prune", is_flag=True, help="Remove for good what is gone from these folders, even a whole disk, or left out.")
@click.option("--reread", is_flag=True, help="Read again those pictures that older rules turned into pixels; index counts them.")
@any_name_option
@click.option("--tags", is_flag=True, help="Say what each new picture shows, in the built-in vocabulary; all of it in --json.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any file was skipped.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@runtime_option
@store_option
@json_option
@debug_option
@click.pass_context
def index(context: click.Context, /, *, folders: tuple[str, ...], strict: bool, dry_run: bool, json_output: bool, **given: Any) -> None:
    """Add folders to the library, or bring it up to date.

    Only new and changed images are embedded, and your files are only ever read. Stop it whenever you like: the next run goes on.

    \b
    Examples:
      image-search index ~/Pictures
      image-search index data/train --name-from folder --exclude '*_mask.png'
      image-search index /mnt/photos --model dino --library photos.library
    """
    from ..present.table import report_table

    with open_engine(given, long_lived=given["tags"]) as engine:
        report = engine.index(folders, dry_run=dry_run, **given)
        if json_output:
            print_json(_as_dict(report, tags=given["tags"]))
        else:
            print(report_table(report, say=say))
            if dry_run:
                note("Nothing was changed (--dry-run). Files were not opened, so moved and changed ones count as added.")
    if strict and report.skipped:
        context.exit(1)


def _as_dict(report: IndexReport, *, tags: bool) -> dict[str, Any]:
    """Tags as the command `tags` prints them, where they were asked for."""
    found = asdict(report)
    of_each = found.pop("tags")
    return {**found, "tags": [{"image": image, "tags": one} for image, one in of_each.items()]} if tags else found
