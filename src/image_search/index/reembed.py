"""A library brought to another model: every picture that it knows is embedded again, aside, and then one step changes the catalog.

    follow   the catalog in the making takes over what the library knows (`library.successor`)
    work     files whose contents have no vector there go through decoder and model, as in an index run; nobody is kept from the library
    switch   once nothing is left to do, while nobody writes: the new catalog in the old one's place (`library.switch`)

Whoever searches has the old model's answers until the switch, and whoever writes meanwhile is followed. No folder is walked: files that
the library does not know yet are the next index run's, which also has the user's rules for them.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from ..advice import Advice, Setting
from ..config import MIB, REEMBED_TURN_SECONDS, STORE_SPARE_BYTES
from ..errors import DiskFullError, LibraryBusyError, LibraryDamagedError, LibraryError
from ..images.pool import DecodePool
from ..library.catalog import CATALOG_NAME, Catalog
from ..library.library import Library
from ..library.lock import ProcessLock
from ..library.model import LibraryModel
from ..library.reading import Reader
from ..library.successor import Owed, Successor, remove_successor, successor_folder
from ..library.switch import REPLACES_OPEN_FILES, empty_log, is_log_empty, put_in_place
from ..library.thumbnails import Thumbnails
from ..library.worklist import Worklist
from ..paths import shown
from ..types import Embedder, Fingerprint, Skipped
from .plan import Plan, Rules, skipped
from .run import OF_THE_MOMENT, Progress, work_off

__all__ = ["ReembedReport", "Reembedding"]

_ROW_BYTES = 500  # of a content or a file in a catalog, with its indexes, without the vector
_NAMED = 3  # files that a refusal names
_PAUSE = 0.05  # seconds between looks whether a reader is done


@dataclass(slots=True)
class ReembedReport:
    """What one `reembed` did.

    Attributes:
        model, before: names of the library's model now, and of the one that it had.
        changed: False: the library had this model already, and nothing was done.
        images: files that can be found now. pictures: different ones of which the new model has made a vector.
        embedded: pictures that went through the model in this run; the others did so in runs that were interrupted.
        updated: files whose bytes had changed since they were indexed; they count as they are now.
        gone: files that were no longer there; they are missing now.
        unreachable: files that could not be read and have no vector: the next index run that reaches them embeds them.
        without: files that were missing or left out by a rule before, and whose kept vector is gone: embedded again should they come back.
        skipped: each file that is there and that this model or this decoder can make nothing of.
    """

    model: str
    before: str
    changed: bool = True
    images: int = 0
    pictures: int = 0
    embedded: int = 0
    updated: int = 0
    gone: int = 0
    unreachable: int = 0
    without: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0


class Reembedding:
    """One run of it.

    Args:
        library, model: the engine's; the model is the one that the library is to have.
        rules: of decoding; nothing else of them is asked.
        make_pool: the decoders, for this recipe. telling: who is told how far it is, of so many files.
        notify: gets one plain line for each thing worth knowing.
        leave: what cannot be reached does not keep the library from its new model.
    """

    def __init__(
        self,
        library: Library,
        model: LibraryModel,
        rules: Rules,
        *,
        make_pool: Callable[[Fingerprint], DecodePool],
        telling: Callable[[int], AbstractContextManager[Progress]],
        notify: Callable[[str], None],
        leave: bool,
    ) -> None:
        self._library = library
        self._model = model
        self._rules = rules
        self._make_pool = make_pool
        self._telling = telling
        self._notify = notify
        self._leave = leave
        self._waited = 0.0

    def run(self, last: Callable[[Catalog], None], after: Callable[[Catalog], None]) -> ReembedReport:
        """Do it all, or go on with what an interrupted run has done.

        Args:
            last: does to the new catalog what is left to do before it is the library's. after: what follows from it.

        Raises:
            LibraryError: pictures cannot be reached, and are not to be left. LibraryBusyError: somebody else writes, or re-embeds.
            DiskFullError, LibraryReadOnlyError, ModelError. What was done is kept in each case, and the library is as it was.
        """
        folder, started = self._library.folder, time.monotonic()
        with ProcessLock(folder / "reembed.lock", what="reembed"):
            with self._turn() as catalog:
                embedder = self._model.for_another(catalog.fingerprint)
                report = ReembedReport(embedder.fingerprint.name, catalog.fingerprint.name)
                if self._model.is_that_of(catalog):
                    remove_successor(folder)  # of another model, or of a run that was killed at its very end
                    report.changed, report.images = False, Reader(catalog).images()
                    return report
                self._check_room(catalog, embedder)
            self._all_of_it(embedder, report, last)
            remove_successor(folder)
            try:
                with self._turn() as catalog:
                    after(catalog)
            except LibraryBusyError:
                self._notify("The library has its new model; what is derived from its vectors follows with the next index run.")
        report.seconds = time.monotonic() - started
        return report

    def _all_of_it(self, embedder: Embedder, report: ReembedReport, last: Callable[[Catalog], None]) -> None:
        with contextlib.ExitStack() as stack:
            new = stack.enter_context(contextlib.closing(self._begun()))
            successor = Successor(self._library.folder, new)
            while True:
                with self._turn() as old, contextlib.ExitStack() as still:
                    still.enter_context(old.standing_still())
                    successor.follow(OF_THE_MOMENT)
                    plan = _plan_of(successor)
                    if not plan.todo:
                        self._end(successor, report)
                        if not self._is_log_empty():
                            continue
                        last(new)
                        stack.close()
                        if not REPLACES_OPEN_FILES:
                            still.close()
                            old.close()
                            self._library.close_readers()
                        put_in_place(successor_folder(self._library.folder) / CATALOG_NAME, self._library.folder)
                        return
                self._work(successor, plan, embedder, report)

    def _begun(self) -> Catalog:
        """The catalog in the making: the one that an interrupted run has left, if it is of this model; else a new one."""
        library = self._library.folder
        folder = successor_folder(library)
        if folder.is_symlink():
            raise LibraryError("a link lies where the new catalog would be made", path=folder, hint="remove it")
        if Catalog.exists(folder):
            try:
                catalog = Catalog.open(folder, write=True)
            except LibraryDamagedError as error:
                self._notify(f"What was begun is given up: {error.what}.")
            else:
                if self._model.is_that_of(catalog):
                    return catalog
                done, name = Reader(catalog).contents(), catalog.fingerprint.name
                catalog.close()
                self._notify(f"What was begun with the model {name} ({done:,} pictures) is given up.")
        remove_successor(library)
        return self._model.create_library(folder)

    def _work(self, successor: Successor, plan: Plan, embedder: Embedder, report: ReembedReport) -> None:
        with (
            self._make_pool(embedder.fingerprint) as pool,
            contextlib.closing(Thumbnails(self._library.folder, write=True)) as thumbnails,
            self._telling(plan.todo) as told,
        ):
            done = work_off(successor.catalog, plan, self._rules, thumbnails, (pool, embedder), told)
        report.embedded += done.embedded

    def _end(self, successor: Successor, report: ReembedReport) -> None:
        """Nothing is left that could be read. Raises LibraryError: too much is not done to go on."""
        owed = successor.owed()
        if (owed.away or owed.unread) and not self._leave:
            raise _not_reached(owed, report, self._library.folder)
        report.without = successor.without()
        report.gone, report.unreachable = len(owed.gone), len(owed.away) + len(owed.unread)
        report.updated, report.skipped = successor.updated, [skipped(path, reason) for path, reason in successor.skipped]
        report.images, report.pictures = successor.finish([number for number, _ in owed.gone])

    # --- who else ---------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _turn(self) -> Iterator[Catalog]:
        """The library's catalog, while nobody writes to it. An index run may be in work: it is waited for, but not for ever."""
        with (
            self._library.turn("reembed", alone=True, wait=REEMBED_TURN_SECONDS),
            contextlib.closing(Catalog.open(self._library.folder, write=True)) as catalog,
        ):
            empty_log(catalog)
            yield catalog

    def _is_log_empty(self) -> bool:
        """While it stands still. A reader in the middle of something keeps the log from being emptied: it is waited for as well."""
        if is_log_empty(self._library.folder):
            self._waited = 0.0
            return True
        self._waited += _PAUSE
        if self._waited > REEMBED_TURN_SECONDS:
            raise LibraryBusyError(
                "another program reads from the library without a stop",
                path=self._library.folder,
                hint="run the same command again when it is done; nothing is embedded twice",
            )
        time.sleep(_PAUSE)
        return False

    def _check_room(self, catalog: Catalog, embedder: Embedder) -> None:
        """For the catalog in the making, with its log; and the store makes sure of its own room by itself."""
        reader = Reader(catalog)
        contents, files = reader.contents(), reader.rows_of_files()
        needed = contents * (4 * embedder.fingerprint.dim + _ROW_BYTES) + 2 * files * _ROW_BYTES + STORE_SPARE_BYTES
        there = successor_folder(self._library.folder) / CATALOG_NAME
        needed -= there.stat().st_size if there.is_file() else 0
        free = shutil.disk_usage(self._library.folder).free
        if free < needed:
            said = f"no room for the vectors of another model ({free / MIB:,.0f} MB free, {needed / MIB:,.0f} needed)"
            raise DiskFullError(said, path=self._library.folder, hint="make room and run the same command again")


