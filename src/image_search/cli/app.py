"""The command line: results to stdout, progress and warnings to stderr, one plain line for an error.

A command is a file here that is called like it, and a word in COMMANDS. Exit codes: see exits.py.
Everything heavy is imported inside the commands, so that --help is quick.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import UserDict
from importlib import import_module
from typing import Any

import click

from . import console
from .exits import every_end, listen_for_signals
from .options import debug_option, library_option, no_browser_option

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = (  # what is needed first comes first in the help
    "index",
    "search",
    "compare",
    "watch",
    "serve",
    "ask",
    "duplicates",
    "decisions",
    "status",
    "models",
    "evaluate",
    "label",
    "tags",
    "check",
    "map",
    "annotate",
    "export",
    "load",
    "move",
    "forget",
    "relocate",
    "rebuild",
    "reembed",
    "salvage",
    "demo",
)


class _Commands(UserDict[str, Any]):
    """Name -> command; its file is imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            self.data[name] = getattr(import_module(f"{__package__}.{name}"), name)
        return self.data[name]


class _InOrder(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _print_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"image-search {__version__}")
        context.exit()


@click.group(
    "image-search",
    cls=_InOrder,
    commands=_Commands(dict.fromkeys(COMMANDS)),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@library_option
@no_browser_option
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version and exit.")
@debug_option
@click.pass_context
def app(context: click.Context, library: str | None, no_browser: bool) -> None:
    """Give it an image; get the most similar images of your library, beside it, with how similar they are.

    Without a command it opens the page in your browser (see image-search serve --help); where there is no display, it asks in the terminal.

    \b
    First:  image-search demo              draws sample pictures, indexes them, searches
    Then:   image-search index ~/Pictures
            image-search search photo.jpg
    """
    console.run_as(context.invoked_subcommand or ("serve" if no_browser or console.has_display() else "ask"))
    if context.invoked_subcommand is not None:
        given = {"library": library, "no_browser": no_browser or None}  # before the command: it holds for the command
        defaults = {option: value for option, value in given.items() if value is not None}
        context.default_map = dict.fromkeys(app.commands, defaults)
    elif no_browser or console.has_display():
        context.invoke(app.commands["serve"], library=library, no_browser=no_browser)
    else:
        console.note("There is no display to open the page on, so it asks here (image-search serve starts the page all the same).")
        context.invoke(app.commands["ask"], library=library)


def main() -> None:
    """The program `image-search`."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed by who started us
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with every_end():
        listen_for_signals()
        # Not `app()`: it ends by itself where a reader of the output went away, and on Windows expands the globs that are meant for us.
        with app.make_context("image-search", sys.argv[1:]) as context:
            app.invoke(context)
        sys.stdout.flush()
