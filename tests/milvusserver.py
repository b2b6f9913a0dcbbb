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

# A machine that stands still for half a minute would end it: it gives up when it has not told its own etcd that it lives.
START = """
import sys, time
from milvus import MilvusServer
server = MilvusServer()
server.set_base_dir(sys.argv[1])
server.config.set("common.session.ttl", 3600)
server.start()
print(server.listen_port, server.server_proc.pid, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def milvus_server(folder: Path) -> Iterator[str]:
    """Its address. Skips aloud where the package is not installed. IMAGE_SEARCH_TEST_MILVUS names one that runs already, of any version."""
    if running := os.environ.get("IMAGE_SEARCH_TEST_MILVUS"):
        yield running
        return
    pytest.importorskip("milvus", reason="the real server is not here: pip install --no-deps milvus==2.3.5")
    pytest.importorskip("pymilvus", reason="pymilvus is not here: pip install 'ai-image-search-engine[milvus]'")
    command = [sys.executable, "-c", START, str(folder)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder)
    server = 0
    try:
        assert process.stdout is not None
        line = process.stdout.readline().split()
        assert line, (folder / "log").read_text()
        port, server = map(int, line)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        if server:
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)
