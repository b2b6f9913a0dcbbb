"""Each picture once: matches that show the same picture stand behind the first of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..library.catalog import item_number
from ..library.decisions import told_apart
from ..library.reading import Item, Reader
from ..search import closeness
from ..types import Float32, Match
from .copies import Kind, Verdict, compare
from .looks import Looks

__all__ = ["Repeat", "fold", "folded_search", "repeats"]

NEAR = 0.8  # cosine: less near ones are not looked at, unless this is nearer than what is usual in the library
TRIED = 3  # of the pictures before it, nearest first, each is compared with at most
COMPARED = 400  # pairs of one question: some 3 CPU seconds at the very most
_WIDER = 4  # times as many matches are looked at where too many of them repeat another
_MOST = 5000  # matches
_MARGIN, _AT_ONCE = 20, 32  # further matches that are looked through for copies, and in what steps


@dataclass(frozen=True, slots=True)
class Repeat:
    """A match that shows what one before it shows.

    Attributes:
        first: position of that one.
        verdict: how they are the same; of the same bytes no pixel is looked at.
    """

    first: int
    verdict: Verdict


def repeats(
    reader: Reader, looks: Looks, items: Sequence[Item], *, most: int = COMPARED, anyway: Collection[int] = (), firsts: int | None = None
) -> list[Repeat | None]:
    """Which of these show the same picture as one before them? Pixels decide, whatever the model; the vectors say where to look.

    Two of which it was decided that they are not the same are not.

    Args:
        items: best match first.
        anyway: positions that are compared with the first pictures, too, however far the vectors are: found by a changed copy of the query.
        most: pairs whose pixels are compared; beyond them only the very same bytes are the same.
        firsts: only with so many pictures, the first that differ, are others compared; None: with all.

    Returns:
        one for each item; None: it shows a picture of its own.
    """
    near, apart = _near_from(reader), told_apart(reader.decisions())
    vectors = reader.vectors({item.content for item in items})
    known: dict[int, int] = {}  # content -> its first position
    answer: list[Repeat | None] = []
    leaders: list[int] = []  # positions
    rows = np.zeros((len(items), reader.fingerprint.dim), np.float32)
    for position, item in enumerate(items):
        if item.content in known:
            first = known[item.content]
            before = answer[first]
            leader = first if before is None else before.first
            answer.append(Repeat(leader, Verdict(Kind.SAME_BYTES) if before is None else before.verdict))
            continue
        known[item.content] = position
        found: Repeat | None = None
        vector = vectors.get(item.content)
        for leader in _candidates(leaders, rows, vector, near, position in anyway):
            if most <= 0:
                break
            if apart.get(items[leader].sha256, set()) & apart.get(item.sha256, set()):
                continue
            most -= 1
            verdict = _compared(looks, items[leader], item)
            if verdict.kind is not None:
                found = Repeat(leader, verdict)
                break
        if found is None:
            if vector is not None:
                rows[len(leaders)] = vector
            if firsts is None or len(leaders) < firsts:
                leaders.append(position)
        answer.append(found)
    return answer


def _candidates(leaders: list[int], rows: Float32, vector: Float32 | None, near: float, anyway: bool) -> list[int]:
    """Positions of the pictures that may be this one, the likeliest first; `rows`: their vectors, float32 (at least as many, D)."""
    order: list[int] = []
    if vector is not None and leaders:
        similar = rows[: len(leaders)] @ vector
        order = [leaders[k] for k in np.argsort(-similar, kind="stable")[:TRIED] if similar[k] >= near]
    return order + [leader for leader in leaders[:TRIED] if anyway and leader not in order]


def _near_from(reader: Reader) -> float:
    """Cosine from which two pictures may be the same: as near as half of all nearest neighbours here, or NEAR."""
    sample = closeness.load(reader)
    return NEAR if sample is None or not len(sample) else min(NEAR, float(sample[len(sample) // 2]))


def _compared(looks: Looks, a: Item, b: Item) -> Verdict:
    one, two = looks.of(a), looks.of(b)
    return Verdict(None) if one is None or two is None else compare(one, two)


def fold(reader: Reader, looks: Looks, matches: Sequence[Match], firsts: int | None = None) -> list[Match]:
    """The matches that show different pictures, in their order; the others stand in `also` of the one that they repeat.

    `firsts`: as for `repeats`.
    """
    items = reader.items([item_number(match.id) or 0 for match in matches])
    here = [match for match in matches if item_number(match.id) in items]
    anyway = [k for k, match in enumerate(here) if match.variant]
    found = repeats(reader, looks, [items[item_number(match.id) or 0] for match in here], anyway=anyway, firsts=firsts)
    behind: dict[int, list[Match]] = {}
    for match, repeat in zip(here, found, strict=True):
        if repeat is not None:
            behind.setdefault(repeat.first, []).append(
                replace(match, copy=_words(repeat.verdict), changed=_CHANGED[repeat.verdict.changed])
            )
    return [replace(match, also=tuple(behind.get(k, ()))) for k, match in enumerate(here) if found[k] is None]


_CHANGED = {1: "this", -1: "first", 0: ""}


def _words(verdict: Verdict) -> str:
    return verdict.change or (verdict.kind or "")


def folded_search(search: Callable[[int], tuple[list[Match], bool]], reader: Reader, looks: Looks, n: int) -> tuple[list[Match], bool]:
    """The n nearest matches that show different pictures, each with what shows the same behind it.

    Args:
        search: the n nearest matches, and whether all images were compared.
    """
    asked = _AT_ONCE * math.ceil((n + _MARGIN) / _AT_ONCE)  # of how many pictures one asks does not change what stands behind the first
    while True:
        matches, exact = search(asked)
        first = fold(reader, looks, matches, n)
        if len(first) >= n or len(matches) < asked or asked >= _MOST:
            return [replace(match, rank=rank) for rank, match in enumerate(first[:n], 1)], exact
        asked *= _WIDER
