"""Where the time of each main path goes: the section "profile"; CPU time, each path in a process of its own."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from image_search import ImageSearchEngine
from image_search.models import load_model

from . import checkpoint, pictures
from .clock import run
from .indexing import one_run
from .libraries import make_searchable
from .report import Table
from .runtimes import RUNTIMES, load
from .setting import Setting

__all__ = ["profile"]


def driven(*words: str) -> dict[str, Any]:
    """See drive.py."""
    found: dict[str, Any] = json.loads(run([sys.executable, "-m", "benchmarks.drive", *words]).output.splitlines()[-1])
    return found


def table(title: str, runs: Sequence[dict[str, Any]], per: float = 1) -> Table:
    """Median of each stage, CPU ms (divided by `per`), and its share."""
    medians = {stage: 1000 / per * statistics.median(run["stages"][stage] for run in runs) for stage in runs[0]["stages"]}
    whole = sum(medians.values())
    rows = [[stage, f"{ms:.2f}" if ms < 10 else f"{ms:.0f}", f"{ms / whole:.0%}"] for stage, ms in medians.items() if ms >= whole / 1000]
    return Table("profile", f"Profile: {title}", ["stage", "CPU ms", "share"], [*rows, ["together", f"{whole:.3g}", ""]])


def profile(setting: Setting) -> Iterator[Table]:
    yield from _index(setting)
    yield from _search(setting)


def _index(setting: Setting) -> Iterator[Table]:
    folder = checkpoint.dino(setting.cache)
    paths = [(f"DINO, {words}", str(folder), runtime, setting.size(60, 6)) for words, runtime, _ in RUNTIMES]
    with tempfile.TemporaryDirectory() as place:
        for size in ("12 MP", "2 MP"):
            originals = pictures.make(setting.cache, size, setting.size(6, 2))
            for name, model, runtime, count in [*paths, ("mini", "mini", "", setting.size(300, 12))]:
                if runtime and load(folder, runtime, 1)[0] is None:
                    continue
                files = pictures.copies(originals, Path(place) / size / name, count)
                runs = [one_run(files, model, runtime, 1) for _ in range(setting.size(3, 1))]
                yield table(f"`index`, {name}, {size}, per image of a first run over {count}", runs, count)


def _search(setting: Setting) -> Iterator[Table]:
    count = setting.size(100_000, 3_000)
    (photo,) = pictures.make(setting.cache, "2 MP", 1)
    with tempfile.TemporaryDirectory(dir=setting.cache) as place:
        home = f"{place}/library"
        make_searchable(Path(home), count, load_model("mini", threads=1), store="chroma")
        rounds = setting.size(5, 1)
        yield table(f"`search`, one process, mini, library of {count:,}", [driven("search", str(photo), home) for _ in range(rounds)])
        with ImageSearchEngine(home) as engine:
            engine.rebuild()
        for how in ("store", "exact"):
            runs = [driven("ask", home, how, str(count), str(setting.size(300, 30))) for _ in range(rounds)]
            yield table(f"a search in a long-lived engine, {how}, {count:,} × {load_model('mini').fingerprint.dim}", runs)
