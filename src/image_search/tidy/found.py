"""A library's pairs: which pictures are copies of one another. Found by vectors, looked at by pixels, remembered beside the catalog.

Only what is new is compared, and only pairs that nobody has looked at are looked at. `tidy.pairs` and `tidy.copies` do the work; here they
meet the library.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..config import COMMIT_SECONDS
from ..errors import ImageSearchError
from ..images.pool import DecodePool
from ..library.pairs import FoundPairs
from ..library.reading import Item, Reader
from ..library.thumbnails import Thumbnails
from ..library.vectors import Numbers, Vectors, hashes
from ..types import Float32
from .copies import Kind, Prepared, compare
from .looks import made_ready
from .pairs import NEIGHBOURS, Pairs, floor, near_pairs

__all__ = ["Copies", "Pair", "Progress", "copies_of"]

RULES = 2  # of finding pairs and of telling copies: another number where either changes, and all is found anew
_KEPT = 2048  # pictures made ready, some 75 KB each
_AT_ONCE = 128  # pairs looked at between two looks at the clock

Progress = Callable[[str, int, int], None]
Mask = npt.NDArray[np.bool_]


class Pair(NamedTuple):
    """Two contents that are copies of each other. `change`: from the first to the second, `back`: the other way; "" if none.

    `changed`: which one was made of the other, as `copies.Verdict` has it: 1: the second, -1: the first, 0: not told.
    """

    kind: Kind
    change: str
    back: str
    similarity: float
    changed: int = 0

    @property
    def turned(self) -> Pair:
        return self._replace(change=self.back, back=self.change, changed=-self.changed)


@dataclass(slots=True)
class Copies:
    """What is known of a library's pairs.

    Attributes:
        pairs: (one, other) -> what they are to each other; numbers of contents, one < other.
        unread: contents whose pixels could not be had now; pairs with them are not known.
        contents: how many there are; compared: how many of them were compared with all others now; looked_at: pairs now.
        remembers: see `library.pairs.FoundPairs`.
    """

    pairs: dict[tuple[int, int], Pair] = field(default_factory=dict)
    unread: set[int] = field(default_factory=set)
    contents: int = 0
    compared: int = 0
    looked_at: int = 0
    remembers: bool = True
    _keys: Numbers = field(default_factory=lambda: np.empty(0, np.int64))  # of all pairs that were looked at before, ascending
    _now: set[tuple[int, int]] = field(default_factory=set)

    def was_looked_at(self, one: int, other: int) -> bool:
        """Has this pair been looked at, or tried to? one < other."""
        key = (one << 32) + other
        at = int(np.searchsorted(self._keys, key))
        return (one, other) in self._now or (at < len(self._keys) and int(self._keys[at]) == key)


def copies_of(
    reader: Reader,
    thumbnails: Thumbnails,
    pool: Callable[[], DecodePool],
    *,
    among: Collection[int] | None = None,
    more: Callable[[Copies], Iterable[tuple[int, int]]] = lambda found: (),
    threads: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> Copies:
    """Bring what is known of a library's pairs up to date.

    Args:
        pool: gives the one that decodes; not called where nothing has to be looked at.
        among: only pairs of these contents are looked at; None: all. All are compared by their vectors all the same.
        more: told what is known, names further pairs to be looked at (numbers of contents, one < other); asked until it names none.
        threads: that look at pairs.
        progress: (what, done, total).

    Raises LibraryDamagedError; a picture that cannot be read is in `unread`.
    """
    with FoundPairs(reader.folder) as file:
        work = _Work(reader, file, _Pictures(reader, thumbnails, pool), threads, progress)
        work.compare_new()
        work.look(work.unseen(among))
        while wanted := [pair for pair in more(work.known) if not work.known.was_looked_at(*pair)]:
            work.compare_these(wanted)
            work.look(wanted)
        work.known.remembers = file.remembers
        return work.known


class _Work:
    """One run over one library. Contents are named by their numbers in the catalog, in the file by numbers of its own."""

    def __init__(self, reader: Reader, file: FoundPairs, pictures: _Pictures, threads: int, progress: Progress) -> None:
        self.reader, self.file, self.pictures = reader, file, pictures
        self.threads, self.progress = threads, progress
        self.known = Copies()
        self.number: dict[int, int] = {}  # content -> its number in the file
        self.todo = np.empty((0, 2), np.int64)  # pairs of contents at which nobody has looked

    # --- by vectors ---------------------------------------------------------------------------------------------------------

    def compare_new(self) -> None:
        """Every content that was not yet compared with all others is; and so is each that lost one of its neighbours."""
        vectors = Vectors(self.reader.catalog)
        with self.reader.snapshot():
            vectors.refresh()
            facts = hashes(self.reader.catalog)
        order = np.argsort(vectors.contents)
        contents, rows = vectors.contents[order], vectors.rows[order]
        del vectors
        least = self._begin(rows)
        before = self.file.compared()
        now = {facts[content][0]: (row, facts[content][1]) for row, content in enumerate(contents.tolist())}
        row_of = {number: now[sha256][0] for sha256, (number, check) in before.items() if sha256 in now and now[sha256][1] == check}
        fresh = np.ones(len(contents), np.bool_)
        fresh[list(row_of.values())] = False
        known, gone = self._still(before, row_of, fresh)
        if fresh.any() or gone:
            found = near_pairs(
                rows, least=least, fresh=fresh, known=known, threads=self.threads, progress=lambda *n: self.progress("compare", *n)
            )
            sha = [facts[content][0] for content in contents.tolist()]
            self.file.add(
                ((sha[row], facts[int(contents[row])][1]) for row in np.flatnonzero(fresh).tolist()),
                ((sha[i], sha[j], s) for i, j, s in zip(*(part.tolist() for part in found), strict=True)),
                gone,
            )
        self.known.contents, self.known.compared = len(contents), int(fresh.sum())
        self._read({sha256: int(contents[row]) for sha256, (row, _) in now.items()})

    def _begin(self, rows: Float32) -> float:
        """The floor of similarity; what was found by other rules or another model is forgotten."""
        facts = self.file.made_by()
        mine = {"model": self.reader.fingerprint.short, "rules": RULES, "neighbours": NEIGHBOURS}
        least = facts.pop("floor", None)
        if facts == mine and isinstance(least, float) and -1 <= least <= 1:
            return least
        least = floor(rows)
        self.file.begin({**mine, "floor": least})
        return least

    def _still(self, before: dict[bytes, tuple[int, int]], row_of: dict[int, int], fresh: Mask) -> tuple[Pairs, list[int]]:
        """The pairs of the file whose pictures are both still there, and the numbers of pictures that are not.

        Who lost a neighbour is fresh: another one may have its place.
        """
        pairs = self.file.pairs()
        rows = _translated(row_of, pairs.one), _translated(row_of, pairs.other)  # -1: gone
        for mine, others in (rows, rows[::-1]):
            fresh[mine[(mine >= 0) & (others < 0)]] = True
        both = (rows[0] >= 0) & (rows[1] >= 0)
        both[both] = ~(fresh[rows[0][both]] | fresh[rows[1][both]])
        i, j = (part[both].astype(np.int32) for part in rows)
        gone = [number for number, _ in before.values() if number not in row_of]
        return Pairs(np.minimum(i, j), np.maximum(i, j), pairs.similarity[both]), gone

    def _read(self, content_of: dict[bytes, int]) -> None:
        """What the file says of the contents that are there."""
        content = {number: content_of[sha256] for sha256, (number, _) in self.file.compared().items() if sha256 in content_of}
        self.number = {c: number for number, c in content.items()}
        pairs = self.file.pairs()
        both = np.stack([_translated(content, pairs.one), _translated(content, pairs.other)], axis=1)  # (P, 2)
        both.sort(axis=1)
        here = both[:, 0] >= 0
        self.todo = both[here & ~pairs.looked]
        looked = both[here & pairs.looked]
        self.known._keys = np.sort((looked[:, 0] << 32) + looked[:, 1])
        for copy in self.file.copies():
            if copy.one in content and copy.other in content and copy.kind in set(Kind):
                there, back, changed = _read(copy.change)
                pair = Pair(Kind(copy.kind), there, back, copy.similarity, changed)
                one, other = content[copy.one], content[copy.other]
                self.known.pairs[min(one, other), max(one, other)] = pair if one < other else pair.turned

    def compare_these(self, wanted: Sequence[tuple[int, int]]) -> None:
        """Pairs that are not near enough to be found, and are wanted all the same."""
        facts = hashes(self.reader.catalog)
        similar = self._similarities(np.array(wanted, np.int64))
        self.file.add((), ((facts[one][0], facts[other][0], s) for (one, other), s in zip(wanted, similar, strict=True)), ())

    def _similarities(self, pairs: Numbers) -> list[float]:
        """Cosines of pairs of contents, int64 (P, 2)."""
        vectors = self.reader.vectors(np.unique(pairs).tolist())
        return [min(1.0, max(-1.0, float(np.vecdot(vectors[one], vectors[other])))) for one, other in pairs.tolist()]

    # --- by pixels ----------------------------------------------------------------------------------------------------------

    def unseen(self, among: Collection[int] | None) -> Numbers:
        """int64 (T, 2): pairs of contents at which nobody has looked, in an order in which few pictures have to be made ready twice."""
        if among is None:
            return in_walking_order(self.todo)
        wanted = np.fromiter(among, np.int64)
        return in_walking_order(self.todo[np.isin(self.todo[:, 0], wanted) & np.isin(self.todo[:, 1], wanted)])

    def look(self, todo: Numbers | Sequence[tuple[int, int]]) -> None:
        """Look at these pairs, and remember about once a second what was seen."""
        seen: list[tuple[int, int, str, str]] = []
        committed = time.monotonic()
        threads = ThreadPoolExecutor(self.threads)
        try:
            for start in range(0, len(todo), _AT_ONCE):
                some = [(int(one), int(other)) for one, other in todo[start : start + _AT_ONCE]]
                seen += self._look_at(some, threads)
                self.progress("look closer", start + len(some), len(todo))
                if time.monotonic() - committed > COMMIT_SECONDS:
                    self.file.judge(seen)
                    seen, committed = [], time.monotonic()
            self.file.judge(seen)
        except BaseException:  # stopped: what was seen is kept all the same
            with contextlib.suppress(ImageSearchError):
                self.file.judge(seen)
            raise
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # one that waits for a slow disk ends with the decoders
        self.known.looked_at += len(todo)
        self.known.unread |= self.pictures.unread

    def _look_at(self, some: Sequence[tuple[int, int]], threads: ThreadPoolExecutor) -> list[tuple[int, int, str, str]]:
        """The verdicts as the file keeps them; none for a pair of which one cannot be read now."""
        ready = self.pictures.prepared(dict.fromkeys(content for pair in some for content in pair), threads)
        both = [pair for pair in some if pair[0] in ready and pair[1] in ready]
        similar = self._similarities(np.array(both, np.int64).reshape(-1, 2))
        verdicts = []
        for (one, other), looked, s in zip(both, threads.map(lambda p: _looked(ready[p[0]], ready[p[1]]), both), similar, strict=True):
            a, b = self.number[one], self.number[other]
            if looked is None:
                verdicts.append((min(a, b), max(a, b), "", ""))
            else:
                pair = self.known.pairs[one, other] = looked._replace(similarity=s)
                verdicts.append((a, b, pair.kind.value, _written(pair)) if a < b else (b, a, pair.kind.value, _written(pair.turned)))
        self.known._now.update(some)  # this run asks no more, whatever came of it
        return verdicts


def _translated(of: dict[int, int], numbers: Numbers) -> Numbers:
    """Each by the table; -1 for those that are not in it."""
    keys, inverse = np.unique(numbers, return_inverse=True)
    return np.array([of.get(key, -1) for key in keys.tolist()], np.int64)[inverse.reshape(-1)]


def _written(pair: Pair) -> str:
    """As the file keeps what was changed: "turned 90|turned 270|1"."""
    return f"{pair.change}|{pair.back}|{pair.changed}"


def _read(written: str) -> tuple[str, str, int]:
    there, back, changed = (*written.split("|"), "", "")[:3]
    return there, back, {"1": 1, "-1": -1}.get(changed, 0)


def _looked(one: Prepared, other: Prepared) -> Pair | None:
    """Their similarity is not known here."""
    found = compare(one, other)
    if found.kind is None:
        return None
    return Pair(found.kind, found.change, compare(other, one).change if found.change else "", 0.0, found.changed)


def in_walking_order(pairs: Numbers) -> Numbers:
    """The same pairs, int64 (T, 2), as one meets them walking from neighbour to neighbour: what one needs is at hand for the next."""
    owner, other = np.concatenate([pairs, pairs[:, ::-1]]).T
    by = np.lexsort((other, owner))
    other = other[by]
    contents, starts = np.unique(owner[by], return_index=True)
    place = np.full(len(contents), -1, np.int64)
    neighbours = np.searchsorted(contents, other)
    ends = np.append(starts[1:], len(other))
    reached = 0
    for first in range(len(contents)):
        waiting = deque([first] if place[first] < 0 else [])
        while waiting:
            row = waiting.popleft()
            if place[row] < 0:
                place[row] = reached
                reached += 1
                waiting.extend(near for near in neighbours[starts[row] : ends[row]].tolist() if place[near] < 0)
    there = place[np.searchsorted(contents, pairs)]  # (T, 2)
    return pairs[np.lexsort((there.min(axis=1), there.max(axis=1)))]


class _Pictures:
    """Contents made ready to be looked at; the last few thousand are kept."""

    def __init__(self, reader: Reader, thumbnails: Thumbnails, pool: Callable[[], DecodePool]) -> None:
        self.reader, self.thumbnails, self.pool = reader, thumbnails, pool
        self.ready: OrderedDict[int, Prepared] = OrderedDict()
        self.unread: set[int] = set()
        self.read = 0

    def prepared(self, contents: Iterable[int], threads: ThreadPoolExecutor) -> dict[int, Prepared]:
        """Those of them that can be read now."""
        wanted = list(contents)
        missing = [content for content in wanted if content not in self.ready and content not in self.unread]
        items = {item.content: item for item in self.reader.items([file.number for file in self.reader.files_with(missing)]).values()}
        for content, found in zip(missing, threads.map(lambda c: self._read(items.get(c)), missing), strict=True):
            if found is None:
                self.unread.add(content)
            else:
                self.ready[content] = found
        for content in wanted:
            if content in self.ready:
                self.ready.move_to_end(content)
        answer = {content: self.ready[content] for content in wanted if content in self.ready}
        while len(self.ready) > _KEPT:
            self.ready.popitem(last=False)
        return answer

    def _read(self, item: Item | None) -> Prepared | None:
        if item is None:
            return None
        return made_ready(item.sha256, item.source, self.thumbnails.get, lambda source, side: self.pool().picture(source, max_side=side))
