"""The small page that stands where the page cannot: what is so, and the way in, in both languages. No script, nothing from elsewhere.

It has the page's colours, inlined and named by their hash in its policy: whoever stands before the door has no key yet, and gets no file.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from typing import NamedTuple

__all__ = ["DOORS", "POLICY", "door", "prefers_korean"]

_HERE = Path(__file__).parent


def _style() -> str:
    return "".join((_HERE / name).read_text(encoding="utf-8") for name in ("static/base.css", "pages/door.css"))


_STYLE = _style()
_TEMPLATE = (_HERE / "pages" / "door.html").read_text(encoding="utf-8")
_ICON = (_HERE / "static" / "icon.svg").read_text(encoding="utf-8").replace(' xmlns="http://www.w3.org/2000/svg"', "").strip()
_AGAIN = '<meta http-equiv="refresh" content="0">\n'
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


class _Words(NamedTuple):
    """One language: a title, a sentence, and what to do, step by step. `code` in backticks; {home} is the page's own address."""

    title: str
    text: str
    steps: tuple[str, ...]


_SERVE = "`image-search serve`"

# By the code of the refusal: English, Korean.
DOORS: dict[str, tuple[_Words, _Words]] = {
    "NotAllowed": (
        _Words(
            "This page needs its key",
            "The address you opened has no key, or one that is no longer good. Your library and its pictures are where they were.",
            (
                "Open the link that image-search printed when it started; it ends in `?token=…`.",
                f"Link lost? Start it again in a terminal: {_SERVE}. It prints the same link as before, and this bookmark works again.",
                "If somebody else runs it, ask them for the link.",
            ),
        ),
        _Words(
            "키가 필요한 페이지입니다",
            "여신 주소에 키가 없거나, 그 키를 더는 쓸 수 없습니다. 라이브러리와 이미지는 그대로 있습니다.",
            (
                "image-search를 시작할 때 출력된 링크를 여세요. `?token=…`으로 끝나는 주소입니다.",
                f"링크를 찾을 수 없다면 터미널에서 다시 시작하세요: {_SERVE}. 같은 링크가 다시 나오고, 이 북마크도 다시 열립니다.",
                "다른 사람이 운영하는 서버라면 그 사람에게 링크를 물어보세요.",
            ),
        ),
    ),
    "WrongHost": (
        _Words(
            "The page is not known by this name",
            "It answers only under the names that its owner gave it, so that no other site can reach it under a name of its own.",
            (
                "On the machine itself, open the link that image-search printed when it started.",
                "The page is yours, and this name should lead to it? Start it with: `image-search serve --allow-host NAME`.",
            ),
        ),
        _Words(
            "이 이름으로는 열 수 없습니다",
            "다른 사이트가 제 이름으로 접근하지 못하도록, 주인이 정한 이름으로만 열립니다.",
            (
                "이 컴퓨터에서 실행 중이라면 image-search를 시작할 때 출력된 링크를 여세요.",
                "직접 운영하는 페이지이고 이 이름을 쓰려면 이렇게 시작하세요: `image-search serve --allow-host NAME`.",
            ),
        ),
    ),
    "NotFound": (
        _Words("There is nothing at this address", "It may be an old link, or mistyped.", ("[Go to the search page]",)),
        _Words("이 주소에는 아무것도 없습니다", "오래된 링크이거나 잘못 입력된 주소입니다.", ("[검색 페이지로 가기]",)),
    ),
    "Refused": (
        _Words(
            "This request was refused",
            "It came from another site or in another way than from the page itself.",
            ("[Open the search page] and try it there.",),
        ),
        _Words(
            "요청이 거부되었습니다",
            "다른 사이트에서 왔거나, 페이지 자체에서 보낸 요청이 아닙니다.",
            ("[검색 페이지 열기] 후 거기서 다시 시도하세요.",),
        ),
    ),
}


def door(code: str, *, korean: bool, home: str, again: bool = False) -> bytes:
    """The HTML for a refusal.

    Args:
        home: the page's own path, for a link.
        again: ask once more by itself. A browser sends a strict cookie only where our own page leads, and then it does.
    """
    both = DOORS.get(code, DOORS["Refused"])
    order = [("ko", both[1]), ("en", both[0])] if korean else [("en", both[0]), ("ko", both[1])]
    texts = "\n".join(_section(words, language, first=number == 0, home=home) for number, (language, words) in enumerate(order))
    return _TEMPLATE.format(
        first=order[0][0], title=escape(order[0][1].title), more=_AGAIN if again else "", style=_STYLE, icon=_ICON, texts=texts
    ).encode()


def prefers_korean(accept_language: str) -> bool:
    """Which of the two comes first in "ko-KR,ko;q=0.9,en;q=0.8". Browsers list them in their order."""
    first = [tag.strip()[:2].lower() for tag in accept_language.split(",")]
    return next((tag == "ko" for tag in first if tag in ("ko", "en")), False)


def _section(words: _Words, language: str, *, first: bool, home: str) -> str:
    level = "h1" if first else "h2"
    steps = "".join(f"<li>{_marked(step, home)}</li>" for step in words.steps)
    return (
        f'<section lang="{language}"><{level}>{escape(words.title)}</{level}><p>{_marked(words.text, home)}</p><ol>{steps}</ol></section>'
    )


def _marked(text: str, home: str) -> str:
    """`code` and a [link] to the page as HTML; everything else is text."""
    parts = escape(text).split("`")
    html = "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
    return html.replace("[", f'<a href="{escape(home)}">').replace("]", "</a>")
