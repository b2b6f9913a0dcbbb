"""A Ray cluster, or a Ray of this machine, and what it is asked: is there room, make these blocks.

Jobs go in by the thousand, so that the driver's memory is flat. What runs in the cluster stands in `pipeline.py`.

Nothing is told to anybody: Ray's usage statistics are off, and a Ray that is started here listens on this machine only, with a secret of
its own, its files in a folder that goes with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from ..advice import Advice, Setting
from ..config import (
    CLUSTER_CPUS,
    CLUSTER_ROOM_SECONDS,
    CLUSTER_SECONDS,
    CLUSTER_STORE_BYTES,
    MANIFEST_BLOCKS,
    available_cpus,
)
from ..dataset.growing import Job
from ..dataset.work import Made, Order
from ..errors import ClusterError, MissingExtraError, in_words
from .pipeline import program_version, wave, wave_from_afar

__all__ = ["Cluster", "connected"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FOLDER = "is-ray-"
# Of a Ray that is started here, and of no other; what is set already stays. Figures: thousandths of a core, all the time, Ray 2.60. Of
# the 61 that are left the driver takes 24 (13 of them Ray Data's loop, ten times a second) and three actors of Ray Data's 7 each (5 of
# them to look for signals, a hundred times a second): no setting changes these.
_FRUGAL = {
    # Counts and states of all tasks for a dashboard, and there is none: gcs_server 6.3 to 3.5, raylet 6.2 to 5.6, actors 8.1 to 7.3.
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_task_events_report_interval_ms": "0",
    # New log files are looked for every five seconds, not ten times a second, and nobody reads them: log_monitor 6.3 to 3.0.
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "5",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray that is there.

    Attributes:
        cpus, gpus: of the whole cluster. node_cpus: of its largest machine.
        afar: this process speaks to it through its client's door (ray://), behind which Ray Data does not run.
    """

    ray: Any
    cpus: int
    gpus: int
    node_cpus: int
    afar: bool

    def make(self, order: Order, jobs: Sequence[Job], *, on_gpu: bool) -> Iterator[Made]:
        """What comes of each job, as they end.

        Args:
            order: its `threads` are those of one actor; 0: as many CPUs as suit the machines.
            on_gpu: one actor for each GPU.

        Raises ClusterError: no actor could be started in time, or Ray gave up.
        """
        gpus = 1 if on_gpu and self.gpus else 0
        suited = max(1, self.node_cpus * gpus // max(1, self.gpus)) if gpus else min(CLUSTER_CPUS, self.node_cpus)
        cpus = order.threads or suited
        order = replace(order, threads=cpus)
        self._find_room(cpus, gpus)
        most = max(1, self.gpus if gpus else self.cpus // cpus)
        for start in range(0, len(jobs), MANIFEST_BLOCKS):
            part = jobs[start : start + MANIFEST_BLOCKS]
            try:
                results = (wave_from_afar if self.afar else wave)(self.ray, order, part, cpus, gpus, most)
                yield from self._while_there_is_room(results, cpus, gpus)
            except (self.ray.exceptions.RayError, RuntimeError, ConnectionError) as error:
                raise _gave_up(error) from error

    def _while_there_is_room(self, results: Iterator[Made], cpus: int, gpus: int) -> Iterator[Made]:
        """These results. ClusterError: for a minute none came, and no machine that is left is large enough: Ray would wait for ever."""
        came: queue.SimpleQueue[Made | BaseException | None] = queue.SimpleQueue()
        left = threading.Event()

        def pull() -> None:
            try:
                for made in results:
                    came.put(made)
                    if left.is_set():
                        break
                came.put(None)
            except BaseException as error:
                came.put(error)

        threading.Thread(target=pull, name="results", daemon=True).start()
        try:
            while True:
                try:
                    made = came.get(timeout=CLUSTER_ROOM_SECONDS)
                except queue.Empty:
                    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in _nodes(self.ray)):
                        hint = "index again when it is back: it goes on where it stopped"
                        raise ClusterError("the cluster has lost every machine that a worker fits on", hint=hint) from None
                    continue
                if isinstance(made, BaseException):
                    raise made
                if made is None:
                    return
                yield made
        finally:
            left.set()

    def _find_room(self, cpus: int, gpus: int) -> None:
        """One task of an actor's size is run first: where it has no room, Ray would wait for ever. It says which program it found."""
        task = self.ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(program_version).remote()
        done, _ = self.ray.wait([task], timeout=CLUSTER_ROOM_SECONDS)
        if not done:
            self.ray.cancel(task, force=True)
            free = self.ray.available_resources()
            size = f"{cpus} CPUs" + (f" and {gpus} GPU" if gpus else "")
            raise ClusterError(
                f"the cluster had no room for a worker of {size} within {CLUSTER_ROOM_SECONDS:.0f} seconds:"
                f" of {self.cpus} CPUs and {self.gpus} GPUs {free.get('CPU', 0):g} and {free.get('GPU', 0):g} are free",
                hint=Advice("let it grow, wait until it is free, or ask for smaller workers: ", Setting("jobs", "1")),
            )
        try:
            there = self.ray.get(task)
        except self.ray.exceptions.RayError as error:
            said = in_words(error)
            if "No module named" not in said and "import" not in said:
                raise _gave_up(error) from error
            hint = "install it on every machine of the cluster, the same version as here, with the extra [ray]"
            raise ClusterError(f"this program is not on the cluster's machines ({said[-200:]})", hint=hint) from error
        if there != (here := program_version()):
            raise ClusterError(f"the cluster has version {there} of this program, here is {here}", hint="install the same everywhere")


def _gave_up(error: Exception) -> ClusterError:
    return ClusterError(f"the cluster gave up ({in_words(error)[:300]})", hint="index again: it goes on where it stopped")


@contextlib.contextmanager
def connected(cluster: str, notify: Callable[[str], None]) -> Iterator[Cluster]:
    """The cluster that is meant; left at the end, and ended if it was started here. For "auto" the one the caller is in, which stays.

    Args:
        cluster: "auto": the one that RAY_ADDRESS names or that runs on this machine, else a new one on this machine; "local": a new one
            on this machine; "ray://HOST:PORT" or "HOST:PORT".

    Raises ClusterError: it cannot be reached within half a minute. MissingExtraError.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported: nothing leaves this machine
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its coming default; else a warning at each start
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else "E" lines on the user's terminal about what Ray itself does
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "Embedding on a cluster") from error
    if ray.is_initialized():
        if cluster != "auto":
            raise ClusterError("this process is connected to a cluster already", path=cluster, hint="leave that one first, or ask for auto")
        yield _seen(ray)
        return
    address = os.environ.get("RAY_ADDRESS", "auto") if cluster == "auto" else cluster
    handlers = {number: signal.getsignal(number) for number in _SIGNALS} if _in_main_thread() else {}
    with contextlib.ExitStack() as stack:
        if address == "local" or (address == "auto" and not _join_running(ray)):
            folder = _own_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            _start(ray, folder)
        elif address != "auto":
            _join(ray, address)
        stack.callback(ray.shutdown)
        for number, handler in handlers.items():  # Ray sets its own, and the end of this program is the program's
            signal.signal(number, handler)
        found = _seen(ray)
        notify(f"Ray: {found.cpus} CPUs and {found.gpus} GPUs on {sum(node['Alive'] for node in ray.nodes())} machine(s)")
        yield found


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """For processes that are started meanwhile. What is set already is somebody's wish."""
    missing = wanted.keys() - os.environ.keys()
    os.environ.update({name: wanted[name] for name in missing})
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing reaches stderr: Ray's core writes there, past Python, that it was told to write less. What goes wrong is raised."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _seen(ray: Any) -> Cluster:
    nodes = _nodes(ray)
    cpus, gpus = (int(sum(node.get(kind, 0) for node in nodes)) for kind in ("CPU", "GPU"))
    most = max((int(node.get("CPU", 0)) for node in nodes), default=1) or 1
    return Cluster(ray, cpus, gpus, most, afar=ray.util.client.ray.is_connected())


def _nodes(ray: Any) -> list[dict[str, float]]:
    """What each machine has that is there."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _join_running(ray: Any) -> bool:
    """A Ray that runs on this machine; False: there is none. ClusterError: there is one that does not let us in."""
    try:
        with _quiet():
            ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        return False
    except Exception as error:
        raise _unreachable("auto", in_words(error)[:200]) from error
    return True


def _join(ray: Any, address: str) -> None:
    """Its door is knocked at first: Ray itself would wait for minutes where nobody is."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    host, port = parts.hostname, parts.port if _has_port(parts) else None
    if host is None or port is None or parts.scheme not in ("", "ray"):
        raise ClusterError("this is no address of a cluster", path=address, hint="for example auto, local or ray://HOST:10001")
    started = time.monotonic()
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            break
        except OSError as error:
            if time.monotonic() - started > CLUSTER_SECONDS / 3:
                raise _unreachable(address, f"{host} port {port}: {in_words(error)}") from error
            time.sleep(1)
    failed: list[BaseException] = []

    def join() -> None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=join, daemon=True)
    with _quiet():  # not in the thread, which may never end: then what is told below would go nowhere, too
        thread.start()
        thread.join(CLUSTER_SECONDS / 2)
    if thread.is_alive() or failed:
        raise _unreachable(address, in_words(failed[0])[:200] if failed else "it answers, but not as Ray does") from next(
            iter(failed), None
        )


