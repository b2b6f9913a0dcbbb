"""What to do next, said so that each face can say it in its own words.

A hint names a *setting* or a *verb*, never a flag: `Advice("raise the limit with ", Setting("max_megapixels"))` reads
"raise the limit with max_megapixels=" in Python, "... with --max-megapixels" in a shell; the page has labels of its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["TAKEN_BY", "Advice", "Named", "Setting", "Verb", "capitalised", "in_python", "in_shell", "told"]

_OF_THE_ENGINE = frozenset({"allow_private_urls", "jobs", "library", "max_megabytes", "model", "runtime", "store"})  # given when it is made
_OF_THE_SHELL = frozenset({"json", "save", "show"})  # in Python the answer itself
_ENGINE_VERBS = frozenset(
    {
        *("annotate", "check", "compare", "decisions", "duplicates", "embed", "export", "forget", "index", "load", "map", "move"),
        *("rebuild", "reembed", "relocate", "search", "status", "tags", "verify", "watch"),
    }
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting by its name in Python ("max_megapixels"), with a value or a word for one ("FOLDER") where that helps."""

    name: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Verb:
    """Something to call: its name ("index"), and its arguments: words for values ("FOLDER"), paths, settings."""

    name: str
    arguments: tuple[str | Setting, ...] = ()


Named = Setting | Verb


class Advice(str):
    """Text of which some parts are named, not written. As a `str` it reads as a Python caller needs it.

    Attributes:
        parts: text as it stands, settings and verbs.
    """

    parts: tuple[str | Named, ...]

    def __new__(cls, *parts: str | Named) -> Advice:
        advice = super().__new__(cls, "".join(part if isinstance(part, str) else in_python(part) for part in parts))
        advice.parts = parts
        return advice


def told(text: str, say: Callable[[Named], str]) -> str:
    """The text with its named parts in a face's own words; text without any comes back as it is."""
    if not isinstance(text, Advice):
        return text
    return "".join(told(part, say) if isinstance(part, str) else say(part) for part in text.parts)


def capitalised(text: str) -> str:
    """As a sentence begins; a setting or a verb at its start is a name and stays as it is."""
    if not isinstance(text, Advice):
        return text[:1].upper() + text[1:]
    first, *rest = text.parts or ("",)
    return Advice(capitalised(first) if isinstance(first, str) else first, *rest)


def in_python(named: Named) -> str:
    """max_megapixels=, ImageSearchEngine(model="dino").index(FOLDER), engine.rebuild(); a verb of the shell alone stays one."""
    if isinstance(named, Setting):
        return f"{named.name}={_python_value(named.value)}"
    if named.name not in _ENGINE_VERBS:
        return in_shell(named)
    made = [a for a in named.arguments if isinstance(a, Setting) and a.name in _OF_THE_ENGINE]
    given = [a for a in named.arguments if a not in made and not (isinstance(a, Setting) and a.name in _OF_THE_SHELL)]
    engine = f"ImageSearchEngine({', '.join(map(in_python, made))})" if made else "engine"
    return f"{engine}.{named.name}({', '.join(_python_value(a) if isinstance(a, str) else in_python(a) for a in given)})"


# Which commands of the shell take a setting; one that is named where another command runs is named with the first of these.
TAKEN_BY: dict[str, tuple[str, ...]] = {
    "allow": ("serve",),
    "allow_private_urls": ("search", "ask", "compare", "tags"),
    "allow_urls": ("serve",),
    "any_name": ("index", "watch"),
    "drop": ("annotate",),
    "formats": ("search",),
    "fresh": ("map",),
    "fresh_key": ("serve",),
    "host": ("serve",),
    "hosts": ("serve",),
    "how": ("search",),
    "jobs": ("index", "watch", "evaluate", "label", "check", "duplicates", "reembed"),
    "json": (
        *("search", "index", "watch", "compare", "status", "annotate", "models", "evaluate", "label", "tags", "check", "map"),
        *("duplicates", "decisions", "load", "move", "reembed"),
    ),
    "leave_unreachable": ("reembed",),
    "library": (
        *("index", "watch", "search", "compare", "serve", "ask", "status", "tags", "duplicates", "decisions", "check", "map", "annotate"),
        *("export", "load", "forget", "relocate", "rebuild", "reembed", "salvage", "demo"),
    ),
    "max_megabytes": ("search", "ask", "compare", "serve"),
    "max_megapixels": ("index", "watch", "search", "ask", "compare", "serve", "reembed"),
    "min_closeness": ("search",),
    "min_pixels": ("search",),
    "min_probability": ("search",),
    "min_similarity": ("search",),
    "model": ("index", "watch", "search", "compare", "serve", "evaluate", "label", "check", "reembed"),
    "n_results": ("search", "ask"),
    "name_from": ("index", "watch"),
    "names": ("search",),
    "not_names": ("search",),
    "not_path": ("search",),
    "other_folders": ("search",),
    "out": ("index",),
    "path": ("search",),
    "port": ("serve",),
    "prune": ("index",),
    "replace": ("export",),
    "reread": ("index",),
    "root_path": ("serve",),
    "runtime": ("index", "watch", "search", "compare", "serve", "evaluate", "label", "check", "reembed"),
    "since": ("search", "duplicates"),
    "store": ("index", "watch", "search", "ask", "compare", "serve", "rebuild", "reembed", "status", "load", "move"),
    "tags": ("index",),
    "to": ("salvage", "export"),
    "until": ("search",),
    "uris": ("index",),
    "where": ("search",),
}
# Settings whose option is not called like them, and values of a setting that are options.
_OPTIONS = {
    ("names", ""): "--name",
    ("not_names", ""): "--not-name",
    ("formats", ""): "--format",
    ("hosts", ""): "--allow-host",
    ("n_results", ""): "-n",
    ("how", "exact"): "--exact",
    ("how", "store"): "--store-only",
}


def in_shell(named: Named, running: str = "") -> str:
    """--max-megapixels 300; image-search index FOLDER --model dino. Both faces need it: who looks at the page has a terminal beside it.

    Args:
        running: the command that says it; an option that it does not take is named with one that does: "--prune of image-search index".
    """
    if isinstance(named, Verb):
        return " ".join(["image-search", named.name, *(_quoted(a) if isinstance(a, str) else in_shell(a) for a in named.arguments)])
    takers = TAKEN_BY.get(named.name, (running,))
    return _option(named) if running in ("", *takers) else f"{_option(named)} of image-search {takers[0]}"


def _option(named: Setting) -> str:
    if whole := _OPTIONS.get((named.name, named.value)):
        return whole
    option = _OPTIONS.get((named.name, "")) or f"--{named.name.replace('_', '-')}"
    return option if named.value in ("", "True") else f"{option} {_quoted(named.value)}"


def _quoted(argument: str) -> str:
    """As a shell needs it; "~/" is left to the shell."""
    return "~/" + shlex.quote(argument[2:]) if argument.startswith("~/") else shlex.quote(argument)


def _python_value(text: str) -> str:
    """A word in capitals stands for a value of the reader's; anything else is a text, or a number or truth value as it is."""
    as_it_is = not text or text.isupper() or text in ("True", "False") or text.replace(".", "", 1).lstrip("-").isdigit()
    return text if as_it_is else repr(text)
