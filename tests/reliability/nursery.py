"""Forks index runs on order: one JSON order a line in; the run's process id, then its exit status, out. See harness.Nursery."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import chromadb  # noqa: F401 - once, for all runs
import sabotage
from harness import MARK, use_other_model, use_plain_model

from image_search import ImageSearchEngine
from image_search.library.catalog import Catalog
from image_search.stores.chroma import ChromaStore


def index(order: dict[str, object]) -> None:
    os.environ[MARK] = str(order["mark"])
    use_plain_model()
    said = os.open(str(order["said"]), os.O_WRONLY | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if order.get("sabotage"):
        getattr(sabotage, str(order["sabotage"]))()
    if order.get("step"):
        renames = int(order.get("renames", 0))  # type: ignore[call-overload]
        die_at(int(order["step"]), str(order["library"]), said, renames)  # type: ignore[call-overload]

    def acknowledge(done: int, total: int, skipped: int) -> None:
        os.write(said, b"done %d\n" % done)

    store = str(order.get("store", "exact"))
    if order.get("reembed"):
        use_other_model()
        with ImageSearchEngine(str(order["library"]), model="other", jobs=1, notify=print) as engine:
            os.write(said, b"embedded %d\n" % engine.reembed(progress=acknowledge).embedded)
        return
    with ImageSearchEngine(str(order["library"]), store=store, jobs=1, notify=print) as engine:
        report = engine.index(str(order["photos"]), progress=acknowledge)
    os.write(said, b"embedded %d\n" % report.embedded)


def die_at(step: int, library: str, said: int, renames: int) -> None:
    """Kill -9 at the n-th thing that is done to the library: a file opened, renamed or removed, a statement, a commit, a call into
    Chroma. Step -1 counts them instead, and says so at the end. Counted from so many renames on, the last of them being 1."""
    seen = 0
    left = renames

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen, left
        if event == "step" or (event in WATCHED and library in str(arguments[0])):
            left -= event == "os.rename"
            seen += left <= 0
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            if step < 0:
                os.write(said, b"step %d %s\n" % (seen, event.encode()))

    for owner, names in (
        (Catalog, ("execute", "execute_many", "set_meta", "close")),
        (ChromaStore, ("upsert", "delete", "count", "close")),
    ):
        for name in names:
            setattr(owner, name, stepped(getattr(owner, name)))
    sys.addaudithook(hook)


WATCHED = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "sqlite3.connect"}


def stepped(real):  # type: ignore[no-untyped-def]
    def call(*arguments, **options):  # type: ignore[no-untyped-def]
        sys.audit("step")
        result = real(*arguments, **options)
        sys.audit("step")
        return result

    return call


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            try:
                index(order)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


main()
