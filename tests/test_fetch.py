"""Pictures from addresses: what is fetched, what is refused, and how it is said. Servers listen on this machine only."""

from __future__ import annotations

import http.server
import io
import socket
import threading
from collections.abc import Iterator

import pytest
from pictures import picture

from image_search import QueryError
from image_search.images.fetch import fetch, is_public


def png() -> bytes:
    out = io.BytesIO()
    picture("circle", 1).save(out, "PNG")
    return out.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        port = self.server.server_address[1]
        redirects = {
            "/hop": "/picture.png",
            "/loop": "/loop",
            "/inside": f"http://127.0.0.1:{port}/picture.png",
            "/file": "file:///etc/passwd",
            "/user": f"http://user:secret@127.0.0.1:{port}/picture.png",
            "/korean": "/사진 1.png".encode().decode("latin-1"),  # as many servers send it
        }
        if self.path in redirects:
            self.send_response(302)
            self.send_header("Location", redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path in ("/picture.png", "/%EC%82%AC%EC%A7%84%201.png", "/%EC%82%AC%EC%A7%84?q=%EA%B0%80"):
            self.answer(png(), "image/png")
        elif self.path == "/page":
            self.answer(b"<html></html>", "text/html; charset=utf-8")
        elif self.path == "/gzip":
            self.answer(b"\x1f\x8b" + bytes(100), "image/png", ("Content-Encoding", "gzip"))
        elif self.path == "/large":
            self.answer(bytes(2000), "image/png")
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(500))
            except OSError:
                pass
            self.close_connection = True
        else:
            self.send_error(404)

    def answer(self, body: bytes, kind: str, *more: tuple[str, str]) -> None:
        self.send_response(200)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *more):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


@pytest.mark.parametrize("path", ["/picture.png", "/hop", "/korean", "/사진?q=가"])
def test_a_picture_is_fetched(server: str, path: str) -> None:
    assert fetch(server + path, allow_private=True) == png()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/absent", "404"),
        ("/page", "web page"),
        ("/gzip", "packed"),
        ("/large", "larger than"),
        ("/endless", "larger than"),
        ("/loop", "redirected more than 3"),
        ("/file", "only http and https"),
        ("/user", "user name"),
    ],
)
def test_refusals_are_one_line(server: str, path: str, words: str) -> None:
    with pytest.raises(QueryError, match=words) as caught:
        fetch(server + path, allow_private=True, max_bytes=1000)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0.0.0.0", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"])
def test_this_machine_is_private_however_it_is_written(server: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: reached.append(a))
    with pytest.raises(QueryError, match=r"private|cannot be reached"):
        fetch(f"http://{host}:{server.rpartition(':')[2]}/picture.png")
    assert reached == []  # not even a connection


def test_a_public_name_must_not_lead_inside(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect, or a name that means this machine, is checked at the address that is connected to."""
    real = socket.getaddrinfo
    answers = iter(["93.184.215.14", "127.0.0.1"])  # rebinding: a public address when first asked, ours afterwards

    def resolve(host: str, *args: object, **options: object) -> object:
        return real(next(answers) if host == "pictures.example" else host, *args, **options)

    connected: list[str] = []

    def connect(address: tuple[str, int], *args: object, **options: object) -> socket.socket:
        connected.append(address[0])
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(QueryError, match="cannot be reached"):
        fetch("http://pictures.example/a.png")
    assert connected == ["93.184.215.14"]  # the address that was checked, not the name asked for again
    with pytest.raises(QueryError, match="private"):
        fetch("http://pictures.example/a.png")
    assert connected == ["93.184.215.14"]


def test_the_next_address_is_tried_where_one_is_dead(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    tried: list[str] = []

    def resolve(host: str, port: int, *args: object, **options: object) -> list[tuple]:
        names = ["127.0.0.2", "127.0.0.1"] if host == "pictures.example" else [host]
        return [found for name in names for found in real(name, port, *args, **options)]

    connect = socket.create_connection

    def connect_to(address: tuple[str, int], *args: object, **options: object) -> socket.socket:
        tried.append(address[0])
        return connect(address, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect_to)
    assert fetch(f"http://pictures.example:{server.rpartition(':')[2]}/picture.png", allow_private=True) == png()
    assert tried == ["127.0.0.2", "127.0.0.1"]


def test_closed_and_open_private_ports_look_alike(server: str) -> None:
    with pytest.raises(QueryError) as open_port:
        fetch(f"{server}/picture.png")
    with pytest.raises(QueryError) as closed_port:
        fetch("http://127.0.0.1:1/picture.png")
    assert open_port.value.what == closed_port.value.what


def test_one_deadline_for_everything() -> None:
    """A server that sends a byte now and then renews nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return

        threading.Thread(target=drip, daemon=True).start()
        with pytest.raises(QueryError, match="within"):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/", allow_private=True, seconds=0.5)
        stop.set()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f::1", True),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("64:ff9b:1::7f00:1", False),
        ("::7f00:1", False),
        ("::ffff:0:7f00:1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public
