"""Data sets in a bucket, by moto's S3 on this machine: listing, reading, writing, and what is said where something is refused."""

from __future__ import annotations

import functools
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clouds
import numpy as np
import pytest
from pictures import picture

import image_search.cluster.embed
from image_search import DatasetError, DatasetReport, ImageSearchEngine, SkipReason, embed_dataset, open_dataset
from image_search.dataset import filesystems, work
from image_search.dataset.filesystems import Place, place
from image_search.dataset.work import Order
from image_search.testing import InProcessPool, QuickModel

pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.slow

SHARED = Path(__file__).resolve().parents[2] / "shared"
Embed = Callable[..., DatasetReport]


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, clouds.s3_server(patch) as address:
        yield address


@pytest.fixture
def photos_bucket(request: pytest.FixtureRequest, photos: Path) -> str:
    name = f"b{abs(hash(request.node.name)) % 10**9}"
    clouds.bucket(name)
    clouds.upload(photos, f"s3://{name}/my photos")
    return f"s3://{name}"


@pytest.fixture
def embed(monkeypatch: pytest.MonkeyPatch) -> Embed:
    monkeypatch.setattr(image_search.cluster.embed, "Order", functools.partial(Order, pool=InProcessPool))
    monkeypatch.setattr(work, "OBJECT_TRIES_SECONDS", (0.1,))
    return functools.partial(embed_dataset, model=QuickModel(), block_images=4, jobs=1, progress=False)


def vectors_of(address: str) -> dict[str, bytes]:
    return {row.uri: row.vector.tobytes() for part in open_dataset(address).rows() for row in part.each() if row.vector is not None}


def test_a_bucket_gives_what_a_folder_gives(embed: Embed, photos_bucket: str, photos: Path, tmp_path: Path) -> None:
    for odd in ("a #1?.png", "100% 한글.png"):  # a key as it stands: nothing of it is an address's grammar
        picture("circle", 7).save(photos / "circle" / odd)
        clouds.put(f"{photos_bucket}/my photos/circle/{odd}", (photos / "circle" / odd).read_bytes())
    clouds.put(f"{photos_bucket}/my photos/.hidden/x.png", b"x")
    clouds.put(f"{photos_bucket}/my photos/notes.txt", b"x")
    report = embed(f"{photos_bucket}/my photos/", out=f"{photos_bucket}/vectors")
    assert (report.images, report.vectors, report.passed) == (14, 14, 2)
    embed(photos, out=tmp_path / "out")
    there, here = vectors_of(f"{photos_bucket}/vectors"), vectors_of(str(tmp_path / "out"))
    assert {uri.replace(f"{photos_bucket}/my photos", str(photos)): vector for uri, vector in there.items()} == here
    assert {row.name for part in open_dataset(f"{photos_bucket}/vectors").blocks() for row in part.each()} == {
        "circle",
        "square",
        "stripes",
    }
    again = embed(f"{photos_bucket}/my photos", out=f"{photos_bucket}/vectors")
    assert (again.embedded, again.made) == (0, 0)
    clouds.put(f"{photos_bucket}/my photos/square/0.png", (photos / "circle" / "0.png").read_bytes())
    assert embed(f"{photos_bucket}/my photos", out=f"{photos_bucket}/vectors", exclude="stripes").embedded == 1


