"""The benchmarks' own honesty: verdicts, made-up vectors, and that the functions they time are still the program's."""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import fill

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("benchmarks/ is not part of this copy", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import clock, cluster, drive, library, stages  # noqa: E402
from benchmarks.report import Row, Table, as_json, markdown, read, verdict  # noqa: E402

from image_search import ImageSearchEngine  # noqa: E402


@pytest.mark.parametrize(
    ("ours", "goal", "more", "said"),
    [
        (10.0, 10.0, False, "met"),
        (11.0, 10.0, False, "missed by 10%"),
        (0.9, 0.9, True, "met"),
        (0.45, 0.9, True, "missed by 50%"),
        (3.0, None, False, ""),
        (None, 3.0, False, "not run"),
    ],
)
def test_verdicts(ours: float | None, goal: float | None, more: bool, said: str) -> None:
    assert verdict(Row("s", "w", "u", ours, goal=goal, more=more)) == said


def test_a_report_comes_back_as_it_was_and_shows_ratios_and_shares() -> None:
    rows = [Row("s", "time", "ms", 50, {"other": 100.0}, limit=40, goal=60), Row("s", "left out", "ms", note="not run: no such thing")]
    tables = [Table("s", "t", ["a"], [["1"]])]
    assert read(as_json({}, rows, tables)) == (rows, tables)
    text = markdown({"CPU": "one"}, rows, tables)
    assert "| time, ms | 50 | other 100 (2×) | 80% of 40 | ≤ 60 | met |" in text and "| not run | not run: no such thing |" in text


def test_every_section_is_there() -> None:
    assert all(callable(command.section(name)) for name in command.SECTIONS)


@pytest.mark.parametrize("place", [place for part in (drive.INDEX, drive.SEARCH, drive.ASK) for _, place in part])
def test_what_is_timed_is_there(place: str) -> None:
    module, _, name = place.partition(":")
    assert callable(functools.reduce(getattr, name.split("."), importlib.import_module(module)))


@pytest.mark.parametrize("module", sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py")))
def test_every_file_finds_what_it_imports(module: str) -> None:
    importlib.import_module(f"benchmarks.{module}")


def test_variants_run_in_turn_and_the_first_round_does_not_count() -> None:
    said: list[str] = []
    assert clock.medians({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, 2).keys() == {"a", "b"}
    assert said == ["a", "b"] * 3


def test_a_process_that_fails_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="so be it"):
        clock.run([sys.executable, "-c", "raise SystemExit('so be it')"])
    with_child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'b = bytearray(50_000_000); import time; time.sleep(.3)'])"
    ended = clock.run([sys.executable, "-c", with_child])
    assert ended.peak_all > ended.peak + 50_000_000 > 50_000_000


def test_what_inner_functions_take_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(stages.time, "process_time", lambda: now[0])
    watch = stages.Stages()

    def work(seconds: float) -> None:
        now[0] += seconds

    inner = watch.timed("inner", work)
    outer = watch.timed("outer", lambda: (work(1), inner(2), inner(3)))
    whole = watch.timed("whole", lambda: inner(7), whole=True)
    outer(), whole(), inner(1)
    assert (watch.cpu, watch.calls["inner"]) == ({"outer": 1, "inner": 6, "whole": 7}, 3)


def test_vectors_are_of_unit_length_and_clustered() -> None:
    vectors = np.concatenate(list(library.clusters(12_000, 64)))
    assert vectors.shape == (12_000, 64) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    similar = vectors[:50] @ vectors.T
    assert np.median(np.sort(similar)[:, -3]) > 0.4 > 0.1 > abs(np.median(similar))


def test_a_library_that_is_made_up_is_one(tmp_path: Path) -> None:
    library.make_library(tmp_path / "library", 60, classes=["a", "b", "b"])
    with ImageSearchEngine(tmp_path / "library") as engine:
        assert engine.status()["images"] == 60
        assert {match.name for match in engine.search("id:2", 40, names="b")} == {"b"}
        assert engine.verify() == []


@pytest.mark.slow
def test_the_paths_that_are_timed_are_the_programs(tmp_path: Path) -> None:
    """A renamed function fails here, and what the stages name is nearly all there is."""
    fill(tmp_path / "files", 12)
    home, with_store = str(tmp_path / "library"), str(tmp_path / "with store")
    with ImageSearchEngine(with_store, model="mini", store="chroma") as engine:
        engine.index(tmp_path / "files")

    def driven(*words: str) -> dict[str, object]:
        ended = subprocess.run([sys.executable, "-m", "benchmarks.drive", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        found: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
        return found

    for found in (
        driven("index", str(tmp_path / "files"), home, "mini", "", "1"),
        driven("search", str(next((tmp_path / "files").rglob("*.*"))), home),
        driven("ask", home, "exact", "12", "20"),
        driven("ask", with_store, "store", "12", "20"),
    ):
        parts = found["stages"]
        assert isinstance(parts, dict) and min(parts.values()) >= -1e-3
        assert sum(parts.values()) == pytest.approx(found["cpu"], rel=0.1)


def test_rates_of_a_cluster_are_steady_ones_and_the_start_is_told_apart() -> None:
    """One process makes 100 pictures a second; two workers of 90 each, beside which Ray takes a tenth of a core."""

    def looks(start: float, wall: float, beside: float) -> list[dict[str, object]]:
        def at(done: int) -> dict[str, object]:
            seconds = done * wall
            memory = {"driver": (100.0 + done / 100, 0.0), "worker": (0.0, 0.0)}
            return {"done": done, "wall": start + seconds, "own": 2 + done * 0.01, "beside": beside * seconds, **memory}

        return [at(250), at(1000)]

    _, plain = cluster.row("one process", looks(1, 0.01, 0), [])
    _, single = cluster.row("Ray, 1 worker", looks(5, 1 / 90, 0.1), [plain])
    cells, _ = cluster.row("Ray, 2 workers", looks(5, 1 / 180, 0.1), [plain, single])
    assert cells == ["Ray, 2 workers", "180.0", "1.80", "2.00", "10.00", "0.56", "1.06", "0.100", "5.0", "2.0", "102 → 110", ""]
    assert len(cells) == len(cluster.HEAD)
