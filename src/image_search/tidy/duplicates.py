"""What is asked of a library's duplicates, and the answer. Nothing is deleted, moved or written but what is remembered in the library."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from .. import given
from ..advice import Advice, Verb
from ..errors import UsageError
from ..images.pool import DecodePool
from ..library.catalog import item_id
from ..library.decisions import Decision, Word
from ..library.reading import Item, Reader
from ..library.thumbnails import Thumbnails
from ..paths import from_bytes, inside, nfc, place_of, to_bytes, uri_of
from ..present.text_fit import many
from .copies import Kind
from .found import Copies, Pair, Progress, copies_of
from .groups import Group, Member, Order, Why, beside, by_date, date_of, generations, stars, untested

__all__ = ["Asked", "Duplicates", "find"]

Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_KIND = {kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, checked. Folders as the catalog keeps paths.

    Attributes:
        folders: only files in these; empty: all.
        across: (kept, other): only files of the second that are copies of one in the first.
        prefer: whose files are the better copies, the best liked first.
        since: only groups with a picture of this moment or later, "2024-05-01T00:00:00"; "": all.
        kinds: which copies count.
    """

    folders: tuple[bytes, ...] = ()
    across: tuple[bytes, bytes] | None = None
    prefer: tuple[bytes, ...] = ()
    since: str = ""
    kinds: frozenset[Kind] = frozenset(Kind)

    @classmethod
    def checked(cls, folders: Folders, across: Folders | None, prefer: Folders, since: Any, kinds: str | Sequence[str]) -> Asked:
        """Raises UsageError."""
        both = () if across is None else _places(across, "across")
        if across is not None and (len(both) != 2 or both[0] == both[1]):
            raise UsageError("across needs two different folders", hint="the one that is kept, and the one that is looked through")
        if both and folders:
            raise UsageError("folders and across exclude each other")
        first = None if since is None else given.dates(since, "since", hint="for example 2024, 2024-05 or 2024-05-01")[0]
        words = given.texts(kinds, "kinds")
        for word in words:
            given.one_of(word, "kinds", _KIND)
        return cls(
            _places(folders, "folders"),
            (both[0], both[1]) if both else None,
            _places(prefer, "prefer"),
            "" if first is None else first.isoformat(timespec="seconds"),
            frozenset(_KIND[word] for word in words) or frozenset(Kind),
        )


def _places(folders: Folders, what: str) -> tuple[bytes, ...]:
    return tuple(place_of(path) for path in given.paths(folders, what))


