"""What people search with: a path, an address, bytes, an array, a PIL image, a library item, becomes one vector."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np

from .. import given
from ..advice import Advice, Setting, Verb
from ..config import EMBED_ENCODED, EMBED_PATHS, LEAST_WEIGHT, MIB, MOST_WEIGHT
from ..embedding import Embedded, embed_each, in_order
from ..errors import IDS, DecodeError, QueryError, SkipReason, UsageError
from ..images.fetch import fetch, is_address
from ..images.headers import orientation
from ..images.pool import PictureSource
from ..library.catalog import item_number
from ..library.model import WORDS
from ..library.reading import Reader
from ..models import checked_phrase, knowing_words, prove_words
from ..types import Embedder, Float32, Preprocess, Region, Text, TextEmbedder
from .decoders import Decoders

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112  # Exif

__all__ = ["Depiction", "Query", "QueryReader", "Source", "encoded"]

Source: TypeAlias = "str | os.PathLike[str] | bytes | np.ndarray[Any, Any] | Image | Text | Query | tuple[Any, float]"


@dataclass(frozen=True, slots=True)
class Depiction:
    """How a picture that was searched with can be shown: its path or encoded bytes, and the part of it that counted."""

    source: PictureSource
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched with: a vector, a label, a way to show it.

    Attributes:
        label: as the user named it, or what it is ("array", "bytes").
        vector: float32 (D,), unit length.
        show: how it can be shown; None: by its label alone.
        sha256: of the file's bytes; None where there is no file (arrays, regions).
        less: it counts against.
        words: the label is words, and the vector theirs.
        weight: above 0; how much it counts beside the others.
        read: of words whose end the model does not read: how many tokens it does.
        model: short name of the fingerprint of the model that made the vector; "": whoever made it knows.
    """

    label: str
    vector: Float32
    show: Depiction | None = None
    sha256: bytes | None = None
    less: bool = False
    words: bool = False
    weight: float = 1.0
    read: int | None = None
    model: str = ""


class _Opened(NamedTuple):
    """A picture that has to be decoded. `trusted`: it came from this machine."""

    label: str
    picture: PictureSource
    trusted: bool


