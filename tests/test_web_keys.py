"""Keys, roles and kept pictures: what outlives a restart, who may do what, and what another user of the machine gets to see: nothing."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from pageserver import ALIVE, Client, make_library, picture, serving

import image_search.web.keys as keys_module
from image_search.config import PAGE_UPLOADS, PAGE_UPLOADS_BYTES, PAGE_UPLOADS_SECONDS
from image_search.errors import UsageError
from image_search.private import NotPrivate, private_folder, read_private, write_private
from image_search.web.keys import Key, Keys, kept_secret, owners_key, place_name, read_key_file, uploads_key
from image_search.web.security import READING
from image_search.web.serve import serve
from image_search.web.server import PageServer
from image_search.web.start import PageSettings, Start
from image_search.web.uploads import Upload, Uploads

posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners")
OWNER, READER, OTHER = "o" * 40, "r" * 40, "x" * 40


def keys_folder() -> Path:
    return Path(platformdirs.user_data_dir("image-search", appauthor=False)) / "keys"


def given_folder() -> Path:
    return Path(platformdirs.user_cache_dir("image-search", appauthor=False)) / "given"


def mode(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def upload(uploads: Uploads, data: bytes, view: bytes = b"view") -> str:
    id = uploads.id_of(data)
    uploads.put(Upload(id, data, view, 3, 2))
    return id


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return make_library(tmp_path, per_class=2)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys.txt"
    write_private(file, f"# who may\nowner all {OWNER}\n\nshop  read\t{READER}\n".encode())
    return file


# --- a restart ------------------------------------------------------------------------------------------------------------------


def test_back_reload_and_bookmarks_work_after_a_restart(library: Path) -> None:
    """B5: the same address and the same cookie open the same view, and the picture that was given is still there."""
    with serving(library) as first:
        client, port, address = Client(first), first.port, first.address
        opened = Client(first, with_token=False).get(address.partition(str(port))[2])
        cookie = opened.headers["set-cookie"].partition(";")[0]
        given = client.upload(picture(1, 700)).json
        view = client.get(given["view"]).body
        answer = client.post("/api/search", {"queries": [{"id": given["id"]}], "n": 3}).json
    with serving(library, port=port) as again:
        assert again.address == address
        tab = Client(again, with_token=False)
        assert tab.get("/", Cookie=cookie).status == 200 and tab.get("/api/library", Cookie=cookie).status == 200
        same = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
        assert tab.ask("POST", "/api/search", json.dumps({"queries": [{"id": given["id"]}], "n": 3}).encode(), same).json == answer
        assert tab.get(given["view"], Cookie=cookie).body == view
        assert Client(again).upload(picture(1, 700)).json == given, "the same bytes are the same picture"


def test_a_new_key_ends_the_old_one_and_what_was_given_with_it(library: Path) -> None:
    with serving(library) as first:
        port, old, cookie = first.port, first.keys.token, f"{first.keys.cookie}={first.keys.session}"
        given = Client(first).upload(picture(1, 701)).json["id"]
        assert len(list((given_folder() / place_name(library)).iterdir())) == 1
    with serving(library, port=port, new_key=True) as second:
        new = second.keys.token
        stranger = Client(second, with_token=False)
        assert new != old and stranger.get(f"/?token={old}").status == 401 and stranger.get("/", Cookie=cookie).status == 401
        assert list((given_folder() / place_name(library)).iterdir()) == []
        assert Client(second).post("/api/search", {"queries": [{"id": given}]}).status == 404
    with serving(library) as third:
        assert third.keys.token == new


def test_a_fresh_key_leaves_nothing_behind(library: Path) -> None:
    with serving(library) as kept:
        lasting = kept.keys.token
    before = sorted(given_folder().rglob("*"))
    with serving(library, fresh_key=True) as server:
        assert server.keys.token != lasting
        opened = Client(server, with_token=False).get(f"/?token={server.keys.token}")
        assert opened.headers["set-cookie"].endswith("SameSite=Strict"), "it ends with the browser"
        Client(server).upload(picture(1, 702))
        assert sorted(given_folder().rglob("*")) == before
    with serving(library) as again:
        assert again.keys.token == lasting
    with pytest.raises(UsageError, match="renewed or good for this start only"):
        Start(PageSettings(library, port=0, new_key=True, fresh_key=True))


def test_each_library_has_its_own_key_and_none_comes_with_it(tmp_path: Path, library: Path) -> None:
    other = make_library(tmp_path / "other", per_class=1)
    for name in ("key", "keys", place_name(other), "secret"):
        (other / name).write_bytes(b"k" * 32)  # a stranger's library brings one
    with serving(library) as one, serving(other) as two:
        assert one.keys.token != two.keys.token and one.keys.cookie.rpartition("-")[2] != two.keys.cookie.rpartition("-")[2]
        assert two.keys.token != owners_key(b"k" * 32).token
        id = Client(one).upload(picture(1, 703)).json["id"]
        assert Client(two).upload(picture(1, 703)).json["id"] != id, "who sees one library's addresses knows nothing of another's"
        assert Client(two).post("/api/search", {"queries": [{"id": id}]}).status == 404
        for folder in (library, other):
            for token in (one.keys.token, two.keys.token, one.keys.session, two.keys.session):
                assert not any(token.encode() in file.read_bytes() for file in folder.rglob("*") if file.is_file())
        link = tmp_path / "link"
        link.symlink_to(library)
        assert place_name(link) == place_name(library) != place_name(other)


# --- other users of the machine -------------------------------------------------------------------------------------------------


@posix
def test_keys_and_given_pictures_are_for_their_owner_alone(library: Path) -> None:
    before = os.umask(0)
    try:
        with serving(library) as server:
            Client(server).upload(picture(1, 704))
    finally:
        os.umask(before)
    folder = given_folder() / place_name(library)
    assert mode(keys_folder()) == mode(given_folder()) == mode(folder) == 0o700
    files = [keys_folder() / place_name(library), *folder.iterdir()]
    assert len(files) == 2 and {mode(file) for file in files} == {0o600}


@posix
def test_a_key_that_others_could_read_or_put_there_is_not_used(tmp_path: Path, library: Path) -> None:
    secret, said = kept_secret(library)
    assert (kept_secret(library), said) == ((secret, ""), "")
    file = keys_folder() / place_name(library)
    os.chmod(file, 0o644)
    second, said = kept_secret(library)
    assert second != secret and "not private" in said and mode(file) == 0o600
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"t" * 32)
    os.chmod(theirs, 0o600)
    file.unlink()
    file.symlink_to(theirs)
    third, said = kept_secret(library)
    assert third not in (b"t" * 32, second) and "a link" in said and not file.is_symlink() and theirs.read_bytes() == b"t" * 32
    file.write_bytes(b"short")
    assert kept_secret(library)[0] != third
    keys_folder().rename(tmp_path / "elsewhere")
    keys_folder().symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPrivate, match="a link or file"):
        kept_secret(library)
    told: list[str] = []
    start = Start(PageSettings(library, port=0), told.append)
    start.socket.close()
    start.engine.close()
    assert start.secret is None and any("good for this start only" in line for line in told)
    assert all(start.keys.token not in line for line in told)


@posix
def test_somebody_elses_file_is_not_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine"
    write_private(file, b"x")
    assert read_private(file, 10) == b"x"
    owner = os.lstat(file).st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(NotPrivate, match="another user"):
        read_private(file, 10)
    with pytest.raises(NotPrivate, match="another user"):
        private_folder(tmp_path)
    if owner == 0:
        assert read_private(file, 10, by_root=True) == b"x", "what the administrator puts into a container"
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(NotPrivate):
        read_private(tmp_path / "pipe", 10)


@posix
def test_a_linked_cache_folder_is_neither_used_nor_swept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    innocent = theirs / ("a" * 22)
    innocent.write_bytes(b"x")
    os.utime(innocent, (0, 0))
    folder = tmp_path / "given" / "lib"
    folder.parent.mkdir()
    folder.symlink_to(theirs)
    uploads = Uploads(b"k" * 32, folder)
    id = upload(uploads, b"data")
    uploads.sweep()
    assert os.listdir(theirs) == [innocent.name] and uploads.get(id) is not None, "it is kept in memory"
    assert [record.message for record in caplog.records if "memory only" in record.message] != [] and len(caplog.records) == 1


def test_kept_pictures_are_taken_for_ours_only_if_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "given" / "lib"
    uploads = Uploads(b"k" * 32, folder)
    one, two = upload(uploads, b"first", b"view of the first"), upload(uploads, b"second")
    again = Uploads(b"k" * 32, folder)
    assert again.get(one) == Upload(one, b"first", b"view of the first", 3, 2)
    name = one.removeprefix("up:")
    whole = (folder / name).read_bytes()
    for wrong in (
        b"",
        whole[:10],
        whole[:-1],
        whole + b"x",
        whole[:40] + b"\xff" + whole[41:],
        (folder / two.removeprefix("up:")).read_bytes(),
    ):
        write_private(folder / name, wrong)
        assert Uploads(b"k" * 32, folder).get(one) is None
    write_private(folder / name, whole)
    assert Uploads(b"k" * 32, folder).get(one) is not None
    assert Uploads(b"K" * 32, folder).get(one) is None, "of another key"
    uploads._files.put("b" * 22, {"width": 1, "height": 1, "of a later version": 1}, b"", b"")  # type: ignore[union-attr]
    assert again.get("up:" + "b" * 22) is None
    for id in ("up:../../../etc/passwd", "up:", "id:1", "up:" + "a" * 22, "up:" + "a" * 500):
        assert again.get(id) is None


def test_kept_pictures_are_few_and_not_for_long(tmp_path: Path) -> None:
    folder = tmp_path / "given" / "lib"
    uploads = Uploads(b"k" * 32, folder)
    ids = []
    for n in range(PAGE_UPLOADS + 3):
        ids.append(upload(uploads, b"%d" % n))
        os.utime(folder / ids[-1].removeprefix("up:"), (time.time() - 5000 + n,) * 2)
    assert len(list(folder.iterdir())) == PAGE_UPLOADS == 200
    again = Uploads(b"k" * 32, folder)
    assert [n for n, id in enumerate(ids) if again.get(id) is None] == [0, 1, 2], "those that were used longest ago go first"
    old = folder / ids[50].removeprefix("up:")
    os.utime(old, (time.time() - PAGE_UPLOADS_SECONDS - 60,) * 2)
    assert Uploads(b"k" * 32, folder).get(ids[50]) is None and not old.exists() and PAGE_UPLOADS_SECONDS == 7 * 86400
    big = b"y" * (PAGE_UPLOADS_BYTES // 4)
    for n in range(5):
        upload(uploads, big + b"%d" % n)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= PAGE_UPLOADS_BYTES
    before = sorted(folder.iterdir())
    huge = upload(uploads, b"z" * PAGE_UPLOADS_BYTES)
    assert uploads.get(huge) is not None and sorted(folder.iterdir()) == before, "one that alone is too much stays in memory"
    draft = folder / f"{'a' * 22}.0011223344556677"
    draft.write_bytes(b"half")
    uploads.sweep()
    assert draft.exists(), "it may be being written"
    os.utime(draft, (time.time() - 3600,) * 2)
    uploads.sweep()
    assert not draft.exists(), "what a killed program left"


def test_what_other_libraries_left_is_swept_too(tmp_path: Path, library: Path) -> None:
    long_ago, lately = (given_folder() / name for name in ("0" * 20, "1" * 20))
    for folder, age in ((long_ago, PAGE_UPLOADS_SECONDS + 60), (lately, 60)):
        id = upload(Uploads(b"k" * 32, folder), b"data")
        os.utime(folder / id.removeprefix("up:"), (time.time() - age,) * 2)
    with serving(library):
        assert not long_ago.exists() and len(list(lately.iterdir())) == 1


@posix
def test_a_full_or_closed_disk_costs_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = Uploads(b"k" * 32, tmp_path / "given" / "lib")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("image_search.web.kept.write_private", full)
    id = upload(uploads, b"data")
    assert uploads.get(id) is not None and list((tmp_path / "given" / "lib").iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from image_search.web.uploads import Upload, Uploads
uploads = Uploads(b"k" * 32, Path(sys.argv[1]))
real = os.replace
def replace(*a):
    if uploads_done: os.kill(os.getpid(), 9)
    return real(*a)
os.replace = replace
for uploads_done in (0, 1):
    uploads.put(Upload(uploads.id_of(b"%d" % uploads_done), b"%d" % uploads_done, b"view", 1, 1))
"""


