"""image-search demo: draw, index, search, compare; the whole program on pictures of its own."""

from __future__ import annotations

from pathlib import Path

import click

from ..config import default_library
from ..paths import shown
from .console import note
from .options import FILE, debug_option


@click.command()
@click.argument("folder", type=FILE, metavar="[FOLDER]", default="gallery", help="Where to draw the sample gallery. Default: gallery.")
@click.option("--library", metavar="FOLDER", help="The demo's own library. Default: demo.library beside the gallery.")
@debug_option
def demo(*, folder: Path, library: str | None) -> None:
    """Draw a sample gallery, index it and search it.

    It searches with pictures that are not in the gallery, and saves each search as a comparison picture.
    """
    run(folder, None if library is None else default_library(library))


def run(folder: Path, library: Path | None) -> None:
    """Tables to stdout, progress and hints to stderr.

    Args:
        folder: the gallery, made or completed: <folder>/<Class>/<n>.jpg.
        library: None: demo.library beside the gallery.

    Raises UsageError if a file that is not the gallery's own lies in its way; nothing is overwritten.
    """
    from ..demo import draw_gallery, draw_queries
    from ..engine import ImageSearchEngine
    from ..present.progress import bar

    library = library or folder.parent / "demo.library"
    with bar("draw") as progress:
        pictures = draw_gallery(folder, progress=progress)
    note(f"{len(pictures)} pictures in {folder}")
    with ImageSearchEngine(library, notify=note) as engine:
        engine.index(folder)
        for query in draw_queries(folder.parent / f"{folder.name}-queries"):
            matches = engine.search(query)
            comparison = query.with_name(f"{query.stem}-compared.png")
            matches.plot(comparison)
            print(f"\n{shown(query.name)}, which is not in the library:")
            print(matches)
            print(f"side by side: {shown(str(comparison))}")
    print(
        f"\nNext, with your own pictures:\n"
        f"  image-search index ~/Pictures\n"
        f"  image-search search photo.jpg --show\n"
        f"or go on with the sample:\n"
        f"  image-search search {shown(str(pictures[0]))} --library {shown(str(library))}"
    )
