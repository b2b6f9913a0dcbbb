"""A store that this program has never heard of, added by one row and one class, does through the engine what Chroma does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import toystores
from pictures import fill, picture

import image_search.stores.library_store
from image_search import ImageSearchEngine
from image_search.advice import told
from image_search.cli.console import in_shell
from image_search.errors import StoreError
from image_search.stores import STORES
from image_search.testing import quick_engine

ON_SERVER = "toyserver:http://toys:1"
QUERY = "id:5"


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one row of each."""
    for row in (toystores.FILES, toystores.SERVER):
        monkeypatch.setitem(STORES, row.name, row)
    monkeypatch.setattr(toystores.ToyServer, "servers", {"http://toys:1": {}})


Opened = Callable[..., ImageSearchEngine]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    def engine(store: str | None = None, notify: Callable[[str], None] = lambda line: None) -> ImageSearchEngine:
        return quick_engine(tmp_path / "library", store=store, notify=notify)

    return engine


def answers(engine: ImageSearchEngine) -> None:
    """The store answers, and as exact search does."""
    store, exact = (engine.search(QUERY, 100, how=how) for how in ("store", "exact"))
    assert not store.exact and exact.exact
    assert [(m.id, m.similarity) for m in store] == [(m.id, m.similarity) for m in exact]
    assert len(store) == engine.status()["images"]


def refuses(engine: ImageSearchEngine, why: str) -> None:
    """The store does not answer and says why; exact search does."""
    engine.close()
    assert engine.search(QUERY, 100).exact
    assert len(engine.search(QUERY, 100)) == engine.status()["images"]
    with pytest.raises(StoreError, match=why):
        engine.search(QUERY, how="store")
    assert not engine.status()["store_ready"]


def beside(library: Path) -> list[str]:
    return sorted(name for name in os.listdir(library) if name.startswith("store.") and name != "store.lock")


@pytest.mark.parametrize("store", ["toy", ON_SERVER])
def test_its_life(opened: Opened, photos: Path, tmp_path: Path, store: str) -> None:
    with opened(store) as engine:
        engine.index(photos)
        answers(engine)
    with opened() as engine:  # the library remembers
        assert (engine.status()["store"], engine.status()["store_ready"]) == (store, True)
        fill(photos, 5)
        engine.index(photos)
        answers(engine)
        engine.forget("id:1", "id:2")
        answers(engine)
        assert engine.rebuild() == engine.status()["images"]
        answers(engine)
    if store == "toy":
        assert sorted(os.listdir(tmp_path / "library" / "store")) == ["records.json", "seal.json", "vectors.npy"]
        assert beside(tmp_path / "library") == []


@pytest.mark.parametrize("name", ["vectors.npy", "records.json", "seal.json"])
def test_damage_to_its_files_is_noticed(opened: Opened, photos: Path, tmp_path: Path, name: str) -> None:
    with opened("toy") as engine:
        engine.index(photos)
        file = tmp_path / "library" / "store" / name
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        refuses(engine, f"{name} in it has changed" if name != "seal.json" else "seal.json in it is damaged|not made by this user|another")
        engine.rebuild()
        answers(engine)


