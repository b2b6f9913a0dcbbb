"""The command line: results to stdout, progress and warnings to stderr, one plain line for an error.

Exit codes: 0 done, 1 known failure, 2 wrong usage, 130 interrupted (Ctrl-C), 143 terminated.
Everything heavy is imported inside the commands, so that --help is quick.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .config import LIBRARY_ENV, UPLOAD_LIMITS
from .errors import SALVAGE, ImageSearchError, LibraryDamagedError, LibraryNotFoundError, QueryError, UsageError
from .paths import shown

if TYPE_CHECKING:
    from .engine import ImageSearchEngine
    from .matches import Matches

__all__ = ["app", "main"]

app = typer.Typer(
    name="image-search",
    help="Give it an image; get the most similar images of your library, beside it, with how similar they are.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

WORDS = """\
similarity  cosine of the two vectors, -1 to 1; 1.000 for an identical file\n
distance    1 - similarity; lower is nearer\n
closeness   0 to 1: how near for this library; .5 is a typical nearest neighbour here, none below 50 images
"""

_debug = False


def _set_debug(value: bool) -> bool:
    global _debug
    _debug = _debug or value
    return value


def _print_version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        print(f"image-search {__version__}")
        raise typer.Exit


Library = Annotated[
    Path | None,
    typer.Option(
        "--library", help="The library's folder. Default: $IMAGE_SEARCH_LIBRARY, else the per-user data folder.", show_default=False
    ),
]
Model = Annotated[
    str,
    typer.Option("--model", help="A name that `models` lists, a Hugging Face id or a folder; auto: the library's, else the best here."),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="onnx, openvino (about twice as fast where processor and model allow bf16) or torch. Default: what suits the model.",
        show_default=False,
    ),
]
Store = Annotated[
    str | None, typer.Option("--store", help="chroma, chroma:http://HOST:PORT or exact. Default: as before.", show_default=False)
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Decode workers and model threads. Default: one for each CPU.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the stack trace of an error.", callback=_set_debug)]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Start the page and print its address; open nothing.")]
PrivateUrls = Annotated[bool, typer.Option("--allow-private-urls", help="Fetch also from this machine and local networks.")]


def note(line: str) -> None:
    """A warning or a hint: one line on stderr, between progress bars, harmless for the terminal."""
    tqdm = sys.modules.get("tqdm.std")
    text = shown(line)
    if tqdm is not None:
        tqdm.tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)


def _engine(library: Path | None, *, long_lived: bool = False, **options: Any) -> ImageSearchEngine:
    from .engine import ImageSearchEngine

    return ImageSearchEngine(library, long_lived=long_lived, notify=note, **options)


def _print_json(data: Any) -> None:
    # What could harm a terminal stands inside a string, where JSON has an escape for it.
    print("".join(c if shown(c) == c else f"\\u{ord(c):04x}" for c in json.dumps(data, ensure_ascii=False)))


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    library: Library = None,
    no_browser: NoBrowser = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)] = False,
    debug: Debug = False,
) -> None:
    """Give it an image; get the most similar images of your library, beside it, with how similar they are.

    Without a command it opens the page in your browser (see: image-search serve --help).

    First:  image-search demo            draws sample pictures, indexes them, searches\n
    Then:   image-search index ~/Pictures\n
            image-search search photo.jpg
    """
    if context.invoked_subcommand is not None:
        if library is not None:  # given before the command: it holds for the command
            os.environ[LIBRARY_ENV] = str(library)
    else:
        if no_browser or _has_display():
            serve(library=library, no_browser=no_browser)
        else:
            note("There is no display to open the page on, so it asks here (image-search serve starts the page all the same).")
            ask(library=library)


@app.command()
def index(
    folders: Annotated[list[str], typer.Argument(metavar="FOLDER", help="Folders with images; sub-folders are included.")],
    library: Library = None,
    model: Model = "auto",
    name_from: Annotated[
        Literal["folder", "none"] | None,
        typer.Option("--name-from", help="An image's class: the folder it lies in, or none. Default: as before.", show_default=False),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave out names or paths; may be repeated.", show_default=False)
    ] = None,
    jobs: Jobs = None,
    max_megapixels: Annotated[
        float | None, typer.Option("--max-megapixels", min=0.001, help="Larger pictures are skipped. Default: 200.", show_default=False)
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every file, also those that look unchanged.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="What is gone leaves the library for good, also when a whole disk is gone.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if any file was skipped.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    runtime: Runtime = None,
    store: Store = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Take folders into the library, or bring it up to date: only what is new or changed is embedded.

    Your files are only read. Interrupt it whenever you like; the next run goes on.

    Examples:\n
      image-search index ~/Pictures\n
      image-search index data/train --name-from folder --exclude '*_mask.png'\n
      image-search index /mnt/photos --model dino --library photos.library
    """
    from .present.table import report_table

    with _engine(library, model=model, runtime=runtime, store=store, jobs=jobs) as engine:
        report = engine.index(
            list(folders),
            name_from=name_from,
            exclude=exclude or (),
            max_megapixels=max_megapixels,
            verify=verify,
            prune=prune,
            dry_run=dry_run,
        )
        if json_output:
            _print_json(asdict(report))
        else:
            print(report_table(report))
            if dry_run:
                note("Nothing was changed (--dry-run); contents were not read, so moved and changed files count as added.")
    if strict and report.skipped:
        raise typer.Exit(1)


