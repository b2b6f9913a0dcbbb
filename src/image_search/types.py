"""The nouns: what flows from a folder to a comparison. No logic beyond what a row of data knows of itself.

Letters in shapes: N images, D dimensions, H height, W width, Q queries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from .region import Region

__all__ = [
    "Decoded",
    "Embedder",
    "FileStat",
    "Fingerprint",
    "Float32",
    "IndexReport",
    "Match",
    "PassRule",
    "Passed",
    "Picture",
    "Preprocess",
    "Region",
    "Skipped",
    "StoreRecords",
    "Text",
    "TextEmbedder",
    "UInt8",
    "VectorStore",
    "Vote",
]

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

_INT64 = 2**63 - 1
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a model wants its pixels; part of the fingerprint.

    The upright RGB picture is resized either to exactly `size` (height, width), its proportions given up, or so that its shorter
    side is `shortest_edge`, and then cut to the central `crop` (height, width; where it is larger, black is added). Exactly one of
    `size` and `shortest_edge` is set.
    The uint8 result is multiplied by `rescale`, then (value - mean) / std per channel, in float32.
    """

    size: tuple[int, int] | None
    shortest_edge: int | None = None
    crop: tuple[int, int] | None = None
    resample: Resample = "bilinear"
    rescale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width) of the pixels that reach the model."""
        if self.crop is not None:
            return self.crop
        if self.size is not None:
            return self.size
        raise ValueError("shortest_edge without crop gives pictures of different sizes")


@dataclass(frozen=True, slots=True)
class FileStat:
    """The quick check of a file's identity: any difference means: hash it again."""

    size: int  # bytes
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, size: int, mtime_ns: int, ctime_ns: int, inode: int) -> FileStat:
        """In 64 bits with a sign, as SQLite keeps them: some file systems give larger inodes, and times after the year 2262."""
        return cls(size, max(-_INT64, min(_INT64, mtime_ns)), max(-_INT64, min(_INT64, ctime_ns)), inode & _INT64)


class Picture(NamedTuple):
    """A picture for showing.

    Attributes:
        pixels: uint8 (h, w, 3), upright RGB.
        width, height: of the whole picture, pixels.
        sha256: of the bytes that it was read from.
    """

    pixels: UInt8
    width: int
    height: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Decoded:
    """One picture, ready for a model.

    Attributes:
        sha256: 32 bytes, of the file's bytes; the pixels belong to exactly these bytes.
        pixels: uint8 (H, W, 3) RGB, H and W the model's input size; None if the caller already knew this sha256.
        width, height: of the upright picture, pixels.
        format: as Pillow names it ("JPEG", "PNG", "HEIF", ...).
        thumbnail: the upright picture as WebP, longer side at most the side asked for; None if not asked for.
        stat: of the file as read; None for bytes.
        note: what is to be said of the picture, in a word or two ("cut off"); "" for nearly all.
        captured: when it was taken, as its EXIF block says ("2024-05-01T23:30:05.25+09:00": the camera's clock); "": it does not say.
    """

    sha256: bytes
    pixels: UInt8 | None
    width: int = 0
    height: int = 0
    format: str = ""
    thumbnail: bytes | None = None
    stat: FileStat | None = None
    note: str = ""
    captured: str = ""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Which model made a vector. The runtime is not part of it: it must prove itself (`models.prove`).

    Attributes:
        name: row name, hub id or folder as the user named it.
        source: hub id, "bundled" or the folder's path.
        revision: commit or branch asked for; "" for bundled and folders.
        weights_sha256: hex digest of the weights file.
        output: which output is the vector: "cls", "pooler" or "embedding".
        dim: D.
        preprocess: the recipe of the pixels.
    """

    name: str
    source: str
    revision: str
    weights_sha256: str
    output: str
    dim: int
    preprocess: Preprocess

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def short(self) -> str:
        """16 hex digits that stand for all of it: what a store says of its vectors."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        data: dict[str, Any] = json.loads(text)
        recipe: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.pop("preprocess").items()}
        return cls(**data, preprocess=Preprocess(**recipe))


