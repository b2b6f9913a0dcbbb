"""Folders under watch: what happens in them comes into the library by itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pageserver import ALIVE, Client, make_library, serving
from pageserver import picture as page_picture
from pictures import picture

import image_search.index.watch as watching
from image_search import ImageSearchEngine, LibraryBusyError, LibraryError, UsageError
from image_search.images.scan import Excluder
from image_search.index.watch import Told, Watch, keep_up
from image_search.testing import InProcessPool, QuickModel, quick_engine
from image_search.types import IndexReport
from image_search.web.server import PageServer, PageSettings


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"QUIET": 0.05, "TICK": 0.01, "SIGNS": 0.0, "AGAIN": 0.02, "REST": 0.0}.items():
        monkeypatch.setattr(watching, f"WATCH_{name}_SECONDS", value)


class Ear:
    """Hears what a test tells it."""

    def __init__(self) -> None:
        self.listened: list[list[str]] = []
        self.told: Told = lambda path, content_alone: None
        self.stopped = 0

    def __call__(self, folders: Sequence[str], told: Told) -> Ear:
        self.listened.append(list(folders))
        self.told = told
        return self

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def watch(photos: Path, tmp_path: Path, ear: Ear) -> Watch:
    (tmp_path / "other").mkdir()
    said: list[str] = []
    folders = [str(photos), str(tmp_path / "other")]
    return Watch(lambda: folders, photos / "my.library", Excluder(["*_mask*"]), said.append, listen=ear)


def due(watch: Watch) -> list[str]:
    return [os.path.basename(folder) for folder in watch.due(threading.Event())]


def happens(watch: Watch) -> bool:
    """Has anything been heard that counts?"""
    return bool(watch._happened())


def test_a_burst_is_one_look_at_the_folders_it_was_in(watch: Watch, ear: Ear, photos: Path) -> None:
    for number in range(500):
        ear.told(str(photos / "circle" / f"{number}.png"), False)
    assert due(watch) == ["photos"] and not happens(watch)
    ear.told(str(photos.parent / "other" / "a.png"), True)
    ear.told(str(photos / "circle"), False)
    assert due(watch) == ["photos", "other"]


@pytest.mark.parametrize(
    ("below", "content_alone", "counts"),
    [
        ("circle/0.png", True, True),
        ("circle/new", False, True),
        ("circle/a.log", True, False),  # a file of another kind is written to
        ("circle/a.log", False, True),  # may be a folder with a point in its name that came or went
        (".hidden/a.png", False, False),
        ("circle/a_mask.png", False, False),
        ("my.library/catalog.sqlite-wal", True, False),
        ("my.library/store/a.png", False, False),
        ("", False, True),
    ],
)
def test_what_counts(watch: Watch, ear: Ear, photos: Path, below: str, content_alone: bool, counts: bool) -> None:
    ear.told(str(photos / below) if below else str(photos), content_alone)
    assert happens(watch) == counts


def test_a_folder_that_goes_and_comes_back_is_looked_at(watch: Watch, ear: Ear, photos: Path) -> None:
    assert ear.listened == [[str(photos), str(photos.parent / "other")]]
    photos.rename(photos.with_name("away"))
    assert due(watch) == ["photos"] and ear.listened[-1] == [str(photos.parent / "other")]
    photos.with_name("away").rename(photos)
    assert due(watch) == ["photos"] and ear.listened[-1] == ear.listened[0] and ear.stopped == 2


def test_everything_is_looked_at_now_and_then(watch: Watch) -> None:
    """What a network disk does not tell."""
    watch._look_at = 0.0
    assert due(watch) == ["photos", "other"]
    watch.looked(watch.folders, 0.0)
    assert watch._look_at > time.monotonic()


def test_where_the_system_tells_nothing_it_is_said_once(photos: Path, tmp_path: Path, ear: Ear) -> None:
    said: list[str] = []
    watch = Watch(lambda: [str(photos)], tmp_path / "library", Excluder(), said.append, listen=ear)
    for _ in range(3):
        ear.told(None, False)
        watch._happened()
    assert len(said) == 1 and "10 minutes" in said[0]


def test_after_a_long_look_comes_a_rest(watch: Watch, ear: Ear, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "WATCH_REST_SECONDS", 60.0)
    watch.looked([str(photos)], 1000.0)
    assert 50 < watch._rest_until - time.monotonic() <= 60
    watch._rest_until = 0.0
    watch.looked([str(photos)], 0.5)
    assert watch._rest_until - time.monotonic() <= 2


def test_a_library_that_is_busy_is_tried_again(watch: Watch) -> None:
    said: list[str] = []
    watch.notify = said.append
    tries = 0
    stop = threading.Event()

    def index(folders: list[str]) -> IndexReport:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise LibraryBusyError("another process writes")
        return IndexReport()

    reports = keep_up(lambda: watch, index, stop)
    assert next(reports) == IndexReport() and tries == 4 and said == ["another process writes"]
    stop.set()
    assert list(reports) == []


# The engine, and what the system really tells


def ready(engine: ImageSearchEngine, folder: Path, **options: object) -> tuple[Iterator[IndexReport], threading.Event]:
    stop = threading.Event()
    return engine.watch(folder, progress=False, stop=stop, **options), stop  # type: ignore[arg-type]


def test_a_library_follows_its_folder(engine: ImageSearchEngine, photos: Path) -> None:
    reports, stop = ready(engine, photos)
    assert next(reports).added == 12
    time.sleep(0.3)  # for the thread to listen; what came before is found by the next look
    picture("circle", 50).save(photos / "circle" / "new.png")
    assert next(reports).added == 1
    (photos / "circle" / "new.png").rename(photos / "square" / "moved.png")
    (photos / "circle" / "0.png").unlink()
    report = next(reports)
    assert (report.moved, report.missing) == (1, 1)
    with quick_engine(engine.library) as other:
        other.hold_writer_lock("test")  # in between it is free
    stop.set()
    assert list(reports) == [] and engine.status()["images"] == 12
    assert not [thread for thread in threading.enumerate() if thread.name == "watch"]


def test_a_folder_that_goes_away_makes_nothing_missing(engine: ImageSearchEngine, photos: Path) -> None:
    reports, _ = ready(engine, photos)
    next(reports)
    photos.rename(photos.with_name("unplugged"))
    assert next(reports).missing == 0 and engine.status()["missing"] == 0 and engine.status()["images"] == 12
    assert engine.status()["roots"][0]["offline"]
    photos.with_name("unplugged").rename(photos)
    assert next(reports).unchanged == 12 and not engine.status()["roots"][0]["offline"]
    reports.close()  # type: ignore[attr-defined]


def test_a_folder_that_was_never_there(engine: ImageSearchEngine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        engine.watch(tmp_path / "nowhere")


def test_a_library_that_is_removed_meanwhile_is_not_made_anew(engine: ImageSearchEngine, photos: Path) -> None:
    reports, _ = ready(engine, photos)
    assert next(reports).added == 12
    shutil.rmtree(engine.library)
    with pytest.raises(LibraryError, match="the library is gone"):
        next(reports)
    assert not engine.library.exists()


def test_a_library_that_goes_before_a_run_is_not_made_anew(
    engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look whether it is there and the run: nothing is made even then."""
    reports, _ = ready(engine, photos)
    next(reports)
    monkeypatch.setattr(watching.StillThere, "check", lambda still: None)
    shutil.rmtree(engine.library)
    photos.rename(photos.with_name("away"))  # a sign that is seen for certain
    with pytest.raises(LibraryError, match="the library is gone"):
        next(reports)
    assert not engine.library.exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_watches_until_it_is_told_to_stop(photos: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "image_search", "watch", str(photos), "--json", "--store", "exact", "--jobs", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["added"] == 12
        picture("circle", 50).save(photos / "circle" / "new.png")
        assert json.loads(process.stdout.readline())["added"] == 1
        process.send_signal(number)
        assert process.wait(30) == 128 + number and process.stderr.read().decode().splitlines()[-1] == "stopped"


# The page


def test_the_page_follows(tmp_path: Path, wait: Callable[[Callable[[], bool]], None]) -> None:
    library = make_library(tmp_path, 2)
    with serving(library, watch=True) as server:
        client = Client(server)
        runs = client.get("/api/library").json["job"]["run"]
        wait(lambda: bool(server.service.watching and server.service.watching._thread.ident))
        (tmp_path / "pictures" / "Red" / "new.jpg").write_bytes(page_picture(2, 77))
        wait(lambda: client.get("/api/library").json["library"]["images"] == 7)
        wait(lambda: client.get("/api/library").json["job"]["state"] == "done")
        job = client.get("/api/library").json["job"]
        assert (job["added"], job["run"]) == (1, runs + 1), "the look at the start changed nothing, and was not shown"
    assert not [thread for thread in threading.enumerate() if thread.name in ("watch", "page-watch")]


def test_a_page_whose_library_is_removed_ends(tmp_path: Path) -> None:
    server = PageServer(PageSettings(make_library(tmp_path, 2), model=QuickModel(), port=0, watch=True))
    server.engine._make_pool = InProcessPool  # type: ignore[assignment]
    ended: list[BaseException] = []

    def run() -> None:
        try:
            server.run()
        except LibraryError as error:
            ended.append(error)

    (thread := threading.Thread(target=run)).start()
    while not (server.started and server.service.watching and server.service.watching._still.was):
        time.sleep(0.02)
    shutil.rmtree(server.engine.library)
    thread.join(ALIVE)
    assert [str(error).split(":")[0] for error in ended] == ["the library is gone"] and not server.engine.library.exists()


@pytest.fixture
def wait() -> Callable[[Callable[[], bool]], None]:
    def until(is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + ALIVE
        while not is_so():
            assert time.monotonic() < end, "it does not happen"
            time.sleep(0.05)

    return until
