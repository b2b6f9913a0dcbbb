"""Promise 1: a disk that fails or is full costs no acknowledged image; what fails is said in one line; afterwards it goes on."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from harness import HERE, draw, judge, leftovers, need_strace, true_vectors

from image_search import ImageSearchEngine

COUNT = 20  # pictures


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk") / "photos"
    draw(folder, 0, COUNT)
    return folder


@pytest.fixture(scope="module")
def truth(photos: Path) -> dict[str, bytes]:
    return true_vectors(photos)


@pytest.fixture(autouse=True)
def _plain(plain: None) -> None:
    pass


class Faulty:
    """An index run under strace, which makes one system call fail, or kills there."""

    def __init__(self, photos: Path, work: Path) -> None:
        self.strace = need_strace()
        self.photos = photos
        self.library = work / "library"
        self.said = work / "said"
        self.trace = work / "trace"

    def index(self, inject: str, *, store: str = "exact", only: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """`inject`: as strace wants it, such as "pwrite64:error=EIO:when=3"; `only`: names in the library to which it applies."""
        self.said.unlink(missing_ok=True)
        self.said.touch()
        paths = [part for name in only for part in ("-P", str(self.library / name))]
        call = [
            self.strace,
            "-f",
            "-y",
            "-qq",
            "-o",
            str(self.trace),
            *paths,
            "-e",
            f"trace={inject.split(':')[0]}",
            "-e",
            f"inject={inject}",
        ]
        run = [sys.executable, str(HERE / "one_run.py"), str(self.photos), str(self.library), str(self.said), store]
        return subprocess.run([*call, *run], capture_output=True, text=True, timeout=120)

    @property
    def acknowledged(self) -> int:
        return max((int(line.split()[1]) for line in self.said.read_text().splitlines()), default=0)

    @property
    def injected(self) -> bool:
        return "INJECTED" in (text := self.trace.read_text()) or "killed by SIGKILL" in text

    def start_anew(self) -> None:
        shutil.rmtree(self.library, ignore_errors=True)


def check(faulty: Faulty, done: subprocess.CompletedProcess[str], truth: dict[str, bytes], what: object) -> str:
    """What a run with a fault may say and leave; then the plain run after it. Returns how it ended, in a word."""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert not any("Traceback" in line for line in lines), (what, lines)
    assert done.returncode in (0, 1), (what, done)
    there = judge(faulty.library, truth, acknowledged=faulty.acknowledged, complete=done.returncode == 0)
    go_on(faulty, truth, COUNT - there, "exact")
    if done.returncode == 0:
        return "done"
    assert len(lines) == 1, (what, lines)
    return re.sub(r".*error: (\w+): ([^:(]*).*", r"\1: \2", lines[0]).strip()


def go_on(faulty: Faulty, truth: dict[str, bytes], missing: int, store: str) -> None:
    """A plain run, without a fault, does what is missing and no more."""
    with ImageSearchEngine(faulty.library, store=store, jobs=1, notify=lambda line: None) as engine:
        assert engine.index(faulty.photos, progress=False).embedded == missing
    judge(faulty.library, truth, acknowledged=COUNT, complete=True)
    assert leftovers(faulty.library) == []


FILES = ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite.new", "catalog.sqlite.new-wal")


def faults(faulty: Faulty, truth: dict[str, bytes], call: str, effect: str, moments: list[str]) -> Counter[str]:
    ends: Counter[str] = Counter()
    for moment in moments:
        faulty.start_anew()
        inject = f"{call}:{effect}:when={moment}"
        done = faulty.index(inject, only=FILES)
        if not faulty.injected:
            assert done.returncode == 0
            ends["not reached"] += 1
            break
        ends[check(faulty, done, truth, inject)] += 1
    return ends


@pytest.mark.parametrize(
    ("call", "effect", "moments"),
    [
        ("pwrite64", "error=EIO", ["30"]),
        ("pwrite64", "error=ENOSPC", ["60+"]),
        ("fdatasync", "error=EIO", ["7"]),
    ],
)
def test_a_call_to_the_disk_fails(
    photos: Path, truth: dict[str, bytes], tmp_path: Path, call: str, effect: str, moments: list[str]
) -> None:
    ends = faults(Faulty(photos, tmp_path), truth, call, effect, moments)
    assert ends.total() == len(moments) and "not reached" not in ends


@pytest.mark.slow
@pytest.mark.parametrize("effect", ["error=EIO", "error=ENOSPC"])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "ftruncate", "pread64"])
def test_every_call_to_the_disk_fails_in_turn(photos: Path, truth: dict[str, bytes], tmp_path: Path, call: str, effect: str) -> None:
    if call == "pread64" and "ENOSPC" in effect:
        pytest.skip("reading needs no room")
    step = 11 if call in ("pwrite64", "pread64") else 1
    moments = [f"{n}{lasting}" for n in range(1, 500, step) for lasting in ("", "+")]
    print(f"\n{call} {effect}:", dict(faults(Faulty(photos, tmp_path), truth, call, effect, moments)))


def killed(faulty: Faulty, truth: dict[str, bytes], call: str, moments: list[int], store: str = "exact") -> int:
    """Kill -9 at the n-th call, for each n; returns how many kills hit."""
    hit = 0
    for moment in moments:
        faulty.start_anew()
        done = faulty.index(f"{call}:signal=SIGKILL:when={moment}", store=store)
        if done.returncode not in (-signal.SIGKILL, 128 + signal.SIGKILL):
            assert done.returncode == 0, done
            continue
        hit += 1
        there = judge(faulty.library, truth, acknowledged=faulty.acknowledged)
        go_on(faulty, truth, COUNT - there, store)
    return hit


@pytest.mark.parametrize(("call", "moments"), [("pwrite64", [80]), ("fdatasync", [9])])
def test_killed_at_a_call_to_the_disk(photos: Path, truth: dict[str, bytes], tmp_path: Path, call: str, moments: list[int]) -> None:
    assert killed(Faulty(photos, tmp_path), truth, call, moments) == len(moments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "last", "step", "store"),
    [
        ("pwrite64", 240, 6, "exact"),
        ("fdatasync", 30, 1, "exact"),
        ("rename", 2, 1, "exact"),
        ("unlink", 9, 1, "exact"),
        ("ftruncate", 9, 1, "exact"),
        ("pwrite64", 500, 20, "chroma"),
        ("rename", 6, 1, "chroma"),
        ("fsync", 12, 1, "chroma"),
    ],
)
def test_killed_at_every_call_to_the_disk(
    photos: Path, truth: dict[str, bytes], tmp_path: Path, call: str, last: int, step: int, store: str
) -> None:
    print(f"\nkilled at {call}, store {store}:", killed(Faulty(photos, tmp_path), truth, call, list(range(1, last + 1, step)), store))