@runtime_checkable
class Embedder(Protocol):
    """Turns pixels into unit vectors. One model, loaded; safe to call from several threads.

    The same pixels give the same bits whatever their neighbours in the batch, in every process on one machine.
    """

    @property
    def fingerprint(self) -> Fingerprint: ...

    @property
    def runtime(self) -> str:
        """ "onnx", "torch", ... and the device, for people: "onnx (cpu)"."""
        ...

    def embed(self, pixels: UInt8) -> Float32:
        """uint8 (N, H, W, 3) RGB of `fingerprint.preprocess.output_size` -> float32 (N, D), each row finite and of length 1.

        A row for which the model gave nothing usable (NaN, infinite, zero) is all NaN; its neighbours are untouched.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class TextEmbedder(Embedder, Protocol):
    """An embedder that puts words into the same space as pictures (CLIP and its kind). What it needs for words is opened when first asked.

    Raises, each of its own members: ModelMissingError, ModelDamagedError, ModelError, where its words cannot be opened.
    """

    @property
    def calibration(self) -> tuple[float, float] | None:
        """(scale, bias): sigmoid(scale * cosine + bias) is the trained probability that words fit a picture; None: none was trained."""
        ...

    @property
    def words_sha256(self) -> str:
        """Hex digest of all that makes its words: text tower, tokenizer, rules."""
        ...

    def embed_text(self, texts: Sequence[str]) -> Float32:
        """N texts -> float32 (N, D), each row finite and of length 1; its dot product with a picture's vector is their cosine."""
        ...

    def cuts(self, text: str) -> int | None:
        """The number of tokens that are read of a text whose end is not; None: all of it is."""
        ...


class VectorStore(Protocol):
    """A vector index over the catalog's vectors: cosine, ids and metadata `uri`, `name`. It can be thrown away and rebuilt."""

    def upsert(self, ids: Sequence[str], vectors: Float32, metadatas: Sequence[Mapping[str, str]]) -> None:
        """Insert or replace, all or nothing per call as far as the engine can; vectors float32 (N, D) of unit length.

        Metadata is replaced as a whole. Raises StoreError for non-finite vectors, a wrong dimension, or an id twice in one call.
        """
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Remove; unknown ids are no error."""
        ...

    def query(self, vectors: Float32, n: int) -> tuple[list[list[str]], list[list[float]]]:
        """float32 (Q, D) -> per query ids and cosine similarities, highest first, at most min(n, count). Refuses NaN (StoreError)."""
        ...

    def count(self) -> int: ...

    def close(self) -> None:
        """Give back everything; twice is once."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """Words to search with, wherever a search takes a picture; for libraries whose model knows words."""

    words: str


@dataclass(frozen=True, slots=True)
class StoreRecords:
    """A batch on its way into a store; ids[i] belongs to vectors[i] and metadatas[i] ({"uri": ..., "name": ...})."""

    ids: list[str]
    vectors: Float32  # (N, D), unit length
    metadatas: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Match:
    """One image of the library that is similar to the query.

    Attributes:
        id: of the library item, "id:<number>"; works wherever a path does.
        rank: 1 is nearest.
        name: the image's class (its folder, unless told otherwise); "" if it has none.
        similarity: cosine of the two vectors, -1 to 1; exactly 1.0 for an identical file.
        closeness: percentile (0 to 1) of this similarity among the nearest-neighbour similarities of this library;
            .5 is a typical nearest neighbour here. None in a library of fewer than 50 images, and for words.
        probability: 0 to 1, that the words searched with fit this picture, as the model was trained to say it (`TextEmbedder.calibration`).
            None unless the search was by one phrase alone and the model has such a number.
        path: where the image lies, as the system names it (may hold surrogate escapes).
        uri: the same as valid Unicode; if it has undecodable bytes, a file: address that encodes them.
        identical: the file's bytes are the query's bytes.
        offline: its disk or folder cannot be reached now; shown from its thumbnail.
        gone: its folder can be reached, and the file is no longer there (the next index run finds it moved, or missing).
        root: the indexed folder it lies in; "" if that is not known.
        width, height: of the upright picture, pixels; 0 if that is not known, as `bytes` and `format` then are "" and 0.
        format: of the file, as Pillow names it.
        bytes: size of the file when it was indexed.
        captured: when it was taken, as the picture itself says ("2024-05-01T23:30:05": the camera's own clock, perhaps with a fraction
            and a time zone behind it); "": it does not say.
        modified: the file's own time when it was indexed, in the same words, here and now with the time zone; "" if that is not known.
        variant: which changed copy of the query it is nearest to, where these were asked for ("mirrored"); "": the query itself.
        copy: how it is a copy of the match behind which it stands ("same bytes", "same picture", "mirrored"); "" elsewhere.
        changed: which of the two was made of the other by the change that `copy` names: "this", or the "first"; "": that is not told.
        also: matches that show the same picture, where they were folded; nearest first, each with the rank that it would have had.
    """

    id: str
    rank: int
    name: str
    similarity: float
    closeness: float | None
    path: str
    uri: str
    identical: bool = False
    offline: bool = False
    gone: bool = False
    root: str = ""
    probability: float | None = None
    width: int = 0
    height: int = 0
    format: str = ""
    bytes: int = 0
    captured: str = ""
    modified: str = ""
    variant: str = ""
    copy: str = ""
    changed: str = ""
    also: tuple[Match, ...] = ()

    @property
    def distance(self) -> float:
        """1 - similarity, 0 to 2; lower is nearer."""
        return 1.0 - self.similarity


class Vote(NamedTuple):
    """The most likely class of a query: so many `votes` of `of` matches have it."""

    name: str
    votes: int
    of: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not in the library: its path as text, the reason's words, and the way out."""

    path: str
    reason: str
    hint: str


