"""Who makes blocks: a model and decoders, opened once, then one block after the other. The same in this process and in a cluster's.

A block's pictures go through `embed_each`, each in the cage, so that one that kills its decoder costs one row. What comes of a block is
written here and nowhere else; only counts go back.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..config import LARGE_OBJECT_BYTES, LARGE_OBJECTS, OBJECT_READERS, OBJECT_TRIES_SECONDS, Limits
from ..embedding import Embedded, embed_each
from ..errors import DatasetError, DecodeError, ImageSearchError, ModelMismatchError, SkipReason
from ..images.pool import DecodePool, PictureSource
from ..models import load_model, prove
from ..paths import local_path
from ..types import Decoded, Embedder, Region
from .blocks import Item, Row, file_name, read_block, rows_as_parquet
from .dataset import read_facts, read_items
from .filesystems import is_remote, place
from .growing import PASSING, Held, Job, held_by

__all__ = ["Made", "Order", "Worker"]

# Of what the machine did at that moment, or of what was done to a decoder: such a picture has a second try at once.
_AGAIN = frozenset({SkipReason.CRASHED, SkipReason.TOOK_TOO_LONG, SkipReason.TOO_MUCH_MEMORY})
# What another limit would change, or another moment: not taken over from an older block.
_NOT_KEPT = PASSING | {SkipReason.TOO_MANY_PIXELS.value, SkipReason.FILE_TOO_LARGE.value} | {reason.value for reason in _AGAIN}


@dataclass(frozen=True, slots=True)
class Order:
    """What every worker needs to know; goes over the wire.

    Attributes:
        address: of the data set. model: a name as for `load_model`, or an embedder that can be pickled.
        threads: pictures at once, for the model and for decoding. limits: what one picture may cost.
    """

    address: str
    model: str | Embedder
    runtime: str | None
    threads: int
    limits: Limits
    pool: Callable[..., DecodePool] = DecodePool


class Made(NamedTuple):
    """What came of a job.

    Attributes:
        block: its name. held: what its file holds. embedded: pictures that went through the model.
        error: the one line and its hint why there is none, and a later run has to make it; else None.
    """

    block: str
    images: int
    held: Held | None
    embedded: int
    error: tuple[str, str | None, str] | None


class Worker:
    """One model and its decoders. `close` gives them back."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._home = place(order.address)
        facts = read_facts(self._home)
        if facts is None:
            raise DatasetError("the data set is gone", path=order.address, hint="index again")
        self._fingerprint, canonical = facts
        given = not isinstance(order.model, str)
        self._model = (
            order.model if not isinstance(order.model, str) else load_model(order.model, runtime=order.runtime, threads=order.threads)
        )
        if self._model.fingerprint.weights_sha256 != self._fingerprint.weights_sha256:
            raise ModelMismatchError(
                f"the model {self._fingerprint.name} has other weights on this machine than those that the data set was made with",
                path=order.address,
                hint="install the same version of this program, and the same model, on every machine",
            )
        prove(self._model, canonical, self._fingerprint, from_memory=not given)
        pool = order.pool(order.threads, self._fingerprint.preprocess, limits=order.limits)
        self._pool = _ReadingPool(pool, order.limits.file_bytes)

    def close(self) -> None:
        self._pool.pool.close()
        if isinstance(self._order.model, str):
            self._model.close()

    def make(self, job: Job) -> Made:
        """One block. What goes wrong with a picture is a row; what goes wrong with a disk, a bucket or the model is `Made.error`."""
        try:
            return self._make(job)
        except ImageSearchError as error:
            return Made(job.block, job.images, None, 0, (error.what, error.path, str(error.hint)))

    def _make(self, job: Job) -> Made:
        items = read_items(self._home, job.list_file, job.row_group)
        before = self._kept(job.old)
        rows: dict[str, Row] = {}
        for item in items:
            old = before.get(item.uri)
            if old is not None and old[0].version == item.version and old[0].bytes == item.bytes and old[1].reason not in _NOT_KEPT:
                rows[item.uri] = old[1]._replace(name=item.name)
        todo = [item for item in items if item.uri not in rows]
        embedded = 0
        for row in self._rows(todo):
            rows[row.uri] = row
            embedded += row.vector is not None
        ordered = [rows[item.uri] for item in items]
        name = file_name(job.block, job.attempt)
        tries_again = bool(job.old) and job.old[0][2] in (file_name(job.block, n) for n in range(job.attempt))
        if tries_again and [row.reason for row in ordered] == [before[item.uri][1].reason for item in items if item.uri in before]:
            return Made(job.block, job.images, None, embedded, None)  # as it was: what lies there stays
        data = rows_as_parquet(ordered, self._fingerprint)
        self._home.below("blocks", name).write(data, drafts=self._home.below("_tmp"))
        return Made(job.block, job.images, held_by(name, [row.reason for row in ordered], len(data)), embedded, None)

    def _rows(self, todo: Sequence[Item]) -> Iterator[Row]:
        again: list[Item] = []
        for item, outcome in self._embedded(todo):
            if isinstance(outcome, DecodeError) and outcome.reason in _AGAIN:
                again.append(item)
            else:
                yield _row(item, outcome, self._pool.sizes[item.uri])
        for item, outcome in self._embedded(again):
            yield _row(item, outcome, self._pool.sizes[item.uri])

    def _embedded(self, items: Sequence[Item]) -> Iterator[tuple[Item, Embedded | DecodeError]]:
        by_source: dict[PictureSource, Item] = {}
        for item in items:
            by_source[item.uri if is_remote(item.uri) else local_path(item.uri)] = item
        self._pool.sizes = {item.uri: item.bytes for item in items}
        for outcome in embed_each(iter(list(by_source)), self._pool, self._model):
            assert outcome.source is not None
            yield by_source[outcome.source], outcome

    def _kept(self, old: Sequence[tuple[str, int, str]]) -> dict[str, tuple[Item, Row]]:
        """uri -> (its row of the old list, its row of the old block). A block or a list that cannot be read any more gives nothing."""
        kept: dict[str, tuple[Item, Row]] = {}
        for list_file, row_group, block in reversed(old):  # of several the newest counts
            here = self._home.below("blocks", block)
            try:
                items = read_items(self._home, list_file, row_group)
                data = here.read()
                rows = [] if data is None else list(read_block(data, self._fingerprint, here.address).each())
            except DatasetError:
                continue
            kept |= {item.uri: (item, row) for item, row in zip(items, rows, strict=False) if item.uri == row.uri}
        return kept


