"""What a match must be: filters as they are given, checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from .. import given
from ..advice import Advice, Setting
from ..errors import UsageError
from ..images.formats import FORMATS
from ..types import Match
from .where import Where, parsed

__all__ = ["Filters", "family", "formats_named", "known_formats", "undated_line"]

_TWINS = {"JPEG": ("JPEG", "MPO")}  # MPO is a JPEG of several pictures


@dataclass(frozen=True, slots=True)
class Filters:
    """What a match must be.

    Attributes:
        names: one of these classes; empty: any. not_names: none of these.
        path: glob on the absolute path ("*" crosses folders). not_path: none of these globs.
        since, until: taken at this moment or later, before this one; the camera's own clock, or that of the file's time where the picture
            says none. None: any.
        min_pixels: width times height at least this.
        formats: one of these, as the catalog names them; empty: any.
        where: a condition on the columns of the user's own table, see `search.where`.
        other_than: folders (absolute, "/" at the end, NFC) whose own files are left out: those of the query.
        min_similarity: cosine at least this.
        min_closeness: closeness at least this.
        min_probability: probability at least this.
        leave_out: contents (sha256) that are not shown: the query itself.
    """

    names: tuple[str, ...] = ()
    not_names: tuple[str, ...] = ()
    path: str | None = None
    not_path: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    min_pixels: int | None = None
    formats: tuple[str, ...] = ()
    where: Where | None = None
    other_than: frozenset[str] = frozenset()
    min_similarity: float | None = None
    min_closeness: float | None = None
    min_probability: float | None = None
    leave_out: frozenset[bytes] = frozenset()

    @property
    def of_files(self) -> tuple[str, ...]:
        """Which of those are on that files pass or not, whatever is searched for."""
        return tuple(name for name in _OF_FILES if getattr(self, name) not in (None, (), frozenset()))

    @property
    def by_file(self) -> bool:
        return bool(self.of_files)

    @property
    def by_date(self) -> bool:
        return self.since is not None or self.until is not None

    @classmethod
    def checked(
        cls,
        *,
        names: str | Sequence[str] | None = (),
        not_names: str | Sequence[str] | None = (),
        path: str | os.PathLike[str] | None = None,
        not_path: str | Sequence[str] | None = (),
        since: Any = None,
        until: Any = None,
        min_pixels: int | None = None,
        formats: str | Sequence[str] | None = (),
        where: str | None = None,
        min_similarity: float | None = None,
        min_closeness: float | None = None,
        min_probability: float | None = None,
    ) -> Filters:
        """Arguments as for `ImageSearchEngine.search`; UsageError for what makes no sense."""
        similar = Advice("for example ", Setting("min_similarity", ".5"))
        close = Advice("for example ", Setting("min_closeness", ".5"))
        likely = Advice("for example ", Setting("min_probability", ".5"))
        pixels = Advice("for example ", Setting("min_pixels", "2000000"))
        day = Advice("for example ", Setting("since", "2024-05-01"), " or ", Setting("until", "2024"))
        first = None if since is None else given.dates(since, "since", hint=day)[0]
        after = None if until is None else given.dates(until, "until", hint=day)[1]
        if first is not None and after is not None and first >= after:
            raise UsageError("until is before since, so nothing can pass", hint=day)
        return cls(
            names=given.texts(names, "names"),
            not_names=given.texts(not_names, "not_names"),
            path=None if path is None else given.path(path, "path"),
            not_path=given.texts(not_path, "not_path"),
            since=first,
            until=after,
            min_pixels=None if min_pixels is None else given.whole(min_pixels, "min_pixels", most=10**12, hint=pixels),
            formats=formats_named(given.texts(formats, "formats")),
            where=None if where is None else parsed(given.text(where, "where")),
            min_similarity=(
                None if min_similarity is None else given.number(min_similarity, "the least similarity", least=-1, most=1, hint=similar)
            ),
            min_closeness=(
                None if min_closeness is None else given.number(min_closeness, "the least closeness", least=0, most=1, hint=close)
            ),
            min_probability=(
                None if min_probability is None else given.number(min_probability, "the least probability", least=0, most=1, hint=likely)
            ),
        )


_OF_MATCHES = ("min_similarity", "min_closeness", "min_probability", "leave_out")
_OF_FILES = tuple(field.name for field in fields(Filters) if field.name not in _OF_MATCHES)


def known_formats() -> list[str]:
    """Names of all formats that are read, in the order of their table."""
    return [row.name for row in FORMATS if row.plugin]


def family(format: str) -> str:
    """Under which name a format of the catalog is asked for."""
    return next((name for name, kinds in _TWINS.items() if format in kinds), format)


def formats_named(words: Sequence[str]) -> tuple[str, ...]:
    """The catalog's names of formats, by theirs or by an ending of their files ("heic", ".jpg"). UsageError for what is neither."""
    known = {row.name.casefold(): row.name for row in FORMATS if row.plugin}
    known |= {ending.lstrip("."): row.name for row in FORMATS if row.plugin for ending in row.extensions}
    found: list[str] = []
    for word in words:
        name = known.get(word.casefold().lstrip("."))
        if name is None:
            near = given.guess(word.lstrip("."), known)
            hint = f"did you mean {known[near]}?" if near else f"it is one of {', '.join(known_formats())}"
            raise UsageError(f"{word[:40]!r} is no format that is read here", hint=hint)
        found += _TWINS.get(name, (name,))
    return tuple(dict.fromkeys(found))


def undated_line(found: Sequence[Match]) -> list[str]:
    """Under a search by date: of how many of these the file's time stood in."""
    count = sum(not match.captured for match in found)
    return [f"{count:,} of these {len(found):,} do not say when they were taken: the times of their files count"] if count else []
