"""Many at once, slow ones, and far too large ones, against `image-search serve` in its own process. Minutes: run with -m slow."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from pageserver import ALIVE, fill, make_library, picture

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")]

MIB = 1024**2


@dataclass
class Running:
    port: int
    token: str
    pid: int

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, dict[str, str], bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ALIVE)
        with contextlib.closing(line):
            line.request(method, path, body, {"Authorization": f"Bearer {self.token}", "Content-Type": kind})
            answer = line.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    @property
    def peak_memory(self) -> int:
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[1])  # type: ignore[index]


@contextlib.contextmanager
def served(library: Path, *options: str) -> Iterator[Running]:
    run = subprocess.Popen(
        [sys.executable, "-m", "image_search", "serve", "--library", str(library), "--port", "0", "--no-browser", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert run.stdout is not None
        port, token = re.fullmatch(r"The page: http://127\.0\.0\.1:(\d+)/\?token=(\S+)\n", run.stdout.readline()).groups()  # type: ignore[union-attr]
        yield Running(int(port), token, run.pid)
        run.terminate()
        assert run.wait(ALIVE) == 0
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
        if run.stdout is not None:
            run.stdout.close()


def test_a_hundred_clients_while_indexing(tmp_path: Path) -> None:
    library = make_library(tmp_path, model="mini")
    more = fill(tmp_path / "more", 150)
    with served(library, "--allow", str(more)) as server:
        before = server.peak_memory
        assert server.ask("POST", "/api/index", b'{"folder": 0}')[0] == 202
        seen: Counter[int] = Counter()
        wrong: list[object] = []
        lock = threading.Lock()

        def client(number: int) -> None:
            upload = picture(number % 3, 1000 + number)
            for turn in range(4):
                asked = [
                    ("POST", "/api/uploads", upload, "application/octet-stream"),
                    (
                        "POST",
                        "/api/search",
                        json.dumps({"queries": [{"id": f"id:{1 + (number + turn) % 60}"}], "n": 500}).encode(),
                        "application/json",
                    ),
                    ("GET", f"/api/images/id:{1 + (number * 7 + turn) % 60}/thumbnail", None, ""),
                    ("GET", f"/api/images/id:{1 + (number * 5 + turn) % 60}/view", None, ""),
                    ("GET", "/api/library", None, ""),
                ]
                for method, path, body, kind in asked:
                    status, headers, said = server.ask(method, path, body, kind)
                    with lock:
                        seen[status] += 1
                        if status not in (200, 503) or (status == 503 and "retry-after" not in {h.lower() for h in headers}):
                            wrong.append((method, path, status, said[:200]))

        with ThreadPoolExecutor(100) as threads:
            for done in [threads.submit(client, number) for number in range(100)]:
                done.result()
        assert wrong == []
        assert sum(seen.values()) == 2000 and seen[200] > 1000, seen
        assert server.peak_memory - before < 600 * MIB
        until = time.monotonic() + 5 * ALIVE
        while (state := json.loads(server.ask("GET", "/api/library")[2]))["job"]["state"] != "done":
            assert time.monotonic() < until and state["job"]["state"] in ("scanning", "indexing", "finishing"), state["job"]
            time.sleep(0.2)
        assert state["library"]["images"] == 60 + 450


def test_slow_clients_and_a_gigabyte_do_not_stop_a_query(tmp_path: Path) -> None:
    library = make_library(tmp_path, model="mini")
    with served(library) as server:
        question = json.dumps({"queries": [{"id": "id:5"}]}).encode()
        assert server.ask("POST", "/api/search", question)[0] == 200
        before = server.peak_memory
        stop = threading.Event()
        head = f"POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {server.token}\r\n"
        ended: list[int] = []  # numbers of the connections that the server closed while there was more to send

        def slow(number: int) -> None:
            """Half of them never finish their headers, half their body: one byte a second."""
            text = head if number % 2 else f"{head}Content-Length: 1000000\r\n\r\n"
            with socket.create_connection(("127.0.0.1", server.port), timeout=ALIVE) as line:
                line.settimeout(1.0)
                try:
                    if number % 2 == 0:
                        line.sendall(text.encode())
                    for byte in (f"{text}X: {'x' * 1000}" if number % 2 else "x" * 1000).encode():
                        line.sendall(bytes([byte]))
                        with contextlib.suppress(TimeoutError):
                            if line.recv(1024) == b"":
                                break
                        if stop.is_set():
                            return
                    else:
                        return
                except OSError:
                    pass
            ended.append(number)

        def gigabyte(chunked: bool) -> int:
            sent = 0
            with socket.create_connection(("127.0.0.1", server.port), timeout=ALIVE) as line, contextlib.suppress(OSError):
                line.sendall((head + ("Transfer-Encoding: chunked" if chunked else f"Content-Length: {2**30}") + "\r\n\r\n").encode())
                block = b"\0" * 65536
                while sent < 2**30:
                    line.sendall(b"10000\r\n" + block + b"\r\n" if chunked else block)
                    sent += len(block)
            return sent

        with ThreadPoolExecutor(210) as threads:
            for number in range(200):
                threads.submit(slow, number)
            time.sleep(3)
            sizes = [threads.submit(gigabyte, chunked) for chunked in (True, False, True, False)]
            answers = [server.ask("POST", "/api/search", question)[0] for _ in range(20)]
            answers += [server.ask("POST", "/api/uploads", picture(0, n), "application/octet-stream")[0] for n in range(5)]
            assert answers == [200] * 25
            assert max(size.result() for size in sizes) < 30 * MIB
            assert server.peak_memory - before < 200 * MIB
            until = time.monotonic() + 5 * ALIVE
            while len(ended) < 200 and time.monotonic() < until:
                time.sleep(0.5)
            stop.set()
        assert sorted(ended) == list(range(200)), "headers have 10 seconds, bodies 30: none was let in to its end"
        assert server.ask("POST", "/api/search", question)[0] == 200
