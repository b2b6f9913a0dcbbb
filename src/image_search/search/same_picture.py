"""Which of some matches show the same picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..library.reading import Reader

__all__ = ["same_picture"]


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
