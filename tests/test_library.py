"""The library's room: opened again when it was replaced, taken back when nothing was written, closeness and its definition, uris."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pictures import fill

from image_search import LibraryBusyError, LibraryNotFoundError
from image_search.library.catalog import Catalog
from image_search.library.library import Library
from image_search.library.schema import State
from image_search.paths import as_text, from_bytes, local_path, uri_of
from image_search.search import closeness
from image_search.testing import quick_engine


@pytest.fixture
def library(tmp_path: Path) -> Path:
    fill(tmp_path / "photos", 20)
    with quick_engine(tmp_path / "library") as engine:
        engine.index(tmp_path / "photos", progress=False)
    return tmp_path / "library"


def test_a_reader_stays_until_the_catalog_is_replaced(library: Path) -> None:
    opened = Library(library)
    first = opened.reader()
    assert opened.reader() is first and first.images() == 60
    os.replace(_copy(library / "catalog.sqlite"), library / "catalog.sqlite")
    second = opened.reader()
    assert second is not first
    assert first.images() == second.images() == 60  # another thread may still read the old one
    opened.close()
    assert opened.reader().images() == 60  # and it can be used again
    opened.close()


def _copy(file: Path) -> Path:
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    return copy


def test_writing_takes_a_library_back_in_which_nothing_was_written(library: Path, tmp_path: Path) -> None:
    made_of = Library(library).reader().catalog
    new = Library(tmp_path / "new")
    with pytest.raises(LibraryNotFoundError), new.writing():
        pass
    with new.writing(lambda: Catalog.create(new.folder, made_of.fingerprint, made_of.canonical)) as catalog:
        assert new.exists and catalog.generation == 0
    assert not new.exists


def test_a_trial_changes_nothing(library: Path) -> None:
    opened = Library(library)
    before = opened.reader().generation
    with opened.trial() as catalog:
        catalog.execute("UPDATE files SET generation = ?", (catalog.generation,))
        assert catalog.generation != before
    assert opened.reader().generation == before
    opened.close()


def test_who_holds_the_writer_lock_writes_and_no_other(library: Path) -> None:
    mine, other = Library(library), Library(library)
    mine.hold_writer_lock("page")
    with mine.writing():
        pass
    with pytest.raises(LibraryBusyError, match="page"), other.writing():
        pass
    mine.close()
    with other.writing():
        pass


def test_every_state_that_a_file_can_have_is_counted_or_named(library: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "circle" / "0.png").unlink()
    (tmp_path / "photos" / "circle" / "1.png").write_text("no picture")
    with quick_engine(library) as engine:
        engine.index(tmp_path / "photos", progress=False)
        engine.forget(tmp_path / "photos" / "square" / "3.png")
        counts = engine.status()
    words = ("images", "missing", "skipped", "excluded", "forgotten")
    assert {state: counts[word] for state, word in zip(State, words, strict=True)} == {
        State.PRESENT: 57,
        State.MISSING: 1,
        State.SKIPPED: 1,
        State.EXCLUDED: 0,
        State.FORGOTTEN: 1,
    }


# --- closeness ----------------------------------------------------------------------------------------------------------------


def test_a_sample_of_another_definition_is_not_used_and_renewed_by_the_next_index(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = tmp_path / "photos" / "circle" / "0.png"
    with quick_engine(library) as engine:
        before = engine.search(query, 5)
        assert before[1].closeness is not None
        monkeypatch.setattr(closeness, "DEFINITION", 2)
        monkeypatch.setattr(closeness, "sample", lambda matrix: np.full(100, -1.0, np.float32))
        assert engine.search(query, 5)[1].closeness is None
        engine.index(tmp_path / "photos", progress=False)  # nothing has changed but that
        assert [match.closeness for match in engine.search(query, 5)] == [1.0] * 5


def test_a_sample_without_a_definition_is_the_first_one_s(library: Path, tmp_path: Path) -> None:
    """As version 0.1 left it."""
    with Library(library).writing() as catalog:
        kept = closeness.load(catalog)
        catalog.set_meta("closeness_definition", None)
        loaded = closeness.load(catalog)
    assert kept is not None and loaded is not None and kept.tobytes() == loaded.tobytes()


# --- names --------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_no_two_files_share_a_uri() -> None:
    names = [
        b"/a/\xff%41.jpg",
        b"/a/%FF%2541.jpg",
        b"/a/%ff%41.jpg",
        b"/a/\xff\xfe.jpg",
        b"/a/%41.jpg",
        b"/a/A.jpg",
        "/가/b c%.jpg".encode(),
    ]
    uris = [uri_of(from_bytes(name)) for name in names]
    assert len(set(uris)) == len(names)
    assert uris[-1] == "/가/b c%.jpg" and uris[4] == "/a/%41.jpg"  # nearly all are the path itself
    assert uris[0] == "file:///a/%FF%2541.jpg"
    assert [local_path(uri) for uri in uris] == [from_bytes(name) for name in names], "and each leads back to its file"
    assert local_path("FILE://localhost/a%20b/%EA%B0%80.jpg") == "/a b/가.jpg", "as file managers write it"
    for path in ("/a/b%20c.jpg", "file.jpg", "file:/a.jpg", "file://server/a.jpg", "http://a/b.jpg", ""):
        assert local_path(path) == path
    assert [uri.encode() for uri in uris]  # valid Unicode
    assert as_text(from_bytes(b"\xff%")) == "%FF%25"


def test_version_0_1_finds_what_it_asks_for(library: Path) -> None:
    """It refused a catalog without an id of the library, which nobody else reads."""
    assert Library(library).reader().catalog.meta("library_id")
