"""The codes of all vectors as one file beside the catalog, so that a search need not read the catalog's vectors row by row.

Derived from the catalog and tied to one generation of it; written anew by whoever indexed, once enough has changed. It may be deleted at
any time. What is doubtful about it, a wrong size, a wrong checksum, another model's dimension, is as if it were not there: slower answers,
never wrong ones. What makes an answer is read from the catalog: the codes only say which rows may be left out.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .codes import Codes

__all__ = ["CODES_NAME", "Kept", "kept_generation", "read", "remove", "write"]

CODES_NAME = "codes.bin"
_DRAFT = "codes.next"
_MAGIC = b"image-search codes 1".ljust(24, b"\0")
_HEAD = struct.Struct("<24sqIQQ6I")  # generation, dimension, files, contents, a CRC-32 of each array
_CHECK = struct.Struct("<I")  # of the header
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@dataclass(slots=True)
class Kept:
    """What the file holds.

    Attributes:
        generation: the catalog's.
        files, contents_of_files: int64 (F,) each: every present file, and its content.
        contents: int64 (N,), the contents in the order of their codes.
        codes: of N vectors, and room for more.
    """

    generation: int
    files: npt.NDArray[np.int64]
    contents_of_files: npt.NDArray[np.int64]
    contents: npt.NDArray[np.int64]
    codes: Codes

    def arrays(self) -> list[npt.NDArray[Any]]:
        return [self.files, self.contents_of_files, self.contents, self.codes.scale, self.codes.slack, self.codes.numbers]


def read(folder: Path, dim: int, *, spare: float) -> Kept | None:
    """The file of this library; None where there is none, or any doubt about it.

    Args:
        spare: room for later codes, as a share.
    """
    with contextlib.suppress(OSError, MemoryError), _open(folder) as file:
        head = _head(file)
        if head is None or head.dim != dim or not 0 < head.contents <= head.files:
            return None
        layout = _layout(head.files, head.contents, dim)
        sizes = [np.dtype(kind).itemsize * math.prod(shape) for kind, shape in layout]
        if os.fstat(file.fileno()).st_size != _HEAD.size + _CHECK.size + sum(sizes):
            return None
        more = int(spare * head.contents) + 64
        arrays: list[Any] = []
        for (kind, shape), check in zip(layout, head.checks, strict=True):
            array = np.empty((shape[0] + more, *shape[1:]), kind)
            bytes_ = _bytes(array[: shape[0]])
            if file.readinto(bytes_) != len(bytes_) or zlib.crc32(bytes_) != check:
                return None
            arrays.append(array)
        files, contents_of_files, contents, scale, slack, numbers = arrays
        codes = Codes(numbers, scale, slack)
        return Kept(head.generation, files[: head.files], contents_of_files[: head.files], contents[: head.contents], codes)
    return None


def kept_generation(folder: Path, dim: int) -> int | None:
    """Of which generation the file is, by its header alone; None: there is none for this model."""
    with contextlib.suppress(OSError), _open(folder) as file:
        head = _head(file)
        return None if head is None or head.dim != dim else head.generation
    return None


def write(folder: Path, kept: Kept) -> None:
    """Put it in place of the one before, whole or not at all. By the library's one writer. Raises OSError."""
    count, dim = len(kept.contents), kept.codes.numbers.shape[1]
    layout = _layout(len(kept.files), count, dim)
    arrays = [np.ascontiguousarray(array[: shape[0]], kind) for array, (kind, shape) in zip(kept.arrays(), layout, strict=True)]
    checks = [zlib.crc32(_bytes(array)) for array in arrays]
    head = _HEAD.pack(_MAGIC, kept.generation, dim, len(kept.files), count, *checks)
    draft = folder / _DRAFT
    try:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()  # of a writer that was killed
        with open(os.open(draft, _WRITE, 0o666), "wb") as file:
            file.write(head + _CHECK.pack(zlib.crc32(head)))
            for array in arrays:
                file.write(_bytes(array))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, folder / CODES_NAME)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def remove(folder: Path) -> None:
    """Raises OSError."""
    (folder / CODES_NAME).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Head:
    generation: int
    dim: int
    files: int
    contents: int
    checks: tuple[int, ...]  # CRC-32 of each array


def _head(file: io.BufferedReader) -> _Head | None:
    raw = file.read(_HEAD.size)
    if len(raw) < _HEAD.size or zlib.crc32(raw) != int.from_bytes(file.read(_CHECK.size), "little"):
        return None
    magic, generation, dim, files, contents, *checks = _HEAD.unpack(raw)
    return _Head(generation, dim, files, contents, tuple(checks)) if magic == _MAGIC else None


def _layout(files: int, contents: int, dim: int) -> list[tuple[str, tuple[int, ...]]]:
    """Type and shape of each array of `Kept`, in the file's order."""
    whole, real = "<i8", "<f4"
    return [(whole, (files,)), (whole, (files,)), (whole, (contents,)), (real, (contents,)), (real, (contents,)), ("i1", (contents, dim))]


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _open(folder: Path) -> io.BufferedReader:
    """To read. OSError where it is not a plain file: a link is not followed, a pipe is not waited for."""
    file = open(os.open(folder / CODES_NAME, _READ), "rb")  # noqa: SIM115 - whoever asks closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("no plain file")
    return file
