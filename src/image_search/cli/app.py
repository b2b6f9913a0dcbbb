"""The command line: results to stdout, progress and warnings to stderr, one plain line for an error.

Exit codes: 0 done, 1 known failure, 2 wrong usage, 130 interrupted (Ctrl-C), 143 terminated.
Everything heavy is imported inside the commands, so that --help is quick.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import click

from ..config import default_library
from ..errors import SALVAGE, ImageSearchError, LibraryDamagedError, LibraryNotFoundError, UsageError
from ..paths import shown
from . import console
from .console import in_shell, note, print_json, print_matches

if TYPE_CHECKING:
    from ..engine import ImageSearchEngine

__all__ = ["app", "main"]

_debug = False


def _set_debug(_context: click.Context, _option: click.Parameter, value: bool) -> None:
    global _debug
    _debug = _debug or value


def _print_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"image-search {__version__}")
        context.exit()


# --- options of several commands ----------------------------------------------------------------------------------------------------

FILE = click.Path(path_type=Path)

library_option = click.option(  # text: an empty name must not become the current folder
    "--library", metavar="FOLDER", help="The library's folder. Default: $IMAGE_SEARCH_LIBRARY, else the per-user data folder."
)
model_option = click.option(
    "--model",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="A name that `models` lists, a Hugging Face id or a folder; auto: the library's, else the best here.",
)
runtime_option = click.option(
    "--runtime",
    metavar="NAME",
    help="onnx, openvino (about twice as fast where processor and model allow bf16) or torch. Default: what suits the model.",
)
store_option = click.option("--store", metavar="NAME", help="chroma, chroma:http://HOST:PORT or exact. Default: as before.")
jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Decode workers and model threads. Default: one for each CPU."
)
n_option = click.option("-n", "--n-results", "n", type=int, metavar="N", default=3, show_default=True, help="How many matches.")
no_browser_option = click.option("--no-browser", is_flag=True, help="Start the page and print its address; open nothing.")
private_urls_option = click.option("--allow-private-urls", is_flag=True, help="Fetch also from this machine and local networks.")
json_option = click.option("--json", "json_output", is_flag=True, help="Machine-readable result on stdout.")
debug_option = click.option("--debug", is_flag=True, callback=_set_debug, expose_value=False, help="Show the stack trace of an error.")


WORDS = """\b
similarity  cosine of the two vectors, -1 to 1; 1.000 for an identical file
distance    1 - similarity; lower is nearer
closeness   0 to 1: how near for this library; .5 is a typical nearest
            neighbour here, none below 50 images
