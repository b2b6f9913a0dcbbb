"""What people search with: a path, an address, bytes, an array, a PIL image, a library item, becomes one vector."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..config import UPLOAD_LIMITS
from ..errors import DecodeError, QueryError
from ..images.fetch import fetch, is_address
from ..images.pool import DecodePool
from ..library.catalog import Catalog, item_number
from ..paths import from_bytes
from ..types import Embedder, Float32, Region

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112  # Exif

__all__ = ["Query", "QueryReader", "Source", "encoded"]

Source: TypeAlias = "str | os.PathLike[str] | bytes | np.ndarray[Any, Any] | Image | Query"


@dataclass(frozen=True, slots=True)
class Query:
    """One picture that is searched with.

    Attributes:
        label: as the user named it, or what it is ("array", "bytes").
        vector: float32 (D,), unit length.
        sha256: of the file's bytes; None where there is no file (arrays, regions).
        picture: path or encoded bytes, for showing it.
        less: it counts against.
    """

    label: str
    vector: Float32
    sha256: bytes | None
    picture: str | bytes
    region: Region | None = None
    less: bool = False


class QueryReader:
    """Reads queries for one library; a picture that the library holds already is neither decoded nor embedded again.

    Args:
        catalog: None: there is no library, every picture is embedded.
        pool: of the library's limits; `upload_pool` gets what comes over a network or a pipe.
        embedder: called for the model only when a picture has to be embedded.
    """

    def __init__(
        self,
        catalog: Catalog | None,
        *,
        pool: Callable[[], DecodePool],
        upload_pool: Callable[[], DecodePool],
        embedder: Callable[[], Embedder],
        allow_private_urls: bool = False,
    ) -> None:
        self._catalog = catalog
        self._pool = pool
        self._upload_pool = upload_pool
        self._embedder = embedder
        self._allow_private_urls = allow_private_urls

    def read(self, source: Source, *, region: Region | None = None, less: bool = False) -> Query:
        """Raises QueryError in one line: missing, no picture, too large, not reachable; UsageError for a region outside it."""
        if isinstance(source, Query):  # read before
            return replace(source, less=less)
        label, picture, trusted = self._open(source)
        if isinstance(picture, int):
            path, content, sha256 = self._item(label, picture)
            if region is None:
                return Query(path, self._vector(content), sha256, path, None, less)
            picture, trusted = path, True
        try:
            pool = self._pool() if trusted else self._upload_pool()
            decoded = pool.decode(picture, region=region, known=self._is_known if region is None else None)
        except DecodeError as error:
            raise QueryError(f"this cannot be searched with: {error.reason.value}", path=label, hint=error.hint) from error
        if decoded.pixels is None:
            return Query(label, self._vector(self._contents(decoded.sha256)[0]), decoded.sha256, picture, None, less)
        vector = self._embedder().embed(decoded.pixels[None])[0]
        if not np.isfinite(vector).all():
            raise QueryError("the model can make nothing of this picture", path=label)
        return Query(label, vector, decoded.sha256 if region is None else None, picture, region, less)

    def _item(self, label: str, number: int) -> tuple[str, int, bytes]:
        """(path, content id, sha256) of a library item."""
        rows = self._rows(
            "SELECT r.path, f.path, c.id, c.sha256 FROM files AS f JOIN roots AS r ON r.id = f.root_id"
            " JOIN content AS c ON c.id = f.content_id WHERE f.id = ? AND f.state = 'present'",
            number,
        )
        if not rows:
            raise QueryError(f"there is no image {label} in the library", hint="ids are shown by: image-search search --json")
        root, relative, content, sha256 = rows[0]
        return from_bytes(os.path.join(root, relative)), content, sha256

    def _contents(self, sha256: bytes) -> list[int]:
        return [row[0] for row in self._rows("SELECT id FROM content WHERE sha256 = ?", sha256)]

    def _is_known(self, sha256: bytes) -> bool:
        return bool(self._contents(sha256))

    def _vector(self, content: int) -> Float32:
        assert self._catalog is not None
        return self._catalog.vector(content)

    def _rows(self, sql: str, value: int | bytes) -> list[Any]:
        return [] if self._catalog is None else self._catalog.rows(sql, (value,))

    def _open(self, source: Any) -> tuple[str, str | bytes | int, bool]:
        """(label, path or bytes or item number, whether it came from this machine)."""
        if isinstance(source, (bytes, bytearray, memoryview)):
            return "bytes", _bounded(bytes(source), "bytes"), False
        if isinstance(source, np.ndarray):
            return "array", encoded(_from_array(source)), True
        if hasattr(source, "save") and hasattr(source, "mode"):
            return "image", encoded(source), True
        text = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
        if not isinstance(text, str):
            raise QueryError(
                f"a {type(source).__name__} cannot be searched with", hint="give a path, an address, bytes, an array or a PIL image"
            )
        number = item_number(text)
        if number is not None:
            return text, number, True
        if is_address(text):
            return text, fetch(text, allow_private=self._allow_private_urls), False
        path = str(Path(os.path.expanduser(text)).absolute()) if text else ""
        if not os.path.lexists(path):
            raise QueryError("there is no such file", path=text, hint="check the path")
        if os.path.isdir(path):
            raise QueryError("this is a folder, not an image", path=text, hint="to add it to the library: image-search index FOLDER")
        return text, os.path.realpath(path), True


def _bounded(data: bytes, label: str) -> bytes:
    if len(data) > UPLOAD_LIMITS.file_bytes:
        raise QueryError(
            f"the picture is larger than {UPLOAD_LIMITS.file_bytes // 1024**2} MB", path=label, hint="save it as a file and give its path"
        )
    return data


def _from_array(array: np.ndarray[Any, Any]) -> Image:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16 (full range), bool, or float from 0 to 1."""
    from PIL import Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise QueryError(
            f"an array of shape {array.shape} is no picture", hint="give (height, width), (height, width, 3) or (height, width, 4)"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = (array // 257).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise QueryError("an array of floats must lie between 0 and 1", hint="divide by its largest value, or give uint8")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise QueryError(f"an array of {array.dtype} is no picture", hint="give uint8, uint16, bool or float from 0 to 1")
    return Image.fromarray(np.ascontiguousarray(array))


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
        if (turned := image.getexif().get(_ORIENTATION)) in range(1, 9):
            exif[_ORIENTATION] = turned
    lossless = "PNG" if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else "TIFF"
    try:
        image.save(out, lossless, exif=exif, **({"compress_level": 1} if lossless == "PNG" else {}))
    except (OSError, ValueError, KeyError) as error:
        raise QueryError(f"a PIL image of mode {image.mode} cannot be searched with", hint='convert it: image.convert("RGB")') from error
    return out.getvalue()
