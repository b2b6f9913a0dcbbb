"""image-search export"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import signals
from ..errors import UsageError
from .options import FILE, debug_option, library_option, open_engine


@click.command()
@click.argument("folder", metavar="[FOLDER]", required=False, type=FILE, help="With --to tensorboard: where its files are to be.")
@click.option("--to", metavar="FILE.parquet|tensorboard", required=True, help="A Parquet file, or the Embedding Projector of TensorBoard.")
@click.option("--replace", is_flag=True, help="Replace an export that has this name.")
@library_option
@debug_option
def export(*, folder: Path | None, to: str, replace: bool, **given: Any) -> None:
    """Export the library, with every image's facts and vector.

    Of every image: id, uri, class, hash, facts, vector, and the columns of your own tables (annotate). Parquet is read by DuckDB, pandas,
    Polars and Spark; it needs the extra [parquet]. TensorBoard's projector gets vectors.tsv, metadata.tsv and, for up to 10,000 images, a
    sprite of their thumbnails.

    \b
    Examples:
      image-search export --to vectors.parquet
      image-search export --to tensorboard projector/
    """
    kind = "tensorboard" if to == "tensorboard" else "parquet"
    if (kind == "tensorboard") == (folder is None):
        raise UsageError(
            "--to tensorboard needs a folder" if folder is None else "a folder goes with --to tensorboard alone",
            hint="for example image-search export --to tensorboard projector/",
        )
    signals.say_at_the_end()
    with open_engine(given) as engine:
        images = engine.export(folder or to, kind=kind, replace=replace)
    print(f"{images:,} images: {folder or to}")
