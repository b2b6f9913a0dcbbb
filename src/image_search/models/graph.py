"""An ONNX file, read once: its graph, its weights as arrays, and the hash of every byte.

Given a whole file, ONNX Runtime copies the weights twice: 2.4 CPU s and 3.4 GB at its peak for SigLIP 2's words (1.13 GB). Given arrays,
once: .6 CPU s and 2.3 GB. Mapped from the disk they would cost .04 CPU s, but a file that is written over while it is in use would then
change vectors, or end the process. What is taken out here is large and plain; all else stays in the graph, and a file of another build is
given as it is. Field numbers: onnx.proto, in Protocol Buffers' wire format.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import ModelMissingError

__all__ = ["OnnxFile", "read_onnx"]

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14  # of a tensor
_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype(np.float32), 7: np.dtype(np.int64), 10: np.dtype(np.float16), 11: np.dtype(np.float64)}
_LARGE = 1024  # bytes; what is smaller is looked at when graphs are optimised
_VARINT, _BYTES = 0, 2  # kinds of fields; the other two have a fixed size
_FIXED = {1: 8, 5: 4}


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """What ONNX Runtime is given.

    Attributes:
        content: the graph, without `arrays`.
        arrays: weights that were taken out of it, by name; they must live as long as what was made of them.
        beside: the content of the files beside it that hold weights (ONNX external data), by their names.
        digests: hex sha256 of the file as it lies on the disk, and of each of those beside it.
    """

    content: bytes
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    beside: Mapping[str, bytes] = field(default_factory=dict)
    digests: tuple[str, ...] = ()


def read_onnx(paths: tuple[Path, ...], hint: str = "fetch or copy it again") -> OnnxFile:
    """The ONNX file `paths[0]` and those beside it. ModelMissingError: one of them cannot be read."""
    path = paths[0]
    try:
        try:
            content, arrays, digest = _taken_apart(path)
        except _OddError:
            content, arrays = path.read_bytes(), {}
            digest = hashlib.sha256(content).hexdigest()
        beside = {}
        for path in paths[1:]:
            beside[path.name] = path.read_bytes()
    except OSError as error:
        raise ModelMissingError("this model file cannot be read", path=path, hint=hint) from error
    digests = (digest, *(hashlib.sha256(data).hexdigest() for data in beside.values()))
    return OnnxFile(content, arrays, beside, digests)


class _OddError(Exception):
    """Not built as expected: for ONNX Runtime to judge."""


def _taken_apart(path: Path) -> tuple[bytes, dict[str, npt.NDArray[Any]], str]:
    """(graph, weights, hex sha256 of the whole)."""
    if sys.byteorder != "little":
        raise _OddError
    with path.open("rb") as file:
        source = _Source(file, path.stat().st_size)
        arrays: dict[str, npt.NDArray[Any]] = {}
        parts: list[bytes] = []
        for number, kind, length in source.fields(source.size):
            if (number, kind) == (_MODEL_GRAPH, _BYTES):
                parts.append(_message(number, _graph(source, source.at + length, arrays)))
            else:
                parts.append(source.field(number, kind, length))
        return b"".join(parts), arrays, source.hash.hexdigest()


def _graph(source: _Source, end: int, arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    parts: list[bytes] = []
    for number, kind, length in source.fields(end):
        if (number, kind) == (_GRAPH_INITIALIZER, _BYTES) and length >= _LARGE:
            parts.append(_message(number, _tensor(source, source.at + length, arrays)))
        else:
            parts.append(source.field(number, kind, length))
    return b"".join(parts)


def _tensor(source: _Source, end: int, arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """The tensor; without its numbers, which are then in `arrays`, if they are of a usual kind."""
    parts: list[bytes] = []
    shape: list[int] = []
    numbers: npt.NDArray[np.uint8] | None = None
    facts: dict[int, Any] = {}
    for number, kind, length in source.fields(end):
        if (number, kind) == (_RAW, _BYTES) and numbers is None:
            numbers = source.fill(length)
            continue
        part = source.field(number, kind, length)
        parts.append(part)
        body = part[len(part) - length :]
        if number == _DIMS:
            shape += [length] if kind == _VARINT else _varints(body)
        else:
            facts[number] = length if kind == _VARINT else body
    if numbers is None:
        return b"".join(parts)
    dtype, said = _TYPES.get(facts.get(_TYPE, 0)), facts.get(_NAME)
    name = said.decode("utf-8", "replace") if isinstance(said, bytes) else ""
    plain = name and name not in arrays and not {_EXTERNAL, _LOCATION} & facts.keys()
    if dtype is None or not plain or math.prod(shape) * dtype.itemsize != numbers.size:
        return b"".join([*parts, _message(_RAW, numbers.tobytes())])
    arrays[name] = numbers.view(dtype).reshape(shape)
    elsewhere = _message(1, b"location") + _message(2, b"-")
    return b"".join([*parts, _message(_EXTERNAL, elsewhere), _varint(_LOCATION << 3 | _VARINT), _varint(1)])


class _Source:
    """A file read from its start to its end, every byte of it hashed."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self.at = 0
        self.hash = hashlib.sha256()

    def take(self, count: int) -> bytes:
        found = self._file.read(self._checked(count))
        if len(found) != count:
            raise _OddError
        self.hash.update(found)
        return found

    def fill(self, count: int) -> npt.NDArray[np.uint8]:
        found = np.empty(self._checked(count), np.uint8)
        if self._file.readinto(found.data) != count:  # type: ignore[attr-defined]
            raise _OddError
        self.hash.update(found.data)
        return found

    def _checked(self, count: int) -> int:
        self.at += count
        if self.at > self.size:
            raise _OddError
        return count

    def varint(self) -> int:
        found = shift = 0
        while shift < 70:
            (byte,) = self.take(1)
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            shift += 7
        raise _OddError

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """(number, kind, length) of each field up to `end`; of a varint its value. What it holds is to be taken before the next."""
        while self.at < end:
            key = self.varint()
            kind = key & 7
            if kind in _FIXED:
                yield key >> 3, kind, _FIXED[kind]
            elif kind in (_VARINT, _BYTES):
                yield key >> 3, kind, self.varint()
            else:
                raise _OddError
        if self.at != end:
            raise _OddError

    def field(self, number: int, kind: int, length: int) -> bytes:
        """The field as it stands in the file."""
        if kind == _VARINT:
            return _varint(number << 3) + _varint(length)
        content = self.take(length)
        return _message(number, content) if kind == _BYTES else _varint(number << 3 | kind) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _varints(packed: bytes) -> list[int]:
    found, value, shift = [], 0, 0
    for byte in packed:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(value)
            value = shift = 0
    return found


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content
