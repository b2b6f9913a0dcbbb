"""After the walk: what is gone, what a rule leaves out, what is only out of reach; and what leaves the library for good."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..advice import Advice, Setting
from ..images.formats import shot_extensions
from ..library import writing
from ..library.catalog import Catalog
from ..library.folders import Target
from ..library.moving import drop_emptied
from ..library.schema import State
from ..library.worklist import Gone
from ..paths import from_bytes, shown
from ..types import IndexReport
from .plan import Plan, Rules

__all__ = ["mark_missing"]


def mark_missing(catalog: Catalog, plan: Plan, rules: Rules, report: IndexReport, generation: int) -> list[str]:
    """Mark what the walk proved to be gone; where too much vanished at once, or nothing could be read, believe nothing.

    A folder with other disks below it is judged disk by disk: each may be away by itself.

    Returns:
        one line for each folder or disk that is away, and for each folder that was pruned.
    """
    lines: list[str] = []
    for target in plan.targets:
        prune = rules.prune and target.named  # a root below keeps what it has until it is named itself
        unreadable = target.below in target.unreadable
        gone = plan.work.known_below(target) if prune and unreadable else plan.work.vanished(target)
        left_out = [file for file in gone if rules.excluder.path(file.relative) or _is_passed_by(target, file)]
        kept_out = {file.file_id for file in left_out}
        report.excluded += _present(left_out)
        writing.set_state(catalog, left_out, State.EXCLUDED, generation)
        gone = [file for file in gone if file.file_id not in kept_out]
        own = [file for file in gone if target.disk_of(file.relative) is None]
        known = target.known if unreadable and not prune else target.known - sum(target.disks.values())
        away = not prune and (unreadable or 2 * _present(own) > known > 0)
        lines += _judge(catalog, target.folder, own, known if unreadable else _present(own), away, report, generation)
        writing.set_offline(catalog, target, away)
        for top, images in target.disks.items() if not (unreadable and not prune) else ():
            there = [file for file in gone if target.disk_of(file.relative) == top]
            closed = top in target.unreadable
            away = closed or 2 * _present(there) > images > 0
            lines += _judge(catalog, os.path.join(target.root, top), there, images if closed else _present(there), away, report, generation)
            writing.set_disk(catalog, target, top, offline=away)
        if prune and (dropped := writing.prune(catalog, target, generation)):
            report.pruned += dropped
            lines.append(f"{dropped:,} images of {shown(from_bytes(target.folder))} have left the library for good")
    if not all(target.named for target in plan.targets):
        drop_emptied(catalog)
    return lines


def _is_passed_by(target: Target, file: Gone) -> bool:
    """A raw file that the walk passed by for the sake of its JPEG: it is there."""
    raw, _ = shot_extensions()
    path = os.path.join(target.root, file.relative)
    return os.path.splitext(from_bytes(file.relative))[1].lower() in raw and os.path.lexists(path)


def _present(files: Sequence[Gone]) -> int:
    return sum(file.state == State.PRESENT for file in files)


def _judge(
    catalog: Catalog, folder: bytes, gone: Sequence[Gone], images: int, away: bool, report: IndexReport, generation: int
) -> list[str]:
    """Mark the files of one disk that were not found. `images`: how many of those that can be found are out of reach, if it is away."""
    if away:
        report.offline += images
        gone = [file for file in gone if file.state != State.PRESENT]
    report.missing += _present(gone)
    writing.set_state(catalog, gone, State.MISSING, generation)
    return [_offline_line(folder, images)] if away and images else []


def _offline_line(folder: bytes, images: int) -> str:
    return Advice(
        f"cannot be reached, or most of its images vanished at once: {shown(from_bytes(folder))}. "
        f"Its {images} images stay in the library, marked offline; if they are really gone, index that folder with ",
        Setting("prune", "True"),
    )
