"""Scenes under the sky: balloon, bicycle, house, umbrella. Each draws one picture and returns the colour cast of its light."""

from __future__ import annotations

import math
import random

import numpy as np

from .brushes import SHADOW, WHITE, Canvas, Colour, Points, darker, lighter, mirrored, mix, oval, points, rect, rgb, smooth
from .places import (
    LEAVES,
    SKIES,
    Palette,
    Sky,
    apart,
    paint_cloud,
    paint_country,
    paint_sea,
    paint_sky,
    paint_table,
    paint_tree,
    paint_wall,
)


def balloon(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    sky = paint_country(c, rng, p, n, rng.uniform(0.84, 0.92), (0, 1, 7, 4, 0), green=True)
    for x, y in rng.sample(((0.12, 0.25), (0.1, 0.6), (0.88, 0.3), (0.9, 0.62), (0.25, 0.78)), 2 + n % 2):
        small = c.at(x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.06, 0.06), rng.uniform(0.04, 0.08))
        _envelope(small, rng, p, rng.randrange(4), sky)
    here = c.at(rng.uniform(0.45, 0.55), rng.uniform(0.38, 0.4), rng.uniform(0.3, 0.325), rng.uniform(-6, 6))
    _envelope(here, rng, p, n, sky)
    paint_cloud(c, rng, rng.random(), rng.uniform(0.72, 0.82), rng.uniform(0.06, 0.1), sky.cloud, 0.6)
    return sky.cast


def _envelope(here: Canvas, rng: random.Random, p: Palette, n: int, sky: Sky) -> None:
    """Envelope about (0, 0), radius 1; basket below."""
    half = smooth(points(0, -1.05, 0.55, -0.92, 0.95, -0.45, 1.0, 0.05, 0.78, 0.58, 0.4, 1.0, 0.22, 1.2), closed=False)
    outline = mirrored(half)
    hues = [*p.accents, p.pale, p.deep]
    first = apart(hues, n, mix(sky.top, sky.low, 0.4))
    hues.remove(first)
    colours = [first, apart(hues, n, first), apart(hues[::-1], n, first)]
    here.line([points(s * 0.2, 1.15, s * 0.13, 1.55) for s in (-1, -0.3, 0.3, 1)], 0.02, darker(p.deep, 0.3))
    here.fill(outline, colours[0], form=0.3, ball=True)
    skin = here.inside(outline)
    if n % 4 == 3:  # bands
        for i, y in enumerate(np.arange(-0.9, 1.2, 0.42)):
            band = np.concatenate([oval(0, y, 1.1, 0.16, 180, 0, 24) * (1, -1) + (0, 2 * y), oval(0, y + 0.22, 1.1, 0.16, 0, 180, 24)])
            skin.fill(band, colours[1 + i % 2], form=0.2)
    else:
        for i in range(4, -1, -1):  # gores: ever narrower copies of the whole
            wide = (0.2, 0.42, 0.62, 0.8, 0.94)[i]
            skin.fill(outline * (wide, 1), colours[(1, 0, 2, 0, 1)[i] if n % 4 else i % 2], form=0.3, ball=True)
        if n % 4 == 2:
            teeth = np.stack([np.linspace(-1.1, 1.1, 17), 0.1 + 0.2 * (np.arange(17) % 2)], axis=1)
            skin.fill(np.concatenate([teeth, (teeth - (0, 0.36))[::-1]]), colours[2], form=0.2)
    skin.line([outline * (w, 1) for w in (0.2, 0.42, 0.62, 0.8, 0.94)], 0.008, darker(colours[0], 0.5), alpha=0.5)
    skin.haze(oval(here.light[0] * 0.5, -0.45, 0.2, 0.35), WHITE, 0.35, 0.12)
    skin.haze(oval(-here.light[0] * 0.95, 0.2, 0.35, 1.0), SHADOW, 0.4, 0.15)
    here.fill(rect(-0.2, 1.52, 0.2, 1.82, 0.05), rgb("8a5a34"), form=0.25)
    here.line([points(-0.18, y, 0.18, y) for y in (1.6, 1.68, 1.76)], 0.015, rgb("5d3a20"))
    here.fill(rect(-0.23, 1.49, 0.23, 1.56, 0.03), rgb("5d3a20"))
    if sky.night or n % 3 == 0:
        here.glow(0, 1.25, 0.6, rgb("ffcf6b"), 0.8)
        here.fill(smooth(points(0, 1.12, 0.06, 1.3, 0, 1.4, -0.06, 1.3)), rgb("fff0b8"), form=0)


