"""image-search label"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import click

from ..errors import UsageError
from . import console
from .options import FILE, debug_option, jobs_option, json_option, runtime_option


@click.command()
@click.argument("folder", metavar="FOLDER")
@click.option("--with", "given", metavar="LABELS", help="The labels, between commas.")
@click.option("--with-file", type=FILE, metavar="FILE", help="A text file with one label per line.")
@click.option(
    "--template", metavar="TEXT", default="{}", show_default=True, help="The phrase that the model is given; {} stands for the label."
)
@click.option("--model", metavar="NAME", default="siglip2", show_default=True, help="A model that knows words.")
@runtime_option
@jobs_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for programs: path, label, probability, similarity, error.")
@debug_option
def label(
    *,
    folder: str,
    given: str | None,
    with_file: Path | None,
    template: str,
    model: str,
    runtime: str | None,
    jobs: int | None,
    json_output: bool,
    as_csv: bool,
) -> None:
    """Find the best of your labels for each picture.

    Nothing is written, no library is read. The probability is the model's own: for SigLIP, that the label fits; for CLIP
    and mini, the share among the labels that you gave.

    \b
    Example:
      image-search label photos --with "cat,dog,a bowl of ramen"
    """
    from ..evaluate.words import label as labelled
    from ..paths import shown
    from ..present.progress import bars

    if json_output and as_csv:
        raise UsageError("--json and --csv exclude each other")
    labels = [part for part in (given or "").split(",") if part.strip()] + _lines(with_file)
    if not labels:
        raise UsageError("no label was given", hint='for example --with "cat,dog"')
    with bars() as progress:
        found = list(
            labelled(
                folder, labels, model=model, template=template, runtime=runtime, jobs=jobs,
                progress=lambda done, total: progress("pictures", done, total),
            )
        )  # fmt: skip
    if json_output:
        console.print_json([one.as_dict() for one in found])
    elif as_csv:
        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(("path", "label", "probability", "similarity", "error"))
        rows.writerows((shown(f.path), f.label, f"{f.probability:.4f}", f"{f.similarity:.4f}", f.error) for f in found)
    else:
        for f in found:
            chance = f"{f.probability:6.1%}" if not f.error else " " * 6
            print(f"{chance}  {f.label or f'({f.error})'}  {shown(f.path)}")


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return [line.strip() for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise UsageError(
            "this list of labels cannot be read", path=file, hint="give a text file in UTF-8 with one label per line"
        ) from error
