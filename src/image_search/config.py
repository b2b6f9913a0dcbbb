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

THUMBNAIL_QUALITY = 75  # of WebP, 0 to 100

EXCLUDED_FOLDERS = frozenset(  # of copies that programs make of a person's pictures: Synology, macOS archives, thumbnails, bins
    {"@eadir", "thumbnails", ".thumbnails", "thumbs", ".thumbs", "__macosx"}
    | {"#recycle", "$recycle.bin", "lost+found", "system volume information"}
)

PREFETCH = 64  # decoded pictures that may wait for the model: ~10 MB, more than one model call uses up
WORKER_START_SECONDS = 60.0  # a worker needs 0.1 CPU s to start; a busy machine much longer
WORKER_CLOSE_SECONDS = 1.0  # an idle worker leaves within milliseconds of its input's end
WORKER_BASE_BYTES = 128 * MIB  # what a worker holds before it decodes, at most
WORKER_GROWN_BYTES = 256 * MIB  # address space left behind by earlier decodes: then a fresh worker is cheaper than a smaller cap
GRACE_FACTOR = 9  # times longer for a worker that computes: on a busy machine the clock says little, and CPU time has its own limit
WATCH_SECONDS = 0.2  # how often the clock of a decode is looked at
WATCH_MEMORY_SECONDS = 0.5  # where its memory is watched, too: asking costs milliseconds

URL_SECONDS = 10.0  # for everything together
URL_REDIRECTS = 3
URL_ADDRESSES = 4  # of one host that are tried


# --- models -----------------------------------------------------------------------------------------------------------------


# --- library ----------------------------------------------------------------------------------------------------------------

THUMBNAIL_SIDE = 256  # pixels, longer side: sharp in a grid, ~8 KB as WebP


# --- stores -----------------------------------------------------------------------------------------------------------------


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
