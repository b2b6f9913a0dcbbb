"""image-search load"""

from __future__ import annotations

from typing import Any

import click

from .. import signals
from ..errors import UsageError
from .console import note, print_json
from .options import COLLECTIONS, STORES, debug_option, json_option, library_option, open_engine


@click.command()
@click.argument("dataset", metavar="DATASET", help="A Parquet data set: a folder, or s3://bucket/prefix, gs://, abfs://.")
@click.option(
    "--store",
    metavar="NAME",
    help=f"The collection: {COLLECTIONS}. Made if it is not there. With --library the store of that library: {STORES}.",
)
@library_option
@json_option
@debug_option
def load(*, dataset: str, store: str | None, library: str | None, json_output: bool) -> None:
    """Load a data set's vectors into a collection or a library.

    What is there already is passed by, so a load that was interrupted is finished by the next. A folder takes only pictures that are
    files of this machine; `index` knows them then and embeds none of them again. --store beside --library names the store that it keeps.

    \b
    Examples:
      image-search load s3://bucket/vectors --store milvus:http://milvus:19530/photos
      image-search load vectors/ --store milvus:photos.db
      image-search load vectors/ --library photos.library
      image-search load vectors/ --library photos.library --store chroma:http://chroma:8000
    """
    if store is None and library is None:
        raise UsageError("no destination was given", hint="give --store, for example milvus:photos.db, or --library FOLDER")
    if store is not None and library is None:
        from ..collection.verbs import must_stand_alone

        must_stand_alone(store)
    signals.say_at_the_end()
    with open_engine({"store": store, "library": library}) as engine:
        tell(engine.load(dataset), library or str(store), json_output)


def tell(loaded: Any, where: str, as_json: bool) -> None:
    """What a load or a move did."""
    if as_json:
        names = ("loaded", "unchanged", "refused", "left_out", "images")
        print_json({name: getattr(loaded, name) for name in names})
        return
    already = f", {loaded.unchanged:,} were there already" if loaded.unchanged else ""
    print(f"{loaded.loaded:,} images loaded{already}: {loaded.images:,} in {where}")
    if loaded.refused:
        note(f"left out, since they have no vector: {loaded.refused:,}; the data set's `reason` says why")
    if loaded.left_out:
        note(f"{loaded.left_out:,} addresses were left out: too long, or their number is another one's")