@pytest.mark.skipif(not (SHARED / "eval" / "grocery").is_dir(), reason="needs the evaluation pictures")
def test_photos_in_a_bucket_have_the_librarys_vectors_bit_for_bit(tmp_path: Path) -> None:
    """The bundled model and real decoders: 120 photos of a shop, in a folder and in a bucket."""
    files = sorted((SHARED / "eval" / "grocery").rglob("*.jpg"))[::19][:120]
    clouds.bucket("grocery")
    for number, file in enumerate(files):
        copy = tmp_path / "photos" / file.parent.name / f"{number}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
        clouds.put(f"s3://grocery/photos/{file.parent.name}/{number}.jpg", file.read_bytes())
    assert embed_dataset("s3://grocery/photos", out="s3://grocery/vectors", model="mini", progress=False).vectors == len(files)
    with ImageSearchEngine(tmp_path / "library", model="mini", store="exact") as engine:
        engine.index(tmp_path / "photos", progress=False)
        engine.export(tmp_path / "library.parquet", kind="parquet")
    table = pa.parquet.read_table(tmp_path / "library.parquet", columns=["sha256", "name", "vector"]).to_pydict()
    there = {(sha, name): np.float32(vector).tobytes() for sha, name, vector in zip(*table.values(), strict=True)}
    rows = [row for part in open_dataset("s3://grocery/vectors").blocks() for row in part.each()]
    assert {(row.sha256, row.name): row.vector.tobytes() for row in rows if row.vector is not None} == there


def test_an_object_that_vanishes_or_changes_after_the_listing(
    embed: Embed, photos_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_list = image_search.cluster.embed.write_list

    def meanwhile(*given: Any) -> str:
        listed = write_list(*given)
        place(f"{photos_bucket}/my photos/circle/0.png").delete()
        picture("circle", 50, (300, 200)).save(tmp_path / "new.png")
        clouds.put(f"{photos_bucket}/my photos/circle/1.png", (tmp_path / "new.png").read_bytes())
        return listed

    monkeypatch.setattr(image_search.cluster.embed, "write_list", meanwhile)
    report = embed(f"{photos_bucket}/my photos", out=tmp_path / "out")
    assert (report.images, report.refused) == (12, {"vanished before it was read": 1})
    rows = {row.uri: row for part in open_dataset(str(tmp_path / "out")).blocks() for row in part.each()}
    changed = rows[f"{photos_bucket}/my photos/circle/1.png"]
    assert (changed.width, changed.bytes) == (300, os.path.getsize(tmp_path / "new.png")), "what was read is what is told"


def test_an_object_that_changes_while_it_is_read(photos_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: read again. Always: a reason."""
    here = place(f"{photos_bucket}/my photos/circle/0.png")
    data = here.object(10**9)

    class Changing:
        def __init__(self, times: int) -> None:
            self.times = times

        def open_input_file(self, path: str) -> Any:
            file = here.files.open_input_file(path)
            self.times -= 1
            if self.times >= 0:
                clouds.put(here.address, data + bytes(self.times + 1))
            return file

        def get_file_info(self, path: str) -> Any:
            return here.files.get_file_info(path)

    assert Place(here.address, here.path, False, Changing(1)).object(10**9) == data + bytes(1)
    with pytest.raises(Exception, match=SkipReason.CHANGED.value):
        Place(here.address, here.path, False, Changing(99)).object(10**9)


def test_an_object_of_any_size_is_not_read_beyond_the_limit(embed: Embed, photos_bucket: str, tmp_path: Path) -> None:
    clouds.put(f"{photos_bucket}/large/large.png", bytes(3 * 2**20))
    assert embed(f"{photos_bucket}/large", out=tmp_path / "out", max_megabytes=2).refused == {"file too large": 1}
    (tmp_path / "list.csv").write_text(f"uri,bytes,etag\n{photos_bucket}/large/large.png,10,x\n")  # a list that lies
    read = embed(uris=tmp_path / "list.csv", out=tmp_path / "out2", max_megabytes=2)
    assert read.refused == {"file too large": 1}


def test_a_list_of_addresses(embed: Embed, photos_bucket: str, photos: Path, tmp_path: Path) -> None:
    uris = [f"{photos_bucket}/my photos/circle/{n}.png" for n in range(5)] + [str(photos / "square" / "0.png")]
    pa.parquet.write_table(pa.table({"uri": uris}), tmp_path / "list.parquet")
    clouds.put(f"{photos_bucket}/list.parquet", (tmp_path / "list.parquet").read_bytes())
    report = embed(uris=f"{photos_bucket}/list.parquet", out=f"{photos_bucket}/out")
    assert (report.images, report.vectors, report.refused) == (6, 5, {"vanished before it was read": 1})
    assert embed(uris=f"{photos_bucket}/list.parquet", out=f"{photos_bucket}/out").embedded == 0


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://no-such-bucket/photos", "no such bucket"),
        ("s3://{bucket}/nowhere", "nothing here"),
        ("s3://{bucket}/docs", "no pictures here"),
    ],
)
def test_a_wrong_address_is_one_plain_line(embed: Embed, photos_bucket: str, tmp_path: Path, address: str, said: str) -> None:
    clouds.put(f"{photos_bucket}/docs/readme.txt", b"x")
    with pytest.raises(DatasetError, match=said) as caught:
        embed(address.format(bucket=photos_bucket.removeprefix("s3://")), out=tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


class Refusing:
    """A server that answers every request with one of S3's errors."""

    def __init__(self, status: int, code: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        head = f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self._answer = head.encode() + body
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:
                return
            with taken:
                taken.recv(65536)
                taken.sendall(self._answer)

    def close(self) -> None:
        self._listening.close()


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "InvalidAccessKeyId", "credentials were refused"),
        (403, "SignatureDoesNotMatch", "credentials were refused"),
        (403, "AccessDenied", "access was denied"),
    ],
)
def test_who_may_not_enter_is_told(
    embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: str, said: str
) -> None:
    refusing = Refusing(status, code)
    monkeypatch.setenv("AWS_ENDPOINT_URL", refusing.address)
    filesystems._opened.cache_clear()
    try:
        with pytest.raises(DatasetError, match=said) as caught:
            embed("s3://bucket/photos", out=tmp_path / "out")
        assert "\n" not in str(caught.value)
        (tmp_path / "a.png").write_bytes(b"x")
        with pytest.raises(DatasetError, match="access was denied"):  # the answer to HEAD has no words
            embed(tmp_path, out="s3://bucket/out")
    finally:
        refusing.close()
        filesystems._opened.cache_clear()


