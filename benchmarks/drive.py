"""One path of the program in a process of its own, timed from inside; prints JSON: `python -m benchmarks.drive index|search|ask ...`."""

from __future__ import annotations

import time

STARTED = time.process_time()  # the interpreter itself, and `-m`

import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

from .stages import Stages  # noqa: E402

MODEL = "model"
# Words and the functions whose time they stand for. Those of `index` are imported when they are called.
INDEX = (
    ("walk, compare with the catalog", "image_search.index.plan:make_plan"),
    ("commit", "image_search.index.run:_Run.commit"),
    ("closeness sample", "image_search.search.closeness:renew"),
    ("store", "image_search.stores.sync:bring_up_to_date"),
)
SEARCH = (
    ("open the library", "image_search.engine:ImageSearchEngine._open"),
    ("query: start and ask the decoder", "image_search.search.query:QueryReader.read"),
    ("read the vectors", "image_search.library.vectors:Vectors.refresh"),
    ("compare", "image_search.search.search:Searcher._compare"),
    ("the rest of the search: files, closeness", "image_search.engine:ImageSearchEngine.search"),
)
ASK = (
    ("read the query's vector", "image_search.search.query:QueryReader.read"),
    ("is the store still right", "image_search.search.search:Searcher._ready_store"),
    ("are the vectors still right", "image_search.library.vectors:Vectors.refresh"),
    ("compare", "image_search.search.search:Searcher._compare"),
    ("Chroma", "image_search.stores.chroma:ChromaStore.query"),
    ("look up the files", "image_search.library.reading:Reader._files"),
    ("the rest: closeness, matches", "image_search.engine:ImageSearchEngine.search"),
)


def children() -> float:
    """CPU seconds of the decode workers that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch_model(stages: Stages) -> None:
    """The model's own work, whatever the runtime."""
    from image_search.library import model as room

    load = room.load_model

    def loaded(*values: Any, **named: Any) -> Any:
        model = load(*values, **named)
        kind = type(model)
        if not hasattr(kind.embed, "__wrapped__"):
            kind.embed = stages.timed(MODEL, kind.embed)  # type: ignore[method-assign]
        return model

    room.load_model = stages.timed("load the model", loaded)


def index(folder: str, library: str, model: str, runtime: str, jobs: str) -> dict[str, Any]:
    from image_search import ImageSearchEngine

    stages = Stages()
    _watch_model(stages)
    for words, place in INDEX:
        stages.watch(words, place)
    stages.watch("a new library: 8 canonical pictures", "image_search.library.model:LibraryModel.create_library", whole=True)
    began, imported = time.monotonic(), time.process_time()
    with ImageSearchEngine(library, model=model, runtime=runtime or None, jobs=int(jobs)) as engine:
        report = engine.index(folder, progress=False)
    wall = time.monotonic() - began
    cpu = time.process_time()
    parts = {"start, imports": imported} | stages.cpu | {"decode workers": children()}
    parts["the rest (reading the workers' answers, threads)"] = cpu - imported - sum(stages.cpu.values())
    return {"images": report.embedded, "wall": wall, "cpu": cpu + children(), "stages": parts}


def search(picture: str, library: str) -> dict[str, Any]:
    """`image-search search`, its output thrown away."""
    stages = Stages()
    from image_search.cli import app as cli

    _watch_model(stages)
    for words, place in SEARCH:
        stages.watch(words, place)
    imported = time.process_time()
    out, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115
    sys.argv = ["image-search", "search", picture, "--library", library, "--json"]
    cli.main()
    sys.stdout = out
    cpu = time.process_time()
    parts = {"start Python": STARTED, "imports: command line, engine, NumPy": imported - STARTED} | stages.cpu
    parts["the command line, output, closing"] = cpu - imported - sum(stages.cpu.values())
    return {"cpu": cpu + children(), "stages": parts | {"decode worker": children()}}


def ask(library: str, how: str, images: str, times: str) -> dict[str, Any]:
    """A long-lived engine that is asked for neighbours of its own images; the first answer does not count."""
    from image_search import ImageSearchEngine

    stages = Stages()
    for words, place in ASK:
        stages.watch(words, place)
    count = int(times)
    with ImageSearchEngine(library) as engine:
        engine.search("id:1", 10, how=how)  # type: ignore[arg-type]
        stages.cpu = dict.fromkeys(stages.cpu, 0.0)
        began = time.process_time()
        for number in range(count):
            engine.search(f"id:{1 + number * 7919 % int(images)}", 10, exclude_self=True, how=how)  # type: ignore[arg-type]
        cpu = time.process_time() - began
    return {"cpu": cpu / count, "stages": {words: seconds / count for words, seconds in stages.cpu.items()}}


if __name__ == "__main__":
    print(json.dumps({"index": index, "search": search, "ask": ask}[sys.argv[1]](*sys.argv[2:])))
