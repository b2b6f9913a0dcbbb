"""An error as the page gets it: plain words, in the page's own way. Knows nothing of HTTP."""

from __future__ import annotations

import functools

from ..advice import TAKEN_BY, Named, Setting, in_shell, told
from ..errors import DecodeError, ImageSearchError
from ..paths import shown
from .schemas import Problem

__all__ = ["line_of", "plain", "problem_of"]


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
