"""image-search index"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .console import note, print_json, say
from .options import (
    any_name_option,
    debug_option,
    exclude_option,
    jobs_option,
    json_option,
    library_option,
    model_option,
    name_from_option,
    open_engine,
    runtime_option,
    skip_megapixels_option,
    store_option,
)

if TYPE_CHECKING:
    from ..types import IndexReport


@click.command()
@click.argument("folders", metavar="FOLDER...", nargs=-1, help="Folders with images; sub-folders are included. With --out also buckets.")
@library_option
@model_option
@name_from_option
@exclude_option
@jobs_option
@skip_megapixels_option
@click.option("--verify", is_flag=True, help="Read every file again, even those that look unchanged.")
@click.option("--prune", is_flag=True, help="Remove for good what is gone from these folders, even a whole disk, or left out.")
@click.option("--reread", is_flag=True, help="Read again those pictures that older rules turned into pixels; index counts them.")
@any_name_option
@click.option("--tags", is_flag=True, help="Say what each new picture shows, in the built-in vocabulary; all of it in --json.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any file was skipped.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@runtime_option
@store_option
@click.option(
    "--out", metavar="ADDRESS", help="Into a data set of Parquet files in place of a library: a folder, s3://BUCKET/PREFIX, gs://, abfs://."
)
@click.option(
    "--uris",
    metavar="LIST",
    help="With --out: a Parquet or CSV file with a column uri, in place of folders. Paths in it count from the current folder.",
)
@click.option(
    "--cluster", metavar="ADDRESS", help="With --out: embed on Ray: auto (one that runs, else this machine), local, ray://HOST:PORT."
)
@json_option
@debug_option
@click.pass_context
def index(  # long: a command's options
    context: click.Context,
    /,
    *,
    folders: tuple[str, ...],
    strict: bool,
    dry_run: bool,
    json_output: bool,
    out: str | None,
    uris: str | None,
    cluster: str | None,
    **given: Any,
) -> None:
    """Add folders to the library, or bring it up to date.

    Only new and changed images are embedded, and your files are only ever read. Stop it whenever you like: the next run goes on.

    \b
    Examples:
      image-search index ~/Pictures
      image-search index data/train --name-from folder --exclude '*_mask.png'
      image-search index /mnt/photos --model dino --library photos.library
      image-search index s3://bucket/photos --cluster auto --out s3://bucket/vectors
    """
    from ..present.table import report_table

    if out is not None:
        given |= {"out": out, "uris": uris, "cluster": cluster, "dry_run": dry_run}
        _into_dataset(context, folders, {"strict": strict, "json": json_output}, given)
        return
    for option, value in (("uris", uris), ("cluster", cluster)):
        if value is not None:
            raise click.UsageError(f"--{option} needs --out, the place of the data set")
    if buckets := [folder for folder in folders if "://" in folder and not folder.lower().startswith("file://")]:
        raise click.UsageError(f"{buckets[0]} is no folder; pictures of a bucket go into a data set: --out ADDRESS")
    if not folders:
        raise click.MissingParameter(param=context.command.params[0], ctx=context)
    with open_engine(given, long_lived=given["tags"]) as engine:
        report = engine.index(folders, dry_run=dry_run, **given)
        if json_output:
            print_json(_as_dict(report, tags=given["tags"]))
        else:
            print(report_table(report, say=say))
            if dry_run:
                note("Nothing was changed (--dry-run). Files were not opened, so moved and changed ones count as added.")
    if strict and report.skipped:
        context.exit(1)


# What a data set does not have, and why.
_OF_LIBRARIES = {
    "library": "the data set stands in its place",
    "store": "a data set has none; image-search load brings it into one",
    "verify": "every run asks for each file's size and version",
    "reread": "another --out embeds all of them anew",
    "tags": "image-search tags says what pictures show",
}


def _into_dataset(context: click.Context, folders: tuple[str, ...], shown: dict[str, bool], given: dict[str, Any]) -> None:
    """`shown`: how the report is shown ("json"), and whether a refused picture is an error ("strict")."""
    from ..cluster.embed import embed_dataset
    from ..present.table import dataset_table

    for name, why in _OF_LIBRARIES.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} is for libraries, and not for --out: {why}")
    report = embed_dataset(folders, notify=note, **{name: value for name, value in given.items() if name not in _OF_LIBRARIES})
    if shown["json"]:
        print_json(asdict(report))
    else:
        print(dataset_table(report))
        if given["dry_run"]:
            note("Nothing was written (--dry-run). Files were not opened.")
    if shown["strict"] and report.refused:
        context.exit(1)


def _as_dict(report: IndexReport, *, tags: bool) -> dict[str, Any]:
    """Tags as the command `tags` prints them, where they were asked for."""
    found = asdict(report)
    of_each = found.pop("tags")
    return {**found, "tags": [{"image": image, "tags": one} for image, one in of_each.items()]} if tags else found
