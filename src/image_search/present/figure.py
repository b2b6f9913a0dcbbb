"""The comparison picture: the query first, then its matches, each with its name and how similar it is.

    ┌ QUERY ───┐ │ ┌──────────┐ ┌──────────┐
    │ picture  │ │ │ picture  │ │ picture  │     mats of one size in a row, pictures in true proportions on them
    └──────────┘ │ └──────────┘ └──────────┘
    burger.jpg   │ 1. Food      2. Food         title: at most two lines
                 │ similarity … similarity …    facts: side by side as far as they fit

Pure drawing: pixels come in already scaled (about 640 pixels), nothing is decoded. Only matplotlib's Figure and Agg canvas are used, never
pyplot: no display, no global state, any thread. All lengths here are pixels at 100 dpi from the top left corner.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import given
from ..config import COMPARISON_BYTES
from ..errors import UsageError
from ..types import Match, UInt8
from .canvas import FACT, LINE, PILL_HEIGHT, QUIET, Canvas, Rect
from .saving import made_here, write_whole
from .table import marks, measures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LESS_LIKE", "Panel", "check_target", "draw_comparison", "match_panel", "png_bytes", "save_comparison"]

LESS_LIKE = "less like"  # badge of a query picture that the matches should not resemble

SHAPE = 1.6  # width : height aimed at
ONE_ROW = 5  # pictures that still make a row, as the original's three did
ROW_WIDTH = 1600  # a laptop's screen
CELL = (160, 400)  # narrowest and widest cell; facts fit the narrowest, 640 pixels fill the widest
QUERY_SCALE = 1.5  # of a single query beside a grid of several rows
TALLEST = 1.35  # height : width of the room for a picture where most are upright; 1 where they are not
CAPTION = 0.3  # height of a caption in cell widths, about

MARGIN, GAP, BLOCK_GAP, ROW_GAP = 32, 16, 48, 30
PAD = 10  # of the mat around the picture
TITLE = 11.0  # points
THINNEST = 2  # of a picture: thinner ones would vanish
TITLE_LINE, FACT_LINE, NOTHING_LINE, CAPTION_GAP = 20, 17, 120, 8

MAT, ACCENT = "#f2f3f5", "#1f5fd0"
PILLS = {"query": ACCENT, "identical": "#17784a", LESS_LIKE: "#b3372f"}
_SIGNATURE = "AI Image Search Engine"  # in every file that is saved: only such files are replaced
_SOFTWARE = 0x0131  # the EXIF tag for it

# Extension -> Pillow's name and options; text keeps its edges without chroma subsampling. "pdf" and "svg" are matplotlib's own.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 4}),
    ".jpg": ("JPEG", {"quality": 92, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 92, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 92}),
    ".pdf": ("PDF", {}),
    ".svg": ("SVG", {}),
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of the comparison.

    Attributes:
        pixels: uint8 (H, W, 3) RGB, upright; None draws a neutral placeholder.
        title: the line under it; long ones are wrapped to two lines and shortened in the middle.
        lines: short facts under the title, drawn side by side as far as they fit.
        badge: marks of this picture, parted by ", ": "identical", "offline", "gone", LESS_LIKE.
        query: it belongs to the query: drawn first, with an accent frame and marked.
        reason: why there are no pixels; drawn in the placeholder.
    """

    pixels: UInt8 | None
    title: str
    lines: tuple[str, ...] = ()
    badge: str = ""
    query: bool = False
    reason: str = ""


def match_panel(match: Match, pixels: UInt8 | None, reason: str = "") -> Panel:
    """The panel of a match: "1. Burger", its similarity and distance, and its closeness where there is one."""
    facts = [f"{measure} {text}" for measure, text in measures(match).items() if text]
    name = match.name or match.uri.replace("\\", "/").rpartition("/")[2]
    return Panel(pixels, f"{match.rank}. {name}", tuple(facts), ", ".join(marks(match)), reason=reason)


