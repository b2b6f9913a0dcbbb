"""A page server for tests: a small library, a real socket on 127.0.0.1, and a plain client."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from image_search.engine import ImageSearchEngine
from image_search.testing import InProcessPool, QuickModel
from image_search.web.protocol import DeadlineProtocol
from image_search.web.server import PageServer, PageSettings

CLASSES = ("Blue", "Green", "Red")
ALIVE = 120  # seconds after which something hangs; no measure of speed: a busy machine may take long
PER_CLASS = 20  # 60 images: enough for closeness


def picture(kind: int, seed: int, size: int = 96, format: str = "JPEG") -> bytes:
    """Stripes, rings or boxes in a colour of their own; the same kind looks alike, other seeds differ."""
    dice = np.random.default_rng([kind, seed])
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    waves = (np.sin(40 * (x * 0.8 + y) + seed), np.sin(60 * np.hypot(x, y) + seed), np.sign(np.sin(25 * x) * np.sin(25 * y)))[kind]
    pixels = np.full((size, size, 3), 40.0)
    pixels[:, :, 2 - kind] = 120 + 90 * waves
    pixels += dice.normal(0, 12, (8, 8, 3)).repeat(size // 8, 0).repeat(size // 8, 1)
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, format, quality=90)
    return out.getvalue()


def fill(folder: Path, per_class: int = PER_CLASS) -> Path:
    for kind, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed in range(per_class):
            (folder / name / f"{seed}.jpg").write_bytes(picture(kind, seed))
    return folder


def make_library(place: Path, per_class: int = PER_CLASS, model: str | None = None) -> Path:
    """With `QuickModel`, or with a model that another process can load, too."""
    folder = fill(place / "pictures", per_class)
    with ImageSearchEngine(place / "library", model=model or QuickModel(), store="exact", jobs=2, notify=lambda _: None) as engine:
        engine._make_pool = InProcessPool
        engine.index(folder, progress=False)
    return place / "library"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Sends exactly the headers it is told, and the token unless told otherwise."""

    server: PageServer
    with_token: bool = True
    host: str | None = None
    more: dict[str, str] = field(default_factory=dict)  # headers of every request

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        lines = {"Host": self.host or f"127.0.0.1:{self.server.port}"}
        if self.with_token:
            lines["Authorization"] = f"Bearer {self.server.keys.token}"
        lines |= self.more | (headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=ALIVE)
        with contextlib.closing(connection):
            # An answer's addresses are relative to the page's.
            whole = f"/{path}" if path.startswith(("api/", "static/")) else path
            connection.putrequest(method, whole, skip_host=True, skip_accept_encoding=True)
            for name, value in lines.items():
                connection.putheader(name, value)
            if body is not None and "Content-Length" not in lines and "Transfer-Encoding" not in lines:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, data: Any = None, **headers: str) -> Answer:
        return self.ask("POST", path, json.dumps(data).encode(), {"Content-Type": "application/json", **headers})

    def upload(self, data: bytes) -> Answer:
        return self.ask("POST", "/api/uploads", data, {"Content-Type": "application/octet-stream"})

    def wait_for_job(self, seconds: float = ALIVE) -> dict[str, Any]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            job: dict[str, Any] = self.get("/api/library").json["job"]
            if job["state"] in ("none", "done", "stopped", "failed"):
                return job
            time.sleep(0.05)
        raise AssertionError(f"the run does not end: {job}")


@contextlib.contextmanager
def serving(
    library: Path,
    *,
    folding: bool = False,
    caged: bool = False,
    protocol: type[DeadlineProtocol] = DeadlineProtocol,
    notify: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Iterator[PageServer]:
    """A server in a thread, with `QuickModel` unless a model is named.

    Args:
        folding: what shows the same picture is folded; else only the same bytes are, as the test pictures are alike.
        caged: pictures are decoded in workers, for tests that send what hurts a decoder.
    """
    options = {"model": QuickModel(), "port": 0, **options}
    server = PageServer(PageSettings(library, **options), notify=notify, protocol=protocol)
    if not caged:
        server.engine._make_pool = InProcessPool
    if not folding:
        server.engine.looks.of = lambda item: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, name="page-server")
    thread.start()
    try:
        until = time.monotonic() + ALIVE
        while not server.started and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        assert server.started
        yield server
    finally:
        server.stop()
        thread.join(ALIVE)
        assert not thread.is_alive()
