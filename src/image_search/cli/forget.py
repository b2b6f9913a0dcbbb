"""image-search forget"""

from __future__ import annotations

from typing import Any

import click

from .options import debug_option, library_option, open_engine


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, help="Files, folders or ids.")
@library_option
@debug_option
def forget(*, paths: tuple[str, ...], **given: Any) -> None:
    """Remove files or folders from the library. On the disk nothing changes.

    They come back only when you index the very path you give here.
    """
    with open_engine(given) as engine:
        count = engine.forget(*paths)
    if count == 0:
        print("it was out of the library already")
    else:
        print("1 image left the library" if count == 1 else f"{count:,} images left the library")
