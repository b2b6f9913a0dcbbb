"""Embedding on Ray, two nodes on this machine: row for row what one process makes, whatever is killed; and nothing is told to anyone.

KILLS=5 pytest -m slow tests/test_cluster.py: each kind of kill five times, at random moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pictures import fill
from slowmodel import SlowModel

from image_search import ClusterError, DatasetReport, embed_dataset, open_dataset
from image_search.cluster import ray as room

ray = pytest.importorskip("ray", reason='needs Ray: pip install "ai-image-search-engine[test-cluster]"')
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")]

KILLS = int(os.environ.get("KILLS", "1"))
TESTS = Path(__file__).parent
SOURCES = str(TESTS.parent / "src")


# --- what runs, by /proc --------------------------------------------------------------------------------------------------------


def processes() -> dict[int, str]:
    """Our descendants, and what became of them when their parents ended: whatever has this run's mark in its environment."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if MARK in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


MARK = f"IMAGE_SEARCH_TEST_RUN={os.getpid()}".encode()
ACTOR, DECODER = "ray::MapWorker", "image_search.images.worker"


def kill_one(kind: str) -> bool:
    there = [pid for pid, line in processes().items() if kind in line]
    if there:
        with contextlib.suppress(ProcessLookupError):
            os.kill(random.choice(there), signal.SIGKILL)
    return bool(there)


class Watched:
    """The addresses that processes of this run are connected to, or try to be, sampled; beside those of this machine."""

    def __enter__(self) -> Watched:
        self.foreign: set[str] = set()
        self._stop = threading.Event()
        self._own = {"127.0.0.1", "0.0.0.0", socket.gethostbyname(socket.gethostname()), room_address()}
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            sockets = {inode for pid in processes() for inode in _sockets(pid)}
            for table in ("tcp", "tcp6", "udp", "udp6"):
                for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                    words = line.split()
                    if words[9] in sockets and (there := _address(words[2])) not in self._own:
                        self.foreign.add(there)


