"""`ImageSearchEngine`: a short method for each verb; the work is done in the rooms it imports."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from . import given
from .advice import Advice, Setting, Verb
from .config import MOST_SIDE, THUMBNAIL_SIDE
from .errors import SALVAGE, LibraryDamagedError, QueryError, UsageError
from .images.opening import FileInRoot
from .images.pool import DecodePool, PictureSource
from .index.dates import read_dates
from .index.plan import Plan, make_plan
from .index.request import Request as IndexRequest
from .index.run import Progress, plan_only, run
from .library import decisions as library_decisions
from .library import folders as library_folders
from .library import moving
from .library.catalog import Catalog
from .library.decisions import Decision
from .library.reading import Reader
from .library.salvage import find_damage
from .library.thumbnails import Thumbnails
from .models import checked_phrase
from .opened import Folder, OpenLibrary
from .search import closeness
from .search.blend import blended
from .search.filters import undated_line
from .search.matches import Matches
from .search.own_folders import own_folders
from .search.query import Query, Source
from .search.request import Request, as_list, as_region
from .search.same_picture import one_of_each
from .search.search import How
from .tidy import deciding
from .types import Embedder, Float32, IndexReport, Picture, Region

if TYPE_CHECKING:
    from .tidy.duplicates import Duplicates

__all__ = ["ImageSearchEngine"]


class ImageSearchEngine(OpenLibrary):
    """Give it an image; get the most similar images of a library.

    Args:
        library: the library's folder (made by the first `index`); None: $IMAGE_SEARCH_LIBRARY or the per-user data folder.
        model: a row's name ("mini", "dino", ...), a Hugging Face id or a folder; None or "auto": the library's own model, for a
            new library the best that is on this machine. A library keeps its model for life. Or a model of your own, loaded: an
            object that keeps `types.Embedder`. Its fingerprint names it; whoever made it closes it, `close()` does not.
        runtime: "onnx", "openvino" or "torch" (see `models.load_model`); None: what suits the model.
        store: "chroma" or "chroma:http://host:port"; None: the one the library had last.
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
            dry_run: say what would be done; changes nothing.
            progress: True: a bar on stderr (in a terminal or notebook); a callable gets (done, total, skipped), files; False: none.

        Raises UsageError: no such folder; LibraryBusyError, ModelMismatchError, ... What was counted as done before an error is safe.
        """
        asked = IndexRequest.checked(
            folders, name_from, exclude, max_megapixels, verify, prune, reread, any_name, dry_run, progress, self.decoders.of_files
        )
        if not self._library.exists:  # else a folder that it knows may be away
            library_folders.need_folder(*asked.folders)
        started = time.monotonic()
        if asked.dry_run:
            return self._dry_run(asked)
        with self._writing(make=True) as catalog:
            with catalog.transaction():
                plan = make_plan(catalog, asked.folders, asked.rules)
            report = self._work(catalog, plan, asked)
            closeness.renew(catalog)
            if catalog.generation:  # else there is nothing in it, and nothing may stay behind
                self._refresh_store(catalog)
        report.seconds = time.monotonic() - started
        return report

    def _work(self, catalog: Catalog, plan: Plan, asked: IndexRequest) -> IndexReport:
        with contextlib.ExitStack() as stack:
            tools: tuple[DecodePool, Embedder] | None = None
            if plan.todo:  # else nothing needs the model
                pool = self._make_pool(self.jobs, catalog.fingerprint.preprocess, limits=asked.limits, thumbnail_side=THUMBNAIL_SIDE)
                tools = stack.enter_context(pool), self._model.of(catalog.fingerprint, catalog.canonical)
            thumbnails = stack.enter_context(contextlib.closing(Thumbnails(self.library, write=True)))
            progress = stack.enter_context(_telling(asked.progress, "index", plan.todo))
            report, lines = run(catalog, plan, asked.rules, thumbnails, tools=tools, progress=progress)
        if undated := plan.work.undated():  # of a library that an older version made
            with (
                self._make_pool(self.jobs, catalog.fingerprint.preprocess, limits=asked.limits) as pool,
                _telling(asked.progress, "dates", undated) as progress,
            ):
                report.dated = read_dates(catalog, plan.work, pool, progress)
        self._say(lines)
        return report

    def _dry_run(self, asked: IndexRequest) -> IndexReport:
        with self._library.trial() as catalog:
            self._model.check(catalog.fingerprint if self._library.exists else None)
            report, lines = plan_only(catalog, make_plan(catalog, asked.folders, asked.rules), asked.rules)
        self._say(lines)
        return report

    # --- search -------------------------------------------------------------------------------------------------------------

    def search(
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
        min_similarity: float | None = None,
        min_closeness: float | None = None,
        region: Region | Sequence[int] | None = None,
        exclude_self: bool = False,
        other_folders: bool = False,
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
            min_similarity: only matches with at least this cosine. min_closeness: at least this percentile, 0 to 1.
            region: x, y, w, h in pixels of the upright picture; for a single image.
            exclude_self: leave out files whose bytes are the query's.
            other_folders: leave out the folders in which the query itself lies, so that its series does not fill the answer.
            group: of matches that show the same picture (copies, turned ones, near-identical ones) only the nearest.
            how: "auto", "exact" (compare with every image) or "store" (ask the vector store).

        Raises:
            LibraryNotFoundError, QueryError, UsageError, ModelError, StoreError (only for how="store").
        """
        asked = Request.checked(
            images, n_results, less=less, names=names, not_names=not_names, path=path, not_path=not_path, since=since, until=until,
            min_pixels=min_pixels, formats=formats, min_similarity=min_similarity, min_closeness=min_closeness, region=region,
            exclude_self=exclude_self, other_folders=other_folders, group=group, how=how,
        )  # fmt: skip
        return self._found(asked)

    def _found(self, asked: Request) -> Matches:
        searcher = self._open()
        reader = self._reader(searcher.reader)
        queries = reader.read_all(asked.likes, asked.lesses, asked.region)
        wanted = blended(queries, searcher, reader)
        words = any(query.words for query in queries)
        if words and asked.filters.min_closeness is not None:
            raise UsageError("closeness compares pictures, and these are words", hint=Advice("use ", Setting("min_similarity")))
        same = frozenset(q.sha256 for q in queries if q.sha256 is not None and not q.less)
        filters = replace(
            asked.filters,
            leave_out=same if asked.exclude_self else frozenset(),
            other_than=own_folders(queries, searcher.reader, self._notify) if asked.other_folders else frozenset(),
        )
        if asked.group:
            found, exact = one_of_each(lambda n: searcher.search(wanted, n, filters, asked.how, same), searcher.reader, asked.n)
        else:
            found, exact = searcher.search(wanted, asked.n, filters, asked.how, same)
        if words:  # it is what is usual between pictures
            found = [replace(match, closeness=None) for match in found]
        self._say(searcher.unfulfillable(filters) if filters.by_file else ())
        self._say(undated_line(found) if filters.by_date else ())
        return Matches(found, queries=queries, model=searcher.reader.fingerprint.name, exact=exact, library=self.library)

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
        if isinstance(images, (str, bytes)) or not isinstance(images, Iterable):
            raise UsageError(f"the images must be several, in a list or the like, not {type(images).__name__}")
        reader = self._reader(self._open().reader if self._library.exists else None)
        found = reader.read_each(images)
        return (query if isinstance(query, QueryError) else query.vector for query in found)

    def embed_text(self, texts: str | Sequence[str]) -> Float32:
        """Vectors of words, float32 (N, D), each of unit length. Raises ModelError where the model knows no words, QueryError for none."""
        phrases = [checked_phrase(text) for text in given.texts(texts, "texts")]
        if not phrases:
            raise UsageError("no words were given")
        return self._reader(self._open().reader if self._library.exists else None).words().embed_text(phrases)

    def query(self, image: Source, *, region: Region | Sequence[int] | None = None) -> Query:
        """A picture read and embedded once, to be searched with as often as you like: `search` takes it wherever it takes an image.

        It stays good as long as the library keeps its model, which is always. Errors as in `search`.
        """
        return self._reader(self._open().reader).read(image, region=as_region(region))

    def picture(self, source: PictureSource, *, max_side: int) -> Picture:
        """For showing, its longer side at most `max_side` pixels. Raises DecodeError with its reason.

        Args:
            source: a path, a file of an indexed folder, or encoded bytes, which get an upload's limits.
        """
        recipe = self._open().reader.fingerprint.preprocess
        side = given.whole(max_side, "max_side", most=MOST_SIDE)
        if not isinstance(source, (bytes, FileInRoot)):
            source = given.path(source, "the picture")
        return self.decoders.pool(recipe, sent=isinstance(source, bytes)).picture(source, max_side=side)

    # --- order in it ----------------------------------------------------------------------------------------------------------

    def duplicates(
        self,
        folders: Folder | Sequence[Folder] = (),
        *,
        across: Sequence[Folder] | None = None,
        prefer: Folder | Sequence[Folder] = (),
        since: str | None = None,
        kinds: str | Sequence[str] = (),
        progress: bool | Callable[[str, int, int], None] = True,
    ) -> Duplicates:
        """Which files are copies of one another, in groups, each with its best copy and why. No file is touched, what was found is kept.

        Args:
            folders: only files in these. across: two folders: only files of the second that are copies of one in the first.
            prefer: folders whose files are the better copies, the best liked first.
            since: only groups with a picture of this day or later, "2024-05-01": when it was taken, or else the file's own time.
            kinds: "same bytes", "same picture", "changed copy"; none: all of them.
            progress: True: bars on stderr; a callable gets (what, done, total); False: nobody is told.
        """
        from .tidy.duplicates import Asked, find  # Pillow comes with it

        asked, reader = Asked.checked(folders, across, prefer, since, kinds), self._open().reader
        with contextlib.ExitStack() as stack:
            make = functools.partial(self._make_pool, self.jobs, reader.fingerprint.preprocess, limits=self.decoders.of_files)
            pool = functools.cache(lambda: stack.enter_context(make()))
            if progress is True:
                from .present.progress import bars

                progress = stack.enter_context(bars())
            found = find(reader, self._library.thumbnails(), pool, asked, threads=self.jobs, progress=progress or (lambda *_: None))
        self._say(found.remarks())
        return found

    def decide(self, word: str, *pictures: Folder) -> Decision:
        """Remember, by their content, that pictures are "not the same", or to "leave" them: `duplicates` shows them together no more.

        Args:
            pictures: paths or ids; of "leave" one alone means its copies of the same bytes.

        Raises UsageError: too few; QueryError: the library does not have one of them.
        """
        decided, hashes = deciding.checked(self._open().reader, word, pictures)
        with self._writing() as catalog, catalog.transaction():
            return library_decisions.add(catalog, decided, hashes)

    def decisions(self) -> list[Decision]:
        """All that was decided of copies, by number, with where the pictures lie now."""
        return deciding.listed(self._open().reader)

    def undo_decision(self, number: int) -> None:
        """Forget a decision. Raises UsageError: there is none of this number."""
        number = given.whole(number, "number")
        with self._writing() as catalog, catalog.transaction():
            if not library_decisions.undo(catalog, number):
                raise UsageError(f"there is no decision {number}", hint=Advice("all of them: ", Verb("decisions")))

    # --- the library --------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What the library holds: counts, model, store, roots. Plain data."""
        reader = self._open().reader
        with self._store.replica(reader) as replica:
            ready = replica.verified_generation() == reader.generation
            why = "" if ready else replica.why or "the library has changed since"
        return {
            "library": str(self.library),
            **reader.facts(),
            "model": reader.fingerprint.name,
            "dimensions": reader.fingerprint.dim,
            "store": self._store.spec(reader),
            "store_ready": ready,
            "store_note": why,
        }

    def forget(self, *paths: Folder) -> int:
        """Take files, folders or ids out of the library, and remember it until the path is indexed by its own name. Files are not touched.

        Returns:
            the number of images that left the library.
        """
        with self._writing() as catalog:
            with catalog.transaction() as generation:
                count = library_folders.forget(catalog, [given.path(path, "the path") for path in paths], generation)
            closeness.renew(catalog)
            self._refresh_store(catalog)
        return count

    def relocate(self, old: Folder, new: Folder) -> int:
        """A folder that was indexed has moved: its images keep their vectors and ids. Returns their number."""
        with self._writing() as catalog:
            with catalog.transaction() as generation:
                count = moving.relocate(catalog, given.path(old, "the old folder"), given.path(new, "the new folder"), generation)
            self._refresh_store(catalog)
        return count

    def verify(self) -> list[str]:
        """Read the whole catalog and say what is damaged in it, a line each (see `library.salvage.find_damage`); empty: nothing."""
        return find_damage((reader := self._open().reader).catalog) + self._store.replica(reader).unknown

    def rebuild(self) -> int:
        """Rebuild the store from the catalog, without the model. Returns the number of images in it.

        Raises LibraryDamagedError if the catalog is damaged: what is wrong is not copied.
        """
        with self._writing(choose_store=False) as catalog:
            if damage := find_damage(catalog):
                raise LibraryDamagedError(f"the catalog is damaged ({damage[0]})", path=self.library, hint=SALVAGE)
            if self._searcher is not None:
                self._searcher.close()
            self._store.rebuild(catalog)
            return Reader(catalog).images()


@contextlib.contextmanager
def _telling(progress: bool | Progress, what: str, total: int) -> Iterator[Progress]:
    """Who is told how far a run is: a bar of this name, a caller's function, nobody."""
    if progress is not True:
        yield progress or (lambda *_: None)
        return
    from .present.progress import bar  # tqdm comes with it

    with bar(what, total) as shown:
        yield shown
