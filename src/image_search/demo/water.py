"""Scenes at and under water: fish, lighthouse, sailboat. Each draws one picture and returns the colour cast of its light."""

from __future__ import annotations

import random

import numpy as np

from .brushes import SHADOW, WHITE, Canvas, Colour, Points, darker, lighter, mix, oval, points, rect, rgb, ribbon, smooth
from .places import (
    LEAVES,
    SKIES,
    Palette,
    apart,
    paint_gull,
    paint_ripples,
    paint_sea,
    paint_sky,
)


def fish(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    waters = ("0f5f7a", "1c7f86", "2a6f9e", "39467e", "2f7d62", "3a8fb0", "5a5a96")
    deep = mix(rgb(waters[n % 7]), p.mid, 0.2)
    c.fill(rect(0, 0, 1, 1), lighter(deep, 0.45), darker(deep, 0.35))
    for _ in range(5):
        x, w, slant = rng.uniform(-0.1, 1.1), rng.uniform(0.04, 0.12), -c.light[0] * 0.35
        c.haze(points(x, -0.1, x + w, -0.1, x + w * 1.8 + slant, 0.9, x + slant, 0.9), WHITE, 0.16, 0.02)
    sand = mix(lighter(deep, 0.3), rgb("e6d3a3"), rng.uniform(0.2, 0.7))
    for i in range(2):
        level = 0.86 + 0.06 * i + rng.uniform(-0.02, 0.02)
        dune = smooth(points(-0.1, level, 0.25, level - 0.04, 0.6, level + 0.02, 1.1, level - 0.03), closed=False)
        c.fill(np.concatenate([dune, points(1.1, 1.1, -0.1, 1.1)]), mix(sand, deep, 0.4 - 0.3 * i), darker(sand, 0.2))
    for _ in range(rng.randint(3, 6)):
        _weed(c, rng, rng.choice((rng.uniform(0, 0.3), rng.uniform(0.7, 1))), rng.choice([*LEAVES, *p.accents]))
    if n % 3 == 2:  # a small companion
        friend = c.at(rng.uniform(0.2, 0.8), rng.choice((0.16, 0.78)), rng.uniform(0.1, 0.14), rng.uniform(-10, 10), rng.random() < 0.5)
        _one_fish(friend, rng, p, n + 2, deep)
    flip = rng.random() < 0.5
    here = c.at(0.52 if flip else 0.48, rng.uniform(0.42, 0.5), rng.uniform(0.35, 0.4), rng.uniform(-14, 14), flip)
    here = here.at(0.1, 0)
    _one_fish(here, rng, p, n, deep)
    for _ in range(9):
        x, y, r = rng.uniform(0.05, 0.95), rng.uniform(0.04, 0.6), rng.uniform(0.006, 0.018)
        c.line(oval(x, y, r, steps=24), 0.003, WHITE, alpha=0.6)
        c.fill(oval(x + r * 0.3 * c.light[0], y - r * 0.35, r * 0.25, steps=10), WHITE, form=0, alpha=0.8)
    return ((1, 1, 1), (0.93, 1.0, 1.04), (1.04, 0.98, 0.9))[n % 3]


def _weed(c: Canvas, rng: random.Random, x: float, colour: Colour) -> None:
    height, sway = rng.uniform(0.15, 0.42), rng.uniform(-0.05, 0.05)
    spine = smooth(
        points(x, 0.98, x + sway, 0.98 - height / 3, x - sway, 0.98 - height * 0.66, x + sway * 1.5, 0.98 - height), closed=False
    )
    c.fill(ribbon(spine, [0.02, 0.03, 0.022, 0.002]), colour, form=0.25, alpha=0.85)


def _one_fish(here: Canvas, rng: random.Random, p: Palette, n: int, water: Colour) -> None:
    """A fish that looks to the right, about 2 units long."""
    hues = [*p.accents, p.pale, rgb("f08a4b"), rgb("f2c14e")]
    colour = apart(hues, n * 2 % 5, lighter(water, 0.2))
    second, third = apart(hues, n * 2 % 5 + 2, colour), apart([p.pale, p.deep, *p.accents], n, colour)
    tall = (0.52, 0.4, 0.66)[n % 3]
    fin = darker(second, 0.05)
    tail = points(-0.72, 0, -1.0, -0.3, -1.28, -0.52, -1.16, 0, -1.28, 0.52, -1.0, 0.3)
    here.fill(smooth(tail), fin, form=0.2, shadow=0.2)
    here.line([points(-0.85, 0.1 * k, -1.18, 0.36 * k) for k in (-1, -0.5, 0, 0.5, 1)], 0.012, darker(fin, 0.35), alpha=0.6)
    here.fill(smooth(points(-0.5, -tall * 0.6, -0.42, -tall - 0.24, 0.1, -tall - 0.34, 0.5, -tall * 0.75, 0, -tall * 0.6)), fin, form=0.2)
    here.fill(smooth(points(-0.5, tall * 0.6, -0.5, tall + 0.16, -0.1, tall + 0.2, 0.1, tall * 0.8)), fin, form=0.2)
    body = smooth(
        points(
            -0.85,
            -0.1,
            -0.45,
            -tall * 0.72,
            0.1,
            -tall,
            0.62,
            -tall * 0.7,
            1.0,
            0.04,
            0.62,
            tall * 0.72,
            0.1,
            tall,
            -0.45,
            tall * 0.72,
            -0.85,
            0.1,
        )
    )
    here.fill(body, colour, form=0.3, shadow=0.3)
    skin = here.inside(body)
    skin.fill(smooth(points(-0.9, 0.25, 0, tall * 0.5, 1.0, 0.2, 0.6, 1, -0.6, 1)), lighter(colour, 0.45), form=0.1, alpha=0.75)
    if n % 4 in (0, 3):
        for x in (0.26, -0.2, -0.62) if n % 4 == 0 else (0.3, 0.08, -0.14, -0.36, -0.58):
            band = smooth(points(x, -1, x + 0.07, 0, x, 1), closed=False)
            skin.fill(ribbon(band, [0.2 if n % 4 == 0 else 0.09] * 3), third, form=0.1)
    elif n % 4 == 1:
        scales = [oval(-0.7 + 0.15 * i + 0.075 * (j % 2), -0.6 + 0.11 * j, 0.085, 0.085, -70, 70, 8) for i in range(8) for j in range(12)]
        skin.line(scales, 0.014, darker(colour, 0.35), alpha=0.7)
    else:
        spots = [oval(rng.uniform(-0.7, 0.4), rng.uniform(-tall, tall) * 0.7, rng.uniform(0.04, 0.09), steps=20) for _ in range(12)]
        skin.fill(spots, third, form=0.1)
    skin.haze(oval(0, -tall * 0.62, 0.5, 0.08), WHITE, 0.4, 0.05)
    here.line(oval(0.42, 0, 0.16, tall * 0.62, -75, 75, 20), 0.025, darker(colour, 0.4), alpha=0.8)
    here.fill(smooth(points(0.25, 0.08, -0.05, 0.02, -0.2, 0.2, -0.02, 0.3)), fin, form=0.2, shadow=0.2)
    here.fill(oval(0.66, -0.12, 0.12), WHITE, form=0.06)
    here.fill(oval(0.68, -0.12, 0.075), rgb("17151d"), form=0)
    here.fill(oval(0.7, -0.155, 0.026, steps=12), WHITE, form=0)
    here.line(smooth(points(0.98, 0.12, 0.9, 0.16, 0.84, 0.15), closed=False), 0.022, darker(colour, 0.55))


def lighthouse(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    sky = SKIES[(n * 3 + 1) % len(SKIES)]
    paint_sky(c, rng, sky, clouds=rng.randint(2, 4))
    horizon = rng.uniform(0.66, 0.72)
    paint_sea(c, rng, sky, [rgb("2f6f8f"), p.mid, rgb("3a8f8a"), p.deep, rgb("6d8fa3")][n % 5], horizon)
    flip = rng.random() < 0.5
    x, base = 0.5 + (-1 if flip else 1) * rng.uniform(0.0, 0.08), rng.uniform(0.78, 0.82)
    rock = mix([rgb("6b6259"), rgb("8a7a68"), rgb("7d6a5c"), p.deep][n % 4], sky.low, 0.12)
    land = c.at(x, base, 1, 0, flip)
    cliff = smooth(points(-0.42, -0.02, -0.2, -0.05, 0.2, -0.06, 0.75, -0.1, 0.9, 0.4, -0.5, 0.4, -0.44, 0.14), steps=4)
    land.fill(cliff, rock, darker(rock, 0.4))
    land.grain(rng, cliff, darker(rock, 0.6), 0.35, (24, 8))
    land.line(
        [points(v, 0.05, v + 0.03, 0.12, v + 0.01, 0.3) for v in (-0.36, -0.24, -0.06, 0.1, 0.27, 0.44)],
        0.006,
        darker(rock, 0.5),
        alpha=0.5,
    )
    turf = mix(LEAVES[n % 3], p.mid, 0.2)
    land.fill(
        smooth(points(-0.43, -0.02, -0.2, -0.05, 0.2, -0.06, 0.75, -0.1, 0.9, 0.05, 0.4, 0.06, 0.1, 0.04, -0.2, 0.06, -0.4, 0.03), steps=4),
        turf,
        darker(turf, 0.2),
    )
    foam = [oval(rng.uniform(-0.56, -0.44), rng.uniform(0.1, 0.22), rng.uniform(0.02, 0.06), 0.007) for _ in range(10)]
    land.fill(foam, WHITE, form=0, alpha=0.6)
    base += 0.03
    tower = c.at(x, base - 0.05, (base - 0.09) / 3.12 * rng.uniform(0.9, 1), rng.uniform(-1.5, 1.5))
    if sky.night or n % 3 == 0:
        side = 1 if flip else -1
        for s, a in ((side, 0.55), (-side, 0.3)):
            tower.haze(points(0, -2.45, s * 4, -3.1, s * 4, -2.0), rgb("fff1b8"), a, 0.06)
    if n % 3 != 1:
        _cottage(c.at(x + rng.choice((-0.2, 0.18)), base - 0.02, 0.09), p)
    _tower(tower, p, n)
    if sky.night or n % 3 == 0:
        tower.glow(0, -2.45, 1.0, rgb("fff1b8"), 0.9)
    for _ in range(rng.randint(0, 4)):
        paint_gull(c, rng, rng.random(), rng.uniform(0.1, 0.5))
    return sky.cast


def _cottage(here: Canvas, p: Palette) -> None:
    here.fill(rect(-0.9, -0.7, 0.9, 0.1), p.pale, form=0.15)
    here.fill(points(-1.05, -0.65, -0.7, -1.25, 0.7, -1.25, 1.05, -0.65), p.accents[0], form=0.2)
    here.fill([rect(-0.6, -0.45, -0.3, -0.12), rect(0.3, -0.45, 0.6, -0.12)], p.deep, form=0)


def _tower(here: Canvas, p: Palette, n: int) -> None:
    """Foot at (0, 0), lamp at about y = -2.45."""
    wall = [rgb("f8f4ea"), p.pale, rgb("f8f4ea"), lighter(p.accents[1], 0.35)][n % 4]
    band = [p.accents[0], p.deep, p.accents[2], rgb("c8352e")][n % 4]
    shaft = points(-0.46, 0.12, -0.27, -2.1, 0.27, -2.1, 0.46, 0.12)
    here.fill(shaft, wall, form=0.12, shadow=0.3)
    skin = here.inside(shaft)
    if n % 3 == 0:
        for y in np.arange(-2.1, 0.2, 0.72):
            skin.fill(np.concatenate([oval(0, y, 0.6, 0.07, 180, 0, 16), oval(0, y + 0.36, 0.6, 0.07, 0, 180, 16)]), band, form=0.1)
    elif n % 3 == 1:
        skin.fill([points(-0.6, y, 0.6, y - 0.45, 0.6, y - 0.1, -0.6, y + 0.35) for y in np.arange(-2.1, 0.8, 0.75)], band, form=0.1)
    else:
        skin.fill(rect(-1, -1.1, 1, 0.3), band, form=0.1)
    skin.haze(
        points(-here.light[0] * 0.5, 0.2, -here.light[0] * 0.5, -2.2, -here.light[0] * 0.12, -2.2, -here.light[0] * 0.16, 0.2),
        SHADOW,
        0.4,
        0.06,
    )
    here.fill([rect(-0.06, y, 0.06, y + 0.2, 0.04) for y in (-1.75, -1.15, -0.6)], rgb("33394a"), form=0.1)
    here.fill(rect(-0.11, -0.25, 0.11, 0.12, 0.06), darker(band, 0.3), form=0.1)
    here.fill(rect(-0.4, -2.2, 0.4, -2.1, 0.03), rgb("3a3d48"), form=0.1)
    here.line([points(-0.39, -2.34, 0.39, -2.34), *(points(x, -2.34, x, -2.18) for x in np.linspace(-0.38, 0.38, 8))], 0.02, rgb("3a3d48"))
    here.fill(rect(-0.21, -2.66, 0.21, -2.2), rgb("ffe9a3"), form=0.1)
    here.line([points(x, -2.66, x, -2.2) for x in (-0.21, -0.07, 0.07, 0.21)], 0.025, rgb("3a3d48"))
    here.fill(np.concatenate([oval(0, -2.64, 0.29, 0.3, 180, 360, 24)]), band, form=0.25)
    here.line(points(0, -2.94, 0, -3.08), 0.03, rgb("3a3d48"))


def sailboat(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    sky = SKIES[(0, 7, 1, 4, 2, 3, 6)[n % 7]]
    paint_sky(c, rng, sky, clouds=rng.randint(1, 4))
    horizon = rng.uniform(0.6, 0.72)
    if n % 2:
        far = mix(p.deep, sky.low, 0.55)
        c.fill(smooth(points(-0.1, horizon + 0.02, 0.0, horizon - 0.1, 0.2, horizon - 0.06, 0.42, horizon + 0.02)), far, form=0.08)
        c.fill(
            smooth(points(0.7, horizon + 0.02, 0.86, horizon - 0.07, 1.1, horizon - 0.12, 1.2, horizon + 0.05)),
            mix(far, sky.low, 0.3),
            form=0.08,
        )
    water = [p.mid, rgb("2f6f8f"), p.deep, rgb("3a9a94"), mix(p.accents[2], p.deep, 0.4)][n % 5]
    c.fill(rect(-0.1, horizon, 1.1, 1.1), mix(water, sky.low, 0.5), darker(water, 0.18))
    if n % 3 == 0:
        _boat(c.at(rng.choice((0.12, 0.88)), horizon + 0.005, 0.07, 0, rng.random() < 0.5), p, n + 1)
    foot = horizon + rng.uniform(0.05, 0.08)
    scale = (foot - 0.06) / 2.1 * rng.uniform(0.92, 1)
    for _ in range(rng.randint(1, 4)):
        paint_gull(c, rng, rng.random(), rng.uniform(0.1, 0.45))
    here = c.at(rng.uniform(0.44, 0.56), foot, scale, rng.uniform(-8, 8), rng.random() < 0.5)
    _boat(here, p, n)
    c.reflect(foot + 0.02, 0.5, rng)
    paint_ripples(c, rng, lighter(mix(water, sky.low, 0.5), 0.35), horizon, 40)
    here.haze(oval(0, 0.1, 0.9, 0.04), WHITE, 0.5, 0.03)
    return sky.cast


def _boat(here: Canvas, p: Palette, n: int) -> None:
    """Sailing to the right; the water line is y = 0, the mast about 2 units."""
    sails = [
        (p.pale, p.pale),
        (p.accents[0], p.pale),
        (rgb("fbf8f0"), p.accents[1]),
        (p.accents[1], p.accents[0]),
        (rgb("fbf8f0"), rgb("fbf8f0")),
    ][n % 5]
    hull = [p.deep, rgb("fbf8f0"), p.accents[0], rgb("8a5a34"), p.accents[2]][(n * 2 + 1) % 5]
    wood = rgb("7a4e2e")
    if n % 3 == 2:  # a second, shorter mast
        here.line(points(-0.62, -0.2, -0.62, -1.3), 0.04, wood)
        here.fill(smooth(points(-0.66, -1.25, -0.9, -0.7, -1.12, -0.34, -0.66, -0.32), steps=4), sails[1], form=0.2, shadow=0.2)
    here.line(points(0, -0.2, 0, -2.1), 0.05, wood)
    main = _sail(-0.05, -2.0, -0.05, -0.42, (-0.98 if n % 3 != 2 else -0.55), -0.38, -0.12)
    jib = _sail(0.05, -1.85, 0.1, -0.4, 0.92, -0.3, 0.12)
    here.fill(main, sails[0], form=0.2, shadow=0.25)
    cloth = here.inside(main)
    if n % 2:
        cloth.fill([rect(-1.2, y, 0.2, y + 0.14) for y in (-1.4, -0.9)], p.accents[(n + 2) % 3], form=0.1)
    else:
        cloth.line([points(-1.2, y, 0.2, y - 0.06) for y in (-1.5, -1.1, -0.7)], 0.012, darker(sails[0], 0.3), alpha=0.7)
    here.fill(jib, sails[1], form=0.2, shadow=0.25)
    here.line(points(0.0, -0.36, -1.0, -0.34), 0.04, wood)
    here.fill(points(0, -2.08, -0.26, -2.02, 0, -1.95), p.accents[0], form=0.1)
    outline = smooth(points(-1.08, -0.28, 0, -0.22, 1.2, -0.34, 0.86, 0.02, 0.6, 0.12, -0.7, 0.12, -0.98, 0.02), steps=6)
    here.fill(outline, hull, form=0.2, shadow=0.2)
    here.inside(outline).fill(rect(-1.3, -0.03, 1.3, 0.2), darker(hull, 0.4) if sum(hull) > 380 else p.accents[1], form=0.1)
    here.line(smooth(points(-1.06, -0.27, 0, -0.21, 1.18, -0.33), closed=False), 0.04, lighter(wood, 0.3))
    here.fill(rect(-0.6, -0.4, 0.2, -0.22, 0.06), lighter(p.pale, 0.3), form=0.12)
    here.fill([rect(x, -0.35, x + 0.12, -0.28, 0.02) for x in (-0.5, -0.26, -0.02)], p.deep, form=0)


def _sail(x0: float, y0: float, x1: float, y1: float, x2: float, y2: float, bulge: float) -> Points:
    """A triangle from the mast's top and foot to the outer corner, its outer edge blown outwards."""
    edge = smooth(points(x2, y2, (x0 + x2) / 2 - bulge * -1.2, (y0 + y2) / 2, x0, y0), closed=False)
    return np.concatenate([points(x0, y0, x1, y1), edge])
