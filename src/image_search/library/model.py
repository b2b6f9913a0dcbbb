"""The model that a library is made with: chosen for a new one, loaded and proved for one that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import forks
from ..advice import Advice, Setting
from ..errors import ModelError, ModelMismatchError, ModelMissingError, UnknownModelError, UsageError
from ..models import (
    MODELS,
    canonical_vectors,
    check_embedder,
    check_runtime,
    choose_auto,
    drawn_before,
    draws_the_same,
    knowing_words,
    load_model,
    loss_in_int8,
    prove,
    remember,
    remember_drawn,
    resolve,
    ways_out,
    words_are_here,
    words_record,
)
from ..types import Embedder, Fingerprint, Float32
from .catalog import Catalog

__all__ = ["WORDS", "LibraryModel"]

WORDS = "words"  # as the catalog calls what `words_record` says


class LibraryModel:
    """One model, loaded when it is first needed; safe to share between threads.

    Args:
        folder: the library's, or the name of a collection that stands alone.
        asked: a name as for `models.load_model`, an object that keeps `types.Embedder`, or None or "auto": the library's own, for a new
            one the best that is here.
        runtime: as for `models.load_model`. threads: pictures at once.
        notify: gets one plain line for each thing worth knowing.

    Raises:
        UsageError: there is no such runtime, or the object is no embedder.
    """

    def __init__(
        self, folder: Path | str, asked: str | Embedder | None, *, runtime: str | None, threads: int, notify: Callable[[str], None]
    ) -> None:
        if runtime is not None:
            check_runtime(runtime)
        self._folder = folder
        self._given: Embedder | None = None  # the caller's own, who closes it
        self._name: str | None = None
        if isinstance(asked, str):
            self._name = None if asked == "auto" else asked
        elif asked is not None:
            if runtime is not None:
                raise UsageError("a model of your own brings its runtime with it", hint=Advice("leave out ", Setting("runtime")))
            self._given = check_embedder(asked)
            self._name = self._given.fingerprint.name
        self._runtime = runtime
        self._threads = threads
        self._notify = notify
        self._embedder: Embedder | None = None
        self._canonical: Float32 | None = None  # float32 (8, D), where it was asked to make a library
        self._proved_for: Fingerprint | None = None  # the library's model that `_embedder` was proved to be
        self._loading = forks.Lock()  # two first questions at once load one model
        forks.watch(self)

    def close(self) -> None:
        """Give it back; it can be asked for again."""
        with self._loading:
            if self._embedder is not None and self._embedder is not self._given:
                self._embedder.close()
            self._embedder = self._proved_for = self._canonical = None

    def after_fork(self, in_child: bool) -> None:
        if in_child and self._embedder is not self._given:  # it may rest on threads; the caller's own is the caller's affair
            forks.keep_for_ever(self._embedder)
            self._embedder = self._proved_for = self._canonical = None

    def check(self, library: Fingerprint | None) -> None:
        """Refuse another model than the library's by name, before anything is loaded; None: there is no library yet, any will do.

        Raises:
            ModelMismatchError: it is another one. UnknownModelError: there is none of this name.
        """
        if self._name is None:
            return
        name = self._name if self._given is not None else resolve(self._name).name
        if library is not None and name != library.name:
            raise self._mismatch(self._name, library)

    def knows_words(self, theirs: Fingerprint, *, recorded: bool) -> bool:
        """Whether the library's model knows words. Loads nothing: by the model, if it is here; by the catalog (`recorded`); by its row."""
        here = self._given if self._embedder is None else self._embedder
        if here is not None and here.fingerprint.name == theirs.name:
            return hasattr(here, "embed_text")
        return recorded or any(row.name == theirs.name and row.knows_words for row in MODELS)

    def for_a_new_library(self, *, proved: bool = False) -> Embedder:
        """The one that was asked for, or the best that is here. ModelError.

        Args:
            proved: its canonical pictures have come out as vectors that can be used.
        """
        with self._loading:
            if self._embedder is None:
                self._embedder = self._given
            if self._embedder is None:
                name, line = (self._name, None) if self._name else choose_auto()
                if line:
                    self._notify(line)
                self._embedder = load_model(name, runtime=self._runtime, threads=self._threads)
            if proved and self._canonical is None:
                self._canonical = self._drawn(self._embedder)
            return self._embedder

    def for_another(self, theirs: Fingerprint) -> Embedder:
        """The one to which a library is to be brought: that which was asked for, or of the library's own name the one that is here.
        Raises ModelError."""
        with self._loading:
            embedder = self._given if self._embedder is None else self._embedder
            if embedder is None:
                embedder = self._load(self._name or theirs.name)
            self._embedder, self._canonical, self._proved_for = embedder, self._drawn(embedder), None
            return embedder

    def is_that_of(self, catalog: Catalog) -> bool:
        """Were this catalog's vectors made by the model that `for_another` gave?"""
        assert self._embedder is not None and self._canonical is not None
        return draws_the_same(self._embedder, self._canonical, catalog.fingerprint, catalog.canonical)

    def _drawn(self, embedder: Embedder) -> Float32:
        """Its canonical vectors: as it drew them here before, or drawn now."""
        if embedder is self._given:  # the caller's own: its code may have changed under the same fingerprint
            return canonical_vectors(embedder)
        known = drawn_before(embedder)
        if known is None:
            known = canonical_vectors(embedder)
            remember_drawn(embedder, known)
        return known

    def create_library(self, folder: Path | None = None) -> Catalog:
        """A new, empty library with this model; `folder`: elsewhere than in its own."""
        model = self.for_a_new_library(proved=True)
        assert self._canonical is not None
        canonical = self._canonical
        catalog = Catalog.create(folder or Path(self._folder), model.fingerprint, canonical)
        catalog.set_meta("runtime", model.runtime)  # of the one that made it, for people who look
        self._proved_for = catalog.fingerprint
        self._record(model, catalog)
        if self._given is None:
            remember(model, canonical)
        if line := loss_in_int8(model):
            self._notify(line)
        return catalog

    def record_words(self, catalog: Catalog) -> None:
        """Let a library whose words came later know them from now on; those that it knows already stay.

        Where the model was asked for by name they are fetched for it; else only what is on this machine counts.
        """
        if catalog.meta(WORDS) is not None:
            return
        theirs = catalog.fingerprint
        here = hasattr(self._given, "embed_text") if self._given is not None else words_are_here(theirs.name, self._runtime)
        if here or (here is not None and self._name and self._given is None):
            try:
                self._record(self.of(theirs, catalog.canonical), catalog)
            except ModelError as error:
                self._notify(Advice("The model's words are not ready: ", error.line))

    def _record(self, model: Embedder, catalog: Catalog) -> None:
        """One statement: there or not there. Pictures can be indexed without the files of their words, and with damaged ones."""
        try:
            if hasattr(model, "embed_text") and (record := words_record(knowing_words(model))) is not None:
                catalog.set_meta(WORDS, record)
        except ModelMissingError:
            pass
        except ModelError as error:
            self._notify(Advice("The model's words are not ready: ", error.line))

    def of(self, theirs: Fingerprint, canonical: Float32) -> Embedder:
        """The library's model, loaded and proved to draw the library's vectors here.

        Args:
            theirs: the library's fingerprint. canonical: float32 (8, D), its vectors of the canonical pictures.

        Raises:
            ModelMismatchError, UnknownModelError, ModelMissingError, ...
        """
        with self._loading:
            embedder = self._given if self._embedder is None else self._embedder
            if embedder is None or self._proved_for != theirs:  # it may have been loaded before there was a library
                self.check(theirs)
                if embedder is None or (embedder is not self._given and not _are_one(embedder.fingerprint, theirs)):
                    embedder = self._load(theirs.name)  # also where the library was brought to new weights of the same name
                mine = embedder.fingerprint
                if (mine.dim, mine.output, mine.preprocess) != (theirs.dim, theirs.output, theirs.preprocess):
                    raise self._mismatch(mine.name, theirs)
                prove(embedder, canonical, theirs, from_memory=embedder is not self._given)
                self._embedder, self._proved_for = embedder, theirs
            return embedder

    def _load(self, name: str) -> Embedder:
        try:
            return load_model(name, runtime=self._runtime, threads=self._threads, download=self._name is not None)
        except UnknownModelError as error:
            raise UnknownModelError(
                f"the library was made with the model {name}, which is not here",
                path=self._folder,
                hint=Advice("put it back, or give your own: ", Setting("model", "MODEL")),
            ) from error

    def _mismatch(self, asked: str, library: Fingerprint) -> ModelMismatchError:
        model = "MODEL" if self._given is not None else asked  # a caller's object has no name to give
        alone = isinstance(self._folder, str)  # a collection: nothing brings it to another model
        hint = Advice("take that model, or another collection") if alone else ways_out(model)
        made = "the collection was made" if alone else "the library was made"
        if asked == library.name:
            return ModelMismatchError(f"{made} with another {asked}", path=self._folder, hint=hint)
        return ModelMismatchError(f"{made} with the model {library.name}, not with {asked}", path=self._folder, hint=hint)


def _are_one(mine: Fingerprint, theirs: Fingerprint) -> bool:
    """Same name, same weights: nothing else on the disk is to be looked for."""
    return (mine.name, mine.weights_sha256) == (theirs.name, theirs.weights_sha256)
