"""What goes over the wire. Every text is valid Unicode; paths are escaped for showing, `uri` is the one to copy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from ..config import (
    LEAST_WEIGHT,
    MOST_WEIGHT,
    PAGE_BATCH,
    PAGE_BATCH_RESULTS,
    PAGE_FULL,
    PAGE_PARTS,
    PAGE_RESULTS,
    PAGE_ROWS,
    PHRASE_LENGTH,
)
from ..types import Region
from .asking import Asked, FileFilters, Schema, Word

__all__ = [
    "Address",
    "BatchAnswer",
    "BatchRow",
    "ClassCount",
    "Classes",
    "Columns",
    "CountsRequest",
    "Facts",
    "FolderChoice",
    "Health",
    "Hit",
    "IndexRequest",
    "ItemRow",
    "JobState",
    "LibraryState",
    "Page",
    "Problem",
    "QueryPart",
    "QueryShown",
    "RowsRequest",
    "SearchAnswer",
    "SearchBatch",
    "SearchRequest",
    "Section",
    "SkippedFiles",
    "State",
    "Upload",
    "VoteShown",
    "WallShown",
    "WordsModel",
]

ITEM_ID = r"^id:[0-9]{1,18}$"
ANY_ID = r"^(id:[0-9]{1,18}|up:[A-Za-z0-9_-]{22})$"

ItemId = Annotated[str, StringConstraints(pattern=ITEM_ID)]


class Problem(Schema):
    """Every answer that is not a success."""

    code: str = Field(description="name of the error, for programs: QueryError, LibraryNotFoundError, Busy, ...")
    message: str = Field(description="one plain line for people")
    hint: str = Field("", description="what to do next")
    reason: str = Field("", description="for pictures that cannot be used: EMPTY, NOT_AN_IMAGE, TOO_MANY_PIXELS, ...")


# `types.Region` for strangers: its ranges are checked before anything is done with it, and the OpenAPI document shows them.
class Box(Asked):
    """Part of a picture, in pixels of the upright picture."""

    x: int = Field(ge=0, le=10**6)
    y: int = Field(ge=0, le=10**6)
    w: int = Field(ge=1, le=10**6)
    h: int = Field(ge=1, le=10**6)

    def region(self) -> Region:
        return Region(self.x, self.y, self.w, self.h)


class QueryPart(Asked):
    """A picture to search with, as its `id`, or words, as `text`: one of the two."""

    id: str | None = Field(None, pattern=ANY_ID, description="a library item (id:12) or an upload (up:...)")
    text: str | None = Field(None, description=f"words, at most {PHRASE_LENGTH:,} letters; 409 where the library's model knows none")
    less: bool = Field(False, description="less like this")
    weight: float = Field(1.0, ge=LEAST_WEIGHT, le=MOST_WEIGHT, description="how much it counts beside the others")
    region: Box | None = Field(None, description="only this part of the picture")

    @model_validator(mode="after")
    def _picture_or_words(self) -> QueryPart:
        if (self.id is None) == (self.text is None):
            raise ValueError("must have an id or a text, one of the two")
        if self.text is not None and self.region is not None:
            raise ValueError("has a region, and words have no parts")
        return self


class SearchRequest(FileFilters):
    queries: list[QueryPart] = Field(min_length=1, max_length=PAGE_PARTS, description="their mean; those with `less` count against")
    n: int = Field(60, ge=1, le=PAGE_RESULTS)
    names: list[Word] = Field([], max_length=100, description="only these classes")
    min_similarity: float | None = Field(None, ge=-1, le=1, description="only matches with at least this similarity")
    min_closeness: float | None = Field(
        None, ge=0, le=1, description="only matches with at least this closeness; 400 for words, and in a library of fewer than 50 images"
    )
    min_probability: float | None = Field(
        None, ge=0, le=1, description="only matches with at least this probability; 400 where `Hit.probability` is null"
    )
    exclude_self: bool = Field(False, description="leave out files identical to a query")
    other_folders: bool = Field(False, description="leave out the folders in which the queries lie, so that their series does not")
    full: int = Field(PAGE_FULL, ge=0, le=PAGE_RESULTS, description="so many matches with all that is known; those after them in `rest`")


# Where a picture's file is now: there; its folder is there without it; its folder or disk cannot be reached; it is another file.
Where = Literal["here", "gone", "away", "changed"]
_CAPTURED = (
    "when it was taken, by the camera's own clock: 2024-05-01T23:30:05, perhaps with a fraction and a time zone; null: it does not say"
)
_MODIFIED = "ISO 8601, UTC, of the file when it was indexed"
_WHERE = "where its file is: here, gone (its folder is there), away (its folder or disk is not), changed (since it was indexed)"


class Hit(Schema):
    """One match."""

    id: str
    rank: int = Field(ge=1)
    name: str
    similarity: float = Field(ge=-1, le=1, description="cosine; higher is nearer")
    closeness: float | None = Field(
        ge=0, le=1, description="percentile among this library's nearest-neighbour similarities; null in a small one, and for words"
    )
    probability: float | None = Field(
        ge=0, le=1, description="that the words fit, as the model was trained to say it; null but for one phrase alone and such a model"
    )
    path: str = Field(description="for showing: control characters escaped")
    uri: str = Field(description="absolute path; if it has undecodable bytes, a file: address that encodes them")
    identical: bool
    offline: bool = Field(description="its disk or folder cannot be reached now")
    gone: bool = Field(description="its folder can be reached, and the file is no longer there")
    state: Where = Field(description=_WHERE)
    width: int
    height: int
    format: str
    bytes: int
    captured: str | None = Field(description=_CAPTURED)
    modified: str = Field(description=_MODIFIED)
    same_as: int | None = Field(description="rank of an earlier match that shows the same picture, as the pixels say")
    thumbnail: str = Field(description="address of its small picture, relative to that of the page")


class QueryShown(Schema):
    id: str = Field(description="empty for words")
    text: str = Field(description="the words, without the blanks around them; empty for a picture")
    read: int | None = Field(description="of words whose end the model does not read: how many tokens it does")
    label: str
    less: bool
    width: int = Field(description="of the picture; 0 for words")
    height: int
    view: str = Field(description="address of the picture, at most 1600 pixels wide or high, relative to that of the page; empty for words")


class Columns(Schema):
    """The matches after the first ones, an entry each in every list; `POST /api/rows` tells the rest of one."""

    ids: list[int] = Field(description="12 is id:12")
    similarity: list[float]
    closeness: list[float] | None
    probability: list[float] | None
    shape: str = Field(description="base64 of a byte each, the picture's shape: 128 + 32 log2(width / height)")
    heights: str | None = Field(description="base64 of a byte each: half the height in pixels, at most 255; null: none is that small")
    same_as: list[int | None]


class VoteShown(Schema):
    name: str
    votes: int = Field(ge=1, description="matches of that class")
    of: int = Field(ge=1, description="matches that had a vote: copies of one file have one together")


class SearchAnswer(Schema):
    queries: list[QueryShown]
    matches: list[Hit]
    rest: Columns | None = Field(None, description="matches beyond those that were asked for in full; null: there are none")
    model: str
    exact: bool = Field(description="every image was compared; false: the vector store answered")
    vote: VoteShown | None = Field(
        None, description="the most likely class of the query by its 10 nearest matches; null where that would say nothing, or mislead"
    )
    complete: bool = Field(description="there are no more matches than these")
    near_identical: float | None = Field(
        description="similarity from which nearly all pairs show the same picture; null: not measured for this model"
    )


class SearchBatch(Asked):
    searches: list[SearchRequest] = Field(min_length=1, max_length=PAGE_BATCH, description="each is answered by itself")

    @model_validator(mode="after")
    def _not_too_much(self) -> SearchBatch:
        if (wanted := sum(search.n for search in self.searches)) > PAGE_BATCH_RESULTS:
            raise ValueError(
                f"{wanted} matches are wanted in all, and at most {PAGE_BATCH_RESULTS} are given: lower n, or send fewer at once"
            )
        return self


class BatchRow(Schema):
    """What came of one of the searches: its answer, or why there is none."""

    answer: SearchAnswer | None
    problem: Problem | None


class BatchAnswer(Schema):
    answers: list[BatchRow] = Field(description="one for each search, in their order")


class Upload(Schema):
    id: str = Field(description="good for a week after its last use, unless many newer pictures come; also after a restart")
    width: int = Field(description="of the original, upright; regions count in its pixels")
    height: int
    view: str


class Address(Asked):
    url: str = Field(min_length=1, max_length=2000)


class ItemRow(Schema):
    id: str
    name: str
    path: str
    uri: str
    state: Where = Field(description=_WHERE)
    width: int
    height: int
    format: str
    bytes: int
    captured: str | None = Field(description=_CAPTURED)
    modified: str = Field(description=_MODIFIED)
    thumbnail: str


class Page(Schema):
    items: list[ItemRow | None] = Field(description="null, in the order of a wall: it has gone since")
    next: int | None = Field(description="give it as `after` for the next page; null: this was the last")


class RowsRequest(Asked):
    ids: list[ItemId] = Field(max_length=PAGE_ROWS)


class Section(Schema):
    """One class of the wall."""

    name: str
    start: int = Field(description="its first image's place")
    images: int


class WallShown(Schema):
    """The library's images by class, then by path: the shape of each, so that they can be laid out before any is asked for."""

    generation: int = Field(description="give it to GET /api/images with `start`: rows of this very order")
    images: int
    sections: list[Section]
    shapes: str = Field(description="base64 of a byte each: 128 + 32 log2(width / height)")
    heights: str | None = Field(description="base64 of a byte each: half the height in pixels, at most 255; null: none is that small")


