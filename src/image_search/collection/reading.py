"""A collection answers the questions that the house asks a library, as far as it can; whatever else is asked gets one plain line."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config import COLLECTION_CLASSES, COLLECTION_WALL
from ..errors import StoreError
from ..images.formats import rules_of
from ..images.opening import Elsewhere
from ..library.decisions import Decision
from ..library.disks import Disks
from ..library.reading import Counts, File, Item, Reader, Root
from ..stores.collections import Collection, Condition, Description, Record, first_after
from ..types import Fingerprint, Float32, Passed, Skipped
from .pictures import Fetch

__all__ = ["CollectionReader", "file_of"]

_MOST = 1000  # rows of the same bytes that are looked at


@dataclass(frozen=True, slots=True)
class _Addressed(Item):
    """An image of a collection; its path is its address."""

    fetch: Fetch

    @property
    def source(self) -> Elsewhere:
        return Elsewhere(self.path, lambda: self.fetch(self.path, self.sha256))


class _Nowhere(Disks):
    """Of files that no catalog knows: a folder that is not there may be another machine's."""

    def __init__(self) -> None:
        pass

    def away(self, path: str) -> bool:
        return not os.path.isdir(os.path.dirname(path))

    def proved_gone(self, path: str) -> bool:
        return False


class CollectionReader(Reader):
    """A `Reader` of a collection, which has no catalog: what asks that is refused before (`library.CANNOT`).

    Each row is a content of its own: numbers of files and of contents are one. Safe to share between threads.

    Args:
        place: a folder for what is kept of it on this machine.
    """

    def __init__(self, collection: Collection, place: Path, fetch: Fetch) -> None:
        self.collection = collection
        self._place = place
        self._fetch = fetch
        self.description = Description.of(collection.facts(), collection.where)
        self._classes: tuple[int, list[tuple[str, int]]] | None = None

    # --- the whole ------------------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        return self._place

    @property
    def fingerprint(self) -> Fingerprint:
        return self.description.fingerprint

    @property
    def generation(self) -> int:
        """How often something was loaded into it."""
        return int(self.collection.facts().get("generation", "0"))

    @property
    def canonical(self) -> Float32:
        return self.description.canonical

    def meta(self, key: str) -> Any:
        """Facts that are kept with it: the model's words, closeness' sample and what that means."""
        text = self.collection.facts().get(key)
        if text is None or key == "closeness_definition":
            return None if text is None else int(text)
        return base64.b64decode(text)

    def snapshot(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def counts(self) -> Counts:
        rows = self.images()
        return Counts(
            images=rows, contents=rows, classes=len(self.known_classes()), missing=0, skipped=0, excluded=0, forgotten=0, unembedded=0
        )

    def facts(self) -> dict[str, Any]:
        nothing: dict[str, Any] = {"reasons": {}, "passed": [], "notes": {}, "outdated": {}, "formats": {}, "roots": []}
        return {**asdict(self.counts()), **nothing}

    def images(self) -> int:
        return self.collection.count()

    def about_how_many(self) -> int:
        return self.images()

    def roots(self) -> list[Root]:
        return []

    def root_paths(self) -> list[str]:
        return []

    def disks(self) -> Disks:
        return _Nowhere()

    def decisions(self) -> list[Decision]:
        return []

    def known_classes(self) -> list[str]:
        """The classes, as the last load found them; of very many the most frequent."""
        found = json.loads(self.collection.facts().get("classes", "[]"))
        return [str(name) for name in found]

    def classes(self) -> list[tuple[str, int]]:
        generation = self.generation
        if self._classes is None or self._classes[0] != generation:
            self._classes = generation, [(name, count) for name, count in self.counted([]) if count]
        return self._classes[1]

    def counted(self, wanted: Sequence[Condition]) -> list[tuple[str, int]]:
        """(class, number of rows that are wanted), by name."""
        names = sorted(self.known_classes()[:COLLECTION_CLASSES])
        with ThreadPoolExecutor(4) as threads:
            counts = threads.map(lambda name: self.collection.count([*wanted, Condition("name", "in", [name])]), names)
            return list(zip(names, counts, strict=True))

    # --- images ---------------------------------------------------------------------------------------------------------------

    def items(self, numbers: Sequence[int]) -> dict[int, Item]:
        found = {}
        for start in range(0, len(numbers), _MOST):
            part = list(numbers[start : start + _MOST])
            for record in self.collection.records([Condition("number", "in", part)], limit=len(part)):
                found[record.number] = self._item(record)
        return found

    def page(self, *, name: str | None = None, after: int = 0, limit: int = 100) -> list[Item]:
        wanted = [] if name is None else [Condition("name", "in", [name])]
        return [self._item(record) for record in first_after(self.collection, after, limit, wanted)]

    def each_in_order(self) -> Iterator[tuple[int, str, int, int]]:
        """Of a large collection some, from all over it."""
        some = first_after(self.collection, 0, COLLECTION_WALL)
        yield from ((row.number, row.name, row.width, row.height) for row in sorted(some, key=lambda row: (row.name, row.uri)))

    def sample(self, n: int) -> list[Item]:
        return [self._item(record) for record in first_after(self.collection, 0, n)]

    def copies(self, item: Item) -> int:
        return max(0, self.collection.count([_bytes([item.sha256])]) - 1)

    def sha256_of(self, number: int) -> bytes | None:
        item = self.item(number)
        return None if item is None else item.sha256

    def _item(self, row: Record) -> Item:
        facts = (row.width, row.height, row.format, rules_of(row.format), row.captured)
        return _Addressed(row.number, row.name, "", row.uri, row.bytes, 0, row.number, row.sha256, *facts, fetch=self._fetch)

    # --- files and contents -----------------------------------------------------------------------------------------------------

    def files(self, numbers: Sequence[int]) -> list[File]:
        return list(map(file_of, self.items(numbers).values()))

    def files_with(self, contents: Sequence[int]) -> list[File]:
        """Every row that has the bytes of one of these."""
        hashes = {item.sha256 for item in self.items(contents).values()}
        return [file_of(self._item(row)) for row in self.with_bytes(hashes)]

    def with_bytes(self, hashes: Iterable[bytes], also: Sequence[Condition] = ()) -> list[Record]:
        """The rows of these bytes (sha256) that are `also` what is asked."""
        wanted = list(hashes)
        return self.collection.records([_bytes(wanted), *also], limit=_MOST) if wanted else []

    def content_of(self, sha256: bytes) -> int | None:
        found = self.with_bytes([sha256])
        return found[0].number if found else None

    def vector(self, content: int) -> Float32:
        found = self.vectors([content])
        if content not in found:
            raise StoreError("an image has just left the collection", path=self.collection.where, hint="ask again")
        return found[content]

    def vectors(self, contents: Iterable[int]) -> dict[int, Float32]:
        return self.collection.vectors(list(contents))

    # --- what cannot be searched is in the data set ---------------------------------------------------------------------------

    def skipped_counts(self) -> list[tuple[str, int]]:
        return []

    def skipped(self, *, limit: int = 200) -> list[Skipped]:
        return []

    def passed(self) -> list[Passed]:
        return []

    def notes(self) -> dict[str, int]:
        return {}

    def outdated(self) -> dict[str, int]:
        return {}


def file_of(item: Item) -> File:
    """Of an image that lies in no indexed folder."""
    return File(item.number, item.content, item.name, item.path, "")


def _bytes(hashes: Iterable[bytes]) -> Condition:
    return Condition("sha256", "in", [one.hex() for one in hashes])
