"""One index run: the plan's files through decoder and model (`embed_each`), into the catalog, then what is gone is said.

The catalog is written first and in whole batches; the store follows afterwards (`engine`). Killed anywhere, the next run does only
what is missing: everything it did is in the catalog or not there at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..config import COMMIT_SECONDS
from ..embedding import Embedded, embed_each
from ..errors import DecodeError, SkipReason
from ..images.pool import DecodePool, PictureSource
from ..library import writing
from ..library.catalog import Catalog
from ..library.reading import Reader
from ..library.thumbnails import Thumbnails
from ..library.worklist import Todo, Worklist
from ..types import Embedder, Float32, IndexReport
from .missing import mark_missing
from .plan import Plan, Rules, skipped

__all__ = ["OF_THE_MOMENT", "Progress", "plan_only", "run", "work_off"]

# (done, total, skipped so far), files
Progress = Callable[[int, int, int], None]

# What may be different at the next look: the row of such a file is left as it is, and the file is tried again.
PASSING = {SkipReason.CHANGED, SkipReason.VANISHED, SkipReason.UNREADABLE}
# What a run does not prove to be true for other copies of the same bytes: the machine was busy, the disk slow.
OF_THE_MOMENT = PASSING | {SkipReason.TOOK_TOO_LONG, SkipReason.CRASHED, SkipReason.TOO_MUCH_MEMORY}


@dataclass(slots=True)
class _Buffer:
    """What is done and not yet committed. A result without a vector is a content that the catalog has, or gets from this buffer."""

    good: list[tuple[Todo, Embedded]] = field(default_factory=list)
    failed: list[tuple[Todo, DecodeError]] = field(default_factory=list)
    embedded: set[bytes] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.good) + len(self.failed)


class _Claims:
    """Which contents need no decoding: in the catalog, known to be bad, or being decoded right now for another file."""

    def __init__(self, catalog: Catalog, decoder: str, work: Worklist) -> None:
        self._catalog = catalog
        self._reader = Reader(catalog)
        self._work = work
        self._decoder = decoder
        self._taken: set[bytes] = set()
        self._lock = threading.Lock()

    def known(self, sha256: bytes) -> bool:
        with self._lock:
            if sha256 in self._taken:
                return True
            if self.settled(sha256):
                return True
            self._taken.add(sha256)
            return False

    def settled(self, sha256: bytes) -> bool:
        """Known for good or bad, whatever is in work."""
        return self.in_catalog(sha256) or self.failure(sha256) is not None

    def in_catalog(self, sha256: bytes) -> bool:
        return self._reader.content_of(sha256) is not None and not self._work.is_outdated(sha256)

    def content(self, sha256: bytes) -> int | None:
        return self._reader.content_of(sha256)

    def failure(self, sha256: bytes) -> SkipReason | None:
        return writing.known_failure(self._catalog, sha256, self._decoder)

    def release(self, sha256: bytes) -> None:
        with self._lock:
            self._taken.discard(sha256)


class _Run:
    def __init__(self, catalog: Catalog, plan: Plan, thumbnails: Thumbnails, rules: Rules, progress: Progress) -> None:
        self.catalog = catalog
        self.plan = plan
        self.thumbnails = thumbnails
        self.rules = rules
        self.progress = progress
        self.claims = _Claims(catalog, rules.decoder, plan.work)
        self.report = IndexReport(unchanged=plan.unchanged, skipped=list(plan.skipped), passed=plan.passed_by_rule)
        self.buffer = _Buffer()
        self.waiting: dict[bytes, list[tuple[Todo, Embedded]]] = {}  # copies of contents that are in work
        self.committed_at = time.monotonic()
        self.done = 0
        self.new: list[tuple[str, bytes]] | None = None  # path and content of each file that was added or updated; None: nobody asks

    def work(self, pool: DecodePool, embedder: Embedder) -> None:
        """Everything in the plan. On an interrupt, what came out so far is committed before the exception goes on; of one call of the
        model the rest may be done again."""
        try:
            self.pass_through(iter(self.plan.work), pool, embedder, self.claims.known)
            # Copies whose original failed, or was committed, between their being hashed and their turn: each for itself.
            left, self.waiting = self.waiting, {}
            self.pass_through((item for copies in left.values() for item, _ in copies), pool, embedder, self.claims.settled)
        finally:
            self.commit()

    def pass_through(self, items: Iterator[Todo], pool: DecodePool, embedder: Embedder, known: Callable[[bytes], bool]) -> None:
        todos: dict[PictureSource, Todo] = {}

        def sources() -> Iterator[PictureSource]:
            for item in items:
                todos[item.source] = item
                yield item.source

        for outcome in embed_each(sources(), pool, embedder, known):
            assert outcome.source is not None
            self.take(todos.pop(outcome.source), outcome)
            if time.monotonic() - self.committed_at >= COMMIT_SECONDS:
                self.commit()

    def take(self, item: Todo, outcome: Embedded | DecodeError) -> None:
        if isinstance(outcome, DecodeError):
            self.report.embedded += outcome.reason == SkipReason.NO_VECTOR  # the model was asked
            if outcome.sha256 is not None:
                self.claims.release(outcome.sha256)
                for copy, _ in self.waiting.pop(outcome.sha256, []):
                    self.fail(copy, outcome)
            self.fail(item, outcome)
            return
        sha256 = outcome.decoded.sha256
        if outcome.vector is not None:
            self.report.embedded += 1
            self.buffer.embedded.add(sha256)
            self.buffer.good += [(item, outcome), *self.waiting.pop(sha256, [])]
        elif (reason := self.claims.failure(sha256)) is not None:
            self.fail(item, DecodeError(reason, path=item.path, sha256=sha256))
        elif sha256 in self.buffer.embedded or self.claims.in_catalog(sha256):
            self.buffer.good.append((item, outcome))
        else:
            self.waiting.setdefault(sha256, []).append((item, outcome))

    def fail(self, item: Todo, error: DecodeError) -> None:
        self.buffer.failed.append((item, error))
        self.report.skipped.append(skipped(item.path, error.reason))

    def commit(self) -> None:
        """All or nothing; what is in here after it returns is never lost."""
        self.committed_at = time.monotonic()
        if not self.buffer:
            return
        buffer, self.buffer = self.buffer, _Buffer()
        with self.catalog.transaction() as generation:
            for item, result in buffer.good:
                self.record(item, result, generation)
            for item, error in buffer.failed:
                self.refuse(item, error, generation)
        new = [result.decoded for _, result in buffer.good if result.vector is not None]
        self.thumbnails.put((decoded.sha256, decoded.thumbnail) for decoded in new if decoded.thumbnail is not None)
        for decoded in new:
            self.claims.release(decoded.sha256)
        # Counted only now: what the bar shows as done survives whatever happens next.
        self.done += len(buffer)
        self.progress(self.done, self.plan.todo, len(self.report.skipped))

    def record(self, item: Todo, result: Embedded, generation: int) -> None:
        decoded = result.decoded
        if result.vector is not None:
            self.keep(result, result.vector, generation)
        stat = decoded.stat or item.stat
        if result.vector is None and item.source.seen is not None:
            self.plan.work.ask_when(item.root_id, item.relative, item.source.seen[0], stat, self.claims.content(decoded.sha256))
        placed = writing.place(self.catalog, self.plan.work, item, decoded.sha256, stat, generation)
        if self.new is not None and placed in ("added", "updated"):
            self.new.append((item.path, decoded.sha256))
        match placed:
            case "added":
                self.report.added += 1
            case "updated":
                self.report.updated += 1
            case "moved":
                self.report.moved += 1
            case "unchanged":
                self.report.unchanged += 1

    def keep(self, result: Embedded, vector: Float32, generation: int) -> None:
        """A content that is new, or one that was to be renewed."""
        decoded = result.decoded
        if self.plan.work.is_outdated(decoded.sha256) and writing.renew_content(self.catalog, decoded, vector, generation):
            self.plan.work.is_renewed(decoded.sha256)
            self.report.renewed += 1
        else:
            writing.add_content(self.catalog, decoded, vector)
        if decoded.note:
            self.report.notes[decoded.note] = self.report.notes.get(decoded.note, 0) + 1

    def refuse(self, item: Todo, error: DecodeError, generation: int) -> None:
        """A file that cannot be searched. Reasons of the moment change nothing that is known of it, nor does a failure to renew it."""
        if error.reason in PASSING or self.plan.work.is_outdated(error.sha256):
            writing.cannot_use(self.catalog, item.root_id, item.relative, error.reason)
            return
        if error.sha256 is not None and error.reason not in OF_THE_MOMENT:
            writing.remember_failure(self.catalog, error.sha256, error.reason, self.rules.decoder)
        writing.refuse(self.catalog, self.plan.work, item, error.reason, self.rules.decoder, generation)


def run(
    catalog: Catalog,
    plan: Plan,
    rules: Rules,
    thumbnails: Thumbnails,
    *,
    tools: tuple[DecodePool, Embedder] | None,
    progress: Progress,
    new: list[tuple[str, bytes]] | None = None,
) -> tuple[IndexReport, list[str]]:
    """Do what the plan says.

    Args:
        tools: decoder and model; a plan without work needs neither.
        new: gets path and sha256 of each file that is added or updated.

    Returns the report, and one line for each folder that is offline.
    """
    work = _Run(catalog, plan, thumbnails, rules, progress)
    work.new = new
    if tools is not None:
        work.work(*tools)
    with catalog.transaction() as generation:
        lines = [*plan.lines, *mark_missing(catalog, plan, rules, work.report, generation)]
    work.report.outdated = Reader(catalog).outdated()
    return work.report, lines


def work_off(
    catalog: Catalog, plan: Plan, rules: Rules, thumbnails: Thumbnails, tools: tuple[DecodePool, Embedder], progress: Progress
) -> IndexReport:
    """The plan's files alone; nothing is said of others. Arguments as for `run`."""
    work = _Run(catalog, plan, thumbnails, rules, progress)
    work.work(*tools)
    return work.report


def plan_only(catalog: Catalog, plan: Plan, rules: Rules) -> tuple[IndexReport, list[str]]:
    """--dry-run, inside a transaction that is taken back: contents are not read, so new, changed and moved files all count as added."""
    report = IndexReport(added=plan.todo - plan.renew, unchanged=plan.unchanged, renewed=plan.renew, skipped=list(plan.skipped))
    report.passed, report.outdated = plan.passed_by_rule, Reader(catalog).outdated()
    return report, [*plan.lines, *mark_missing(catalog, plan, rules, report, catalog.generation)]
