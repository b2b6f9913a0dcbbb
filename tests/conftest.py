from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inprocess import Answer, Quick
from pictures import fill

import image_search.cli.app
import image_search.engine
from image_search import ImageSearchEngine
from image_search.models import load_model
from image_search.testing import InProcessPool, quick_engine

# Threads that wait for one another cost the tests a third of what torch takes; nothing here is large enough to gain by them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

IN_MEMORY = Path("/dev/shm")  # a file system in memory: the catalogs' syncs cost nothing there
if os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > 2 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))

SHARED = Path(__file__).resolve().parents[2] / "shared"


TORCH = {
    f"test_{name}.py" for name in ("training", "training_gpu", "models_parity", "models", "models_int8", "models_openvino", "models_hub")
}
BROWSER = {
    "test_web_filters.py", "test_web_page.py", "test_web_words_page.py", "test_web_wall.py", "test_web_compare.py", "test_web_door.py",
    "test_web_tidy_page.py",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What loads torch goes to one of two workers, what starts a browser to the other: each begins with one half of the list."""
    torch = [item for item in items if item.path.name in TORCH]
    browser = [item for item in items if item.path.name in BROWSER]
    others = [item for item in items if item.path.name not in TORCH | BROWSER]
    middle = max(0, len(items) // 2 - len(torch))
    items[:] = torch + others[:middle] + browser + others[middle:]


@pytest.fixture(scope="session", autouse=True)
def common_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For what is made once for several tests, before the home of any of them."""
    home = tmp_path_factory.mktemp("common-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        yield


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's library, keys or model cache, and none reaches the network by accident."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("IMAGE_SEARCH_LIBRARY", str(home / "library"))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return home


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """3 classes x 4 pictures."""
    folder = tmp_path / "photos"
    fill(folder, 4)
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ImageSearchEngine]:
    """Quick: a model that costs nothing, decoding in this process, no store. What needs the real ones asks for `real_engine`."""
    with quick_engine(tmp_path / "library", notify=lambda line: None) as engine:
        yield engine


@pytest.fixture
def real_engine(tmp_path: Path) -> Iterator[ImageSearchEngine]:
    """With `mini` and decode workers; without a store, the stores have tests of their own."""
    with ImageSearchEngine(tmp_path / "library", model="mini", store="exact", jobs=1, notify=lambda line: None) as engine:
        yield engine


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of the program decodes in this test does so in this process."""
    for module in ("opened", "evaluate.run", "images.pool"):
        monkeypatch.setattr(f"image_search.{module}.DecodePool", InProcessPool)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process every model is the quick one."""
    monkeypatch.setattr("image_search.library.model.load_model", lambda *_, **__: Quick())


@pytest.fixture
def real_model(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And here it is not."""
    monkeypatch.setattr("image_search.library.model.load_model", load_model)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, in_process: None, quick: None) -> Callable[..., Answer]:
    """The program in this process, where it also decodes, with the quick model: less work than new processes for each call."""

    def call(*arguments: object, stdin: bytes = b"") -> Answer:
        monkeypatch.setattr(sys, "argv", ["image-search", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        code = 0
        try:
            image_search.cli.app.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        caught = capsys.readouterr()
        return Answer(code, caught.out, caught.err)

    return call


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `image-search` as a process of its own; text in and out."""

    def run(*arguments: object, stdin: bytes = b"", timeout: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "image_search", *map(os.fspath, map(_argument, arguments))],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            **options,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def _argument(value: object) -> str | os.PathLike[str]:
    return value if isinstance(value, (str, os.PathLike)) else str(value)


@pytest.fixture
def shared() -> Path:
    """Photos for evaluation beside the repository; not part of it."""
    if not (SHARED / "eval").is_dir():
        pytest.skip("needs ../shared/eval, which is not here")
    return SHARED
