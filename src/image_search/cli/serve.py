"""image-search serve"""

from __future__ import annotations

from typing import Any

import click

from ..config import MIB, OWN_MEGABYTES, OWN_MEGAPIXELS, UPLOAD_LIMITS
from . import console
from .options import FILE, asked_store_option, debug_option, library_option, model_option, no_browser_option, runtime_option


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
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="A name under which a proxy or a container's port reaches the page: NAME, NAME:PORT, *.example.com, localhost:*; may be repeated.",
)
@click.option("--root-path", metavar="PATH", default="", help="The path below which a proxy shows the page, such as /photos.")
@click.option(
    "--key-file",
    type=FILE,
    metavar="FILE",
    help="Open the page with the keys of this file only, each with a name and a role (all or read); made if it is not there.",
)
@click.option("--new-key", is_flag=True, help="Renew this library's key: links printed before open nothing any more.")
@click.option("--fresh-key", is_flag=True, help="A key for this start only; nothing is kept of it, nor of the pictures that are given.")
@click.option("--watch", is_flag=True, help="Keep the library's folders up to date; the page follows by itself.")
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
@asked_store_option
@debug_option
def serve(*, no_browser: bool, **given: Any) -> None:
    """Start the page: drop an image on it and see what is similar.

    Only people with the printed link can open it, and only on this machine unless you pass --host. Ctrl-C stops it. The next start prints
    the same link.

    \b
    Examples:
      image-search serve --allow ~/Pictures
      image-search serve --library photos.library --port 8000 --no-browser
      image-search serve --host 0.0.0.0 --allow-host photos.example.com --root-path /photos --key-file keys.txt
    """
    from ..web.serve import serve as run
    from ..web.start import PageSettings

    run(PageSettings(**given), browser=not no_browser and console.has_display(), notify=console.note)