@posix
def test_a_kill_while_writing_leaves_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "given" / "lib"
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], timeout=ALIVE, check=False)
    assert done.returncode == -9 and len(list(folder.iterdir())) == 2, "one whole, one draft"
    uploads = Uploads(b"k" * 32, folder)
    assert uploads.get(uploads.id_of(b"0")) is not None and uploads.get(uploads.id_of(b"1")) is None


# --- keys with a role -----------------------------------------------------------------------------------------------------------


def test_a_key_may_do_what_its_role_says(library: Path, key_file: Path) -> None:
    with serving(library, key_file=key_file) as server:
        owner, shop, stranger = (
            Client(server, with_token=False, more={"Authorization": f"Bearer {token}"}) for token in (OWNER, READER, OTHER)
        )
        assert owner.get("/api/library").json["read_only"] is False and shop.get("/api/library").json["read_only"] is True
        assert stranger.get("/api/library").status == 401
        id = shop.upload(picture(0, 705)).json["id"]
        assert shop.post("/api/search", {"queries": [{"id": id}], "n": 1}).status == 200
        assert shop.post("/api/search/batch", {"searches": [{"queries": [{"id": id}], "n": 1}]}).status == 200
        before = server.service.jobs.version
        for method, path in changing(server):
            refused = shop.ask(method, path, b"{}", {"Content-Type": "application/json"})
            assert refused.status == 403 and b"may look and search" in refused.body, (method, path)
        assert server.service.jobs.version == before
        assert owner.post("/api/index/stop", {}).status == 202
        # by cookie it is the same
        opened = Client(server, with_token=False).get(f"/?token={READER}")
        cookie = {"Cookie": opened.headers["set-cookie"].partition(";")[0], "Origin": f"http://127.0.0.1:{server.port}"}
        page = Client(server, with_token=False)
        assert page.get("/api/library", **cookie).json["read_only"] is True
        assert page.ask("POST", "/api/demo", b"{}", cookie).json["code"] == "ReadOnly"
        assert server.address.endswith(f"?token={OWNER}") and not (keys_folder() / "x").exists()


