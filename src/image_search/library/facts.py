"""What a catalog says is read as a stranger's: a value that no program of ours has written there is an error of one line, or not used."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..advice import Advice, Setting, Verb
from ..errors import SALVAGE, LibraryDamagedError, LibraryError
from ..models.recipe import check_fingerprint
from ..types import Fingerprint, Float32

__all__ = [
    "DATASET_NAME",
    "are_units",
    "check_types",
    "check_vector",
    "checksum",
    "is_good_vector",
    "makes_sense",
    "must_be_no_dataset",
    "no_sense",
    "read_canonical",
    "read_fingerprint",
    "sensible",
]

DATASET_NAME = "dataset.json"  # of a data set: by it one is told from a library
_LENGTH = 1e-3  # how far a vector's length may be from 1; float32 rounds at 1e-7
_GENERATION = 2**62  # below it there is always a next one


def must_be_no_dataset(folder: Path) -> None:
    """LibraryError where a data set was named in a library's place."""
    if (folder / DATASET_NAME).is_file():
        hint = Advice("bring it into one with: ", Verb("load", (str(folder), Setting("library", "NEW.library"))))
        raise LibraryError("this is a data set, and no library", path=folder, hint=hint)


def read_fingerprint(text: object) -> Fingerprint:
    """A catalog's model. ValueError: the record makes no sense."""
    try:
        if not isinstance(text, str):
            raise TypeError
        found = Fingerprint.from_json(text)
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("no record of a model") from error
    check_fingerprint(found)
    return found


def read_canonical(blob: object, dim: int) -> Float32:
    """float32 (8, D), its vectors of the canonical pictures. ValueError: they are none."""
    if not isinstance(blob, bytes) or len(blob) != 8 * dim * 4:
        raise ValueError("no eight vectors")
    found = np.frombuffer(blob, "<f4").reshape(8, dim)
    if not are_units(found):
        raise ValueError("vectors that are not of length 1")
    return found


# --- facts of the whole library -------------------------------------------------------------------------------------------------


def _whole(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < _GENERATION


def _text(value: object) -> bool:
    return isinstance(value, str)


def _similarities(value: object) -> bool:
    """A closeness sample: float32, ascending, each a cosine."""
    if not isinstance(value, bytes) or not value or len(value) % 4:
        return False
    found = np.frombuffer(value, "<f4")
    return bool((found >= -1.01).all() and (found <= 1.01).all() and (found[1:] >= found[:-1]).all())  # False where it is NaN


def _words(value: object) -> bool:
    """What `models.words_record` says: a hash, then vectors of eight phrases, float32."""
    return (
        isinstance(value, bytes) and len(value) > 32 and len(value) % 32 == 0 and bool(np.isfinite(np.frombuffer(value[32:], "<f4")).all())
    )


_FACTS: dict[str, Callable[[object], bool]] = {
    "generation": _whole,
    "closeness": _similarities,
    "closeness_generation": _whole,
    "closeness_definition": _whole,
    "annotated": _whole,
    "dated": _whole,
    "library_id": _text,
    "past": lambda value: isinstance(value, bytes) and len(value) % 8 == 0,
    "runtime": _text,
    "store": _text,
    "store_generation": _whole,
    "words": _words,
}


def makes_sense(key: str, value: object) -> bool:
    """Can this be the fact of this name? What we do not know by name can be anything."""
    return key not in _FACTS or _FACTS[key](value)


# --- rows -------------------------------------------------------------------------------------------------------------------


def check_types(rows: Sequence[tuple[Any, ...]], types: tuple[type, ...], folder: Path) -> None:
    """LibraryDamagedError unless each row's values are of these types: SQLite keeps any value in any column."""
    for row in rows:
        if tuple(map(type, row)) != types:
            raise no_sense(folder)


@contextlib.contextmanager
def sensible(folder: Path) -> Iterator[None]:
    """Around making something of very many rows, where looking at the type of each would cost too much."""
    try:
        yield
    except (TypeError, ValueError, OverflowError, KeyError, AttributeError) as error:
        raise no_sense(folder) from error


def no_sense(folder: Path) -> LibraryDamagedError:
    return LibraryDamagedError("the catalog holds values that make no sense", path=folder, hint=SALVAGE)


# --- vectors ----------------------------------------------------------------------------------------------------------------


def checksum(vector: bytes) -> int:
    return zlib.crc32(vector)


def are_units(vectors: Float32) -> bool:
    """Are these float32 (N, D) all finite and of length 1? 3 ms for 100,000 of 384 numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(vectors, vectors)  # (N,)
    return bool((np.abs(squares - 1) < 2 * _LENGTH).all())  # False where it is NaN


def check_vector(vector: object, check: object, dim: int, whose: str, folder: Path) -> None:
    """LibraryDamagedError unless these are the bytes that were written, and a vector of length 1."""
    if not is_good_vector(vector, check, dim):
        raise LibraryDamagedError(f"the vector of {whose} is damaged", path=folder, hint=SALVAGE)


def is_good_vector(vector: object, check: object, dim: int) -> bool:
    if not isinstance(vector, bytes) or zlib.crc32(vector) != check or len(vector) != 4 * dim:
        return False
    return are_units(np.frombuffer(vector, "<f4")[None, :])
