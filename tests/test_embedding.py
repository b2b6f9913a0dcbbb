"""The stage from picture to vector: batches, order, errors in place, contents that are known."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import fill, picture

from image_search import DecodeError, ImageSearchEngine, LibraryNotFoundError, QueryError, SkipReason, UsageError, embedding
from image_search.embedding import Embedded, embed_each, in_order
from image_search.search.query import Query, encoded
from image_search.testing import InProcessPool, QuickModel, quick_engine
from image_search.types import Region


class Counting(QuickModel):
    """How many pictures came in each call; a picture all of one colour cannot be embedded."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def embed(self, pixels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        self.calls.append(len(pixels))
        vectors = super().embed(pixels)
        vectors[pixels.reshape(len(pixels), -1).std(axis=1) == 0] = np.nan
        return vectors


@pytest.fixture
def model() -> Counting:
    return Counting()


@pytest.fixture
def pool(model: Counting) -> Iterator[InProcessPool]:
    with InProcessPool(2, model.fingerprint.preprocess) as pool:
        yield pool


def test_many_pictures_are_a_handful_of_calls_with_the_same_bits(tmp_path: Path, model: Counting, pool: InProcessPool) -> None:
    paths = [str(path) for path in fill(tmp_path, 40)]
    found = {one.source: one for one in embed_each(paths, pool, model) if isinstance(one, Embedded)}
    assert found.keys() == set(paths)
    assert sum(model.calls) == 120 and len(model.calls) <= 8
    for path in paths[::17]:
        one = found[path]
        assert one.vector is not None and one.decoded.pixels is None and (one.decoded.width, one.decoded.height) == (160, 120)
        alone = model.embed(pool.decode(path).pixels[None])[0]  # type: ignore[index]
        assert one.vector.tobytes() == alone.tobytes()


def test_what_cannot_be_embedded_says_why_and_stops_nothing(tmp_path: Path, model: Counting, pool: InProcessPool) -> None:
    good, *_ = fill(tmp_path, 1)
    (tmp_path / "text.jpg").write_text("no picture")
    picture("circle", 1).convert("1").point(lambda _: 0).convert("RGB").save(tmp_path / "black.png")
    sources = [str(tmp_path / "text.jpg"), str(tmp_path / "black.png"), str(good), str(tmp_path / "gone.png"), b"", good.read_bytes()]
    found = list(in_order(sources, lambda each: embed_each(each, pool, model)))
    assert [one.source for one in found] == sources
    reasons = [one.reason if isinstance(one, DecodeError) else None for one in found]
    assert reasons == [SkipReason.NOT_AN_IMAGE, SkipReason.NO_VECTOR, None, SkipReason.VANISHED, SkipReason.EMPTY, None]
    assert found[1].sha256 is not None  # type: ignore[union-attr]


def test_what_is_known_is_neither_decoded_nor_embedded(tmp_path: Path, model: Counting, pool: InProcessPool) -> None:
    paths = [str(path) for path in fill(tmp_path, 3)]
    known = pool.decode(paths[4]).sha256
    found = list(in_order(paths, lambda each: embed_each(each, pool, model, lambda sha256: sha256 == known)))
    assert [isinstance(one, Embedded) and one.vector is None for one in found] == [n == 4 for n in range(9)]
    assert sum(model.calls) == 8


def test_the_model_is_asked_for_only_when_a_picture_needs_it(tmp_path: Path, model: Counting, pool: InProcessPool) -> None:
    path, *others = [str(path) for path in fill(tmp_path, 1)]
    asked: list[int] = []

    def load() -> Counting:
        asked.append(1)
        return model

    list(embed_each([path, str(tmp_path / "gone.png")], pool, load, lambda sha256: True))
    assert asked == []
    list(embed_each(others, pool, load))
    assert asked == [1]


def test_sources_are_read_no_further_ahead_than_the_pool_allows(tmp_path: Path, model: Counting, pool: InProcessPool) -> None:
    path = str(fill(tmp_path, 1)[0])
    read = 0

    def many() -> Iterator[str]:
        nonlocal read
        for _ in range(100_000):
            read += 1
            yield path

    results = embed_each(many(), pool, model)
    for _ in range(300):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert read < 300 + 64 + 2 * embedding.MAX_BATCH


