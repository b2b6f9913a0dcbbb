"""A library brought to another model: what it is afterwards, what it answers until then, and what an interruption costs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from inprocess import Answer
from pageserver import Client, serving
from pictures import fill, picture

import image_search.index.reembed
import image_search.index.run
from image_search import DiskFullError, ImageSearchEngine, LibraryBusyError, LibraryError, ModelMismatchError, QueryError
from image_search.library.catalog import CATALOG_NAME, Catalog
from image_search.library.successor import successor_folder, under_way
from image_search.testing import InProcessPool, QuickModel
from image_search.types import Fingerprint, Float32, Preprocess, UInt8


class OtherModel(QuickModel):
    """Of the same dimension, and says something else."""

    runtime = "other"
    fingerprint = Fingerprint("other", "tests", "", "1" * 64, "embedding", 96, Preprocess(size=(16, 16)))

    def embed(self, pixels: UInt8) -> Float32:
        return np.ascontiguousarray(super().embed(pixels[:, ::-1, :, ::-1])[:, ::-1])


class NarrowModel(QuickModel):
    """Of another dimension."""

    fingerprint = Fingerprint("narrow", "tests", "", "2" * 64, "embedding", 48, Preprocess(size=(16, 16)))

    def embed(self, pixels: UInt8) -> Float32:
        vectors = super().embed(pixels)[:, ::2]
        unit: Float32 = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return unit


MODELS = {"quick": QuickModel, "other": OtherModel, "narrow": NarrowModel}


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_search.library.model.load_model", lambda name, **_: MODELS[name]())
    monkeypatch.setattr("image_search.library.model.choose_auto", lambda: ("quick", None))
    monkeypatch.setattr("image_search.library.model.resolve", lambda name: MODELS[name].fingerprint)
    monkeypatch.setattr("image_search.index.run.COMMIT_SECONDS", 0)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def opened(tmp_path: Path, said: list[str]) -> Iterator[Callable[..., ImageSearchEngine]]:
    """An engine over <tmp_path>/library; closed in the end."""
    engines = []

    def make(model: str | None = None, library: str = "library", store: str | None = "exact") -> ImageSearchEngine:
        engine = ImageSearchEngine(tmp_path / library, model=model, store=store, jobs=1, notify=said.append)
        engine._make_pool = InProcessPool
        engines.append(engine)
        return engine

    make.engines = engines  # type: ignore[attr-defined]
    yield make
    for engine in engines:
        engine.close()


Opened = Callable[..., ImageSearchEngine]


def held(library: Path) -> dict[bytes, tuple[object, ...]]:
    """sha256 -> its vector and what is known of the picture."""
    catalog = Catalog.open(library)
    try:
        assert catalog.rows("PRAGMA integrity_check") == [("ok",)]
        rows = catalog.rows("SELECT sha256, vector, checksum, width, height, format, rules, note, captured FROM content")
        return {sha256: tuple(rest) for sha256, *rest in rows}
    finally:
        catalog.close()


def files(library: Path) -> dict[str, tuple[int, str, str]]:
    """path -> its number, state and class."""
    catalog = Catalog.open(library)
    try:
        rows = catalog.rows("SELECT r.path, f.path, f.id, f.state, f.name FROM files AS f JOIN roots AS r ON r.id = f.root_id")
        return {os.fsdecode(os.path.join(root, path)): (number, state, name) for root, path, number, state, name in rows}
    finally:
        catalog.close()


# --- what it is afterwards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["other", "narrow"])
def test_it_is_what_a_new_library_would_be_with_all_that_was_said(tmp_path: Path, photos: Path, opened: Opened, model: str) -> None:
    fill(photos, 14, first=100)  # enough for closeness
    shutil.copy(photos / "circle" / "0.png", photos / "circle" / "copy.png")
    (photos / "left out").mkdir()
    shutil.copy(photos / "circle" / "0.png", photos / "left out" / "again.png")
    picture("square", 999).save(photos / "left out" / "own.png")
    old = opened()
    old.index(photos)
    old.index(photos, exclude="left out")
    old.forget(photos / "circle" / "1.png")
    old.decide("not the same", photos / "circle" / "2.png", photos / "circle" / "3.png")
    (tmp_path / "prices.csv").write_text(f"path,price\n{photos / 'circle' / '2.png'},7\n")
    old.annotate(tmp_path / "prices.csv")
    before, picture_before = files(tmp_path / "library"), old._library.thumbnails().get(old._open().reader.sha256_of(1) or b"")
    old.close()
    new = opened(model)
    report = new.reembed(progress=False)
    assert (report.changed, report.before, report.model) == (True, "quick", model)
    assert report.images == new.status()["images"] and report.embedded == len(held(tmp_path / "library"))
    fresh = opened(model, "fresh")
    fresh.index(photos, exclude="left out")
    expected = held(tmp_path / "fresh")
    mine = held(tmp_path / "library")
    forgotten = expected.keys() - mine.keys()
    assert len(forgotten) == 1, "what was forgotten stays out"
    assert all(mine[sha256] == expected[sha256] for sha256 in expected.keys() - forgotten), "bit for bit"
    assert len(mine.keys() - expected.keys()) == 1, "what is excluded keeps a vector"
    assert files(tmp_path / "library") == before
    assert new.status()["excluded"] == 2 and len(new.decisions()) == 1
    assert [m.path for m in new.search(photos / "circle" / "0.png", 100, where="price < 8")] == [str(photos / "circle" / "2.png")]
    assert new.search(photos / "circle" / "2.png", 1)[0].closeness is not None
    assert new._library.thumbnails().get(new._open().reader.sha256_of(1) or b"") == picture_before
    assert new.verify() == [] and new.status()["reembedding"] is None
    assert not successor_folder(tmp_path / "library").exists()
    again = new.index(photos, exclude="left out")
    assert (again.embedded, again.added, again.updated) == (0, 0, 0)
    assert new.index(photos).embedded == 0, "what was excluded comes back with its new vector"


def test_the_store_and_the_codes_are_those_of_the_new_model(tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_search.library.vectors.CODES_FROM", 10)
    monkeypatch.setattr("image_search.search.search.CODES_FROM", 10)
    fill(tmp_path / "photos", 8)
    old = opened(store="chroma")
    old.index(tmp_path / "photos")
    assert old.status()["store_ready"] and (tmp_path / "library" / "codes.bin").exists()
    codes = (tmp_path / "library" / "codes.bin").read_bytes()
    old.close()
    new = opened("other", store=None)
    new.reembed(progress=False)
    assert new.status()["store_ready"] and (tmp_path / "library" / "codes.bin").read_bytes() != codes
    (tmp_path / "library" / "codes.bin").write_bytes(
        codes
    )  # as after a kill before they were written: of the old vectors, and not believed
    new.close()
    fresh = opened("other", "fresh")
    fresh.index(tmp_path / "photos")
    for path in sorted((tmp_path / "photos").rglob("*.png"))[:5]:
        answers = [[(m.path, m.similarity) for m in engine.search(path, 10, how="exact")] for engine in (opened(), fresh)]
        assert answers[0] == answers[1]


def test_a_library_that_has_the_model_is_left_alone(tmp_path: Path, photos: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = opened("other")
    engine.index(photos)
    before = (tmp_path / "library" / CATALOG_NAME).stat().st_ino
    monkeypatch.setattr(OtherModel, "pictures", lambda *_: None, raising=False)
    assert not engine.reembed(progress=False).changed
    assert not opened().reembed(progress=False).changed, "its own name"
    assert (tmp_path / "library" / CATALOG_NAME).stat().st_ino == before


def test_new_weights_of_the_same_name_are_told_with_the_way(
    tmp_path: Path, photos: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundled model is another one after an upgrade of the program."""
    opened().index(photos)
    monkeypatch.setitem(MODELS, "quick", _renamed(OtherModel, "quick"))
    engine = opened()
    with pytest.raises(ModelMismatchError, match=r"not those that the library was made with.*model='quick'\)\.reembed\(\).*library=OTHER"):
        engine.search(photos / "circle" / "0.png", exclude_self=True, region=(0, 0, 40, 40))
    assert engine.reembed(progress=False).before == "quick"
    assert engine.search(photos / "circle" / "0.png", region=(0, 0, 160, 120))[0].path == str(photos / "circle" / "0.png")
    monkeypatch.setitem(MODELS, "quick", _renamed(NarrowModel, "quick"))
    with pytest.raises(ModelMismatchError, match=r"made with another quick.*reembed\(\)"):
        opened().search(photos / "circle" / "0.png", region=(0, 0, 40, 40))


