"""The decode worker: `python -m image_search.images.worker`. One file in, its pixels out, inside limits; cage.py is the other end.

Frames, both ways: header length and payload length (two big-endian uint32), the header as JSON, the payload.

    in   {"limits", "spec"}                                     once, first
    out  {"ready": pid}
    in   {"job": "path" | "below" | "bytes", "seen", "ask", "region", "max_side", "header", "memory": bytes}  payload: see below
    out  {"sha256", "stat"}                                     if "ask": "shall I decode this?"
    in   {"go": true | false}
    out  {"sha256", "stat", "shape", "width", "height", "format", "note", "captured", "thumbnail": bytes of it}  payload: pixels, thumbnail
      or {"sha256", "stat"}                                     not wanted
      or {"sha256": null, "stat", "captured"}                   if "header": nothing but what the header says was wanted
      or {"error", "detail", "hint", "sha256"} or {"outside": [width, height]}

The payload of a job is a path that somebody named ("path"), an indexed folder, a NUL and the way below it ("below": there no link is
followed), or the encoded image ("bytes"). "seen": [device, size, mtime_ns, ctime_ns, inode] of the file that is meant; null: any.

Every last reply carries "should_retire": the worker has grown and asks to be replaced. It ends when its input ends, so it never
outlives its parent by more than one decode. Decoders print what they like: their output goes nowhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from ..config import CPU_SECONDS_PER_MEGAPIXEL, WORKER_GROWN_BYTES, Limits
from ..errors import SkipReason
from ..region import Region
from .captured import captured
from .formats import Refused, open_as, sniff
from .opening import open_below, open_regular, refused

if TYPE_CHECKING:
    from .pixels import Picture, RenderSpec

try:
    import resource
except ImportError:  # Windows: the parent watches memory and time
    resource = None  # type: ignore[assignment]

__all__ = ["DEBUG_ENV", "Channel", "EndOfStreamError", "Reply", "answer", "main"]

LENGTHS = struct.Struct(">II")
DEBUG_ENV = "IMAGE_SEARCH_DEBUG_WORKER"  # set: decoders' own messages stay on stderr

Reply = tuple[dict[str, Any], bytes | bytearray]  # header, payload
Stat = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode, as in types.FileStat
_JPEG = b"\xff\xd8\xff"
_HEADER_BYTES = 1 << 17  # a JPEG's EXIF block has at most 64 KB, and stands first


class EndOfStreamError(Exception):
    """The other end is gone."""


class Channel:
    """Frames over a pair of pipes; both ends use it."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, header: dict[str, object], *payload: bytes | bytearray) -> None:
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
    # Linux: should the machine run out of memory, this process goes first.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
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
    """Answers one job after the other, each inside its limits."""

    def __init__(self, channel: Channel, first: dict[str, Any]) -> None:
        from .pixels import RenderSpec

        self.channel = channel
        self.limits = Limits(**first["limits"])
        self.spec = RenderSpec(**first["spec"])
        self.base = _address_space()

    def serve(self, job: dict[str, Any], payload: bytearray) -> None:
        try:
            _cap_cpu(self.limits.cpu_seconds)
            limits = replace(self.limits, memory_bytes=job["memory"])
            _cap_memory(limits.memory_bytes)
            reply, body = answer(job, bytes(payload), self.spec, limits, self._wanted, self._sized)
        finally:
            _cap_memory(None)
        reply["should_retire"] = _address_space() - self.base > WORKER_GROWN_BYTES
        self.channel.send(reply, body)

    def _sized(self, pixels: int) -> None:
        _cap_cpu(self.limits.cpu_seconds + int(pixels / 1e6 * CPU_SECONDS_PER_MEGAPIXEL))

    def _wanted(self, found: dict[str, Any]) -> bool:
        self.channel.send(found)
        reply, _ = self.channel.receive()
        return bool(reply["go"])


# --- one job -----------------------------------------------------------------------------------------------------------------


def answer(
    job: dict[str, Any],
    payload: bytes,
    spec: RenderSpec,
    limits: Limits,
    wanted: Callable[[dict[str, Any]], bool],
    sized: Callable[[int], None] = lambda pixels: None,
) -> Reply:
    """The last reply to a job, without "should_retire": pixels, or the reason why there are none. Knows of no process and no pipe.

    Args:
        job, payload: as above.
        spec: what shall come out, where the job does not say otherwise.
        wanted: called with {"sha256", "stat"} before decoding if the job says "ask".
        sized: called with the number of pixels before they are decoded.
    """
    from . import pixels

    digest: bytes | None = None
    body = b""
    reply: dict[str, Any]
    try:
        if job.get("header"):
            return _by_header(payload, limits, job["seen"]), b""
        data, found = (payload, None) if job["job"] == "bytes" else read_file(payload, limits.file_bytes, job["seen"])
        digest = hashlib.sha256(data).digest()
        reply = {"sha256": digest.hex(), "stat": found}
        if not job["ask"] or wanted(reply):
            region = None if job["region"] is None else Region(*job["region"])
            side = job["max_side"]
            spec = replace(spec, region=region) if side is None else pixels.RenderSpec(max_side=side, region=region)
            facts, body = _facts(pixels.render(data, spec, limits, sized))
            reply |= facts
    except pixels.OutsidePicture as error:
        reply = {"outside": error.size}
    except Refused as error:
        reply = {"error": error.reason.name, "detail": error.detail, "hint": error.hint}
    except MemoryError:
        reply = {"error": SkipReason.TOO_MUCH_MEMORY.name, "detail": "MemoryError", "hint": ""}
    reply["sha256"] = digest and digest.hex()
    return reply, body


