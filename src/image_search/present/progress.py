"""Progress bars on stderr, in a terminal or a notebook: how far, how fast, how long yet. Elsewhere nothing is shown."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Protocol

_UNITS = {"look closer": " pairs"}  # of what is not counted in images

__all__ = ["Bar", "bar", "bars", "telling"]


class Bar(Protocol):
    """Called with how many images are done, how many there are (None: not known), how many of those done had to be skipped; or a note."""

    def __call__(self, done: int, total: int | None, skipped: int = 0, *, note: str = "") -> None: ...


@contextlib.contextmanager
def bar(what: str, total: int | None = None) -> Iterator[Bar]:
    """One bar. `total`: images (or pairs, see _UNITS), as far as it is known beforehand; none are shown for 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets gets the plain bar, and need not be told so
        from tqdm.auto import tqdm

    with tqdm(total=total, unit=_UNITS.get(what, "img"), desc=what, disable=True if total == 0 else None, dynamic_ncols=True) as line:

        def show(done: int, total: int | None, skipped: int = 0, *, note: str = "") -> None:
            line.total = total
            line.update(done - line.n)
            if note or skipped:
                line.set_postfix_str(note or f"{skipped} skipped", refresh=False)

        yield show


@contextlib.contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each thing that is being done, by its name: (what, done, total)."""
    with contextlib.ExitStack() as stack:
        open_bars: dict[str, Bar] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in open_bars:
                open_bars[what] = stack.enter_context(bar(what, total))
            open_bars[what](done, total)

        yield show


@contextlib.contextmanager
def telling(progress: bool | Callable[[int, int, int], None], what: str, total: int) -> Iterator[Callable[[int, int, int], None]]:
    """Who is told how far a run is: a bar of this name, a caller's function, nobody."""
    if progress is not True:
        yield progress or (lambda *_: None)
        return
    with bar(what, total) as shown:
        yield shown
