"""The map: laid out once, kept, new pictures between the old; and the picture of it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from inprocess import Answer
from pictures import fill, picture
from PIL import Image
from test_check import clusters

from image_search import ImageSearchEngine, UsageError
from image_search.errors import LibraryError, MissingExtraError
from image_search.library.places import Places
from image_search.present.mapping import SIDE, _size, draw_map, thumbnail_places
from image_search.testing import quick_engine
from image_search.tidy import layout
from image_search.tidy.map import LibraryMap
from image_search.types import Float32


@pytest.fixture
def quick_layout(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Main components in place of t-SNE, where the layout itself does not matter; gives how many pictures each layout was of."""
    asked: list[int] = []

    def lay_out(vectors: Float32, seed: int, say: object) -> Float32:
        asked.append(len(vectors))
        return layout._components(vectors) + np.float32(seed * 1e-3) * vectors[:, :2]

    monkeypatch.setattr(layout, "_tsne", lay_out)
    return asked


def spots(found: LibraryMap) -> dict[int, tuple[float, float]]:
    return {int(number): tuple(place) for number, place in zip(found.numbers, found.xy.tolist(), strict=True)}


# The layout


def test_what_is_alike_lies_together_and_the_same_each_time() -> None:
    vectors = clusters(3, 20)
    steps: list[tuple[int, int]] = []
    found = layout.lay_out(vectors, 0, say=lambda *step: steps.append(step))
    apart = np.linalg.norm(found[:, None] - found[None], axis=-1) + 9 * np.eye(60)
    assert (apart.argmin(axis=1) // 20 == np.arange(60) // 20).mean() > 0.95
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1 and np.ptp(found, axis=0).max() == pytest.approx(1)
    assert np.array_equal(found, layout.lay_out(vectors, 0)) and not np.array_equal(found, layout.lay_out(vectors, 1))
    assert steps[-1][0] == steps[-1][1] and [done for done, _ in steps] == sorted(done for done, _ in steps)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 49])
def test_a_map_of_a_few(count: int) -> None:
    found = layout.lay_out(clusters(1, count) if count else np.empty((0, 32), np.float32), 0)
    assert found.shape == (count, 2) and np.isfinite(found).all() and ((found >= 0) & (found <= 1)).all()
    assert len(np.unique(found, axis=0)) == count


def test_what_is_all_alike_lies_in_one_place() -> None:
    same = np.tile(clusters(1, 1), (30, 1))
    assert np.array_equal(layout.lay_out(same, 0), np.full((30, 2), 0.5, np.float32))
    nearly = same + np.float32(1e-7) * clusters(1, 30)
    assert np.isfinite(layout.lay_out(np.asarray(nearly / np.linalg.norm(nearly, axis=1, keepdims=True), np.float32), 0)).all()


