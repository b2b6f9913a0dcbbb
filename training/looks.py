"""What a classifier's features forget: the colours and the texture of a picture, as numbers.

    colours (B, 245)  how much of the picture has each colour: histogram over 5 x 7 x 7 bins of CIE L, a, b, each pixel shared
                      between the bins around it; square roots, so that a dot product compares shares (Hellinger)
    texture (B, 36)   at 3 scales: logarithm of the mean and of the spread of |edges| in 4 directions and of |spots|; and how unevenly
                      they lie in the picture (mean over quarters, largest less smallest)

Both are taken at 64 x 64 pixels: what is finer the student does not see while it learns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SIDE = 64
BINS = (5, 7, 7)  # of L, a, b
COLOURS = BINS[0] * BINS[1] * BINS[2]
SCALES = 3
TEXTURE = SCALES * 12

Float32 = npt.NDArray[np.float32]

_LINEAR = np.where(np.arange(256) <= 10, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4).astype(np.float32)
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)  # sRGB, D65
_WHITE = np.array([0.9505, 1.0, 1.089], np.float32)
TO_XYZ = np.ascontiguousarray(_XYZ.T / _WHITE)  # linear RGB @ this, white being 1
BEND = 25.0  # a and b are bent, x / (|x| + 25), so that the bins' centres lie at 0, 8, 25 and 75: most photos have little colour


def lab(pixels: npt.NDArray[np.uint8]) -> Float32:
    """uint8 (..., 3) sRGB -> float32 (..., 3) CIE L, a, b."""
    xyz = _LINEAR[pixels] @ TO_XYZ
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1).astype(np.float32)


def colours(pixels: npt.NDArray[np.uint8]) -> Float32:
    """uint8 (B, S, S, 3) -> (B, 245), unit length."""
    flat = lab(pixels[:, ::2, ::2]).reshape(len(pixels), -1, 3)  # (B, S * S / 4, 3): a quarter of the pixels tells as much
    bent = flat / (np.abs(flat) + BEND)
    share = np.concatenate([flat[..., :1] / 100, (bent[..., 1:] + 0.75) / 1.5], -1)
    place = np.clip(share, 0, 1) * (np.float32(BINS) - 1)  # 0 .. bins - 1
    low = np.minimum(place.astype(np.int64), np.array(BINS) - 2)
    part = place - low  # of the upper neighbour
    found = np.zeros(len(pixels) * COLOURS)
    own = np.arange(len(pixels))[:, None] * COLOURS
    for corner in range(8):
        up = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        weight = np.where(up, part, 1 - part).prod(-1)  # (B, S * S / 4)
        bins = (low + up) @ np.array([BINS[1] * BINS[2], BINS[2], 1])
        found += np.bincount((own + bins).ravel(), weight.ravel(), minlength=len(found))
    return np.sqrt(found.reshape(len(pixels), COLOURS) / flat.shape[1]).astype(np.float32)


def texture(pixels: npt.NDArray[np.uint8]) -> Float32:
    """uint8 (B, S, S, 3) -> (B, 36); not scaled: the target space divides each number by its spread over the training pictures."""
    grey = pixels.astype(np.float32) @ np.float32([0.299, 0.587, 0.114])  # (B, S, S)
    found = []
    for _ in range(SCALES):
        middle = grey[:, 1:-1, 1:-1]
        ways = [grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]]
        ways += [grey[:, 2:, 2:] - grey[:, :-2, :-2], grey[:, 2:, :-2] - grey[:, :-2, 2:]]
        ways.append(4 * middle - grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2] - grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1])
        size = np.abs(np.stack(ways, 1))  # (B, 5, s, s)
        found += [np.log1p(size.mean((2, 3))), np.log1p(size.std((2, 3)))]  # (B, 5) each
        edges = size[:, :4].mean(1)  # (B, s, s)
        half = edges.shape[1] // 2
        quarters = [part.mean((1, 2)) for rows in (edges[:, :half], edges[:, half:]) for part in (rows[:, :, :half], rows[:, :, half:])]
        levels = np.log1p(np.stack(quarters, 1))  # (B, 4)
        found.append(np.stack([levels.max(1) - levels.min(1), levels.std(1)], 1))
        grey = grey.reshape(len(grey), grey.shape[1] // 2, 2, grey.shape[2] // 2, 2).mean((2, 4))
    return np.concatenate(found, 1).astype(np.float32)
