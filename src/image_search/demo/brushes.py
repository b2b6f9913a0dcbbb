"""What the scenes are drawn with: outlines, and a canvas that fills them smoothly, shaded by one light.

An outline is a float array (N, 2) of x, y in the units of whoever draws it, y downwards. A canvas maps these units to pixels,
so a scene draws a thing once around (0, 0) and places it anywhere, in any size, turned or mirrored.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Points: TypeAlias = npt.NDArray[np.float64]  # (N, 2)
Colour: TypeAlias = tuple[float, float, float]  # RGB, 0 to 255
Box: TypeAlias = tuple[int, int, int, int]  # pixels: left, top, right, bottom

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
SHADOW: Colour = (24, 18, 38)  # shadows are never quite black


def rgb(code: str) -> Colour:
    """ "e4572e" -> (228, 87, 46)."""
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`share` of b in a."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def lighter(colour: Colour, share: float) -> Colour:
    return mix(colour, WHITE, share)


def darker(colour: Colour, share: float) -> Colour:
    return mix(colour, SHADOW, share)


# outlines


def points(*flat: float) -> Points:
    """x0, y0, x1, y1, ... -> (N, 2)."""
    return np.array(flat, dtype=np.float64).reshape(-1, 2)


def oval(x: float, y: float, rx: float, ry: float | None = None, start: float = 0, end: float = 360, steps: int = 64) -> Points:
    """An ellipse around (x, y), or its arc from `start` to `end` degrees (0 is right, 90 is down)."""
    angle = np.radians(np.linspace(start, end, steps))
    return np.stack([x + rx * np.cos(angle), y + (rx if ry is None else ry) * np.sin(angle)], axis=1)


def rect(left: float, top: float, right: float, bottom: float, corner: float = 0) -> Points:
    """A rectangle with corners of radius `corner`."""
    if corner <= 0:
        return points(left, top, right, top, right, bottom, left, bottom)
    arcs = [(right, top, -1, 1, -90), (right, bottom, -1, -1, 0), (left, bottom, 1, -1, 90), (left, top, 1, 1, 180)]
    return np.concatenate([oval(x + sx * corner, y + sy * corner, corner, None, a, a + 90, 8) for x, y, sx, sy, a in arcs])


def smooth(corners: Points, closed: bool = True, steps: int = 8) -> Points:
    """A soft curve through all the corners (uniform Catmull-Rom spline)."""
    p = np.concatenate([corners[-1:], corners, corners[:2]] if closed else [corners[:1], corners, corners[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    curve = (0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, corners[-1:]])


def ribbon(spine: Points, widths: Sequence[float]) -> Points:
    """The outline of a band along `spine`; `widths` are spread evenly along it."""
    width = np.interp(np.linspace(0, 1, len(spine)), np.linspace(0, 1, len(widths)), widths)[:, None] / 2
    step = np.gradient(spine, axis=0)
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / (np.hypot(step[:, 0], step[:, 1])[:, None] + 1e-9)
    return np.concatenate([spine + normal * width, (spine - normal * width)[::-1]])


def mirrored(half: Points) -> Points:
    """The right half of an outline, top to bottom, made whole about the line x = 0."""
    return np.concatenate([half, (half * (-1, 1))[::-1]])


def noise(rng: random.Random, width: int, height: int, cells_x: int, cells_y: int) -> Image.Image:
    """Soft random clouds as an L picture, about cells_x by cells_y of them."""
    coarse = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (cells_y, cells_x), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


class Canvas:
    """A square RGB picture and a way to place things on it.

    Args:
        size: side, pixels.
        light: where the light comes from, as x, y in the picture; (-1, -1) is from above left.
    """

    def __init__(self, size: int, light: tuple[float, float]) -> None:
        self.image = Image.new("RGB", (size, size))
        self.light = (light[0] / math.hypot(*light), light[1] / math.hypot(*light))
        self.size = size
        self._matrix = np.array([[size, 0.0], [0.0, size]])
        self._origin = np.zeros(2)
        self._clip: Image.Image | None = None

    def _like(self) -> Canvas:
        other = object.__new__(Canvas)
        other.__dict__.update(self.__dict__)
        return other

    def at(self, x: float, y: float, scale: float = 1, turn: float = 0, flip: bool = False) -> Canvas:
        """The same picture in new units: (x, y) becomes (0, 0), one unit is `scale`, turned by `turn` degrees clockwise."""
        other = self._like()
        cos, sin = math.cos(math.radians(turn)) * scale, math.sin(math.radians(turn)) * scale
        other._origin = self._matrix @ (x, y) + self._origin
        other._matrix = self._matrix @ np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
        return other

    def inside(self, outline: Points) -> Canvas:
        """The same picture, where only the inside of `outline` can be drawn on."""
        other = self._like()
        clip = Image.new("L", self.image.size)
        found = self._mask([outline], [], None)
        if found is not None:
            clip.paste(found[0], found[1][:2])
        other._clip = clip
        return other

    def _pixels(self, outline: Points) -> Points:
        placed: Points = outline @ self._matrix.T + self._origin
        return placed

    @property
    def unit(self) -> float:
        """Pixels per unit here."""
        return math.sqrt(abs(np.linalg.det(self._matrix)))

    def _mask(self, outlines: list[Points], holes: list[Points], width: float | None) -> tuple[Image.Image, Box] | None:
        """Coverage (L, smooth edges) of the filled outlines or, with a width, of lines along them; and where it lies."""
        placed = [self._pixels(o) for o in outlines]
        thick = 0.0 if width is None else max(width * self.unit, 0.6)
        low, high = np.min([p.min(axis=0) for p in placed], axis=0) - thick, np.max([p.max(axis=0) for p in placed], axis=0) + thick
        left, top = (int(v) for v in np.maximum(np.floor(low) - 1, 0))
        right, bottom = (int(v) for v in np.minimum(np.ceil(high) + 1, self.size))
        if right <= left or bottom <= top:
            return None
        k = 4 if (right - left) * (bottom - top) < 40_000 else 3  # samples per pixel and axis: edges with 17 or 10 levels
        big = Image.new("L", ((right - left) * k, (bottom - top) * k))
        pen = ImageDraw.Draw(big)
        for p in placed:
            xy = ((p - (left, top)) * k - 0.5).ravel().tolist()
            if width is None:
                pen.polygon(xy, fill=255)
                continue
            pen.line(xy, fill=255, width=max(1, round(thick * k)), joint="curve")
            r = thick * k / 2
            if r > 1:  # round ends
                for x, y in (xy[:2], xy[-2:]):
                    pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
        for p in map(self._pixels, holes):
            pen.polygon(((p - (left, top)) * k - 0.5).ravel().tolist(), fill=0)
        mask, box = big.reduce(k), (left, top, right, bottom)
        if self._clip is not None:
            mask = ImageChops.multiply(mask, self._clip.crop(box))
        return mask, box

    def _paint(self, box: Box, colour: Colour, to: Colour | None, form: float, ball: bool) -> Image.Image:
        """The colours of a box: a blend from the lit side to the far side, or from `colour` down to `to`."""
        x = np.linspace(-1, 1, box[2] - box[0], dtype=np.float32)[None, :]
        y = np.linspace(-1, 1, box[3] - box[1], dtype=np.float32)[:, None]
        if to is not None:  # along this canvas's own downward axis
            dx, dy = self._matrix[:, 1] / self.unit
            first, last = colour, to
        else:
            (dx, dy), first, last = (-self.light[0], -self.light[1]), lighter(colour, form), darker(colour, form)
        if ball:
            share = np.sqrt((x + dx * 0.45) ** 2 + (y + dy * 0.45) ** 2) / 1.4
            share = np.clip(share, 0, 1) ** 1.5
        else:
            share = np.clip((x * dx + y * dy) / (abs(dx) + abs(dy)) * 0.5 + 0.5, 0, 1)
        a, b = np.array(first, dtype=np.float32), np.array(last, dtype=np.float32)
        return Image.fromarray((a + (b - a) * share[..., None] + 0.5).clip(0, 255).astype(np.uint8))

    def fill(
        self,
        outline: Points | list[Points],
        colour: Colour,
        to: Colour | None = None,
        *,
        form: float = 0.12,
        ball: bool = False,
        alpha: float = 1,
        holes: Sequence[Points] = (),
        shadow: float = 0,
        width: float | None = None,
    ) -> None:
        """Fill one or more outlines, or draw lines of `width` along them.

        Args:
            to: the colour at the lower end; without it the colour is shaded by the light, as strongly as `form` (0 flat, 1 full).
            ball: shade it round, brightest towards the light.
            alpha: 1 covers, 0 is invisible.
            shadow: how dark the soft shadow is that it throws on what is behind.
        """
        found = self._mask(outline if isinstance(outline, list) else [outline], list(holes), width)
        if found is None:
            return
        mask, box = found
        if shadow:
            self._shadow(mask, box, shadow)
        if alpha < 1:
            mask = mask.point(lambda v: v * alpha)
        if to is None and form == 0:
            self.image.paste((round(colour[0]), round(colour[1]), round(colour[2])), box, mask)
        else:
            self.image.paste(self._paint(box, colour, to, form, ball), box, mask)

    def line(
        self, spine: Points | list[Points], width: float, colour: Colour, *, alpha: float = 1, shadow: float = 0, form: float = 0
    ) -> None:
        """Lines with round ends."""
        self.fill(spine, colour, form=form, alpha=alpha, shadow=shadow, width=width)

    def _shadow(self, mask: Image.Image, box: Box, strength: float) -> None:
        """Darken what lies behind the mask, away from the light, softly."""
        away = self.size * 0.018
        quarter = max(self.size // 4, 1)
        layer = Image.new("L", self.image.size)
        layer.paste(mask, (round(box[0] - self.light[0] * away), round(box[1] - self.light[1] * away)))
        layer = layer.resize((quarter, quarter), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(quarter * 0.018))
        layer = layer.resize(self.image.size, Image.Resampling.BILINEAR).point(lambda v: v * strength)
        if self._clip is not None:
            layer = ImageChops.multiply(layer, self._clip)
        self.image.paste((round(SHADOW[0]), round(SHADOW[1]), round(SHADOW[2])), (0, 0), layer)

    def haze(self, outline: Points, colour: Colour, alpha: float, blur: float) -> None:
        """A blurred patch: a shadow on the ground, light from a window, mist. `blur` in units."""
        found = self._mask([outline], [], None)
        if found is None:
            return
        quarter = max(self.size // 4, 1)
        layer = Image.new("L", self.image.size)
        layer.paste(found[0], found[1][:2])
        layer = layer.resize((quarter, quarter), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(blur * self.unit / 4))
        layer = layer.resize(self.image.size, Image.Resampling.BICUBIC).point(lambda v: v * alpha)
        if self._clip is not None:
            layer = ImageChops.multiply(layer, self._clip)
        self.image.paste((round(colour[0]), round(colour[1]), round(colour[2])), (0, 0), layer)

    def glow(self, x: float, y: float, radius: float, colour: Colour, alpha: float) -> None:
        """Light around a point, fading to nothing at `radius`."""
        (px, py), r = self._pixels(points(x, y))[0], radius * self.unit
        left, top = max(int(px - r), 0), max(int(py - r), 0)
        right, bottom = min(int(px + r) + 1, self.size), min(int(py + r) + 1, self.size)
        if right <= left or bottom <= top:
            return
        dx, dy = np.arange(left, right)[None, :] - px, np.arange(top, bottom)[:, None] - py
        fade = np.clip(1 - np.hypot(dx, dy) / r, 0, 1) ** 2 * (255 * alpha)
        mask = Image.fromarray(fade.astype(np.uint8))
        self.image.paste((round(colour[0]), round(colour[1]), round(colour[2])), (left, top, right, bottom), mask)

    def grain(self, rng: random.Random, outline: Points, colour: Colour, alpha: float, cells: tuple[int, int]) -> None:
        """Lay an uneven tint over an outline: wood, water, stone. `cells`: how many spots across and down."""
        found = self._mask([outline], [], None)
        if found is None:
            return
        mask, box = found
        spots = noise(rng, box[2] - box[0], box[3] - box[1], *cells)
        spots = spots.point(lambda v: max(0, v - 96) * alpha * 1.6)
        self.image.paste((round(colour[0]), round(colour[1]), round(colour[2])), box, ImageChops.multiply(mask, spots))

    def reflect(self, horizon: float, alpha: float, rng: random.Random) -> None:
        """Mirror what stands above `horizon` (share of the height) in the water below it, broken by ripples."""
        pixels = np.asarray(self.image)
        row = round(horizon * self.size)
        depth = min(self.size - row, row)
        if depth <= 0:
            return
        below = np.arange(depth)
        source = np.clip(row - 1 - (below * 1.15).astype(np.int64), 0, self.size - 1)
        swing = np.sin(below * 0.9 + rng.random() * 6) * (0.004 + 0.02 * below / self.size) * self.size
        columns = np.clip(np.arange(self.size)[None, :] + swing[:, None].astype(np.int64), 0, self.size - 1)
        mirrored_rows = pixels[source[:, None], columns].astype(np.float32)
        share = (alpha * (1 - 0.6 * below / depth))[:, None, None]
        out = pixels.copy()
        out[row : row + depth] = (out[row : row + depth] * (1 - share) + mirrored_rows * share).astype(np.uint8)
        self.image.paste(Image.fromarray(out))

    def finish(self, rng: random.Random, cast: Colour, vignette: float, falloff: float) -> Image.Image:
        """The light of the whole picture: a colour cast (factors about 1), darker corners, a lit and a far side, fine grain."""
        axis = np.linspace(-1, 1, self.size, dtype=np.float32)
        x, y = axis[None, :], axis[:, None]
        shade = (1 - vignette * ((x * x + y * y) / 2) ** 1.5) * (1 + falloff * (x * self.light[0] + y * self.light[1]) * 0.5)
        speck = np.random.default_rng(rng.getrandbits(32)).normal(0, 2.2, (self.size, self.size, 1)).astype(np.float32)
        lit = np.asarray(self.image, dtype=np.float32) * shade[..., None] * np.array(cast, dtype=np.float32) + speck
        return Image.fromarray(lit.clip(0, 255).astype(np.uint8))
