"""Give it an image; get the most similar images of your library, beside it, with how similar they are.

from image_search import ImageSearchEngine

with ImageSearchEngine("photos.library") as engine:
    engine.index("~/Pictures")
    matches = engine.search("burger.jpg", n_results=3)
    matches.plot("compare.png")
"""

from typing import TYPE_CHECKING, Any

from .errors import *  # noqa: F403
from .errors import __all__ as _errors

if TYPE_CHECKING:
    from .engine import ImageSearchEngine
    from .search.matches import Matches
    from .types import IndexReport, Match, Region, Skipped

__version__ = "0.2.0"

__all__ = ["ImageSearchEngine", "IndexReport", "Match", "Matches", "Region", "Skipped", "__version__", *_errors]

# Loaded when first asked for: every decode worker comes through this door too, and needs neither engine nor numpy (.09 CPU s each).
_ROOMS = {
    "ImageSearchEngine": "engine",
    "Matches": "search.matches",
    "IndexReport": "types",
    "Match": "types",
    "Region": "types",
    "Skipped": "types",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = found = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    return found


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]
