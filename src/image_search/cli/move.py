"""image-search move"""

from __future__ import annotations

import click

from .. import signals
from ..errors import UsageError
from .load import tell
from .options import COLLECTIONS, STORES, debug_option, json_option, open_engine


@click.command()
@click.argument("source", metavar="FROM", help="A library's folder, or a collection.")
@click.argument("target", metavar="[TO]", required=False, help="A collection, or a library's folder; either is made if it is not there.")
@click.option(
    "--store", metavar="NAME", help=f"TO, as other commands name it: {COLLECTIONS}. Beside a folder TO the store of that library: {STORES}."
)
@json_option
@debug_option
def move(*, source: str, target: str | None, store: str | None, json_output: bool) -> None:
    """Copy a library into a collection, or back into a folder.

    Nothing is embedded again, and the source stays as it is.

    \b
    Examples:
      image-search move photos.library --store milvus:http://milvus:19530/photos
      image-search move milvus:photos.db NEW.library
      image-search move milvus:photos.db NEW.library --store chroma:http://chroma:8000
    """
    if target is None and store is None:
        raise UsageError("no destination was given", hint="for example --store milvus:photos.db, or the folder of a new library")
    from ..collection.verbs import names_store

    signals.say_at_the_end()
    where = str(target or store)
    with open_engine({"store": source} if names_store(source) else {"library": source}) as engine:
        tell(engine.move(where, store=None if target is None else store), where, json_output)