def test_results_that_are_ready_early_wait_for_their_turn(model: Counting) -> None:
    class Backwards:
        def decode_each(self, sources, *, known, region):  # type: ignore[no-untyped-def]
            for source in reversed(list(sources)):
                yield source, DecodeError(SkipReason.EMPTY, path=source)

    sources = ["a", "b", "a", "c"]
    found = in_order(sources, lambda each: embed_each(each, Backwards(), model))  # type: ignore[arg-type]
    assert [one.source for one in found] == sources


def test_what_waits_for_company_is_embedded_where_only_copies_follow(
    tmp_path: Path, model: Counting, pool: InProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One new picture and thousands of its copies: the first must not wait for the last, or nothing could be committed."""
    monkeypatch.setattr(embedding, "LONGEST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(embedding, "available_cpus", lambda: 64)
    path = str(fill(tmp_path, 1)[0])
    new = pool.decode(path)

    class ThenCopies:
        def decode_each(self, sources, *, known, region):  # type: ignore[no-untyped-def]
            yield path, new
            for _ in range(50):
                yield path, replace(new, pixels=None)

    found = embed_each([], ThenCopies(), model)  # type: ignore[arg-type]
    assert [isinstance(one, Embedded) and one.vector is not None for one in found].index(True) == 0


def test_one_picture_starts_no_crowd_of_threads(tmp_path: Path, model: Counting) -> None:
    path = str(fill(tmp_path, 1)[0])
    with InProcessPool(64, model.fingerprint.preprocess) as many:
        before = threading.active_count()
        results = embed_each([path], many, model)
        next(results)
        assert threading.active_count() <= before + 2
        assert len(list(embed_each([path] * 100, many, model))) == 100


def test_a_region_outside_a_picture_is_wrong_use(tmp_path: Path, model: Counting, pool: InProcessPool) -> None:
    path = str(fill(tmp_path, 1)[0])
    with pytest.raises(UsageError, match="reaches outside"):
        list(embed_each([path], pool, model, region=Region(100, 100, 900, 9)))


# --- through the engine -------------------------------------------------------------------------------------------------------


def test_the_engine_embeds_many_in_their_order_with_errors_in_place(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos, progress=False)
    known, other = photos / "circle" / "0.png", tmp_path / "other.png"
    picture("square", 99).save(other)
    (tmp_path / "text.jpg").write_text("no picture")
    sources = [known, tmp_path / "text.jpg", other, "id:1", tmp_path / "gone.png", known.read_bytes(), picture("square", 99), "id:999"]
    found = list(engine.embed_each(sources))
    assert [isinstance(one, QueryError) for one in found] == [False, True, False, False, True, False, False, True]
    vectors = [one for one in found if not isinstance(one, QueryError)]
    assert all(vector.shape == (96,) for vector in vectors)
    assert vectors[0].tobytes() == vectors[3].tobytes() and vectors[1].tobytes() == vectors[4].tobytes()
    assert isinstance(found[1], QueryError) and "not an image" in str(found[1]) and isinstance(found[1].__cause__, DecodeError)
    with pytest.raises(QueryError, match="not an image"):
        engine.embed(sources)
    assert np.array_equal(engine.embed([known, other]), [vectors[0], vectors[1]])


def test_paths_may_come_without_end(engine: ImageSearchEngine, photos: Path) -> None:
    def for_ever() -> Iterator[Path]:
        while True:
            yield photos / "circle" / "1.png"

    engine.index(photos, progress=False)
    several = [vector for _, vector in zip(range(5), engine.embed_each(for_ever()), strict=False)]
    assert len({vector.tobytes() for vector in several if not isinstance(vector, QueryError)}) == 1


def test_without_a_library_the_engine_s_own_model_embeds(tmp_path: Path) -> None:
    with quick_engine(tmp_path / "none") as engine:
        assert engine.embed(picture("circle", 1)).shape == (1, 96)
        with pytest.raises(LibraryNotFoundError):
            engine.query(picture("circle", 1))


def test_a_vector_can_be_searched_with(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos, progress=False)
    vector = engine.embed(photos / "stripes" / "2.png")[0]
    matches = engine.search(Query("a vector of mine", vector), 1)
    assert matches[0].path == str(photos / "stripes" / "2.png") and not matches[0].identical
    assert "a vector of mine" in repr(matches) and matches.to_dict()["query"] == "a vector of mine"
    matches.figure()  # drawn by its label


def test_encoded_pictures_keep_their_pixels() -> None:
    assert np.array_equal(np.asarray(picture("circle", 3)), np.asarray(_opened(encoded(picture("circle", 3)))))


def _opened(data: bytes):  # type: ignore[no-untyped-def]
    import io

    from PIL import Image

    return Image.open(io.BytesIO(data))
