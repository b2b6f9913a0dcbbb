"""Filling a collection: from a data set or a library, by address, so that what was interrupted is finished by the next run."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..config import CLOSENESS_SAMPLE, COLLECTION_CLASSES, COLLECTION_SAMPLED, LOAD_BATCH
from ..dataset.dataset import Dataset
from ..library.model import WORDS
from ..library.reading import Reader
from ..library.rows import each_row
from ..paths import nfc
from ..search import closeness
from ..stores import StoreSpec, open_collection
from ..stores.collections import Collection, Condition, Description, Record, as_json, first_after, number_of
from ..types import Fingerprint, Float32

__all__ = ["Batch", "Loaded", "Source", "fill", "of_collection", "of_dataset", "of_library"]

_LONGEST = {"uri": 8192, "name": 4096}  # bytes of UTF-8 that a collection keeps


class Batch(NamedTuple):
    """Pictures on their way: records, and their vectors, float32 (k, D)."""

    records: list[Record]
    vectors: Float32


@dataclass(frozen=True, slots=True)
class Source:
    """What a collection or a library folder is filled from.

    Attributes:
        fingerprint, canonical: of its model; float32 (8, D).
        images: how many pictures have a vector, or at least about; for the progress.
        batches: all of them.
        refused: pictures without a vector.
        origin: where they come from, as people call it.
        words: what is kept of the model's words, see `models.words_record`; None: nothing.
    """

    fingerprint: Fingerprint
    canonical: Float32
    images: int
    batches: Callable[[], Iterator[Batch]]
    refused: Callable[[], int]
    origin: str = ""
    words: bytes | None = None


@dataclass(slots=True)
class Loaded:
    """What a load did.

    Attributes:
        loaded: pictures that went in now. unchanged: that were there already. refused: of the source, without a vector.
        left_out: addresses that a collection cannot keep: too long, or with the number of another one.
        images: pictures there now.
    """

    loaded: int = 0
    unchanged: int = 0
    refused: int = 0
    left_out: int = 0
    images: int = 0


# --- sources --------------------------------------------------------------------------------------------------------------------


def of_dataset(dataset: Dataset) -> Source:
    """The rows of the current list that have a vector."""
    there, good = dataset.images - dataset.missing, 0

    def batches() -> Iterator[Batch]:
        nonlocal good
        good = 0
        for part in dataset.rows(LOAD_BATCH):
            good += len(part)
            yield Batch(list(map(_record, part.each())), part.vectors)

    return Source(dataset.fingerprint, dataset.canonical, there, batches, lambda: there - good, dataset.place.address)


def _record(row: Any) -> Record:
    """Of a data set's row, or a library's: they have these names in common."""
    facts = (bytes.fromhex(row.sha256), row.width, row.height, row.bytes, row.format, row.captured or "")
    return Record(number_of(row.uri), row.uri, nfc(row.name), *facts)


def of_library(reader: Reader) -> Source:
    """Every image that can be found."""

    def batches() -> Iterator[Batch]:
        for rows in each_row(reader, LOAD_BATCH):
            yield Batch(list(map(_record, rows)), np.array([row.vector for row in rows], np.float32))

    return Source(reader.fingerprint, reader.canonical, reader.images(), batches, lambda: 0, str(reader.folder), reader.meta(WORDS))


def of_collection(collection: Collection, description: Description) -> Source:
    """All of its rows."""
    words = description.more.get(WORDS)

    def batches() -> Iterator[Batch]:
        for records, vectors in collection.each(LOAD_BATCH):
            yield Batch(records, vectors)

    kept = None if words is None else base64.b64decode(words)
    return Source(description.fingerprint, description.canonical, collection.count(), batches, lambda: 0, collection.where, kept)


# --- into a collection ----------------------------------------------------------------------------------------------------------


def fill(spec: StoreSpec, source: Source, say: Callable[[str], object], progress: Callable[[int, int, int], object]) -> Loaded:
    """Bring the source's pictures into a collection, which is made if it is not there. What is in it already is passed by; pictures of
    other addresses stay.

    Args:
        say: gets a line while the index is built. progress: gets (done, total, left out).

    Raises: ModelMismatchError: it holds vectors of another model; StoreError: it is none of ours, or it fails. What was loaded stays.
    """
    facts = Description(source.fingerprint, source.canonical, {"generation": "0"}).facts()
    collection = open_collection(spec, make=facts, dim=source.fingerprint.dim)
    try:
        held = collection.facts()
        Description.of(held, collection.where).check_same(source.fingerprint, collection.where)
        collection.mark({"loading": as_json({"from": source.origin, "images": source.images})})
        loaded, classes = _fill(collection, source, progress)
        if loaded.loaded or collection.state()["pending"]:
            collection.finish(say)
        loaded.images = collection.count()
        _mark(collection, source, classes, int(held.get("generation", "0")) + 1)
        return loaded
    finally:
        collection.close()


def _fill(collection: Collection, source: Source, progress: Callable[[int, int, int], object]) -> tuple[Loaded, Counter[str]]:
    loaded, classes, done, told = Loaded(), Counter[str](), 0, 0
    for batch in source.batches():
        new = _new(collection, batch, loaded)
        collection.put([batch.records[at] for at in new], batch.vectors[new])
        loaded.loaded += len(new)
        classes.update(record.name for record in batch.records if record.name)
        progress(done := done + len(batch.records), source.images, loaded.left_out)
        if done >= 2 * told:  # of a load that is cut off, at least the classes of half of what is there
            collection.mark({"classes": as_json(_classes(collection, classes))})
            told = done
    loaded.refused = source.refused()
    return loaded, classes


def _new(collection: Collection, batch: Batch, loaded: Loaded) -> list[int]:
    """Places of those that are not there yet as they are; the others are counted."""
    there = {
        row.number: row for row in collection.records([Condition("number", "in", [r.number for r in batch.records])], limit=LOAD_BATCH)
    }
    new: dict[int, int] = {}  # number -> place
    for at, record in enumerate(batch.records):
        known = there.get(record.number)
        known = batch.records[new[record.number]] if record.number in new else known
        fits = all(len(getattr(record, name).encode()) <= most for name, most in _LONGEST.items())
        if not fits or (known is not None and known.uri != record.uri):
            loaded.left_out += 1
        elif known == record:
            loaded.unchanged += 1
        else:
            new[record.number] = at
    return list(new.values())


def _mark(collection: Collection, source: Source, classes: Counter[str], generation: int) -> None:
    """What is asked of the whole: its classes, the most frequent first, the sample of closeness, the model's words."""
    facts = {"classes": as_json(_classes(collection, classes)), "generation": str(generation), "loading": ""}
    sample = closeness_of(collection)
    if sample is not None:
        facts["closeness"] = base64.b64encode(sample.astype("<f4").tobytes()).decode()
        facts["closeness_definition"] = str(closeness.DEFINITION)
    if source.words is not None:
        facts[WORDS] = base64.b64encode(source.words).decode()
    collection.mark(facts)