@app.command(epilog=WORDS)
def search(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Path, http(s) address, id of a library item, or - for stdin; several: their mean."),
    ],
    less: Annotated[
        list[str] | None, typer.Option("--less", metavar="IMAGE", help="Less like this image; may be repeated.", show_default=False)
    ] = None,
    n: Annotated[int, typer.Option("-n", "--n-results", help="How many matches.")] = 3,
    name: Annotated[
        list[str] | None, typer.Option("--name", metavar="CLASS", help="Only this class; may be repeated.", show_default=False)
    ] = None,
    path: Annotated[
        str | None, typer.Option("--path", metavar="GLOB", help="Only paths that match, such as '*/2024/*'.", show_default=False)
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option("--min-similarity", help="Only matches with at least this similarity.", show_default=False)
    ] = None,
    min_closeness: Annotated[
        float | None, typer.Option("--min-closeness", help="Only matches with at least this closeness.", show_default=False)
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="x,y,w,h", help="Only this part of the image, in pixels as you see it.", show_default=False),
    ] = None,
    exclude_self: Annotated[bool, typer.Option("--exclude-self", help="Leave out files identical to the query.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every image (what single searches do anyway).")] = False,
    store_only: Annotated[bool, typer.Option("--store-only", help="Ask the vector store, or fail.")] = False,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Save the comparison picture: png, jpg, webp, pdf or svg.", show_default=False),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Open the comparison picture.")] = False,
    library: Library = None,
    model: Model = "auto",
    runtime: Runtime = None,
    store: Store = None,
    allow_private_urls: PrivateUrls = False,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Show the images of the library that are most similar to an image.

    Examples:\n
      image-search search burger.jpg\n
      image-search search burger.jpg -n 12 --save compare.png\n
      image-search search a.jpg b.jpg --less c.jpg --name Burger --min-closeness .5\n
      image-search search photo.jpg --region 120,80,300,300 --json\n
      curl -s https://example.org/cat.jpg | image-search search -
    """
    if exact and store_only:
        raise UsageError("--exact and --store-only exclude each other")
    if save is not None:
        from .present.figure import check_target

        check_target(save)
    how: Literal["auto", "exact", "store"] = "exact" if exact else "store" if store_only else "auto"
    with _engine(library, model=model, runtime=runtime, store=store, allow_private_urls=allow_private_urls) as engine:
        matches = engine.search(
            [_from_stdin() if image == "-" else image for image in images],
            n,
            less=less or (),
            names=name or (),
            path=path,
            min_similarity=min_similarity,
            min_closeness=min_closeness,
            region=_region(region),
            exclude_self=exclude_self,
            how=how,
        )
        if json_output:
            _print_json(matches.to_dict())
        else:
            _print_matches(matches)
        if save is not None:
            _advise_fonts(matches)
            matches.plot(save)
            note(f"Saved the comparison: {save}")
        if show:
            _open_picture(matches)


@app.command()
def serve(
    library: Library = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="FOLDER", help="This folder may be indexed from the page; may be repeated.", show_default=False),
    ] = None,
    no_browser: NoBrowser = False,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Default: 8417, or a free one.", show_default=False)] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on. Any other lets other machines reach the page.")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A name under which a proxy reaches the page.", show_default=False),
    ] = None,
    allow_urls: Annotated[bool, typer.Option("--allow-urls", help="The page may search with pictures from public addresses.")] = False,
    model: Model = "auto",
    runtime: Runtime = None,
    store: Store = None,
    debug: Debug = False,
) -> None:
    """Start the page: drop an image, see what is similar. Only who knows the printed address gets in. Ctrl-C ends it.

    Examples:\n
      image-search serve --allow ~/Pictures\n
      image-search serve --library photos.library --port 8000 --no-browser
    """
    from .web.server import serve as run

    run(
        library,
        folders=allow or (),
        port=port,
        host=host,
        hosts=allow_host or (),
        urls=allow_urls,
        browser=not no_browser and _has_display(),
        notify=note,
        model=model,
        runtime=runtime,
        store=store,
    )


@app.command()
def ask(
    library: Library = None,
    n: Annotated[int, typer.Option("-n", "--n-results", help="How many matches.")] = 3,
    allow_private_urls: PrivateUrls = False,
    debug: Debug = False,
) -> None:
    """Ask for an image (path or address), show what is similar, and ask again. An empty line ends it."""
    with _engine(library, long_lived=True, allow_private_urls=allow_private_urls) as engine:
        images = engine.status()["images"]
        note(f"{images:,} images in {engine.library}. Give an image (path or http address); an empty line ends.")
        while True:
            try:
                text = input("image> ") if sys.stdin.isatty() else input()
            except EOFError:
                return
            text = _unquoted(text)
            if not text:
                return
            try:
                matches = engine.search(text, n)
                _print_matches(matches)
                _open_picture(matches)
            except ImageSearchError as error:
                note(f"error: {error}")


@app.command()
def status(
    library: Library = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read the whole catalog and say what is damaged in it.")] = False,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Say what the library holds: images, classes, folders, model, store."""
    with _engine(library) as engine:
        facts = engine.status()
        if verify:
            facts["damage"] = engine.verify()
    if json_output:
        facts["roots"] = [{**root, "path": shown(root["path"])} for root in facts["roots"]]
        _print_json(facts)
        if facts.get("damage"):
            raise typer.Exit(1)
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
def models(json_output: Json = False, debug: Debug = False) -> None:
    """List the models by name: what they are, their size, and whether they are on this machine."""
    from .models import MODELS, is_available

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
        _print_json(rows)
        return
    for row in rows:
        here = "here" if row["here"] else "to be fetched once"
        print(f"{row['name']:<11}{row['megabytes'] or '?':>5} MB  {here:<19}{row['about']} ({row['licence']})")
    print("Any Hugging Face model of the ViT family works too, by its id or as a local folder: --model org/name")


