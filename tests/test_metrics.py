"""Retrieval figures, checked against a plain, slow reading of their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from image_search.evaluate import metrics
from image_search.evaluate.metrics import Retrieval, copies_found, leave_one_out


def slow(vectors: np.ndarray, labels: list[object]) -> Retrieval:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = []
    for q in range(len(unit)):
        order = sorted((i for i in range(len(unit)) if i != q), key=lambda i: (-float(np.float32(unit[q] @ unit[i])), i))
        right = [labels[i] == labels[q] for i in order]
        if not any(right):
            continue
        names = [labels[i] for i in order[:5]]
        winner = max(dict.fromkeys(names), key=names.count)  # the first of the most frequent
        precision = [sum(right[: i + 1]) / (i + 1) for i in range(min(100, len(order))) if right[i]]
        rows.append((right[0], winner == labels[q], np.mean(right[:10]), sum(precision) / min(sum(right), 100)))
    means = [float(x) for x in np.mean(rows, axis=0)]
    return Retrieval(*means, len(rows), len(unit) - len(rows))


def assert_equal(left: Retrieval, right: Retrieval) -> None:
    assert (left.queries, left.singletons) == (right.queries, right.singletons)
    assert [left.k1, left.k5, left.p10, left.map100] == pytest.approx([right.k1, right.k5, right.p10, right.map100], abs=1e-9)


@pytest.mark.parametrize(("count", "classes"), [(7, 3), (60, 4), (330, 2), (260, 40)])
def test_equals_the_definition(count: int, classes: int) -> None:
    dice = np.random.default_rng(count)
    labels = dice.integers(0, classes, count).tolist()
    vectors = (dice.normal(size=(count, 12)) + 1.5 * np.eye(64)[np.array(labels)][:, :12]).astype(np.float32)
    assert_equal(leave_one_out(vectors, labels), slow(vectors, labels))


def test_by_hand() -> None:
    # angles 0, 10, 20, 90 degrees; the first's neighbours in order: b, a, a
    angles = np.radians([0, 10, 20, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    found = leave_one_out(vectors, ["a", "b", "a", "a"])
    # average precision of the three a: 0: (1/2 + 2/3) / 2; 2: b first, then 0 and 3: the same; 3: 2, b, 0: (1 + 2/3) / 2
    assert found.map100 == pytest.approx(((1 / 2 + 2 / 3) / 2 * 2 + (1 + 2 / 3) / 2) / 3)
    assert found.k1 == pytest.approx(1 / 3)
    assert (found.queries, found.singletons) == (3, 1)


def test_divisor_is_at_most_100() -> None:
    dice = np.random.default_rng(1)
    vectors = dice.normal(size=(250, 4)).astype(np.float32)
    assert leave_one_out(vectors, ["same"] * 250) == Retrieval(1.0, 1.0, 1.0, 1.0, 250, 0)


def test_ties_go_to_the_lower_index() -> None:
    vectors = np.ones((300, 3), np.float32)  # everything equal
    labels = ["x"] * 2 + ["y"] * 298
    found = leave_one_out(vectors, labels)
    assert found.k1 == pytest.approx(2 / 300)  # the two x find each other; every y finds x first
    assert metrics.top(np.array([[0.5, 0.9, 0.5, 0.5]], np.float32), 2).tolist() == [[1, 0]]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(2)
    vectors, labels = dice.normal(size=(123, 8)).astype(np.float32), dice.integers(0, 5, 123)
    whole = leave_one_out(vectors, labels)
    monkeypatch.setattr(metrics, "_CHUNK_VALUES", 1000)
    assert_equal(leave_one_out(vectors, labels), whole)


def test_length_does_not_matter() -> None:
    dice = np.random.default_rng(3)
    vectors, labels = dice.normal(size=(50, 8)).astype(np.float32), dice.integers(0, 5, 50)
    scaled = vectors * (2.0 ** dice.integers(-3, 4, (50, 1))).astype(np.float32)
    assert leave_one_out(scaled, labels) == leave_one_out(vectors, labels)


def test_nothing_to_compare() -> None:
    assert leave_one_out(np.empty((0, 4), np.float32), []) == Retrieval(0, 0, 0, 0, 0, 0)
    assert leave_one_out(np.eye(3, dtype=np.float32), ["a", "b", "c"]) == Retrieval(0, 0, 0, 0, 0, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_refuses_unusable_vectors(bad: float) -> None:
    vectors = np.eye(3, dtype=np.float32)
    vectors[1] = bad
    with pytest.raises(ValueError, match="vector 1"):
        leave_one_out(vectors, ["a", "a", "a"])


def test_refuses_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="labels"):
        leave_one_out(np.eye(3, dtype=np.float32), ["a"])
    with pytest.raises(ValueError, match="N, D"):
        leave_one_out(np.ones(3, np.float32), ["a", "a", "a"])


def test_copies() -> None:
    originals = np.eye(4, dtype=np.float32)
    copies = originals[[2, 0, 3]] + 0.1
    assert copies_found(copies, originals, [2, 0, 3]) == 1.0
    assert copies_found(copies, originals, [2, 0, 1]) == pytest.approx(2 / 3)
    assert copies_found(copies[:0], originals, []) == 0.0
    with pytest.raises(ValueError, match="outside"):
        copies_found(copies, originals, [2, 0, 4])
    with pytest.raises(ValueError, match="copies"):
        copies_found(copies, originals, [2])
