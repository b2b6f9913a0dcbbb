"""One library behind the page: what there is, what is going on, an index run. Blocking functions, plain data in and out, no HTTP."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..advice import Advice, Setting, Verb
from ..engine import ImageSearchEngine
from ..errors import UsageError
from ..library.catalog import item_id
from ..models import words_rows
from ..paths import shown
from .jobs import Jobs
from .opened import OpenLibrary
from .originals import can_open
from .pictures import Pictures, flat_picture
from .problems import plain, problem_of
from .schemas import FolderChoice, JobState, LibraryState, State, WordsModel
from .searching import Searching
from .tidying import Tidying
from .uploads import Uploads
from .walls import Walls
from .watching import Watching

__all__ = ["Service", "Shared"]


@dataclass(frozen=True, slots=True)
class Shared:
    """What the server's owner allowed at start."""

    folders: tuple[str, ...] = ()  # may be indexed from the page, beside those that are in the library already
    urls: bool = False  # pictures may be fetched from public addresses
    demo_folder: Path = Path("sample-gallery")
    watch: bool = False  # the library's folders are kept up to date


class Service:
    """Owns the engine while it lives; any thread may ask. Errors are the package's own.

    Attributes:
        library: to look things up in (`browsing`).
        walls: all of it, in its order.
        pictures, searching: what is shown of it, and asked.
        tidying: copies, labels, the map: a long look in the background.
        jobs: the index run in the background.
        uploads: the pictures that were given.
        watching: the library's folders, where they are watched.
    """

    def __init__(self, engine: ImageSearchEngine, shared: Shared, uploads: Uploads | None = None) -> None:
        self._engine = engine
        self._shared = shared
        self.jobs = Jobs(engine)
        self.library = OpenLibrary(engine, self.jobs)
        self.walls = Walls(self.library)
        self.uploads = uploads or Uploads()
        self.pictures = Pictures(self.library, shared.urls, self.uploads)
        self.searching = Searching(self.library, self.pictures)
        self.tidying = Tidying(self.library, lambda: self._allowed(self._facts()))
        self.watching = Watching(self.library, self.jobs) if shared.watch else None

    def close(self) -> None:
        if self.watching is not None:
            self.watching.close()
        self.tidying.close()
        self.jobs.close()
        self.library.close()
        self._engine.close()

    def warm_up(self) -> None:
        """Load the model, start a decoder and read the vectors before somebody waits for them."""
        if self.watching is not None:
            self.watching.start()
        if self.library.exists:
            first = self.library.reader.page(limit=1)
            self._engine.query(flat_picture())
            if first:
                self._engine.search(item_id(first[0].number), 1)

    # --- what there is ------------------------------------------------------------------------------------------------------

    def state(self, *, here: bool = False, read_only: bool = False) -> State:
        """`here`: for one who sits at this machine; `read_only`: for one who may only look and search."""
        facts = self._facts()
        width, height = self._query_pixels(facts)
        return State(
            version=__version__,
            library=None if facts is None else _library_state(facts),
            folders=self._choices(facts),
            urls_allowed=self._shared.urls,
            upload_bytes=self._engine.decoders.of_sent.file_bytes,
            upload_megapixels=self._engine.decoders.of_sent.megapixels,
            query_width=width,
            query_height=height,
            on_this_machine=here and not read_only and can_open(),
            job=self.job_state(),
            words_models=[WordsModel(name=row.name, megabytes=row.megabytes) for row in words_rows()],
            read_only=read_only,
        )

    def _query_pixels(self, facts: dict[str, Any] | None) -> tuple[int, int]:
        """(width, height) that a decoder's reduced size keeps of a query, or more: below them the model sees another picture."""
        if facts is None:
            return 0, 0
        from ..images.pixels import DRAFT_MARGIN

        recipe = self.library.reader.fingerprint.preprocess
        height, width = recipe.size or (recipe.shortest_edge, recipe.shortest_edge)
        return DRAFT_MARGIN * (width or 0), DRAFT_MARGIN * (height or 0)

    def _facts(self) -> dict[str, Any] | None:
        """`engine.status()`; None: there is no library."""
        return self.library.now("status", lambda _: self._engine.status()) if self.library.exists else None

    def _choices(self, facts: dict[str, Any] | None) -> list[FolderChoice]:
        known = {root["path"]: root["images"] for root in facts["roots"]} if facts is not None else {}
        return [
            FolderChoice(
                number=number,
                path=shown(path),
                known=path in known,
                images=known.get(path, 0),
                offline=not os.path.isdir(path),
            )
            for number, path in enumerate(self._allowed(facts))
        ]

    def _allowed(self, facts: dict[str, Any] | None) -> list[str]:
        """The folders that may be indexed: a request names one by its place in this list, never by its path."""
        return list(dict.fromkeys([*self._shared.folders, *(root["path"] for root in (facts["roots"] if facts is not None else []))]))

    # --- the index run ------------------------------------------------------------------------------------------------------

    def known_words(self, prefix: str, most: int) -> list[str]:
        """For completing what is typed, see `engine.words`."""
        return self._engine.words(prefix, most)

    def index(self, number: int) -> bool:
        """Begin to index one of the folders of `state`; False: a run is in work."""
        allowed = self._allowed(self._facts())
        if number >= len(allowed):
            hint = Advice("allow it with: ", Verb("serve", (Setting("allow", "FOLDER"),)))
            raise UsageError("there is no such folder among those that may be indexed", hint=hint)
        return self.jobs.index(allowed[number])

    def demo(self) -> bool:
        """Draw the sample gallery and index it; False: a run is in work."""
        return self.jobs.demo(self._shared.demo_folder)

    def job_state(self) -> JobState:
        job = self.jobs.now
        return JobState(
            run=self.jobs.runs,
            state=job.state,
            folder=shown(job.folder),
            done=job.done,
            total=job.total,
            skipped=job.skipped,
            added=job.added,
            updated=job.updated,
            missing=job.missing,
            rate=job.rate,
            seconds_left=job.seconds_left,
            problem=None if job.error is None else problem_of(job.error),
        )


def _library_state(facts: dict[str, Any]) -> LibraryState:
    return LibraryState(
        path=shown(facts["library"]),
        images=facts["images"],
        classes=facts["classes"],
        skipped=facts["skipped"],
        missing=facts["missing"],
        model=shown(facts["model"]),
        dimensions=facts["dimensions"],
        words=facts["words"],
        store=shown(facts["store"]),
        store_ready=facts["store_ready"] or facts["store"] == "exact",  # where none is kept, none has to be made ready
        store_note=plain(facts["store_note"]),
    )
