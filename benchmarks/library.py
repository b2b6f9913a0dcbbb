"""Libraries and vectors made up: clustered as embeddings of photos are, in any number, without a picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from image_search.library.catalog import Catalog
from image_search.library.facts import checksum
from image_search.types import FileStat, Fingerprint, Float32, Preprocess

__all__ = ["CLASSES", "DIM", "DINO", "clusters", "make_library", "stats"]

DIM, CLASSES = 384, 200
CENTRES, INNER = 2000, 30  # clusters, and the dimensions in which they really lie
WITHIN, AMBIENT = 0.55, 0.25  # lengths of the noise inside a cluster, and of that in all dimensions; a centre's is 1
PART = 10_000

DINO = Fingerprint("dino", "facebook/dino-vits16", "main", "0" * 64, "cls", DIM, Preprocess(size=(224, 224)))
NOWHERE = FileStat(1, 1, 1, 1)


def clusters(count: int, dim: int = DIM, seed: int = 0) -> Iterator[Float32]:
    """`count` unit vectors in parts of at most 10,000. The same clusters for every `seed`, other vectors in them."""
    world, rng = np.random.default_rng(0), np.random.default_rng([1, seed])
    centres = world.normal(size=(CENTRES, INNER)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    spread = (world.normal(size=(INNER, dim)) / np.sqrt(dim)).astype(np.float32)  # keeps lengths
    for start in range(0, count, PART):
        n = min(PART, count - start)
        inner = centres[rng.integers(0, CENTRES, n)] + rng.standard_normal((n, INNER), np.float32) * np.float32(WITHIN / INNER**0.5)
        vectors = inner @ spread + rng.standard_normal((n, dim), np.float32) * np.float32(AMBIENT / dim**0.5)
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def stats(paths: Sequence[Path]) -> list[FileStat]:
    """As the scan sees them."""
    found = map(os.lstat, paths)
    return [FileStat(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in found]


def _facts(n: int) -> tuple[int, int, str, str]:
    """Width, height, format and capture date; one of ten pictures says no date."""
    width, height = ((640, 480), (4032, 3024))[n % 2]
    date = f"{2005 + n % 20}-{n % 12 + 1:02}-{n % 28 + 1:02}T{n % 24:02}:{n % 60:02}:00"
    return width, height, ("JPEG", "JPEG", "HEIF", "PNG")[n % 4], "" if n % 10 == 0 else date


def make_library(
    folder: Path,
    images: int,
    *,
    model: Fingerprint = DINO,
    canonical: Float32 | None = None,
    store: str = "exact",
    root: Path = Path("/nowhere/pictures"),
    files: Sequence[tuple[Path, FileStat]] = (),
    classes: Sequence[str] = tuple(f"class {n}" for n in range(CLASSES)),
) -> None:
    """A library of that many images, written as `index` would have.

    Args:
        canonical: float32 (8, D), the model's own, where pictures will be searched with it.
        store: "exact" (none) or "chroma", to be made with `rebuild` or the next `index`.
        root, files: real files below `root`, which the next `index` then finds unchanged; none: made-up names.
        classes: given to the images in turn.
    """
    catalog = Catalog.create(folder, model, next(clusters(8, model.dim, seed=1)) if canonical is None else canonical)
    catalog.set_meta("store", store)
    catalog.set_meta("runtime", "onnx (cpu)")
    with catalog.transaction() as generation:
        catalog.execute("INSERT INTO roots (id, path) VALUES (1, ?)", (os.fsencode(root),))
        start = 0
        for vectors in clusters(images, model.dim):
            blobs = [(start + n, vector.astype("<f4").tobytes()) for n, vector in enumerate(vectors)]
            catalog.execute_many(
                "INSERT INTO content (id, sha256, vector, checksum, width, height, format, captured) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(n + 1, n.to_bytes(32, "big"), blob, checksum(blob), *_facts(n)) for n, blob in blobs],
            )
            rows = []
            for n, _ in blobs:
                name, path, stat = classes[n % len(classes)], f"{n % CLASSES}/{n}.jpg", NOWHERE
                if files:
                    path, stat = files[n][0].relative_to(root).as_posix(), files[n][1]
                    name = files[n][0].parent.name
                rows.append((n + 1, path.encode(), name, n + 1, stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, generation))
            catalog.execute_many(
                "INSERT INTO files (id, root_id, path, name, state, content_id, size, mtime_ns, ctime_ns, inode, generation)"
                " VALUES (?, 1, ?, ?, 'present', ?, ?, ?, ?, ?, ?)",
                rows,
            )
            start += len(vectors)
    sample = np.sort(np.random.default_rng(0).uniform(0.3, 0.9, 1000)).astype("<f4")
    catalog.set_meta("closeness", sample.tobytes())
    catalog.close()
