"""Nobody gets in: each promise about hostile requests, pages and files, one by one, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pageserver import ALIVE, Client, fill, make_library, picture, serving

import image_search.web.pictures as pictures_module
import image_search.web.security as security
from image_search.advice import Advice, Setting, Verb
from image_search.config import PAGE_UPLOADS, PAGE_UPLOADS_BYTES, UPLOAD_LIMITS
from image_search.engine import ImageSearchEngine
from image_search.errors import SALVAGE, DecodeError, ImageSearchError, LibraryBusyError, QueryError, SkipReason, UsageError
from image_search.library.catalog import Catalog
from image_search.web.hosts import LOCAL, Hosts, split_host
from image_search.web.limiter import BusyError, Limiter
from image_search.web.problems import plain, problem_of
from image_search.web.protocol import DeadlineProtocol
from image_search.web.security import Guard
from image_search.web.server import PageServer, PageSettings
from image_search.web.uploads import Upload, Uploads


class QuickProtocol(DeadlineProtocol):
    write_seconds = 0.6
    max_connections = 40


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("security"), per_class=4)


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[PageServer]:
    with serving(library) as running:
        yield running


@pytest.fixture
def client(server: PageServer) -> Client:
    return Client(server)


def cookie_of(server: PageServer) -> str:
    return f"{server.keys.cookie}={server.keys.session}"


def routes(server: PageServer) -> list[tuple[str, str]]:
    """Every documented route with something in its braces, the page and its files."""
    found = [
        ("GET", "/"),
        ("GET", "/static/main.js"),
        ("GET", "/nothing"),
        ("GET", "/api/nothing"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/docs"),
    ]
    for path, methods in server.app.openapi()["paths"].items():
        found += [(method.upper(), path.replace("{id}", "id:1")) for method in methods]
    return found


# --- who may ask ----------------------------------------------------------------------------------------------------------------


def test_without_the_key_there_is_nothing(server: PageServer) -> None:
    stranger = Client(server, with_token=False)
    tried = routes(server)
    assert len(tried) > 18
    assert ("GET", "/api/health") in tried and ("GET", "/api/docs") in tried
    for method, path in tried:
        if path == "/api/health":
            continue
        for more in (
            {},
            {"Cookie": f"{server.keys.cookie}=guess"},
            {"Authorization": "Bearer guess"},
            {"Authorization": server.keys.token},
        ):
            answer = stranger.ask(method, path, headers={"Origin": f"http://127.0.0.1:{server.port}", **more})
            assert answer.status == 401, (method, path, more)
            assert "set-cookie" not in answer.headers
    assert stranger.get("/?token=guess").status == 401
    assert stranger.get(f"/api/library?token={server.keys.token}").status == 401, "the key opens the page only, not what lies behind"
    assert stranger.get(f"/?token={server.keys.token}&token=x").status == 401


def test_the_printed_address_gives_a_strict_cookie(server: PageServer) -> None:
    stranger = Client(server, with_token=False)
    opened = stranger.get(server.address.partition(str(server.port))[2])
    assert opened.status == 200 and b"<!doctype html>" in opened.body
    assert opened.headers["set-cookie"] == f"{cookie_of(server)}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
    assert server.keys.token not in opened.headers["set-cookie"]
    assert stranger.get("/api/library", Cookie=f"other=1; {cookie_of(server)}").status == 200
    for others in (
        '"',
        'a={"x":1}',
        "name=J Doe",
        "flag",
        "이름=값".encode().decode("latin-1"),
    ):  # other programs' cookies, whatever they are
        assert stranger.get("/api/library", Cookie=f"{others}; {cookie_of(server)}").status == 200
    assert stranger.get("/api/library", Cookie=f"other={cookie_of(server)}").status == 401


def test_the_host_must_be_ours(server: PageServer) -> None:
    port = server.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        assert Client(server, host=host).get("/api/library").status == 200, host
    foreign = [f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", f"10.0.0.1:{port}", ""]
    foreign += [f"user@127.0.0.1:{port}", f"127.0.0.1:{port}/x", f"0.0.0.0:{port}", "[::1", f"127.0.0.1:{port}:{port}", "127.0.0.1:99999"]
    for host in foreign:
        for path in ("/", "/api/library", "/static/main.js", f"/?token={server.keys.token}"):
            answer = Client(server, host=host or " ").get(path)
            assert answer.status in (421, 400), (host, path)
            assert "set-cookie" not in answer.headers


def test_requests_of_other_pages_are_refused(server: PageServer) -> None:
    own = f"http://127.0.0.1:{server.port}"
    cookie = {"Cookie": cookie_of(server)}
    page = Client(server, with_token=False)
    before = server.service.jobs.version
    foreign = ["null", "http://evil.example", f"http://127.0.0.1:{server.port + 1}", "https://localhost", f"http://localhost:{server.port}"]
    foreign += [
        "",
        "http://",
        "file://",
        "chrome-extension://abc",
        f"{own}/",
        f"{own}.evil.example",
        f"{own}@evil.example",
        "a" * 5000,
    ]
    for origin in foreign:
        for path in ("/api/search", "/api/demo", "/api/index", "/api/index/stop", "/api/uploads", "/api/addresses"):
            assert page.ask("POST", path, b"{}", {**cookie, "Origin": origin}).status in (400, 403), (origin, path)
        assert page.get("/api/library", **cookie, Origin=origin).status in (400, 403), origin
    assert page.ask("POST", "/api/demo", b"{}", cookie).status == 403, "a change without an Origin needs the token"
    for site in ("cross-site", "same-site", "nonsense"):
        for path in ("/api/library", "/api/images/id:1/thumbnail", "/static/main.js", "/api/events"):
            assert page.get(path, **cookie, **{"Sec-Fetch-Site": site}).status == 403, (site, path)
            navigation = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
            assert page.get(path, **cookie, **navigation).status == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert page.get("/", **cookie, **link).status == 200, "a link to the page may come from anywhere"
    assert page.get("/", **cookie, **{**link, "Sec-Fetch-Dest": "iframe"}).status == 403
    assert server.service.jobs.version == before, "nothing was begun"
    good = {**cookie, "Origin": own, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
    assert page.ask("POST", "/api/index/stop", b"{}", good).status == 202


def test_no_cross_origin_sharing_and_strict_headers_everywhere(server: PageServer, client: Client) -> None:
    for method, path in [*routes(server), ("OPTIONS", "/api/search"), ("PUT", "/api/library"), ("TRACE", "/"), ("HEAD", "/")]:
        if path in ("/api/events", "/api/demo"):
            continue
        answer = client.ask(method, path, headers={"Access-Control-Request-Method": "POST"})
        assert not [name for name in answer.headers if name.startswith("access-control")], (method, path)
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-frame-options"] == "DENY"
        policy = answer.headers["content-security-policy"]
        assert (
            "unsafe" not in policy
            and "default-src 'none'" in policy
            and "script-src 'self';" in policy
            and "frame-ancestors 'none'" in policy
        )
        assert answer.headers["referrer-policy"] == "no-referrer" and answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers
    html = client.get("/").body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|style=|https?://", html), "nothing inline, nothing from elsewhere"


def test_asking_changes_nothing(server: PageServer, client: Client) -> None:
    def state() -> tuple[Any, ...]:
        with contextlib.closing(Catalog.open(server.engine.library)) as catalog:
            return catalog.generation, server.service.jobs.version, sorted(p.name for p in server.engine.library.parent.iterdir())

    before = state()
    for _method, path in routes(server):
        if path != "/api/events":
            for verb in ("GET", "HEAD"):
                assert client.ask(verb, path).status < 500
                if ("GET", path) not in routes(server):  # some are asked by GET and changed by POST
                    assert client.ask(verb, path).status == 405
    assert state() == before


def test_websockets_are_not_spoken(server: PageServer, client: Client) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
    }
    for path in ("/", "/api/events/x", "/api/search"):
        assert client.get(path, **upgrade).status in (200, 404, 405)


def test_listening_beyond_this_machine_must_be_meant(library: Path, tmp_path: Path) -> None:
    assert PageSettings().host == "127.0.0.1"
    here, beyond = (Hosts(LOCAL, 8417, everywhere) for everywhere in (False, True))
    assert beyond.fits("192.168.1.7:8417") and beyond.fits("[fe80::1]:8417") and not here.fits("192.168.1.7:8417")
    assert beyond.fits("192.168.1.7:9000") and beyond.fits("localhost:9000") and not here.fits("localhost:9000"), "a container's port"
    assert not beyond.fits("evil.example:8417"), "a name that leads here is what rebinding uses"
    assert split_host("[::1]:80") == ("::1", 80) and split_host("a b") is None and split_host("a:b") is None
    with pytest.raises(UsageError, match="no address"):
        PageServer(PageSettings(tmp_path / "x", host="no.such.host.invalid"))
    with pytest.raises(UsageError, match="no such folder"):
        PageServer(PageSettings(tmp_path / "x", folders=[tmp_path / "none"]))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ImageSearchError, match="cannot listen"):
        PageServer(PageSettings(tmp_path / "x", port=taken.getsockname()[1]))
    assert not (tmp_path / "x").exists()
    with serving(tmp_path / "library", host="0.0.0.0", hosts=["photos.example"]) as server:
        assert server.address.startswith("http://127.0.0.1:")
        with pytest.raises(LibraryBusyError):
            PageServer(PageSettings(tmp_path / "library"))
        assert Client(server, host="photos.example").get("/api/library").status == 200
        assert Client(server, host=f"10.1.2.3:{server.port}").get("/api/library").status == 200
        assert Client(server, host=f"evil.example:{server.port}").get("/api/library").status == 421
        read = Client(server, host=f"evil.example:{server.port}").get("/").body.decode()  # by a person
        assert read == "This server does not answer under that name (allow it with: image-search serve --allow-host NAME).\n"
        proxied = {"Origin": "https://photos.example", "Content-Type": "application/json"}
        assert Client(server, host="photos.example").ask("POST", "/api/index/stop", b"{}", proxied).status == 202
        assert Client(server, host="photos.example").ask("POST", "/api/index/stop", b"{}", {"Origin": "https://10.1.2.3"}).status == 403


# --- paths and names ------------------------------------------------------------------------------------------------------------

UPS = ["../", "..\\", "%2e%2e/", "%2e%2e%2f", "..%2f", "..%5c", "%2e%2e%5c", "%252e%252e%252f", "..%252f", "%c0%ae%c0%ae/", "..%c0%af"]
UPS += [
    "....//",
    "..;/",
    ".%2e/",
    "%2e./",
    "..%00/",
    "..%0d%0a/",
    "%uff0e%uff0e/",
    "..%u2215",
    "\\\\host\\share\\",
    "%5c%5chost%5cshare%5c",
]


def test_no_path_leads_anywhere(server: PageServer, library: Path) -> None:
    client = Client(server)
    secret = library.parent / "secret.txt"
    secret.write_text("the secret")
    tricks = [up * n + tail for up in UPS for n in (1, 3) for tail in ("etc/passwd", "secret.txt", "pyproject.toml")]
    tricks += [
        str(secret),
        f"file://{secret}",
        f"//{secret}",
        "C:/windows/win.ini",
        "id:1/../../secret.txt",
        "id:-1",
        "id:1e3",
        "id:\u0661",
        "id:" + "9" * 40,
    ]
    assert len(tricks) > 60
    for trick in tricks:
        raw = trick.replace(" ", "%20").encode("utf-8").decode("latin-1") if trick.isascii() else "id:%D9%A1"
        for route in ("/static/{}", "/api/images/{}", "/api/images/{}/view", "/api/images/{}/thumbnail", "/api/uploads/{}/view", "/{}"):
            answer = client.get(route.format(raw))
            assert answer.status in (400, 404, 405, 422), (route, trick)
            assert b"the secret" not in answer.body and b"root:" not in answer.body and b"[project]" not in answer.body
        body = client.post("/api/search", {"queries": [{"id": trick}]})
        assert body.status == 422, trick


def test_a_file_that_became_a_link_is_not_served(tmp_path: Path) -> None:
    library = make_library(tmp_path, per_class=2)
    pictures = tmp_path / "pictures"
    outside = tmp_path / "outside"
    fill(outside, 1)
    secret = outside / "Blue" / "0.jpg"
    os.remove(pictures / "Blue" / "0.jpg")
    os.symlink(secret, pictures / "Blue" / "0.jpg")
    os.rename(pictures / "Red", tmp_path / "moved")
    os.symlink(outside / "Red", pictures / "Red")
    with serving(library) as server:
        client = Client(server)
        items = client.get("/api/images").json["items"]
        linked = [i["id"] for i in items if i["path"].endswith(("Blue/0.jpg", "Red/0.jpg"))]
        assert len(linked) == 2
        for id in linked:
            answer = client.get(f"/api/images/{id}/view")
            assert answer.status == 422 or answer.headers["content-type"] == "image/webp", "refused, or the library's own small copy"
        archive = zipfile.ZipFile(io.BytesIO(client.get("/api/images.zip?" + "&".join(f"id={i['id']}" for i in items)).body))
        left_out = archive.read("NOT COPIED.txt").decode().split("\n")
        assert len(left_out) - 1 == 3 and secret.read_bytes() not in [archive.read(n) for n in archive.namelist()]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_names_and_special_files_in_a_zip(tmp_path: Path) -> None:
    folder = tmp_path / "pictures" / "x\\..\\.."
    folder.mkdir(parents=True)
    (folder / "a:b|c?.jpg").write_bytes(picture(0, 1))
    (folder / "caf\udce9\x1b[2J.jpg").write_bytes(picture(0, 2))
    (folder / "pipe.jpg").write_bytes(picture(0, 3))
    library = make_library(tmp_path, per_class=1)
    os.remove(folder / "pipe.jpg")
    os.mkfifo(folder / "pipe.jpg")
    with serving(library) as server:
        client = Client(server)
        page = client.get("/api/images")
        assert any(i["path"].endswith("caf\\xe9\\x1b[2J.jpg") for i in page.json["items"])
        ids = [i["id"] for i in page.json["items"]]
        archive = zipfile.ZipFile(io.BytesIO(client.get("/api/images.zip?" + "&".join(f"id={i}" for i in ids)).body))
        assert archive.testzip() is None
        for name in archive.namelist():
            assert not set(name) & set('<>:"/\\|?*') and name.isprintable() and ".." not in name.split("/"), name
        assert b"pipe.jpg" in archive.read("NOT COPIED.txt")


# --- bodies ---------------------------------------------------------------------------------------------------------------------


def request(server: PageServer, path: str, *lines: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Authorization: Bearer {server.keys.token}", *lines]
    return "\r\n".join([*head, "", ""]).encode()


def sent_until_closed(server: PageServer, head: bytes, blocks: Iterator[bytes]) -> tuple[int, bytes]:
    """How many bytes of the body the server let us send, and what it said."""
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=ALIVE) as line:
        said = b""
        try:
            line.sendall(head)
            for block in blocks:
                line.sendall(block)
                sent += len(block)
        except OSError:
            pass
        with contextlib.suppress(OSError):
            while data := line.recv(65536):
                said += data
                if b"\r\n\r\n" in said and b'"reason"' in said:
                    break
    return sent, said


def endless(size: int, total: int = 2**30) -> Iterator[bytes]:
    block = b"\0" * size
    for _ in range(total // size):
        yield block


def test_a_body_is_counted_before_anything_reads_it(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.service.pictures, "upload", lambda data: pytest.fail("it reached the service"))
    limit = UPLOAD_LIMITS.file_bytes
    monkeypatch.setattr(server.guard, "upload_bytes", limit)  # as for others: one's own may be ten times as large
    room = 16 * 1024**2  # what the two sockets hold between us: 10 MB seen with the system's own limits of 6 and 4
    most_held = [0]
    take = server.guard.take
    monkeypatch.setattr(server.guard, "take", lambda count: (take(count), most_held.append(server.guard._buffered))[0])
    for path, most in (("/api/uploads", limit), ("/api/search", 64 * 1024)):
        sent, said = sent_until_closed(server, request(server, path, f"Content-Length: {2**30}"), endless(65536))
        assert b" 413 " in said.split(b"\r\n")[0] and sent < room, "an honest length is refused at once"
        chunks = (b"10000\r\n" + block + b"\r\n" for block in endless(65536))
        sent, said = sent_until_closed(server, request(server, path, "Transfer-Encoding: chunked"), chunks)
        assert sent < most + room and max(most_held) <= limit + 2**20, "without a length it is counted"
        assert not said or b" 413 " in said.split(b"\r\n")[0]
    assert Client(server).get("/api/library").status == 200
    assert server.guard._buffered == 0


def test_odd_bodies_are_refused_without_a_crash(server: PageServer, client: Client) -> None:
    boundary = "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n'
    bodies = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"queries":',
        b"{}" * 1000,
        b"[" * 30000,
        b'{"a":' * 10000,
        b"--x--",
        part,
        part * 500,
    ]
    types = [
        "application/json",
        "text/plain",
        boundary,
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "image/svg+xml",
        "",
        "\x7f",
        "a/b;" * 300,
    ]
    for path in ("/api/search", "/api/index", "/api/addresses", "/api/uploads"):
        for body in bodies:
            for kind in types if len(body) < 50 else types[:3]:
                answer = client.ask("POST", path, body, {"Content-Type": kind})
                assert 400 <= answer.status < 500, (path, body[:40], kind, answer.status)
                assert b"Traceback" not in answer.body and len(answer.body) < 2000
    for lines in (
        ("Content-Length: x",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: gzip",),
        ("Content-Length: -1",),
    ):
        _, said = sent_until_closed(server, request(server, "/api/uploads", *lines), iter([b"hello"]))
        assert said.split(b" ")[1].startswith(b"4") and b"Traceback" not in said


def test_a_body_of_two_lengths_is_refused_and_nothing_after_it_is_a_request(server: PageServer, caplog: pytest.LogCaptureFixture) -> None:
    """What is the rest of a body to a proxy must not be a request to us, nor the other way round."""
    hidden = request(server, "/api/library").replace(b"POST", b"GET", 1)
    for body in (b"0\r\n\r\n" + hidden, hidden, b"5\r\nhello\r\n0\r\n\r\n" + hidden):
        for lengths in (
            ("Transfer-Encoding: chunked", f"Content-Length: {len(body)}"),
            ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ):
            _, said = sent_until_closed(server, request(server, "/api/search", *lengths), iter([body]))
            assert said.split(b"\r\n")[0].split(b" ")[1] == b"400" and said.count(b"HTTP/1.1") == 1, said
            assert b"connection: close" in said.lower()
            # What is no chunk at all may be seen before the two lengths are.
            assert b"either Transfer-Encoding or Content-Length" in said or (body == hidden and b"Invalid HTTP" in said)
    assert server.guard._buffered == 0 and caplog.records == [], caplog.text


def test_who_goes_away_in_the_middle_of_an_upload_is_no_fault(server: PageServer, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/api/uploads", "/api/search"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=ALIVE) as line:
            line.sendall(request(server, path, "Content-Length: 50000", "Content-Type: application/json") + b"x" * 1000)
            until = time.monotonic() + ALIVE
            while not server.guard._buffered and time.monotonic() < until:
                time.sleep(0.01)
        while server.guard._buffered and time.monotonic() < until:
            time.sleep(0.01)
        assert server.guard._buffered == 0
    assert client.get("/api/library").status == 200
    assert caplog.records == [], caplog.text


def test_ranges_are_not_served(client: Client) -> None:
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(2000))
    for path in ("/", "/static/main.js", "/api/images/id:1/thumbnail"):
        assert client.get(path, Range=ranges).status == 200


def test_no_upload_goes_through_temporary_files(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert client.upload(b"x" * 3_000_000).status == 422
    assert client.upload(picture(0, 4)).status == 200
    assert list(tmp_path.iterdir()) == []


def test_uploads_are_forgotten_and_their_ids_tell_nothing() -> None:
    kept, other = Uploads(), Uploads()
    assert kept.id_of(b"a") != other.id_of(b"a")
    for n in range(300):
        kept.put(Upload(kept.id_of(bytes([n % 256, n // 256])), b"x", b"", 1, 1))
    assert len(kept._kept) == PAGE_UPLOADS == 200 and kept.get(kept.id_of(bytes([0, 0]))) is None
    big = b"y" * (PAGE_UPLOADS_BYTES // 4)
    for n in range(8):
        kept.put(Upload(kept.id_of(bytes([n])), big, b"", 1, 1))
    newest = [kept.get(kept.id_of(bytes([n]))) for n in range(8)]
    assert [n for n, upload in enumerate(newest) if upload] == [4, 5, 6, 7] and kept._kept.weight <= PAGE_UPLOADS_BYTES
    assert sum(len(u.data) + len(u.view) for u in kept._kept._kept.values()) == kept._kept.weight


# --- time -----------------------------------------------------------------------------------------------------------------------


def closed_by_the_server(line: socket.socket, drip: bytes) -> bool:
    """Does the other side end the connection while we send one byte after the other, twenty a second, and have more to send?"""
    line.settimeout(0.05)
    for byte in drip:
        try:
            line.sendall(bytes([byte]))
            if line.recv(4096) == b"":
                return True
        except TimeoutError:
            pass
        except OSError:
            return True
    return False


def test_slow_requests_end_and_others_do_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DeadlineProtocol.header_seconds == 10 and Guard.body_seconds == 30, "the deadlines that are promised"
    other = make_library(tmp_path, per_class=1)
    with serving(other, protocol=QuickProtocol) as server:
        head = request(server, "/api/uploads", "Content-Length: 5000")
        endless_head = head[:-2] + b"X: " + b"x" * 1500
        address = ("127.0.0.1", server.port)

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(address, timeout=ALIVE))

        with contextlib.ExitStack() as stack:
            monkeypatch.setattr(QuickProtocol, "header_seconds", 100 * ALIVE)
            monkeypatch.setattr(Guard, "body_seconds", 100 * ALIVE)
            for begun in [head[:50]] * 8 + [head] * 8:
                connect().sendall(begun)
            second = connect()  # a good request now, a slow one later
            second.sendall(request(server, "/api/index/stop", "Content-Length: 2", "Content-Type: application/json") + b"{}")
            assert b" 202 " in second.recv(4096)
            assert Client(server).upload(picture(0, 8)).status == 200, "nobody waits for those that never end"
            monkeypatch.setattr(QuickProtocol, "header_seconds", 0.6)
            monkeypatch.setattr(Guard, "body_seconds", 0.6)
            slow_heads, silent, slow_body = [connect() for _ in range(12)], connect(), connect()
            slow_body.sendall(head)
            with ThreadPoolExecutor(20) as threads:
                closed = [threads.submit(closed_by_the_server, line, endless_head) for line in [*slow_heads, second]]
                closed.append(threads.submit(closed_by_the_server, slow_body, b"x" * 1500))
                assert all(one.result() for one in closed)
            assert silent.recv(1) == b""
        monkeypatch.setattr(QuickProtocol, "header_seconds", 100 * ALIVE)
        # too many connections: the newest is turned away, and room comes back
        lines = [socket.create_connection(address) for _ in range(QuickProtocol.max_connections + 5)]
        lines[-1].settimeout(ALIVE)
        with contextlib.suppress(ConnectionResetError):
            assert lines[-1].recv(1) == b""
        for line in lines:
            line.close()
        until = time.monotonic() + ALIVE
        status = 0
        while status == 0 and time.monotonic() < until:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status = Client(server).get("/api/library").status
        assert status == 200


def test_a_reader_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    folder = tmp_path / "pictures" / "Blue"
    folder.mkdir(parents=True)
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), np.uint8)
    Image.fromarray(noise).save(folder / "noise.jpg", quality=95)
    library = make_library(tmp_path, per_class=1)
    with serving(library, protocol=QuickProtocol) as server:
        id = next(i["id"] for i in Client(server).get("/api/images").json["items"] if i["path"].endswith("noise.jpg"))
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", server.port))
            again = "&".join([f"id={id}"] * 1)
            line.sendall(request(server, f"/api/images.zip?{again}").replace(b"POST", b"GET", 1))
            until = time.monotonic() + ALIVE
            while server._server.server_state.connections == set() and time.monotonic() < until:
                time.sleep(0.02)
            while server._server.server_state.connections and time.monotonic() < until:
                time.sleep(0.05)
            assert not server._server.server_state.connections, "it still holds the connection"


def test_the_limiter_refuses_instead_of_piling_up() -> None:
    async def scene() -> tuple[int, int]:
        limiter = Limiter(running=2, waiting=3, patience=ALIVE)
        free = threading.Event()
        tasks = [asyncio.create_task(limiter.run(free.wait)) for _ in range(12)]
        await asyncio.sleep(0.1)
        refused = sum(task.done() and isinstance(task.exception(), BusyError) for task in tasks)
        free.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        impatient = Limiter(running=1, waiting=5, patience=0.05)
        hold = threading.Event()
        first = asyncio.create_task(impatient.run(hold.wait))
        await asyncio.sleep(0.02)
        with pytest.raises(BusyError):
            await impatient.run(lambda: None)
        hold.set()
        await first
        assert await impatient.run(lambda: 7) == 7
        limiter.close()
        impatient.close()
        return refused, sum(result is True for result in done)

    refused, served = asyncio.run(scene())
    assert (refused, served) == (12 - 5, 5)


# --- addresses ------------------------------------------------------------------------------------------------------------------


def test_addresses_are_fetched_only_where_allowed_and_only_publicly(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def fake(url: str, **options: Any) -> bytes:
        asked.append((url, options))
        return picture(2, 5)

    monkeypatch.setattr(pictures_module, "fetch", fake)
    refused = client.post("/api/addresses", {"url": "https://example.org/a.jpg"})
    assert refused.status == 400 and "--allow-urls" in refused.json["hint"] and asked == []
    library = make_library(tmp_path, per_class=2)
    with serving(library, urls=True) as server:
        asking = Client(server)
        got = asking.post("/api/addresses", {"url": "https://example.org/a.jpg"})
        assert got.status == 200 and asked == [("https://example.org/a.jpg", {"max_bytes": 200 * 2**20})], (
            "public addresses only: no option widens it"
        )
        assert asking.post("/api/search", {"queries": [{"id": got.json["id"]}]}).json["matches"][0]["name"] == "Red"
        monkeypatch.undo()
        with socket.create_server(("127.0.0.1", 0)) as trap:
            trap.settimeout(0.2)
            port = trap.getsockname()[1]
            hosts = ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "169.254.169.254"]
            urls = [f"http://{host}:{port}/x.jpg" for host in hosts] + [
                "file:///etc/passwd",
                "gopher://x/",
                "ftp://x/",
                "http://u@127.0.0.1/",
            ]
            words = set()
            for url in urls:
                answer = asking.post("/api/addresses", {"url": url})
                assert answer.status in (400, 422), url
                words.add(re.sub(r"https?://\S+|\S+://\S*", "URL", answer.json["message"]))
            with pytest.raises(TimeoutError):
                trap.accept()
        open_port = asking.post("/api/addresses", {"url": f"http://127.0.0.1:{server.port}/"}).json["message"]
        closed_port = asking.post("/api/addresses", {"url": "http://127.0.0.1:9/"}).json["message"]
        assert re.sub(r"http\S+", "", open_port) == re.sub(r"http\S+", "", closed_port), "open and closed ports sound the same"


def test_errors_are_one_plain_line(client: Client) -> None:
    error = problem_of(QueryError("bad \x1b[31m\u202e name", path="/x/\udce9\n", hint="go\r\non"))
    text = error.message + error.hint
    assert text.isprintable() and "\\x1b" in text and "\\x0a" in text
    assert error.model_dump_json()


def test_advice_is_said_in_the_pages_own_words() -> None:
    """Who looks at the page has a terminal, and no Python."""
    said = problem_of(DecodeError(SkipReason.TOO_MANY_PIXELS)).hint
    assert said == "raise the limit with the option --max-megapixels of image-search serve"
    assert problem_of(QueryError("x", hint=SALVAGE)).hint == "save what is still good with: image-search salvage"
    verb = Verb("index", ("FOLDER", Setting("model", "dino")))
    assert (
        plain(Advice("run ", verb, " or give ", Setting("store")))
        == "run image-search index FOLDER --model dino or give the option --store of image-search serve"
    )


def test_a_damaged_library_is_told_in_the_terminal_with_the_way_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("image_search.web.app.PAGE_WARM_SECONDS", 0.0)
    library = make_library(tmp_path, per_class=1)
    for name in ("catalog.sqlite-wal", "catalog.sqlite-shm"):
        (library / name).unlink(missing_ok=True)
    (library / "catalog.sqlite").write_bytes(b"nothing of a catalog" * 1000)
    with serving(library):
        until = time.monotonic() + ALIVE
        while not any(record.name == "image_search" for record in caplog.records) and time.monotonic() < until:
            time.sleep(0.01)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "image_search"]
    assert line.endswith(f"{library}. Save what is still good with: image-search salvage")


@pytest.mark.parametrize(
    ("settings", "megapixels", "megabytes"),
    [
        ({}, 200, 200),  # one's own page on this machine
        ({"host": "::1"}, 200, 200),
        ({"host": "0.0.0.0"}, 50, 20),
        ({"hosts": ("photos.example.org",)}, 50, 20),  # through a proxy others reach it, too
        ({"max_megapixels": 300, "max_megabytes": 30.5}, 300, 30.5),
        ({"host": "0.0.0.0", "max_megabytes": 100}, 50, 100),
    ],
)
def test_ones_own_uploads_may_be_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], megapixels: float, megabytes: float
) -> None:
    server = PageServer(PageSettings(tmp_path / "library", port=0, **settings), notify=lambda _: None)
    try:
        state = server.service.state()
        assert (state.upload_megapixels, state.upload_bytes) == (megapixels, int(megabytes * 2**20))
        assert state.upload_bytes == server.guard.upload_bytes
        longer = max(1, megabytes / 20)
        for path, limit, seconds in (("/api/uploads", megabytes * 2**20, 30 * longer), ("/api/search", 64 * 1024, 30)):
            with monkeypatch.context() as frozen:
                frozen.setattr(time, "monotonic", lambda: 0.0)
                body = security._Body(server.guard, {"path": path}, {}, None)
            assert (body.limit, body._deadline) == (int(limit), pytest.approx(seconds))
    finally:
        server.service.close()
        server.start.socket.close()


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_before_it_has_begun_it_ends_in_order(tmp_path: Path, number: int) -> None:
    """The address is out, FastAPI is not in."""
    run = subprocess.Popen(
        [sys.executable, "-m", "image_search", "serve", "--library", str(tmp_path / "none"), "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert run.stdout is not None and run.stdout.readline().startswith("The page: ")
        assert run.stderr is not None and run.stderr.readline() == "It ends with Ctrl-C.\n"
        run.send_signal(number)
        assert run.communicate(timeout=ALIVE)[1] == "Ended.\n" and run.returncode == 0
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_ends_in_order_even_with_open_streams(library: Path, tmp_path: Path, number: int) -> None:
    own = make_library(tmp_path, per_class=1, model="mini")
    run = subprocess.Popen(
        [sys.executable, "-m", "image_search", "serve", "--library", str(own), "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert run.stdout is not None
        address = re.fullmatch(r"The page: http://127\.0\.0\.1:(\d+)/\?token=(\S+)\n", run.stdout.readline())
        assert address is not None
        port, token = address.groups()
        with socket.create_connection(("127.0.0.1", int(port)), timeout=ALIVE) as stream:
            stream.sendall(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            assert b"200" in stream.recv(100)
            run.send_signal(number)
            said = run.communicate(timeout=ALIVE)
        assert run.returncode == 0 and said[1].splitlines()[-1] == "Ended." and "Traceback" not in said[1]
        with ImageSearchEngine(own) as engine:
            engine.hold_writer_lock("test")  # it has let go of the library
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()


def test_an_address_of_another_machine_is_not_a_matter_of_the_port(tmp_path: Path) -> None:
    with pytest.raises(ImageSearchError, match=r"cannot listen on 192\.0\.2\.1: .*[Cc]hoose another host="):
        PageServer(PageSettings(tmp_path / "library", host="192.0.2.1"), notify=lambda _: None)
