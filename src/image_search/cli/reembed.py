"""image-search reembed"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from .console import note, print_json, say
from .options import (
    debug_option,
    jobs_option,
    json_option,
    library_option,
    open_engine,
    runtime_option,
    skip_megapixels_option,
    store_option,
)


@click.command()
@library_option
@click.option(
    "--model",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="The new model, as for index; auto: the current model of the same name as the library's.",
)
@click.option(
    "--leave-unreachable", is_flag=True, help="Change the model even if some pictures cannot be read now; index embeds them later."
)
@jobs_option
@skip_megapixels_option
@runtime_option
@store_option
@json_option
@debug_option
def reembed(*, json_output: bool, **given: Any) -> None:
    """Bring the library to another model; nothing else changes.

    Every picture is read and embedded again; decisions, tables, classes and ids stay. Until the last picture is done, searches, also
    those of a running page, get the old model's answers; then all get the new one's. Stop it whenever you like: the next run goes on.
    Pictures whose disk is away stop the change, unless you pass --leave-unreachable; they stay known, and the next index run that
    reaches them embeds them.

    \b
    Example:
      image-search reembed --model dino
    """
    from ..present.table import reembed_table

    with open_engine(given) as engine:
        report = engine.reembed(**given)
    if json_output:
        print_json(asdict(report))
    elif not report.changed:
        note(f"The library's model is {report.model} already; nothing was done.")
    else:
        print(reembed_table(report, say=say))
