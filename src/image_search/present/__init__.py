"""Showing results: a picture, a table, JSON. It knows nothing of searching; matplotlib is imported when a picture is drawn."""

from .figure import LESS_LIKE, Panel, draw_comparison, match_panel, png_bytes, save_comparison
from .fonts import font_advice
from .json import SCHEMA, matches_json
from .table import matches_table, report_table

__all__ = [
    "LESS_LIKE",
    "SCHEMA",
    "Panel",
    "draw_comparison",
    "font_advice",
    "match_panel",
    "matches_json",
    "matches_table",
    "png_bytes",
    "report_table",
    "save_comparison",
]