def test_more_than_are_laid_out_are_placed_among_their_own(quick_layout: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAP_LAID_OUT", 30)
    vectors = clusters(2, 40)
    found = layout.lay_out(vectors, 0)
    apart = np.linalg.norm(found[:, None] - found[None], axis=-1) + 9 * np.eye(80)
    assert quick_layout == [30] and (apart.argmin(axis=1) // 40 == np.arange(80) // 40).mean() > 0.95


def test_a_new_one_comes_to_its_neighbours_and_not_into_the_void() -> None:
    known = np.concatenate([clusters(1, 10), clusters(1, 10, seed=3)])
    places = np.concatenate([np.full((10, 2), 0.1), np.full((10, 2), 0.9)]).astype(np.float32)
    between = known[0] + 0.9 * known[10]  # as near to both groups, nearly
    found = layout.place_between(np.stack([known[3], between / np.linalg.norm(between)]).astype(np.float32), known, places)
    assert found[0] == pytest.approx([0.1, 0.1]) and min(abs(found[1, 0] - 0.1), abs(found[1, 0] - 0.9)) < 1e-6


# Kept with the library


def test_new_pictures_move_nothing(engine: ImageSearchEngine, photos: Path, quick_layout: list[int]) -> None:
    engine.index(photos, progress=False)
    first = engine.map(progress=False)
    assert not first.placed.any() and len(first) == 12 and sorted(set(first.names)) == ["circle", "square", "stripes"]
    assert spots(engine.map(progress=False)) == spots(first)
    fill(photos, 1, first=90)
    engine.index(photos, progress=False)
    second = engine.map(progress=False)
    assert {n: spots(second)[n] for n in spots(first)} == spots(first) and second.placed.sum() == 3
    assert quick_layout == [12], "laid out once"
    (photos / "circle" / "0.png").unlink()
    engine.index(photos, progress=False)
    third = engine.map(progress=False)
    assert len(third) == 14 and all(spots(second)[n] == place for n, place in spots(third).items())
    picture("circle", 0).save(photos / "circle" / "0.png", compress_level=2)
    engine.index(photos, progress=False)
    assert spots(engine.map(progress=False)) == spots(second), "what was away comes back to its place"
    assert not engine.map(fresh=True, progress=False).placed.any() and quick_layout == [12, 15]
    with quick_engine(engine.library.parent / "other", notify=lambda _: None) as other:
        other.index([photos], progress=False)
        again, twin = engine.map(progress=False), other.map(progress=False)
        assert sorted(map(tuple, again.xy.tolist())) == sorted(map(tuple, twin.xy.tolist())), "a library made again gets the same map"


def test_a_file_that_is_damaged_is_made_again(engine: ImageSearchEngine, photos: Path, quick_layout: list[int]) -> None:
    engine.index(photos, progress=False)
    first = engine.map(progress=False)
    file = engine.library / "map.places"
    good = file.read_bytes()
    head, body = good.split(b"\n", 1)
    nan = Places([b"\0" * 16], np.array([[np.nan, 0]], np.float32), np.array([False]))
    nan.save(engine.library, json.loads(head)["of"])
    bad = [
        b"",
        b"{}\n",
        b"\xff\xfe\n",
        good[:-1],
        good[:-1] + b"\1",
        good + b"more",
        head.replace(b"12", b"-1") + b"\n" + body,
        file.read_bytes(),
    ]
    for data in [*bad, b"[" * 900 + b"\n"]:
        file.write_bytes(data)
        assert spots(engine.map(progress=False)) == spots(first)
        assert file.read_bytes() == good
    assert len(quick_layout) == 1 + len(bad) + 1
    assert not [path for path in engine.library.iterdir() if path.name.startswith("map.places.")]
    assert spots(engine.map(seed=1, progress=False)) != spots(first)


def test_a_library_that_cannot_be_written_answers_and_says_so(photos: Path, tmp_path: Path, quick_layout: list[int]) -> None:
    said: list[str] = []
    with quick_engine(tmp_path / "library", notify=said.append) as engine:
        engine.index(photos, progress=False)
        (tmp_path / "library" / "map.places").mkdir()  # nothing can take its place
        said.clear()
        assert len(engine.map(progress=False)) == 12
        assert len(said) == 1 and "cannot be kept" in said[0]


def test_without_the_extra(engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    engine.index(photos, progress=False)
    with pytest.raises(MissingExtraError, match=r'openTSNE, which is not installed.*pip install "ai-image-search-engine\[map\]"'):
        engine.map(progress=False)


def test_no_images_no_map(engine: ImageSearchEngine, photos: Path, quick_layout: list[int]) -> None:
    engine.index(photos, progress=False)
    engine.forget(photos)
    with pytest.raises(LibraryError, match="no images"):
        engine.map(progress=False)
    with pytest.raises(UsageError, match="seed"):
        engine.map(seed=-1)


def test_what_is_forgotten_leaves_the_map(engine: ImageSearchEngine, photos: Path, quick_layout: list[int]) -> None:
    engine.index(photos, progress=False)
    engine.map(progress=False)
    kept = (engine.library / "map.places").stat().st_size
    engine.forget(photos / "circle")
    assert len(engine.map(progress=False)) == 8
    assert (engine.library / "map.places").stat().st_size == kept - 4 * 25 and quick_layout == [12]


# The picture


def test_no_thumbnail_covers_another() -> None:
    xy = np.random.default_rng(0).random((3000, 2)).astype(np.float32) ** 2
    chosen = thumbnail_places(xy)
    size = _size(len(xy))
    pixels = xy[chosen].astype(np.float64) * (SIDE - size)
    apart = np.abs(pixels[:, None] - pixels[None]).max(axis=-1) + 9e9 * np.eye(len(chosen))
    assert apart.min() >= size and len(chosen) > 150
    assert thumbnail_places(np.full((500, 2), 0.5, np.float32))[1:] == [], "of many in one place one is drawn"


def test_the_picture_has_a_colour_for_each_class() -> None:
    names = ["고양이"] * 3 + ["dog"] * 2 + [f"other {n}" for n in range(30)] + [""]
    xy = np.random.default_rng(1).random((len(names), 2)).astype(np.float32)
    data = io.BytesIO()
    Image.new("RGB", (40, 20), "#123456").save(data, "WEBP")
    figure = draw_map(xy, names, {0: data.getvalue(), 1: b"damaged"})
    texts = [text.get_text() for text in figure.texts]
    assert "36 images" in texts and "고양이 (3)" in texts and "12 more classes (12)" in texts and "without a class (1)" in texts


def test_the_command(run: Callable[..., Answer], photos: Path, tmp_path: Path, quick_layout: list[int]) -> None:
    assert run("map").code == 1
    assert run("index", photos, "--store", "exact").code == 0
    first = run("map", "--save", tmp_path / "map.png")
    assert first.code == 0 and "12 in 3 classes" in first.out and f"Saved the map: {tmp_path / 'map.png'}" in first.err
    with Image.open(tmp_path / "map.png") as image:
        assert min(image.size) >= SIDE and len(image.convert("RGB").getcolors(1 << 24) or ()) > 1000, "thumbnails are on it"
    data = json.loads(run("map", "--json").out)
    assert [image["id"] for image in data["images"]] == [f"id:{n}" for n in range(1, 13)] and quick_layout == [12]
    assert set(data["images"][0]) == {"id", "x", "y", "name", "placed"}
    (tmp_path / "photo.png").write_bytes((photos / "circle" / "0.png").read_bytes())
    refused = run("map", "--save", tmp_path / "photo.png")
    assert refused.code == 2 and "is no comparison" in refused.err
