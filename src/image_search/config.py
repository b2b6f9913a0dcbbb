"""Every setting with its default, its unit and its reason, in one place. An argument beats the environment, which beats the default."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError

__all__ = ["LIBRARY_ENV", "Limits", "available_cpus", "default_library"]

LIBRARY_ENV = "IMAGE_SEARCH_LIBRARY"

MIB = 1024 * 1024


# --- images -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """What one picture may cost. Evidence: a 34-byte WebP takes 2.7 GB, a 280 KB JPEG 6.5 CPU seconds in bare Pillow."""

    megapixels: float = 200.0  # phones make 200 MP JPEGs; more is skipped, listed, and can be allowed
    file_bytes: int = 500 * MIB  # above it a file is no photo
    memory_bytes: int = 1024 * MIB  # address space of one decode over the worker's base
    cpu_seconds: int = 10  # of one decode
    wall_seconds: float = 20.0  # of one decode: a stalled disk or network folder
    frames: int = 6  # first frame that is not flat is sought among these
    files_per_worker: int = 500  # then the worker is replaced: leaks in foreign decoders stay bounded


LIBRARY_LIMITS = Limits()
# A picture that comes over a network or a pipe: nobody chose to keep it, so it gets less.
UPLOAD_LIMITS = Limits(megapixels=50.0, file_bytes=20 * MIB)

URL_SECONDS = 10.0
URL_REDIRECTS = 3


# --- models -----------------------------------------------------------------------------------------------------------------


# --- library ----------------------------------------------------------------------------------------------------------------

THUMBNAIL_SIDE = 256  # pixels, longer side: sharp in a grid, ~8 KB as WebP


# --- stores -----------------------------------------------------------------------------------------------------------------

DEFAULT_STORE = "chroma"  # of a new library: the kind that any of Chroma's own clients can read

STORE_BATCH = 1000  # records a call: a batch of one costs 24 times as much
STORE_MAX_CHANGED = 0.3  # share of a library's files; where more have changed, a rebuild is cheaper and leaves no dead records behind
STORE_MAX_DEAD = 0.3  # share of a store's records that were deleted or replaced and still take room in its index; then it is rebuilt

STORE_WRITER_SECONDS = 10.0  # a writer waits for readers that are making their copy
STORE_READER_SECONDS = 0.25  # a reader waits for another reader; a writer takes longer, and then exact search answers

STORE_SPARE_BYTES = 32 * MIB  # of the disk that are left to others
STORE_GROWTH = 3  # a batch takes up to this many times its vectors' bytes: index, database, its journal

STORE_HELLO_SECONDS = 5.0  # to find out whether a server is there at all
STORE_ANSWER_SECONDS = 60.0  # for one answer of a server: Chroma's own client would wait for ever


# --- search -----------------------------------------------------------------------------------------------------------------

MIN_CLOSENESS_IMAGES = 50  # below it a percentile says nothing
CLOSENESS_SAMPLE = 1000  # images; sampling error of a percentile is then under .02


# --- index ------------------------------------------------------------------------------------------------------------------

COMMIT_SECONDS = 1.0  # what a kill may cost at most, and how often the bar moves; a commit costs some 10 ms


# --- web --------------------------------------------------------------------------------------------------------------------


# --- the machine and the library's place ------------------------------------------------------------------------------------


def available_cpus() -> int:
    """CPUs this process may use (affinity, not the machine's number: containers and taskset count)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def default_library(argument: str | os.PathLike[str] | None = None) -> Path:
    """The library folder: the argument, else $IMAGE_SEARCH_LIBRARY, else the per-user data folder."""
    given = os.fspath(argument) if argument is not None else os.environ.get(LIBRARY_ENV)
    if given is not None:
        if not given:
            raise UsageError("the library's name is empty", hint=f"give --library FOLDER or unset {LIBRARY_ENV}")
        return Path(os.path.expanduser(given)).absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("image-search", appauthor=False)) / "library"
