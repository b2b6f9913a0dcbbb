"""A connection to Milvus, on a server or in a file (Milvus Lite), and where its errors become ours."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..config import STORE_PROBE_SECONDS
from ..errors import DiskFullError, ImageSearchError, StoreError, UsageError, in_words
from ..forks import loaded_before_fork

__all__ = ["as_literal", "connect", "exists", "is_file", "milvus_errors"]

_QUIET = ("pymilvus", "milvus_lite", "grpc", "faiss")
# What a server says that was killed and started again, until it has noticed (`common.session.ttl`), "unrecoverable" among it; and one where
# another program is just giving a collection a new index.
_NOT_READY = ("unrecoverable error", "node not found", "node not match", "not ready", "not healthy", "not available", "not loaded")


@contextmanager
def milvus_errors(where: str) -> Iterator[None]:
    """Around every call into Milvus: whatever it raises becomes one of our errors."""
    try:
        yield
    except (ImageSearchError, ImportError):
        raise
    except Exception as error:
        said = (getattr(error, "message", "") or in_words(error)).splitlines()[0][:200] if str(error) else type(error).__name__
        if "No space left" in said or "disk is full" in said:
            raise DiskFullError("the disk is full", path=where, hint="make room") from error
        if _is_away(error, said):
            raise StoreError("Milvus does not answer", path=where, hint="start it, and do it again: what was loaded stays") from error
        if "only prefix pattern match" in said:  # before 2.4
            hint = "for example 's3://bucket/2024/*'; servers from 2.4 on also know '*/cats/*'"
            raise UsageError("this Milvus server knows '*' only at the end of a path", path=where, hint=hint) from error
        if any(word in said.lower() for word in _NOT_READY):
            hint = "where it has just been started, wait a minute and do it again: what was loaded stays"
            raise StoreError(f"Milvus is not ready ({said})", path=where, hint=hint) from error
        raise StoreError(f"Milvus failed ({said})", path=where) from error


def _is_away(error: Exception, said: str) -> bool:
    kind = type(error).__name__
    return kind in ("MilvusUnavailableException", "ConnectionNotExistException") or any(
        word in said.lower() for word in ("unavailable", "failed to connect", "fail connecting", "deadline exceeded", "connection refused")
    )


def connect(address: str) -> Any:
    """A client of a server ("http://host:port"; the environment variable MILVUS_TOKEN may hold its user and password) or of a Lite file.

    Raises: StoreError if nothing answers there, or another process has the file; ImportError.
    """
    if loaded_before_fork("grpc._cython.cygrpc"):
        raise StoreError("Milvus was in use when this process was forked, and would wait for ever", path=address)
    client = _quietly_imported()
    if is_file(address):
        return _lite(client, address)
    parts = urlsplit(address)
    try:
        socket.create_connection((str(parts.hostname), int(parts.port or 19530)), STORE_PROBE_SECONDS).close()
    except OSError as error:
        said = in_words(error).lower()
        raise StoreError(f"Milvus does not answer ({said})", path=address, hint="start it, or check the address") from error
    with milvus_errors(address):
        return client(uri=address, token=os.environ.get("MILVUS_TOKEN", ""), timeout=2 * STORE_PROBE_SECONDS)


def is_file(address: str) -> bool:
    """Of Milvus Lite, and no server."""
    return "://" not in address


def exists(file: str) -> bool:
    return os.path.lexists(_path(file))


def _path(file: str) -> Path:
    return Path(os.path.expanduser(file)).absolute()


def _lite(client: Any, address: str) -> Any:
    path = _path(address)
    if not path.parent.is_dir():
        raise StoreError("there is no such folder", path=path.parent, hint="create it first")
    try:
        __import__("milvus_lite")
        return client(str(path))
    except ImportError:
        raise
    except Exception as error:
        what = "Milvus Lite cannot open this; another program may have it open, or you have no right to write here"
        raise StoreError(what, path=path, hint="end the other program, or use a Milvus server") from error


def _quietly_imported() -> Any:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else "too_many_pings" and the like on a user's terminal
    before = os.environ.get("PYTHON_DOTENV_DISABLED")
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"  # a .env file that lies about is none of ours
    try:
        from pymilvus import MilvusClient
    finally:
        if before is None:
            del os.environ["PYTHON_DOTENV_DISABLED"]
    for name in [*logging.root.manager.loggerDict, *_QUIET]:
        if name.split(".")[0] in _QUIET:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return MilvusClient


def as_literal(value: str | int) -> str:
    """A value as Milvus' filters need it."""
    if isinstance(value, int):
        return str(value)
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        value = value.replace(plain, written)
    return f'"{value}"'