def test_a_server_that_is_gone_is_told(embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    filesystems._opened.cache_clear()
    with pytest.raises(DatasetError, match="cannot be reached"):
        embed("s3://bucket/photos", out=tmp_path / "out")
    filesystems._opened.cache_clear()


def test_a_server_that_goes_away_in_the_middle_loses_nothing(
    embed: Embed, tmp_path: Path, photos_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Place.object
    reads = 0

    def failing(self: Place, most: int) -> bytes:
        nonlocal reads
        reads += 1
        if reads > 6:
            raise DatasetError("the server cannot be reached", path=self.address)
        return read(self, most)

    with monkeypatch.context() as patch, pytest.raises(DatasetError, match="cannot be reached"):
        patch.setattr(Place, "object", failing)
        embed(f"{photos_bucket}/my photos", out=tmp_path / "out", block_images=1)
    missing = open_dataset(str(tmp_path / "out")).missing
    assert 0 < missing < 12
    assert embed(f"{photos_bucket}/my photos", out=tmp_path / "out", block_images=1).embedded == missing


def test_no_object_of_the_data_set_is_written_twice(embed: Embed, photos_bucket: str) -> None:
    out = place(f"{photos_bucket}/vectors")
    embed(f"{photos_bucket}/my photos", out=out.address)
    before = {path: mtime for path, _, mtime in out.entries(recursive=True)}
    embed(f"{photos_bucket}/my photos", out=out.address)
    assert {path: mtime for path, _, mtime in out.entries(recursive=True)} == before
    assert json.loads(out.below("dataset.json").read() or b"")["model"] == "quick"
    assert not any("/_tmp/" in path for path in before), "an object is there when all of it is"
