"""Order in the library, as the page shows it: copies, labels that may be wrong, the map; and what is decided of copies."""

from __future__ import annotations

import base64
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..config import PAGE_CLASSES, PAGE_GROUP_FILES
from ..errors import UsageError
from ..library.catalog import item_id
from ..library.decisions import Decision
from ..paths import as_text, shown
from . import browsing
from .looks import Look, Looks, Say, What
from .opened import OpenLibrary
from .problems import ChangedError, UnknownIdError, problem_of
from .schemas import ItemRow
from .tidy_schemas import (
    ClassChecked,
    CopiedShown,
    DecidedPicture,
    DecisionRequest,
    DecisionRow,
    Decisions,
    GroupMember,
    GroupMembers,
    GroupRow,
    Groups,
    LabelsShown,
    LookRequest,
    LookState,
    MapPoints,
    MixedShown,
    OutlierRow,
    Outliers,
    SuspectRow,
    Suspects,
)

if TYPE_CHECKING:
    from ..tidy.duplicates import Duplicates
    from ..tidy.groups import Group, Member
    from ..tidy.labels import LabelCheck, Outlier, Suspect
    from ..tidy.map import LibraryMap

__all__ = ["Tidying"]

_BEYOND = 65535  # of classes: what a code of two bytes cannot tell


class _Drawn(NamedTuple):
    """The map with its classes, the largest first; `codes`: uint16 (F,)."""

    map: LibraryMap
    classes: list[str]
    sizes: list[int]
    codes: npt.NDArray[np.uint16]


