"""The files of matches, copied into a folder of the user's: whole or not at all, beside what is there, never over it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from ..config import COPY_BLOCK_BYTES
from ..errors import HINTS, ImageSearchError, UsageError, translated_os_errors
from ..images.formats import Refused
from ..images.opening import FileInRoot, open_regular, opened, refused
from ..library.catalog import item_number
from ..library.reading import Reader
from ..paths import inside, is_address, nfc, place_behind, to_bytes
from ..types import Match, Skipped

__all__ = ["Copies", "checked_folder", "copy_files"]

_TRIES = 10_000  # names for one file
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EACCES}  # what file systems without links say


@dataclass(slots=True)
class Copies:
    """What became of the files.

    Attributes:
        copied: where the copies lie now, in the order of the matches.
        already: files of the folder with the name and the bytes of one, from before or from another match.
        changed: files that are no longer what was indexed; they were copied as they are now.
        failed: files that could not be copied, each with its reason and the way out.
    """

    copied: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    failed: list[Skipped] = field(default_factory=list)


def copy_files(
    matches: Sequence[Match], folder: str, reader: Reader, progress: Callable[[int, int], object] = lambda done, total: None
) -> Copies:
    """Copy them, with their times; two of one name are told apart by a number, "a (2).jpg", in the order of the matches.

    Each is read once, written under a name of its own, read back, compared, and only then given its name. A file of that name with the
    same bytes is left as the copy that it is, so copying again changes nothing. Without matches no folder is made.

    Raises:
        UsageError: the folder is none, or belongs to the library. DiskFullError, ImageSearchError: it cannot be written; what was copied
        before stays.
    """
    target = checked_folder(folder, reader)
    result = Copies()
    if not matches:
        return result
    with translated_os_errors(
        "the folder of the copies",
        target,
        failed=lambda said: ImageSearchError(f"the copies cannot be written ({said})", path=target, hint="choose another folder"),
        hint="choose another folder",
        room="make room and do it again: what was copied stays",
        refused=ImageSearchError,
    ):
        os.makedirs(target, exist_ok=True)
        done: dict[tuple[str, bytes], str] = {}
        for number, match in enumerate(matches, 1):
            try:
                _copy(match, target, reader, done, result)
            except Refused as error:
                result.failed.append(_unread(match, error))
            except _NoNameError as error:
                result.failed.append(Skipped(match.path, str(error), "copy it under another name"))
            progress(number, len(matches))
    return result


def checked_folder(folder: str, reader: Reader) -> str:
    """Its place behind links. Raises UsageError: it is none, or belongs to the library. Nothing is made."""
    place = place_behind(folder)
    target = os.fsdecode(place)
    if os.path.lexists(target) and not os.path.isdir(target):
        raise UsageError("the copies need a folder, and this is none", path=folder, hint="give another name")
    if inside(place, place_behind(reader.folder)):
        raise UsageError("this is the library's own folder", path=folder, hint="copy into another one")
    for root in reader.root_paths():
        if inside(place, to_bytes(root)):
            where = "this is an indexed folder" if place == to_bytes(root) else f"this lies in the indexed folder {root}"
            raise UsageError(f"{where}: its copies would become images of the library", path=folder, hint="copy into another one")
    return target


class _NoNameError(Exception):
    """The folder can keep no file under this name."""


def _unread(match: Match, error: Refused) -> Skipped:
    if match.offline:
        return Skipped(match.path, "its folder or disk cannot be reached", "connect it and copy again")
    return Skipped(match.path, error.reason.value, HINTS[error.reason])


def _copy(match: Match, target: str, reader: Reader, done: dict[tuple[str, bytes], str], result: Copies) -> None:
    draft = os.path.join(target, f".{secrets.token_hex(8)}.part")
    try:
        digest = _written(match, draft, reader)
        name = os.path.basename(match.path)
        key = nfc(name), digest
        if key in done:  # from two folders
            result.already.append(done[key])
            return
        path, new = _placed(draft, target, name, digest)
        done[key] = path
        (result.copied if new else result.already).append(path)
        number = item_number(match.id)
        if number is not None and digest != reader.sha256_of(number):
            result.changed.append(match.path)
    finally:
        with contextlib.suppress(OSError):  # gone where it has its name
            os.unlink(draft)


def _written(match: Match, draft: str, reader: Reader) -> bytes:
    """Its bytes under another name, on the disk and proved; their sha256. Refused: the file itself cannot be read."""
    file, stat = _opened(match, reader)
    with file, open(draft, "xb+") as copy:
        digest = hashlib.sha256()
        while block := _read(file):
            digest.update(block)
            copy.write(block)
        copy.flush()
        os.fsync(copy.fileno())
        copy.seek(0)
        if hashlib.file_digest(copy, "sha256").digest() != digest.digest():
            raise OSError(errno.EIO, "what was written reads otherwise")
    if stat is not None:
        with contextlib.suppress(OSError):  # a file system that keeps no times
            os.utime(draft, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return digest.digest()


def _opened(match: Match, reader: Reader) -> tuple[BinaryIO, os.stat_result | None]:
    """The file, and what the system says of it, where it lies on this machine."""
    if match.root:
        return opened(FileInRoot.of(match.root, match.path))
    if is_address(match.path) and (item := reader.item(item_number(match.id) or 0)) is not None:
        return opened(item.source)
    handle, stat = open_regular(to_bytes(match.path))
    return open(handle, "rb"), stat


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(COPY_BLOCK_BYTES)
    except OSError as error:
        raise refused(error) from error


def _placed(draft: str, target: str, name: str, digest: bytes) -> tuple[str, bool]:
    """Give it the first free name; (path, True), or (path of the same bytes that have such a name already, False)."""
    stem, ending = os.path.splitext(name)
    for number in range(1, _TRIES):
        path = os.path.join(target, name if number == 1 else f"{stem} ({number}){ending}")
        try:
            _give_name(draft, path)
        except FileExistsError:
            if _sha256_of(path) == digest:
                return path, False
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG):  # a name that this file system cannot keep
                raise _NoNameError("the folder cannot keep a file of this name") from error
            raise
        else:
            return path, True
    raise _NoNameError("the folder has too many files of this name")


def _give_name(draft: str, path: str) -> None:
    """FileExistsError where something has it; nothing is ever replaced."""
    if os.name == "nt":
        os.rename(draft, path)
        return
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # ours from here on
        try:
            os.replace(draft, path)
        except BaseException:
            os.unlink(path)
            raise


def _sha256_of(path: str) -> bytes:
    """b"" for what is no plain file."""
    try:
        with open(open_regular(to_bytes(path))[0], "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (Refused, OSError):
        return b""
