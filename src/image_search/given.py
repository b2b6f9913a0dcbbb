"""What a caller gives, checked: a value of the wrong kind is a `UsageError` of one line that says which one and what kind it was.

Each takes the value and `what`, the parameter's name, and returns the value as one plain kind. Python's own truth of anything, a text
taken for a list of its letters, and a number read from a text are refused: they hide a slip.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from typing import Any, TypeVar

from .errors import UsageError
from .paths import as_text, local_path

__all__ = ["dates", "function", "guess", "number", "one_of", "path", "paths", "text", "texts", "truth", "whole"]

T = TypeVar("T")
_TRUTHS = ("bool", "bool_")  # Python's and NumPy's


def _wrong(what: str, wanted: str, value: object, hint: str = "") -> UsageError:
    return UsageError(f"{what} must be {wanted}, not {type(value).__name__}", hint=hint)


def text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise _wrong(what, "a text", value)
    return str(value)


def texts(values: object, what: str) -> tuple[str, ...]:
    """One text or several; None is none."""
    if values is None or isinstance(values, str):
        return () if values is None else (str(values),)
    if isinstance(values, Iterable) and not isinstance(values, (bytes, bytearray, dict)):
        found = tuple(values)
        if all(isinstance(one, str) for one in found):
            return tuple(map(str, found))
        values = next(one for one in found if not isinstance(one, str))
    raise _wrong(what, "a text or a list of texts", values)


def path(value: object, what: str) -> str:
    """A path's text, also of a file: address; one that no system can have is refused, too."""
    found = os.fspath(value) if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(found, str):
        raise _wrong(what, "a path, as text or Path", value)
    found = local_path(found)
    try:
        possible = b"\0" not in os.fsencode(found)
    except UnicodeEncodeError:  # half of a character
        possible = False
    if not possible:
        raise UsageError(f"{what} is no path: no file can have this name", path=found, hint="check the name")
    return found


def paths(values: object, what: str) -> list[str]:
    """One path or several."""
    if isinstance(values, Iterable) and not isinstance(values, (str, bytes, bytearray, dict, os.PathLike)):
        return [path(one, what) for one in values]
    return [path(values, what)]


def number(value: Any, what: str, *, least: float = -math.inf, most: float = math.inf, hint: str = "") -> float:
    """A number of any kind from `least` to `most`, finite."""
    try:
        found = math.nan if type(value).__name__ in _TRUTHS or not hasattr(value, "__float__") else float(value)
    except (TypeError, ValueError, OverflowError):  # an array of many, an integer beyond all bounds
        found = math.nan
        if isinstance(value, int):
            raise UsageError(f"{what} is too large a number", hint=hint) from None
    if math.isnan(found) and not isinstance(value, float):
        raise _wrong(what, "a number", value, hint)
    if not (math.isfinite(found) and least <= found <= most):
        raise UsageError(f"{what} {_between(least, most)}, and is not {found:g}", hint=hint)
    return found


def _between(least: float, most: float) -> str:
    if math.isfinite(least) and math.isfinite(most):
        return f"goes from {least:g} to {most:g}"
    return "is a finite number" if not math.isfinite(least) else f"is a number from {least:g} on"


def whole(value: Any, what: str, *, least: int = 1, most: int | None = None, hint: str = "") -> int:
    """A whole number of any kind, NumPy's too, from `least` to `most`."""
    try:
        found = None if type(value).__name__ in _TRUTHS else operator.index(value)
    except TypeError:
        found = None
    if found is None:
        raise _wrong(what, "a whole number", value, hint)
    if found < least:
        raise UsageError(f"{what} must be a whole number, at least {least}, not {found}", hint=hint)
    if most is not None and found > most:
        raise UsageError(f"{what} must be a whole number, at most {most}", hint=hint)
    return found


_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?)?)?")


def dates(value: object, what: str, *, hint: str = "") -> tuple[datetime, datetime]:
    """The first moment of a year, month, day, minute or second ("2024", "2024-05", "2024-05-01", "2024-05-01T12:30"), the first after it.

    Also of a `date` or a `datetime`. By a clock on a wall: one that names its time zone is refused.
    """
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            raise UsageError(f"{what} is a time of the camera's own clock, and takes no time zone", hint=hint)
        value = value.isoformat(timespec="seconds")
    elif isinstance(value, date):
        value = value.isoformat()
    if not isinstance(value, str):
        raise _wrong(what, "a date", value, hint)
    match = _DATE.fullmatch(value)
    if match is None:
        raise UsageError(f"{what} is no date: {as_text(value)[:40]!r}", hint=hint)
    parts = [int(part) for part in match.groups() if part is not None]
    try:
        first = datetime(*(parts + [1, 1][len(parts) - 1 :]))  # type: ignore[arg-type]
        return first, _after(first, len(parts))
    except ValueError as error:
        raise UsageError(f"{what} is no date of the calendar: {value}", hint=hint) from error


def _after(first: datetime, parts: int) -> datetime:
    """The next year, month, day, minute, second, by how many parts were given; the last moment there is, where there is none."""
    try:
        if parts == 1:
            return first.replace(year=first.year + 1)
        if parts == 2:
            return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
        return first + {3: timedelta(days=1), 5: timedelta(minutes=1), 6: timedelta(seconds=1)}[parts]
    except (ValueError, OverflowError):
        return datetime.max


def truth(value: Any, what: str) -> bool:
    if type(value).__name__ in _TRUTHS or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise _wrong(what, "True or False", value)


def function(value: Callable[..., T], what: str) -> Callable[..., T]:
    if not callable(value):
        raise _wrong(what, "a function", value)
    return value


def one_of(value: Any, what: str, words: Iterable[str]) -> str:
    known = tuple(words)
    if not isinstance(value, str):
        raise _wrong(what, f"one of {', '.join(known)}", value)
    if value not in known:
        raise UsageError(f"{what} must be one of {', '.join(known)}, not {value!r}")
    return value


def guess(word: str, known: Iterable[str]) -> str | None:
    """The one of these that was most likely meant by a word that is none of them; None where none is near."""
    words = list(known)
    lower = word.casefold()
    same = [one for one in words if one.casefold() == lower]
    near = {one.casefold(): one for one in reversed(words)}
    return next(iter(same), None) or next((near[one] for one in get_close_matches(lower, near, n=1, cutoff=0.7)), None)
