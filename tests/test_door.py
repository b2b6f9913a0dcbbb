"""The package's door."""

from __future__ import annotations

import image_search


def test_the_door_is_as_promised() -> None:
    """What programs import from `image_search`: nothing leaves or joins it by accident."""
    assert sorted(image_search.__all__) == [
        "ClusterError",
        "Dataset",
        "DatasetError",
        "DatasetReport",
        "DecodeError",
        "DiskFullError",
        "ImageSearchEngine",
        "ImageSearchError",
        "IndexReport",
        "LibraryBusyError",
        "LibraryDamagedError",
        "LibraryError",
        "LibraryNotFoundError",
        "LibraryReadOnlyError",
        "LibraryVersionError",
        "Match",
        "Matches",
        "MissingExtraError",
        "ModelDamagedError",
        "ModelError",
        "ModelMismatchError",
        "ModelMissingError",
        "NoWordsError",
        "QueryError",
        "Region",
        "SkipReason",
        "Skipped",
        "StoreError",
        "Text",
        "UnknownModelError",
        "UsageError",
        "WordsError",
        "__version__",
        "embed_dataset",
        "open_dataset",
    ]
    assert set(image_search.__all__) <= set(dir(image_search))
    assert all(getattr(image_search, name) is not None for name in image_search.__all__)
