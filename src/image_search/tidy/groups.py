"""Groups of copies, each around its best one, and why that is the best.

A group is a star: every member was laid on the best and found to be a copy of it. A copy of a copy is none, so groups do not run into one
another. The best of all pictures takes its copies first, then the best of those that are left, and so on: the same answer every time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from ..library.reading import Item
from ..paths import inside, to_bytes
from .copies import Kind
from .found import Copies, Pair
from .pairs import NEIGHBOURS

__all__ = ["Group", "Member", "Order", "Why", "beside", "by_date", "date_of", "generations", "stars", "untested"]

_GENERATIONS = 3  # of changes upon changes that are told apart
_LEADERS = 8  # of pictures that hang together: so many of the best are held against each of them
_CROWDS = 40  # of the largest groups: their best ones are held against each other

_LOSSLESS = frozenset({"PNG", "TIFF", "BMP", "PPM", "PSD", "DNG", "RAW"})
_FEW_COLOURS = frozenset({"GIF"})


class Why(StrEnum):
    """In which the best copy is better than the next one; in this order. The words are what people read."""

    PREFERRED = "in the folder you prefer"
    UNCHANGED = "not the changed one"
    PIXELS = "most pixels"
    FORMAT = "format that loses less"
    BYTES = "least compressed"
    CAPTURED = "still says when it was taken"
    DATE = "earliest"
    PATH = "first by path"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a group.

    Attributes:
        kind: what it is to the best; None: it is the best.
        change: how it differs from the best ("mirrored", "turned 90"); "" if it does not, or only a little.
        changed: 1: this one is what `change` says; -1: the best is, and was made of it; 0: that cannot be told, as of mirrored ones.
        similarity: cosine of its vector and the best one's; 1.0 for the same bytes.
        offline: its disk is away.
    """

    item: Item
    kind: Kind | None = None
    change: str = ""
    similarity: float = 1.0
    offline: bool = False
    changed: int = 0

    @property
    def changed_one(self) -> Literal["", "this", "best"]:
        """`changed` in a word."""
        return "this" if self.changed > 0 else "best" if self.changed < 0 else ""


@dataclass(frozen=True, slots=True)
class Group:
    """Members, the best first, then in the order of what they are to it and of their worth; and why the first is the best."""

    members: tuple[Member, ...]
    why: Why

    @property
    def best(self) -> Member:
        return self.members[0]

    @property
    def rest(self) -> tuple[Member, ...]:
        return self.members[1:]


def date_of(item: Item) -> str:
    """When it was taken, else the file's own time; "2024-05-01T23:30:05"."""
    return item.captured[:19] or datetime.fromtimestamp(item.mtime_ns / 1e9).isoformat(timespec="seconds")


class Order:
    """Which of two files is the better copy.

    Args:
        prefer: folders as the catalog keeps paths, the best liked first.

    Attributes:
        made: content -> how many times it was changed; of those that are not in it nothing is known. See `generations`.
    """

    def __init__(self, prefer: Sequence[bytes] = ()) -> None:
        self._prefer = prefer
        self.made: Mapping[int, int] = {}

    def worth(self, item: Item) -> tuple[int, int, int, int, int, bool, str, bytes]:
        """Of two, the one with the lesser worth is the better; each place is one of `Why`."""
        place = to_bytes(item.path)
        liked = next((n for n, folder in enumerate(self._prefer) if inside(place, folder)), len(self._prefer))
        form = 0 if item.format in _LOSSLESS else 2 if item.format in _FEW_COLOURS else 1
        made = self.made.get(item.content, 0)
        return liked, made, -item.width * item.height, form, -item.size, not item.captured, date_of(item), place

    def why(self, best: Item, next_one: Item) -> Why:
        """`Why.UNCHANGED` also where only their dates say so: see `by_date`."""
        pairs = zip(Why, self.worth(best), self.worth(next_one), strict=True)
        return next((why for why, mine, other in pairs if mine != other), Why.PATH)


Beside = Mapping[int, Mapping[int, Pair]]