class QueryReader:
    """Reads queries for one library; a picture that the library holds already is neither decoded nor embedded again.

    Args:
        reader: None: there is no library, every picture is embedded.
        decoders: their limits say how large a picture may be.
        recipe: of the model.
        embedder: called for the model only when a picture has to be embedded.
        notify: gets one plain line for each thing worth knowing.
    """

    def __init__(
        self,
        reader: Reader | None,
        *,
        decoders: Decoders,
        recipe: Preprocess,
        embedder: Callable[[], Embedder],
        notify: Callable[[str], None],
        allow_private_urls: bool = False,
    ) -> None:
        self._reader = reader
        self._decoders = decoders
        self._recipe = recipe
        self._embedder = embedder
        self._notify = notify
        self._allow_private_urls = allow_private_urls

    def read(self, source: Source, *, region: Region | None = None, less: bool = False) -> Query:
        """Raises QueryError in one line: missing, no picture, too large, not reachable; UsageError for a region outside it."""
        opened = self._open(source, whole=region is None)
        if isinstance(opened, Query):
            return replace(opened, less=less)
        (query,) = self._embedded([opened], opened.trusted, region)
        if isinstance(query, QueryError):
            raise query
        return replace(query, less=less)

    def read_all(self, likes: Sequence[Source], lesses: Sequence[Source], region: Region | None = None) -> list[Query]:
        """All of one question, likes first; what has to be embedded goes through the model together. Raises what `read` raises."""
        sources, weights = zip(*map(_weighed, [*likes, *lesses]), strict=True)
        parts = [] if region is None else [self.read(like, region=region) for like in sources[: len(likes)]]  # a single one
        queries = [*parts, *self._together(sources[len(parts) :])]
        weighed = enumerate(zip(queries, weights, strict=True))
        return [replace(query, less=place >= len(likes), weight=weight) for place, (query, weight) in weighed]

    def _together(self, sources: Sequence[Source]) -> list[Query]:
        opened = [self._open(source) for source in sources]
        read = {place: one for place, one in enumerate(opened) if isinstance(one, Query)}
        failed: dict[int, QueryError] = {}
        for trusted in (True, False):
            places = [place for place, one in enumerate(opened) if isinstance(one, _Opened) and one.trusted == trusted]
            for place, query in zip(places, self._embedded([cast(_Opened, opened[p]) for p in places], trusted), strict=True):
                if isinstance(query, QueryError):
                    failed[place] = query
                else:
                    read[place] = query
        if failed:
            raise failed[min(failed)]
        return [read[place] for place in range(len(opened))]

    def read_each(self, sources: Iterable[Source]) -> Iterator[Query | QueryError]:
        """Many, in their order, whole batches at once; for each its query, or the error that `read` would raise."""
        opened = enumerate(map(self._opened_or_error, sources))
        for (trusted, _), some in itertools.groupby(opened, _run):
            if trusted is None:
                yield from (one for _, one in some if not isinstance(one, _Opened))
            else:
                yield from self._embedded((one for _, one in some if isinstance(one, _Opened)), trusted)

    def _embedded(self, opened: Iterable[_Opened], trusted: bool, region: Region | None = None) -> Iterator[Query | QueryError]:
        under_way: deque[_Opened] = deque()

        def pictures() -> Iterator[PictureSource]:
            for one in opened:
                under_way.append(one)
                yield one.picture

        pool = self._decoders.pool(self._recipe, sent=not trusted)
        known = self._is_known if region is None else None
        for result in in_order(pictures(), lambda each: embed_each(each, pool, self._embedder, known, region=region)):
            yield self._query(under_way.popleft(), result, region)

    def _query(self, one: _Opened, result: Embedded | DecodeError, region: Region | None) -> Query | QueryError:
        if isinstance(result, DecodeError):
            what = f"this cannot be searched with: {result.reason.value}"
            if result.reason == SkipReason.NO_VECTOR:
                what = "the model can make nothing of this picture"
            error = QueryError(what, path=one.label, hint=result.hint)
            error.__cause__ = result
            result.source = None  # a picture is not kept for its error's sake
            return error
        vector, sha256 = result.vector, result.decoded.sha256
        if vector is None:
            assert self._reader is not None
            content = self._reader.content_of(sha256)
            if content is None:
                return QueryError("this picture has just left the library", path=one.label, hint="search again")
            vector = self._reader.vector(content)
        shown = Depiction(one.picture, region)
        return Query(one.label, vector, shown, sha256 if region is None else None, model=self._model)

    @property
    def _model(self) -> str:
        return "" if self._reader is None else self._reader.fingerprint.short

    def _of_words(self, text: Text) -> Query:
        phrase = checked_phrase(text.words)
        model = self.words()
        if (read := model.cuts(phrase)) is not None:
            self._notify(f"Only the first {read} pieces of these words are read by model {model.fingerprint.name}: {phrase[:60]}…")
        return Query(phrase, model.embed_text([phrase])[0], words=True, read=read, model=self._model)

    def words(self) -> TextEmbedder:
        """The model, proved to have the words that the library knows, if an index run told it any. ModelError: it knows none, or others."""
        model = knowing_words(self._embedder())
        record = None if self._reader is None else self._reader.meta(WORDS)
        if record is not None:
            prove_words(model, record)
        return model

    def _is_known(self, sha256: bytes) -> bool:
        return self._reader is not None and self._reader.content_of(sha256) is not None

    def _opened_or_error(self, source: Source) -> _Opened | Query | QueryError:
        try:
            return self._open(source)
        except QueryError as error:
            return error
        except UsageError as error:  # one of many that is of another kind stops the others no more than a bad file does
            failed = QueryError(error.what, path=error.path, hint=error.hint)
            failed.__cause__ = error
            return failed

    def _open(self, source: Any, *, whole: bool = True) -> _Opened | Query:
        """A picture to be decoded, or a query at once: one that was read before, or (`whole`) an image whose vector the library has."""
        if isinstance(source, Query):
            if source.model not in ("", self._model) and self._reader is not None:
                raise QueryError(
                    "this query was read before the library was brought to another model", path=source.label, hint="read it again"
                )
            return _usable(source, None if self._reader is None else self._reader.fingerprint.dim)
        if isinstance(source, Text):
            return self._of_words(source)
        if isinstance(source, (bytes, bytearray, memoryview)):
            return _Opened("bytes", _bounded(bytes(source), "bytes", self._decoders.of_sent.file_bytes), trusted=False)
        if isinstance(source, np.ndarray):
            return _Opened("array", encoded(_from_array(source)), trusted=True)
        if hasattr(source, "save") and hasattr(source, "mode"):
            return _Opened("image", encoded(source), trusted=True)
        text = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
        if not isinstance(text, str):
            raise UsageError(
                f"a {type(source).__name__} cannot be searched with", hint="give a path, an address, bytes, an array or a PIL image"
            )
        if (number := item_number(text)) is not None:
            item = None if self._reader is None else self._reader.item(number)
            if item is None:
                raise QueryError(f"there is no image {text} in the library", hint=IDS)
            assert self._reader is not None
            if not whole:
                return _Opened(item.path, item.source, trusted=True)
            return Query(item.path, self._reader.vector(item.content), Depiction(item.source), item.sha256, model=self._model)
        if is_address(text):
            return _Opened(
                text, fetch(text, allow_private=self._allow_private_urls, max_bytes=self._decoders.of_sent.file_bytes), trusted=False
            )
        return _Opened(text, _file(text), trusted=True)


