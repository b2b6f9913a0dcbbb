"""How a path is kept (bytes, lossless), compared (NFC) and shown (escaped)."""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata

__all__ = ["from_bytes", "nfc", "real_path", "shown", "to_bytes", "uri_of"]

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


def uri_of(path: str) -> str:
    """The absolute path itself; if it has undecodable bytes, these (and every literal %) are percent-encoded, so it is valid Unicode."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else "%25" if c == "%" else c for c in path)
    return path
