"""`where`: a condition on the columns of the user's own table, such as "price < 20 and brand = 'x'".

    condition  = part { "or" part }          part   = test { "and" test }
    test       = "not" test | "(" condition ")" | column op value | column "in" "(" value { "," value } ")"
               | column ["not"] "like" 'glob' | column "is" ["not"] "missing"
    op         = "=" | "!=" | "<" | "<=" | ">" | ">="
    column     = letters, digits, "_" and "-", or anything in "double quotes"      value = number | 'text' | 'date' | word

The grammar is closed: nothing is called and nothing else is reached. Where a value is missing, no comparison with it is true, "!=" neither.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import given
from ..errors import UsageError
from ..library.annotations import Column
from ..paths import nfc

__all__ = ["Where", "parsed"]

Mask = npt.NDArray[np.bool_]
_LONGEST, _DEEPEST = 2000, 50  # characters; parentheses in parentheses
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")+")|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w-]))"""
    r"""|(?P<op><=|>=|!=|<>|==|=|<|>)|(?P<mark>[(),])|(?P<word>\w[\w-]*))"""
)
_OPS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne, "<>": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_EXAMPLE = "for example price < 20 and brand = 'x'"
_WORDS = ("and", "or", "not", "in", "like", "is", "missing")


class _Test(NamedTuple):
    """A column compared: `what` is an operator, "in", "like" or "missing"."""

    column: str
    what: str
    values: tuple[str | float, ...] = ()


class _All(NamedTuple):
    parts: tuple[Any, ...]


class _Any(NamedTuple):
    parts: tuple[Any, ...]


class _Not(NamedTuple):
    part: Any


@dataclass(frozen=True, slots=True)
class Where:
    """A condition, read. It knows no library: whether there are such columns is found when it is asked."""

    text: str
    tree: Any

    def mask(self, column: Callable[[str], Column], files: int) -> Mask:
        """bool (F,): for which files it is true. `column` gives one by its name, its values in the order of the files."""
        return _mask(self.tree, column, files)


def parsed(text: str) -> Where:
    """UsageError, with the place, for what is no condition."""
    if len(text) > _LONGEST:
        raise UsageError(f"a condition has at most {_LONGEST} characters", hint=_EXAMPLE)
    return Where(text, _Reader(text).whole())


class _Token(NamedTuple):
    kind: str  # "text", "quoted", "number", "op", "mark", "word"; "": the end
    value: str
    at: int


