"""A library of 100,000 images: added to, looked at again, searched; time and memory of the real commands. The rows "library", "memory".

Its files are small, its vectors made up (but for the last 2,000): neither matters to what is measured.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from image_search.library.catalog import Catalog
from image_search.models import canonical_pictures, load_model
from image_search.types import Embedder

from . import checkpoint, pictures
from .clock import Ended, run
from .library import make_library, stats
from .report import Row
from .setting import Setting

__all__ = ["command", "library", "make_searchable", "memory"]


def command(*words: str) -> Ended:
    """`image-search WORDS`"""
    return run([sys.executable, "-m", "image_search", *words])


def make_searchable(folder: Path, images: int, model: Embedder, **more: object) -> None:
    """A made-up library that pictures can be searched in: its model is real, its vectors are not."""
    canonical = model.embed(canonical_pictures(model.fingerprint.preprocess))
    make_library(folder, images, model=model.fingerprint, canonical=canonical, **more)  # type: ignore[arg-type]


def library(setting: Setting) -> Iterator[Row]:
    count, fresh = setting.size(100_000, 3_000), setting.size(2_000, 50)
    with tempfile.TemporaryDirectory(dir=setting.cache) as place:
        files, home = Path(place) / "files", Path(place) / "library"
        paths = pictures.tiny(files, count)
        known = list(zip(paths, stats(paths), strict=True))[: count - fresh]
        make_searchable(home, len(known), load_model("mini"), store="chroma", root=files.resolve(), files=known)
        added = command("index", str(files), "--library", str(home))
        said = " ".join(added.output.split())
        if f"added {fresh:,} unchanged {count - fresh:,}" not in said:
            raise RuntimeError(f"not {fresh} added: {said}")
        mib = 1024 * 1024
        yield Row(
            "library",
            f"memory of `index` up to {count:,} images",
            "MB, peaks of all its processes",
            added.peak_all / mib,
            goal=600 + 300 + 0.003 * count,
            note=f"its own process {added.peak / mib:.0f}; {fresh:,} files are embedded, the store is built; {added.cpu:.0f} CPU s",
        )
        again = [command("index", str(files), "--library", str(home)) for _ in range(setting.size(3, 1))]
        seconds = statistics.median(run.cpu for run in again)
        wall = statistics.median(run.wall for run in again)
        note = f"whole process; {wall:.1f} s wall; nothing is embedded"
        yield Row("library", f"second `index` over {count:,} unchanged files", "CPU s", seconds, goal=5, note=note)
        yield _read_vectors(home, count, setting)
        (photo,) = pictures.make(setting.cache, "2 MP", 1)
        searched = [command("search", str(photo), "--library", str(home)) for _ in range(setting.size(7, 2))]
        seconds = statistics.median(run.cpu for run in searched)
        note = f"a 2 MP JPEG, mini, with its decode worker; {statistics.median(run.wall for run in searched):.2f} s wall"
        yield Row("library", f"`search`, whole process, library of {count:,}", "CPU s", seconds, goal=0.7, note=note)
        most = max(run.peak_all for run in searched) / mib
        yield Row("library", f"memory of `search` at {count:,}, mini", "MB, peaks of all its processes", most, goal=500)


def _read_vectors(home: Path, count: int, setting: Setting) -> Row:
    """Catalog -> matrix, in this process."""
    from image_search.library.vectors import Vectors

    seconds = []
    with contextlib.closing(Catalog.open(home)) as catalog:
        for _ in range(setting.size(7, 3)):
            began = time.process_time()
            Vectors(catalog).refresh()
            seconds.append(time.process_time() - began)
        dim = catalog.dim
    return Row(
        "library",
        f"catalog → matrix, {count:,} × {dim}",
        "CPU s",
        statistics.median(seconds),
        goal=0.3,
        note="every checksum is proved; the file is in the system's cache",
    )


def memory(setting: Setting) -> Iterator[Row]:
    """`search` with DINO's size of vectors, its model loaded."""
    model = load_model(str(checkpoint.dino(setting.cache)), threads=1)
    (photo,) = pictures.make(setting.cache, "2 MP", 1)
    for count, goal in ((100_000, 500), (1_000_000, 2500)):
        count = setting.size(count, count // 50)
        with tempfile.TemporaryDirectory(dir=setting.cache) as place:
            make_searchable(Path(place) / "library", count, model)
            ended = command("search", str(photo), "--library", f"{place}/library")
        mib = 1024 * 1024
        yield Row(
            "memory",
            f"memory of `search` at {count:,} × {model.fingerprint.dim}, DINO",
            "MB, peaks of all its processes",
            ended.peak_all / mib,
            goal=goal,
            note=f"its own process {ended.peak / mib:.0f}; {ended.cpu:.1f} CPU s",
        )
