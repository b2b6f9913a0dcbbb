"""The decode worker: `python -m image_search.images.worker`. One file in, its pixels out, inside limits; pool.py is the other end.

Frames, both ways: header length and payload length (two big-endian uint32), the header as JSON, the payload.

    in   {"limits", "wish"}                                     once, first
    out  {"ready": pid}
    in   {"job": "path" | "bytes", "ask", "region", "max_side"}  payload: the path's bytes, or the encoded image
    out  {"sha256", "stat"}                                     if "ask": "shall I decode this?"
    in   {"go": true | false}
    out  {"sha256", "stat", "shape", "width", "height", "format", "thumbnail": bytes of it}  payload: pixels, then thumbnail
      or {"sha256", "stat"}                                     not wanted
      or {"error", "detail", "sha256"} or {"outside": [width, height]}

Every last reply carries "tired": the worker has grown and asks to be replaced. It ends when its input ends, so it never outlives its
parent by more than one decode. Decoders print what they like: their output goes nowhere.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import stat
import struct
import sys
import warnings
from typing import BinaryIO

from ..config import Limits
from ..errors import SkipReason

try:
    import resource
except ImportError:  # Windows: the parent watches memory and time
    resource = None  # type: ignore[assignment]

__all__ = ["Channel", "EndOfStreamError", "main"]

LENGTHS = struct.Struct(">II")
GROWN_BYTES = 256 * 1024 * 1024  # address space left behind by earlier decodes: then a fresh worker is cheaper than a smaller cap
DEBUG_ENV = "IMAGE_SEARCH_DEBUG_WORKER"  # set: decoders' own messages stay on stderr

Stat = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode, as in types.FileStat


class EndOfStreamError(Exception):
    """The other end is gone."""


class Channel:
    """Frames over a pair of pipes; both ends use it."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, header: dict[str, object], *payload: bytes) -> None:
        raw = json.dumps(header).encode()
        try:
            self.writer.write(LENGTHS.pack(len(raw), sum(map(len, payload))) + raw)
            for part in payload:
                self.writer.write(part)
            self.writer.flush()
        except (OSError, ValueError) as error:  # broken pipe; closed by another thread
            raise EndOfStreamError from error

    def receive(self) -> tuple[dict[str, object], bytearray]:
        head, body = LENGTHS.unpack(self._exactly(LENGTHS.size))
        return json.loads(self._exactly(head)), self._exactly(body)

    def _exactly(self, length: int) -> bytearray:
        data = bytearray(length)
        view, done = memoryview(data), 0
        while done < length:
            try:
                count = self.reader.readinto(view[done:])  # type: ignore[attr-defined]
            except (OSError, ValueError) as error:
                raise EndOfStreamError from error
            if not count:
                raise EndOfStreamError
            done += count
        return data


def main() -> None:
    channel = _take_stdio()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if resource is not None:
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        first, _ = channel.receive()
        worker = _Worker(channel, first)
        channel.send({"ready": os.getpid()})
        while True:
            worker.serve(*channel.receive())
    except EndOfStreamError:
        pass
    os._exit(0)  # nothing to clean up, and quicker