@app.command()
def evaluate(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Its sub-folders are the classes.")],
    model: Annotated[list[str] | None, typer.Option("--model", help="May be repeated: models side by side.", show_default="auto")] = None,
    runtime: Runtime = None,
    jobs: Jobs = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Measure models on your own folder, whose sub-folders are the classes. No library is read or written.

    k1, k5: the nearest image, the vote of the five nearest, has the right class. P@10, mAP@100: how many of the first are right.\n
    copies: share of changed copies (cropped, mirrored, turned, JPEG q10, grey, text over it) whose original comes first.\n
    store: share of the exact ten nearest that the vector store finds. ms: CPU milliseconds an image, decoding and model.

    Example:  image-search evaluate data/food --model mini --model dino
    """
    from .evaluating import evaluate as measure
    from .present.table import evaluation_table

    with _bars() as progress:
        found = measure(folder, model or ["auto"], runtime=runtime, jobs=jobs, progress=progress)
    if json_output:
        _print_json([one.as_dict() for one in found])
    else:
        print(evaluation_table(found))


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """One progress bar for each thing that is being done."""
    from tqdm.auto import tqdm

    with contextlib.ExitStack() as stack:
        bars: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = stack.enter_context(tqdm(total=total, desc=what, unit="img", disable=None))
            bars[what].update(done - bars[what].n)

        yield progress


@app.command()
def forget(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders or ids.")],
    library: Library = None,
    debug: Debug = False,
) -> None:
    """Take files or folders out of the library. They stay out until the path itself is indexed. The files are not touched."""
    with _engine(library) as engine:
        count = engine.forget(*paths)
    print(f"{count:,} images left the library")


@app.command()
def relocate(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The folder's old place.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new place.")],
    library: Library = None,
    debug: Debug = False,
) -> None:
    """Tell the library that an indexed folder has moved; nothing is embedded again."""
    with _engine(library) as engine:
        count = engine.relocate(old, new)
    print(f"{count:,} images are now found at {shown(new)}")


@app.command()
def rebuild(library: Library = None, store: Store = None, debug: Debug = False) -> None:
    """Make the vector store anew from the catalog, without the model."""
    with _engine(library, store=store) as engine:
        count = engine.rebuild()
    print(f"the store holds {count:,} images")


@app.command()
def salvage(
    library: Library = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="The new library. Default: beside the damaged one, .saved added.", show_default=False),
    ] = None,
    debug: Debug = False,
) -> None:
    """Save what is still good of a damaged library into a new one. The damaged one is only read."""
    from .config import default_library
    from .salvage import salvage as save

    damaged = default_library(library)
    saved = save(damaged, to.expanduser().absolute() if to is not None else damaged.with_name(f"{damaged.name}.saved"))
    for path in saved.lost:
        note(f"lost: {path}")
    if saved.unknown:
        note(f"lost: {saved.unknown:,} files whose names are gone, too")
    print(f"saved {saved.images:,} images and {saved.vectors:,} vectors in {shown(str(saved.library))}")
    note(f"Index your folders with --library {saved.library}: what was lost comes back, and only that is embedded.")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where to draw the sample gallery.")] = Path("gallery"),
    library: Annotated[
        Path | None, typer.Option("--library", help="The demo's own library. Default: demo.library beside the gallery.", show_default=False)
    ] = None,
    debug: Debug = False,
) -> None:
    """Draw a sample gallery, index it, search it with pictures that are not in it, and save the comparisons."""
    from .demo.show import run

    run(folder, library)


# --- pieces -----------------------------------------------------------------------------------------------------------------


def _print_matches(matches: Matches) -> None:
    from .present.table import matches_table

    print(matches_table(matches, width=_columns()))


def _columns() -> int | None:
    """Cells of the terminal; None for a pipe or a file, where nothing is shortened."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _region(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    parts = text.split(",")
    with contextlib.suppress(ValueError):
        x, y, w, h = (int(part) for part in parts)
        if x >= 0 and y >= 0 and w >= 1 and h >= 1:
            return x, y, w, h
    raise UsageError(f"a region is x,y,w,h in whole pixels, not {text!r}", hint="for example --region 120,80,300,300")


def _from_stdin() -> bytes:
    data = sys.stdin.buffer.read(UPLOAD_LIMITS.file_bytes + 1)
    if not data:
        raise QueryError("nothing came from stdin", hint="for example: image-search search - < photo.jpg")
    return data


def _unquoted(text: str) -> str:
    """A path as terminals paste it when a file is dropped on them."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _advise_fonts(matches: Matches) -> None:
    from .present.fonts import font_advice

    for line in font_advice([match.name for match in matches]):
        note(line)


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open_picture(matches: Matches) -> None:
    """Save the comparison into the cache folder (the one before is replaced) and open it where there is a display."""
    import subprocess

    import platformdirs

    _advise_fonts(matches)
    file = Path(platformdirs.user_cache_dir("image-search", appauthor=False, ensure_exists=True)) / "comparison.png"
    matches.plot(file)
    opener = {"darwin": ["open"], "win32": ["cmd", "/c", "start", ""]}.get(sys.platform, ["xdg-open"])
    if _has_display():
        with contextlib.suppress(OSError):
            subprocess.Popen([*opener, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    note(f"Comparison: {file}")


class _StoppedError(SystemExit):
    """Ctrl-C or SIGTERM. Not a KeyboardInterrupt, on which typer ends without a word; a SystemExit, which no seam takes for a failure."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _StoppedError(number)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Every end of the program, with its exit code."""
    try:
        yield
    except ImageSearchError as error:
        if _debug:
            raise
        hint = " (image-search demo builds a sample)" if isinstance(error, LibraryNotFoundError) else ""
        note(f"error: {error}{hint}")
        sys.exit(error.exit_code)
    except typer.TyperException as error:  # wrong usage, in typer's own words
        show = getattr(error, "show", None)
        show() if show else note(f"error: {error}")
        if "No such command" in str(error):
            note("To search with an image: image-search search IMAGE")
        sys.exit(getattr(error, "exit_code", 2))
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
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with _errors():
        code = app(standalone_mode=False)
        sys.stdout.flush()
        if isinstance(code, int):  # a command's typer.Exit
            sys.exit(code)
