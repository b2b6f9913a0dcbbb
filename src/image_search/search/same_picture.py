"""Which of some matches show the same picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..library.catalog import item_number
from ..library.reading import Reader
from ..models import near_identical
from ..types import Float32, Match

__all__ = ["one_of_each", "same_picture"]

_WIDER = 4  # times as many matches are looked at where too many of them repeat another

_BLOCK = 256  # rows: 256 x 5,000 float32 are 5 MB


def same_picture(reader: Reader, contents: Sequence[int], threshold: float | None, *, most: int = 1000) -> list[int]:
    """Which of these show the same picture as one before them?

    Args:
        contents: content numbers, best match first.
        threshold: similarity from which two pictures count as one; None: only the very same content does.
        most: so many of the first are compared with each other; after them only the very same content counts.

    Returns:
        for each the position of the first one that it repeats; its own position if it repeats none.
    """
    first: dict[int, int] = {}  # content -> its first position
    for position, content in enumerate(contents):
        first.setdefault(content, position)
    leader_of = dict(first)
    if threshold is not None:
        compared = [content for content, position in first.items() if position < most]
        vectors = reader.vectors(compared)
        known = [content for content in compared if content in vectors]
        matrix = np.array([vectors[content] for content in known], np.float32).reshape(len(known), reader.fingerprint.dim)
        for content, leader in zip(known, _leaders(matrix, threshold), strict=True):
            leader_of[content] = first[known[leader]]
    return [leader_of[content] for content in contents]


def _leaders(matrix: Float32, threshold: float) -> list[int]:
    """For each row the first leader it is near to, else itself; (N, D) -> N. A leader is a row that follows none.

    Blocks are compared at once: 5,000 rows cost a tenth of what they cost one by one.
    """
    leaders = np.empty(0, np.int64)
    answer: list[int] = []
    for start in range(0, len(matrix), _BLOCK):
        block = matrix[start : start + _BLOCK]
        before = matrix[leaders] @ block.T >= threshold  # (L, B)
        led: npt.NDArray[np.bool_] = np.asarray(before.any(axis=0))
        first = before.argmax(axis=0) if len(leaders) else np.zeros(len(block), np.int64)
        inside = np.triu(block @ block.T >= threshold, 1)  # (B, B): which rows before it each is near to
        near: npt.NDArray[np.bool_] = np.asarray(inside.any(axis=0))
        new: list[int] = []  # leaders of this block, as its rows
        for row in range(len(block)):
            if led[row]:
                answer.append(int(leaders[first[row]]))
            elif near[row] and (mine := np.flatnonzero(inside[new, row])).size:
                answer.append(start + new[int(mine[0])])
            else:
                new.append(row)
                answer.append(start + row)
        leaders = np.concatenate([leaders, np.array(new, np.int64) + start])
    return answer


def one_of_each(search: Callable[[int], tuple[list[Match], bool]], reader: Reader, n: int) -> tuple[list[Match], bool]:
    """The n nearest matches that show different pictures; of those that show the same one, by the library's model, the nearest.

    Args:
        search: the n nearest matches, and whether all images were compared.
    """
    threshold = near_identical(reader.fingerprint.name)
    asked = n
    while True:
        matches, exact = search(asked)
        content_of = {item.number: item.content for item in reader.items([item_number(match.id) or 0 for match in matches]).values()}
        here = [match for match in matches if item_number(match.id) in content_of]
        leaders = same_picture(reader, [content_of[item_number(match.id) or 0] for match in here], threshold)
        first = [match for position, match in enumerate(here) if leaders[position] == position]
        if len(first) >= n or len(matches) < asked:
            return [replace(match, rank=rank) for rank, match in enumerate(first[:n], 1)], exact
        asked *= _WIDER
