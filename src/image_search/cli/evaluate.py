"""image-search evaluate"""

from __future__ import annotations

import click

from . import console
from .options import debug_option, jobs_option, json_option, runtime_option


@click.command()
@click.argument("folder", metavar="FOLDER", help="Its sub-folders are the classes.")
@click.option(
    "--model",
    "models",
    metavar="NAME",
    multiple=True,
    default=["auto"],
    help="Default: auto. Repeat it to see several models side by side.",
)
@click.option("--words", is_flag=True, help="Also search with the classes' names; for models that know words.")
@click.option(
    "--template",
    metavar="TEXT",
    default="a photo of {}",
    show_default=True,
    help="The phrase that the model is given; {} stands for the name.",
)
@runtime_option
@jobs_option
@json_option
@debug_option
def evaluate(
    *, folder: str, models: tuple[str, ...], words: bool, template: str, runtime: str | None, jobs: int | None, json_output: bool
) -> None:
    """Measure models on a folder of your own.

    Its sub-folders are the classes. No library is read or written.

    k1, k5: how often the nearest image, or the vote of the five nearest, has the right class.

    P@10, mAP@100: how many of the first ten and the first hundred are right.

    copies: how often a changed copy (cropped, mirrored, turned, JPEG q10, grey, text over it) finds its original first.

    store: the share of the exact ten nearest that the vector store finds.

    ms: CPU milliseconds per image, for decoding and for the model.

    words: of class names, how often a picture's best name is its own; P@10 and mAP of each name's search.

    \b
    Example:
      image-search evaluate data/food --model mini --model dino
    """
    from ..evaluate.run import evaluate as measure
    from ..present.progress import bars
    from ..present.table import evaluation_table

    with bars() as progress:
        said = template if words else None
        found = measure(folder, list(models), runtime=runtime, jobs=jobs, template=said, progress=progress)
    if json_output:
        console.print_json([one.as_dict() for one in found])
    else:
        print(evaluation_table(found))