class Facts(ItemRow):
    annotations: dict[str, str] = Field(description="what the user's own table says of it, by column")
    copies: int = Field(description="other files of the library with the same bytes")
    offline: bool = Field(description="its disk or folder cannot be reached now")
    gone: bool = Field(description="its folder can be reached, and the file is no longer there")
    view: str


class ClassCount(Schema):
    name: str
    images: int


class Classes(Schema):
    classes: list[ClassCount]


class KnownWords(Schema):
    """For completing what is typed."""

    words: list[str] = Field(description="that begin like the prefix; none where the library's model takes any word, or no word")


class CountsRequest(FileFilters):
    """The filters beside the class; with `queries` and a least similarity, of the matches that a search would show."""

    queries: list[QueryPart] = Field([], max_length=PAGE_PARTS)
    min_similarity: float | None = Field(None, ge=-1, le=1)
    min_probability: float | None = Field(None, ge=0, le=1)
    other_folders: bool = Field(False, description="not the folders in which the queries lie")


class FolderChoice(Schema):
    """A folder that may be indexed from the page."""

    number: int
    path: str
    known: bool = Field(description="it is in the library already")
    images: int
    offline: bool


class LibraryState(Schema):
    path: str
    images: int
    classes: int
    skipped: int
    missing: int
    model: str
    dimensions: int
    words: bool = Field(description="the model knows words: a search may have them")
    store: str
    store_ready: bool
    store_note: str


