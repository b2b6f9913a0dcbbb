"""Files of the user's that we make: written beside their place and given their names when they are whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence

from ..advice import Advice, Setting
from ..errors import ImageSearchError, UsageError, translated_os_errors

__all__ = ["written_aside"]


@contextlib.contextmanager
def written_aside(folder: str, names: Sequence[str], *, replace: bool, make: bool = False) -> Iterator[list[str]]:
    """Paths to write to, one for each of these names; they get them if all goes well, and are gone if not.

    Args:
        folder: where the names are to be. make: make it if it is not there.
        replace: files that have these names may go; else UsageError before anything is written.

    Raises UsageError, DiskFullError, ImageSearchError: it cannot be written.
    """
    targets = [os.path.join(folder, name) for name in names]
    for target in targets:
        if os.path.lexists(target) and not os.path.isfile(target):
            raise UsageError("this is there already and is no file", path=target, hint="give another name")
        if os.path.lexists(target) and not replace:
            hint = Advice("give another name, or replace it with ", Setting("replace", "True"))
            raise UsageError("this is there already", path=target, hint=hint)
    drafts = [os.path.join(folder, f".{secrets.token_hex(8)}.part") for _ in names]
    try:
        with translated_os_errors(
            "the export",
            folder,
            failed=lambda said: ImageSearchError(f"the export cannot be written ({said})", path=folder, hint="choose another folder"),
            hint="choose another folder",
            refused=ImageSearchError,
        ):
            if make:
                os.makedirs(folder, exist_ok=True)
            yield drafts
            for draft, target in zip(drafts, targets, strict=True):
                with open(draft, "rb+") as file:
                    os.fsync(file.fileno())
                os.replace(draft, target)
    finally:
        for draft in drafts:
            with contextlib.suppress(OSError):  # gone where all went well
                os.unlink(draft)
