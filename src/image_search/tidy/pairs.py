"""Which pictures may be copies of one another: of each its nearest by the model, every picture compared with every one, in blocks.

A fixed similarity cannot say it. What is near differs from model to model and from one collection to the next: with `mini` a picture cut
to 60 % of its area has .68 to .90 to its original, and in a folder of shelves any two pictures have that. Its place among the neighbours
can: of 1,500 pictures the original of a changed copy is among the twelve nearest for all but a few in a thousand, crops, mirrored and
turned ones alike. So a pair is taken if either is among the other's nearest, which also bounds their number, whatever the pictures are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..types import Float32

__all__ = ["NEIGHBOURS", "Pairs", "floor", "near_pairs"]

NEIGHBOURS = 12  # of each picture that are looked at closer
_SPARE = 4  # kept beyond them until the end: the last bits of a float32 product change with the shape of the call
_ROWS, _COLUMNS = 2048, 2048  # of a block: 16 MB of similarities
_FIRST = 256  # rows of the first strip; each is twice as high as the one before until it has _ROWS
_AHEAD = 2  # blocks that wait to be looked through while the next one is multiplied
_FEW = 32  # found in a block for each of its rows and columns: more are cut to the nearest of each before they are kept
_HELD = 1_000_000  # pairs that wait, and half as many as were kept: then all are cut back to the nearest of each
_GATHER = 8192  # pairs whose similarity is computed again at once: 16 MB at 256 dimensions
_FLOOR_SAMPLE = 1000  # pictures, and as many others beside each
_FLOOR_SHARE = 0.01  # of pairs drawn at random that are nearer than the floor

Indices = npt.NDArray[np.int32]
Progress = Callable[[int, int], None]


class Pairs(NamedTuple):
    """P pairs of rows, sorted, each once.

    Attributes:
        first, second: int32 (P,), row numbers, first < second.
        similarity: float32 (P,), cosines.
    """

    first: Indices
    second: Indices
    similarity: Float32

    @classmethod
    def none(cls) -> Pairs:
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))

    def of(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Pairs:
        """Some of them, or all in another order."""
        return Pairs(self.first[which], self.second[which], self.similarity[which])


def floor(vectors: Float32) -> float:
    """The similarity that one of a hundred pairs drawn at random reaches: what is farther apart than that is no copy.

    Args:
        vectors: float32 (N, D), unit length.

    Returns:
        a cosine; -1 in a small library, where the pictures are compared with all others anyway.
    """
    count = len(vectors)
    if count * _FLOOR_SHARE < NEIGHBOURS:
        return -1.0
    rng = np.random.default_rng(0)
    one, other = (np.sort(rng.choice(count, min(count, _FLOOR_SAMPLE), replace=False)) for _ in range(2))
    similar = vectors[one] @ vectors[other].T  # (S, S); its few pairs of a picture with itself are less than one in a thousand
    return float(np.quantile(similar, 1 - _FLOOR_SHARE))


def near_pairs(
    vectors: Float32,
    *,
    least: float = -1.0,
    fresh: npt.NDArray[np.bool_] | None = None,
    known: Pairs | None = None,
    threads: int = 1,
    progress: Progress = lambda done, total: None,
) -> Pairs:
    """All pairs of which one is among the NEIGHBOURS nearest of the other, exactly: every row is compared with every one.

    Rows that are the same to the last bit are one: each is paired with the first of them, so that any number of them costs nothing.

    Args:
        vectors: float32 (N, D), unit length.
        least: pairs with a lower cosine are left out.
        fresh: bool (N,), rows that were not there before; only pairs with one of these are looked for. None: all are.
        known: the pairs of the others that were found before; they say how near a fresh row must be to be among their nearest.
        threads: that look through what was multiplied; the multiplication takes those of NumPy.
        progress: (done, total), rows.

    Returns:
        those pairs; not `known`.
    """
    if len(vectors) < 2:
        return Pairs.none()
    rows, twins = _folded(vectors)
    is_fresh = np.ones(len(vectors), np.bool_) if fresh is None else fresh
    twins = twins.of(is_fresh[twins.first] | is_fresh[twins.second])
    first_of_kind = np.zeros(len(vectors), np.bool_)
    first_of_kind[rows] = True
    if known is not None:  # else those that are the same would take the places of a row's neighbours
        known = known.of(first_of_kind[known.first] & first_of_kind[known.second])
    found = _Search(vectors, rows, is_fresh, least, threads).run(known or Pairs.none(), progress)
    return _sorted(_joined(found, twins))


def _folded(vectors: Float32) -> tuple[Indices, Pairs]:
    """The first row of each kind of equal ones, and the pairs of each other with it."""
    whole = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.shape[1] * vectors.itemsize)))[:, 0]
    first: dict[bytes, int] = {}
    of = np.fromiter((first.setdefault(row.tobytes(), n) for n, row in enumerate(whole)), np.int32, len(vectors))
    own = np.arange(len(vectors), dtype=np.int32)
    again = np.flatnonzero(of != own).astype(np.int32)
    return own[of == own], Pairs(of[again], again, np.ones(len(again), np.float32))


class _Search:
    """Over the rows of different vectors. `nearest` holds pairs of which one is among the nearest of the other so far.

    The order of the rows is drawn at random. The first strip of it, compared with all, tells of each row how near its neighbours are;
    then rows in crowds and lonely ones are set apart, so that one number for a block is nearly as good as one for each row.
    """

    def __init__(self, vectors: Float32, rows: Indices, fresh: npt.NDArray[np.bool_], least: float, threads: int) -> None:
        self.vectors = vectors
        self.threads = threads
        self.kept = NEIGHBOURS + _SPARE
        shuffled = rows[np.random.default_rng(0).permutation(len(rows))]
        is_fresh = fresh[shuffled]
        self.fresh = int(is_fresh.sum())
        self.order = np.concatenate([shuffled[is_fresh], shuffled[~is_fresh]])  # int32 (R,)
        self.bound = np.full(len(vectors), least, np.float32)  # from which on a row's neighbour counts; (N,)
        self.least = np.float32(least)
        self.nearest = Pairs.none()

    def run(self, known: Pairs, progress: Progress) -> Pairs:
        self._cut_back(known)  # only what the others' bounds are is wanted of it
        self.nearest = Pairs.none()
        done, total = 0, self.fresh * len(self.order) - self.fresh * (self.fresh + 1) // 2
        waiting: list[Pairs] = []
        count, most = 0, _HELD
        with ThreadPoolExecutor(self.threads) as pool:
            for start, end in self._strips():
                for hits, compared in self._strip(start, end, pool):
                    waiting.append(hits)
                    count, done = count + len(hits.first), done + compared
                    progress(round(self.fresh * min(1.0, done / max(1, total))), self.fresh)
                    if count > most:
                        self._cut_back(_joined(self.nearest, *waiting), known)
                        waiting, count, most = [], 0, len(self.nearest.first) // 2 + _HELD
                if start < _ROWS:  # at first each strip tells much
                    self._cut_back(_joined(self.nearest, *waiting), known)
                    waiting, count = [], 0
                if start == 0:
                    self._set_apart(end)
        self.nearest = _joined(self.nearest, *waiting)
        return self._exactly(known)

    def _strips(self) -> Iterator[tuple[int, int]]:
        start, high = 0, _FIRST
        while start < self.fresh:
            yield start, (start := min(start + min(high, _ROWS), self.fresh))
            high *= 2

    def _set_apart(self, done: int) -> None:
        """Of what is still to be compared: by how near its neighbours are."""
        for part in (self.order[done : self.fresh], self.order[self.fresh :]):
            part[:] = part[np.argsort(-self.bound[part], kind="stable")]

    def _strip(self, start: int, end: int, pool: ThreadPoolExecutor) -> Iterator[tuple[Pairs, int]]:
        """What is near in some rows, compared with each other and all that come after; and how many comparisons that was."""
        rows = self.order[start:end]
        left = self.vectors[rows]  # (r, D)
        waiting: list[tuple[Future[Pairs], int]] = []
        try:
            for at in range(start, len(self.order), _COLUMNS):
                columns = self.order[at : at + _COLUMNS]
                similar = left @ self.vectors[columns].T  # (r, c)
                within = max(0, end - at) if at < end else 0  # columns that are rows of this strip, too
                waiting.append((pool.submit(self._look, similar, rows, columns, at - start, within), len(rows) * len(columns)))
                if len(waiting) > _AHEAD:
                    found, compared = waiting.pop(0)
                    yield found.result(), compared
            for found, compared in waiting:
                yield found.result(), compared
        finally:
            for found, _ in waiting:
                found.cancel()

    def _look(self, similar: Float32, rows: Indices, columns: Indices, offset: int, within: int) -> Pairs:
        """The pairs of one block that may be among the nearest. `offset`: the place of its first column, counted from the first row."""
        if within:  # each pair once, none with itself
            similar[:, :within][np.arange(offset, offset + min(within, similar.shape[1]))[None, :] <= np.arange(len(rows))[:, None]] = -2
        of_rows, of_columns = self.bound[rows], self.bound[columns]  # (r,), (c,)
        from_here = max(self.least, min(of_rows.min(), of_columns.min()))
        flat = np.flatnonzero(similar >= from_here)
        if len(flat) > _FEW * sum(similar.shape):
            near = similar.ravel()[flat]
            flat = flat[(near >= of_rows[flat // similar.shape[1]]) | (near >= of_columns[flat % similar.shape[1]])]
        if len(flat) > _FEW * sum(similar.shape):
            flat = self._nearest_of_each(similar)
        i, j = rows[flat // similar.shape[1]], columns[flat % similar.shape[1]]
        return Pairs(np.minimum(i, j), np.maximum(i, j), similar.ravel()[flat])

    def _nearest_of_each(self, similar: Float32) -> npt.NDArray[np.int64]:
        """Places in a block, flat: the nearest of each row and of each column; as many as that, however many are as near."""
        marked = np.zeros(similar.shape, np.bool_)
        for axis in (0, 1):
            some = similar.shape[axis] - self.kept
            if some <= 0:
                marked[:] = True
                break
            least = np.take(np.partition(similar, some, axis=axis), [some], axis=axis)
            near = similar >= least
            if near.sum() > 2 * self.kept * least.size:  # as near as each other, to the last bit: some of them
                best = np.take(np.argpartition(similar, some, axis=axis), range(some, similar.shape[axis]), axis=axis)
                np.put_along_axis(marked, best, True, axis=axis)
            else:
                marked |= near
        return np.flatnonzero(marked & (similar >= self.least))

    def _cut_back(self, *lists: Pairs) -> None:
        """Keep of the first list what is among the nearest of either; the bounds follow from all of them together."""
        pairs = _joined(*lists)
        count = len(pairs.first)
        if not count:
            return
        # Row, distance and number of the pair in one number: its 64 bits are sorted ten times as fast as columns are. The distance gets
        # what is left of them, 19 bits for a million rows: a step of .000004, which the spare ones make up for.
        low = count.bit_length()
        room = 64 - low - len(self.vectors).bit_length()
        far = ((1.01 - np.clip(pairs.similarity, -1, 1)) * (2**room / 2.02)).astype(np.uint64) << np.uint64(low) | np.arange(
            count, dtype=np.uint64
        )
        keys = np.empty(2 * count, np.uint64)
        for half, rows in ((keys[:count], pairs.first), (keys[count:], pairs.second)):
            np.left_shift(rows.astype(np.uint64), np.uint64(low + room), out=half)
            half |= far
        keys.sort()
        pair = (keys & np.uint64(2**low - 1)).astype(np.int32)
        rows = (keys >> np.uint64(low + room)).astype(np.int32)
        del keys, far
        # The row that stands `kept` places before is another one: it is among the nearest. One place before: it is not the last of them.
        near = np.ones(len(rows), np.bool_)
        near[self.kept :] = rows[self.kept :] != rows[: -self.kept]
        last = near[self.kept - 1 :].copy()
        last[:] &= rows[self.kept - 1 :] == rows[: max(0, len(rows) - self.kept + 1)]
        at = np.flatnonzero(last) + self.kept - 1
        # Above it: of those that are as near as the last one that is kept no more are needed.
        self.bound[rows[at]] = np.maximum(np.nextafter(pairs.similarity[pair[at]], np.float32(2)), self.least)
        keep = np.zeros(count, np.bool_)
        keep[pair[near]] = True
        keep = keep[: len(lists[0].first)]
        self.nearest = lists[0].of(keep)

    def _exactly(self, known: Pairs) -> Pairs:
        """What is among the NEIGHBOURS nearest of either, by similarities that do not depend on the shape of a block."""
        found = _scored(self.vectors, self.nearest)
        both = _joined(found, known)
        number = np.arange(len(both.first), dtype=np.int32)
        owner, other, pair = (np.concatenate(two) for two in (both[:2], both[1::-1], (number, number)))
        by = np.lexsort((other, -np.concatenate([both.similarity] * 2), owner))
        keep = np.zeros(len(both.first), np.bool_)
        keep[pair[by[_places(owner[by]) < NEIGHBOURS]]] = True
        keep = keep[: len(found.first)] & (found.similarity >= self.least)
        return found.of(keep)


def _joined(*lists: Pairs) -> Pairs:
    return Pairs(
        np.concatenate([pairs.first for pairs in lists]),
        np.concatenate([pairs.second for pairs in lists]),
        np.concatenate([pairs.similarity for pairs in lists]),
    )


def _places(owner: Indices) -> npt.NDArray[np.int64]:
    """Of sorted owners: how many of the same stand before each."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    return np.arange(len(owner)) - np.repeat(starts, np.diff(starts, append=len(owner)))


def _scored(vectors: Float32, pairs: Pairs) -> Pairs:
    """With similarities summed along each row in one fixed order."""
    similarity = np.empty(len(pairs.first), np.float32)
    for start in range(0, len(similarity), _GATHER):
        some = slice(start, start + _GATHER)
        similarity[some] = np.vecdot(vectors[pairs.first[some]], vectors[pairs.second[some]])
    return Pairs(pairs.first, pairs.second, np.clip(similarity, -1, 1))


def _sorted(pairs: Pairs) -> Pairs:
    return pairs.of(np.lexsort((pairs.second, pairs.first)))
