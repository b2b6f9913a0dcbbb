"""One decode worker as the parent sees it: start it, ask it, watch it, reap it. cage.py keeps a number of these."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import (
    GRACE_FACTOR,
    WATCH_MEMORY_SECONDS,
    WATCH_SECONDS,
    WORKER_BASE_BYTES,
    WORKER_CLOSE_SECONDS,
    WORKER_START_SECONDS,
)
from ..errors import ImageSearchError, SkipReason
from .worker import DEBUG_ENV, Channel, EndOfStreamError, Reply

__all__ = ["WorkerProcess", "available_bytes", "end_all", "resident_bytes", "watch"]

SYSTEM_CAPS_MEMORY = sys.platform.startswith("linux")


class WorkerProcess:
    """One process and the parent's knowledge of it."""

    def __init__(self, handshake: dict[str, object]) -> None:
        self.ready = False
        self.held = False  # by a thread that reads from it
        self.working = False  # between a question and its answer: interrupted there it cannot be used again
        self.should_retire = False
        self.served = 0
        self.memory_bytes = 0  # that its file may take
        self.kill_reason: SkipReason | None = None  # why the parent killed it
        self._deadline: float | None = None
        self._grace = 0.0
        self._clock = threading.Lock()  # a late kill must not hit the next file
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONINSPECT"}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}  # threads eat address space
        if not sys.executable:
            raise ImageSearchError("cannot start a decode worker: this Python does not know its own program")
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, *_import_paths()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get(DEBUG_ENV) else subprocess.DEVNULL,
                env=environment,
                **_APART,
            )
        except OSError as error:
            raise ImageSearchError(f"cannot start a decode worker: {error.strerror}", path=sys.executable) from error
        assert self.process.stdin is not None and self.process.stdout is not None
        self.channel = Channel(self.process.stdout, self.process.stdin)  # type: ignore[arg-type]
        with contextlib.suppress(EndOfStreamError):  # it shows in wait_ready
            self.channel.send(handshake)

    def wait_ready(self) -> None:
        if self.ready:
            return
        self.watched(WORKER_START_SECONDS)
        try:
            self.channel.receive()
        except EndOfStreamError as error:
            self.kill()
            self.process.wait(WORKER_CLOSE_SECONDS)
            raise ImageSearchError(
                f"the decode worker does not start (exit code {self.process.returncode})",
                hint=f"set {DEBUG_ENV}=1 to see its own words",
            ) from error
        self.watched(None)
        self.ready = True

    def ask(self, job: dict[str, object], payload: bytes, known: Callable[[bytes], bool] | None, seconds: float) -> Reply:
        """Send a job, answer the worker's question whether to go on, return its last word. EndOfStreamError: it is gone."""
        self.working = True
        self.served += 1
        self.watched(seconds)
        self.channel.send(job, payload)
        reply, body = self.channel.receive()
        if known is not None and "should_retire" not in reply:
            self.watched(None)  # the caller's time is not the file's
            wanted = not known(bytes.fromhex(str(reply["sha256"])))
            self.watched(seconds)
            self.channel.send({"go": wanted})
            reply, body = self.channel.receive()
        self.watched(None)
        self.should_retire = bool(reply["should_retire"])
        self.working = False
        return reply, body

    def check(self, *, memory: bool) -> None:
        """Kill it if its file takes too long, or (`memory`: where the system sets no cap itself) more than `memory_bytes`."""
        with self._clock:
            if self._deadline is None:
                return
            late = time.monotonic() - self._deadline
            if late > self._grace or (late > 0 and not is_computing(self.process.pid)):
                self.kill(SkipReason.TOOK_TOO_LONG)
            elif memory and self.working and resident_bytes(self.process.pid) > WORKER_BASE_BYTES + self.memory_bytes:
                self.kill(SkipReason.TOO_MUCH_MEMORY)

    def watched(self, seconds: float | None) -> None:
        """From now on it has so long; None: as long as it likes."""
        with self._clock:
            self._deadline = None if seconds is None else time.monotonic() + seconds
            self._grace = GRACE_FACTOR * (seconds or 0)

    @property
    def fit(self) -> bool:
        """It can take another file."""
        return not (self.working or self.should_retire or self.kill_reason) and self.ready and self.process.poll() is None

    def kill(self, why: SkipReason | None = None) -> None:
        self.kill_reason = self.kill_reason or why
        with contextlib.suppress(OSError):
            self.process.kill()

    def reap(self) -> SkipReason:
        """Make sure it is dead, and say why it died."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)  # its pipes end a moment before it does
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(WORKER_CLOSE_SECONDS)
        if self.kill_reason is not None:
            return self.kill_reason
        return SkipReason.TOOK_TOO_LONG if self.process.returncode == -_SIGXCPU else SkipReason.CRASHED

    def let_go(self) -> None:
        """In a forked child: it is the parent's. What is still to be written into its pipes goes nowhere."""
        self.process.returncode = 0  # as if it had ended: nobody signals it or waits for it from here
        null = os.open(os.devnull, os.O_RDWR)
        for pipe in (self.channel.reader, self.channel.writer):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(null, pipe.fileno())
        os.close(null)

    def leave(self) -> None:
        """Let it go: an idle one ends with its input, any other is killed. Does not wait."""
        if self.held or self.working or not self.ready:
            self.kill()
        if not self.held:
            with contextlib.suppress(OSError, ValueError):
                self.channel.writer.close()

    def end(self) -> None:
        """Wait until it has gone; no process is left, and no pipe that no thread reads from."""
        self.leave()
        try:
            self.process.wait(WORKER_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(WORKER_CLOSE_SECONDS)
        if not self.held:
            self.channel.reader.close()


# The package may have been found by a path that only this process has (a script's folder, a notebook's sys.path). These are added
# last, and -P keeps the current folder out: a folder of pictures may hold a file called PIL.py.
_BOOT = "import sys; sys.path.extend(sys.argv[1:]); from image_search.images.worker import main; main()"

_SIGXCPU = getattr(signal, "SIGXCPU", 24)

# Out of the terminal's process group: Ctrl-C is for the parent, which then decides.
_APART: dict[str, Any] = {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)} if os.name == "nt" else {"process_group": 0}