def _renamed(model: type[QuickModel], name: str) -> type[QuickModel]:
    from dataclasses import replace

    return type("Renamed", (model,), {"fingerprint": replace(model.fingerprint, name=name)})


# --- until then -----------------------------------------------------------------------------------------------------------------------


def test_the_old_answers_until_it_is_done(tmp_path: Path, photos: Path, opened: Opened) -> None:
    """Of somebody who has it open all the time, and of somebody who opens it in between."""
    fill(photos, 4, first=50)
    asked = photos / "circle" / "0.png"
    reader = opened()
    reader.index(photos)
    answer = [(m.path, m.similarity) for m in reader.search(asked, 30)]
    seen = []

    def during(done: int, total: int, skipped: int) -> None:
        assert [(m.path, m.similarity) for m in reader.search(asked, 30)] == answer
        other = opened()
        assert [(m.path, m.similarity) for m in other.search(asked, 30)] == answer
        begun = other.status()["reembedding"]
        assert begun["model"] == "other" and 0 < begun["pictures"] <= begun["of"] == 24
        if len(seen) < 3:
            reader.decide("not the same", photos / "circle" / f"{len(seen)}.png", photos / "square" / "3.png")
        seen.append(done)

    report = opened("other").reembed(progress=during)
    assert len(seen) > 1 and report.pictures == 24
    now = [(m.path, m.similarity) for m in reader.search(asked, 30)]
    assert now != answer and reader.status()["model"] == "other", "it has noticed by itself"
    fresh = opened("other", "fresh")
    fresh.index(photos)
    assert now == [(m.path, m.similarity) for m in fresh.search(asked, 30)]
    assert len(reader.decisions()) == 3, "what was decided meanwhile is there"


