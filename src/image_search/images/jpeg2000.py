"""JPEG 2000. Pillow reads it; here it learns to give a half, a quarter, ... of the size, which costs as much less."""

from __future__ import annotations

import io

from PIL import Image, Jpeg2KImagePlugin

__all__ = ["open_image"]

MOST_HALVINGS = 5  # resolutions that encoders write by default; of fewer the decoder says that there are no more


class _Reducible(Jpeg2KImagePlugin.Jpeg2KImageFile):
    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """As of JPEGs: at least this size, once it is loaded."""
        if size is None:
            return None
        while self._reduce < MOST_HALVINGS and self.size[0] >> self._reduce + 1 >= size[0] and self.size[1] >> self._reduce + 1 >= size[1]:
            self._reduce += 1
        return self.mode, (0, 0, *self.size)


def open_image(data: bytes) -> Image.Image:
    """Its header is read; its pixels are by `load`."""
    return _Reducible(io.BytesIO(data))
