"""The keys of one server, and what each may do.

The owner's key is one a library, and lies in the user's own data folder, never in the library: that may come from a stranger. So the
printed address, bookmarks and kept pictures outlive a restart. With a key file its keys are the only ones, each with a name and a role.
What is in a cookie is derived from a key; nobody who sees a cookie learns the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from ..config import PAGE_KEY_CHARACTERS, PAGE_KEYS, PAGE_TICKET_SECONDS
from ..errors import UsageError
from ..private import NotPrivate, private_folder, read_private, write_private

__all__ = ["Key", "Keys", "Role", "kept_secret", "make_key_file", "owners_key", "place_name", "read_key_file", "uploads_key"]

Role = Literal["all", "read"]  # read: look and search; all: also index, and whatever else changes something

SECRET_BYTES = 32
KEY_FILE_BYTES = 64 * 1024
COOKIE_SECONDS = 365 * 24 * 3600  # browsers keep none for more than 400 days

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_TOKEN = re.compile(rf"[A-Za-z0-9_.~-]{{{PAGE_KEY_CHARACTERS},200}}")  # what goes into an address and a header as it is


@dataclass(frozen=True, slots=True)
class Key:
    """What opens the page. `token` is never shown but in the address that is printed; `repr` leaves it out."""

    name: str
    role: Role
    token: str

    def __repr__(self) -> str:
        return f"Key({self.name}, {self.role})"

    @property
    def session(self) -> str:
        """What its cookie holds."""
        return _text(_derived(self.token.encode(), "session"))

    @property
    def read_only(self) -> bool:
        return self.role == "read"


class Keys:
    """All of one server.

    Args:
        keys: at least one; the first is the one that the printed address carries.
        port: cookies do not tell ports apart, their names do.
        path: of the page, "" or "/photos".
        lasting: the keys outlive this start, so cookies are kept as well.
    """

    def __init__(self, keys: Sequence[Key], port: int, *, path: str = "", lasting: bool = True) -> None:
        self._keys = tuple(keys)
        self._path = path or "/"
        self._lasting = lasting
        # Two libraries that take turns at one port do not throw out each other's cookies.
        mark = _text(_derived(self._keys[0].token.encode(), "cookie's name"))[:8] if lasting else "once"
        self.cookie = f"image-search-{port}-{mark}"
        self._tickets: dict[str, float] = {}  # good until then, once

    @property
    def token(self) -> str:
        return self._keys[0].token

    @property
    def session(self) -> str:
        return self._keys[0].session

    def by_token(self, given: str) -> Key | None:
        return self._found(given, [key.token for key in self._keys])

    def by_session(self, given: str) -> Key | None:
        return self._found(given, [key.session for key in self._keys])

    def ticket(self) -> str:
        """Opens the page once, soon, as the first key does. For the browser's command line, which other users of the machine can read,
        and which stands there as long as the browser runs."""
        made = secrets.token_urlsafe(24)
        self._tickets[made] = time.monotonic() + PAGE_TICKET_SECONDS
        return made

    def by_ticket(self, given: str) -> Key | None:
        """It is used up."""
        fits = [made for made in self._tickets if _same(given, made)]
        return self._keys[0] if fits and self._tickets.pop(fits[0]) > time.monotonic() else None

    def _found(self, given: str, wanted: Sequence[str]) -> Key | None:
        """All are compared, whole and by their hashes: how long it takes tells nothing of which is near."""
        same = [_same(given, each) for each in wanted]
        return self._keys[same.index(True)] if True in same else None

    def header(self, key: Key) -> str:
        """Set-Cookie, after `key` has opened the page."""
        lasts = f"; Max-Age={COOKIE_SECONDS}" if self._lasting else ""
        return f"{self.cookie}={key.session}; Path={self._path}; HttpOnly; SameSite=Strict{lasts}"


# --- the owner's ----------------------------------------------------------------------------------------------------------------


def place_name(library: Path) -> str:
    """20 hex digits, the name of a library's own files outside of it. Another library has another, one that was moved too."""
    return hashlib.sha256(b"library\0" + os.fsencode(os.path.realpath(library))).hexdigest()[:20]


