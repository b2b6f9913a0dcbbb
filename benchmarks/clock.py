"""Honest time: CPU time of one pinned core, variants in turn, medians; other processes with their CPU time and their peak memory."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ALONE", "Ended", "medians", "pin", "run"]

# For every process: one thread in libraries that would take more, none that spins while it waits (that would count as work), no network.
ALONE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "HF_HUB_OFFLINE": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []  # that we were given, before any pinning


def pin(cores: int) -> None:
    """Keep this process, and those it starts, on so many cores. Where the system cannot, CPU time still says what was used."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, CORES[-cores:])


def medians(variants: Mapping[str, Callable[[], object]], rounds: int, *, per: Mapping[str, int] | int = 1) -> dict[str, float]:
    """CPU ms of each variant, median over `rounds` after one that does not count: A B C A B C ..., divided by `per` (its pictures)."""
    seen: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, call in variants.items():
            began = time.process_time()
            call()
            if number:
                seen[name].append(1000 * (time.process_time() - began) / (per if isinstance(per, int) else per[name]))
    return {name: statistics.median(times) for name, times in seen.items()}


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ran to its end.

    Attributes:
        cpu: CPU seconds of it and of all that it waited for.
        wall: seconds.
        peak: bytes, its own highest resident memory.
        peak_all: bytes, the same of all its processes, added.
        output: what it printed.
    """

    cpu: float
    wall: float
    peak: int
    peak_all: int
    output: str


def run(command: Sequence[str], **environment: str) -> Ended:
    """Run a command to its end; RuntimeError with its last words if it fails."""
    with tempfile.TemporaryFile() as out:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **ALONE, **environment})
        watch = _Memory(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        peaks = watch.stop()
        out.seek(0)
        said = out.read().decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} ... ended with {process.returncode}: {said[-400:].strip()}")
    return Ended(used.ru_utime + used.ru_stime, wall, peaks.get(process.pid, 0), sum(peaks.values()), said)


class _Memory:
    """Looks at the highest resident memory of a process and its children. `ru_maxrss` will not do: it starts with the parent's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peaks: dict[int, int] = {}
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def stop(self) -> dict[int, int]:
        self.done.set()
        self.thread.join()
        return self.peaks

    def _watch(self) -> None:
        while not self.done.wait(0.01):
            for pid in (self.pid, *self._children()):
                with contextlib.suppress(OSError):
                    if found := re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()):
                        self.peaks[pid] = int(found[1]) * 1024

    def _children(self) -> list[int]:
        with contextlib.suppress(OSError):
            tasks = Path(f"/proc/{self.pid}/task").iterdir()
            return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        return []
