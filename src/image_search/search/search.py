"""A vector in, matches out: the choice between exact search and the store, closeness. Knows nothing of pictures or drawing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from .. import forks
from ..advice import Advice, Setting, Verb
from ..config import CLOSENESS_SAMPLE, MIN_CLOSENESS_IMAGES, STORE_ASK_AGAIN_SECONDS, STORE_PAYS_FROM
from ..errors import SALVAGE, DiskFullError, ImageSearchError, LibraryDamagedError, StoreError, UsageError
from ..library.catalog import item_id, item_number
from ..library.disks import Disks
from ..library.reading import File, Item, Reader
from ..library.vectors import Numbers
from ..paths import modified, uri_of
from ..stores.exact import top_k
from ..stores.replica import StoreReplica
from ..types import Float32, Match, VectorStore
from . import closeness
from .filters import Filters
from .sieve import Passing, Sieve

__all__ = ["How", "Searcher"]

How = Literal["auto", "exact", "store"]
_Found = tuple[File, float]  # and its similarity

# A cosine of the same vector is off by some 1e-16; bytes that are the query's own are as near as can be.
_SAME = 1 - 1e-6


class Searcher:
    """Searches one library; keeps its vectors between queries and renews them when the library has moved on.

    Args:
        long_lived: this process will ask often, so the store may answer; one-shot processes always search exactly.
    """

    def __init__(self, reader: Reader, replica: StoreReplica, *, long_lived: bool) -> None:
        self.reader = reader
        self._replica = replica
        self._long_lived = long_lived
        self._vectors = reader.all_vectors()
        self._sieve = Sieve(reader)
        self._allowed: tuple[Passing, Numbers, np.ndarray[Any, np.dtype[np.bool_]]] | None = None
        self._store: VectorStore | None = None
        self._store_generation = -1
        self._ask_again = 0.0
        self._using = forks.Lock()  # a store that answers is not closed under the question
        forks.watch(self)

    def search(self, query: Float32, n: int, filters: Filters, how: How, same: frozenset[bytes]) -> tuple[list[Match], bool]:
        """The n nearest files that pass the filters.

        Args:
            query: float32 (D,), unit length. n: >= 1.
            same: contents (sha256) whose files are "identical".

        Returns:
            matches, nearest first, of equal ones the identical first, then by id; and whether every image was compared (True) or the
            store answered.

        Raises:
            UsageError: closeness asked for in a small library. StoreError: the store was demanded and cannot answer.
        """
        with self._using, self.reader.snapshot():
            scale = closeness.load(self.reader)
            if filters.min_closeness is not None and scale is None:
                raise UsageError(
                    f"there is no closeness here: it needs {MIN_CLOSENESS_IMAGES} images, and an `index` that came to its end",
                    hint=Advice("use ", Setting("min_similarity"), ", or index again"),
                )
            same_contents = self._contents_of(same)
            left_out = self._contents_of(filters.leave_out)
            store = self._ready_store(how, filters)
            found = None if store is None else self._from_store_or_none(store, query, n, left_out, how, same_contents)
            exact = found is None
            if found is None:
                found = self._exactly(query, n, filters, left_out, same_contents)
            nearest = _nearest(found, n, same_contents)
            items = self.reader.items([file.number for file, _ in nearest])
        return _matches(nearest, filters, same_contents, scale, items, self.reader), exact

    def centre(self) -> Float32:
        """float32 (D,): the mean of the vectors of up to 1,000 images from all over the library."""
        with self._using, self.reader.snapshot():
            self._vectors.refresh()
            rows = self._vectors.rows
            mean: Float32 = rows[:: max(1, len(rows) // CLOSENESS_SAMPLE)].mean(axis=0, dtype=np.float64).astype(np.float32)
            return mean

    def unfulfillable(self, filters: Filters) -> list[Advice]:
        """A line for each class that the library has not, and one where no image passes the filters, however near it is."""
        with self._using, self.reader.snapshot():
            unknown = self._sieve.unknown(filters)
            nothing = not unknown and not len(self._sieve.passing(filters).files)
            unread = self._sieve.pictures.unread if filters.by_date else 0
        whole = (" (", Setting("names"), ": the whole name)")
        lines = [
            Advice(f"No image in the library has the class {name}", *(whole if near is None else (f". Did you mean {near}?",)))
            for name, near in unknown
        ]
        if nothing:
            lines.append(_nothing_passes(filters))
        if unread:
            lines.append(Advice(f"{unread:,} images were not asked yet when they were taken, so their files' dates count: ", _AGAIN))
        return lines

    def close(self) -> None:
        with self._using:
            self._replica.close()  # the store, and the copy of its files that this process reads
            self._store = None
            self._ask_again = 0.0

    def after_fork(self, in_child: bool) -> None:
        if in_child:
            self._store = None
            self._ask_again = 0.0

    def _contents_of(self, hashes: Iterable[bytes]) -> set[int]:
        return {content for sha256 in hashes if (content := self.reader.content_of(sha256)) is not None}

    # --- exact --------------------------------------------------------------------------------------------------------------

    def _exactly(self, query: Float32, n: int, filters: Filters, left_out: set[int], same: set[int]) -> list[_Found]:
        self._vectors.refresh()
        contents = self._vectors.contents
        passing = self._sieve.passing(filters) if filters.by_file else None
        mask = None if passing is None else self._rows_of(passing)
        if left_out:
            keep = ~np.isin(contents, np.fromiter(left_out, np.int64))
            mask = keep if mask is None else mask & keep
        (rows,), (cosines,) = top_k(self._vectors.rows, query[None, :], n, mask=mask, ties=True)
        similarity = dict(zip(contents[rows].tolist(), cosines.tolist(), strict=True))
        # A content may be kept of which no file can be found now: missing, or left out by a rule.
        there = self.reader.files_with(list(same - left_out)) if same else []
        passed = [file.content for file in there if passing is None or passing.has(file.number)]
        similarity |= {content: _cosine(vector, query) for content, vector in self.reader.vectors(dict.fromkeys(passed)).items()}
        files = self.reader.files_with(list(similarity))
        if {f.content for f in files} != similarity.keys():  # never fewer, silently
            raise LibraryDamagedError("the catalog has lost the files of some images", path=self.reader.folder, hint=SALVAGE)
        return [(file, similarity[file.content]) for file in files if passing is None or passing.has(file.number)]

    def _rows_of(self, passing: Passing) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """bool (N,): which of the vectors in memory are of files that pass; kept for the next question of the same choice."""
        contents = self._vectors.contents
        if self._allowed is None or self._allowed[0] is not passing or self._allowed[1] is not contents:
            self._allowed = passing, contents, np.isin(contents, passing.contents)
        return self._allowed[2]

    # --- store --------------------------------------------------------------------------------------------------------------

    def _ready_store(self, how: How, filters: Filters) -> VectorStore | None:
        """The store, if it is asked for and may answer: unfiltered, verified, of exactly this generation."""
        few = self.reader.about_how_many() < STORE_PAYS_FROM
        if how == "exact" or (how == "auto" and (not self._long_lived or filters.by_file or few)):
            return None
        if how == "store" and filters.by_file:
            raise UsageError("the store does not answer filtered searches", hint=_UNFILTERED)
        generation = self.reader.generation
        asked = self._store_generation == generation and (self._store is not None or time.monotonic() < self._ask_again)
        if not asked:
            self.close()
            self._store = self._replica.open(generation)
            self._store_generation = generation
            self._ask_again = time.monotonic() + STORE_ASK_AGAIN_SECONDS
        if self._store is None and how == "store":
            raise StoreError(
                Advice("the store cannot answer: ", self._replica.why),
                path=self.reader.folder,
                hint=Advice("rebuild it with: ", Verb("rebuild")),
            )
        return self._store

    def _from_store_or_none(
        self, store: VectorStore, query: Float32, n: int, left_out: set[int], how: How, same: set[int]
    ) -> list[_Found] | None:
        """None: it failed, and is left alone for a while; the catalog answers unless the store was demanded."""
        try:
            return self._from_store(store, query, n, left_out, same)
        except (StoreError, DiskFullError) as error:  # a store may write also when it is only asked
            if how == "store":
                raise
            self._store = None
            with contextlib.suppress(ImageSearchError):
                self._replica.close()
            self._replica.why = error.line
            self._ask_again = time.monotonic() + STORE_ASK_AGAIN_SECONDS
            return None

    def _from_store(self, store: VectorStore, query: Float32, n: int, left_out: set[int], same: set[int]) -> list[_Found]:
        """The store says which; the catalog's vectors say how near."""
        spare = sum(len(self.reader.files_with([content])) for content in left_out)
        (ids,), _ = store.query(query[None, :], n + spare)
        found = self.reader.files([number for number in map(item_number, ids) if number is not None])
        files = {file.number: file for file in [*found, *self.reader.files_with(list(same))] if file.content not in left_out}
        return [(file, _cosine(self.reader.vector(file.content), query)) for file in files.values()]


