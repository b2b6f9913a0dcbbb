"""Scenes in a room: cat, guitar. Each draws one picture and returns the colour cast of its light."""

from __future__ import annotations

import random

import numpy as np

from .brushes import SHADOW, WHITE, Canvas, Colour, darker, lighter, mirrored, mix, oval, points, rect, rgb, ribbon, smooth
from .places import (
    CASTS,
    Palette,
    apart,
    paint_room,
)


def cat(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    edge = rng.uniform(0.62, 0.76)
    wall = paint_room(c, rng, p, n + 2, edge, bright=True, cloths=(0,))
    furs = [rgb(code) for code in ("e08a3c", "5b5f6b", "2b2a33", "f1e9dd", "c9a27a", "8c6a54", "9aa3ad")]
    fur = apart(furs, n, wall)
    tummy = lighter(fur, 0.55) if n % 3 else fur
    if n % 3:  # on a cushion
        x, y = rng.uniform(0.45, 0.55), rng.uniform(0.86, 0.92)
        c.haze(oval(x, y + 0.02, 0.42, 0.06), SHADOW, 0.45, 0.03)
        c.fill(
            smooth(points(x - 0.4, y - 0.05, x, y - 0.08, x + 0.4, y - 0.05, x + 0.42, y + 0.03, x, y + 0.07, x - 0.42, y + 0.03)),
            p.accents[n % 3],
            form=0.22,
        )
        y -= 0.02
    else:
        x, y = rng.uniform(0.45, 0.55), rng.uniform(0.86, 0.92)
        c.haze(oval(x, y, 0.32, 0.05), SHADOW, 0.5, 0.03)
    here = c.at(x, y, rng.uniform(0.37, 0.42), 0, rng.random() < 0.5)
    loaf = n % 5 in (0, 3)
    _cat_body(here, rng, fur, tummy, loaf, n)
    head = here.at(rng.uniform(-0.08, 0.04) if not loaf else -0.42, -1.3 if not loaf else -0.8, 1.15, rng.uniform(-9, 9))
    _cat_head(head, rng, fur, tummy, p, n)
    if n % 3 == 1:
        _wool(c.at(rng.choice((0.14, 0.86)), rng.uniform(0.9, 0.94), 0.075), p.accents[(n + 1) % 3])
    return CASTS[n * 5 % 6]


def _wool(ball: Canvas, colour: Colour) -> None:
    ball.haze(oval(0, 0.9, 1, 0.25), SHADOW, 0.5, 0.15)
    ball.fill(oval(0, 0, 1), colour, form=0.3, ball=True)
    skin = ball.inside(oval(0, 0, 1))
    skin.line(
        [oval(dx, dy, r, 1.1, steps=32) for dx, dy, r in ((-0.5, 0, 0.9), (0.5, 0.2, 0.9), (0, 0.4, 0.6), (-0.2, 0.8, 1.0))],
        0.06,
        lighter(colour, 0.4),
        alpha=0.7,
    )


def _cat_body(here: Canvas, rng: random.Random, fur: Colour, tummy: Colour, loaf: bool, n: int) -> None:
    dark = darker(fur, 0.22)
    if loaf:
        tail = smooth(points(0.94, -0.2, 0.9, -0.02, 0.6, 0.03, 0.2, 0.0), closed=False)
        body = smooth(points(-0.85, -0.1, -0.75, -0.55, -0.2, -0.75, 0.5, -0.72, 0.92, -0.4, 0.92, -0.05, 0.5, 0.03, -0.6, 0.03))
        here.fill(body, fur, form=0.25, shadow=0.3)
        stripes = [points(x, -0.72, x + 0.03, -0.42) for x in (0.15, 0.35, 0.55)]
        paws = [(-0.62, -0.03), (-0.3, -0.01)]
    else:
        tail = smooth(points(0.4, -0.08, 0.85, 0.0, 1.0, -0.3, 0.85, -0.65, 0.98, -0.92), closed=False)
        here.fill([ribbon(tail, [0.2, 0.2, 0.17, 0.14]), oval(0.98, -0.92, 0.07)], dark, form=0.15)
        half = smooth(points(0, -1.25, 0.28, -1.1, 0.4, -0.75, 0.56, -0.35, 0.54, -0.05, 0.3, 0.03, 0, 0.03), closed=False)
        body = mirrored(half)
        here.fill(body, fur, form=0.25, shadow=0.3)
        here.fill(mirrored(smooth(points(0, -1.0, 0.2, -0.85, 0.22, -0.45, 0, -0.25), closed=False)), tummy, form=0.08)
        here.line([smooth(points(s * 0.18, -0.5, s * 0.2, -0.2, s * 0.16, -0.02), closed=False) for s in (-1, 1)], 0.02, dark)
        stripes = [points(s * (0.3 + 0.05 * i), -0.85 + 0.2 * i, s * (0.46 + 0.03 * i), -0.8 + 0.2 * i) for i in range(4) for s in (-1, 1)]
        paws = [(-0.16, 0.0), (0.16, 0.0)]
    if loaf:
        here.fill(ribbon(tail, [0.1, 0.16, 0.16, 0.1]), dark, form=0.15)
    if n % 3 != 1:
        here.inside(body).line(stripes, 0.05, dark)
    for px, py in paws:
        here.fill(oval(px, py, 0.16, 0.09), tummy, form=0.12)


def _cat_head(head: Canvas, rng: random.Random, fur: Colour, tummy: Colour, p: Palette, n: int) -> None:
    dark = darker(fur, 0.3)
    for s in (-1, 1):
        head.fill(smooth(points(s * 0.12, -0.3, s * 0.42, -0.66, s * 0.5, -0.08), steps=4), fur, form=0.15)
        head.fill(points(s * 0.22, -0.32, s * 0.38, -0.54, s * 0.43, -0.16), rgb("e8a39a"), form=0.1)
    head.fill(
        smooth(points(-0.52, 0.02, -0.36, -0.32, 0, -0.4, 0.36, -0.32, 0.52, 0.02, 0.32, 0.31, 0, 0.38, -0.32, 0.31)),
        fur,
        form=0.22,
        shadow=0.25,
    )
    if n % 3 != 1:
        head.line([points(x, -0.37, x * 0.8, -0.2) for x in (-0.12, 0, 0.12)], 0.04, dark)
    head.fill([oval(-0.11, 0.16, 0.15, 0.12), oval(0.11, 0.16, 0.15, 0.12)], tummy, form=0.06)
    iris = [rgb("8fbf4d"), rgb("f2b632"), rgb("63b7d6"), rgb("d98a2b")][n % 4]
    for s in (-1, 1):
        if n % 5 == 4:  # asleep
            head.line(oval(s * 0.22, -0.06, 0.1, 0.06, 10, 170, 12), 0.03, darker(fur, 0.6))
            continue
        head.fill(oval(s * 0.22, -0.04, 0.12, 0.105), darker(fur, 0.55), form=0)
        head.fill(oval(s * 0.22, -0.04, 0.105, 0.09), iris, form=0.15)
        head.fill(oval(s * 0.22, -0.04, 0.04, 0.085), rgb("16131a"), form=0)
        head.fill(oval(s * 0.22 + 0.03 * head.light[0], -0.08, 0.022, steps=12), WHITE, form=0)
    head.fill(smooth(points(-0.055, 0.06, 0.055, 0.06, 0, 0.12), steps=4), rgb("d9808a"), form=0.1)
    head.line([oval(s * 0.055, 0.13, 0.055, 0.05, 0, 180, 10) for s in (-1, 1)], 0.016, darker(fur, 0.6))
    head.line(
        [points(s * 0.2, 0.14 + 0.05 * i, s * 0.62, 0.06 + 0.1 * i) for i in range(3) for s in (-1, 1)],
        0.009,
        mix(WHITE, SHADOW, 0.2),
        alpha=0.8,
    )
    if n % 2:
        head.fill(rect(-0.3, 0.3, 0.3, 0.38, 0.04), p.accents[(n + 1) % 3], form=0.15)
        head.fill(oval(0, 0.4, 0.055), rgb("f2c14e"), form=0.3, ball=True)


def guitar(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    edge = rng.uniform(0.72, 0.84)
    wall = paint_room(c, rng, p, n + 1, edge, bright=False, cloths=(0, 2, 0))
    if n % 4 == 0:  # on a stage
        c.glow(0.5, 0.35, 0.6, lighter(p.accents[1], 0.4), 0.6)
    turn = [8, -14, 18, -28, 32, -6, 24, -20][n % 8] + rng.uniform(-5, 5)
    here = c.at(0.5 - turn * 0.0022 + rng.uniform(-0.04, 0.04), rng.uniform(0.68, 0.7), rng.uniform(0.31, 0.335), turn)
    c.haze(oval(0.5, 0.95, 0.24, 0.025), SHADOW, 0.5, 0.02)
    wood = apart([rgb("d9964f"), p.accents[0], rgb("7a3b22"), rgb("e9c48a"), rgb("b5692f"), p.accents[2], rgb("2c2a30")], n, wall)
    _guitar_body(here, p, wood, electric=n % 3 == 2)
    return CASTS[n * 5 % 6]


def _guitar_body(here: Canvas, p: Palette, wood: Colour, electric: bool) -> None:  # long: an outline, one coordinate a line
    neck, head = rgb("54341f"), darker(wood, 0.35)
    if electric:
        body = smooth(
            points(
                -0.16,
                -0.34,
                -0.3,
                -0.6,
                -0.48,
                -0.58,
                -0.5,
                -0.3,
                -0.4,
                0.02,
                -0.58,
                0.42,
                -0.4,
                0.8,
                0,
                0.86,
                0.42,
                0.78,
                0.62,
                0.42,
                0.42,
                0.06,
                0.46,
                -0.2,
                0.42,
                -0.42,
                0.28,
                -0.42,
                0.16,
                -0.26,
            )
        )
    else:
        body = mirrored(
            smooth(points(0, -0.62, 0.28, -0.6, 0.45, -0.38, 0.36, -0.08, 0.46, 0.12, 0.62, 0.45, 0.42, 0.8, 0, 0.88), closed=False)
        )
    here.fill(rect(-0.15, -1.98, 0.15, -1.62, 0.05), head, form=0.15, shadow=0.4)
    here.fill([oval(s * 0.2, y, 0.05, 0.04, steps=14) for s in (-1, 1) for y in (-1.9, -1.8, -1.7)], rgb("e8e2d2"), form=0.2)
    here.fill(body, darker(wood, 0.45), shadow=0.45)
    here.fill(body * (0.95, 0.965) + (0, 0.004), wood, form=0.28)
    top = here.inside(body)
    top.haze(oval(0.3 * here.light[0], -0.3, 0.2, 0.5), WHITE, 0.22, 0.1)
    if electric:
        guard = smooth(points(-0.32, -0.4, 0.1, -0.35, 0.3, 0.1, 0.35, 0.55, 0.1, 0.4, -0.3, 0.25))
        here.fill(guard, lighter(p.pale, 0.3), form=0.08)
        for y in (-0.1, 0.14, 0.34):
            here.fill(rect(-0.17, y, 0.17, y + 0.09, 0.03), rgb("26242b"), form=0.1)
        here.fill([oval(0.32, 0.5, 0.05), oval(0.38, 0.3, 0.05)], rgb("e5dccb"), form=0.25)
    else:
        here.fill(oval(0, -0.12, 0.235), darker(wood, 0.55), form=0)
        here.line(oval(0, -0.12, 0.215), 0.018, lighter(wood, 0.5))
        here.fill(oval(0, -0.12, 0.185), rgb("1d1412"), form=0.1)
    here.fill(points(-0.085, -1.65, 0.085, -1.65, 0.1, -0.28, -0.1, -0.28), neck, form=0.1)
    here.line([points(-0.09, y, 0.09, y) for y in np.geomspace(0.25, 1.35, 12) - 1.85], 0.012, rgb("cfc3a2"))
    here.fill([oval(0, y, 0.022, steps=12) for y in (-1.3, -1.1, -0.9)], rgb("efe7d4"), form=0)
    here.fill(rect(-0.28, 0.5, 0.28, 0.58, 0.03), rgb("2b1c15"), form=0.1)
    here.line([points(x * 0.8, -1.66, x, 0.54) for x in np.linspace(-0.07, 0.07, 6)], 0.006, rgb("f4efe2"), alpha=0.9)
