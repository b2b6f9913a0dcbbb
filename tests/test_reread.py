"""Vectors that older pixel rules made stay valid, are counted, and are renewed when that is asked for."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import Answer
from pictures import fill, picture
from PIL import Image

from image_search import ImageSearchEngine
from image_search.errors import SkipReason
from image_search.images import formats, pixels
from image_search.library.catalog import Catalog
from image_search.testing import quick_engine

FLIP_TOP_BOTTOM = Image.Transpose.FLIP_TOP_BOTTOM


@pytest.fixture
def mixed(photos: Path) -> Path:
    """12 PNG, 3 BMP, and a copy of one PNG."""
    fill(photos, 1, first=50, suffix=".bmp")
    shutil.copy(photos / "circle" / "0.png", photos / "square" / "copy.png")
    return photos


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The program after a change of what a PNG looks like: the same bytes are upside down now."""
    real = pixels.render

    def change() -> None:
        rows = tuple(dataclasses.replace(row, changes=row.changes + (row.name == "PNG")) for row in formats.FORMATS)
        monkeypatch.setattr(formats, "FORMATS", rows)

        def render(*given: Any) -> pixels.Picture:
            made = real(*given)
            return made._replace(pixels=made.pixels.transpose(FLIP_TOP_BOTTOM)) if made.format == "PNG" else made

        monkeypatch.setattr(pixels, "render", render)

    return change


def vectors(library: Path) -> dict[bytes, tuple[bytes, int]]:
    catalog = Catalog.open(library)
    try:
        return {sha: (vector, rules) for sha, vector, rules in catalog.rows("SELECT sha256, vector, rules FROM content")}
    finally:
        catalog.close()


@pytest.fixture
def library(tmp_path: Path, mixed: Path) -> Iterator[Path]:
    with quick_engine(tmp_path / "library", store="chroma") as engine:
        engine.index(mixed)
    yield tmp_path / "library"


def test_older_vectors_stay_and_are_counted(library: Path, mixed: Path, newer: Callable[[], None]) -> None:
    before = vectors(library)
    newer()
    with quick_engine(library) as engine:
        report = engine.index(mixed)
        assert (report.unchanged, report.embedded, report.renewed, report.outdated) == (16, 0, 0, {"PNG": 12})
        assert engine.status()["outdated"] == {"PNG": 12}
    assert vectors(library) == before


def test_reread_renews_these_and_no_others(library: Path, mixed: Path, newer: Callable[[], None]) -> None:
    before = vectors(library)
    newer()
    with quick_engine(library, store="chroma") as engine:
        report = engine.index(mixed, reread=True)
        assert (report.renewed, report.embedded, report.unchanged, report.added, report.outdated) == (12, 12, 16, 0, {})
        after = vectors(library)
        changed = {sha for sha in before if before[sha] != after[sha]}
        assert len(changed) == 12 and {after[sha][1] for sha in changed} == {before[next(iter(changed))][1] + 1}
        # Whoever keeps vectors has heard of it: this engine's memory, and the store.
        truth = engine.embed([mixed / "circle" / "0.png"])[0]
        assert engine.status()["store_ready"]
        for how in ("exact", "store"):
            best = engine.search(picture("circle", 0), 2, how=how)  # type: ignore[arg-type]
            assert {Path(m.path).name for m in best} == {"0.png", "copy.png"} and best[0].similarity > 0.999
        assert np.array_equal(np.frombuffer(after[next(sha for sha in after if after[sha][0] == truth.tobytes())][0], "<f4"), truth)
        again = engine.index(mixed, reread=True)
        assert (again.renewed, again.embedded, engine.status()["outdated"]) == (0, 0, {})


def test_copies_in_a_folder_that_is_not_looked_at_are_renewed_with_them(
    library: Path, mixed: Path, tmp_path: Path, newer: Callable[[], None]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(mixed / "circle", other)
    fill(other, 15, first=200, suffix=".bmp")  # so many that the store is brought up to date, not rebuilt
    newer()
    with quick_engine(library, store="chroma") as engine:
        engine.index(other)
        assert engine.search(picture("circle", 0), 3)[0].similarity < 0.999  # all vectors are in memory now
        engine.index(mixed, reread=True)
        for how in ("exact", "store"):
            best = [m for m in engine.search(picture("circle", 0), 3, how=how) if m.similarity > 0.999]  # type: ignore[arg-type]
            assert {m.path for m in best} >= {str(other / "0.png"), str(mixed / "circle" / "0.png")}


def test_a_picture_that_newer_rules_cannot_read_keeps_its_vector(
    library: Path, mixed: Path, newer: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    newer()

    def refuse(*given: Any) -> None:
        raise formats.Refused(SkipReason.DAMAGED)

    monkeypatch.setattr(pixels, "render", refuse)
    with quick_engine(library) as engine:
        report = engine.index(mixed, reread=True)
        assert ({s.reason for s in report.skipped}, len(report.skipped), report.renewed) == ({"damaged image"}, 13, 0)
        status = engine.status()
        assert (status["images"], status["skipped"], status["outdated"]) == (16, 13, {"PNG": 12})
        assert engine.index(mixed).unchanged == 16


def test_a_dry_run_says_how_many(library: Path, mixed: Path, newer: Callable[[], None]) -> None:
    newer()
    with quick_engine(library) as engine:
        report = engine.index(mixed, reread=True, dry_run=True)
        assert (report.added, report.renewed, report.unchanged) == (0, 13, 3)
        assert engine.status()["outdated"] == {"PNG": 12}


def test_what_is_said_of_a_picture_is_counted(engine: ImageSearchEngine, photos: Path, run: Callable[..., Answer]) -> None:
    engine.index(photos)
    with engine._library.writing() as catalog:
        catalog.execute("UPDATE content SET note = 'cut off' WHERE id <= 2")
    assert engine.status()["notes"] == {"cut off": 2}
    assert "cut off     2" in run("status", "--library", engine.library).out
    assert json.loads(run("status", "--library", engine.library, "--json").out)["notes"] == {"cut off": 2}


def test_the_command_line_names_the_way(run: Callable[..., Answer], mixed: Path, newer: Callable[[], None]) -> None:
    run("index", mixed, "--store", "exact")
    newer()
    shown = run("index", mixed).out
    assert "12 could look different by today's rules (PNG 12); renew them with --reread" in shown
    assert "renewed          12" in run("index", mixed, "--reread").out
