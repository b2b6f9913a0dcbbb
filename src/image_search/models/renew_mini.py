"""Run after `mini/mini.onnx` was replaced: writes its canonical vectors and prints what its row must say. Steps: mini/README.md."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from . import resolve
from .onnx import open_onnx
from .vectors import canonical_pictures

FOLDER = Path(__file__).parent / "mini"


def main() -> None:
    row = resolve("mini")
    path = FOLDER / str(row.onnx_file)
    model = path.read_bytes()
    digest = hashlib.sha256(model).hexdigest()
    if row.preprocess is None:
        raise SystemExit("the row mini must say its preprocess")
    embedder = open_onnx(
        model, path, name=row.name, source=row.source, revision="", weights_sha256=digest, preprocess=row.preprocess, output=row.output
    )
    np.save(FOLDER / "canonical.npy", embedder.embed(canonical_pictures(row.preprocess)))
    print(f'sha256="{digest}",\nmegabytes={len(model) / 1e6:.1f},')


if __name__ == "__main__":
    main()
