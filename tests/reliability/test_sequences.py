"""Random lives of a library: files come, change, move and go, the library is told or not, is killed, closed, opened; after each step all
that it knows and says is compared with an oracle of dictionaries (oracle.py)."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import signal
import tempfile
from collections import Counter
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from oracle import Disk, Library, RefusedError, Report, Root
from pictures import picture
from processes import give_up_rights, index_and_die
from tables import Seen, differences, seen

from image_search import ImageSearchError
from image_search.cli.status import status as print_status
from image_search.testing import quick_engine

SEQUENCES = int(os.environ.get("IMAGE_SEARCH_SEQUENCES", "150"))
STEPS = int(os.environ.get("IMAGE_SEARCH_STEPS", "40"))
SEED = os.environ.get("IMAGE_SEARCH_SEED")  # another number, other sequences; without one they are the same each time

FOLDERS = ("a", "a/x", "a/.h", "a/x/y", "b", "b/x", "c", "a/thumbs")
INDEXED = ("a", "a/x", "a/.h", "b", "", "d", None, None, None, None)
NAMES = ("0.png", "1.png", "2.png")
PICTURES = 7
COUNTS = ("added", "updated", "moved", "unchanged", "missing", "offline", "excluded", "pruned", "embedded")

which = st.integers(0, 11)
folders, indexed, names = st.sampled_from(FOLDERS), st.sampled_from(INDEXED), st.sampled_from(NAMES)
contents = st.integers(0, PICTURES)
excludes = st.sampled_from([(), (), (), ("x",), ("0.png",), ("b",)])
name_from = st.sampled_from([None, None, None, None, "none", "folder"])


def drawn(number: int) -> bytes:
    """A picture's file; sizes differ, so that no two are taken for one by name and size."""
    out = io.BytesIO()
    picture("circle", number, (16, 12)).save(out, "PNG")
    return out.getvalue() + bytes(number)


DATA = [drawn(number) for number in range(PICTURES)]
BROKEN = b"\xff\xd8\xff\xe0 no more"


