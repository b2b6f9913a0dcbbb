"""Every error of this package.

    ImageSearchError                  base: one plain line
    ├── UsageError                    the caller asked for something impossible
    │   └── NeedsFolderError          of a collection, what only a library in a folder can do
    ├── DecodeError                   these bytes cannot become pixels (path, reason)
    ├── QueryError                    the query cannot be used (missing, no image, 404, time-out, ...)
    │   └── WordsError                these words cannot be searched with
    ├── LibraryError                  something about the library folder
    │   ├── LibraryNotFoundError      there is no library (yet)
    │   ├── LibraryBusyError          another process writes to it (pid)
    │   ├── LibraryVersionError       made by a newer version of this program
    │   ├── LibraryDamagedError       the catalog is damaged
    │   ├── LibraryReadOnlyError      it cannot be written
    │   └── DiskFullError             no room left
    ├── DatasetError                  a data set of Parquet files, or a bucket, cannot be read or written
    ├── ClusterError                  a cluster cannot be reached, or cannot do its work
    ├── StoreError                    the vector store failed; the catalog is untouched
    └── ModelError                    a model cannot be used
        ├── UnknownModelError         no such row, folder or hub id
        ├── ModelMissingError         its files are not on this machine and could not be fetched
        ├── ModelDamagedError         its file does not load or has another hash
        ├── ModelMismatchError        the library was made with another model
        ├── NoWordsError              it knows pictures, and no words
        └── MissingExtraError         an optional dependency is absent; also an ImportError

Errors carry data: `path`, `hint` (what to do next) and, where it applies, `reason`, `pid`. `str(error)` is the one line shown to people:
"what: path. Hint". A hint that names a setting or a verb is an `Advice`: `str(error)` says it as Python does, `error.told` as another face
does. Control characters are escaped where the line is shown (`paths.shown`), not here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

from .advice import Advice, Named, Setting, Verb, capitalised, told

if TYPE_CHECKING:
    from .images.opening import Elsewhere, FileInRoot

__all__ = [
    "ClusterError",
    "DatasetError",
    "DecodeError",
    "DiskFullError",
    "ImageSearchError",
    "LibraryBusyError",
    "LibraryDamagedError",
    "LibraryError",
    "LibraryNotFoundError",
    "LibraryReadOnlyError",
    "LibraryVersionError",
    "MissingExtraError",
    "ModelDamagedError",
    "ModelError",
    "ModelMismatchError",
    "ModelMissingError",
    "NeedsFolderError",
    "NoWordsError",
    "QueryError",
    "SkipReason",
    "StoreError",
    "UnknownModelError",
    "UsageError",
    "WordsError",
    "reason_code",
]


class SkipReason(StrEnum):
    """Why a file is not in the library: a closed list, so that reports can be counted and tested.

    The value is what people read; the hint that goes with it is in `HINTS`.
    """

    EMPTY = "empty file"
    NOT_AN_IMAGE = "not an image"
    UNSUPPORTED = "unsupported format"
    DAMAGED = "damaged image"
    TOO_MANY_PIXELS = "too many pixels"
    FILE_TOO_LARGE = "file too large"
    TOO_SMALL = "picture too small"
    TOOK_TOO_LONG = "took too long to decode"
    TOO_MUCH_MEMORY = "needs too much memory to decode"
    CRASHED = "crashed the decoder"
    CHANGED = "changed while it was read"
    VANISHED = "vanished before it was read"
    UNREADABLE = "cannot be read"
    LINK = "symbolic link"
    SPECIAL = "not a regular file"
    NO_VECTOR = "the model gave no usable vector"


HINTS: dict[SkipReason, str] = {
    SkipReason.EMPTY: "copy it again",
    SkipReason.NOT_AN_IMAGE: "its content is none of the supported image formats",
    SkipReason.UNSUPPORTED: "convert it to JPEG, PNG, WebP or TIFF",
    SkipReason.DAMAGED: "restore it from a backup or save it again with an image editor",
    SkipReason.TOO_MANY_PIXELS: Advice("raise the limit with ", Setting("max_megapixels")),
    SkipReason.FILE_TOO_LARGE: "save it smaller",
    SkipReason.TOO_SMALL: "it has no content to compare",
    SkipReason.TOOK_TOO_LONG: "save it again with an image editor",
    SkipReason.TOO_MUCH_MEMORY: "save it again as a baseline JPEG",
    SkipReason.CRASHED: "save it again with an image editor",
    SkipReason.CHANGED: "index again when it is complete",
    SkipReason.VANISHED: "index again",
    SkipReason.UNREADABLE: "check its permissions",
    SkipReason.LINK: "index the folder it points to",
    SkipReason.SPECIAL: "only regular files are read",
    SkipReason.NO_VECTOR: "please report this picture's size and format",
}


def reason_code(words: str) -> str:
    """The closed list's own name of a reason, "" if it is none."""
    return next((reason.name for reason in SkipReason if reason.value == words), "")


