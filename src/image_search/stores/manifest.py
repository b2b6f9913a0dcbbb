"""The manifest: proof that a store's folder holds exactly the bytes that this user's program wrote, for one generation of the catalog.

An index on disk may be files written in place, or a pickle (Chroma's are both). Damaged, it answers wrongly without an error, or brings
the process down; from a stranger, it may run code. So a store's files are hashed and the list is signed with a secret of the user's own,
kept outside every library: what is not verified is never opened. SHA-256: 1.6 GB/s with the processor's own instructions (BLAKE2b: .7),
2 KB a vector.
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

from ..private import read_private, write_private

__all__ = [
    "MANIFEST_NAME",
    "SECRET_ENV",
    "Manifest",
    "Unverified",
    "copy_verified",
    "library_id",
    "list_files",
    "own_secret",
    "read_manifest",
    "read_secret",
    "sync_folder",
    "verify_files",
    "write_manifest",
]

MANIFEST_NAME = "seal.json"
SECRET_ENV = "IMAGE_SEARCH_SECRET_FILE"
_FORMAT = 1
_SECRET_BYTES = 32
_MAX_MANIFEST = 1024 * 1024  # bytes; Chroma has six files
_CHUNK = 1024 * 1024
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Unverified(Exception):  # noqa: N818 - no failure of ours: an answer, with its reason in plain words
    """The store is not known to be intact; says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a store holds.

    Attributes:
        generation: of the catalog, of which it is an exact copy.
        dim, model: of the vectors. count: records.
        churn: records replaced or deleted since the store was built; they still take room in its index.
        written_by: the kind of store and its version, "toy 1", or on a server its address, "toy:http://host:port". Chroma's, which
            was the only kind once, goes without its name: "1.5.9", "http://host:port".
        files: path inside the store folder ("/" between parts) -> [size in bytes, SHA-256 in hex].
    """

    generation: int
    dim: int
    model: str
    count: int
    churn: int
    written_by: str
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
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, secrets.token_bytes(_SECRET_BYTES), replace=False)
        content = read_private(path, _SECRET_BYTES)
        if len(content) == _SECRET_BYTES:
            return content
    return None


def library_id(library: Path, secret: bytes | None) -> str:
    """20 hex digits that tell this user's library at this place from every other, without telling its path."""
    return hmac.new(secret or b"-", b"library\0" + os.fsencode(os.path.abspath(library)), hashlib.sha256).hexdigest()[:20]


def own_secret() -> bytes:
    """The user's secret, or Unverified."""
    secret = read_secret()
    if secret is None:
        raise Unverified("there is no private place to keep this user's secret")
    return secret


def _content(manifest: Manifest) -> dict[str, Any]:
    """As it is written and signed: on the disk `written_by` is called "chroma"."""
    return {"format": _FORMAT, **{"chroma" if key == "written_by" else key: value for key, value in asdict(manifest).items()}}


def _signature(manifest: Manifest, secret: bytes) -> str:
    text = json.dumps(_content(manifest), sort_keys=True)
    return hmac.new(secret, b"seal\0" + text.encode(), hashlib.sha256).hexdigest()


def write_manifest(folder: Path, manifest: Manifest, secret: bytes) -> None:
    """Into the store's folder, durably and in one step."""
    text = json.dumps({**_content(manifest), "signature": _signature(manifest, secret)}, indent=1)
    draft = folder / f"{MANIFEST_NAME}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft)
    with open(os.open(draft, _WRITE, 0o644), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, folder / MANIFEST_NAME)
    sync_folder(folder)


def read_manifest(folder: Path, secret: bytes) -> Manifest:
    """The manifest of a store's folder, its signature checked and nothing else; Unverified if there is none or it is not ours."""
    if not os.path.lexists(folder):
        raise Unverified("there is no store yet")
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise Unverified("a link or file lies where the store should be")
    try:
        fd = os.open(folder / MANIFEST_NAME, _READ)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Unverified(f"{MANIFEST_NAME} in it is no plain file")
            data = json.loads(file.read(_MAX_MANIFEST))
        signature = data.pop("signature")
        if data.pop("format") != _FORMAT:
            raise Unverified(f"{MANIFEST_NAME} in it is of another version")
        manifest = Manifest(written_by=data.pop("chroma"), **data)
        if not hmac.compare_digest(_signature(manifest, secret).encode(), str(signature).encode()):
            raise Unverified("it was not made by this user")
    except FileNotFoundError:
        raise Unverified("it was not finished") from None
    except OSError as error:
        raise Unverified(f"{MANIFEST_NAME} in it cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unverified(f"{MANIFEST_NAME} in it is damaged") from error
    return manifest


def files_of(folder: Path) -> Iterator[str]:
    """Every file below a store's folder but its manifest, "/" between parts; Unverified at anything that is no plain file or folder."""
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
                    raise Unverified(f"{name} in it is a link or special file")
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{name}/")
                elif name != MANIFEST_NAME:
                    yield name


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Unverified unless the folder holds exactly the files that its manifest lists, byte for byte."""
    _verify_names(folder, manifest)
    for name, (size, digest) in manifest.files.items():
        _verify_file(folder / name, name, size, digest)


def copy_verified(folder: Path, manifest: Manifest, to: Path) -> None:
    """Copy the listed files into an empty folder, verifying each byte that arrives there; Unverified as in `verify_files`."""
    _verify_names(folder, manifest)
    for name, (size, digest) in manifest.files.items():
        (to / name).parent.mkdir(exist_ok=True)
        _verify_file(folder / name, name, size, digest, copy=to / name)


def _verify_names(folder: Path, manifest: Manifest) -> None:
    if (present := set(files_of(folder))) != set(manifest.files):
        odd = sorted(present ^ set(manifest.files))
        raise Unverified(f"{odd[0]} in it is {'missing' if odd[0] in manifest.files else 'not its own'}")


def _verify_file(path: Path, name: str, size: int, digest: str, *, copy: Path | None = None) -> None:
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        raise Unverified(f"{name} in it is missing") from None
    with open(fd, "rb", buffering=0) as file, contextlib.ExitStack() as stack:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size != size:
            raise Unverified(f"{name} in it has changed")
        out = None if copy is None else stack.enter_context(open(os.open(copy, _WRITE, 0o600), "wb"))
        hashed = hashlib.sha256()
        left = size
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            hashed.update(chunk)
            left -= len(chunk)
            if out is not None:
                out.write(chunk)
        if left or hashed.hexdigest() != digest:
            raise Unverified(f"{name} in it has changed")


def list_files(folder: Path) -> dict[str, list[Any]]:
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
