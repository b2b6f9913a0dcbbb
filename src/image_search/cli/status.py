"""image-search status"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ..advice import Advice, Setting, Verb
from ..errors import SALVAGE, LibraryDamagedError
from ..paths import shown
from .console import note, print_json, say, words
from .options import asked_store_option, debug_option, json_option, library_option, open_engine


@click.command()
@library_option
@asked_store_option
@click.option("--verify", is_flag=True, help="Read the whole catalog and say what is damaged in it.")
@json_option
@debug_option
@click.pass_context
def status(context: click.Context, /, *, verify: bool, json_output: bool, **given: Any) -> None:
    """Show what the library holds: images, folders, model, store."""
    with open_engine(given) as engine:
        facts = engine.status()
        if verify:
            facts["damage"] = engine.verify()
    if json_output:
        facts["roots"] = [
            {**root, "path": shown(root["path"]), "away": [{**part, "path": shown(part["path"])} for part in root["away"]]}
            for root in facts["roots"]
        ]
        print_json(facts)
        if facts.get("damage"):
            context.exit(1)
        return
    _print(facts)
    if verify and not facts["damage"]:
        print("catalog     all of it was read, and no damage was found")
    elif verify:
        for line in facts["damage"]:
            note(Advice("damage: ", line))
        raise LibraryDamagedError("the catalog is damaged", path=facts["library"], hint=SALVAGE)


def _print(facts: dict[str, Any]) -> None:
    from ..present.table import outdated_line, passed_lines
    from ..types import Passed

    print(f"library     {shown(facts['library'])}")
    print(f"images      {facts['images']:,} ({facts['contents']:,} different)")
    print(f"classes     {facts['classes']:,}")
    for line in _of_pictures(facts):
        print(line)
    for word in ("missing", "excluded", "forgotten", "skipped"):
        if facts[word]:
            print(f"{word:<12}{facts[word]:,}")
    if facts["unembedded"]:
        again = Verb("index", ("FOLDER",))
        print(
            words(
                Advice(
                    f"waiting     {facts['unembedded']:,} could not be read when the library got its model; they get a vector with: ", again
                )
            )
        )
    for reason, files in facts["reasons"].items():
        print(f"  {files:,} {reason}")
    for said, pictures in facts["notes"].items():
        print(f"{said:<12}{pictures:,}")
    for line in passed_lines([Passed(**passed) for passed in facts["passed"]]):
        print(line)
    if facts["outdated"]:
        print(outdated_line(facts["outdated"], say))
    print(f"model       {shown(facts['model'])} ({facts['dimensions']} dimensions{', knows words' if facts['words'] else ''})")
    if (begun := facts["reembedding"]) is not None:
        again = Verb("reembed", (Setting("model", begun["model"]),))
        done = f"re-embedded {begun['pictures']:,} of {begun['of']:,} pictures with the model {shown(begun['model'])}"
        print(words(Advice(f"{done}; until all are, {shown(facts['model'])} answers. It goes on with: ", again)))
    print(f"store       {_store(facts)}")
    if loading := facts.get("loading"):
        begun = f"about {loading['images']:,} pictures of {shown(loading['from'])} are being loaded, or that was cut off"
        print(f"loading     {begun}; the same command once more goes on")
    for root in facts["roots"]:
        print(f"folder      {shown(root['path'])}: {root['images']:,} images{', offline' if root['offline'] else ''}")
        for part in root["away"]:
            print(f"  of these  {shown(part['path'])}: {part['images']:,} images, its disk is away")


def _of_pictures(facts: dict[str, Any]) -> Iterator[str]:
    """Size, formats, dates."""
    if not facts["formats"]:
        return
    yield f"size        {facts['bytes'] / 1e6:,.1f} MB"
    yield f"formats     {', '.join(f'{format} {pictures:,}' for format, pictures in facts['formats'].items())}"
    told = facts["captured"]
    if told["pictures"]:
        yield f"taken       {told['first'][:10]} to {told['last'][:10]}, as {told['pictures']:,} of {facts['contents']:,} pictures say"
    if told["not_asked"]:
        yield words(Advice(f"dates       not read yet for {told['not_asked']:,} pictures; to read them: ", Verb("index", ("FOLDER",))))


def _store(facts: dict[str, Any]) -> str:
    if "index" in facts:  # a collection that stands alone
        return f"{facts['images']:,} rows, index {facts['index']}: {words(facts['store_note']) or 'ready'}"
    if facts["store"] == "exact":
        return "exact: none is kept, every search compares with every image"
    ready = "ready" if facts["store_ready"] else f"exact search answers ({words(facts['store_note'])})"
    return f"{facts['store']}: {ready}"