def _by_header(path: bytes, limits: Limits, seen: Sequence[int] | None) -> dict[str, Any]:
    """What is said before the pixels; of a JPEG, which says it at its beginning, no more than that is read. Refused, as ever."""
    head, found = read_file(path, limits.file_bytes, seen, most=_HEADER_BYTES)
    if head.startswith(_JPEG):
        with contextlib.suppress(Refused):
            return {"sha256": None, "stat": found, "captured": _said(head)}
    data, found = read_file(path, limits.file_bytes, seen)
    return {"sha256": None, "stat": found, "captured": _said(data)}


def _said(data: bytes) -> str:
    row = sniff(data)
    if said := captured(data, {}):  # of camera raw nearly always, without LibRaw
        return said
    try:
        return captured(data, open_as(data, row).info)
    except (Refused, MemoryError):
        raise
    except Exception as error:  # of any kind, as in pixels.py
        raise Refused(SkipReason.DAMAGED, f"{type(error).__name__}: {error}"[:300]) from error


def _facts(picture: Picture) -> tuple[dict[str, Any], bytes]:
    thumbnail = picture.thumbnail
    facts = {
        "shape": (picture.pixels.size[1], picture.pixels.size[0], 3),
        "width": picture.width,
        "height": picture.height,
        "format": picture.format,
        "note": picture.note,
        "captured": picture.captured,
        "thumbnail": None if thumbnail is None else len(thumbnail),
    }
    return facts, picture.pixels.tobytes() + (thumbnail or b"")


# --- reading -----------------------------------------------------------------------------------------------------------------


def read_file(path: bytes, limit: int, seen: Sequence[int] | None = None, *, most: int | None = None) -> tuple[bytes, Stat]:
    """A regular file's whole content and its stat, or Refused. `path` (with a NUL, if below a folder) and `seen` as in a job.

    All bytes are read before any is decoded: the hash and the pixels belong to the same bytes, whatever happens to the file meanwhile.
    `most`: of a longer file only so many.
    """
    handle, before = _opened(path, seen)
    with os.fdopen(handle, "rb", buffering=0) as file:
        if before.st_size > limit:
            raise Refused(SkipReason.FILE_TOO_LARGE, f"{before.st_size} bytes")
        try:
            if most is not None and before.st_size > most:
                return file.read(most), _stat(before)
            data = file.read(before.st_size + 1)
            while len(data) <= before.st_size and (more := file.read(before.st_size + 1 - len(data))):
                data += more  # network file systems may give less than asked for
        except OSError as error:
            raise refused(error) from error
        after = os.fstat(handle)
    if _stat(before) != _stat(after) or len(data) != after.st_size:
        raise Refused(SkipReason.CHANGED, f"{len(data)} of {after.st_size} bytes")
    return data, _stat(after)


def _opened(path: bytes, seen: Sequence[int] | None) -> tuple[int, os.stat_result]:
    """The file that is meant."""
    root, below, relative = path.partition(b"\0")
    if not below:
        return open_regular(path)
    try:
        handle, found = open_below(root, relative)
    except Refused as error:
        if seen is not None and error.reason == SkipReason.LINK:  # none was there when the folder was walked
            raise Refused(SkipReason.CHANGED, error.detail) from error
        raise
    if seen is not None and not _is_the_one(found, seen):
        os.close(handle)
        raise Refused(SkipReason.CHANGED, "another file lies there")
    return handle, found


def _is_the_one(found: os.stat_result, seen: Sequence[int]) -> bool:
    """Is this the file that was seen? Some network file systems (FUSE) number theirs anew: there size and both times must be the same."""
    device, size, mtime_ns, ctime_ns, inode = seen
    if found.st_dev != device and os.name == "posix":  # on Windows stat and fstat need not agree about it
        return False
    return not (found.st_ino ^ inode) & _INT64 or (found.st_size, found.st_mtime_ns, found.st_ctime_ns) == (size, mtime_ns, ctime_ns)


_INT64 = 2**63 - 1  # inodes as the catalog keeps them: `types.FileStat.of`


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
