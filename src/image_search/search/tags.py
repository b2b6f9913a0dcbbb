"""What pictures show, in the built-in vocabulary's words."""

from __future__ import annotations

from collections.abc import Sequence

from .. import given
from ..errors import ModelError
from ..library.catalog import item_number
from ..library.reading import Reader
from ..models import Tag, Vocabulary, vocabulary_of
from ..types import Embedder
from .query import QueryReader, Source

__all__ = ["as_files", "known_words", "tags", "vocabulary"]


def vocabulary(model: Embedder) -> Vocabulary:
    """The model's. ModelError: it has none."""
    found = vocabulary_of(model)
    if found is None:
        raise ModelError(f"model {model.fingerprint.name} has no vocabulary")
    return found


def as_files(sources: Sequence[Source], library: Reader | None) -> list[Source]:
    """Ids of a library's images -> where they lie: their vectors there are another model's, and say nothing to this one."""
    found: list[Source] = []
    for source in sources:
        number = item_number(source) if isinstance(source, str) else None
        item = library.item(number) if library is not None and number is not None else None
        found.append(source if item is None else item.path)
    return found


def tags(sources: Sequence[Source], reader: QueryReader, words: Vocabulary) -> list[list[Tag]]:
    """For each picture, see `Vocabulary.tags`. Raises what `QueryReader.read` raises, for the first that cannot be used."""
    return [words.tags(query.vector) for query in reader.read_all(sources, ())]


def known_words(words: Vocabulary | None, prefix: object, most: object) -> list[str]:
    """Names of a vocabulary that begin like this; none where there is no vocabulary, and every word may be asked for."""
    begin, count = given.text(prefix, "the prefix"), given.whole(most, "n_results", most=1000)
    return [] if words is None else words.names.starting(begin, count)