"""


class _InOrder(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # as below: what is needed first comes first


@click.group(
    "image-search",
    cls=_InOrder,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@library_option
@no_browser_option
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version.")
@debug_option
@click.pass_context
def app(context: click.Context, library: str | None, no_browser: bool) -> None:
    """Give it an image; get the most similar images of your library, beside it, with how similar they are.

    Without a command it opens the page in your browser (see: image-search serve --help); where there is no display it asks here (ask).

    \b
    First:  image-search demo              draws sample pictures, indexes them, searches
    Then:   image-search index ~/Pictures
            image-search search photo.jpg
    """
    if context.invoked_subcommand is not None:
        given = {"library": library, "no_browser": no_browser or None}  # before the command: it holds for the command
        defaults = {option: value for option, value in given.items() if value is not None}
        context.default_map = dict.fromkeys(app.commands, defaults)
    elif no_browser or console.has_display():
        context.invoke(serve, library=library, no_browser=no_browser)
    else:
        note("There is no display to open the page on, so it asks here (image-search serve starts the page all the same).")
        context.invoke(ask, library=library)


@app.command()
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, help="Folders with images; sub-folders are included.")
@library_option
@model_option
@click.option(
    "--name-from", type=click.Choice(["folder", "none"]), help="An image's class: the folder it lies in, or none. Default: as before."
)
@click.option("--exclude", metavar="GLOB", multiple=True, help="Leave out names or paths; may be repeated.")
@jobs_option
@click.option("--max-megapixels", type=click.FloatRange(min=0.001), metavar="MP", help="Larger pictures are skipped. Default: 200.")
@click.option("--verify", is_flag=True, help="Hash every file, also those that look unchanged.")
@click.option("--prune", is_flag=True, help="What is gone leaves the library for good, also when a whole disk is gone.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any file was skipped.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@runtime_option
@store_option
@json_option
@debug_option
@click.pass_context
def index(
    context: click.Context,
    folders: tuple[str, ...],
    library: str | None,
    model: str,
    name_from: str | None,
    exclude: tuple[str, ...],
    jobs: int | None,
    max_megapixels: float | None,
    verify: bool,
    prune: bool,
    strict: bool,
    dry_run: bool,
    runtime: str | None,
    store: str | None,
    json_output: bool,
) -> None:
    """Take folders into the library, or bring it up to date.

    Only what is new or changed is embedded. Your files are only read. Interrupt it whenever you like; the next run goes on.

    \b
    Examples:
      image-search index ~/Pictures
      image-search index data/train --name-from folder --exclude '*_mask.png'
      image-search index /mnt/photos --model dino --library photos.library
    """
    from ..present.table import report_table

    with _engine(library, model=model, runtime=runtime, store=store, jobs=jobs) as engine:
        report = engine.index(
            folders,
            name_from=name_from,
            exclude=exclude,
            max_megapixels=max_megapixels,
            verify=verify,
            prune=prune,
            dry_run=dry_run,
        )
        if json_output:
            print_json(asdict(report))
        else:
            print(report_table(report))
            if dry_run:
                note("Nothing was changed (--dry-run); contents were not read, so moved and changed files count as added.")
    if strict and report.skipped:
        context.exit(1)


@app.command(epilog=WORDS)
@click.argument(
    "images",
    metavar="IMAGE...",
    nargs=-1,
    required=True,
    help="Path, http(s) address, id of a library item, or - for stdin; several: their mean.",
)
@click.option("--less", metavar="IMAGE", multiple=True, help="Less like this image; may be repeated.")
@n_option
@click.option("--name", "names", metavar="CLASS", multiple=True, help="Only this class; may be repeated.")
@click.option("--path", metavar="GLOB", help="Only paths that match, such as '*/2024/*'.")
@click.option("--min-similarity", type=float, metavar="COSINE", help="Only matches with at least this similarity.")
@click.option("--min-closeness", type=float, metavar="SHARE", help="Only matches with at least this closeness.")
@click.option("--region", metavar="x,y,w,h", help="Only this part of the image, in pixels as you see it.")
@click.option("--exclude-self", is_flag=True, help="Leave out files identical to the query.")
@click.option("--exact", is_flag=True, help="Compare with every image (what single searches do anyway).")
@click.option("--store-only", is_flag=True, help="Ask the vector store, or fail.")
@click.option("--save", type=FILE, metavar="FILE", help="Save the comparison picture: png, jpg, webp, pdf or svg.")
@click.option("--show", is_flag=True, help="Open the comparison picture.")
@library_option
@model_option
@runtime_option
@store_option
@private_urls_option
@json_option
@debug_option
def search(
    images: tuple[str, ...],
    less: tuple[str, ...],
    n: int,
    names: tuple[str, ...],
    path: str | None,
    min_similarity: float | None,
    min_closeness: float | None,
    region: str | None,
    exclude_self: bool,
    exact: bool,
    store_only: bool,
    save: Path | None,
    show: bool,
    library: str | None,
    model: str,
    runtime: str | None,
    store: str | None,
    allow_private_urls: bool,
    json_output: bool,
) -> None:
    """Show the images of the library most similar to an image.

    \b
    Examples:
      image-search search burger.jpg
      image-search search burger.jpg -n 12 --save compare.png
      image-search search a.jpg b.jpg --less c.jpg --name Burger --min-closeness .5
      image-search search photo.jpg --region 120,80,300,300 --json
      curl -s https://example.org/cat.jpg | image-search search -
    """
    if exact and store_only:
        raise UsageError("--exact and --store-only exclude each other")
    if save is not None:
        from ..present.figure import check_target

        check_target(save)
    how: Literal["auto", "exact", "store"] = "exact" if exact else "store" if store_only else "auto"
    stdin = functools.cache(console.bytes_from_stdin)
    with _engine(library, model=model, runtime=runtime, store=store, allow_private_urls=allow_private_urls) as engine:
        matches = engine.search(
            [stdin() if image == "-" else image for image in images],
            n,
            less=[stdin() if image == "-" else image for image in less],
            names=names,
            path=path,
            min_similarity=min_similarity,
            min_closeness=min_closeness,
            region=_region(region),
            exclude_self=exclude_self,
            how=how,
        )
        if json_output:
            print_json(matches.to_dict())
        else:
            print_matches(matches)
        if save is not None:
            console.advise_fonts(matches)
            matches.plot(save)
            note(f"Saved the comparison: {save}")
        if show:
            console.open_picture(matches)


@app.command()
@library_option
@click.option("--allow", metavar="FOLDER", multiple=True, help="This folder may be indexed from the page; may be repeated.")
@no_browser_option
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="Default: 8417, or a free one.")
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Any other lets other machines reach the page.",
)
@click.option("--allow-host", metavar="NAME", multiple=True, help="A name under which a proxy reaches the page.")
@click.option("--allow-urls", is_flag=True, help="The page may search with pictures from public addresses.")
@model_option
@runtime_option
@store_option
@debug_option
def serve(
    library: str | None,
    allow: tuple[str, ...],
    no_browser: bool,
    port: int | None,
    host: str,
    allow_host: tuple[str, ...],
    allow_urls: bool,
    model: str,
    runtime: str | None,
    store: str | None,
) -> None:
    """Start the page: drop an image, see what is similar.

    Only who knows the printed address gets in. Ctrl-C ends it.

    \b
    Examples:
      image-search serve --allow ~/Pictures
      image-search serve --library photos.library --port 8000 --no-browser
    """
    from ..web.server import PageSettings
    from ..web.server import serve as run

    settings = PageSettings(
        library,
        folders=allow,
        port=port,
        host=host,
        hosts=allow_host,
        urls=allow_urls,
        model=model,
        runtime=runtime,
        store=store,
    )
    run(settings, browser=not no_browser and console.has_display(), notify=note)


@app.command()
@library_option
@n_option
@private_urls_option
@debug_option
def ask(library: str | None, n: int, allow_private_urls: bool) -> None:
    """Ask for an image, show what is similar, and ask again.

    An image is a path or an http(s) address. An empty line ends it.
    """
    with _engine(library, long_lived=True, allow_private_urls=allow_private_urls) as engine:
        images = engine.status()["images"]
        note(f"{images:,} images in {engine.library}. Give an image (path or http address); an empty line ends.")
        while True:
            try:
                text = input("image> ") if sys.stdin.isatty() else input()
            except EOFError:
                return
            text = console.unquoted(text)
            if not text:
                return
            try:
                matches = engine.search(text, n)
                print_matches(matches)
                console.open_picture(matches)
            except ImageSearchError as error:
                note(f"error: {error.told(in_shell)}")


@app.command()
@library_option
@click.option("--verify", is_flag=True, help="Read the whole catalog and say what is damaged in it.")
@json_option
@debug_option
@click.pass_context
def status(context: click.Context, library: str | None, verify: bool, json_output: bool) -> None:
    """Say what the library holds: images, folders, model, store."""
    with _engine(library) as engine:
        facts = engine.status()
        if verify:
            facts["damage"] = engine.verify()
    if json_output:
        facts["roots"] = [{**root, "path": shown(root["path"])} for root in facts["roots"]]
        print_json(facts)
        if facts.get("damage"):
            context.exit(1)
        return
    print(f"library     {shown(facts['library'])}")
    print(f"images      {facts['images']:,} ({facts['contents']:,} different)")
    print(f"classes     {facts['classes']:,}")
    for word in ("missing", "skipped", "forgotten"):
        if facts[word]:
            print(f"{word:<12}{facts[word]:,}")
    print(f"model       {shown(facts['model'])} ({facts['dimensions']} dimensions)")
    ready = "ready" if facts["store_ready"] else f"not ready, exact search answers ({facts['store_note']})"
    print(f"store       {facts['store']}: {ready}")
    for root in facts["roots"]:
        print(f"folder      {shown(root['path'])}: {root['images']:,} images{', offline' if root['offline'] else ''}")
    if verify and not facts["damage"]:
        print("catalog     all of it was read, and no damage was found")
    elif verify:
        for line in facts["damage"]:
            note(f"damage: {line}")
        raise LibraryDamagedError("the catalog is damaged", path=facts["library"], hint=SALVAGE)


@app.command()
@json_option
@debug_option
def models(json_output: bool) -> None:
    """List the models: what they are, their size, which are here."""
    from ..models import MODELS, is_available

    rows = [
        {
            "name": row.name,
            "source": row.source,
            "dimensions": row.dim,
            "megabytes": row.megabytes,
            "licence": row.licence,
            "here": is_available(row),
            "about": row.about,
        }
        for row in MODELS
    ]
    if json_output:
        print_json(rows)
        return
    for row in rows:
        here = "here" if row["here"] else "to be fetched once"
        print(f"{row['name']:<11}{row['megabytes'] or '?':>5} MB  {here:<19}{row['about']} ({row['licence']})")
    print("Any Hugging Face model of the ViT family works too, by its id or as a local folder: --model org/name")


@app.command()
@click.argument("folder", metavar="FOLDER", help="Its sub-folders are the classes.")
@click.option(
    "--model", "models", metavar="NAME", multiple=True, default=["auto"], help="Default: auto. May be repeated: models side by side."
)
@runtime_option
@jobs_option
@json_option
@debug_option
def evaluate(folder: str, models: tuple[str, ...], runtime: str | None, jobs: int | None, json_output: bool) -> None:
    """Measure models on a folder of your own.

    Its sub-folders are the classes. No library is read or written.

    k1, k5: the nearest image, the vote of the five nearest, has the right class. P@10, mAP@100: how many of the first are right.

    copies: share of changed copies (cropped, mirrored, turned, JPEG q10, grey, text over it) whose original comes first.

    store: share of the exact ten nearest that the vector store finds. ms: CPU milliseconds an image, decoding and model.

    \b
    Example:
      image-search evaluate data/food --model mini --model dino
    """
    from ..evaluate.run import evaluate as measure
    from ..present.table import evaluation_table

    with console.bars() as progress:
        found = measure(folder, list(models), runtime=runtime, jobs=jobs, progress=progress)
    if json_output:
        print_json([one.as_dict() for one in found])
    else:
        print(evaluation_table(found))


@app.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, help="Files, folders or ids.")
@library_option
@debug_option
def forget(paths: tuple[str, ...], library: str | None) -> None:
    """Take files or folders out of the library. They stay out until the path itself is indexed. The files are not touched."""
    with _engine(library) as engine:
        count = engine.forget(*paths)
    print(f"{count:,} images left the library")


@app.command()
@click.argument("old", metavar="OLD", help="The folder's old place.")
@click.argument("new", metavar="NEW", help="Its new place.")
@library_option
@debug_option
def relocate(old: str, new: str, library: str | None) -> None:
    """Tell the library that an indexed folder has moved.

    Nothing is embedded again.
    """
    with _engine(library) as engine:
        count = engine.relocate(old, new)
    print(f"{count:,} images are now found at {shown(new)}")


@app.command()
@library_option
@store_option
@debug_option
def rebuild(library: str | None, store: str | None) -> None:
    """Make the vector store anew from the catalog.

    The model is not needed.
    """
    with _engine(library, store=store) as engine:
        count = engine.rebuild()
        kept = engine.status()["store"] != "exact"
    print(f"the store holds {count:,} images" if kept else "this library keeps no store (exact)")


@app.command()
@library_option
@click.option("--to", type=FILE, metavar="FOLDER", help="The new library. Default: beside the damaged one, .saved added.")
@debug_option
def salvage(library: str | None, to: Path | None) -> None:
    """Save what is good of a damaged library into a new one. The damaged one is only read."""
    from ..library.salvage import salvage as save

    damaged = default_library(library)
    saved = save(damaged, default_library(to) if to is not None else damaged.with_name(f"{damaged.name}.saved"))
    for path in saved.lost:
        note(f"lost: {path}")
    if saved.unknown:
        note(f"lost: {saved.unknown:,} files whose names are gone, too")
    print(f"saved {saved.images:,} images and {saved.vectors:,} vectors in {shown(str(saved.library))}")
    note(f"Index your folders with --library {saved.library}: what was lost comes back, and only that is embedded.")


@app.command()
@click.argument("folder", type=FILE, metavar="[FOLDER]", default="gallery", help="Where to draw the sample gallery. Default: gallery.")
@click.option("--library", metavar="FOLDER", help="The demo's own library. Default: demo.library beside the gallery.")
@debug_option
def demo(folder: Path, library: str | None) -> None:
    """Draw a sample gallery, index it and search it.

    It searches with pictures that are not in the gallery, and saves the comparisons.
    """
    from ..demo.show import run

    run(folder, None if library is None else default_library(library))


# --- pieces -----------------------------------------------------------------------------------------------------------------


def _engine(library: str | None, *, long_lived: bool = False, **options: Any) -> ImageSearchEngine:
    from ..engine import ImageSearchEngine

    return ImageSearchEngine(library, long_lived=long_lived, notify=note, **options)


def _region(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    parts = text.split(",")
    with contextlib.suppress(ValueError):
        x, y, w, h = (int(part) for part in parts)
        if x >= 0 and y >= 0 and w >= 1 and h >= 1:
            return x, y, w, h
    raise UsageError(f"a region is x,y,w,h in whole pixels, not {text!r}", hint="for example --region 120,80,300,300")


class _StoppedError(SystemExit):
    """Ctrl-C or SIGTERM. Not a KeyboardInterrupt, which Click turns into its own; a SystemExit, which no seam takes for a failure."""


_told_to_stop = 0  # the signal


def _stop(number: int, frame: FrameType | None) -> None:
    global _told_to_stop
    _told_to_stop = number
    raise _StoppedError(number)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Every end of the program, with its exit code."""
    try:
        try:
            yield
        except Exception:
            if _told_to_stop and not _debug:  # an import that was cut short says what it likes
                raise _StoppedError(_told_to_stop) from None
            raise
    except ImageSearchError as error:
        if _debug:
            raise
        hint = " (image-search demo builds a sample)" if isinstance(error, LibraryNotFoundError) else ""
        note(f"error: {error.told(in_shell)}{hint}")
        sys.exit(error.exit_code)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:  # wrong usage, in Click's own words
        words = io.StringIO()
        error.show(words)
        for line in words.getvalue().splitlines():
            note(line)
        if isinstance(error, click.exceptions.NoSuchCommand):
            note("To search with an image: image-search search IMAGE")
        sys.exit(error.exit_code)
    except _StoppedError as stopped:
        (number,) = stopped.args
        word = "terminated" if number == signal.SIGTERM else "interrupted"
        note(f"{word}; what was done is safe, run the same command again to go on")
        sys.exit(128 + number)
    except BrokenPipeError:  # the reader of our output went away: nothing to complain about
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except MemoryError as error:
        if _debug:
            raise
        note(f"error: not enough memory ({error})")
        sys.exit(1)
    except OSError as error:  # of the system, which names the file
        if _debug:
            raise
        if error.filename is None:  # most likely our own output, which would be tried again at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = "" if error.filename is None else f": {os.fsdecode(error.filename)}"
        note(f"error: {(error.strerror or str(error)).lower()}{where}. If this is a surprise, run it again with --debug")
        sys.exit(1)
    except Exception as error:
        if _debug:
            raise
        note(f"error: unexpected {type(error).__name__}: {error}. Run it again with --debug and report what it prints")
        sys.exit(1)


def main() -> None:
    """The program `image-search`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us there handles them
            signal.signal(number, _stop)
    global _told_to_stop
    _told_to_stop = 0
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed by who started us
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with _errors():
        # Not `app()`: it ends by itself where a reader of the output went away, and on Windows expands the globs that are meant for us.
        with app.make_context("image-search", sys.argv[1:]) as context:
            app.invoke(context)
        sys.stdout.flush()
