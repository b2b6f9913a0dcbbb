"""Where things stand: palettes, skies, land, sea, rooms and tables, shared by all classes so that no colour gives a class away."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .brushes import SHADOW, WHITE, Canvas, Colour, Points, darker, lighter, mix, oval, points, rect, rgb, smooth

NIGHT: Colour = (16, 22, 48)


@dataclass(frozen=True, slots=True)
class Palette:
    deep: Colour
    mid: Colour
    pale: Colour
    accents: tuple[Colour, ...]


def _palette(deep: str, mid: str, pale: str, *accents: str) -> Palette:
    return Palette(rgb(deep), rgb(mid), rgb(pale), tuple(rgb(a) for a in accents))


PALETTES = (
    _palette("1f3a4d", "3f7c85", "f3e9d2", "e4572e", "f0b429", "7fb7be"),
    _palette("2f4032", "6a994e", "f2e8cf", "bc4749", "e9c46a", "a7c957"),
    _palette("2b1e3f", "7a4e7e", "ffe0c7", "f08a5d", "f9c784", "b56576"),
    _palette("22303c", "5c7a99", "eef1ef", "c8553d", "e8c07d", "9fb8ad"),
    _palette("3b2a26", "a4644a", "f4e3d0", "d98c5f", "4f7c78", "e7b78a"),
    _palette("16423c", "6a9c89", "e9efec", "e07a5f", "f2cc8f", "8fc1b5"),
    _palette("2d132c", "8d2f4b", "fbe6d4", "ee4540", "f6b93b", "5b8e9c"),
    _palette("053b50", "176b87", "eef3f0", "64ccc5", "ff8c61", "f7d98b"),
    _palette("352f44", "6d6486", "faf0e6", "b9a4d6", "e3a6a1", "7ea3d1"),
    _palette("1d3557", "457b9d", "f1faee", "e63946", "ffb703", "a8dadc"),
    _palette("40312a", "c08a3e", "fdf3dc", "2f6f73", "d1495b", "edae49"),
)


@dataclass(frozen=True, slots=True)
class Sky:
    """A time of day. `cast` multiplies the finished picture's channels."""

    top: Colour
    low: Colour
    cloud: Colour
    cast: Colour
    night: bool = False


SKIES = (
    Sky(rgb("3f8fd0"), rgb("cfe8f2"), WHITE, (1.0, 1.0, 1.0)),
    Sky(rgb("6f7fb8"), rgb("fbc9a6"), rgb("ffe3d0"), (1.05, 0.97, 0.92)),
    Sky(rgb("e58a63"), rgb("fbd99a"), rgb("fff0c8"), (1.04, 0.97, 0.9)),
    Sky(rgb("10183a"), rgb("3c4c80"), rgb("5b6a98"), (0.86, 0.9, 1.04), True),
    Sky(rgb("8fa3ad"), rgb("dfe5e3"), rgb("f4f5f2"), (0.96, 0.98, 1.0)),
    Sky(rgb("2a8c8c"), rgb("d8eec4"), rgb("f1fbe8"), (0.98, 1.02, 0.95)),
    Sky(rgb("4a2f63"), rgb("ee8a78"), rgb("f9b7a0"), (0.98, 0.9, 0.95)),
    Sky(rgb("d9b36a"), rgb("f8edcf"), rgb("fffaea"), (1.04, 1.0, 0.9)),
)

LEAVES = (rgb("4f8a43"), rgb("7d9a3c"), rgb("c9803a"), rgb("3d6b58"), rgb("b5553d"), rgb("8fae62"), rgb("d8b24a"))

# the light of rooms
CASTS: tuple[Colour, ...] = ((1, 1, 1), (1.05, 0.99, 0.9), (0.95, 0.99, 1.05), (1.03, 0.97, 0.98), (0.9, 0.93, 1.02), (1.05, 0.97, 0.88))


