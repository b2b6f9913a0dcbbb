"""Pictures with their classes, as the look at labels wants them: of a library, or of a folder that is in none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..config import LABEL_NEIGHBOURS
from ..errors import ImageSearchError, UsageError
from ..images.scan import ImageFile, scan
from ..library.catalog import item_id
from ..library.reading import Reader
from ..paths import as_text
from ..search.query import QueryReader
from ..types import Float32
from .labels import LabelCheck, Labelled, check_labels
from .neighbours import Numbers, Say

__all__ = ["Labelling", "of_folder", "of_library", "top_of"]

_LEAST_NEIGHBOURS = 5


@dataclass(slots=True)
class Labelling:
    """Pictures of which the class is known.

    Attributes:
        vectors: float32 (N, D), unit vectors of different contents.
        contents: int64 (F,), each picture's row of them.
        names: F classes.
        describe: numbers of pictures, 0 to F - 1 -> what is to be said of them.
        unlabelled: pictures without a class, left out.
        skipped: (path, why) of files that could not be read.
    """

    vectors: Float32
    contents: Numbers
    names: list[str]
    describe: Callable[[Sequence[int]], list[Labelled]]
    unlabelled: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def check(self) -> None:
        """UsageError where no label can be held against another."""
        classes = len(set(self.names))
        if classes > 1:
            return
        what = "all pictures have one class" if classes else "no picture has a class"
        raise UsageError(f"{what}, so there is nothing to check", hint="a class is the folder in which a picture lies")

    def checked(self, model: str, neighbours: int | None, say: Say | None = None) -> LabelCheck:
        """See `labels.check_labels`. `neighbours`: None: LABEL_NEIGHBOURS, fewer where a usual class has fewer pictures."""
        if neighbours is None:  # else part of every vote must go to strangers
            usual = int(np.median(np.bincount(np.unique(self.names, return_inverse=True)[1])))
            neighbours = min(LABEL_NEIGHBOURS, max(_LEAST_NEIGHBOURS, usual - 1))
        found = check_labels(
            self.vectors, self.contents, self.names, self.describe, model=model, unlabelled=self.unlabelled, neighbours=neighbours, say=say
        )
        found.skipped = self.skipped
        return found


def of_library(reader: Reader) -> Labelling:
    """Every image of the library that has a class, in order of its number. Raises LibraryDamagedError."""
    vectors = reader.all_vectors()
    with reader.snapshot():
        vectors.refresh()
        rows = reader.columns().classes().rows()
    kept = [(file, content, name) for file, content, name in rows if name]
    files = [file for file, _, _ in kept]
    order = np.argsort(vectors.contents)
    wanted, contents = np.unique(np.array([content for _, content, _ in kept], np.int64), return_inverse=True)
    places = order[np.searchsorted(vectors.contents[order], wanted)]

    def describe(pictures: Sequence[int]) -> list[Labelled]:
        known = {one.number: one for one in reader.files([files[picture] for picture in pictures])}
        return [
            Labelled(item_id(number), known[number].path if number in known else "", kept[picture][2])  # it may have left meanwhile
            for picture, number in ((picture, files[picture]) for picture in pictures)
        ]

    return Labelling(vectors.rows[places], contents, [name for _, _, name in kept], describe, len(rows) - len(kept))


def top_of(folder: str) -> str:
    """The folder itself, links followed. UsageError: there is none."""
    root = os.path.realpath(os.path.expanduser(folder))
    if not os.path.isdir(root):
        raise UsageError("there is no such folder", path=folder, hint="give a folder whose sub-folders are the classes")
    return root


def of_folder(folder: str, queries: QueryReader, say: Say | None = None) -> Labelling:
    """Every picture below a folder, read and embedded now; its class is the folder in which it lies. Nothing is written.

    Raises:
        UsageError: no such folder. ImageSearchError: nothing in it can be read. ModelError.
    """
    root = top_of(folder)
    paths = sorted(found.path for found in scan(root) if isinstance(found, ImageFile))
    row_of: dict[bytes | str, int] = {}
    vectors: list[Float32] = []
    contents: list[int] = []
    read: list[str] = []
    skipped: list[tuple[str, str]] = []
    for done, (path, found) in enumerate(zip(paths, queries.read_each(paths), strict=True), 1):
        if isinstance(found, ImageSearchError):
            skipped.append((path, found.what))
        else:
            row = row_of.setdefault(found.sha256 or path, len(vectors))
            if row == len(vectors):
                vectors.append(found.vector)
            contents.append(row)
            read.append(path)
        if say is not None:
            say(done, len(paths))
    if not read:
        what = "none of these pictures can be read" if paths else "there are no images in this folder"
        raise ImageSearchError(what, path=folder)
    names = [as_text(os.path.basename(os.path.dirname(path))) for path in read]

    def describe(pictures: Sequence[int]) -> list[Labelled]:
        return [Labelled("", read[picture], names[picture]) for picture in pictures]

    return Labelling(np.stack(vectors), np.array(contents, np.int64), names, describe, skipped=skipped)
