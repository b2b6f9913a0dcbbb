"""What a match must be, and which files are that."""

from __future__ import annotations

import fnmatch
import os
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..given import guess
from ..library.facts import sensible
from ..library.reading import Reader
from ..library.vectors import Numbers
from ..paths import as_text, nfc

__all__ = ["Filters", "Passing", "Sieve"]


@dataclass(frozen=True, slots=True)
class Filters:
    """What a match must be.

    Attributes:
        names: one of these classes; empty: any.
        path: glob on the absolute path ("*" crosses folders).
        min_similarity: cosine at least this.
        min_closeness: closeness at least this.
        min_probability: probability at least this.
        leave_out: contents (sha256) that are not shown: the query itself.
    """

    names: tuple[str, ...] = ()
    path: str | None = None
    min_similarity: float | None = None
    min_closeness: float | None = None
    min_probability: float | None = None
    leave_out: frozenset[bytes] = frozenset()

    @property
    def by_file(self) -> bool:
        return bool(self.names or self.path)


@dataclass(frozen=True, slots=True)
class Passing:
    """The files that pass, and their contents: int64 (F,) each."""

    files: Numbers
    contents: Numbers

    def only(self, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Passing:
        return Passing(self.files[mask], self.contents[mask])


def _passing(numbers: array[int]) -> Passing:
    """From file, content, file, content, ..."""
    pairs = np.frombuffer(numbers, np.int64).reshape(-1, 2)
    return Passing(pairs[:, 0], pairs[:, 1])


class Sieve:
    """Tells which files pass; remembers its last answer, for people ask several questions of one choice."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._last: tuple[object, Passing] | None = None  # the last answer, and for what it is good
        self._classes: tuple[int, Passing, Numbers, dict[str, int]] | None = None  # generation, files, each one's class, its number

    def passing(self, filters: Filters) -> Passing:
        """Kept until the library or the filter changes."""
        asked = (self._reader.generation, filters.names, filters.path)
        if self._last is None or self._last[0] != asked:
            with sensible(self._reader.folder):
                found = self._of_class(filters.names) if filters.path is None else self._on_path(filters.path)
                if filters.path is not None and filters.names:
                    found = found.only(np.isin(found.files, self._of_class(filters.names).files))
            self._last = asked, found
        return self._last[1]

    def unknown(self, names: Sequence[str]) -> list[tuple[str, str | None]]:
        """Those of these classes that the library has not, each with the one that was likely meant."""
        if not names:
            return []
        self._of_class(names)
        assert self._classes is not None
        if all(name in self._classes[3] for name in names):  # as nearly always
            return []
        known = {nfc(name): name for name in self._classes[3] if name}
        return [(name, known.get(guess(nfc(name), known) or "")) for name in names if nfc(as_text(name)) not in known]

    def counts(self, filters: Filters) -> dict[str, int]:
        """How many files of each class pass; classes without any are left out."""
        numbers = self.passing(filters).files
        self._of_class(())  # knows the classes of this generation from here on
        assert self._classes is not None
        _, everything, classes, known = self._classes
        found = np.bincount(classes[np.isin(everything.files, numbers)], minlength=len(known))
        return {name: int(found[code]) for name, code in known.items() if found[code]}

    def _of_class(self, names: Sequence[str]) -> Passing:
        """Each file's class is kept as a number until the library changes (60 CPU ms at 100,000): any other class is one comparison."""
        generation = self._reader.generation
        if self._classes is None or self._classes[0] != generation:
            known: dict[str, int] = {}
            numbers, codes = array("q"), array("q")
            for number, content, name in self._reader.each_class():
                numbers.append(number)
                numbers.append(content)
                codes.append(known.setdefault(name, len(known)))
            self._classes = generation, _passing(numbers), np.frombuffer(codes, np.int64), known
        _, everything, classes, known = self._classes
        wanted = {nfc(as_text(name)) for name in names}
        return everything.only(np.isin(classes, [code for name, code in known.items() if nfc(name) in wanted]))

    def _on_path(self, pattern: str) -> Passing:
        matches = re.compile(fnmatch.translate(nfc(pattern).replace(os.sep, "/"))).match
        numbers = array("q")
        for number, content, path in self._reader.each_path():
            path = path.replace(os.sep, "/")
            if matches(path if path.isascii() else nfc(path)):
                numbers.append(number)
                numbers.append(content)
        return _passing(numbers)