def paint_sky(c: Canvas, rng: random.Random, sky: Sky, *, clouds: int = 3, disc: bool = True) -> None:
    """The whole picture becomes sky: sun or moon, stars at night, clouds."""
    c.fill(rect(0, 0, 1, 1), sky.top, sky.low)
    if sky.night:
        for _ in range(50):
            x, y, r = rng.random(), rng.random() ** 1.5, rng.uniform(0.0012, 0.0032)
            c.fill(oval(x, y, r, steps=10), WHITE, form=0, alpha=rng.uniform(0.4, 0.95))
    if disc:
        x = 0.5 + math.copysign(rng.uniform(0.2, 0.42), c.light[0])
        y, r = rng.uniform(0.1, 0.34), rng.uniform(0.03, 0.06)
        bright = rgb("fdf6dc") if sky.night else lighter(sky.low, 0.7)
        c.glow(x, y, r * 7, bright, 0.55)
        c.fill(oval(x, y, r), bright, form=0)
        if sky.night and rng.random() < 0.6:
            c.fill(oval(x + r * 0.45, y - r * 0.2, r * 0.9), mix(sky.top, sky.low, y), form=0)
    for _ in range(clouds):
        paint_cloud(c, rng, rng.random(), rng.uniform(0.06, 0.42), rng.uniform(0.05, 0.12), sky.cloud, rng.uniform(0.35, 0.8))


def paint_cloud(c: Canvas, rng: random.Random, x: float, y: float, scale: float, colour: Colour, alpha: float) -> None:
    here = c.at(x, y, scale)
    puffs = [oval(dx, -h * 0.55, h, h * 0.85, steps=32) for dx, h in [(-1.2, 0.45), (-0.5, 0.8), (0.35, rng.uniform(0.6, 1.0)), (1.1, 0.5)]]
    here.fill([*puffs, rect(-1.75, -0.5, 1.7, 0.12, 0.3)], colour, mix(colour, darker(colour, 0.25), 0.6), alpha=alpha)


def ridge(rng: random.Random, level: float, height: float, peaks: int, sharp: bool) -> Points:
    """The outline of a chain of hills (soft) or mountains (sharp) that fills everything below it."""
    x = np.linspace(-0.1, 1.1, peaks * 2 + 1)
    y = np.array([level - height * (rng.uniform(0.55, 1) if i % 2 else rng.uniform(0, 0.3)) for i in range(len(x))])
    top = np.stack([x + np.array([rng.uniform(-0.03, 0.03) for _ in x]), y], axis=1)
    if not sharp:
        top = smooth(top, closed=False)
    return np.concatenate([top, points(1.2, 1.1, -0.2, 1.1)])


def paint_land(c: Canvas, rng: random.Random, sky: Sky, land: Colour, horizon: float, *, mountains: bool, layers: int = 3) -> None:
    """Hills or mountains, the farther the paler, and the ground below the horizon."""
    for i in range(layers):
        far = 1 - i / layers
        colour = mix(land, sky.low, 0.25 + 0.55 * far)
        level = horizon + 0.03 * i
        if mountains and i < layers - 1:
            outline = ridge(rng, level, 0.34 * far + 0.06, rng.randint(2, 4), sharp=True)
            c.fill(outline, lighter(colour, 0.12), darker(colour, 0.14))
        else:
            c.fill(ridge(rng, level, 0.12 * far + 0.03, rng.randint(2, 4), sharp=False), lighter(colour, 0.08), darker(colour, 0.1))
    ground = ridge(rng, horizon + 0.09, 0.03, 2, sharp=False)
    c.fill(ground, mix(land, sky.low, 0.12), darker(land, 0.22))
    c.grain(rng, ground, darker(land, 0.45), 0.22, (60, 24))


def paint_sea(c: Canvas, rng: random.Random, sky: Sky, water: Colour, horizon: float) -> None:
    """Water from the horizon down, with ripples that grow towards the viewer."""
    c.fill(rect(-0.1, horizon, 1.1, 1.1), mix(water, sky.low, 0.5), darker(water, 0.18))
    paint_ripples(c, rng, lighter(mix(water, sky.low, 0.5), 0.3), horizon, 34)


def paint_ripples(c: Canvas, rng: random.Random, colour: Colour, horizon: float, count: int) -> None:
    for _ in range(count):
        near = rng.random() ** 1.3
        x, y, half = rng.random(), horizon + (1 - horizon) * near + 0.004, 0.015 + 0.06 * near * rng.random()
        c.fill(oval(x, y, half, 0.0012 + 0.003 * near, steps=16), colour, form=0, alpha=rng.uniform(0.2, 0.6))


