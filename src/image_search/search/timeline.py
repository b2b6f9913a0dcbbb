"""How many pictures were taken when: in days, months, years or decades, whatever leaves few enough of them to be drawn."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from ..config import TIMELINE_BINS
from ..library.columns import Moments
from ..library.vectors import Numbers

__all__ = ["Timeline", "timeline"]

Unit = Literal["day", "month", "year", "decade"]
_UNITS: tuple[tuple[Unit, str], ...] = (("day", "D"), ("month", "M"), ("year", "Y"), ("decade", "10Y"))


class Timeline(NamedTuple):
    """`first`: the first day of the first unit ("2019-03-01"), "" where there is nothing. counts: one for each unit up to the last."""

    unit: Unit
    first: str
    counts: list[int]


def timeline(taken: Moments) -> Timeline:
    """datetime64[s] (N,), in any order -> at most TIMELINE_BINS units, but decades as many as there are."""
    if not len(taken):
        return Timeline("day", "", [])
    ends = np.array([taken.min(), taken.max()])
    unit, code = next((one for one in _UNITS[:-1] if np.ptp(_whole(ends, one[1])) < TIMELINE_BINS), _UNITS[-1])
    units = _whole(taken, code)
    first = np.array([units.min()]).astype(f"datetime64[{code}]").astype("datetime64[D]")
    return Timeline(unit, str(first[0]), np.bincount(units - units.min()).tolist())


def _whole(taken: Moments, code: str) -> Numbers:
    """int64 (N,): which of these units since 1970 each lies in."""
    return taken.astype(f"datetime64[{code}]").astype(np.int64)
