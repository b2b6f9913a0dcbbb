"""Run after `mini.onnx` was replaced: writes its canonical vectors for the tests and prints what its row must say.

    python -m training.renew_mini

Steps: src/image_search/models/mini/README.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from image_search.models import canonical_vectors, resolve
from image_search.models.find import find
from image_search.models.load import open_row

CANONICAL = Path(__file__).resolve().parents[1] / "tests" / "mini_canonical.npy"


def main() -> None:
    row = resolve("mini")
    files = find(row, "onnx")
    if files is None:
        raise SystemExit("mini.onnx is not in its place")
    content = files.weights[0].read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    np.save(CANONICAL, canonical_vectors(open_row(replace(row, sha256=digest), runtime="onnx")))
    print(f'sha256="{digest}",\nmegabytes={len(content) / 1e6:.1f},')


if __name__ == "__main__":
    main()
