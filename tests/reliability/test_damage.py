"""Promise 2, for the catalog: damage is found and named, never answered around, and what is still good is saved."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from harness import NO_FILTERS, draw, true_vectors

from image_search import DiskFullError, ImageSearchEngine, ImageSearchError, LibraryDamagedError
from image_search.library.catalog import Catalog
from image_search.library.salvage import Saved, find_damage, salvage

COUNT = 60


@pytest.fixture(autouse=True)
def _plain(plain: None) -> None:
    pass


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, not yet indexed: the model is set for each test."""
    work = tmp_path_factory.mktemp("damage")
    draw(work / "photos", 0, COUNT)
    return work


@pytest.fixture(scope="module")
def truth(ground: Path) -> dict[str, bytes]:
    return true_vectors(ground / "photos")


@pytest.fixture
def library(ground: Path, tmp_path: Path) -> Path:
    if not (ground / "library").exists():
        with ImageSearchEngine(ground / "library", store="exact", jobs=1) as engine:
            engine.index(ground / "photos", progress=False)
    shutil.copytree(ground / "library", tmp_path / "library")
    return tmp_path / "library"


def answers(library: Path, truth: dict[str, bytes]) -> bool:
    """Is every image found, and nearest to itself?"""
    with ImageSearchEngine(library) as engine:
        for path, vector in truth.items():
            matches, _ = engine._open().search(np.frombuffer(vector, "<f4"), COUNT + 5, NO_FILTERS, "exact", frozenset())
            if len(matches) != COUNT or matches[0].path != path or {m.path for m in matches} != set(truth):
                return False
    return True


def verified(library: Path) -> bool:
    """Does `status --verify` find nothing?"""
    with ImageSearchEngine(library) as engine:
        return engine.verify() == []


def check_saved(saved: Saved, truth: dict[str, bytes]) -> None:
    """What salvage gives back is true, and it says what is not there."""
    with contextlib.closing(sqlite3.connect(saved.library / "catalog.sqlite")) as connection:
        rows = connection.execute(
            "SELECT r.path, f.path, c.vector FROM files AS f JOIN roots AS r ON r.id = f.root_id JOIN content AS c ON c.id = f.content_id"
            " WHERE f.state = 'present'"
        ).fetchall()
    held = {os.fsdecode(os.path.join(root, path)): vector for root, path, vector in rows}
    assert len(held) == saved.images
    wrong = [path for path, vector in held.items() if path in truth and truth[path] != vector]
    assert wrong == []
    assert saved.images + len(saved.lost) + saved.unknown >= COUNT, saved
    assert verified(saved.library)


def damage_and_judge(library: Path, truth: dict[str, bytes], keep: bytes, changed: bytes) -> str:
    """One damage: found by the search itself, or by --verify, or harmless. Afterwards salvage saves what it can."""
    file = library / "catalog.sqlite"
    file.write_bytes(changed)
    (library / "catalog.sqlite-wal").unlink(missing_ok=True)
    (library / "catalog.sqlite-shm").unlink(missing_ok=True)
    try:
        whole = answers(library, truth)
        clean = verified(library)
        end = "harmless" if whole and clean else "found by --verify" if not clean and whole else "answers changed, found by --verify"
        assert whole or not clean, "a silent partial answer that --verify does not find"
    except ImageSearchError as error:
        assert isinstance(error, LibraryDamagedError), error
        end = "found by searching"
    for name in ("catalog.sqlite-wal", "catalog.sqlite-shm"):
        (library / name).unlink(missing_ok=True)
    if file.read_bytes() != changed:
        file.write_bytes(changed)
    to = library.with_name("saved")
    try:
        saved = salvage(library, to)
        check_saved(saved, truth)
        end += f", saved {'all' if saved.images == COUNT else 'most' if saved.images > COUNT // 2 else 'some' if saved.images else 'none'}"
    except LibraryDamagedError:
        end += ", nothing to save"
    finally:
        shutil.rmtree(to, ignore_errors=True)
    assert file.read_bytes() == changed  # the damaged one is only read
    left = ["catalog.sqlite", "thumbnails.sqlite", "turn.lock", "writer.lock"]
    assert sorted(p.name for p in library.iterdir() if p.name != "codes.bin") == left
    file.write_bytes(keep)
    return end


