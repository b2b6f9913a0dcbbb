"""Which installed fonts, together, have the glyphs of a text.

DejaVu Sans comes with matplotlib and has Latin, Greek, Cyrillic, Arabic and more, but nothing Korean, Japanese or Chinese. Only when it
lacks a character are the installed fonts asked, the well-known ones of the script first.
"""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..paths import nfc, shown

__all__ = ["BOX", "Fonts", "choose", "drawable", "font_advice"]

BASE = "DejaVu Sans"
BOX = "□"  # stands for a character that no font has; DejaVu has it
NORMAL, BOLD = 400, 700  # weights as OpenType counts them

# The first word of a character's Unicode name -> script, in order of who chooses the shapes that Korean, Japanese and Chinese share.
_SCRIPTS = {"HANGUL": "Korean", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "CJK": "Chinese"}
# Families shipped with Linux distributions, macOS and Windows; "Source Han" is another name for the shapes of Noto.
_FAMILIES = {
    "Korean": ["Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Apple SD Gothic Neo", "Malgun Gothic", "Source Han Sans K"],
    "Japanese": ["Noto Sans CJK JP", "Noto Sans JP", "Hiragino Sans", "Yu Gothic", "Meiryo", "Source Han Sans", "IPAexGothic"],
    "Chinese": ["Noto Sans CJK SC", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", "Source Han Sans SC", "WenQuanYi Micro Hei"],
}
_PACKAGES = {"Korean": "fonts-nanum or fonts-noto-cjk", "Japanese": "fonts-noto-cjk", "Chinese": "fonts-noto-cjk"}
_BLANKS = ("lastresort", "adobeblank")  # these fonts claim every character and draw none


@dataclass(frozen=True, slots=True)
class Fonts:
    """What to give matplotlib: `family=families` with weight `normal` or `bold`; `missing` are the characters none of them has."""

    families: list[str]
    normal: int
    bold: int
    missing: frozenset[str]


def drawable(text: str) -> str:
    """The text as it is drawn: composed (Korean from macOS arrives in pieces), control characters escaped, no variation selectors."""
    return "".join(c for c in shown(nfc(text)) if not (0xFE00 <= ord(c) <= 0xFE0F or 0xE0100 <= ord(c) <= 0xE01EF))


def font_advice(texts: Iterable[str]) -> str:
    """One line: which script has no font here and what to install; "" if all can be drawn. Say it once."""
    missing = "".join(sorted(choose(texts).missing))
    if not missing:
        return ""
    scripts = _scripts(missing)
    package = _PACKAGES[scripts[0]] if scripts else "fonts-noto"
    kind = " and ".join(scripts) if scripts else "some"
    return f"no installed font has {kind} characters ({missing[:8]}): drawn as {BOX}. Debian and Ubuntu: apt install {package}"


def _scripts(chars: Iterable[str]) -> list[str]:
    words = {unicodedata.name(c, "").split("-")[0].split(" ")[0] for c in chars}
    return list(dict.fromkeys(script for word, script in _SCRIPTS.items() if word in words))


def choose(texts: Iterable[str]) -> Fonts:
    """One family for everything if one has it all, which looks best; else DejaVu Sans, then whoever adds a glyph."""
    chars = {c for text in texts for c in drawable(text)} | {"…"} | set(map(chr, range(0x20, 0x7F)))  # plain letters are always needed
    if _glyphs(BASE, chars) == chars:
        return Fonts([BASE], NORMAL, BOLD, frozenset())
    families, missing = [BASE], chars - _glyphs(BASE, chars)
    for family in _known(missing):
        if _glyphs(family, chars) == chars:
            return Fonts([family], _nearest(family, NORMAL), _nearest(family, BOLD), frozenset())
    for family in _candidates(missing):
        found = _glyphs(family, missing)
        if found:
            families.append(family)
            missing -= found
        if not missing:
            break
    # matplotlib looks for one weight in all of them, and complains where it is not there.
    bold = BOLD if all(_nearest(f, BOLD) == BOLD for f in families) else NORMAL
    return Fonts(families, NORMAL, bold, frozenset(missing))


def _weights(family: str) -> list[int]:
    """The weights of the family's upright files; empty if it is not installed."""
    from matplotlib.font_manager import fontManager, weight_dict

    entries = [e for e in list(fontManager.ttflist) if e.name == family and (e.style, e.variant, e.stretch) == ("normal",) * 3]
    return sorted({weight_dict[e.weight] if isinstance(e.weight, str) else e.weight for e in entries})


def _nearest(family: str, weight: int) -> int:
    return min(_weights(family), key=lambda w: abs(w - weight), default=weight)


def _glyphs(family: str, chars: set[str]) -> set[str]:
    """Those of `chars` that the family has, in the very files that matplotlib will choose for normal and bold."""
    from matplotlib import ft2font
    from matplotlib.font_manager import FontProperties, fontManager

    found = set(chars) if _weights(family) else set()
    for weight in {_nearest(family, NORMAL), _nearest(family, BOLD)} if found else ():
        try:
            path = fontManager.findfont(FontProperties(family=[family], weight=weight), fallback_to_default=False)
            face = getattr(path, "face_index", 0)  # which font of a .ttc collection: known from matplotlib 3.11 on, else the first
            font: Any = ft2font.FT2Font(str(path), face_index=face) if face else ft2font.FT2Font(str(path))
        except (ValueError, OSError, RuntimeError):  # gone since; not an outline font (colour emoji)
            return set()
        found = {c for c in found if font.get_char_index(ord(c))}
    return found


def _installed() -> set[str]:
    from matplotlib.font_manager import fontManager

    names = {entry.name for entry in list(fontManager.ttflist)}
    return {name for name in names if not name.replace(" ", "").replace(".", "").lower().startswith(_BLANKS)}


def _known(missing: Iterable[str]) -> list[str]:
    installed = _installed()
    return [family for script in _scripts(missing) for family in _FAMILIES[script] if family in installed]


def _candidates(missing: Iterable[str]) -> Iterator[str]:
    """Installed families: the known ones of the missing scripts, then all others, then those installed since matplotlib last looked."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known, installed = _known(missing), _installed()
    yield from known
    # Sans before the rest, then by name: the same choice in every process.
    plain = {name: not ("Sans" in name or "Gothic" in name) or "Mono" in name or "Serif" in name for name in installed}
    yield from sorted(installed - {BASE, *known}, key=lambda name: (plain[name], name))

    files = {entry.fname for entry in list(fontManager.ttflist)}
    for path in sorted(set(findSystemFonts()) - files):  # matplotlib's list is a cache on disk that never looks again by itself
        with contextlib.suppress(Exception):  # a broken font file is not ours to report
            fontManager.addfont(path)
    yield from sorted(_installed() - installed)
