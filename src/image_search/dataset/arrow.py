"""pyarrow, imported when it is first needed: everybody else gets it from here."""

from __future__ import annotations

from typing import Any

from ..errors import MissingExtraError

__all__ = ["arrow", "give_back_memory"]


def arrow(purpose: str) -> Any:
    """The package `pyarrow`, its `compute`, `csv`, `fs` and `parquet` with it.

    Args:
        purpose: what needs it, as an error begins: "Writing Parquet".

    Raises MissingExtraError.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", purpose) from error
    return pyarrow


def give_back_memory() -> None:
    """What Arrow no longer needs goes to the system; else it keeps it: 15 MB after a list of 100,000 pictures."""
    arrow("Data sets").default_memory_pool().release_unused()
