"""A library for TensorBoard's Embedding Projector: vectors and facts as tab-separated text, thumbnails as one picture.

The projector (projector.tensorflow.org, or `tensorboard --logdir FOLDER`) reads vectors.tsv, a row of numbers an image, metadata.tsv, a
row of facts an image under a line of headings, and projector_config.pbtxt, which names them and the sprite: one picture of all thumbnails,
row by row, each in a square of the same size.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

import numpy as np

from ..config import EXPORT_ROWS, SPRITE_IMAGES, SPRITE_PIXELS, SPRITE_SIDE
from ..errors import DecodeError, UsageError
from ..images.pool import DecodePool
from ..library.reading import Reader
from ..library.rows import Row, each_row, told_columns, told_values
from ..library.thumbnails import Thumbnails
from ..paths import shown
from .aside import written_aside

if TYPE_CHECKING:
    from ..types import UInt8

__all__ = ["write_tensorboard"]

_VECTORS, _FACTS, _CONFIG, _SPRITE = "vectors.tsv", "metadata.tsv", "projector_config.pbtxt", "sprite.jpg"
_COLUMNS = ("id", "uri", "name", "width", "height", "format", "bytes", "captured", "sha256")
_GREY = 128


def write_tensorboard(
    reader: Reader,
    folder: str,
    thumbnails: Thumbnails,
    pool: DecodePool,
    progress: Callable[[int, int, int], object],
    *,
    replace: bool = False,
) -> int:
    """Write the files into the folder, made if need be; returns how many images. Above SPRITE_IMAGES there is no sprite: too small to see.

    Args:
        thumbnails, pool: for the sprite; an image without a thumbnail is a grey square.

    Raises UsageError, DiskFullError, ImageSearchError.
    """
    place = os.path.abspath(os.path.expanduser(folder))
    if os.path.lexists(place) and not os.path.isdir(place):
        raise UsageError("the export needs a folder, and this is none", path=folder, hint="give another name")
    total = reader.images()
    sprite = _Sprite(total, thumbnails, pool) if 0 < total <= SPRITE_IMAGES else None
    names = [_VECTORS, _FACTS, *([_SPRITE] if sprite else []), _CONFIG]  # what names the others last
    with written_aside(place, names, replace=replace, make=True) as drafts:
        vectors, facts, config = drafts[0], drafts[1], drafts[-1]
        done = _write_rows(reader, vectors, facts, sprite, lambda done: progress(done, total, 0))
        if sprite is not None:
            sprite.save(drafts[2])
        with open(config, "w", encoding="utf-8") as file:
            file.write(_config(sprite))
    return done


def _write_rows(reader: Reader, vectors: str, facts: str, sprite: _Sprite | None, progress: Callable[[int], object]) -> int:
    done = 0
    with open(vectors, "w", encoding="ascii") as numbers, open(facts, "w", encoding="utf-8") as cells:
        told = told_columns(reader)  # of the user's own tables
        cells.write("\t".join([*_COLUMNS, *(shown(one.name) for one in told)]) + "\n")
        progress(0)
        for rows in each_row(reader, EXPORT_ROWS // 10):
            values = told_values(reader, told, rows)
            for place, row in enumerate(rows):
                _write_row(row, [column[place] or "" for column in values], numbers, cells)
                if sprite is not None:
                    sprite.add(bytes.fromhex(row.sha256))
                done += 1
            progress(done)
    return done


def _write_row(row: Row, told: Sequence[str], numbers: IO[str], cells: IO[str]) -> None:
    numbers.write("\t".join([f"{number:.7g}" for number in row.vector.tolist()]) + "\n")
    facts = [str(getattr(row, column)) for column in _COLUMNS]
    cells.write("\t".join(map(shown, [*facts, *told])) + "\n")  # no tab and no line end is left in them


def _config(sprite: _Sprite | None) -> str:
    lines = ["embeddings {", '  tensor_name: "image-search"', f'  tensor_path: "{_VECTORS}"', f'  metadata_path: "{_FACTS}"']
    if sprite is not None:
        side = f"single_image_dim: {sprite.side}"
        lines += ["  sprite {", f'    image_path: "{_SPRITE}"', f"    {side}", f"    {side}", "  }"]
    return "\n".join([*lines, "}", ""])


class _Sprite:
    """Thumbnails in a square of squares, row by row; at most SPRITE_SIDE pixels wide, 50 MB of memory."""

    def __init__(self, images: int, thumbnails: Thumbnails, pool: DecodePool) -> None:
        self._across = math.ceil(math.sqrt(images))
        self.side = min(SPRITE_PIXELS, SPRITE_SIDE // self._across)
        self._sheet: UInt8 = np.full((self._across * self.side, self._across * self.side, 3), _GREY, np.uint8)  # (H, W, 3)
        self._thumbnails = thumbnails
        self._pool = pool
        self._count = 0

    def add(self, sha256: bytes) -> None:
        place, self._count = self._count, self._count + 1
        webp = self._thumbnails.get(sha256)
        if webp is None or place >= self._across**2:
            return
        try:
            pixels = self._pool.picture(webp, max_side=self.side).pixels  # (h, w, 3), at most `side` each
        except DecodeError:
            return
        high, wide = pixels.shape[:2]
        top = place // self._across * self.side + (self.side - high) // 2
        left = place % self._across * self.side + (self.side - wide) // 2
        self._sheet[top : top + high, left : left + wide] = pixels

    def save(self, path: str) -> None:
        from PIL import Image

        Image.fromarray(self._sheet).save(path, "JPEG", quality=85)
