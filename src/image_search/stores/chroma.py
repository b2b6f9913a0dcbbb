"""Chroma, in a folder or on a server: everything this program asks of it, and the one place where its errors become ours.

What is known of Chroma 1.5.9 and provided for here: settings are read from a `.env` in the working directory, and some of them name code
to import (none is read here); a collection is handed out with whatever space it was made with (compared on opening); `upsert` merges
metadata (a missing key is sent as None, which removes it); a NaN query is answered with NaN (refused); clients are cached by path
(closed for good); its Rust core can panic with an exception that is no `Exception` (caught).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from ..advice import Advice, Verb
from ..config import STORE_ANSWER_SECONDS, STORE_PROBE_SECONDS
from ..errors import DiskFullError, ImageSearchError, StoreError, UsageError, in_words
from ..forks import loaded_before_fork
from ..paths import as_text
from ..types import Float32
from .exact import check_queries, check_records

__all__ = ["ChromaStore"]

COLLECTION = "images"
METADATA_KEYS = ("uri", "name")
_PAGE = 5000  # ids in one call; beyond 32,766 Chroma runs out of SQL variables
_QUERIES = 256  # queries in one call


def _check_own() -> None:
    """StoreError in a process that was forked from one that used Chroma: its Rust core waits for threads that only the parent has."""
    if loaded_before_fork("chromadb_rust_bindings"):  # comes with the first client
        raise StoreError(
            "Chroma was in use when this process was forked, and would wait for ever",
            hint="the next index in a process of its own brings the store up to date",
        )


@contextmanager
def chroma_errors(where: str) -> Iterator[None]:
    """Around every call into Chroma: whatever it raises becomes one StoreError, or DiskFullError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, ImageSearchError):
        raise
    except BaseException as error:  # pyo3's PanicException derives from BaseException alone
        said = in_words(error)[:200]
        if "disk is full" in said or "No space left" in said or "os error 28" in said:
            raise DiskFullError("the disk is full", path=where, hint="make room; the vectors are safe in the catalog") from error
        raise StoreError(
            f"the vector store failed ({type(error).__name__}: {said})",
            path=where,
            hint=Advice("nothing is lost: searching answers without it, and it can be rebuilt with: ", Verb("rebuild")),
        ) from error


def folder_client(folder: str | os.PathLike[str]) -> Any:
    """A Chroma client over the files in a folder of ours; made if absent. Never call it on files that are not known to be intact."""
    _check_own()
    with chroma_errors(os.fspath(folder)):
        import chromadb
        from chromadb.config import Settings

        # model_construct reads neither the environment nor .env: both can name classes that Chroma would import.
        settings = Settings.model_construct(anonymized_telemetry=False, allow_reset=False)
        return chromadb.PersistentClient(path=Path(folder).absolute(), settings=settings)


def server_client(url: str) -> Any:
    """A Chroma client of a running server ("http://host:port"). Credentials may come from Chroma's environment variables.

    Raises: StoreError if nothing, or something that is not Chroma, answers there.
    """
    _check_own()
    hint = "start it with: chroma run --path DIR --port PORT"
    try:
        with urlopen(f"{url}/api/v2/heartbeat", timeout=STORE_PROBE_SECONDS) as answer:
            if b"heartbeat" not in answer.read(1000):
                raise StoreError("this is not a Chroma server", path=url, hint=hint)
    except (URLError, OSError, ValueError) as error:
        reason = in_words(getattr(error, "reason", error)).lower()
        raise StoreError(f"the vector store does not answer ({reason})", path=url, hint=hint) from error
    parts = urlsplit(url)
    with chroma_errors(url):
        import chromadb
        from chromadb.config import Settings

        settings = Settings(_env_file=None, anonymized_telemetry=False, allow_reset=False)
        client = chromadb.HttpClient(host=str(parts.hostname), port=int(parts.port or 8000), ssl=parts.scheme == "https", settings=settings)
        for session in _sessions(client):
            session.timeout = STORE_ANSWER_SECONDS
        return client


def _sessions(client: Any) -> list[Any]:
    """The HTTP sessions of a server's client, its own and its admin twin's, which it neither limits in time nor closes itself."""
    servers = [getattr(each, "_server", None) for each in (client, getattr(client, "_admin_client", None))]
    return [session for session in (getattr(server, "_session", None) for server in servers) if session is not None]


def close_client(client: Any, where: str) -> None:
    """Close for good: Chroma keeps clients by path, and an open one would answer for files that were replaced."""
    with chroma_errors(where):
        sessions = _sessions(client)
        client.close()
        for session in sessions:
            session.close()


def find_collection(client: Any, name: str) -> Any | None:
    """The collection of this name, or None."""
    from chromadb.errors import NotFoundError

    try:
        return client.get_collection(name, embedding_function=None)
    except NotFoundError:
        return None


