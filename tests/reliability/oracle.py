"""What a library must know after each step, said once more in dictionaries: it asks nothing of the program.

The judge of test_sequences.py. It is told what lies on the disk (`Disk`) and what is done to the library; where the program is free, as
in which of two copies is the one that moved, it takes the program's choice after looking whether it was one of those allowed.
"""

from __future__ import annotations

import copy
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

COPIES = {"thumbs"}
DAMAGED, LINK, UNREADABLE = "damaged image", "symbolic link", "cannot be read"


class RefusedError(Exception):
    """The program must say no, and nothing may have changed."""


def inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


@dataclass(frozen=True)
class Entry:
    kind: str  # folder, file, link
    content: str = ""  # sha256
    stat: tuple[int, ...] = ()  # size, mtime, inode
    to_folder: bool = False


class Disk:
    """Everything below a folder, looked at with the right to see all of it; `locked` folders can be listed by nobody else."""

    def __init__(self, top: str, locked: set[str]) -> None:
        self.entries: dict[str, Entry] = {top: Entry("folder")}
        self.locked = set(locked)
        for folder, folders, files in os.walk(top):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                self.entries[path] = self._entry(path)

    @staticmethod
    def _entry(path: str) -> Entry:
        status = os.lstat(path)
        facts = (status.st_size, status.st_mtime_ns, status.st_ino)
        if stat.S_ISLNK(status.st_mode):
            return Entry("link", stat=facts, to_folder=os.path.isdir(path))
        if stat.S_ISDIR(status.st_mode):
            return Entry("folder", stat=facts)
        with open(path, "rb") as file:
            return Entry("file", hashlib.sha256(file.read()).hexdigest(), facts)

    def see(self, path: str) -> Entry | None:
        """What a process without that right finds there."""
        return None if self.hidden(path) else self.entries.get(path)

    def hidden(self, path: str) -> bool:
        return any(inside(path, folder) and path != folder for folder in self.locked)

    def is_folder(self, path: str) -> bool:
        found = self.see(path)
        return found is not None and found.kind == "folder"

    def listed(self, folder: str) -> list[str] | None:
        if not self.is_folder(folder) or folder in self.locked:
            return None
        return sorted(path for path in self.entries if os.path.dirname(path) == folder and path != folder)


@dataclass
class Row:
    number: int
    state: str
    content: str | None
    name: str
    stat: tuple[int, ...] = ()


@dataclass
class Root:
    names: str
    out: bool = False  # taken out, by its own name or with a folder above
    offline: bool = False
    mount: bool = False  # was it seen, so that its disk is known?


@dataclass
class Target:
    folder: str
    root: str
    named: bool
    known: int = 0
    kept: bool = False  # is anything known there that could come back?
    unreadable: list[str] = field(default_factory=list)
    seen: dict[str, Entry] = field(default_factory=dict)

    def hides(self, path: str) -> bool:
        return any(inside(path, folder) for folder in self.unreadable)


@dataclass
class Report:
    counts: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    passed: Counter[str] = field(default_factory=Counter)


