"""matplotlib in pixels from the top left corner: it measures texts, then draws cards, pictures and texts on one figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..config import COMPARISON_PIXELS
from .fonts import BOX, choose, drawable
from .text_fit import flow, wrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FACT", "INK", "LINE", "PILL_HEIGHT", "QUIET", "Canvas", "Rect"]

DPI = 100
FACT, PILL_TEXT = 9.0, 7.5  # points
PILL_HEIGHT = 18
INK, QUIET, LINE = "#16181d", "#5f6673", "#dfe2e7"
MAT_LAYER, LABEL_LAYER, TEXT_LAYER = -1, 2, 3  # axes lie on 0


@dataclass(frozen=True, slots=True)
class Rect:
    x: float
    y: float
    w: float
    h: float


class Canvas:
    """Chooses the fonts for all `texts` of a picture. Measuring works at once, drawing after `open`."""

    figure: Figure

    def __init__(self, texts: Sequence[str]) -> None:
        from matplotlib.backends.backend_agg import RendererAgg

        self.fonts = choose(texts)
        self._ruler = RendererAgg(1, 1, DPI)

    def _clean(self, text: str) -> str:
        return "".join(BOX if c in self.fonts.missing else c for c in drawable(text))

    def _font(self, size: float, bold: bool) -> Any:
        from matplotlib.font_manager import FontProperties

        return FontProperties(family=self.fonts.families, size=size, weight=self.fonts.bold if bold else self.fonts.normal)

    def _width(self, text: str, size: float, bold: bool = False) -> float:
        return float(self._ruler.get_text_width_height_descent(text, self._font(size, bold), ismath=False)[0])

    # A text broken or shortened to so many pixels, ready to be drawn:

    def wrap(self, text: str, width: float, size: float, bold: bool = False) -> list[str]:
        return wrap(self._clean(text), width, lambda t: self._width(t, size, bold))

    def flow(self, facts: tuple[str, ...], width: float) -> list[str]:
        return flow(tuple(self._clean(f) for f in facts), width, lambda t: self._width(t, FACT))

    def open(self, width: float, height: float) -> None:
        """Begin the figure, width x height pixels, everything scaled down alike if that is more than COMPARISON_PIXELS."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import Affine2D

        width, height = math.ceil(width), math.ceil(height)
        scale = min(1.0, math.sqrt(COMPARISON_PIXELS / (width * height)))
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI * scale, facecolor="white", edgecolor="none")
        self.figure.set_layout_engine("none")
        FigureCanvasAgg(self.figure)
        self._size = width, height
        self._place = Affine2D().scale(1 / width, -1 / height).translate(0, 1) + self.figure.transFigure

    def axes(self, box: Rect, label: str) -> Any:
        width, height = self._size
        rect = (box.x / width, 1 - (box.y + box.h) / height, box.w / width, box.h / height)
        axes = self.figure.add_axes(rect, label=label)
        axes.set_axis_off()
        return axes

    def text(self, x: float, y: float, text: str, size: float, color: str = INK, *, bold: bool = False, ha: str = "left") -> None:
        """One line, its middle at height y. "$" is a dollar sign: no formulas in file names."""
        width, height = self._size
        baseline = y + 0.36 * size * DPI / 72  # half the height of a capital
        self.figure.text(
            x / width, 1 - baseline / height, text, color=color, ha=ha, va="baseline", zorder=TEXT_LAYER,
            fontproperties=self._font(size, bold), usetex=False, parse_math=False,
        )  # fmt: skip

    def card(self, box: Rect, color: str, frame: str = "", radius: float = 6, zorder: float = MAT_LAYER) -> None:
        from matplotlib.patches import FancyBboxPatch

        style = f"round,pad=0,rounding_size={min(radius, box.w / 2, box.h / 2)}"
        self.figure.add_artist(
            FancyBboxPatch(
                (box.x, box.y),
                box.w,
                box.h,
                boxstyle=style,
                transform=self._place,
                zorder=zorder,
                facecolor=color,
                edgecolor=frame or "none",
                linewidth=1.8 if frame else 0,
            )
        )

    def pill(self, x: float, y: float, word: str, color: str) -> float:
        """A label on the upper edge of a mat, its middle at height y; gives its right end."""
        word = self._clean(word)
        width = self._width(word, PILL_TEXT, bold=True) + PILL_HEIGHT * 0.9
        self.card(Rect(x, y - PILL_HEIGHT / 2, width, PILL_HEIGHT), color, "", PILL_HEIGHT / 2, LABEL_LAYER)
        self.text(x + width / 2, y, word, PILL_TEXT, "white", bold=True, ha="center")
        return x + width

    def rule(self, x: float, top: float, bottom: float) -> None:
        self.card(Rect(x - 0.5, top, 1, bottom - top), LINE, radius=0)
