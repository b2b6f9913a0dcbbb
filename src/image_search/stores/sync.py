"""The store follows the catalog: everything that changed since it was last verified goes into it, or it is rebuilt."""

from __future__ import annotations

from ..config import STORE_MAX_CHANGED
from ..library.catalog import Catalog
from ..library.reading import Reader
from ..library.vectors import changed_count, gone, records
from .replica import StoreReplica

__all__ = ["bring_up_to_date", "rebuild"]


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
    ours = verified == catalog.meta("store_generation") and not replica.needs_rebuild
    if verified is None or not ours or changed_count(catalog, verified) > STORE_MAX_CHANGED * Reader(catalog).images():
        rebuild(catalog, replica)
        return
    replica.update(generation, records(catalog, verified), gone(catalog, verified))
    catalog.set_meta("store_generation", generation)


def rebuild(catalog: Catalog, replica: StoreReplica) -> None:
    """The whole store from the catalog, without the model."""
    with catalog.snapshot():
        generation = catalog.generation
        replica.rebuild(generation, records(catalog))
    catalog.set_meta("store_generation", generation)
