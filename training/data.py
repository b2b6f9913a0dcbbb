"""The training pictures, decoded once into one uint8 array on disk, with labels and sources beside it.

    python -m training.data --data DATA --work DIR

N pictures, S = Config.store_side. Files in DIR:
    pictures.u8   (N, S, S, 3) uint8 RGB, each whole picture squashed to S x S (bilinear), as the shipped model will see it
    labels.npy    (N,) int64, 0..K-1 within the picture's source
    sources.npy   (N,) int64, index into `names.json`
    usable.npy    (N,) bool, False: does not decode, or is (nearly) an evaluation picture (see dedupe.py)
    names.json    [[source, [label, ...]], ...]
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.config import Config


@dataclass(frozen=True)
class Pictures:
    pixels: npt.NDArray[np.uint8]  # (N, S, S, 3), a memory map
    labels: npt.NDArray[np.int64]  # (N,)
    sources: npt.NDArray[np.int64]  # (N,)
    usable: npt.NDArray[np.bool_]  # (N,)
    names: list[tuple[str, list[str]]]

    @property
    def classes(self) -> list[int]:
        """How many labels each source has."""
        return [len(labels) for _, labels in self.names]


def load(work: Path, side: int = Config.store_side) -> Pictures:
    labels = np.load(work / "labels.npy")
    pixels = np.memmap(work / "pictures.u8", np.uint8, "c", shape=(len(labels), side, side, 3))  # "c": torch wants it writable
    names = [(source, list(inside)) for source, inside in json.loads((work / "names.json").read_text())]
    return Pictures(pixels, labels, np.load(work / "sources.npy"), np.load(work / "usable.npy"), names)


def save(work: Path, pixels: npt.NDArray[np.uint8], labels: list[str], sources: list[str], usable: npt.NDArray[np.bool_]) -> None:
    """Lay a data set down in the form that `load` reads (`pictures.u8` may be there already: then pass it as the memory map)."""
    if not (work / "pictures.u8").exists():
        pixels.tofile(work / "pictures.u8")
    names = [(source, sorted({b for a, b in zip(sources, labels, strict=True) if a == source})) for source in sorted(set(sources))]
    place = {source: i for i, (source, _) in enumerate(names)}
    inside = [{label: i for i, label in enumerate(known)} for _, known in names]
    np.save(work / "sources.npy", np.array([place[source] for source in sources], np.int64))
    np.save(work / "labels.npy", np.array([inside[place[a]][b] for a, b in zip(sources, labels, strict=True)], np.int64))
    np.save(work / "usable.npy", usable)
    (work / "names.json").write_text(json.dumps(names))


def raw_pictures(file: Path) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(1024, columns=["image"]):
        yield from batch.column(0).to_pylist()


def squash(raw: bytes, side: int) -> npt.NDArray[np.uint8]:
    """Encoded picture -> uint8 (side, side, 3), proportions given up."""
    from PIL import Image

    with Image.open(io.BytesIO(raw)) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def _decode(task: tuple[Path, Path, int, int, int]) -> list[int]:
    """One parquet file into its rows of the memory map; returns the rows that do not decode."""
    file, target, start, count, side = task
    rows = np.memmap(target, np.uint8, "r+", shape=(count, side, side, 3))
    bad = []
    for i, raw in enumerate(raw_pictures(file), start):
        try:
            rows[i] = squash(raw, side)
        except Exception:
            bad.append(i)
    rows.flush()
    return bad


def main() -> None:
    import pyarrow.parquet as pq

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train/*.parquet")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    side = Config.store_side
    args.work.mkdir(parents=True, exist_ok=True)
    files = sorted((args.data / "train").glob("*.parquet"))
    tables = [pq.read_table(file, columns=["label", "source"]) for file in files]
    counts = [table.num_rows for table in tables]
    starts = np.cumsum([0, *counts])
    total = int(starts[-1])
    target = args.work / "pictures.u8"
    started = time.time()
    np.memmap(target, np.uint8, "w+", shape=(total, side, side, 3)).flush()
    tasks = [(file, target, int(start), total, side) for file, start in zip(files, starts, strict=False)]
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        bad = [i for part in pool.imap_unordered(_decode, tasks) for i in part]
    usable = np.ones(total, bool)
    usable[bad] = False
    pixels = np.memmap(target, np.uint8, "r", shape=(total, side, side, 3))
    labels = [label for table in tables for label in table["label"].to_pylist()]
    sources = [source for table in tables for source in table["source"].to_pylist()]
    save(args.work, pixels, labels, sources, usable)
    print(f"{total} pictures, {len(bad)} do not decode, {time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