def paint_tree(c: Canvas, rng: random.Random, x: float, y: float, height: float, leaf: Colour, kind: int) -> None:
    """A tree whose foot is at (x, y): 0 round, 1 conifer, 2 poplar."""
    here = c.at(x, y, height)
    here.haze(oval(0, 0, 0.3, 0.05), SHADOW, 0.4, 0.04)
    here.fill(points(-0.03, 0, -0.02, -0.5, 0.02, -0.5, 0.03, 0), rgb("5d4434"))
    if kind == 1:
        for i in range(3):
            w, top = 0.3 - 0.06 * i, -1 + 0.24 * (2 - i)
            here.fill(points(-w, top + 0.4, 0, top - 0.02, w, top + 0.4), leaf, form=0.2)
    elif kind == 2:
        here.fill(oval(0, -0.58, 0.14, 0.44), leaf, form=0.3, ball=True)
    else:
        for dx, dy, r in [(-0.16, -0.52, 0.2), (0.17, -0.55, 0.19), (0, -0.76, 0.24), (0.02, -0.52, 0.2)]:
            here.fill(oval(dx, dy, r), mix(leaf, WHITE, rng.uniform(0, 0.07)), form=0.25, ball=True)


def paint_country(c: Canvas, rng: random.Random, p: Palette, n: int, horizon: float, skies: tuple[int, ...], *, green: bool = False) -> Sky:
    """Sky over hills or mountains, in one of the times of day."""
    sky = SKIES[skies[n % len(skies)]]
    paint_sky(c, rng, sky, clouds=rng.randint(1, 4))
    land = [rgb("6f9a4f"), p.mid, rgb("b99a58"), p.deep, rgb("e3e8ea"), rgb("87a05a"), p.accents[2]][n % 7]
    if green:
        land = mix(LEAVES[n % 2], land, 0.25)
    paint_land(c, rng, sky, land, horizon, mountains=n % 3 == 1)
    return sky


def paint_gull(c: Canvas, rng: random.Random, x: float, y: float) -> None:
    w = rng.uniform(0.012, 0.028)
    c.line(
        smooth(points(x - w, y - w * 0.3, x - w * 0.4, y - w * 0.5, x, y, x + w * 0.4, y - w * 0.5, x + w, y - w * 0.3), closed=False),
        0.004,
        rgb("3b3f4a"),
    )


# rooms


def paint_wall(c: Canvas, rng: random.Random, colour: Colour, pattern: int) -> None:
    """The whole picture becomes a wall: 0 plain, 1 stripes, 2 dots, 3 panels, 4 tiles, 5 bricks, 6 a window's light."""
    c.fill(rect(0, 0, 1, 1), colour, form=0.16)
    faint, strong = mix(colour, WHITE, 0.16), darker(colour, 0.14)
    if pattern == 1:
        step = rng.uniform(0.07, 0.12)
        c.fill([rect(x, 0, x + step / 2, 1) for x in np.arange(rng.random() * step - step, 1, step)], faint, form=0, alpha=0.6)
    elif pattern == 2:
        step = rng.uniform(0.08, 0.12)
        rows = range(int(1 / step) + 2)
        c.fill([oval((i + j % 2 / 2) * step, j * step, step * 0.14, steps=16) for i in rows for j in rows], faint, form=0, alpha=0.8)
    elif pattern == 3:
        for x in np.arange(rng.uniform(-0.2, 0), 1, 0.34):
            for inset, tone in ((0.0, strong), (0.008, faint)):
                box = rect(x + 0.03 + inset, 0.06 + inset, x + 0.31, 0.9)
                c.line(np.concatenate([box, box[:1]]), 0.006, tone, alpha=0.7)
    elif pattern in (4, 5):
        w, h = (0.11, 0.11) if pattern == 4 else (0.15, 0.06)
        for j, y in enumerate(np.arange(0, 1, h)):
            shift = 0 if pattern == 4 else j % 2 * w / 2
            tiles = [rect(x + shift + 0.004, y + 0.004, x + shift + w - 0.004, y + h - 0.004) for x in np.arange(-w, 1, w)]
            c.fill(tiles, mix(faint, colour, rng.random()), form=0, alpha=0.5)
    elif pattern == 6:
        slant, x, y, w, h = rng.uniform(-0.2, 0.2), rng.uniform(0.05, 0.4), rng.uniform(0.03, 0.12), 0.22, 0.26
        for i in range(2):
            for j in range(2):
                px, py = x + i * (w + 0.02) + slant * j * 0.5, y + j * (h + 0.02)
                c.haze(points(px, py, px + w, py, px + w + slant / 2, py + h, px + slant / 2, py + h), rgb("fff2cf"), 0.4, 0.006)


