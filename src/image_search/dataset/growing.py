"""How a data set grows: its list is written first, then blocks, then what they hold. Killed anywhere, the next run does what is missing.

Where one object is new, changed or gone, one block gets another name; the rows of its unchanged pictures are taken from the old block. So
that this is one block and not all that follow, a list is cut where the uris themselves say so (content-defined chunking): after a
uri whose checksum falls into one of some thousand.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..config import DATASET_LISTERS, LIST_BLOCKS
from ..errors import DatasetError, ModelMismatchError, SkipReason, UsageError
from ..library.facts import DATASET_NAME
from ..paths import shown
from ..types import Fingerprint, Float32
from .arrow import arrow
from .blocks import DAMAGED, Item, attempts, block_name, file_name, read_block
from .dataset import GONE, PlannedBlock, facts_as_json, read_facts, read_items, read_lists, read_plan, read_table
from .filesystems import Place

__all__ = [
    "PASSING",
    "Held",
    "Job",
    "Work",
    "ensure",
    "finish",
    "foresee",
    "held_by",
    "make_work",
    "must_be_free",
    "prune",
    "write_list",
    "write_manifest",
]

# What may be different at the next look: such pictures are tried again by each run.
PASSING = frozenset({SkipReason.CHANGED.value, SkipReason.VANISHED.value, SkipReason.UNREADABLE.value})
_OURS = (DATASET_NAME, "current.json", "list", "plan", "blocks", "manifest", "_tmp", "lost+found")
_HELD = ("file", "images", "vectors", "bytes", "reasons")


class Job(NamedTuple):
    """A block to be made.

    Attributes:
        block, attempt: its name. list_file, row_group: where its pictures stand. images: how many.
        old: (list file, row group, block's file) of blocks of which it takes over what is unchanged.
    """

    block: str
    attempt: int
    list_file: str
    row_group: int
    images: int
    old: tuple[tuple[str, int, str], ...]


class Held(NamedTuple):
    """What a block's file holds: rows, those with a vector, bytes of the file, reason -> rows."""

    file: str
    images: int
    vectors: int
    bytes: int
    reasons: dict[str, int]


@dataclass(slots=True)
class Work:
    """What a run has to do.

    Attributes:
        jobs: blocks to be made. held: of each block of the list that is there, what it holds. unsaid: those of them without a manifest.
    """

    jobs: list[Job] = field(default_factory=list)
    held: dict[str, Held] = field(default_factory=dict)
    unsaid: list[Held] = field(default_factory=list)

    @property
    def images(self) -> int:
        return sum(job.images for job in self.jobs)


def must_be_free(home: Place) -> None:
    """UsageError where a folder of this machine holds something else (pictures, a library), or can be none. Of a bucket's prefix anyone
    may have a part."""
    above = home.path
    while home.local and not os.path.lexists(above):
        above = os.path.dirname(above)
    if home.local and not os.path.isdir(above):
        raise UsageError("this is a file, and no folder", path=above, hint="name a new folder, or an empty one")
    if home.local and not os.access(above, os.W_OK | os.X_OK):
        raise UsageError("nothing can be written in this folder", path=above, hint="name another one, or check its permissions")
    here = os.listdir(home.path) if home.local and os.path.isdir(home.path) else []
    other = sorted(name for name in here if name not in _OURS and not name.startswith("."))
    if other and DATASET_NAME not in here:
        raise UsageError(
            f"this folder holds something else ({shown(other[0])})", path=home.address, hint="name a new folder, or an empty one"
        )


def ensure(home: Place, fingerprint: Fingerprint, canonical: Float32) -> None:
    """A data set of this model lies here from now on. ModelMismatchError: there is one of another."""
    import image_search

    found = read_facts(home)
    if found is None:
        home.below(DATASET_NAME).write(facts_as_json(fingerprint, canonical, image_search.__version__), drafts=home.below("_tmp"))
        found = read_facts(home)  # two may have begun at once: what lies there counts
    assert found is not None
    if found[0] != fingerprint:
        raise ModelMismatchError(
            f"the data set was made with the model {found[0].name}, not with {fingerprint.name}",
            path=home.address,
            hint="take that model, or another place",
        )


def write_list(home: Place, table: Any, made_with: str, images: int) -> str:
    """The list in its blocks, and its plan; from now on it is the current one. Returns its id.

    Args:
        table: as `listing` gives it. made_with: see `blocks.block_name`. images: of a block, about.
    """
    blocks = list(_cut(table, made_with, images))
    list_id = hashlib.sha256(json.dumps([name for name, _, _ in blocks]).encode()).hexdigest()[:32]
    lists = read_lists(home)
    if lists[:1] == [list_id] and _lies_here(home, list_id):
        return list_id
    plan: list[PlannedBlock] = []
    for number, start in enumerate(range(0, len(blocks), LIST_BLOCKS)):
        name = f"{list_id}-{number:05}.parquet"
        plan += _write_part(home, name, table, blocks[start : start + LIST_BLOCKS])
    _write(home.below("plan", f"{list_id}.parquet"), home, list(PlannedBlock._fields), plan)
    _set_lists(home, [list_id, *(one for one in lists if one != list_id)])
    return list_id


def _lies_here(home: Place, list_id: str) -> bool:
    """Are the files of this list there? Those that somebody deleted, or a disk lost, are written again."""
    plan = _plan_or_none(home, list_id)
    files = home.below("list").names()
    return plan is not None and all(block.file in files for block in plan)


def _plan_or_none(home: Place, list_id: str) -> list[PlannedBlock] | None:
    """None: it is gone or damaged."""
    try:
        return read_plan(home, list_id)
    except DatasetError as error:
        if error.what in (DAMAGED, GONE):
            return None
        raise


def finish(home: Place, list_id: str) -> None:
    """Every block of the current list is there: what lay before it is no longer needed. If another run has a newer list, that stays."""
    lists = read_lists(home)
    if lists[0] == list_id and len(lists) > 1:
        _set_lists(home, [list_id])


def make_work(home: Place, list_id: str) -> Work:
    """What is missing, by the names of the files that are there."""
    blocks = home.below("blocks")
    sizes = blocks.names()
    done = attempts(sizes)
    said = _manifests(home)
    plan = read_plan(home, list_id)
    plans = [_plan_or_none(home, one) for one in read_lists(home) if one != list_id]
    olds = [_Old(old) for old in plans if old is not None]  # without an old list its pictures are embedded again
    work = Work()

    def held(block: PlannedBlock) -> Held | None:
        """None: not there, or not as it was written."""
        if block.name not in done:
            return None
        name = file_name(block.name, done[block.name])
        known = said.get(name)
        if known is not None:
            return known if known.bytes == sizes[name] else None
        return _look_into(home, name)

    with ThreadPoolExecutor(DATASET_LISTERS, "look") as threads:
        for block, found in zip(plan, threads.map(held, plan), strict=True):
            name = file_name(block.name, done.get(block.name, 0))
            if found is None:
                if block.name in done:
                    blocks.below(name).delete()
                old = tuple(part for index in olds for part in index.under(block, done))
                work.jobs.append(Job(block.name, done.get(block.name, 0), block.file, block.row_group, block.images, old))
                continue
            work.held[block.name] = found
            if name not in said:
                work.unsaid.append(found)
            if PASSING & found.reasons.keys():
                again = done[block.name] + 1
                itself = (block.file, block.row_group, name)
                work.jobs.append(Job(block.name, again, block.file, block.row_group, block.images, (itself,)))
    return work


def foresee(home: Place, table: Any, made_with: str, images: int) -> tuple[int, int, int]:
    """What a run would do, and nothing is written: blocks of the list, those of them that it would make, pictures that it would embed:
    those that are new or have changed, and those that may be reached by now. Arguments as of `write_list`."""
    done, said = attempts(home.below("blocks").names()), _manifests(home)
    olds = [_Old(plan) for one in read_lists(home) if (plan := _plan_or_none(home, one)) is not None]
    blocks = made = embedded = 0
    for name, start, length in _cut(table, made_with, images):
        blocks += 1
        if name in done:
            held = said.get(file_name(name, done[name]))
            todo = 0 if held is None else sum(count for reason, count in held.reasons.items() if reason in PASSING)
            made += todo > 0
        else:
            part = table.slice(start, length)
            new = {item._replace(name="") for item in _items(part)}
            block = PlannedBlock(name, "", 0, length, part["uri"][0].as_py(), part["uri"][-1].as_py())
            for old in olds:
                for file, row_group, _ in old.under(block, done):
                    with contextlib.suppress(DatasetError):  # what cannot be read is not taken over
                        new -= {item._replace(name="") for item in read_items(home, file, row_group)}
            todo = len(new)
            made += 1
        embedded += todo
    return blocks, made, embedded


def write_manifest(home: Place, rows: Sequence[Held], fingerprint: Fingerprint) -> None:
    """What these blocks hold, in one file."""
    if not rows:
        return
    pa = arrow("Data sets")
    columns = [[getattr(row, name) for row in rows] for name in _HELD[:-1]]
    reasons = pa.array([sorted(row.reasons.items()) for row in rows], pa.map_(pa.string(), pa.int64()))
    table = pa.table([*columns, reasons], names=list(_HELD)).replace_schema_metadata({"image_search.fingerprint": fingerprint.short})
    name = hashlib.sha256(json.dumps([row[:4] for row in rows]).encode()).hexdigest()[:32]
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd")
    home.below("manifest", f"{name}.parquet").write(sink.getvalue(), drafts=home.below("_tmp"))


def prune(home: Place, list_id: str) -> int:
    """Delete what the current list does not need: old blocks with the vectors in them, old lists, old plans. Returns how many blocks."""
    plan = read_plan(home, list_id)
    done = attempts(home.below("blocks").names())
    keep = {file_name(block.name, done[block.name]) for block in plan if block.name in done}
    gone = [name for name in home.below("blocks").names() if name not in keep]
    for name in gone:
        home.below("blocks", name).delete()
    for folder in ("list", "plan"):
        for name in home.below(folder).names():
            if not name.startswith(list_id):
                home.below(folder, name).delete()
    return len(gone)


def _cut(table: Any, made_with: str, images: int) -> Iterator[tuple[str, int, int]]:
    """(name, first row, rows) of each block."""
    least, most = max(1, images // 2), images * 5
    modulus = max(1, images - least)
    start, items = 0, list[Item]()
    for at, item in enumerate(_items(table), 1):
        items.append(item)
        ends = len(items) >= least and zlib.crc32(item.uri.encode()) % modulus == 0
        if ends or len(items) == most or at == len(table):
            yield block_name(items, made_with), start, len(items)
            start, items = at, []


def _items(table: Any, size: int = 50_000) -> Iterator[Item]:
    for start in range(0, len(table), size):
        yield from map(Item._make, zip(*table.slice(start, size).to_pydict().values(), strict=True))


def _write_part(home: Place, name: str, table: Any, blocks: Sequence[tuple[str, int, int]]) -> list[PlannedBlock]:
    """One file of a list: a row group for each of these blocks."""
    pa = arrow("Data sets")
    sink = pa.BufferOutputStream()
    found = []
    uris = table.column("uri")
    with pa.parquet.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        for number, (block, start, length) in enumerate(blocks):
            writer.write_table(table.slice(start, length), row_group_size=length)
            ends = uris[start].as_py(), uris[start + length - 1].as_py()
            found.append(PlannedBlock(block, name, number, length, *ends))
    home.below("list", name).write(sink.getvalue(), drafts=home.below("_tmp"))
    return found


def _write(here: Place, home: Place, names: list[str], rows: Sequence[Sequence[Any]]) -> None:
    pa = arrow("Data sets")
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table([list(column) for column in zip(*rows, strict=True)], names=names), sink, compression="zstd")
    here.write(sink.getvalue(), drafts=home.below("_tmp"))


def _set_lists(home: Place, lists: Sequence[str]) -> None:
    home.below("current.json").write(json.dumps({"lists": list(lists)}).encode(), drafts=home.below("_tmp"))


class _Old:
    """A list from before: which of its blocks hold what a new block names."""

    def __init__(self, plan: list[PlannedBlock]) -> None:
        self._plan = plan
        self._ends = [block.last for block in plan]

    def under(self, block: PlannedBlock, done: dict[str, int]) -> Iterator[tuple[str, int, str]]:
        for old in self._plan[bisect.bisect_left(self._ends, block.first) :]:
            if old.first > block.last:
                break
            if old.name in done and old.name != block.name:
                yield old.file, old.row_group, file_name(old.name, done[old.name])


def _manifests(home: Place) -> dict[str, Held]:
    """What all manifests say, by the blocks' files; one that is damaged says nothing."""

    def read(name: str) -> list[Held]:
        try:
            table = read_table(home.below("manifest", name), _HELD)
            rows = zip(*(table.column(column).to_pylist() for column in _HELD), strict=True)
            return [Held._make((*facts, dict(reasons))) for *facts, reasons in rows]
        except DatasetError:
            return []

    with ThreadPoolExecutor(DATASET_LISTERS, "read") as threads:
        names = [name for name in home.below("manifest").names() if name.endswith(".parquet")]
        return {row.file: row for rows in threads.map(read, names) for row in rows}


def _look_into(home: Place, name: str) -> Held | None:
    """Of a block without a manifest, as after a kill; None: it is not whole."""
    facts = read_facts(home)
    assert facts is not None
    here = home.below("blocks", name)
    data = here.read()
    try:
        rows = None if data is None else read_block(data, facts[0], here.address)
    except DatasetError:
        return None
    return None if rows is None or data is None else held_by(name, rows.reason, len(data))


def held_by(name: str, reasons: Sequence[str | None], size: int) -> Held:
    counts = Counter(reason for reason in reasons if reason is not None)
    return Held(name, len(reasons), len(reasons) - counts.total(), size, dict(counts))