class PassRule(StrEnum):
    """Why nobody looked at a file: a closed list. The value is what people read after the number of files."""

    HIDDEN = "hidden, or in a hidden folder"
    COPIES = "in a folder of thumbnails or deleted files"
    EXCLUDED = "excluded"
    UNREAD = "of a format that is not read here"
    SHOT = "a raw file beside its JPEG"
    OTHER = "without a picture's name"


@dataclass(frozen=True, slots=True)
class Passed:
    """How many files a look at the folders passed by, by one rule.

    Attributes:
        rule: see `PassRule`. Under HIDDEN, COPIES and EXCLUDED only files with a picture's name count.
        detail: for UNREAD the ending (".cr2"); else "".
        files: how many.
        more: at least so many: a folder that is passed by is looked through only so far.
    """

    rule: str
    detail: str
    files: int
    more: bool


@dataclass(slots=True)
class IndexReport:
    """What one `index` run did; counts are files.

    Attributes:
        added, updated, moved, unchanged: that can be found. missing: that are no longer there. offline: that cannot be reached.
        excluded: that could be found until now, and that a rule leaves out. pruned: missing and excluded ones that left for good.
        renewed: pictures (contents) that were read again by newer pixel rules. embedded: pictures that went through the model.
        dated: pictures of an older version's library whose headers were asked when they were taken.
        notes: "cut off", ... -> pictures of this run of which that is to be said.
        outdated: format -> pictures that older pixel rules made and that `reread` would renew.
        skipped: each file that is there and cannot be searched. passed: files that nobody looked at, by rule, the most first.
        tags: path of each file that was added or updated -> its `models.Tag`s, none where it cannot be told; only if they were asked for.
    """

    added: int = 0
    updated: int = 0
    moved: int = 0
    unchanged: int = 0
    missing: int = 0
    offline: int = 0
    excluded: int = 0
    pruned: int = 0
    renewed: int = 0
    embedded: int = 0
    dated: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    outdated: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    tags: dict[str, list[Any]] = field(default_factory=dict)
    seconds: float = 0.0
