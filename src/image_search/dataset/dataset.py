"""A data set: vectors of very many pictures as Parquet files, on a disk or in a bucket. Read here; how it grows stands in `growing.py`.

OUT/dataset.json          which model: its fingerprint, its vectors of the canonical pictures. Written once
OUT/current.json          which lists count: the newest first, then those that the run before it was made of
OUT/list/ID-N.parquet     a list: every picture with its class, size and version; one row group a block
OUT/plan/ID.parquet       that list's blocks: names, places in the list, sizes
OUT/blocks/NAME.parquet   a block's rows: vectors, or reasons why there are none. Never changed (`blocks.py`)
OUT/manifest/*.parquet    what up to 1,000 blocks hold: counts, reasons, size of the file
OUT/_tmp/                 half-written files, on a disk
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..advice import Advice, Setting
from ..errors import DatasetError, in_words
from ..library.facts import DATASET_NAME, read_canonical, read_fingerprint
from ..types import Fingerprint, Float32
from .arrow import arrow
from .blocks import DAMAGED, Item, Rows, attempts, file_name, read_block
from .filesystems import Place, place

__all__ = ["Dataset", "PlannedBlock", "open_dataset", "read_facts", "read_items", "read_plan", "read_table"]

FORMAT = 1
GONE = "a file of the data set is gone"
_ANEW = "delete it and index again: vectors that are there are not made anew"
_PLAN = ("name", "file", "row_group", "images", "first", "last")


class PlannedBlock(NamedTuple):
    """A block of a list.

    Attributes:
        name: see `blocks.block_name`. file, row_group: where its rows lie in `list/`.
        images: rows. first, last: the uris at its ends; blocks of a list do not overlap.
    """

    name: str
    file: str
    row_group: int
    images: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set as it was when it was opened.

    Attributes:
        place: where it lies. fingerprint: of its model. canonical: float32 (8, D), that model's vectors of the canonical pictures.
        images: rows of the current list. missing: those of them that no run has come to yet.
    """

    place: Place
    fingerprint: Fingerprint
    canonical: Float32 = field(repr=False)
    images: int
    missing: int
    files: tuple[str, ...] = field(repr=False)  # of blocks, in the order of the list

    def blocks(self) -> Iterator[Rows]:
        """Every row of the current list that a run has come to, block by block, in the order of the list.

        Raises DatasetError: a block is gone, damaged, or of another model.
        """
        for name in self.files:
            here = self.place.below("blocks", name)
            data = here.read()
            if data is None:
                raise DatasetError("a block of the data set is gone", path=here.address, hint="index again")
            yield read_block(data, self.fingerprint, here.address)

    def rows(self, batch: int = 1000) -> Iterator[Rows]:
        """The pictures that have a vector, up to `batch` of them at a time; memory is that of one block."""
        for block in self.blocks():
            good = [at for at, reason in enumerate(block.reason) if reason is None]
            for start in range(0, len(good), batch):
                yield block.part(good[start : start + batch])

    def refused(self) -> Iterator[tuple[str, str]]:
        """(uri, reason) of each picture that has none."""
        for block in self.blocks():
            yield from ((uri, reason) for uri, reason in zip(block.uri, block.reason, strict=True) if reason is not None)

    def vector_files(self) -> list[str]:
        """The addresses of all Parquet files with this data set's rows, for engines that read them in place."""
        return [self.place.below("blocks", name).address for name in self.files]


