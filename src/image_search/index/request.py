"""What an index run is asked, checked before anything is opened or read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import given
from ..config import Limits
from ..errors import UsageError
from ..images.pool import decoder_name
from ..images.scan import Excluder
from .plan import Rules
from .run import Progress

__all__ = ["Request", "rules_of_reading"]


@dataclass(frozen=True, slots=True)
class Request:
    """One run: folders, how their files are looked at, what one may cost, whether it is a trial, who is told how far it is, whether what is
    new gets tags."""

    folders: list[str]
    rules: Rules
    limits: Limits
    dry_run: bool
    progress: bool | Progress
    tags: bool = False

    @classmethod
    def checked(
        cls,
        folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        name_from: str | None,
        exclude: str | Sequence[str],
        max_megapixels: float | None,
        verify: bool,
        prune: bool,
        reread: bool,
        any_name: bool,
        dry_run: bool,
        progress: bool | Progress,
        limits: Limits,
        tags: bool = False,
    ) -> Request:
        """Arguments as for `ImageSearchEngine.index`, in its order, and the engine's limits; UsageError for what makes no sense."""
        chosen = given.paths(folders, "the folder")
        if not chosen:
            raise UsageError("no folder was given")
        limits = _limits(limits, max_megapixels)
        rules = Rules(
            Excluder(given.texts(exclude, "exclude")),
            decoder_name(limits.megapixels),
            None if name_from is None else given.one_of(name_from, "name_from", ("folder", "none")),
            verify=given.truth(verify, "verify"),
            prune=given.truth(prune, "prune"),
            reread=given.truth(reread, "reread"),
            any_name=given.truth(any_name, "any_name"),
        )
        told = progress if callable(progress) else given.truth(progress, "progress")
        return cls(chosen, rules, limits, given.truth(dry_run, "dry_run"), told, given.truth(tags, "tags"))


def rules_of_reading(limits: Limits, max_megapixels: float | None) -> tuple[Rules, Limits]:
    """Where no folder is looked through: how pictures are read, and what one may cost. UsageError for what makes no sense."""
    limits = _limits(limits, max_megapixels)
    return Rules(Excluder(()), decoder_name(limits.megapixels)), limits


def _limits(limits: Limits, max_megapixels: float | None) -> Limits:
    return limits if max_megapixels is None else replace(limits, megapixels=given.number(max_megapixels, "max_megapixels"))
