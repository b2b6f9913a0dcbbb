"""Two pictures laid on each other: how well do they agree, place by place?

An alignment is an affine map from pixels of one picture to pixels of the other, float64 (2, 3), pixel centres at whole numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..types import Float32
from .features import blurred

__all__ = ["Agreement", "agreement", "refined", "warped"]

Affine = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

WINDOW = 9  # pixels: agreement is told in squares of this side
NOISE = 6.0  # grey levels: what JPEG at quality 10 makes of a flat surface
STRONG = 25.0  # grey levels of local contrast that count as much as any more
GOOD, BAD = 0.75, 0.4  # local agreement
ALIKE = 0.95  # correlation: what stood still before a camera that stood still comes to less, photographed twice
LEAST_INSIDE = 0.05  # share of the picture
LEAST_PIXELS = 64
EDGE = 2  # pixels at an edge, where a turned copy has its corners' colour mixed in
STEPS = 4  # of refining
CLIP = 25.0  # grey levels: a larger difference is something else, written on it
CELLS = 6  # a side: in each the drift is told
LEAST_CELLS = 6  # that must show something
UNKNOWN = math.inf, math.inf
DRIFT_NOISE = 2.0  # square grey levels a pixel: less slope than this tells nothing
FLATTEST = 40.0  # square grey levels: more slope than this tells no more
OUTLIER = 0.3  # pixels of drift beyond which a cell counts less and less


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well two aligned pictures agree, where both have something to show.

    Attributes:
        mean: mean local agreement, -1 to 1, weighted by local contrast.
        good: share of that weight where it is at least GOOD.
        bad: share of the weight where it is below BAD.
        alike: share of the weight where plain correlation is at least ALIKE: there it is the same photograph, saved once or twice.
        inside: share of the first picture that the second covers.
        detail: mean weight, 0 to 1: how much there is to compare.
        drift: pixels by which places that agree still lie beside each other, when any affine map is allowed: the median, and what three
            quarters stay below. A copy has none; a second photograph has some, since near things move against far ones. Infinite where
            too little is there to tell.
    """

    mean: float
    good: float
    bad: float
    alike: float
    inside: float
    detail: float
    drift: tuple[float, float] = UNKNOWN


