"""The questions that the rest of the house asks a library, in its words: images, classes, contents, what was skipped, how many.

`Reader` is the reading interface. Another kind of library that answers the same questions can be searched and shown as well.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import HINTS, SALVAGE, LibraryDamagedError
from ..images.captured import is_captured
from ..images.formats import rules_of
from ..images.opening import Elsewhere, FileInRoot
from ..paths import from_bytes, whole_path
from ..types import Fingerprint, Float32, Passed, Skipped
from .catalog import Catalog
from .columns import Columns
from .decisions import Decision, decisions
from .disks import Disks
from .facts import check_vector, no_sense
from .schema import FILES_IN_ROOTS, UNEMBEDDED, State, part_of
from .sqlite import in_parts, marks
from .vectors import Vectors

__all__ = ["Counts", "File", "Item", "Reader", "Root"]

# Each image with its picture's facts.
_ITEM = (
    "SELECT f.id, f.name, r.path, f.path, f.size, f.mtime_ns, c.id, c.sha256, c.width, c.height, c.format, c.rules,"
    " coalesce(c.captured, '')"
    f" FROM {FILES_IN_ROOTS} JOIN content AS c ON c.id = f.content_id WHERE f.state = '{State.PRESENT}'"
)
_ITEM_TYPES = (int, str, bytes, bytes, int, int, int, bytes, int, int, str, int, str)


@dataclass(frozen=True, slots=True)
class File:
    """A file that can be found: its row's number, its content's, its class, its absolute path and root (may hold surrogate escapes)."""

    number: int
    content: int
    name: str
    path: str
    root: str


@dataclass(frozen=True, slots=True)
class Item:
    """One image of the library and what the catalog knows of it; nothing is read from its disk.

    Attributes:
        number: the row's number; its id is "id:<number>".
        name: its class, "" if it has none.
        root: the indexed folder it lies in, absolute; may hold surrogate escapes, as `path` may.
        path: absolute.
        size: bytes of the file.
        mtime_ns: the file's time when it was indexed, nanoseconds since 1970.
        content: number of its content; copies of one file share it.
        sha256: 32 bytes.
        width, height: of the upright picture, pixels.
        format: as Pillow names it.
        rules: version of the format's pixel rules by which its vector and its thumbnail were made.
        captured: when it was taken, see `types.Decoded`; "": it does not say, or was not asked yet.
    """

    number: int
    name: str
    root: str
    path: str
    size: int
    mtime_ns: int
    content: int
    sha256: bytes
    width: int
    height: int
    format: str
    rules: int
    captured: str

    @property
    def source(self) -> FileInRoot | Elsewhere:
        """To open it by."""
        return FileInRoot.of(self.root, self.path)


def _item(row: Sequence[Any], folder: Path) -> Item:
    number, name, root, path, *rest = row
    if not is_captured(rest[-1]):
        raise no_sense(folder)
    return Item(number, name, from_bytes(root), whole_path(root, path), *rest)


class Root(NamedTuple):
    """An indexed folder: its path, whether it could not be read at the last look, its number of images.

    `away`: (path, number of images) of each other disk that is mounted below it and was not there at the last look.
    """

    path: str
    offline: bool
    images: int
    away: list[tuple[str, int]]


def outdated_rules(catalog: Catalog) -> list[tuple[str, int]]:
    """(format, version of the pixel rules) of vectors that are in the catalog and would be made by newer rules now."""
    kept = catalog.rows("SELECT DISTINCT format, rules FROM content")
    return [(format, rules) for format, rules in kept if rules < rules_of(format)]


# What the last look found and could not use. A file of which an older look said so as well counts once, with the newer reason.
_UNUSABLE = (
    "SELECT root_id, path, reason, generation, id FROM files AS f"
    f" WHERE state = '{State.SKIPPED}' AND NOT EXISTS (SELECT 1 FROM unusable AS u WHERE u.root_id = f.root_id AND u.path = f.path)"
    " UNION ALL SELECT root_id, path, reason, (SELECT max(generation) FROM files), 0 FROM unusable"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Files of each kind. `contents`: different ones among the images; `excluded`: with a vector, left out by a rule at the last look;
    `forgotten`: paths that were taken out; `unembedded`: out of reach when the library got its model, so without a vector."""

    images: int
    contents: int
    classes: int
    missing: int
    skipped: int
    excluded: int
    forgotten: int
    unembedded: int


