"""A library taken along: Parquet and TensorBoard's projector."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import Answer
from pictures import fill, picture
from PIL import Image

import image_search.export.aside
import image_search.export.parquet
from image_search import DiskFullError, ImageSearchEngine, ImageSearchError, UsageError
from image_search.errors import MissingExtraError

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def filled(engine: ImageSearchEngine, photos: Path) -> ImageSearchEngine:
    """14 images: one dated, one name that is no text."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 23:30:05"
    picture("circle", 50).save(photos / "circle" / "dated.jpg", exif=exif)
    if sys.platform == "linux":
        picture("circle", 51).save(os.fsdecode(os.fsencode(photos) + b"/circle/\xff\t.png"))
    engine.index(photos)
    return engine


def test_parquet_holds_what_the_library_holds(filled: ImageSearchEngine, tmp_path: Path) -> None:
    to = tmp_path / "vectors.parquet"
    images = filled.export(to)
    table = parquet.read_table(to)
    assert images == table.num_rows == filled.status()["images"] and os.listdir(tmp_path).count("vectors.parquet") == 1
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: float not null>[96]"
    assert table.schema.metadata[b"image_search.model"] == b"quick"
    rows: list[dict[str, Any]] = table.to_pylist()
    vectors = np.array([row["vector"] for row in rows], np.float32)
    readable = [row for row in rows if not row["uri"].startswith("file:")]
    assert len(rows) - len(readable) == (sys.platform == "linux")
    for row in readable:
        match = filled.search(row["uri"], 1)[0]
        assert (match.id, match.uri, match.name) == (row["id"], row["uri"], row["name"])
        assert row["bytes"] == Path(row["uri"]).stat().st_size and len(row["sha256"]) == 64
        assert (row["width"], row["height"], row["format"]) == (160, 120, "JPEG" if row["uri"].endswith(".jpg") else "PNG")
        dated = row["uri"].endswith("dated.jpg")
        assert row["captured"] == (datetime(2024, 5, 1, 23, 30, 5) if dated else None)
    assert np.array_equal(vectors[[rows.index(row) for row in readable]], filled.embed([row["uri"] for row in readable]))


