"""One file of the library: taken along, opened, shown in its folder; and copies that are sent in place of their originals."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pageserver import Client, fill, make_library, picture, serving
from PIL import Image
from starlette.requests import Request
from test_web_security import UPS

import image_search.web.pictures as pictures_module
from image_search.web import originals
from image_search.web.originals import attachment
from image_search.web.pictures import Original
from image_search.web.routes.originals import at_this_machine
from image_search.web.server import PageServer

KOREAN = '제주 "바다" a;b\\c.jpg' if os.name != "nt" else "제주 바다.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("originals")
    (place / "pictures" / "Blue").mkdir(parents=True)
    (place / "pictures" / "Blue" / KOREAN).write_bytes(picture(0, 70))
    (place / "pictures" / "Blue" / "-e ; touch owned.jpg").write_bytes(picture(0, 71))
    make_library(place, per_class=3)
    return place


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[PageServer]:
    with serving(folder / "library") as running:
        yield running


@pytest.fixture
def client(server: PageServer) -> Client:
    return Client(server)


def ids(client: Client) -> dict[str, str]:
    return {os.path.basename(item["path"]): item["id"] for item in client.get("/api/images?limit=500").json["items"]}


class Desktop:
    """A desktop whose xdg-open writes down what it was asked."""

    def __init__(self, place: Path) -> None:
        self.program = place / "xdg-open"
        self._log = place / "asked"
        self.ends(0)

    def ends(self, code: int) -> None:
        self.program.write_text(f'#!/bin/sh\nfor one; do printf "%s\\0" "$one"; done >> "{self._log}"\nexit {code}\n')
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    @property
    def asked(self) -> list[str]:
        return self._log.read_text().split("\0")[:-1] if self._log.exists() else []


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desktop:
    if not sys.platform.startswith("linux"):
        pytest.skip("the desktop's program has another name here")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("DISPLAY", ":99")
    return Desktop(tmp_path)


# --- taken along ----------------------------------------------------------------------------------------------------------------


def test_a_file_is_sent_as_it_was_indexed(client: Client, folder: Path) -> None:
    answer = client.get(f"/api/images/{ids(client)['1.jpg']}/file")
    sent = hashlib.sha256(answer.body).digest()
    assert sent in {hashlib.sha256((folder / "pictures" / name / "1.jpg").read_bytes()).digest() for name in ("Blue", "Green", "Red")}
    assert answer.headers["content-type"] == "application/octet-stream" and answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == str(len(answer.body)) and answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"].startswith('attachment; filename="1.jpg"')


def test_names_are_harmless_and_whole(server: PageServer) -> None:
    client = Client(server)
    for item in client.get("/api/images?limit=500").json["items"]:
        header = client.get(f"/api/images/{item['id']}/file").headers["content-disposition"]
        assert header.isascii() and header.isprintable() and header.count('"') == 2 and "\\" not in header
    assert attachment("제주.jpg") == "attachment; filename=\"__.jpg\"; filename*=UTF-8''%EC%A0%9C%EC%A3%BC.jpg"
    assert attachment('a"\r\nX: y%41.jpg').count('"') == 2 and "\n" not in attachment("a\nb")


def test_only_the_bytes_that_were_indexed_leave(tmp_path: Path) -> None:
    library = make_library(tmp_path, per_class=3)
    pictures, outside = tmp_path / "pictures", tmp_path / "outside"
    fill(outside, 3)
    secret = outside / "Blue" / "0.jpg"
    (pictures / "Blue" / "0.jpg").unlink()
    (pictures / "Blue" / "0.jpg").symlink_to(secret)
    (pictures / "Green" / "0.jpg").write_bytes(b"something else under the old name")
    (pictures / "Green" / "1.jpg").unlink()
    same = pictures / "Green" / "2.jpg"  # of the old size and time
    seen, data = same.stat(), bytearray(same.read_bytes())
    data[-3] ^= 255
    same.write_bytes(data)
    os.utime(same, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    os.rename(pictures / "Red", tmp_path / "moved")
    (pictures / "Red").symlink_to(outside / "Red")
    with serving(library) as server:
        client = Client(server)
        found = {item["path"][len(str(pictures)) + 1 :]: item["id"] for item in client.get("/api/images").json["items"]}
        said = {path: client.get(f"/api/images/{id}/file") for path, id in found.items()}
        assert {path for path, answer in said.items() if answer.status == 200} == {"Blue/1.jpg", "Blue/2.jpg"}
        for path, words in {
            "Blue/0.jpg": "leads out of its folder",
            "Red/0.jpg": "leads out of its folder",
            "Green/0.jpg": "has changed since it was indexed",
            "Green/1.jpg": "is not there any more",
            "Green/2.jpg": "has changed since it was indexed",
        }.items():
            assert said[path].status == 422 and words in said[path].json["message"], path
            assert "content-disposition" not in said[path].headers


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_a_pipe_in_its_place_stops_nobody(tmp_path: Path) -> None:
    library = make_library(tmp_path, per_class=1)
    (tmp_path / "pictures" / "Red" / "0.jpg").unlink()
    os.mkfifo(tmp_path / "pictures" / "Red" / "0.jpg")
    with serving(library) as server:
        client = Client(server)
        assert sorted(client.get(f"/api/images/id:{n}/file").status for n in (1, 2, 3)) == [200, 200, 422]


# --- opened on this machine -------------------------------------------------------------------------------------------------------


def test_open_and_show_in_folder(client: Client, desktop: Desktop, folder: Path) -> None:
    assert client.get("/api/library").json["on_this_machine"] is True
    found = ids(client)
    for name in [name for name in found if "touch" in name or "제주" in name]:
        assert client.post(f"/api/images/{found[name]}/open", {}).status == 204
        assert client.post(f"/api/images/{found[name]}/reveal", {}).status == 204
    blue = folder / "pictures" / "Blue"
    assert sorted(desktop.asked) == sorted([str(blue / KOREAN), str(blue / "-e ; touch owned.jpg"), str(blue), str(blue)])
    assert not list(folder.rglob("owned*"))
    desktop.ends(3)
    answer = client.post(f"/api/images/{found['1.jpg']}/open", {})
    assert answer.status == 422 and "no program" in answer.json["message"]


def test_nothing_is_opened_that_is_not_the_indexed_file(tmp_path: Path, desktop: Desktop) -> None:
    library = make_library(tmp_path / "own", per_class=2)
    pictures = tmp_path / "own" / "pictures"
    (pictures / "Blue" / "0.jpg").write_text("#!/bin/sh\ntouch owned\n")
    (pictures / "Blue" / "1.jpg").unlink()
    (tmp_path / "elsewhere.jpg").write_bytes(picture(1, 1))
    (pictures / "Green" / "1.jpg").unlink()
    (pictures / "Green" / "1.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    with serving(library) as server:
        client = Client(server)
        found = {item["path"][len(str(pictures)) + 1 :]: item["id"] for item in client.get("/api/images").json["items"]}
        for path in ("Blue/0.jpg", "Blue/1.jpg", "Green/1.jpg"):
            for how in ("open", "reveal"):
                assert client.post(f"/api/images/{found[path]}/{how}", {}).status == 422, path
    assert desktop.asked == []


def test_only_who_sits_here_may_open(client: Client, server: PageServer, desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    id = ids(client)["1.jpg"]
    own = f"http://127.0.0.1:{server.port}"
    cookie = {"Cookie": f"{server.keys.cookie}={server.keys.session}"}
    page = Client(server, with_token=False)
    for how in ("open", "reveal"):
        path = f"/api/images/{id}/{how}"
        assert page.ask("POST", path, b"{}", {"Origin": own}).status == 401, "no key"
        for origin in ("null", "http://evil.example", f"http://localhost:{server.port}"):
            assert page.ask("POST", path, b"{}", {**cookie, "Origin": origin}).status == 403, origin
        assert page.ask("POST", path, b"{}", cookie).status == 403, "a change without an Origin needs the token"
        assert page.ask("POST", path, b"{}", {**cookie, "Origin": own, "Sec-Fetch-Site": "cross-site"}).status == 403
        assert client.get(path).status == 405
        for passed_on in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via", "X-Forwarded-Host"):
            assert client.post(path, {}, **{passed_on: "10.1.2.3"}).status == 403, passed_on
    assert client.get("/api/library", **{"X-Forwarded-For": "10.1.2.3"}).json["on_this_machine"] is False
    assert desktop.asked == []
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert client.get("/api/library").json["on_this_machine"] is False
    answer = client.post(f"/api/images/{id}/open", {})
    assert answer.status == 422 and "no desktop" in answer.json["message"]
    assert desktop.asked == []


def test_who_sits_here() -> None:
    def ask(peer: str | None, host: str, **headers: str) -> bool:
        lines = [(b"host", host.encode()), *((name.encode(), value.encode()) for name, value in headers.items())]
        client = None if peer is None else (peer, 5)
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": lines, "client": client}
        return at_this_machine(Request({**scope, "scheme": "http", "server": ("127.0.0.1", 80)}))

    for peer in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"):
        assert ask(peer, "127.0.0.1:8417") and ask(peer, "localhost:8417") and ask(peer, "[::1]:8417")
    assert not ask("192.168.1.7", "127.0.0.1:8417") and not ask("::ffff:10.0.0.1", "localhost") and not ask(None, "localhost")
    for host in ("photos.example", "192.168.1.7:8417", "127.0.0.1.evil.example", "0.0.0.0"):
        assert not ask("127.0.0.1", host), host
    assert not ask("127.0.0.1", "localhost", via="1.1 proxy")


def test_ids_alone_lead_to_files(client: Client, desktop: Desktop) -> None:
    tricks = [up * n + "etc/passwd" for up in UPS for n in (1, 3)]
    for trick in [*tricks, "id:-1", "id:1e3", "id:0", "id:999999", "id:1%00", "%2fetc%2fpasswd"]:
        for method, end in (("GET", "file"), ("POST", "open"), ("POST", "reveal"), ("GET", "view?full=true")):
            answer = client.ask(method, f"/api/images/{trick}/{end}".replace(" ", "%20"), b"{}" if method == "POST" else None)
            assert answer.status in (400, 404, 405, 422), (method, trick, end)
            assert b"root:" not in answer.body
    assert desktop.asked == []


def test_how_other_systems_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    command = originals._command
    if sys.platform.startswith("linux"):
        assert command("xdg-open", "/a b/c;d.jpg", folder=True) == ["xdg-open", "/a b"]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert originals._opener() == "/usr/bin/open"
    assert command("open", "/a b/c.jpg", folder=True) == ["open", "-R", "/a b/c.jpg"]
    assert command("open", "/a b/c.jpg", folder=False) == ["open", "/a b/c.jpg"]
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "name", "nt")
    assert originals._opener().endswith("explorer.exe")  # type: ignore[union-attr]
    assert command("explorer.exe", r"C:\a b\c.jpg", folder=True) == ["explorer.exe", "/select,", r"C:\a b\c.jpg"]


# --- all its pixels ---------------------------------------------------------------------------------------------------------------


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def test_all_pixels_are_shown_up_to_a_number_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pictures" / "Wide"
    folder.mkdir(parents=True)
    for name, size in {"a.jpg": (2400, 300), "b.jpg": (2400, 1800), "c.jpg": (2000, 100)}.items():
        Image.new("RGB", size, (9, 90, 200)).save(folder / name)
    library = make_library(tmp_path, per_class=1)
    changed = folder / "c.jpg"
    Image.new("RGB", (5000, 5000)).save(changed)
    monkeypatch.setattr(pictures_module, "PAGE_FULL_PIXELS", 3_000_000)
    with serving(library) as server:
        client = Client(server)
        found = ids(client)
        view = lambda name, more="": size_of(client.get(f"/api/images/{found[name]}/view{more}").body)  # noqa: E731
        assert view("a.jpg") == (1600, 200) and view("a.jpg", "?full=true") == (2400, 300)
        width, height = view("b.jpg", "?full=true")
        assert (width, height) == (2000, 1500) and view("b.jpg") == (1600, 1200)
        assert max(view("c.jpg", "?full=true")) <= 1600, "another file under this name, of any size"
        upload = client.upload((folder / "a.jpg").read_bytes()).json
        assert size_of(client.get(upload["view"]).body) == (1600, 200)
        assert size_of(client.get(f"{upload['view']}&full=true").body) == (2400, 300)


# --- a copy in place of the original ----------------------------------------------------------------------------------------------


def halved(data: bytes) -> bytes:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    out = io.BytesIO()
    image.reduce(2).save(out, "PNG")
    return out.getvalue()


def send_copy(client: Client, copy: bytes, sha256: str, size: str) -> Any:
    headers = {"Content-Type": "application/octet-stream", "X-Original-SHA256": sha256, "X-Original-Size": size}
    return client.ask("POST", "/api/uploads", copy, headers)


def test_a_copy_finds_what_its_original_finds(client: Client, folder: Path) -> None:
    data = (folder / "pictures" / "Green" / "1.jpg").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    copy = send_copy(client, halved(data), digest, "96x96").json
    assert (copy["width"], copy["height"]) == (96, 96) and size_of(client.get(copy["view"]).body) == (48, 48)
    first = client.post("/api/search", {"queries": [{"id": copy["id"]}], "n": 3}).json["matches"][0]
    assert first["identical"] and first["similarity"] == pytest.approx(1, abs=1e-6)
    whole = client.upload(data).json
    assert whole["id"] == copy["id"] and whole["view"] != copy["view"], "the original takes the place of its copy"
    assert send_copy(client, halved(data), digest, "96x96").json["view"] == whole["view"], "but no copy the place of the original"


def test_a_copy_of_what_the_library_does_not_have(client: Client) -> None:
    data = picture(2, 999)
    id = send_copy(client, halved(data), hashlib.sha256(data).hexdigest(), "96x96").json["id"]
    matches = client.post("/api/search", {"queries": [{"id": id}], "n": 3}).json["matches"]
    assert not any(match["identical"] for match in matches)
    for region, status in {(48, 0, 48, 96): 200, (95, 95, 1, 1): 200, (0, 0, 97, 10): 400}.items():
        box = dict(zip("xywh", region, strict=True))
        assert client.post("/api/search", {"queries": [{"id": id, "region": box}], "n": 3}).status == status, region
    half = client.post("/api/search", {"queries": [{"id": id, "region": {"x": 48, "y": 0, "w": 48, "h": 96}}], "n": 9}).json["matches"]
    client.upload(data)
    again = client.post("/api/search", {"queries": [{"id": id, "region": {"x": 48, "y": 0, "w": 48, "h": 96}}], "n": 9}).json["matches"]
    assert [m["id"] for m in half][:3] == [m["id"] for m in again][:3], "the region counts in the original's pixels"
    assert [m["similarity"] for m in half] != [m["similarity"] for m in again], "but now all its pixels are looked at"


def test_what_is_no_copy_is_refused(client: Client) -> None:
    copy, digest = halved(picture(1, 55)), "ab" * 32
    assert send_copy(client, copy, digest, "96x96").status == 200
    for sha256, size in {
        "bc" * 32: "96x40",
        "cd" * 32: "40x40",
        "ef" * 32: "1000000x1",
        "zz" * 32: "96x96",
        "ab" * 31: "96x96",
        "12" * 32: "0x96",
        "34" * 32: "96",
        "56" * 32: "-96x-96",
        "78" * 32: "9999999x9999999",
    }.items():
        assert send_copy(client, copy, sha256, size).status == 422, (sha256, size)
    assert Original(b"", 4000, 2252).may_have_copy(500, 282) and Original(b"", 4000, 2252).may_have_copy(500, 281)
    assert not Original(b"", 4000, 2252).may_have_copy(500, 290)
