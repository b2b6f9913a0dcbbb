"""JPEG XL, by way of pillow-jxl-plugin. It decodes when it opens, so the size is read from the header before."""

from __future__ import annotations

import io

import pillow_jxl  # noqa: F401 - makes Pillow know the format
from PIL import Image
from pillow_jxl import JpegXLImagePlugin

__all__ = ["open_image"]

JpegXLImagePlugin.DECODE_THREADS = 0  # workers are the parallel part


def open_image(data: bytes) -> Image.Image:
    """The picture, decoded. libjxl turns it; only a JPEG that was packed without loss lies as it did, and its EXIF says how."""
    image = Image.open(io.BytesIO(data), formats=["JXL"])
    if not getattr(image, "jpeg", False):
        image.info["facts"] = image.info.pop("exif", None)
    return image
