"""The store of a library is used only while its manifest proves every byte of it; killed anywhere, nothing is lost and nothing lies."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_stores import chroma_server  # noqa: F401 - the fixture

from image_search import ImageSearchEngine
from image_search.errors import DiskFullError, LibraryBusyError, LibraryReadOnlyError, StoreError
from image_search.library.lock import ProcessLock
from image_search.stores import chroma as chroma_module
from image_search.stores import manifest as manifest_module
from image_search.stores import verified as verified_module
from image_search.stores.replica import StoreReplica
from image_search.types import Float32, StoreRecords, VectorStore

DIM = 8
N = 1100  # over Chroma's sync threshold of 1,000: the index is on disk in all its five files
X: Float32 = np.random.default_rng(0).standard_normal((2 * N, DIM)).astype(np.float32)
X /= np.linalg.norm(X, axis=1, keepdims=True)


def records(first: int, last: int, step: int = 400) -> Iterator[StoreRecords]:
    """Record i has vector X[i]."""
    for start in range(first, last, step):
        ids = range(start, min(last, start + step))
        yield StoreRecords([f"id:{i}" for i in ids], X[start : ids[-1] + 1].copy(), [{"uri": f"/{i}.jpg", "name": "n"} for i in ids])


def replica(library: Path, **changes: Any) -> StoreReplica:
    options: dict[str, Any] = {"dim": DIM, "model": "m1", **changes}
    return StoreReplica(library, **options)


def finds_exactly(store: VectorStore | None, wanted: Iterable[int]) -> None:
    """Each wanted record finds itself, and there is no other."""
    wanted = list(wanted)
    assert store is not None
    assert store.count() == len(wanted)
    ids, similarities = store.query(X[wanted], 1)
    assert [row[0] for row in ids] == [f"id:{i}" for i in wanted]
    assert all(row[0] > 0.99999 for row in similarities)


def check(library: Path, generation: int, wanted: Iterable[int]) -> None:
    with replica(library) as m:
        store = m.open(generation)
        assert store is not None, m.why
        finds_exactly(store, wanted)


def beside(library: Path) -> list[str]:
    """What lies in the library but the store and its lock."""
    return sorted(set(os.listdir(library)) - {"store", "store.lock"})


@pytest.fixture(autouse=True)
def secret(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.getbasetemp() / "user" / "secret"
    monkeypatch.setenv("IMAGE_SEARCH_SECRET_FILE", str(path))
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose store is a copy of generation 7: records 0 to N - 1."""
    library = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGE_SEARCH_SECRET_FILE", str(tmp_path_factory.getbasetemp() / "user" / "secret"))
        replica(library).rebuild(7, records(0, N))
    return library


@pytest.fixture
def library(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "library")
    return tmp_path / "library"


# Its life


def test_a_life(tmp_path: Path) -> None:
    m = replica(tmp_path)
    assert m.verified_generation() is None
    assert m.why == "there is no store yet"
    assert m.open(1) is None
    with pytest.raises(StoreError, match="there is no store yet"):
        m.update(1, [], [])
    m.rebuild(1, records(0, 50))
    assert m.verified_generation() == 1
    m.update(5, records(50, 60), [["id:0", "id:1"], ["id:2"]])
    assert (m.verified_generation(), m.why, m.needs_rebuild) == (5, "", False)
    assert m.open(1) is None
    assert "not up to date" in m.why
    assert m.open(6) is None
    store = m.open(5)
    finds_exactly(store, range(3, 60))
    m.close()
    m.close()
    m.update(6, [], [])  # nothing changed in the store, but it knows the generation
    check(tmp_path, 6, range(3, 60))
    m.rebuild(9, [])
    check(tmp_path, 9, [])
    assert beside(tmp_path) == []


def test_delete_comes_before_upsert(library: Path) -> None:
    with replica(library) as m:
        m.update(8, records(0, 3), [["id:0", "id:1", "id:2", "id:3"]])
    check(library, 8, [*range(3), *range(4, N)])


