"""image-search relocate"""

from __future__ import annotations

from typing import Any

import click

from ..paths import shown
from .options import debug_option, library_option, open_engine


@click.command()
@click.argument("old", metavar="OLD", help="Where the folder was.")
@click.argument("new", metavar="NEW", help="Where it is now.")
@library_option
@debug_option
def relocate(*, old: str, new: str, **given: Any) -> None:
    """Tell the library that an indexed folder has moved.

    Nothing is embedded again. NEW may have been indexed already: the two become one.
    """
    with open_engine(given) as engine:
        count = engine.relocate(old, new)
    print(f"{count:,} {'image is' if count == 1 else 'images are'} now found at {shown(new)}")