def _sockets(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for handle in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{handle}")
                if target.startswith("socket:["):
                    yield target[8:-1]


def _address(text: str) -> str:
    """As /proc/net writes it: hexadecimal, each 32 bits from its last byte on."""
    raw = bytes.fromhex(text.split(":")[0])
    parts = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    if len(parts) == 4:
        return socket.inet_ntoa(parts)
    shown = socket.inet_ntop(socket.AF_INET6, parts)
    return "0.0.0.0" if shown == "::" else "127.0.0.1" if shown == "::1" else shown.removeprefix("::ffff:")


def free_port() -> int:
    """Below those that Ray's workers take."""
    with contextlib.closing(socket.socket()) as found:
        for port in range(9800, 9900):
            with contextlib.suppress(OSError):
                found.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no port is free")


def room_address() -> str:
    """Of this machine, as Ray finds it: no packet is sent."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("8.8.8.8", 53))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


# --- a cluster ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Everything that Ray starts has it as its home, and finds our sources."""
    folder = tmp_path_factory.mktemp("ray-home")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join([SOURCES, str(TESTS)]),
            "IMAGE_SEARCH_TEST_RUN": str(os.getpid()),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
        }.items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[Any]:
    """Two nodes of one CPU each; this process is connected to it."""
    from ray.cluster_utils import Cluster

    with Watched() as watched:
        for last in (False, True):
            try:
                node = {"num_cpus": 1, "object_store_memory": 256 * 2**20}
                head = {**node, "include_dashboard": False, "ray_client_server_port": free_port()}
                made = Cluster(initialize_head=True, head_node_args=head, connect=False)
                made.add_node(**node)
                ray.init(address=made.address, log_to_driver=False, logging_level="error")
                break
            except Exception:  # on a busy machine Ray's own limit of 30 s for a start may pass
                if last:
                    raise
        made.watched, made.door = watched, f"ray://127.0.0.1:{head['ray_client_server_port']}"
        yield made
        ray.shutdown()
        made.shutdown()
    left = {pid: line for pid, line in processes().items() if pid != os.getpid()}
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # Where a driver was killed, two agents of Ray's own see it after a minute or two.
    assert [line for line in left.values() if not line.startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent"))] == []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    fill(folder, 60)
    (folder / "circle" / "bad.png").write_bytes(b"no picture")
    return folder


def embed(pictures: Path, out: Path, cluster: str | None = "auto", **given: Any) -> DatasetReport:
    options = {"block_images": 8, "jobs": 1, "progress": False, "notify": lambda line: None} | given
    return embed_dataset(pictures, out=out, model=SlowModel(), cluster=cluster, **options)


def rows_of(out: Path) -> list[tuple[Any, ...]]:
    return [
        (*row[:-1], None if row.vector is None else row.vector.tobytes()) for part in open_dataset(str(out)).blocks() for row in part.each()
    ]


@pytest.fixture(scope="module")
def undisturbed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What one process makes."""
    out = tmp_path_factory.mktemp("plain")
    embed(pictures, out, cluster=None)
    return rows_of(out)


@pytest.mark.parametrize(
    ("address", "said"),
    [("ray://127.0.0.1:1", r"cannot be reached \(127.0.0.1 port 1: Connection refused\)"), ("http://x", "no address of a cluster")],
)
def test_no_cluster_is_told(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, said: str) -> None:
    """Here within a second; a user has 10 s in which the head may still come up."""
    monkeypatch.setattr(room, "CLUSTER_SECONDS", 0.5)
    with pytest.raises(ClusterError, match=said):
        embed(pictures, tmp_path / "out", cluster=address)


def test_a_door_behind_which_nobody_answers_is_told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Ray may stay in there for ever; what is said meanwhile reaches the terminal."""
    monkeypatch.setattr(room, "CLUSTER_SECONDS", 0.5)
    never = threading.Event()

    class Slow:
        @staticmethod
        def init(**_: Any) -> None:
            os.write(2, b"noise")
            never.wait(20)

    door = socket.create_server(("127.0.0.1", 0))
    with contextlib.closing(door), pytest.raises(ClusterError, match="answers, but not as Ray does"):
        room._join(Slow(), f"ray://127.0.0.1:{door.getsockname()[1]}")
    os.write(2, b"told")
    never.set()
    assert capfd.readouterr().err == "told"


def test_settings_of_a_ray_of_ours_are_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own stay, and a Ray that this process starts later has none of ours."""
    monkeypatch.setenv("LOG_NAME_UPDATE_INTERVAL_S", "1")
    before = dict(os.environ)
    with pytest.raises(ConnectionError), room._environment(room._FRUGAL):
        assert os.environ.items() >= (room._FRUGAL | {"LOG_NAME_UPDATE_INTERVAL_S": "1"}).items()
        raise ConnectionError
    assert dict(os.environ) == before


PROGRAM = """
import sys
from slowmodel import SlowModel
from image_search import embed_dataset
report = embed_dataset(sys.argv[1], out=sys.argv[2], cluster=sys.argv[3], model=SlowModel(), block_images=8, jobs=1, notify=print,
                       progress=lambda done, total, refused: print("done", done, flush=True))
print("embedded", report.embedded, flush=True)
"""


def test_a_cluster_that_loses_its_machines_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One machine of one CPU is left, and a worker needs two: Ray Data would wait for the other for ever."""
    monkeypatch.setattr(room, "CLUSTER_ROOM_SECONDS", 0.2)
    never = threading.Event()

    class Small:
        @staticmethod
        def nodes() -> list[dict[str, Any]]:
            return [{"Alive": True, "Resources": {"CPU": 1.0}}, {"Alive": False, "Resources": {"CPU": 8.0}}]

    def results() -> Iterator[Any]:
        yield "the first"
        never.wait(20)

    found = room.Cluster(Small(), 9, 0, 8, afar=False)._while_there_is_room(results(), 2, 0)
    assert next(found) == "the first"
    with pytest.raises(ClusterError, match="lost every machine"):
        next(found)
    never.set()


def test_two_nodes_make_what_one_process_makes(cluster: Any, pictures: Path, undisturbed: list[Any], tmp_path: Path, home: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    report = embed(pictures, tmp_path / "out", progress=lambda *told: seen.append(told))
    assert rows_of(tmp_path / "out") == undisturbed and len(undisturbed) == 181
    assert (report.images, report.embedded, report.refused, report.blocks) == (181, 180, {"not an image": 1}, report.made)
    assert len(seen) == report.blocks and seen[-1] == (181, 181, 1)
    assert embed(pictures, tmp_path / "out").made == 0
    assert ray.data.DataContext.get_current().enable_progress_bars, "the caller's own data sets keep their settings"
    assert cluster.watched.foreign == set()
    assert not [path for path in home.rglob("*") if path.is_file() and path.suffix != ".pyc"], "nothing is written into the home"


def test_what_is_killed_costs_nothing(cluster: Any, pictures: Path, undisturbed: list[Any], tmp_path: Path) -> None:
    """An actor, a decode worker, at random moments: the same rows, none twice, none missing."""
    for turn, kind in enumerate([ACTOR, DECODER] * KILLS):
        killed = 0
        moment = random.randint(1, 12)

        def kill(done: int, total: int, refused: int, kind: str = kind, moment: int = moment) -> None:
            nonlocal killed
            if done >= moment * 8 and not killed:
                killed += kill_one(kind)

        embed(pictures, tmp_path / str(turn), progress=kill)
        assert killed == 1, kind
        assert rows_of(tmp_path / str(turn)) == undisturbed, kind


def test_through_the_clients_door(cluster: Any, pictures: Path, undisturbed: list[Any], tmp_path: Path) -> None:
    """ray://, as from a machine that is none of the cluster."""
    arguments = [sys.executable, "-c", PROGRAM, str(pictures), str(tmp_path / "out"), cluster.door]
    assert "embedded 180" in subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert rows_of(tmp_path / "out") == undisturbed


def test_another_cluster_than_the_one_we_are_in(cluster: Any, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="connected to a cluster already"):
        embed(pictures, tmp_path / "out", cluster="local")


def test_a_cluster_without_room_is_told(cluster: Any, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CLUSTER_ROOM_SECONDS", 3.0)
    with pytest.raises(ClusterError, match=r"no room for a worker of 3 CPUs within 3 seconds: of 2 CPUs and 0 GPUs"):
        embed(pictures, tmp_path / "out", jobs=3)
    assert not list(tmp_path.rglob("blocks/*"))


def test_a_node_that_is_lost_costs_nothing(cluster: Any, pictures: Path, undisturbed: list[Any], tmp_path: Path) -> None:
    """The last test of this cluster: afterwards it has one node."""
    lost = False

    def lose(done: int, total: int, refused: int) -> None:
        nonlocal lost
        if not lost and done > 40:
            lost = True
            cluster.remove_node(next(node for node in cluster.worker_nodes), allow_graceful=False)

    embed(pictures, tmp_path / "out", progress=lose)
    assert lost and rows_of(tmp_path / "out") == undisturbed


# --- without a cluster of ours --------------------------------------------------------------------------------------------------


@pytest.fixture
def program(home: Path, pictures: Path, tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """Another process that embeds with a Ray of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}  # as a user has it: with a token
    return lambda: subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(pictures), str(tmp_path / "out"), "local"], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_the_driver_is_killed_and_told_to_stop(
    program: Callable[[], subprocess.Popen[str]], pictures: Path, undisturbed: list[Any], tmp_path: Path, home: Path
) -> None:
    """SIGKILL at random moments, then Ctrl-C, which takes at most 10 s; what is missing then is made by this process, and no more."""
    for number in [*[signal.SIGKILL] * KILLS, signal.SIGINT]:
        running = program()
        assert running.stdout is not None
        left = random.randint(1, 3)
        for line in running.stdout:
            left -= line.startswith("done")
            if left == 0 or line.startswith("embedded"):
                break
        running.send_signal(number)
        asked = time.monotonic()
        running.wait()
        running.stdout.close()
        assert number == signal.SIGKILL or time.monotonic() - asked < 10
    assert not [name for name in os.listdir("/tmp") if name.startswith(f"is-ray-{running.pid}-")]
    assert rows_are_part_of(rows_of(tmp_path / "out"), undisturbed)
    missing = open_dataset(str(tmp_path / "out")).missing
    assert embed(pictures, tmp_path / "out", cluster=None).embedded in (missing, missing - 1), "one of them has no vector"
    assert rows_of(tmp_path / "out") == undisturbed
    assert not [path for path in home.rglob("*") if path.is_file() and path.suffix != ".pyc"]


def rows_are_part_of(some: list[Any], all_of_them: list[Any]) -> bool:
    return set(some) <= set(all_of_them) and len(some) == len(set(some))
