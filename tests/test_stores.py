"""One contract for every store in the table, and exact search against the plainest way to compute it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import toystores
from milvusserver import milvus_server as real_milvus

from image_search import stores
from image_search.errors import MissingExtraError, StoreError, UsageError
from image_search.stores import STORES, Place, StoreRow, StoreSpec, open_store, parse_spec
from image_search.stores import exact as exact_module
from image_search.stores.chroma import ChromaStore
from image_search.stores.exact import ExactStore, top_k
from image_search.types import Float32, VectorStore

DIM = 16
TOYS = {row.name: row for row in (toystores.FILES, toystores.SERVER)}
LITE = StoreRow("lite", "Milvus Lite", "toystores:LiteStore", ("server",))  # Milvus' store in a file: the same calls, without a server


def unit(rng: np.random.Generator, n: int, dim: int = DIM) -> Float32:
    x = rng.standard_normal((n, dim)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def meta(n: int) -> list[dict[str, str]]:
    return [{"uri": f"/photos/{i}.jpg", "name": "name"} for i in range(n)]


@pytest.fixture(autouse=True)
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_SEARCH_SECRET_FILE", str(tmp_path / "own" / "secret"))


@pytest.fixture(scope="module")
def chroma_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Chroma server on a free port of this machine."""
    script = shutil.which("chroma", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if script is None:
        pytest.skip("the chroma command is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [script, "run", "--path", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log, cwd=folder
        )
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def toyserver_server(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(toystores.ToyServer, "servers", {"http://toys:1": {}})
    return "http://toys:1"


@pytest.fixture
def lite_server(tmp_path: Path) -> str:
    pytest.importorskip("pymilvus", reason="pymilvus is not here: pip install 'ai-image-search-engine[milvus]'")
    pytest.importorskip("milvus_lite", reason="Milvus Lite is not here: pip install 'ai-image-search-engine[milvus]'")
    toystores.LiteStore.folder = tmp_path
    return "http://lite:1"


@pytest.fixture(scope="module")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_milvus(tmp_path_factory.mktemp("milvus")) as address:
        yield address


def every(*places: Place) -> list[Any]:
    """Each row of the table in each of these places, the two toys included; a real Milvus takes seconds to start, and for each answer."""
    rows = {**STORES, **TOYS, LITE.name: LITE}.values()
    return [
        pytest.param((row, place), id=f"{row.name} {place}", marks=[pytest.mark.slow] if row.name == "milvus" else [])
        for row in rows
        for place in row.places
        if place in places
    ]


@pytest.fixture(params=every("memory", "files", "server"))
def spec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How to name a store of this kind. One on a server brings a fixture KIND_server: the address of one that runs for the tests."""
    return named(request, monkeypatch)


@pytest.fixture(params=every("files", "server"))
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As `spec`, of those that keep what they are given."""
    return named(request, monkeypatch)


def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    row, place = request.param
    monkeypatch.setitem(STORES, row.name, row)
    return f"{row.name}:{request.getfixturevalue(f'{row.name}_server')}" if place == "server" else str(row.name)


@pytest.fixture
def store(spec: str, tmp_path: Path) -> Iterator[VectorStore]:
    store = open_store(spec, folder=tmp_path / "store", dim=DIM, model="m1")
    yield store
    store.close()


# The contract


def test_an_empty_store_finds_nothing(store: VectorStore) -> None:
    assert store.count() == 0
    assert store.query(np.eye(2, DIM, dtype=np.float32), 3) == ([[], []], [[], []])


def test_nearest_first_with_cosines(store: VectorStore) -> None:
    x = unit(np.random.default_rng(1), 50)
    store.upsert([f"id:{i}" for i in range(50)], x, meta(50))
    assert store.count() == 50
    ids, similarities = store.query(x[[3, 7]], 10)
    truth = x[[3, 7]].astype(np.float64) @ x.T.astype(np.float64)
    for row in range(2):
        order = np.argsort(-truth[row])[:10]
        assert ids[row] == [f"id:{i}" for i in order]
        np.testing.assert_allclose(similarities[row], truth[row][order], atol=1e-6)
        assert max(similarities[row]) <= 1.0


def test_more_than_there_is_gives_all_of_it(store: VectorStore) -> None:
    x = unit(np.random.default_rng(2), 5)
    store.upsert(list("abcde"), x, meta(5))
    ids, similarities = store.query(x[:1], 1000)
    assert sorted(ids[0]) == list("abcde")
    assert len(similarities[0]) == 5
    assert store.query(x[:0], 3) == ([], [])


def test_an_id_given_again_is_replaced(store: VectorStore) -> None:
    x = np.eye(4, DIM, dtype=np.float32)
    store.upsert(["a", "b"], x[:2], meta(2))
    store.upsert(["a"], x[2:3], meta(1))
    assert store.count() == 2
    ids, similarities = store.query(x[[0, 2]], 1)
    assert ids[1] == ["a"]
    assert similarities[1] == pytest.approx([1.0])
    assert similarities[0] == pytest.approx([0.0], abs=1e-6)


def test_deleted_is_gone_and_unknown_is_no_error(store: VectorStore) -> None:
    x = unit(np.random.default_rng(3), 20)
    store.upsert([str(i) for i in range(20)], x, meta(20))
    store.delete(["3", "never there"])
    store.delete([])
    assert store.count() == 19
    ids, _ = store.query(x[3:4], 20)
    assert len(ids[0]) == 19
    assert "3" not in ids[0]
    store.upsert(["3"], x[3:4], meta(1))
    assert store.query(x[3:4], 1)[0] == [["3"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids, x, m: (ids, np.where(np.arange(DIM) == 2, np.nan, x).astype(np.float32), m), "not finite"),
        (lambda ids, x, m: (ids, np.where(np.arange(DIM) == 2, np.inf, x).astype(np.float32), m), "not finite"),
        (lambda ids, x, m: (ids, x[:, :-1], m), "wrong shape"),
        (lambda ids, x, m: (ids, x[0], m), "wrong shape"),
        (lambda ids, x, m: (["b", "b"], x, m), "twice"),
        (lambda ids, x, m: (["b", ""], x, m), "empty"),
        (lambda ids, x, m: (ids[:1], x, m), "belong together"),
    ],
)
def test_bad_records_are_refused_and_change_nothing(store: VectorStore, change: Callable[..., Any], message: str) -> None:
    x = unit(np.random.default_rng(4), 2)
    store.upsert(["kept"], x[:1], meta(1))
    with pytest.raises(StoreError, match=message):
        store.upsert(*change(["b", "c"], x, meta(2)))
    assert store.count() == 1
    assert store.query(x[:1], 3)[0] == [["kept"]]


def test_bad_queries_are_refused(store: VectorStore) -> None:
    store.upsert(["a"], np.eye(1, DIM, dtype=np.float32), meta(1))
    for bad in (np.full((1, DIM), np.nan), np.zeros((1, DIM)), np.ones((1, DIM + 1)), np.ones(DIM)):
        with pytest.raises(StoreError):
            store.query(bad.astype(np.float32), 1)
    with pytest.raises(UsageError):
        store.query(np.ones((1, DIM), np.float32), 0)


def test_any_text_can_be_an_id_and_metadata(store: VectorStore) -> None:
    ids = ["id:1", "사진", "a\nb", "x" * 3000, 'it\'s "quoted"']
    x = unit(np.random.default_rng(5), 5)
    store.upsert(ids, x, [{"uri": f"/한국/\udcff{i}", "name": "" if i else "\udce9t\x1b"} for i in range(5)])
    assert [row[0] for row in store.query(x, 1)[0]] == ids


def test_batches_larger_than_the_store_takes_at_once(spec: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    x = unit(rng, 6000, 4)
    store = open_store(spec, folder=tmp_path / "large", dim=4, model="m1")
    store.upsert([str(i) for i in range(6000)], x, meta(6000))
    assert store.count() == 6000
    store.delete([str(i) for i in range(5500)])
    assert store.count() == 500
    ids, _ = store.query(x[5500:5600], 1)
    assert [row[0] for row in ids] == [str(i) for i in range(5500, 5600)]
    store.close()


def test_what_is_stored_is_there_in_the_next_opening(kept: str, tmp_path: Path) -> None:
    x = unit(np.random.default_rng(9), 3)
    store = open_store(kept, folder=tmp_path / "s", dim=DIM, model="m1")
    store.upsert(list("abc"), x, meta(3))
    store.close()
    store.close()  # twice is once
    store = open_store(kept, folder=tmp_path / "s", dim=DIM, model="m1")
    assert store.query(x, 1)[0] == [["a"], ["b"], ["c"]]
    store.close()
    for dim, model in ((DIM, "m2"), (DIM + 1, "m1")):
        with pytest.raises(StoreError, match="another model"):
            open_store(kept, folder=tmp_path / "s", dim=dim, model=model)


def test_two_libraries_do_not_share_a_store(kept: str, tmp_path: Path) -> None:
    x = np.eye(2, DIM, dtype=np.float32)
    one, two = (open_store(kept, folder=tmp_path / name, dim=DIM, model="m1") for name in ("one", "two"))
    one.upsert(["a"], x[:1], meta(1))
    two.upsert(["b"], x[1:], meta(1))
    assert one.query(x[:1], 9)[0] == [["a"]]
    assert two.query(x[:1], 9)[0] == [["b"]]
    one.close()
    assert two.count() == 1
    two.close()


# Chroma


def test_approximate_answers_are_nearly_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((60, 10))
    x = (centres[rng.integers(0, 60, 3000)] + 0.4 * rng.standard_normal((3000, 10))) @ rng.standard_normal((10, 64))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    queries = x[:200] + 0.02 * rng.standard_normal((200, 64)).astype(np.float32)
    store = open_store("chroma", folder=tmp_path, dim=64, model="m1")
    store.upsert([str(i) for i in range(3000)], x, meta(3000))
    ids, _ = store.query(queries, 10)
    store.close()
    truth, _ = top_k(x, queries, 10)
    found = [len({int(i) for i in a} & set(b.tolist())) for a, b in zip(ids, truth, strict=True)]
    assert sum(found) / 2000 >= 0.995


def test_any_chroma_client_can_read_it(tmp_path: Path) -> None:
    import chromadb

    store = open_store("chroma", folder=tmp_path / "s", dim=DIM, model="m1")
    x = unit(np.random.default_rng(8), 2)
    store.upsert(["a", "b"], x, [{"uri": "/1", "name": "one"}, {"uri": "/2", "name": "two"}])
    store.upsert(["a"], x[:1], [{"uri": "/3"}])  # replaced as a whole: the old name must not stay
    store.close()
    with chromadb.PersistentClient(str(tmp_path / "s")) as client:
        collection = client.get_collection("images", embedding_function=None)
        got = collection.get(["a", "b"], include=["metadatas", "embeddings"])
        assert dict(zip(got["ids"], got["metadatas"], strict=True)) == {"a": {"uri": "/3"}, "b": {"uri": "/2", "name": "two"}}
        np.testing.assert_allclose(got["embeddings"][got["ids"].index("b")], x[1], atol=1e-6)
        assert collection.configuration_json["hnsw"]["space"] == "cosine"


def test_a_space_that_is_not_cosine_is_refused(tmp_path: Path) -> None:
    import chromadb

    with chromadb.PersistentClient(str(tmp_path)) as client:
        client.create_collection(
            "images", embedding_function=None, configuration={"hnsw": {"space": "l2"}}, metadata={"model": "m1", "dim": DIM}
        )
    with pytest.raises(StoreError, match="another model"):
        open_store("chroma", folder=tmp_path, dim=DIM, model="m1")


def test_no_server_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(StoreError) as caught:
            open_store(f"chroma:http://127.0.0.1:{port}", folder=tmp_path, dim=DIM, model="m1")
    assert "does not answer (connection refused)" in str(caught.value) or sys.platform == "win32"
    assert "\n" not in str(caught.value) and "Errno" not in str(caught.value)


@pytest.mark.parametrize("kind", [RuntimeError, BaseException, MemoryError])
def test_whatever_chroma_raises_is_a_store_error(tmp_path: Path, kind: type[BaseException]) -> None:
    """Its Rust core panics with an exception that derives from BaseException alone."""
    store = open_store("chroma", folder=tmp_path, dim=DIM, model="m1")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise kind("called `Option::unwrap()`\non a `None` value")

    assert isinstance(store, ChromaStore)
    store._collection.query = fail
    with pytest.raises(StoreError) as caught:
        store.query(np.ones((1, DIM), np.float32), 1)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, kind)
    store._collection.count = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):  # this one is the user's
        store.count()
    store.close()


