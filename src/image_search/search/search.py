"""A vector in, matches out: filters, the choice between exact search and the store, closeness. Knows nothing of pictures or drawing."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import threading
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..advice import Advice, Verb
from ..config import MIN_CLOSENESS_IMAGES
from ..errors import SALVAGE, DiskFullError, ImageSearchError, LibraryDamagedError, StoreError, UsageError
from ..library.catalog import Catalog, item_id, item_number
from ..library.vectors import Matrix, Numbers
from ..paths import from_bytes, nfc, uri_of
from ..stores.exact import top_k
from ..stores.replica import StoreReplica
from ..types import Float32, Match, VectorStore
from .closeness import percentile

__all__ = ["Filters", "How", "Searcher", "combine"]

How = Literal["auto", "exact", "store"]
STORE_PAYS_FROM = 100_000  # images: an exact search takes 6 CPU ms there, Chroma 2.5 and 290 MB more; and exact is never wrong
ASK_AGAIN_SECONDS = 10.0  # after a store said no: proving it reads all of it (.2 s at 100,000 images)
_IN = 900  # values in one "IN (...)": SQLite allows 999 everywhere


@dataclass(frozen=True, slots=True)
class Filters:
    """What a match must be.

    Attributes:
        names: one of these classes; empty: any.
        path: glob on the absolute path ("*" crosses folders).
        min_similarity: cosine at least this.
        min_closeness: closeness at least this.
        leave_out: contents (sha256) that are not shown: the query itself.
    """

    names: tuple[str, ...] = ()
    path: str | None = None
    min_similarity: float | None = None
    min_closeness: float | None = None
    leave_out: frozenset[bytes] = frozenset()

    @property
    def by_file(self) -> bool:
        return bool(self.names or self.path)


def combine(likes: Sequence[Float32], lesses: Sequence[Float32] = ()) -> Float32:
    """Mean of the first minus half the mean of the others (Rocchio 1971, with 1 and .5), float32 (D,) of unit length.

    Raises UsageError if nothing is left, that is if the pictures cancel each other out.
    """
    if len(likes) == 1 and not lesses:
        return likes[0]
    wanted = np.mean(np.asarray(likes, np.float64), axis=0)
    if lesses:
        wanted = wanted - 0.5 * np.mean(np.asarray(lesses, np.float64), axis=0)
    length = float(np.linalg.norm(wanted))
    if length < 1e-6:
        raise UsageError("these pictures cancel each other out", hint="leave some of them out")
    return np.asarray(wanted / length, np.float32)


@dataclass(frozen=True, slots=True)
class _File:
    number: int
    content: int
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class _Passing:
    """The files that pass a filter, and their contents: int64 (F,) each."""

    files: Numbers
    contents: Numbers

    def only(self, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> _Passing:
        return _Passing(self.files[mask], self.contents[mask])


def _passing(numbers: array[int]) -> _Passing:
    """From file, content, file, content, ..."""
    pairs = np.frombuffer(numbers, np.int64).reshape(-1, 2)
    return _Passing(pairs[:, 0], pairs[:, 1])


class Searcher:
    """Searches one library; keeps the matrix between queries and renews it when the catalog has moved on.

    Args:
        long_lived: this process will ask often, so the store may answer; one-shot processes always search exactly.
    """

    def __init__(self, catalog: Catalog, replica: StoreReplica, *, long_lived: bool) -> None:
        self.catalog = catalog
        self._replica = replica
        self._long_lived = long_lived
        self._matrix = Matrix(catalog)
        self._passed: tuple[object, _Passing] | None = None  # the last filter's answer, and for what it is good
        self._classes: tuple[int, _Passing, Numbers, dict[str, int]] | None = None  # generation, files, each one's class, its number
        self._store: VectorStore | None = None
        self._store_generation = -1
        self._ask_again = 0.0
        self._using = threading.RLock()  # a store that answers is not closed under the question

    def search(self, query: Float32, n: int, filters: Filters, how: How, same: frozenset[bytes]) -> tuple[list[Match], bool]:
        """The n nearest files that pass the filters.

        Args:
            query: float32 (D,), unit length. n: >= 1.
            same: contents (sha256) whose files are "identical".

        Returns:
            matches, nearest first, equal ones by id; and whether every image was compared (True) or the store answered.

        Raises:
            UsageError: closeness asked for in a small library. StoreError: the store was demanded and cannot answer.
        """
        with self._using, self.catalog.snapshot():
            scale = self.closeness_sample()
            if filters.min_closeness is not None and scale is None:
                raise UsageError(
                    f"there is no closeness here: it needs {MIN_CLOSENESS_IMAGES} images, and an `index` that came to its end",
                    hint="use --min-similarity, or index again",
                )
            same_contents = self._contents_of(same)
            left_out = self._contents_of(filters.leave_out)
            store = self._ready_store(how, filters)
            pairs = None if store is None else self._from_store_or_none(store, query, n, left_out, how)
            exact = pairs is None
            if pairs is None:
                pairs = self._exactly(query, n, filters, left_out)
            matches: list[Match] = []
            for file, cosine in pairs:
                identical = file.content in same_contents
                close = percentile(cosine, scale)
                if (filters.min_similarity is not None and cosine < filters.min_similarity) or (
                    filters.min_closeness is not None and close is not None and close < filters.min_closeness
                ):
                    break
                similarity = 1.0 if identical and cosine > 1 - 1e-6 else cosine
                offline = not os.path.lexists(file.path)
                match = Match(
                    item_id(file.number), len(matches) + 1, file.name, similarity, close, file.path, uri_of(file.path), identical, offline
                )
                matches.append(match)
        return matches, exact

    def closeness_sample(self) -> Float32 | None:
        blob = self.catalog.meta_or_none("closeness")
        return None if blob is None else np.frombuffer(blob, "<f4")

    def passes(self, filters: Filters) -> bool:
        """Is there any image that passes the filters, however far it is?"""
        with self._using, self.catalog.snapshot():
            return len(self._passing(filters).files) > 0

    def close(self) -> None:
        with self._using:
            self._replica.close()  # the store, and the copy of its files that this process reads
            self._store = None
            self._ask_again = 0.0

    # --- exact --------------------------------------------------------------------------------------------------------------

    def _exactly(self, query: Float32, n: int, filters: Filters, left_out: set[int]) -> list[tuple[_File, float]]:
        self._matrix.follow()
        contents = self._matrix.contents
        passing = self._passing(filters) if filters.by_file else None
        mask = None if passing is None else np.isin(contents, passing.contents)
        if left_out:
            keep = ~np.isin(contents, np.fromiter(left_out, np.int64))
            mask = keep if mask is None else mask & keep
        (rows,), (cosines,) = top_k(self._matrix.rows, query[None, :], n, mask=mask, ties=True)
        similarity = dict(zip(contents[rows].tolist(), cosines.tolist(), strict=True))
        files = self._files_with(similarity)
        if {f.content for f in files} != similarity.keys():  # never fewer, silently
            raise LibraryDamagedError("the catalog has lost the files of some images", path=self.catalog.folder, hint=SALVAGE)
        if passing is not None:
            chosen = set(passing.files[np.isin(passing.contents, contents[rows])].tolist())
            files = [file for file in files if file.number in chosen]
        found = sorted(((f, similarity[f.content]) for f in files), key=lambda pair: (-pair[1], pair[0].number))
        return found[:n]

    def _files_with(self, contents: Iterable[int]) -> list[_File]:
        wanted = list(contents)
        return [file for start in range(0, len(wanted), _IN) for file in self._files("content_id", wanted[start : start + _IN])]

    def _files(self, column: str, values: Sequence[int]) -> list[_File]:
        marks = ",".join("?" * len(values))
        return [
            _File(number, content, name, from_bytes(os.path.join(root, path)))
            for number, content, name, root, path in self.catalog.rows(
                "SELECT f.id, f.content_id, f.name, r.path, f.path FROM files AS f JOIN roots AS r ON r.id = f.root_id"
                f" WHERE f.state = 'present' AND f.{column} IN ({marks})",
                values,
            )
        ]

    def _passing(self, filters: Filters) -> _Passing:
        """The files that pass; kept until the catalog or the filter changes, for people ask several questions of one choice."""
        asked = (self.catalog.generation, filters.names, filters.path)
        if self._passed is None or self._passed[0] != asked:
            found = self._of_class(filters.names) if filters.path is None else self._on_path(filters.path)
            if filters.path is not None and filters.names:
                found = found.only(np.isin(found.files, self._of_class(filters.names).files))
            self._passed = asked, found
        return self._passed[1]

    def _of_class(self, names: Sequence[str]) -> _Passing:
        """Each file's class is kept as a number until the catalog changes (60 CPU ms at 100,000): any other class is one comparison."""
        generation = self.catalog.generation
        if self._classes is None or self._classes[0] != generation:
            known: dict[str, int] = {}
            numbers, codes = array("q"), array("q")
            for page in self.catalog.pages("SELECT id, content_id, name FROM files WHERE state = 'present' AND content_id IS NOT NULL"):
                for number, content, name in page:
                    numbers.append(number)
                    numbers.append(content)
                    codes.append(known.setdefault(name, len(known)))
            self._classes = generation, _passing(numbers), np.frombuffer(codes, np.int64), known
        _, everything, classes, known = self._classes
        wanted = {nfc(uri_of(name)) for name in names}
        return everything.only(np.isin(classes, [code for name, code in known.items() if nfc(name) in wanted]))

    def _on_path(self, pattern: str) -> _Passing:
        roots = {number: os.path.join(from_bytes(path), "") for number, path in self.catalog.rows("SELECT id, path FROM roots")}
        matches = re.compile(fnmatch.translate(nfc(pattern).replace(os.sep, "/"))).match
        numbers = array("q")
        sql = "SELECT id, content_id, root_id, path FROM files WHERE state = 'present' AND content_id IS NOT NULL"
        for page in self.catalog.pages(sql):
            for number, content, root, relative in page:
                path = (roots[root] + from_bytes(relative)).replace(os.sep, "/")
                if matches(path if path.isascii() else nfc(path)):
                    numbers.append(number)
                    numbers.append(content)
        return _passing(numbers)

    def _contents_of(self, hashes: Iterable[bytes]) -> set[int]:
        rows = (self.catalog.one("SELECT id FROM content WHERE sha256 = ?", (h,)) for h in hashes)
        return {row[0] for row in rows if row is not None}

    # --- store --------------------------------------------------------------------------------------------------------------

    def _ready_store(self, how: How, filters: Filters) -> VectorStore | None:
        """The store, if it is asked for and may answer: unfiltered, verified, of exactly this generation."""
        (images,) = self.catalog.rows("SELECT coalesce(max(id), 0) FROM content")[0]  # about: some may have gone
        if how == "exact" or (how == "auto" and (not self._long_lived or filters.by_file or images < STORE_PAYS_FROM)):
            return None
        if how == "store" and filters.by_file:
            raise UsageError("the store does not answer filtered searches", hint="leave out --store-only, or --name and --path")
        generation = self.catalog.generation
        asked = self._store_generation == generation and (self._store is not None or time.monotonic() < self._ask_again)
        if not asked:
            self.close()
            self._store = self._replica.open(generation)
            self._store_generation = generation
            self._ask_again = time.monotonic() + ASK_AGAIN_SECONDS
        if self._store is None and how == "store":
            raise StoreError(
                Advice("the store cannot answer: ", self._replica.why),
                path=self.catalog.folder,
                hint=Advice("rebuild it with: ", Verb("rebuild")),
            )
        return self._store

    def _from_store_or_none(
        self, store: VectorStore, query: Float32, n: int, left_out: set[int], how: How
    ) -> list[tuple[_File, float]] | None:
        """None: it failed, and is left alone for a while; the catalog answers unless the store was demanded."""
        try:
            return self._from_store(store, query, n, left_out)
        except (StoreError, DiskFullError) as error:  # a store may write also when it is only asked
            if how == "store":
                raise
            self._store = None
            with contextlib.suppress(ImageSearchError):
                self._replica.close()
            self._replica.why = error.line
            self._ask_again = time.monotonic() + ASK_AGAIN_SECONDS
            return None

    def _from_store(self, store: VectorStore, query: Float32, n: int, left_out: set[int]) -> list[tuple[_File, float]]:
        """The store says which; the catalog's vectors say how near."""
        spare = sum(len(self._files("content_id", [content])) for content in left_out)
        (ids,), _ = store.query(query[None, :], n + spare)
        numbers = [number for number in map(item_number, ids) if number is not None]
        files = [file for start in range(0, len(numbers), _IN) for file in self._files("id", numbers[start : start + _IN])]
        pairs = []
        for file in files:
            if file.content not in left_out:
                _, (cosine,) = top_k(self.catalog.vector(file.content)[None, :], query[None, :], 1)
                pairs.append((file, float(cosine[0])))
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0].number))[:n]