class _Reader:
    """By recursive descent."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._next = 0
        self._deep = 0

    def _split(self) -> Iterator[_Token]:
        at = 0
        while self._text[at:].strip():
            found = _TOKEN.match(self._text, at)
            if found is None:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                if self._text[at] in "'\"":
                    raise self._error(f"the {self._text[at]} is not closed", at)
                raise self._error(f"{self._text[at]!r} means nothing here", at)
            kind = str(found.lastgroup)
            yield _Token(kind, found[kind], found.start(kind))
            at = found.end()
        yield _Token("", "", len(self._text))

    def _error(self, what: str, at: int) -> UsageError:
        near = self._text[at : at + 20].strip()
        place = f"before {near!r}" if near else "at its end"
        return UsageError(f"this condition cannot be read: {what} ({place})", hint=_EXAMPLE)

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._token
        self._next += bool(token.kind)
        return token

    def _is(self, word: str) -> bool:
        token = self._token
        found = token.value.lower() == word and token.kind in ("word", "mark")
        self._next += found
        return found

    def whole(self) -> Any:
        tree = self._condition()
        if self._token.kind:
            raise self._error("here it could end, or go on with and / or", self._token.at)
        return tree

    def _condition(self) -> Any:
        parts = [self._part()]
        while self._is("or"):
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else _Any(tuple(parts))

    def _part(self) -> Any:
        parts = [self._test()]
        while self._is("and"):
            parts.append(self._test())
        return parts[0] if len(parts) == 1 else _All(tuple(parts))

    def _test(self) -> Any:
        self._deep += 1
        if self._deep > _DEEPEST:
            raise self._error("it is too deep", self._token.at)
        try:
            if self._is("not"):
                return _Not(self._test())
            if self._is("("):
                inner = self._condition()
                self._must(")")
                return inner
            return self._comparison()
        finally:
            self._deep -= 1

    def _must(self, mark: str) -> None:
        if not self._is(mark):
            raise self._error(f"{mark!r} is missing", self._token.at)

    def _comparison(self) -> Any:
        token = self._take()
        if token.kind not in ("word", "quoted") or (token.kind == "word" and token.value.lower() in _WORDS):
            raise self._error("a column's name is missing", token.at)
        column = token.value[1:-1].replace('""', '"') if token.kind == "quoted" else token.value
        column = nfc(column)
        if self._is("is"):
            positive = not self._is("not")
            if not self._is("missing"):
                raise self._error("after is comes missing or not missing", self._token.at)
            return _Test(column, "missing") if positive else _Not(_Test(column, "missing"))
        if self._is("not"):
            if not self._is("like"):
                raise self._error("after the column's name and not comes like", self._token.at)
            return _All((_Not(_Test(column, "missing")), _Not(_Test(column, "like", (self._value(),)))))
        if self._is("like"):
            return _Test(column, "like", (self._value(),))
        if self._is("in"):
            return _Test(column, "in", self._values())
        token = self._take()
        if token.kind != "op":
            raise self._error(f"after {column!r} comes =, !=, <, <=, >, >=, in, like or is", token.at)
        return _Test(column, token.value, (self._value(),))

    def _values(self) -> tuple[str | float, ...]:
        self._must("(")
        values = [self._value()]
        while self._is(","):
            values.append(self._value())
        self._must(")")
        return tuple(values)

    def _value(self) -> str | float:
        token = self._take()
        if token.kind == "number":
            return float(token.value)
        if token.kind in ("text", "quoted"):
            mark = token.value[0]
            return nfc(token.value[1:-1].replace(mark * 2, mark))
        if token.kind == "word" and token.value.lower() not in _WORDS:
            return nfc(token.value)
        raise self._error("a value is missing: a number, or a text in 'quotes'", token.at)


def _mask(tree: Any, column: Callable[[str], Column], files: int) -> Mask:
    if isinstance(tree, _Not):
        return ~_mask(tree.part, column, files)
    if isinstance(tree, (_All, _Any)):
        join = np.logical_and if isinstance(tree, _All) else np.logical_or
        masks = [_mask(part, column, files) for part in tree.parts]
        whole: Mask = join.reduce(masks)
        return whole
    found = column(tree.column)
    if tree.what == "missing":
        return found.codes < 0
    true = np.array([*_true_of(tree, found), False], np.bool_)  # of each different value; the last is that of a missing one
    return true[found.codes]


def _true_of(test: _Test, column: Column) -> list[bool]:
    """For each different value of the column: is the test true?"""
    if test.what == "like":
        glob = re.compile(fnmatch.translate(str(_as(test.values[0], "text", column)).casefold())).match
        if column.kind != "text":
            raise UsageError(f"like is for text, and {column.name!r} holds {column.kind}s", hint="compare it with =, < or >")
        return [glob(str(value).casefold()) is not None for value in column.values]
    wanted = [_as(value, column.kind, column) for value in test.values]
    if test.what == "in":
        return [value in wanted for value in column.values]
    compare = _OPS[test.what]
    if column.kind == "date" and len(str(wanted[0])) < 19:  # a day, month or year: as a whole, by as much of the values
        return [bool(compare(str(value)[: len(str(wanted[0]))], wanted[0])) for value in column.values]
    return [bool(compare(value, wanted[0])) for value in column.values]


def _as(value: str | float, kind: str, column: Column) -> str | float:
    if kind == "number":
        if isinstance(value, float):
            return value
        raise UsageError(f"{column.name!r} holds numbers, and {value[:40]!r} is none", hint=f"for example {column.name} < 20")
    text = f"{value:g}" if isinstance(value, float) else value
    if kind == "date":
        given.dates(text, "the date", hint=f"for example {column.name} >= '2024-05-01'")
    return text