def test_the_users_own_columns_go_along(filled: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    mine, other = photos / "circle" / "0.png", photos / "square" / "1.png"
    table = tmp_path / "mine.csv"
    table.write_text(f"path,price,name,bought\n{mine},7.5,a\tb,2024-05-01\n{other},8,,2024-05-02T10:30:00\n")
    filled.annotate(table)
    filled.export(tmp_path / "with.parquet")
    found = parquet.read_table(tmp_path / "with.parquet")
    assert [str(found.schema.field(name).type) for name in ("price", "table.name", "bought")] == ["double", "string", "timestamp[us]"]
    rows = {row["uri"]: row for row in found.to_pylist()}
    assert [rows[str(mine)][name] for name in ("price", "table.name", "bought", "name")] == [7.5, "a\tb", datetime(2024, 5, 1), "circle"]
    assert [rows[str(other)][name] for name in ("price", "table.name", "bought")] == [8, None, datetime(2024, 5, 2, 10, 30)]
    assert rows[str(photos / "stripes" / "0.png")]["price"] is None
    assert np.array_equal(rows[str(mine)]["vector"], filled.embed(mine)[0])
    filled.export(tmp_path / "projector", kind="tensorboard")
    head, *lines = [line.split("\t") for line in (tmp_path / "projector" / "metadata.tsv").read_text().splitlines()]
    assert head[-3:] == ["bought", "table.name", "price"] and {len(line) for line in lines} == {len(head)}
    assert [line[-1] for line in lines if line[1] == str(other)] == ["8"]


def test_rows_are_written_in_groups(filled: ImageSearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_search.export.parquet, "EXPORT_ROWS", 5)
    seen: list[tuple[int, int, int]] = []
    images = filled.export(tmp_path / "vectors.parquet", progress=lambda *told: seen.append(told))
    file = parquet.ParquetFile(tmp_path / "vectors.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [5, 5, images - 10]
    assert seen == [(0, images, 0), (5, images, 0), (10, images, 0), (images, images, 0)]
    ids = file.read().column("id").to_pylist()
    assert ids == sorted(ids, key=lambda id_: int(id_[3:]))


def test_an_empty_library(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos)
    engine.forget(photos)
    assert engine.export(tmp_path / "none.parquet") == 0 and parquet.read_table(tmp_path / "none.parquet").num_rows == 0
    assert (
        engine.export(tmp_path / "none", kind="tensorboard") == 0
        and "sprite" not in (tmp_path / "none" / "projector_config.pbtxt").read_text()
    )


def test_what_is_there_is_not_replaced_unless_asked(filled: ImageSearchEngine, tmp_path: Path) -> None:
    (to := tmp_path / "vectors.parquet").write_text("mine")
    with pytest.raises(UsageError, match="already"):
        filled.export(to)
    assert to.read_text() == "mine"
    assert filled.export(to, replace=True) and parquet.read_table(to).num_rows
    (tmp_path / "folder.parquet").mkdir()
    for wrong in ("folder.parquet", "vectors.csv", "none/vectors.parquet"):
        with pytest.raises(UsageError):
            filled.export(tmp_path / wrong, replace=True)
    with pytest.raises(UsageError, match="kind"):
        filled.export(to, kind="csv")
    with pytest.raises(UsageError, match="none"):
        filled.export(to, kind="tensorboard")


def test_a_full_disk_leaves_what_was_there(filled: ImageSearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (to := tmp_path / "vectors.parquet").write_text("mine")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_search.export.aside.os, "fsync", full)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DiskFullError):
        filled.export(to, replace=True)
    assert to.read_text() == "mine" and sorted(os.listdir(tmp_path)) == before


def test_stopped_half_way_nothing_is_left(filled: ImageSearchEngine, tmp_path: Path) -> None:
    def stop(done: int, total: int, skipped: int) -> None:
        if done:
            raise KeyboardInterrupt

    before = sorted(os.listdir(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        filled.export(tmp_path / "vectors.parquet", progress=stop)
    assert sorted(os.listdir(tmp_path)) == before


def test_without_pyarrow_the_way_to_it_is_said(filled: ImageSearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"\[parquet\]"):
        filled.export(tmp_path / "vectors.parquet")


def test_the_projectors_files(filled: ImageSearchEngine, tmp_path: Path) -> None:
    folder = tmp_path / "projector"
    images = filled.export(folder, kind="tensorboard")
    assert sorted(os.listdir(folder)) == ["metadata.tsv", "projector_config.pbtxt", "sprite.jpg", "vectors.tsv"]
    vectors = np.loadtxt(folder / "vectors.tsv", delimiter="\t", dtype=np.float32)
    assert vectors.shape == (images, 96) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    head, *rows = [line.split("\t") for line in (folder / "metadata.tsv").read_text().splitlines()]
    assert len(rows) == images and {len(row) for row in rows} == {len(head)}
    first = dict(zip(head, rows[0], strict=True))
    assert np.allclose(vectors[0], filled.embed(first["uri"])[0], atol=1e-6)
    with Image.open(folder / "sprite.jpg") as sprite, Image.open(first["uri"]) as original:
        assert sprite.size == (400, 400)  # 4 x 4 squares of 100
        tile = np.asarray(sprite.crop((0, 12, 100, 87)), np.float32)  # 100 x 75 in the middle of its square
        assert np.abs(tile - np.asarray(original.convert("RGB").resize((100, 75)), np.float32)).mean() < 20
    assert "single_image_dim: 100" in (folder / "projector_config.pbtxt").read_text()
    with pytest.raises(UsageError, match="already"):
        filled.export(folder, kind="tensorboard")
    (folder / "notes.txt").write_text("mine")
    assert filled.export(folder, kind="tensorboard", replace=True) == images and (folder / "notes.txt").read_text() == "mine"


def test_the_program_exports(run: Callable[..., Answer], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("index", photos, "--store", "exact")
    assert run("export", "--to", "vectors.parquet").out == "12 images: vectors.parquet\n"
    again = run("export", "--to", "vectors.parquet")
    assert again.code == 2 and "--replace" in again.err and run("export", "--to", "vectors.parquet", "--replace").code == 0
    assert run("export", "--to", "tensorboard", "projector").out == "12 images: projector\n"
    assert (
        run("export", "--to", "tensorboard").code
        == run("export", "folder", "--to", "a.parquet").code
        == run("export", "--to", "a.csv").code
        == 2
    )


def test_a_folder_that_cannot_be_written(filled: ImageSearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(image_search.export.aside.os, "replace", refused)
    with pytest.raises(ImageSearchError, match="another folder"):
        filled.export(tmp_path / "vectors.parquet")


def test_copies_are_rows_of_their_own(engine: ImageSearchEngine, tmp_path: Path) -> None:
    first = fill(tmp_path / "photos", 1)[0]
    (tmp_path / "photos" / "again.png").write_bytes(first.read_bytes())
    engine.index(tmp_path / "photos")
    engine.export(tmp_path / "vectors.parquet")
    hashes = parquet.read_table(tmp_path / "vectors.parquet").column("sha256").to_pylist()
    assert len(hashes) == 4 and len(set(hashes)) == 3
