"""Data sets of Parquet files: what a run writes, what the next one keeps, what is said where something is wrong."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inprocess import Answer, Quick
from pictures import fill, picture

import image_search.cluster.embed
from image_search import (
    Dataset,
    DatasetError,
    DatasetReport,
    DecodeError,
    ImageSearchError,
    ModelMismatchError,
    SkipReason,
    UsageError,
    embed_dataset,
    open_dataset,
)
from image_search.dataset import work
from image_search.dataset.blocks import Rows, attempts
from image_search.dataset.dataset import read_plan
from image_search.dataset.filesystems import Place, place
from image_search.dataset.growing import write_list
from image_search.dataset.listing import Listing, _in_bucket
from image_search.dataset.work import Order, Worker
from image_search.images.scan import Excluder, ImageFile, scan
from image_search.present.table import dataset_table
from image_search.testing import InProcessPool, QuickModel, quick_engine

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

Embed = Callable[..., DatasetReport]


@pytest.fixture
def embed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embed:
    """Into tmp_path/out, four pictures a block, by a model and decoders that cost nothing."""
    monkeypatch.setattr(image_search.cluster.embed, "Order", functools.partial(Order, pool=InProcessPool))
    return functools.partial(embed_dataset, out=tmp_path / "out", model=QuickModel(), block_images=4, jobs=1, progress=False)


def rows_of(dataset: Dataset) -> dict[str, tuple[Any, ...]]:
    """uri -> everything that is known of it, its vector's bits too."""
    return {row.uri: (*row[:-1], None if row.vector is None else row.vector.tobytes()) for part in dataset.blocks() for row in part.each()}


@pytest.fixture
def whole(tmp_path: Path) -> Callable[[], Dataset]:
    return lambda: open_dataset(str(tmp_path / "out"))


def test_every_picture_is_one_row_with_a_vector_or_a_reason(
    embed: Embed, photos: Path, whole: Callable[[], Dataset], tmp_path: Path
) -> None:
    (photos / "circle" / "broken.jpg").write_bytes(b"no picture at all")
    (photos / "notes.txt").write_text("no picture")
    report = embed(photos)
    assert (report.images, report.vectors, report.embedded, report.refused, report.passed) == (13, 12, 12, {"not an image": 1}, 1)
    dataset = whole()
    rows = rows_of(dataset)
    assert sorted(rows) == sorted(str(path) for path in photos.rglob("*.*g")) and dataset.missing == 0
    assert list(dataset.refused()) == [(str(photos / "circle" / "broken.jpg"), SkipReason.NOT_AN_IMAGE.value)]
    uri, name, _, size, width, height, form, _, reason, _ = rows[str(photos / "square" / "1.png")]
    assert (name, size, width, height, form, reason) == ("square", os.path.getsize(uri), 160, 120, "PNG", None)
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos, progress=False)
        engine.export(tmp_path / "library.parquet", kind="parquet")
    table = parquet.read_table(tmp_path / "library.parquet")
    vectors = dict(zip(table["uri"].to_pylist(), table["vector"].to_pylist(), strict=True))
    assert {uri: np.float32(vector).tobytes() for uri, vector in vectors.items()} == {uri: row[-1] for uri, row in rows.items() if row[-1]}


def test_any_reader_of_parquet_can_read_it(embed: Embed, photos: Path, whole: Callable[[], Dataset]) -> None:
    embed(photos)
    table = pa.concat_tables(parquet.read_table(file) for file in whole().vector_files())
    assert table.column_names == ["uri", "name", "sha256", "bytes", "width", "height", "format", "captured", "reason", "vector"]
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: float not null>[96]"
    assert len(table) == 12 and table.schema.metadata[b"image_search.model"] == b"quick"


