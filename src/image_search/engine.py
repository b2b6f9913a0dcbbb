"""`ImageSearchEngine`: a short method for each verb; the work is done in the rooms it imports."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from . import given
from .errors import QueryError, UsageError
from .library_verbs import LibraryVerbs
from .models import MODELS, Tag, checked_phrase, vocabulary_of
from .opened import Folder
from .search import closeness
from .search.each import Each
from .search.matches import Matches
from .search.query import Query, Source
from .search.request import Request, as_list, as_region, check_many
from .search.search import How
from .search.tags import known_words, tags, tags_each
from .types import Float32, IndexReport, Match, Region

if TYPE_CHECKING:
    from .index.request import Request as IndexRequest
    from .index.run import Progress
    from .tidy.comparison import Comparison

__all__ = ["ImageSearchEngine"]

# What one search does not need is imported by the verb that does: all of it takes a third as long again as a search's own imports.


class ImageSearchEngine(LibraryVerbs):
    """Give it an image; get the most similar images of a library.

    Args:
        library: the library's folder (made by the first `index`); None: $IMAGE_SEARCH_LIBRARY or the per-user data folder.
        model: a row's name ("mini", "dino", ...), a Hugging Face id or a folder; None or "auto": the library's own model, for a
            new library the best that is on this machine. A library keeps its model for life. Or a model of your own, loaded: an
            object that keeps `types.Embedder`. Its fingerprint names it; whoever made it closes it, `close()` does not.
        runtime: "onnx", "openvino" or "torch" (see `models.load_model`); None: what suits the model.
        store: "chroma", "chroma:http://host:port" or "exact"; None: the one it had last, else Chroma from 100,000 images on. Of a
            collection that stands alone ("milvus:http://host:port/NAME", "milvus:FILE.db") its name; then there is no `library`.
        jobs: decode workers and model threads; None: one for each CPU.
        allow_private_urls: queries may be fetched from this machine and local networks.
        max_megapixels, max_megabytes: what is larger is refused; None: 200 megapixels; of bytes and addresses 50, and 20 megabytes.
        long_lived: this object will be asked often, so the vector store may answer; False: always exact.
        notify: gets one plain line for each thing worth knowing; None: the log "image_search".

    Use it with `with`, or call `close()`. Safe to share between threads for searching.
    """

    # --- index --------------------------------------------------------------------------------------------------------------

    def index(
        self,
        folders: Folder | Sequence[Folder],
        *,
        name_from: str | None = None,
        exclude: str | Sequence[str] = (),
        max_megapixels: float | None = None,
        verify: bool = False,
        prune: bool = False,
        reread: bool = False,
        any_name: bool = False,
        tags: bool = False,
        dry_run: bool = False,
        progress: bool | Progress = True,
    ) -> IndexReport:
        """Bring the library up to date with these folders: only what is new or changed is embedded.

        Args:
            folders: one or several; inside them hidden, thumbnail and recycle folders are passed by.
            name_from: "folder": an image's class is the folder it lies in; "none": no classes; None: as before, "folder" at first.
            exclude: globs of names or of paths below the folder.
            max_megapixels: larger pictures are skipped; None: the engine's, 200 unless told.
            verify: hash every file, for file systems whose times and inodes say nothing.
            prune: what is gone or left out by a rule leaves for good, a whole disk, too; not what lies in a root or on a disk below.
            reread: read again what older rules turned into pixels (`report.outdated` counts it).
            any_name: look at files whose names have no ending, too; their content tells what they are.
            tags: what each picture that is added or updated shows, as `tags` says it (`report.tags`); with another model than mini each is
                read once more for it.
            dry_run: say what would be done; changes nothing.
            progress: True: a bar on stderr (in a terminal or notebook); a callable gets (done, total, skipped), files; False: none.

        Raises UsageError: no such folder; LibraryBusyError, ModelMismatchError, ... What was counted as done before an error is safe.
        """
        from .index.request import Request as IndexRequest
        from .library import folders as library_folders

        asked = IndexRequest.checked(
            folders, name_from, exclude, max_megapixels, verify, prune, reread, any_name, dry_run, progress, self.decoders.of_files, tags
        )
        if not self._library.exists:  # else a folder that it knows may be away
            library_folders.need_folder(*asked.folders)
        return self._dry_run(asked) if asked.dry_run else self._bring_up(asked)

    def _bring_up(self, asked: IndexRequest, *, make: bool = True) -> IndexReport:
        """`make`: the library, if there is none; else that is a LibraryNotFoundError."""
        from .index.plan import make_plan

        started = time.monotonic()
        with self._writing(make=make) as catalog:
            with catalog.transaction():
                plan = make_plan(catalog, asked.folders, asked.rules)
            report = self._work(catalog, plan, asked)
            self._model.record_words(catalog)
            closeness.renew(catalog)
            if catalog.generation:  # else there is nothing in it, and nothing may stay behind
                self._refresh_store(catalog, forgotten=asked.rules.prune)
        report.seconds = time.monotonic() - started
        return report

    def watch(
        self,
        folders: Folder | Sequence[Folder],
        *,
        name_from: str | None = None,
        exclude: str | Sequence[str] = (),
        max_megapixels: float | None = None,
        any_name: bool = False,
        progress: bool | Progress = True,
        stop: threading.Event | None = None,
    ) -> Iterator[IndexReport]:
        """Keep the library up to date with these folders: index them now, and again when something in them has changed.

        Yields the report of each run, until `stop` is set or the iterator is closed. A burst of changes is gathered; the library is locked
        only while it is written. A folder that goes away makes nothing missing; once it is back it is looked through again. Arguments and
        errors are those of `index`; while the library is busy or its disk full, it is tried again. LibraryError: the library was there and
        is gone; no new one is made.
        """
        from .index.request import Request as IndexRequest
        from .index.watch import StillThere, Watch, keep_up
        from .library import folders as library_folders

        def wish(folders: Folder | Sequence[Folder]) -> IndexRequest:
            limits = self.decoders.of_files
            return IndexRequest.checked(folders, name_from, exclude, max_megapixels, False, False, False, any_name, False, progress, limits)

        asked = wish(folders)
        if not self._library.exists:
            library_folders.need_folder(*asked.folders)

        still = StillThere(self.library, lambda: self._library.exists)
        if not (stop is None or hasattr(stop, "is_set")):
            raise UsageError(f"stop must be a threading.Event, not {type(stop).__name__}")
        watch = functools.partial(Watch, lambda: asked.folders, self.library, asked.rules.excluder, self._notify, still=still)
        return keep_up(watch, lambda folders: self._bring_up(wish(folders), make=not still.was), stop or threading.Event())

    # --- search -------------------------------------------------------------------------------------------------------------

    def search(  # long: its arguments and what they mean
        self,
        images: Source | Sequence[Source],
        n_results: int = 3,
        *,
        less: Source | Sequence[Source] = (),
        names: str | Sequence[str] = (),
        not_names: str | Sequence[str] = (),
        path: str | os.PathLike[str] | None = None,
        not_path: str | Sequence[str] = (),
        since: str | date | None = None,
        until: str | date | None = None,
        min_pixels: int | None = None,
        formats: str | Sequence[str] = (),
        where: str | None = None,
        min_similarity: float | None = None,
        min_closeness: float | None = None,
        min_probability: float | None = None,
        region: Region | Sequence[int] | None = None,
        exclude_self: bool = False,
        other_folders: bool = False,
        fold: bool = False,
        copies: bool = False,
        group: bool = False,
        how: How = "auto",
    ) -> Matches:
        """The images of the library that are most similar to one image, or to the mean of several.

        Args:
            images: path, http(s) address, bytes of an image file, array, PIL image, id of a library item, `Text` (words), or a list of
                these; each may come with its weight: ("a.jpg", .5).
            n_results: how many, >= 1; more than the library holds gives all of it.
            less: images that the results should not resemble: half their mean is subtracted.
            names: only these classes; not_names: none of these. path: only paths that match this glob; not_path: none that match these.
            since, until: taken in this time, the last day, month or year included: "2024", "2024-05", "2024-05-01", "2024-05-01T12:30" or
                a date; by the camera's own clock, or the file's time where the picture does not say.
            min_pixels: width times height at least this. formats: only these: "jpeg", "heic", ...
            where: a condition on the columns that `annotate` brought in: "price < 20 and brand = 'x'".
            min_similarity: only matches with at least this cosine. min_closeness: at least this percentile, 0 to 1; for pictures.
            min_probability: at least this `Match.probability`, 0 to 1; for one phrase alone, of a model that was trained to say it.
            region: x, y, w, h in pixels of the upright picture; for a single image.
            exclude_self: leave out files whose bytes are the query's.
            other_folders: leave out the folders in which the query itself lies, so that its series does not fill the answer.
            fold: each picture once: its copies, told by their pixels, stand in `match.also` of the nearest. group: its older name.
            copies: ask also with the image mirrored, turned by 90, 180 and 270 degrees and cropped; `match.variant` says which was nearest.
            how: "auto", "exact" (compare with every image) or "store" (ask the vector store).

        Raises:
            LibraryNotFoundError, QueryError, UsageError, ModelError, StoreError (only for how="store").
        """
        asked = Request.checked(
            images, n_results, less=less, names=names, not_names=not_names, path=path, not_path=not_path, since=since, until=until,
            min_pixels=min_pixels, formats=formats, where=where, min_similarity=min_similarity, min_closeness=min_closeness,
            min_probability=min_probability, region=region, exclude_self=exclude_self, other_folders=other_folders,
            fold=given.truth(group, "group") or fold, copies=copies, how=how,
        )  # fmt: skip
        return self._found(asked)

    def compare(self, a: Source, b: Source, *, threshold: float | None = None) -> Comparison:
        """How similar two pictures are, and whether they show the same one; true if they do (see `Comparison`).

        Args:
            a, b: as for `search`. Without a library the engine's model is used, and there is no closeness.
            threshold: they count as the same from this cosine on; None: if one is a copy of the other, as their pixels say.

        Raises what `search` raises.
        """
        from .tidy.comparison import compared

        least = None if threshold is None else given.number(threshold, "threshold", least=-1, most=1)
        reader = self._open().reader if self._library.exists else None
        one, two = self._reader(reader).read_all([a, b], [])
        model = (self._model.for_a_new_library() if reader is None else reader).fingerprint.name
        return compared(one, two, reader, self.looks, threshold=least, model=model)

    def fold(self, matches: Sequence[Match]) -> list[Match]:
        """Each picture of these matches once, its copies in `also` of the nearest; `search(fold=True)` asks for more in their place."""
        from .tidy.fold import fold

        if not isinstance(matches, Sequence) or not all(isinstance(match, Match) for match in matches):
            raise UsageError("only the matches of a search can be folded")
        return fold(self._open().reader, self.looks, matches)

    def search_each(
        self,
        images: Iterable[Source],
        n_results: int = 3,
        *,
        exclude_self: bool = False,
        other_folders: bool = False,
        fold: bool = False,
        **filters: Any,
    ) -> Iterator[Matches | QueryError]:
        """One answer for each of many images, in order, as it goes: its matches, or the QueryError that says why there are none.

        Every image is compared. `images` is read as in `embed_each`; the other arguments, `filters` (names, path, since, min_closeness and
        so on) and errors of the whole are those of `search`.
        """
        from .tidy.fold import folded_search

        check_many(images)
        settings = {"exclude_self": exclude_self, "other_folders": other_folders, "fold": fold, **filters}
        asked = Request.checked(["each"], n_results, less=(), region=None, copies=False, how="exact", **settings)
        searcher = self._open()
        self._say(searcher.unfulfillable(asked.filters) if asked.filters.by_file else ())
        reader = self._reader(searcher.reader)
        folded = functools.partial(folded_search, reader=searcher.reader, looks=self.looks, n=asked.n)
        return Each(searcher, asked, self.library, self._notify, reader.words, folded, self.second_library).answers(
            reader.read_each(images)
        )

    def embed(self, images: Source | Sequence[Source]) -> Float32:
        """Vectors of images, float32 (N, D), each of unit length; with the library's model, or without a library the engine's.

        Whole batches go through the model, on all cores. Raises what `search` raises, for the first that cannot be used.
        """
        sources = as_list(images)
        if not sources:
            raise UsageError("no image was given")
        vectors = []
        for found in self.embed_each(sources):
            if isinstance(found, QueryError):
                raise found.__cause__ if isinstance(found.__cause__, UsageError) else found
            vectors.append(found)
        return np.stack(vectors)

    def embed_each(self, images: Iterable[Source]) -> Iterator[Float32 | QueryError]:
        """Vectors of many images, as it goes: for each, in order, its float32 (D,), or the QueryError that says why there is none.

        `images` is read as needed, at most 1,024 ahead (128 pictures in memory): a million paths cost no memory.
        """
        check_many(images)
        reader = self._reader(self._open().reader if self._library.exists else None)
        found = reader.read_each(images)
        return (query if isinstance(query, QueryError) else query.vector for query in found)

    def embed_text(self, texts: str | Sequence[str]) -> Float32:
        """Vectors of words, float32 (N, D), each of unit length. Raises ModelError where the model knows no words, QueryError for none."""
        phrases = [checked_phrase(text) for text in given.texts(texts, "texts")]
        if not phrases:
            raise UsageError("no words were given")
        return self._reader(self._open().reader if self._library.exists else None).words().embed_text(phrases)

    def tags(self, images: Source | Sequence[Source]) -> list[list[Tag]]:
        """What images show, in the words of the built-in vocabulary: for each at most three, the most telling first; none where unsure.

        By the library's model if that is mini, else by mini itself. Raises what `search` raises, for the first that cannot be used.
        """
        sources = as_list(images)
        if not sources:
            raise UsageError("no image was given")
        return tags(*self._tagging(sources))

    def tags_each(self, images: Iterable[Source]) -> Iterator[list[Tag] | QueryError]:
        """Tags of many images, as it goes: for each, in order, what `tags` says of it, or the QueryError that says why there is nothing.
        `images` is read as in `embed_each`."""
        check_many(images)
        return tags_each(*self._tagging(images))

    def words(self, prefix: str = "", n_results: int = 10) -> list[str]:
        """Words that can be searched with and begin like this, of a library whose model knows only some; for others none (any may do)."""
        reader = self._open().reader
        known = any(row.name == reader.fingerprint.name and row.vocabulary for row in MODELS)
        return known_words(vocabulary_of(self._model.of(reader.fingerprint, reader.canonical)) if known else None, prefix, n_results)

    def query(self, image: Source, *, region: Region | Sequence[int] | None = None) -> Query:
        """A picture read and embedded once, to be searched with as often as you like: `search` takes it wherever it takes an image.

        It stays good as long as the library keeps its model: until a `reembed`. Errors as in `search`.
        """
        return self._reader(self._open().reader).read(image, region=as_region(region))
