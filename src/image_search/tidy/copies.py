"""Is one picture a copy of another? Told by their pixels alone, whatever model found them near each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from .fits import best_fit
from .prepared import Prepared, prepare

__all__ = ["Kind", "Prepared", "Verdict", "compare", "prepare"]

FLAT = 6  # grey levels: with no more between its darkest and its brightest place a picture has nothing but colours


class Kind(StrEnum):
    """What two files have to do with each other; the words are what people read."""

    SAME_BYTES = "same bytes"
    SAME_PICTURE = "same picture"  # saved again, resized, lightly edited
    CHANGED_COPY = "changed copy"  # cropped, mirrored, turned, bordered, written on


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the pixels say.

    Attributes:
        kind: None: two different pictures. Never SAME_BYTES, which only hashes tell.
        change: how a changed copy differs, such as "mirrored" or "turned 90, cropped"; else "". Turns are degrees,
            clockwise, from the first picture to the second.
        changed: which one was made of the other: 1: the second of the first, as it were cropped out of it; -1: the first of the second;
            0: that cannot be told, as of mirrored ones, or nothing was changed.
    """

    kind: Kind | None
    change: str = ""
    changed: int = 0


def compare(a: Prepared, b: Prepared) -> Verdict:
    """Does one show the same picture as the other? The same answer every time, and of the same kind with both exchanged.

    Whole pictures are laid on each other, mirrored and turned by quarters; then places that both have propose how a part, a frame or a free
    turn could fit. The pixels decide: what is laid on each other must agree nearly everywhere.
    """
    if np.array_equal(a.grey, b.grey) and np.array_equal(a.colours, b.colours):
        return Verdict(Kind.SAME_PICTURE)
    if min(np.ptp(a.grey), np.ptp(b.grey)) <= FLAT:
        apart = np.abs(a.colours.astype(np.int16) - b.colours).max()
        return Verdict(Kind.SAME_PICTURE if max(np.ptp(a.grey), np.ptp(b.grey)) <= FLAT and apart <= FLAT else None)
    exchanged = (a.grey.shape, a.grey.tobytes()) > (b.grey.shape, b.grey.tobytes())
    first, second = (b, a) if exchanged else (a, b)
    fit = best_fit(first, second)
    if fit is None:
        return Verdict(None)
    change = ", ".join(fit.changes(exchanged))
    if not change:
        return Verdict(Kind.SAME_PICTURE)
    return Verdict(Kind.CHANGED_COPY, change, -fit.changed if exchanged else fit.changed)
