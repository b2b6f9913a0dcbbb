"""The vectors in memory follow the catalog, and read only what changed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import image_search.library.vectors
from image_search import LibraryDamagedError
from image_search.library.catalog import Catalog
from image_search.library.codes import encode
from image_search.library.codes_file import CODES_NAME
from image_search.library.facts import checksum
from image_search.library.vectors import Vectors, renew_codes
from image_search.types import Fingerprint, Preprocess

DIM = 8


class Library:
    """A catalog whose files and contents are numbers; the vector of a content is drawn from its own seed."""

    def __init__(self, folder: Path) -> None:
        model = Fingerprint("m", "m", "", "0" * 64, "cls", DIM, Preprocess(size=(8, 8)))
        self.catalog = Catalog.create(folder, model, np.eye(8, DIM, dtype=np.float32))
        self.catalog.execute("INSERT INTO roots (id, path) VALUES (1, ?)", (b"/r",))
        self.seeds = 0

    def content(self, number: int) -> None:
        self.seeds += 1
        vector = np.random.default_rng(self.seeds).normal(size=DIM).astype("<f4")
        blob = (vector / np.linalg.norm(vector)).astype("<f4").tobytes()
        row = (number, self.seeds.to_bytes(32, "big"), blob, checksum(blob))
        self.catalog.execute(
            "INSERT INTO content (id, sha256, vector, checksum, width, height, format) VALUES (?, ?, ?, ?, 1, 1, 'PNG')", row
        )

    def change(self, files: dict[int, int | None], new: tuple[int, ...] = (), drop: tuple[int, ...] = ()) -> None:
        """One commit: file -> its content, None: missing; `new` contents are made first, `drop`ped ones are deleted last."""
        with self.catalog.transaction() as generation:
            for content in drop:
                self.catalog.execute("DELETE FROM content WHERE id = ?", (content,))
            for content in new:
                self.content(content)
            for file, content in files.items():
                state = "missing" if content is None else "present"
                self.catalog.execute(
                    "INSERT INTO files (id, root_id, path, name, state, content_id, size, mtime_ns, ctime_ns, inode, generation)"
                    " VALUES (?, 1, ?, '', ?, ?, 1, 1, 1, 1, ?)"
                    " ON CONFLICT (id) DO UPDATE SET state = excluded.state, content_id = coalesce(excluded.content_id, content_id),"
                    " generation = excluded.generation",
                    (file, str(file).encode(), state, content, generation),
                )

    def truth(self) -> dict[int, bytes]:
        sql = "SELECT c.id, c.vector FROM content AS c WHERE c.id IN (SELECT content_id FROM files WHERE state = 'present')"
        return dict(self.catalog.rows(sql))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = Library(tmp_path / "library")
    made.change({n: n for n in range(1, 41)}, new=tuple(range(1, 41)))
    yield made
    made.catalog.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many vectors each reading took from the catalog."""
    counts: list[int] = []
    real = image_search.library.vectors._pages

    def counted(catalog: Catalog, contents: np.ndarray) -> Iterator[list[object]]:  # type: ignore[type-arg]
        for page in real(catalog, contents):
            counts.append(len(page))
            yield page

    monkeypatch.setattr(image_search.library.vectors, "_pages", counted)
    return counts


def held(vectors: Vectors) -> dict[int, bytes]:
    vectors.load_rows()
    assert len(set(vectors.contents.tolist())) == len(vectors.contents) == len(vectors.rows)
    return {content: row.tobytes() for content, row in zip(vectors.contents.tolist(), vectors.rows, strict=True)}


def test_only_what_changed_is_read(library: Library, read: list[int]) -> None:
    vectors = Vectors(library.catalog)
    for changes, expected in [
        (None, 40),  # everything, once
        (({}, (), ()), 0),
        (({41: 41, 42: 42}, (41, 42), ()), 2),  # new
        (({3: 43}, (43,), ()), 1),  # another content
        (({5: None, 6: None}, (), ()), 0),  # gone
        (({44: 7}, (), ()), 1),  # a copy
    ]:
        if changes is not None:
            library.change(changes[0], new=changes[1], drop=changes[2])
        read.clear()
        vectors.refresh()
        assert held(vectors) == library.truth()
        assert sum(read) == expected


