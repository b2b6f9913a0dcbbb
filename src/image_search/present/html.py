"""One self-contained page of small pictures with words beside them: nothing is fetched, nothing runs, it can be mailed."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..config import HTML_BYTES
from ..paths import nfc, shown
from .saving import SIGNATURE, target_of, write

__all__ = ["Card", "Part", "Row", "check_page", "page", "save_page"]


@dataclass(frozen=True, slots=True)
class Card:
    """One picture.

    Attributes:
        picture: WebP, JPEG or PNG; None: there is none, and `missing` stands in its place.
        title: the line under it. lines: smaller ones. path: shown when one points at the picture.
        badge: a word on the picture ("keep"). missing: why there is no picture.
    """

    picture: bytes | None
    title: str
    lines: tuple[str, ...] = ()
    badge: str = ""
    path: str = ""
    missing: str = "no picture"


@dataclass(frozen=True, slots=True)
class Row:
    """Pictures that belong together, with a line over them ("" for none)."""

    title: str
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True)
class Part:
    """A heading, a line under it, a table (the first row is its head), and rows of pictures."""

    heading: str
    note: str = ""
    table: Sequence[Sequence[str]] = ()
    rows: Sequence[Row] = field(default_factory=list)


_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans KR", sans-serif; margin: 2rem auto; max-width: 75rem;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } p, small, figcaption span { color: #737b88; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #8884; }
.row { border-top: 1px solid #8884; padding: .8rem 0; } .row h3 { font-size: 1rem; font-weight: 600; margin: 0 0 .5rem; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; width: 11rem; position: relative; }
img, .none { width: 11rem; height: 11rem; object-fit: contain; background: #8882; border-radius: 6px; display: block; }
.none { display: grid; place-items: center; color: #737b88; font-size: .85rem; }
figcaption { overflow-wrap: anywhere; font-size: .9rem; } figcaption span { display: block; font-size: .8rem; }
.badge { position: absolute; top: .4rem; left: .4rem; background: #17784a; color: white; border-radius: 1rem; padding: .05rem .6rem;
  font-size: .8rem; }
"""


def page(title: str, notes: Sequence[str], parts: Sequence[Part]) -> str:
    """The whole page. Every text is escaped: no file name can become markup, or play with the direction of letters."""
    lines = [
        "<!doctype html>",
        '<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="generator" content="{SIGNATURE}">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body><h1>{_text(title)}</h1>",
        *(f"<p>{_text(note)}</p>" for note in notes),
        *(line for part in parts for line in _part(part)),
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return html.escape(shown(nfc(text)))


def _part(part: Part) -> Iterator[str]:
    yield f"<section><h2>{_text(part.heading)}</h2>"
    if part.note:
        yield f"<p>{_text(part.note)}</p>"
    if part.table:
        head, *rows = part.table
        yield f"<table><tr>{''.join(f'<th>{_text(cell)}</th>' for cell in head)}</tr>"
        for cells in rows:
            yield f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"
        yield "</table>"
    for row in part.rows:
        title = f"<h3>{_text(row.title)}</h3>" if row.title else ""
        yield f'<div class="row">{title}<div class="cards">{"".join(map(_card, row.cards))}</div></div>'
    yield "</section>"


def _card(card: Card) -> str:
    name = _text(card.path or card.title)
    if card.picture is None:
        picture = f'<div class="none" title="{name}">{_text(card.missing)}</div>'
    else:
        data = base64.b64encode(card.picture).decode()
        picture = f'<img loading="lazy" title="{name}" alt="{_text(card.title)}" src="data:{_kind(card.picture)};base64,{data}">'
    badge = f'<span class="badge">{_text(card.badge)}</span>' if card.badge else ""
    lines = "".join(f"<span>{_text(line)}</span>" for line in card.lines)
    return f"<figure>{picture}{badge}<figcaption>{_text(card.title)}{lines}</figcaption></figure>"


def _kind(data: bytes) -> str:
    return "image/jpeg" if data[:2] == b"\xff\xd8" else "image/png" if data[:4] == b"\x89PNG" else "image/webp"


def check_page(path: str | os.PathLike[str]) -> str:
    """The file to be written; UsageError if no page can be saved under this name."""
    return target_of(path, (".html", ".htm"), kind="page", ours="page of this program", most=HTML_BYTES)[0]


def save_page(text: str, path: str | os.PathLike[str]) -> None:
    """Write a page, whole or not at all. Raises UsageError, DiskFullError or ImageSearchError."""
    write(check_page(path), text.encode(), path, kind="page")
