"""A vector in, matches out: the choice between exact search and the store, closeness. Knows nothing of pictures or drawing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from .. import forks
from ..advice import Advice, Setting, Verb
from ..config import (
    CLOSENESS_SAMPLE,
    CODES_FROM,
    CODES_LOOK_AT,
    CODES_LOOK_AT_SHARE,
    DEFAULT_STORE,
    STORE_ASK_AGAIN_SECONDS,
    STORE_PAYS_FROM,
)
from ..errors import SALVAGE, DiskFullError, ImageSearchError, LibraryDamagedError, StoreError, UsageError
from ..library.catalog import item_number
from ..library.codes import Codes, can_compare
from ..library.reading import Reader
from ..library.vectors import Numbers
from ..stores.exact import cosine_of, top_k, top_k_by_codes
from ..stores.replica import StoreReplica
from ..types import Float32, Match, VectorStore
from .filters import Filters
from .meaning import OF_PICTURES, Meaning
from .rank import Found, matches_of, near_enough, nearest, scale_of
from .sieve import Passing, Sieve

__all__ = ["How", "Searcher", "Searching", "nothing_passes", "unknown_class"]

How = Literal["auto", "exact", "store"]
T = TypeVar("T")


class Searching(Protocol):
    """What is asked for matches: a `Searcher` of a library, or of a collection that stands alone (`collection.search`)."""

    @property
    def reader(self) -> Reader: ...

    @property
    def compares_all(self) -> bool:
        """`search_many` compares with every image."""
        ...

    def search(
        self, query: Float32, n: int, filters: Filters, how: How, same: frozenset[bytes], meaning: Meaning = OF_PICTURES
    ) -> tuple[list[Match], bool]: ...

    def search_many(
        self, queries: Float32, n: int, filters: Filters, same: Sequence[frozenset[bytes]], *, exclude_self: bool = False
    ) -> list[list[Match]]: ...

    def centre(self) -> Float32: ...

    def unfulfillable(self, filters: Filters) -> list[Advice]: ...

    def close(self) -> None: ...


class Searcher:
    """Searches one library; keeps its vectors between queries and renews them when the library has moved on.

    Args:
        long_lived: this process will ask often, so the store may answer; one-shot processes always search exactly.
    """

    def __init__(self, reader: Reader, replica: StoreReplica, *, long_lived: bool) -> None:
        self.reader = reader
        self._replica = replica
        self._long_lived = long_lived
        self._vectors = reader.all_vectors(coded=True)
        self._looked_at = 0  # vectors, one by one
        self._sieve = Sieve(reader)
        self._allowed: tuple[Passing, Numbers, npt.NDArray[np.bool_]] | None = None
        self._store: VectorStore | None = None
        self._store_generation = -1
        self._ask_again = 0.0
        self._using = forks.Lock()  # a store that answers is not closed under the question
        forks.watch(self)

    @property
    def compares_all(self) -> bool:
        return True

    def search(
        self, query: Float32, n: int, filters: Filters, how: How, same: frozenset[bytes], meaning: Meaning = OF_PICTURES
    ) -> tuple[list[Match], bool]:
        """The n nearest files that pass the filters.

        Args:
            query: float32 (D,), unit length. n: >= 1.
            same: contents (sha256) whose files are "identical".
            meaning: which numbers the matches get beside their similarity.

        Returns:
            matches, nearest first, of equal ones the identical first, then by id; and whether every image was compared (True) or the
            store answered.

        Raises:
            UsageError: closeness asked for in a small library. StoreError: the store was demanded and cannot answer.
        """
        with self._using, self.reader.snapshot():
            scale = scale_of(self.reader, filters, meaning)
            same_contents = self._contents_of(same)
            left_out = self._contents_of(filters.leave_out)
            store = self._ready_store(how, filters)
            found = None if store is None else self._from_store_or_none(store, query, n, left_out, how, same_contents)
            exact = found is None
            if found is None:
                found = self._exactly(query, n, filters, left_out, same_contents)
            enough = near_enough(nearest(found, n, same_contents), filters, scale, meaning)
            items = self.reader.items([numbered.file.number for numbered in enough])
        return matches_of(enough, same_contents, items, self.reader), exact

    def centre(self) -> Float32:
        """float32 (D,): the mean of the vectors of up to 1,000 images from all over the library."""
        with self._using, self.reader.snapshot():
            self._vectors.refresh()
            count = len(self._vectors.contents)
            some = self._vectors.some(np.arange(0, count, max(1, count // CLOSENESS_SAMPLE)))
            mean: Float32 = some.mean(axis=0, dtype=np.float64).astype(np.float32)
            return mean

    def unfulfillable(self, filters: Filters) -> list[Advice]:
        """A line for each class that the library has not, and one where no image passes the filters, however near it is."""
        with self._using, self.reader.snapshot():
            unknown = self._sieve.unknown(filters)
            nothing = not unknown and not len(self._sieve.passing(filters).files)
            unread = int(self._sieve.pictures.unread.sum()) if filters.by_date else 0
        lines = [unknown_class(name, near, filters) for name, near in unknown]
        if nothing:
            lines.append(nothing_passes(filters))
        if unread:
            lines.append(Advice(f"{unread:,} images have no date read yet, so their files' dates count: ", _AGAIN))
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

    def search_many(
        self, queries: Float32, n: int, filters: Filters, same: Sequence[frozenset[bytes]], *, exclude_self: bool = False
    ) -> list[list[Match]]:
        """The n nearest files of each of many queries, every image compared: as `search` finds them one by one.

        Args:
            queries: float32 (Q, D), each of unit length. same: for each the contents (sha256) whose files are "identical".
            exclude_self: leave those out.
        """
        with self._using, self.reader.snapshot():
            return self._trusting(lambda: self._compared_many(queries, n, filters, same, exclude_self))

    def _compared_many(
        self, queries: Float32, n: int, filters: Filters, same: Sequence[frozenset[bytes]], exclude_self: bool
    ) -> list[list[Match]]:
        scale = scale_of(self.reader, filters, OF_PICTURES)
        self._vectors.load_rows()  # for many questions that is less work than the codes are
        mask, passing = self._passing(filters)
        identical = [self._contents_of(hashes) for hashes in same]
        left_out = [contents if exclude_self else set() for contents in identical]
        spare = max(map(len, left_out), default=0)
        found, cosines = top_k(self._vectors.rows, queries, n + spare, mask=mask, ties=True)
        answers = []
        for query, rows, similar, mine, without in zip(queries, found, cosines, identical, left_out, strict=True):
            similarity = dict(zip(self._vectors.contents[rows].tolist(), similar.tolist(), strict=True))
            kept = {content: cosine for content, cosine in similarity.items() if content not in without}
            files = self._with_files(query, kept, passing, mine - without)
            enough = near_enough(nearest(files, n, mine), filters, scale, OF_PICTURES)
            items = self.reader.items([numbered.file.number for numbered in enough])
            answers.append(matches_of(enough, mine, items, self.reader))
        return answers

    def _exactly(self, query: Float32, n: int, filters: Filters, left_out: set[int], same: set[int]) -> list[Found]:
        return self._trusting(lambda: self._compared(query, n, filters, left_out, same))

    def _trusting(self, compare: Callable[[], T]) -> T:
        """Compare with the vectors of now; once more where it was only the file of codes that told of other contents than the catalog."""
        self._vectors.refresh()
        try:
            return compare()
        except LibraryDamagedError:
            if not self._vectors.distrust_file():
                raise
        return compare()

    def _compared(self, query: Float32, n: int, filters: Filters, left_out: set[int], same: set[int]) -> list[Found]:
        mask, passing = self._passing(filters)
        contents = self._vectors.contents
        if left_out:
            keep = ~np.isin(contents, np.fromiter(left_out, np.int64))
            mask = keep if mask is None else mask & keep
        rows, cosines = self._compare(query, n, mask)
        similarity = dict(zip(contents[rows].tolist(), cosines.tolist(), strict=True))
        return self._with_files(query, similarity, passing, same - left_out)

    def _passing(self, filters: Filters) -> tuple[npt.NDArray[np.bool_] | None, Passing | None]:
        """Which of the vectors pass, bool (N,), and which files do; None: all."""
        passing = self._sieve.passing(filters) if filters.by_file else None
        return None if passing is None else self._rows_of(passing), passing

    def _with_files(self, query: Float32, similarity: dict[int, float], passing: Passing | None, same: set[int]) -> list[Found]:
        """The files of these contents and of the identical ones, as far as they pass."""
        # A content may be kept of which no file can be found now: missing, or left out by a rule.
        there = self.reader.files_with(list(same)) if same else []
        passed = [file.content for file in there if passing is None or passing.has(file.number)]
        similarity |= {content: cosine_of(vector, query) for content, vector in self.reader.vectors(dict.fromkeys(passed)).items()}
        files = self.reader.files_with(list(similarity))
        if {f.content for f in files} != similarity.keys():  # never fewer, silently
            raise LibraryDamagedError("the catalog has lost the files of some images", path=self.reader.folder, hint=SALVAGE)
        return [(file, similarity[file.content]) for file in files if passing is None or passing.has(file.number)]

    def _rows_of(self, passing: Passing) -> npt.NDArray[np.bool_]:
        """bool (N,): which of the vectors in memory are of files that pass; kept for the next question of the same choice."""
        contents = self._vectors.contents
        if self._allowed is None or self._allowed[0] is not passing or self._allowed[1] is not contents:
            self._allowed = passing, contents, np.isin(contents, passing.contents)
        return self._allowed[2]

    def _compare(self, query: Float32, n: int, mask: npt.NDArray[np.bool_] | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The n nearest and all as near as the n-th: rows, int64, and cosines, float64. By the codes, if that is less work."""
        vectors = self._vectors
        if (codes := self._ready_codes()) is not None:
            most = max(CODES_LOOK_AT, int(CODES_LOOK_AT_SHARE * len(vectors.contents)))
            if (found := top_k_by_codes(codes, query, n, vectors=self._look_at, most=most, mask=mask, ties=True)) is not None:
                return found
        vectors.load_rows()
        (rows,), (cosines,) = top_k(vectors.rows, query[None, :], n, mask=mask, ties=True)
        return rows, cosines

    def _ready_codes(self) -> Codes | None:
        """Of a library that is large enough; made here where the library has none and this process will ask often."""
        vectors = self._vectors
        if len(vectors.contents) < CODES_FROM or not can_compare():
            return None
        if vectors.codes is None and self._long_lived:
            vectors.make_codes()
        return vectors.codes

    def _look_at(self, rows: npt.NDArray[np.int64]) -> Float32:
        """float32 (k, D): from memory, else from the catalog; all of them are fetched once it has come to as many."""
        vectors = self._vectors
        self._looked_at += len(rows)
        if self._long_lived and self._looked_at > len(vectors.contents):
            vectors.load_rows()
        return vectors.some(rows)

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
            none = self._replica.spec.place == "memory"  # `rebuild` would make none either
            hint = (
                Advice("make one with: ", Verb("rebuild", (Setting("store", DEFAULT_STORE),)))
                if none
                else Advice("rebuild it with: ", Verb("rebuild"))
            )
            raise StoreError(Advice("the store cannot answer: ", self._replica.why), path=self.reader.folder, hint=hint)
        return self._store

    def _from_store_or_none(
        self, store: VectorStore, query: Float32, n: int, left_out: set[int], how: How, same: set[int]
    ) -> list[Found] | None:
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

    def _from_store(self, store: VectorStore, query: Float32, n: int, left_out: set[int], same: set[int]) -> list[Found]:
        """The store says which; the catalog's vectors say how near."""
        spare = sum(len(self.reader.files_with([content])) for content in left_out)
        (ids,), _ = store.query(query[None, :], n + spare)
        found = self.reader.files([number for number in map(item_number, ids) if number is not None])
        files = {file.number: file for file in [*found, *self.reader.files_with(list(same))] if file.content not in left_out}
        return [(file, cosine_of(self.reader.vector(file.content), query)) for file in files.values()]


_UNFILTERED = Advice("search in another way, or without ", Setting("names"), ", ", Setting("path"), " and filters like them")
_AGAIN = Advice("index again with ", Verb("index", ("FOLDER",)))


def unknown_class(name: str, near: str | None, filters: Filters) -> Advice:
    """Of a class that was asked for and is none; `near`: the one that was likely meant."""
    whole = (" (", Setting("names") if name in filters.names else Setting("not_names"), ": the whole name)")
    return Advice(f"No image in the library has the class {name}", *(whole if near is None else (f". Did you mean {near}?",)))


def nothing_passes(filters: Filters) -> Advice:
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
    "where": Setting("where"),
}