class Duplicates(Sequence[Group]):
    """The groups, those first of which most bytes could be spared. A sequence.

    Attributes:
        library: the library's folder. model: name of its model.
        contents: different pictures that it holds.
        compared: how many of them were compared with all others now; the others were known.
        looked_at: pairs that were laid on each other now.
        unread: pictures that could not be read now, so nothing is known of some of their pairs.
        absent: files that are gone or have changed since they were indexed; none of them is in a group.
        remembers: what was found is known at the next question.
    """

    def __init__(self, groups: Sequence[Group], *, library: Path, model: str, known: Copies, absent: int) -> None:
        self._groups = list(groups)
        self.library = library
        self.model = model
        self.contents, self.compared, self.looked_at = known.contents, known.compared, known.looked_at
        self.unread, self.remembers = len(known.unread), known.remembers
        self.absent = absent

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups)

    @overload
    def __getitem__(self, index: int) -> Group: ...
    @overload
    def __getitem__(self, index: slice) -> list[Group]: ...
    def __getitem__(self, index: int | slice) -> Group | list[Group]:
        return self._groups[index]

    @property
    def rest(self) -> list[Member]:
        """All but the best of each group."""
        return [member for group in self._groups for member in group.rest]

    @property
    def rest_bytes(self) -> int:
        return sum(member.item.size for member in self.rest)

    def remarks(self) -> list[str]:
        """What whoever reads the answer should know: a line each."""
        lines: list[str] = []
        if self.absent:
            again = Advice(" (", Verb("index", ("FOLDER",)), " brings the library up to date)")
            lines.append(Advice(f"{many(self.absent, 'file')} left out: gone, or changed since indexed", again))
        if self.unread:
            lines.append(f"{many(self.unread, 'picture')} could not be read, so copies of them may be missing here")
        if not self.remembers:
            lines.append("what was found is not remembered: the library cannot be written, or another run is at it")
        return lines

    def __repr__(self) -> str:
        return f"<Duplicates of {self.library}: {len(self)} groups>"

    def __str__(self) -> str:
        from ..present.duplicates import duplicates_table

        return duplicates_table(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `image-search duplicates --json` prints it."""
        return {
            "library": str(self.library),
            "model": self.model,
            "contents": self.contents,
            "compared": self.compared,
            "looked_at": self.looked_at,
            "unread": self.unread,
            "absent": self.absent,
            "files": sum(len(group.members) for group in self._groups),
            "rest": len(self.rest),
            "rest_bytes": self.rest_bytes,
            "remembers": self.remembers,
            "groups": [
                {"number": n, "why": group.why.value, "members": [_as_dict(member) for member in group.members]}
                for n, group in enumerate(self._groups, 1)
            ],
        }


def _as_dict(member: Member) -> dict[str, Any]:
    item = member.item
    return {
        "id": item_id(item.number),
        "kind": "best" if member.kind is None else member.kind.value,
        "change": member.change,
        "changed": member.changed_one,
        "similarity": member.similarity,
        "name": item.name,
        "uri": uri_of(item.path),
        "sha256": item.sha256.hex(),
        "width": item.width,
        "height": item.height,
        "format": item.format,
        "bytes": item.size,
        "date": date_of(item),
        "captured": bool(item.captured),
        "offline": member.offline,
    }


def find(
    reader: Reader,
    thumbnails: Thumbnails,
    pool: Callable[[], DecodePool],
    asked: Asked,
    *,
    threads: int = 1,
    progress: Progress = lambda *_: None,
) -> Duplicates:
    """The groups of a library. Raises UsageError: it has nothing in a folder that was named; LibraryDamagedError."""
    files = _Files(reader, asked)
    search = _Search(files, asked, reader.decisions())
    if asked.kinds == {Kind.SAME_BYTES}:  # the hashes tell: nothing has to be compared
        known = Copies(contents=len(files.contents))
    else:
        known = copies_of(
            reader, thumbnails, pool, among=files.contents if asked.folders or asked.across else None,
            more=search.untested, threads=threads, progress=progress,
        )  # fmt: skip
    groups = search.groups(known)
    return Duplicates(groups, library=reader.folder, model=reader.fingerprint.name, known=known, absent=files.absent)


def _text(folder: bytes) -> str:
    """As `library.columns` writes folders."""
    return nfc(from_bytes(folder)).replace(os.sep, "/").rstrip("/") + "/"


class _Files:
    """The files that are asked about, and are there as they were indexed: looked at when they are first wanted.

    Attributes:
        contents: that they have.
        absent: how many were wanted and have gone, or have changed since they were indexed.
    """

    def __init__(self, reader: Reader, asked: Asked) -> None:
        self.reader = reader
        self.order = Order(asked.prefer if asked.across is None else (*asked.prefer, asked.across[0]))
        self.absent = 0
        self._numbers: dict[int, list[int]] = {}  # content -> its files
        self._items: dict[int, list[Member]] = {}
        self._disks = reader.disks()
        self._seen: set[tuple[int, int]] = set()  # device and inode: a file of two names is one
        scope = asked.across or asked.folders
        with reader.snapshot():
            classes, places = reader.columns().classes(), reader.columns().places()
        wanted = [_text(folder) for folder in scope] or [""]
        whose = [next((n for n, folder in enumerate(wanted) if place.startswith(folder)), -1) for place in places.folders]
        here, every = set(), set(places.codes.tolist())
        for number, content, code in zip(classes.numbers.tolist(), classes.contents.tolist(), places.codes.tolist(), strict=True):
            if whose[code] >= 0:
                self._numbers.setdefault(content, []).append(number)
                here.add(scope[whose[code]] if scope else b"")
        all_of_it = [place for code, place in enumerate(places.folders) if code in every]
        liked = [folder for folder in asked.prefer if not any(place.startswith(_text(folder)) for place in all_of_it)]
        if lacking := [*(folder for folder in scope if folder not in here), *liked]:
            raise UsageError(
                "the library has no image in this folder",
                path=from_bytes(lacking[0]),
                hint=Advice("index it first: ", Verb("index", (from_bytes(lacking[0]),))),
            )

    @property
    def contents(self) -> Collection[int]:
        return self._numbers.keys()

    def several(self) -> list[int]:
        """Contents of which there is more than one file."""
        return [content for content, numbers in self._numbers.items() if len(numbers) > 1]

    def want(self, contents: Iterable[int]) -> None:
        """Look at the files of these, if that was not done yet."""
        missing = [content for content in contents if content not in self._items]
        items = self.reader.items([number for content in missing for number in self._numbers.get(content, ())])
        for content in missing:
            self._items[content] = []
        for item in sorted(items.values(), key=lambda item: to_bytes(item.path)):
            if (offline := self._offline(item)) is not None:
                self._items[item.content].append(Member(item, offline=offline))
        for content in missing:
            self._items[content].sort(key=lambda member: self.order.worth(member.item))

    def of(self, content: int) -> list[Member]:
        """The best first; none: they are gone."""
        self.want([content])
        return self._items[content]

    def _offline(self, item: Item) -> bool | None:
        """Is its disk away? None: it is not to be shown: gone, changed since it was indexed, or another name of a file that is."""
        try:
            found = os.lstat(item.path)
        except OSError:
            if self._disks.away(item.path):
                return True
            self.absent += 1
            return None
        if (found.st_size, found.st_mtime_ns) != (item.size, item.mtime_ns):
            self.absent += 1
            return None
        if found.st_ino and (found.st_dev, found.st_ino) in self._seen:
            return None
        self._seen.add((found.st_dev, found.st_ino))
        return False


class _Search:
    """Which groups there are, as far as is known."""

    def __init__(self, files: _Files, asked: Asked, decided: Sequence[Decision]) -> None:
        self.files, self.asked = files, asked
        self._decided: dict[bytes, set[int]] = {}
        self._left: set[bytes] = set()
        for decision in decided:
            for sha256 in decision.pictures:
                self._decided.setdefault(sha256, set()).add(decision.number)
            if decision.word == Word.LEAVE:
                self._left.update(decision.pictures)
        self._order: list[int] = []
        self._beside: dict[int, dict[int, Pair]] = {}

    def untested(self, known: Copies) -> list[tuple[int, int]]:
        """Pairs to be looked at before the groups are what they say."""
        return untested(self._stars(known), self._beside, known)

    def groups(self, known: Copies) -> list[Group]:
        leaders = self._stars(known)
        self.files.want(self.files.several())
        taken = {member for members in leaders.values() for member in members}
        for content in self.files.several():
            if content not in taken:
                leaders.setdefault(content, [])
        return self._sorted(leaders)

    def _stars(self, known: Copies) -> dict[int, list[int]]:
        there = self.files.contents
        contents = {content for pair in known.pairs for content in pair if content in there}
        self.files.want(contents)
        self._beside = beside(known, self._allowed)
        self.files.order.made = generations(self._beside, lambda content: self.files.of(content)[0].item)
        self._order = sorted((c for c in contents if self.files.of(c)), key=lambda c: self.files.order.worth(self.files.of(c)[0].item))
        if self.asked.across is None:
            return stars(self._order, self._beside, lambda content: True, lambda content: True)
        kept, other = self.asked.across
        return stars(
            self._order, self._beside, lambda content: bool(self._in(content, kept)), lambda content: bool(self._in(content, other))
        )

    def _allowed(self, one: int, other: int, pair: Pair) -> bool:
        if pair.kind not in self.asked.kinds or not self.files.of(one) or not self.files.of(other):
            return False
        mine, others = (self._decided.get(self.files.of(content)[0].item.sha256, set()) for content in (one, other))
        return not mine & others

    def _in(self, content: int, folder: bytes) -> list[Member]:
        return [member for member in self.files.of(content) if inside(to_bytes(member.item.path), folder)]

    def _sorted(self, leaders: dict[int, list[int]]) -> list[Group]:
        found = [group for leader, members in leaders.items() if (group := self._group(leader, members)) is not None]
        return sorted(found, key=lambda group: (-sum(m.item.size for m in group.rest), to_bytes(group.best.item.path)))

    def _group(self, leader: int, members: Sequence[int]) -> Group | None:
        if self.asked.across is None:
            mine, copies = self.files.of(leader), [(content, self.files.of(content)) for content in members]
            same = mine[1:]
        else:
            kept, other = self.asked.across
            mine, copies = self._in(leader, kept), [(content, self._in(content, other)) for content in members]
            same = self._in(leader, other)
        if not mine:
            return None
        best = mine[0]
        rest = [Member(m.item, Kind.SAME_BYTES, offline=m.offline) for m in same] if self._same_counts(best.item) else []
        for content, files in copies:
            pair = self._beside[leader][content]
            shown = files if self._same_counts(files[0].item) else files[:1]
            change = pair.back if pair.changed < 0 else pair.change  # told of the changed one
            rest += [Member(m.item, pair.kind, change, pair.similarity, m.offline, pair.changed) for m in shown]
        everyone = [best, *rest]
        if not rest or (self.asked.since and max(date_of(member.item) for member in everyone) < self.asked.since):
            return None
        rank = {kind: n for n, kind in enumerate(Kind)}
        rest.sort(key=lambda member: (rank[member.kind or Kind.SAME_BYTES], self.files.order.worth(member.item)))
        next_one = min((member.item for member in rest), key=self.files.order.worth)
        return Group((best, *rest), self._why(best.item, next_one))

    def _why(self, best: Item, next_one: Item) -> Why:
        why = Why.PREFERRED if self.asked.across else self.files.order.why(best, next_one)
        pair = self._beside.get(best.content, {}).get(next_one.content)
        if why != Why.UNCHANGED or (pair is not None and pair.changed > 0) or by_date(best, next_one) <= 0:
            return why
        return Why.CAPTURED if best.captured and not next_one.captured else Why.DATE

    def _same_counts(self, item: Item) -> bool:
        """Are other files with these bytes copies of it that are to be shown?"""
        return Kind.SAME_BYTES in self.asked.kinds and item.sha256 not in self._left
