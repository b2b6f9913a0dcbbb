"""The sample gallery: small painted scenes, drawn by code, so that there is something to search before you have indexed anything.

`draw` paints one picture; `draw_gallery` writes `<folder>/<Class>/<n>.jpg`, `draw_queries` a few pictures that are not in it.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from .. import given
from ..errors import ImageSearchError, UsageError, translated_os_errors
from . import home, land, table, water
from .brushes import Canvas, Colour
from .places import PALETTES, Palette

__all__ = ["CLASSES", "draw", "draw_gallery", "draw_queries"]

Scene = Callable[[Canvas, random.Random, Palette, int], Colour]

SCENES: dict[str, Scene] = {
    "Balloon": land.balloon,
    "Bicycle": land.bicycle,
    "Burger": table.burger,
    "Cat": home.cat,
    "Fish": water.fish,
    "Flowers": table.flowers,
    "Guitar": home.guitar,
    "House": land.house,
    "Lighthouse": water.lighthouse,
    "Sailboat": water.sailboat,
    "Teacup": table.teacup,
    "Umbrella": land.umbrella,
}
CLASSES: tuple[str, ...] = tuple(SCENES)

QUERIES = (("Balloon", 1004), ("Bicycle", 1002), ("Cat", 1002), ("Sailboat", 1003))  # seeds far beyond any gallery's
JPEG_QUALITY = 88

# What may lie in the sample's folders: its own, also of a run that was stopped, and what systems put everywhere.
_ANYWHERE = r"(.*/)?(\.DS_Store|Thumbs\.db|desktop\.ini|\..*\.part)"
_GALLERY = re.compile(rf"({'|'.join(CLASSES)})(/\d+\.jpg)?|{_ANYWHERE}")
_SEARCHES = re.compile(rf"({'|'.join(name.lower() for name, _ in QUERIES)})(\.jpg|-compared\.png)|{_ANYWHERE}")
_OWN = "the sample pictures need a folder of their own"
_ANOTHER = "give the sample pictures another folder"


def draw(name: str, seed: int, size: int = 384) -> Image.Image:
    """One picture: RGB, `size` by `size` pixels; on one machine always the same for the same name, seed and size.

    Args:
        name: one of CLASSES.
        seed: any whole number; neighbouring seeds differ in pose, colours, place and light.

    Raises:
        UsageError: there is no such class, or size is below 16.
    """
    if given.text(name, "the sample class") not in SCENES:
        raise UsageError(f"there is no sample class {name!r}", hint=f"the classes are: {', '.join(CLASSES)}")
    given.whole(seed, "the seed", least=-(10**18))
    if given.whole(size, "the size", most=8192) < 16:
        raise UsageError(f"a sample picture of {size} pixels is too small", hint="the smallest is 16")
    rng = random.Random(f"{name}/{seed}")  # a text seed is hashed the same in every process
    offset = CLASSES.index(name) * 5
    canvas = Canvas(size, (rng.choice((-1.0, 1.0)) * rng.uniform(0.5, 1.0), -1.0))
    cast = SCENES[name](canvas, rng, PALETTES[(seed * 3 + offset) % len(PALETTES)], seed)
    return canvas.finish(rng, cast, vignette=rng.uniform(0.12, 0.4), falloff=rng.uniform(0.05, 0.28))


def _jpeg(name: str, seed: int) -> bytes:
    out = io.BytesIO()
    draw(name, seed).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def draw_gallery(folder: Path, *, per_class: int = 10, progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Write `<folder>/<Class>/<n>.jpg` (n from 1) for every class and return the paths, class by class.

    Files of an earlier run are recognised by their bytes and left as they are. All is checked before anything is written, so a folder
    that holds other things stays untouched.

    Args:
        per_class: pictures per class, at least 1.
        progress: called with (done, all) after each picture.

    Raises:
        UsageError: per_class < 1, or something lies in the folder that is not the sample's own.
        ImageSearchError: the folder cannot be read or written.
    """
    given.whole(per_class, "the number of pictures per class", most=10_000, hint="the usual number is 10")
    folder = Path(given.path(folder, "the folder"))
    if progress is not None:
        given.function(progress, "progress")
    _need_own_folder(folder, _GALLERY)
    wanted = [(name, n, folder / name / f"{n}.jpg") for name in CLASSES for n in range(1, per_class + 1)]
    return _write(wanted, progress)


def draw_queries(folder: Path) -> list[Path]:
    """Write a few pictures that no gallery holds as `<folder>/<class>.jpg`; the rules of `draw_gallery`."""
    folder = Path(given.path(folder, "the folder"))
    _need_own_folder(folder, _SEARCHES)
    return _write([(name, seed, folder / f"{name.lower()}.jpg") for name, seed in QUERIES], None)


def _write(wanted: list[tuple[str, int, Path]], progress: Callable[[int, int], None] | None) -> list[Path]:
    """Draw each (class, seed) into its file: look at all of them first, write after."""
    pictures: list[tuple[Path, bytes | None]] = []  # None: it is there already
    for done, (name, seed, path) in enumerate(wanted, 1):
        data = _jpeg(name, seed)
        pictures.append((path, None if _is_there(path, data) else data))
        if progress is not None:
            progress(done, len(wanted))
    for path, new in pictures:
        if new is not None:
            _write_file(path, new)
    return [path for path, _ in pictures]


def _trouble(path: Path, verb: str) -> contextlib.AbstractContextManager[None]:
    """Around the sample's files: what the system refuses becomes one of our errors."""
    return translated_os_errors(
        "the sample pictures",
        path,
        failed=lambda said: ImageSearchError(f"the sample pictures cannot be {verb} ({said})", path=path, hint=_ANOTHER),
        hint=_ANOTHER,
        refused=ImageSearchError,
    )


def _need_own_folder(folder: Path, ours: re.Pattern[str]) -> None:
    """UsageError if there is anything in it that is not the sample's own: it would be mixed with the sample's pictures and indexed."""
    with _trouble(folder, "read"):
        if os.path.lexists(folder) and not folder.is_dir():
            raise UsageError("this is no folder", path=folder, hint=_OWN)
        for where, folders, files in os.walk(folder):
            for name in sorted([*folders, *files]):
                inside = os.path.relpath(os.path.join(where, name), folder).replace(os.sep, "/")
                if not ours.fullmatch(inside) or os.path.islink(os.path.join(where, name)):  # a link leads to something else
                    raise UsageError("this folder holds other things", path=os.path.join(where, name), hint=_OWN)


def _is_there(path: Path, data: bytes) -> bool:
    with _trouble(path, "read"):
        if not os.path.lexists(path):
            return False
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return True
    raise UsageError("another file has this name already", path=path, hint=_OWN)


def _write_file(path: Path, data: bytes) -> None:
    """All or nothing: a file beside it, then renamed."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _trouble(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