def bicycle(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    ground = rng.uniform(0.8, 0.87)
    if n % 2:  # against a wall
        paint_wall(
            c,
            rng,
            [p.pale, lighter(p.mid, 0.3), lighter(p.accents[1], 0.35), p.accents[0], lighter(p.deep, 0.2)][n % 5],
            (5, 0, 5, 4, 6)[n // 2 % 5],
        )
        paint_table(c, rng, [rgb("8d8a86"), rgb("b9b2a6"), p.deep, rgb("a4644a")][n // 2 % 4], ground - 0.07, 2)
        cast: Colour = ((1, 1, 1), (1.05, 0.97, 0.88), (0.88, 0.92, 1.04))[n % 3]
    else:
        sky = paint_country(c, rng, p, n // 2 + 1, rng.uniform(0.56, 0.66), (0, 2, 7, 4, 1))
        cast = sky.cast
        if n % 4 == 0:
            for x in rng.sample((0.08, 0.2, 0.5, 0.8, 0.93), 2):
                paint_tree(c, rng, x, ground - 0.12, rng.uniform(0.3, 0.5), rng.choice(LEAVES), n % 3)
        c.fill(
            points(-0.1, ground - 0.05, 1.1, ground - 0.07, 1.1, 1.1, -0.1, 1.1),
            mix(rgb("b8a88e"), p.pale, 0.3),
            darker(rgb("a39178"), 0.25),
        )
    scale = rng.uniform(0.36, 0.42)
    here = c.at(rng.uniform(0.46, 0.54), ground - 0.72 * scale + 0.02, scale, rng.uniform(-4, 4), rng.random() < 0.5)
    here.haze(oval(0, 0.74, 1.0, 0.06), SHADOW, 0.55, 0.04)
    _frame(here, rng, p, n)
    return cast


def _frame(here: Canvas, rng: random.Random, p: Palette, n: int) -> None:
    paint = [p.accents[0], p.accents[1], p.deep, p.accents[2], p.pale][n % 5]
    tyre, rim = rgb("23222a"), [rgb("d9dadd"), p.pale, rgb("8d8f98")][n % 3]
    rear, front, bracket, seat, top, low = (-0.64, 0.3), (0.66, 0.3), (-0.1, 0.34), (-0.26, -0.3), (0.4, -0.36), (0.45, -0.2)
    for x, y in (rear, front):
        turn = rng.uniform(0, 30)
        spokes = [points(x, y, x + 0.4 * math.cos(a), y + 0.4 * math.sin(a)) for a in np.radians(np.arange(0, 360, 24) + turn)]
        here.line(spokes, 0.01, lighter(rim, 0.2), alpha=0.85)
        here.line(oval(x, y, 0.42), 0.06, tyre, shadow=0.25)
        here.line(oval(x, y, 0.385), 0.022, rim)
        here.fill(oval(x, y, 0.05), rgb("9a9ca5"), form=0.3)
    tubes = [points(*rear, *bracket), points(*rear, *seat), points(*bracket, *seat), points(*bracket, *low)]
    if n % 3 == 1:  # step-through
        tubes.append(smooth(points(-0.19, 0.02, 0.1, 0.0, 0.43, -0.28), closed=False))
    else:
        tubes.append(points(*seat, *top))
    here.line(tubes, 0.062, paint, shadow=0.3, form=0.15)
    here.line(smooth(points(*top, *low, 0.54, 0.06, *front), closed=False), 0.06, paint, shadow=0.3, form=0.1)
    here.line(points(*seat, -0.31, -0.46), 0.04, rgb("b9bbc2"))
    here.fill(
        smooth(points(-0.52, -0.52, -0.3, -0.53, -0.1, -0.48, -0.3, -0.43, -0.5, -0.44)),
        rgb("4a2f25") if n % 2 else rgb("22222a"),
        form=0.2,
    )
    here.line(points(*top, 0.37, -0.52), 0.045, rgb("b9bbc2"))
    if n % 3 == 2:
        bar = smooth(points(0.34, -0.54, 0.56, -0.55, 0.64, -0.44, 0.52, -0.36), closed=False)
    else:
        bar = smooth(points(0.4, -0.52, 0.36, -0.62, 0.22, -0.62, 0.12, -0.57), closed=False)
    here.line(bar, 0.045, rgb("2b2a31"))
    if n % 4 == 1:  # a basket with flowers
        for dx in (0.5, 0.6, 0.7, 0.8):
            here.fill(oval(dx, -0.6 + rng.uniform(-0.04, 0.04), 0.085), rng.choice(p.accents), form=0.2, ball=True)
        here.fill(points(0.44, -0.56, 0.88, -0.56, 0.82, -0.26, 0.5, -0.26), rgb("a8763f"), form=0.2)
        here.line([points(0.46, y, 0.86, y) for y in (-0.48, -0.4, -0.33)], 0.014, rgb("6d4722"))
    if n % 3 != 2:  # mudguards
        here.line([oval(*rear, 0.48, None, 190, 300, 24), oval(*front, 0.48, None, 200, 300, 24)], 0.035, darker(paint, 0.15))
    here.line([points(*bracket, 0.02, 0.5), points(*bracket, -0.22, 0.18)], 0.035, rgb("55565e"))
    here.line([points(-0.06, 0.51, 0.1, 0.51), points(-0.3, 0.17, -0.14, 0.17)], 0.04, rgb("22222a"))
    here.line([points(-0.64, 0.25, -0.1, 0.22), points(-0.64, 0.35, -0.1, 0.46)], 0.014, rgb("33333a"))
    here.line(oval(*bracket, 0.115), 0.03, rgb("6a6b74"))


def house(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    horizon = rng.uniform(0.62, 0.7)
    sky = paint_country(c, rng, p, n + 3, horizon, (4, 5, 6, 7, 0, 1, 3), green=True)
    ground = horizon + rng.uniform(0.14, 0.18)
    leaf = LEAVES[n % 7]
    for x in rng.sample((0.05, 0.13, 0.87, 0.95), 3):
        paint_tree(c, rng, x, ground - 0.03, rng.uniform(0.32, 0.5), leaf, n % 3)
    x, scale = rng.uniform(0.46, 0.54), rng.uniform(0.29, 0.33)
    c.fill(
        smooth(points(x - 0.04, ground, x + 0.05, ground, x + 0.02, 0.9, x + 0.16, 1.1, x - 0.12, 1.1, x - 0.1, 0.9)),
        lighter(rgb("b9a583"), 0.25),
        form=0.1,
    )
    _building(c.at(x, ground, scale, 0, rng.random() < 0.5), rng, p, n, sky)
    for dx in np.arange(-0.42, 0.43, 0.14):
        if abs(dx) > 0.1 and n % 2 == 0:
            bush = c.at(x + dx, ground + 0.02, rng.uniform(0.05, 0.075))
            bush.fill([oval(-0.5, -0.3, 0.6), oval(0.5, -0.3, 0.6), oval(0, -0.6, 0.7)], darker(leaf, 0.12), form=0.25)
            bush.fill([oval(rng.uniform(-0.8, 0.8), rng.uniform(-1, 0), 0.13, steps=10) for _ in range(5)], p.accents[1], form=0)
    return sky.cast


def _building(here: Canvas, rng: random.Random, p: Palette, n: int, sky: Sky) -> None:
    """A gabled house seen from a corner: the gable to the right, its long side to the left; foot at y = 0."""
    wall = [p.pale, lighter(p.accents[0], 0.15), lighter(p.mid, 0.35), p.accents[1], rgb("f6efe3"), lighter(p.deep, 0.2)][n % 6]
    roof = [p.accents[0], p.deep, rgb("8c4a38"), darker(p.mid, 0.3), p.accents[2], rgb("56505c")][(n * 5 + 1) % 6]
    high, peak = (0.95, 1.3, 0.7)[n % 3], (0.75, 0.62, 0.95)[n % 3]
    here.haze(oval(-0.1, 0.02, 1.4, 0.1), SHADOW, 0.5, 0.06)
    here.fill(rect(-0.6, -high - peak - 0.26, -0.34, -high - 0.2), darker(rgb("a4644a"), 0.1), form=0.2)
    here.fill(rect(-0.64, -high - peak - 0.3, -0.3, -high - peak - 0.22), rgb("6d4434"), form=0.2)
    for i in range(4):
        here.haze(oval(-0.47 + 0.1 * i, -high - peak - 0.42 - 0.19 * i, 0.08 + 0.04 * i), WHITE, 0.4, 0.06)
    here.fill(rect(-1.15, -high, 0.2, 0), darker(wall, 0.16), darker(wall, 0.26))
    here.fill(points(0.2, 0, 0.2, -high, 0.68, -high - peak, 1.15, -high, 1.15, 0), wall, form=0.1)
    here.fill(points(-1.27, -high + 0.08, -0.78, -high - peak, 0.68, -high - peak, 0.14, -high + 0.08), roof, form=0.2, shadow=0.35)
    tiles = here.inside(points(-1.27, -high + 0.08, -0.78, -high - peak, 0.68, -high - peak, 0.14, -high + 0.08))
    tiles.line([points(-1.4, y, 0.8, y) for y in np.arange(-high - peak, -high + 0.1, 0.11)], 0.012, darker(roof, 0.4), alpha=0.6)
    here.line(points(0.12, -high + 0.09, 0.68, -high - peak, 1.24, -high + 0.09), 0.09, lighter(roof, 0.12), shadow=0.3)
    lit = sky.night or n % 4 == 3
    glass = rgb("ffd873") if lit else mix(rgb("4a6478"), sky.low, 0.35)
    frame = rgb("fbf7ee") if sum(wall) < 640 else p.deep
    rows = [-high * 0.32] if high < 1 else [-high * 0.26, -high * 0.72]
    for y in rows:
        for x in (-0.95, -0.5, -0.05):
            _window(here, x, y, 0.13, 0.19, glass, frame, lit)
        _window(here, 0.96, y, 0.11, 0.19, glass, frame, lit)
    _window(here, 0.68, -high - peak * 0.3, 0.12, 0.14, glass, frame, lit)
    here.fill(rect(0.44, -0.58, 0.76, 0), frame, form=0.1)
    here.fill(rect(0.475, -0.545, 0.725, 0), p.accents[(n + 1) % 3], form=0.18)
    here.fill(oval(0.68, -0.26, 0.022, steps=12), rgb("f4d27a"), form=0)
    here.fill(rect(0.4, -0.04, 0.8, 0.02), rgb("a39b90"), form=0.1)


def _window(here: Canvas, x: float, y: float, w: float, h: float, glass: Colour, frame: Colour, lit: bool) -> None:
    if lit:
        here.glow(x, y, 0.4, rgb("ffd873"), 0.5)
    here.fill(rect(x - w - 0.03, y - h - 0.03, x + w + 0.03, y + h + 0.03), frame, form=0.06)
    here.fill(rect(x - w, y - h, x + w, y + h), lighter(glass, 0.15), darker(glass, 0.12))
    here.line([points(x, y - h, x, y + h), points(x - w, y, x + w, y)], 0.025, frame)


def umbrella(c: Canvas, rng: random.Random, p: Palette, n: int) -> Colour:
    kind = (1, 1, 0, 1, 2)[n % 5]
    ground = rng.uniform(0.86, 0.91)
    if kind == 2:  # a beach
        sky = SKIES[(0, 7, 1)[n // 5 % 3]]
        paint_sky(c, rng, sky, clouds=3)
        paint_sea(c, rng, sky, [p.mid, rgb("3a9a94"), rgb("2f6f8f")][n % 3], 0.62)
        paint_table(c, rng, mix(rgb("ecd9ac"), p.pale, 0.4), 0.77, 2)
        behind, cast = mix(sky.top, sky.low, 0.5), sky.cast
    else:  # a wet street, before a wall or the town
        behind = mix([p.pale, lighter(p.mid, 0.35), p.mid, lighter(p.accents[2], 0.3)][n % 4], rgb("9aaebf"), 0.4)
        cast = (0.96, 0.99, 1.03)
        if kind == 0:
            paint_wall(c, rng, behind, (5, 3, 0, 4)[n // 2 % 4])
        else:
            _town(c, rng, behind)
        c.fill(rect(-0.1, ground - 0.1, 1.1, 1.1), mix(p.deep, rgb("8d8f98"), 0.5), darker(p.deep, 0.2))
    turn = [-18, 14, -10, 22, 4, -24, 18][n % 7] + rng.uniform(-5, 5)
    scale, lean = rng.uniform(0.4, 0.44), math.radians(turn)
    x = 0.5 + 0.3 * scale * math.sin(lean)
    here = c.at(x, ground - 1.25 * scale * math.cos(lean), scale, turn)
    c.haze(oval(x - 1.25 * scale * math.sin(lean), ground + 0.02, 0.22, 0.025), SHADOW, 0.5, 0.02)
    _canopy(here, p, n, behind, hooked=kind != 2)
    if kind != 2:
        c.reflect(ground + 0.02, 0.35, rng)
        slant = rng.uniform(-0.03, 0.03)
        drops = [(rng.random(), rng.random(), rng.uniform(0.02, 0.05)) for _ in range(70)]
        c.line([points(x, y, x + slant * h / 0.04, y + h) for x, y, h in drops], 0.0028, rgb("e6eef5"), alpha=0.55)
    return cast


def _town(c: Canvas, rng: random.Random, haze: Colour) -> None:
    """Rows of houses in the rain, the farther the paler."""
    c.fill(rect(0, 0, 1, 1), lighter(haze, 0.1), lighter(haze, 0.5))
    for row in range(3):
        tone, x = darker(haze, 0.1 + 0.16 * row), -0.1
        while x < 1:
            w, h = rng.uniform(0.09, 0.17), rng.uniform(0.28, 0.5) - 0.08 * row
            c.fill(rect(x, 0.85 - h, x + w, 1), tone, form=0.06)
            if rng.random() < 0.5:
                c.fill(points(x - 0.01, 0.85 - h, x + w / 2, 0.79 - h, x + w + 0.01, 0.85 - h), darker(tone, 0.15), form=0.06)
            panes = [
                rect(x + dx, 0.88 - h + dy, x + dx + 0.016, 0.905 - h + dy)
                for dx in np.arange(0.02, w - 0.03, 0.034)
                for dy in (0, 0.05, 0.1, 0.15)
            ]
            c.fill(rng.sample(panes, len(panes) // 2), lighter(tone, 0.3), form=0)
            x += w + rng.uniform(0, 0.02)


def _canopy(here: Canvas, p: Palette, n: int, behind: Colour, *, hooked: bool) -> None:
    """An open umbrella: the canopy 2 units wide about (0, 0), its shaft downwards."""
    metal = rgb("d9d2c4") if n % 2 else rgb("4a3428")
    here.line(points(0, -0.6, 0, 1.2), 0.05, metal, shadow=0.25)
    if hooked:
        here.line(np.concatenate([points(0, 0.95, 0, 1.18), oval(0.14, 1.18, 0.14, 0.15, 180, 10, 20)]), 0.085, rgb("6b3f24"), form=0.15)
    first = apart([p.accents[0], p.accents[1], p.deep, p.accents[2], p.pale], n, behind)
    second = first if n % 3 == 0 else apart([p.pale, p.accents[1], p.accents[0], p.deep], n, first)
    ribs = np.array([-1.0, -0.64, -0.24, 0.24, 0.64, 1.0])
    foot = 0.1 - 0.1 * np.abs(ribs)
    here.fill(np.concatenate([np.stack([ribs, foot], axis=1), points(0.5, -0.3, -0.5, -0.3)]), darker(first, 0.55), form=0)
    top = -0.74
    for i in range(5):
        a, b = ribs[i], ribs[i + 1]

        def rib(x: float) -> Points:
            return np.stack(
                [x * np.sin(np.linspace(0, np.pi / 2, 16)), top + (0.1 - 0.1 * abs(x) - top) * (1 - np.cos(np.linspace(0, np.pi / 2, 16)))],
                axis=1,
            )

        left, right = rib(a), rib(b)
        sag = smooth(np.stack([left[-1], (left[-1] + right[-1]) / 2 - (0, 0.09), right[-1]]), closed=False)
        here.fill(np.concatenate([left, sag, right[::-1]]), first if i % 2 == 0 else second, form=0.2, shadow=0.15 if i == 0 else 0)
        if first == second and n % 2:
            panel = here.inside(np.concatenate([left, sag, right[::-1]]))
            panel.fill([oval(x, y, 0.05, steps=18) for x in np.arange(-0.9, 1, 0.22) for y in np.arange(-0.7, 0.1, 0.2)], p.pale, form=0.05)
        here.line(right, 0.012, darker(first, 0.45), alpha=0.6)
    half = np.concatenate([oval(0, 0.02, 1, 0.76, 180, 360, 40)])
    here.inside(half).haze(oval(here.light[0] * 0.45, -0.48, 0.24, 0.14), WHITE, 0.4, 0.08)
    here.inside(half).haze(oval(-here.light[0] * 0.95, -0.05, 0.4, 0.4), SHADOW, 0.35, 0.12)
    here.line(points(0, top, 0, top - 0.12), 0.045, metal)
