"""`image_search.testing` is what it says: quick, and in everything else like the real thing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile import encoded, make_hostile, scene
from pictures import fill

from image_search.config import Limits
from image_search.errors import ImageSearchError, SkipReason, UsageError
from image_search.images.pool import DecodePool
from image_search.testing import InProcessPool, QuickModel, quick_engine
from image_search.types import Decoded, Embedder, Preprocess, Region

RECIPE = Preprocess(size=None, shortest_edge=40, crop=(32, 32))
SMALL = Limits(megapixels=1, file_bytes=1 << 20)


def test_the_model_keeps_the_protocol_and_its_bits() -> None:
    model: Embedder = QuickModel()
    assert isinstance(model, Embedder)
    pixels = np.random.default_rng(0).integers(0, 256, (5, *model.fingerprint.preprocess.output_size, 3), dtype=np.uint8)
    vectors = model.embed(pixels)
    assert vectors.shape == (5, model.fingerprint.dim) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert all(np.array_equal(model.embed(pixels[n : n + 1])[0], vectors[n]) for n in range(5))  # whatever its neighbours
    script = (
        "import numpy as np; from image_search.testing import QuickModel;"
        "print(QuickModel().embed(np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)).tobytes().hex())"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == vectors.tobytes().hex()
    assert np.isfinite(model.embed(np.stack([np.full((16, 16, 3), n, np.uint8) for n in range(256)]))).all()


def outcome(call: Callable[[], Decoded]) -> object:
    """What a call gave or raised, with all that it says, to be compared."""
    try:
        return told(call())
    except ImageSearchError as error:
        return told(error)


def told(result: Decoded | ImageSearchError) -> object:
    if isinstance(result, Decoded):
        pixels = None if result.pixels is None else (result.pixels.shape, result.pixels.tobytes())
        return result.sha256, pixels, result.width, result.height, result.format, result.thumbnail, result.stat
    return type(result), str(result), vars(result)


def test_in_process_is_as_in_the_cage(tmp_path: Path) -> None:
    """Pixels, thumbnails, facts, reasons and words."""
    hurts = {SkipReason.TOOK_TOO_LONG, SkipReason.TOO_MUCH_MEMORY, SkipReason.CRASHED}  # these need the cage
    expected = {name: may for name, may in make_hostile(tmp_path / "h", count=200, seed=3).items() if not hurts & may}
    assert len(expected) > 100
    fill(tmp_path / "p", 2)
    paths = [str(path) for path in (tmp_path / "p").rglob("*.*")] + [str(tmp_path / "h" / name) for name in expected]
    with DecodePool(2, RECIPE, limits=SMALL, thumbnail_side=24) as cage, InProcessPool(2, RECIPE, limits=SMALL, thumbnail_side=24) as here:
        caged, plain = ({path: told(result) for path, result in pool.decode_each(paths)} for pool in (cage, here))
        assert caged == plain and set(plain) == set(paths)
        data = encoded(scene(100, 60), "JPEG", quality=90)
        for call in (
            lambda pool: pool.decode(data),
            lambda pool: pool.decode(data, region=Region(10, 5, 40, 30)),
            lambda pool: pool.decode(data, region=Region(90, 5, 40, 30)),
            lambda pool: pool.decode(data, known=lambda digest: True),
            lambda pool: pool.decode(data, known=lambda digest: len(digest) != 32),
            lambda pool: pool.decode(bytes(2 << 20)),
            lambda pool: pool.decode("no such file"),
            lambda pool: pool.decode("a\0b"),
            lambda pool: pool.decode(str(tmp_path)),
        ):
            assert outcome(lambda call=call: call(here)) == outcome(lambda call=call: call(cage))
        pictures = [pool.picture(data, max_side=50, region=Region(0, 0, 60, 60)) for pool in (cage, here)]
        assert pictures[0].pixels.tobytes() == pictures[1].pixels.tobytes() and pictures[0][1:] == pictures[1][1:]


def test_in_process_starts_nothing_and_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)  # a try would raise
    with pytest.raises(UsageError, match="at least one"):
        InProcessPool(0, RECIPE)
    with InProcessPool(1, RECIPE) as pool:
        assert pool.decode(encoded(scene(50, 40), "PNG")).width == 50
    with pytest.raises(ImageSearchError, match="the decoder is closed"):
        pool.decode(encoded(scene(50, 40), "PNG"))


def test_a_quick_engine_is_an_engine(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    library = tmp_path / "library"
    with quick_engine(library) as engine:
        assert engine.index(photos, progress=False).added == 12
        query = next(photos.rglob("*.*"))
        best = engine.search(query, n_results=2)
        assert (best[0].path, best[0].identical) == (os.fspath(query), True) and best[1].similarity < 1
        engine.close()
        assert [match.path for match in engine.search(query, n_results=2)] == [match.path for match in best]
    with quick_engine(library) as engine:
        assert engine.status()["model"] == "quick"
        assert engine.index(photos, progress=False).unchanged == 12
