"""Which numbers a question's matches have beside their similarity: closeness is of pictures, a probability of words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..advice import Advice, Setting
from ..errors import UsageError
from ..models import calibration_of
from ..types import TextEmbedder
from .filters import Filters

__all__ = ["OF_PICTURES", "Meaning", "meaning_of"]


class Meaning(NamedTuple):
    """What a cosine can be held against.

    Attributes:
        closeness: the cosines between the library's pictures, as it is between pictures, too.
        calibration: the model's trained scale and bias, as the question is one phrase; None: nothing was trained for it.
    """

    closeness: bool = True
    calibration: tuple[float, float] | None = None


OF_PICTURES = Meaning()


def meaning_of(phrases: Sequence[str | None], filters: Filters, model: Callable[[], TextEmbedder]) -> Meaning:
    """Of a whole question. A sum of several parts has a vector that no training has seen: it has no probability.

    Args:
        phrases: for each of its parts its words; None: it is a picture.
        model: the library's, asked only for one phrase.

    Raises:
        UsageError: a filter asks for a number that these queries do not have.
    """
    if all(phrase is None for phrase in phrases):
        if filters.min_probability is not None:
            raise UsageError("a probability is given to words, and these are pictures", hint=_SIMILARITY)
        return OF_PICTURES
    if filters.min_closeness is not None:
        raise UsageError("closeness compares pictures, and these are words", hint=_SIMILARITY)
    calibration = calibration_of(model(), phrases[0]) if len(phrases) == 1 and phrases[0] is not None else None
    if filters.min_probability is not None and calibration is None:
        what = "a probability is given to one phrase alone, and this is more"
        if len(phrases) == 1:
            what = f"model {model().fingerprint.name} was trained without a probability for words"
        raise UsageError(what, hint=_SIMILARITY)
    return Meaning(closeness=False, calibration=calibration)


_SIMILARITY = Advice("use ", Setting("min_similarity"))
