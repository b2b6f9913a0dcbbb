"""Making a text fit a width, whatever measures it: terminal cells for the table, pixels for the picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

__all__ = ["cells", "flow", "many", "number", "shorten", "wrap"]

Measure = Callable[[str], float]

ELLIPSIS = "…"
_BREAKS = " -_./,"  # a line may end after one of these


def number(value: float, digits: int = 3) -> str:
    """The highest number of so many decimals that is not above the value: a limit that is set to what is shown keeps what is shown,
    and only 1 is 1.000. The same in the table, in the picture and on the page."""
    text = f"{value + 0.0:.{digits}f}"  # never "-0.000"
    return text if float(text) <= value else f"{float(text) - 10**-digits:.{digits}f}"


def many(count: int, what: str) -> str:
    """1 row, 2,000 rows."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def cells(text: str) -> int:
    """Columns of a terminal: wide (CJK) characters take two, combining marks and the later letters of a decomposed Korean syllable none."""
    return sum(_cell(c) for c in text)


def _cell(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or 0x1160 <= ord(char) <= 0x11FF:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shorten(text: str, width: float, measure: Measure = cells) -> str:
    """`text`, or its two ends around "…", so that it is at most `width` wide: the end of a file name says as much as its start."""
    if measure(text) <= width:
        return text
    # Wider with every character kept, so the longest that fits is found by halving.
    low, high = 0, len(text) - 1
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if measure(_ends(text, kept)) <= width else (low, kept - 1)
    return _ends(text, low)


def _ends(text: str, kept: int) -> str:
    """The first half and the last half of `kept` characters, never cut between a letter and its mark."""
    head, tail = (kept + 1) // 2, len(text) - kept // 2
    while head > 0 and _cell(text[head]) == 0:
        head -= 1
    while tail < len(text) and _cell(text[tail]) == 0:
        tail += 1
    return text[:head].rstrip() + ELLIPSIS + text[tail:].lstrip()


def wrap(text: str, width: float, measure: Measure) -> list[str]:
    """`text` as one line, or as two, the second one shortened in its middle if it must be."""
    if measure(text) <= width:
        return [text]
    low, high = 1, len(text)
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if measure(text[:kept].rstrip()) <= width else (low, kept - 1)
    cut = max((i + 1 for i, c in enumerate(text[:low]) if c in _BREAKS), default=0)
    if low < len(text) and text[low] == " ":
        cut = low
    cut = cut if cut >= 0.4 * low else low  # a break too early would waste the line: then anywhere, as East Asian text does
    while 1 < cut < len(text) and _cell(text[cut]) == 0:
        cut -= 1
    return [text[:cut].rstrip(), shorten(text[cut:].lstrip(), width, measure)]


def flow(facts: tuple[str, ...], width: float, measure: Measure, between: str = "  ·  ") -> list[str]:
    """Facts side by side as far as they fit, then on the next line."""
    lines: list[str] = []
    for fact in facts:
        joined = f"{lines[-1]}{between}{fact}" if lines else ""
        if joined and measure(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(shorten(fact, width, measure))
    return lines
