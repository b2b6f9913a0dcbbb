"""HTTP for programs and proxies: names, paths, health, several searches at once, the small page at the door, the drawn document."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from pageserver import ALIVE, Answer, Client, make_library, picture, serving

from image_search.advice import in_shell, told
from image_search.config import PAGE_BATCH, PAGE_BATCH_RESULTS
from image_search.errors import UsageError
from image_search.web.door import DOORS, prefers_korean
from image_search.web.hosts import LOCAL, Hosts, pattern
from image_search.web.server import PageServer
from image_search.web.start import PageSettings, Start

HTML = {"Accept": "text/html,application/xhtml+xml", "Accept-Language": "ko-KR,ko;q=0.9,en;q=0.5"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("http"), per_class=3)


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[PageServer]:
    with serving(library) as running:
        yield running


@pytest.fixture
def client(server: PageServer) -> Client:
    return Client(server)


# --- names ----------------------------------------------------------------------------------------------------------------------


def ours(*patterns: str, everywhere: bool = False) -> Hosts:
    return Hosts(LOCAL, 8417, everywhere, tuple(pattern(text) for text in patterns))


@pytest.mark.parametrize(
    ("text", "fits", "fits_not"),
    [
        (
            "photos.example.com",
            ["photos.example.com", "photos.example.com:443", "PHOTOS.example.com."],
            ["example.com", "x.photos.example.com"],
        ),
        ("*.example.com", ["a.example.com", "a.b.example.com:1"], ["example.com", "example.com.evil.com", "aexample.com", ".example.com"]),
        ("*.example.com:8443", ["a.example.com:8443"], ["a.example.com", "a.example.com:8444"]),
        ("photos.example.com:443", ["photos.example.com:443", "photos.example.com"], ["photos.example.com:8443"]),
        ("localhost:*", ["localhost:9000", "localhost", "localhost:8417"], ["127.0.0.1:9000", "localhost.evil.com:9000"]),
        ("*.localhost", ["photos.localhost:9000"], ["photos.localhost.evil.com"]),
        ("192.168.1.5:9000", ["192.168.1.5:9000"], ["192.168.1.5:9001", "192.168.1.6:9000"]),
        ("[fe80::1]:*", ["[fe80::1]:9000"], ["[fe80::2]:9000"]),
    ],
)
def test_a_pattern_lets_in_what_it_says(text: str, fits: list[str], fits_not: list[str]) -> None:
    for value in fits:
        assert ours(text).fits(value), value
    for value in [*fits_not, "", "user@" + fits[0], fits[0] + "/x", "evil.com"]:
        assert not ours(text).fits(value), value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *(
            (text, "a star stands for")
            for text in ("*", "*:*", "*:80", "*com", "*example.com", "a*.example.com", "a.*.com", "10.*", "**.a.com")
        ),
        *((text, "anybody can have such a name") for text in ("*.com", "*.local", "*.lan:*", "*.10.0.0.1")),
        *((text, "no name of a host") for text in ("", "http://a.com", "a.com/x", "a b", "user@a.com", "a.com:x", "-a.com", "a..com")),
    ],
)
def test_a_pattern_that_would_open_the_door_to_rebinding_is_refused(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Start(PageSettings(tmp_path / "none", port=0, hosts=[text]))
    assert "--allow-host photos.example.com" in told(caught.value.hint, in_shell) and not (tmp_path / "none").exists()


def test_behind_a_containers_port_it_answers_to_what_no_stranger_can_name(tmp_path: Path) -> None:
    with serving(make_library(tmp_path, per_class=1), host="0.0.0.0", hosts=["*.example.com"]) as server:
        for host, status in {
            "localhost:9000": 200,
            "127.0.0.1:9000": 200,
            "192.168.1.5:9000": 200,
            "shop.example.com": 200,
            "evil.com:9000": 421,
            "localhost.evil.com:9000": 421,
            "example.com.evil.com": 421,
        }.items():
            assert Client(server, host=host).get("/api/library").status == status, host
            own, foreign = (
                {"Origin": f"http://{name}", "Content-Type": "application/json"} for name in (host, "shop.example.com.evil.com")
            )
            assert Client(server, host=host).ask("POST", "/api/index/stop", b"{}", own).status == (202 if status == 200 else 421)
            assert Client(server, host=host).ask("POST", "/api/index/stop", b"{}", foreign).status in (403, 421)


# --- the door -------------------------------------------------------------------------------------------------------------------


def is_a_door(answer: Answer) -> str:
    """Its HTML: nothing to run, nothing from elsewhere, both languages, styled by what its policy names."""
    html = answer.body.decode()
    assert answer.headers["content-type"] == "text/html; charset=utf-8" and answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script|<link|<img|<form|<base|\bon\w+=|style=|https?://|url\(|@import", html)
    assert html.count('<section lang="ko">') == html.count('<section lang="en">') == 1
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; style-src 'sha256-" in policy and "unsafe" not in policy and "script" not in policy
    for part in ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
        assert part in policy
    assert answer.headers["x-frame-options"] == "DENY" and answer.headers["referrer-policy"] == "no-referrer"
    return html


def test_an_old_or_wrong_address_shows_the_way_in(server: PageServer, client: Client) -> None:
    stranger = Client(server, with_token=False)
    for path in ("/", "/?token=old", "/?q=id:3&open=id:4", "/api/docs", "/anything"):
        answer = stranger.get(path, **HTML)
        assert answer.status == 401 and "set-cookie" not in answer.headers
        html = is_a_door(answer)
        assert html.index("키가 필요한 페이지입니다") < html.index("This page needs its key") and "<code>image-search serve</code>" in html
        assert str(server.engine.library) not in html
    english = stranger.get("/", Accept="text/html").body.decode()
    assert english.index("This page needs its key") < english.index("키가")
    wrong = Client(server, host=f"evil.example:{server.port}").get("/", **HTML)
    assert wrong.status == 421 and "--allow-host NAME" in is_a_door(wrong) and "evil.example" not in wrong.body.decode()
    lost = client.get("/lost", **HTML)
    assert lost.status == 404 and '<a href="/">' in is_a_door(lost)
    other = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert "This request was refused" in is_a_door(client.get("/static/main.js", **HTML, **other))
    # programs get what they can read
    assert stranger.get("/api/library", **HTML).json["code"] == "NotAllowed"
    assert stranger.get("/").body == b"Open the address that image-search printed when it started (it carries the key).\n"
    assert client.get("/api/nothing", **HTML).headers["content-type"] == "application/json"


def test_who_comes_by_a_link_is_asked_once_more_with_his_cookie(server: PageServer) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", **HTML}
    stranger = Client(server, with_token=False)
    for headers, again in ((link, True), ({**link, "Sec-Fetch-Site": "same-origin"}, False), (HTML, False)):
        answer = stranger.get("/?q=id:1", **headers)
        assert answer.status == 401 and ('http-equiv="refresh" content="0">' in is_a_door(answer)) == again
    assert "refresh" not in stranger.get("/static/main.js", **link).body.decode(), "only where a link may come from anywhere"


def test_the_document_says_how_a_key_is_sent(client: Client) -> None:
    document = client.get("/api/openapi.json").json
    assert document["security"] == [{"key": []}] and document["components"]["securitySchemes"]["key"] == {
        "type": "http",
        "scheme": "bearer",
    }
    assert document["paths"]["/api/health"]["get"]["security"] == [] and "servers" not in document


def test_both_languages_of_the_door_say_as_much() -> None:
    for english, korean in DOORS.values():
        assert len(english.steps) == len(korean.steps) and re.search("[가-힣]", korean.title + korean.text)
        for mine, theirs in zip((english.text, *english.steps), (korean.text, *korean.steps), strict=True):
            assert re.findall("`.*?`", mine) == re.findall("`.*?`", theirs) and mine.count("[") == theirs.count("[")
    assert [prefers_korean(text) for text in ("ko", "en-US,ko", "fr,ko;q=0.8,en;q=0.7", "", "de")] == [True, False, True, False, False]


# --- health ---------------------------------------------------------------------------------------------------------------------


def test_health_needs_no_key_and_says_nothing_of_the_library(server: PageServer, tmp_path: Path) -> None:
    stranger = Client(server, with_token=False)
    answer = stranger.get("/api/health")
    assert (answer.status, answer.json) == (200, {"status": "ok"}) and "set-cookie" not in answer.headers
    assert stranger.ask("POST", "/api/health", b"{}", {"Origin": f"http://127.0.0.1:{server.port}"}).status == 401
    assert Client(server, host="evil.example", with_token=False).get("/api/health").status == 421
    with serving(tmp_path / "none") as empty:
        assert Client(empty, with_token=False).get("/api/health").body == answer.body, "the same where there is no library"
        empty._ending.set()
        assert Client(empty, with_token=False).get("/api/health").status == 503


# --- several searches -----------------------------------------------------------------------------------------------------------


def test_several_searches_get_one_answer_each(client: Client) -> None:
    ids = [client.upload(picture(kind, 800 + kind)).json["id"] for kind in range(3)]
    searches: list[dict[str, Any]] = [{"queries": [{"id": id}], "n": 2} for id in ids]
    searches.insert(1, {"queries": [{"id": "id:999999"}]})
    searches.append({"queries": [{"id": ids[0]}, {"id": ids[1], "less": True}], "n": 9, "names": ["Red"]})
    answers = client.post("/api/search/batch", {"searches": searches}).json["answers"]
    assert len(answers) == 5 and answers[1]["answer"] is None and answers[1]["problem"]["code"] == "UnknownId"
    for search, row in zip(searches, answers, strict=True):
        alone = client.post("/api/search", search)
        assert (row["answer"], row["problem"]) == ((alone.json, None) if alone.status == 200 else (None, alone.json))
    assert [answers[n]["answer"]["matches"][0]["name"] for n in (0, 2, 3)] == ["Blue", "Green", "Red"]


def test_a_batch_has_its_limits(client: Client) -> None:
    one: dict[str, Any] = {"queries": [{"id": "id:1"}], "n": 1}
    assert client.post("/api/search/batch", {"searches": [one] * PAGE_BATCH}).status == 200
    most = PAGE_BATCH_RESULTS // 500
    for searches, says in (
        ([], "searches must have at least 1 entries"),
        ([one] * (PAGE_BATCH + 1), "searches must have at most 64 entries"),
        ([{**one, "n": 500}] * most + [one], "lower n, or send fewer"),
        ([one, {**one, "queries": []}], "searches.1.queries"),
        ([one, {**one, "queries": [{"id": "../x"}]}], "searches.1.queries.0.id"),
    ):
        refused = client.post("/api/search/batch", {"searches": searches})
        assert refused.status == 422 and says in refused.json["message"], refused.json


def test_a_batch_lets_others_take_their_turn(server: PageServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds one place among those that work, and gives it up between two searches."""
    running, most = 0, 0
    searching = server.service.searching
    real, lock = searching.search, threading.Lock()

    def counted(request: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return real(request)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(searching, "search", counted)
    assert client.post("/api/search/batch", {"searches": [{"queries": [{"id": "id:1"}]}] * 20}).status == 200
    assert most == 1


# --- behind a proxy -------------------------------------------------------------------------------------------------------------


class Proxy(http.server.BaseHTTPRequestHandler):
    """What stands before the page under /photos/: takes that away, or leaves it, and passes the rest on."""

    protocol_version = "HTTP/1.1"
    port = 0
    strips = True

    def forward(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        path = self.path
        if not path.startswith("/photos"):
            self.send_error(404)
            return
        if self.strips:
            path = "/" + path.removeprefix("/photos").removeprefix("/")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=ALIVE)) as line:
            line.request(
                self.command, path, self.rfile.read(length), {name: value for name, value in self.headers.items() if name != "Connection"}
            )
            answer = line.getresponse()
            body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = forward  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def proxied(server: PageServer, *, strips: bool) -> Iterator[str]:
    """The address of a proxy; the page must allow the name photos.localhost."""
    handler = type("Handler", (Proxy,), {"port": server.port, "strips": strips})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield f"http://photos.localhost:{proxy.server_address[1]}/photos/"
        finally:
            proxy.shutdown()
            thread.join(ALIVE)


