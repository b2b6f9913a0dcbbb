"""Places that an address names: s3://bucket/prefix, gs://, abfs://, file:// or a plain path, all by pyarrow's file systems.

Behind the scheme and the bucket an address is the object's key as it stands, nothing percent-encoded. Who may enter, and where a server
stands that is not the cloud's own, is told by the variables that each cloud's own tools read (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL,
AWS_DEFAULT_REGION, GOOGLE_APPLICATION_CREDENTIALS, STORAGE_EMULATOR_HOST, AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_KEY, ...), by its files of
settings, or by the machine's role.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ..errors import DatasetError, DecodeError, SkipReason, UsageError, in_words
from ..paths import local_path
from .arrow import arrow

__all__ = ["KNOWN", "Place", "is_known", "is_remote", "place"]

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
KNOWN = f"known are {', '.join(f'{scheme}://' for scheme in SCHEMES)}, file:// and plain paths"
_DRAFTS = "_tmp"
_PATIENCE = timedelta(seconds=10)  # of Google's client, which without credentials asks again for 15 minutes, deaf to Ctrl-C meanwhile

# What a cloud's words come to: (parts of its text, what we say, what to do)
_SAID = (
    (("NO_SUCH_BUCKET", "NoSuchBucket", "ContainerNotFound"), "there is no such bucket", "check its name, and the region"),
    (
        (
            "INVALID_ACCESS_KEY_ID",
            "SIGNATURE_DOES_NOT_MATCH",
            "EXPIRED_TOKEN",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
        ),
        "the credentials were refused",
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or this machine's role",
    ),
    (
        ("create a OAuth2 access token", "DefaultAzureCredential"),
        "no credentials were found",
        "name them: GOOGLE_APPLICATION_CREDENTIALS for gs://, AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY for abfs://",
    ),
    (
        ("ACCESS_DENIED", "AccessDenied", "Forbidden", "HTTP response code 403", "PermissionDenied", "code: 403"),
        "access was denied",
        "check the credentials, and the rights to list, read and write there",
    ),
    (
        ("NETWORK_CONNECTION", "curlCode", "Could not resolve", "Connection refused", "REQUEST_TIMEOUT", "timed out"),
        "the server cannot be reached",
        "check the network and the endpoint (AWS_ENDPOINT_URL), then run it again: it goes on",
    ),
    (("No space left on device",), "the disk is full", "make room and run it again: it goes on"),
)

_PLAIN = {
    errno.EROFS: "this disk can only be read",
    errno.ENOTDIR: "there is a file where a folder should be",
    errno.EISDIR: "there is a folder where a file should be",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk cannot be read or written",
}


def is_remote(address: str) -> bool:
    """Does it name a bucket, and no path of this machine?"""
    return address.partition("://")[0].lower() in SCHEMES and "://" in address


def is_known(address: str) -> bool:
    """Can it be read at all: a bucket, a file or a path? "s3:/bucket" is a slip, and no folder that is called "s3:"."""
    scheme, colon, rest = address.partition(":")
    slip = colon and scheme.lower() in SCHEMES and rest.startswith("/")
    return is_remote(address) or address.lower().startswith("file://") or not ("://" in address or slip)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder or an object.

    Attributes:
        address: as it was given, without a slash at its end.
        path: the same as its file system names it.
        local: it lies on this machine, or on a disk that is mounted here.
    """

    address: str
    path: str
    local: bool
    files: Any = field(repr=False, compare=False)  # pyarrow.fs.FileSystem

    @property
    def shows_folders(self) -> bool:
        """Does a listing that is not recursive tell the folders? pyarrow's of Google's does not (apache/arrow issue 35993)."""
        return bool(self.files.type_name != "gcs")

    def below(self, *parts: str) -> Place:
        return Place("/".join((self.address, *parts)), "/".join((self.path, *parts)), self.local, self.files)

    def names(self) -> dict[str, int]:
        """The files right in this folder, by their names: bytes. Where there is no such folder, none."""
        from_arrow = arrow("This").fs
        with _plainly(self.address):
            found = self.files.get_file_info(from_arrow.FileSelector(self.path, allow_not_found=True))
        return {info.base_name: info.size for info in found if info.is_file}

    def entries(self, *, recursive: bool) -> list[tuple[str, int | None, str]]:
        """(path, bytes, time of change in ns) of what lies in this folder; of folders the size is None. DatasetError: there is none."""
        chosen = arrow("This").fs.FileSelector(self.path, recursive=recursive)
        with _plainly(self.address):
            return [(i.path, i.size if i.is_file else None, str(i.mtime_ns or "")) for i in self.files.get_file_info(chosen)]

    def facts(self) -> tuple[int, str]:
        """(bytes, time of change in ns) of a file. DatasetError: there is none."""
        with _plainly(self.address):
            info = self.files.get_file_info(self.path)
        if not info.is_file:
            raise DatasetError("there is nothing here", path=self.address, hint="check the address")
        return info.size, str(info.mtime_ns or "")

    def read(self) -> bytes | None:
        """A file of ours, whole; None: it is not there."""
        with _plainly(self.address):
            try:
                with self.files.open_input_stream(self.path) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

    def write(self, data: Any, *, drafts: Place) -> None:
        """A file of ours: there as a whole or not at all.

        Args:
            data: bytes, or a buffer of pyarrow's.
            drafts: the folder for half-written files on a disk. Object stores need none: an object is there when all of it is.
        """
        with _plainly(self.address):
            if not self.local:
                stream = self.files.open_output_stream(self.path)
                stream.write(data)  # no `with`: its end would complete what an error has cut short
                stream.close()
                return
            draft = drafts.below(f"{secrets.token_hex(8)}.part")
            for folder in (drafts.path, os.path.dirname(self.path)):
                try:
                    os.makedirs(folder, exist_ok=True)
                except FileNotFoundError as error:  # of what is no disk, such as /proc
                    raise DatasetError("no folder can be made here", path=folder, hint="name another place") from error
            try:
                with open(draft.path, "xb") as file:
                    file.write(memoryview(data))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft.path, self.path)
            finally:
                with contextlib.suppress(OSError):  # gone where all went well
                    os.unlink(draft.path)

    def delete(self) -> None:
        """A file of ours; one that is not there is no error."""
        with _plainly(self.address), contextlib.suppress(FileNotFoundError):
            self.files.delete_file(self.path)

    def object(self, most: int) -> bytes:
        """A user's object, whole, as it is now.

        Args:
            most: bytes; a larger one is not read.

        Raises:
            DecodeError: FILE_TOO_LARGE, VANISHED, UNREADABLE (no right to read it), EMPTY, CHANGED (each time it was read).
            DatasetError: the server cannot be reached.
        """
        for _ in range(3):
            with _as_reason(self.address), self.files.open_input_file(self.path) as file:
                size = file.size()
                if size > most:
                    raise DecodeError(SkipReason.FILE_TOO_LARGE, path=self.address, detail=f"{size} bytes")
                data = bytes(file.read(size))
            # Its size was asked before it was read: one that was replaced by a larger one in between came out cut off.
            with _as_reason(self.address):
                if self.files.get_file_info(self.path).size == size == len(data):
                    break
        else:
            raise DecodeError(SkipReason.CHANGED, path=self.address)
        if not data:
            raise DecodeError(SkipReason.EMPTY, path=self.address)
        return data


