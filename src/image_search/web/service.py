"""One library behind the page: searching, browsing, pictures. Blocking functions, plain data in and out; nothing here knows HTTP."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from ..config import THUMBNAIL_SIDE, UPLOAD_LIMITS
from ..engine import ImageSearchEngine
from ..errors import DecodeError, LibraryNotFoundError, QueryError, UsageError
from ..images.fetch import fetch
from ..library.catalog import item_id, item_number
from ..library.library import Library
from ..library.reading import Item, Reader, reason_code
from ..library.thumbnails import Thumbnails
from ..models import near_identical
from ..paths import as_text, shown, uri_of
from ..present.json import matches_json
from ..search.matches import Matches
from ..search.query import Query
from ..search.same_picture import same_picture
from ..types import Picture, UInt8
from .jobs import Jobs
from .schemas import (
    ClassCount,
    Classes,
    Facts,
    FolderChoice,
    Hit,
    ItemRow,
    JobState,
    LibraryState,
    Page,
    Problem,
    QueryPart,
    QueryShown,
    SearchAnswer,
    SearchRequest,
    SkippedFile,
    SkippedFiles,
    SkippedReason,
    State,
)
from .schemas import Upload as UploadShown
from .uploads import Upload, Uploads

__all__ = ["Service", "problem_of"]

VIEW_SIDE = 1600  # pixels: fills a large screen beside another picture
VIEW_QUALITY = 88
VIEWS_BYTES = 32 * 1024**2
QUERIES_KEPT = 256  # a vector each
K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values used last, up to a weight."""

    def __init__(self, limit: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        self._limit, self._weigh = limit, weigh
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: K, value: V) -> None:
        with self._lock:
            if key in self._kept:
                self._weight -= self._weigh(self._kept.pop(key))
            self._kept[key] = value
            self._weight += self._weigh(value)
            while self._weight > self._limit and len(self._kept) > 1:
                self._weight -= self._weigh(self._kept.popitem(last=False)[1])


@dataclass(frozen=True, slots=True)
class Shared:
    """What the server's owner allowed at start."""

    folders: tuple[str, ...] = ()  # may be indexed from the page, beside those that are in the library already
    urls: bool = False  # pictures may be fetched from public addresses
    demo_folder: Path = Path("sample-gallery")


class Shown(NamedTuple):
    """A picture for the page.

    Attributes:
        lasting: it is that of the content which the library knows, so it may be kept under its address. Not where the file has
            changed since it was indexed, or is away and something smaller stands in for it.
    """

    data: bytes
    media_type: str
    lasting: bool


