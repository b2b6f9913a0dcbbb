"""What a store with files and one on a server must bring beyond `types.VectorStore`; a store in memory brings nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..types import VectorStore

__all__ = ["FileStore", "ServerStore"]


class FileStore(VectorStore, Protocol):
    """A `VectorStore` whose files lie in a folder. Once it is closed they hold all of it, and nothing writes to them any more."""

    @classmethod
    def version(cls) -> str:
        """Of whatever writes the files: files of another version are not opened but made anew. ImportError if it is not installed."""
        ...

    @classmethod
    def open_files(cls, folder: Path, *, dim: int, model: str, make: bool, where: str) -> FileStore:
        """The store in this folder.

        Args:
            folder: it has been verified, and may have moved since it was written: no absolute path may be kept in its files.
            dim: D. model: short name of the model's fingerprint. Both are kept in it.
            make: make it if it is not there (the folder may be missing, too); else its absence is a StoreError.
            where: what messages call it.

        Raises:
            StoreError: it holds vectors of another model or dimension ("of another model"), or cannot be opened.
            ImportError: what it needs is not installed.
        """
        ...


class ServerStore(VectorStore, Protocol):
    """A `VectorStore` that is one of several on a server, told apart by their names; it can say facts about itself."""

    @classmethod
    def open_server(cls, address: str, *, name: str, dim: int, model: str, make: bool, fresh: bool) -> ServerStore:
        """The store of this name.

        Args:
            address: "http://host:port" or "https://host:port".
            name: letters, digits and "-", at most 40.
            dim, model, make: as in `FileStore.open_files`.
            fresh: remove what bears the name, then make it.

        Raises: as in `FileStore.open_files`; also StoreError if nothing answers there.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """What was marked, as it was on the server when the store was opened or last marked."""
        ...

    def mark(self, facts: Mapping[str, str | int | None]) -> None:
        """Add facts or replace them; None removes one."""
        ...

    def replace(self, name: str) -> None:
        """Take this name, and remove the store that bears it, if there is one."""
        ...