def place(address: str, purpose: str = "Reading and writing data sets") -> Place:
    """What an address names. Nothing is asked of a network yet.

    Raises UsageError, MissingExtraError.
    """
    pa = arrow(purpose)
    if not is_remote(address):
        if not is_known(address):
            raise UsageError("this kind of address is not known", path=address, hint=KNOWN)
        path = os.path.abspath(os.path.expanduser(local_path(address)))
        return Place(path, path, True, pa.fs.LocalFileSystem())
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise UsageError("the address names no bucket", path=address, hint=f"for example {scheme}://bucket/folder")
    key = key.strip("/")
    files, root = _opened(scheme.lower(), bucket)
    return Place(f"{scheme}://{bucket}/{key}".rstrip("/"), f"{root}/{key}".rstrip("/"), False, files)


@functools.lru_cache(64)
def _opened(scheme: str, bucket: str) -> tuple[Any, str]:
    """(file system, how it calls the bucket)."""
    pa = arrow("Addresses of buckets")
    address = f"{scheme}://{bucket}"
    try:
        if scheme in ("gs", "gcs"):
            return _google(pa.fs, bucket)
        if scheme in ("abfs", "abfss"):
            return _azure(pa.fs, bucket, "http" if scheme == "abfs" else "https")
        files, root = pa.fs.FileSystem.from_uri(address)
    except (pa.ArrowException, ValueError) as error:
        raise UsageError("this is no address of a bucket", path=address, hint=in_words(error)[:200]) from error
    except OSError as error:
        raise _in_our_words(error, address) from error
    return files, root.rstrip("/")


