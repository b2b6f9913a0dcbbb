"""Ctrl-C at any moment from the program's first line on, imports included: 130, one line, no trace; also when it comes again at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from inprocess import Answer
from pictures import fill, picture

from image_search import ImageSearchEngine, signals
from image_search.cli import exits
from image_search.testing import InProcessPool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there a signal cannot be sent to a process")

ROOT = Path(__file__).resolve().parents[1]
# The program gets a signal when it begins its n-th import after it has said that it listens, and at as many more as are wanted.
AT_AN_IMPORT = """
import os, runpy, signal, sys
first, times, number = (int(sys.argv.pop(1)) for _ in range(3))
seen = None
def hook(event, args):
    global seen
    if event == "import":
        if seen is not None:
            seen += 1
            if first <= seen < first + times:
                os.kill(os.getpid(), number)
        elif args[0] == "image_search.cli":
            seen = 0
sys.addaudithook(hook)
sys.argv[0] = "image-search"
runpy.run_module("image_search", run_name="__main__", alter_sys=True)
"""
LISTENING = """
import os, sys
import image_search.__main__ as program
real = program.listen
program.listen = lambda *handler: (real(*handler), os.write(1, b"here\\n"))
sys.argv[0] = "image-search"
program.main()
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("interrupts")
    fill(place / "photos", 2)
    with ImageSearchEngine(place / "library", model="mini", store="exact", jobs=1, notify=lambda line: None) as engine:
        engine._make_pool = InProcessPool
        engine.index(place / "photos", progress=False)
    picture("circle", 99).save(place / "new.png")
    return place / "library"


def ended(first: int, times: int, *arguments: object, number: int = signal.SIGINT) -> bool:
    """Run the program with a signal at its first-th import; was it there to be interrupted?"""
    run = [sys.executable, "-c", AT_AN_IMPORT, str(first), str(times), str(int(number)), *map(str, arguments)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=240)
    told = [line for line in done.stderr.splitlines() if "everything done so far is safe" in line]
    if done.returncode == 0 and not told:  # it had fewer imports, or was the page, which ends in order
        return "Ended." in done.stderr
    check(done.returncode, done.stderr, f"at import {first}", number)
    return True


def check(code: int, words: str, when: str, number: int = signal.SIGINT) -> None:
    others = ("Using the small built-in model", "It ends with Ctrl-C.", "Ended.")  # what a run says before
    lines = [line for line in words.splitlines() if not line.startswith(others)]
    assert (code, len(lines)) == (128 + number, 1) and "everything done so far is safe" in lines[0], (when, code, words)


@pytest.mark.parametrize(("first", "times"), [(1, 1), (60, 1), (130, 1), (220, 1), (30, 1000), (200, 1000)])
def test_an_import_can_be_interrupted(library: Path, first: int, times: int) -> None:
    assert ended(first, times, "search", library.parent / "new.png", "--library", library)


def test_an_import_can_be_terminated(library: Path) -> None:
    assert ended(100, 1, "status", "--library", library, number=signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "imports"),
    [(("search", "new.png"), 250), (("index", "photos", "--store", "chroma"), 900), (("status",), 100), (("serve",), 500)],
)
def test_every_import_can_be_interrupted(library: Path, tmp_path: Path, command: tuple[str, ...], imports: int) -> None:
    verb, *rest = command
    given = [library.parent / one if (library.parent / one).exists() else one for one in rest]
    if verb == "serve":
        given += ["--no-browser", "--port", "0"]
    reached = 0
    for first in range(1, imports, 7):
        place = tmp_path / str(first) if verb == "index" else library
        reached += ended(first, 1 if first % 2 else 1000, verb, *given, "--library", place)
    assert reached >= 0.9 * len(range(1, imports, 7)), "else the table above is out of date"


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_at_any_time_after_its_first_line(library: Path, again: bool) -> None:
    chance = random.Random(again)
    run = [sys.executable, "-c", LISTENING, "search", str(library.parent / "new.png"), "--library", str(library)]
    stopped = 0
    for _ in range(40):
        with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "here\n"
            wait = chance.uniform(0, 1.0)
            time.sleep(wait)
            process.send_signal(signal.SIGINT)
            if again:
                time.sleep(chance.uniform(0, 0.1))
                process.send_signal(signal.SIGINT)
            _, words = process.communicate(timeout=240)
        if process.returncode in (0, -signal.SIGINT) and not words:  # all was said; at the last it is Python's own again
            continue
        check(process.returncode, words, f"after {wait:.3f} s")
        stopped += 1
    assert stopped >= 10