def draw_comparison(panels: Sequence[Panel]) -> Figure:
    """A figure with one axes for each panel, query panels first, then the matches in the order given.

    At most COMPARISON_PIXELS pixels at its own dpi. Characters that no installed font has are drawn as a box (`fonts.font_advice` says so).
    """
    queries = [p for p in panels if p.query]
    matches = [p for p in panels if not p.query]
    canvas = Canvas([text for p in panels for text in (p.title, p.reason, p.badge, *p.lines)])
    rows = _rows(queries, matches)
    query_columns, columns = math.ceil(len(queries) / rows), max(1, math.ceil(len(matches) / rows))
    cell = min(max(ROW_WIDTH / (query_columns + columns), CELL[0]), CELL[1])
    query_cell = min(QUERY_SCALE * cell, CELL[1]) if rows > 1 and len(queries) == 1 else cell

    top = MARGIN + PILL_HEIGHT / 2
    placed, right, bottom = _block(queries, MARGIN, top, query_cell, query_columns, canvas, beside=matches if rows == 1 else ())
    rule = right + BLOCK_GAP / 2
    start = right + BLOCK_GAP if queries else right
    more, right, lower = _block(matches, start, top, cell, columns, canvas, beside=queries if rows == 1 else ())
    right = right if matches else start + cell
    bottom = max(bottom, lower, top + NOTHING_LINE)

    canvas.open(right + MARGIN, bottom + MARGIN)
    if queries:
        canvas.rule(rule, top, bottom)
    if not matches:
        middle = placed[0].mat.y + placed[0].mat.h / 2 if placed else top + NOTHING_LINE / 2
        canvas.text(start + cell / 2, middle, "nothing similar", TITLE, QUIET, ha="center")
    for p in placed + more:
        _draw(p, canvas)
    return canvas.figure


# Layout: where everything goes. Nothing is drawn here.


@dataclass(frozen=True, slots=True)
class _Placed:
    """A panel with the place of its mat and its picture, and its texts broken into lines."""

    panel: Panel
    mat: Rect
    picture: Rect
    title: list[str]
    facts: list[str]


def _rows(queries: Sequence[Panel], matches: Sequence[Panel]) -> int:
    """One row for few pictures, else the number of rows that brings the whole nearest to SHAPE."""
    if len(queries) + len(matches) <= ONE_ROW:
        return 1
    cell = _room([*queries, *matches]) + CAPTION  # height : width

    def off(rows: int) -> float:
        columns = math.ceil(len(queries) / rows) + math.ceil(len(matches) / rows)
        return abs(math.log(columns / (cell * rows) / SHAPE))

    return min(range(1, max(len(queries), len(matches)) + 1), key=off)


def _block(
    panels: Sequence[Panel], x: float, y: float, cell: float, columns: int, canvas: Canvas, beside: Sequence[Panel] = ()
) -> tuple[list[_Placed], float, float]:
    """Panels in rows of `columns` cells from (x, y), as tall as if those `beside` were among them: (placed, right edge, bottom edge)."""
    placed: list[_Placed] = []
    if not panels:
        return placed, x, y
    inner = cell - 2 * PAD
    tallest = inner * _room([*panels, *beside])
    top = y
    for start in range(0, len(panels), columns):
        row = panels[start : start + columns]
        titles = [canvas.wrap(p.title, cell, TITLE, bold=True) for p in row]
        facts = [canvas.flow(p.lines, cell) for p in row]
        height = max(_fitted(p, inner, tallest)[1] for p in [*row, *beside]) + 2 * PAD
        for i, panel in enumerate(row):
            w, h = _fitted(panel, inner, tallest)
            left = x + i * (cell + GAP)
            picture = Rect(left + (cell - w) / 2, top + (height - h) / 2, w, h)
            placed.append(_Placed(panel, Rect(left, top, cell, height), picture, titles[i], facts[i]))
        captions = max(len(t) * TITLE_LINE + len(f) * FACT_LINE for t, f in zip(titles, facts, strict=True))
        top += height + CAPTION_GAP + captions + ROW_GAP
    return placed, x + columns * cell + (columns - 1) * GAP, top - ROW_GAP


def _room(panels: Sequence[Panel]) -> float:
    """Height / width of the room for a picture: square, or taller where most are upright."""
    return min(max(median(_tallness(p) for p in panels), 1.0), TALLEST)


def _tallness(panel: Panel) -> float:
    """Height / width of the picture; a placeholder is 3:4."""
    return 0.75 if panel.pixels is None else panel.pixels.shape[0] / panel.pixels.shape[1]