def _import_paths() -> list[str]:
    own = str(Path(__file__).resolve().parents[2])
    return [own, *(path for path in sys.path if os.path.isabs(path) and path != own)]


def watch(workers: list[WorkerProcess], stop: threading.Event) -> None:
    """The pool's watchman, in a thread of its own until `stop`."""
    memory = not SYSTEM_CAPS_MEMORY
    while not stop.wait(WATCH_MEMORY_SECONDS if memory else WATCH_SECONDS):
        for worker in list(workers):
            worker.check(memory=memory)


def is_computing(pid: int) -> bool:
    """It runs or waits for a processor, not for a disk. False where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"R"
    except (OSError, IndexError):
        return False


def resident_bytes(pid: int) -> int:
    """Memory a process holds now; 0 if the system does not say. For systems on which RLIMIT_AS does not hold (macOS, Windows)."""
    if os.name != "nt":
        answer = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=False).stdout
        return int(answer or 0) * 1024
    import ctypes

    kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(0x1010, False, pid)  # query, read
    if not handle:
        return 0
    counters = (ctypes.c_size_t * 10)()  # PROCESS_MEMORY_COUNTERS: two uint32, then sizes; [2] is the working set
    counters[0] = ctypes.sizeof(counters)
    known = kernel.K32GetProcessMemoryInfo(handle, counters, ctypes.sizeof(counters))
    kernel.CloseHandle(handle)
    return int(counters[2]) if known else 0


def available_bytes() -> int:
    """Memory that could be taken now without hurting others; where the system does not say, a quarter of what the machine has."""
    with contextlib.suppress(OSError, ValueError):
        found = re.search(rb"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_bytes())
        free = int(found[1]) * 1024 if found else 0
        with contextlib.suppress(OSError, ValueError):  # a container's own limit; "max": it has none
            group = Path("/sys/fs/cgroup")
            free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
        return max(0, free)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    return 0


def end_all(workers: list[WorkerProcess], stop: threading.Event) -> None:
    """All at once, not one after the other."""
    stop.set()
    for worker in list(workers):
        worker.leave()
    for worker in list(workers):
        worker.end()
