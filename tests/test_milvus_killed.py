"""The real Milvus server, killed in the middle of a load and started again: the next load finishes it, row for row."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from milvusserver import RealMilvus
from test_collections import clustered, engine_on, in_batches, record

import image_search.stores.milvus_client
from image_search.errors import StoreError
from image_search.stores import open_collection, parse_spec
from image_search.stores.milvus_index import INDEXES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(os.environ.get("IMAGE_SEARCH_TEST_MILVUS")), reason="a server that runs already is not killed"),
]
ROWS = 20_000
TRIES = 20  # of the load after it: a server that was killed is not ready until it has noticed that


def test_a_server_that_is_killed_in_the_middle_of_a_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = (INDEXES[0]._replace(below=5000), *INDEXES[1:])  # so many rows get an index, which is built behind the scenes
    monkeypatch.setattr(image_search.stores.milvus_client, "INDEXES", small)
    monkeypatch.setattr(image_search.stores.milvus_client, "index_for", lambda rows: small[rows >= 5000])
    x, names = clustered(ROWS, 50)
    rows = [record(f"s3://b/{name}/{at}.jpg", name) for at, name in enumerate(names)]
    server = RealMilvus(tmp_path, session=20)
    spec = f"milvus:{server.address}/photos"

    def kill_when(now: bool) -> None:
        if now:
            server.kill()

    try:
        for part in (0.3, 0.7, None):  # while rows go in; while its index is built
            with engine_on(spec) as engine, pytest.raises(StoreError, match="Milvus does not answer"):
                if part is None:
                    engine._notify = lambda line: kill_when(True)
                engine._filled(in_batches(rows, x), lambda done, *_, part=part: kill_when(part is not None and done >= part * ROWS))
            with engine_on(spec) as engine, pytest.raises(StoreError, match=r"Milvus does not answer \(connection refused\)"):
                engine.status()
            server.start()
        assert loaded(spec, rows, x).images == ROWS
        collection = open_collection(parse_spec(spec))
        there = [
            (row, vector.tobytes()) for records, vectors in collection.each(1000) for row, vector in zip(records, vectors, strict=True)
        ]
        assert sorted(there) == sorted((row, vector.tobytes()) for row, vector in zip(rows, x, strict=True))
        assert collection.state() == {"index": "HNSW", "pending": 0}
        collection.close()
    finally:
        server.kill()


def loaded(spec: str, rows: list[Any], x: Any) -> Any:
    """The load again, as its errors advise."""
    for _ in range(TRIES):
        try:
            with engine_on(spec) as engine:
                return engine._filled(in_batches(rows, x), False)
        except StoreError as error:
            assert "Milvus is not ready" in str(error) or "still bringing" in str(error), error
    raise AssertionError("it is never ready")