def _row(item: Item, outcome: Embedded | DecodeError, size: int) -> Row:
    """`size`: bytes of the object, -1 if that is not known."""
    if isinstance(outcome, DecodeError):
        sha256 = None if outcome.sha256 is None else outcome.sha256.hex()
        return Row(item.uri, item.name, sha256, None if size < 0 else size, None, None, None, None, outcome.reason.value, None)
    found = outcome.decoded
    facts = (found.width, found.height, found.format, found.captured)
    return Row(item.uri, item.name, found.sha256.hex(), size if found.stat is None else found.stat.size, *facts, None, outcome.vector)


class _ReadingPool:
    """A decode pool whose sources may be objects of a bucket. More threads than decoders, since these wait for the network.

    Attributes:
        sizes: bytes of the objects, by their uris: as the list says, and once they were read as they are.
    """

    def __init__(self, pool: DecodePool, most: int) -> None:
        self.pool = pool
        self.sizes: dict[str, int] = {}
        self._most = most
        self._large = threading.Semaphore(LARGE_OBJECTS)

    def decode_each(
        self, sources: Iterable[PictureSource], *, known: Callable[[bytes], bool] | None = None, region: Region | None = None
    ) -> Iterator[tuple[PictureSource, Decoded | DecodeError]]:
        threads = self.pool.workers + (OBJECT_READERS if any(map(is_remote, self.sizes)) else 0)
        return self.pool.decode_each(sources, known=known, region=region, read=self._read, threads=threads)

    def _read(self, source: PictureSource) -> PictureSource:
        if not isinstance(source, str) or not is_remote(source):
            return source  # the decoder opens it, and says of which moment it is
        large = not 0 <= self.sizes[source] < LARGE_OBJECT_BYTES
        if self.sizes[source] > self._most:
            raise DecodeError(SkipReason.FILE_TOO_LARGE, path=source, detail=f"{self.sizes[source]} bytes")
        with self._large if large else contextlib.nullcontext():
            data = self._object(source)
        self.sizes[source] = len(data)
        return data

    def _object(self, uri: str) -> bytes:
        for seconds in OBJECT_TRIES_SECONDS:
            try:
                return place(uri).object(self._most)
            except DatasetError:
                time.sleep(seconds)
        return place(uri).object(self._most)
