"""A data set or a collection becomes a library in a folder, without embedding again; where its pictures are files of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..advice import Advice, Setting, Verb
from ..errors import ModelMismatchError, UsageError
from ..library.catalog import Catalog
from ..library.model import WORDS
from ..library.taking import take, take_root
from ..paths import is_address, local_path
from ..stores.collections import same_vectors
from ..types import Decoded
from .load import Loaded, Source

__all__ = ["create", "folder_of", "take_in"]


def folder_of(source: Source) -> str:
    """The folder in which all of its pictures lie.

    Raises UsageError: they lie behind addresses, on another machine, or in no folder together.
    """
    folders: set[str] = set()
    for batch in source.batches():
        for record in batch.records:
            if is_address(record.uri):
                hint = Advice("load them into a collection: ", Verb("load", ("DATASET", Setting("store", "milvus:FILE.db"))))
                raise UsageError("a library's pictures are files in its folders, and these lie elsewhere", path=record.uri, hint=hint)
            folders.add(os.path.dirname(local_path(record.uri)))
    if not folders:
        raise UsageError("there is no picture with a vector in it", hint="index first")
    common = os.path.commonpath(folders) if all(map(os.path.isabs, folders)) else ""
    if not os.path.isdir(common):
        raise UsageError("the pictures do not lie on this machine", path=common or next(iter(folders)), hint="bring them here first")
    if os.path.dirname(common) == common:
        raise UsageError("the pictures lie in no folder together", path=common, hint="use a data set of one folder")
    return common


def create(folder: Path, source: Source) -> Catalog:
    """A new, empty library with the model of these vectors."""
    catalog = Catalog.create(folder, source.fingerprint, source.canonical)
    if source.words is not None:
        catalog.set_meta(WORDS, source.words)
    return catalog


def take_in(catalog: Catalog, folder: str, source: Source, progress: Callable[[int, int, int], object]) -> Loaded:
    """A batch at a time, so that what came before an interruption stays.

    Raises ModelMismatchError: the library's vectors are another model's.
    """
    mine, theirs = catalog.fingerprint, source.fingerprint
    if not same_vectors(mine, theirs):
        raise ModelMismatchError(
            f"the library was made with the model {mine.name}, and these vectors with {theirs.name}",
            path=catalog.folder,
            hint="name another folder",
        )
    loaded, done = Loaded(), 0
    with catalog.transaction():
        root = take_root(catalog, folder)
    for batch in source.batches():
        with catalog.transaction() as generation:
            for record, vector in zip(batch.records, batch.vectors, strict=True):
                facts = Decoded(record.sha256, None, record.width, record.height, record.format, captured=record.captured)
                what = take(catalog, root, local_path(record.uri), record.name, record.bytes, facts, vector, generation)
                loaded.loaded += what == "added"
                loaded.unchanged += what == "unchanged"
        progress(done := done + len(batch.records), source.images, 0)
    loaded.refused = source.refused()
    return loaded