class Reader:
    """Read-only questions to one library; safe to share between threads."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    # --- the whole ------------------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        return self.catalog.folder

    @property
    def fingerprint(self) -> Fingerprint:
        return self.catalog.fingerprint

    @property
    def generation(self) -> int:
        """Another number means: something has changed."""
        return self.catalog.generation

    @property
    def canonical(self) -> Float32:
        """float32 (8, D): what its model gave for the canonical pictures."""
        return self.catalog.canonical

    def meta(self, key: str) -> Any:
        """A fact that is kept with the library, None if there is none of this name."""
        return self.catalog.meta(key)

    def snapshot(self) -> contextlib.AbstractContextManager[None]:
        """Several questions as of one moment."""
        return self.catalog.snapshot()

    def all_vectors(self, *, coded: bool = False) -> Vectors:
        """Every vector in memory, to be refreshed; `coded`: as codes, where the library keeps them."""
        return Vectors(self.catalog, coded=coded)

    def columns(self) -> Columns:
        """What filters ask of every file that can be found."""
        return Columns(self.catalog)

    def counts(self) -> Counts:
        states = dict(self.catalog.rows("SELECT state, count(*) FROM files GROUP BY state"))
        present = f"FROM files WHERE state = '{State.PRESENT}'"
        return Counts(
            images=states.get(State.PRESENT, 0),
            contents=self.catalog.value(f"SELECT count(DISTINCT content_id) {present}"),
            classes=self.catalog.value(f"SELECT count(DISTINCT name) {present} AND name != ''"),
            missing=self._kept(State.MISSING),
            skipped=self.catalog.value(f"SELECT count(*) FROM ({_UNUSABLE})"),
            excluded=self._kept(State.EXCLUDED),
            forgotten=self.catalog.value("SELECT count(*) FROM forgotten"),
            unembedded=self.catalog.value(f"SELECT count(*) FROM files WHERE reason = '{UNEMBEDDED}'"),
        )

    def _kept(self, state: State) -> int:
        """Files of this state whose vector is kept: a pruned one is no more."""
        return int(self.catalog.value(f"SELECT count(content_id) FROM files WHERE state = '{state}'"))

    def facts(self) -> dict[str, Any]:
        """Everything that is counted, as plain data. A root is offline, too, if it cannot be seen right now."""
        roots = [root._asdict() | {"offline": root.offline or not os.path.isdir(root.path)} for root in self.roots()]
        return {
            **asdict(self.counts()),
            **self.columns().totals(),
            "reasons": dict(self.skipped_counts()),
            "passed": [asdict(passed) for passed in self.passed()],
            "notes": self.notes(),
            "outdated": self.outdated(),
            "roots": [root | {"away": [{"path": path, "images": images} for path, images in root["away"]]} for root in roots],
        }

    def images(self) -> int:
        return int(self.catalog.value(f"SELECT count(*) FROM files WHERE state = '{State.PRESENT}'"))

    def contents(self) -> int:
        """Different pictures that have a vector, also those without a file that can be found."""
        return int(self.catalog.value("SELECT count(*) FROM content"))

    def rows_of_files(self) -> int:
        """Of all states."""
        return int(self.catalog.value("SELECT count(*) FROM files"))

    def about_how_many(self) -> int:
        """Contents, at once and not exactly: some may have gone."""
        return int(self.catalog.value("SELECT coalesce(max(id), 0) FROM content"))

    def roots(self) -> list[Root]:
        """The indexed folders, by path."""
        rows = self.catalog.rows(
            "SELECT r.id, r.path, r.offline, count(f.id) FROM roots AS r LEFT JOIN files AS f ON f.root_id = r.id"
            f" AND f.state = '{State.PRESENT}' GROUP BY r.id ORDER BY r.path"
        )
        return [Root(from_bytes(path), bool(offline), images, self._away(number, path)) for number, path, offline, images in rows]

    def root_paths(self) -> list[str]:
        return [from_bytes(path) for (path,) in self.catalog.rows("SELECT path FROM roots")]

    def _away(self, root_id: int, root: bytes) -> list[tuple[str, int]]:
        found = []
        for (top,) in self.catalog.rows("SELECT path FROM mounts WHERE root_id = ? AND offline ORDER BY path", (root_id,)):
            where, values = part_of(root_id, top)
            images = self.catalog.value(f"SELECT count(*) FROM files WHERE state = '{State.PRESENT}' AND {where}", values)
            found.append((whole_path(root, top), images))
        return found

    def disks(self) -> Disks:
        """Why a file may not be there, as of now."""
        return Disks(self.catalog)

    def decisions(self) -> list[Decision]:
        """What was decided of copies, by number."""
        return decisions(self.catalog)

    def classes(self) -> list[tuple[str, int]]:
        """(class, number of images), by name; the images without a class are under ""."""
        return self.catalog.rows(
            f"SELECT name, count(*) FROM files WHERE state = '{State.PRESENT}' GROUP BY name ORDER BY name", types=(str, int)
        )

    # --- images ---------------------------------------------------------------------------------------------------------------

    def item(self, number: int) -> Item | None:
        return self.items([number]).get(number)

    def items(self, numbers: Sequence[int]) -> dict[int, Item]:
        """Those of these images that are present."""
        found = {}
        for part in in_parts(numbers):
            for row in self.catalog.rows(f"{_ITEM} AND f.id IN ({marks(part)})", part, types=_ITEM_TYPES):
                found[row[0]] = _item(row, self.folder)
        return found

    def page(self, *, name: str | None = None, after: int = 0, limit: int = 100) -> list[Item]:
        """Up to `limit` images in order of their number, from the first above `after`; `name`: only of this class."""
        only, values = ("", ()) if name is None else (" AND f.name = ?", (name,))
        rows = self.catalog.rows(f"{_ITEM} AND f.id > ?{only} ORDER BY f.id LIMIT ?", (after, *values, limit), types=_ITEM_TYPES)
        return [_item(row, self.folder) for row in rows]

    def each_in_order(self) -> Iterator[tuple[int, str, int, int]]:
        """(file, class, width, height) of every image, by class and then by path: the order in which a wall shows them."""
        yield from self.catalog.rows(
            f"SELECT f.id, f.name, c.width, c.height FROM {FILES_IN_ROOTS} JOIN content AS c ON c.id = f.content_id"
            f" WHERE f.state = '{State.PRESENT}' ORDER BY f.name, r.path, f.path"
        )

    def sample(self, n: int) -> list[Item]:
        """Up to `n` images from all over the library, the same ones until the library changes.

        Numbers are drawn evenly over the range of ids, so this costs `n` look-ups in a library of any size.
        """
        low, high = self.catalog.rows(f"SELECT min(id), max(id) FROM files WHERE state = '{State.PRESENT}'")[0]
        if low is None:
            return []
        chosen: dict[int, Item] = {}
        for start in np.linspace(low, high + 1, n, endpoint=False, dtype=np.int64).tolist():
            for row in self.catalog.rows(f"{_ITEM} AND f.id >= ? ORDER BY f.id LIMIT 1", (start,), types=_ITEM_TYPES):
                chosen[row[0]] = _item(row, self.folder)
        return list(chosen.values())

    def copies(self, item: Item) -> int:
        """How many other present files have the same bytes."""
        sql = f"SELECT count(*) FROM files WHERE state = '{State.PRESENT}' AND content_id = ?"
        return int(self.catalog.value(sql, (item.content,))) - 1

    def sha256_of(self, number: int) -> bytes | None:
        """The hash of an image, also of one that is missing."""
        row = self.catalog.one("SELECT c.sha256 FROM files AS f JOIN content AS c ON c.id = f.content_id WHERE f.id = ?", (number,))
        return None if row is None else bytes(row[0])

    # --- files that can be found ------------------------------------------------------------------------------------------------

    def files(self, numbers: Sequence[int]) -> list[File]:
        """Those of these that are present."""
        return self._files("id", numbers)

    def files_with(self, contents: Sequence[int]) -> list[File]:
        """Every present file that has one of these contents."""
        return self._files("content_id", contents)

    def _files(self, column: str, values: Sequence[int]) -> list[File]:
        return [
            File(number, content, name, whole_path(root, path), from_bytes(root))
            for part in in_parts(values)
            for number, content, name, root, path in self.catalog.rows(
                f"SELECT f.id, f.content_id, f.name, r.path, f.path FROM {FILES_IN_ROOTS}"
                f" WHERE f.state = '{State.PRESENT}' AND f.{column} IN ({marks(part)})",
                part,
                types=(int, int, str, bytes, bytes),
            )
        ]

    # --- contents -------------------------------------------------------------------------------------------------------------

    def content_of(self, sha256: bytes) -> int | None:
        """The number of the content with this hash, if the library has it."""
        row = self.catalog.one("SELECT id FROM content WHERE sha256 = ?", (sha256,))
        return None if row is None else int(row[0])

    def vector(self, content: int) -> Float32:
        """float32 (D,) of one content. Raises LibraryDamagedError: it is gone, or is not what was written."""
        row = self.catalog.one("SELECT vector, checksum FROM content WHERE id = ?", (content,))
        if row is None:
            raise LibraryDamagedError(f"the vector of content {content} is gone", path=self.folder, hint=SALVAGE)
        check_vector(row[0], row[1], self.catalog.dim, f"content {content}", self.folder)
        return np.frombuffer(row[0], "<f4")

    def vectors(self, contents: Iterable[int]) -> dict[int, Float32]:
        """float32 (D,) each, of those that the library has."""
        found = {}
        for part in in_parts(list(contents)):
            for content, blob, check in self.catalog.rows(f"SELECT id, vector, checksum FROM content WHERE id IN ({marks(part)})", part):
                check_vector(blob, check, self.catalog.dim, f"content {content}", self.folder)
                found[content] = np.frombuffer(blob, "<f4")
        return found

    # --- what cannot be searched ------------------------------------------------------------------------------------------------

    def skipped_counts(self) -> list[tuple[str, int]]:
        """(reason, number of files), the most frequent first."""
        sql = f"SELECT reason, count(*) FROM ({_UNUSABLE}) GROUP BY reason ORDER BY 2 DESC, 1"
        return self.catalog.rows(sql, types=(str, int))

    def skipped(self, *, limit: int = 200) -> list[Skipped]:
        """The files that were last found to be unusable, newest first."""
        rows = self.catalog.rows(
            f"SELECT r.path, s.path, s.reason FROM ({_UNUSABLE}) AS s JOIN roots AS r ON r.id = s.root_id"
            " ORDER BY s.generation DESC, s.id DESC, s.path LIMIT ?",
            (limit,),
            types=(bytes, bytes, str),
        )
        hints = {reason.value: hint for reason, hint in HINTS.items()}
        return [Skipped(whole_path(root, path), reason, hints.get(reason, "")) for root, path, reason in rows]

    def passed(self) -> list[Passed]:
        """Files that nobody looked at, by rule, the most first."""
        rows = self.catalog.rows("SELECT rule, detail, sum(files), max(more) FROM passed GROUP BY rule, detail ORDER BY 3 DESC, 1, 2")
        return [Passed(rule, detail, files, bool(more)) for rule, detail, files, more in rows]

    def notes(self) -> dict[str, int]:
        """What is to be said of pictures ("cut off") -> how many images that is true of."""
        return dict(
            self.catalog.rows(
                "SELECT c.note, count(*) FROM content AS c JOIN files AS f ON f.content_id = c.id"
                f" WHERE c.note != '' AND f.state = '{State.PRESENT}' GROUP BY c.note"
            )
        )

    def outdated(self) -> dict[str, int]:
        """Format -> pictures that can be found, were made by older pixel rules, and might come out otherwise now."""
        found: dict[str, int] = {}
        for format, rules in outdated_rules(self.catalog):
            sql = (
                "SELECT count(*) FROM content AS c WHERE format = ? AND rules = ?"
                f" AND EXISTS (SELECT 1 FROM files WHERE content_id = c.id AND state = '{State.PRESENT}')"
            )
            if count := self.catalog.value(sql, (format, rules)):
                found[format] = found.get(format, 0) + count
        return found