def _plan_of(successor: Successor) -> Plan:
    """Every file that has no vector yet and is there, but for those that this run has tried."""
    catalog = successor.catalog
    with catalog.transaction():
        targets = successor.targets()
        plan = Plan(Worklist(catalog, targets))
        root = {target.root_id: target for target in targets}
        for files in successor.wanted():
            for file in files:
                plan.work.add(root[file.root_id], file.relative, file.name, file.seen, file.file_id)
            successor.tried(files)
            plan.todo += len(files)
    return plan


def _not_reached(owed: Owed, report: ReembedReport, library: Path) -> LibraryError:
    files = [*owed.away, *owed.unread]
    some = ", ".join(shown(path) for _, path in files[:_NAMED])
    kinds = [(len(owed.away), "out of reach"), (len(owed.unread), "not readable just now")]
    counted = " and ".join(f"{count:,} {word}" for count, word in kinds if count)
    more = ", ..." if len(files) > _NAMED else ""
    return LibraryError(
        f"{len(files):,} images have no vector of {report.model} yet ({counted}: {some}{more}), so {report.before} goes on answering",
        path=library,
        hint=Advice(
            "bring them back and run the same command again, nothing is embedded twice; or leave them until an index run finds them: ",
            Setting("leave_unreachable", "True"),
        ),
    )
