"""What a very large collection takes: `python -m benchmarks.scale [--images 50e6] [--model mini|dino] [--machines 8 --cpus 16]`.

Hours, storage, memory and machines for 1 M, 100 M and 10 G pictures (or one number of yours), from rates that were measured: the CPU
milliseconds of decoding and model (docs/performance.md), the bytes of a data set and of index structures (the notes beside them). A
GPU's rate is asked for (`--gpu-rate`): those of one card are in docs/performance.md. `--check FOLDER` measures 100 and 400 pictures of a
folder, predicts what 1,600 take by the same formulas, runs them, and says how far off that was.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from image_search import embed_dataset
from image_search.config import BLOCK_IMAGES, DATASET_LISTERS, MANIFEST_BLOCKS

SIZES = (1e6, 100e6, 10e9)
DIMS = {"mini": 256, "dino": 384}
# CPU ms of one core, docs/performance.md, "Figures": the model, and decoding of 2 and 12 megapixels without a thumbnail
MODEL_MS = {"mini": 9.1, "dino": 97.6}
DECODE_MS = {"2 MP": 7.01, "12 MP": 26.5}
# Bytes of one picture beside its 4 bytes a number: `--check` on photos of 0.07 MP with paths of 60 letters
ROW_BYTES, LIST_BYTES = 80.0, 25.0
DRIVER_BYTES = 340  # of the driver's memory while the list is sorted and cut: between 100,000 and 1,000,000 uris of 55 letters
LIST_PAGE, LIST_PAGE_SECONDS = 1000, 0.05  # keys of an answer of S3; 50 ms is what such a request takes as a rule, not measured here
# Bytes a vector in memory, by dimension: HNSW with 16 links; 8 bits and an id; 1 bit and an id (100,000 × 384 with FAISS: 40.0 and 6.8 MB)
HNSW, SQ8, RABITQ = (lambda dim: 4 * dim + 140), (lambda dim: dim + 16), (lambda dim: dim / 8 + 20)
EXACT_MS, EXACT_BYTES = 60.1 / 1e6, 1817e6 / 1e6  # an exact search, CPU ms an image, 256 numbers; a search's peak memory, 384 numbers


@dataclass(frozen=True)
class Rates:
    """Of one picture: CPU milliseconds; bytes of blocks, of lists."""

    cpu_ms: float
    row_bytes: float
    list_bytes: float


@dataclass(frozen=True)
class Prediction:
    """CPU hours; bytes of all blocks and of the lists; how many blocks, manifests; pages of a bucket's listing, hours for these."""

    cpu_hours: float
    bytes: float
    list_bytes: float
    blocks: float
    manifests: float
    pages: float
    list_hours: float


def predicted(images: float, rates: Rates, block: int = BLOCK_IMAGES) -> Prediction:
    pages = images / LIST_PAGE
    blocks = max(1.0, images / block)
    return Prediction(
        cpu_hours=images * rates.cpu_ms / 3.6e6,
        bytes=images * rates.row_bytes,
        list_bytes=images * rates.list_bytes,
        blocks=blocks,
        manifests=max(1.0, blocks / MANIFEST_BLOCKS),
        pages=pages,
        list_hours=pages * LIST_PAGE_SECONDS / 3600,
    )


def engine_for(images: float, dim: int) -> tuple[str, float]:
    """(which kind of search, bytes of memory for it)."""
    if images <= 1e6:
        return "a library, exact", images * EXACT_BYTES * dim / 384
    if images <= 10e6:
        return "Chroma, or Milvus HNSW", images * HNSW(dim)
    if images <= 20e6:
        return "Milvus, HNSW", images * HNSW(dim)
    if images <= 200e6:
        return "Milvus, IVF_SQ8", images * SQ8(dim)
    return "Milvus, IVF_RABITQ + refine", images * RABITQ(dim)


def breaks_first(images: float) -> str:
    """What is the first to give way, and what then."""
    if images <= 1e6:
        return "nothing: one machine, one night"
    if images <= 20e6:
        return "a library's exact search; then a store with an index"
    if images <= 200e6:
        return "listing one prefix, HNSW's memory, the driver's list; then a list per part, IVF_SQ8"
    return "the list in one driver's memory; then data sets by parts of 100 M, and codes of 1 bit"


def size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


def number(count: float) -> str:
    return f"{count:,.0f}" if count >= 10 else f"{count:.2g}"


