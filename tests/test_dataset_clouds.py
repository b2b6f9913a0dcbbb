"""Data sets in Google's and Azure's buckets: what is different there, and what is said to who has no credentials."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import clouds
import pytest

import image_search.cluster.embed
from image_search import DatasetError, UsageError, embed_dataset, open_dataset
from image_search.dataset import filesystems
from image_search.dataset.filesystems import place
from image_search.dataset.work import Order
from image_search.testing import InProcessPool, QuickModel

pa = pytest.importorskip("pyarrow")


@pytest.fixture(autouse=True)
def unknown() -> Iterator[None]:
    """No bucket is remembered: what opens it depends on the variables."""
    filesystems._opened.cache_clear()
    yield
    filesystems._opened.cache_clear()


def embed(source: str, out: str | Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(image_search.cluster.embed, "Order", lambda *args, **more: Order(*args, **more, pool=InProcessPool))
    return embed_dataset(source, out=out, model=QuickModel(), block_images=4, jobs=1, progress=False)


def vectors_of(address: str | Path) -> list[bytes]:
    return sorted(row.vector.tobytes() for part in open_dataset(address).rows() for row in part.each() if row.vector is not None)


@pytest.mark.slow
def test_googles_bucket_gives_what_a_folder_gives(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folders are known by what lies in them alone: a listing that is not recursive does not show them."""
    embed(str(photos), tmp_path / "plain", monkeypatch)
    with clouds.gs_server(monkeypatch, "photos") as bucket:
        uris = [uri for uri in clouds.upload(photos, f"{bucket}/my photos") if not uri.endswith(".txt")]
        found = embed(f"{bucket}/my photos", f"{bucket}/vectors", monkeypatch)
        assert found.embedded == len(vectors_of(tmp_path / "plain"))
        assert vectors_of(f"{bucket}/vectors") == vectors_of(tmp_path / "plain")
        assert {row.uri for part in open_dataset(f"{bucket}/vectors").rows() for row in part.each()} <= set(uris)
        assert embed(f"{bucket}/my photos", f"{bucket}/vectors", monkeypatch).embedded == 0
        with pytest.raises(DatasetError, match="nothing here"):
            embed("gs://elsewhere/photos", tmp_path / "out", monkeypatch)


@pytest.mark.slow
def test_googles_bucket_without_credentials_is_told_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/token"
    user = {"type": "authorized_user", "client_id": "x", "client_secret": "x", "refresh_token": "x", "token_uri": nobody}
    (tmp_path / "who.json").write_text(json.dumps(user))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "who.json"))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(filesystems, "_PATIENCE", timedelta(seconds=1))
    with pytest.raises(DatasetError, match="no credentials were found") as caught:
        place("gs://bucket/photos").names()
    assert "\n" not in str(caught.value) and "GOOGLE_APPLICATION_CREDENTIALS" in str(caught.value)


@pytest.mark.parametrize(
    ("address", "variables", "path"),
    [
        ("abfs://photos@shop.dfs.core.windows.net/2024", {}, "photos/2024"),
        ("abfss://photos@shop.dfs.core.windows.net", {}, "photos"),
        ("abfs://photos/2024", {"AZURE_STORAGE_ACCOUNT": "shop"}, "photos/2024"),
        ("abfs://photos@127.0.0.1:10000/2024", {"AZURE_STORAGE_ACCOUNT": "shop"}, "photos/2024"),
        ("gs://anonymous@photos/2024", {}, "photos/2024"),
    ],
)
def test_an_address_names_container_and_account(
    address: str, variables: dict[str, str], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert place(address).path == path


def test_a_container_without_an_account_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT", raising=False)
    with pytest.raises(UsageError, match="no storage account"):
        place("abfs://photos/2024")
