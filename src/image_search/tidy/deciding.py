"""What the user decides of pictures that were shown as copies: which pictures are meant, and whether it makes sense."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace

from .. import given
from ..advice import Advice, Verb
from ..errors import IDS, QueryError, UsageError
from ..library.catalog import item_number
from ..library.decisions import Decision, Word
from ..library.reading import Reader
from ..paths import uri_of

__all__ = ["checked", "listed"]


def checked(reader: Reader, word: str, pictures: Sequence[str | os.PathLike[str]]) -> tuple[Word, list[bytes]]:
    """The word, and sha256 of each picture that is named by path or id.

    Raises:
        UsageError: an unknown word, too few pictures, one of them twice, two that are one. QueryError: a picture is not in the library.
    """
    found = Word(given.one_of(word, "word", [one.value for one in Word]))
    hashes = [_sha256(reader, given.path(picture, "the picture")) for picture in pictures]
    if not hashes:
        raise UsageError("no picture was named", hint="give paths or ids")
    if found == Word.NOT_THE_SAME and len(hashes) < 2:
        raise UsageError("one picture alone cannot differ from others", hint="name two or more")
    if len({_place(reader, picture) for picture in pictures}) < len(hashes):
        raise UsageError("the same picture was named twice", hint="name each picture once")
    if found == Word.NOT_THE_SAME and len(set(hashes)) < len(hashes):
        raise UsageError("two of these have the same bytes", hint=f"say {Word.LEAVE.value!r} of them to see them no more")
    return found, hashes


def _place(reader: Reader, picture: str | os.PathLike[str]) -> str:
    """Where the file lies: two files of the same bytes are two pictures, one file is not."""
    name = given.path(picture, "the picture")
    item = None if (number := item_number(name)) is None else reader.item(number)
    return os.path.realpath(os.path.expanduser(name if item is None else item.path))


def _sha256(reader: Reader, name: str) -> bytes:
    if (number := item_number(name)) is not None:
        if (sha256 := reader.sha256_of(number)) is None:
            raise QueryError(f"there is no image {name} in the library", hint=IDS)
        return sha256
    path = os.path.realpath(os.path.expanduser(name))
    if not os.path.isfile(path):
        raise QueryError("there is no such file", path=name, hint="check the path")

    try:
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise QueryError(
            f"the file cannot be read ({(error.strerror or 'error').lower()})", path=name, hint="check its permissions"
        ) from error
    if reader.content_of(sha256) is None:
        raise QueryError(
            "this picture is not in the library", path=name, hint=Advice("index its folder first: ", Verb("index", ("FOLDER",)))
        )
    return sha256


def listed(reader: Reader) -> list[Decision]:
    """All decisions, with where their pictures lie now."""
    return [replace(one, uris=tuple(_where(reader, sha256) for sha256 in one.pictures)) for one in reader.decisions()]


def _where(reader: Reader, sha256: bytes) -> str:
    content = reader.content_of(sha256)
    return min((uri_of(file.path) for file in ([] if content is None else reader.files_with([content]))), default="")
