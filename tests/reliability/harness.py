"""What the fault tests share: a cheap model, index runs in processes of their own that can be killed, and the judge of what is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image

from image_search import ImageSearchEngine
from image_search.images.pool import DecodePool
from image_search.library.catalog import Catalog
from image_search.paths import from_bytes
from image_search.testing import QuickModel
from image_search.types import Float32, UInt8

HERE = Path(__file__).resolve().parent
G = TypeVar("G", bound=Any)
MARK = "IMAGE_SEARCH_TEST_RUN"  # in the environment of every process of one run


def use_plain_model(commit_seconds: float = 0.01) -> None:
    """In this process every library is made and searched with the quick model; commits are small, so that there are many."""
    from image_search import embedding
    from image_search.index import run as indexing
    from image_search.library import model

    model.load_model = lambda *_, **__: QuickModel()  # type: ignore[assignment]
    model.choose_auto = lambda: ("quick", None)
    indexing.COMMIT_SECONDS = commit_seconds
    embedding.MAX_BATCH = 3


class OtherModel(QuickModel):
    """Of the same dimension; says something else."""

    runtime = "other"
    fingerprint = replace(QuickModel.fingerprint, name="other", weights_sha256="1" * 64)

    def embed(self, pixels: UInt8) -> Float32:
        return np.ascontiguousarray(super().embed(pixels)[:, ::-1])


def use_other_model() -> None:
    """In this process there are both, by their names."""
    from image_search.library import model

    model.load_model = lambda name, **_: OtherModel() if name == "other" else QuickModel()  # type: ignore[assignment]
    model.resolve = lambda name: (OtherModel if name == "other" else QuickModel).fingerprint  # type: ignore[assignment,return-value]


def draw(folder: Path, first: int, last: int) -> None:
    """Small pictures, each different: <folder>/<n // 10>/<n>.png."""
    for number in range(first, last):
        rng = np.random.default_rng(number)
        path = folder / str(number // 10) / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((40, 32), Image.Resampling.BICUBIC).save(path)


def true_vectors(photos: Path, model: QuickModel | None = None) -> dict[str, bytes]:
    """path -> the vector that it must have, bit by bit; decoded and embedded here, one by one."""
    model = model or QuickModel()
    with DecodePool(1, model.fingerprint.preprocess) as pool:
        return {str(p): model.embed(pool.decode(str(p)).pixels[None])[0].tobytes() for p in sorted(photos.rglob("*.png"))}


# --- runs ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Ended:
    """How a run ended: its exit status as waitpid gives it, and how many files it had said were done."""

    status: int
    acknowledged: int
    output: str

    @property
    def killed(self) -> bool:
        return os.waitstatus_to_exitcode(self.status) == -signal.SIGKILL


def with_its_secret(work: Path, make: Callable[[Path], G]) -> Iterator[G]:
    """For a fixture: what the tests of a file begin with, made once, with a secret of its own; its `nursery` is closed at the end."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("IMAGE_SEARCH_SECRET_FILE", str(work / "secret"))
        ground = make(work)
        yield ground
        ground.nursery.close()


class Nursery:
    """Starts index runs as forks of one process that has everything imported; each costs .1 s instead of 2."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "nursery.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    @contextlib.contextmanager
    def run(self, photos: Path, library: Path, **how: object) -> Iterator[Run]:
        """A run under way; on leaving it is waited for."""
        run = Run(self, photos, library, how)
        try:
            yield run
        finally:
            run.wait()

    def index(self, photos: Path, library: Path, **how: object) -> Ended:
        with self.run(photos, library, **how) as run:
            return run.wait()

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class Run:
    def __init__(self, nursery: Nursery, photos: Path, library: Path, how: dict[str, object]) -> None:
        self.mark = uuid.uuid4().hex
        self.said = nursery.work / f"{self.mark}.said"
        self.said.touch()
        self._process = nursery.process
        self._ended: Ended | None = None
        order = {"photos": str(photos), "library": str(library), "said": str(self.said), "mark": self.mark, **how}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self.pid = int(self._process.stdout.readline())

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> Ended:
        if self._ended is None:
            assert self._process.stdout is not None
            status = int(self._process.stdout.readline())
            lines = self.said.read_text().splitlines()
            done = [int(line.split()[1]) for line in lines if line.startswith("done ")]
            self._ended = Ended(status, done[-1] if done else 0, "\n".join(line for line in lines if not line.startswith("done ")))
            left = processes(self.mark)
            assert left == [], f"processes left behind: {left}"
        return self._ended


def processes(mark: str, patience: float = 60.0) -> list[int]:
    """Processes of one run that are still there after so many seconds."""
    deadline = time.monotonic() + patience
    while True:
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
                    if mark.encode() in file.read():
                        found.append(int(entry))
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


# --- the judge ------------------------------------------------------------------------------------------------------------------


def judge(library: Path, truth: dict[str, bytes], *, acknowledged: int, complete: bool = False) -> int:
    """Everything that must hold for a library whatever happened to its writer. Returns the number of images in it.

    The catalog is whole; no fewer files are in it than were acknowledged; every image has the vector of its own picture, bit by bit,
    and is the nearest to itself, searched exactly and, if the store says that it is ready, through the store.
    """
    if not Catalog.exists(library):
        assert acknowledged == 0 and not complete
        return 0
    with contextlib.closing(Catalog.open(library)) as catalog:
        assert catalog.rows("PRAGMA integrity_check") == [("ok",)]
        rows = catalog.rows(
            "SELECT r.path, f.path, c.vector FROM files AS f JOIN roots AS r ON r.id = f.root_id JOIN content AS c ON c.id = f.content_id"
            " WHERE f.state = 'present'"
        )
    held = {from_bytes(os.path.join(root, path)): vector for root, path, vector in rows}
    assert len(held) == len(rows) >= acknowledged, f"{acknowledged} were acknowledged, {len(held)} are there"
    assert all(truth[path] == vector for path, vector in held.items())
    assert not complete or set(held) == set(truth)
    with ImageSearchEngine(library, notify=lambda line: None) as engine:
        ready = engine.status()["store_ready"]
        for how in ("exact", "store") if ready and held else ("exact",):
            searcher = engine._open()
            for path, vector in held.items():
                matches, _ = searcher.search(np.frombuffer(vector, "<f4"), 1, NO_FILTERS, how, frozenset())
                assert [m.path for m in matches] == [path], (how, path)
        if how == "store":
            matches, _ = searcher.search(np.frombuffer(vector, "<f4"), len(held) + 10, NO_FILTERS, how, frozenset())
            assert {m.path for m in matches} == set(held)
    return len(held)


def _no_filters() -> object:
    from image_search.search.search import Filters

    return Filters()


NO_FILTERS = _no_filters()


def leftovers(library: Path) -> list[str]:
    """What lies in a library that nobody uses and should not."""
    fine = {"catalog.sqlite", "codes.bin", "thumbnails.sqlite", "store", "store.lock", "turn.lock", "writer.lock"}
    return sorted({entry.name for entry in library.iterdir()} - fine)


# --- means that not every system has ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(where: Path, size: str) -> Iterator[Path]:
    """A file system of its own size, in memory. Skips where none can be mounted."""
    where.mkdir(parents=True, exist_ok=True)
    if (
        sys.platform != "linux"
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", where], capture_output=True).returncode
    ):
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=True)


def need_strace() -> str:
    found = shutil.which("strace")
    if not found or subprocess.run([found, "-o", os.devnull, "true"], capture_output=True).returncode:
        pytest.skip("strace is not here or may not trace")
    return found
