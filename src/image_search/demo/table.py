"""Scenes on a table: burger, flowers, teacup. Each draws one picture and returns the colour cast of its light."""

from __future__ import annotations

import math
import random

import numpy as np

from .brushes import SHADOW, WHITE, Canvas, Colour, darker, lighter, mirrored, mix, oval, points, rect, rgb, ribbon, smooth
from .places import (
    CASTS,
    Palette,
    apart,
    paint_room,
)


def burger(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    edge = rng.uniform(0.52, 0.66)
    paint_room(c, rng, p, n, edge, bright=False, cloths=(0, 0, 2))
    x, y, scale = rng.uniform(0.45, 0.55), rng.uniform(0.79, 0.85), rng.uniform(0.36, 0.43)
    if n % 3 == 0:
        _fries(c, rng, p, x + rng.choice((-0.3, 0.3)), y - 0.06)
    here = c.at(x, y, scale, rng.uniform(-5, 5), rng.random() < 0.5)
    here.haze(oval(0, 0.06, 1.2, 0.2), SHADOW, 0.55, 0.08)
    if n % 2:
        here.fill(oval(0, 0.06, 1.25, 0.24), lighter(p.pale, 0.4), form=0.14)
        here.fill(oval(0, 0.03, 0.95, 0.15), darker(p.pale, 0.06), form=0.1)
    else:
        here.fill(rect(-1.2, -0.03, 1.2, 0.2, 0.09), rgb("8a5a3a"), form=0.2)
        here.line(
            [smooth(points(-1.1, v, -0.3, v + 0.03, 0.4, v - 0.02, 1.1, v), closed=False) for v in (0.04, 0.12)], 0.012, rgb("6d432b")
        )
    bun = rng.choice([rgb("d98f3f"), rgb("c6772e"), rgb("e8b566"), rgb("a85f2c"), rgb("3a3034"), rgb("b5484f")])
    _fillings(here, rng, bun, 1 + n % 2 + (n % 5 == 2))
    return CASTS[n * 5 % 6]


def _fillings(here: Canvas, rng: random.Random, bun: Colour, patties: int) -> None:
    """Bottom bun, then everything upwards to the top bun; `here` has its origin at the plate."""
    here.fill(rect(-0.84, -0.24, 0.84, 0.05, 0.13), bun, form=0.2)
    y = -0.15
    for _ in range(patties):
        here.fill(rect(-0.9, y - 0.19, 0.9, y + 0.01, 0.09), rgb("5c3524"), form=0.25)
        for _ in range(14):
            here.fill(oval(rng.uniform(-0.82, 0.82), y - rng.uniform(0.03, 0.15), 0.03, 0.015, steps=12), rgb("3c2117"), form=0, alpha=0.6)
        y -= 0.17
        drip = rng.uniform(-0.5, 0.2)
        cheese = points(
            -0.92, y - 0.05, 0.92, y - 0.05, 0.9, y + 0.01, drip + 0.6, y + 0.02, drip + 0.3, y + 0.15, drip, y + 0.02, -0.9, y + 0.01
        )
        here.fill(cheese, rgb("f6b73c"), rgb("eb9a26"))
        y -= 0.05
    for tx in (-0.5, 0.05, 0.55):
        here.fill(rect(tx - 0.38, y - 0.08, tx + 0.3, y + 0.01, 0.04), rgb("d6402f"), form=0.15)
    y -= 0.07
    wave = np.linspace(-1, 1, 25)
    frill = np.stack([wave, y + 0.02 + 0.075 * np.sin(np.arange(25) * 2.2) + 0.03], axis=1) * (1.04, 1)
    here.fill(smooth(np.concatenate([frill, points(0.9, y - 0.1, -0.9, y - 0.1)]), steps=4), rgb("7fb544"), rgb("4f8f2f"))
    y -= 0.06
    top = rng.uniform(0.5, 0.66)
    dome = np.concatenate(
        [
            smooth(
                points(-0.88, y, -0.85, y - top * 0.5, -0.5, y - top * 0.92, 0, y - top, 0.5, y - top * 0.92, 0.85, y - top * 0.5, 0.88, y),
                closed=False,
            )
        ]
    )
    here.fill(
        np.concatenate([dome, smooth(points(0.88, y, 0.8, y + 0.05, -0.8, y + 0.05, -0.88, y), closed=False)]), bun, form=0.38, ball=True
    )
    for _ in range(26):
        sx = rng.uniform(-0.68, 0.68)
        sy = y - top * (0.94 - 0.55 * (sx / 0.72) ** 2) * rng.uniform(0.55, 0.98)
        here.at(sx, sy, 1, rng.uniform(-50, 50)).fill(oval(0, 0, 0.036, 0.02, steps=14), rgb("fbecc9"), form=0.1)
    gloss = here.light[0] * 0.4
    here.haze(oval(gloss, y - top * 0.75, 0.2, 0.07), WHITE, 0.35, 0.03)


def _fries(c: Canvas, rng: random.Random, p: Palette, x: float, y: float) -> None:
    here = c.at(x, y, 0.2)
    here.haze(oval(0, 0.02, 0.6, 0.12), SHADOW, 0.5, 0.06)
    for i in range(9):
        fx = -0.36 + i * 0.09
        here.at(fx, -0.5, 1, (fx * 40) + rng.uniform(-6, 6)).fill(
            rect(-0.05, -rng.uniform(0.35, 0.65), 0.05, 0.3), rgb("f4c65a"), form=0.18
        )
    here.fill(points(-0.5, -0.55, -0.2, -0.42, 0.2, -0.42, 0.5, -0.55, 0.36, 0, -0.36, 0), p.accents[0], form=0.2)


def flowers(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    edge = rng.uniform(0.7, 0.8)
    wall = paint_room(c, rng, p, n + 4, edge, bright=True, cloths=(0, 1, 2))
    here = c.at(rng.uniform(0.46, 0.54), rng.uniform(0.92, 0.96), rng.uniform(0.44, 0.48), rng.uniform(-2, 2))
    here.haze(oval(-here.light[0] * 0.3, 0.0, 0.6, 0.08), SHADOW, 0.5, 0.06)
    rim = (0.17, 0.22, 0.13, 0.26)[n % 4]
    count = 6 + n % 3
    heads = []
    for i in range(count):
        lean = (i - (count - 1) / 2) / count * 2.1
        heads.append((lean * 0.75 + rng.uniform(-0.06, 0.06), -1.62 + 0.5 * lean * lean + rng.uniform(-0.14, 0.14) + 0.16 * (i % 2), lean))
    green = rng.choice([rgb("4d8a3f"), rgb("3c6e52"), rgb("7ba05b")])
    for x, y, lean in heads:
        here.line(smooth(points(lean * 0.08, -0.8, x * 0.5, -1.1, x, y), closed=False), 0.03, darker(green, 0.15))
        for side in (-1, 1):
            leaf = here.at(x * 0.55 + side * 0.05, -1.12 + rng.uniform(-0.1, 0.1), 1, math.degrees(lean) * 0.5 + side * rng.uniform(35, 70))
            leaf.fill(smooth(points(0, 0, 0.09, -0.16, 0, -0.4, -0.09, -0.16)), mix(green, WHITE, rng.uniform(0, 0.15)), form=0.2)
    _vase(here, p, n, rim, wall)
    for i, (x, y, lean) in enumerate(heads):
        bloom = here.at(x, y, rng.uniform(0.28, 0.35), math.degrees(lean) * 0.6 + rng.uniform(-10, 10))
        _bloom(
            bloom,
            apart([*p.accents, rgb("fdf6ee")], i + n, wall) if i % 2 else p.accents[(i + n) % 3],
            (n + (i % 2 if n % 3 == 2 else 0)) % 3,
        )
    return CASTS[n * 5 % 6]


def _vase(here: Canvas, p: Palette, n: int, rim: float, wall: Colour) -> None:
    profiles = [
        points(rim, -0.85, rim * 0.7, -0.7, 0.36, -0.4, 0.32, -0.12, 0.18, 0.02),
        points(rim, -0.85, rim * 0.9, -0.6, rim * 0.8, -0.3, rim * 0.75, 0.02),
        points(rim, -0.88, rim, -0.66, 0.3, -0.42, 0.4, -0.18, 0.22, 0.02),
        points(rim, -0.8, rim * 1.05, -0.5, rim * 0.85, -0.15, rim * 0.6, 0.02),
    ]
    outline = mirrored(smooth(profiles[n % 4], closed=False))
    colour = apart([p.pale, p.deep, p.accents[1], lighter(p.mid, 0.2), p.accents[2]], n, wall)
    here.fill(outline, colour, form=0.3, shadow=0.35)
    skin, mark = here.inside(outline), lighter(colour, 0.4) if sum(colour) < 380 else darker(colour, 0.3)
    if n % 3 == 0:
        skin.fill([rect(-1, -0.56, 1, -0.5), rect(-1, -0.46, 1, -0.43), rect(-1, -0.2, 1, -0.14)], mark, form=0)
    elif n % 3 == 1:
        zigzag = np.stack([np.linspace(-0.5, 0.5, 15), -0.34 + 0.06 * (np.arange(15) % 2)], axis=1)
        skin.line([zigzag, zigzag + points(0, 0.1)], 0.02, mark)
    skin.haze(rect(here.light[0] * 0.2 - 0.04, -0.7, here.light[0] * 0.2 + 0.04, -0.1), WHITE, 0.4, 0.03)
    here.fill(oval(0, outline[0, 1] + 0.0, rim, 0.04), darker(colour, 0.45), form=0)


def _bloom(b: Canvas, colour: Colour, kind: int) -> None:
    if kind == 0:  # daisy
        for ring, (count, reach) in enumerate(((12, 1.0), (9, 0.72))):
            for i in range(count):
                petal = b.at(0, 0, reach, 360 / count * i + 15 * ring)
                petal.fill(
                    smooth(points(0, 0, 0.2, -0.55, 0.1, -0.98, -0.1, -0.98, -0.2, -0.55), steps=4),
                    mix(colour, WHITE, 0.15 * ring),
                    form=0.14,
                )
        b.fill(oval(0, 0, 0.3), rgb("e9a92b") if sum(colour) < 640 else rgb("d98324"), form=0.3, ball=True)
    elif kind == 1:  # tulip
        b.fill(smooth(points(-0.5, -0.75, -0.05, -0.3, 0.5, -0.75, 0.52, -0.05, 0, 0.42, -0.52, -0.05)), darker(colour, 0.18), form=0.15)
        b.fill(smooth(points(0, -0.85, 0.34, -0.3, 0.26, 0.25, 0, 0.42, -0.26, 0.25, -0.34, -0.3)), colour, form=0.22)
        for s in (-1, 1):
            b.fill(smooth(points(s * 0.52, -0.72, s * 0.6, -0.1, s * 0.3, 0.36, 0, 0.42, s * 0.2, 0)), mix(colour, WHITE, 0.1), form=0.2)
    else:  # rose
        b.fill(oval(0, 0, 0.72), darker(colour, 0.12), form=0.25, ball=True)
        for i in range(14):
            r, turn = 0.62 - 0.042 * i, i * 137.5
            b.at(0, 0, 1, turn).fill(
                oval(0, -r * 0.45, r * 0.75, r * 0.55, steps=24), mix(colour, WHITE if i % 2 else SHADOW, 0.1), form=0.2
            )


def teacup(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    edge = rng.uniform(0.38, 0.56)
    wall = paint_room(c, rng, p, n + 3, edge, bright=True, cloths=(1, 3, 2))
    x, y = rng.uniform(0.46, 0.54), rng.uniform(0.78, 0.84)
    here = c.at(x, y, rng.uniform(0.37, 0.41), rng.uniform(-2, 2), n % 2 == 1)
    china = apart([lighter(p.pale, 0.35), p.accents[0], lighter(p.mid, 0.25), p.accents[2], rgb("fbf7f0"), p.deep], n, wall)
    trim = apart([p.accents[1], p.pale, p.accents[0], p.deep, p.mid, p.accents[2]], n, china)
    here.haze(oval(-here.light[0] * 0.15, 0.14, 1.3, 0.3), SHADOW, 0.5, 0.08)
    here.fill(oval(0, 0.06, 1.2, 0.3), darker(china, 0.1), form=0.12)
    here.fill(oval(0, 0.02, 1.2, 0.3), lighter(china, 0.12), form=0.12)
    here.line(oval(0, 0.02, 1.12, 0.27), 0.02, trim)
    here.haze(oval(-here.light[0] * 0.1, 0.03, 0.62, 0.15), SHADOW, 0.4, 0.05)
    if n % 3 == 1:  # a spoon
        spoon = here.at(-0.78, 0.12, 1, -16)
        spoon.line(points(-0.4, 0, 0.4, 0.02), 0.045, rgb("cfd2d6"), form=0.2)
        spoon.fill(oval(-0.5, 0, 0.17, 0.08), rgb("dfe2e6"), form=0.3)
    elif n % 3 == 2:  # a biscuit
        here.fill(oval(-0.88, 0.02, 0.24, 0.1), rgb("a8692f"), form=0.15)
        here.fill(oval(-0.88, -0.02, 0.24, 0.1), rgb("d79b55"), form=0.15)
        here.fill(
            [oval(-0.88 + dx, -0.02 + dy, 0.03, 0.016, steps=10) for dx, dy in ((-0.1, 0), (0.05, 0.03), (0.1, -0.03), (-0.02, -0.04))],
            rgb("5a3520"),
            form=0,
        )
    tall = (0.9, 1.08, 0.8)[n % 3]
    _cup(here, rng, china, trim, tall, n)
    for i in range(3):
        start = -0.3 + 0.3 * i
        wisp = smooth(
            points(start, -tall - 0.05, start + 0.14, -tall - 0.3, start - 0.1, -tall - 0.55, start + 0.1, -tall - 0.85), closed=False
        )
        here.haze(ribbon(wisp, [0.05, 0.13, 0.1, 0.02]), WHITE, 0.42, 0.035)
    return CASTS[n * 5 % 6]


def _cup(here: Canvas, rng: random.Random, china: Colour, trim: Colour, tall: float, n: int) -> None:
    here.line(
        smooth(points(0.62, -tall * 0.8, 0.95, -tall * 0.88, 1.08, -tall * 0.6, 0.9, -tall * 0.32, 0.55, -tall * 0.24), closed=False),
        0.12,
        china,
        shadow=0.25,
        form=0.15,
    )
    foot = (0.36, 0.5, 0.3)[n % 3]
    side = smooth(points(0.74, -tall, 0.71, -tall * 0.7, 0.6, -tall * 0.32, foot, -0.04), closed=False)
    bowl = np.concatenate([oval(0, -tall, 0.74, 0.2, 180, 360, 24), side, oval(0, -0.04, foot, 0.08, 0, 180, 16), (side * (-1, 1))[::-1]])
    here.fill(bowl, china, form=0.26, shadow=0.3)
    skin = here.inside(bowl)
    if n % 4 == 0:
        skin.line([oval(0, y, 0.85, 0.22, 0, 180) for y in (-tall * 0.72, -tall * 0.34)], 0.05, trim)
    elif n % 4 == 1:
        skin.fill(
            [oval(x, -tall * 0.42 + 0.16 - 0.3 * x * x + dy, 0.06) for x in np.linspace(-0.6, 0.6, 6) for dy in (-0.16, 0.16)],
            trim,
            form=0.05,
        )
    elif n % 4 == 2:
        for i in range(5):
            blossom = skin.at(-0.5 + 0.25 * i, -tall * 0.42 + (0.12 if i % 2 else -0.02), 0.12, rng.uniform(0, 60))
            blossom.fill([oval(0.6 * math.cos(a), 0.6 * math.sin(a), 0.5, steps=20) for a in np.linspace(0, 5.03, 5)], trim, form=0.05)
            blossom.fill(oval(0, 0, 0.35, steps=16), china, form=0)
    else:
        skin.fill([rect(x, -2, x + 0.07, 1) for x in np.arange(-0.8, 0.8, 0.2)], trim, form=0.05)
    skin.haze(oval(here.light[0] * 0.4, -tall * 0.5, 0.08, tall * 0.3), WHITE, 0.5, 0.04)
    here.fill(oval(0, -tall, 0.74, 0.2), lighter(china, 0.3), form=0.1)
    tea = [rgb("a5591f"), rgb("5a3319"), rgb("8a9a3a"), rgb("c98b54")][rng.randrange(4)]
    here.fill(oval(0, -tall + 0.025, 0.67, 0.16), darker(china, 0.3), form=0.1)
    here.fill(oval(0, -tall + 0.045, 0.63, 0.135), tea, form=0.25)
    here.line(oval(0, -tall + 0.05, 0.45, 0.08, 190, 260, 14), 0.018, lighter(tea, 0.5), alpha=0.8)
