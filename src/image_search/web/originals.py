"""The files behind the images, as they lie there: one to take along, opened or shown in its folder on this machine.

Only an image's id comes in. What goes out, or is opened, is proved first: the file that was opened has the very bytes that were indexed,
so no link, no change of folders and no later content under an old name leads anywhere else.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from ..advice import Advice, Verb
from ..config import PAGE_OPEN_SECONDS, PAGE_ZIP_BLOCK_BYTES
from ..errors import QueryError, SkipReason
from ..images.formats import Refused
from ..images.opening import opened
from ..library.reading import Item
from ..paths import shown
from .opened import OpenLibrary

__all__ = ["Original", "attachment", "can_open", "cut", "harmless", "open_in_program", "original", "show_in_folder"]

_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"/\\|?*', "_"))  # what Windows does not take in a name
_NAME_BYTES = 200  # file systems allow 255 for a name, and browsers add " (1)"
_GONE = "the file is not there any more"


class Original(NamedTuple):
    """One file to take along: its name (harmless in any file system), its size in bytes, its content block by block."""

    name: str
    size: int
    blocks: Iterator[bytes]


def original(library: OpenLibrary, id: str) -> Original:
    """The file of an image. QueryError: it is gone, has changed since it was indexed, or is no file of its folder any more."""
    item = library.item(id)
    file = _proved(item)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return Original(_name(item), size, _blocks(file))


def attachment(name: str) -> str:
    """A Content-Disposition (RFC 6266): the name in full for browsers, and in ASCII for what knows nothing else."""
    plain = "".join(char if char.isascii() and char.isprintable() and char not in '"\\%' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def harmless(text: str) -> str:
    """What may be part of a file's name in any file system."""
    return shown(text).translate(_FORBIDDEN)


def cut(text: str, size: int) -> str:
    """At most so many bytes: file systems allow 255 for a name, and a Korean syllable is three."""
    return text.encode()[:size].decode(errors="ignore")


def _name(item: Item) -> str:
    stem, ending = os.path.splitext(harmless(os.path.basename(item.path)).strip(". "))
    return f"{cut(stem, _NAME_BYTES)}{ending[:10]}" or "image"


def _proved(item: Item) -> io.BufferedReader | io.BytesIO:
    """The opened file, at its beginning."""
    try:
        file, _ = opened(item.source)  # its reader closes it
    except Refused as error:
        if error.reason == SkipReason.LINK:
            raise QueryError("this image now leads out of its folder and is not given out", hint="index the folder it points to") from error
        what = _GONE if error.reason == SkipReason.VANISHED else f"the file cannot be read: {error.reason.value}"
        raise QueryError(what, path=item.path, hint="bring its folder up to date") from error
    try:
        if hashlib.file_digest(file, "sha256").digest() != item.sha256:
            raise QueryError(
                "this file has changed since it was indexed", path=item.path, hint=Advice("update it: ", Verb("index", ("FOLDER",)))
            )
        file.seek(0)
    except OSError as error:
        file.close()
        raise QueryError(f"the file cannot be read: {error.strerror}", path=item.path) from error
    except BaseException:
        file.close()
        raise
    return file


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(PAGE_ZIP_BLOCK_BYTES):
            yield block


# --- on this machine ------------------------------------------------------------------------------------------------------------


def can_open() -> bool:
    """Is there a desktop here, and the program that hands files to it?"""
    return _opener() is not None


def open_in_program(library: OpenLibrary, id: str) -> None:
    """With the program that the desktop has for such files."""
    _start(library.item(id), folder=False)


def show_in_folder(library: OpenLibrary, id: str) -> None:
    """In the desktop's file manager; macOS and Windows mark the file there."""
    _start(library.item(id), folder=True)


def _opener() -> str | None:
    if sys.platform == "darwin":
        return "/usr/bin/open"
    if os.name == "nt":
        # By its whole path: Windows looks into the working folder first.
        return os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "explorer.exe")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return None
    return shutil.which("xdg-open")


def _command(program: str, path: str, *, folder: bool) -> list[str]:
    """Never a shell: an absolute path is one argument, whatever is in it, and begins with no hyphen."""
    if sys.platform == "darwin":
        return [program, "-R", path] if folder else [program, path]
    if os.name == "nt":
        return [program, "/select,", path] if folder else [program, path]
    return [program, os.path.dirname(path) if folder else path]


def _start(item: Item, *, folder: bool) -> None:
    program = _opener()
    if program is None:
        raise QueryError("there is no desktop here that could open it")
    _proved(item).close()
    nothing = subprocess.DEVNULL
    try:
        process = subprocess.Popen(  # a session of its own: Ctrl-C ends the page, not the viewer
            _command(program, item.path, folder=folder), stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
        )
    except OSError as error:
        raise QueryError(f"{program} cannot be started: {error.strerror}") from error
    try:
        failed = process.wait(PAGE_OPEN_SECONDS) != 0 and os.name != "nt"  # explorer answers 1 when all is well
    except subprocess.TimeoutExpired:  # it is the viewer itself
        threading.Thread(target=process.wait, daemon=True).start()
        return
    if failed:
        raise QueryError("the desktop has no program that opens it", path=item.path)