def table(sizes: tuple[float, ...], asked: argparse.Namespace) -> Iterator[str]:
    dim = DIMS[asked.model]
    gpu = asked.gpu_rate > 0
    cpu_ms = DECODE_MS[asked.size] + (0 if gpu else MODEL_MS[asked.model])
    rates = Rates(cpu_ms, 4 * dim + ROW_BYTES, LIST_BYTES)
    found = [predicted(images, rates) for images in sizes]
    cores = asked.machines * asked.cpus
    hours = [
        max(one.cpu_hours / cores, images / asked.gpu_rate / asked.machines / 3600 if gpu else 0)
        for one, images in zip(found, sizes, strict=True)
    ]
    yield f"{asked.model}, {asked.size} JPEGs, {asked.machines} machines of {asked.cpus} CPUs" + (
        f" and a GPU of {asked.gpu_rate:g} pictures/s" if gpu else ""
    )
    rows: list[tuple[str, list[str]]] = [
        ("pictures", [number(images) for images in sizes]),
        ("CPU hours" + (", decoding" if gpu else ""), [number(one.cpu_hours) for one in found]),
        ("hours on these machines", [number(one) for one in hours]),
        ("listing one prefix, pages", [number(one.pages) for one in found]),
        ("hours of that, one page after the other", [number(one.list_hours) for one in found]),
        (f"the same, {DATASET_LISTERS} at once", [number(one.list_hours / DATASET_LISTERS) for one in found]),
        ("requests for reading (HEAD, GET, HEAD)", [number(3 * images) for images in sizes]),
        ("blocks = requests for writing", [number(one.blocks) for one in found]),
        ("the data set", [size(one.bytes) for one in found]),
        ("its lists", [size(one.list_bytes) for one in found]),
        ("the list in the driver's memory", [size(DRIVER_BYTES * images) for images in sizes]),
        ("search by", [engine_for(images, dim)[0] for images in sizes]),
        ("memory for that", [size(engine_for(images, dim)[1]) for images in sizes]),
        (f"machines of {asked.memory} GB for that", [number(-(-engine_for(images, dim)[1] // (asked.memory * 0.7e9))) for images in sizes]),
        ("HNSW would take", [size(images * HNSW(dim)) for images in sizes]),
        ("breaks first", [breaks_first(images) for images in sizes]),
    ]
    yield ""
    yield "| | " + " | ".join(rows[0][1]) + " |"
    yield "|---" * (len(sizes) + 1) + "|"
    yield from (f"| {name} | {' | '.join(values)} |" for name, values in rows[1:])


@dataclass(frozen=True)
class Measured:
    cpu: float
    bytes: int
    list_bytes: int
    blocks: int


def run(pictures: list[Path], model: str) -> Measured:
    """One process, one thread of the model, one decoder."""
    with tempfile.TemporaryDirectory() as place:
        lines = ["uri,name", *(f"{path},{path.parent.name}" for path in pictures)]
        (Path(place) / "list.csv").write_text("\n".join(lines))
        began = time.process_time() + _children()
        report = embed_dataset(uris=f"{place}/list.csv", out=f"{place}/out", model=model, jobs=1, block_images=100, progress=False)
        cpu = time.process_time() + _children() - began
        weigh = {folder: sum(file.stat().st_size for file in Path(place, "out", folder).iterdir()) for folder in ("blocks", "list")}
        return Measured(cpu, weigh["blocks"], weigh["list"], report.blocks)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check(folder: Path, model: str) -> Iterator[str]:
    """Predicted from small runs, and run."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    few, some, many = (list(islice(files[:: max(1, len(files) // count)], count)) for count in (100, 400, 1600))
    run(few, model)  # what is done once for all runs
    first, second = run(few, model), run(some, model)
    more = len(some) - len(few)
    per = Rates(1000 * (second.cpu - first.cpu) / more, (second.bytes - first.bytes) / more, (second.list_bytes - first.list_bytes) / more)
    start, fixed = first.cpu - len(few) * per.cpu_ms / 1000, first.bytes - len(few) * per.row_bytes
    yield f"measured on {more}: {per.cpu_ms:.1f} CPU ms, {per.row_bytes:.0f} bytes, {per.list_bytes:.1f} bytes of the list a picture"
    said, done = predicted(len(many), per, 100), run(many, model)
    yield f"\n| {len(many):,} pictures, {model} | predicted | measured | off |\n|---|---|---|---|"
    pairs = [
        ("CPU s", said.cpu_hours * 3600 + start, done.cpu),
        ("bytes of blocks", said.bytes + fixed, done.bytes),
        ("bytes of the list", said.list_bytes + first.list_bytes - len(few) * per.list_bytes, done.list_bytes),
        ("blocks", said.blocks, done.blocks),
    ]
    for name, before, after in pairs:
        yield f"| {name} | {before:,.1f} | {after:,.1f} | {abs(before / after - 1):.1%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=float)
    parser.add_argument("--model", choices=DIMS, default="dino")
    parser.add_argument("--size", choices=DECODE_MS, default="2 MP", help="of the JPEGs")
    parser.add_argument("--machines", type=int, default=8)
    parser.add_argument("--cpus", type=int, default=16, help="of each machine")
    parser.add_argument("--memory", type=int, default=64, help="GB of each machine that searches")
    parser.add_argument("--gpu-rate", type=float, default=0, help="pictures a second of one GPU; each machine has one")
    parser.add_argument("--check", type=Path, metavar="FOLDER")
    asked = parser.parse_args()
    lines = check(asked.check, asked.model) if asked.check else table((asked.images,) if asked.images else SIZES, asked)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