_UNFILTERED = Advice("search in another way, or without ", Setting("names"), ", ", Setting("path"), " and filters like them")
_AGAIN = Advice("index again with ", Verb("index", ("FOLDER",)))


def _nothing_passes(filters: Filters) -> Advice:
    on = [name for name in filters.of_files if name != "other_than"]
    if "path" in on and set(on) <= {"names", "path"}:
        which = "this class and path" if filters.names else "this path"
        return Advice(f"No image in the library has {which} (", Setting("path"), ": the whole path, as '*/2024/*')")
    named = [part for name in on for part in (_SETTINGS[name], ", ")][:-1]
    return Advice("No image in the library passes ", *(named or ["this filter"]), " together" if len(on) > 1 else "")


_SETTINGS = {
    "names": Setting("names"),
    "not_names": Setting("not_names"),
    "path": Setting("path"),
    "not_path": Setting("not_path"),
    "since": Setting("since"),
    "until": Setting("until"),
    "min_pixels": Setting("min_pixels"),
    "formats": Setting("formats"),
}


def _cosine(vector: Float32, query: Float32) -> float:
    """As exact search computes it."""
    _, (cosines,) = top_k(vector[None, :], query[None, :], 1)
    return float(cosines[0])


def _nearest(found: list[_Found], n: int, same: set[int]) -> list[_Found]:
    """The n most similar; of equal ones first the identical, then by id. From here on what is sorted, filtered and shown is one number."""
    rows = [(file, 1.0 if file.content in same and cosine > _SAME else cosine) for file, cosine in found]
    return sorted(rows, key=lambda row: (-row[1], row[0].content not in same, row[0].number))[:n]


def _matches(
    found: list[_Found], filters: Filters, same: set[int], scale: Float32 | None, items: dict[int, Item], reader: Reader
) -> list[Match]:
    """As many of them as are near enough. `found`: files and similarities, nearest first; `scale`: the library's closeness sample."""
    matches: list[Match] = []
    disks: Disks | None = None
    for file, similarity in found:
        close = closeness.percentile(similarity, scale)
        if (filters.min_similarity is not None and similarity < filters.min_similarity) or (
            filters.min_closeness is not None and close is not None and close < filters.min_closeness
        ):
            break
        absent = not os.path.lexists(file.path)
        if absent and disks is None:
            disks = reader.disks()
        away = absent and disks is not None and disks.away(file.path)
        item = items[file.number]
        match = Match(
            id=item_id(file.number),
            rank=len(matches) + 1,
            name=file.name,
            similarity=similarity,
            closeness=close,
            path=file.path,
            uri=uri_of(file.path),
            identical=file.content in same,
            offline=away,
            gone=absent and not away,
            root=file.root,
            width=item.width,
            height=item.height,
            format=item.format,
            bytes=item.size,
            captured=item.captured,
            modified=modified(item.mtime_ns),
        )
        matches.append(match)
    return matches
