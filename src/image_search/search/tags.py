"""What pictures show, in the built-in vocabulary's words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .. import given
from ..errors import ModelError, QueryError
from ..library.catalog import item_number
from ..library.reading import Reader
from ..models import Tag, Vocabulary, vocabulary_of
from ..types import Embedder
from .query import QueryReader, Source

__all__ = ["as_files", "known_words", "tags", "tags_each", "tags_of_contents", "vocabulary"]


def vocabulary(model: Embedder) -> Vocabulary:
    """The model's. ModelError: it has none."""
    found = vocabulary_of(model)
    if found is None:
        raise ModelError(f"model {model.fingerprint.name} has no vocabulary")
    return found


def as_files(sources: Iterable[Source], library: Reader | None) -> Iterator[Source]:
    """Ids of a library's images -> where they lie: their vectors there are another model's, and say nothing to this one."""
    for source in sources:
        number = item_number(source) if isinstance(source, str) else None
        item = library.item(number) if library is not None and number is not None else None
        yield source if item is None else item.path


def tags(sources: Iterable[Source], reader: QueryReader, words: Vocabulary) -> list[list[Tag]]:
    """For each picture, see `Vocabulary.tags`. Raises what `QueryReader.read` raises, for the first that cannot be used."""
    return [words.tags(query.vector) for query in reader.read_all(list(sources), ())]


def tags_each(sources: Iterable[Source], reader: QueryReader, words: Vocabulary) -> Iterator[list[Tag] | QueryError]:
    """Many, in their order, whole batches at once; for each its tags, or the error that says why there are none."""
    return (found if isinstance(found, QueryError) else words.tags(found.vector) for found in reader.read_each(sources))


def tags_of_contents(contents: Sequence[bytes], reader: Reader, words: Vocabulary) -> Iterator[list[Tag]]:
    """Of pictures (sha256) that a library has, by the vectors that it keeps: of the vocabulary's own model."""
    for sha256 in contents:
        content = reader.content_of(sha256)
        yield [] if content is None else words.tags(reader.vector(content))


def known_words(words: Vocabulary | None, prefix: object, most: object) -> list[str]:
    """Names of a vocabulary that begin like this; none where there is no vocabulary, and every word may be asked for."""
    begin, count = given.text(prefix, "the prefix"), given.whole(most, "n_results", most=1000)
    return [] if words is None else words.names.starting(begin, count)