def changing(server: PageServer) -> Iterator[tuple[str, str]]:
    """Every documented request that is no question, and spellings that should be no other door to it."""
    documented = {
        (method.upper(), path.replace("{id}", "id:1"))
        for path, methods in server.app.openapi()["paths"].items()
        for method in methods
        if method != "get" and path not in READING
    }
    assert {path for _, path in documented} >= {"/api/index", "/api/index/stop", "/api/demo"}
    yield from documented
    for path in ("/api/index/", "//api/index", "/api/%69ndex", "/api/search/../index", "/api/search/batch/", "/API/INDEX", "/api/library"):
        yield "POST", path
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        yield method, "/api/library"


def test_named_keys_are_the_only_ones_and_outlive_a_restart(library: Path, key_file: Path) -> None:
    with serving(library) as server:
        old = server.keys.token
    for _ in range(2):
        with serving(library, key_file=key_file) as server:
            assert Client(server, with_token=False).get(f"/?token={old}").status == 401
            assert Client(server, with_token=False, more={"Authorization": f"Bearer {READER}"}).get("/api/library").status == 200
    write_private(key_file, f"owner all {OWNER}\n".encode())
    with serving(library, key_file=key_file) as server:
        assert Client(server, with_token=False, more={"Authorization": f"Bearer {READER}"}).get("/api/library").status == 401
    for more in ({"new_key": True}, {"fresh_key": True}):
        with pytest.raises(UsageError, match="no other key to renew"):
            Start(PageSettings(library, port=0, key_file=key_file, **more))


