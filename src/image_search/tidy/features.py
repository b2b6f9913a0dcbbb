"""Places in a picture that can be found again in a cropped, turned or framed copy, and the alignments that two pictures' places vote for.

Corners (Harris & Stephens 1988, by the harmonic mean) on several scales, each described by a small patch turned to its gradient, of mean 0
and length 1 (Brown, Szeliski & Winder 2005). NumPy alone. A copy is seen from where its original was taken, so four numbers align it
(a similarity), two matches propose them, and all pairs of the best matches are tried: no chance is involved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..types import Float32

__all__ = ["Alignment", "Features", "alignments", "blurred", "features_of"]

STEP = 1.25  # from one scale to the next
PER_SCALE = (70, 55, 40, 30, 20)  # corners kept
PATCH = 8  # samples a side
SPACING = 2.2  # pixels between samples
MARGIN = 4  # pixels at the border, where gradients are not known
LIKE = 0.8  # least correlation of two patches
BLOCK = 60  # patches
MATCHES = 64  # the best are looked at
PROPOSING = 24  # of these, each pair proposes an alignment
TOLERANCE = 2.5  # pixels of SIDE that a matched place may lie beside its place
INLIERS = 8  # places that agree; copies have 12 and more, and the pixels decide afterwards
LEAST_SCALE, MOST_SCALE = 0.4, 2.5

_BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16  # a blur of sigma 1 pixel


@dataclass(frozen=True, slots=True)
class Features:
    """Attributes:
    places: complex64 (N,), x + iy in pixels of the prepared grey copy.
    patches: float32 (N, PATCH * PATCH), mean 0, length 1.
    """

    places: npt.NDArray[np.complex64]
    patches: Float32


@dataclass(frozen=True, slots=True)
class Alignment:
    """b = turn * a + shift, or of a mirrored (conjugate) a; `inliers` places agree."""

    turn: complex
    shift: complex
    mirrored: bool
    inliers: int

    def affine(self) -> npt.NDArray[np.float64]:
        c, s = self.turn.real, self.turn.imag
        flip = -1 if self.mirrored else 1
        return np.array([[c, -s * flip, self.shift.real], [s, c * flip, self.shift.imag]])


def features_of(grey: Float32) -> Features:
    """Of a grey picture, float32 (h, w)."""
    places, patches = [], []
    h, w = grey.shape
    for scale, most in enumerate(PER_SCALE):
        share = STEP**-scale
        size = round(w * share), round(h * share)
        if min(size) < 3 * MARGIN:
            break
        level = grey if scale == 0 else _shrunk(grey, *size)
        xs, ys, described = _of_level(blurred(level), most)
        places.append((xs + 0.5) * (w / size[0]) - 0.5 + 1j * ((ys + 0.5) * (h / size[1]) - 0.5))
        patches.append(described)
    if not places:
        return Features(np.empty(0, np.complex64), np.empty((0, PATCH * PATCH), np.float32))
    return Features(np.concatenate(places).astype(np.complex64), np.concatenate(patches))


def _shrunk(grey: Float32, width: int, height: int) -> Float32:
    from PIL import Image

    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR), np.float32)


def _of_level(level: Float32, most: int) -> tuple[Float32, Float32, Float32]:
    """x, y (N,) and patches (N, 64) of the strongest corners."""
    gx, gy = np.zeros_like(level), np.zeros_like(level)
    gx[:, 1:-1] = level[:, 2:] - level[:, :-2]
    gy[1:-1] = level[2:] - level[:-2]
    xx, yy, xy = blurred(gx * gx), blurred(gy * gy), blurred(gx * gy)
    strength = (xx * yy - xy * xy) / (xx + yy + 1.0)
    inner = strength[MARGIN:-MARGIN, MARGIN:-MARGIN]
    peak = np.ones(inner.shape, np.bool_)
    h, w = strength.shape
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dx or dy:
                peak &= inner >= strength[MARGIN + dy : h - MARGIN + dy, MARGIN + dx : w - MARGIN + dx]
    found = np.flatnonzero(peak & (inner > 1.0))
    found = found[np.argsort(-inner.ravel()[found], kind="stable")[:most]]
    ys, xs = (found // inner.shape[1] + MARGIN), (found % inner.shape[1] + MARGIN)
    smooth_x, smooth_y = blurred(blurred(gx)), blurred(blurred(gy))
    along = smooth_x[ys, xs] + 1j * smooth_y[ys, xs]
    along /= np.maximum(np.abs(along), 1e-6)
    grid = (np.arange(PATCH) - (PATCH - 1) / 2) * SPACING
    offsets = (grid[None, :] + 1j * grid[:, None]).ravel()  # rows go across the gradient
    fine_x, fine_y = _finer(strength, xs, ys)
    at = (fine_x + 1j * fine_y)[:, None] + along[:, None] * offsets[None]  # (N, 64)
    patches = _sampled(blurred(level), at.real.astype(np.float32), at.imag.astype(np.float32))
    patches -= patches.mean(axis=1, keepdims=True)
    length = np.linalg.norm(patches, axis=1)
    good = length > 1.0
    return fine_x[good], fine_y[good], patches[good] / length[good, None]


def _finer(strength: Float32, xs: npt.NDArray[np.intp], ys: npt.NDArray[np.intp]) -> tuple[Float32, Float32]:
    """Peaks between pixels, by a parabola through three."""
    here = strength[ys, xs]

    def top(before: Float32, after: Float32) -> Float32:
        bend = before - 2 * here + after
        return np.clip(np.where(bend < 0, 0.5 * (before - after) / np.minimum(bend, -1e-6), 0), -0.5, 0.5).astype(np.float32)

    return xs + top(strength[ys, xs - 1], strength[ys, xs + 1]), ys + top(strength[ys - 1, xs], strength[ys + 1, xs])


def _sampled(picture: Float32, x: Float32, y: Float32) -> Float32:
    """Bilinear; outside, what lies at the border."""
    h, w = picture.shape
    x, y = np.clip(x, 0, w - 1.001), np.clip(y, 0, h - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - left, y - top
    flat, at = picture.ravel(), top * w + left
    upper = flat[at] * (1 - fx) + flat[at + 1] * fx
    lower = flat[at + w] * (1 - fx) + flat[at + w + 1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy, np.float32)


def blurred(picture: Float32) -> Float32:
    """(h, w), by one pixel (sigma)."""
    for axis in (0, 1):
        padded = np.pad(picture, [(2, 2) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        n = picture.shape[axis]
        parts = [padded[k : k + n] if axis == 0 else padded[:, k : k + n] for k in range(5)]
        picture = sum((weight * part for weight, part in zip(_BINOMIAL, parts, strict=True)), np.zeros_like(picture))
    return picture


def alignments(a: Features, b: Features) -> list[Alignment]:
    """The best upright and the best mirrored alignment, most inliers first."""
    if min(len(a.places), len(b.places)) < INLIERS:
        return []
    flipped = a.patches.reshape(-1, PATCH, PATCH)[:, ::-1].reshape(len(a.patches), -1)
    found = [
        _aligned(a.places, b.places, _likeness(a.patches, b.patches), False),
        _aligned(a.places.conj(), b.places, _likeness(flipped, b.patches), True),
    ]
    return sorted((one for one in found if one is not None), key=lambda one: -one.inliers)


def _likeness(a: Float32, b: Float32) -> Float32:
    """(N, K) and (M, K) -> (N, M), in blocks so small that BLAS starts no threads for them: starting them costs 50 times as much."""
    out = np.empty((len(a), len(b)), np.float32)
    for i in range(0, len(a), BLOCK):
        for j in range(0, len(b), BLOCK):
            np.matmul(a[i : i + BLOCK], b[j : j + BLOCK].T, out=out[i : i + BLOCK, j : j + BLOCK])
    return out


def _aligned(a: npt.NDArray[np.complex64], b: npt.NDArray[np.complex64], like: Float32, mirrored: bool) -> Alignment | None:
    """`like`: (N, M), how much the patches are alike."""
    to_b, to_a = like.argmax(axis=1), like.argmax(axis=0)
    rows = np.arange(len(a))
    best = like[rows, to_b]
    rows = rows[(to_a[to_b] == rows) & (best >= LIKE)]
    if len(rows) < INLIERS:
        return None
    rows = rows[np.argsort(-best[rows], kind="stable")[:MATCHES]]
    p, q = a[rows].astype(np.complex128), b[to_b[rows]].astype(np.complex128)
    i, j = np.triu_indices(min(len(p), PROPOSING), 1)
    apart = p[i] - p[j]
    far = np.abs(apart) > 10
    i, j, apart = i[far], j[far], apart[far]
    turn = (q[i] - q[j]) / apart
    scale = np.abs(turn)
    usable = (scale > LEAST_SCALE) & (scale < MOST_SCALE)
    turn, shift = turn[usable], (q[i] - turn * p[i])[usable]
    if not len(turn):
        return None
    near = np.abs((turn[:, None] * p[None] + shift[:, None] - q[None]).astype(np.complex64)) < TOLERANCE  # (pairs, matches)
    k = int(near.sum(axis=1).argmax())
    mine = near[k]
    for _ in range(2):  # the mean of all that agree
        if mine.sum() < 2:
            return None
        mp, mq = p[mine].mean(), q[mine].mean()
        spread = np.abs(p[mine] - mp) ** 2
        t = complex(((q[mine] - mq) * (p[mine] - mp).conj()).sum() / max(spread.sum(), 1e-9))
        s = complex(mq - t * mp)
        mine = np.abs(t * p + s - q) < TOLERANCE
    places = np.unique(np.round(p[mine] / 3))  # one corner on several scales is one place
    return Alignment(t, s, mirrored, len(places)) if len(places) >= INLIERS else None
