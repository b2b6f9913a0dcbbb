"""Groups of copies as one page that needs nothing beside it: pictures inside, no script, nothing fetched, in the browser's own colours."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ..config import REPORT_BYTES, REPORT_PICTURES
from ..paths import nfc, shown
from .duplicates import size, what_it_is
from .saving import SIGNATURE, target_of, write

__all__ = ["check_page", "duplicates_page", "save_page"]

_SIGNATURE = f"<!-- copies found by {SIGNATURE} -->"
_STYLE = """
:root { color-scheme: light dark; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: light-dark(#fbfbfa, #191918); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
h2 { font-size: 1rem; margin: 0 0 .75rem; font-weight: 600; }
p { color: light-dark(#5c5c58, #a8a8a2); margin: 0 0 1rem; }
section { border-top: 1px solid light-dark(#d9d9d6, #3a3a38); padding: 1.25rem 0; }
ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
li { min-width: 0; }
figure { margin: 0; }
.mat { background: light-dark(#f0f0ee, #242422);
  height: 12rem; display: grid; place-items: center; border-radius: .25rem; color: light-dark(#5c5c58, #a8a8a2); }
.best .mat { outline: 2px solid light-dark(#17663a, #7fd4a0); }
img { max-width: 100%; max-height: 12rem; display: block; }
figcaption { font-size: .85rem; padding-top: .4rem; overflow-wrap: anywhere; }
figcaption b { display: block; }
.best b { color: light-dark(#17663a, #7fd4a0); }
figcaption span { display: block; color: light-dark(#5c5c58, #a8a8a2); }
time { white-space: nowrap; }
"""


def check_page(path: str | os.PathLike[str]) -> str:
    """The file to be written; UsageError if no page can be saved under this name."""
    return target_of(path, (".html", ".htm"), kind="page", ours="page of copies", most=REPORT_BYTES)[0]


def save_page(found: Mapping[str, Any], thumbnail: Callable[[bytes], bytes | None], path: str | os.PathLike[str]) -> None:
    """Write the page; whole or not at all. Arguments as for `duplicates_page`. Raises UsageError, DiskFullError, ImageSearchError."""
    write(check_page(path), duplicates_page(found, thumbnail).encode(), path, kind="page")


def duplicates_page(found: Mapping[str, Any], thumbnail: Callable[[bytes], bytes | None]) -> str:
    """The whole page as text; the first few thousand pictures.

    Args:
        found: as `Duplicates.to_dict` gives it.
        thumbnail: sha256, 32 bytes -> WebP; None: there is none.
    """
    return "\n".join(_lines(found, thumbnail))


def _lines(found: Mapping[str, Any], thumbnail: Callable[[bytes], bytes | None]) -> Iterator[str]:
    groups = found["groups"]
    yield "<!doctype html>"
    yield _SIGNATURE
    yield '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    yield f"<title>Copies</title><style>{_STYLE}</style></head><body>"
    count = "1 group" if len(groups) == 1 else f"{len(groups):,} groups"
    yield f"<h1>Copies: {count}</h1>" if groups else "<h1>No copies found</h1>"
    rest = f"Beside the best copies {found['rest']:,} files, {size(found['rest_bytes'])}. " if groups else ""
    yield f"<p>{rest}Nothing was deleted, moved or changed. Library: {_text(found['library'])}</p>"
    pictures = 0
    for number, group in enumerate(groups):
        room = REPORT_PICTURES - pictures
        if room < min(2, len(group["members"])):
            yield f"<p>{len(groups) - number:,} more groups are not on this page.</p>"
            break
        yield from _section(group, thumbnail, room)
        pictures += min(room, len(group["members"]))
    yield "</body></html>"


def _section(group: Mapping[str, Any], thumbnail: Callable[[bytes], bytes | None], room: int) -> Iterator[str]:
    members = group["members"]
    rest = size(sum(member["bytes"] for member in members[1:]))
    yield f"<section><h2>{group['number']}. {len(members):,} files, {rest} beside the best</h2><ul>"
    for member in members[:room]:
        small = thumbnail(bytes.fromhex(member["sha256"]))
        name = nfc(Path(member["uri"]).name)
        data = None if small is None else base64.b64encode(small).decode()
        picture = f'<img loading="lazy" alt="{_text(name)}" src="data:image/webp;base64,{data}">' if data else "no thumbnail"
        best = member["kind"] == "best"
        words = f"best: {group['why']}" if best else what_it_is(member)
        day = f"<time>{member['date'][:10]}</time>"
        facts = f"{member['width']}×{member['height']} · {_text(member['format'])} · {size(member['bytes'])} · {day}"
        yield (
            f'<li{" class=best" if best else ""}><figure><div class="mat">{picture}</div><figcaption><b>{_text(words)}</b>'
            f"{_text(nfc(member['uri']))}<span>{facts}</span></figcaption></figure></li>"
        )
    yield "</ul>" + (f"<p>and {len(members) - room:,} more</p>" if len(members) > room else "") + "</section>"


def _text(text: str) -> str:
    """Of a file's name nothing is taken for markup, and no letter turns the line around."""
    return escape(shown(text))