def through(base: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    url = re.fullmatch(r"http://(photos\.localhost:(\d+))(/.*)", urljoin(base, path))
    assert url is not None, path
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", int(url[2]), timeout=ALIVE)) as line:
        line.request(method, url[3], body, {"Host": url[1], **headers})
        response = line.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


@pytest.mark.parametrize("strips", [True, False], ids=["the proxy takes the path away", "the proxy leaves it"])
def test_below_a_path_everything_leads_back_below_it(tmp_path: Path, strips: bool) -> None:
    library = make_library(tmp_path, per_class=1)
    with serving(library, root_path="photos/", hosts=["photos.localhost"]) as server, proxied(server, strips=strips) as base:
        opened = through(base, f"?token={server.keys.token}")
        assert opened.status == 200 and opened.headers["set-cookie"].split("; ")[1] == "Path=/photos"
        cookie = opened.headers["set-cookie"].partition(";")[0]
        own = {"Cookie": cookie, "Origin": base.removesuffix("/photos/"), "Content-Type": "application/json"}
        for link in re.findall(r'(?:href|src)="([^"#]+)"', opened.body.decode()):
            assert through(base, link, **own).status == 200, link
        docs = through(base, "api/docs", **own)
        for link in re.findall(r'(?:href|src)="([^"#]+)"', docs.body.decode()):
            assert through(urljoin(base, "api/docs"), link, **own).status == 200, link
        given = json.loads(through(base, "api/uploads", "POST", picture(0, 900), **own).body)
        answer = through(base, "api/search", "POST", json.dumps({"queries": [{"id": given["id"]}], "n": 1}).encode(), **own).json
        addresses = [given["view"], answer["queries"][0]["view"], answer["matches"][0]["thumbnail"]]
        for address in addresses:
            assert urljoin(base, address).startswith(base) and through(base, address, **own).status == 200
        assert through(base, "api/openapi.json", **own).json["servers"] == [{"url": "/photos"}]
        assert through(base, "api/health").status == 200 and through(base, "api/library").status == 401
        assert '<a href="/photos/">' in through(base, "lost", Accept="text/html", **own).body.decode()
        for path in ("api/library/", "static/"):
            assert through(base, path, **own).status == 404, "no redirect to an address of which the page knows nothing"
        bare = through(base, f"../photos?token={server.keys.token}")
        assert bare.status == 200 if strips else (bare.status, bare.headers["location"]) == (307, f"/photos/?token={server.keys.token}")
        assert server.address.endswith(f":{server.port}/photos/?token={server.keys.token}")
        direct = Client(server).get(f"/photos/?token={server.keys.token}")
        assert direct.status == 200, "the printed address, without the proxy"
        assert Client(server).get("/photosx/api/library").status == 404


@pytest.mark.parametrize("text", ["/api", "/static/x", "/a b", "/a;b", "/../x", "/a//b", "/.", "/a?b", "/\u00e4", "http://x/y", "/a/"])
def test_a_root_path_is_plain(tmp_path: Path, text: str) -> None:
    if text == "/a/":
        with serving(tmp_path / "library", root_path=text) as server:
            assert server.start.root == "/a"
        return
    with pytest.raises(UsageError, match="no path for the page"):
        Start(PageSettings(tmp_path / "none", port=0, root_path=text))


# --- the start ------------------------------------------------------------------------------------------------------------------


def test_the_address_is_printed_before_anything_heavy_is_imported() -> None:
    code = "import sys, image_search.web.serve; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=ALIVE, check=True)
    assert not {"fastapi", "pydantic", "starlette", "uvicorn", "onnxruntime", "matplotlib", "asyncio"} & set(eval(done.stdout))
