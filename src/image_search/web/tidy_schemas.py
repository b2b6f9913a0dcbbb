"""What goes over the wire about copies, labels and the map."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..config import PAGE_DECIDED, PAGE_ROWS
from .asking import Asked, Schema
from .schemas import ItemId, ItemRow, Problem

__all__ = [
    "ClassChecked",
    "CopiedShown",
    "DecidedPicture",
    "DecisionRequest",
    "DecisionRow",
    "Decisions",
    "GroupMember",
    "GroupMembers",
    "GroupRow",
    "Groups",
    "LabelsShown",
    "LookRequest",
    "LookState",
    "MapPoints",
    "MixedShown",
    "OutlierRow",
    "Outliers",
    "SuspectRow",
    "Suspects",
]

CopyKind = Literal["same bytes", "same picture", "changed copy"]
_RUN = "of which look this is; give it as `run` to ask for more of it"
Share = Annotated[float, Field(ge=0, le=1)]


class LookRequest(Asked):
    """A long look at the whole library. What was found before is given at once, as long as the library is the same."""

    what: Literal["groups", "check", "map"] = Field(description="copies; labels that may be wrong; the map")
    kinds: list[CopyKind] = Field([], max_length=3, description="of copies: only these kinds; none: all")
    prefer: int | None = Field(
        None, ge=0, le=10_000, description="of copies: those in this folder, by its number in the state, are the best"
    )
    fresh: bool = Field(False, description="look again; of the map: lay it out anew, which a key that may only look cannot ask for")


class LookState(Schema):
    """How far a look is, or how the last one ended."""

    run: int = Field(description=_RUN)
    what: Literal["groups", "check", "map"] | None
    state: Literal["none", "working", "done", "stopped", "failed"]
    step: str = Field(description='what is being done: "compare", "look closer", "neighbours", "map", ...')
    done: int
    total: int = Field(description="0: not known yet")
    problem: Problem | None


class GroupMember(ItemRow):
    """One file of a group."""

    kind: Literal["best", "same bytes", "same picture", "changed copy"] = Field(
        description="what it is to the best one, which stands first"
    )
    change: str = Field(description='of a changed copy: how it differs from the best one, or that from it: "turned 90, cropped"; else ""')
    changed: Literal["", "this", "best"] = Field(description='which of the two was made of the other by that change; "": not told')
    similarity: float = Field(ge=-1, le=1, description="cosine of its vector and the best one's")
    date: str = Field(description="when it was taken, or else the file's own time; local")
    view: str


class GroupRow(Schema):
    number: int = Field(ge=0, description="by which more of it is asked for: its place in the list, from 0")
    why: str = Field(description='in what its first one is the best: "most pixels", "earliest", ...')
    files: int = Field(ge=2)
    rest_bytes: int = Field(description="of all but the best")
    members: list[GroupMember] = Field(description="the first of its files, the best before all")


class Groups(Schema):
    run: int = Field(description=_RUN)
    groups: int = Field(description="how many there are in all")
    files: int = Field(description="in all groups")
    rest: int = Field(description="of them, all but the best of each group")
    rest_bytes: int
    contents: int = Field(description="different pictures in the library")
    unread: int = Field(description="pictures that could not be read, so that copies of them may be missing here")
    absent: int = Field(description="files that are gone or have changed since they were indexed; in no group")
    remembers: bool = Field(description="what was found is known at the next question; false: the library cannot be written")
    items: list[GroupRow]


class GroupMembers(Schema):
    files: int
    items: list[GroupMember]


class DecisionRequest(Asked):
    """To be remembered of pictures that were shown as copies. Of `ids` and `group` one is given."""

    word: Literal["not the same", "leave"] = Field(
        description="they are no copies of one another; they may lie beside each other as they do"
    )
    ids: list[ItemId] = Field([], max_length=PAGE_DECIDED)
    run: int | None = Field(None, ge=0, le=10**9, description="with `group`: of which look")
    group: int | None = Field(None, ge=0, le=10**9, description="all files of this group")


class DecidedPicture(Schema):
    id: str | None = Field(description="null: the library does not have it now")
    path: str
    thumbnail: str | None


class DecisionRow(Schema):
    number: int = Field(ge=1, description="by which it is undone")
    word: Literal["not the same", "leave"]
    made: str = Field(description="ISO 8601, UTC")
    files: int = Field(description="how many pictures it is about")
    pictures: list[DecidedPicture] = Field(description="the first of them")


class Decisions(Schema):
    items: list[DecisionRow] = Field(description="the newest first")


class ClassChecked(Schema):
    name: str
    images: int
    agree: Share = Field(description="of its pictures, whose neighbours say the same class")
    suspects: int
    outliers: int
    mixes_with: str = Field(description='the other class that its neighbours say most; "": none')
    share: Share = Field(description="of the vote over its pictures, for that class")


class MixedShown(Schema):
    """Two classes that neighbours take for each other."""

    name: str
    other: str
    share: Share = Field(description="of the vote over the pictures of `name`, for `other`")
    back: Share = Field(description="the other way")


class CopiedShown(Schema):
    """The same bytes under several classes."""

    ids: list[str]
    names: list[str]


class LabelsShown(Schema):
    run: int = Field(description=_RUN)
    images: int = Field(description="with a class")
    unlabelled: int = Field(description="without one; they do not count")
    neighbours: int = Field(description="how many vote on each picture")
    agree: Share = Field(description="of the pictures, whose class the vote says")
    suspects: int
    outliers: int
    copied: int = Field(description="pictures that lie under several classes")
    classes: list[ClassChecked] = Field(description="those with which the vote agrees least first; at most 1,000")
    mixed: list[MixedShown] = Field(description="at most 1,000")
    copies: list[CopiedShown] = Field(description="the first 1,000 of those that are copied")


class SuspectRow(Schema):
    item: ItemRow | None = Field(description="null: it has gone since")
    says: str = Field(description="the class that its neighbours say")
    confidence: Share = Field(description="how much of the vote goes against its class")
    share: Share = Field(description="how much of it is for the class that they say")
    like: str = Field(description="id of the nearest picture of that class")
    similarity: float = Field(ge=-1, le=1, description="cosine of the two")


class Suspects(Schema):
    total: int
    items: list[SuspectRow] = Field(max_length=PAGE_ROWS, description="the surest first")


class OutlierRow(Schema):
    item: ItemRow | None = Field(description="null: it has gone since")
    similarity: float = Field(ge=-1, le=1, description="mean cosine to its nearest pictures, of any class")


class Outliers(Schema):
    total: int
    items: list[OutlierRow] = Field(max_length=PAGE_ROWS, description="the farthest first")


class MapPoints(Schema):
    """Where the images lie: some of them, in the order of their numbers."""

    run: int = Field(description=_RUN)
    images: int = Field(description="how many there are in all")
    classes: list[str] = Field(description='their names, the largest first; "": no class')
    sizes: list[int] = Field(description="images of each class")
    start: int
    ids: list[int] = Field(description="12 is id:12")
    x: str = Field(description="base64 of a little-endian uint16 each: 0 left, 65535 right")
    y: str = Field(description="the same: 0 above, 65535 below")
    codes: str = Field(description="base64 of a little-endian uint16 each: place in `classes`; 65535: one beyond it")