def _weighed(source: Any) -> tuple[Any, float]:
    """What was given, or what was given with its weight: ("a.jpg", .5)."""
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[1], (str, bytes)):
        return source[0], given.number(source[1], "the weight of a query", least=LEAST_WEIGHT, most=MOST_WEIGHT)
    return source, 1.0


def _usable(query: Query, dim: int | None) -> Query:
    """A query that the caller may have made: UsageError unless its vector can be compared with the library's, float (dim,)."""
    vector = query.vector
    is_one = isinstance(vector, np.ndarray) and np.issubdtype(vector.dtype, np.floating) and vector.ndim == 1 and dim in (None, len(vector))
    if not (is_one and np.isfinite(vector).all() and vector.any()):
        size = "(D,)" if dim is None else f"({dim},)"
        raise UsageError(f"the query's vector must be an array of floats {size}, finite and not zero", hint="make it with engine.embed")
    return query


def _run(numbered: tuple[int, _Opened | Query | QueryError]) -> tuple[bool | None, int]:
    """What goes through the decoders together: one kind, and never more than may wait behind one that is slow."""
    number, one = numbered
    if not isinstance(one, _Opened):
        return None, 0
    return one.trusted, number // (EMBED_ENCODED if isinstance(one.picture, bytes) else EMBED_PATHS)


def _file(text: str) -> str:
    """The file that is meant, links followed."""
    path = str(Path(os.path.expanduser(given.path(text, "the image"))).absolute()) if text else ""
    if not os.path.lexists(path):
        raise QueryError("there is no such file", path=text, hint="check the path")
    if os.path.isdir(path):
        hint = Advice("to add it to the library: ", Verb("index", ("FOLDER",)))
        raise QueryError("this is a folder, not an image", path=text, hint=hint)
    return os.path.realpath(path)


def _bounded(data: bytes, label: str, most: int) -> bytes:
    if len(data) > most:
        hint = Advice("save it as a file and give its path, or raise the limit with ", Setting("max_megabytes"))
        raise QueryError(f"the picture is larger than {most / MIB:g} MB", path=label, hint=hint)
    return data


def _from_array(array: np.ndarray[Any, Any]) -> Image:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4: the last is alpha); bool, integers or floats, shown as a file of them is (`ranges`)."""
    from PIL import Image

    from ..images import ranges

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise QueryError(
            f"an array of shape {array.shape} is no picture", hint="give (height, width), (height, width, 3) or (height, width, 4)"
        )
    if array.dtype.kind not in "buif":
        raise QueryError(f"an array of {array.dtype} is no picture", hint="give integers, floats or bool")
    colours = array[..., :3]
    pixels = ranges.eight_bits(colours, ranges.shown_range(colours))
    if array.shape[2:] == (4,):
        pixels = np.concatenate([pixels, ranges.opaque(array[..., 3:])], axis=2)
    return Image.fromarray(np.ascontiguousarray(pixels))


def encoded(image: Any) -> bytes:
    """Losslessly, so that a picture in memory goes through the same rules as one in a file."""
    from PIL import Image

    out = io.BytesIO()
    exif = Image.Exif()
    try:
        image.load()  # some pictures are turned while they load, and lose the tag
    except Exception as error:  # Pillow's readers raise all kinds; of a closed one, AssertionError
        raise QueryError("this PIL image cannot be read", hint="give the path of its file") from error
    with contextlib.suppress(Exception):  # a tag that makes no sense must not cost the picture; of all tags only this one counts
        foreign = any(name in image.info for name in ("xmp", "XML:com.adobe.xmp", "Raw profile type exif"))  # Pillow turns by these, too
        turned = orientation(image.info.get("exif")) if foreign else image.getexif().get(_ORIENTATION)
        if turned in range(1, 9):
            exif[_ORIENTATION] = turned
    lossless = "PNG" if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else "TIFF"
    try:
        image.save(out, lossless, exif=exif, **({"compress_level": 1} if lossless == "PNG" else {}))
    except (OSError, ValueError, KeyError) as error:
        raise QueryError(f"a PIL image of mode {image.mode} cannot be searched with", hint='convert it: image.convert("RGB")') from error
    return out.getvalue()
