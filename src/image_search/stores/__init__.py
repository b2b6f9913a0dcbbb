"""Vector stores: a table of kinds, and one door to all of them. A store can be thrown away and rebuilt; the catalog owns the vectors."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from .. import given
from ..errors import MissingExtraError, StoreError, UsageError
from ..types import VectorStore
from .protocols import FileStore, ServerStore

__all__ = ["STORES", "Place", "StoreRow", "StoreSpec", "name_on_server", "open_files", "open_server", "open_store", "parse_spec"]

Place = Literal["memory", "files", "server"]
_UNNAMED = "chroma"


@dataclass(frozen=True, slots=True)
class StoreRow:
    """One kind of store.

    Attributes:
        name: what people call it by, and the part of a spec before ":".
        title: its own name, for messages.
        opened_by: "module:Class", imported when a store is opened. The class keeps `protocols.FileStore` where it has files,
            `protocols.ServerStore` where it is on a server; one in memory is a `types.VectorStore`, made as Class(dim).
        places: where it can be: "memory" (nothing is kept) or "files" (in the library), which is what its name alone means, and
            "server", which is what its name with an address means.
        package: the distribution that it needs, "" for none. extra: the extra of ours that installs it; "": every installation has it.
    """

    name: str
    title: str
    opened_by: str
    places: tuple[Place, ...]
    package: str = ""
    extra: str = ""

    def load(self) -> Any:
        """The class."""
        module, _, name = self.opened_by.partition(":")
        with self.needed():
            return getattr(importlib.import_module(module), name)

    # What a manifest records. Chroma was the only kind once: its manifests name no kind, and go on being true.

    def version(self) -> str:
        """The kind and the version that writes its files now: "toy 1"."""
        with self.needed():
            return f"{'' if self.name == _UNNAMED else f'{self.name} '}{self.load().version()}"

    def wrote(self, written_by: str) -> bool:
        """Whether this kind, in whatever version, wrote files that are recorded so."""
        return " " not in written_by if self.name == _UNNAMED else written_by.startswith(f"{self.name} ")

    def server(self, address: str) -> str:
        """The kind and its server: "toy:http://host:port"."""
        return address if self.name == _UNNAMED else f"{self.name}:{address}"

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Around what may find that the store's package is not installed."""
        try:
            yield
        except MissingExtraError:
            raise
        except ImportError as error:
            if self.extra:
                raise MissingExtraError(self.package, self.extra, f"the store {self.name}") from error
            raise StoreError(f"the store {self.name} cannot be loaded ({error})", hint="install the program again") from error


STORES: dict[str, StoreRow] = {
    row.name: row
    for row in (
        StoreRow("chroma", "Chroma", "image_search.stores.chroma:ChromaStore", ("files", "server"), package="chromadb"),
        StoreRow("exact", "exact search", "image_search.stores.exact:ExactStore", ("memory",)),
    )
}
_ADDRESS: Mapping[Place, str] = MappingProxyType({"memory": "", "files": "", "server": ":http://HOST:PORT"})


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """A store as people name it, `kind` or `kind:address`: "chroma", "exact", "chroma:http://localhost:8000"."""

    kind: str
    address: str | None = None

    def __str__(self) -> str:
        return self.kind if self.address is None else f"{self.kind}:{self.address}"

    @property
    def row(self) -> StoreRow:
        return STORES[self.kind]

    @property
    def place(self) -> Place:
        return "server" if self.address is not None else next(place for place in self.row.places if place != "server")


def parse_spec(spec: str) -> StoreSpec:
    """What a spec names; UsageError if that is no store."""
    kind, colon, address = given.text(spec, "store").partition(":")
    places = STORES[kind].places if kind in STORES else ()
    if colon and "server" in places and _is_server(address):
        return StoreSpec(kind, address)
    if not colon and set(places) - {"server"}:
        return StoreSpec(kind)
    *others, last = (f"{row.name}{_ADDRESS[place]}" for row in STORES.values() for place in row.places)
    raise UsageError(f"there is no store {spec!r}", hint=f"use {', '.join(others)} or {last}")


def _is_server(address: str) -> bool:
    """http(s)://HOST:PORT and nothing more: no user, no path."""
    try:
        parts = urlsplit(address)
        plain = parts.port and parts.hostname and "@" not in parts.netloc and address == f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        return False
    return bool(plain) and parts.scheme in ("http", "https")


def open_store(spec: str, *, folder: Path, dim: int, model: str) -> VectorStore:
    """An open store, made if it is not there.

    Args:
        spec: see `StoreSpec`.
        folder: where a store with files keeps them; on a server it makes the store's name.
        dim: D of its vectors.
        model: short name of the model's fingerprint; a store of another model is refused.

    Raises:
        UsageError: no such kind of store. StoreError: it cannot be opened, or holds vectors of another model or dimension.
        MissingExtraError: what it needs is not installed.
    """
    named = parse_spec(spec)
    if named.address is not None:
        return open_server(named, name=name_on_server(folder), dim=dim, model=model, make=True)
    if named.place == "files":
        return open_files(named, folder, dim=dim, model=model, make=True)
    store: VectorStore = named.row.load()(dim)
    return store


def open_files(spec: StoreSpec, folder: Path, *, dim: int, model: str, make: bool, where: Path | None = None) -> FileStore:
    """A store whose files lie in `folder`; see `FileStore.open_files`. `where`: what messages call it, `folder` unless told."""
    with spec.row.needed():
        opened: FileStore = spec.row.load().open_files(folder, dim=dim, model=model, make=make, where=os.fspath(where or folder))
        return opened


def open_server(spec: StoreSpec, *, name: str, dim: int, model: str, make: bool = False, fresh: bool = False) -> ServerStore:
    """A store on a server; see `ServerStore.open_server`."""
    with spec.row.needed():
        opened: ServerStore = spec.row.load().open_server(spec.address, name=name, dim=dim, model=model, make=make, fresh=fresh)
        return opened


def name_on_server(library: Path) -> str:
    """Of this library of this user, so that several can share a server: 27 letters, digits and "-"."""
    from .manifest import library_id, read_secret

    return f"images-{library_id(library, read_secret())}"