def test_settings_that_lie_about_are_not_read(tmp_path: Path) -> None:
    """Chroma reads .env in the working directory, and some of its settings name code to import."""
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "planted.py").write_text("open('ran', 'w').close()\nclass Api: pass\n")
    names = ("CHROMA_API_IMPL", "CHROMA_PRODUCT_TELEMETRY_IMPL", "CHROMA_QUOTA_ENFORCER_IMPL", "CHROMA_RATE_LIMIT_ENFORCER_IMPL")
    (evil / ".env").write_text("".join(f"{name}=planted.Api\n" for name in names) + "PERSIST_DIRECTORY=/nowhere\nALLOW_RESET=true\n")
    code = """
import numpy as np
from pathlib import Path
from image_search.stores import open_store
store = open_store("chroma", folder=Path("store"), dim=4, model="m")
store.upsert(["a"], np.eye(1, 4, dtype=np.float32), [{"uri": "u", "name": "n"}])
assert store.query(np.eye(1, 4, dtype=np.float32), 1)[0] == [["a"]]
assert not store.client.get_settings().allow_reset
store.close()
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(evil), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-c", code], cwd=evil, env=env, check=True)
    assert not (evil / "ran").exists()
    assert (evil / "store" / "chroma.sqlite3").exists()


# The table


def test_what_a_spec_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, row in TOYS.items():
        monkeypatch.setitem(STORES, name, row)
    said: dict[str, tuple[str, str | None, Place]] = {
        "exact": ("exact", None, "memory"),
        "chroma": ("chroma", None, "files"),
        "chroma:http://localhost:8000": ("chroma", "http://localhost:8000", "server"),
        "chroma:https://[::1]:8000": ("chroma", "https://[::1]:8000", "server"),
        "toy": ("toy", None, "files"),
        "toyserver:http://toys:1": ("toyserver", "http://toys:1", "server"),
    }
    for text, (kind, address, place) in said.items():
        spec = parse_spec(text)
        assert (spec, spec.place, str(spec)) == (StoreSpec(kind, address), place, text)
    for text in ("toy:http://toys:1", "toyserver", "toyserver:1"):
        with pytest.raises(UsageError, match="there is no store"):
            parse_spec(text)


def test_an_unknown_store_is_told_what_there_is(tmp_path: Path) -> None:
    assert isinstance(open_store("exact", folder=tmp_path, dim=3, model="m"), ExactStore)
    bad = ["", "milvus", "chroma:", "chroma:localhost:8000", "chroma:http://localhost", "chroma:ftp://localhost:1", "exact:1"]
    bad += ["chroma:http://u:p@localhost:8000", "chroma:http://localhost:99999", "chroma:file:///etc:1"]
    known = "chroma, chroma:http://HOST:PORT, exact, milvus:http://HOST:PORT, milvus:http://HOST:PORT/COLLECTION or milvus:FILE.db"
    for spec in bad:
        with pytest.raises(UsageError) as caught:
            open_store(spec, folder=tmp_path, dim=3, model="m")
        assert str(caught.value) == f"there is no store {spec!r}. Use {known}"
    with pytest.raises(
        UsageError, match=r"no collection with a name: .*8000/x. Name the library's folder, and its store as store=.*8000'$"
    ):
        open_store("chroma:http://localhost:8000/x", folder=tmp_path, dim=3, model="m")
    assert list(tmp_path.iterdir()) == []


def test_a_store_whose_package_is_missing_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = StoreRow("far", "Far", "no_such_package_at_all:Store", ("files",), package="no-such-package", extra="far")
    monkeypatch.setitem(STORES, "far", row)
    with pytest.raises(MissingExtraError, match=r"the store far needs no-such-package.*\[far\]"):
        open_store("far", folder=tmp_path, dim=3, model="m")
    monkeypatch.setitem(STORES, "far", replace(row, extra=""))  # what every installation has
    with pytest.raises(StoreError, match="the store far cannot be loaded"):
        open_store("far", folder=tmp_path, dim=3, model="m")


def test_one_file_knows_chroma() -> None:
    """Whatever else is here works for any store; the table names the class in a text."""
    house = Path(stores.__file__).parents[1]
    known = re.compile(r"^\s*(from|import)\s.*(chromadb|\bchroma\b)", re.MULTILINE)
    assert [p.relative_to(house).as_posix() for p in house.rglob("*.py") if known.search(p.read_text("utf-8"))] == ["stores/chroma.py"]


def test_chroma_is_loaded_only_when_it_is_used() -> None:
    code = "import sys, image_search.stores, image_search.stores.replica, image_search.stores.exact; print('chromadb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# Exact search


def brute(matrix: Float32, query: Float32, n: int, mask: npt.NDArray[np.bool_] | None = None) -> tuple[list[int], dict[int, float]]:
    """Float64, one row at a time, all of them sorted."""
    q = query.astype(np.float64)
    rows = [i for i in range(len(matrix)) if mask is None or mask[i]]
    values = {
        i: float((matrix[i].astype(np.float64) * q).sum() / np.linalg.norm(matrix[i].astype(np.float64)) / np.linalg.norm(q)) for i in rows
    }
    return sorted(rows, key=lambda i: (-round(values[i], 12), i))[:n], values


@pytest.mark.parametrize("share", [None, 1.0, 0.5, 0.1, 0.01, 0.0])
@pytest.mark.parametrize("n", [1, 7, 5000])
def test_top_k_is_what_sorting_everything_gives(share: float | None, n: int) -> None:
    rng = np.random.default_rng(10)
    matrix = unit(rng, 3000, 24)
    matrix[1000:1400] = matrix[:400]  # many exact ties
    matrix[2000] = matrix[7] * np.float32(1 + 1e-6)
    queries = np.concatenate([matrix[[7, 399, 2500]], unit(rng, 2, 24) * 3])
    mask = None if share is None else rng.random(3000) < share
    found, similarities = top_k(matrix, queries, n, mask=mask)
    for rows, values, query in zip(found, similarities, queries, strict=True):
        wanted, truth = brute(matrix, query, n, mask)
        assert rows.tolist() == wanted
        np.testing.assert_allclose(values, [truth[i] for i in wanted], atol=1e-14)
        assert values.dtype == np.float64


def test_ties_are_all_there_if_asked_for() -> None:
    rng = np.random.default_rng(15)
    matrix = unit(rng, 300, 24)
    matrix[[5, 50, 250]] = matrix[7]
    for n, expected in [(1, [5, 7, 50, 250]), (3, [5, 7, 50, 250]), (4, [5, 7, 50, 250]), (300, list(range(300)))]:
        (rows,), (values,) = top_k(matrix, matrix[7:8], n, ties=True)
        assert rows[: len(expected)].tolist() == expected or n == 300
        assert len(rows) == len(expected) == len(values)
    (rows,), _ = top_k(matrix, matrix[7:8], 1, mask=np.arange(300) > 6, ties=True)
    assert rows.tolist() == [7, 50, 250]


def test_the_answer_does_not_depend_on_how_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone or among others, all rows or a few of them, whole or in pieces: the same bits."""
    rng = np.random.default_rng(11)
    matrix = unit(rng, 2000, 40)
    matrix[500:1500] = matrix[0]
    queries = unit(rng, 9, 40)
    queries[0] = matrix[0]
    together = top_k(matrix, queries, 1200)
    ways = [[top_k(matrix, q[None], 1200) for q in queries]]
    monkeypatch.setattr(exact_module, "_ROWS", 7)
    monkeypatch.setattr(exact_module, "_SCORES", 5000)
    ways.append([top_k(matrix, q[None], 1200) for q in queries])
    monkeypatch.setattr(exact_module, "_GATHER", 2.0)
    padded = np.concatenate([matrix, unit(rng, 100, 40)])
    ways.append([top_k(padded, q[None], 1200, mask=np.arange(2100) < 2000) for q in queries])
    for way in ways:
        for (rows, values), r, v in zip(way, *together, strict=True):
            assert np.array_equal(rows[0], r)
            assert np.array_equal(values[0], v)


