"""From file to vector in the catalog, through the real index run in a process of its own: the rows "index"."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import checkpoint, pictures
from .clock import pin, run
from .machine import VIT_S16_GFLOP, milliseconds
from .report import Row
from .runtimes import RUNTIMES, load
from .setting import Setting

__all__ = ["index", "one_run", "share"]


def one_run(folder: Path, model: str, runtime: str, jobs: int) -> dict[str, Any]:
    """A new library of this folder; see `drive.index`."""
    with tempfile.TemporaryDirectory() as place:
        ended = run([sys.executable, "-m", "benchmarks.drive", "index", str(folder), f"{place}/library", model, runtime, str(jobs)])
    found: dict[str, Any] = json.loads(ended.output.splitlines()[-1])
    return found | {"cpu": ended.cpu}


def index(setting: Setting) -> Iterator[Row]:
    """CPU ms of one more picture: runs over few and over many, the difference divided; what a run costs beside is in the note."""
    folder = checkpoint.dino(setting.cache)
    originals = pictures.make(setting.cache, "12 MP", setting.size(6, 2))
    few, many = setting.size(6, 2), setting.size(36, 6)
    variants = [(f"DINO, {words}", str(folder), runtime, kind) for words, runtime, kind in RUNTIMES] + [("mini", "mini", "", "")]
    with tempfile.TemporaryDirectory() as place:
        small, large = (pictures.copies(originals, Path(place) / str(n), n) for n in (few, many))
        why = {name: load(folder, runtime, 1)[1] if runtime else "" for name, _, runtime, _ in variants}
        slopes: dict[str, list[float]] = {name: [] for name, *_ in variants}
        starts: dict[str, list[float]] = {name: [] for name, *_ in variants}
        original: list[float] = []
        _, loop, _ = checkpoint.original_loop(folder)
        loop(originals[:1])
        for _ in range(setting.size(5, 1)):
            began = time.process_time()
            loop(originals)
            original.append(1000 * (time.process_time() - began) / len(originals))
            for name, model, runtime, _ in variants:
                if not why[name]:
                    less, more = (one_run(where, model, runtime, 1) for where in (small, large))
                    if (less["images"], more["images"]) != (few, many):
                        raise RuntimeError(f"{name}: {less['images']} and {more['images']} embedded, not {few} and {many}")
                    slope = (more["cpu"] - less["cpu"]) / (many - few)
                    slopes[name].append(1000 * slope)
                    starts[name].append(less["cpu"] - few * slope)
    floor = _decode_floor(setting)
    for name, _, runtime, kind in variants:
        computing = milliseconds(setting.limits, kind, VIT_S16_GFLOP) if kind else 0.0
        yield Row(
            "index",
            f"12 MP file → vector in the catalog, {name}",
            "CPU ms an image",
            statistics.median(slopes[name]) if slopes[name] else None,
            {"original": statistics.median(original)} if runtime else {},
            None if computing is None else floor + computing,
            {"openvino": 95.0, "": 40.0}.get(runtime),
            note=why[name]
            or f"all processes, thumbnail included; a run costs {statistics.median(starts[name]):.2f} CPU s more (start, imports, model)",
        )


def _decode_floor(setting: Setting) -> float:
    """ms: a 12 MP JPEG decoded at 1/8."""
    from .clock import medians
    from .embedding import _smallest

    paths = pictures.make(setting.cache, "12 MP", 2)
    return medians({"floor": lambda: [_smallest(path) for path in paths]}, setting.rounds, per=len(paths))["floor"]


def share(setting: Setting) -> Iterator[Row]:
    """Two cores, from the start of `index` to its end: how much of what other programs left of both is spent in decoders and model.

    Each run lasts about a minute: its start weighs as it does for a folder of some thousand pictures.
    """
    pin(2)
    folder = checkpoint.dino(setting.cache)
    for words, model, runtime, size, count in (
        ("DINO, ONNX Runtime, 2 MP", str(folder), "onnx", "2 MP", setting.size(1200, 12)),
        ("DINO, OpenVINO, 2 MP", str(folder), "openvino", "2 MP", setting.size(2000, 12)),
        ("mini, 2 MP", "mini", "", "2 MP", setting.size(6000, 60)),
        ("mini, 12 MP", "mini", "", "12 MP", setting.size(2500, 12)),
    ):
        why = load(folder, runtime, 1)[1] if runtime else ""
        useful, speed = None, 0.0
        if not why:
            with tempfile.TemporaryDirectory() as place:
                where = pictures.copies(pictures.make(setting.cache, size, setting.size(6, 2)), Path(place) / "files", count)
                os.sync()  # or the disk is still busy with them
                before = _idle()
                seen = one_run(where, model, runtime, 2)
                useful = (seen["stages"]["decode workers"] + seen["stages"]["model"]) / (seen["cpu"] + _idle() - before)
                speed = count / seen["wall"]
        yield Row(
            "share",
            f"index run on 2 cores: share of both in decoders and model, {words}",
            "share",
            useful,
            limit=1,
            goal=0.95,
            more=True,
            note=why or f"of what other programs left; {count} images, {speed:.1f} images/s",
        )


def _idle() -> float:
    """Seconds in which one of our cores did nothing or waited for the disk, since the machine started; by Linux's /proc/stat."""
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    with open("/proc/stat") as lines:
        numbers = [line.split() for line in lines if line.split()[0] in ours]
    return sum(int(core[4]) + int(core[5]) for core in numbers) / os.sysconf("SC_CLK_TCK")