class Tidying:
    """Any thread may ask. Errors are the package's own.

    Args:
        folders: those that may be named by their number, as the state lists them.
    """

    def __init__(self, library: OpenLibrary, folders: Callable[[], list[str]]) -> None:
        self._library = library
        self._folders = folders
        self._looks = Looks()

    def close(self) -> None:
        self._looks.close()

    # --- the look -----------------------------------------------------------------------------------------------------------

    def begin(self, asked: LookRequest) -> LookState | None:
        """See `Looks.begin`. Raises LibraryNotFoundError; UsageError: no such folder."""
        reader = self._library.reader
        state: tuple[Hashable, ...] = (str(reader.folder), reader.generation)
        work: Callable[[Say], Any]
        if asked.what == "groups":
            prefer = self._folder(asked.prefer)
            state += (tuple(one.number for one in reader.decisions()), prefer, frozenset(asked.kinds))
            work = self._groups_of(prefer, asked.kinds)
        elif asked.what == "check":
            work = self._labels
        else:
            work = self._map_of(asked.fresh)
        look = self._looks.begin(asked.what, state, work, fresh=asked.fresh)
        return None if look is None else _state(look)

    def state(self) -> LookState:
        return _state(self._looks.now)

    def stop(self) -> LookState:
        self._looks.stop()
        return self.state()

    def _folder(self, number: int | None) -> tuple[str, ...]:
        folders = self._folders()
        if number is not None and number >= len(folders):
            raise UsageError("there is no folder of this number", hint="the state lists them")
        return () if number is None else (folders[number],)

    def _groups_of(self, prefer: Sequence[str], kinds: Sequence[str]) -> Callable[[Say], Duplicates]:
        return lambda say: self._library.engine.duplicates(prefer=list(prefer), kinds=list(kinds), progress=say)

    def _labels(self, say: Say) -> LabelCheck:
        return self._library.engine.check(progress=say)

    def _map_of(self, fresh: bool) -> Callable[[Say], _Drawn]:
        return lambda say: _drawn(self._library.engine.map(fresh=fresh, progress=say))

    def _kept(self, what: What, run: int) -> Any:
        if (found := self._looks.found(what, run)) is None:
            raise ChangedError("this look is no longer kept", hint="look again")
        return found

    # --- copies ---------------------------------------------------------------------------------------------------------------

    def groups(self, run: int, start: int, limit: int) -> Groups:
        found: Duplicates = self._kept("groups", run)
        return Groups(
            run=run,
            groups=len(found),
            files=sum(len(group.members) for group in found),
            rest=len(found.rest),
            rest_bytes=found.rest_bytes,
            contents=found.contents,
            unread=found.unread,
            absent=found.absent,
            remembers=found.remembers,
            items=[self._group(number, group) for number, group in enumerate(found[start : start + limit], start)],
        )

    def _group(self, number: int, group: Group) -> GroupRow:
        return GroupRow(
            number=number,
            why=group.why.value,
            files=len(group.members),
            rest_bytes=sum(member.item.size for member in group.rest),
            members=self._members(group.members[:PAGE_GROUP_FILES]),
        )

    def members(self, run: int, number: int, start: int, limit: int) -> GroupMembers:
        group = self._numbered(run, number)
        return GroupMembers(files=len(group.members), items=self._members(group.members[start : start + limit]))

    def _numbered(self, run: int, number: int) -> Group:
        found: Duplicates = self._kept("groups", run)
        if number >= len(found):
            raise UnknownIdError(f"there is no group {number}", hint="a look lists its groups")
        return found[number]

    def _members(self, members: Sequence[Member]) -> list[GroupMember]:
        from ..tidy.groups import date_of

        where = browsing.Whereabouts(self._library.reader)
        return [
            GroupMember(
                **browsing.row(member.item, where).model_dump(),
                kind="best" if member.kind is None else member.kind.value,
                change=member.change,
                changed=member.changed_one,
                similarity=member.similarity,
                date=date_of(member.item),
                view=browsing.view_address(member.item),
            )
            for member in members
        ]

    # --- what is decided ------------------------------------------------------------------------------------------------------

    def decide(self, asked: DecisionRequest) -> DecisionRow:
        """Raises what `ImageSearchEngine.decide` raises; LibraryReadOnlyError where it cannot be remembered."""
        if (asked.group is None) == (not asked.ids) or (asked.group is None) != (asked.run is None):
            raise UsageError("either ids or a group of a run is given", hint="/api/docs shows the form")
        ids: list[str] = list(asked.ids)
        if asked.group is not None and asked.run is not None:
            by_content = {member.item.sha256: member.item.number for member in self._numbered(asked.run, asked.group).members}
            ids = [item_id(number) for number in by_content.values()]
        return self._decided(self._library.engine.decide(asked.word, *ids))

    def decisions(self) -> Decisions:
        return Decisions(items=[self._decided(one) for one in reversed(self._library.reader.decisions())])

    def undo(self, number: int) -> Decisions:
        """Raises UnknownIdError: there is none of this number."""
        if all(one.number != number for one in self._library.reader.decisions()):
            raise UnknownIdError(f"there is no decision {number}", hint="it may have been undone already")
        self._library.engine.undo_decision(number)
        return self.decisions()

    def _decided(self, one: Decision) -> DecisionRow:
        return DecisionRow(
            number=one.number,
            word=one.word.value,
            made=browsing.utc(one.made * 10**9),
            files=len(one.pictures),
            pictures=[self._picture(sha256) for sha256 in one.pictures[:PAGE_GROUP_FILES]],
        )

    def _picture(self, sha256: bytes) -> DecidedPicture:
        reader = self._library.reader
        content = reader.content_of(sha256)
        files = [] if content is None else reader.files_with([content])
        item = next(iter(reader.items([min(file.number for file in files)]).values()), None) if files else None
        if item is None:
            return DecidedPicture(id=None, path="", thumbnail=None)
        return DecidedPicture(id=item_id(item.number), path=shown(item.path), thumbnail=browsing.thumbnail_address(item))

    # --- labels ---------------------------------------------------------------------------------------------------------------

    def labels(self, run: int) -> LabelsShown:
        found: LabelCheck = self._kept("check", run)
        return LabelsShown(
            run=run,
            images=found.images,
            unlabelled=found.unlabelled,
            neighbours=found.neighbours,
            agree=found.agree,
            suspects=len(found.suspects),
            outliers=len(found.outliers),
            copied=len(found.copied),
            classes=[
                ClassChecked(
                    name=as_text(one.name), images=one.images, agree=one.agree, suspects=one.suspects, outliers=one.outliers,
                    mixes_with=as_text(one.mixes_with), share=one.share,
                )
                for one in found.classes[:PAGE_CLASSES]
            ],
            mixed=[
                MixedShown(name=as_text(one.name), other=as_text(one.other), share=one.share, back=one.back)
                for one in found.mixed[:PAGE_CLASSES]
            ],
            copies=[CopiedShown(ids=one.ids, names=[as_text(name) for name in one.names]) for one in found.copied[:PAGE_CLASSES]],
        )  # fmt: skip

    def suspects(self, run: int, start: int, limit: int, name: str | None, says: str | None) -> Suspects:
        found: LabelCheck = self._kept("check", run)
        fitting = [
            one
            for one in found.suspects
            if (name is None or as_text(one.name) == name) and (says is None or as_text(one.says) == says)
        ]  # fmt: skip
        some: list[Suspect] = fitting[start : start + limit]
        rows = self._rows([one.id for one in some])
        return Suspects(
            total=len(fitting),
            items=[
                SuspectRow(
                    item=rows.get(one.id), says=as_text(one.says), confidence=one.confidence, share=one.share, like=one.like,
                    similarity=one.similarity,
                )
                for one in some
            ],
        )  # fmt: skip

    def outliers(self, run: int, start: int, limit: int) -> Outliers:
        found: LabelCheck = self._kept("check", run)
        some: list[Outlier] = found.outliers[start : start + limit]
        rows = self._rows([one.id for one in some])
        return Outliers(total=len(found.outliers), items=[OutlierRow(item=rows.get(one.id), similarity=one.similarity) for one in some])

    def _rows(self, ids: list[str]) -> dict[str, ItemRow]:
        return {row.id: row for row in browsing.rows(self._library, ids).items if row is not None}

    # --- the map --------------------------------------------------------------------------------------------------------------

    def map(self, run: int, start: int, limit: int) -> MapPoints:
        drawn: _Drawn = self._kept("map", run)
        part = slice(start, start + limit)
        xy = np.round(np.clip(drawn.map.xy[part], 0, 1) * 65535)
        return MapPoints(
            run=run,
            images=len(drawn.map),
            classes=drawn.classes,
            sizes=drawn.sizes,
            start=start,
            ids=drawn.map.numbers[part].tolist(),
            x=_packed(xy[:, 0]),
            y=_packed(65535 - xy[:, 1]),
            codes=_packed(drawn.codes[part]),
        )


def _packed(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.astype("<u2").tobytes()).decode()


def _drawn(found: LibraryMap) -> _Drawn:
    names, codes, sizes = np.unique(np.array([as_text(name) for name in found.names], object), return_inverse=True, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    largest = order[:PAGE_CLASSES]
    mine = np.where(place < PAGE_CLASSES, place, _BEYOND)
    return _Drawn(found, [str(name) for name in names[largest]], sizes[largest].tolist(), mine[codes].astype(np.uint16))


def _state(look: Look) -> LookState:
    return LookState(
        run=look.run,
        what=look.what,
        state=look.state,
        step=look.step,
        done=look.done,
        total=look.total,
        problem=None if look.error is None else problem_of(look.error),
    )