def test_float32_noise_never_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when the float32 scores are off by as much as they ever are, the order is that of float64."""
    rng = np.random.default_rng(12)
    base = unit(rng, 1, 32)
    matrix = base + 1e-4 * rng.standard_normal((4000, 32)).astype(np.float32)  # similarities that differ in the 8th digit
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    clean = top_k(matrix, base, 20)
    real = exact_module._scores
    monkeypatch.setattr(exact_module, "_scores", lambda *a: real(*a) + rng.uniform(-8e-7, 8e-7, 4000).astype(np.float32))
    noisy = top_k(matrix, base, 20)
    assert np.array_equal(clean[0][0], noisy[0][0])
    assert brute(matrix, base[0], 20)[0] == noisy[0][0].tolist()


def test_a_row_that_is_no_vector_is_never_found() -> None:
    matrix = unit(np.random.default_rng(13), 100)
    matrix[5] = np.nan
    matrix[6, 3] = np.inf
    found, similarities = top_k(matrix, matrix[:1], 100)
    assert set(range(100)) - set(found[0].tolist()) >= {5}
    assert np.isfinite(similarities[0]).all()
    found, _ = top_k(matrix, matrix[:1], 3)
    assert found[0][0] == 0
    assert not {5, 6} & set(found[0].tolist())


def test_a_memory_mapped_matrix_will_do(tmp_path: Path) -> None:
    matrix = unit(np.random.default_rng(14), 500)
    np.save(tmp_path / "m.npy", matrix)
    mapped = np.load(tmp_path / "m.npy", mmap_mode="r")
    assert np.array_equal(top_k(mapped, matrix[:3], 5)[0], top_k(matrix, matrix[:3], 5)[0])
