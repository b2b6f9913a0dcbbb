"""What Ray costs: `python -m benchmarks.cluster FOLDER [--pictures 2000] [--model mini]`, with the extra [ray].

The folder's pictures, under as many names as are asked for, go into a data set: by this process alone, by Ray with one worker and with
two. Said are CPU milliseconds a picture of workers and decoders once the first quarter is done, what the driver and Ray's own processes
take beside, whatever is done, in cores; what starting cost before; and the memory of the driver and of a worker at a quarter and at
the end. With `--model wait:100` the model waits for 100 ms a picture, as for a card beside the processor; then the milliseconds say how
the work is shared, also on a machine that others use.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .clock import ALONE

VARIANTS = {"plain": 0, "Ray, 1 worker": 1, "Ray, 2 workers": 2}
MARK = "IMAGE_SEARCH_BENCHMARK"
_DECODER = "image_search.images.worker"
_TICKS = os.sysconf("SC_CLK_TCK")


def processes() -> dict[int, str]:
    """Those of this run, whoever started them."""
    wanted, found = f"{MARK}={os.environ[MARK]}".encode(), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def cpu_seconds(pids: dict[int, str]) -> float:
    """Of these, and of what they have waited for."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return total / _TICKS


def megabytes(pid: int) -> float:
    """Its share of memory (PSS)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def one(folder: str, workers: int, model: str, block: int) -> None:
    """One variant, in a process of its own: a line of JSON whenever a block is done."""
    from image_search import embed_dataset

    from .waiting import WaitingModel

    began = time.monotonic()

    def show(done: int, total: int, refused: int) -> None:
        there = processes()
        memory = [megabytes(pid) for pid, line in there.items() if "ray::MapWorker" in line]
        facts = {
            "done": done,
            "wall": time.monotonic() - began,
            "cpu": cpu_seconds(there),
            "own": cpu_seconds({pid: line for pid, line in there.items() if not workers or "ray::MapWorker" in line or _DECODER in line}),
            "driver": megabytes(os.getpid()),
            "worker": max(memory, default=0.0),
        }
        print(json.dumps(facts), flush=True)

    if workers:
        os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"})
        import ray

        ray.init(address="local", num_cpus=workers, include_dashboard=False, object_store_memory=2**30, log_to_driver=False)
    with tempfile.TemporaryDirectory() as out:
        report = embed_dataset(
            folder,
            out=out,
            model=WaitingModel(float(model.partition(":")[2])) if model.startswith("wait:") else model,
            cluster="auto" if workers else None,
            jobs=1,
            block_images=block,
            progress=show,
        )
    assert report.embedded == report.vectors


def measured(folder: Path, workers: int, model: str, block: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        marked = {**os.environ, **ALONE, MARK: os.urandom(8).hex(), "HOME": home}
        command = [sys.executable, "-m", "benchmarks.cluster", str(folder), "--one", str(workers), "--model", model, "--block", str(block)]
        said = subprocess.run(command, env=marked, stdout=subprocess.PIPE, text=True, check=True).stdout
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    last = lines[-1]
    quarter = next(line for line in lines if line["done"] >= last["done"] / 4)
    pictures = last["done"] - quarter["done"]
    return {
        "cpu_ms": 1000 * (last["own"] - quarter["own"]) / pictures,
        "rays": (last["cpu"] - last["own"] - quarter["cpu"] + quarter["own"]) / (last["wall"] - quarter["wall"]),
        "seconds": (last["wall"] - quarter["wall"]) / pictures * 1000,
        "start_cpu": quarter["cpu"] - (last["cpu"] - quarter["cpu"]) / pictures * quarter["done"],
        "driver": (quarter["driver"], last["driver"]),
        "worker": (quarter["worker"], last["worker"]),
    }


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--block", type=int, default=100, help="pictures of a block")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        one(str(asked.folder), asked.one, asked.model, asked.block)
        return
    print("| variant | CPU ms a picture | of plain | Ray's own, of a core | ms a picture | CPU s of the start | driver, MB | worker, MB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        linked(asked.folder, Path(place), asked.pictures)
        plain = None
        for name, workers in VARIANTS.items():
            found = measured(Path(place), workers, asked.model, asked.block)
            plain = plain or found["cpu_ms"]
            memory = [f"{low:.0f} → {high:.0f}" for low, high in (found["driver"], found["worker"])]
            shares = f"{found['cpu_ms'] / plain:.2f}", f"{found['rays']:.2f}"
            figures = [f"{found['cpu_ms']:.1f}", *shares, f"{found['seconds']:.1f}", f"{found['start_cpu']:.1f}"]
            print(f"| {name} | {' | '.join([*figures, *memory])} |", flush=True)


if __name__ == "__main__":
    main()