def damages(data: bytes, chance: random.Random, flips: int) -> list[bytes]:
    found = [data[: len(data) * part // 10] for part in range(0, 10, 1 if flips > 100 else 3)]
    for page in chance.sample(range(len(data) // 4096), min(len(data) // 4096, flips // 15)):
        for filling in (bytes(4096), chance.randbytes(4096)):
            found.append(data[: page * 4096] + filling + data[page * 4096 + 4096 :])
    for _ in range(flips):
        at = chance.randrange(len(data))
        found.append(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
    return found


def test_damage_to_the_catalog_is_found_and_the_rest_is_saved(library: Path, truth: dict[str, bytes]) -> None:
    keep = (library / "catalog.sqlite").read_bytes()
    ends = Counter(damage_and_judge(library, truth, keep, changed) for changed in damages(keep, random.Random(1), 10))
    assert ends.total() >= 14


@pytest.mark.slow
def test_many_damages_to_the_catalog(library: Path, truth: dict[str, bytes]) -> None:
    keep = (library / "catalog.sqlite").read_bytes()
    ends = Counter(damage_and_judge(library, truth, keep, changed) for changed in damages(keep, random.Random(2), 600))
    print(f"\n{ends.total()} damages:", *ends.most_common(), sep="\n  ")


def test_with_the_protection_off_it_is_noticed(library: Path, truth: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checksum of each vector a changed one would be searched, answered with, and called good."""
    keep = (library / "catalog.sqlite").read_bytes()
    at = keep.index(next(iter(truth.values()))) + 7
    changed = keep[:at] + bytes([keep[at] ^ 64]) + keep[at + 1 :]
    assert damage_and_judge(library, truth, keep, changed).startswith("found by searching")
    for module in ("reading", "vectors"):
        monkeypatch.setattr(f"image_search.library.{module}.check_vector", lambda *_: None)
    monkeypatch.setattr("image_search.library.vectors._all_right", lambda *_: True)
    monkeypatch.setattr("image_search.library.salvage._good_vector", lambda *_: True)
    with pytest.raises(AssertionError):
        damage_and_judge(library, truth, keep, changed)


def test_a_damaged_vector_is_not_copied_into_a_store(library: Path, truth: dict[str, bytes]) -> None:
    data = (library / "catalog.sqlite").read_bytes()
    at = data.index(next(iter(truth.values())))
    (library / "catalog.sqlite").write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    with ImageSearchEngine(library, store="chroma") as engine:
        with pytest.raises(LibraryDamagedError, match="vector of content"):
            engine.rebuild()
        assert not (library / "store").exists()


def test_what_was_lost_comes_back_by_indexing_and_nothing_else_is_embedded(library: Path, ground: Path, truth: dict[str, bytes]) -> None:
    data = (library / "catalog.sqlite").read_bytes()
    lost = sorted(truth)[7]
    at = data.index(truth[lost])
    (library / "catalog.sqlite").write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    saved = salvage(library, library.with_name("saved"))
    assert (saved.images, saved.vectors, saved.lost, saved.unknown) == (COUNT - 1, COUNT - 1, [lost], 0)
    with ImageSearchEngine(saved.library, jobs=1) as engine:
        assert engine.index(ground / "photos", progress=False).embedded == 1
    assert answers(saved.library, truth)
    with ImageSearchEngine(library) as before, ImageSearchEngine(saved.library) as after:
        ids = [{m.path: m.id for m in after.search(path, COUNT)} for path in (sorted(truth)[0],)]
        assert len(ids[0]) == COUNT
        with pytest.raises(LibraryDamagedError):
            before.search(sorted(truth)[0])


def test_what_is_still_in_the_log_is_saved_too(library: Path, ground: Path) -> None:
    """A catalog whose writer was killed: its last commits are in the log alone."""
    with ImageSearchEngine(library, jobs=1) as engine, engine._writing() as catalog:
        with catalog.transaction():
            catalog.execute("UPDATE files SET name = 'fresh'")
        shutil.copytree(library, library.with_name("killed"))
    saved = salvage(library.with_name("killed"), library.with_name("saved"))
    with ImageSearchEngine(saved.library) as engine:
        assert {m.name for m in engine.search(sorted((ground / "photos").rglob("*.png"))[0], COUNT)} == {"fresh"}


@pytest.mark.parametrize("size", [4096, 16384])
@pytest.mark.parametrize("head", [True, False])
def test_pages_of_either_size_and_without_the_file_s_head(library: Path, truth: dict[str, bytes], size: int, head: bool) -> None:
    file = library / "catalog.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute(f"PRAGMA page_size={size}")
        connection.execute("VACUUM")
    assert int.from_bytes(file.read_bytes()[16:18], "big") == size
    if not head:
        file.write_bytes(bytes(100) + file.read_bytes()[100:])
    saved = salvage(library, library.with_name("saved"))
    assert (saved.images, saved.lost) == (COUNT, [])
    assert answers(saved.library, truth)


def test_salvage_goes_nowhere_else(library: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").touch()
    with pytest.raises(ImageSearchError, match="something already"):
        salvage(library, tmp_path / "there")
    (tmp_path / "there" / "mine.txt").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(ImageSearchError, match="something already"):
        salvage(library, tmp_path / "link")
    with pytest.raises(ImageSearchError, match="no catalog"):
        salvage(tmp_path / "there", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert find_damage.__doc__


def test_the_command(library: Path, truth: dict[str, bytes], program) -> None:  # type: ignore[no-untyped-def]
    done = program("status", "--verify", "--library", library)
    assert done.returncode == 0 and "no damage" in done.stdout
    data = (library / "catalog.sqlite").read_bytes()
    at = data.index(sorted(truth.values())[3])
    (library / "catalog.sqlite").write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    done = program("status", "--verify", "--library", library)
    assert done.returncode == 1
    assert "damage: the vector of content" in done.stderr and "image-search salvage" in done.stderr
    done = program("salvage", "--library", library)
    assert (done.returncode, done.stdout.split()[:3]) == (0, ["saved", "59", "images"])
    assert done.stderr.startswith("lost: ") and str(library) + ".saved" in done.stdout
    done = program("salvage", "--library", library)
    assert done.returncode == 1 and "--to" in done.stderr


def test_a_salvage_that_failed_can_be_run_again(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = library.with_name("saved")
    with monkeypatch.context() as patch:
        patch.setattr("image_search.library.salvage._fill", lambda *_: (_ for _ in ()).throw(DiskFullError("the disk is full", path=to)))
        with pytest.raises(DiskFullError):
            salvage(library, to)
    assert not to.exists()
    assert salvage(library, to).images > 0


@pytest.mark.parametrize("moment", ["create", "close", "_fill", "set_meta", "transaction"])
def test_a_salvage_that_was_killed_can_be_run_again(library: Path, truth: dict[str, bytes], moment: str) -> None:
    """In a new folder, before and after its catalog is there, while that is filled, and at the end of it."""
    to = library.with_name("saved")
    child = os.fork()
    if child == 0:
        from image_search.library import salvage as module

        def die(*_: object, **__: object) -> None:
            os._exit(9)

        real = Catalog.transaction

        @contextlib.contextmanager
        def dying(catalog: Catalog):  # type: ignore[no-untyped-def]
            with real(catalog) as generation:
                yield generation
                os._exit(9)  # all is written and nothing committed

        try:
            if moment == "transaction":
                Catalog.transaction = dying  # type: ignore[method-assign]
            else:
                setattr(module if moment == "_fill" else Catalog, moment, die)
            salvage(library, to)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert to.is_dir()
    if moment == "close":  # done, but for tidying up
        with pytest.raises(ImageSearchError, match="something already"):
            salvage(library, to)
    else:
        assert salvage(library, to).images == COUNT
    assert answers(to, truth)


def test_two_salvages_into_one_folder_do_not_mix(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from image_search import LibraryBusyError
    from image_search.library import salvage as module

    to, real = library.with_name("saved"), module._fill
    said: list[str] = []

    def second(*given: object) -> Saved:
        if not said:
            said.append("first")
            with pytest.raises(LibraryBusyError):
                salvage(library, to)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_fill", second)
    assert salvage(library, to).images == COUNT and said == ["first"]
