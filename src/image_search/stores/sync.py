"""The store follows the catalog: everything that changed since the store's seal goes into it, or it is made anew."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..library.catalog import Catalog, check_vector, item_id
from ..paths import from_bytes, uri_of
from ..types import StoreRecords
from .replica import Mirror

__all__ = ["follow", "rebuild"]

BATCH = 1000  # records a call: a batch of one costs 24 times as much
CHURN = 0.3  # above this share of changes a rebuild is cheaper, and leaves no deleted vectors in the index

_RECORD = (
    "SELECT f.id, c.vector, c.checksum, r.path, f.path, f.name FROM files AS f JOIN roots AS r ON r.id = f.root_id JOIN content AS c ON"
    " c.id = f.content_id WHERE f.state = 'present'"
)


def follow(catalog: Catalog, mirror: Mirror) -> None:
    """Bring the store to the catalog's generation. Nothing to do if it is there already.

    Raises:
        StoreError, LibraryBusyError, DiskFullError: the store is unsealed then, and the catalog answers alone.
    """
    generation = catalog.generation
    sealed = mirror.sealed_generation()
    if sealed == generation:
        return
    # A store that another catalog (a backup, restored since) wrote last has seen other changes than ours.
    if sealed is not None and sealed == catalog.meta_or_none("store_generation") and not mirror.worn:
        total = catalog.rows("SELECT count(*) FROM files WHERE state = 'present'")[0][0]
        changed = catalog.rows("SELECT count(*) FROM files WHERE generation > ?", (sealed,))[0][0]
        if changed <= CHURN * total:
            mirror.update(generation, _records(catalog, f"{_RECORD} AND f.generation > ?", (sealed,)), _gone(catalog, sealed))
            catalog.set_meta("store_generation", generation)
            return
    rebuild(catalog, mirror)


def rebuild(catalog: Catalog, mirror: Mirror) -> None:
    """The whole store from the catalog, without the model."""
    with catalog.snapshot():
        generation = catalog.generation
        mirror.rebuild(generation, _records(catalog, f"{_RECORD} ORDER BY f.id", ()))
    catalog.set_meta("store_generation", generation)


def _records(catalog: Catalog, sql: str, values: Sequence[Any]) -> Iterator[StoreRecords]:
    for page in catalog.pages(sql, values, BATCH):
        for number, vector, check, *_ in page:
            check_vector(vector, check, catalog.dim, item_id(number), catalog.folder)  # no damage is sealed into a store
        yield StoreRecords(
            ids=[item_id(number) for number, *_ in page],
            vectors=np.frombuffer(b"".join(row[1] for row in page), "<f4").reshape(len(page), catalog.dim),
            # A name may hold bytes that are no UTF-8, which the store cannot keep.
            metadatas=[{"uri": uri_of(from_bytes(os.path.join(root, path))), "name": uri_of(name)} for _, _, _, root, path, name in page],
        )


def _gone(catalog: Catalog, sealed: int) -> Iterator[list[str]]:
    for page in catalog.pages("SELECT id FROM files WHERE state != 'present' AND generation > ?", (sealed,), BATCH):
        yield [item_id(number) for (number,) in page]