def test_a_second_run_embeds_nothing_and_a_third_only_what_is_new(
    embed: Embed, photos: Path, whole: Callable[[], Dataset], tmp_path: Path
) -> None:
    embed(photos)
    before, files = rows_of(whole()), {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    again = embed(photos)
    assert (again.embedded, again.made) == (0, 0)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")} == files
    fill(photos, 1, first=4)
    picture("circle", 77).save(photos / "circle" / "0.png")
    (photos / "stripes" / "3.png").unlink()
    third = embed(photos)
    assert (third.images, third.embedded) == (14, 4)
    after = rows_of(whole())
    changed = {uri for uri in before.keys() & after.keys() if before[uri] != after[uri]}
    assert changed == {str(photos / "circle" / "0.png")} and len(after) == 14
    assert str(photos / "stripes" / "3.png") not in after


def test_where_one_picture_is_new_one_block_is(tmp_path: Path) -> None:
    """All that follow move up, and are cut at the same places nevertheless."""
    uris = [f"s3://bucket/{number:05}.jpg" for number in range(2000)]
    plans = []
    for listed in (uris, ["s3://bucket/00000-new.jpg", *uris]):
        columns = {"uri": sorted(listed), "name": [""] * len(listed), "bytes": [1] * len(listed), "version": ["v"] * len(listed)}
        home = place(str(tmp_path))
        plans.append(read_plan(home, write_list(home, pa.table(columns), "model", 100)))
    before, after = ({block.name for block in plan} for plan in plans)
    assert len(before) > 15 and len(after - before) == 1
    assert all(50 <= block.images <= 500 for plan in plans for block in plan[:-1]) and sum(block.images for block in plans[1]) == 2001


def test_what_the_list_no_longer_names_leaves_when_asked(embed: Embed, photos: Path, whole: Callable[[], Dataset], tmp_path: Path) -> None:
    embed(photos)
    gone = bytes(np.float32(0)) + rows_of(whole())[str(photos / "circle" / "0.png")][-1][:64]
    (photos / "circle" / "0.png").unlink()
    embed(photos)
    held = [path for path in (tmp_path / "out" / "blocks").iterdir() if gone[4:] in path.read_bytes()]
    assert len(held) == 1, "it stays until it is asked to go"
    assert embed(photos, prune=True).pruned >= 1
    assert not any(gone[4:] in path.read_bytes() for path in (tmp_path / "out").rglob("*.parquet"))
    assert len(rows_of(whole())) == 11


def test_a_run_that_was_cut_short_is_finished_by_the_next(embed: Embed, photos: Path, whole: Callable[[], Dataset], tmp_path: Path) -> None:
    def stop(done: int, total: int, refused: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(photos, progress=stop, block_images=1)
    assert whole().missing == 7
    (tmp_path / "out" / "_tmp" / "half.part").write_bytes(b"half")
    (tmp_path / "out" / "manifest").rename(tmp_path / "manifest")  # as after a kill, which leaves no time for one
    assert embed(photos, block_images=1).embedded == 7
    rows = rows_of(whole())
    shutil.rmtree(tmp_path / "out")
    embed(photos)
    assert rows_of(whole()) == rows and len(rows) == 12


def test_a_run_killed_after_a_change_still_keeps_what_is_unchanged(
    embed: Embed, photos: Path, whole: Callable[[], Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new list is there, its blocks are not: the old list is remembered until all of them are."""
    one = functools.partial(embed, photos, block_images=100)
    one()
    fill(photos, 1, first=4)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Worker, "make", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        one()
    assert whole().missing == 15
    assert one().embedded == 3 and whole().missing == 0


def test_what_could_not_be_reached_is_tried_again(embed: Embed, photos: Path, whole: Callable[[], Dataset], tmp_path: Path) -> None:
    lines = "\n".join(["uri,name", *(f"{path},{path.parent.name}" for path in sorted(photos.rglob("*.png"))), f"{tmp_path}/late.png,x"])
    (tmp_path / "list.csv").write_text(lines)
    asked = functools.partial(embed, uris=tmp_path / "list.csv")
    assert asked().refused == {"vanished before it was read": 1}
    again = asked()
    assert (again.embedded, again.made, again.refused) == (0, 0, {"vanished before it was read": 1}), "nothing new is nothing written"
    picture("circle", 50).save(tmp_path / "late.png")
    assert (asked().embedded, asked().embedded) == (1, 0)
    assert rows_of(whole())[f"{tmp_path}/late.png"][1] == "x"
    assert [n for n in attempts(os.listdir(tmp_path / "out" / "blocks")).values() if n] == [], "its size was new, so was the block"


def test_a_second_attempt_is_another_file(embed: Embed, photos: Path, whole: Callable[[], Dataset], tmp_path: Path) -> None:
    """The list says the size, and the picture came late: the same block, another file."""
    late = tmp_path / "late.png"
    picture("circle", 50).save(late)
    size = late.stat().st_size
    late.rename(tmp_path / "away.png")
    (tmp_path / "list.csv").write_text(f"uri,bytes,etag\n{late},{size},abc\n{photos}/circle/0.png,{size},x\n")
    asked = functools.partial(embed, uris=tmp_path / "list.csv")
    assert asked().refused == {"vanished before it was read": 1}
    (tmp_path / "away.png").rename(late)
    assert (asked().embedded, asked().embedded) == (1, 0)
    assert list(attempts(os.listdir(tmp_path / "out" / "blocks")).values()) == [1] and len(os.listdir(tmp_path / "out" / "blocks")) == 2
    assert [row[-2] for row in rows_of(whole()).values()] == [None, None]


def test_a_list_with_nulls_and_repetitions(embed: Embed, photos: Path, tmp_path: Path) -> None:
    uris = [str(path) for path in sorted(photos.rglob("*.png"))]
    strange = ["https://example.org/a.jpg", "ftp://example.org/a.jpg"]  # never read, so they have not vanished either
    parquet.write_table(pa.table({"URI": [None, *uris, uris[0], "", *strange], "size": [None] * 17}), tmp_path / "list.parquet")
    report = embed(uris=tmp_path / "list.parquet")
    assert (report.images, report.vectors, report.nameless, report.foreign, report.repeated) == (12, 12, 2, 2, 1)
    assert "left out          2  of a kind of address that is not known" in dataset_table(report)


def test_a_file_that_is_too_large_is_not_read(embed: Embed, photos: Path) -> None:
    with open(photos / "huge.jpg", "wb") as file:
        file.truncate(100 * 2**30)  # a hole: it takes no room
    assert embed(photos).refused == {"file too large": 1}


def test_a_higher_limit_gives_those_their_vector_that_it_refused(embed: Embed, photos: Path) -> None:
    picture("square", 5, (400, 300)).save(photos / "large.png")
    assert embed(photos, max_megapixels=0.1).refused == {"too many pixels": 1}
    report = embed(photos)
    assert (report.refused, report.embedded) == ({}, 1)


def test_a_decoder_that_dies_by_chance_costs_nothing(embed: Embed, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a picture has a second try; one that kills its decoder twice is a row with its reason."""
    tries: dict[str, int] = {}
    decode = InProcessPool.decode

    def dying(self: InProcessPool, source: Any, **given: Any) -> Any:
        tries[source] = tries.get(source, 0) + 1
        if (source.endswith("1.png") and tries[source] == 1) or source.endswith("2.png"):
            raise DecodeError(SkipReason.CRASHED, path=source)
        return decode(self, source, **given)

    monkeypatch.setattr(InProcessPool, "decode", dying)
    report = embed(photos)
    assert (report.vectors, report.refused) == (9, {"crashed the decoder": 3})
    assert set(tries.values()) == {1, 2}


def test_a_block_that_is_damaged_is_made_again(embed: Embed, photos: Path, whole: Callable[[], Dataset], tmp_path: Path) -> None:
    embed(photos)
    rows = rows_of(whole())
    block = sorted((tmp_path / "out" / "blocks").iterdir())[0]
    block.write_bytes(block.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="damaged"):
        rows_of(whole())
    assert embed(photos).made == 1
    assert rows_of(whole()) == rows


def test_a_list_that_was_lost_is_written_again(embed: Embed, photos: Path, whole: Callable[[], Dataset], tmp_path: Path) -> None:
    """Nothing is embedded for it; what cannot be mended by the next run says what to delete, and that is enough."""
    embed(photos)
    rows = rows_of(whole())
    for name in ("plan", "list"):
        for change in (Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:50])):
            for file in (tmp_path / "out" / name).iterdir():
                change(file)
            assert embed(photos).embedded == 0
            assert rows_of(whole()) == rows
    for name in ("current.json", "dataset.json"):
        (tmp_path / "out" / name).write_text("{")
        with pytest.raises(DatasetError, match=r"damaged.* Delete it and index again"):
            embed(photos)
        (tmp_path / "out" / name).unlink()
        assert embed(photos).embedded == 0
        assert rows_of(whole()) == rows


def test_what_was_embedded_is_found_without_the_list_before(
    embed: Embed, photos: Path, whole: Callable[[], Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed leaves two lists; the older one is only there to save work."""
    embed(photos)
    old = list((tmp_path / "out" / "plan").iterdir())
    fill(photos, 1, first=4)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Worker, "make", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        embed(photos)
    for file in old:
        file.write_bytes(b"no plan")
    assert embed(photos).vectors == 15 and whole().missing == 0


def test_what_a_stranger_wrote_is_looked_at(embed: Embed, photos: Path, whole: Callable[[], Dataset], tmp_path: Path) -> None:
    embed(photos)
    file = sorted((tmp_path / "out" / "blocks").iterdir())[0]
    table = parquet.read_table(file)
    vectors = np.stack([np.float32(vector) for vector in table["vector"].to_pylist()])
    for wrong, said in ((vectors * 2, "no sense"), (vectors * np.nan, "no sense"), (vectors[:, :50], "other columns")):
        kind = pa.list_(pa.field("element", pa.float32(), nullable=False), wrong.shape[1])
        column = pa.FixedSizeListArray.from_arrays(pa.array(wrong.ravel()), type=kind)
        parquet.write_table(table.set_column(9, pa.field("vector", kind), column), file)
        with pytest.raises(DatasetError, match=said):
            rows_of(whole())
    parquet.write_table(table.replace_schema_metadata({"image_search.fingerprint": "0" * 16}), file)
    with pytest.raises(DatasetError, match="another model"):
        rows_of(whole())
    facts = json.loads((tmp_path / "out" / "dataset.json").read_text())
    for change, said in (({"format": 99}, "newer version"), ({"canonical": "AAAA"}, "damaged"), ({"fingerprint": {}}, "damaged")):
        (tmp_path / "out" / "dataset.json").write_text(json.dumps(facts | change))
        with pytest.raises(DatasetError, match=said):
            whole()


def test_another_model_is_refused_and_nothing_is_changed(embed: Embed, photos: Path, tmp_path: Path) -> None:
    embed(photos)
    before = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    with pytest.raises(ModelMismatchError, match="made with the model quick, not with mini"):
        embed(photos, model="mini")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == before


def test_in_batches(embed: Embed, photos: Path, whole: Callable[[], Dataset]) -> None:
    (photos / "circle" / "bad.png").write_bytes(b"x")
    embed(photos, block_images=100)
    parts = list(whole().rows(5))
    assert list(map(len, parts)) == [5, 5, 2]
    assert all(isinstance(part, Rows) and part.vectors.shape == (len(part), 96) and part.vectors.dtype == np.float32 for part in parts)


def test_a_disk_that_refuses_is_one_line(embed: Embed, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    embed(photos)
    fill(photos, 1, first=9)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DatasetError) as caught:
        embed(photos)
    assert str(caught.value).startswith("the disk is full: ") and "make room" in str(caught.value).lower()
    monkeypatch.undo()


def test_a_dry_run_says_what_a_run_would_do_and_writes_nothing(embed: Embed, photos: Path, tmp_path: Path) -> None:
    def foreseen_and_done() -> tuple[int, int]:
        before = {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        foreseen = embed(photos, dry_run=True)
        assert {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        done = embed(photos)
        assert (foreseen.images, foreseen.blocks, foreseen.made) == (done.images, done.blocks, done.made)
        return foreseen.embedded, done.embedded

    assert foreseen_and_done() == (12, 12)
    assert foreseen_and_done() == (0, 0)
    fill(photos, 1, first=9)
    assert foreseen_and_done() == (3, 3)
    os.utime(photos / "circle" / "1.png", (1, 1))
    assert foreseen_and_done() == (1, 1)
    with pytest.raises(ModelMismatchError, match="was made with the model quick, not with mini"):
        embed(photos, model="mini", dry_run=True)


def test_where_no_data_set_can_be_is_told_before_anything_is_done(
    embed: Embed, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match=r"this is a file, and no folder: .*/file. Name a new folder"):
            embed(photos, out=out)
    if Path("/proc/self").is_dir():
        with pytest.raises(DatasetError, match="no folder can be made here: /proc/x"):
            embed(photos, out="/proc/x")
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # whom no permission stops
        monkeypatch.setattr(os, "access", lambda *_: False)
    (tmp_path / "mine").mkdir(mode=0o500)
    with pytest.raises(UsageError, match=r"nothing can be written in this folder: .*/mine. Name another one"):
        embed(photos, out=tmp_path / "mine" / "out")
    assert os.listdir(tmp_path / "mine") == []


def test_a_disk_that_can_only_be_read_is_one_line(embed: Embed, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(DatasetError, match=r"^this disk can only be read: "):
        embed(photos)


def test_a_bucket_is_listed_as_a_folder_is(tmp_path: Path) -> None:
    """Hidden files, what is left out, raw files beside the JPEG of the same shot; the bucket is a folder here."""
    for name in (
        *("a/1.JPG", "a/1.cr2", "a/2.cr2", "a/3.nef", "a/3.png", "a/4.heic", "a/4.DNG", "a/5.arw", "a/5.skip.jpg", "a/.6.jpg", "a/6.arw"),
        *(
            "7.jpg",
            "7.dng",
            "a/b/8.jpg",
            "a/8.dng",
            "a/b/8.dng",
            "a/c/d/e/9.jpg",
            "a/c/d/e/9.raf",
            "notes.txt",
            "a/10.out.jpg",
            "a/10.out.dng",
        ),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    excluder = Excluder(["*.out.jpg"])
    found = Listing(None)
    here = Place("s3://bucket/photos", str(tmp_path), False, pa.fs.LocalFileSystem())
    items = list(_in_bucket(here, excluder, True, False, found))
    folder = [entry for entry in scan(str(tmp_path), excluder=excluder) if isinstance(entry, ImageFile)]
    assert sorted(item.uri.rpartition(str(tmp_path))[2] for item in items) == sorted(f"/{os.fsdecode(one.relative)}" for one in folder)
    assert {item.name for item in items} == {tmp_path.name, "a", "b", "e"} and found.passed == 8


def test_slips_are_told(embed: Embed, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("address\nx\n")
    (tmp_path / "nothing.csv").write_text("uri\n\n")
    (tmp_path / "list.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "far.csv").write_text("uri\nhttps://example.org/a.jpg\n")
    parquet.write_table(pa.table({"uri": [1, 2]}), tmp_path / "numbers.parquet")
    tries: list[tuple[type[ImageSearchError], dict[str, Any], str]] = [
        (UsageError, {}, "give folders"),
        (UsageError, {"sources": photos, "uris": "x.csv"}, "give folders"),
        (UsageError, {"sources": tmp_path / "nowhere"}, "no such folder"),
        (UsageError, {"sources": "ftp://x/y"}, "not known"),
        (UsageError, {"sources": "s3:///x"}, "names no bucket"),
        (UsageError, {"sources": photos, "out": "s3:/x"}, "not known"),
        (UsageError, {"sources": photos, "out": photos}, r"holds something else \(circle\)"),
        (UsageError, {"uris": tmp_path / "numbers.parquet"}, "holds no text"),
        (DatasetError, {"uris": tmp_path / "far.csv"}, "no addresses"),
        (DatasetError, {"sources": tmp_path / "empty"}, "no pictures here"),
        (UsageError, {"uris": tmp_path / "list.csv"}, "no column uri"),
        (DatasetError, {"uris": tmp_path / "nothing.csv"}, "no addresses"),
        (UsageError, {"uris": tmp_path / "list.parquet"}, "cannot be read"),
        (UsageError, {"uris": tmp_path / "none.parquet"}, "no such list"),
    ]
    for kind, arguments, said in tries:
        with pytest.raises(kind, match=said) as caught:
            embed(**arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match="no data set here"):
        open_dataset(str(tmp_path / "empty"))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("embed")  # for its decoders
def test_from_the_command_line(run: Callable[..., Answer], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_search.cluster.embed, "load_model", lambda *_, **__: Quick())
    made = run("index", photos, "--out", tmp_path / "set", "--json")
    assert (made.code, json.loads(made.out)["vectors"]) == (0, 12)
    (photos / "bad.png").write_bytes(b"x")
    assert "refused" in (again := run("index", photos, "--out", tmp_path / "set", "--strict")).out and again.code == 1
    foreseen = run("index", photos, "--out", tmp_path / "set", "--dry-run")
    assert (foreseen.code, "Nothing was written (--dry-run)" in foreseen.err) == (0, True) and "embedded          0" in foreseen.out
    for slip in (("--cluster", "auto"), ("--uris", "x.csv"), ("--out", "x", "--store", "exact"), ("--out", "x", "--verify")):
        assert run("index", photos, *slip).code == 2
    assert run("index").code == 2
    assert "data set: --out" in (bucket := run("index", "s3://bucket/photos")).err and bucket.code == 2


def test_a_worker_with_other_weights_is_refused(embed: Embed, photos: Path, tmp_path: Path) -> None:
    """Of a cluster: its machines may have another version of the model."""
    from dataclasses import replace

    embed(photos)

    class Other(QuickModel):
        fingerprint = replace(QuickModel.fingerprint, weights_sha256="1" * 64)

    with pytest.raises(ModelMismatchError, match="other weights on this machine"):
        Worker(Order(str(tmp_path / "out"), Other(), None, 1, work.Limits(), InProcessPool))
