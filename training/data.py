"""The training pictures and all that is known of them, a folder for each 2,000: made once by `training.prepare`, put together here.

N pictures, M crops (the first N are the whole pictures), S = Config.store_side. A part, WORK/parts/NAME/, n pictures and m crops:
    pixels.u8     (n, S, S, 3) uint8 RGB, each whole picture squashed to S x S (bilinear), as the shipped model sees it
    pictures.npy  (m,) int64, which picture a crop is of; the first n are 0 .. n-1
    boxes.npy     (m, 4) float32, a crop's left, top, right, bottom as shares of the picture; the first n are 0, 0, 1, 1
    v1.f16        (m, 1024) float16, what the teachers say of the crop
    v2.f16        (m, 1280) float16
    looks.f16     (m, 281) float16, its colours and its texture (see looks.py)
    names.json    [[source, label], ...], n of them

Pictures to be left out stand in WORK/left-out.json, [[NAME, row], ...] (see dedupe.py).
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.config import Config

FEATURES = {"v1": 1024, "v2": 1280, "looks": 281}


@dataclass(frozen=True)
class Pictures:
    parts: list[Path]
    stores: list[npt.NDArray[np.uint8]]  # a memory map (n, S, S, 3) a part
    starts: npt.NDArray[np.int64]  # (parts + 1,), row of each part's first picture
    owners: npt.NDArray[np.int64]  # (M,), the picture that each crop is of
    boxes: npt.NDArray[np.float32]  # (M, 4)
    order: npt.NDArray[np.int64]  # (M,), place of each crop when the parts' crops are put one after the other
    labels: npt.NDArray[np.int64]  # (N,), within the picture's source
    sources: npt.NDArray[np.int64]  # (N,), index into `names`
    usable: npt.NDArray[np.bool_]  # (N,)
    names: list[tuple[str, list[str]]]  # [(source, labels), ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> list[int]:
        """How many labels each source has."""
        return [len(labels) for _, labels in self.names]

    def pixels(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """(B,) -> (B, S, S, 3)"""
        out = np.empty((len(rows), *self.stores[0].shape[1:]), np.uint8)
        places = np.searchsorted(self.starts, rows, side="right") - 1
        for i, (row, place) in enumerate(zip(rows, places, strict=True)):
            out[i] = self.stores[place][row - self.starts[place]]
        return out

    def features(self, kind: str) -> npt.NDArray[np.float16]:
        """(M, F): "v1", "v2" or "looks" of every crop."""
        read = [np.fromfile(part / f"{kind}.f16", np.float16).reshape(-1, FEATURES[kind]) for part in self.parts]
        return np.concatenate(read)[self.order]


def load(work: Path, side: int = Config.store_side, without: Collection[str] = (), only: Collection[str] | None = None) -> Pictures:
    """All parts that are ready (or those named in `only`), but for the pictures of the sources `without`."""
    folders = sorted(folder for folder in (work / "parts").iterdir() if not folder.name.endswith(".new"))
    folders = [folder for folder in folders if only is None or folder.name in only]
    named = {folder: json.loads((folder / "names.json").read_text()) for folder in folders}
    parts = [folder for folder in folders if any(source not in without for source, _ in named[folder])]
    pairs = [(source, label) for part in parts for source, label in named[part]]
    starts = np.cumsum([0, *(len(named[part]) for part in parts)])
    stores: list[npt.NDArray[np.uint8]] = [
        np.memmap(part / "pixels.u8", np.uint8, "r", shape=(len(named[part]), side, side, 3)) for part in parts
    ]
    owners = np.concatenate([np.load(part / "pictures.npy") + start for part, start in zip(parts, starts, strict=False)])
    first = np.concatenate([np.arange(len(np.load(part / "pictures.npy"))) < len(named[part]) for part in parts])
    order = np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)])
    boxes = np.concatenate([np.load(part / "boxes.npy") for part in parts])
    inside: dict[str, dict[str, int]] = {}
    for source, label in sorted(set(pairs)):
        inside.setdefault(source, {})[label] = len(inside.get(source, {}))
    place = {source: i for i, source in enumerate(inside)}
    usable = np.array([source not in without for source, _ in pairs])
    out = json.loads((work / "left-out.json").read_text()) if (work / "left-out.json").exists() else []
    begin = {part.name: start for part, start in zip(parts, starts, strict=False)}
    usable[[begin[part] + row for part, row in out if part in begin]] = False
    return Pictures(
        parts=parts,
        stores=stores,
        starts=starts,
        owners=owners[order],
        boxes=boxes[order],
        order=order,
        labels=np.array([inside[source][label] for source, label in pairs], np.int64),
        sources=np.array([place[source] for source, _ in pairs], np.int64),
        usable=usable,
        names=[(source, list(labels)) for source, labels in inside.items()],
    )


def drawn(usable: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.int64]:
    """Rows of `count` of the usable ones, or of all if they are fewer; by chance, always the same, rising."""
    rows = np.flatnonzero(usable)
    return np.sort(np.random.default_rng(0).choice(rows, min(len(rows), count), replace=False))


def save(part: Path, pixels: npt.NDArray[np.uint8], names: list[tuple[str, str]], crops: dict[str, npt.NDArray[np.generic]]) -> None:
    """Lay one part down, all of it or nothing. `crops`: "pictures", "boxes", and the float16 features by their kind."""
    new = part.with_name(f"{part.name}.new")
    new.mkdir(parents=True, exist_ok=True)
    pixels.tofile(new / "pixels.u8")
    for kind, values in crops.items():
        if kind in FEATURES:
            values.astype(np.float16).tofile(new / f"{kind}.f16")
        else:
            np.save(new / f"{kind}.npy", values)
    (new / "names.json").write_text(json.dumps(names))
    new.rename(part)


def raw_pictures(file: Path) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(1024, columns=["image"]):
        yield from batch.column(0).to_pylist()


def squash(raw: bytes, side: int) -> npt.NDArray[np.uint8]:
    """Encoded picture -> uint8 (side, side, 3), proportions given up."""
    from PIL import Image

    with Image.open(io.BytesIO(raw)) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
