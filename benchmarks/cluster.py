"""What Ray costs: `python -m benchmarks.cluster FOLDER [--pictures 2000] [--model mini] [--apart]`, with the extra [ray].

The folder's pictures, under as many names as are asked for, go into a data set: by this process alone, by a Ray of ours with one worker
and with two. Rates are those of the last three quarters of the pictures: without the start, which is told apart.

* pictures/s, and how many times those of one process and of one worker: by the clock, so only of a machine that does nothing else.
* CPU ms a picture of workers and their decoders; of everything beside them (the driver and all of Ray's own processes), which is also
  said in cores, since it is the same whatever is done; and the sum against one process.
* what the start took; memory (PSS) of the driver and of the largest worker, at a quarter and at the end.

`--apart` gives each worker and its decoder one core, and the plain process too: else a worker "of one CPU" takes what is free of the
next one, and two are less than twice as fast as one only because one was more than one. `--model wait:100` waits for 100 ms a picture,
as for a card beside the processor: then the clock says how work is shared also on a machine that others use. `--memory` runs one
worker only, and says what driver and worker hold on the way.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from .clock import ALONE, CORES

VARIANTS = {"one process": 0, "Ray, 1 worker": 1, "Ray, 2 workers": 2}
SHARES = (0.25, 1.0)  # of the pictures: a steady rate lies between
MEMORY_SHARES = (0.1, 0.3, 1.0)
_WORKER, _DECODER = "ray::MapWorker", "image_search.images.worker"
_TICKS = os.sysconf("SC_CLK_TCK")

HEAD = (
    *("variant", "pictures/s", "× one process", "× 1 worker", "CPU ms a picture", "beside", "× one process, CPU"),
    *("beside, cores", "start, s", "start, CPU s", "driver, MB", "worker, MB"),
)


class Running(NamedTuple):
    """One process of a run."""

    parent: int
    line: str
    cpu: float  # seconds, of it and of what it has waited for


def processes(root: int) -> dict[int, Running]:
    """This process and its descendants. Not by their environment: Ray's agents write their names over it."""
    every = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                every[int(entry.name)] = Running(int(stat[1]), line, sum(map(int, stat[11:15])) / _TICKS)
    found, new = {root}, {root}
    while new:
        new = {pid for pid, one in every.items() if one.parent in new} - found
        found |= new
    return {pid: every[pid] for pid in found if pid in every}


def megabytes(pid: int) -> tuple[float, float]:
    """(its share of memory now (PSS), its highest resident memory)."""
    with contextlib.suppress(OSError):
        share = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        most = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        if share and most:
            return int(share[1]) / 1024, int(most[1]) / 1024
    return 0.0, 0.0


def keep_apart(there: dict[int, Running]) -> None:
    """Each worker, and its decoder, on one core."""
    workers = sorted(pid for pid, one in there.items() if _WORKER in one.line)
    for pid, one in there.items():
        worker = pid if pid in workers else one.parent if one.parent in workers else None
        if worker is not None:
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(int(task.name), {CORES[workers.index(worker) % len(CORES)]})


def one(asked: argparse.Namespace) -> None:
    """One variant, in a process of its own: a line of JSON at each of the shares."""
    from image_search import embed_dataset
    from image_search.cluster import ray as room

    from .waiting import WaitingModel

    workers: int = asked.one
    shares = list(MEMORY_SHARES if asked.memory else SHARES)
    began = time.monotonic()
    if asked.apart and not workers:
        os.sched_setaffinity(0, CORES[:1])

    def show(done: int, total: int, refused: int) -> None:
        if asked.apart and workers and done < total * SHARES[0]:
            keep_apart(processes(os.getpid()))
        if done < total * shares[0]:
            return  # looked at seldom: a look costs milliseconds
        shares.pop(0)
        there = processes(os.getpid())
        own = sum(run.cpu for run in there.values() if not workers or _WORKER in run.line or _DECODER in run.line)
        facts = {
            "done": done,
            "wall": time.monotonic() - began,
            "own": own,
            "beside": sum(run.cpu for run in there.values()) - own,
            "driver": megabytes(os.getpid()),
            "worker": max((megabytes(pid) for pid, run in there.items() if _WORKER in run.line), default=(0.0, 0.0)),
        }
        print(json.dumps(facts), flush=True)

    with tempfile.TemporaryDirectory() as out, mock.patch.object(room, "available_cpus", lambda: workers):
        report = embed_dataset(
            asked.folder,
            out=out,
            model=WaitingModel(float(asked.model.partition(":")[2])) if asked.model.startswith("wait:") else asked.model,
            cluster="local" if workers else None,
            jobs=1,
            block_images=asked.block,
            progress=show,
        )
    assert report.embedded == report.vectors