def test_a_content_number_that_was_given_again(library: Library) -> None:
    vectors = Vectors(library.catalog)
    vectors.refresh()
    library.change({40: None}, drop=(40,))
    library.change({50: 40}, new=(40,))  # another picture
    vectors.refresh()
    assert held(vectors) == library.truth()


def test_a_catalog_that_was_replaced_is_read_anew(library: Library, read: list[int]) -> None:
    """A row with the generation that we know is the proof that it is the same history; without one nothing is taken for granted."""
    vectors = Vectors(library.catalog)
    vectors.refresh()
    library.change({1: 41}, new=(41,))
    vectors.refresh()
    library.catalog.execute("UPDATE files SET generation = generation + 1 WHERE id = 1")
    library.catalog.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
    read.clear()
    vectors.refresh()
    assert sum(read) >= 40
    assert held(vectors) == library.truth()


def test_any_history_gives_what_reading_anew_gives(library: Library) -> None:
    dice = np.random.default_rng(3)
    vectors = Vectors(library.catalog)
    contents, files = 40, 40
    for _ in range(60):
        fresh = tuple(range(contents + 1, contents + 1 + int(dice.integers(0, 6))))
        contents += len(fresh)
        changed: dict[int, int | None] = {}
        for content in fresh:
            if dice.random() < 0.6:
                files += 1
                changed[files] = content
            else:
                changed[int(dice.integers(1, files + 1))] = content
        for _ in range(int(dice.integers(0, 5))):
            changed[int(dice.integers(1, files + 1))] = None
        library.change(changed, new=fresh)
        if dice.random() < 0.7:
            vectors.refresh()
            assert held(vectors) == library.truth()


def test_damage_is_an_error_and_not_forgotten(library: Library) -> None:
    vectors = Vectors(library.catalog)
    vectors.refresh()
    library.change({41: 41}, new=(41,))
    library.catalog.execute("UPDATE content SET checksum = checksum + 1 WHERE id = 41")
    for _ in range(2):
        with pytest.raises(LibraryDamagedError, match="content 41"):
            vectors.refresh()
    library.catalog.execute("UPDATE content SET checksum = checksum - 1 WHERE id = 41")
    vectors.refresh()
    assert held(vectors) == library.truth()


