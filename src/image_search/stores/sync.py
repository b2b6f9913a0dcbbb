"""The store follows the catalog: everything that changed since the store's seal goes into it, or it is made anew."""

from __future__ import annotations

from ..config import STORE_MAX_CHANGED
from ..library.catalog import Catalog
from ..library.reading import Reader
from ..library.vectors import changed_count, gone, records
from .replica import Mirror

__all__ = ["follow", "rebuild"]


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
    mine = sealed is not None and sealed == catalog.meta("store_generation")
    if sealed is None or not mine or mirror.worn or changed_count(catalog, sealed) > STORE_MAX_CHANGED * Reader(catalog).images():
        rebuild(catalog, mirror)
        return
    mirror.update(generation, records(catalog, sealed), gone(catalog, sealed))
    catalog.set_meta("store_generation", generation)


def rebuild(catalog: Catalog, mirror: Mirror) -> None:
    """The whole store from the catalog, without the model."""
    with catalog.snapshot():
        generation = catalog.generation
        mirror.rebuild(generation, records(catalog))
    catalog.set_meta("store_generation", generation)
