"""A library on its way to another model: killed anywhere, it answers with all of the old vectors or all of the new ones, and goes on."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Nursery, OtherModel, draw, judge, leftovers, true_vectors, use_other_model, with_its_secret

from image_search import ImageSearchEngine
from image_search.library.catalog import Catalog
from image_search.library.successor import under_way

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

PICTURES = 12


class Ground:
    """A library of the old model, and what its vectors must be with either."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.photos = work / "photos"
        draw(self.photos, 0, PICTURES)
        self.nursery = Nursery(work)
        assert self.nursery.index(self.photos, work / "old", store="exact").status == 0
        self.old, self.new = true_vectors(self.photos), true_vectors(self.photos, OtherModel())

    def begin(self) -> Path:
        library = self.work / "library"
        shutil.rmtree(library, ignore_errors=True)
        shutil.copytree(self.work / "old", library)
        return library

    def after(self, library: Path) -> str:
        """Judge what is left, go on, judge that. Which model it had."""
        with contextlib.closing(Catalog.open(library)) as catalog:
            model = catalog.fingerprint.name
        judge(library, self.old if model == "quick" else self.new, acknowledged=PICTURES, complete=True)
        begun = under_way(library)
        done = 0 if begun is None else begun[1]
        again = self.nursery.index(self.photos, library, reembed=True)
        assert again.status == 0, again.output
        assert f"embedded {PICTURES - done if model == 'quick' else 0}" in again.output, (done, again.output)
        judge(library, self.new, acknowledged=PICTURES, complete=True)
        assert set(leftovers(library)) <= {"reembed.lock"}
        return model


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    yield from with_its_secret(tmp_path_factory.mktemp("reembed"), Ground)


@pytest.fixture(autouse=True)
def both_models(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import image_search.library.model as model

    for name in ("load_model", "resolve"):
        monkeypatch.setattr(model, name, getattr(model, name))
    use_other_model()


def steps_of(ground: Ground) -> list[str]:
    """What is done, one after the other, in a whole run."""
    said = ground.nursery.index(ground.photos, ground.begin(), reembed=True, step=-1)
    assert said.status == 0, said.output
    return [line.split()[-1] for line in said.output.splitlines() if line.startswith("step ")]


def kill_at(ground: Ground, step: int, *, read_by: bool, renames: int = 0) -> str:
    """`read_by`: somebody has the library open all the time, and goes on asking. `renames`: see `nursery.die_at`."""
    library = ground.begin()
    with contextlib.ExitStack() as stack:
        if read_by:
            page = stack.enter_context(ImageSearchEngine(library, notify=lambda line: None))
            asked = ground.photos / "0" / "00003.png"
            assert page.search(asked)[0].similarity == 1
        ended = ground.nursery.index(ground.photos, library, reembed=True, step=step, renames=renames)
        assert ended.killed, (step, ended)
        model = ground.after(library)
        if read_by:
            assert page.search(asked)[0].similarity == 1 and page.status()["model"] == "other"
    return model


def test_killed_around_the_switch_with_a_reader(ground: Ground) -> None:
    """The steps from the one on in which the new catalog gets the old one's name. How many come before hangs on the clock."""
    renames = steps_of(ground).count("os.rename")
    models = [kill_at(ground, step, read_by=True, renames=renames) for step in (1, 2, 3, 4)]
    assert models == ["quick", "other", "other", "other"]


def test_killed_on_the_way(ground: Ground) -> None:
    steps = len(steps_of(ground))
    for step in range(7, steps, steps // 3):
        kill_at(ground, step, read_by=False)


@pytest.mark.slow
def test_killed_at_every_third_step(ground: Ground) -> None:
    for step in range(1, len(steps_of(ground)) + 1, 3):
        kill_at(ground, step, read_by=step % 2 == 0)


@pytest.mark.slow
def test_killed_at_random_moments(ground: Ground) -> None:
    chance = random.Random(7)
    started = time.monotonic()
    assert ground.nursery.index(ground.photos, ground.begin(), reembed=True).status == 0
    seconds = time.monotonic() - started
    hits = 0
    for _ in range(200):
        library = ground.begin()
        with ground.nursery.run(ground.photos, library, reembed=True) as run:
            time.sleep(chance.random() * seconds)
            run.kill()
            hits += run.wait().killed
        ground.after(library)
        if hits == 40:
            return
    raise AssertionError(f"only {hits} kills hit")
