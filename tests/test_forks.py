"""A program that forks with an engine in hand: the child searches, or is told why not; nothing hangs, and the parent loses nothing."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from pageserver import ALIVE
from pictures import fill, picture

from image_search import ImageSearchEngine, ImageSearchError, LibraryBusyError, LibraryError, ModelError, StoreError
from image_search.library.lock import ProcessLock
from image_search.models import load_model
from image_search.models import runtimes as runtimes_module
from image_search.testing import quick_engine

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def in_child(work: Callable[[], object], *, exits: bool = False) -> str:
    """What it said in a forked process: its value, or the error's kind. `exits`: the child ends as a program does, finalizers and all."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(work())
        except ImageSearchError as error:
            said = type(error).__name__
        except BaseException:
            said = traceback.format_exc()
        os.write(writing, said.encode())
        if exits:
            atexit._run_exitfuncs()
        os._exit(0)
    os.close(writing)
    until = time.monotonic() + ALIVE
    with os.fdopen(reading, "rb") as pipe:
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "hangs"
            time.sleep(0.01)
        return pipe.read().decode()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    fill(tmp_path / "photos", 3)
    return tmp_path / "photos"


def test_no_child_touches_a_store_that_its_parent_opened(tmp_path: Path, photos: Path) -> None:
    """Chroma's core waits for threads that only the parent has."""
    lines: list[str] = []
    library = tmp_path / "library"
    with quick_engine(library, store="chroma", notify=lines.append) as engine:
        engine.index(photos)
        ask = lambda how="auto", e=engine: [m.id for m in e.search("id:1", 3, how=how)]  # noqa: E731
        expected = str(ask("store"))
        copies = set(library.glob("store.read-*"))
        assert in_child(ask) == in_child(lambda: ask("exact")) == expected
        assert in_child(lambda: ask("store")) == StoreError.__name__
        assert in_child(engine.close, exits=True) == "None"

        def another() -> object:
            with quick_engine(library, store="chroma", notify=lambda _: None) as other:
                return ask(e=other), other.status()["store_ready"]

        assert in_child(another) == f"({expected}, False)"

        def new() -> object:
            with quick_engine(tmp_path / "new", store="chroma", notify=lines.append) as other:
                return other.index(photos).added, ask(e=other) != [], lines[-1]

        said = in_child(new)
        assert said.startswith("(9, True, 'The images are safe") and "Chroma was in use when this process was forked" in said
        assert str(ask("store")) == expected and set(library.glob("store.read-*")) == copies, "the parent's own is still there"
    with quick_engine(tmp_path / "new", store="chroma", notify=lines.append) as engine:
        assert engine.index(photos).unchanged == 9 and engine.status()["store_ready"], "the next run makes up for it"
    assert lines == []


def test_a_child_has_a_model_and_decoders_of_its_own(tmp_path: Path, photos: Path) -> None:
    with ImageSearchEngine(tmp_path / "library", model="mini", store="exact", jobs=2, notify=lambda _: None) as engine:
        engine.index(photos, progress=False)
        picture("circle", 50).save(tmp_path / "one.png")
        ask = lambda: [m.id for m in engine.search([tmp_path / "one.png", picture("square", 50)], 5)]  # noqa: E731
        expected = str(ask())
        workers = [worker.process.pid for pool in engine.decoders._pools.values() for worker in pool._jobs.all]  # type: ignore[attr-defined]
        assert in_child(ask, exits=True) == expected
        assert [os.waitpid(pid, os.WNOHANG)[0] for pid in workers] == [0] * len(workers), "the parent's workers live"
        assert str(ask()) == expected


def test_what_a_child_writes_the_parent_sees(tmp_path: Path, photos: Path) -> None:
    fill(tmp_path / "more", 1, first=20)
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos)
        assert len(engine.search("id:1", 100)) == 9
        assert in_child(lambda: (engine.index(tmp_path / "more").added, len(engine.search("id:1", 100)))) == "(3, 12)"
        assert len(engine.search("id:1", 100)) == 12
        assert engine.index(tmp_path / "more").unchanged == 3


def test_the_writers_lock_stays_the_parents(tmp_path: Path, photos: Path) -> None:
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos)
        engine.hold_writer_lock("page")
        assert in_child(lambda: engine.index(photos)) == LibraryBusyError.__name__
        assert in_child(engine.close, exits=True) == "None"
        with pytest.raises(LibraryBusyError):
            ProcessLock(tmp_path / "library" / "writer.lock").acquire()
        assert engine.index(photos).unchanged == 9


def test_a_library_that_is_being_written_to_is_not_opened_in_the_child(tmp_path: Path, photos: Path) -> None:
    said: list[str] = []

    def progress(*_: int) -> None:
        if not said:
            said.append(in_child(lambda: [m.id for m in engine.search("id:1", 3)]))
            said.append(in_child(lambda: quick_engine(tmp_path / "library").search("id:1", 3)))

    with quick_engine(tmp_path / "library") as engine:
        assert engine.index(photos, progress=progress).added == 9
        assert said == [LibraryError.__name__] * 2
        assert in_child(lambda: len(engine.search("id:1", 100))) == "9", "afterwards it is"


def test_forking_beside_threads_that_search(tmp_path: Path, photos: Path) -> None:
    """They are neither stopped nor given an error, and no child waits for them."""
    stop, failed = threading.Event(), list[BaseException]()
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos)

        def search() -> None:
            try:
                while not stop.is_set():
                    assert len(engine.search("id:1", 100, path="*")) == 9
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            said = {in_child(lambda: len(engine.search("id:2", 100, path="*"))) for _ in range(10)}
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert "9" in said and said <= {"9", LibraryError.__name__} and failed == []


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_a_runtime_that_keeps_threads_is_refused_in_a_child(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes_module, "loaded_before_fork", lambda module: module == f"image_search.models.{runtime}")
    row = next(one for one in runtimes_module.RUNTIMES if one.name == runtime)
    with pytest.raises(ModelError, match=f'{runtime} was in use when this process was forked.*"spawn"'):
        row.open(None)  # type: ignore[arg-type]
    load_model("mini", runtime="onnx", threads=1).close()
