"""Every hint fits where it is shown: it names no setting, option or verb that is not there."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeGuard

import pytest
from inprocess import Answer

import image_search
from image_search import ImageSearchEngine, cli
from image_search.advice import TAKEN_BY, Advice, Setting, Verb, in_python, in_shell
from image_search.cli import console
from image_search.errors import HINTS
from image_search.library.salvage import salvage
from image_search.models import choose_auto
from image_search.web.problems import plain
from image_search.web.server import PageSettings

OPTIONS = {name: {option for p in cli.app.app.commands[name].params for option in p.opts} for name in cli.app.COMMANDS}
FILES = sorted(Path(image_search.__file__).parent.rglob("*.py"))


def named_in(file: Path) -> list[Setting | Verb]:
    """The settings and verbs of the advice in a file; a value that is known only later is X."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if is_named(node)]
    parts = {id(inner) for call in calls for inner in ast.walk(call) if inner is not call}
    return [named(call) for call in calls if id(call) not in parts]


def is_named(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Setting", "Verb")


def named(call: ast.Call) -> Setting | Verb:
    first, *rest = call.args
    assert isinstance(first, ast.Constant), f"a name that is known only later: {ast.unparse(call)}"
    if getattr(call.func, "id", "") == "Setting":
        return Setting(str(first.value), *map(text_of, rest))
    arguments = rest[0].elts if rest and isinstance(rest[0], ast.Tuple) else []
    return Verb(str(first.value), tuple(named(a) if is_named(a) else text_of(a) for a in arguments))


def text_of(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else "X"


NAMED = [(file, one) for file in FILES for one in named_in(file)]


def missing_in_shell(words: str, running: str) -> list[str]:
    """What these words of a shell name and what is not there; an option without a command is one of the command that runs."""
    if words.startswith("image-search "):
        _, command, *arguments = words.split()
        return [a for a in arguments if a.startswith("-") and a not in OPTIONS.get(command, ())] if command in OPTIONS else [command]
    option, command = re.fullmatch(r"(--?[a-z-]+)(?: (?!of image-search ).*?)?(?: of image-search (\w+))?", words).groups()  # type: ignore[union-attr]
    return [] if option in OPTIONS[command or running] else [f"{option} of {command or running}"]


def settings_of(one: Setting | Verb) -> list[Setting]:
    return [one] if isinstance(one, Setting) else [a for a in one.arguments if isinstance(a, Setting)]


def test_there_are_hints() -> None:
    assert len(NAMED) > 50 and {type(one) for _, one in NAMED} == {Setting, Verb}
    assert all(isinstance(hint, str) for hint in HINTS.values())


@pytest.mark.parametrize("running", cli.app.COMMANDS)
def test_no_command_names_an_option_that_it_has_not(running: str) -> None:
    assert [(file, what) for file, one in NAMED for what in missing_in_shell(in_shell(one, running), running)] == []


def test_the_page_names_the_command_with_every_option() -> None:
    for file, one in NAMED:
        words = plain(Advice(one))
        assert words.startswith("the option -" if isinstance(one, Setting) else ("image-search ", "the option ")), (file, words)
        assert isinstance(one, Verb) or " of image-search " in words, "a page has no options"
        assert missing_in_shell(words.removeprefix("the option "), "") == [], file


def test_python_names_parameters_that_are_there() -> None:
    """Of the engine, of its verbs, and of what else is called for a library or a page."""
    made = set(inspect.signature(ImageSearchEngine).parameters)
    verbs = {name: set(inspect.signature(verb).parameters) for name, verb in inspect.getmembers(ImageSearchEngine, inspect.isfunction)}
    others = {field.name for field in dataclasses.fields(PageSettings)} | set(inspect.signature(salvage).parameters)
    others |= set(inspect.signature(image_search.embed_dataset).parameters)
    for file, one in NAMED:
        words = in_python(one)
        if isinstance(one, Setting):
            assert words.partition("=")[0] in made | others | set().union(*verbs.values()), (file, words)
        elif words.startswith("image-search "):  # a shell alone can do it
            assert missing_in_shell(words, "") == [], file
        else:
            for call in (node for node in ast.walk(ast.parse(re.sub(r"=(?=[,)])", "=X", words))) if isinstance(node, ast.Call)):
                names = verbs[call.func.attr] if isinstance(call.func, ast.Attribute) else made
                assert {keyword.arg for keyword in call.keywords} <= names, (file, words)


def test_the_table_of_options_is_the_programs_own() -> None:
    assert {setting.name for _, one in NAMED for setting in settings_of(one)} <= set(TAKEN_BY)
    for name, takers in TAKEN_BY.items():
        option = in_shell(Setting(name, "exact" if name == "how" else ""), takers[0]).split()[0]
        assert {command for command in OPTIONS if option in OPTIONS[command]} == set(takers), name


@pytest.mark.parametrize(
    ("advised", "words"),
    [
        (Setting("max_megapixels"), "--max-megapixels"),
        (Setting("names", "Cat"), "--name Cat"),
        (Setting("prune", "True"), "--prune"),
        (Setting("how", "store"), "--store-only"),
        (Setting("path", "*/2024/*"), "--path '*/2024/*'"),
        (Verb("index", ("FOLDER", Setting("model", "dino"))), "image-search index FOLDER --model dino"),
        (Verb("relocate", ("/old place", "~/new")), "image-search relocate '/old place' ~/new"),
    ],
)
def test_the_words_of_a_shell(advised: Setting | Verb, words: str) -> None:
    assert in_shell(advised) == words


def test_an_option_of_another_command_is_named_with_it() -> None:
    assert in_shell(Setting("prune", "True"), "index") == "--prune"
    assert in_shell(Setting("prune", "True"), "search") == "--prune of image-search index"
    assert plain(Advice("try ", Setting("max_megapixels"))) == "try the option --max-megapixels of image-search serve"
    assert plain(Advice("try ", Setting("prune", "True"))) == "try the option --prune of image-search index"


def test_what_runs_says_hints_that_it_can_keep(run: Callable[..., Answer], photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_search.cli.console._running", "demo")
    assert "Better matches: --model dino of image-search index (" in console.words(choose_auto()[1] or ""), "demo has no --model"
    assert run("index", photos, "--store", "exact").code == 0
    small = ("search", "-", "--max-megapixels", ".001")
    assert "Raise the limit with --max-megapixels\n" in run(*small, stdin=(photos / "circle" / "0.png").read_bytes() + b"new").err
    large = run("search", "-", "--max-megabytes", 1, stdin=bytes(2**20 + 1))
    assert large.err.endswith("or raise the limit with --max-megabytes\n") and "larger than 1 MB" in large.err
    assert run("search", "-", "--max-megabytes", 2, stdin=bytes(2**20 + 1)).err.startswith(
        "error: this cannot be searched with: not an image"
    )
