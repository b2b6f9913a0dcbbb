"""Promise 1, with the power gone: a disk that lost what was not yet synced, wholly, partly or out of order, opens and holds all that
was acknowledged.

A run is recorded call by call, then played back up to any of them onto a disk that forgets: of the writes to a file since its last sync
some arrive, in any choice, the last of them torn; of names made, changed and removed since the last sync of anything, the first few.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness import HERE, draw, judge, need_strace, true_vectors

from image_search import LibraryDamagedError

COUNT = 16
SECTOR = 512


@pytest.fixture(autouse=True)
def _plain(plain: None) -> None:
    pass


@dataclass
class File:
    data: bytearray = field(default_factory=bytearray)  # on the disk for certain
    waiting: list[tuple[str, int, bytes]] = field(default_factory=list)  # since the last sync

    def after(self, chance: random.Random | None) -> bytes:
        """Its bytes after the power cut: all that was written (None), or what chance leaves of it."""
        data = bytearray(self.data)
        for number, (what, at, body) in enumerate(self.waiting):
            if chance is not None:
                if chance.random() < 0.5:
                    continue
                if what == "write" and number == len(self.waiting) - 1:
                    body = body[: chance.randrange(0, len(body) + SECTOR, SECTOR)]
            if what == "write":
                data.extend(bytes(max(0, at - len(data))))
                data[at : at + len(body)] = body
            else:
                data[:] = data[:at] + bytes(max(0, at - len(data)))
        return bytes(data)


CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
OPENED = re.compile(r"^(\d+)<([^>]*)>")


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def record(photos: Path, work: Path, *off: str) -> list[tuple[str, str, int, bytes, str]]:
    """The calls of one run that change its library, or acknowledge: (call, path, where, bytes, other path)."""
    trace, library, said = work / "trace", work / "library", work / "said"
    shutil.rmtree(library, ignore_errors=True)
    said.write_bytes(b"")
    calls = "openat,pwrite64,write,ftruncate,fsync,fdatasync,rename,unlink"
    tracer = [need_strace(), "-qq", "-y", "-xx", "-s", "1000000", "-e", f"trace={calls}", "-o", str(trace)]
    run = [sys.executable, str(HERE / "one_run.py"), str(photos), str(library), str(said), "exact", *off]
    subprocess.run([*tracer, *run], check=True, capture_output=True)
    found = []
    for line in trace.read_text().splitlines():
        match = CALL.match(line)
        if not match or match[3].startswith("-"):
            continue
        call, inside = match[1], match[2]
        texts = [_bytes(text) for text in TEXT.findall(inside)]
        opened = OPENED.match(inside)
        path = _path(opened[2]) if opened else texts[0].decode() if texts else ""
        if call == "openat":
            path = texts[0].decode()
            if "O_CREAT" not in inside:
                continue
        if path != str(said) and not path.startswith(f"{library}/"):
            continue
        where = int(inside.rsplit(", ", 1)[1]) if call in ("pwrite64", "ftruncate") else 0
        other = texts[1].decode() if call == "rename" else ""
        found.append((call, path, where, texts[-1] if call in ("write", "pwrite64") else b"", other))
    return found


def _path(text: str) -> str:
    return _bytes(text).decode() if text.startswith("\\x") else text


class Disk:
    def __init__(self, said: str) -> None:
        self.said = said
        self.files: dict[str, File] = {}  # names as the run sees them
        self.known: dict[str, File] = {}  # names that are on the disk for certain
        self.names: list[tuple[str, str, File | None, str]] = []  # changes of names since
        self.acknowledged = 0

    def play(self, call: str, path: str, where: int, body: bytes, other: str) -> None:
        if path == self.said:
            self.acknowledged = int(body.split()[1]) if body.startswith(b"done") else self.acknowledged
        elif call == "openat":
            if path not in self.files:
                self.files[path] = File()
                self.names.append(("make", path, self.files[path], ""))
        elif call in ("pwrite64", "write"):
            self.files[path].waiting.append(("write", where, body))
        elif call == "ftruncate":
            self.files[path].waiting.append(("cut", where, b""))
        elif call == "rename":
            self.files[other] = self.files.pop(path)
            self.names.append(("rename", path, self.files[other], other))
        elif call == "unlink":
            self.names.append(("remove", path, self.files.pop(path), ""))
        else:
            file = self.files[path]
            file.data, file.waiting = bytearray(file.after(None)), []
            self.known = dict(self.files)  # a journalling file system writes its names with the next sync
            self.names = []

    def cut(self, to: Path, chance: random.Random | None) -> None:
        names = dict(self.known)
        for what, path, file, other in self.names[: None if chance is None else chance.randrange(len(self.names) + 1)]:
            if what == "make" and file is not None:
                names[path] = file
            elif what == "rename" and file is not None:
                names.pop(path, None)
                names[other] = file
            else:
                names.pop(path, None)
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        for path, file in names.items():
            if not path.endswith("-shm"):  # memory shared between processes; made anew by the first that opens it
                (to / os.path.basename(path)).write_bytes(file.after(chance))


def cut_everywhere(calls: list[tuple[str, str, int, bytes, str]], work: Path, truth: dict[str, bytes], every: int, tries: int) -> int:
    """Cut the power after every so many calls and judge what is there. Returns the number of disks that were judged."""
    disk, chance, judged = Disk(str(work / "said")), random.Random(3), 0
    for number, call in enumerate(calls):
        disk.play(*call)
        if number % every == 0 or call[1] == disk.said:
            for turn in range(tries):
                disk.cut(work / "cut", None if turn == 0 else chance)
                judge(work / "cut", truth, acknowledged=disk.acknowledged)
                judged += 1
    assert disk.acknowledged == COUNT
    return judged


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("power") / "photos"
    draw(folder, 0, COUNT)
    return folder


@pytest.fixture(scope="module")
def truth(photos: Path) -> dict[str, bytes]:
    return true_vectors(photos)


def test_the_power_is_cut(photos: Path, truth: dict[str, bytes], tmp_path: Path) -> None:
    # How many calls a run makes depends on how many seconds, and so commits, it takes: at every 12th 36 to over 40 disks were judged.
    assert cut_everywhere(record(photos, tmp_path), tmp_path, truth, every=8, tries=2) >= 40


def test_with_the_protection_off_it_is_noticed(photos: Path, truth: dict[str, bytes], tmp_path: Path) -> None:
    calls = record(photos, tmp_path, "no_sync")
    with pytest.raises((AssertionError, LibraryDamagedError)):
        cut_everywhere(calls, tmp_path, truth, every=12, tries=2)


@pytest.mark.slow
def test_the_power_is_cut_at_every_call(photos: Path, truth: dict[str, bytes], tmp_path: Path) -> None:
    calls = record(photos, tmp_path)
    print(f"\n{len(calls)} calls, {cut_everywhere(calls, tmp_path, truth, every=1, tries=6)} disks judged")
