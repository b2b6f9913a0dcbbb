"""Which files pass the filters. Columns of the catalog are kept in memory until it changes, and what one filter let through with them."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..config import SIEVE_MASKS
from ..given import guess
from ..library.annotations import Column
from ..library.columns import Classes, Columns, Pictures, Places
from ..library.reading import Reader
from ..library.vectors import Numbers
from ..paths import as_text, nfc
from .filters import Filters, family
from .timeline import Timeline, timeline

__all__ = ["Passing", "Sieve"]

Mask = npt.NDArray[np.bool_]


class Passing(NamedTuple):
    """The files that pass, in order of their numbers, and their contents: int64 (F,) each."""

    files: Numbers
    contents: Numbers

    def has(self, number: int) -> bool:
        """Does this file pass?"""
        place = int(np.searchsorted(self.files, number))
        return place < len(self.files) and int(self.files[place]) == number


class Sieve:
    """Of one library; inside a snapshot of its reader. People ask several questions of one choice, and change one filter at a time."""

    def __init__(self, reader: Reader) -> None:
        self._columns: Columns = reader.columns()
        self._moment: tuple[int, int, int] | None = None
        self._forget()

    def _forget(self) -> None:
        self._classes: Classes | None = None
        self._known: frozenset[str] = frozenset()  # the classes
        self._places: Places | None = None
        self._pictures: Pictures | None = None
        self._annotations: dict[str, Column] = {}
        self._masks: dict[tuple[str, Any], Mask] = {}  # what each filter lets through, the one asked for last at the end
        self._last: tuple[object, Passing] | None = None

    # --- what passes --------------------------------------------------------------------------------------------------------

    def passing(self, filters: Filters) -> Passing:
        """Kept until the library or a filter changes."""
        classes = self.classes
        asked = tuple((name, getattr(filters, name)) for name in filters.of_files)
        if self._last is None or self._last[0] != asked:
            mask = self.mask(filters)
            self._last = asked, Passing(classes.numbers[mask], classes.contents[mask])
        return self._last[1]

    def mask(self, filters: Filters) -> Mask:
        """bool (F,), in the order of `classes`."""
        mask = np.ones(len(self.classes.numbers), np.bool_)
        for name in filters.of_files:
            mask &= self._let_through(name, getattr(filters, name))
        return mask

    def unknown(self, filters: Filters) -> list[tuple[str, str | None]]:
        """Those of the classes asked for that the library has not, each with the one that was likely meant."""
        names = (*filters.names, *filters.not_names)
        classes = self.classes.names if names else ()
        if all(name in self._known for name in names):  # as nearly always
            return []
        known = {nfc(name): name for name in classes if name}
        return [(name, known.get(guess(nfc(name), known) or "")) for name in names if nfc(as_text(name)) not in known]

    def counts(self, filters: Filters) -> dict[str, int]:
        """How many files of each class pass; classes without any are left out."""
        found = np.bincount(self.classes.codes[self.mask(filters)], minlength=len(self.classes.names))
        return {name: int(count) for name, count in zip(self.classes.names, found.tolist(), strict=True) if count}

    def dates(self, filters: Filters) -> tuple[Timeline, int, int]:
        """When the files that pass were taken; how many of these say it themselves; of how many in all it is not known yet."""
        mask = self.mask(filters)
        pictures = self.pictures
        return timeline(pictures.taken[mask]), int(pictures.own[mask].sum()), int(pictures.unread.sum())

    def formats(self, filters: Filters) -> list[tuple[str, int]]:
        """How many of the files that pass are of each format, the most first; kinds of one format are one."""
        found: dict[str, int] = {}
        counts = np.bincount(self.pictures.codes[self.mask(filters)], minlength=len(self.pictures.formats))
        for name, count in zip(self.pictures.formats, counts.tolist(), strict=True):
            if count:
                found[family(name)] = found.get(family(name), 0) + count
        return sorted(found.items(), key=lambda one: (-one[1], one[0]))

    # --- columns ------------------------------------------------------------------------------------------------------------

    @property
    def classes(self) -> Classes:
        moment = self._columns.moment
        if moment != self._moment or self._classes is None:
            self._renew(moment)
        assert self._classes is not None
        return self._classes

    def _renew(self, moment: tuple[int, int, int]) -> None:
        """Read what changed since; all of it where that is not known, or other things than files have changed."""
        was, classes, places, pictures = self._moment, self._classes, self._places, self._pictures
        self._forget()
        changes = None
        if was is not None and classes is not None and moment[1:] == was[1:]:
            changes = self._columns.changes(was[0], classes.numbers)
        if changes is not None:
            self._places = places and self._columns.places(places, changes)
            self._pictures = pictures and self._columns.pictures(pictures, changes)
            classes = self._columns.classes(classes, changes)
        else:
            classes = self._columns.classes()
        self._moment, self._classes, self._known = moment, classes, frozenset(classes.names)

    @property
    def places(self) -> Places:
        self.classes  # noqa: B018 - of this moment
        if self._places is None:
            self._places = self._columns.places()
        return self._places

    @property
    def pictures(self) -> Pictures:
        self.classes  # noqa: B018 - of this moment
        if self._pictures is None:
            self._pictures = self._columns.pictures()
        return self._pictures

    def annotation(self, name: str) -> Column:
        contents = self.classes.contents
        if name not in self._annotations:
            self._annotations[name] = self._columns.annotation(name, contents)
        return self._annotations[name]

    # --- one filter ---------------------------------------------------------------------------------------------------------

    def _let_through(self, name: str, value: Any) -> Mask:
        mask = self._masks.pop((name, value), None)
        if mask is None:
            mask = _FILTERS[name](self, value)
            while len(self._masks) >= SIEVE_MASKS:
                del self._masks[next(iter(self._masks))]
        self._masks[name, value] = mask
        return mask

    def of_classes(self, names: tuple[str, ...]) -> Mask:
        wanted = {nfc(as_text(name)) for name in names}
        return np.isin(self.classes.codes, [code for code, name in enumerate(self.classes.names) if nfc(name) in wanted])

    def of_formats(self, formats: tuple[str, ...]) -> Mask:
        return np.isin(self.pictures.codes, [code for code, name in enumerate(self.pictures.formats) if name in formats])

    def outside(self, folders: frozenset[str]) -> Mask:
        return ~np.isin(self.places.codes, [code for code, folder in enumerate(self.places.folders) if folder in folders])

    def on_path(self, pattern: str) -> Mask:
        """Most files are judged by their folder: where it matches a pattern that ends in "*", all its files do, and where what stands
        before that ends in "/", no other file does."""
        pattern = nfc(pattern).replace(os.sep, "/")
        matches = re.compile(fnmatch.translate(pattern)).match
        codes, folders, names, _ = self.places
        whole = np.array([pattern.endswith("*") and matches(folder) is not None for folder in folders], np.bool_)
        mask: Mask = whole[codes]
        if not pattern.endswith("/*"):
            rest = np.flatnonzero(~mask).tolist()
            of = codes.tolist()
            mask[[file for file in rest if matches(folders[of[file]] + names[file])]] = True
        return mask

    def on_none(self, patterns: tuple[str, ...]) -> Mask:
        mask = np.ones(len(self.classes.numbers), np.bool_)
        for pattern in patterns:
            mask &= ~self._let_through("path", pattern)
        return mask


_FILTERS: dict[str, Callable[[Sieve, Any], Mask]] = {
    "names": Sieve.of_classes,
    "not_names": lambda sieve, names: ~sieve.of_classes(names),
    "path": Sieve.on_path,
    "not_path": Sieve.on_none,
    "since": lambda sieve, moment: sieve.pictures.taken >= np.datetime64(moment),
    "until": lambda sieve, moment: sieve.pictures.taken < np.datetime64(moment),
    "min_pixels": lambda sieve, least: sieve.pictures.pixels >= least,
    "formats": Sieve.of_formats,
    "other_than": Sieve.outside,
    "where": lambda sieve, where: where.mask(sieve.annotation, len(sieve.classes.numbers)),
}
