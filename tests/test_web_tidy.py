"""Copies, labels and the map over HTTP: a look in the background, what it found, what is decided, and who may ask for what."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from pageserver import ALIVE, CLASSES, Client, picture, serving
from PIL import Image

from image_search.testing import quick_engine
from image_search.tidy.map import LibraryMap
from image_search.web.server import PageServer


def drawn(kind: int, seed: int) -> bytes:
    """Fields in one colour: by it a class is known; no two are copies of each other."""
    dice = np.random.default_rng([kind, seed])
    fields = Image.fromarray(dice.integers(0, 256, (9, 9), np.uint8)).resize((126, 126), Image.Resampling.NEAREST)
    pixels = np.full((126, 126, 3), 30, np.uint8)
    pixels[:, :, 2 - kind] = np.asarray(fields)
    return encoded(Image.fromarray(pixels))


def encoded(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


def make_untidy(place: Path) -> Path:
    """Three classes of ten; one picture once more, one smaller, and a red one in the green folder."""
    folder = place / "pictures"
    for kind, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for seed in range(10):
            (folder / name / f"{seed}.jpg").write_bytes(drawn(kind, seed))
    (folder / "Blue" / "again.jpg").write_bytes((folder / "Blue" / "0.jpg").read_bytes())
    (folder / "Red" / "5 small.jpg").write_bytes(encoded(Image.open(folder / "Red" / "5.jpg").resize((84, 84))))
    (folder / "Green" / "wrong.jpg").write_bytes(drawn(2, 77))
    with quick_engine(place / "library") as engine:
        engine.index(folder, progress=False)
    return place / "library"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_untidy(tmp_path_factory.mktemp("untidy"))


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[PageServer]:
    with serving(library) as running:
        yield running


@pytest.fixture
def client(server: PageServer) -> Client:
    return Client(server)


def look(client: Client, what: str, **asked: Any) -> dict[str, Any]:
    """Begin one and wait for its end."""
    answer = client.post("/api/looks", {"what": what, **asked})
    assert answer.status == 202, answer.body
    state: dict[str, Any] = answer.json
    until = time.monotonic() + ALIVE
    while state["state"] == "working" and time.monotonic() < until:
        time.sleep(0.02)
        state = client.get("/api/looks").json
    return state


def placed(numbers: list[int], names: list[str]) -> Callable[..., LibraryMap]:
    """A map without openTSNE: what is tested here is what becomes of it."""
    dice = np.random.default_rng(1)
    xy = dice.random((len(numbers), 2)).astype(np.float32)
    return lambda **_: LibraryMap(np.array(numbers), xy, names, np.zeros(len(numbers), bool), "quick", Path("x"))


def test_groups_come_with_their_best_and_why(client: Client) -> None:
    run = look(client, "groups")["run"]
    found = client.get(f"/api/groups?run={run}").json
    assert (found["run"], found["groups"], found["files"], found["rest"], found["remembers"]) == (run, 2, 4, 2, True)
    kinds = {tuple((m["kind"], os.path.basename(m["path"])) for m in group["members"]) for group in found["items"]}
    assert kinds == {(("best", "0.jpg"), ("same bytes", "again.jpg")), (("best", "5.jpg"), ("same picture", "5 small.jpg"))}
    resized = next(group for group in found["items"] if group["members"][1]["kind"] == "same picture")
    assert resized["why"] == "most pixels" and resized["rest_bytes"] == resized["members"][1]["bytes"]
    assert client.get(resized["members"][0]["view"]).status == 200
    one = client.get(f"/api/groups?run={run}&start=1&limit=1").json["items"]
    assert [group["number"] for group in one] == [1]
    more = client.get(f"/api/groups/1?run={run}&start=1&limit=1").json
    assert more["files"] == 2 and [m["id"] for m in more["items"]] == [one[0]["members"][1]["id"]]


def test_what_was_found_is_kept_until_another_question_or_library(client: Client) -> None:
    run = look(client, "groups")["run"]
    assert look(client, "groups")["run"] == run
    bytes_only = look(client, "groups", kinds=["same bytes"])["run"]
    assert bytes_only != run and client.get(f"/api/groups?run={bytes_only}").json["groups"] == 1
    gone = client.get(f"/api/groups?run={run}")
    assert gone.status == 410 and gone.json["code"] == "Changed"
    preferred = look(client, "groups", prefer=0)["run"]
    assert {group["why"] for group in client.get(f"/api/groups?run={preferred}").json["items"]} <= {
        "most pixels",
        "first by path",
        "earliest",
        "least compressed",
    }
    assert client.post("/api/looks", {"what": "groups", "prefer": 77}).status == 400


def test_a_decision_is_remembered_listed_and_undone(client: Client) -> None:
    run = look(client, "groups")["run"]
    groups = client.get(f"/api/groups?run={run}").json["items"]
    resized = next(group for group in groups if group["members"][1]["kind"] == "same picture")
    same = next(group for group in groups if group["members"][1]["kind"] == "same bytes")
    one = client.post("/api/decisions", {"word": "not the same", "ids": [m["id"] for m in resized["members"]]})
    other = client.post("/api/decisions", {"word": "leave", "run": run, "group": same["number"]})
    assert (one.status, other.status) == (200, 200) and (one.json["files"], other.json["files"]) == (2, 1)
    assert client.post("/api/decisions", {"word": "leave"}).status == 400
    listed = client.get("/api/decisions").json["items"]
    assert [row["word"] for row in listed] == ["leave", "not the same"] and client.get(listed[0]["pictures"][0]["thumbnail"]).status == 200
    assert client.get(f"/api/groups?run={run}").status == 200, "whoever looks at it goes on"
    again = look(client, "groups")["run"]
    assert again != run and client.get(f"/api/groups?run={again}").json["groups"] == 0
    for row in listed:
        assert client.post(f"/api/decisions/{row['number']}/undo").status == 200
    assert client.post(f"/api/decisions/{listed[0]['number']}/undo").status == 404
    assert client.get(f"/api/groups?run={look(client, 'groups')['run']}").json["groups"] == 2


def test_labels_that_may_be_wrong(client: Client) -> None:
    run = look(client, "check")["run"]
    found = client.get(f"/api/check?run={run}").json
    assert (found["images"], found["unlabelled"], found["suspects"]) == (33, 0, 1) and len(found["classes"]) == 3
    (row,) = client.get(f"/api/check/suspects?run={run}").json["items"]
    assert (row["item"]["name"], row["says"]) == ("Green", "Red") and row["item"]["path"].endswith("wrong.jpg") and row["confidence"] > 0.5
    assert client.get(f"/api/check/suspects?run={run}&name=Blue").json == {"total": 0, "items": []}
    assert client.get(f"/api/check/suspects?run={run}&name=Green&says=Red").json["total"] == 1
    far = client.get(f"/api/check/outliers?run={run}&limit=2").json
    assert far["total"] == found["outliers"] and len(far["items"]) == min(2, far["total"])


def test_the_map_comes_in_parts(server: PageServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.engine, "map", placed([3, 4, 9], ["b", "a", "b"]))
    run = look(client, "map")["run"]
    whole = client.get(f"/api/map?run={run}").json
    assert (whole["images"], whole["classes"], whole["sizes"], whole["ids"]) == (3, ["b", "a"], [2, 1], [3, 4, 9])
    part = client.get(f"/api/map?run={run}&start=1&limit=1").json
    assert part["ids"] == [4]
    unpacked = {key: np.frombuffer(base64.b64decode(whole[key]), "<u2") for key in ("x", "y", "codes")}
    assert unpacked["codes"].tolist() == [0, 1, 0]
    xy = placed([3, 4, 9], ["b", "a", "b"])().xy
    assert np.allclose(unpacked["x"] / 65535, xy[:, 0], atol=1e-4) and np.allclose(1 - unpacked["y"] / 65535, xy[:, 1], atol=1e-4)


def test_one_look_at_a_time_and_it_stops(server: PageServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def endless(*, fresh: bool, progress: Callable[[str, int, int], None]) -> LibraryMap:
        while True:
            progress("map", 1, 5)
            begun.set()
            time.sleep(0.01)

    monkeypatch.setattr(server.engine, "map", endless)
    state = client.post("/api/looks", {"what": "map", "fresh": True}).json
    assert state["state"] == "working" and begun.wait(ALIVE)
    now = client.get("/api/looks").json
    assert (now["step"], now["done"], now["total"]) == ("map", 1, 5)
    assert client.post("/api/looks", {"what": "map", "fresh": True}).json["run"] == state["run"], "the same one, not a second"
    refused = client.post("/api/looks", {"what": "check", "fresh": True})
    assert refused.status == 409 and "another look" in refused.json["message"]
    client.post("/api/looks/stop")
    until = time.monotonic() + ALIVE
    while client.get("/api/looks").json["state"] == "working" and time.monotonic() < until:
        time.sleep(0.02)
    assert client.get("/api/looks").json["state"] == "stopped"


def test_what_cannot_be_looked_at_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.jpg").write_bytes(picture(0, 1))
    with serving(tmp_path / "library", folders=(str(tmp_path / "pictures"),)) as server:
        client = Client(server)
        assert client.post("/api/looks", {"what": "groups"}).json["code"] == "LibraryNotFound"
        client.post("/api/index", {"folder": 0})
        client.wait_for_job()
        run = look(client, "groups")["run"]
        assert client.get(f"/api/groups?run={run}").json["groups"] == 0
        state = look(client, "check")
        assert state["state"] == "failed" and state["problem"]["message"]


def test_answers_keep_the_documented_form(client: Client) -> None:
    document = client.get("/api/openapi.json").json
    groups = look(client, "groups")["run"]
    paths = {f"/api/groups?run={groups}": "/api/groups", f"/api/groups/0?run={groups}": "/api/groups/{id}", "/api/looks": "/api/looks"}
    check = look(client, "check")["run"]
    paths |= {f"/api/check{part}?run={check}": f"/api/check{part}" for part in ("", "/suspects", "/outliers")}
    for real, path in {**paths, "/api/decisions": "/api/decisions"}.items():
        answer = client.get(real)
        schema = document["paths"][path]["get"]["responses"][str(answer.status)]["content"]["application/json"]["schema"]
        assert answer.status == 200
        jsonschema.validate(answer.json, {**schema, "components": document["components"]})


# In a process that gives up root's right to write anywhere: prints what a page sees of a library that cannot be written.
READ_ONLY = """
import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[2])
from pageserver import Client, serving
from test_web_tidy import look
with serving(Path(sys.argv[1])) as server:
    client = Client(server)
    run = look(client, "groups")["run"]
    found = client.get(f"/api/groups?run={run}").json
    refused = client.post("/api/decisions", {"word": "leave", "run": run, "group": 0})
    print(json.dumps([found["groups"], found["remembers"], refused.status, refused.json["code"]]))
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, to give up root's right to write anywhere")
def test_a_library_that_cannot_be_written_answers_and_says_so(tmp_path: Path) -> None:
    library = make_untidy(tmp_path)
    for path in (library, *library.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o644 if path.suffix == ".lock" else 0o444)  # without the lock no page opens
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    command = [*(drop if os.geteuid() == 0 else []), sys.executable, "-c", READ_ONLY, str(library), json.dumps(sys.path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=ALIVE)
    library.chmod(0o755)
    assert json.loads(said.stdout or "null") == [2, False, 409, "LibraryReadOnly"], said.stderr
