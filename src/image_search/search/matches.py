"""What a search answers: the matches, what was searched with, and the ways to show them."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from .. import given
from ..config import PICTURE_SIDE, VOTE_CLOSENESS, VOTE_LEAST, VOTE_NEAREST, available_cpus
from ..errors import DecodeError
from ..images.opening import FileInRoot
from ..library.catalog import item_number
from ..library.library import Library
from ..paths import is_address
from ..types import Match, Preprocess, Region, UInt8, Vote
from .copying import Copies, checked_folder, copy_files
from .query import Query

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..images.pool import DecodePool, PictureSource
    from ..present.figure import Panel

__all__ = ["Matches"]


class Matches(Sequence[Match]):
    """The matches of one search, nearest first. A sequence; in a notebook it shows itself as the comparison.

    Attributes:
        queries: what was searched with.
        model: name of the library's model.
        exact: every image was compared; False if the store answered.
        library: the library's folder.
        narrowed: only some classes or paths could be found.
    """

    def __init__(
        self,
        matches: Sequence[Match],
        *,
        queries: Sequence[Query],
        model: str,
        exact: bool,
        library: Path,
        narrowed: bool = False,
        opened: Callable[[], Library] | None = None,  # opens it to look at; None: the folder
    ) -> None:
        self._matches = list(matches)
        self.queries = list(queries)
        self.model = model
        self.exact = exact
        self.library = library
        self.narrowed = narrowed
        self._opened = opened or (lambda: Library(library))

    def __len__(self) -> int:
        return len(self._matches)

    def __iter__(self) -> Iterator[Match]:
        return iter(self._matches)

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice) -> list[Match]: ...
    def __getitem__(self, index: int | slice) -> Match | list[Match]:
        return self._matches[index]

    def __repr__(self) -> str:
        return f"<Matches of {', '.join(q.label for q in self.queries)}: {len(self)}>"

    def __str__(self) -> str:
        from ..present.table import matches_table

        return matches_table(self._matches, vote=self.vote())

    def vote(self) -> Vote | None:
        """The class that most of the ten nearest matches have; None where that would say nothing, or mislead.

        The k-nearest-neighbour vote (Cover and Hart 1967). Files identical to the query have no vote, copies of one file one together.
        None: several pictures or words were searched with; only some classes or paths could be found; the winner has no more than half
        of the votes, or fewer than three; nothing here is near to the query (a closeness below .05: of 1,000 strangers to a library at
        most one gets past it, of its own pictures 19 of 20).
        """
        if self.narrowed or len(self.queries) != 1 or self.queries[0].words or not self._matches:
            return None
        nearest = self._matches[0].closeness
        others = dict.fromkeys((match.similarity, match.name) for match in self._matches if not match.identical)
        votes = Counter(name for _, name in itertools.islice(others, VOTE_NEAREST))
        if not votes or (nearest is not None and nearest < VOTE_CLOSENESS):
            return None
        name, most = votes.most_common(1)[0]
        return Vote(name, most, votes.total()) if name and most >= VOTE_LEAST and 2 * most > votes.total() else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `image-search search --json` prints it."""
        from ..present.json import matches_json

        likes = [q.label for q in self.queries if not q.less]
        return matches_json(self._matches, query=likes, model=self.model, exact=self.exact, vote=self.vote())

    def copy_to(self, folder: str | os.PathLike[str], *, progress: Callable[[int, int], object] | None = None) -> Copies:
        """Copy the matches' files into a folder, made if need be, with their times; nothing there is ever replaced. See `copying.Copies`.

        Two of one name are told apart by a number: "a (2).jpg". progress: gets (done, total).

        Raises UsageError (no folder, or one of the library's or of its images), DiskFullError, ImageSearchError (it cannot be written).
        """
        with contextlib.closing(self._opened()) as library:
            place = given.path(folder, "the folder of the copies")
            tell = (lambda done, total: None) if progress is None else given.function(progress, "progress")
            return copy_files(self._matches, place, library.reader(), tell)

    def check_copy_to(self, folder: str | os.PathLike[str]) -> None:
        """Raises what `copy_to` would raise of this folder before it copies anything: UsageError. Nothing is made."""
        with contextlib.closing(self._opened()) as library:
            checked_folder(given.path(folder, "the folder of the copies"), library.reader())

    def figure(self) -> Figure:
        """The comparison: the query beside its matches. Pictures are decoded now; one that cannot be read is drawn from its thumbnail."""
        from ..images.pool import DecodePool
        from ..present.figure import draw_comparison

        # The recipe serves the model only; showing asks for a size of its own.
        with (
            DecodePool(min(2, available_cpus()), Preprocess(size=(1, 1))) as pool,
            ThreadPoolExecutor(2) as threads,
            contextlib.closing(self._opened()) as library,  # opened only if a picture is away
        ):
            panels = [
                *threads.map(lambda query: _query_panel(pool, query), self.queries),
                *threads.map(lambda match: _match_panel(pool, match, library), self._matches),
            ]
        return draw_comparison(panels)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the comparison; save it if a path is given (png, jpg, webp, pdf, svg by its extension).

        Returns the matplotlib figure. (In a notebook `matches` itself, as the last line of a cell, shows it.)
        """
        from ..present.figure import save_comparison

        figure = self.figure()
        if path is not None:
            save_comparison(figure, path)
        return figure

    def _repr_png_(self) -> bytes:
        from ..present.figure import png_bytes

        return png_bytes(self.figure())


def _query_panel(pool: DecodePool, query: Query) -> Panel:
    from ..present.figure import LESS_LIKE, Panel

    said = f"“{query.label}”" if query.words else ""
    pixels, reason = (None, said) if query.show is None else _picture(pool, query.show.source, query.show.region)
    title = query.label if query.words else Path(query.label).name
    return Panel(pixels, title, badge=LESS_LIKE if query.less else "", query=True, reason=reason)


def _match_panel(pool: DecodePool, match: Match, library: Library) -> Panel:
    from ..present.figure import match_panel

    pixels, reason = _picture(pool, _source(match, library))
    if pixels is None and (thumbnail := thumbnail_of(library, match)) is not None:
        pixels, reason = _picture(pool, thumbnail)
    return match_panel(match, pixels, reason)


def _source(match: Match, library: Library) -> PictureSource:
    if match.root:
        return FileInRoot.of(match.root, match.path)
    item = library.reader().item(item_number(match.id) or 0) if is_address(match.path) else None
    return match.path if item is None else item.source


def _picture(pool: DecodePool, source: PictureSource, region: Region | None = None) -> tuple[UInt8 | None, str]:
    """The pixels, or why there are none."""
    try:
        return pool.picture(source, max_side=PICTURE_SIDE, region=region)[0], ""
    except DecodeError as error:
        return None, error.reason.value


def thumbnail_of(library: Library, match: Match) -> bytes | None:
    """WebP bytes of a match's thumbnail, if the library has one."""
    number = item_number(match.id)
    sha256 = None if number is None else library.reader().sha256_of(number)
    return None if sha256 is None else library.thumbnails().get(sha256)