class Service:
    """Owns the engine while it lives; methods may be called from any thread. Errors are the package's own."""

    def __init__(self, engine: ImageSearchEngine, shared: Shared) -> None:
        self.engine = engine
        self.shared = shared
        self.jobs = Jobs(engine)
        self.uploads = Uploads()
        self._library = Library(engine.library)  # a reader of its own: looking things up does not wait for a search
        self._first_run = False
        self._queries: Recent[tuple[Reader, str, tuple[int, int, int, int] | None, int], Query] = Recent(QUERIES_KEPT)
        self._views: Recent[tuple[bytes, int], bytes] = Recent(VIEWS_BYTES, len)
        self._at_moment: Recent[str, tuple[tuple[int, bool], Any]] = Recent(8)

    def close(self) -> None:
        self.jobs.close()
        self._library.close()
        self.engine.close()

    def warm_up(self) -> None:
        """Load the model, start a decoder and read the vectors before somebody waits for them."""
        if self.has_library:
            first = self.reader.page(limit=1)
            self.engine.query(_flat_picture())
            if first:
                self.engine.search(item_id(first[0].number), 1)

    # --- the library --------------------------------------------------------------------------------------------------------

    @property
    def has_library(self) -> bool:
        """A first run takes its library away again if it fails before it has committed anything: until then there is none."""
        return self._library.exists and not (self._first_run and self.jobs.running and self.jobs.now.done == 0)

    @property
    def reader(self) -> Reader:
        if not self._library.exists:
            self._need_library()
        return self._library.reader()

    @property
    def thumbnails(self) -> Thumbnails:
        return self._library.thumbnails(write=True)

    def _now(self, what: str, ask: Callable[[Reader], V]) -> V:
        """An answer about the whole library, asked again when the catalog has changed or a run has ended (the store is ready then)."""
        moment = (self.reader.generation, self.jobs.running)
        kept = self._at_moment.get(what)
        if kept is None or kept[0] != moment:
            kept = (moment, ask(self.reader))
            self._at_moment.put(what, kept)
        value: V = kept[1]
        return value

    def state(self, version: str) -> State:
        library, folders = self._library_state() if self.has_library else (None, self._folders([]))
        return State(
            version=version,
            library=library,
            folders=folders,
            urls_allowed=self.shared.urls,
            upload_bytes=UPLOAD_LIMITS.file_bytes,
            upload_megapixels=UPLOAD_LIMITS.megapixels,
            job=self.job_state(),
        )

    def _library_state(self) -> tuple[LibraryState, list[FolderChoice]]:
        facts = self._now("status", lambda _: self.engine.status())
        state = LibraryState(
            path=shown(facts["library"]),
            images=facts["images"],
            classes=facts["classes"],
            skipped=facts["skipped"],
            missing=facts["missing"],
            model=shown(facts["model"]),
            dimensions=facts["dimensions"],
            store=shown(facts["store"]),
            store_ready=facts["store_ready"],
            store_note=shown(facts["store_note"]),
        )
        return state, self._folders(facts["roots"])

    def _folders(self, roots: list[dict[str, Any]]) -> list[FolderChoice]:
        known = {root["path"]: root for root in roots}
        return [
            FolderChoice(
                number=number,
                path=shown(path),
                known=path in known,
                images=known[path]["images"] if path in known else 0,
                offline=not os.path.isdir(path),
            )
            for number, path in enumerate(self._allowed(list(known)))
        ]

    def _allowed(self, known: list[str]) -> list[str]:
        return list(dict.fromkeys([*self.shared.folders, *known]))

    def index(self, number: int) -> bool:
        """Begin to index one of the folders of `state`; False: a run is in work."""
        roots = self._now("status", lambda _: self.engine.status())["roots"] if self.has_library else []
        allowed = self._allowed([root["path"] for root in roots])
        if number >= len(allowed):
            raise UsageError(
                "there is no such folder among those that may be indexed", hint="allow it with: image-search serve --allow FOLDER"
            )
        self._remember_first_run()
        return self.jobs.index(allowed[number])

    def demo(self) -> bool:
        """Draw the sample gallery and index it; False: a run is in work."""
        self._remember_first_run()
        return self.jobs.demo(self.shared.demo_folder)

    def _remember_first_run(self) -> None:
        if not self.jobs.running:
            self._first_run = not self._library.exists

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

    def skipped(self) -> SkippedFiles:
        return SkippedFiles(
            reasons=[SkippedReason(reason=reason, code=reason_code(reason), files=files) for reason, files in self.reader.skipped_counts()],
            files=[
                SkippedFile(path=shown(s.path), reason=s.reason, code=reason_code(s.reason), hint=s.hint) for s in self.reader.skipped()
            ],
        )

    # --- browsing -----------------------------------------------------------------------------------------------------------

    def classes(self) -> Classes:
        rows = self._now("classes", Reader.classes)
        return Classes(classes=[ClassCount(name=as_text(name), images=images) for name, images in rows])

    def page(self, name: str | None, after: int, limit: int) -> Page:
        found = self.reader.page(name=name, after=after, limit=limit)
        return Page(items=[_row(item) for item in found], next=found[-1].number if len(found) == limit else None)

    def sample(self, n: int) -> Page:
        found: list[Item] = self._now(f"sample {n}", lambda reader: reader.sample(n))
        return Page(items=[_row(item) for item in found], next=None)

    def item(self, id: str) -> Item:
        number = item_number(id)
        found = self.reader.items([number]) if number is not None else {}
        if number not in found:
            raise QueryError(f"there is no image {id} in the library", hint="it may have been moved or taken out")
        return found[number]

    def facts(self, id: str) -> Facts:
        item = self.item(id)
        return Facts(
            **_row(item).model_dump(),
            uri=uri_of(item.path),
            format=item.format,
            bytes=item.size,
            modified=_time(item.mtime_ns),
            copies=self.reader.copies(item),
            offline=not os.path.lexists(item.path),
            view=f"/api/images/{id}/view?v={_version(item)}",
        )

    def chosen(self, ids: list[str]) -> list[Item]:
        """These images, in this order, without those that are gone."""
        numbers = [number for id in ids if (number := item_number(id)) is not None]
        found = self.reader.items(numbers)
        return [found[number] for number in dict.fromkeys(numbers) if number in found]

    # --- pictures -----------------------------------------------------------------------------------------------------------

    def thumbnail(self, id: str) -> Shown:
        """WebP; made from the file and kept if the library has none. DecodeError where there is no picture to be had."""
        item = self.item(id)
        small = self.thumbnails.get(item.sha256)
        if small is not None:
            return Shown(small, "image/webp", lasting=True)
        picture = self._picture(item, THUMBNAIL_SIDE)
        small = _webp(picture.pixels)
        if lasting := picture.sha256 == item.sha256:
            self.thumbnails.put([(item.sha256, small)])
        return Shown(small, "image/webp", lasting)

    def view(self, id: str) -> Shown:
        """A picture up to 1600 pixels; of one that is away the thumbnail."""
        item = self.item(id)
        key = (item.sha256, VIEW_SIDE)
        large = self._views.get(key)
        if large is not None:
            return Shown(large, "image/jpeg", lasting=True)
        try:
            picture = self._picture(item, VIEW_SIDE)
        except DecodeError:
            small = self.thumbnails.get(item.sha256)
            if small is None:
                raise
            return Shown(small, "image/webp", lasting=False)
        large = _jpeg(picture.pixels)
        if lasting := picture.sha256 == item.sha256:
            self._views.put(key, large)
        return Shown(large, "image/jpeg", lasting)

    def _picture(self, item: Item, side: int) -> Picture:
        if os.path.lexists(item.path) and not item.lies_in_root:
            raise QueryError("this image now leads out of its folder and is not shown", hint="index the folder it points to")
        return self.engine.picture(item.path, max_side=side)

    # --- queries ------------------------------------------------------------------------------------------------------------

    def upload(self, data: bytes) -> UploadShown:
        """Keep a picture that was sent; QueryError if it is none."""
        upload = self.uploads.get(self.uploads.id_of(data))
        if upload is None:
            if not data:
                raise QueryError("the picture is empty", hint="choose another file")
            self._need_library()
            try:
                seen = self.engine.picture(data, max_side=VIEW_SIDE)
            except DecodeError as error:
                raise QueryError(f"this cannot be searched with: {error.reason.value}", hint=error.hint) from error
            upload = Upload(self.uploads.id_of(data), data, _jpeg(seen.pixels), seen.width, seen.height)
            self.uploads.put(upload)
        return UploadShown(id=upload.id, width=upload.width, height=upload.height, view=_upload_view(upload.id))

    def fetched(self, url: str) -> UploadShown:
        """Keep the picture behind an address, if the owner allowed that; public addresses only."""
        if not self.shared.urls:
            raise UsageError("addresses are not fetched here", hint="start it with: image-search serve --allow-urls")
        self._need_library()
        return self.upload(fetch(url))

    def uploaded(self, id: str) -> Upload:
        upload = self.uploads.get(id)
        if upload is None:
            raise QueryError("this picture is no longer kept", hint="give it again")
        return upload

    def _need_library(self) -> None:
        if not self.has_library:
            raise LibraryNotFoundError("there is no library", path=self.engine.library, hint="index a folder first")

    def search(self, request: SearchRequest) -> SearchAnswer:
        self._need_library()
        read = [(part, *self._query(part)) for part in request.queries]
        matches = self.engine.search(
            [query for part, query, _ in read if not part.less],
            request.n,
            less=[query for part, query, _ in read if part.less],
            names=request.names,
            path=_glob(request.path),
            min_similarity=request.min_similarity,
            exclude_self=request.exclude_self,
        )
        threshold = self.threshold(matches.model)
        return SearchAnswer(
            queries=[shown_query for _, _, shown_query in read],
            matches=self._hits(matches, threshold),
            model=shown(matches.model),
            exact=matches.exact,
            complete=len(matches) < request.n,
            near_identical=threshold,
        )

    @staticmethod
    def threshold(model: str) -> float | None:
        """Similarity from which two pictures count as the same one; None: not measured for this model."""
        return near_identical(model)

    def _query(self, part: QueryPart) -> tuple[Query, QueryShown]:
        """The vector (kept between searches) and what the page shows of it."""
        source: str | bytes
        if part.id.startswith("up:"):
            upload = self.uploaded(part.id)
            source, width, height, label, view, of = upload.data, upload.width, upload.height, "", _upload_view(part.id), 0
        else:
            item = self.item(part.id)
            source, width, height, label, of = part.id, item.width, item.height, os.path.basename(item.path), item.content
            view = f"/api/images/{part.id}/view?v={_version(item)}"
        box = None if part.region is None else (part.region.x, part.region.y, part.region.w, part.region.h)
        key = (self.reader, part.id, box, of)  # of a replaced library: vectors of another model, perhaps
        query = self._queries.get(key)
        if query is None:
            query = self.engine.query(source, region=box)
            query = replace(query, show=None, label=part.id)  # the vector is kept, 20 MB of picture are not
            self._queries.put(key, query)
        return query, QueryShown(id=part.id, label=shown(label), less=part.less, width=width, height=height, view=view)

    def _hits(self, matches: Matches, threshold: float | None) -> list[Hit]:
        numbers = [number for match in matches if (number := item_number(match.id)) is not None]
        found = self.reader.items(numbers)
        rows = [(found[n], plain) for n, plain in zip(numbers, _plain(matches), strict=True) if n in found]
        leaders = same_picture(self.reader, [item.content for item, _ in rows], threshold)
        return [
            Hit(
                id=plain["id"],
                rank=position + 1,
                name=plain["name"],
                similarity=plain["similarity"],
                closeness=plain["closeness"],
                path=shown(item.path),
                uri=plain["uri"],
                identical=plain["identical"],
                offline=plain["offline"],
                width=item.width,
                height=item.height,
                same_as=None if leader == position else leader + 1,
                thumbnail=_thumbnail(item),
            )
            for position, ((item, plain), leader) in enumerate(zip(rows, leaders, strict=True))
        ]


