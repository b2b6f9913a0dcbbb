"""Ways in which one picture may lie on another, and which of them the pixels bear out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..types import Float32
from .dense import UNKNOWN, Affine, Agreement, agreement, refined, warped
from .features import Alignment, alignments
from .prepared import SIDE, Prepared, resized

__all__ = ["Fit", "best_fit"]

COARSE = 24  # pixels a side: whole pictures are first laid on each other like this, in all eight ways
LIKELY = 0.5  # coarse correlation from which a way is looked at
STRETCH = 1.08  # a copy may be so much wider or higher than its original
FINE = 128  # pixels, longer side, of what is compared
SURE = 0.75  # of a small picture's side: below its own size JPEG's blocks say less
LEAST = 16  # pixels
LEAST_COVER = 0.3  # share of each picture that must lie on the other
NEARLY_ALL = 0.8  # share of a whole picture that must lie on the other one, after refining
CONTAINED = 0.93  # share of the smaller one that must lie on the other
TURNED_INSIDE = 0.84  # the same of a freely turned one: a square that is turned by 15 degrees within its frame keeps .87
WHOLE = 0.95  # share that counts as all of it
FLAT = 0.02  # detail below which nothing but colours can be compared
FRAME = 6.0  # grey levels within which what lies around is a frame of one colour
LARGE = 90  # pixels, longer side: from here on JPEG's blocks are small beside what is shown
DRIFT, DRIFT_SMALL = (0.17, 0.3), (0.25, 0.5)  # pixels: the most, of a half and of three quarters; of small pictures less is known
DRIFT_SMALL_PART = (0.12, 0.2)  # a shelf, photographed twice, comes to .13 and .22 where only 42 pixels are compared
WRITTEN = 0.04  # share that disagrees from which a copy was written on
CORNERS = 0.02  # share of a freely turned picture that its corners have
APART = 32.0  # grey levels, at the same contrast: from here on one of two places was written on
STEEPER = 3.0  # times as steep as in the other one is the rim of what was written
QUARTER = 2.0  # degrees from a quarter turn that are none
HOPELESS = 0.3  # agreement at half the size
TRIED = 2  # alignments by places


@dataclass(frozen=True, slots=True)
class Fit:
    """How the second lies on the first: `turn` in degrees clockwise, after mirroring left to right.

    `changed`: 1: it is the second that was made of the first (cropped out of it, bordered, written on); -1: the other way; 0: not told.
    """

    agreement: Agreement
    mirrored: bool
    turn: float
    frame: str = ""  # "cropped", "bordered"
    changed: int = 0

    @property
    def moved(self) -> bool:
        """Is more than a mirror and quarter turns in it?"""
        return bool(self.frame) or self.turn % 90 != 0

    def changes(self, exchanged: bool) -> list[str]:
        turn = round(self.turn if self.mirrored or not exchanged else -self.turn) % 360
        words = ["mirrored"] if self.mirrored else []
        if turn:
            words.append(f"turned {turn if turn <= 180 or turn == 270 else turn - 360}")
        if self.frame:
            words.append(self.frame)
        if self.agreement.bad > WRITTEN:
            words.append("written on")
        return words


def _still(fit: Agreement, most: tuple[float, float]) -> bool:
    """Does nothing drift?"""
    return fit.drift[0] <= most[0] and fit.drift[1] <= most[1]


def _whole(fit: Agreement, side: float) -> bool:
    """May two whole pictures be the same, as they lie? Where there is too little to tell a drift, nothing at all may disagree."""
    if fit.inside < NEARLY_ALL:
        return False
    if fit.drift == UNKNOWN:
        return fit.mean >= 0.65 and fit.bad <= 0.02
    agrees = (fit.mean >= 0.65 and fit.bad <= 0.02) or (fit.mean >= 0.72 and fit.bad <= 0.12)
    written_on = fit.good >= 0.6 and fit.bad <= 0.35 and fit.good + fit.bad >= 0.87 and fit.alike >= 0.55
    return (agrees and _still(fit, DRIFT if side >= LARGE else DRIFT_SMALL)) or (written_on and _still(fit, DRIFT))


def _part(fit: Agreement, side: float) -> bool:
    """May one be a part of the other, or turned? There are many ways to lay a part, so it has to agree better."""
    if side >= LARGE:
        return fit.mean >= 0.85 and fit.bad <= 0.05 and _still(fit, DRIFT)
    return fit.mean >= 0.82 and fit.bad <= 0.05 and _still(fit, DRIFT_SMALL_PART)


def whole_fit(a: Prepared, b: Prepared) -> Fit | None:
    """The second as it is, mirrored, turned by quarters."""
    ways = [(mirrored, quarters) for mirrored in (False, True) for quarters in range(4)]
    coarse = resized(a.grey, COARSE, COARSE)
    other = resized(b.grey, COARSE, COARSE)
    seen = np.stack([_turned(other, *way) for way in ways]).reshape(len(ways), -1)
    likeness = _standard(seen) @ _standard(coarse.reshape(1, -1))[0]
    h, w = a.grey.shape
    for k in np.argsort(-likeness, kind="stable")[:TRIED]:
        if likeness[k] < LIKELY:
            break
        grey = _turned(b.grey.astype(np.float32), *ways[k])
        if not 1 / STRETCH <= (grey.shape[1] / grey.shape[0]) / (w / h) <= STRETCH:
            continue
        side = _side(min(max(h, w), max(grey.shape)), min(a.side, b.side))
        size = max(1, round(w * side / max(h, w))), max(1, round(h * side / max(h, w)))
        one, two = resized(a.grey, *size), resized(grey, *size)
        result, affine = _laid(one, two, np.eye(3), written_on=True)
        if _whole(result, side):
            mirrored, quarters = ways[k]
            return _described(result, one, two, affine, mirrored, quarters)
    return None


def best_fit(a: Prepared, b: Prepared) -> Fit | None:
    """How the second lies on the first; None: not at all.

    A small crop or turn can be mended by refining whole pictures, roughly; the places that both have then know better.
    """
    whole = whole_fit(a, b)
    if whole is not None and not whole.moved:
        return whole
    part = part_fit(a, b)
    return whole if part is None and whole is not None and whole.agreement.drift != UNKNOWN else part


def _turned(picture: Float32, mirrored: bool, quarters: int) -> Float32:
    """Undoes: mirrored, then turned clockwise."""
    back = np.rot90(picture, quarters)
    return back[:, ::-1] if mirrored else back


def _standard(rows: Float32) -> Float32:
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6), np.float32)


def _side(kept: float, own: float) -> int:
    """The longer side at which pictures are compared of which the smaller has `own` pixels, and `kept` of them were kept."""
    return max(1, round(min(kept, max(LEAST, min(FINE, SURE * own)))))


def _laid(a: Float32, b: Float32, affine: Affine, *, written_on: bool) -> tuple[Agreement, Affine]:
    """How well they agree, as it was proposed or refined, whichever is better. Decided at half the size, which is quick."""
    (ha, wa), (hb, wb) = ((max(LEAST, s // 2) if min(p.shape) > 2 * LEAST else s for s in p.shape) for p in (a, b))
    small_a, small_b = resized(a, wa, ha), resized(b, wb, hb)
    down, up = _between(a.shape, small_a.shape), _between(small_b.shape, b.shape)
    proposed = np.linalg.inv(up) @ affine @ np.linalg.inv(down)
    finer = refined(small_a, small_b, proposed)
    ways = [(agreement(small_a, small_b, way[:2], written_on=written_on), way) for way in (proposed, finer)]
    best, way = max(ways, key=lambda one: one[0].mean)
    if best.mean < HOPELESS:
        return best, affine
    affine = up @ way @ down
    return agreement(a, b, affine[:2], written_on=written_on), affine


def part_fit(a: Prepared, b: Prepared) -> Fit | None:
    """The second as a part of the first, or around it, or turned freely, as places that both have propose."""
    for way in alignments(a.features, b.features)[:TRIED]:
        fit = _laid_by(a, b, way)
        if fit is not None:
            return fit
    return None


def _laid_by(a: Prepared, b: Prepared, way: Alignment) -> Fit | None:
    scale = abs(way.turn)
    (ha, wa), (hb, wb) = a.grey.shape, b.grey.shape
    side_a = _side(min(max(ha, wa), max(hb, wb) * scale), min(a.side, b.side * scale))
    side_b = side_a / scale
    one = resized(a.grey, max(1, round(wa * side_a / max(ha, wa))), max(1, round(ha * side_a / max(ha, wa))))
    two = resized(b.grey, max(1, round(wb * side_b / max(hb, wb))), max(1, round(hb * side_b / max(hb, wb))))
    if min(*one.shape, *two.shape) < 4:
        return None
    affine = _scaled(SIDE, two.shape) @ np.vstack([way.affine(), [0, 0, 1]]) @ np.linalg.inv(_scaled(SIDE, one.shape))
    result, affine = _laid(one, two, affine, written_on=False)
    if not _part(result, side_a) or result.detail < FLAT:
        return None
    return _described(result, one, two, affine, way.mirrored, 0)


def _described(result: Agreement, one: Float32, two: Float32, affine: Affine, mirrored: bool, quarters: int) -> Fit | None:
    """What the alignment says was done; None if the two have too little of each other. `quarters`: turns undone before it."""
    zoom = abs(float(np.linalg.det(affine[:2, :2])))
    covers = result.inside, result.inside * one.size * zoom / two.size
    if min(covers) < LEAST_COVER:
        return None
    flip = -1 if affine[0, 0] * affine[1, 1] < affine[0, 1] * affine[1, 0] else 1
    turn = math.degrees(math.atan2(flip * affine[1, 0], flip * affine[0, 0]))
    nearest = 90 * round(turn / 90)
    free = abs(turn - nearest) > QUARTER
    if max(covers) < (TURNED_INSIDE if free else CONTAINED):
        return None
    frame = "" if free else _frame(one, two, affine, *covers)
    said = {_framed(one, two, affine, covers, frame, free), _written(one, two, affine) if result.bad > WRITTEN else 0} - {0}
    changed = said.pop() if len(said) == 1 else 0
    return Fit(result, mirrored, 90 * quarters + (turn if free else nearest), frame, changed)


def _frame(one: Float32, two: Float32, affine: Affine, cover_a: float, cover_b: float) -> str:
    if min(cover_a, cover_b) >= WHOLE:
        return ""
    if max(cover_a, cover_b) < WHOLE:
        return "cropped"
    around, inner, onto = (one, two, affine) if cover_a < cover_b else (two, one, np.asarray(np.linalg.inv(affine), np.float64))
    return "bordered" if _plain_around(around, inner, onto) else "cropped"


def _plain_around(around: Float32, inner: Float32, onto: Affine, *, least: float = 0) -> bool:
    """Is what lies around the other picture of one colour? `least`: share of the whole that it must have."""
    outside = ~warped(inner, onto[:2], around.shape[1], around.shape[0])[1]
    if outside.sum() < least * outside.size:
        return False
    away = outside.copy()  # from the rim, where both are mixed
    for axis, by in ((0, 1), (0, -1), (1, 1), (1, -1)):
        away &= np.roll(outside, by, axis)
    rest = around[away if away.sum() >= outside.sum() / 4 else outside]
    low, high = np.percentile(rest, (15, 85)) if rest.size else (0, 0)
    return bool(high - low < FRAME)


def _framed(one: Float32, two: Float32, affine: Affine, covers: tuple[float, float], frame: str, free: bool) -> int:
    """Which one was made of the other, by what lies around; see `Fit.changed`."""
    inner = 1 if covers[0] < covers[1] else -1  # lies in the other one
    if frame == "bordered":
        return -inner
    if frame == "cropped":
        return inner if max(covers) >= WHOLE else 0
    if not free:
        return 0
    back = np.asarray(np.linalg.inv(affine), np.float64)
    plain = [_plain_around(*way, least=CORNERS) for way in ((one, two, affine), (two, one, back))]
    return 0 if plain[0] == plain[1] else -1 if plain[0] else 1  # the corners of a turned one are filled


def _written(one: Float32, two: Float32, affine: Affine) -> int:
    """Which one was written on; see `Fit.changed`. Letters, marks and bars end in steps that the picture under them does not have."""
    there, inside = warped(two, affine[:2], one.shape[1], one.shape[0])
    there = (there - there[inside].mean()) * (one[inside].std() / max(1.0, float(there[inside].std()))) + one[inside].mean()
    apart = np.abs(one - there) > APART
    steps = np.zeros(2)
    for axis in (0, 1):
        both = np.delete(inside, 0, axis) & np.delete(inside, -1, axis)
        rim = (np.diff(apart, axis=axis)) & both
        steps += [float(np.abs(np.diff(picture, axis=axis))[rim].sum()) for picture in (one, there)]
    return 1 if steps[1] >= STEEPER * max(1.0, steps[0]) else -1 if steps[0] >= STEEPER * max(1.0, steps[1]) else 0


def _scaled(side: float, shape: tuple[int, ...]) -> Affine:
    """From pixels of a copy whose longer side is `side` to those of one of this shape."""
    s = max(shape) / side
    return np.array([[s, 0, 0.5 * s - 0.5], [0, s, 0.5 * s - 0.5], [0, 0, 1]])


def _between(shape: tuple[int, ...], other: tuple[int, ...]) -> Affine:
    """From pixels of one size of a picture to those of another."""
    y, x = other[0] / shape[0], other[1] / shape[1]
    return np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])
