"""image-search rebuild"""

from __future__ import annotations

from typing import Any

import click

from .options import debug_option, library_option, open_engine, store_option


@click.command()
@library_option
@store_option
@debug_option
def rebuild(**given: Any) -> None:
    """Rebuild the vector store from the catalog.

    No model is needed.
    """
    with open_engine(given) as engine:
        count = engine.rebuild()
        kept = engine.status()["store"] != "exact"
    print(f"the store holds {count:,} images" if kept else "this library keeps no store (exact); --store chroma makes one")
