"""Give it an image; get the most similar images of your library, beside it, with how similar they are.

from image_search import ImageSearchEngine

with ImageSearchEngine("photos.library") as engine:
    engine.index("~/Pictures")
    matches = engine.search("burger.jpg", n_results=3)
    matches.plot("compare.png")
"""

from .engine import ImageSearchEngine
from .errors import *  # noqa: F403
from .errors import __all__ as _errors
from .matches import Matches
from .types import IndexReport, Match, Region, Skipped

__version__ = "0.1.0"

__all__ = ["ImageSearchEngine", "IndexReport", "Match", "Matches", "Region", "Skipped", "__version__", *_errors]
