"""On real photos: the whole program answers as the model's own vectors do, and the store as exact search does."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from image_search import ImageSearchEngine
from image_search.evaluate.metrics import leave_one_out
from image_search.images.pool import DecodePool
from image_search.models import load_model


def compare(folder: Path, library: Path) -> None:
    paths = sorted(str(p) for p in folder.rglob("*.jpg"))
    names = [Path(p).parent.name for p in paths]
    with contextlib.closing(load_model("mini")) as model, DecodePool(2, model.fingerprint.preprocess) as pool:
        decoded = dict(pool.decode_each(paths))
        vectors = np.concatenate([model.embed(decoded[p].pixels[None]) for p in paths])
    by_model = leave_one_out(vectors, names)

    with ImageSearchEngine(library, model="mini", store="chroma") as engine:
        report = engine.index(folder, progress=False)
        assert (report.added, report.skipped) == (len(paths), [])
        right = same = 0
        for path, name in zip(paths, names, strict=True):
            exact = engine.search(path, 11, how="exact")
            right += names.count(name) > 1 and next(m for m in exact if m.path != path).name == name
            near = engine.search(path, 11, how="store")
            # Equal similarities may be cut off anywhere: what counts is how near, not which of the equals.
            same += [round(m.similarity, 6) for m in exact[:10]] == [round(m.similarity, 6) for m in near[:10]]
        assert right == round(by_model.k1 * by_model.queries)
        assert same / len(paths) >= 0.995


def test_some_photos(in_process: None, shared: Path, tmp_path: Path) -> None:
    photos = sorted((shared / "eval" / "clothing").rglob("*.jpg"))
    for photo in random.Random(1).sample(photos, 70):
        (tmp_path / "photos" / photo.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, tmp_path / "photos" / photo.parent.name)
    compare(tmp_path / "photos", tmp_path / "library")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clothing", "grocery"])
def test_whole_sets(shared: Path, tmp_path: Path, name: str) -> None:
    compare(shared / "eval" / name, tmp_path / "library")