def open_dataset(address: str | os.PathLike[str]) -> Dataset:
    """A data set that is there, to read.

    Raises UsageError, MissingExtraError; DatasetError: there is none, it cannot be read, it is damaged or of a newer version.
    """
    home = place(os.fspath(address))
    facts = read_facts(home)
    if facts is None:
        hint = Advice("check the address, or make one with ", Setting("out", home.address))
        raise DatasetError("there is no data set here", path=home.address, hint=hint)
    fingerprint, canonical = facts
    lists = read_lists(home)
    if not lists:
        return Dataset(home, fingerprint, canonical, 0, 0, ())
    plan = read_plan(home, lists[0])
    done = attempts(home.below("blocks").names())
    files = tuple(file_name(block.name, done[block.name]) for block in plan if block.name in done)
    missing = sum(block.images for block in plan if block.name not in done)
    return Dataset(home, fingerprint, canonical, sum(block.images for block in plan), missing, files)


def facts_as_json(fingerprint: Fingerprint, canonical: Float32, program: str) -> bytes:
    """What `dataset.json` holds."""
    vectors = base64.b64encode(np.ascontiguousarray(canonical, "<f4").tobytes()).decode()
    facts = {
        "format": FORMAT,
        "program": program,
        "model": fingerprint.name,
        "dim": fingerprint.dim,
        "fingerprint": json.loads(fingerprint.to_json()),
        "canonical": vectors,  # float32 (8, D), little-endian, in base64
    }
    return json.dumps(facts, indent=1).encode()


def read_facts(home: Place) -> tuple[Fingerprint, Float32] | None:
    """(fingerprint, canonical vectors) of the data set that lies here; None: there is none. DatasetError: it makes no sense."""
    here = home.below(DATASET_NAME)
    facts = _json(here)
    if facts is None:
        return None
    if isinstance(version := facts.get("format"), int) and version > FORMAT:
        raise DatasetError("this data set was made by a newer version of this program", path=here.address, hint="update this program")
    try:
        fingerprint = read_fingerprint(json.dumps(facts["fingerprint"]))
        canonical = read_canonical(base64.b64decode(facts["canonical"], validate=True), fingerprint.dim)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{DAMAGED} ({in_words(error)[:100]})", path=here.address, hint=_ANEW) from error
    return fingerprint, canonical


def read_lists(home: Place) -> list[str]:
    """The ids of the lists that count, the current one first."""
    here = home.below("current.json")
    found = (_json(here) or {"lists": []}).get("lists")
    if not isinstance(found, list) or not all(isinstance(one, str) and one.isalnum() for one in found):
        raise DatasetError(DAMAGED, path=here.address, hint=_ANEW)
    return found


def read_plan(home: Place, list_id: str) -> list[PlannedBlock]:
    """A list's blocks in its order."""
    here = home.below("plan", f"{list_id}.parquet")
    table = read_table(here, _PLAN)
    return [PlannedBlock(*row) for row in zip(*(table.column(name).to_pylist() for name in _PLAN), strict=True)]


def read_items(home: Place, file: str, row_group: int) -> list[Item]:
    """The rows of a block as its list has them."""
    table = read_table(home.below("list", file), Item._fields, row_group)
    return list(map(Item._make, zip(*(table.column(name).to_pylist() for name in Item._fields), strict=True)))


def read_table(here: Place, columns: tuple[str, ...], row_group: int | None = None) -> Any:
    """A Parquet file of ours, or one of its row groups; DatasetError where it is gone or damaged."""
    pa = arrow("Data sets")
    try:
        if row_group is None:
            data = here.read()
            if data is None:
                raise DatasetError(GONE, path=here.address, hint="index again")
            return pa.parquet.read_table(pa.BufferReader(data)).select(list(columns))
        with pa.parquet.ParquetFile(here.path, filesystem=here.files) as file:
            return file.read_row_group(row_group, columns=list(columns))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DatasetError(DAMAGED, path=here.address, hint=_ANEW) from error


def _json(here: Place) -> dict[str, Any] | None:
    data = here.read()
    if data is None:
        return None
    try:
        found = json.loads(data)
    except ValueError as error:
        raise DatasetError(DAMAGED, path=here.address, hint=_ANEW) from error
    if not isinstance(found, dict):
        raise DatasetError(DAMAGED, path=here.address, hint=_ANEW)
    return found