class JobState(Schema):
    """The index run in the background, or the last one."""

    run: int = Field(description="how many were begun since the start; two quick runs may end alike")
    state: Literal["none", "drawing", "scanning", "indexing", "finishing", "done", "stopped", "failed"]
    folder: str
    done: int
    total: int
    skipped: int
    added: int
    updated: int
    missing: int
    rate: float = Field(description="files a second, lately")
    seconds_left: float | None
    problem: Problem | None


class WordsModel(Schema):
    """One that knows words, for libraries to be made with."""

    name: str
    megabytes: float | None = Field(description="to fetch, once")


class State(Schema):
    version: str
    library: LibraryState | None = Field(description="null: there is none yet")
    folders: list[FolderChoice]
    urls_allowed: bool
    upload_bytes: int
    upload_megapixels: float
    query_width: int = Field(description="pixels that a query keeps for the model when it is decoded; 0: there is no library yet")
    query_height: int
    on_this_machine: bool = Field(description="the page is used where the files lie, and there is a desktop: they can be opened")
    job: JobState
    words_models: list[WordsModel] = Field(description="models that know words, the first one for most")
    read_only: bool = Field(description="the key that was given may look and search, and change nothing")


class Health(Schema):
    status: Literal["ok"]


class IndexRequest(Asked):
    folder: int = Field(ge=0, le=10_000, description="number of one of the folders in the state")


class SkippedFile(Schema):
    path: str
    reason: str
    code: str
    hint: str


class SkippedReason(Schema):
    reason: str
    code: str
    files: int


class SkippedFiles(Schema):
    reasons: list[SkippedReason]
    files: list[SkippedFile] = Field(description="the newest 200")