class Library:
    """roots, rows by absolute path, what was taken out, what the last look passed by and could not use, which vectors are kept."""

    def __init__(self, good: set[str]) -> None:
        self.good = good  # contents that are pictures
        self.roots: dict[str, Root] = {}
        self.rows: dict[str, Row] = {}
        self.forgotten: set[str] = set()
        self.passed: dict[tuple[str, str, str], int] = {}
        self.unusable: dict[tuple[str, str], str] = {}
        self.vectors: set[str] = set()
        self.ever: set[int] = set()

    def copy(self) -> Library:
        return copy.deepcopy(self)

    # --- questions --------------------------------------------------------------------------------------------------------

    def root_of(self, path: str) -> str | None:
        return max((root for root in self.roots if inside(path, root)), key=len, default=None)

    def part(self, root: str, folder: str) -> dict[str, Row]:
        return {path: row for path, row in self.rows.items() if inside(path, folder) and self.root_of(path) == root}

    def present(self) -> dict[str, Row]:
        return {path: row for path, row in self.rows.items() if row.state == "present"}

    def skipped(self) -> Counter[str]:
        files = [DAMAGED for path, row in self.rows.items() if row.state == "skipped" and not self._told(path)]
        return Counter(files) + Counter(self.unusable.values())

    def _told(self, path: str) -> bool:
        return (self.root_of(path) or "", path) in self.unusable

    def counts(self) -> dict[str, int]:
        rows, there = self.rows.values(), self.present().values()
        return {
            "images": len(there),
            "contents": len({row.content for row in there}),
            "classes": len({row.name for row in there} - {""}),
            "missing": sum(row.state == "missing" and row.content is not None for row in rows),
            "excluded": sum(row.state == "excluded" and row.content is not None for row in rows),
            "skipped": self.skipped().total(),
            "forgotten": len(self.forgotten),
        }

    # --- index ------------------------------------------------------------------------------------------------------------

    def index(self, disk: Disk, folder: str, exclude: set[str], names: str | None, prune: bool, chosen: dict[str, int]) -> Report:
        """`chosen`: path -> number, as the program has it now."""
        named = self._adopt(disk, folder, exclude, names)
        below = [root for root in self.roots if inside(root, named) and root != named and not self.roots[root].out]
        targets = [Target(path, self.root_of(path) or "", path == named) for path in sorted({named, *below})]
        report = Report()
        for target in targets:
            part = self.part(target.root, target.folder).values()
            target.known = sum(row.state == "present" for row in part)
            target.kept = target.known > 0 or any(row.state == "missing" and row.content for row in part)
        for target in targets:
            self._walk(disk, target, exclude, report)
        looked = report.skipped or any(target.seen for target in targets)
        if any(target.folder in target.unreadable and not target.kept and target.named for target in targets):
            raise RefusedError("cannot be read")
        if not looked and not any(target.kept for target in targets):
            raise RefusedError("no images")
        self._place(disk, targets, report, chosen)
        for target in targets:
            self._mark(target, exclude, prune and target.named, disk, report)
        if not all(target.named for target in targets):
            self._drop_emptied(disk)
        return report

    def _adopt(self, disk: Disk, path: str, exclude: set[str], names: str | None) -> str:
        came_back = path in self.forgotten
        self.forgotten.discard(path)
        found = disk.see(path)
        if found is not None and found.kind == "file":
            if not came_back:
                raise RefusedError("a file")
            path = os.path.dirname(path)
        home = self.root_of(path)
        self._leave_forgotten(path, home)
        known = home is not None and (path == home or any(row.state != "forgotten" for row in self.part(home, path).values()))
        if not known and not disk.is_folder(path):
            raise RefusedError("no such folder")
        self._join(disk, path)
        home = self.root_of(path)
        if home is None or (path != home and any(_rule(part, exclude) for part in os.path.relpath(path, home).split("/"))):
            if home is not None:
                self._clear_look(home, path)
            self.roots[path] = Root(names or (self.roots[home].names if home else "folder"))
            home = path
        if names is not None and names != self.roots[home].names:
            if path != home:
                raise RefusedError("names are of a whole root")
            self.roots[home].names = names
        return path

    def _leave_forgotten(self, path: str, home: str | None) -> None:
        """A root comes back by its own name, and alone; a part of one does not."""
        for above in sorted(above for above in self.forgotten if inside(path, above)):
            if home is not None and path != home:
                if inside(above, home) or self.roots[home].out:
                    raise RefusedError("in a folder that was taken out")
            elif self.root_of(above) is None or above in self.roots:
                self.forgotten.discard(above)
                self.forgotten |= {root for root in self.roots if inside(root, above) and not inside(root, path)}
        for root in self.roots:
            if inside(root, path):
                self.roots[root].out &= root != path and any(inside(root, above) for above in self.forgotten)

    def _walk(self, disk: Disk, target: Target, exclude: set[str], report: Report) -> None:
        never = self.forgotten | self.roots.keys()
        self._clear_look(target.root, target.folder)
        folders = [target.folder]
        while folders:
            folder = folders.pop()
            entries = disk.listed(folder)
            if entries is None:
                target.unreadable.append(folder)
                if folder != target.folder:
                    report.skipped[folder] = self.unusable[target.root, folder] = UNREADABLE
                continue
            passed: Counter[str] = Counter()
            for path in entries:
                name, found = os.path.basename(path), disk.entries[path]
                if path in never:
                    continue
                if rule := _rule(name, exclude):
                    passed[rule] += sum(1 for _ in _pictures(disk, path, never))
                elif found.kind == "folder":
                    folders.append(path)
                elif found.kind == "link" and (name.endswith(".png") or found.to_folder):
                    report.skipped[path] = self.unusable[target.root, path] = LINK
                elif not name.endswith(".png"):
                    passed["without a picture's name"] += 1
                else:
                    target.seen[path] = found
            for rule, files in passed.items():
                if files:
                    self.passed[target.root, folder, rule] = files
            report.passed.update(passed)

    def _place(self, disk: Disk, targets: list[Target], report: Report, chosen: dict[str, int]) -> None:
        seen = {path: found for target in targets for path, found in target.seen.items()}
        sources = {path: row for path, row in self.rows.items() if path not in seen and self._may_have_moved(path, row, disk, targets)}
        new: Counter[str] = Counter()
        free: Counter[str] = Counter(row.content or "" for row in sources.values())
        moves: Counter[str] = Counter()
        for path, found in seen.items():
            name = self._class_of(path)
            row = self.rows.get(path)
            if found.content not in self.good:
                report.skipped[path] = DAMAGED
                number = row.number if row else chosen.get(path, -1)
                self._take(path, Row(number, "skipped", None, name, found.stat))
                continue
            report.counts["embedded"] += found.content not in self.vectors
            self.vectors.add(found.content)
            if row is not None:
                same = row.content == found.content
                report.counts["added" if row.state != "present" else "unchanged" if same else "updated"] += 1
                number = row.number
            else:
                number = chosen.get(path, -1)
                new[found.content] += 1
                source = next((old for old, was in sources.items() if was.number == number), None)
                report.counts["added" if source is None else "moved"] += 1
                if source is not None:
                    assert self.rows[source].content == found.content, f"{path} has the number of {source}, another picture"
                    moves[found.content] += 1
                    del self.rows[source], sources[source]
            self._take(path, Row(number, "present", found.content, name, found.stat))
        for content, files in new.items():
            assert moves[content] == min(files, free[content]), f"{moves[content]} of {free[content]} moved, {files} are new: {content[:8]}"

    def _take(self, path: str, row: Row) -> None:
        if path not in self.rows:
            others = [other for other, known in self.rows.items() if known.number == row.number]
            assert row.number > 0 and not others, f"{path} is number {row.number}, as is {others}"
        self.rows[path] = row

    def _may_have_moved(self, path: str, row: Row, disk: Disk, targets: list[Target]) -> bool:
        if row.state == "missing":
            return row.content is not None
        if row.state != "present":
            return False
        found = disk.see(path)
        root = self.root_of(path) or ""
        if any(t.root == root and inside(path, t.folder) and not t.hides(path) for t in targets):
            return found is None or found.kind != "file"  # else it is left out by a rule, and where it was
        return found is None and not disk.hidden(path) and self.roots[root].mount

    def _mark(self, target: Target, exclude: set[str], prune: bool, disk: Disk, report: Report) -> None:
        part = self.part(target.root, target.folder)
        closed = target.folder in target.unreadable
        states = ("present", "skipped", "excluded")
        gone = {p: row for p, row in part.items() if row.state in states and p not in target.seen}
        if not (prune and closed):
            gone = {p: row for p, row in gone.items() if not target.hides(p)}
        for path, row in list(gone.items()):
            if any(_rule(name, exclude) for name in os.path.relpath(path, target.root).split("/")):
                report.counts["excluded"] += row.state == "present"
                row.state = "excluded"
                del gone[path]
        there = sum(row.state == "present" for row in gone.values())
        away = not prune and (closed or 2 * there > target.known > 0)
        if away:
            report.counts["offline"] += target.known if closed else there
            gone = {p: row for p, row in gone.items() if row.state != "present"}
        report.counts["missing"] += sum(row.state == "present" for row in gone.values())
        for row in gone.values():
            row.state = "missing"
        if target.folder == target.root:
            self.roots[target.root].offline = away
            self.roots[target.root].mount |= not away and disk.see(target.root) is not None
        if prune:
            for row in part.values():
                if row.state in ("missing", "excluded") and row.content is not None:
                    report.counts["pruned"] += 1
                    row.content = None
            self._drop_vectors()

    def _drop_emptied(self, disk: Disk) -> None:
        for root in list(self.roots):
            rows = self.part(root, root)
            held = any(row.content is not None or row.state in ("present", "skipped") for row in rows.values())
            if held or disk.see(root) is not None or not any(inside(root, other) and root != other for other in self.roots):
                continue
            for path in rows:
                del self.rows[path]
            self._clear_root(root)
            del self.roots[root]

    def _class_of(self, path: str) -> str:
        return "" if self.roots[self.root_of(path) or ""].names == "none" else os.path.basename(os.path.dirname(path))

    def _clear_look(self, root: str, folder: str) -> None:
        self.passed = {key: n for key, n in self.passed.items() if not (key[0] == root and inside(key[1], folder))}
        self.unusable = {key: why for key, why in self.unusable.items() if not (key[0] == root and inside(key[1], folder))}

    def _clear_root(self, root: str) -> None:
        self._clear_look(root, root)

    def _drop_vectors(self) -> None:
        self.vectors &= {row.content for row in self.rows.values() if row.content is not None}

    # --- forget -----------------------------------------------------------------------------------------------------------

    def forget(self, path: str) -> int:
        rows = {p: row for p, row in self.rows.items() if inside(p, path) and row.state != "forgotten"}
        if not rows:
            if not any(inside(path, above) for above in self.forgotten):
                raise RefusedError("not in the library")
            self._drop_vectors()
            return 0  # it is out already
        count = sum(row.state == "present" for row in rows.values())
        for row in rows.values():
            row.state, row.content = "forgotten", None
        self.forgotten.add(path)
        for root in self.roots:
            self.roots[root].out |= inside(root, path)
            if inside(root, path) or inside(path, root):
                self._clear_look(root, path if inside(path, root) else root)
        self._drop_vectors()
        return count

    # --- moved ------------------------------------------------------------------------------------------------------------

    def relocate(self, disk: Disk, old: str, new: str) -> int:
        moved = [root for root in self.roots if inside(root, old)]
        if not moved or not disk.is_folder(new):
            raise RefusedError("no such folder")
        for root in moved:
            known = self._known(root)
            place = _moved(root, old, new)
            if 2 * sum(_looks_same(disk, _moved(p, root, place), row) for p, row in known.items()) < len(known):
                raise RefusedError("not even half")
        count = sum(self._settle(root, _moved(root, old, new)) for root in moved)
        self._keep_out(old, new)
        return count

    def _known(self, root: str) -> dict[str, Row]:
        return {path: row for path, row in self.part(root, root).items() if row.state == "present"}

    def _join(self, disk: Disk, folder: str) -> None:
        """Roots that are gone, and whose files lie at or below this folder."""
        if not disk.is_folder(folder):
            return
        for root in list(self.roots):
            known = self._known(root)
            if inside(root, folder) or inside(folder, root) or not known or any(disk.see(path) for path in known):
                continue
            parts = root.strip("/").split("/")
            for place in (folder, *("/".join((folder, *parts[-n:])) for n in range(1, min(3, len(parts)) + 1))):
                there = {p: row for p, row in known.items() if _looks_same(disk, _moved(p, root, place), row)}
                same = all(disk.entries[_moved(p, root, place)].content == row.content for p, row in there.items())
                if 2 * len(there) > len(known) and same:
                    found = {p: disk.see(_moved(p, root, place)) for p in known}
                    very_same = all(e is None or e.stat == known[p].stat for p, e in found.items())
                    if very_same or (self.roots[root].mount and not any(disk.hidden(p) for p in known)):
                        self._settle(root, place)
                    break

    def _settle(self, root: str, place: str) -> int:
        rows = self.part(root, root)
        self._clear_root(root)
        fact = self.roots.pop(root)
        for path in rows:
            del self.rows[path]
        joins = place in self.roots
        if not joins:
            above = self.root_of(place)
            if above is not None:
                self._clear_look(above, place)
            self.roots[place] = Root(fact.names, out=fact.out)
        worth = ("forgotten", "present", "skipped", "excluded", "missing")
        for other in self.roots:
            if inside(other, place) and other != place:
                self._clear_look(place, other)
        for path, row in rows.items():
            now = _moved(path, root, place)
            if (other := self.rows.get(now)) is not None:
                best = min(row, other, key=lambda r: (worth.index(r.state), r.number))
                row = Row(min(row.number, other.number), best.state, best.content, best.name, best.stat)
            self.rows[now] = row
        self._keep_out(root, place)
        return len(self._known(place))

    def _keep_out(self, old: str, new: str) -> None:
        for path in [path for path in self.forgotten if inside(path, old)]:
            now = _moved(path, old, new)
            self.forgotten.discard(path)
            self.forgotten.add(now)
            for p, row in self.rows.items():
                root = self.root_of(p) or ""
                if inside(p, now) and inside(now, root):
                    row.state, row.content = "forgotten", None


def _rule(name: str, exclude: set[str]) -> str | None:
    if name.startswith("."):
        return "hidden, or in a hidden folder"
    if name in COPIES:
        return "in a folder of thumbnails or deleted files"
    return "excluded" if name in exclude else None


def _pictures(disk: Disk, path: str, never: set[str]) -> Iterator[str]:
    """Files with a picture's name in what a rule leaves out; of links only the one that is itself left out."""
    if disk.entries[path].kind != "folder":
        if path.endswith(".png"):
            yield path
        return
    for inner in disk.listed(path) or ():
        if inner not in never and disk.entries[inner].kind != "link":
            yield from _pictures(disk, inner, never)


def _looks_same(disk: Disk, path: str, row: Row) -> bool:
    found = disk.see(path)
    return found is not None and found.kind == "file" and found.stat[0] == row.stat[0]


def _moved(path: str, old: str, new: str) -> str:
    return new + path[len(old) :]