def generations(copies: Beside, item: Callable[[int], Item]) -> dict[int, int]:
    """How many times each content was changed from another one here: 0: it is an original, as far as is known.

    Where the pixels do not tell which of two is the changed one, and neither has more of them, their dates do (`by_date`).
    """
    edges = set()
    for one, others in copies.items():
        for other, pair in others.items():
            if pair.kind == Kind.CHANGED_COPY and (pair.changed or by_date(item(one), item(other))) > 0:
                edges.add((one, other))
    made: dict[int, int] = {}
    for _ in range(_GENERATIONS):  # bounded: a false verdict may close a ring
        before = dict(made)
        for one, other in edges:
            made[other] = max(made.get(other, 0), before.get(one, 0) + 1)
    return made


def by_date(one: Item, other: Item) -> int:
    """1: the first was there before the second; -1: after it; 0: that cannot be told, or one has more pixels, which says more."""
    if one.width * one.height != other.width * other.height:
        return 0
    first, second = ((not item.captured, item.captured, item.mtime_ns) for item in (one, other))
    return (first < second) - (second < first)


def beside(copies: Copies, allowed: Callable[[int, int, Pair], bool]) -> dict[int, dict[int, Pair]]:
    """Content -> its copies, each as it is seen from it."""
    found: dict[int, dict[int, Pair]] = {}
    for (one, other), pair in copies.pairs.items():
        if allowed(one, other, pair):
            found.setdefault(one, {})[other] = pair
            found.setdefault(other, {})[one] = pair.turned
    return found


def stars(order: Sequence[int], copies: Beside, leads: Callable[[int], bool], joins: Callable[[int], bool]) -> dict[int, list[int]]:
    """Leader -> those that follow it, for every content of `order`, which stands best first; a leader alone follows nobody.

    Args:
        leads, joins: who may.
    """
    place = {content: n for n, content in enumerate(order)}
    taken: set[int] = set()
    found: dict[int, list[int]] = {}
    for content in order:
        if content in taken or not leads(content):
            continue
        mine = [other for other in copies.get(content, {}) if other in place and other not in taken and joins(other)]
        found[content] = sorted((other for other in mine if other not in found), key=place.__getitem__)
        taken.update(found[content])
    return found


def untested(found: Mapping[int, Sequence[int]], copies: Beside, known: Copies) -> list[tuple[int, int]]:
    """Pairs that have to be looked at before one can say that these are the groups.

    Pictures that hang together by way of others are held against the best of them, however far their vectors are from its own. And where
    a picture has more copies than neighbours are looked for, two crowds of one picture may not know of each other.
    """
    leader_of = {member: leader for leader, members in found.items() for member in (leader, *members)}
    place = {leader: n for n, leader in enumerate(found)}
    wanted: dict[tuple[int, int], None] = {}

    def want(one: int, other: int) -> None:
        pair = (min(one, other), max(one, other))
        if one != other and not known.was_looked_at(*pair):
            wanted[pair] = None

    for together in _hanging_together(leader_of, copies):
        leaders = sorted((content for content in together if content in found), key=place.__getitem__)[:_LEADERS]
        for leader in leaders if len(leaders) > 1 else ():
            for other in sorted(together):
                if leader_of.get(other) != leader:
                    want(leader, other)
    crowds = sorted((leader for leader in found if len(found[leader]) >= NEIGHBOURS), key=lambda leader: -len(found[leader]))[:_CROWDS]
    for n, leader in enumerate(crowds):
        for other in crowds[:n]:
            want(leader, other)
    return list(wanted)


def _hanging_together(contents: Collection[int], copies: Beside) -> Iterable[set[int]]:
    """Those that are joined by copies of copies."""
    seen: set[int] = set()
    for start in contents:
        if start in seen:
            continue
        together, waiting = {start}, [start]
        while waiting:
            for other in copies.get(waiting.pop(), {}):
                if other not in together and other in contents:
                    together.add(other)
                    waiting.append(other)
        seen |= together
        yield together