def test_a_store_full_of_dead_records_says_so(tmp_path: Path) -> None:
    m = replica(tmp_path)
    m.rebuild(1, records(0, 100))
    m.update(2, records(100, 200), [])  # only new ones
    m.update(3, records(0, 20), [[f"id:{i}" for i in range(20, 50)]])  # 20 replaced, 30 deleted of then 170
    assert m.verified_generation() == 3
    assert not m.needs_rebuild
    m.update(4, records(60, 70), [])
    assert m.verified_generation() == 4
    assert m.needs_rebuild
    m.rebuild(5, records(0, 100))
    assert m.verified_generation() == 5
    assert not m.needs_rebuild


def test_another_model_or_dimension_is_not_opened(library: Path) -> None:
    for change in ({"model": "m2"}, {"dim": DIM + 1}):
        m = replica(library, **change)
        assert m.verified_generation() is None
        assert m.open(7) is None
        assert "another model" in m.why


def test_another_version_of_chroma_is_not_trusted_with_the_files(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma_module, "version", lambda _name: "1.9.0")
    m = replica(library)
    assert m.open(7) is None
    assert "another version of Chroma" in m.why


def test_exact_is_no_store(tmp_path: Path) -> None:
    m = replica(tmp_path, spec="exact")
    m.rebuild(1, records(0, 3))
    m.update(1, [], [])
    assert m.verified_generation() is None
    assert m.open(1) is None
    assert m.why
    assert os.listdir(tmp_path) == []


# Reading touches nothing


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_ino, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_reading_changes_no_byte_of_it(library: Path) -> None:
    before = snapshot(library / "store")
    for _ in range(3):
        check(library, 7, range(N))
    assert snapshot(library / "store") == before
    assert beside(library) == []


def test_readers_go_on_while_a_writer_replaces_it(library: Path) -> None:
    with replica(library) as one, replica(library) as two:
        first, second = one.open(7), two.open(7)
        replica(library).update(8, records(N, N + 5), [["id:0"]])
        replica(library).rebuild(9, records(0, 10))
        finds_exactly(first, range(N))
        finds_exactly(second, range(N))
    check(library, 9, range(10))
    assert beside(library) == []


def test_not_even_its_index_is_shared_with_a_reader(library: Path) -> None:
    """Chroma writes into an index it only reads: with hard links its files changed after this very sequence."""
    replica(library).rebuild(1, records(0, 50))
    replica(library).update(2, records(50, 60), [["id:0", "id:1"], ["id:2"]])
    before = snapshot(library / "store")
    check(library, 2, range(3, 60))
    assert snapshot(library / "store") == before


READ = """
import sys
from pathlib import Path
from image_search.stores.replica import StoreReplica
import numpy as np
m = StoreReplica(Path(sys.argv[1]), dim=8, model="m1")
store = m.open(7)
store.query(np.ones((1, 8), np.float32), 3)
print("reading", flush=True)
sys.stdin.read()
"""


