"""The store follows the catalog: everything that changed since it was last verified goes into it, or it is rebuilt."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..config import STORE_BATCH, STORE_MAX_CHANGED
from ..library.catalog import Catalog, check_vector, item_id
from ..paths import from_bytes, uri_of
from ..types import StoreRecords
from .replica import StoreReplica

__all__ = ["bring_up_to_date", "rebuild"]

_RECORD = (
    "SELECT f.id, c.vector, c.checksum, r.path, f.path, f.name FROM files AS f JOIN roots AS r ON r.id = f.root_id JOIN content AS c ON"
    " c.id = f.content_id WHERE f.state = 'present'"
)


def bring_up_to_date(catalog: Catalog, replica: StoreReplica) -> None:
    """Bring the store to the catalog's generation. Nothing to do if it is there already.

    Raises:
        StoreError, LibraryBusyError, DiskFullError: the store is not verified then, and the catalog answers alone.
    """
    generation = catalog.generation
    verified = replica.verified_generation()
    if verified == generation:
        return
    # A store that another catalog (a backup, restored since) wrote last has seen other changes than ours.
    if verified is not None and verified == catalog.meta_or_none("store_generation") and not replica.needs_rebuild:
        total = catalog.rows("SELECT count(*) FROM files WHERE state = 'present'")[0][0]
        changed = catalog.rows("SELECT count(*) FROM files WHERE generation > ?", (verified,))[0][0]
        if changed <= STORE_MAX_CHANGED * total:
            records = _records(catalog, f"{_RECORD} AND f.generation > ?", (verified,))
            replica.update(generation, records, _gone(catalog, verified))
            catalog.set_meta("store_generation", generation)
            return
    rebuild(catalog, replica)


def rebuild(catalog: Catalog, replica: StoreReplica) -> None:
    """The whole store from the catalog, without the model."""
    with catalog.snapshot():
        generation = catalog.generation
        replica.rebuild(generation, _records(catalog, f"{_RECORD} ORDER BY f.id", ()))
    catalog.set_meta("store_generation", generation)


def _records(catalog: Catalog, sql: str, values: Sequence[Any]) -> Iterator[StoreRecords]:
    for page in catalog.pages(sql, values, STORE_BATCH):
        for number, vector, check, *_ in page:
            check_vector(vector, check, catalog.dim, item_id(number), catalog.folder)  # no damage gets into a store
        yield StoreRecords(
            ids=[item_id(number) for number, *_ in page],
            vectors=np.frombuffer(b"".join(row[1] for row in page), "<f4").reshape(len(page), catalog.dim),
            # A name may hold bytes that are no UTF-8, which the store cannot keep.
            metadatas=[{"uri": uri_of(from_bytes(os.path.join(root, path))), "name": uri_of(name)} for _, _, _, root, path, name in page],
        )


def _gone(catalog: Catalog, verified: int) -> Iterator[list[str]]:
    for page in catalog.pages("SELECT id FROM files WHERE state != 'present' AND generation > ?", (verified,), STORE_BATCH):
        yield [item_id(number) for (number,) in page]
