"""Vector stores: one door for all of them. A store is thrown away and rebuilt at will; the catalog owns the vectors."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UsageError
from ..types import VectorStore

__all__ = ["open_store", "server_of"]


def open_store(spec: str, *, folder: Path, dim: int, model: str) -> VectorStore:
    """An open store, made if it is not there.

    Args:
        spec: "chroma" (in `folder`), "chroma:http://host:port" (a Chroma server) or "exact" (in memory).
        folder: where an embedded store keeps its files; on a server it names the collection.
        dim: D of its vectors.
        model: short name of the model's fingerprint; a store of another model is refused.

    Raises:
        UsageError: no such kind of store. StoreError: it cannot be opened, or holds vectors of another model or dimension.
    """
    if spec == "exact":
        from .exact import ExactStore

        return ExactStore(dim)
    server = server_of(spec)
    from . import chroma

    if server is None:
        return chroma.ChromaStore(chroma.open_folder(folder), dim=dim, model=model, where=os.fspath(folder))
    from .manifest import library_id, read_secret

    name = f"images-{library_id(folder, read_secret())}"
    return chroma.ChromaStore(chroma.open_server(server), dim=dim, model=model, where=server, name=name)


def server_of(spec: str) -> str | None:
    """The address in "chroma:http://host:port", None for "chroma" and "exact"; UsageError for anything else."""
    if spec in ("chroma", "exact"):
        return None
    kind, _, url = spec.partition(":")
    try:
        parts = urlsplit(url)
        plain = parts.port and parts.hostname and "@" not in parts.netloc and url == f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        plain = False
    if kind == "chroma" and plain and parts.scheme in ("http", "https"):
        return url
    raise UsageError(f"there is no store {spec!r}", hint="use chroma, chroma:http://HOST:PORT or exact")
