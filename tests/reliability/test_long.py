"""Promise 10: memory and handles are flat, and nothing is left behind. IMAGE_SEARCH_TEST_FILES says how many files (100,000)."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from harness import MARK, leftovers, processes
from PIL import Image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MB = 1 << 20


def many(folder: Path, count: int) -> None:
    """Pictures of 16 x 16 pixels, each different, 500 in a folder."""
    rng = np.random.default_rng(0)
    for start in range(0, count, 500):
        below = folder / f"{start // 500:04}"
        below.mkdir(parents=True)
        for number, pixels in enumerate(rng.integers(0, 256, (min(500, count - start), 16, 16, 3), dtype=np.uint8)):
            Image.fromarray(pixels).save(below / f"{number:03}.png", compress_level=0)


class Watch:
    """Looks at all processes of one run, twice a second: memory together (proportional: a shared page counts once), handles of the
    one that holds most."""

    def __init__(self, mark: str) -> None:
        self.mark = mark.encode()
        self.memory = self.handles = self.most_processes = 0
        self.curve: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_again)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look_again(self) -> None:
        started = time.monotonic()
        mine: set[str] = set()
        looks = 0
        while not self._stop.wait(0.5):
            here = {entry for entry in os.listdir("/proc") if entry.isdigit()}
            mine &= here
            for pid in here - mine:
                with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
                    if self.mark in file.read():
                        mine.add(pid)
            memory = sum(_memory(pid) for pid in mine)
            self.memory = max(self.memory, memory)
            self.handles = max([self.handles, *(_handles(pid) for pid in mine)])
            self.most_processes = max(self.most_processes, len(mine))
            if looks % 20 == 0:
                self.curve.append((time.monotonic() - started, memory))
            looks += 1


def _memory(pid: str) -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration), open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    return 0


def _handles(pid: str) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def watched(work: Path, *arguments: object, handles: int = 64) -> tuple[Watch, str]:
    """Run the program with so many handles allowed to each of its processes; what it cost, and its words."""
    mark = uuid.uuid4().hex
    temporary = work / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = os.environ | {MARK: mark, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    with Watch(mark) as watch:
        done = subprocess.run(
            [sys.executable, "-m", "image_search", *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (handles, handles)),
        )
    assert done.returncode == 0, done.stderr
    assert processes(mark) == []
    assert list(temporary.iterdir()) == []
    return watch, done.stdout + done.stderr


@pytest.mark.slow
def test_memory_and_handles_are_flat(tmp_path: Path) -> None:
    count = int(os.environ.get("IMAGE_SEARCH_TEST_FILES", 100_000))
    photos, library = tmp_path / "photos", tmp_path / "library"
    many(photos, count)
    indexed, words = watched(tmp_path, "index", photos, "--library", library, "--model", "mini", "--store", "exact")
    assert f"{count:,}" in words or str(count) in words, words
    print(f"\nindex, {count} files: {indexed.memory // MB} MB, {indexed.handles} handles, {indexed.most_processes} processes, {words}")
    print("memory over time:", [(round(seconds), memory // MB) for seconds, memory in indexed.curve[:: max(1, len(indexed.curve) // 20)]])
    again, words = watched(tmp_path, "index", photos, "--library", library)
    print(f"again: {again.memory // MB} MB, {again.handles} handles, {words}")
    built, words = watched(tmp_path, "rebuild", "--library", library, "--store", "chroma")
    print(f"store: {built.memory // MB} MB, {built.handles} handles, {words}")
    searched, words = watched(tmp_path, "search", photos / "0000" / "007.png", "--library", library)
    print(f"search: {searched.memory // MB} MB, {searched.handles} handles")
    assert "007.png" in words and "identical" in words
    assert leftovers(library) == []
    assert max(indexed.memory, again.memory, searched.memory) <= 600 * MB
    assert built.memory <= 600 * MB + 300 * MB + 3 * 1024 * count
    assert max(indexed.handles, again.handles, built.handles, searched.handles) <= 64


@pytest.mark.slow
def test_skipped_files_and_copies_cost_no_memory(tmp_path: Path) -> None:
    """Half of them are the same bytes, half no pictures at all."""
    count = int(os.environ.get("IMAGE_SEARCH_TEST_FILES", 100_000)) // 4
    photos, library = tmp_path / "photos", tmp_path / "library"
    many(photos, 1)
    data = (photos / "0000" / "000.png").read_bytes()
    for number in range(count):
        folder = photos / f"{number // 500:04}"
        folder.mkdir(exist_ok=True)
        (folder / f"c{number}.png").write_bytes(data)
        (folder / f"x{number}.png").write_bytes(b"no picture %d" % number)
    run, _ = watched(tmp_path, "index", photos, "--library", library, "--model", "mini", "--store", "exact")
    print(f"\n{count} copies and {count} files that are no pictures: {run.memory // MB} MB, {run.handles} handles")
    assert run.memory <= 600 * MB
    assert run.handles <= 64


def test_a_run_needs_few_handles_and_leaves_nothing(tmp_path: Path, own_home: Path) -> None:
    """Nothing in the library, among temporary files (`watched` looks) or in the user's folders but our own secret and proof."""
    many(tmp_path / "photos", 40)
    watched(tmp_path, "index", tmp_path / "photos", "--library", tmp_path / "library", "--model", "mini", "--store", "chroma")
    assert leftovers(tmp_path / "library") == []
    left = [path for path in own_home.rglob("*") if path.is_file()]
    assert {str(path.parent.relative_to(own_home)) for path in left} == {"data/image-search", "cache/image-search/proofs"}
    assert sorted(path.stat().st_size for path in left) == [0, 32, 32 + 8 * 4 * 256]  # that mini was proved here; the secret; its vectors
