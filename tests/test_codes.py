"""Exact search from a quarter of the bytes: the bounds hold, and the answer is the one that comparing everything gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import image_search.library.codes
import image_search.library.vectors
import image_search.search.search
from image_search import ImageSearchEngine
from image_search.library import codes_file
from image_search.library.codes import Codes, can_compare, encode
from image_search.library.codes_file import CODES_NAME
from image_search.library.vectors import Vectors
from image_search.stores.exact import top_k, top_k_by_codes
from image_search.types import Float32

pytestmark = pytest.mark.skipif(not can_compare(), reason="simsimd is not installed here")

DIM = 64


def unit(rows: np.ndarray) -> Float32:  # type: ignore[type-arg]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def drawn(kind: str, count: int, dim: int = DIM) -> Float32:
    dice = np.random.default_rng(len(kind) + count)
    rows = dice.standard_normal((count, dim))
    if kind == "clustered":
        rows = dice.standard_normal((5, dim))[dice.integers(0, 5, count)] + 0.01 * rows
    elif kind == "all alike":
        rows = np.ones(dim) + 1e-4 * rows
    elif kind == "equal":
        rows = np.repeat(rows[:3], -(-count // 3), axis=0)[:count]
    elif kind == "sparse":
        rows = np.eye(dim)[dice.integers(0, dim, count)] + np.eye(dim)[dice.integers(0, dim, count)]
    elif kind == "one large number":
        rows[:, 7] += 100
    elif kind == "signs":
        rows = np.sign(rows)
    return unit(rows)


KINDS = ["any", "clustered", "all alike", "equal", "sparse", "one large number", "signs"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [1, 3, DIM, 257])
def test_the_cosine_lies_between_its_bounds(kind: str, dim: int) -> None:
    if dim < 8 and kind == "one large number":
        pytest.skip("there is no eighth number")
    rows, queries = drawn(kind, 300, dim), np.concatenate([drawn("any", 5, dim), drawn(kind, 300, dim)[:5]])
    codes = encode(rows)
    for query in queries:
        lowest, highest = codes.bounds(query * 3)  # the length does not matter
        cosines = rows.astype(np.float64) @ query.astype(np.float64)
        assert (lowest <= cosines).all()
        assert (cosines <= highest).all()
    assert (highest - lowest).max() < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_one_of_comparing_everything(kind: str) -> None:
    rows = drawn(kind, 2_000)
    codes = encode(rows)
    dice = np.random.default_rng(1)
    masks = [None, dice.random(2_000) < 0.5, dice.random(2_000) < 0.01, np.zeros(2_000, bool)]
    for query in [rows[17], drawn("any", 1)[0], unit(rows[5:6] + 0.1 * drawn("any", 1))[0]]:
        for n in (1, 3, 10, 500, 2_000, 5_000):
            for mask in masks:
                for ties in (False, True):
                    found = top_k_by_codes(codes, query, n, vectors=lambda some: rows[some], most=2_000, mask=mask, ties=ties)
                    (expected,), (cosines,) = top_k(rows, query[None, :], n, mask=mask, ties=ties)
                    if found is not None:
                        assert found[0].tolist() == expected.tolist()
                        assert found[1].tolist() == cosines.tolist()
                    else:
                        assert n >= (2_000 if mask is None else mask.sum())


def test_only_what_cannot_be_ruled_out_is_looked_at() -> None:
    rows, looked = drawn("any", 20_000), []

    def vectors(some: np.ndarray) -> Float32:  # type: ignore[type-arg]
        looked.append(len(some))
        return rows[some]

    codes = encode(rows)
    assert top_k_by_codes(codes, rows[3], 10, vectors=vectors, most=200) is not None
    assert 10 <= looked[0] <= 100
    assert top_k_by_codes(encode(drawn("all alike", 2_000)), rows[3], 10, vectors=vectors, most=200) is None
    assert len(looked) == 1


def test_products_of_the_largest_codes_are_exact() -> None:
    """Whatever kernel this processor has: 2,048 products of 127 by 127 neither saturate nor round."""
    numbers = np.array([[127] * 2048, [-127] * 2048], np.int8)
    codes = Codes(numbers, np.ones(2, np.float32), np.zeros(2, np.float32))
    query = np.zeros(2048, np.float32)
    query[0] = 1
    lowest, highest = codes.bounds(query)
    turned = image_search.library.codes._turn(2048)[0]
    step = np.abs(turned).max() / 127
    expected = float(np.rint(turned / step).sum() * 127 * step)
    assert (lowest + highest) / 2 == pytest.approx([expected, -expected], rel=1e-5)


# Through a library


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are worth it from three pictures on."""
    monkeypatch.setattr(image_search.library.vectors, "CODES_FROM", 3)
    monkeypatch.setattr(image_search.search.search, "CODES_FROM", 3)


def answers(engine: ImageSearchEngine, photos: Path) -> list[tuple[str, float]]:
    query = sorted(photos.rglob("*.*"))[0]
    return [(match.id, match.similarity) for n in (1, 2, 5) for match in engine.search(query, n)]


def test_a_library_answers_the_same_with_and_without_codes(
    engine: ImageSearchEngine, photos: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.index(photos, progress=False)
    file = engine.library / CODES_NAME
    assert file.is_file()
    loads: list[str] = []
    real = Vectors.load_rows
    monkeypatch.setattr(Vectors, "load_rows", lambda self: (loads.append("rows"), real(self)))
    with_codes = answers(engine, photos)
    engine.close()
    file.unlink()
    assert answers(engine, photos) == with_codes
    assert loads  # without the file everything is read


def test_codes_that_tell_of_other_contents_are_not_believed(engine: ImageSearchEngine, photos: Path, small: None) -> None:
    engine.index(photos, progress=False)
    expected = answers(engine, photos)
    engine.close()
    kept = codes_file.read(engine.library, engine.status()["dimensions"], spare=0)
    assert kept is not None
    kept.contents += 1000
    codes_file.write(engine.library, kept)
    engine.close()
    assert answers(engine, photos) == expected


def test_a_full_disk_costs_only_the_codes(engine: ImageSearchEngine, photos: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    said: list[str] = []
    engine._notify = said.append
    monkeypatch.setattr(image_search.library.vectors.codes_file, "write", full)
    report = engine.index(photos, progress=False)
    assert report.added
    assert [line for line in said if "searching takes longer" in line]
    assert answers(engine, photos)