class Lives(RuleBasedStateMachine):
    kills = refusals = steps = 0

    def __init__(self) -> None:
        super().__init__()
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.base = os.path.realpath(tempfile.mkdtemp(prefix="sequences-", dir=base))
        self.top = os.path.join(self.base, "w")
        self.place = os.path.join(self.base, "library")
        os.mkdir(self.top)
        self.engine: Any = None
        self.locked: set[str] = set()
        self.clock = 1_600_000_000
        self.oracle = Library({_sha(data) for data in DATA})
        self.open()

    @initialize(first=st.sampled_from([(), ("a",), ("",), ("a", "b"), ("a/x", "a"), ("a/x/y", "a"), ("b", "a/x", ""), ("a/.h", "a")]))
    def begin(self, first: tuple[str, ...]) -> None:
        for number, path in enumerate(("a/0", "a/1", "a/2", "a/x/0", "a/x/1", "a/x/y/0", "b/0", "a/.h/1")):
            self.write(os.path.dirname(path), f"{os.path.basename(path)}.png", number % PICTURES)
        for folder in first:
            self.index(folder, (), None, False)

    def open(self) -> None:
        self.engine = quick_engine(self.place, notify=lambda line: None)

    def teardown(self) -> None:
        self.engine.close()
        shutil.rmtree(self.base, ignore_errors=True)

    # --- files ------------------------------------------------------------------------------------------------------------

    def tick(self, path: str) -> None:
        """Each file has a time of its own, whatever the disk's clock does between two steps."""
        self.clock += 1
        os.utime(path, (self.clock, self.clock), follow_symlinks=False)

    def write(self, folder: str, name: str, content: int) -> None:
        path = Path(self.top, folder, name)
        if any(parent.is_symlink() or parent.is_file() for parent in path.parents):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        if not path.is_dir():
            path.write_bytes(DATA[content] if content < PICTURES else BROKEN)
            self.tick(str(path))

    def some(self, kind: str, n: int) -> str | None:
        found = sorted(path for path, entry in self.disk().entries.items() if entry.kind in kind and path != self.top)
        return found[n % len(found)] if found else None

    def disk(self) -> Disk:
        return Disk(self.top, {path for path in self.locked if os.path.isdir(path)})

    @rule(what=st.sampled_from(["add", "add", "change", "touch", "delete"]), n=which, folder=folders, name=names, content=contents)
    def files(self, what: str, n: int, folder: str, name: str, content: int) -> None:
        if what == "add":
            self.write(folder, name if content < PICTURES or n % 2 else "note.txt", content)
        elif what == "delete" and (path := self.some("filelink", n)):
            os.unlink(path)
        elif path := self.some("file", n):
            if what == "change" and path.endswith(".png"):
                Path(path).write_bytes(DATA[content] if content < PICTURES else BROKEN)
            self.tick(path)

    @rule(n=which, folder=folders, name=names, how=st.sampled_from(["copy", "move", "move", "hard", "soft"]))
    def bring(self, n: int, folder: str, name: str, how: str) -> None:
        target = os.path.join(self.top, folder, name)
        if not (path := self.some("file", n)) or not path.endswith(".png") or not os.path.isdir(os.path.dirname(target)):
            return
        if os.path.lexists(target) and (how != "move" or os.path.isdir(target)):
            return
        {"copy": shutil.copyfile, "move": os.rename, "hard": os.link, "soft": os.symlink}[how](path, target)
        if how == "copy":
            self.tick(target)

    @rule(n=which, folder=st.sampled_from([*FOLDERS, "d", "d", "e/a", "b/a"]), what=st.sampled_from(["move", "copy", "delete"]))
    def folder(self, what: str, n: int, folder: str) -> None:
        if what == "delete" and (path := self.some("folder", n)):
            shutil.rmtree(path)
            self.forget_locks()
            return
        path, target = self.some("folder", n), os.path.join(self.top, folder)
        if (
            not path
            or os.path.lexists(target)
            or target.startswith(path + "/")
            or not os.path.isdir(os.path.dirname(os.path.dirname(target)))
        ):
            return
        if any(os.path.islink(parent) for parent in (path, os.path.dirname(target))):
            return
        with suppress(NotADirectoryError, FileExistsError):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if what == "copy":
                shutil.copytree(path, target, symlinks=True)
            else:
                os.rename(path, target)
        self.forget_locks()

    @rule(n=which)
    def lock(self, n: int) -> None:
        """A folder that cannot be read, mode 000, until the next time. One without folders in it: nothing else is then below it."""
        if self.locked:
            for path in self.locked:
                os.chmod(path, 0o755)
            self.locked.clear()
        elif (path := self.some("folder", n)) and not any(entry.is_dir() for entry in os.scandir(path)):
            os.chmod(path, 0)
            self.locked.add(path)

    def forget_locks(self) -> None:
        self.locked = {path for path in self.locked if os.path.isdir(path)}
        for folder, inner, _ in os.walk(self.top):
            for name in inner:
                path = os.path.join(folder, name)
                if not os.path.islink(path) and os.lstat(path).st_mode & 0o777 == 0:
                    self.locked.add(path)

    # --- the library ------------------------------------------------------------------------------------------------------

    def place_to_index(self, n: int, folder: str | None) -> str:
        """Mostly one that is there, or is known."""
        if folder is not None:
            return folder
        there = {path for path, entry in self.disk().entries.items() if entry.kind == "folder"}
        return os.path.relpath(sorted(there | self.oracle.roots.keys())[n % len(there | self.oracle.roots.keys())], self.top)

    @rule(n=which, folder=indexed, exclude=excludes, names=name_from, prune=st.sampled_from([False, False, False, True]))
    def index_some(self, n: int, folder: str | None, exclude: tuple[str, ...], names: str | None, prune: bool) -> None:
        self.index(self.place_to_index(n, folder), exclude, names, prune)

    @rule(n=which, prune=st.sampled_from([False, False, True]))
    def index_known(self, n: int, prune: bool) -> None:
        if roots := sorted({*self.oracle.roots, *map(os.path.dirname, self.oracle.roots)} - {self.base}):
            self.index(os.path.relpath(roots[n % len(roots)], self.top), (), None, prune and n < 6)

    def index(self, folder: str, exclude: tuple[str, ...], names: str | None, prune: bool) -> None:
        path = os.path.normpath(os.path.join(self.top, folder))
        disk = self.disk()
        report = self.told(lambda: self.engine.index(path, exclude=exclude, name_from=names, prune=prune, progress=False))
        wanted = self.expected(lambda: self.oracle.index(disk, path, set(exclude), names, prune, self.chosen()), report)
        self.compare()
        if wanted is not None:
            self.compare_report(report, wanted)

    @rule(n=which)
    def index_what_was_taken_out(self, n: int) -> None:
        if found := sorted(self.oracle.forgotten):
            self.index(os.path.relpath(found[n % len(found)], self.top), (), None, False)

    @rule(n=which, folder=indexed, exclude=excludes, prune=st.booleans(), step=st.integers(1, 90))
    def killed(self, n: int, folder: str | None, exclude: tuple[str, ...], prune: bool, step: int) -> None:
        folder = self.place_to_index(n, folder)
        path = os.path.normpath(os.path.join(self.top, folder))
        self.engine.close()
        disk, before = self.disk(), seen(self.place)
        options = {"exclude": exclude, "prune": prune}
        status = index_and_die(self.place, path, options, step)
        assert status in (0, signal.SIGKILL)
        Lives.kills += status != 0
        self.open()
        after, chosen = seen(self.place), self.chosen()
        whole = self.oracle.copy()
        try:
            for new in disk.entries.keys() - chosen.keys():
                chosen[new] = 1_000_000 + len(chosen)
            whole.index(disk, path, set(exclude), None, prune, chosen)
        except (RefusedError, AssertionError):
            whole = self.oracle
        if not differences(whole, after):
            self.oracle = whole
        else:
            self.judge_killed(before, after, disk)
            self.adopt(after, whole)
        self.compare()
        if self.oracle.rows or not status:
            self.index(folder, exclude, None, prune)

    def judge_killed(self, before: Seen, after: Seen, disk: Disk) -> None:
        """Nothing that was known is lost, and what is new is true."""
        places = {row.number: path for path, row in after.rows.items()}
        assert before.numbers <= after.numbers
        for path, row in after.rows.items():
            was = before.rows.get(path)
            if was is not None and (was.state, was.content, was.number) == (row.state, row.content, row.number):
                continue
            found = disk.see(path)
            if found is None or found.kind != "file":  # a root that was recognised elsewhere
                assert row.number in before.numbers and row.state != "present", (path, row)
            elif row.state == "present":
                assert row.content == found.content, (path, row)
        for path, row in before.rows.items():
            if row.state == "present":
                now = after.rows[places[row.number]]
                there = disk.see(places[row.number])
                assert now.content == row.content or (there and there.content != row.content), (path, row, now)

    def adopt(self, found: Seen, whole: Library) -> None:
        """Where a run was stopped between two commits, its state is the new beginning."""
        old, self.oracle = self.oracle, self.oracle.copy()
        facts = {**old.roots, **whole.roots}
        self.oracle.roots = {
            path: Root(kind, facts[path].out, offline, path in old.roots and old.roots[path].mount)
            for path, (kind, offline) in found.roots.items()
        }
        self.oracle.rows, self.oracle.forgotten, self.oracle.vectors = found.rows, found.forgotten, found.vectors
        self.oracle.passed, self.oracle.unusable = found.passed, found.unusable

    @rule(n=which, what=st.sampled_from(["file", "id", "folder", "folder", "root", "again"]))
    def forget(self, n: int, what: str) -> None:
        known = sorted(path for path, row in self.oracle.rows.items() if (row.state == "forgotten") == (what == "again"))
        if what == "folder":
            known = sorted({os.path.dirname(path) for path in known})
        elif what == "root":
            known = sorted(self.oracle.roots)
        if not known:
            return
        path = known[n % len(known)]
        name = f"id:{self.oracle.rows[path].number}" if what == "id" else path
        count = self.told(lambda: self.engine.forget(name))
        wanted = self.expected(lambda: self.oracle.forget(path), count)
        self.compare()
        assert count == wanted or wanted is None

    @rule(n=which, new=st.sampled_from(["a", "b", "c", "d", "b/a", "a/x", "e/a"]))
    def relocate_some(self, n: int, new: str) -> None:
        gone = sorted(root for root in self.oracle.roots if not os.path.isdir(root))
        if gone and os.path.isdir(os.path.join(self.top, new)):
            self.relocate(os.path.relpath(gone[n % len(gone)], self.top), new)

    def relocate(self, old: str, new: str) -> None:
        before, after = os.path.join(self.top, old), os.path.join(self.top, new)
        if after.startswith(before + "/") or before == after or os.path.islink(before):
            return
        disk = self.disk()
        count = self.told(lambda: self.engine.relocate(before, after))
        wanted = self.expected(lambda: self.oracle.relocate(disk, before, after), count)
        self.compare()
        assert count == wanted or wanted is None, (count, wanted)

    @rule(n=which, new=st.sampled_from(["d", "c", "b/a"]), tells=st.booleans())
    def a_root_moves(self, n: int, new: str, tells: bool) -> None:
        roots = sorted(root for root in self.oracle.roots if root != self.top and os.path.isdir(root))
        target = os.path.join(self.top, new)
        if not roots or os.path.lexists(target) or not os.path.isdir(os.path.dirname(target)) or self.locked:
            return
        root = roots[n % len(roots)]
        if os.path.islink(root) or target.startswith(root + "/"):
            return
        os.rename(root, target)
        old = os.path.relpath(root, self.top)
        if tells:
            self.relocate(old, new)
        else:
            self.index(new, (), None, False)

    @rule()
    def close_and_open(self) -> None:
        self.engine.close()
        self.open()
        self.compare()
        if self.oracle.roots:
            out = io.StringIO()
            with redirect_stdout(out):
                print_status.main(["--library", self.place, "--json"], standalone_mode=False)
            assert json.loads(out.getvalue()) == self.engine.status()

    # --- judging ----------------------------------------------------------------------------------------------------------

    def told(self, call: Any) -> Any:
        Lives.steps += 1
        give_up_rights()
        try:
            return call()
        except ImageSearchError as error:
            assert "unexpected" not in str(error), error
            return error
        finally:
            give_up_rights(False)

    def expected(self, call: Any, answer: Any) -> Any:
        before = self.oracle.copy()
        try:
            wanted = call()
        except RefusedError as why:
            self.oracle = before
            Lives.refusals += 1
            assert isinstance(answer, ImageSearchError), f"it should have been refused: {why}"
            return None
        assert not isinstance(answer, ImageSearchError), f"refused: {answer}"
        return wanted

    def chosen(self) -> dict[str, int]:
        return {path: row.number for path, row in seen(self.place).rows.items()}

    def compare(self) -> None:
        found = seen(self.place)
        assert not (lines := differences(self.oracle, found)), "\n".join(lines)
        fresh = {row.number for row in self.oracle.rows.values()} - self.oracle.ever
        assert not fresh or min(fresh) > max(self.oracle.ever, default=0), "a number was used again"
        assert self.oracle.ever <= found.numbers
        self.oracle.ever |= found.numbers
        if self.oracle.roots:
            self.compare_answers()

    def compare_answers(self) -> None:
        there = self.oracle.present()
        status = self.engine.status()
        assert {key: status[key] for key in self.oracle.counts()} == self.oracle.counts()
        assert status["reasons"] == dict(self.oracle.skipped())
        assert _by_rule(status["passed"]) == _sums((key[2], n) for key, n in self.oracle.passed.items())
        assert sum(root["images"] for root in status["roots"]) == len(there)
        away = {path for path, root in self.oracle.roots.items() if root.offline or not os.path.isdir(path)}
        assert {root["path"] for root in status["roots"] if root["offline"]} == away
        found = self.engine.search(DATA[0], 1000, how="exact")
        assert {(m.path, m.id, m.name) for m in found} == {(path, f"id:{row.number}", row.name) for path, row in there.items()}
        for number, data in enumerate(DATA[:3]):
            same = {path for path, row in there.items() if row.content == _sha(data)}
            matches = found if number == 0 else self.engine.search(data, max(1, len(same)))
            assert {m.path for m in matches if m.identical} == same
            if same:
                assert {m.path for m in self.engine.search(matches[0].id, len(same)) if m.identical} == same

    def compare_report(self, report: Any, wanted: Report) -> None:
        counts = {key: getattr(report, key) for key in COUNTS}
        assert counts == {key: wanted.counts[key] for key in COUNTS}
        assert sorted((one.path, one.reason) for one in report.skipped) == sorted(wanted.skipped.items())
        assert _by_rule([dataclasses.asdict(one) for one in report.passed]) == {rule: n for rule, n in wanted.passed.items() if n}


def _sums(pairs: Any) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for rule_, files in pairs:
        sums[rule_] += files
    return {rule_: files for rule_, files in sums.items() if files}


def _by_rule(passed: list[dict[str, Any]]) -> dict[str, int]:
    return _sums((one["rule"], one["files"]) for one in passed)


def _sha(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


@pytest.mark.slow
def test_random_lives_of_a_library_are_as_the_oracle_says(capsys: pytest.CaptureFixture[str]) -> None:
    if not (give_up_rights() and give_up_rights(False)):
        pytest.skip("root that cannot give up its rights reads every folder")
    run_state_machine_as_test(
        Lives if SEED is None else seed(int(SEED))(Lives),
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=STEPS,
            derandomize=SEED is None,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            phases=(Phase.generate, Phase.shrink),
        ),
    )
    with capsys.disabled():
        print(f"\n{SEQUENCES} sequences, {Lives.steps} steps of the library, {Lives.kills} kills, {Lives.refusals} refusals: 0 differences")
