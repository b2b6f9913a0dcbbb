"""One index run: plan from the catalog, decode in the cage, embed in batches, commit, then say what is gone.

The catalog is written first and in whole batches; the store follows afterwards (`engine`). Killed anywhere, the next run does only
what is missing: everything it did is in the catalog or not there at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..config import COMMIT_SECONDS, available_cpus
from ..errors import DecodeError, SkipReason
from ..images.pool import DecodePool
from ..images.scan import Excluder
from ..library.catalog import Catalog, checksum
from ..library.thumbnails import Thumbnails
from ..paths import from_bytes, shown
from ..types import Decoded, Embedder, Float32, IndexReport
from .plan import Plan, Target, Todo, restricted, skipped, todo, vanished

__all__ = ["Progress", "plan_only", "run"]

# (done, total, skipped so far), files
Progress = Callable[[int, int, int], None]

MODEL_CALL_SECONDS = 0.3  # one call to the model; short, so that an interrupt and the progress bar are prompt
MAX_BATCH = 128

# What may be different at the next look: the row of such a file is left as it is, and the file is tried again.
PASSING = {SkipReason.CHANGED, SkipReason.VANISHED, SkipReason.UNREADABLE}
# What a run does not prove to be true for other copies of the same bytes: the machine was busy, the disk slow.
OF_THE_MOMENT = PASSING | {SkipReason.TOOK_TOO_LONG, SkipReason.CRASHED, SkipReason.TOO_MUCH_MEMORY}


@dataclass(slots=True)
class _Buffer:
    """What is done and not yet committed."""

    new: list[tuple[Todo, Decoded, Float32]] = field(default_factory=list)
    known: list[tuple[Todo, Decoded]] = field(default_factory=list)
    failed: list[tuple[Todo, DecodeError]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.new) + len(self.known) + len(self.failed)


class _Claims:
    """Which contents need no decoding: in the catalog, known to be bad, or being decoded right now for another file."""

    def __init__(self, catalog: Catalog, decoder: str) -> None:
        self._catalog = catalog
        self._decoder = decoder
        self._taken: set[bytes] = set()
        self._lock = threading.Lock()

    def known(self, sha256: bytes) -> bool:
        with self._lock:
            if sha256 in self._taken:
                return True
            if self._catalog.one("SELECT 1 FROM content WHERE sha256 = ?", (sha256,)) or self.failure(sha256):
                return True
            self._taken.add(sha256)
            return False

    def failure(self, sha256: bytes) -> SkipReason | None:
        row = self._catalog.one("SELECT reason FROM failures WHERE sha256 = ? AND decoder = ?", (sha256, self._decoder))
        return None if row is None else SkipReason(row[0])

    def release(self, sha256: bytes) -> None:
        with self._lock:
            self._taken.discard(sha256)


class _Run:
    def __init__(
        self, catalog: Catalog, plan: Plan, embedder: Embedder | None, thumbnails: Thumbnails, decoder: str, progress: Progress
    ) -> None:
        self.catalog = catalog
        self.plan = plan
        self.embedder = embedder
        self.thumbnails = thumbnails
        self.decoder = decoder
        self.progress = progress
        self.claims = _Claims(catalog, decoder)
        self.report = IndexReport(unchanged=plan.unchanged, skipped=list(plan.skipped))
        self.buffer = _Buffer()
        self.batch: list[tuple[Todo, Decoded]] = []
        self.waiting: dict[bytes, list[tuple[Todo, Decoded]]] = {}  # copies of contents that are in work
        self.embedded: set[bytes] = set()  # contents in the buffer
        self.cpus = available_cpus()
        self.batch_size = self.cpus
        self.committed_at = time.monotonic()
        self.done = 0

    def work(self, pool: DecodePool) -> None:
        """Everything in the plan. On an interrupt, what was embedded is committed before the exception goes on."""
        todos = {}

        def sources() -> Iterator[str]:
            for item in todo(self.catalog, self.plan.targets):
                todos[item.path] = item
                yield item.path

        try:
            for path, outcome in pool.decode_each(sources(), known=self.claims.known):
                self.take(todos.pop(path), outcome)
                if len(self.batch) >= self.batch_size:
                    self.embed()
                if time.monotonic() - self.committed_at >= COMMIT_SECONDS:
                    self.embed()
                    self.commit()
            self.embed()
            self.finish_waiting(pool)
        finally:
            self.commit()

    def finish_waiting(self, pool: DecodePool) -> None:
        """Copies whose original failed, or was committed, between their being hashed and their turn."""
        left, self.waiting = self.waiting, {}
        for item, _ in [copy for copies in left.values() for copy in copies]:
            try:
                outcome: Decoded | DecodeError = pool.decode(item.path)
            except DecodeError as error:
                outcome = error
            self.take(item, outcome)
            self.embed()

    def take(self, item: Todo, outcome: Decoded | DecodeError) -> None:
        if isinstance(outcome, DecodeError):
            if outcome.sha256 is not None:
                self.claims.release(outcome.sha256)
                for copy, _ in self.waiting.pop(outcome.sha256, []):
                    self.fail(copy, outcome)
            self.fail(item, outcome)
        elif outcome.pixels is not None:
            self.batch.append((item, outcome))
        elif (reason := self.claims.failure(outcome.sha256)) is not None:
            self.fail(item, DecodeError(reason, path=item.path, sha256=outcome.sha256))
        elif outcome.sha256 in self.embedded or self.catalog.one("SELECT 1 FROM content WHERE sha256 = ?", (outcome.sha256,)):
            self.buffer.known.append((item, outcome))
        else:
            self.waiting.setdefault(outcome.sha256, []).append((item, outcome))

    def fail(self, item: Todo, error: DecodeError) -> None:
        self.buffer.failed.append((item, error))
        self.report.skipped.append(skipped(item.path, error.reason))

    def embed(self) -> None:
        """One or more short calls of the model over the waiting batch."""
        assert self.embedder is not None
        while self.batch:
            part, self.batch = self.batch[: self.batch_size], self.batch[self.batch_size :]
            pixels = np.stack([decoded.pixels for _, decoded in part if decoded.pixels is not None])  # (N, H, W, 3) uint8
            started = time.monotonic()
            vectors = self.embedder.embed(pixels)  # (N, D) float32, a bad row is NaN
            seconds = (time.monotonic() - started) / len(part)
            self.report.embedded += len(part)
            wanted = min(MAX_BATCH, int(MODEL_CALL_SECONDS / max(seconds, 1e-4)))
            self.batch_size = max(1, wanted // self.cpus) * self.cpus  # else some have nothing to do at the end of each call
            for (item, decoded), vector in zip(part, vectors, strict=True):
                if np.isfinite(vector).all():
                    self.buffer.new.append((item, decoded, vector))
                    self.buffer.known += self.waiting.pop(decoded.sha256, [])
                    self.embedded.add(decoded.sha256)
                else:
                    self.take(item, DecodeError(SkipReason.NO_VECTOR, path=item.path, sha256=decoded.sha256))

    def commit(self) -> None:
        """All or nothing; what is in here after it returns is never lost."""
        self.committed_at = time.monotonic()
        if not self.buffer:
            return
        buffer, self.buffer = self.buffer, _Buffer()
        with self.catalog.transaction() as generation:
            for item, decoded, vector in buffer.new:
                blob = np.ascontiguousarray(vector, "<f4").tobytes()
                self.catalog.execute(
                    "INSERT OR IGNORE INTO content (sha256, vector, checksum, width, height, format) VALUES (?, ?, ?, ?, ?, ?)",
                    (decoded.sha256, blob, checksum(blob), decoded.width, decoded.height, decoded.format),
                )
                self.place(item, decoded, generation)
            for item, decoded in buffer.known:
                self.place(item, decoded, generation)
            for item, error in buffer.failed:
                self.refuse(item, error, generation)
        self.thumbnails.put((d.sha256, d.thumbnail) for _, d, _ in buffer.new if d.thumbnail is not None)
        for _, decoded, _ in buffer.new:
            self.claims.release(decoded.sha256)
        self.embedded.clear()
        # Counted only now: what the bar shows as done survives whatever happens next.
        self.done += len(buffer)
        self.progress(self.done, self.plan.todo, len(self.report.skipped))

    def place(self, item: Todo, decoded: Decoded, generation: int) -> None:
        """This path now holds this content. A row whose file is gone and had the same content is the same image, moved."""
        content = self.catalog.rows("SELECT id FROM content WHERE sha256 = ?", (decoded.sha256,))[0][0]
        stat = decoded.stat or item.stat
        facts = (item.name, "present", content, stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, generation)
        if item.file_id is not None:
            before = self.catalog.rows("SELECT state, content_id FROM files WHERE id = ?", (item.file_id,))[0]
            self.catalog.execute(
                "UPDATE files SET name = ?, state = ?, content_id = ?, size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?, generation = ?,"
                " reason = '', decoder = '' WHERE id = ?",
                (*facts, item.file_id),
            )
            if before == ("present", content):
                self.report.unchanged += 1  # touched or verified: the bytes are the same
            elif before[0] == "present":
                self.report.updated += 1
            else:
                self.report.added += 1
        elif (moved := self.moved_from(content)) is not None:
            self.catalog.execute(
                "UPDATE files SET root_id = ?, path = ?, name = ?, state = ?, content_id = ?, size = ?, mtime_ns = ?, ctime_ns = ?,"
                " inode = ?, generation = ?, reason = '', decoder = '' WHERE id = ?",
                (item.root_id, item.relative, *facts, moved),
            )
            self.catalog.execute("INSERT OR IGNORE INTO temp.seen VALUES (?)", (moved,))
            self.report.moved += 1
        else:
            row = self.catalog.execute(
                "INSERT INTO files (root_id, path, name, state, content_id, size, mtime_ns, ctime_ns, inode, generation)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (item.root_id, item.relative, *facts),
            ).lastrowid
            self.catalog.execute("INSERT OR IGNORE INTO temp.seen VALUES (?)", (row,))
            self.report.added += 1

    def moved_from(self, content: int) -> int | None:
        targets = {t.root_id: t for t in self.plan.targets}
        for file_id, root_id, relative, state in self.catalog.rows(
            "SELECT id, root_id, path, state FROM files WHERE content_id = ? AND state IN ('present', 'missing')"
            " AND id NOT IN (SELECT file_id FROM temp.seen)",
            (content,),
        ):
            target = targets.get(root_id)
            looked_at = target is not None and target.holds(relative) and not target.hides(relative)
            if state == "missing" or looked_at:
                return int(file_id)
        return None

    def refuse(self, item: Todo, error: DecodeError, generation: int) -> None:
        """A file that cannot be searched. Reasons of the moment change nothing that is known of it."""
        if error.reason in PASSING:
            return
        if error.sha256 is not None and error.reason not in OF_THE_MOMENT:
            self.catalog.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (error.sha256, error.reason.value, self.decoder))
        stat = item.stat
        facts = (item.name, stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, error.reason.value, self.decoder, generation)
        if item.file_id is None:
            row = self.catalog.execute(
                "INSERT INTO files (root_id, path, name, state, size, mtime_ns, ctime_ns, inode, reason, decoder, generation)"
                " VALUES (?, ?, ?, 'skipped', ?, ?, ?, ?, ?, ?, ?)",
                (item.root_id, item.relative, *facts),
            ).lastrowid
            self.catalog.execute("INSERT OR IGNORE INTO temp.seen VALUES (?)", (row,))
        else:
            self.catalog.execute(
                "UPDATE files SET name = ?, state = 'skipped', content_id = NULL, size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?,"
                " reason = ?, decoder = ?, generation = ? WHERE id = ?",
                (*facts, item.file_id),
            )


def say_gone(catalog: Catalog, plan: Plan, report: IndexReport, generation: int, *, excluder: Excluder, prune: bool) -> list[str]:
    """Mark what the walk proved to be gone; where too much vanished at once, or nothing could be read, believe nothing.

    Returns:
        One line for each folder that is offline.
    """
    lines: list[str] = []
    for target in plan.targets:
        gone = list(vanished(catalog, target))
        left_out = [row for row in gone if excluder.path(row[1])]
        lost = [row for row in gone if row[2] == "present" and not excluder.path(row[1])]
        hidden = sum(t == target.below for t in target.unreadable)
        offline = not prune and (bool(hidden) or 2 * len(lost) > target.known > 0)
        if prune and hidden:
            gone, left_out, offline = _all_below(catalog, target), [], False
            lost = [row for row in gone if row[2] == "present"]
        if offline:
            away = target.known if hidden else len(lost)
            report.offline += away
            lines.append(_offline_line(target, away))
            gone = [*left_out, *(row for row in gone if row[2] == "skipped")]
        report.missing += sum(row[2] == "present" for row in gone)
        catalog.execute_many("UPDATE files SET state = 'missing', generation = ? WHERE id = ?", [(generation, row[0]) for row in gone])
        if not target.below:
            catalog.execute("UPDATE roots SET offline = ? WHERE id = ?", (int(offline), target.root_id))
    if prune:
        _forget_missing(catalog, plan, generation)
    return lines


def _forget_missing(catalog: Catalog, plan: Plan, generation: int) -> None:
    """--prune: missing files lose their vectors; the empty row stays, so that a store learns of it and the id is never used again."""
    for target in plan.targets:
        sql = "UPDATE files SET content_id = NULL, generation = ? WHERE state = 'missing'"
        sql, values = restricted(sql, target.root_id, target.below)
        catalog.execute(sql, (generation, *values))
    catalog.execute("DELETE FROM content WHERE id NOT IN (SELECT content_id FROM files WHERE content_id IS NOT NULL)")


def _all_below(catalog: Catalog, target: Target) -> list[tuple[int, bytes, str]]:
    sql = "SELECT id, path, state FROM files WHERE state IN ('present', 'skipped')"
    return catalog.rows(*restricted(sql, target.root_id, target.below))


def _offline_line(target: Target, files: int) -> str:
    return (
        f"cannot be reached, or most of its images vanished at once: {shown(from_bytes(target.folder))}. "
        f"Its {files} images stay in the library, marked offline; if they are really gone, index that folder with --prune"
    )


def run(
    catalog: Catalog,
    plan: Plan,
    embedder: Embedder | None,
    pool: DecodePool | None,
    thumbnails: Thumbnails,
    *,
    decoder: str,
    excluder: Excluder,
    prune: bool,
    progress: Progress,
) -> tuple[IndexReport, list[str]]:
    """Do what the plan says; a plan without work needs neither model nor decoder.

    Returns the report, and one line for each folder that is offline.
    """
    work = _Run(catalog, plan, embedder, thumbnails, decoder, progress)
    if pool is not None:
        work.work(pool)
    with catalog.transaction() as generation:
        lines = say_gone(catalog, plan, work.report, generation, excluder=excluder, prune=prune)
    return work.report, lines


def plan_only(catalog: Catalog, plan: Plan, excluder: Excluder, prune: bool) -> tuple[IndexReport, list[str]]:
    """--dry-run, inside a transaction that is taken back: contents are not read, so new, changed and moved files all count as added."""
    report = IndexReport(added=plan.todo, unchanged=plan.unchanged, skipped=list(plan.skipped))
    return report, say_gone(catalog, plan, report, catalog.generation, excluder=excluder, prune=prune)
