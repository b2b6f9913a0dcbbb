"""Measuring a model on one's own folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from inprocess import Answer
from pictures import fill, picture

from image_search import ImageSearchEngine, UsageError
from image_search.evaluate import run as evaluating
from image_search.evaluate.distortions import DISTORTIONS
from image_search.evaluate.metrics import leave_one_out
from image_search.evaluate.run import Evaluation, evaluate
from image_search.present.table import evaluation_table


def test_the_figures_are_those_of_the_model_s_vectors(real_engine: ImageSearchEngine, photos: Path) -> None:
    (photos / "circle" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    seen: list[tuple[str, int, int]] = []
    (found,) = evaluate(photos, ["mini"], progress=lambda *step: seen.append(step))
    paths = sorted(photos.rglob("*.png"))
    expected = leave_one_out(real_engine.embed(paths), [p.parent.name for p in paths])
    assert (found.k1, found.k5, found.p10, found.map100) == pytest.approx((expected.k1, expected.k5, expected.p10, expected.map100))
    assert (found.images, found.classes, found.skipped, found.dim) == (12, 3, 1, real_engine.embed(paths[0]).shape[1])
    assert found.store_recall10 == 1.0
    assert set(found.copies) == {"mean", *DISTORTIONS} and found.copies["JPEG q10"] >= 0.5
    assert found.decode_ms > 0.3 and found.embed_ms > 0  # the workers are counted, too
    assert seen[-1] == ("mini: copies", 12, 12)


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_copies_are_changed_but_the_same_picture(kind: str) -> None:
    original = picture("circle", 1)
    copy = DISTORTIONS[kind](original, np.random.default_rng(1))
    assert copy.mode == "RGB" and copy.tobytes() != original.tobytes()
    share = (copy.width * copy.height) / (original.width * original.height)
    assert share == pytest.approx(0.6 if kind == "crop 60 %" else 1, abs=0.02)


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with pytest.raises(UsageError, match="at least two sub-folders"):
        evaluate(tmp_path, ["mini"])
    with pytest.raises(UsageError, match="no such folder"):
        evaluate(tmp_path / "absent", ["mini"])


def test_the_command(run: Callable[..., Answer], photos: Path) -> None:
    answer = run("evaluate", photos, "--model", "mini", "--json")
    (found,) = json.loads(answer.out)
    assert answer.code == 0 and found["images"] == 12
    table = evaluation_table([Evaluation(**found)]).splitlines()
    assert table[0].split()[:4] == ["model", "images", "classes", "k1"] and table[1].split()[:3] == ["mini", "12", "3"]


def test_a_folder_without_pictures_is_told_before_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "load_model", lambda *a, **k: pytest.fail("loaded for nothing"))
    with pytest.raises(UsageError, match="at least two sub-folders"):
        evaluating.evaluate(tmp_path, ["mini"])
