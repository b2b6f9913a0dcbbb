"""A library, opened: its model, its store, its searcher and its decoders, made when they are first needed and given back at the end."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import given
from .advice import Advice, Setting
from .config import MOST_JOBS, THUMBNAIL_SIDE, available_cpus, default_library
from .errors import QueryError, UsageError
from .forks import Lock
from .images.pool import DecodePool
from .library.catalog import Catalog
from .library.library import Library
from .library.model import LibraryModel
from .library.reading import Reader
from .library.vectors import renew_codes
from .models import MODELS, Tag, Vocabulary, load_model
from .paths import shown
from .search.decoders import Decoders
from .search.query import QueryReader, Source
from .search.search import Searcher, Searching
from .search.tags import as_files, tags_each, tags_of_contents, vocabulary
from .stores import parse_spec
from .stores.library_store import LibraryStore
from .types import Embedder, IndexReport

if TYPE_CHECKING:
    from .collection.library import CollectionLibrary
    from .index.plan import Plan
    from .index.request import Request as IndexRequest

__all__ = ["Folder", "OpenLibrary"]

log = logging.getLogger("image_search")

_WITH_TAGS = next(row for row in MODELS if row.vocabulary is not None).name  # the model that has a vocabulary

Folder = str | os.PathLike[str]


class OpenLibrary:
    """What each verb of `ImageSearchEngine` stands on. Its arguments are explained there."""

    def __init__(
        self,
        library: Folder | None = None,
        *,
        model: str | Embedder | None = None,
        runtime: str | None = None,
        store: str | None = None,
        jobs: int | None = None,
        allow_private_urls: bool = False,
        max_megapixels: float | None = None,
        max_megabytes: float | None = None,
        long_lived: bool = True,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        alone = _alone(library, store, lambda: self.decoders.of_sent.file_bytes)
        self._library = alone or Library(default_library(None if library is None else given.path(library, "library")))
        self.library = self._library.folder
        self.jobs = available_cpus() if jobs is None else given.whole(jobs, "jobs", most=MOST_JOBS)
        self._notify = log.warning if notify is None else given.function(notify, "notify")
        self._model = LibraryModel(
            self.library if alone is None else alone.name, model, runtime=runtime, threads=self.jobs, notify=self._notify
        )
        self._store = LibraryStore(self.library, store if alone is None else None, self._notify)
        self._searching: Callable[[Reader], Searching] = self._searcher_of_folder if alone is None else alone.searcher
        self._about_store: Callable[[Reader], dict[str, Any]] = self._store.facts if alone is None else alone.store_facts
        if alone is not None:
            alone.refuse_on(self)
        self._long_lived = given.truth(long_lived, "long_lived")
        self._allow_private_urls = given.truth(allow_private_urls, "allow_private_urls")
        self._searcher: Searching | None = None
        self._tagger: Embedder | None = None  # the built-in model, where the library's has no vocabulary
        self._make_pool: Callable[..., DecodePool] = DecodePool  # `image_search.testing` has another
        self.decoders = Decoders(
            lambda *recipe, **limits: self._make_pool(*recipe, **limits),
            self.jobs if long_lived else 1,
            max_megapixels=None if max_megapixels is None else given.number(max_megapixels, "max_megapixels"),
            max_megabytes=None if max_megabytes is None else given.number(max_megabytes, "max_megabytes", least=1),
        )
        self._opening = Lock()  # two first questions at once open one library

    def second_library(self) -> Library:
        """The library opened once more, for who looks things up beside a search, and closes it."""
        return self._library.second()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back everything: workers, store, lock, model. The engine can be used again afterwards."""
        if self._searcher is not None:
            self._searcher.close()
        self._library.close()
        self.decoders.close()
        self._model.close()
        if self._tagger is not None:
            self._tagger.close()
        self._searcher = self._tagger = None

    def hold_writer_lock(self, what: str) -> None:
        """Be the library's only writer until `close()`; others are told `what` holds it. LibraryBusyError if another process is."""
        self._library.hold_writer_lock(given.text(what, "what"))

    def _open(self) -> Searching:
        """The library as it is now, to be asked; opened at the first question, and again where it was replaced."""
        with self._opening:
            reader = self._library.reader()
            if self._searcher is None or self._searcher.reader is not reader:  # the first, or the library was replaced
                self._model.check(reader.fingerprint)
                if self._searcher is not None:
                    self._searcher.close()
                self._searcher = self._searching(reader)
            return self._searcher

    def _searcher_of_folder(self, reader: Reader) -> Searching:
        return Searcher(reader, self._store.replica(reader), long_lived=self._long_lived)

    def _reader(self, reader: Reader | None) -> QueryReader:
        """What makes vectors of pictures and words; with the library's model, or without a library (None) the engine's."""
        model = self._model.for_a_new_library if reader is None else functools.partial(self._model.of, reader.fingerprint, reader.canonical)
        recipe = (model() if reader is None else reader).fingerprint.preprocess
        private = self._allow_private_urls
        return QueryReader(reader, decoders=self.decoders, recipe=recipe, embedder=model, notify=self._notify, allow_private_urls=private)

    def _tagging(self, sources: Iterable[Source]) -> tuple[Iterable[Source], QueryReader, Vocabulary]:
        """What is tagged, what makes its vectors, and the words: the library's model's if it has a vocabulary, else the built-in one's."""
        reader = self._open().reader if self._library.exists else None
        if reader is not None and reader.fingerprint.name == _WITH_TAGS:
            return sources, self._reader(reader), vocabulary(self._model.of(reader.fingerprint, reader.canonical))
        return as_files(sources, reader), *self._built_in_tagging()

    def _built_in_tagging(self) -> tuple[QueryReader, Vocabulary]:
        with self._opening:
            if self._tagger is None:
                self._tagger = load_model(_WITH_TAGS, threads=self.jobs)
            model = self._tagger
        private = self._allow_private_urls
        pictures = QueryReader(
            None, decoders=self.decoders, recipe=model.fingerprint.preprocess, embedder=lambda: model, notify=self._notify,
            allow_private_urls=private,
        )  # fmt: skip
        return pictures, vocabulary(model)

    def _tags_of(self, catalog: Catalog, new: Sequence[tuple[str, bytes]]) -> dict[str, list[Tag]]:
        """Of files that were just taken in, path and sha256: by the vectors that they got, or, where these are another model's, by the
        built-in one's: each is read once more."""
        if not new:
            return {}
        if catalog.fingerprint.name == _WITH_TAGS:
            words = vocabulary(self._model.of(catalog.fingerprint, catalog.canonical))
            found = tags_of_contents([sha256 for _, sha256 in new], Reader(catalog), words)
            return {shown(path): tags for (path, _), tags in zip(new, found, strict=True)}
        each = zip(new, tags_each([path for path, _ in new], *self._built_in_tagging()), strict=True)
        read = {shown(path): tags for (path, _), tags in each if not isinstance(tags, QueryError)}
        if len(read) < len(new):
            self._notify(f"{len(new) - len(read):,} pictures could not be read once more, so they have no tags.")
        return read

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._notify(line)

    @contextlib.contextmanager
    def _writing(self, *, make: bool = False, choose_store: bool = True) -> Iterator[Catalog]:
        """The catalog, to write, with nobody else writing. `make`: the library, if there is none."""
        if make and not self._library.exists:
            # Whatever can go wrong goes wrong before anything lies in a folder that may not be ours.
            Catalog.check_place(self.library)
            self._model.for_a_new_library(proved=True)
        with self._library.writing(self._model.create_library if make else None) as catalog:
            self._model.check(catalog.fingerprint)
            if choose_store:
                self._store.choose(catalog)
            yield catalog

    def _bring_store(self, catalog: Catalog, *, forgotten: bool = False) -> None:
        """The one that was named is the library's from now on, and follows."""
        self._store.choose(catalog)
        self._refresh_store(catalog, forgotten=forgotten)

    def _refresh_store(self, catalog: Catalog, *, forgotten: bool = False) -> None:
        """What is derived from the catalog follows it: the codes, the store. `forgotten`: something shall leave them for good."""
        if self._searcher is not None:
            self._searcher.close()
        try:
            renew_codes(catalog, always=forgotten)
        except OSError as error:
            self._notify(f"The images are safe; searching takes longer, as the codes could not be written ({error.strerror or error}).")
        self._store.follow(catalog)

    def _work(self, catalog: Catalog, plan: Plan, asked: IndexRequest) -> IndexReport:
        from .index.dates import read_dates
        from .index.run import run
        from .library.thumbnails import Thumbnails
        from .present.progress import telling

        with contextlib.ExitStack() as stack:
            tools: tuple[DecodePool, Embedder] | None = None
            if plan.todo:  # else nothing needs the model
                pool = self._make_pool(self.jobs, catalog.fingerprint.preprocess, limits=asked.limits, thumbnail_side=THUMBNAIL_SIDE)
                tools = stack.enter_context(pool), self._model.of(catalog.fingerprint, catalog.canonical)
            thumbnails = stack.enter_context(contextlib.closing(Thumbnails(self.library, write=True)))
            progress = stack.enter_context(telling(asked.progress, "index", plan.todo))
            new: list[tuple[str, bytes]] | None = [] if asked.tags else None
            report, lines = run(catalog, plan, asked.rules, thumbnails, tools=tools, progress=progress, new=new)
        if undated := plan.work.undated():  # of a library that an older version made
            with (
                self._make_pool(self.jobs, catalog.fingerprint.preprocess, limits=asked.limits) as pool,
                telling(asked.progress, "dates", undated) as progress,
            ):
                report.dated = read_dates(catalog, plan.work, pool, progress)
        self._say(lines)
        report.tags = self._tags_of(catalog, new or ())
        return report

    def _dry_run(self, asked: IndexRequest) -> IndexReport:
        from .index.plan import make_plan
        from .index.run import plan_only

        with self._library.trial() as catalog:
            self._model.check(catalog.fingerprint if self._library.exists else None)
            report, lines = plan_only(catalog, make_plan(catalog, asked.folders, asked.rules), asked.rules)
        self._say(lines)
        return report


def _alone(library: Folder | None, store: str | None, most: Callable[[], int]) -> CollectionLibrary | None:
    """The collection that stands alone, where the store is one. A name that is no store must not get into the catalog."""
    spec = None if store is None else parse_spec(store)
    if spec is None or spec.place != "collection":
        return None
    if library is not None:
        hint = Advice("leave out ", Setting("library"), ", or the collection's name")
        raise UsageError(f"{store} is a collection that stands alone, and no store of a library", hint=hint)
    from .collection.library import CollectionLibrary

    return CollectionLibrary(spec, most)
