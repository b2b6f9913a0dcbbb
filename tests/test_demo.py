"""The sample gallery: its layout, that it is drawn the same each time, that shapes and not colours tell its classes apart."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import image_search.demo
from image_search.demo import CLASSES, draw, draw_gallery, draw_queries
from image_search.errors import ImageSearchError, UsageError
from image_search.models import load_model
from image_search.types import Embedder, Float32


@pytest.fixture(scope="module", params=[4, pytest.param(10, marks=pytest.mark.slow)])
def per_class(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def gallery(per_class: int, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw_gallery(tmp_path_factory.mktemp("gallery"), per_class=per_class)


@pytest.fixture(scope="module")
def mini() -> Embedder:
    return load_model("mini")


def vectors(model: Embedder, paths: list[Path]) -> Float32:
    height, width = model.fingerprint.preprocess.output_size
    pixels = [np.asarray(Image.open(p).resize((width, height), Image.Resampling.BILINEAR)) for p in paths]
    return model.embed(np.stack(pixels))  # (N, D)


def nearest_is_right(similarity: npt.NDArray[np.floating], paths: list[Path]) -> float:
    """Share of the pictures whose nearest other picture lies in the same folder; similarity is (N, N)."""
    np.fill_diagonal(similarity, -np.inf)
    return float(np.mean([paths[i].parent == paths[j].parent for i, j in enumerate(similarity.argmax(axis=1))]))


def test_layout(gallery: list[Path], per_class: int) -> None:
    assert len(CLASSES) == len(set(CLASSES)) >= 11
    assert len(gallery) == len(CLASSES) * per_class
    folder = gallery[0].parent.parent
    assert sorted(p for p in folder.rglob("*") if not p.is_dir()) == sorted(gallery)  # nothing else, no left-overs
    assert {p.relative_to(folder).as_posix() for p in gallery} == {f"{c}/{n}.jpg" for c in CLASSES for n in range(1, per_class + 1)}
    for path in gallery:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (384, 384))


def test_no_two_pictures_are_alike(gallery: list[Path]) -> None:
    small = np.stack(
        [np.asarray(Image.open(p).convert("L").resize((16, 16), Image.Resampling.BOX), dtype=np.float32).ravel() for p in gallery]
    )
    gaps = np.abs(small[:, None] - small[None]).mean(axis=2)  # (N, N), grey levels of 255
    np.fill_diagonal(gaps, np.inf)
    assert gaps.min() > 3


def test_same_pictures_in_every_process() -> None:
    code = (
        "import hashlib, sys; from image_search.demo import CLASSES, draw\n"
        "print(hashlib.sha256(b''.join(draw(name, 3, 96).tobytes() for name in CLASSES)).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.strip()
    assert other == hashlib.sha256(b"".join(draw(name, 3, 96).tobytes() for name in CLASSES)).hexdigest()


def test_every_size_and_seed_can_be_drawn() -> None:
    for name in CLASSES:
        assert draw(name, 0, 16).size == (16, 16)
        assert draw(name, -5, 40).size == (40, 40)
        assert draw(name, 10**12, 41).mode == "RGB"


@pytest.mark.slow
def test_colours_do_not_give_the_class_away(gallery: list[Path]) -> None:
    for mode in ("RGB", "HSV"):
        for bins in (4, 8):
            histograms = []
            for path in gallery:
                cell = np.asarray(Image.open(path).convert(mode)).reshape(-1, 3).astype(np.int64) * bins // 256
                counts = np.bincount(cell @ (bins * bins, bins, 1), minlength=bins**3)
                histograms.append(counts / counts.sum())
            h = np.array(histograms, dtype=np.float32)  # (N, bins^3)
            overlap = np.array([np.minimum(row, h).sum(axis=1) for row in h])
            roots = np.sqrt(h) @ np.sqrt(h).T
            assert nearest_is_right(overlap, gallery) <= 0.7, (mode, bins, "intersection")
            assert nearest_is_right(roots, gallery) <= 0.7, (mode, bins, "Hellinger")


def test_the_bundled_model_tells_the_classes_apart(gallery: list[Path], mini: Embedder) -> None:
    v = vectors(mini, gallery)
    assert nearest_is_right(v @ v.T, gallery) >= 0.85


def test_queries_are_not_in_the_gallery_and_find_their_class(gallery: list[Path], mini: Embedder, tmp_path: Path) -> None:
    queries = draw_queries(tmp_path)
    assert len(queries) >= 4
    assert not {p.read_bytes() for p in queries} & {p.read_bytes() for p in gallery}
    best = (vectors(mini, queries) @ vectors(mini, gallery).T).argmax(axis=1)
    found = [gallery[i].parent.name for i in best]
    assert [name.lower() for name in found] == [q.stem for q in queries]
    assert len(set(found)) == len(found)  # different classes


def test_again_leaves_the_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_search.demo, "draw", lambda name, seed: Image.new("RGB", (8, 8), (9 * CLASSES.index(name), 0, 0)))
    first = draw_gallery(tmp_path, per_class=1)
    before = [(p.stat().st_mtime_ns, p.stat().st_ino) for p in first]
    first[2].unlink()
    calls: list[tuple[int, int]] = []
    again = draw_gallery(tmp_path, per_class=1, progress=lambda done, total: calls.append((done, total)))
    assert again == first
    assert calls == [(i, len(CLASSES)) for i in range(1, len(CLASSES) + 1)]
    after = [(p.stat().st_mtime_ns, p.stat().st_ino) for p in again]
    assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [2]  # only what was gone is new


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_foreign_files_are_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(image_search.demo, "draw", lambda *_: Image.new("RGB", (8, 8)))  # whatever is drawn
    theirs = tmp_path / CLASSES[-1] / "1.jpg"  # the last one to be written
    theirs.parent.mkdir()
    if kind == "file":
        theirs.write_bytes(b"my only picture")
    elif kind == "folder":
        theirs.mkdir()
    else:
        try:
            theirs.symlink_to(tmp_path / "elsewhere")
        except OSError:
            pytest.skip("this system lets nobody make links")
    with pytest.raises(UsageError) as caught:
        draw_gallery(tmp_path, per_class=1)
    assert str(theirs) in str(caught.value)
    assert [p for p in tmp_path.rglob("*") if p != theirs.parent] == [theirs]  # and nothing was written before it was found
    if kind == "file":
        assert theirs.read_bytes() == b"my only picture"


@pytest.mark.parametrize("theirs", ["IMG_1.jpg", "2024", "Cat/mine.jpg", "Cat/old/1.jpg", "cat"])
def test_a_folder_that_holds_other_things_is_not_painted_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str) -> None:
    monkeypatch.setattr(image_search.demo, "draw", lambda *_: Image.new("RGB", (8, 8)))
    for draw_into in (lambda folder: draw_gallery(folder, per_class=1), draw_queries):
        folder = tmp_path / str(draw_into is draw_queries)
        drawn = draw_into(folder)
        (folder / ".DS_Store").write_bytes(b"a system's own")
        assert draw_into(folder) == drawn, "its own folder is completed"
        drawn[0].unlink()
        (folder / theirs).parent.mkdir(parents=True, exist_ok=True)
        if "." in theirs:
            (folder / theirs).write_bytes(b"mine")
        else:
            (folder / theirs).mkdir()
        with pytest.raises(UsageError, match="holds other things") as caught:
            draw_into(folder)
        assert str(folder / Path(theirs).parts[0]) in str(caught.value) and not drawn[0].exists()


def test_a_link_in_the_samples_folder_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_search.demo, "draw", lambda *_: Image.new("RGB", (8, 8)))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "gallery").mkdir()
    try:
        (tmp_path / "gallery" / "Cat").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    with pytest.raises(UsageError, match="holds other things"):
        draw_gallery(tmp_path / "gallery", per_class=1)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_impossible_wishes_get_one_line(tmp_path: Path) -> None:
    for wrong in (lambda: draw("Zeppelin", 1), lambda: draw(CLASSES[0], 1, 8), lambda: draw_gallery(tmp_path, per_class=0)):
        with pytest.raises(UsageError) as caught:
            wrong()
        assert "\n" not in str(caught.value)
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    with pytest.raises(ImageSearchError) as failed:
        draw_queries(in_the_way)
    assert str(in_the_way) in str(failed.value)
    assert in_the_way.read_text() == "not a folder"