def _fitted(panel: Panel, width: float, height: float) -> tuple[float, float]:
    """The largest (width, height) in the room given that keeps the picture's proportions, but for THINNEST."""
    tallness = _tallness(panel)
    if width * tallness <= height:
        return width, max(width * tallness, THINNEST)
    return max(height / tallness, THINNEST), height


# Drawing: each thing at its place.


def _draw(placed: _Placed, canvas: Canvas) -> None:
    panel, mat = placed.panel, placed.mat
    accent = (PILLS[LESS_LIKE] if LESS_LIKE in panel.badge else ACCENT) if panel.query else ""
    canvas.card(mat, MAT, accent)
    axes = canvas.axes(placed.picture, label=panel.title)
    if panel.pixels is not None:
        # Smoothed when scaled down, hard pixels when a tiny picture is blown up threefold or more.
        # The axes has the picture's proportions, so "auto" keeps them.
        axes.imshow(panel.pixels, aspect="auto", interpolation="antialiased", origin="upper", resample=True)
    else:
        canvas.card(placed.picture, LINE)
        for i, line in enumerate(lines := canvas.wrap(panel.reason or "no picture", placed.picture.w - 2 * PAD, FACT)):
            offset = (i - (len(lines) - 1) / 2) * FACT_LINE
            canvas.text(mat.x + mat.w / 2, mat.y + mat.h / 2 + offset, line, FACT, QUIET, ha="center")

    words = [word for word in panel.badge.split(", ") if word]
    x = mat.x + PAD
    for word in ["query", *words] if panel.query and LESS_LIKE not in words else words:
        x = canvas.pill(x, mat.y, word, PILLS.get(word, QUIET)) + 4

    y = mat.y + mat.h + CAPTION_GAP
    for line in placed.title:
        canvas.text(mat.x, y + TITLE_LINE / 2, line, TITLE, bold=True)
        y += TITLE_LINE
    for line in placed.facts:
        canvas.text(mat.x, y + FACT_LINE / 2, line, FACT, QUIET)
        y += FACT_LINE


# Files.


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG file's bytes, at its own size."""
    return _encoded(figure, ".png")


def check_target(path: str | os.PathLike[str]) -> tuple[str, str]:
    """(file to be written, extension) of a picture's name; UsageError if no picture can be saved under it."""
    path = given.path(path, "the picture's name")
    target = os.path.realpath(path)  # a link keeps pointing at its file
    extension = os.path.splitext(os.fspath(path))[1].lower()
    if extension not in FORMATS:
        raise UsageError("a picture cannot be saved under this name", path=path, hint=f"end it in one of {' '.join(FORMATS)}")
    if os.path.exists(target) and not os.path.isfile(target):
        raise UsageError("not a file", path=path, hint="give the name of a picture file")
    if not os.path.isdir(os.path.dirname(target)):
        raise UsageError("there is no such folder", path=os.path.dirname(target), hint="create it first")
    if os.path.exists(target) and not made_here(target, _SIGNATURE, COMPARISON_BYTES):
        raise UsageError("this file is there already and is no comparison", path=path, hint="give a new name")
    return target, extension


def save_comparison(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure; the extension says how. The file is there whole or not at all, and one that was there stays until then.

    Raises UsageError (unknown extension, no such folder, not a file), DiskFullError, or ImageSearchError (no permission, ...).
    """
    target, extension = check_target(path)
    data = _encoded(figure, extension)
    write_whole(target, data, "the picture", path)


def _encoded(figure: Figure, extension: str) -> bytes:
    out = io.BytesIO()
    if extension in (".pdf", ".svg"):
        facts = {"Creator": _SIGNATURE, "CreationDate" if extension == ".pdf" else "Date": None}
        # Every choice is spelled out: a user's matplotlibrc could crop the page otherwise.
        figure.savefig(out, format=extension[1:], dpi=figure.dpi, bbox_inches=figure.bbox_inches, facecolor="white", metadata=facts)
    else:
        name, options = FORMATS[extension]
        image = _image(figure)
        exif = image.getexif()
        exif[_SOFTWARE] = _SIGNATURE
        image.save(out, name, exif=exif, **options)
    return out.getvalue()


def _image(figure: Figure) -> Any:
    """The figure as a PIL RGB image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    shown_on = figure.canvas
    canvas = FigureCanvasAgg(figure)
    try:
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    finally:
        figure.set_canvas(shown_on)
