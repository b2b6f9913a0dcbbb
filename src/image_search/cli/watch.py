"""image-search watch"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

import click

from .. import signals
from .console import note, print_json
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


@click.command()
@folders_argument
@library_option
@model_option
@name_from_option
@exclude_option
@jobs_option
@skip_megapixels_option
@any_name_option
@runtime_option
@store_option
@json_option
@debug_option
def watch(*, folders: tuple[str, ...], json_output: bool, **given: Any) -> None:
    """Keep the library up to date with these folders until Ctrl-C.

    It indexes them, and again whenever something in them changes: a burst of new files is taken in at once, some seconds after the last.
    In between other commands can write to the library. A disk that goes away makes nothing missing. To have the page as well:
    image-search serve --watch

    \b
    Examples:
      image-search watch ~/Pictures
      image-search watch /mnt/photos --exclude '*_mask.png' --library photos.library
    """
    from ..present.table import changes_line

    signals.say_at_the_end("stopped")
    with open_engine(given) as engine:
        for number, report in enumerate(engine.watch(folders, **given)):
            if json_output:
                print_json(asdict(report))
            elif (line := changes_line(report)) or not number:
                print(f"{time.strftime('%H:%M:%S')}  {line or 'up to date'}")
            sys.stdout.flush()
            if not number:
                note("Watching; it ends with Ctrl-C.")