def kept_secret(library: Path, *, renew: bool = False) -> tuple[bytes, str]:
    """The secret of this library (32 bytes), made at its first use; and a line to say, where something was not as it should be.

    Raises OSError where it cannot be kept.
    """
    import platformdirs

    path = Path(platformdirs.user_data_dir("image-search", appauthor=False)) / "keys" / place_name(library)
    said = ""
    private_folder(path.parent)
    if not renew:
        try:
            found = read_private(path, SECRET_BYTES)
            if len(found) == SECRET_BYTES:
                return found, ""
            said = f"The key in {path} was damaged: here is a new one."
        except FileNotFoundError:
            pass
        except NotPrivate as error:
            said = f"The key in {path} was not private ({error}): here is a new one."
    made = secrets.token_bytes(SECRET_BYTES)
    write_private(path, made)
    return made, said


def owners_key(secret: bytes) -> Key:
    return Key("owner", "all", _text(_derived(secret, "token")[:24]))


def uploads_key(secret: bytes) -> bytes:
    """With which the kept pictures are named and signed; a new secret makes all earlier ones unreadable."""
    return _derived(secret, "uploads")


# --- named ones -----------------------------------------------------------------------------------------------------------------


def make_key_file(path: Path) -> None:
    """A key that may do all and one that may only read, in a file for the owner alone; for where there is none yet."""
    lines = [
        "# NAME ROLE KEY, one a line. Roles: all; read (look and search, change nothing).",
        *(f"{name} {role} {secrets.token_urlsafe(24)}" for name, role in (("owner", "all"), ("reader", "read"))),
    ]
    try:
        write_private(path, "".join(f"{line}\n" for line in lines).encode(), replace=False)
    except OSError as error:
        raise UsageError(f"the key file cannot be made: {error.strerror}", path=path, hint="give one in a folder of yours") from error


def read_key_file(path: Path) -> list[Key]:
    """The keys of a file, in its order. UsageError, which names the line and never a key, where it is not private or not of that form."""
    try:
        data = read_private(path, KEY_FILE_BYTES, by_root=True)
    except NotPrivate as error:
        raise UsageError(
            f"the keys in this file are not safe: {error}", path=path, hint="make it a file of yours alone: chmod 600"
        ) from error
    except OSError as error:
        raise UsageError(f"the key file cannot be read: {error.strerror}", path=path, hint="give a file that you may read") from error
    keys: list[Key] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            keys.append(_key_in(line, number, path, keys))
    if not keys or len(keys) > PAGE_KEYS or len(data) > KEY_FILE_BYTES:
        what = "holds no key" if not keys else f"holds more than {PAGE_KEYS} keys"
        raise UsageError(f"this file {what}", path=path, hint="one line for each: NAME ROLE KEY")
    return keys


def _key_in(line: str, number: int, path: Path, before: Sequence[Key]) -> Key:
    words = line.split()
    wrong = ""
    if len(words) != 3 or not _NAME.fullmatch(words[0]) or words[1] not in ("all", "read"):
        wrong = "is not of the form NAME ROLE KEY, with the role all or read"
    elif not _TOKEN.fullmatch(words[2]):
        wrong = f"has a key that is no {PAGE_KEY_CHARACTERS} to 200 letters, digits, - _ . ~"
    elif any(key.name == words[0] or _same(key.token, words[2]) for key in before):
        wrong = "names a person or a key for the second time"
    if wrong:
        hint = 'a good key is made by: python -c "import secrets; print(secrets.token_urlsafe(24))"'
        raise UsageError(f"line {number} of the key file {wrong}", path=path, hint=hint)
    return Key(words[0], cast(Role, words[1]), words[2])


# --- how they are compared ------------------------------------------------------------------------------------------------------


def _derived(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, b"image-search\0" + purpose.encode(), hashlib.sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(*(hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (left, right)))
