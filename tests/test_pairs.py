"""All pairs of vectors that may be copies: found exactly, in blocks of any size, counted, and not more of them than can be looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from image_search.tidy import pairs
from image_search.tidy.pairs import NEIGHBOURS, Pairs, floor, near_pairs
from image_search.types import Float32


def unit(rng: np.random.Generator, count: int, dim: int = 16) -> Float32:
    rows = rng.normal(size=(count, dim))
    found: Float32 = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def as_set(found: Pairs) -> set[tuple[int, int]]:
    answer = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert len(answer) == len(found.first), "each pair once"
    assert all(one < other for one, other in answer)
    return answer


def by_hand(vectors: Float32, least: float = -1.0) -> set[tuple[int, int]]:
    """One row after the other, in float64."""
    wide = vectors.astype(np.float64)
    found = set()
    for row in range(len(wide)):
        similar = wide @ wide[row]
        similar[row] = -2
        for other in np.lexsort((np.arange(len(wide)), -similar))[:NEIGHBOURS].tolist():
            if similar[other] >= least and other != row:
                found.add((min(row, other), max(row, other)))
    return found


@pytest.fixture(params=[(4, 3, 1), (16, 64, 4), (64, 16, 8), (2048, 2048, 256)])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, columns, first = request.param
    monkeypatch.setattr(pairs, "_ROWS", rows)
    monkeypatch.setattr(pairs, "_COLUMNS", columns)
    monkeypatch.setattr(pairs, "_FIRST", first)
    monkeypatch.setattr(pairs, "_HELD", 500)


@pytest.mark.parametrize("count", [0, 1, 2, 13, 49, 400])
def test_the_nearest_of_each_are_found_whatever_the_blocks(blocks: None, count: int) -> None:
    vectors = unit(np.random.default_rng(count), count)
    found = near_pairs(vectors, threads=2)
    assert as_set(found) == by_hand(vectors)
    assert np.allclose(found.similarity, np.sum(vectors[found.first] * vectors[found.second], axis=1), atol=1e-6)
    assert list(zip(found.first, found.second, strict=True)) == sorted(zip(found.first, found.second, strict=True))


def test_what_is_farther_than_the_floor_is_left_out(blocks: None) -> None:
    vectors = unit(np.random.default_rng(5), 300)
    assert as_set(near_pairs(vectors, least=0.5)) == by_hand(vectors, 0.5) != by_hand(vectors)


def test_crowds_and_lonely_ones(blocks: None) -> None:
    """Bounds differ by row: a crowd of near-identical ones beside strangers."""
    rng = np.random.default_rng(6)
    crowd = unit(rng, 1) + rng.normal(size=(150, 16)) * 0.02
    vectors = np.concatenate([unit(rng, 150), (crowd / np.linalg.norm(crowd, axis=1, keepdims=True)).astype(np.float32)])
    vectors = vectors[rng.permutation(len(vectors))]
    assert as_set(near_pairs(vectors)) == by_hand(vectors)


def test_only_new_rows_are_compared(blocks: None) -> None:
    rng = np.random.default_rng(7)
    vectors = unit(rng, 300)
    fresh = np.zeros(300, np.bool_)
    fresh[rng.choice(300, 30, replace=False)] = True
    old = np.flatnonzero(~fresh).astype(np.int32)
    before = near_pairs(vectors[old])
    known = Pairs(old[before.first], old[before.second], before.similarity)
    told: list[tuple[int, int]] = []
    found = near_pairs(vectors, fresh=fresh, known=known, progress=lambda done, total: told.append((done, total)))
    assert as_set(found) == {pair for pair in by_hand(vectors) if fresh[list(pair)].any()}
    assert told[-1] == (30, 30) and told == sorted(told)


def test_the_work_is_that_of_the_new_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    multiplied = 0
    look = pairs._Search._look

    def counted(self: Any, similar: Float32, *rest: Any) -> Pairs:
        nonlocal multiplied
        multiplied += similar.size
        return look(self, similar, *rest)

    monkeypatch.setattr(pairs._Search, "_look", counted)
    monkeypatch.setattr(pairs, "_ROWS", 64)
    monkeypatch.setattr(pairs, "_FIRST", 64)
    monkeypatch.setattr(pairs, "_COLUMNS", 64)
    vectors = unit(np.random.default_rng(8), 2000)
    near_pairs(vectors)
    assert multiplied < 0.6 * 2000**2, "each pair once, and a little more at the edges of blocks"
    fresh = np.zeros(2000, np.bool_)
    fresh[:20] = True
    multiplied = 0
    near_pairs(vectors, fresh=fresh)
    assert multiplied <= 20 * 2000


def test_any_number_of_equal_rows_costs_nothing() -> None:
    rng = np.random.default_rng(9)
    vectors = np.concatenate([np.repeat(unit(rng, 1), 20_000, axis=0), unit(rng, 30)])
    found = near_pairs(vectors)
    same = found.first[found.similarity == 1]
    assert len(same) == 19_999 and set(same.tolist()) == {0}
    assert as_set(found) == {(0, n) for n in range(1, 20_000)} | {
        (0 if one == 0 else one + 19_999, other + 19_999) for one, other in by_hand(np.concatenate([vectors[:1], vectors[20_000:]]))
    }


def test_a_copy_more_of_an_equal_row_takes_no_neighbours_place() -> None:
    """The same pairs, however they came in."""
    rng = np.random.default_rng(10)
    vectors = np.concatenate([np.repeat(unit(rng, 1), 40, axis=0), unit(rng, 100)])
    fresh = np.zeros(140, np.bool_)
    fresh[[39, 139]] = True
    whole = near_pairs(vectors)
    before = near_pairs(vectors[~fresh])
    old = np.flatnonzero(~fresh).astype(np.int32)
    found = near_pairs(vectors, fresh=fresh, known=Pairs(old[before.first], old[before.second], before.similarity))
    assert as_set(found) == {pair for pair in as_set(whole) if fresh[list(pair)].any()}


@pytest.mark.parametrize("noise", [1e-8, 1e-3])
def test_a_flood_of_near_identical_rows_is_bounded(noise: float) -> None:
    """Their similarities tie to the last bit, or differ by next to nothing."""
    rng = np.random.default_rng(11)
    rows = np.repeat(unit(rng, 1, 32), 5000, axis=0) + rng.normal(size=(5000, 32)).astype(np.float32) * np.float32(noise)
    found = near_pairs(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    assert 5000 * NEIGHBOURS / 2 <= len(found.first) <= 5000 * NEIGHBOURS


def test_the_floor_is_what_one_of_a_hundred_pairs_reaches() -> None:
    assert floor(unit(np.random.default_rng(1), 49)) == -1
    vectors = unit(np.random.default_rng(2), 2000)
    least = floor(vectors)
    similar = vectors @ vectors.T
    assert 0.005 < (similar[np.triu_indices(2000, 1)] >= least).mean() < 0.015
    assert least == floor(vectors)


def test_who_is_told_may_stop_it() -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        near_pairs(unit(np.random.default_rng(3), 3000), progress=stop)
