"""A real Milvus server of this machine, for tests: from `pip install --no-deps milvus==2.3.5`, which needs no container."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# A machine that stands still for half a minute would end it: it gives up when it has not told its own etcd that it lives. But for so long
# one that was killed counts as alive, too.
PATIENT = 3600  # seconds
START = """
import sys
from milvus import MilvusServer
server = MilvusServer()
server.set_base_dir(sys.argv[1])
if int(sys.argv[2]):
    server.listen_port = int(sys.argv[2])
server.config.set("common.session.ttl", int(sys.argv[3]))
server.config.set("common.session.retryTimes", 1000)  # to take its place again; else a slow machine's server stands still for ever
server.start()
print(server.listen_port, server.server_proc.pid, flush=True)
sys.stdin.read()
"""


class RealMilvus:
    """A server over a folder, which can be killed and started again; two at the same time cannot be on one machine. Skips aloud where the
    package is not installed."""

    def __init__(self, folder: Path, session: int = PATIENT) -> None:
        pytest.importorskip("milvus", reason="the real server is not here: pip install --no-deps milvus==2.3.5")
        pytest.importorskip("pymilvus", reason="pymilvus is not here: pip install 'ai-image-search-engine[milvus]'")
        self._folder, self._session = folder, session
        self._port = self._server = 0
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        command = [sys.executable, "-c", START, str(self._folder), str(self._port), str(self._session)]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=self._folder
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().split()
        assert line, (self._folder / "log").read_text()
        self._port, self._server = map(int, line)

    def kill(self) -> None:
        if self._server:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._server, signal.SIGKILL)
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def milvus_server(folder: Path) -> Iterator[str]:
    """Its address. IMAGE_SEARCH_TEST_MILVUS names one that runs already, of any version."""
    if running := os.environ.get("IMAGE_SEARCH_TEST_MILVUS"):
        yield running
        return
    server = RealMilvus(folder)
    try:
        yield server.address
    finally:
        server.kill()
