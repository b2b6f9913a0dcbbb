"""Several queries become one vector."""

from __future__ import annotations

import numpy as np
import pytest

from image_search.errors import UsageError
from image_search.search.blend import Part, blend


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


def never() -> tuple[np.ndarray, np.ndarray]:
    raise AssertionError("pictures alone need no centres")


def test_one_query_is_asked_as_it_is() -> None:
    for words in (False, True):
        assert blend([Part(unit(1, 2, 3), words)], never) is not None
        np.testing.assert_array_equal(blend([Part(unit(1, 2, 3), words)], never), unit(1, 2, 3))


def test_pictures_among_themselves_are_a_mean_less_half_the_others() -> None:
    found = blend([Part(unit(1, 0, 0)), Part(unit(0, 1, 0)), Part(unit(0, 0, 1), less=True)], never)
    np.testing.assert_allclose(found, unit(0.5, 0.5, -0.5), atol=1e-6)


def test_weights() -> None:
    found = blend([Part(unit(1, 0)), Part(unit(0, 1), weight=3.0)], never)
    np.testing.assert_allclose(found, unit(1, 3), atol=1e-6)


def test_a_picture_and_words_weigh_equally_however_far_their_cones_lie_apart() -> None:
    rng = np.random.default_rng(3)
    dim, picture_centre, word_centre = 64, rng.normal(size=64), rng.normal(size=64)
    for spread in (0.02, 0.5):  # words lie much closer together than pictures do
        of_pictures = [unit(*(picture_centre + rng.normal(size=dim))) for _ in range(200)]
        of_words = [unit(*(word_centre + spread * rng.normal(size=dim))) for _ in range(200)]
        centres = np.mean(of_pictures, axis=0), np.mean(of_words, axis=0)
        wanted = blend([Part(of_pictures[0]), Part(of_words[0], words=True)], lambda centres=centres: centres)
        shares = [float(wanted @ ((v - c) / np.linalg.norm(v - c))) for v, c in zip((of_pictures[0], of_words[0]), centres, strict=True)]
        assert shares[0] == pytest.approx(shares[1], abs=1e-5)


def test_what_cancels_out_is_told() -> None:
    with pytest.raises(UsageError, match="cancel each other out"):
        blend([Part(unit(1, 0)), Part(unit(-1, 0))], never)
