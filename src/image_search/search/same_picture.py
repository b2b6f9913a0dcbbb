"""Which of some matches show the same picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..library.catalog import item_number
from ..library.reading import Reader
from ..models import near_identical
from ..types import Match

__all__ = ["one_of_each", "same_picture"]

_WIDER = 4  # times as many matches are looked at where too many of them repeat another


def same_picture(reader: Reader, contents: Sequence[int], threshold: float | None) -> list[int]:
    """Which of these show the same picture as one before them?

    Args:
        contents: content numbers, best match first.
        threshold: similarity from which two pictures count as one; None: only the very same content does.

    Returns:
        for each the position of the first one that it repeats; its own position if it repeats none.
    """
    leader_of: dict[int, int] = {}
    leaders: list[int] = []
    vectors = reader.vectors(set(contents)) if threshold is not None else {}
    matrix = np.empty((len(contents), reader.fingerprint.dim), np.float32)
    answer = []
    for position, content in enumerate(contents):
        if content not in leader_of:
            leader_of[content] = position
            if threshold is not None and content in vectors:
                near = np.flatnonzero(matrix[: len(leaders)] @ vectors[content] >= threshold)
                if near.size:
                    leader_of[content] = leaders[int(near[0])]
                else:
                    matrix[len(leaders)] = vectors[content]
                    leaders.append(position)
        answer.append(leader_of[content])
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
