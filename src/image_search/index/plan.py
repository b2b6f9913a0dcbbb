"""What an index run has to do: compares the folders with the catalog, before anything is decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import HINTS, ImageSearchError, SkipReason
from ..images.scan import Excluder, ImageFile, NotIndexed, scan
from ..library.catalog import Catalog
from ..library.folders import Target, adopt, forgotten
from ..library.schema import State
from ..library.worklist import Worklist
from ..paths import as_text, from_bytes, shown
from ..types import Skipped

_REASONS = frozenset(reason.value for reason in SkipReason)

__all__ = ["Plan", "Rules", "make_plan", "skipped"]


@dataclass(frozen=True, slots=True)
class Rules:
    """How an index run looks at files.

    Attributes:
        excluder: what is left out by name.
        decoder: version and limits of the decoder: a file that it could not read is not tried again by the same one.
        name_from: "folder", "none", or None: as before.
        verify: hash every file, whatever its stat says.
        prune: what is gone leaves the library for good.
    """

    excluder: Excluder
    decoder: str
    name_from: str | None = None
    verify: bool = False
    prune: bool = False


@dataclass(slots=True)
class Plan:
    """What the walk found; the files to be worked on are in `work`."""

    work: Worklist
    todo: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def targets(self) -> list[Target]:
        return self.work.targets


def skipped(path: str, reason: SkipReason | str) -> Skipped:
    known = SkipReason(reason)
    return Skipped(shown(path), known.value, HINTS[known])


def make_plan(catalog: Catalog, folders: Sequence[str | os.PathLike[str]], rules: Rules) -> Plan:
    """Walk every folder and note what is new, changed or to be verified. Inside the caller's transaction.

    A folder that cannot be listed at all keeps its images; its target's `unreadable` says so.

    Raises:
        UsageError: no such folder. ImageSearchError: it cannot be read, or there is no image in any of them.
    """
    plan = Plan(Worklist(catalog, adopt(catalog, folders, rules.name_from)))
    never = {os.path.realpath(catalog.folder), *map(from_bytes, forgotten(catalog))}  # passed by in silence
    for target in plan.targets:
        for found in scan(from_bytes(target.root), below=target.below, excluder=rules.excluder, never=never):
            if isinstance(found, NotIndexed):
                if found.folder:
                    target.unreadable.append(found.relative)
                if not (found.folder and found.relative == target.below):
                    plan.skipped.append(skipped(found.path, found.reason))
            else:
                _compare(plan, target, found, rules)
    plan.work.flush()
    _need_images(plan)
    return plan


def _compare(plan: Plan, target: Target, file: ImageFile, rules: Rules) -> None:
    name = _class_of(target, file.relative)
    known = plan.work.find(target, file.relative)
    if known is not None:
        plan.work.see(known.file_id)
        same = known.has(file.stat) and not rules.verify
        if same and known.name != name:
            plan.work.rename_class(known.file_id, name)
        if same and known.state == State.PRESENT:
            plan.unchanged += 1
            return
        if same and known.state == State.SKIPPED and known.decoder == rules.decoder and known.reason in _REASONS:
            plan.skipped.append(skipped(file.path, known.reason))
            return
    plan.work.add(target, file.relative, name, (file.device, file.stat), None if known is None else known.file_id)
    plan.todo += 1


def _class_of(target: Target, relative: bytes) -> str:
    """The image's class: the folder it lies in (for files at the top, the root's own name), or "" if names were switched off.

    Valid Unicode: a class is text, in the catalog and in every store.
    """
    if target.name_from == "none":
        return ""
    folder = os.path.dirname(relative) or target.root
    return as_text(from_bytes(os.path.basename(folder)))


def _need_images(plan: Plan) -> None:
    """An empty folder is a mistake of the caller, unless the library knew images there; missing ones whose vectors it keeps count."""
    known = [bool(target.known or plan.work.has_missing(target)) for target in plan.targets]
    for target, is_known in zip(plan.targets, known, strict=True):
        if target.unreadable == [target.below] and not is_known:
            raise ImageSearchError("this folder cannot be read", path=from_bytes(target.folder), hint="check its permissions")
    if plan.todo or plan.unchanged or plan.skipped or any(known):
        return
    folder = Path(from_bytes(plan.targets[0].folder))
    raise ImageSearchError("there are no images in this folder", path=folder, hint="give a folder with JPEG, PNG, WebP, HEIC, ... files")
