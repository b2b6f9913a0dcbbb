"""The page's HTTP interface, asked over a real socket."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from pageserver import ALIVE, CLASSES, PER_CLASS, Client, fill, make_library, picture, serving
from PIL import Image

from image_search.config import PAGE_RESULTS
from image_search.engine import ImageSearchEngine
from image_search.library.catalog import Catalog
from image_search.testing import quick_engine
from image_search.web.server import PageServer


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[PageServer]:
    with serving(library) as running:
        yield running


@pytest.fixture
def client(server: PageServer) -> Client:
    return Client(server)


def search(client: Client, *ids: str, **more: object) -> dict:
    answer = client.post("/api/search", {"queries": [{"id": i} for i in ids], **more})
    assert answer.status == 200, answer.body
    return answer.json


def test_state_says_what_is_there(client: Client, library: Path) -> None:
    state = client.get("/api/library").json
    assert state["library"]["images"] == len(CLASSES) * PER_CLASS
    assert state["library"]["classes"] == len(CLASSES)
    assert state["library"]["model"] == "quick"
    assert [f["path"] for f in state["folders"]] == [str(library.parent / "pictures")]
    assert state["job"]["state"] == "none" and state["urls_allowed"] is False


def test_an_upload_finds_its_own_kind_and_itself(client: Client, library: Path) -> None:
    new = client.upload(picture(1, 777)).json
    assert (new["width"], new["height"]) == (96, 96)
    found = search(client, new["id"], n=10)
    assert {m["name"] for m in found["matches"]} == {"Green"}
    assert found["exact"] is True and not any(m["identical"] for m in found["matches"])
    similarities = [m["similarity"] for m in found["matches"]]
    assert similarities == sorted(similarities, reverse=True)

    known = client.upload((library.parent / "pictures" / "Red" / "3.jpg").read_bytes()).json
    best = search(client, known["id"], n=1)["matches"][0]
    assert best["identical"] and best["similarity"] == 1.0 and best["path"].endswith("Red/3.jpg") and 0 <= best["closeness"] <= 1


def test_the_same_picture_is_kept_once(client: Client) -> None:
    data = picture(0, 555)
    first, second = client.upload(data).json, client.upload(data).json
    assert first == second
    view = client.get(first["view"])
    assert view.headers["content-type"] == "image/jpeg" and Image.open(io.BytesIO(view.body)).size == (96, 96)


def test_a_search_with_a_library_image_and_its_filters(client: Client) -> None:
    item = client.get("/api/images?name=Blue&limit=1").json["items"][0]
    everything = search(client, item["id"], n=500)
    assert everything["complete"] and len(everything["matches"]) == 60
    assert everything["matches"][0]["id"] == item["id"]
    assert [m["rank"] for m in everything["matches"]] == list(range(1, 61))
    assert {m["name"] for m in search(client, item["id"], n=500, names=["Red"])["matches"]} == {"Red"}
    assert len(search(client, item["id"], n=500, path="*/pictures/Red/*")["matches"]) == PER_CLASS
    assert search(client, item["id"], n=500, path="pictures/Red")["matches"] == [], "the whole path, as in the shell"
    limit = everything["matches"][2]["closeness"]
    near = search(client, item["id"], n=500, min_closeness=limit)["matches"]
    assert [m["id"] for m in near] == [m["id"] for m in everything["matches"] if m["closeness"] >= limit] and 2 < len(near) < 60
    for wrong in (-0.1, 1.1, "much"):
        assert client.post("/api/search", {"queries": [{"id": item["id"]}], "min_closeness": wrong}).status == 422
    assert len(search(client, item["id"], n=500, path="*/Re?/1*.jpg")["matches"]) == 11
    cut = everything["matches"][20]["similarity"]
    assert len(search(client, item["id"], n=500, min_similarity=cut)["matches"]) == 21
    alone = search(client, item["id"], n=500, exclude_self=True)
    assert item["id"] not in {m["id"] for m in alone["matches"]}


def test_more_and_less_like_this(client: Client) -> None:
    blue, green = (client.get(f"/api/images?name={name}&limit=1").json["items"][0]["id"] for name in ("Blue", "Green"))
    both = search(client, blue, green, n=40)
    assert {m["name"] for m in both["matches"][:10]} >= {"Blue", "Green"} or len({m["name"] for m in both["matches"]}) > 1
    answer = client.post("/api/search", {"queries": [{"id": blue}, {"id": green, "less": True}], "n": 60}).json
    assert [q["less"] for q in answer["queries"]] == [False, True]
    rank = {m["id"]: m["rank"] for m in answer["matches"]}
    plain = {m["id"]: m["rank"] for m in search(client, blue, n=60)["matches"]}
    assert rank[green] >= plain[green]
    refused = client.post("/api/search", {"queries": [{"id": blue, "less": True}]})
    assert refused.status == 400 and refused.json["code"] == "Usage"


def test_a_region_is_another_question(client: Client) -> None:
    halves = Image.new("RGB", (192, 96))
    halves.paste(Image.open(io.BytesIO(picture(0, 31))), (0, 0))
    halves.paste(Image.open(io.BytesIO(picture(2, 32))), (96, 0))
    out = io.BytesIO()
    halves.save(out, "PNG")
    id = client.upload(out.getvalue()).json["id"]
    for x, name in ((0, "Blue"), (96, "Red")):
        part = {"id": id, "region": {"x": x, "y": 0, "w": 96, "h": 96}}
        answer = client.post("/api/search", {"queries": [part], "n": 5}).json
        assert {m["name"] for m in answer["matches"]} == {name}
    outside = client.post("/api/search", {"queries": [{"id": id, "region": {"x": 100, "y": 0, "w": 96, "h": 96}}]})
    assert outside.status == 400 and "outside" in outside.json["message"]


def test_a_question_asked_again_is_not_embedded_again(client: Client, server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    server.service.warm_up()  # the model is there
    embed = server.engine._model._embedder.embed  # type: ignore[union-attr]

    def counted(self: object, pixels: np.ndarray) -> np.ndarray:
        if pixels.std() > 0:  # the page warms up meanwhile, with a flat picture
            calls.append(len(pixels))
        return embed(pixels)

    monkeypatch.setattr(type(server.engine._model._embedder), "embed", counted)
    id = client.upload(picture(0, 888)).json["id"]
    for n in (5, 60, 500):
        search(client, id, n=n, min_similarity=0.1)
    assert calls == [1]


def test_bad_pictures_are_refused_with_their_reason(client: Client) -> None:
    for data, reason in ((b"", ""), (b"hello", "NOT_AN_IMAGE"), (picture(0, 1)[:300], "DAMAGED"), (b"<svg xmlns='x'/>", "UNSUPPORTED")):
        answer = client.upload(data)
        assert answer.status == 422 and answer.json["code"] == "Query" and answer.json["reason"] == reason, answer.body
    # 400 MP in 50 KB: over the upload limit of 50
    out = io.BytesIO()
    Image.new("1", (20000, 20000)).save(out, "PNG")
    assert client.upload(out.getvalue()).json["reason"] == "TOO_MANY_PIXELS"


def test_what_is_not_there_is_said(client: Client) -> None:
    for path in (
        "images/id:999999",
        "images/id:999999/thumbnail",
        "images/id:0/view",
        "images/x",
        "uploads/up:AAAAAAAAAAAAAAAAAAAAAA/view",
    ):
        answer = client.get(f"/api/{path}")
        assert answer.status == 404 and answer.json["code"] == "UnknownId" and answer.json["message"], path
    for id in ("up:AAAAAAAAAAAAAAAAAAAAAA", "id:999999"):
        answer = client.post("/api/search", {"queries": [{"id": id}]})
        assert answer.status == 404 and answer.json["code"] == "UnknownId"
    for bad in ({}, {"queries": []}, {"queries": [{"id": "/etc/passwd"}]}, {"queries": [{"id": "id:1"}], "n": 0}, {"other": 1}, [], "x"):
        answer = client.post("/api/search", bad)
        assert answer.status == 422 and answer.json["code"] == "Malformed", bad
    assert client.ask("POST", "/api/search", b"\xff{", {"Content-Type": "application/json"}).status in (400, 422)
    assert client.post("/api/addresses", {"url": "http://127.0.0.1/"}).status == 400


def test_what_is_malformed_is_said_in_plain_words(client: Client) -> None:
    one = {"id": "id:1"}
    for body, says in (
        ({"queries": [one], "n": True}, "n must be a whole number"),
        ({"queries": [one], "n": 5.0}, "n must be a whole number"),
        ({"queries": [one], "n": "5"}, "n must be a whole number"),
        ({"queries": [one], "n": PAGE_RESULTS + 1}, f"n must be at most {PAGE_RESULTS}"),
        ({"queries": [one], "min_similarity": True}, "min_similarity must be a number"),
        ({"queries": [one], "min_similarity": "1"}, "min_similarity must be a number"),
        ({"queries": [one], "exclude_self": 1}, "exclude_self must be true or false"),
        ({"queries": [{**one, "region": {"x": False, "y": 0, "w": 5, "h": 5}}]}, "queries.0.region.x must be a whole number"),
        ({"queries": [{"id": 5}]}, "queries.0.id must be text"),
        ({"queries": [{"id": "x"}]}, "queries.0.id is no id"),
        ({"queries": {}}, "queries must be a list"),
        ({"queries": [one], "\u202e\nodd" + "x" * 500: 1}, "\\u202e\\x0aodd"),
        ({}, "queries is missing"),
        ([], "the body is not as documented"),
    ):
        answer = client.post("/api/search", body)
        problem = answer.json
        assert answer.status == 422 and says in problem["message"], (body, problem)
        assert problem["message"].startswith("the request is not of the documented form: ") and problem["message"].isprintable()
        assert len(problem["message"]) < 500 and not re.search(r"[Ii]nput should|[Ff]ield|valid |pydantic", problem["message"]), problem
    assert client.post("/api/search", {"queries": [one], "n": 1, "min_similarity": 0}).status == 200, "a whole number is a number"
    assert client.post("/api/index", {"folder": False}).status == 422
    broken = client.ask("POST", "/api/search", b"{", {"Content-Type": "application/json"})
    assert broken.status == 422 and "the body is no JSON" in broken.json["message"]
    assert "limit must be at most 500" in client.get("/api/images?limit=501").json["message"]
    assert "after must be a whole number" in client.get("/api/images?after=x").json["message"]


def test_browsing_page_by_page(client: Client) -> None:
    seen, after = [], 0
    while after is not None:
        page = client.get(f"/api/images?limit=25&after={after}").json
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
    assert len(seen) == len(set(seen)) == 60
    classes = client.get("/api/classes").json["classes"]
    assert [(c["name"], c["images"]) for c in classes] == [(name, PER_CLASS) for name in CLASSES]
    assert {i["name"] for i in client.get("/api/images/sample?n=12").json["items"]} == set(CLASSES)


def test_words_are_completed(client: Client) -> None:
    assert client.get("/api/words?prefix=tabby%20c").json == {"words": []}, "this library's model has no vocabulary"
    assert client.get("/api/words?n=1000").status == 422


def test_facts_thumbnail_and_view(client: Client) -> None:
    item = client.get("/api/images?limit=1").json["items"][0]
    facts = client.get(f"/api/images/{item['id']}").json
    assert (facts["width"], facts["height"], facts["format"], facts["copies"]) == (96, 96, "JPEG", 0)
    assert facts["bytes"] == Path(facts["uri"]).stat().st_size and re.fullmatch(r"\d{4}-\d\d-\d\dT.*\+00:00", facts["modified"])
    small, large = client.get(item["thumbnail"]), client.get(facts["view"])
    assert small.headers["content-type"] == "image/webp" and small.body[8:12] == b"WEBP"
    assert large.headers["content-type"] == "image/jpeg"
    assert large.body != Path(facts["uri"]).read_bytes()
    assert "immutable" in small.headers["cache-control"]


def test_a_lost_thumbnail_is_made_again(client: Client, server: PageServer) -> None:
    item = client.get("/api/images?name=Red&limit=3").json["items"][2]
    sha = server.service.library.item(item["id"]).sha256
    server.service.library.thumbnails._connection.execute("DELETE FROM thumbnails WHERE sha256 = ?", (sha,))  # type: ignore[union-attr]
    assert server.service.library.thumbnails.get(sha) is None
    assert client.get(item["thumbnail"]).body == server.service.library.thumbnails.get(sha)


def test_a_file_that_changed_since_is_not_kept_as_what_it_was(tmp_path: Path) -> None:
    library = make_library(tmp_path, 2)
    with serving(library) as server:
        client = Client(server)
        item = client.get("/api/images?name=Red&limit=1").json["items"][0]
        file, facts = Path(item["path"]), client.get(f"/api/images/{item['id']}").json
        kept, before = server.service.library.thumbnails, file.read_bytes()
        kept._connection.execute("DELETE FROM thumbnails")  # type: ignore[union-attr]
        file.write_bytes(picture(0, 999))
        for address in (item["thumbnail"], facts["view"]):
            assert client.get(address).headers["cache-control"] == "no-store"
        assert kept.get(server.service.library.item(item["id"]).sha256) is None
        file.write_bytes(before)
        now = [client.get(address) for address in (item["thumbnail"], facts["view"])]
        assert all("immutable" in answer.headers["cache-control"] for answer in now)
        large = Image.open(io.BytesIO(now[1].body)).convert("RGB").resize((1, 1)).getpixel((0, 0))
        assert large[0] > large[2]  # red again
        file.unlink()
        server.service.pictures._views = type(server.service.pictures._views)(1 << 20, len)
        stand_in = client.get(facts["view"])
        assert (stand_in.headers["content-type"], stand_in.headers["cache-control"]) == ("image/webp", "no-store")


def test_a_first_run_that_came_to_nothing_does_not_hide_the_next_one(tmp_path: Path) -> None:
    fill(tmp_path / "pictures", 2)
    with serving(tmp_path / "library", store="exact", folders=[str(tmp_path / "pictures")]) as server:
        client = Client(server)
        with quick_engine(tmp_path / "other") as other:
            other.index(fill(tmp_path / "few", 1), progress=False)
        (tmp_path / "library" / "catalog.sqlite").write_bytes((tmp_path / "other" / "catalog.sqlite").read_bytes())
        assert client.get("/api/library").json["library"]["images"] == 3  # open, in both its readers
        assert client.get("/api/images?limit=3").json["items"]
        Catalog.remove(tmp_path / "library")
        assert client.get("/api/library").json["library"] is None
        assert client.post("/api/index", {"folder": 0}).status in (200, 202)
        assert client.wait_for_job()["state"] == "done"
        assert client.get("/api/library").json["library"]["images"] == 6
        assert len(client.get("/api/images?limit=9").json["items"]) == 6


def test_chosen_files_as_a_zip(client: Client) -> None:
    items = client.get("/api/images?limit=3").json["items"]
    answer = client.get("/api/images.zip?" + "&".join(f"id={i['id']}" for i in items))
    assert answer.headers["content-disposition"].startswith("attachment")
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert archive.testzip() is None and len(archive.namelist()) == 3
    for item, name in zip(items, archive.namelist(), strict=True):
        assert archive.read(name) == Path(item["path"]).read_bytes() and name.startswith(tuple("0123456789"))
    assert client.get("/api/images.zip").status == 422
    assert client.get("/api/images.zip?id=../../etc/passwd").status == 422


def test_an_allowed_folder_is_the_one_that_the_system_means(tmp_path: Path) -> None:
    folder = fill(tmp_path / "usb" / "new", 1)
    (folder / "inner").mkdir()
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "inner").symlink_to(folder / "inner")
    for named in (tmp_path / "link", f"{tmp_path}/inner/.."):
        with serving(tmp_path / "library", folders=[named], store="exact") as server:
            client = Client(server)
            client.post("/api/index", {"folder": 0})
            client.wait_for_job()
            state = client.get("/api/library").json
            assert [(f["path"], f["known"], f["images"]) for f in state["folders"]] == [(str(folder), True, 3)]


def test_a_replaced_library_is_not_asked_with_the_vectors_of_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "new", 1)
    embedded: list[object] = []
    query = ImageSearchEngine.query
    monkeypatch.setattr("image_search.web.app.PAGE_WARM_SECONDS", 3600.0)  # the page asks a question of its own when it warms up

    def counted(self: ImageSearchEngine, *given: Any, **named: Any) -> Any:
        if self.library == tmp_path / "library":  # another test's server may warm up meanwhile
            embedded.append(1)
        return query(self, *given, **named)

    monkeypatch.setattr(ImageSearchEngine, "query", counted)
    for library in ("library", "other"):
        with quick_engine(tmp_path / library) as engine:
            engine.index(folder)
    with serving(tmp_path / "library") as server:
        client = Client(server)
        given = client.upload(picture(0, 0)).json["id"]
        search(client, given)
        seen = len(embedded)
        search(client, given)
        assert len(embedded) == seen
        os.replace(tmp_path / "other" / "catalog.sqlite", tmp_path / "library" / "catalog.sqlite")
        search(client, given)
        assert len(embedded) == seen + 1


def test_indexing_an_allowed_folder_with_progress(tmp_path: Path) -> None:
    folder = fill(tmp_path / "new", 4)
    (folder / "Blue" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no")
    (folder / "Blue" / "<b>x.jpg").write_bytes(b"")
    with serving(tmp_path / "library", folders=[folder], store="exact") as server:
        client = Client(server)
        state = client.get("/api/library").json
        assert state["library"] is None and [(f["known"], f["images"]) for f in state["folders"]] == [(False, 0)]
        assert client.post("/api/search", {"queries": [{"id": "id:1"}]}).json["code"] == "LibraryNotFound"
        assert client.upload(picture(0, 0)).status == 409
        assert client.post("/api/index", {"folder": 1}).status == 400
        assert client.post("/api/index", {"folder": -1}).status == 422
        assert client.post("/api/index", {"folder": 0}).status == 202
        job = client.wait_for_job()
        assert (job["state"], job["done"], job["total"], job["skipped"], job["added"]) == ("done", 14, 14, 2, 12)
        skipped = client.get("/api/skipped").json
        assert {(r["code"], r["files"]) for r in skipped["reasons"]} == {("EMPTY", 1), ("DAMAGED", 1)}
        assert any(f["path"].endswith("<b>x.jpg") for f in skipped["files"])
        state = client.get("/api/library").json
        assert state["library"]["images"] == 12 and state["folders"][0]["known"]
        assert search(client, "id:1", n=3)["matches"][0]["closeness"] is None
        # a second one, and the events that tell of it
        fill(tmp_path / "new", 6)
        client.post("/api/index", {"folder": 0})
        client.wait_for_job()
        assert client.get("/api/library").json["library"]["images"] == 18


def test_a_store_that_became_ready_is_said_to_be(tmp_path: Path) -> None:
    folder = fill(tmp_path / "new", 1)
    with serving(tmp_path / "library", folders=[folder], store="chroma") as server:
        client = Client(server)
        refresh = server.engine._refresh_store

        def look_before(*what: Any, **how: Any) -> None:
            assert client.get("/api/library").json["library"]["store_ready"] is False
            refresh(*what, **how)

        server.engine._refresh_store = look_before  # type: ignore[method-assign]
        client.post("/api/index", {"folder": 0})
        assert client.wait_for_job()["state"] == "done"
        assert client.get("/api/library").json["library"]["store_ready"] is True


def test_events_tell_the_progress(server: PageServer) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", server.port), timeout=ALIVE) as line:
        head = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {server.keys.token}\r\n\r\n"
        line.sendall(head.encode())
        got = b""
        while b"data: " not in got or not got.endswith(b"\n\n\r\n"):
            got += line.recv(4096)
    assert b"text/event-stream" in got
    assert json.loads(re.search(rb"data: (\{.*\})", got)[1])["state"] == "none"  # type: ignore[index]


def test_stopping_keeps_what_was_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import image_search.index.run

    monkeypatch.setattr(image_search.index.run, "COMMIT_SECONDS", 0.0)
    folder = fill(tmp_path / "new", 10)
    with serving(tmp_path / "library", folders=[folder], store="exact") as server:
        client = Client(server)
        show = server.service.jobs._show

        def stop_after_ten(done: int, total: int, skipped: int) -> None:
            if done >= 10:
                server.service.jobs.stop()
            show(done, total, skipped)

        server.service.jobs._show = stop_after_ten  # type: ignore[method-assign]
        client.post("/api/index", {"folder": 0})
        job = client.wait_for_job()
        assert job["state"] == "stopped" and job["problem"] is None
        images = client.get("/api/library").json["library"]["images"]
        assert 10 <= images < 30
        server.service.jobs._show = show  # type: ignore[method-assign]
        client.post("/api/index", {"folder": 0})
        assert client.wait_for_job()["state"] == "done"
        assert client.get("/api/library").json["library"]["images"] == 30


def test_only_one_run_at_a_time_and_a_failure_is_said(tmp_path: Path) -> None:
    folder = fill(tmp_path / "new", 1)
    with serving(tmp_path / "library", folders=[folder], store="exact") as server:
        client = Client(server)
        server.service.jobs._job = server.service.jobs._job.__class__(state="indexing")
        assert client.post("/api/index", {"folder": 0}).status == 409
        assert client.post("/api/demo").status == 409
        server.service.jobs._job = server.service.jobs._job.__class__()
        for file in folder.rglob("*.jpg"):
            file.unlink()
        assert client.post("/api/index", {"folder": 0}).status == 202
        job = client.wait_for_job()
        assert job["state"] == "failed" and job["problem"]["message"]
        fill(tmp_path / "new", 1)
        assert client.post("/api/index", {"folder": 0}).status == 202
        assert client.wait_for_job()["state"] == "done"
        assert client.get("/api/library").json["library"]["images"] == 3


def test_the_library_is_held_while_the_page_runs(library: Path, server: PageServer) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "image_search", "index", str(library.parent / "pictures"), "--library", str(library)],
        capture_output=True,
        text=True,
        timeout=ALIVE,
    )
    assert run.returncode == 1 and "page" in run.stderr
    beside = subprocess.run(
        [sys.executable, "-m", "image_search", "search", "id:1", "--json", "--library", str(library)],
        capture_output=True,
        text=True,
        timeout=ALIVE,
    )
    assert beside.returncode == 0 and json.loads(beside.stdout)["matches"][0]["id"] == "id:1"


def test_answers_keep_the_documented_form(client: Client) -> None:
    document = client.get("/api/openapi.json").json
    item = client.get("/api/images?limit=1").json["items"][0]["id"]

    def check(method: str, path: str, real: str, data: object = None) -> None:
        answer = client.get(real) if method == "get" else client.post(real, data)
        schema = document["paths"][path][method]["responses"][str(answer.status)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json, {**schema, "components": document["components"]})

    check("get", "/api/library", "/api/library")
    check("get", "/api/classes", "/api/classes")
    check("get", "/api/skipped", "/api/skipped")
    check("get", "/api/words", "/api/words?prefix=tabby&n=2")
    check("get", "/api/images", "/api/images?limit=3")
    check("get", "/api/images/sample", "/api/images/sample")
    check("get", "/api/images/{id}", f"/api/images/{item}")
    check("get", "/api/images/{id}", "/api/images/id:0")
    check("post", "/api/search", "/api/search", {"queries": [{"id": item}], "n": 3})
    check("post", "/api/search", "/api/search", {"queries": []})
    check("post", "/api/index", "/api/index", {"folder": 77})


def test_nothing_of_it_is_imported_without_being_asked_for() -> None:
    heavy = ("fastapi", "uvicorn", "starlette", "pydantic")
    code = f"import sys, image_search, image_search.cli; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_wrong_requests_get_documented_answers(client: Client) -> None:
    """Each operation with odd things in its path, its query and its body: never a 5xx, always an answer of the documented form."""
    document = client.get("/api/openapi.json").json
    bodies = [b"", b"{", b"[]", b"{}", b"\xff", b'{"queries": 1}', b'{"queries": [{"id": 7}]}', b'{"folder": "x"}', b'{"url": []}']
    operations = [(path, *one) for path, methods in document["paths"].items() for one in methods.items()]
    for path, method, operation in operations:
        if path in ("/api/events", "/api/demo"):
            continue
        names = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
        for odd in ("x", "-1", "%00", "9" * 30, "%F0%9F%90%88", "id:0"):
            address = path.replace("{id}", odd) + "?" + "&".join(f"{name}={odd}" for name in names)
            for body in bodies if method == "post" else [None]:
                answer = client.ask(method.upper(), address, body, {} if body is None else {"Content-Type": "application/json"})
                said = operation["responses"].get(str(answer.status))
                assert answer.status < 500 and said is not None, (method, address, body, answer)
                if content := said.get("content"):
                    kind = answer.headers["content-type"].partition(";")[0]
                    assert kind in content, (method, address, body, answer)
                    if kind == "application/json":
                        jsonschema.validate(answer.json, {**content[kind]["schema"], "components": document["components"]})
    assert len(operations) >= 17


@pytest.fixture(scope="module")
def documented(server: PageServer) -> Any:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: the API is not tried with made-up requests")
    endless_or_heavy = ["/api/events", "/api/demo"]
    return schemathesis.openapi.from_dict(server.app.openapi()).exclude(path=endless_or_heavy)


@pytest.mark.slow  # quick: test_wrong_requests_get_documented_answers
def test_made_up_requests_get_documented_answers(documented: Any, server: PageServer) -> None:
    """Requests made from the document, right and wrong ones: never a 5xx, always an answer of the documented form."""
    import hypothesis

    headers = {"Authorization": f"Bearer {server.keys.token}"}
    tried = 0
    for result in documented.get_all_operations():
        operation = result.ok()

        @hypothesis.settings(
            max_examples=4, deadline=None, database=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            from schemathesis import checks

            case.call_and_validate(
                base_url=f"http://127.0.0.1:{server.port}",
                headers=headers,
                checks=[checks.not_a_server_error, *_named_checks()],
            )

        ask()
        tried += 1
    assert tried >= 15


def _named_checks() -> list[Any]:
    from schemathesis.specs.openapi import checks

    return [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]


def test_names_in_a_zip_fit_into_a_file_system_and_keep_their_time(tmp_path: Path) -> None:
    folder = tmp_path / "pictures" / ("강아지" * 25)
    folder.mkdir(parents=True)
    file = folder / ("산책" * 40 + ".jpg")
    file.write_bytes(picture(1, 1))
    os.utime(file, (1_700_000_000, 1_700_000_000))
    with quick_engine(tmp_path / "library") as engine:
        engine.index(tmp_path / "pictures", progress=False)
    with serving(tmp_path / "library") as server:
        archive = zipfile.ZipFile(io.BytesIO(Client(server).get("/api/images.zip?id=id:1").body))
    (entry,) = archive.infolist()
    assert len(entry.filename.encode()) <= 255 and entry.filename.endswith("책.jpg")
    assert abs(time.mktime((*entry.date_time, 0, 0, -1)) - 1_700_000_000) <= 2
    archive.extractall(tmp_path / "out")
