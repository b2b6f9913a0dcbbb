"""The seal: proof that a store folder holds exactly the bytes that this user's program wrote, for one generation of the catalog.

Chroma's index is five files written in place and a pickle. Damaged, it answers wrongly without an error, or brings the process down; from
a stranger, it may run code. So its files are hashed and the list is signed with a secret of the user's own, kept outside every library:
what is not proven is never opened. SHA-256: 1.6 GB/s with the processor's own instructions (BLAKE2b: .7), 2 KB a vector.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "SEAL_NAME",
    "SECRET_ENV",
    "Doubt",
    "Seal",
    "copy_proven",
    "library_id",
    "prove",
    "read_seal",
    "read_secret",
    "sealed_files",
    "sync_folder",
    "write_seal",
]

SEAL_NAME = "seal.json"
SECRET_ENV = "IMAGE_SEARCH_SECRET_FILE"
_FORMAT = 1
_SECRET_BYTES = 32
_MAX_SEAL = 1024 * 1024  # bytes; a store has six files
_CHUNK = 1024 * 1024
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Doubt(Exception):  # noqa: N818 - no failure of ours: the answer "not proven", with its reason in plain words
    """The store is not proven; says why."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What is sealed.

    Attributes:
        generation: of the catalog, mirrored exactly.
        dim, model: of the vectors. count: records.
        churn: records replaced or deleted since the store was built; they still take room in its index.
        chroma: version of chromadb that wrote it; for a store on a server the server's address.
        files: path inside the store folder ("/" between parts) -> [size in bytes, SHA-256 in hex].
    """

    generation: int
    dim: int
    model: str
    count: int
    churn: int
    chroma: str
    files: dict[str, list[Any]] = field(default_factory=dict)


def read_secret() -> bytes | None:
    """The user's secret, made on first use (32 bytes, readable by its owner alone); None if it cannot be kept or is not private."""
    given = os.environ.get(SECRET_ENV)
    if given:
        path = Path(given)
    else:
        import platformdirs

        path = Path(platformdirs.user_data_dir("image-search", appauthor=False)) / "secret"
    with contextlib.suppress(OSError, RuntimeError):
        if not os.path.lexists(path):
            _make_secret(path)
        fd = os.open(path, _READ)
        with open(fd, "rb") as file:
            info = os.fstat(fd)
            private = os.name == "nt" or (info.st_uid == os.geteuid() and not info.st_mode & 0o077)
            content = file.read(_SECRET_BYTES + 1)
        if stat.S_ISREG(info.st_mode) and private and len(content) == _SECRET_BYTES:
            return content
    return None


def _make_secret(path: Path) -> None:
    """Whole or not at all, and the first of several processes wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        fd = os.open(draft, _WRITE, 0o600)
        with open(fd, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            os.fsync(fd)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(draft, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(draft)


def library_id(library: Path, secret: bytes | None) -> str:
    """20 hex digits that tell this user's library at this place from every other, without telling its path."""
    return hmac.new(secret or b"-", b"library\0" + os.fsencode(os.path.abspath(library)), hashlib.sha256).hexdigest()[:20]


def _signature(seal: Seal, secret: bytes) -> str:
    text = json.dumps({"format": _FORMAT, **asdict(seal)}, sort_keys=True)
    return hmac.new(secret, b"seal\0" + text.encode(), hashlib.sha256).hexdigest()


def write_seal(folder: Path, seal: Seal, secret: bytes) -> None:
    """Into the store folder, durably and in one step."""
    text = json.dumps({"format": _FORMAT, **asdict(seal), "signature": _signature(seal, secret)}, indent=1)
    draft = folder / f"{SEAL_NAME}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft)
    with open(os.open(draft, _WRITE, 0o644), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, folder / SEAL_NAME)
    sync_folder(folder)


def read_seal(folder: Path, secret: bytes) -> Seal:
    """The seal of a store folder, its signature checked and nothing else; Doubt if there is none or it is not ours."""
    if not os.path.lexists(folder):
        raise Doubt("there is no store yet")
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise Doubt("a link or file lies where the store should be")
    try:
        fd = os.open(folder / SEAL_NAME, _READ)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Doubt("its seal is no plain file")
            data = json.loads(file.read(_MAX_SEAL))
        signature = data.pop("signature")
        if data.pop("format") != _FORMAT:
            raise Doubt("its seal is of another version")
        seal = Seal(**data)
        if not hmac.compare_digest(_signature(seal, secret).encode(), str(signature).encode()):
            raise Doubt("its seal was not made by this user")
    except FileNotFoundError:
        raise Doubt("it was not sealed: writing it was not finished") from None
    except OSError as error:
        raise Doubt(f"its seal cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Doubt("its seal is damaged") from error
    return seal


def files_of(folder: Path) -> Iterator[str]:
    """Every file below a store folder but its seal, "/" between parts; Doubt at anything that is no plain file or folder."""
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
                    raise Doubt(f"{name} in it is a link or special file")
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{name}/")
                elif name != SEAL_NAME:
                    yield name


def prove(folder: Path, seal: Seal) -> None:
    """Doubt unless the folder holds exactly the sealed files with exactly the sealed bytes."""
    _prove_names(folder, seal)
    for name, (size, digest) in seal.files.items():
        _prove_file(folder / name, name, size, digest)


def copy_proven(folder: Path, seal: Seal, to: Path) -> None:
    """Copy the sealed files into an empty folder, proving each byte that arrives there; Doubt as in `prove`."""
    _prove_names(folder, seal)
    for name, (size, digest) in seal.files.items():
        (to / name).parent.mkdir(exist_ok=True)
        _prove_file(folder / name, name, size, digest, copy=to / name)


def _prove_names(folder: Path, seal: Seal) -> None:
    if (present := set(files_of(folder))) != set(seal.files):
        odd = sorted(present ^ set(seal.files))
        raise Doubt(f"{odd[0]} in it is {'missing' if odd[0] in seal.files else 'not its own'}")


def _prove_file(path: Path, name: str, size: int, digest: str, *, copy: Path | None = None) -> None:
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        raise Doubt(f"{name} in it is missing") from None
    with open(fd, "rb", buffering=0) as file, contextlib.ExitStack() as stack:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size != size:
            raise Doubt(f"{name} in it has changed")
        out = None if copy is None else stack.enter_context(open(os.open(copy, _WRITE, 0o600), "wb"))
        hashed = hashlib.sha256()
        left = size
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            hashed.update(chunk)
            left -= len(chunk)
            if out is not None:
                out.write(chunk)
        if left or hashed.hexdigest() != digest:
            raise Doubt(f"{name} in it has changed")


def sealed_files(folder: Path) -> dict[str, list[Any]]:
    """The files of a store that was just closed, made durable: name -> [size, SHA-256 in hex]."""
    files: dict[str, list[Any]] = {}
    folders = {folder}
    for name in sorted(files_of(folder)):
        with open(folder / name, "r+b") as file:
            files[name] = [os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()]
            os.fsync(file.fileno())
        folders.add((folder / name).parent)
    for each in folders:
        sync_folder(each)
    return files


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable, where a system can (Windows does it by itself)."""
    with contextlib.suppress(OSError, PermissionError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