def _google(fs: Any, bucket: str) -> tuple[Any, str]:
    """gs://bucket, or gs://anonymous@bucket where everybody may read."""
    who, _, name = bucket.rpartition("@")
    scheme, _, host = os.environ.get("STORAGE_EMULATOR_HOST", "").rpartition("://")
    elsewhere = {"scheme": scheme or "http", "endpoint_override": host} if host else {}
    return fs.GcsFileSystem(anonymous=bool(host) or who == "anonymous", retry_time_limit=_PATIENCE, **elsewhere), name


def _azure(fs: Any, bucket: str, scheme: str) -> tuple[Any, str]:
    """abfs://container@account.dfs.core.windows.net, or abfs://container of AZURE_STORAGE_ACCOUNT; a host:port is another server."""
    container, _, host = bucket.partition("@")
    another = ":" in host
    account = "" if another else host.partition(".")[0]
    account = account or os.environ.get("AZURE_STORAGE_ACCOUNT", "")
    if not account:
        hint = "set AZURE_STORAGE_ACCOUNT, or write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/folder"
        raise UsageError("the address names no storage account", path=f"abfs://{bucket}", hint=hint)
    who = {"account_key": os.environ.get("AZURE_STORAGE_KEY"), "sas_token": os.environ.get("AZURE_STORAGE_SAS_TOKEN")}
    elsewhere = {f"{kind}_storage_{part}": value for kind in ("blob", "dfs") for part, value in (("authority", host), ("scheme", scheme))}
    return fs.AzureFileSystem(account, **who, **(elsewhere if another else {})), container


@contextlib.contextmanager
def _plainly(address: str) -> Iterator[None]:
    """Whatever a file system refuses becomes one plain line."""
    try:
        yield
    except (OSError, arrow("This").ArrowException) as error:
        raise _in_our_words(error, address) from error


@contextlib.contextmanager
def _as_reason(address: str) -> Iterator[None]:
    """Of one of many objects: a reason why it is skipped, where it is the object's own fault."""
    try:
        yield
    except FileNotFoundError as error:
        raise DecodeError(SkipReason.VANISHED, path=address) from error
    except (OSError, arrow("This").ArrowException) as error:
        ours = _in_our_words(error, address)
        if ours.what == "access was denied" or isinstance(error, (PermissionError, IsADirectoryError)):
            raise DecodeError(SkipReason.UNREADABLE, path=address, detail=in_words(error)[:200]) from error
        raise ours from error


def _in_our_words(error: Exception, address: str) -> DatasetError:
    words = in_words(error)
    if isinstance(error, FileNotFoundError):
        return DatasetError("there is nothing here", path=address, hint="check the address")
    if isinstance(error, PermissionError):
        return DatasetError("access was denied", path=address, hint="check the rights to read and write there")
    for parts, what, hint in _SAID:
        if any(part in words for part in parts):
            return DatasetError(what, path=address, hint=hint)
    if isinstance(error, OSError) and error.errno in _PLAIN:
        return DatasetError(_PLAIN[error.errno], path=address, hint="name another place, or check the disk")
    return DatasetError(f"this cannot be read or written ({words[:300]})", path=address)
