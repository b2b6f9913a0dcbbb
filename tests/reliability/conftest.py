from __future__ import annotations

import pytest
from harness import use_plain_model


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this test every library is made and searched with the plain model."""
    from image_search import embedding
    from image_search.index import run as indexing
    from image_search.library import model

    for module, name in ((model, "load_model"), (model, "choose_auto"), (indexing, "COMMIT_SECONDS"), (embedding, "MAX_BATCH")):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back afterwards
    use_plain_model()
