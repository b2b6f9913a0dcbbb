"""What the command line shows and asks: lines, JSON, tables, the picture's window. Everything heavy is imported inside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..advice import Named, in_shell, told
from ..config import MIB
from ..errors import QueryError
from ..paths import shown

if TYPE_CHECKING:
    from ..search.matches import Matches

__all__ = [
    "advise_fonts",
    "bytes_from_stdin",
    "has_display",
    "note",
    "open_picture",
    "print_json",
    "print_matches",
    "run_as",
    "say",
    "unquoted",
    "words",
]


_running = ""  # the command


def run_as(command: str) -> None:
    """From here on what is said is said by this command."""
    global _running
    _running = command


def say(named: Named) -> str:
    """A setting or a verb in the words of a shell; an option that the running command has not, with the command that has it."""
    return in_shell(named, _running)


def words(text: str) -> str:
    """The text in the words of a shell."""
    return told(text, say)


def note(line: str) -> None:
    """A warning or a hint: one line on stderr, between progress bars, harmless for the terminal."""
    tqdm = sys.modules.get("tqdm.std")
    text = shown(words(line))
    if tqdm is not None:
        tqdm.tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)


def print_json(data: Any) -> None:
    """One JSON value, its texts in the words of a shell."""
    # What could harm a terminal stands inside a string, where JSON has an escape for it.
    text = json.dumps(_in_words(data), ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf"))
    print("".join(c if shown(c) == c else f"\\u{ord(c):04x}" for c in text))


def _in_words(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _in_words(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_in_words(value) for value in data]
    return words(data) if isinstance(data, str) else data


def print_matches(matches: Matches) -> None:
    from ..present.table import matches_table

    # None for a pipe or a file, where nothing is shortened
    print(matches_table(matches, width=shutil.get_terminal_size().columns if sys.stdout.isatty() else None, vote=matches.vote()))


def bytes_from_stdin(megabytes: float) -> bytes:
    """At most one byte more than so many: that says that it is too large."""
    data = sys.stdin.buffer.read(int(megabytes * MIB) + 1) if sys.stdin is not None else b""  # closed by who started us
    if not data:
        raise QueryError("nothing came from stdin", hint="for example: image-search search - < photo.jpg")
    return data


def unquoted(text: str) -> str:
    """A path as terminals paste it when a file is dropped on them."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def has_display() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def advise_fonts(matches: Matches) -> None:
    """Say it where a title will be drawn as boxes."""
    from ..present.fonts import font_advice

    titles = [match.name or Path(match.path).name for match in matches]
    if line := font_advice([*titles, *(Path(query.label).name for query in matches.queries)]):
        note(line)


def open_picture(matches: Matches) -> None:
    """Save the comparison into the cache folder (the one before is replaced) and open it where there is a display."""
    import subprocess

    import platformdirs

    advise_fonts(matches)
    file = Path(platformdirs.user_cache_dir("image-search", appauthor=False, ensure_exists=True)) / "comparison.png"
    file.unlink(missing_ok=True)  # our own, whatever is in it: `plot` replaces only what it knows
    matches.plot(file)
    opener = {"darwin": ["open"], "win32": ["cmd", "/c", "start", ""]}.get(sys.platform, ["xdg-open"])
    if has_display():
        with contextlib.suppress(OSError):
            subprocess.Popen([*opener, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    note(f"Comparison: {file}")
