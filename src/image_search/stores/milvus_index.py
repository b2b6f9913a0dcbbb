"""Which index Milvus gets for how many rows, and what it is asked with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["INDEXES", "Index", "index_for"]


class Index(NamedTuple):
    """An index and what it is asked with.

    Attributes:
        below: rows; it is chosen for fewer than these.
        kind: as Milvus calls it. build: its parameters.
        usual, more: a number of neighbours -> parameters of a search; of one that a filter makes harder.
        compares_all: its answers are exact.
    """

    below: float
    kind: str
    build: Mapping[str, Any]
    usual: Callable[[int], dict[str, Any]]
    more: Callable[[int], dict[str, Any]]
    compares_all: bool = False


# The rule: by the memory that each takes (docs/scaling.md). A vector of 384 numbers takes 1,536 bytes in FLAT, 1,700 in HNSW, 400 in
# IVF_SQ8 and some 70 in IVF_RABITQ. Lists of an IVF are those of one segment, of some 600,000 rows.
INDEXES = (
    Index(50_000, "FLAT", {}, lambda n: {}, lambda n: {}, compares_all=True),
    Index(2e7, "HNSW", {"M": 16, "efConstruction": 200}, lambda n: {"ef": max(200, 4 * n)}, lambda n: {"ef": max(1000, 8 * n)}),
    Index(2e8, "IVF_SQ8", {"nlist": 2048}, lambda n: {"nprobe": 64}, lambda n: {"nprobe": 2048}),
    Index(
        float("inf"),
        "IVF_RABITQ",
        {"nlist": 2048, "refine": True, "refine_type": "SQ8"},
        lambda n: {"nprobe": 64, "refine_k": 4},
        lambda n: {"nprobe": 1024, "refine_k": 8},
    ),
)


def index_for(rows: int) -> Index:
    """The index of a table of so many rows."""
    return next(index for index in INDEXES if rows < index.below)
