"""`image-search demo`: draw, index, search, compare; the whole program on pictures of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from ..engine import ImageSearchEngine
from ..paths import shown
from ..present.table import matches_table
from . import draw_gallery, draw_queries

__all__ = ["run"]


def run(folder: Path, library: Path | None, *, n_results: int = 3) -> None:
    """Tables to stdout, progress and hints to stderr.

    Args:
        folder: the gallery, made or completed: <folder>/<Class>/<n>.jpg.
        library: None: demo.library beside the gallery.

    Raises UsageError if a file that is not the gallery's own lies in its way; nothing is overwritten.
    """
    from tqdm.auto import tqdm

    library = library or folder.parent / "demo.library"
    queries = folder.parent / f"{folder.name}-queries"
    with tqdm(unit="img", desc="draw", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        pictures = draw_gallery(folder, progress=progress)
    _say(f"{len(pictures)} pictures in {folder}")
    with ImageSearchEngine(library, notify=_say) as engine:
        engine.index(folder)
        for query in draw_queries(queries):
            matches = engine.search(query, n_results=n_results)
            comparison = query.with_name(f"{query.stem}-compared.png")
            matches.plot(comparison)
            print(f"\n{shown(query.name)}, which is not in the library:")
            print(matches_table(matches))
            print(f"side by side: {shown(str(comparison))}")
    print(
        f"\nNext, with your own pictures:\n"
        f"  image-search index ~/Pictures\n"
        f"  image-search search photo.jpg --show\n"
        f"or go on with the sample:\n"
        f"  image-search search {shown(str(pictures[0]))} --library {shown(str(library))}"
    )


def _say(line: str) -> None:
    print(shown(line), file=sys.stderr)
