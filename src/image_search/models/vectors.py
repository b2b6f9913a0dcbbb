"""What every runtime shares: pixels to numbers, vectors to unit length, and the pictures that prove two runtimes the same."""

from __future__ import annotations

import logging
import math

import numpy as np

from ..config import SAME_COSINE
from ..errors import ModelMismatchError
from ..types import Embedder, Float32, Preprocess, UInt8

__all__ = ["canonical_pictures", "check_pixels", "check_same_vectors", "matches_reference", "model_input", "number_table", "unit_row"]

log = logging.getLogger("image_search")


def number_table(recipe: Preprocess) -> Float32:
    """float32 (3, 256): what each byte of each channel becomes.

    The same steps in the same precision as transformers' image processors (rescale in float64, then float32 throughout), so the
    numbers are equal bit for bit; 256 values a channel instead of 150,000 pixels a picture.
    """
    scaled = (np.arange(256, dtype=np.float64) * recipe.rescale).astype(np.float32)
    mean = np.array(recipe.mean, dtype=np.float32)
    std = np.array(recipe.std, dtype=np.float32)
    return ((scaled[None, :] - mean[:, None]) / std[:, None]).astype(np.float32, copy=False)


def model_input(picture: UInt8, table: Float32) -> Float32:
    """uint8 (H, W, 3) -> float32 (3, H, W)."""
    height, width, _ = picture.shape
    numbers = np.empty((3, height, width), dtype=np.float32)
    for channel in range(3):
        np.take(
            table[channel], picture[:, :, channel], out=numbers[channel], mode="clip"
        )  # a byte is never out of range: no copy, no check
    return numbers


def check_pixels(pixels: UInt8, recipe: Preprocess) -> None:
    """ValueError unless uint8 (N, H, W, 3) with the recipe's H and W: a caller's mistake, not a user's."""
    wanted = (*recipe.output_size, 3)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != wanted:
        raise ValueError(f"pixels must be uint8 (N, {wanted[0]}, {wanted[1]}, 3), not {pixels.dtype} {pixels.shape}")


def unit_row(raw: Float32) -> Float32:
    """float32 (D,) -> the same at length 1; all NaN if it has no direction (NaN, infinite or zero).

    One row at a time and in float64, so that its bits cannot depend on its neighbours.
    """
    wide = raw.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        length = math.sqrt(float(np.sum(np.square(wide))))
    if not (math.isfinite(length) and length > 0):
        return np.full(raw.shape, np.nan, dtype=np.float32)
    return (wide / length).astype(np.float32)


def canonical_pictures(preprocess: Preprocess) -> UInt8:
    """Eight pictures drawn by code: uint8 (8, H, W, 3), H and W the recipe's output size.

    Integer arithmetic only, so they are the same bytes on every machine: flat colours, gradients, edges, stripes, a disc, noise.
    What they show does not matter; that they excite a model in eight different ways does.
    """
    height, width = preprocess.output_size
    y = np.arange(height, dtype=np.int64)[:, None]  # (H, 1)
    x = np.arange(width, dtype=np.int64)[None, :]  # (1, W)
    across = np.broadcast_to(255 * x // max(width - 1, 1), (height, width))  # 0..255, left to right
    down = np.broadcast_to(255 * y // max(height - 1, 1), (height, width))
    zero = np.zeros((height, width), dtype=np.int64)
    board = 255 * ((8 * x // width + 8 * y // height) % 2)  # 8 x 8 fields
    stripes = 255 * ((24 * (x * height + y * width) // (width * height)) % 2)  # diagonal
    disc = (2 * x - width) ** 2 * height**2 + (2 * y - height) ** 2 * width**2 < (width * height) ** 2 // 3
    noise = ((x * 73856093) ^ (y * 19349663)) * 2654435761 % 4294967296  # a hash of the place; wraps modulo 2**64, the same everywhere
    quarters = np.where(2 * x < width, np.where(2 * y < height, 0, 1), np.where(2 * y < height, 2, 3))
    palette = np.array([[200, 30, 40], [240, 220, 60], [30, 110, 60], [20, 60, 180]], dtype=np.int64)
    channels = [
        (across, down, 255 - across),  # a smooth field of colours
        (board, board, board),
        (stripes, 255 - stripes, across),
        (np.where(disc, 220, 40), np.where(disc, 60, 120), np.where(disc, 50, 160)),  # a red disc on blue
        (noise >> 24, noise >> 16 & 255, noise >> 8 & 255),  # fine texture
        (down // 2, down // 2 + 60, down // 2 + 120),  # a sky
        tuple(palette[quarters].transpose(2, 0, 1)),
        (zero + 128, (across * down) // 255, (noise >> 24) // 4 + down // 2),  # a rough surface in soft light
    ]
    pictures = np.empty((len(channels), height, width, 3), dtype=np.uint8)
    for picture, planes in zip(pictures, channels, strict=True):
        for channel, plane in enumerate(planes):
            picture[:, :, channel] = plane
    return pictures


def check_same_vectors(embedder: Embedder, expected: Float32) -> None:
    """Prove that this embedder draws the vectors it should.

    Args:
        embedder: the one to prove, whatever its runtime.
        expected: float32 (8, D), unit length: what the model gave for `canonical_pictures` when the library was made.

    Raises:
        ModelMismatchError: another dimension, or a cosine below .9999 for any of the eight.
    """
    found = embedder.embed(canonical_pictures(embedder.fingerprint.preprocess))
    name = embedder.fingerprint.name
    if found.shape != expected.shape:
        raise ModelMismatchError(
            f"model {name} gives {found.shape[-1]} numbers a picture on {embedder.runtime}, not {expected.shape[-1]}",
            hint="use the model that made the library, or index into another one",
        )
    cosines = np.sum(found.astype(np.float64) * expected.astype(np.float64), axis=1)
    worst = float(np.min(cosines))
    if not worst >= SAME_COSINE:  # also when it is NaN
        raise ModelMismatchError(
            f"model {name} on {embedder.runtime} gives other vectors than it should (cosine {worst:.5f})",
            hint="use the runtime that made the library, or index into another one",
        )


def matches_reference(quick: Embedder, expected: Float32) -> bool:
    """Whether a way to run the model in fewer bits draws these vectors (as for `check_same_vectors`). If not, it says so and closes it."""
    try:
        check_same_vectors(quick, expected)
    except ModelMismatchError as error:
        log.warning("%s; it runs in full precision, which is slower", error.what)
        quick.close()
        return False
    return True