@pytest.mark.parametrize("value", [None, "text", 5, b"short"])
def test_what_is_no_vector_is_an_error(library: Library, monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    """A damaged row may hold anything, whatever the schema says."""
    real = image_search.library.vectors._pages

    def damaged(*given: Any) -> Iterator[list[Any]]:
        for page in real(*given):
            yield [(content, value if content == 9 else vector, check) for content, vector, check in page]

    monkeypatch.setattr(image_search.library.vectors, "_pages", damaged)
    with pytest.raises(LibraryDamagedError, match="content 9"):
        Vectors(library.catalog).refresh()


def test_a_lost_vector_is_an_error(library: Library) -> None:
    library.catalog.execute("DELETE FROM content WHERE id = 9")
    with pytest.raises(LibraryDamagedError, match="40 contents and holds 39"):
        Vectors(library.catalog).refresh()


def test_an_empty_library(tmp_path: Path) -> None:
    empty = Library(tmp_path / "empty")
    vectors = Vectors(empty.catalog)
    vectors.refresh()
    assert vectors.rows.shape == (0, DIM)
    empty.change({1: 1}, new=(1,))
    vectors.refresh()
    assert held(vectors) == empty.truth()
    empty.catalog.close()


# The same from the file of codes


@pytest.fixture
def coded(library: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setattr(image_search.library.vectors, "CODES_FROM", 10)
    renew_codes(library.catalog)
    assert (library.catalog.folder / CODES_NAME).is_file()
    return library


def from_file(library: Library) -> Vectors:
    vectors = Vectors(library.catalog, coded=True)
    vectors.refresh()
    return vectors


def well_coded(vectors: Vectors, library: Library) -> None:
    """Each content has the codes of its own vector, whichever way they came."""
    assert vectors.codes is not None
    truth = library.truth()
    assert sorted(vectors.contents.tolist()) == sorted(truth)
    rows = np.stack([np.frombuffer(truth[content], "<f4") for content in vectors.contents.tolist()])
    for ours, theirs in zip(vectors.codes, encode(rows), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_codes_are_read_in_place_of_vectors(coded: Library, read: list[int]) -> None:
    vectors = from_file(coded)
    well_coded(vectors, coded)
    assert sum(read) == 0
    assert {content: row.tobytes() for content, row in zip(vectors.contents[[3, 1]], vectors.some(np.array([3, 1])), strict=True)} == {
        content: coded.truth()[content] for content in vectors.contents[[3, 1]]
    }


def test_what_changed_since_the_codes_were_written_is_read(coded: Library, read: list[int]) -> None:
    coded.change({41: 41, 3: 42, 5: None}, new=(41, 42))
    vectors = from_file(coded)
    assert sum(read) == 2
    well_coded(vectors, coded)
    coded.change({43: 43, 41: None}, new=(43,))
    vectors.refresh()
    well_coded(vectors, coded)
    assert held(vectors) == coded.truth()


def test_codes_are_written_anew_once_enough_has_changed(coded: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    file = coded.catalog.folder / CODES_NAME
    monkeypatch.setattr(image_search.library.vectors, "CODES_RENEW_SHARE", 0.1)
    before = file.stat().st_ino, file.read_bytes()
    coded.change({41: 41}, new=(41,))
    renew_codes(coded.catalog)
    assert (file.stat().st_ino, file.read_bytes()) == before
    coded.change({n: n for n in range(42, 52)}, new=tuple(range(42, 52)))
    renew_codes(coded.catalog)
    assert file.read_bytes() != before[1]
    well_coded(from_file(coded), coded)


def test_what_was_forgotten_leaves_the_file(coded: Library) -> None:
    file = coded.catalog.folder / CODES_NAME
    vectors = from_file(coded)
    assert vectors.codes is not None
    code = vectors.codes.numbers[vectors.contents.tolist().index(9)].tobytes()
    assert code in file.read_bytes()
    coded.change({9: None}, drop=(9,))
    renew_codes(coded.catalog, always=True)
    assert code not in file.read_bytes()
    well_coded(from_file(coded), coded)
    coded.change(dict.fromkeys(range(1, 38)), drop=tuple(n for n in range(1, 38) if n != 9))
    renew_codes(coded.catalog, always=True)
    assert not file.exists()  # too few are left


def cut(data: bytes, place: int) -> bytes:
    return data[:place]


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("harm", [cut, flipped])
def test_doubtful_codes_are_as_if_they_were_not_there(coded: Library, read: list[int], harm: Callable[[bytes, int], bytes]) -> None:
    file = coded.catalog.folder / CODES_NAME
    data = file.read_bytes()
    for place in [*range(90), *range(90, len(data), 97), len(data) - 1]:
        file.write_bytes(harm(data, place))
        vectors = from_file(coded)
        assert vectors.codes is None
        assert held(vectors) == coded.truth()
    file.write_bytes(data + b"x")
    assert from_file(coded).codes is None
    file.unlink()
    os.mkfifo(file)
    assert from_file(coded).codes is None
    file.unlink()
    file.symlink_to(coded.catalog.folder / "other")
    (coded.catalog.folder / "other").write_bytes(data)
    assert from_file(coded).codes is None
    renew_codes(coded.catalog)  # the link goes, what it named stays
    assert not file.is_symlink()
    assert (coded.catalog.folder / "other").read_bytes() == data
    well_coded(from_file(coded), coded)


def test_codes_of_another_history_are_not_used(coded: Library, tmp_path: Path) -> None:
    other = Library(tmp_path / "other")
    other.change({n: n for n in range(1, 41)}, new=tuple(range(1, 41)))
    shutil.copy(coded.catalog.folder / CODES_NAME, other.catalog.folder / CODES_NAME)
    vectors = from_file(other)
    assert vectors.codes is None
    assert held(vectors) == other.truth()
    renew_codes(other.catalog)
    well_coded(from_file(other), other)
    other.catalog.close()


def test_a_writer_that_was_killed_leaves_the_codes_before(coded: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    file = coded.catalog.folder / CODES_NAME
    before = file.read_bytes()
    (coded.catalog.folder / "codes.next").write_bytes(before[:50])
    coded.change({n: n for n in range(41, 46)}, new=tuple(range(41, 46)))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            renew_codes(coded.catalog)
    assert file.read_bytes() == before
    assert not (coded.catalog.folder / "codes.next").exists()
    well_coded(from_file(coded), coded)


def full(_file: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