def problem_of(error: Exception) -> Problem:
    """One error as the page gets it: plain words, no control characters, the decoder's reason where there is one."""
    cause = error if isinstance(error, DecodeError) else error.__cause__
    hint = getattr(error, "hint", "")
    path = getattr(error, "path", None)
    what = getattr(error, "what", str(error))
    return Problem(
        code=type(error).__name__.removesuffix("Error"),
        message=shown(what if path is None else f"{what}: {path}"),
        hint=shown(hint),
        reason=cause.reason.name if isinstance(cause, DecodeError) else "",
    )


def _plain(matches: Matches) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = matches_json(list(matches), query="", model="", exact=True)["matches"]
    return rows


def _row(item: Item) -> ItemRow:
    return ItemRow(
        id=item_id(item.number),
        name=as_text(item.name),
        path=shown(item.path),
        width=item.width,
        height=item.height,
        thumbnail=_thumbnail(item),
    )


def _version(item: Item) -> str:
    """Changes with the content, so that a browser may keep a picture for ever."""
    return item.sha256[:6].hex()


def _thumbnail(item: Item) -> str:
    return f"/api/images/{item_id(item.number)}/thumbnail?v={_version(item)}"


def _upload_view(id: str) -> str:
    return f"/api/uploads/{id}/view"


def _glob(text: str) -> str | None:
    """A pattern as it is; plain text may stand anywhere in the path."""
    return None if not text else text if any(c in text for c in "*?[") else f"*{text}*"


def _time(ns: int) -> str:
    try:
        return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""


def _webp(pixels: UInt8) -> bytes:
    return _encoded(pixels, "WEBP", quality=80, method=4)


def _jpeg(pixels: UInt8) -> bytes:
    return _encoded(pixels, "JPEG", quality=VIEW_QUALITY)


def _encoded(pixels: UInt8, format: str, **options: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format, **options)
    return out.getvalue()


def _flat_picture() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (64, 64), (120, 130, 140)).save(out, "PNG")
    return out.getvalue()