def warped(picture: Float32, affine: Affine, width: int, height: int) -> tuple[Float32, Mask]:
    """`picture` as the other one sees it, (height, width), bilinear; and which of these pixels lie in it."""
    ys, xs = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
    m = affine.astype(np.float32)
    x = m[0, 0] * xs + m[0, 1] * ys + m[0, 2]
    y = m[1, 0] * xs + m[1, 1] * ys + m[1, 2]
    h, w = picture.shape
    inside = (x > -0.5) & (x < w - 0.5) & (y > -0.5) & (y < h - 0.5)
    x, y = np.clip(x, 0, w - 1.001), np.clip(y, 0, h - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - left, y - top
    at = top * w + left
    flat = picture.ravel()
    right = 1 if w > 1 else 0
    below = w if h > 1 else 0
    upper = flat[at] * (1 - fx) + flat[at + right] * fx
    lower = flat[at + below] * (1 - fx) + flat[at + below + right] * fx
    return upper * (1 - fy) + lower * fy, inside


def refined(a: Float32, b: Float32, affine: Affine) -> Affine:
    """The alignment made better by a few steps of Gauss-Newton (Lucas & Kanade 1981), as a similarity; gain and offset are free."""
    h, w = a.shape
    gy, gx = np.gradient(a)
    ys, xs = np.mgrid[:h, :w].astype(np.float32)
    xs -= (w - 1) / 2
    ys -= (h - 1) / 2
    size = max(w, h) / 2
    # How a changes when it is moved, scaled, turned.
    steepest = np.stack([gx, gy, (gx * xs + gy * ys) / size, (gy * xs - gx * ys) / size], axis=-1)
    affine = affine.copy()
    for _ in range(STEPS):
        there, inside = warped(b, affine, w, h)
        if inside.sum() < 32:
            break
        weights = inside.astype(np.float32)
        gain, offset = _levels(there, a, weights)
        difference = gain * there + offset - a
        weights *= np.minimum(1, CLIP / np.maximum(np.abs(difference), 1e-6))
        rows = steepest.reshape(-1, 4)
        heavy = rows * weights.reshape(-1, 1)
        normal = heavy.T @ rows + 1e-3 * np.eye(4, dtype=np.float32) * max(1.0, float(np.abs(heavy).sum() / rows.size))
        step = np.linalg.solve(normal.astype(np.float64), (heavy.T @ difference.ravel()).astype(np.float64))
        dx, dy, ds, dr = step[0], step[1], step[2] / size, step[3] / size
        cx, cy = (w - 1) / 2, (h - 1) / 2
        moved = np.array([[1 + ds, -dr, dx - ds * cx + dr * cy], [dr, 1 + ds, dy - dr * cx - ds * cy], [0, 0, 1]])
        affine = affine @ np.linalg.inv(moved)
        if abs(dx) + abs(dy) + abs(step[2]) + abs(step[3]) < 0.02:
            break
    return affine


def _levels(there: Float32, a: Float32, weights: Float32) -> tuple[float, float]:
    """Gain and offset that make `there` most like `a`."""
    total = float(weights.sum())
    mean_t, mean_a = float((there * weights).sum()) / total, float((a * weights).sum()) / total
    t = there - mean_t
    variance = float((t * t * weights).sum())
    gain = float((t * (a - mean_a) * weights).sum()) / variance if variance > total else 1.0
    gain = min(4.0, max(0.25, gain))
    return gain, mean_a - gain * mean_t


def agreement(a: Float32, b: Float32, affine: Affine, *, written_on: bool) -> Agreement:
    """How `b`, seen through the alignment, agrees with `a`. Gain and offset are free: a brighter copy is a copy.

    `written_on`: the drift is told where they agree well, away from whatever was written on one; else wherever they agree.
    """
    h, w = a.shape
    there, inside = warped(b, affine, w, h)
    share = float(inside.mean())
    if share < LEAST_INSIDE:
        return Agreement(0, 0, 1, 0, share, 0)
    mask = _within(b.shape, inside)
    if mask.sum() < LEAST_PIXELS:
        return Agreement(0, 0, 1, 0, share, 0)
    gain, offset = _levels(there, a, mask)
    first, second = (a, gain * there + offset) if gain > 1 else ((a - offset) / gain, there)  # at the contrast of the stronger one
    window = max(3, min(WINDOW, round(max(h, w) * WINDOW / 96) | 1))
    count = np.maximum(_boxed(mask, window), 1)
    variance_1, variance_2, both = _moments(first * mask, second * mask, count, window)
    # What JPEG leaves out is missing in one of them, not different: so the product is set against the smaller variance.
    local = np.clip(both / (np.minimum(variance_1, variance_2) + NOISE**2), -1, 1)
    contrast = np.sqrt(np.maximum(variance_1, variance_2))
    weight = np.clip((contrast - NOISE) / (STRONG - NOISE), 0, 1) * mask
    total = float(weight.sum())
    if total <= 0:
        return Agreement(0, 0, 0, 0, share, 0)
    return Agreement(
        mean=float((local * weight).sum()) / total,
        good=float(weight[local >= GOOD].sum()) / total,
        bad=float(weight[local < BAD].sum()) / total,
        alike=float(weight[both >= ALIKE * (np.sqrt(variance_1 * variance_2) + 2)].sum()) / total,
        inside=share,
        detail=total / max(1.0, float(mask.sum())),
        drift=_drift(first, second, _eroded(mask * (local >= GOOD), EDGE) if written_on else mask * (local >= BAD), window),
    )


def _within(shape: tuple[int, ...], inside: Mask) -> Float32:
    """Of what lies inside, what lies EDGE pixels from any edge, as 0 and 1; of pictures that are too small for it, all."""
    mask = inside.astype(np.float32)
    edge = EDGE if min(*inside.shape, *shape) > 8 * EDGE else 0
    if not edge:
        return mask
    inner = np.zeros_like(mask)
    inner[edge:-edge, edge:-edge] = mask[edge:-edge, edge:-edge]
    if inside.all():
        return inner
    return inner * _eroded(mask, edge)


def _eroded(mask: Float32, edge: int) -> Float32:
    """Without what lies `edge` pixels beside something that is not in it."""
    out = mask.copy()
    for axis in (0, 1):
        for step in (-edge, edge):
            out *= np.roll(mask, step, axis)
    return out


def _drift(first: Float32, second: Float32, mask: Float32, window: int) -> tuple[float, float]:
    """How far agreeing places lie beside each other: in each cell the shift that explains its differences (Lucas & Kanade 1981)."""
    h, w = first.shape
    first, second = blurred(first), blurred(second)
    slopes = np.gradient((first + second) / 2)
    gy, gx = np.asarray(slopes[0], np.float32), np.asarray(slopes[1], np.float32)
    apart = second - first
    difference = np.asarray(apart - _boxed(apart * mask, window) / np.maximum(_boxed(mask, window), 1), np.float32)
    cell = (np.arange(h) * CELLS // h)[:, None] * CELLS + (np.arange(w) * CELLS // w)[None]

    def summed(values: Float32) -> npt.NDArray[np.float64]:
        return np.asarray(np.bincount(cell.ravel(), (values * mask).ravel(), CELLS * CELLS), np.float64)

    pixels = summed(mask)
    xx, yy, xy = summed(gx * gx), summed(gy * gy), summed(gx * gy)
    normal = np.stack([xx + DRIFT_NOISE * pixels + 1e-3, xy, xy, yy + DRIFT_NOISE * pixels + 1e-3], -1).reshape(-1, 2, 2)
    shift = np.linalg.solve(normal, np.stack([summed(gx * difference), summed(gy * difference)], -1)[..., None])[..., 0]
    slope = np.sqrt(np.maximum(xx * yy - xy * xy, 0)) / np.maximum(pixels, 1)
    full = pixels / (h * w / CELLS**2)
    weight = np.minimum(slope, FLATTEST) * np.where(full > 0.25, full, 0)
    if np.count_nonzero(weight) < LEAST_CELLS:
        return UNKNOWN
    middle = (np.arange(CELLS) + 0.5) / CELLS - 0.5
    places = np.stack([np.ones(CELLS * CELLS), np.tile(middle, CELLS), np.repeat(middle, CELLS)], -1)
    trust, rest = weight, shift
    for _ in range(3):  # an affine map through the shifts, outliers counting less
        heavy = places * trust[:, None]
        rest = shift - places @ np.linalg.solve(places.T @ heavy + 1e-6 * np.eye(3), heavy.T @ shift)
        trust = weight / (1 + (rest**2).sum(axis=1) / OUTLIER**2)
    far = np.hypot(rest[:, 0], rest[:, 1])
    order = np.argsort(far, kind="stable")
    below = np.cumsum(weight[order]) / weight.sum()
    half, most = (float(far[order][min(int(np.searchsorted(below, share)), len(far) - 1)]) for share in (0.5, 0.75))
    return half, most


def _moments(first: Float32, second: Float32, count: Float32, window: int) -> tuple[Float32, Float32, Float32]:
    """Local variances of both, and their local covariance."""
    mean_1, mean_2 = _boxed(first, window) / count, _boxed(second, window) / count
    variance_1 = np.maximum(_boxed(first * first, window) / count - mean_1 * mean_1, 0)
    variance_2 = np.maximum(_boxed(second * second, window) / count - mean_2 * mean_2, 0)
    return variance_1, variance_2, _boxed(first * second, window) / count - mean_1 * mean_2


def _boxed(values: Float32, window: int) -> Float32:
    """Sums over squares of `window` pixels around each pixel, (H, W); outside there is nothing."""
    reach = window // 2
    h, w = values.shape
    sums = np.zeros((h + 2 * reach + 1, w + 2 * reach + 1), np.float64)
    sums[reach + 1 : reach + 1 + h, reach + 1 : reach + 1 + w] = values
    sums = sums.cumsum(0).cumsum(1)
    out = sums[window:, window:] - sums[:-window, window:] - sums[window:, :-window] + sums[:-window, :-window]
    return np.asarray(out, np.float32)