def _has_port(parts: Any) -> bool:
    try:
        return parts.port is not None
    except ValueError:
        return False


def _unreachable(address: str, tried: str) -> ClusterError:
    return ClusterError(
        f"the cluster cannot be reached ({tried})",
        path=address,
        hint="is its head running, and its token (RAY_AUTH_TOKEN) the one known here?",
    )


def _own_folder() -> str:
    """For the files of a Ray of ours; folders of runs that were killed go. Short: sockets lie in it, and their paths may have 107 bytes."""
    top = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()
    for name in os.listdir(top):
        pid = name.removeprefix(_FOLDER).partition("-")[0]
        if name.startswith(_FOLDER) and pid.isdecimal() and not _runs(int(pid)):
            shutil.rmtree(os.path.join(top, name), ignore_errors=True)  # another user's stays
    return tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=top)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _start(ray: Any, folder: str) -> None:
    """A Ray of this machine alone. A busy machine may miss Ray's own limit of 30 s for the start: tried twice."""
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():  # Ray would write one into the user's home
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    for last in (False, True):
        try:
            with _quiet(), _environment(_FRUGAL):
                ray.init(
                    address="local",
                    num_cpus=available_cpus(),
                    include_dashboard=False,
                    object_store_memory=CLUSTER_STORE_BYTES,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _temp_dir=folder,
                    _node_ip_address="127.0.0.1",
                )
            return
        except Exception as error:
            ray.shutdown()
            if last:
                hint = "try again when the machine is less busy, or leave the cluster out"
                raise ClusterError(f"Ray could not be started here ({in_words(error)[:200]})", hint=hint) from error