def test_files_of_another_version_or_kind_are_made_anew(opened: Opened, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("toy") as engine:
        engine.index(photos)
        monkeypatch.setattr(toystores.ToyFiles, "version", classmethod(lambda cls: "2"))
        refuses(engine, r"another version of Toy \(toy 1\)")
        engine.index(photos)
        answers(engine)
    with opened("chroma") as engine:
        refuses(engine, r"another kind of store \(toy 2\)")
        engine.index(photos)
        answers(engine)
    with opened("toy") as engine:
        refuses(engine, "another kind of store")
        engine.index(photos)
        answers(engine)


KILLED = """
import os, signal, sys
import toystores
from image_search.stores import STORES
from image_search.testing import quick_engine

library, photos, verb, wait = *sys.argv[1:4], int(sys.argv[4])
real = toystores.ToyFiles.save

def save(store):
    global wait
    wait -= 1
    if not wait:
        (store.folder / "vectors.npy").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    real(store)

toystores.ToyFiles.save = save
STORES["toy"] = toystores.FILES
with quick_engine(library, store="toy") as engine:
    getattr(engine, verb)(*[photos][: verb == "index"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot kill so")
def test_killed_while_it_writes_it_is_as_it_was(opened: Opened, photos: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"

    def killed(verb: str, wait: int) -> None:
        path = os.pathsep.join([str(Path(toystores.__file__).parent), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-c", KILLED, str(library), str(photos), verb, str(wait)]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr

    killed("index", 2)  # the first is the empty store
    with opened() as engine:
        refuses(engine, "there is no store yet")
        engine.index(photos)  # the catalog was whole
        answers(engine)
        assert [name for name in beside(library) if "read" not in name] == []  # but the copy that this engine reads
        before = engine.status()["images"]
        picture("circle", 77).save(photos / "circle" / "more.png")
    killed("index", 1)
    with opened() as engine:
        assert engine.status()["images"] == before + 1
        assert engine.status()["store_note"] == "the library has changed since"  # the one before, whole
        refuses(engine, "not up to date")
        engine.index(photos)
        answers(engine)
    killed("rebuild", 2)
    with opened() as engine:
        answers(engine)  # the one before is still right
        engine.rebuild()
        answers(engine)
    assert beside(library) == []


def test_a_server_that_lost_images_is_noticed(opened: Opened, photos: Path) -> None:
    with opened(ON_SERVER) as engine:
        engine.index(photos)
        (store,) = toystores.ToyServer.servers["http://toys:1"].values()
        store.delete([QUERY])
        refuses(engine, "another number of images")
        engine.rebuild()
        answers(engine)
        (store,) = toystores.ToyServer.servers["http://toys:1"].values()
        store.mark({"generation": "1"})
        refuses(engine, "another state")
        store.mark({"generation": None})
        refuses(engine, "it was not finished")


def test_a_server_that_the_user_did_not_name_is_sent_nothing(opened: Opened, photos: Path, tmp_path: Path) -> None:
    with opened(ON_SERVER) as engine:
        engine.index(photos)
    (tmp_path / "library" / "store.server" / "seal.json").unlink()
    toystores.ToyServer.servers.clear()
    lines: list[str] = []
    with opened(notify=lines.append) as engine:
        fill(photos, 5)
        engine.index(photos)
    (line,) = lines
    assert line.endswith(f"it was not finished; to use it again, name it: ImageSearchEngine(store='{ON_SERVER}').rebuild()")
    assert told(line, in_shell).endswith(f"it was not finished; to use it again, name it: image-search rebuild --store {ON_SERVER}")


def test_a_store_that_is_not_installed_costs_nothing_but_itself(opened: Opened, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_args: object, **_options: object) -> None:
        raise ImportError("No module named 'toy'")

    monkeypatch.setitem(STORES, "toy", replace(toystores.FILES, package="toy", extra="toys"))
    monkeypatch.setattr(toystores.ToyFiles, "version", absent)
    monkeypatch.setattr(toystores.ToyFiles, "open_files", absent)
    lines: list[str] = []
    with opened("toy", notify=lines.append) as engine:
        assert engine.index(photos).added == 12
        assert len(engine.search(QUERY, 100)) == 12
        refuses(engine, "there is no store yet")
    assert 'the store toy needs toy, which is not installed. Install it with: pip install "ai-image-search-engine[toys]"' in lines[0]


def test_a_store_that_nobody_named_is_kept_where_it_would_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below that no run imports Chroma, and the library holds nothing of it; a library that has a store keeps it."""
    photos, library = tmp_path / "photos", tmp_path / "library"
    fill(photos, 2)
    with quick_engine(library, store=None) as engine:
        engine.index(photos)
        status = engine.status()
        assert (status["store"], status["store_ready"]) == ("chroma", False)
        assert status["store_note"] == "a store is kept from 100,000 images on, or where you name one"
        assert not (library / "store").exists()
        fill(photos, 1, first=10)
        monkeypatch.setattr(image_search.stores.library_store, "STORE_PAYS_FROM", 7)
        engine.index(photos)
        assert engine.status()["store_ready"], "it has grown"
        monkeypatch.setattr(image_search.stores.library_store, "STORE_PAYS_FROM", 100)
        fill(photos, 1, first=20)
        engine.index(photos)
        assert engine.status()["store_ready"], "it is there: it follows"


def test_without_a_store_the_way_to_one_is_told(tmp_path: Path) -> None:
    """`rebuild` alone makes none where it is said that none is kept."""
    fill(tmp_path / "photos", 3)
    picture = next((tmp_path / "photos").rglob("*.png"))
    with quick_engine(tmp_path / "library", store="exact") as engine:
        engine.index(tmp_path / "photos", progress=False)
        with pytest.raises(StoreError) as caught:
            engine.search(picture, how="store")
    assert told(caught.value.line, in_shell).endswith("Make one with: image-search rebuild --store chroma")
    with quick_engine(tmp_path / "library", store="chroma") as engine:
        engine.rebuild()
        assert engine.search(picture, how="store")


def test_rebuild_makes_one_of_any_size(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 1)
    with quick_engine(tmp_path / "library", store=None) as engine:
        engine.index(tmp_path / "photos")
        assert not engine.status()["store_ready"]
        assert engine.rebuild() == 3
        assert engine.status()["store_ready"]
