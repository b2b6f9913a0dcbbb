"""What an index run has to do: compares the folders with the catalog, before anything is decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from ..errors import HINTS, ImageSearchError, SkipReason
from ..images.formats import extra_for
from ..images.scan import Excluder, ImageFile, NotIndexed, PassedBy, scan
from ..library import writing
from ..library.catalog import Catalog
from ..library.folders import Target, adopt
from ..library.moving import clear_look, forgotten
from ..library.reading import Reader
from ..library.schema import State
from ..library.worklist import Worklist
from ..paths import as_text, from_bytes, inside, shown
from ..types import Passed, PassRule, Skipped

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
        reread: pictures that older pixel rules made are read again.
        any_name: files whose name has no ending are looked at, too. What was taken in so stays, whether this is said again or not.
    """

    excluder: Excluder
    decoder: str
    name_from: str | None = None
    verify: bool = False
    prune: bool = False
    reread: bool = False
    any_name: bool = False


@dataclass(slots=True)
class Plan:
    """What the walk found; the files to be worked on are in `work`.

    Attributes:
        todo: files to be worked on; renew: those of them that are as they were, and whose picture is read again.
        passed: (rule, detail) -> files that nobody looked at, and whether there are more.
        lines: to be told.
    """

    work: Worklist
    todo: int = 0
    renew: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    passed: dict[tuple[str, str], tuple[int, bool]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def passed_by_rule(self) -> list[Passed]:
        """The most first."""
        found = [Passed(rule, detail, files, more) for (rule, detail), (files, more) in self.passed.items()]
        return sorted(found, key=lambda p: (-p.files, p.rule, p.detail))

    @property
    def targets(self) -> list[Target]:
        return self.work.targets


def passed_words(passed: Passed) -> str:
    """ "7 of a format that is not read here (.jxl, read with the extra [jxl])" """
    extra = extra_for(passed.detail)
    detail = f" ({passed.detail}{f', read with the extra [{extra}]' if extra else ''})" if passed.detail else ""
    return f"{'at least ' if passed.more else ''}{passed.files:,} {passed.rule}{detail}"


def skipped(path: str, reason: SkipReason | str) -> Skipped:
    known = SkipReason(reason)
    return Skipped(shown(path), known.value, HINTS[known])


def make_plan(catalog: Catalog, folders: Sequence[str | os.PathLike[str]], rules: Rules) -> Plan:
    """Walk every folder and note what is new, changed or to be verified. Inside the caller's transaction.

    A folder that cannot be listed at all keeps its images; its target's `unreadable` says so.

    Raises:
        UsageError: no such folder. ImageSearchError: it cannot be read, or there is no image in any of them.
    """
    targets, lines = adopt(catalog, folders, rules.name_from, rules.excluder.path)
    plan = Plan(Worklist(catalog, targets, left_out=rules.excluder.path, renew=rules.reread), lines=lines)
    roots = Reader(catalog).root_paths()  # each is looked at by itself
    never = {os.path.realpath(catalog.folder), *roots, *map(from_bytes, forgotten(catalog))}  # passed by in silence
    for target in plan.targets:
        clear_look(catalog, target.root_id, target.below)  # this look tells it anew
        nameless = partial(_is_wanted, plan, target, rules)
        for found in scan(from_bytes(target.root), below=target.below, excluder=rules.excluder, never=never, nameless=nameless):
            if isinstance(found, ImageFile):
                _compare(plan, target, found, rules)
            elif isinstance(found, NotIndexed):
                _cannot_use(catalog, plan, target, found)
            elif isinstance(found, PassedBy):
                files, more = plan.passed.get((found.rule.value, found.detail), (0, False))
                plan.passed[found.rule.value, found.detail] = files + found.files, more or found.more
                writing.pass_by(catalog, target, found)
            else:
                target.found_disks.add(found.relative)
        for top in target.found_disks:
            writing.set_disk(catalog, target, top, offline=False)
    plan.work.flush()
    _need_images(catalog, plan)
    return plan


def _is_wanted(plan: Plan, target: Target, rules: Rules, relative: bytes) -> bool:
    """Is this file without an ending looked at? If it is asked for, or is a picture of the library."""
    if rules.any_name:
        return True
    known = plan.work.find(target, relative)
    return known is not None and known.content is not None


def _cannot_use(catalog: Catalog, plan: Plan, target: Target, found: NotIndexed) -> None:
    if found.folder:
        target.unreadable.append(found.relative)
        if found.relative == target.below:  # the whole of it: it is offline
            return
    plan.skipped.append(skipped(found.path, found.reason))
    writing.cannot_use(catalog, target.root_id, found.relative, found.reason)


def _compare(plan: Plan, target: Target, file: ImageFile, rules: Rules) -> None:
    name = _class_of(target, file.relative)
    known = plan.work.find(target, file.relative)
    if known is not None:
        plan.work.see(known.file_id)
        if known.state == State.PRESENT and known.has(file.stat):
            plan.work.ask_when(target.root_id, file.relative, file.device, file.stat, known.content)
        same = known.has(file.stat) and not rules.verify
        if same and known.name != name:
            plan.work.rename_class(known.file_id, name)
        if same and known.state == State.PRESENT:
            if not plan.work.is_outdated(known.content):
                plan.unchanged += 1
                return
            plan.renew += 1
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


def _need_images(catalog: Catalog, plan: Plan) -> None:
    """An empty folder is a mistake of the caller, unless the library knew images there; missing ones whose vectors it keeps count.

    Of a root below one that was named nothing is asked: it may be gone for good.
    """
    known = [bool(target.known or plan.work.has_missing(target)) for target in plan.targets]
    for target, is_known in zip(plan.targets, known, strict=True):
        if target.named and target.unreadable == [target.below] and not is_known:
            raise ImageSearchError("this folder cannot be read", path=from_bytes(target.folder), hint="check its permissions")
    if plan.todo or plan.unchanged or plan.skipped or any(known):
        return
    folder = from_bytes(plan.targets[0].folder)
    out = [path for path in forgotten(catalog) if any(inside(path, target.folder) for target in plan.targets)]
    if out:
        what = "there are no images in this folder but what was taken out of the library"
        raise ImageSearchError(what, path=folder, hint=f"to take it in again index it by its own name: {shown(from_bytes(out[0]))}")
    what, hint = "there are no images in this folder", "give a folder with JPEG, PNG, WebP, HEIC, ... files"
    if plan.passed:
        what = f"{what} that are looked at ({'; '.join(map(passed_words, plan.passed_by_rule))})"
        rules = {PassRule(rule) for rule, _ in plan.passed}
        if rules & {PassRule.HIDDEN, PassRule.COPIES}:
            hint = "a folder that is passed by is taken in when it is named itself"
        elif rules & {PassRule.UNREAD}:
            hint = "convert them to JPEG, PNG, WebP or TIFF"
    raise ImageSearchError(what, path=folder, hint=hint)