def test_a_search_that_is_under_way_ends_with_the_old_model(tmp_path: Path, photos: Path, opened: Opened) -> None:
    old = opened()
    old.index(photos)
    searcher, query = old._open(), old.query(photos / "circle" / "0.png")
    before = held(tmp_path / "library")
    opened("other").reembed(progress=False)
    assert searcher.reader.catalog.replaced
    vectors = searcher.reader.all_vectors()
    vectors.refresh()
    assert {row.tobytes() for row in vectors.rows} == {facts[0] for facts in before.values()}
    with pytest.raises(QueryError, match="read before the library was brought to another model"):
        old.search(query)


def test_what_others_write_meanwhile_is_followed(tmp_path: Path, photos: Path, opened: Opened) -> None:
    writer = opened()
    writer.index(photos)
    happened = []

    def during(done: int, total: int, skipped: int) -> None:
        if not happened:
            happened.append(done)
            fill(photos, 1, first=70)
            (photos / "square" / "0.png").unlink()
            picture("stripes", 321).save(photos / "stripes" / "0.png")
            writer.forget(photos / "circle" / "3.png")
            assert writer.index(photos).added == 3

    report = opened("other").reembed(progress=during)
    assert report.images == 13 and report.embedded >= 13
    fresh = opened("other", "fresh")
    fresh.index(photos)
    fresh.forget(photos / "circle" / "3.png")
    mine = held(tmp_path / "library")
    assert all(mine[sha256] == facts for sha256, facts in held(tmp_path / "fresh").items())
    assert opened().index(photos).embedded == 0


def test_the_page_that_holds_the_library_goes_on(tmp_path: Path, photos: Path, opened: Opened) -> None:
    page = opened()
    page.index(photos)
    page.hold_writer_lock("page")
    assert opened("other").reembed(progress=False).images == 12
    fill(photos, 1, first=70)
    report = page.index(photos)
    assert (report.added, report.embedded, report.unchanged) == (3, 3, 12)
    assert page.status()["model"] == "other" and page.search(photos / "circle" / "70.png")[0].similarity == 1


