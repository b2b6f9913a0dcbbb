"""Give it an image; get the most similar images of your library, beside it, with how similar they are.

from image_search import ImageSearchEngine

with ImageSearchEngine("photos.library") as engine:
    engine.index("~/Pictures")
    matches = engine.search("burger.jpg", n_results=3)
    matches.plot("compare.png")
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own costs a program 5 ms in which it does not hear Ctrl-C yet
if TYPE_CHECKING:
    from typing import Any

    from .cluster.embed import DatasetReport, embed_dataset
    from .dataset.dataset import Dataset, open_dataset
    from .engine import ImageSearchEngine
    from .errors import (
        ClusterError,
        DatasetError,
        DecodeError,
        DiskFullError,
        ImageSearchError,
        LibraryBusyError,
        LibraryDamagedError,
        LibraryError,
        LibraryNotFoundError,
        LibraryReadOnlyError,
        LibraryVersionError,
        MissingExtraError,
        ModelDamagedError,
        ModelError,
        ModelMismatchError,
        ModelMissingError,
        NoWordsError,
        QueryError,
        SkipReason,
        StoreError,
        UnknownModelError,
        UsageError,
        WordsError,
    )
    from .search.matches import Matches
    from .types import IndexReport, Match, Region, Skipped, Text

__version__ = "0.2.0"

# Loaded when first asked for. Every decode worker comes through this door, and needs neither engine nor numpy (.09 CPU s each); so does
# the program, which has to hear Ctrl-C before it imports anything.
_ROOMS = {
    "errors": (
        "ClusterError",
        "DatasetError",
        "DecodeError",
        "DiskFullError",
        "ImageSearchError",
        "LibraryBusyError",
        "LibraryDamagedError",
        "LibraryError",
        "LibraryNotFoundError",
        "LibraryReadOnlyError",
        "LibraryVersionError",
        "MissingExtraError",
        "ModelDamagedError",
        "ModelError",
        "ModelMismatchError",
        "ModelMissingError",
        "NoWordsError",
        "QueryError",
        "SkipReason",
        "StoreError",
        "UnknownModelError",
        "UsageError",
        "WordsError",
    ),
    "types": ("IndexReport", "Match", "Region", "Skipped", "Text"),
    "search.matches": ("Matches",),
    "engine": ("ImageSearchEngine",),
    "dataset.dataset": ("Dataset", "open_dataset"),
    "cluster.embed": ("DatasetReport", "embed_dataset"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "ClusterError",
    "Dataset",
    "DatasetError",
    "DatasetReport",
    "DecodeError",
    "DiskFullError",
    "ImageSearchEngine",
    "ImageSearchError",
    "IndexReport",
    "LibraryBusyError",
    "LibraryDamagedError",
    "LibraryError",
    "LibraryNotFoundError",
    "LibraryReadOnlyError",
    "LibraryVersionError",
    "Match",
    "Matches",
    "MissingExtraError",
    "ModelDamagedError",
    "ModelError",
    "ModelMismatchError",
    "ModelMissingError",
    "NoWordsError",
    "QueryError",
    "Region",
    "SkipReason",
    "Skipped",
    "StoreError",
    "Text",
    "UnknownModelError",
    "UsageError",
    "WordsError",
    "__version__",
    "embed_dataset",
    "open_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = found = getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    return found


def __dir__() -> list[str]:
    return [*globals(), *_ROOM_OF]
