"""A Pillow image whose pixels are read by its first `load`: until then its size can be looked at, and refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image

__all__ = ["LateImage", "exif_of"]


class LateImage(Image.Image):
    """Of one page.

    Args:
        format: its name. mode, size: as the picture will have them, if its `read` does not turn it.
        read: gives the picture; called once. What it raises, `load` raises.
    """

    def __init__(self, format: str, mode: str, size: tuple[int, int], read: Callable[[], Image.Image]) -> None:
        super().__init__()
        self.format = format
        self._mode, self._size = mode, size
        self._read: Callable[[], Image.Image] | None = read

    def load(self) -> Any:
        if self._read is not None:
            image, self._read = self._read(), None
            self._im, self._mode, self._size = image.im, image.mode, image.size
        return super().load()

    def seek(self, frame: int) -> None:
        if frame:
            raise EOFError("only the first page is read")


def exif_of(turn: int) -> bytes:
    """An EXIF block that holds this orientation, 1 to 8, and nothing else."""
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif.tobytes()