def test_a_killed_reader_costs_nothing(library: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", READ, str(library)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "reading\n"
        check(library, 7, range(N))
        assert len(beside(library)) == 1  # the living reader's copy stays
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    check(library, 7, range(N))
    assert beside(library) == []


def test_a_busy_store_is_not_waited_for(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified_module, "STORE_WRITER_SECONDS", 0.05)
    m = replica(library)
    with ProcessLock(library / "store.lock", what="rebuild"):
        assert m.open(7) is None
        assert f"in use by process {os.getpid()} (image-search rebuild)" in m.why
        for write in (lambda: m.update(8, records(0, 1), []), lambda: m.rebuild(8, records(0, 1))):
            with pytest.raises(LibraryBusyError) as caught:
                write()
            assert caught.value.pid == os.getpid()
    check(library, 7, range(N))


# Damage


def damages(folder: Path, rng: np.random.Generator, flips: int) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """(what, function that does it) for each file of a store, manifest included."""
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert len(files) == 7  # SQLite, five of the index, the manifest
    for name in files:
        size = (folder / name).stat().st_size
        yield f"{name} halved", lambda f, n=name, s=size: os.truncate(f / n, s // 2)
        yield f"{name} emptied", lambda f, n=name: os.truncate(f / n, 0)
        yield f"{name} missing", lambda f, n=name: (f / n).unlink()
        yield f"{name} random", lambda f, n=name, s=size: (f / n).write_bytes(rng.bytes(s))
        yield f"{name} longer", lambda f, n=name: (f / n).write_bytes((f / n).read_bytes() + b"\0")
        yield f"{name} a folder", lambda f, n=name: ((f / n).unlink(), (f / n).mkdir())
        for _ in range(flips):
            place, bit = int(rng.integers(size)), 1 << int(rng.integers(8))

            def flip(f: Path, n: Path = name, place: int = place, bit: int = bit) -> None:
                data = bytearray((f / n).read_bytes())
                data[place] ^= bit
                (f / n).write_bytes(data)

            yield f"{name} bit {bit} of byte {place}", flip
    yield "a file too many", lambda f: (f / "notes.txt").write_text("mine")
    yield "a journal", lambda f: (f / "chroma.sqlite3-journal").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7" + bytes(504))
    yield "a folder's file too many", lambda f: ((f / "x").mkdir(), (f / "x" / "header.bin").write_bytes(b"1"))
    yield "the index gone", lambda f: shutil.rmtree(next(p for p in f.iterdir() if p.is_dir()))


def survives_damages(library: Path, tmp_path: Path, flips: int, monkeypatch: pytest.MonkeyPatch) -> int:
    def opened(*_args: object) -> None:
        raise AssertionError("Chroma was given a doubtful store")

    monkeypatch.setattr(chroma_module, "folder_client", opened)
    done = 0
    for what, damage in damages(library / "store", np.random.default_rng(1), flips):
        broken = tmp_path / "broken"
        shutil.copytree(library, broken)
        damage(broken / "store")
        m = replica(broken)
        assert m.verified_generation() is None, what
        assert m.why and "\n" not in m.why, what
        assert m.open(7) is None, what
        with pytest.raises(StoreError):
            m.update(8, records(0, 1), [])
        assert beside(broken) == [], what
        shutil.rmtree(broken)
        done += 1
    return done


def test_every_damage_is_found(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert survives_damages(library, tmp_path, 4, monkeypatch) >= 60
    monkeypatch.undo()


@pytest.mark.slow
def test_every_damage_is_found_at_length(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert survives_damages(library, tmp_path, 70, monkeypatch) >= 500


def test_a_changed_manifest_is_no_manifest(library: Path) -> None:
    seal = library / "store" / "seal.json"
    data = json.loads(seal.read_text())
    changes = [
        {"generation": 8},
        {"count": N + 1},
        {"model": "m2"},
        {"format": 2},
        {"signature": ""},
        {"signature": None},
        {"files": {}},
        {"more": 1},
    ]
    for change in changes:
        seal.write_text(json.dumps({**data, **change}))
        assert replica(library).verified_generation() is None, change
    for text in ("[]", "{}", "null", "[" * 100_000, json.dumps({k: v for k, v in data.items() if k != "churn"})):
        seal.write_text(text)
        m = replica(library)
        assert m.verified_generation() is None
        assert "seal" in m.why
    seal.write_text(json.dumps(data))
    assert replica(library).verified_generation() == 7


OLD = """{
 "format": 1,
 "generation": 7,
 "dim": 8,
 "model": "m1",
 "count": 3,
 "churn": 1,
 "chroma": "%s",
 "files": %s,
 "signature": "%s"
}"""


@pytest.mark.parametrize(
    ("written_by", "files", "signature"),
    [
        ("1.5.9", {"chroma.sqlite3": [5, "ab"]}, "f7e2bb49276b573dc68f76c843bace4e8485f6fa0c1339aba71fd11e22e3dbd1"),
        ("http://localhost:8000", {}, "879dc60b62dc47c52238ce8b7285d50bc4952654b529a7c84ea6c276cfd86132"),
    ],
)
def test_a_manifest_is_written_as_ever(tmp_path: Path, written_by: str, files: dict[str, list[Any]], signature: str) -> None:
    """Byte for byte what the first version wrote, so that libraries made before and after open in either."""
    secret = bytes(range(32))
    manifest = manifest_module.Manifest(7, 8, "m1", 3, 1, written_by, files)
    manifest_module.write_manifest(tmp_path, manifest, secret)
    text = OLD % (written_by, json.dumps(files, indent=1).replace("\n", "\n "), signature)
    assert (tmp_path / "seal.json").read_text() == text
    assert manifest_module.read_manifest(tmp_path, secret) == manifest


def test_no_link_is_followed(library: Path, tmp_path: Path) -> None:
    store = library / "store"
    index = next(p for p in store.iterdir() if p.is_dir())
    for path in (store / "chroma.sqlite3", index / "header.bin", index, store / "seal.json", store):
        moved = tmp_path / "elsewhere"
        os.rename(path, moved)
        path.symlink_to(moved)
        m = replica(library)
        assert m.verified_generation() is None, path
        assert m.open(7) is None, path
        path.unlink()
        os.rename(moved, path)
    check(library, 7, range(N))
    os.mkfifo(store / "pipe")
    assert replica(library).verified_generation() is None
    (store / "pipe").unlink()
    os.rename(store / "seal.json", tmp_path / "seal")
    os.mkfifo(store / "seal.json")
    assert replica(library).verified_generation() is None


def test_a_damaged_store_is_rebuilt(library: Path) -> None:
    (library / "store" / "chroma.sqlite3").write_bytes(b"")
    replica(library).rebuild(8, records(0, 30))
    check(library, 8, range(30))
    assert beside(library) == []


def test_links_planted_beside_it_are_removed_and_not_followed(library: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear reader")
    for name in ("store.old", "store.next-0123", "store.read-1-aa"):
        (library / name).symlink_to(mine)
    shutil.rmtree(library / "store")
    (library / "store").symlink_to(mine)
    replica(library).rebuild(8, records(0, 30))
    check(library, 8, range(30))
    assert beside(library) == []
    assert [p.name for p in mine.iterdir()] == ["letter.txt"]


# Strangers


class Evil:
    def __reduce__(self) -> Any:
        return (os.system, (f"touch {os.environ['EVIL']}",))


def test_a_strangers_store_is_not_opened(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the stranger signed it: its index has a pickle inside."""
    monkeypatch.setenv("EVIL", str(tmp_path / "ran"))
    monkeypatch.setenv("IMAGE_SEARCH_SECRET_FILE", str(tmp_path / "stranger" / "secret"))
    planted = next((library / "store").glob("*/index_metadata.pickle"))
    planted.write_bytes(pickle.dumps(Evil()))
    manifest = manifest_module.Manifest(7, DIM, "m1", N, 0, chroma_module.version("chromadb"), listed_files(library / "store"))
    manifest_module.write_manifest(library / "store", manifest, manifest_module.read_secret())
    assert replica(library).verified_generation() == 7  # for the stranger it is verified
    monkeypatch.setenv("IMAGE_SEARCH_SECRET_FILE", str(tmp_path / "me" / "secret"))
    m = replica(library)
    assert m.verified_generation() is None
    assert m.open(7) is None
    assert "not made by this user" in m.why
    assert not (tmp_path / "ran").exists()


def listed_files(store: Path) -> dict[str, list[Any]]:
    (store / "seal.json").unlink()
    return manifest_module.list_files(store)


def test_the_secret_is_private_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data" / "secret"
    monkeypatch.setenv("IMAGE_SEARCH_SECRET_FILE", str(path))
    first = manifest_module.read_secret()
    assert len(first) == 32
    assert manifest_module.read_secret() == first
    assert os.listdir(path.parent) == ["secret"]
    if os.name != "nt":
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)  # whoever could read it could sign in my name
        assert manifest_module.read_secret() is None
        path.chmod(0o600)
    path.write_bytes(first[:10])
    assert manifest_module.read_secret() is None
    path.unlink()
    path.symlink_to(tmp_path / "other")
    (tmp_path / "other").write_bytes(first)
    assert manifest_module.read_secret() is None


def test_without_a_secret_there_is_no_store(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IMAGE_SEARCH_SECRET_FILE", str(tmp_path / "file" / "secret"))
    m = replica(library)
    assert m.verified_generation() is None
    assert m.open(7) is None
    assert "secret" in m.why
    with pytest.raises(StoreError, match="cannot be finished"):
        m.rebuild(8, records(0, 1))


# Failing while writing


def failing(after: int, error: BaseException) -> Iterator[StoreRecords]:
    yield from records(N, N + after, step=1)
    raise error


@pytest.mark.parametrize("error", [ValueError("from the catalog"), OSError(5, "its disk"), KeyboardInterrupt()])
def test_what_the_records_raise_comes_out_as_it_is(library: Path, error: BaseException) -> None:
    for write in (lambda m: m.update(8, failing(3, error), [["id:0"]]), lambda m: m.rebuild(8, failing(3, error))):
        with pytest.raises(type(error)) as caught:
            write(replica(library))
        assert caught.value is error
        assert beside(library) == []
        check(library, 7, range(N))


def test_bad_records_leave_the_old_store(library: Path) -> None:
    bad = next(records(N, N + 2))
    bad.vectors[1, 0] = np.nan
    for write in (lambda m: m.update(8, [bad], []), lambda m: m.rebuild(8, [bad])):
        with pytest.raises(StoreError, match="not finite"):
            write(replica(library))
        check(library, 7, range(N))


def test_records_that_chroma_loses_are_noticed(library: Path) -> None:
    with pytest.raises(StoreError, match="holds 10 of 20"):
        replica(library).rebuild(8, [*records(0, 10), *records(0, 10)])
    check(library, 7, range(N))


def test_a_full_disk_leaves_the_old_store(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(verified_module.shutil, "disk_usage", lambda _path: usage(100, 99, 20 << 20))
        m = replica(library)
        for write in (lambda: m.update(8, records(N, N + 1), []), lambda: m.rebuild(8, records(0, 9))):
            with pytest.raises(DiskFullError, match="no room left"):
                write()
        assert m.open(7) is None
        assert "no room left" in m.why
        assert beside(library) == []
    check(library, 7, range(N))


@pytest.mark.parametrize(("code", "kind"), [(28, DiskFullError), (30, LibraryReadOnlyError), (13, LibraryReadOnlyError), (5, StoreError)])
def test_file_errors_are_ours(library: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(verified_module.os, "rename", refuse)
        for write in (lambda m: m.update(8, records(N, N + 1), []), lambda m: m.rebuild(8, records(0, 9))):
            with pytest.raises(kind) as caught:
                write(replica(library))
            assert isinstance(caught.value.__cause__, OSError)
    check(library, 7, range(N))
    assert beside(library) == []


@pytest.mark.slow
@pytest.mark.parametrize("checked", [True, False])
def test_a_really_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checked: bool) -> None:
    """A tmpfs of every size from too small for anything to large enough, with our check before each batch and with Chroma running into
    the wall: never a manifest that lies, never a lost old store, and the right name for what happened."""
    disk = tmp_path / "disk"
    disk.mkdir()
    big = np.random.default_rng(2).standard_normal((4000, 512)).astype(np.float32)
    batches = [StoreRecords([f"id:{i}" for i in range(k, k + 500)], big[k : k + 500], [{"uri": "u"}] * 500) for k in range(0, 4000, 500)]
    room = verified_module.FilesBackend._room
    monkeypatch.setattr(verified_module.FilesBackend, "_room", room if checked else lambda *_: None)
    outcomes = []
    for megabytes in (1, 2, 4, 8, 12, 16, 34, 36, 40, 44, 48, 52, 60):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", disk], capture_output=True).returncode:
            pytest.skip("a tmpfs cannot be mounted here")
        try:
            m = replica(disk, dim=512)
            done = None
            try:
                m.rebuild(1, batches[:1])
                done = 1
                m.rebuild(2, batches)
                done = 2
            except DiskFullError:
                pass
            assert m.verified_generation() == done
            assert not [name for name in os.listdir(disk) if name.startswith("store.next")]
            outcomes.append(done)
        finally:
            subprocess.run(["umount", "-l", disk], check=True)
    assert set(outcomes) == {None, 1, 2}


# Kills

KILL = """
# Copies a library, writes to it in a child, and kills the child at its k-th step, for each k given.
import os, shutil, signal, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[5])
import chromadb
from test_replica import N, records, replica
from image_search.stores.chroma import ChromaStore

built, work, what, steps = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], [float(s) for s in sys.argv[4].split(",")]
for number, step in enumerate(steps):
    library = work / str(number)
    shutil.copytree(built, library)
    child = os.fork()
    if not child:
        die = lambda: os.kill(os.getpid(), signal.SIGKILL)
        if step < 1:  # a moment, in seconds: also inside Chroma's own code
            threading.Timer(step, die).start()
        else:
            seen = 0
            def count(event, args):
                global seen
                if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "chroma") and "store" in str(args[0]):
                    seen += 1
                    if seen == step:
                        die()
            sys.addaudithook(count)
            for name in ("upsert", "delete", "close"):
                real = getattr(ChromaStore, name)
                def stepped(self, *a, real=real):
                    sys.audit("chroma", "store")
                    real(self, *a)
                    sys.audit("chroma", "store")
                setattr(ChromaStore, name, stepped)
        m = replica(library)
        if what == "update":
            m.update(8, records(N, N + 300, step=100), [["id:0", "id:1"], ["id:2"]])
        else:
            m.rebuild(8, records(3, N + 300, step=200))
        os._exit(0)
    print(int(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL), flush=True)
"""


def kills(built: Path, work: Path, what: str, steps: Sequence[float]) -> tuple[int, list[int | None]]:
    """Every library that was killed is at the old generation or the new one, whole; and can go on. Returns how many kills hit."""
    script = work / "kill.py"
    script.write_text(KILL)
    out = subprocess.run(
        [sys.executable, str(script), str(built), str(work), what, ",".join(map(str, steps)), str(Path(__file__).parent)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    hit = [line == "1" for line in out.stdout.split()]
    assert len(hit) == len(steps)
    after = []
    for number, killed in enumerate(hit):
        library = work / str(number)
        with replica(library) as m:
            old, new = range(N), range(3, N + 300)
            store = m.open(7) or m.open(8)
            assert store is not None, (what, steps[number], m.why)
            verified = m.verified_generation()
            finds_exactly(store, old if verified == 7 else new)
            m.close()
            assert beside(library) == []
            if verified == 7:
                assert killed
                m.update(8, records(N, N + 300), [["id:0", "id:1", "id:2"]])
                finds_exactly(m.open(8), new)
            after.append(verified)
        shutil.rmtree(library)
    return sum(hit), after


# Copying, between Chroma's calls, closed without a manifest, with one, between the two renames, tidying up, and not at all.
AIMED = {"update": [10, 24, 32, 35, 45, 48, 49, 500], "rebuild": [5, 15, 19, 30, 33, 34, 500]}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("what", ["update", "rebuild"])
def test_killed_while_writing(built: Path, tmp_path: Path, what: str) -> None:
    hits, after = kills(built, tmp_path, what, AIMED[what])
    assert hits == len(AIMED[what]) - 1
    assert after.count(8) >= 2


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("what", ["update", "rebuild"])
def test_killed_while_writing_at_every_step(built: Path, tmp_path: Path, what: str) -> None:
    hits, after = kills(built, tmp_path, what, [*range(1, 100), *np.random.default_rng(3).uniform(0, 0.4, 60).round(4)])
    assert hits >= 60
    assert after.count(7) >= 40
    assert after.count(8) >= 40


def test_killed_between_its_two_renames(library: Path) -> None:
    """The only moment without a store: what was finished is found and put in place."""
    replica(library).update(8, records(N, N + 5), [])
    os.rename(library / "store", library / "store.next-abcd")
    check(library, 8, range(N + 5))
    assert beside(library) == []


# A server


def test_a_store_on_a_server(chroma_server: str, tmp_path: Path) -> None:  # noqa: F811
    spec = f"chroma:{chroma_server}"
    with replica(tmp_path, spec=spec) as m, replica(tmp_path, spec=spec) as other:
        assert m.verified_generation() is None
        assert m.why
        with pytest.raises(StoreError):
            m.update(1, [], [])
        m.rebuild(1, records(0, 50))
        m.update(5, records(50, 60), [["id:0", "id:1"], ["id:2"]])
        assert (m.verified_generation(), m.needs_rebuild) == (5, False)
        assert m.open(1) is None
        finds_exactly(other.open(5), range(3, 60))
        assert replica(tmp_path, spec=spec, model="m2").verified_generation() is None
        assert replica(tmp_path / "another", spec=spec).verified_generation() is None
        with pytest.raises(ValueError, match="half way"):  # with as many images as before
            m.update(6, failing(1, ValueError("half way")), [["id:3"]])
        assert m.verified_generation() is None
        assert m.open(5) is None
        assert m.open(6) is None
        with pytest.raises(StoreError):
            m.update(6, [], [])
        m.rebuild(6, records(0, 10))
        finds_exactly(m.open(6), range(10))
        with pytest.raises(StoreError):
            other.open(5) or other._used()._open().query(np.ones((1, DIM + 1), np.float32), 1)


def test_a_strangers_library_is_not_taken_to_their_server(chroma_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The queries would go there. Nothing is asked of a server that this user has not built a store on."""
    spec = f"chroma:{chroma_server}"
    replica(tmp_path, spec=spec).rebuild(1, records(0, 5))
    assert replica(tmp_path, spec=spec).verified_generation() == 1

    def asked(*_args: object) -> None:
        raise AssertionError("a server was asked")

    monkeypatch.setattr(chroma_module, "server_client", asked)
    m = replica(tmp_path, spec="chroma:http://127.0.0.1:1")
    assert m.verified_generation() is None
    assert m.open(1) is None
    assert "another server" in m.why
    monkeypatch.setenv("IMAGE_SEARCH_SECRET_FILE", str(tmp_path / "another user" / "secret"))
    m = replica(tmp_path, spec=spec)
    assert m.open(1) is None
    assert m.verified_generation() is None
    assert "not made by this user" in m.why


def test_a_server_that_lost_images_is_noticed(chroma_server: str, tmp_path: Path) -> None:  # noqa: F811
    spec = f"chroma:{chroma_server}"
    with replica(tmp_path, spec=spec) as m:
        m.rebuild(1, records(0, 20))
        store = m.open(1)
        store.delete(["id:3"])  # by whoever else uses this server
        assert m.verified_generation() is None
        assert "another number" in m.why


def test_a_server_that_is_gone_is_one_line(chroma_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    m = replica(tmp_path, spec=f"chroma:{chroma_server}")
    m.rebuild(1, records(0, 3))
    gone = replica(tmp_path, spec="chroma:http://127.0.0.1:1")
    monkeypatch.setattr(gone._backend, "_mine", m._backend._mine)
    assert gone.verified_generation() is None
    assert gone.open(1) is None
    assert "does not answer" in gone.why
    assert "\n" not in gone.why
    with pytest.raises(StoreError, match="does not answer"):
        gone.rebuild(1, records(0, 3))


def test_a_rebuild_that_fails_leaves_the_store_as_it_was(tmp_path: Path, photos: Path) -> None:
    with ImageSearchEngine(tmp_path / "library", model="mini", store="chroma", jobs=1, notify=lambda line: None) as engine:
        engine.index(photos)
    with ImageSearchEngine(tmp_path / "library", store="chroma:http://127.0.0.1:1") as engine, pytest.raises(StoreError):
        engine.rebuild()
    with ImageSearchEngine(tmp_path / "library") as engine:
        assert (engine.status()["store"], engine.status()["store_ready"]) == ("chroma", True)