def test_a_running_page_answers_all_the_time(tmp_path: Path, photos: Path, opened: Opened) -> None:
    opened().index(photos)
    with serving(tmp_path / "library", model=None, folding=True) as server:
        client = Client(server)
        first = client.get("/api/images").json["items"][0]["id"]
        sent = client.upload((photos / "square" / "1.png").read_bytes()).json["id"]

        def answers() -> list[list[tuple[str, float]]]:
            both = [client.post("/api/search", {"queries": [{"id": id}], "n": 12}) for id in (first, sent)]
            assert [answer.status for answer in both] == [200, 200], both
            return [[(hit["path"], hit["similarity"]) for hit in answer.json["matches"]] for answer in both]

        before, seen = answers(), []

        def during(*_: int) -> None:
            assert answers() == before
            seen.append(True)

        opened("other").reembed(progress=during)
        after = answers()
        assert seen and client.get("/api/library").json["library"]["model"] == "other"
        asked = opened()
        assert (
            after
            == [[(m.path, m.similarity) for m in asked.search(picture, 12)] for picture in (first, photos / "square" / "1.png")]
            != before
        )
        fill(photos, 1, first=60)
        assert client.post("/api/index", {"folder": 0}).status in (200, 202)
        assert (job := client.wait_for_job())["state"] == "done" and job["added"] == 3


def test_an_index_run_is_not_cut_off(tmp_path: Path, photos: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_search.index.reembed, "REEMBED_TURN_SECONDS", 0)
    writer = opened()
    writer.index(photos)
    fill(photos, 1, first=70)
    with pytest.raises(LibraryBusyError):
        writer.index(photos, progress=lambda *_: opened("other").reembed(progress=False) and None)
    assert writer.status()["model"] == "quick"
    assert writer.index(photos).missing == 0


# --- interrupted ------------------------------------------------------------------------------------------------------------------------


def stop_after(commits: int) -> Callable[[int, int, int], None]:
    seen = []

    def progress(done: int, total: int, skipped: int) -> None:
        seen.append(done)
        if len(seen) == commits:
            raise KeyboardInterrupt

    return progress


def test_what_was_embedded_is_not_embedded_again(tmp_path: Path, photos: Path, opened: Opened) -> None:
    opened().index(photos)
    with pytest.raises(KeyboardInterrupt):
        opened("other").reembed(progress=stop_after(2))
    found = under_way(tmp_path / "library")
    assert found is not None and found[0] == "other" and 0 < found[1] < 12
    assert opened().search(photos / "circle" / "0.png")[0].similarity == 1, "the old one answers"
    report = opened("other").reembed(progress=False)
    assert report.embedded == 12 - found[1] and report.pictures == 12


def test_another_model_in_between_begins_anew(tmp_path: Path, photos: Path, opened: Opened, said: list[str]) -> None:
    opened().index(photos)
    with pytest.raises(KeyboardInterrupt):
        opened("other").reembed(progress=stop_after(2))
    report = opened("narrow").reembed(progress=False)
    assert (report.model, report.embedded) == ("narrow", 12)
    assert any("begun with the model other" in line and "given up" in line for line in said)


def test_a_picture_that_changed_counts_as_it_is_now(tmp_path: Path, photos: Path, opened: Opened) -> None:
    opened().index(photos)
    before = files(tmp_path / "library")
    with pytest.raises(KeyboardInterrupt):
        opened("other").reembed(progress=stop_after(2))
    for path in photos.rglob("0.png"):
        picture("square", 500 + len(path.parent.name)).save(path)
    report = opened("other").reembed(progress=False)
    assert report.updated >= 1 and report.images == 12, "those that were embedded before the change are the next index run's"
    fresh = opened("other", "fresh")
    fresh.index(photos)
    engine = opened("other")
    assert engine.index(photos).embedded <= 3 - report.updated
    mine = held(tmp_path / "library")
    assert all(mine[sha256] == facts for sha256, facts in held(tmp_path / "fresh").items()) and files(tmp_path / "library") == before


