"""Vector stores: a table of kinds, and one door to all of them. A store can be thrown away and rebuilt; the catalog owns the vectors."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from .. import given
from ..advice import Advice, Setting
from ..errors import MissingExtraError, StoreError, UsageError
from ..types import VectorStore
from .collections import Collection
from .protocols import FileStore, ServerStore

__all__ = [
    "STORES",
    "Place",
    "StoreRow",
    "StoreSpec",
    "name_on_server",
    "open_collection",
    "open_files",
    "open_server",
    "open_store",
    "parse_spec",
]

Place = Literal["memory", "files", "server", "collection"]
_UNNAMED = "chroma"


@dataclass(frozen=True, slots=True)
class StoreRow:
    """One kind of store.

    Attributes:
        name: what people call it by, and the part of a spec before ":".
        title: its own name, for messages.
        opened_by: "module:Class", imported when a store is opened. The class keeps `protocols.FileStore` where it has files,
            `protocols.ServerStore` where it is on a server; one in memory is a `types.VectorStore`, made as Class(dim).
        places: where it can be: "memory" (nothing is kept) or "files" (in the library), which is what its name alone means,
            "server", which is what its name with a server's address means, and "collection" (no store of a library: it stands alone),
            which is what an address with a collection's name means.
        package: the distribution that it needs, "" for none. extra: the extra of ours that installs it; "": every installation has it.
        collections: "module:Class" of a `collections.Collection`. file: how the name of a file ends that is a whole server of collections.
    """

    name: str
    title: str
    opened_by: str
    places: tuple[Place, ...]
    package: str = ""
    extra: str = ""
    collections: str = ""
    file: str = ""

    def load(self) -> Any:
        """The class."""
        return self._loaded(self.opened_by)

    def load_collections(self) -> Any:
        return self._loaded(self.collections)

    def _loaded(self, opened_by: str) -> Any:
        module, _, name = opened_by.partition(":")
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
        StoreRow(
            "milvus",
            "Milvus",
            "image_search.stores.milvus:MilvusStore",
            ("server", "collection"),
            package="pymilvus",
            extra="milvus",
            collections="image_search.stores.milvus:MilvusCollection",
            file=".db",
        ),
    )
}
_ADDRESS: Mapping[Place, str] = MappingProxyType(
    {"memory": "", "files": "", "server": ":http://HOST:PORT", "collection": ":http://HOST:PORT/COLLECTION"}
)
_WITH_ADDRESS: tuple[Place, ...] = ("server", "collection")
_ONLY = "images"  # the collection of a file where none is named
_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")  # what Milvus takes for a name


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """A store as people name it, `kind` or `kind:address`: "chroma", "exact", "chroma:http://localhost:8000". With a collection, which
    stands alone: "milvus:http://localhost:19530/photos", "milvus:photos.db", "milvus:photos.db/cats"."""

    kind: str
    address: str | None = None
    collection: str = ""

    def __str__(self) -> str:
        address = "" if self.address is None else f":{self.address}"
        named = "" if self.collection in ("", _ONLY) and "://" not in address else f"/{self.collection}" if self.collection else ""
        return f"{self.kind}{address}{named}"

    @property
    def row(self) -> StoreRow:
        return STORES[self.kind]

    @property
    def place(self) -> Place:
        if self.collection:
            return "collection"
        return "server" if self.address is not None else next(place for place in self.row.places if place not in _WITH_ADDRESS)


def parse_spec(spec: str) -> StoreSpec:
    """What a spec names; UsageError if that is no store."""
    kind, colon, address = given.text(spec, "store").partition(":")
    places = STORES[kind].places if kind in STORES else ()
    if colon and "server" in places and _is_server(address):
        return StoreSpec(kind, address)
    if not colon and set(places) - set(_WITH_ADDRESS):
        return StoreSpec(kind)
    if colon and "collection" in places and (found := _collection_in(address, STORES[kind].file)) is not None:
        return StoreSpec(kind, *found)
    bare, _, name = address.rpartition("/")
    if "server" in places and "collection" not in places and name and _is_server(bare):
        hint = Advice("name the library's folder, and its store as ", Setting("store", f"{kind}:{bare}"))
        raise UsageError(f"{STORES[kind].title} keeps the store of a library, and no collection with a name", path=spec, hint=hint)
    known = [f"{row.name}{_ADDRESS[place]}" for row in STORES.values() for place in row.places]
    *others, last = [*known, *(f"{row.name}:FILE{row.file}" for row in STORES.values() if row.file)]
    raise UsageError(f"there is no store {spec!r}", hint=f"use {', '.join(others)} or {last}")


def _collection_in(address: str, ending: str) -> tuple[str, str] | None:
    """(server or file, the collection's name); None: it names none."""
    if _COLLECTION.fullmatch(name := address.rpartition("/")[2]) and _is_server(address.removesuffix(f"/{name}")):
        return address.removesuffix(f"/{name}"), name
    if "://" in address or not ending:
        return None
    file, slash, name = address.rpartition(f"{ending}/")
    if slash and file and _COLLECTION.fullmatch(name):
        return file + ending, name
    return (address, _ONLY) if address.endswith(ending) and len(address) > len(ending) else None


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
        UsageError: no such kind of store, or a collection. StoreError: it cannot be opened, or holds vectors of another model or dimension.
        MissingExtraError: what it needs is not installed.
    """
    named = parse_spec(spec)
    if named.place == "collection":
        raise UsageError(f"{spec!r} is a collection that stands alone, and no store of a library", hint="leave out its name")
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


def open_collection(spec: StoreSpec, *, make: Mapping[str, str] | None = None, dim: int | None = None) -> Collection:
    """A collection that stands alone.

    Args:
        make: its facts, where there is none yet; it then takes vectors of `dim` numbers. None: that there is none is a StoreError.
    """
    with spec.row.needed():
        opened: Collection = spec.row.load_collections().open_collection(spec.address, name=spec.collection, make=make, dim=dim)
        return opened


def name_on_server(library: Path) -> str:
    """Of this library of this user, so that several can share a server: 27 letters, digits and "-"."""
    from .manifest import library_id, read_secret

    return f"images-{library_id(library, read_secret())}"
