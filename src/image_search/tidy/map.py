"""The library in two dimensions: what is alike lies side by side. Laid out once, kept, and new pictures are placed between the old."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..advice import Advice, Setting
from ..config import MAP_FEW_LAID_OUT
from ..errors import LibraryError
from ..library.catalog import item_id
from ..library.library import Library
from ..library.places import Places, contents_by_hash
from ..library.reading import Reader
from ..paths import as_text
from ..types import Float32
from . import layout
from .neighbours import Numbers, Say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LibraryMap", "map_of"]


@dataclass(frozen=True, slots=True)
class LibraryMap:
    """Every image of the library and where it lies.

    Attributes:
        numbers: int64 (F,), the images' numbers, ascending; 12 is "id:12".
        xy: float32 (F, 2), 0 to 1, x to the right and y upwards; copies of one file lie in one place.
        names: F classes, "" for none.
        placed: bool (F,), those that came after the layout.
        model: name of the library's model. library: its folder.
    """

    numbers: Numbers
    xy: Float32
    names: list[str]
    placed: npt.NDArray[np.bool_]
    model: str
    library: Path

    def __len__(self) -> int:
        return len(self.numbers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `image-search map --json` prints it: {"model", "images": [{"id", "x", "y", "name", "placed"}, ...]}."""
        rows = zip(self.numbers.tolist(), self.xy.tolist(), self.names, self.placed.tolist(), strict=True)
        images = [{"id": item_id(n), "x": round(x, 5), "y": round(y, 5), "name": as_text(c), "placed": p} for n, (x, y), c, p in rows]
        return {"model": as_text(self.model), "images": images}

    def figure(self) -> Figure:
        """The map as a picture: thumbnails at their places, as many as do not cover each other, coloured by class."""
        from ..present.mapping import draw_map, thumbnail_places
        from .small import small_pictures

        shown = thumbnail_places(self.xy)
        with_paths = self._paths([int(self.numbers[i]) for i in shown])
        small = small_pictures(self.library, [(item_id(number), path) for number, path in with_paths.items()])
        pictures = {i: small[path] for i in shown if (path := with_paths.get(int(self.numbers[i]), "")) in small}
        return draw_map(self.xy, self.names, pictures)

    def _paths(self, numbers: list[int]) -> dict[int, str]:
        with contextlib.closing(Library(self.library)) as library:
            return {file.number: file.path for file in library.reader().files(numbers)}

    def save(self, path: str | Path) -> None:
        """As a picture (png, jpg, webp, pdf, svg by its extension). UsageError: a file lies there that was not made so."""
        from ..present.figure import check_target, save_comparison

        check_target(path)  # before it is drawn
        save_comparison(self.figure(), path)

    def _repr_png_(self) -> bytes:
        from ..present.figure import png_bytes

        return png_bytes(self.figure())


def map_of(reader: Reader, *, fresh: bool, seed: int, notify: Callable[[str], None], say: Say | None = None) -> LibraryMap:
    """The map that is kept, brought up to date: what has gone is left out, what is new placed between the rest, nothing moves.

    Args:
        fresh: lay it out anew. seed: another seed is another map, laid out anew as well.
        notify: gets one line where the map cannot be kept, or most of it came after its layout.

    Raises:
        LibraryError: there is no image. MissingExtraError: a layout is needed, and openTSNE is not here. LibraryDamagedError.
    """
    vectors = reader.all_vectors()
    with reader.snapshot():
        vectors.refresh()
        number_of = contents_by_hash(reader.catalog)
        files = reader.columns().classes().rows()
    if not files:
        raise LibraryError("there are no images in this library, so there is no map", path=reader.folder)
    row_of = {content: row for row, content in enumerate(vectors.contents.tolist())}
    rows_by_hash = {hash_: row_of[number] for hash_, number in number_of.items() if number in row_of}
    of = f"{layout.VERSION} {seed} {reader.fingerprint.short}"
    kept = None if fresh else Places.load(reader.folder, of)
    xy, placed = _places(vectors.rows, rows_by_hash, kept, seed, say)
    now = _to_keep(rows_by_hash, xy, placed, kept, number_of)
    if (kept is None or now.hashes != kept.hashes) and not now.save(reader.folder, of):
        notify("the map cannot be kept with the library, which cannot be written: it is made anew each time")
    if placed.mean() > 1 - MAP_FEW_LAID_OUT:
        said = f"{int(placed.sum()):,} of {len(placed):,} pictures came after the map was laid out; lay it out anew with "
        notify(Advice(said, Setting("fresh", "True")))
    rows = np.array([row_of[content] for _, content, _ in files], np.int64)
    numbers = np.array([number for number, _, _ in files], np.int64)
    return LibraryMap(numbers, xy[rows], [name for _, _, name in files], placed[rows], reader.fingerprint.name, reader.folder)


def _places(
    vectors: Float32, row_of: dict[bytes, int], kept: Places | None, seed: int, say: Say | None
) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """float32 (N, 2), bool (N,): places of all, and which came after the layout."""
    xy = np.zeros((len(vectors), 2), np.float32)
    placed, known = np.zeros(len(vectors), bool), np.zeros(len(vectors), bool)
    for hash_, place, later in () if kept is None else kept.each():
        if (row := row_of.get(hash_)) is not None:
            xy[row], placed[row], known[row] = place, later, True
    if not known.any():
        order = np.array([row for _, row in sorted(row_of.items())], np.int64)  # by content: a library made again gets the same map
        xy[order] = layout.lay_out(vectors[order], seed, say=say)
        return xy, placed
    new = np.flatnonzero(~known)
    xy[new] = layout.place_between(vectors[new], vectors[known], xy[known], say=say)
    placed[new] = True
    return xy, placed


def _to_keep(row_of: dict[bytes, int], xy: Float32, placed: npt.NDArray[np.bool_], kept: Places | None, known: Container[bytes]) -> Places:
    """What is there now, and what is only away and may come back; what the catalog has forgotten goes."""
    away = [] if kept is None else [one for one in kept.each() if one[0] in known and one[0] not in row_of]
    rows = [(hash_, xy[row], bool(placed[row])) for hash_, row in row_of.items()] + away
    rows.sort(key=lambda one: one[0])
    return Places([one[0] for one in rows], np.array([one[1] for one in rows], np.float32), np.array([one[2] for one in rows], bool))
