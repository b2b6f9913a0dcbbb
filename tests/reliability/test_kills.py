"""Promise 1 and 6: no acknowledged image is ever lost, whenever the run is killed; the next run does only what is missing."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Nursery, Run, draw, judge, leftovers, true_vectors, with_its_secret

from image_search import LibraryDamagedError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

HALF, WHOLE = 30, 60  # pictures


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    yield from with_its_secret(tmp_path_factory.mktemp("kills"), Ground)


class Ground:
    """Pictures, what their vectors must be, and libraries to begin with: none, and one that knows half of them."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.photos = work / "photos"
        draw(self.photos, 0, HALF)
        self.nursery = Nursery(work)
        for store in ("exact", "chroma"):
            assert self.nursery.index(self.photos, work / f"half-{store}", store=store).status == 0
        draw(self.photos, HALF, WHOLE)
        self.truth = true_vectors(self.photos)

    def begin(self, kind: str, store: str) -> Path:
        library = self.work / "library"
        shutil.rmtree(library, ignore_errors=True)
        if kind == "half":
            shutil.copytree(self.work / f"half-{store}", library)
        return library

    def after(self, library: Path, store: str, acknowledged: int, kind: str) -> int:
        """Judge what a killed run left, run again, judge that."""
        there = judge(library, self.truth, acknowledged=acknowledged + (HALF if kind == "half" else 0))
        again = self.nursery.index(self.photos, library, store=store)
        assert again.status == 0, again.output
        assert f"embedded {WHOLE - there}" in again.output, (there, again.output)
        judge(library, self.truth, acknowledged=WHOLE, complete=True)
        assert leftovers(library) == []
        return there


@pytest.fixture(autouse=True)
def same_secret(ground: Ground, monkeypatch: pytest.MonkeyPatch, plain: None) -> None:
    monkeypatch.setenv("IMAGE_SEARCH_SECRET_FILE", str(ground.work / "secret"))


def steps_of(ground: Ground, kind: str, store: str, **how: object) -> int:
    """How many steps a whole run takes."""
    said = ground.nursery.index(ground.photos, ground.begin(kind, store), store=store, step=-1, **how)
    assert said.status == 0, said.output
    return sum(line.startswith("step ") for line in said.output.splitlines())


def kill_at_steps(ground: Ground, kind: str, store: str, steps: list[int], **how: object) -> list[int]:
    there = []
    for step in steps:
        library = ground.begin(kind, store)
        ended = ground.nursery.index(ground.photos, library, store=store, step=step, **how)
        assert ended.killed, (step, ended)
        there.append(ground.after(library, store, ended.acknowledged, kind))
    return there


def kill_at_moments(ground: Ground, kind: str, store: str, chance: random.Random, hits: int) -> None:
    """At shares of a whole run's time, until so many kills hit: a run may end before its moment, the more so on a busy machine."""
    started = time.monotonic()
    assert ground.nursery.index(ground.photos, ground.begin(kind, store), store=store).status == 0
    seconds = time.monotonic() - started
    hit = tries = 0
    while hit < hits:
        tries += 1
        assert tries <= 5 * hits, f"only {hit} kills hit"
        library = ground.begin(kind, store)
        with ground.nursery.run(ground.photos, library, store=store) as run:
            time.sleep(chance.random() * seconds)
            run.kill()
            ended = run.wait()
        hit += ended.killed
        ground.after(library, store, ended.acknowledged, kind)


def kill_when_written(ground: Ground, library: Path, store: str, chance: random.Random) -> bool:
    """Watch the library's files and kill at the moment when one of the store's changes."""
    with ground.nursery.run(ground.photos, library, store=store) as run:
        wanted = chance.randrange(1, 8)  # the n-th change that is seen
        seen: dict[str, tuple[int, int]] = {}
        while wanted and _alive(run):
            try:
                there = list(library.glob("store*/**/*"))
            except OSError:  # a folder was renamed under the walk
                continue
            for path in there:
                try:
                    now = path.stat()
                except OSError:
                    continue
                if seen.get(str(path)) != (now.st_mtime_ns, now.st_size):
                    seen[str(path)] = (now.st_mtime_ns, now.st_size)
                    if "chroma" in path.name or path.suffix == ".bin":
                        wanted -= 1
                        break
        run.kill()
        return run.wait().killed


def _alive(run: Run) -> bool:
    try:
        with open(f"/proc/{run.pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("kind", "store"), [("new", "exact"), ("half", "chroma")])
def test_killed_at_aimed_steps(ground: Ground, kind: str, store: str) -> None:
    total = steps_of(ground, kind, store)
    there = kill_at_steps(ground, kind, store, [1 + round(share * (total - 1)) for share in (0.1, 0.5, 0.9)])
    assert there == sorted(there)  # later kills leave more


def test_a_run_that_is_not_killed_embeds_nothing_again(ground: Ground) -> None:
    library = ground.begin("new", "exact")
    assert "embedded 60" in ground.nursery.index(ground.photos, library).output
    assert "embedded 0" in ground.nursery.index(ground.photos, library).output


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("no_transactions", "no_journal")]


@pytest.mark.parametrize("sabotage", ["acknowledge_early", "misaligned", *SLOW])
def test_with_the_protection_off_it_is_noticed(ground: Ground, sabotage: str) -> None:
    total = steps_of(ground, "new", "exact", sabotage=sabotage)
    with pytest.raises((AssertionError, LibraryDamagedError)):
        kill_at_steps(ground, "new", "exact", list(range(total // 2, total // 2 + 12)), sabotage=sabotage)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "store"), [("new", "exact"), ("half", "exact"), ("new", "chroma"), ("half", "chroma")])
def test_killed_at_many_steps_and_moments(ground: Ground, kind: str, store: str) -> None:
    chance = random.Random(f"{kind} {store}")
    total = steps_of(ground, kind, store)
    steps = sorted({*range(1, 13), *chance.sample(range(13, total + 1), 28)})
    kill_at_steps(ground, kind, store, steps)
    kill_at_moments(ground, kind, store, chance, 20)
    print(f"\n{kind} library, store {store}: {total} steps, killed at {len(steps)} of them, and 20 times at random moments")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["new", "half"])
def test_killed_while_the_store_is_written(ground: Ground, kind: str) -> None:
    chance = random.Random(kind)
    hit = tries = 0
    while hit < 20:  # a run may end before its moment, the more so on a busy machine
        tries += 1
        assert tries <= 100, f"only {hit} kills hit"
        library = ground.begin(kind, "chroma")
        hit += kill_when_written(ground, library, "chroma", chance)
        ground.after(library, "chroma", 0, kind)
    print(f"\n{kind} library: {hit} kills while the store's files were written")


@pytest.mark.slow
def test_killed_again_and_again(ground: Ground) -> None:
    """Ten kills in a row on one library, never a whole run between them."""
    chance = random.Random(5)
    library = ground.begin("new", "chroma")
    for _ in range(10):
        with ground.nursery.run(ground.photos, library, store="chroma") as run:
            time.sleep(chance.uniform(0.2, 1.0))
            run.kill()
        judge(library, ground.truth, acknowledged=0)
    ground.after(library, "chroma", 0, "new")


def test_killed_while_the_library_is_made(ground: Ground) -> None:
    kill_at_steps(ground, "new", "exact", [3, 6])