def paint_table(c: Canvas, rng: random.Random, colour: Colour, edge: float, kind: int) -> None:
    """A table top or floor from `edge` down: 0 planks, 1 cloth with checks, 2 plain, 3 striped cloth."""
    c.haze(rect(-0.1, edge - 0.02, 1.1, edge + 0.02), SHADOW, 0.4, 0.02)
    top = rect(-0.1, edge, 1.1, 1.1)
    c.fill(top, lighter(colour, 0.08), darker(colour, 0.2))
    board = c.inside(top)
    faint = lighter(colour, 0.3)
    centre = rng.uniform(0.3, 0.7)
    if kind == 0:
        c.grain(rng, top, darker(colour, 0.5), 0.4, (4, 60))
        ends = [points(centre + (x - centre) * 0.8, edge, centre + (x - centre) * 2.2, 1.05) for x in np.arange(-0.3, 1.4, 0.2)]
        board.line(ends, 0.005, darker(colour, 0.5), alpha=0.6)
    elif kind in (1, 3):
        bands = [
            points(centre + (x - centre) * 0.8, edge, centre + (x + 0.06 - centre) * 0.8, edge, centre + (x + 0.06 - centre) * 2, 1.05)
            for x in np.arange(-0.3, 1.4, 0.12)
        ]
        bands = [np.concatenate([b, points(centre + (b[0, 0] - centre) / 0.8 * 2, 1.05)]) for b in bands]
        board.fill(bands, faint, form=0, alpha=0.5)
        if kind == 1:
            y, step = edge, 0.022
            while y < 1:
                board.fill(rect(-0.1, y, 1.1, y + step), faint, form=0, alpha=0.4)
                y, step = y + 2 * step, step * 1.22
    else:
        c.grain(rng, top, darker(colour, 0.4), 0.15, (50, 20))
    c.fill(rect(-0.1, edge, 1.1, edge + 0.006), lighter(colour, 0.35), form=0, alpha=0.7)


def apart(choices: Sequence[Colour], start: int, ground: Colour) -> Colour:
    """The first of the choices, from the `start`-th on, that stands out from the ground; else the one that does most."""
    order = [choices[(start + i) % len(choices)] for i in range(len(choices))]
    gaps = [math.dist(colour, ground) for colour in order]
    return next((colour for colour, gap in zip(order, gaps, strict=True) if gap > 130), order[gaps.index(max(gaps))])


def paint_room(c: Canvas, rng: random.Random, p: Palette, n: int, edge: float, *, bright: bool, cloths: tuple[int, ...]) -> Colour:
    """A wall and a table (or floor) that differ from picture to picture; returns the wall's colour.

    Args:
        bright: a light wall and any table, else a wall of strong colour and a wooden table.
        cloths: kinds of table to take turns.
    """
    if bright:
        wall = [
            p.pale,
            lighter(p.mid, 0.6),
            lighter(p.accents[n % 3], 0.45),
            mix(p.mid, p.pale, 0.6),
            lighter(p.accents[(n + 1) % 3], 0.65),
        ][n % 5]
        table = [rgb("9a6a42"), lighter(p.accents[(n + 2) % 3], 0.2), rgb("c79a6b"), p.mid, rgb("d9cbb8")][n * 3 % 5]
    else:
        wall = [p.mid, p.deep, p.accents[n % 3], mix(p.mid, p.pale, 0.4), lighter(p.deep, 0.15)][n % 5]
        table = [rgb("9a6a42"), rgb("c79a6b"), rgb("7a5238"), rgb("d9b48a")][n % 4]
    paint_wall(c, rng, wall, n % 7)
    paint_table(c, rng, table, edge, cloths[n % len(cloths)])
    return wall