def _take_stdio() -> Channel:
    """Keep the pipes for ourselves and point the standard streams at nothing."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1) if os.environ.get(DEBUG_ENV) else (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
    return Channel(reader, writer)


class _Worker:
    def __init__(self, channel: Channel, first: dict[str, object]) -> None:
        from . import formats, pixels

        self.pixels = pixels
        self.refused = formats.Refused
        self.channel = channel
        self.limits = Limits(**first["limits"])  # type: ignore[arg-type]
        self.wish: dict[str, object] = first["wish"]  # type: ignore[assignment]
        self.base = _address_space()

    def serve(self, job: dict[str, object], payload: bytearray) -> None:
        digest: bytes | None = None
        body: tuple[bytes, ...] = ()
        try:
            _cap_cpu(self.limits.cpu_seconds)
            _cap_memory(self.limits.memory_bytes)
            data, seen = (bytes(payload), None) if job["job"] == "bytes" else read_file(bytes(payload), self.limits.file_bytes)
            digest = hashlib.sha256(data).digest()
            reply: dict[str, object] = {"sha256": digest.hex(), "stat": seen}
            if not job["ask"] or self._wanted(reply):
                more, body = self._decode(data, job)
                reply |= more
        except self.pixels.OutsidePicture as error:
            reply = {"outside": error.size}
        except self.refused as error:
            reply = {"error": error.reason.name, "detail": error.detail}
        except MemoryError:
            reply = {"error": SkipReason.TOO_MUCH_MEMORY.name, "detail": "MemoryError"}
        finally:
            _cap_memory(None)
        reply["sha256"] = digest and digest.hex()
        reply["tired"] = _address_space() - self.base > GROWN_BYTES
        self.channel.send(reply, *body)

    def _wanted(self, found: dict[str, object]) -> bool:
        self.channel.send(found)
        answer, _ = self.channel.receive()
        return bool(answer["go"])

    def _decode(self, data: bytes, job: dict[str, object]) -> tuple[dict[str, object], tuple[bytes, ...]]:
        wish = self.pixels.Wish(**self.wish)  # type: ignore[arg-type]
        region, side = job["region"], job["max_side"]
        if side is not None:
            wish = self.pixels.Wish(max_side=side, region=region)  # type: ignore[arg-type]
        elif region is not None:
            wish = self.pixels.Wish(**(self.wish | {"region": region}))  # type: ignore[arg-type]
        picture = self.pixels.render(data, wish, self.limits)
        shape = (picture.pixels.size[1], picture.pixels.size[0], 3)
        thumbnail = picture.thumbnail or b""
        facts = {
            "shape": shape,
            "width": picture.width,
            "height": picture.height,
            "format": picture.format,
            "thumbnail": None if picture.thumbnail is None else len(thumbnail),
        }
        return facts, (picture.pixels.tobytes(), thumbnail)


# --- reading -----------------------------------------------------------------------------------------------------------------


def read_file(path: bytes, limit: int) -> tuple[bytes, Stat]:
    """A regular file's whole content and its stat, or Refused. Never blocks on a FIFO, never follows a link in the last place.

    All bytes are read before any is decoded: the hash and the pixels belong to the same bytes, whatever happens to the file meanwhile.
    """
    from .formats import Refused

    try:
        _only_regular(os.lstat(path).st_mode)  # opening a device can do things; and Windows has no O_NOFOLLOW
        handle = os.open(path, _READ_FLAGS)
    except OSError as error:
        raise Refused(_reason(error), str(error.strerror)) from error
    with os.fdopen(handle, "rb", buffering=0) as file:
        before = os.fstat(handle)
        _only_regular(before.st_mode)
        if before.st_size > limit:
            raise Refused(SkipReason.FILE_TOO_LARGE, f"{before.st_size} bytes")
        try:
            data = file.read(before.st_size + 1)
            while len(data) <= before.st_size and (more := file.read(before.st_size + 1 - len(data))):
                data += more  # network file systems may give less than asked for
        except OSError as error:
            raise Refused(_reason(error), str(error.strerror)) from error
        after = os.fstat(handle)
    if _stat(before) != _stat(after) or len(data) != after.st_size:
        raise Refused(SkipReason.CHANGED, f"{len(data)} of {after.st_size} bytes")
    return data, _stat(after)


_READ_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _READ_FLAGS |= getattr(os, _name, 0)


def _only_regular(mode: int) -> None:
    from .formats import Refused

    if stat.S_ISLNK(mode):
        raise Refused(SkipReason.LINK)
    if not stat.S_ISREG(mode):
        raise Refused(SkipReason.SPECIAL, stat.filemode(mode))


def _reason(error: OSError) -> SkipReason:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return SkipReason.VANISHED
    if error.errno == errno.ELOOP:
        return SkipReason.LINK
    if error.errno == errno.ENXIO:
        return SkipReason.SPECIAL
    return SkipReason.UNREADABLE


def _stat(found: os.stat_result) -> Stat:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


# --- limits ------------------------------------------------------------------------------------------------------------------


def _cap_cpu(seconds: int) -> None:
    """RLIMIT_CPU counts the whole life of the process: what was used so far, and so much more. Passing it is SIGXCPU, which kills."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def _cap_memory(size: int | None) -> None:
    """At most this much address space more than now; None lifts the cap (the reply must get out)."""
    if resource is None or (now := _address_space()) == 0:
        return
    _lower(resource.RLIMIT_AS, resource.RLIM_INFINITY if size is None else now + size)


def _lower(kind: int, wanted: int) -> None:
    hard = resource.getrlimit(kind)[1]
    within = hard if wanted == resource.RLIM_INFINITY else wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (within, hard))


def _address_space() -> int:
    """Bytes of address space of this process; 0 where the system does not say (not Linux: there the cap does not hold either)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, AttributeError):
        return 0


if __name__ == "__main__":
    main()
    sys.exit(0)
