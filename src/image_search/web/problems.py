"""An error as the page gets it: plain words, in the page's own way. Knows nothing of HTTP."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from ..advice import TAKEN_BY, Named, Setting, in_shell, told
from ..errors import DecodeError, ImageSearchError, QueryError
from ..paths import shown
from .schemas import Problem

__all__ = ["ChangedError", "UnknownIdError", "line_of", "malformed", "plain", "problem_of"]


class UnknownIdError(QueryError):
    """An id of an image or of a given picture that is not, or no longer, there."""


class ChangedError(QueryError):
    """What was asked about is no longer kept: the library has changed, or something else was asked since."""


def problem_of(error: Exception) -> Problem:
    """What went wrong, where, what to do next; the decoder's reason where there is one."""
    cause = error if isinstance(error, DecodeError) else error.__cause__
    path = getattr(error, "path", None)
    what = plain(getattr(error, "what", str(error)))
    return Problem(
        code=type(error).__name__.removesuffix("Error"),
        message=what if path is None else f"{what}: {shown(path)}",
        hint=plain(getattr(error, "hint", "")),
        reason=cause.reason.name if isinstance(cause, DecodeError) else "",
    )


def line_of(error: ImageSearchError) -> str:
    """The same for the terminal that the page was started in."""
    return shown(error.told(functools.partial(in_shell, running="serve")))


# What pydantic finds -> what it means. {} is what it says of the limit.
_WRONG = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "string_type": "must be text",
    "list_type": "must be a list",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "string_too_short": "is too short",
    "string_too_long": "must have at most {max_length} letters",
    "string_pattern_mismatch": "is no id",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "json_invalid": "is no JSON",
    "value_error": "{error}",  # our own words
}


def malformed(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """A request that is not of the documented form: where, and what it must be; the first three of what is wrong."""
    said = []
    for one in errors[:3]:
        place = ".".join(str(part) for part in one["loc"] if part not in ("body", "query", "path"))
        if one["type"] == "json_invalid":
            place = ""  # it is a number of letters
        words = _WRONG.get(one["type"], "is not as documented").format(**one.get("ctx", {}))
        said.append(f"{shown(place[:_PLACE_LETTERS]) or 'the body'} {words}")
    return Problem(code="Malformed", message=f"the request is not of the documented form: {'; '.join(said)}", hint=_DOCUMENT, reason="")


_PLACE_LETTERS = 100  # who asks chooses the names
_DOCUMENT = "/api/docs shows the form"


def plain(text: str) -> str:
    """Text for the page: advice in its words, control characters escaped."""
    return shown(told(text, _on_the_page))


def _on_the_page(named: Named) -> str:
    """A verb as it is typed in a terminal; a setting as "the option --max-megapixels of image-search serve".

    The page has no fields for them: who started it has a terminal beside it.
    """
    if not isinstance(named, Setting):
        return in_shell(named)
    takers = TAKEN_BY.get(named.name, ("serve",))
    return f"the option {in_shell(named)} of image-search {'serve' if 'serve' in takers else takers[0]}"