def looks(folder: Path, workers: int, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """What a run of one variant said on its way."""
    with tempfile.TemporaryDirectory() as home:
        here = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, **ALONE, "HOME": home, "PYTHONPATH": here, "RAY_worker_niceness": "0"}
        given = ["--model", asked.model, "--block", str(asked.block), *["--apart"] * asked.apart, *["--memory"] * asked.memory]
        command = [sys.executable, "-m", "benchmarks.cluster", str(folder), "--one", str(workers), *given]
        said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


class Rates(NamedTuple):
    """Of one variant, steady: seconds and CPU seconds a picture, of workers and of everything beside. Then what was before."""

    wall: float
    own: float
    beside: float
    start_wall: float
    start_cpu: float


def rates(first: dict[str, Any], last: dict[str, Any]) -> Rates:
    pictures = last["done"] - first["done"]
    wall, own, beside = ((last[name] - first[name]) / pictures for name in ("wall", "own", "beside"))
    start_cpu = first["own"] + first["beside"] - (own + beside) * first["done"]
    return Rates(wall, own, beside, first["wall"] - wall * first["done"], start_cpu)


def row(name: str, said: Sequence[dict[str, Any]], before: Sequence[Rates]) -> tuple[list[str], Rates]:
    """A line of the table. `before`: the rates of one process, and of one worker, as far as they are known."""
    found = rates(said[0], said[-1])
    plain, single = [*before[:2], *[found] * (2 - len(before[:2]))]
    memory = [f"{said[0][who][0]:.0f} → {said[-1][who][0]:.0f}" if said[-1][who][0] else "" for who in ("driver", "worker")]
    figures = [
        *(f"{1 / found.wall:.1f}", f"{plain.wall / found.wall:.2f}", f"{single.wall / found.wall:.2f}" if before else ""),
        *(f"{1000 * found.own:.2f}", f"{1000 * found.beside:.2f}", f"{(found.own + found.beside) / plain.own:.2f}"),
        *(f"{found.beside / found.wall:.3f}", f"{found.start_wall:.1f}", f"{found.start_cpu:.1f}"),
    ]
    return [name, *figures, *memory], found


def linked(source: Path, folder: Path, pictures: int) -> None:
    """So many names for the pictures below a folder."""
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for number, path in enumerate(itertools.islice(itertools.cycle(files), pictures)):
        place = folder / f"{number // 1000:03}" / f"{number:07}{path.suffix}"
        place.parent.mkdir(exist_ok=True)
        try:
            os.link(path, place)
        except OSError:
            shutil.copyfile(path, place)


def told(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--block", type=int, default=100, help="pictures of a block")
    parser.add_argument("--apart", action="store_true", help="each worker on a core of its own, one process on one core")
    parser.add_argument("--memory", action="store_true", help="only the memory of the driver and of one worker, on the way")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        one(asked)
        return
    with tempfile.TemporaryDirectory() as place:
        linked(asked.folder, Path(place), asked.pictures)
        if asked.memory:
            head = ("pictures done", "driver, MB", "its peak", "worker, MB", "its peak")
            told(head)
            told(["---"] * len(head))
            for said in looks(Path(place), 1, asked):
                told([f"{said['done']:,}", *(f"{size:.0f}" for who in ("driver", "worker") for size in said[who])])
            return
        told(HEAD)
        told(["---"] * len(HEAD))
        before: list[Rates] = []
        for name, workers in VARIANTS.items():
            cells, found = row(name, looks(Path(place), workers, asked), before)
            before.append(found)
            told(cells)


if __name__ == "__main__":
    main()
