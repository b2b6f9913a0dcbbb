"""A phrase taken apart into names that a vocabulary has: capitals, plurals, Korean particles, "a photo of ..." do not matter."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches

__all__ = ["Names", "plain"]

_LONGEST = 6  # words of a name that are tried together
_NEAR = 0.72  # likeness (difflib's ratio) from which a word was perhaps meant

# Words that say nothing of what a picture shows.
_SAYING_NOTHING = """
    a an the of photo photos photograph picture pictures image images snapshot shot my your his her our their some any one two three
    several many this that these those there is are was it its in on at by with and or near next to from for over under above below
    behind front inside outside between along across into onto very thing things something
    사진 사진들 이미지 모습 어떤 그 이 저 한 두 세 몇 여러 마리 장 개의 명 있는 있다 위 위에 옆 옆에 앞 앞에 뒤
    안 안에 속 속의 그리고 및 나의 내 우리 것 무언가
"""
_EMPTY = frozenset(_SAYING_NOTHING.split())
_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "mice": "mouse", "geese": "goose", "feet": "foot",
    "teeth": "tooth", "oxen": "ox", "kids": "person", "men's": "man", "folks": "person",
}  # fmt: skip
_PLURALS = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""))
# Particles and what else is written together with a Korean noun; the longest that fits first.
_WRITTEN_WITH = """
    에서는 이라는 에서 으로 이랑 하고 에는 들이 들을 들의 들과 사진 색의 은 는 이 가 을 를 의 에 와 과 랑 도 로 들
"""
_PARTICLES = tuple(_WRITTEN_WITH.split())


def plain(text: str) -> str:
    """As names are compared: composed (NFC), in small letters, hyphens as blanks, without other signs; Korean without blanks."""
    small = unicodedata.normalize("NFC", text).casefold().replace("’", "'").replace("'s ", " ")
    words = "".join(c if c.isalnum() else "" if c in "'.\"" else " " for c in small).split()
    return ("" if any(map(_is_korean, words)) else " ").join(words)


def _is_korean(text: str) -> bool:
    return any("가" <= c <= "힣" or "ᄀ" <= c <= "ㆎ" for c in text)


class Names:
    """What things are called.

    Args:
        names: each name, as it is shown, and the number of the thing; several things may have one name.
        before: numbers of those that Korean may write together with what follows (colours).
    """

    def __init__(self, names: Iterable[tuple[str, int]], before: Collection[int] = ()) -> None:
        self._things: dict[str, tuple[int, ...]] = {}
        self._shown: dict[str, str] = {}
        for name, thing in names:
            key = plain(name)
            if thing not in self._things.get(key, ()):
                self._things[key] = (*self._things.get(key, ()), thing)
            self._shown.setdefault(key, name)
        self._before = frozenset(before)

    def read(self, phrase: str) -> tuple[list[tuple[int, ...]], list[str]]:
        """(the things of each name that was found, in order; the words that are no name and say something)."""
        words = plain_words(phrase)
        found: list[tuple[int, ...]] = []
        unknown: list[str] = []
        start = 0
        while start < len(words):
            for end in range(min(len(words), start + _LONGEST), start, -1):
                things = self._of(words[start:end])
                if things:
                    found += things
                    start = end
                    break
            else:
                if words[start] not in _EMPTY:
                    unknown.append(words[start])
                start += 1
        return found, unknown

    def _of(self, words: list[str]) -> list[tuple[int, ...]]:
        key = plain(" ".join(words))
        for form in (key, *_singulars(key), *_bare(key)):
            if form in self._things and not (form == key and len(words) == 1 and form in _EMPTY):
                return [self._things[form]]
        if len(words) == 1 and _is_korean(key):
            for cut in range(1, len(key)):  # 빨간자동차
                first = self._things.get(key[:cut], ())
                rest = [self._things[form] for form in (key[cut:], *_bare(key[cut:])) if form in self._things]
                if rest and first and self._before.issuperset(first):
                    return [first, rest[0]]
        return []

    def near(self, word: str, most: int = 3) -> list[str]:
        """Names that were perhaps meant: with this word among theirs, then those that are written much like it (Korean by its letters)."""
        whole = [key for key in self._things if word in key.split()]
        korean = _is_korean(word)
        spelt = {_letters(key): key for key in self._things if _is_korean(key) == korean}
        alike = [spelt[one] for one in get_close_matches(_letters(word), list(spelt), most, _NEAR)]
        return [self._shown[key] for key in list(dict.fromkeys([*sorted(whole, key=len), *alike]))[:most]]

    def starting(self, prefix: str, most: int) -> list[str]:
        """Names that begin like this, the shortest first, then those of which a later word does; Korean also while a syllable is typed."""
        begin = _letters(plain(prefix))
        keys = sorted(self._things, key=lambda key: (len(key), key))
        first = [key for key in keys if _letters(key).startswith(begin)]
        later = [key for key in keys if key not in set(first) and any(_letters(word).startswith(begin) for word in key.split())]
        return [self._shown[key] for key in [*first, *later][:most]]


def plain_words(phrase: str) -> list[str]:
    """A phrase's words, each `plain`."""
    small = unicodedata.normalize("NFC", phrase).replace("-", " ").replace("_", " ").replace("/", " ")
    return [word for word in map(plain, small.split()) if word]


def _letters(text: str) -> str:
    """Korean syllables in their letters, so that 고양 is near 고얀 and 고 begins 곰; single letters, as they are typed, too (NFKD)."""
    return unicodedata.normalize("NFKD", text)


def _singulars(key: str) -> Iterator[str]:
    head, _, last = key.rpartition(" ")
    before = f"{head} " if head else ""
    if last in _IRREGULAR:
        yield before + _IRREGULAR[last]
    for ending, instead in _PLURALS:
        if last.endswith(ending) and len(last) > len(ending) + 1 and not last.endswith("ss"):
            yield before + last[: -len(ending)] + instead


def _bare(key: str) -> Iterator[str]:
    """Without a particle; Korean alone."""
    if _is_korean(key):
        for particle in _PARTICLES:
            if key.endswith(particle) and len(key) > len(particle):
                yield key[: -len(particle)]