MAKE_ONE = Advice("make one with: ", Verb("index", ("FOLDER",)))  # where there is no library
IDS = Advice("a match tells its id: ", Verb("search", ("IMAGE", Setting("json", "True"))))  # where an id is none
SALVAGE = Advice("save what is still good with: ", Verb("salvage"))  # the way out of a damaged catalog


class ImageSearchError(Exception):
    """Base of all errors here.

    Args:
        what: what went wrong, no full stop.
        path: the file or folder it is about, if any.
        hint: what to do next, if there is something to do.
    """

    def __init__(self, what: str, *, path: str | os.PathLike[str] | None = None, hint: str = "") -> None:
        self.what = what
        self.path = None if path is None else os.fspath(path)
        self.hint = hint
        super().__init__(str(self.line))

    @property
    def line(self) -> Advice:
        """The one line, its settings and verbs still named: to be told, or to be part of another line."""
        where = "" if self.path is None else f": {self.path}"
        return Advice(self.what, where, *((". ", capitalised(self.hint)) if self.hint else ()))

    def told(self, say: Callable[[Named], str]) -> str:
        """The one line, its settings and verbs in a face's own words."""
        return told(self.line, say)


class UsageError(ImageSearchError):
    pass


class NeedsFolderError(UsageError):
    """A collection that stands alone was asked for what only a library in a folder can do."""


class DecodeError(ImageSearchError):
    """A file that cannot become pixels. `reason` is one of the closed list; `detail` is the decoder's own word, for --debug.

    `sha256` (32 bytes) is the hash of the bytes that failed where they could be read, else None. `source`: what was to become pixels, a
    path, a file of an indexed folder or the encoded bytes; set where one of many failed.
    """

    source: str | bytes | FileInRoot | Elsewhere | None = None

    def __init__(
        self,
        reason: SkipReason,
        *,
        path: str | os.PathLike[str] | None = None,
        detail: str = "",
        sha256: bytes | None = None,
        hint: str = "",
    ) -> None:
        self.reason = reason
        self.detail = detail
        self.sha256 = sha256
        super().__init__(str(reason.value), path=path, hint=hint or HINTS[reason])


class QueryError(ImageSearchError):
    pass


class WordsError(QueryError):
    """None, far too many, none that can be typed, none that the model knows."""


class LibraryError(ImageSearchError):
    pass


class LibraryNotFoundError(LibraryError):
    pass


class LibraryBusyError(LibraryError):
    """Another process holds the library. `pid` is its process id, None if it could not be read."""

    def __init__(self, what: str, *, path: str | os.PathLike[str] | None = None, hint: str = "", pid: int | None = None) -> None:
        self.pid = pid
        super().__init__(what, path=path, hint=hint)


class LibraryVersionError(LibraryError):
    pass


class LibraryDamagedError(LibraryError):
    pass


class LibraryReadOnlyError(LibraryError):
    pass


class DiskFullError(LibraryError):
    pass


class DatasetError(ImageSearchError):
    pass


class ClusterError(ImageSearchError):
    pass


class StoreError(ImageSearchError):
    pass


class ModelError(ImageSearchError):
    pass


class UnknownModelError(ModelError):
    pass


class ModelMissingError(ModelError):
    pass


class ModelDamagedError(ModelError):
    pass


class ModelMismatchError(ModelError):
    pass


class NoWordsError(ModelError):
    pass


class MissingExtraError(ModelError, ImportError):
    """An optional dependency is absent. The hint is the pip line that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed",
            hint=f'install it with: pip install "ai-image-search-engine[{extra}]"',
        )


def in_words(error: object) -> str:
    """What a foreign error says, in one line, without the number that the system has for it ("[Errno 111] ...")."""
    return re.sub(r"\[(Errno|WinError) -?\d+\] ", "", " ".join(str(error).split()))


@contextlib.contextmanager
def translated_os_errors(
    thing: str,
    path: str | os.PathLike[str],
    *,
    failed: Callable[[str], ImageSearchError],
    hint: str = "",
    room: str = "make room and try again",
    refused: type[ImageSearchError] = LibraryReadOnlyError,
) -> Iterator[None]:
    """Around what we do to files of our own: whatever the system refuses becomes one of our errors.

    Args:
        thing: what the files are, for people: "the vector store".
        path: where they are.
        failed: the system's words ("Input/output error") -> the error, where it is neither of the next two.
        hint: what to do where they cannot be written.
        room: what to do where the disk is full (DiskFullError).
        refused: the kind of error where they cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError("the disk is full", path=path, hint=room) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise refused(f"{thing} cannot be written", path=path, hint=hint) from error
        raise failed((error.strerror or "error").lower()) from error
