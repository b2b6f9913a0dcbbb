"""A part of a picture. Apart from the other nouns because those need numpy, and a decode worker must start fast without it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Region"]


@dataclass(frozen=True, slots=True)
class Region:
    """A box in pixels of the upright picture: left `x`, top `y`, width `w`, height `h`; w, h >= 1."""

    x: int
    y: int
    w: int
    h: int