@pytest.mark.parametrize("command", [["-m", "image_search"], [str(ROOT / "ai_image_search_engine.py")]])
def test_each_way_to_start_it_listens_first(command: list[str], tmp_path: Path) -> None:
    """What is imported of ours before the program listens is next to nothing: Ctrl-C there is met by Python alone."""
    (tmp_path / "sitecustomize.py").write_text(
        "import signal, sys\nreal = signal.signal\n"
        "def first(number, handler):\n"
        "    print(*sorted(name for name in sys.modules if name.startswith('image_search')))\n"
        "    sys.stdout.flush()\n    import os\n    os._exit(0)\n"
        "signal.signal = first\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    done = subprocess.run([sys.executable, *command, "status"], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    ours = set(done.stdout.split())
    assert ours and ours <= {"image_search", "image_search.__main__", "image_search.signals"}, done


def test_who_asks_again_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C shortly after the first is the same wish; after two seconds it means now."""
    left: list[int] = []
    now = [100.0]
    monkeypatch.setattr(signals, "leave", left.append)
    monkeypatch.setattr(signals, "listen", lambda *_, **__: None)
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    exits.listen_for_signals()
    try:
        with pytest.raises(SystemExit):
            exits._stop(signal.SIGINT, None)
        now[0] += 0.5
        exits._stop(signal.SIGINT, None)
        assert left == []
        now[0] += signals.PATIENCE_SECONDS
        exits._stop(signal.SIGTERM, None)
        assert left == [signal.SIGINT], "it ends as what it was told first"
    finally:
        exits.listen_for_signals()
        sys.unraisablehook = sys.__unraisablehook__


@pytest.mark.parametrize(("line", "said"), [(None, "go on"), ("", "interrupted"), ("stopped", "stopped")])
def test_what_does_not_go_on_where_it_was_does_not_say_so(line: str | None, said: str) -> None:
    signals.listen(signal.default_int_handler, anew=True)
    if line is not None:
        signals.say_at_the_end(line)
    told = signals.said(signal.SIGINT)
    signals.listen(signal.default_int_handler, anew=True)
    assert told.endswith(said) and (line is None or told == said)
    assert "go on" in signals.said(signal.SIGINT), "another run has the usual line"


@pytest.mark.parametrize("command", [("export", "--to", "x.parquet"), ("search", "--each", "new.png"), ("watch", "photos")])
def test_the_commands_that_do_not_go_on(
    run: Callable[..., Answer], library: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    for verb in ("export", "search_each", "watch"):
        monkeypatch.setattr(ImageSearchEngine, verb, stopped)
    monkeypatch.chdir(library.parent)
    answer = run(*command, "--library", library)
    assert (answer.code, answer.err.splitlines()[-1]) == (130, "stopped" if command[0] == "watch" else "interrupted")


def test_a_stop_that_falls_into_a_finaliser_is_not_lost(library: Path) -> None:
    code = """
import os, signal, sys, time
from image_search import ImageSearchEngine
from image_search.__main__ import main
class Finalised:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass
def status(engine):
    Finalised()
    end = time.monotonic() + 200
    while time.monotonic() < end: time.sleep(0.01)
ImageSearchEngine.status = status
sys.argv = ["image-search", "status", "--library", sys.argv[1]]
main()
"""
    done = subprocess.run([sys.executable, "-c", code, str(library)], capture_output=True, text=True, timeout=240)
    check(done.returncode, done.stderr, "in a finaliser")