def test_a_key_file_is_made_where_there_is_none(library: Path, tmp_path: Path) -> None:
    file = tmp_path / "new-keys.txt"
    told: list[str] = []
    start = Start(PageSettings(library, port=0, key_file=file), told.append)
    start.socket.close()
    start.engine.close()
    made = read_key_file(file)
    assert [(key.name, key.role) for key in made] == [("owner", "all"), ("reader", "read")] and made[0].token != made[1].token
    assert mode(file) == 0o600 or os.name == "nt"
    assert len(told) == 1 and str(file) in told[0] and not any(key.token in told[0] for key in made)
    with pytest.raises(UsageError, match="cannot be made"):
        Start(PageSettings(library, port=0, key_file=tmp_path / "none" / "keys.txt"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        (f"owner {OWNER}", "line 1 .* is not of the form"),
        (f"owner write {OWNER}", "line 1 .* is not of the form"),
        (f"\nowner ALL {OWNER}", "line 2 .* is not of the form"),
        (f"o/wner all {OWNER}", "is not of the form"),
        ("owner all short", "line 1 .* has a key that is no 32 to 200"),
        (f"owner all {'ä' * 40}", "has a key that is no"),
        (f"owner all {OWNER}\nowner read {READER}", "line 2 .* second time"),
        (f"owner all {OWNER}\nshop read {OWNER}", "line 2 .* second time"),
        ("".join(f"k{n} read {n:040}\n" for n in range(101)), "more than 100"),
    ],
)
def test_a_wrong_key_file_is_refused_and_no_key_is_told(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "keys.txt"
    write_private(file, text.encode())
    with pytest.raises(UsageError, match=says) as caught:
        read_key_file(file)
    assert OWNER not in str(caught.value) and READER not in str(caught.value) and "short" not in str(caught.value)


@posix
def test_a_key_file_must_be_private(tmp_path: Path, key_file: Path) -> None:
    for bits in (0o640, 0o604, 0o660):
        os.chmod(key_file, bits)
        with pytest.raises(UsageError, match=r"not safe.*chmod 600"):
            read_key_file(key_file)
    os.chmod(key_file, 0o600)
    assert len(read_key_file(key_file)) == 2
    (tmp_path / "link").symlink_to(key_file)
    with pytest.raises(UsageError, match="this is a link"):
        read_key_file(tmp_path / "link")


# --- keys are compared and kept with care ---------------------------------------------------------------------------------------


def test_every_key_is_compared_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys([Key("a", "all", OWNER), Key("b", "read", READER), Key("c", "read", OTHER)], 1)
    compared: list[tuple[bytes, bytes]] = []
    real = keys_module.hmac.compare_digest
    monkeypatch.setattr(keys_module.hmac, "compare_digest", lambda a, b: (compared.append((a, b)), real(a, b))[1])
    for ask, given, name in ((keys.by_token, OWNER, "a"), (keys.by_token, OTHER, "c"), (keys.by_session, keys.session, "a")):
        compared.clear()
        found = ask(given)
        assert found is not None and found.name == name and len(compared) == 3, "the first that fits ends nothing early"
        assert {len(side) for pair in compared for side in pair} == {32}, "by their hashes: their length tells nothing"
    for given in ("", OWNER[:-1], OWNER + "x", "\udce9", keys.session):
        assert keys.by_token(given) is None
    assert keys.by_session(OWNER) is None


def test_what_is_derived_tells_nothing_of_its_key() -> None:
    key = owners_key(b"s" * 32)
    assert len(key.token) == 32 and key.token != key.session and key.token not in repr(key)
    assert key == owners_key(b"s" * 32) != owners_key(b"S" * 32) and uploads_key(b"s" * 32) != b"s" * 32
    keys = Keys([key], 8417, path="/photos")
    header = keys.header(key)
    assert key.token not in header and "; Path=/photos; HttpOnly; SameSite=Strict; Max-Age=31536000" in header
    assert Keys([key], 80).cookie != Keys([key], 81).cookie != Keys([owners_key(b"S" * 32)], 81).cookie


def test_no_key_comes_into_a_log_or_another_address(library: Path, key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    with serving(library, key_file=key_file, notify=told.append) as server:
        client = Client(server, with_token=False)
        for path in (f"/?token={OWNER}", f"/?token={READER}&x=%00", f"/api/library?token={OWNER}", f"/api/docs?token={READER}"):
            answer = client.get(path)
            assert OWNER.encode() not in answer.body and answer.headers["referrer-policy"] == "no-referrer"
            assert all(token not in value for value in answer.headers.values() for token in (OWNER, READER))
        client.get("/api/library", Authorization=f"Bearer {OWNER}")
        client.ask("POST", "/api/search", b"{", {"Authorization": f"Bearer {OWNER}"})
    assert not any(token in text for token in (OWNER, READER) for text in [caplog.text, *told])


def test_the_browsers_command_line_shows_a_ticket_that_is_good_once(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    printed = io.StringIO()
    with monkeypatch.context() as patch, redirect_stdout(printed):
        patch.setattr("image_search.web.serve._open_browser", opened.append)
        patch.setattr("image_search.web.server.PageServer.run", lambda self: (self.service.close(), self.start.socket.close()))
        serve(PageSettings(library, port=0), notify=lambda _: None)
    token = printed.getvalue().strip().partition("token=")[2]
    until = time.monotonic() + ALIVE
    while not opened and time.monotonic() < until:
        time.sleep(0.01)
    assert len(token) == 32 and "?token=" in opened[0] and token not in opened[0]
    with serving(library) as server:
        ticket = server.keys.ticket()
        stranger = Client(server, with_token=False)
        assert stranger.get("/api/library", Authorization=f"Bearer {ticket}").status == 401
        first = stranger.get(f"/?token={ticket}")
        assert first.status == 200 and stranger.get(f"/?token={ticket}").status == 401
        cookie = first.headers["set-cookie"].partition(";")[0]
        assert stranger.get(f"/?token={ticket}", Cookie=cookie).status == 200, "its reload"
        late = server.keys.ticket()
        server.keys._tickets[late] -= 301
        assert server.keys.by_ticket(late) is None and server.keys._tickets == {}


def test_with_a_key_file_the_printed_address_has_no_key(
    library: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import image_search.web.server as server_module

    class Quick:
        def __init__(self, start: Start, notify: Any) -> None:
            start.socket.close()
            start.engine.close()

        def run(self) -> None: ...

    monkeypatch.setattr(server_module, "PageServer", Quick)
    told: list[str] = []
    serve(PageSettings(library, port=0, key_file=key_file), notify=told.append, browser=False)
    printed = capsys.readouterr().out
    assert re.fullmatch(r"The page: http://127\.0\.0\.1:\d+/\n", printed) and "token=KEY" in "".join(told)
    serve(PageSettings(library, port=0, root_path="/photos/"), notify=told.append, browser=False)
    assert re.fullmatch(r"The page: http://127\.0\.0\.1:\d+/photos/\?token=[\w-]{32}\n", capsys.readouterr().out)
