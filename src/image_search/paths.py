"""How a path is kept (bytes, lossless), compared (NFC) and shown (escaped)."""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from datetime import datetime

from .errors import UsageError

__all__ = [
    "as_text",
    "device",
    "disk_top",
    "from_bytes",
    "inside",
    "is_address",
    "local_path",
    "modified",
    "named_place",
    "nfc",
    "place_behind",
    "place_of",
    "real_path",
    "shown",
    "to_bytes",
    "uri_of",
    "whole_path",
]

# Bidirectional controls, zero-width characters and line separators can make one name look like another or break a line.
_INVISIBLE = {
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    0x2028,
    0x2029,
    0x061C,
    0xFEFF,
    0x00AD,
}


def to_bytes(path: str | os.PathLike[str]) -> bytes:
    """The path's bytes as the system keeps them; any name survives the way there and back."""
    return os.fsencode(path)


def from_bytes(raw: bytes) -> str:
    return os.fsdecode(raw)


def whole_path(root: bytes, relative: bytes) -> str:
    """Of a file below a root, as the system names it (may hold surrogate escapes)."""
    return os.fsdecode(os.path.join(root, relative))


def real_path(folder: str) -> str:
    """The folder's one path: links resolved and, on macOS, in the letters in which the disk keeps it.

    There the same folder answers to other cases and to composed and decomposed Korean; two spellings would be two folders to us.
    """
    path = os.path.realpath(folder)
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                path = os.fsdecode(fcntl.fcntl(handle, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
            finally:
                os.close(handle)
    return path


def nfc(text: str) -> str:
    """Composed form: Korean names from macOS arrive decomposed; compare only what went through here."""
    return unicodedata.normalize("NFC", text)


def shown(text: str) -> str:
    """Text that is safe in a terminal, a log line and a title: control, bidi and undecodable characters are escaped."""
    if text.isascii() and text.isprintable():  # nearly all paths
        return text
    return "".join(_escape(c) for c in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or 0x7F <= code < 0xA0:
        return f"\\x{code:02x}"
    if code in _INVISIBLE or 0xD800 <= code <= 0xDFFF:
        return f"\\u{code:04x}"
    return char


def as_text(raw: str) -> str:
    """A name as valid Unicode, for stores and JSON: undecodable bytes, and then every literal %, are percent-encoded; nearly all stay
    as they are. Two names may come out alike; of paths see `uri_of`."""
    text = _unicode(raw)
    if text is None:
        return "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else "%25" if c == "%" else c for c in raw)
    return text


def uri_of(path: str) -> str:
    """An absolute path as valid Unicode, one for one: the path itself; where it has undecodable bytes, a file: address that encodes them.

    No absolute path begins with "file:", so no two files share a uri.
    """
    text = _unicode(path)
    return f"file://{as_text(path)}" if text is None else text


def _unicode(raw: str) -> str | None:
    """The text, if its bytes are one. Python may run with another encoding than names have (LC_ALL=C without its UTF-8 mode): what was
    kept then must read the same in every later session."""
    try:
        raw.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(raw).decode("utf-8")
        except UnicodeError:
            return None
    return raw


def is_address(text: str) -> bool:
    """Of a bucket or the like ("s3://..."), and no path of this machine, which begins with "/", a drive or "file://"."""
    return "://" in text[:16] and text[:7].lower() != "file://"


def local_path(text: str) -> str:
    """The path behind a file: address, as `uri_of` and file managers write it; any other text is a path already."""
    if text[:7].lower() != "file://":
        return text
    from urllib.parse import unquote_to_bytes

    host, _, below = text[7:].partition("/")
    if host.lower() not in ("", "localhost"):
        return text
    path = os.fsdecode(unquote_to_bytes(f"/{below}".encode("utf-8", "surrogatepass")))
    return path[1:] if sys.platform == "win32" and path[2:3] == ":" else path


# --- where a name leads -----------------------------------------------------------------------------------------------------


def named_place(path: str | os.PathLike[str]) -> bytes:
    """The path as the catalog keeps it: the folders on the way may be links, the last name is meant as it is."""
    whole = _named(path)
    folder, name = os.path.split(whole)  # not normalised: ".." after a link is the system's
    if not name:  # "folder/"; of "/" nothing is left to take off
        folder, name = os.path.split(folder)
    return to_bytes(real_path(whole) if name in ("", ".", "..") else os.path.join(real_path(folder), name))


def place_behind(path: str | os.PathLike[str]) -> bytes:
    """What the name leads to, if it is a link."""
    return to_bytes(real_path(_named(path)))


def place_of(path: str | os.PathLike[str]) -> bytes:
    """As the catalog keeps it; but a folder that is named by a link is the folder behind it."""
    return named_place(path) if os.path.isfile(_named(path)) else place_behind(path)


def device(path: str) -> int | None:
    """The number of the disk on which this folder lies, as the system counts them today; None: it cannot be reached."""
    try:
        return os.lstat(path).st_dev
    except OSError:
        return None


def disk_top(folder: str) -> str | None:
    """The topmost folder of the disk on which this one lies: where that is mounted. None: the folder cannot be reached.

    A folder of the same disk that is mounted in a second place (a bind mount) is not told from its surroundings.
    """
    here = device(folder)
    if here is None:
        return None
    while (above := os.path.dirname(folder)) != folder and device(above) == here:
        folder = above
    return folder


def inside(path: bytes, root: bytes) -> bool:
    """Is this the folder itself, or something below it?"""
    return path == root or path.startswith(root.rstrip(os.sep.encode()) + os.sep.encode())


def _named(path: str | os.PathLike[str]) -> str:
    """Raises UsageError for an empty name, as of a variable that is not set: to the system it would be the current folder."""
    if whole := os.path.expanduser(os.fspath(path)):
        return whole
    raise UsageError("an empty name is no file and no folder", hint="for the current folder give .")


def modified(mtime_ns: int) -> str:
    """A file's time on a clock here, with the time zone: "2024-05-01T23:30:05+09:00"; "": no calendar has it."""
    try:
        return datetime.fromtimestamp(mtime_ns // 10**9).astimezone().isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""
