"""A library that is removed or replaced while it is in use: said, and never at the cost of the one that lies there now."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import fill

import image_search.engine
import image_search.stores.sync
from image_search import LibraryError
from image_search.index import run
from image_search.library.catalog import CATALOG_NAME, Catalog
from image_search.library.library import Library
from image_search.library.thumbnails import Thumbnails
from image_search.testing import quick_engine
from image_search.types import Fingerprint, Preprocess

posix = pytest.mark.skipif(os.name != "posix", reason="an open file can be removed")


def remove_folder(library: Path) -> None:
    shutil.rmtree(library)


def remove_catalog(library: Path) -> None:
    (library / CATALOG_NAME).unlink()


def put_back_a_copy(library: Path) -> None:
    (library / CATALOG_NAME).unlink()
    shutil.copy(library.parent / "backup", library / CATALOG_NAME)


def replace_folder(library: Path) -> None:
    library.rename(library.with_name("aside"))
    library.mkdir()


@posix
@pytest.mark.parametrize("happens", [remove_folder, remove_catalog, put_back_a_copy, replace_folder])
@pytest.mark.parametrize("moment", ["commit", "store"])
def test_an_index_run_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Path], None], moment: str) -> None:
    library, said = tmp_path / "library", list[str]()
    photos, more = tmp_path / "photos", tmp_path / "more"
    fill(photos, 1)
    fill(more, 3, first=10)
    monkeypatch.setattr(run, "COMMIT_SECONDS", 0)
    with quick_engine(library, notify=said.append) as engine:
        engine.index(photos)
    shutil.copy(library / CATALOG_NAME, tmp_path / "backup")
    shown = []

    def progress(done: int, *_: int) -> None:
        if not shown and moment == "commit":
            happens(library)
        shown.append(done)

    def refresh(*_: object) -> None:
        happens(library)

    if moment == "store":
        monkeypatch.setattr(image_search.stores.sync, "bring_up_to_date", refresh)
    engine = quick_engine(library, store="exact" if moment == "commit" else "chroma", notify=said.append)
    with engine, pytest.raises(LibraryError, match="removed or replaced while it was written to"):
        engine.index(more, progress=progress)
    assert len(shown) == 1 or moment == "store", "noticed at the next commit"
    assert said == []


@posix
def test_a_failing_store_is_not_called_harmless_where_the_library_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's own step fails first, since its folder is gone."""
    said: list[str] = []
    fill(tmp_path / "photos", 1)
    real = image_search.stores.sync.bring_up_to_date

    def removed(*given: object) -> None:
        shutil.rmtree(tmp_path / "library")
        real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(image_search.stores.sync, "bring_up_to_date", removed)
    engine = quick_engine(tmp_path / "library", store="chroma", notify=said.append)
    with engine, pytest.raises(LibraryError, match="removed or replaced"):
        engine.index(tmp_path / "photos")
    assert said == [] and not (tmp_path / "library").exists()


def empty_library(folder: Path) -> Catalog:
    return Catalog.create(folder, Fingerprint("m", "s", "", "0" * 64, "cls", 8, Preprocess(size=(8, 8))), np.eye(8, dtype=np.float32))


@posix
def test_a_first_run_that_fails_does_not_take_back_another_library(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    with pytest.raises(LibraryError, match="removed or replaced"), library.writing(lambda: empty_library(tmp_path / "library")):
        (tmp_path / "library").rename(tmp_path / "aside")
        empty_library(tmp_path / "library").close()
    assert Catalog.exists(tmp_path / "library")


@posix
def test_thumbnails_go_where_they_will_be_looked_for(tmp_path: Path) -> None:
    with_folder = Thumbnails(tmp_path, write=True)
    with_folder.put([(b"1" * 32, b"one")])
    (tmp_path / "thumbnails.sqlite").unlink()
    with_folder.put([(b"2" * 32, b"two")])
    again = Thumbnails(tmp_path, write=False)
    assert again.get(b"2" * 32) == b"two"
    again.close()
    with_folder.close()