def test_a_picture_of_which_the_new_model_makes_nothing_is_said(
    tmp_path: Path, photos: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().index(photos)
    broken = photos / "square" / "2.png"
    broken.write_bytes(broken.read_bytes()[:40])
    report = opened("other").reembed(progress=False)
    assert [skipped.path for skipped in report.skipped] == [str(broken)] and report.images == 11
    assert opened().status()["skipped"] == 1
    report = opened().index(photos)
    assert (report.embedded, len(report.skipped)) == (0, 1)


# --- out of reach -----------------------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_away_keeps_the_old_model(tmp_path: Path, photos: Path, opened: Opened) -> None:
    fill(tmp_path / "usb", 2, first=30)
    old = opened()
    old.index([photos, tmp_path / "usb"])
    (tmp_path / "usb").rename(tmp_path / "drawer")
    with pytest.raises(
        LibraryError, match=r"6 images have no vector of other yet \(6 out of reach: .*usb.*quick goes on.*leave_unreachable"
    ):
        opened("other").reembed(progress=False)
    assert len(old.search(photos / "circle" / "0.png", 50)) == 18
    (tmp_path / "drawer").rename(tmp_path / "usb")
    report = opened("other").reembed(progress=False)
    assert (report.embedded, report.images, report.unreachable) == (6, 18, 0)


def test_what_is_left_is_known_and_embedded_when_it_is_back(tmp_path: Path, photos: Path, opened: Opened) -> None:
    fill(tmp_path / "usb", 2, first=30)
    old = opened()
    old.index([photos, tmp_path / "usb"])
    before = files(tmp_path / "library")
    (tmp_path / "usb").rename(tmp_path / "drawer")
    report = opened("other").reembed(leave_unreachable=True, progress=False)
    assert (report.images, report.unreachable) == (12, 6)
    engine = opened()
    assert engine.status()["unembedded"] == 6
    (tmp_path / "usb").mkdir()  # an empty place to mount a disk proves nothing
    for folders in ([photos], [photos, tmp_path / "usb"]):
        report = engine.index(folders)
        assert engine.status()["unembedded"] == 6 and report.missing == 0
    (tmp_path / "usb").rmdir()
    engine.index([photos, tmp_path / "usb"])
    assert engine.status()["unembedded"] == 6
    (tmp_path / "drawer").rename(tmp_path / "usb")
    assert engine.index([photos, tmp_path / "usb"]).embedded == 6
    assert engine.status()["unembedded"] == 0 and files(tmp_path / "library") == before


def test_what_is_left_and_gone_is_no_longer_waited_for(tmp_path: Path, photos: Path, opened: Opened) -> None:
    fill(tmp_path / "usb", 2, first=30)
    opened().index([photos, tmp_path / "usb"])
    (tmp_path / "usb").rename(tmp_path / "drawer")
    opened("other").reembed(leave_unreachable=True, progress=False)
    engine = opened()
    (tmp_path / "drawer").rename(tmp_path / "usb")
    (tmp_path / "usb" / "circle" / "30.png").unlink()
    assert engine.index(tmp_path / "usb").missing == 1
    assert engine.status()["unembedded"] == 0
    shutil.rmtree(tmp_path / "usb")
    assert engine.index(tmp_path / "usb", prune=True).pruned == 5


def test_what_is_gone_is_missing_and_stops_nothing(tmp_path: Path, photos: Path, opened: Opened) -> None:
    opened().index(photos)
    (photos / "circle" / "0.png").unlink()
    report = opened("other").reembed(progress=False)
    assert (report.gone, report.images, report.unreachable) == (1, 11, 0)
    assert opened().status()["unembedded"] == 0


def test_a_kept_vector_that_cannot_be_made_anew_is_counted(tmp_path: Path, photos: Path, opened: Opened) -> None:
    old = opened()
    old.index(photos)
    gone = photos / "circle" / "0.png"
    data = gone.read_bytes()
    gone.unlink()
    assert old.index(photos).missing == 1
    report = opened("other").reembed(progress=False)
    assert (report.without, report.gone, report.unreachable, report.images) == (1, 0, 0, 11)
    gone.write_bytes(data)
    again = opened().index(photos)
    assert (again.added, again.embedded) == (1, 1) and len(files(tmp_path / "library")) == 12


def test_what_was_begun_and_is_damaged_is_given_up(tmp_path: Path, photos: Path, opened: Opened, said: list[str]) -> None:
    opened().index(photos)
    with pytest.raises(KeyboardInterrupt):
        opened("other").reembed(progress=stop_after(2))
    (successor_folder(tmp_path / "library") / CATALOG_NAME).write_bytes(b"no catalog" * 1000)
    assert opened().status()["reembedding"] is None
    assert opened("other").reembed(progress=False).embedded == 12
    assert any("is given up" in line for line in said)


# --- what stands in the way -----------------------------------------------------------------------------------------------------------


def test_without_room_nothing_is_begun(tmp_path: Path, photos: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    opened().index(photos)
    full = shutil._ntuple_diskusage(10**9, 10**9, 10_000)  # type: ignore[attr-defined]
    monkeypatch.setattr("image_search.index.reembed.shutil.disk_usage", lambda _: full)
    with pytest.raises(DiskFullError, match="no room for the vectors of another model"):
        opened("other").reembed(progress=False)
    assert not successor_folder(tmp_path / "library").exists()


def test_where_no_open_file_is_replaced_everything_of_this_process_is_closed(
    tmp_path: Path, photos: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, as far as that can be seen here."""
    engine = opened("other")
    opened().index(photos)
    for module in ("index.reembed", "library.switch"):
        monkeypatch.setattr(f"image_search.{module}.REPLACES_OPEN_FILES", False)
    real, open_then = os.replace, []

    def replace(made: Path, old: Path) -> None:
        if Path(old).name == CATALOG_NAME:
            handles = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
            open_then.extend(name for name in handles if name in (os.path.realpath(made), os.path.realpath(old)))
        real(made, old)

    monkeypatch.setattr(os, "replace", replace)
    for other in opened.engines:  # type: ignore[attr-defined]
        other.close()
    assert engine.reembed(progress=False).images == 12 and engine.search(photos / "circle" / "0.png")[0].similarity == 1
    assert open_then == []


def test_an_open_library_that_cannot_be_replaced_is_said(
    tmp_path: Path, photos: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().index(photos)
    with monkeypatch.context() as patch:
        real = os.replace

        def refuse(made: Path, place: Path) -> None:
            if Path(place) == tmp_path / "library" / CATALOG_NAME:
                raise PermissionError(13, "it is open")
            real(made, place)

        patch.setattr("image_search.library.switch.os.replace", refuse)
        with pytest.raises(LibraryBusyError, match=r"another program has the library open.*serve"):
            opened("other").reembed(progress=False)
    assert opened().search(photos / "circle" / "0.png")[0].similarity == 1
    assert opened("other").reembed(progress=False).embedded == 0


def test_two_at_once_are_one_too_many(tmp_path: Path, photos: Path, opened: Opened) -> None:
    opened().index(photos)
    refused = []

    def during(*_: int) -> None:
        with pytest.raises(LibraryBusyError, match="image-search reembed"):
            opened("narrow").reembed(progress=False)
        refused.append(True)

    assert opened("other").reembed(progress=during).model == "other" and refused


@pytest.mark.skipif(os.name != "posix", reason="a link")
def test_a_link_in_its_place_is_not_followed(tmp_path: Path, photos: Path, opened: Opened) -> None:
    opened().index(photos)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").touch()
    successor_folder(tmp_path / "library").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LibraryError, match="a link lies where"):
        opened("other").reembed(progress=False)
    assert (tmp_path / "elsewhere" / "mine").exists() and opened().status()["reembedding"] is None


# --- the command ------------------------------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, photos: Path, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_search.library.model.load_model", lambda name, **_: MODELS[name]())
    library = tmp_path / "library"
    assert run("index", photos, "--library", library, "--store", "exact").code == 0
    done = run("reembed", "--library", library, "--model", "other")
    assert done.code == 0 and "model other, was quick" in done.out and "embedded         12" in done.out
    again = run("reembed", "--library", library)
    assert (again.code, again.out) == (0, "") and "model is other already" in again.err
    assert '"changed": false' in run("reembed", "--library", library, "--json").out
    photos.rename(tmp_path / "away")
    refused = run("reembed", "--library", library, "--model", "quick")
    assert refused.code == 1 and "--leave-unreachable" in refused.err and "other goes on answering" in refused.err
    shown = run("status", "--library", library).out
    assert "re-embedded 0 of 12 pictures with the model quick" in shown and "image-search reembed --model quick" in shown
    left = run("reembed", "--library", library, "--model", "quick", "--leave-unreachable")
    assert "unreachable      12" in left.out
    assert "waiting     12 could not be read" in run("status", "--library", library).out