def _classes(collection: Collection, new: Counter[str]) -> list[str]:
    """Of this load by their number, then those of loads before."""
    before = json.loads(collection.facts().get("classes", "[]"))
    return list(dict.fromkeys([*(name for name, _ in new.most_common(COLLECTION_CLASSES)), *map(str, before)]))[:COLLECTION_CLASSES]


def closeness_of(collection: Collection) -> Float32 | None:
    """`closeness.sample`, where the collection is small; of a large one, the best matches of as many pictures as the collection itself
    finds. None below 50 pictures."""
    count = collection.count()
    if count <= COLLECTION_SAMPLED:
        seen: set[bytes] = set()
        parts: list[Float32] = []
        for records, vectors in collection.each(LOAD_BATCH):
            first = []
            for at, row in enumerate(records):
                if row.sha256 not in seen:
                    seen.add(row.sha256)
                    first.append(at)
            parts.append(vectors[first])
        return closeness.sample(np.concatenate(parts)) if parts else None
    some = collection.vectors([row.number for row in first_after(collection, 0, CLOSENESS_SAMPLE)])
    best = [_best(collection, number, vector) for number, vector in some.items()]
    return np.sort(np.array([one for one in best if one is not None], np.float32))


def _best(collection: Collection, number: int, vector: Float32) -> float | None:
    """The highest cosine to another row whose bytes are others."""
    near = collection.near(vector, 2)
    rows = {row.number: row.sha256 for row in collection.records([Condition("number", "in", near.numbers)], limit=len(near.numbers))}
    mine = rows.get(number)
    cosines = [float(other @ vector) for at, other in zip(near.numbers, near.vectors, strict=True) if rows.get(at) != mine]
    return max(cosines, default=None)