class ChromaStore:
    """A `FileStore` and a `ServerStore` in one Chroma collection: cosine, ids, metadata `uri` and `name`, which any Chroma client can read.

    Args:
        client: from `folder_client` or `server_client`; closed with this store, and also when this fails.
        dim, model: what it holds; a collection of another dimension, model or space raises StoreError.
        where: its folder or address, for messages.
        make, fresh: as in `ServerStore.open_server`.
    """

    @classmethod
    def version(cls) -> str:
        _check_own()
        return version("chromadb")

    @classmethod
    def open_files(cls, folder: Path, *, dim: int, model: str, make: bool, where: str) -> ChromaStore:
        return cls(folder_client(folder), dim=dim, model=model, where=where, name=COLLECTION, make=make)

    @classmethod
    def open_server(cls, address: str, *, name: str, dim: int, model: str, make: bool, fresh: bool) -> ChromaStore:
        return cls(server_client(address), dim=dim, model=model, where=address, name=name, make=make, fresh=fresh)

    def __init__(self, client: Any, *, dim: int, model: str, where: str, name: str, make: bool, fresh: bool = False) -> None:
        self.dim = dim
        self.where = where
        self.client = client
        try:
            if fresh:
                _forget(client, name, where)
            with chroma_errors(where):
                found = find_collection(client, name)
                if found is None:
                    if not make and not fresh:
                        raise StoreError(f"the vector store has no collection {name}", path=where)
                    found = client.create_collection(
                        name,
                        embedding_function=None,  # else it remembers one that wants a download
                        configuration={"hnsw": {"space": "cosine"}},
                        metadata={"made_by": "image-search", "model": model, "dim": dim},
                    )
                self._collection = found
                held = found.metadata or {}
                space = found.configuration_json["hnsw"]["space"]
                if (held.get("model"), held.get("dim"), space) != (model, dim, "cosine"):
                    hint = Advice("rebuild it with: ", Verb("rebuild"))
                    raise StoreError("the vector store holds vectors of another model", path=where, hint=hint)
                self._batch = min(_PAGE, int(client.get_max_batch_size()))
        except BaseException:
            self.close()
            raise

    def upsert(self, ids: Sequence[str], vectors: Float32, metadatas: Sequence[Mapping[str, str]]) -> None:
        check_records(ids, vectors, metadatas, self.dim)
        if any(key not in METADATA_KEYS for metadata in metadatas for key in metadata):
            raise StoreError(f"metadata has another key than {' and '.join(METADATA_KEYS)}", path=self.where)
        for start in range(0, len(ids), self._batch):
            part = slice(start, start + self._batch)
            rows = [{key: _text(metadata.get(key)) for key in METADATA_KEYS} for metadata in metadatas[part]]
            with chroma_errors(self.where):
                self._collection.upsert(ids=list(ids[part]), embeddings=vectors[part], metadatas=rows)

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), self._batch):
            with chroma_errors(self.where):
                self._collection.delete(ids=list(ids[start : start + self._batch]))

    def query(self, vectors: Float32, n: int) -> tuple[list[list[str]], list[list[float]]]:
        if n < 1:
            raise UsageError("the number of results must be at least 1")
        check_queries(vectors, self.dim)
        ids: list[list[str]] = []
        similarities: list[list[float]] = []
        for start in range(0, len(vectors), _QUERIES):
            with chroma_errors(self.where):
                answer = self._collection.query(
                    query_embeddings=vectors[start : start + _QUERIES],
                    n_results=n,
                    include=["distances"],  # metadata would cost three times the search itself
                )
            ids.extend(answer["ids"])
            similarities.extend([min(1.0, max(-1.0, 1.0 - d)) for d in row] for row in answer["distances"])
        if not all(math.isfinite(s) for row in similarities for s in row):
            raise StoreError("the vector store answered with a distance that is no number", path=self.where)
        return ids, similarities

    def count(self) -> int:
        with chroma_errors(self.where):
            return int(self._collection.count())

    def close(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            close_client(client, self.where)

    def facts(self) -> dict[str, Any]:
        return dict(self._collection.metadata or {})

    def mark(self, facts: Mapping[str, str | int | None]) -> None:
        merged = {key: value for key, value in {**self.facts(), **facts}.items() if value is not None}
        with chroma_errors(self.where):
            self._collection.modify(metadata=merged)

    def replace(self, name: str) -> None:
        _forget(self.client, name, self.where)
        with chroma_errors(self.where):
            self._collection.modify(name=name)


def _text(value: str | None) -> str | None:
    """Valid Unicode: Chroma refuses the stand-ins for undecodable bytes."""
    return None if value is None else as_text(value)


def _forget(client: Any, name: str, where: str) -> None:
    """Remove a collection if it is there."""
    with chroma_errors(where):
        if find_collection(client, name) is not None:
            client.delete_collection(name)
