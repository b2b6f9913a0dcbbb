"""The verbs about a library as a whole: what it holds, what goes in and out beside pictures, what it shows of itself, mending it."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from . import given
from .advice import Advice, Verb
from .answering import AnsweringLibrary
from .config import MOST_NEIGHBOURS, THUMBNAIL_SIDE
from .errors import SALVAGE, LibraryDamagedError, UsageError
from .library.model import WORDS
from .library.reading import Reader
from .library.successor import under_way
from .opened import Folder
from .present.progress import telling
from .search import closeness

if TYPE_CHECKING:
    from .collection.load import Loaded, Source
    from .export.facts import Annotated
    from .index.reembed import ReembedReport
    from .index.run import Progress
    from .library.decisions import Decision
    from .tidy.duplicates import Duplicates
    from .tidy.labels import LabelCheck
    from .tidy.map import LibraryMap

__all__ = ["LibraryVerbs"]

# Each verb imports what it alone needs; see engine.py.


class LibraryVerbs(AnsweringLibrary):
    """The part of `ImageSearchEngine` that neither indexes nor searches."""

    def status(self) -> dict[str, Any]:
        """What the library holds: counts, model, store, roots. Plain data."""
        reader = self._open().reader
        return {
            "library": self._library.name,
            **reader.facts(),
            "model": reader.fingerprint.name,
            "dimensions": reader.fingerprint.dim,
            "words": self._model.knows_words(reader.fingerprint, recorded=reader.meta(WORDS) is not None),
            **self._about_store(reader),
            "reembedding": self._reembedding(reader),
        }

    def _reembedding(self, reader: Reader) -> dict[str, Any] | None:
        """How far it is with another model, by whomever; None: nothing of that kind was begun."""
        found = under_way(self.library)
        return None if found is None else {"model": found[0], "pictures": found[1], "of": reader.contents()}

    def reembed(
        self, *, leave_unreachable: bool = False, max_megapixels: float | None = None, progress: bool | Progress = True
    ) -> ReembedReport:
        """Bring the library to this engine's model: what `index` with it into a new library would give, with all that the user has said.

        Every picture that the library knows is read and embedded again; until the last one is done whoever asks gets the old model's
        answers, and then all of them the new one's. Interrupted at any moment, the next run goes on. Without a model of its own the engine
        takes the one that has the library's name now.

        Args:
            leave_unreachable: what cannot be read now (its disk is away) stays known without a vector, until an index run that reaches it;
                False: then the library keeps its model.
            max_megapixels: larger pictures are skipped; None: the engine's. progress: as for `index`.

        Raises LibraryError: pictures cannot be reached; LibraryBusyError, DiskFullError, ModelError, ... What was done is kept.
        """
        from .index.reembed import Reembedding
        from .index.request import rules_of_reading

        rules, limits = rules_of_reading(self.decoders.of_files, max_megapixels)
        told = progress if callable(progress) else given.truth(progress, "progress")
        run = Reembedding(
            self._library,
            self._model,
            rules,
            make_pool=lambda model: self._make_pool(self.jobs, model.preprocess, limits=limits, thumbnail_side=THUMBNAIL_SIDE),
            telling=lambda files: telling(told, "reembed", files),
            notify=self._notify,
            leave=given.truth(leave_unreachable, "leave_unreachable"),
        )
        return run.run(closeness.renew, functools.partial(self._bring_store, forgotten=True))

    def export(self, to: Folder, *, kind: str = "parquet", replace: bool = False, progress: bool | Progress = True) -> int:
        """Take the library along: ids, uris, classes, hashes, facts and vectors of every image. Returns how many.

        Args:
            to: a file that ends in .parquet, or for kind="tensorboard" a folder (made if need be).
            kind: "parquet" (`export.parquet`; the extra [parquet]) or "tensorboard" (its Embedding Projector, `export.tensorboard`).
            replace: files of these names may go. progress: as for `index`.

        Raises UsageError, MissingExtraError, DiskFullError, ImageSearchError: it cannot be written. What is there is whole or not there.
        """
        from .export.parquet import write_parquet
        from .export.tensorboard import write_tensorboard

        path, kind = given.path(to, "the export"), given.one_of(kind, "kind", ("parquet", "tensorboard"))
        replace = given.truth(replace, "replace")
        progress = progress if callable(progress) else given.truth(progress, "progress")
        reader = self._open().reader
        with telling(progress, "export", reader.images()) as told:
            if kind == "parquet":
                return write_parquet(reader, path, told, replace=replace)
            pool = self.decoders.pool(reader.fingerprint.preprocess, sent=True)
            return write_tensorboard(reader, path, self._library.thumbnails(), pool, told, replace=replace)

    def load(self, dataset: Folder, *, progress: bool | Progress = True) -> Loaded:
        """Bring the vectors of a Parquet data set into this collection (`store="milvus:..."`), or into the library's folder and its store.

        Only what is not there yet goes in, so a load that was interrupted is finished by the next. Into a folder only pictures that are
        files of this machine; a later index run knows them, and embeds none of them again.

        Args:
            dataset: its address: a folder, or s3://bucket/prefix, gs://, abfs://. progress: as for `index`.

        Raises DatasetError, ModelMismatchError (the vectors of another model), StoreError, UsageError. What was loaded before it stays.
        """
        from .collection.load import of_dataset
        from .dataset.dataset import open_dataset

        address, told = given.path(dataset, "the data set"), progress if callable(progress) else given.truth(progress, "progress")
        found = open_dataset(address)
        if found.missing:
            first = f"{found.missing:,} of the data set's {found.images:,} pictures were not embedded yet"
            self._notify(f"{first}: index them to the end, then load again; that goes on.")
        return self._filled(of_dataset(found), told)

    def move(self, to: Folder, *, store: str | None = None, progress: bool | Progress = True) -> Loaded:
        """All images with their vectors into a collection ("milvus:http://host:19530/photos", "milvus:photos.db") or a library's folder.

        Nothing is embedded, and nothing is taken away here. `store`: of that folder, as for an engine. Else as `load`.
        """
        from .collection.verbs import engine_of, source_of

        target, told = given.path(to, "the new place"), progress if callable(progress) else given.truth(progress, "progress")
        with engine_of(type(self), target, store, self._notify) as other:
            return other._filled(source_of(self._open().reader, self._notify), told)

    def _filled(self, source: Source, progress: bool | Progress) -> Loaded:
        from .collection.verbs import filled

        self.close()  # what is open shows what was there before
        with telling(progress, "load", source.images) as told:
            return filled(self._library, source, self._notify, told, self._bring_store)

    def annotate(self, table: Folder | None = None, *, key: str | None = None, drop: str | Sequence[str] = ()) -> Annotated:
        """Bring in a table of your own, CSV or Parquet: its columns become filters (`where`), kept by content, so that they survive moves.

        Args:
            table: None: nothing is brought in; the answer says what columns there are.
            key: the column that says which image a row is about; None: "sha256", "path", "uri" or "file". See `export.facts.bring_in`.
            drop: columns that are taken out, before the table is brought in; then not for a table that is about no image here.

        A table changes its own columns of its own rows alone. Raises UsageError, and nothing has changed: see `bring_in`.
        """
        from .export.facts import Annotated, bring_in
        from .library import annotations as library_annotations

        path, gone = None if table is None else given.path(table, "the table"), given.texts(drop, "drop")
        key = None if key is None else given.text(key, "key")
        if key is not None and path is None:
            raise UsageError("a key goes with a table", hint="give the table, too")
        if path is None and not gone:
            return Annotated(columns=library_annotations.columns_of(self._open().reader.catalog))
        with self._writing() as catalog:
            with catalog.transaction():
                for name in gone:
                    library_annotations.drop(catalog, name)
                came = None if path is None else bring_in(catalog, os.path.expanduser(path), key)
                if came is not None and gone and not came.images:
                    raise UsageError(
                        "no row of the table is about an image of the library; nothing was changed", path=path, hint="check its paths"
                    )
            self._refresh_store(catalog)
            return came or Annotated(columns=library_annotations.columns_of(catalog))

    def forget(self, *paths: Folder) -> int:
        """Take files, folders or ids out of the library, and remember it until the path is indexed by its own name. Files are not touched.

        Returns:
            the number of images that left the library.
        """
        from .library import folders as library_folders

        with self._writing() as catalog:
            with catalog.transaction() as generation:
                count = library_folders.forget(catalog, [given.path(path, "the path") for path in paths], generation)
            closeness.renew(catalog)
            self._refresh_store(catalog, forgotten=True)
        return count

    def relocate(self, old: Folder, new: Folder) -> int:
        """A folder that was indexed has moved: its images keep their vectors and ids. Returns their number."""
        from .library import moving

        with self._writing() as catalog:
            with catalog.transaction() as generation:
                count = moving.relocate(catalog, given.path(old, "the old folder"), given.path(new, "the new folder"), generation)
            self._refresh_store(catalog)
        return count

    # --- understanding it ---------------------------------------------------------------------------------------------------

    def check(
        self, folder: Folder | None = None, *, neighbours: int | None = None, progress: bool | Callable[[str, int, int], None] = True
    ) -> LabelCheck:
        """Which labels may be wrong: pictures whose neighbours say another class, far from everything; classes that mix.

        Args:
            folder: None: the library. Else every picture below it, its class the folder in which it lies; nothing is written.
            neighbours: how many vote on each picture; None: 20, or fewer where classes are small.
            progress: True: bars on stderr (in a terminal or notebook); a callable gets (what, done, total); False: none.

        Raises UsageError: no such folder, fewer than two classes; LibraryNotFoundError, ModelError, ...
        """
        from .tidy.labelled import of_folder, of_library, top_of

        votes = None if neighbours is None else given.whole(neighbours, "neighbours", most=MOST_NEIGHBOURS)
        with self._progress(progress) as say:
            if folder is None:
                reader: Reader | None = self._open().reader
                labelling = of_library(self._open().reader)
            else:
                root = top_of(given.path(folder, "the folder"))  # before a model is loaded
                reader = self._open().reader if self._library.exists else None
                labelling = of_folder(root, self._reader(reader), lambda *at: say("pictures", *at))
            labelling.check()
            model = (self._model.for_a_new_library() if reader is None else reader).fingerprint.name
            found = labelling.checked(model, votes, lambda *at: say("neighbours", *at))
        found.library = self.library if folder is None else None
        return found

    def map(self, *, fresh: bool = False, seed: int = 0, progress: bool | Callable[[str, int, int], None] = True) -> LibraryMap:
        """The library in two dimensions, as it is kept; what is new since is placed between the rest, and nothing moves.

        Args:
            fresh: lay it out anew. seed: from 0 on; another one is another map.
            progress: as for `check`.

        Raises MissingExtraError where a layout is needed and the extra [map] is not installed; LibraryError without images.
        """
        from .tidy.map import map_of

        number = given.whole(seed, "seed", least=0, most=2**31 - 1)
        with self._progress(progress) as say:
            reader = self._open().reader
            return map_of(reader, fresh=given.truth(fresh, "fresh"), seed=number, notify=self._notify, say=lambda *at: say("map", *at))

    @contextlib.contextmanager
    def _progress(self, progress: bool | Callable[[str, int, int], None]) -> Iterator[Callable[[str, int, int], None]]:
        """What is told how far something is."""
        wanted: Any = progress if callable(progress) else given.truth(progress, "progress")
        if wanted is True:
            from .present.progress import bars  # tqdm comes with it

            with bars() as say:
                yield say
        else:
            yield wanted or (lambda *_: None)

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
            since: only groups with a picture of then or later, dates as for `search` ("2024"): when it was taken, or else the file's time.
            kinds: "same bytes", "same picture", "changed copy"; none: all of them.
            progress: True: bars on stderr; a callable gets (what, done, total); False: nobody is told.
        """
        from .tidy.duplicates import Asked, find

        asked, reader = Asked.checked(folders, across, prefer, since, kinds), self._open().reader
        with contextlib.ExitStack() as stack:
            make = functools.partial(self._make_pool, self.jobs, reader.fingerprint.preprocess, limits=self.decoders.of_files)
            pool = functools.cache(lambda: stack.enter_context(make()))
            found = find(
                reader, self._library.thumbnails(), pool, asked, threads=self.jobs, progress=stack.enter_context(self._progress(progress))
            )
        self._say(found.remarks())
        return found

    def decide(self, word: str, *pictures: Folder) -> Decision:
        """Remember, by their content, that pictures are "not the same", or to "leave" them: `duplicates` shows them together no more.

        Args:
            pictures: paths or ids; of "leave" one alone means its copies of the same bytes.

        Raises UsageError: too few; QueryError: the library does not have one of them.
        """
        from .library import decisions as library_decisions
        from .tidy import deciding

        decided, hashes = deciding.checked(self._open().reader, word, pictures)
        with self._writing() as catalog, catalog.transaction():
            return library_decisions.add(catalog, decided, hashes)

    def decisions(self) -> list[Decision]:
        """All that was decided of copies, by number, with where the pictures lie now."""
        from .tidy import deciding

        return deciding.listed(self._open().reader)

    def undo_decision(self, number: int) -> None:
        """Forget a decision. Raises UsageError: there is none of this number."""
        from .library import decisions as library_decisions

        number = given.whole(number, "number")
        with self._writing() as catalog, catalog.transaction():
            if not library_decisions.undo(catalog, number):
                raise UsageError(f"there is no decision {number}", hint=Advice("all of them: ", Verb("decisions")))

    def verify(self) -> list[str]:
        """Read the whole catalog and say what is damaged in it, a line each (see `library.salvage.find_damage`); empty: nothing."""
        from .library.salvage import find_damage

        return find_damage((reader := self._open().reader).catalog) + self._store.replica(reader).unknown

    def rebuild(self) -> int:
        """Rebuild the store from the catalog, without the model. Returns the number of images in it.

        Raises LibraryDamagedError if the catalog is damaged: what is wrong is not copied.
        """
        from .library.salvage import find_damage

        with self._writing(choose_store=False) as catalog:
            if damage := find_damage(catalog):
                raise LibraryDamagedError(f"the catalog is damaged ({damage[0]})", path=self.library, hint=SALVAGE)
            if self._searcher is not None:
                self._searcher.close()
            self._store.rebuild(catalog)
            return Reader(catalog).images()
