"""The whole library as one wall of pictures: its order, the shape of each picture, where each class begins.

A browser that knows every shape can lay out 100,000 pictures at once and ask for the rows that it shows. The order is of one moment:
while an index run goes on, rows are asked for by that moment's number and do not shift under anybody's eyes.
"""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass

import numpy as np

from ..config import PAGE_WALLS
from ..library.reading import Reader
from ..library.vectors import Numbers
from ..paths import as_text
from ..types import UInt8
from .opened import OpenLibrary
from .recent import Recent
from .schemas import Section, WallShown

__all__ = ["Walls", "as_text_of", "heights", "shapes", "small_heights"]


@dataclass(frozen=True, slots=True)
class Wall:
    """The library's images by class and path.

    Attributes:
        generation: of the catalog that it shows.
        numbers: int64 (N,), the files' numbers.
        shapes: uint8 (N,), see `shapes`.
        heights: uint8 (N,), half their heights in pixels, at most 255: small pictures are shown small.
        sections: (class, its first image, how many it has).
    """

    generation: int
    numbers: Numbers
    shapes: UInt8
    heights: UInt8
    sections: tuple[tuple[str, int, int], ...]

    def part(self, name: str | None) -> tuple[int, int]:
        """Where a class begins and ends; None: everything."""
        if name is None:
            return 0, len(self.numbers)
        return next(((start, start + images) for section, start, images in self.sections if section == name), (0, 0))


class Walls:
    """The newest walls of one library; any thread may ask."""

    def __init__(self, library: OpenLibrary) -> None:
        self._library = library
        self._kept: Recent[tuple[Reader, int], Wall] = Recent(PAGE_WALLS)

    def shown(self, name: str | None) -> WallShown:
        """The wall as it is now, or one class of it."""
        reader = self._library.reader
        wall = self._kept.get((reader, reader.generation))
        if wall is None:
            with reader.snapshot():
                wall = _wall(reader)
            self._kept.put((reader, wall.generation), wall)
        start, end = wall.part(name)
        inside = [(n, s - start, i) for n, s, i in wall.sections if start <= s < end]
        return WallShown(
            generation=wall.generation,
            images=end - start,
            sections=[Section(name=name, start=first, images=images) for name, first, images in inside],
            shapes=as_text_of(wall.shapes[start:end]),
            heights=small_heights(wall.heights[start:end]),
        )

    def numbers(self, generation: int, name: str | None, first: int, limit: int) -> list[int] | None:
        """Which files stand there; None: that wall is no longer kept."""
        wall = self._kept.get((self._library.reader, generation))
        if wall is None:
            return None
        start, end = wall.part(name)
        chosen: list[int] = wall.numbers[min(start + first, end) : min(start + first + limit, end)].tolist()
        return chosen


def _wall(reader: Reader) -> Wall:
    rows = list(reader.each_in_order())
    sections: list[tuple[str, int, int]] = []
    begins = [at for at, row in enumerate(rows) if at == 0 or row[1] != rows[at - 1][1]]
    for start, end in itertools.pairwise([*begins, len(rows)]):
        sections.append((as_text(rows[start][1]), start, end - start))
    sizes = np.array([row[2:] for row in rows], np.float64).reshape(-1, 2)
    return Wall(reader.generation, np.array([row[0] for row in rows], np.int64), shapes(sizes), heights(sizes), tuple(sections))


def shapes(sizes: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> UInt8:
    """Width through height on a logarithmic scale, so that one byte is good to 1.1 %.

    Args:
        sizes: float64 (N, 2), widths and heights, pixels.

    Returns:
        uint8 (N,): 128 is square, 32 more is twice as wide as high; from 1:16 to 16:1, beyond that the nearest.
    """
    found: UInt8 = np.clip(np.rint(128 + 32 * np.log2(sizes[:, 0] / sizes[:, 1])), 0, 255).astype(np.uint8)
    return found


def heights(sizes: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> UInt8:
    """Half the heights in pixels, at most 255, uint8 (N,): who shows a picture larger than twice its size has to know the small ones."""
    found: UInt8 = np.minimum(sizes[:, 1] // 2, 255).astype(np.uint8)
    return found


def as_text_of(values: UInt8) -> str:
    return base64.b64encode(values.tobytes()).decode()


def small_heights(values: UInt8) -> str | None:
    """None where no picture is small."""
    return as_text_of(values) if (values < 255).any() else None
