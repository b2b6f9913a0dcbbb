"""image-search serve"""

from __future__ import annotations

from typing import Any

import click

from ..config import MIB, OWN_MEGABYTES, OWN_MEGAPIXELS, UPLOAD_LIMITS
from . import console
from .options import debug_option, library_option, model_option, no_browser_option, runtime_option, store_option


@click.command()
@library_option
@click.option("--allow", "folders", metavar="FOLDER", multiple=True, help="A folder that may be indexed from the page; may be repeated.")
@no_browser_option
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="The port to listen on. Default: 8417, or any free one.")
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on. With any but the default, other machines can reach the page.",
)
@click.option("--allow-host", "hosts", metavar="NAME", multiple=True, help="A name under which a proxy reaches the page; may be repeated.")
@click.option("--allow-urls", "urls", is_flag=True, help="Let the page search with pictures from public addresses.")
@click.option(
    "--max-megapixels",
    type=click.FloatRange(min=0.001),
    metavar="MP",
    help=f"Refuse larger pictures. Default: {OWN_MEGAPIXELS:g}; {UPLOAD_LIMITS.megapixels:g} for uploads where others may reach the page.",
)
@click.option(
    "--max-megabytes",
    type=click.FloatRange(min=1),
    metavar="MB",
    help=f"Refuse larger files. Default: {OWN_MEGABYTES:g}; {UPLOAD_LIMITS.file_bytes // MIB} where others may reach the page.",
)
@model_option
@runtime_option
@store_option
@debug_option
def serve(*, no_browser: bool, **given: Any) -> None:
    """Start the page: drop an image on it and see what is similar.

    Only people with the printed link can open it, and only on this machine unless you pass --host. Ctrl-C stops it.

    \b
    Examples:
      image-search serve --allow ~/Pictures
      image-search serve --library photos.library --port 8000 --no-browser
    """
    from ..web.server import PageSettings
    from ..web.server import serve as run

    run(PageSettings(**given), browser=not no_browser and console.has_display(), notify=console.note)
