"""What an index run finds, does and leaves alone."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from pictures import fill, picture

import image_search.images.pool
import image_search.index.request
import image_search.opened
import image_search.stores.sync
from image_search import ImageSearchEngine, ImageSearchError, UsageError
from image_search.library.catalog import Catalog
from image_search.testing import quick_engine


def ids(engine: ImageSearchEngine) -> dict[str, str]:
    """path -> id of everything that can be found."""
    return {m.path: m.id for m in engine.search(picture("circle", 0), 10_000)}


def test_everything_is_found_and_finds_itself(engine: ImageSearchEngine, photos: Path) -> None:
    report = engine.index(photos)
    assert (report.added, report.embedded, report.skipped) == (12, 12, [])
    for path in photos.rglob("*.png"):
        best = engine.search(path, 1)[0]
        assert (best.path, best.identical, best.similarity, best.name) == (str(path), True, 1.0, path.parent.name)


def test_a_second_run_does_nothing_and_needs_no_model(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with quick_engine(tmp_path / "library", store="chroma") as engine:
        engine.index(photos)

    def must_not(*args: object, **options: object) -> None:
        raise AssertionError("the model or the decoder was started for nothing")

    monkeypatch.setattr(image_search.library.model, "load_model", must_not)
    monkeypatch.setattr(image_search.opened, "DecodePool", must_not)
    with ImageSearchEngine(tmp_path / "library") as engine:
        before = Catalog.open(tmp_path / "library").generation
        report = engine.index(photos)
        assert (report.unchanged, report.added, report.embedded) == (12, 0, 0)
        assert Catalog.open(tmp_path / "library").generation == before  # so the store stays verified
        assert engine.status()["store_ready"]


def test_renamed_moved_and_copied_files_cost_no_embedding(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    before = ids(engine)
    (photos / "circle" / "0.png").rename(photos / "circle" / "renamed.png")
    (photos / "square" / "0.png").rename(photos / "stripes" / "moved.png")
    shutil.copy(photos / "square" / "1.png", photos / "square" / "copy.png")
    report = engine.index(photos)
    assert (report.moved, report.added, report.embedded, report.missing) == (2, 1, 0, 0)
    after = ids(engine)
    assert len(after) == 13
    assert after[str(photos / "circle" / "renamed.png")] == before[str(photos / "circle" / "0.png")]
    moved = engine.search(photos / "stripes" / "moved.png", 1)[0]
    assert moved.name == "stripes"


def test_a_moved_folder_is_moved_not_lost(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    before = set(ids(engine).values())
    (photos / "circle").rename(photos / "round")
    (photos / "square").rename(photos / "angular")
    report = engine.index(photos)
    assert (report.moved, report.missing, report.offline, report.embedded) == (8, 0, 0, 0)
    assert set(ids(engine).values()) == before


def test_changed_bytes_are_embedded_once(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    picture("circle", 99).save(photos / "circle" / "0.png")
    report = engine.index(photos)
    assert (report.updated, report.embedded) == (1, 1)
    assert engine.search(picture("circle", 99), 1)[0].path == str(photos / "circle" / "0.png")


def test_a_touched_file_is_hashed_not_embedded(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    os.utime(photos / "circle" / "0.png")
    report = engine.index(photos)
    assert (report.unchanged, report.updated, report.embedded) == (12, 0, 0)


def test_same_size_and_time_but_other_bytes(engine: ImageSearchEngine, photos: Path) -> None:
    """A replaced file with a forged mtime: ctime and inode tell; on file systems without them, --verify does."""
    path = photos / "circle" / "0.png"
    path.write_bytes(path.read_bytes() + b"\0")
    engine.index(photos)
    old = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] = 1
    path.write_bytes(data)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert engine.index(photos).updated == 1
    assert engine.index(photos, verify=True).unchanged == 12


def test_a_file_that_breaks_leaves_the_results_and_is_not_tried_again(
    engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.index(photos)
    broken = photos / "circle" / "0.png"
    broken.write_bytes(broken.read_bytes()[:200])
    report = engine.index(photos)
    assert [(s.path, s.reason) for s in report.skipped] == [(str(broken), "damaged image")]
    assert str(broken) not in ids(engine)
    monkeypatch.setattr(engine, "_make_pool", None)  # a try would raise
    again = engine.index(photos)
    assert [s.path for s in again.skipped] == [str(broken)]  # still told, not tried
    monkeypatch.undo()
    monkeypatch.setattr(image_search.index.request, "decoder_name", lambda megapixels: "another decoder")
    assert engine.index(photos).skipped[0].path == str(broken)
    picture("circle", 0).save(broken)
    assert engine.index(photos).added == 1


def test_one_bad_file_costs_one_image_and_neighbours_stay_aligned(engine: ImageSearchEngine, photos: Path) -> None:
    for number, content in enumerate((b"", b"<html>no</html>", b"\xff\xd8\xff\xe0 not really")):
        (photos / "square" / f"a{number}.jpg").write_bytes(content)
    shutil.copy(photos / "square" / "a2.jpg", photos / "square" / "a3.jpg")
    report = engine.index(photos)
    assert report.added == 12
    assert sorted(s.reason for s in report.skipped) == ["damaged image", "damaged image", "empty file", "not an image"]
    assert all(s.hint for s in report.skipped)
    for path in photos.rglob("*.png"):
        assert engine.search(path, 1)[0].path == str(path)


def test_gone_and_back_again(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos)
    (photos / "circle" / "0.png").rename(tmp_path / "away.png")
    assert engine.index(photos).missing == 1
    assert len(ids(engine)) == 11
    (tmp_path / "away.png").rename(photos / "circle" / "0.png")
    report = engine.index(photos)
    assert (report.embedded, report.missing) == (0, 0)
    assert len(ids(engine)) == 12


@pytest.mark.parametrize("how", ["renamed away", "emptied", "more than half gone"])
def test_what_vanishes_at_once_is_offline_until_pruned(tmp_path: Path, photos: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    with quick_engine(tmp_path / "library", notify=lines.append) as engine:
        engine.index(photos)
        gone = 12
        if how == "renamed away":
            photos.rename(tmp_path / "elsewhere")
        elif how == "emptied":
            shutil.rmtree(photos)
            photos.mkdir()
        else:
            shutil.rmtree(photos / "circle")
            shutil.rmtree(photos / "square")
            gone = 8
        report = engine.index(photos)
        assert (report.offline, report.missing) == (gone, 0)
        assert len(lines) == 1 and "offline" in lines[0] and "prune=True" in lines[0]
        matches = engine.search(picture("circle", 0), 100)
        assert len(matches) == 12
        assert sum(m.offline for m in matches) == gone
        assert matches.figure() is not None  # drawn from their thumbnails
        report = engine.index(photos, prune=True)
        assert report.missing == gone
        assert len(engine.search(picture("circle", 0), 100)) == 12 - gone
        assert engine.status()["contents"] == 12 - gone


def test_an_unreadable_folder_proves_nothing(engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.index(photos)
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path) == str(photos / "circle"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = engine.index(photos)
    assert report.missing == 0
    assert [s.reason for s in report.skipped] == ["cannot be read"]
    assert len(ids(engine)) == 12


def test_overlapping_roots_count_a_file_once(engine: ImageSearchEngine, photos: Path) -> None:
    assert engine.index(photos / "circle").added == 4
    report = engine.index([photos, photos / "square"])
    assert (report.added, report.unchanged, report.embedded) == (8, 4, 8)
    assert engine.index(photos / "stripes").unchanged == 4
    assert len(ids(engine)) == 12
    roots = {root["path"]: root["images"] for root in engine.status()["roots"]}
    assert roots == {str(photos): 8, str(photos / "circle"): 4}  # what was named first stays a root, and its images are its own


def test_part_of_a_root_says_nothing_of_the_rest(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    (photos / "square" / "0.png").unlink()
    assert engine.index(photos / "circle").missing == 0
    assert engine.index(photos / "square").missing == 1


def test_hidden_thumbnail_and_excluded_folders_and_links(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    for folder in (".hidden", "@eaDir", ".thumbnails", "__MACOSX", "skipme"):
        fill(photos / folder, 1)
    picture("circle", 50).save(photos / "._resource.png")
    picture("circle", 51).save(tmp_path / "outside.png")
    (photos / "link.png").symlink_to(tmp_path / "outside.png")
    (photos / "loop").symlink_to(photos)
    os.mkfifo(photos / "pipe.jpg")
    report = engine.index(photos, exclude=["skipme"])
    assert report.added == 12
    assert sorted(s.reason for s in report.skipped) == ["not a regular file", "symbolic link", "symbolic link"]
    assert engine.index(photos).added == 3


def test_names_of_any_kind(tmp_path: Path) -> None:
    with quick_engine(tmp_path / "library", store="chroma") as engine:  # with Chroma: it takes them, too
        _any_name(engine, tmp_path)


def _any_name(engine: ImageSearchEngine, tmp_path: Path) -> None:
    folder = tmp_path / "이름"
    folder.mkdir()
    hangul = [unicodedata.normalize(form, "한글.png").encode() for form in ("NFC", "NFD")]
    names = [b"\xff\xfe.png", *hangul, b"new\nline.png", b"\x1b[31m.png", "a\u202egpj.png".encode()]
    for number, name in enumerate(names):
        picture("circle", number).save(folder / "x.png")
        os.rename(os.path.join(os.fsencode(folder), b"x.png"), os.path.join(os.fsencode(folder), name))
    report = engine.index(folder)
    assert report.added == len(names)
    assert engine.status()["store_ready"]
    found = engine.search(picture("circle", 0), 100)
    assert {os.fsencode(os.path.basename(m.path)) for m in found} == set(names)
    assert all(m.name == "이름" for m in found)
    for match in found:
        match.uri.encode()  # valid Unicode
        assert engine.search(match.path, 1)[0].identical
        assert engine.search(match.id, 1)[0].id == match.id
    table = str(found)
    assert "\x1b" not in table and "\n".join(table.splitlines()) == table and "\u202e" not in table
    assert engine.index(folder).unchanged == len(names)


def test_a_class_name_that_is_no_unicode(engine: ImageSearchEngine, tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"photos", b"\xff\xfe 100%")
    os.makedirs(folder)
    picture("circle", 0).save(tmp_path / "x.png")
    os.rename(os.path.join(os.fsencode(tmp_path), b"x.png"), os.path.join(folder, b"x.png"))
    assert engine.index(tmp_path / "photos").added == 1
    (match,) = engine.search("id:1")
    assert match.name == "%FF%FE 100%25"
    assert len(engine.search("id:1", names=match.name)) == len(engine.search("id:1", names=os.fsdecode(b"\xff\xfe 100%"))) == 1


def test_names_can_be_switched_off(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos, name_from="none")
    assert {m.name for m in engine.search(picture("circle", 0), 100)} == {""}
    assert engine.index(photos).embedded == 0
    engine.index(photos, name_from="folder")
    assert {m.name for m in engine.search(picture("circle", 0), 100)} == {"circle", "square", "stripes"}


def test_forgotten_until_named_again(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    one = engine.search(photos / "square" / "0.png", 1)[0]
    assert engine.forget(photos / "circle", one.id) == 5
    assert len(ids(engine)) == 7
    assert engine.status()["contents"] == 7  # the vectors are gone
    assert engine.index(photos).added == 0
    assert engine.index(photos / "circle").added == 4
    assert all(path.exists() for path in photos.rglob("*.png"))
    with pytest.raises(UsageError, match="not in the library"):
        engine.forget(photos / "nothing")


def test_relocate(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos)
    before = set(ids(engine).values())
    new = tmp_path / "disk" / "photos"
    new.parent.mkdir()
    photos.rename(new)
    with pytest.raises(UsageError, match="none of the known images"):
        engine.relocate(photos, tmp_path)
    (tmp_path / "other" / "circle").mkdir(parents=True)
    (tmp_path / "other" / "circle" / "0.png").write_bytes(b"another picture of that name")
    shutil.copy(new / "circle" / "1.png", tmp_path / "other" / "circle")
    with pytest.raises(UsageError, match="only 1 of 12"):
        engine.relocate(photos, tmp_path / "other")
    assert engine.relocate(photos, new) == 12
    assert set(ids(engine).values()) == before
    assert not any(m.offline for m in engine.search(picture("circle", 0), 100))
    assert engine.index(new).unchanged == 12


def test_a_dry_run_changes_nothing(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    report = engine.index(photos, dry_run=True)
    assert report.added == 12
    assert not (tmp_path / "library").exists()
    engine.index(photos)
    (photos / "circle" / "0.png").unlink()
    picture("circle", 9).save(photos / "circle" / "9.png")
    report = engine.index(photos, dry_run=True)
    assert (report.added, report.unchanged, report.missing) == (1, 11, 1)
    assert len(ids(engine)) == 12
    photos.rename(tmp_path / "away")
    for prune in (False, True):
        planned = engine.index(photos, dry_run=True, prune=prune)
        assert (planned.offline, planned.missing) == ((0, 12) if prune else (12, 0))
    really = engine.index(photos, prune=True)
    assert (really.offline, really.missing) == (0, 12)
    (tmp_path / "away").rename(photos)
    with ImageSearchEngine(tmp_path / "library", model="dino") as other, pytest.raises(ImageSearchError, match="quick"):
        other.index(photos, dry_run=True)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "absent", "no such folder"),
        (lambda p: p / "file.txt", "is a file"),
        (lambda p: p / "empty", "no images"),
    ],
)
def test_wrong_folders_are_one_line_and_leave_no_library(engine: ImageSearchEngine, tmp_path: Path, make: object, words: str) -> None:
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageSearchError, match=words) as caught:
        engine.index(make(tmp_path))  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert not Catalog.exists(tmp_path / "library")


def test_a_folder_with_other_things_is_never_made_a_library(photos: Path) -> None:
    with ImageSearchEngine(photos, model="mini") as engine, pytest.raises(ImageSearchError, match="holds no library"):
        engine.index(photos)
    assert sorted(p.name for p in photos.iterdir()) == ["circle", "square", "stripes"]  # not even a lock file


def test_a_first_run_without_its_model_leaves_nothing(photos: Path, tmp_path: Path) -> None:
    with ImageSearchEngine(tmp_path / "library", model="dino") as engine, pytest.raises(ImageSearchError):
        engine.index(photos)
    assert not (tmp_path / "library").exists()


def test_names_are_switched_for_the_whole_root(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    with pytest.raises(UsageError, match="whole indexed folder"):
        engine.index(photos / "circle", name_from="none")
    assert {m.name for m in engine.search(picture("circle", 0), 100)} == {"circle", "square", "stripes"}


def test_a_single_text_is_not_taken_for_its_letters(engine: ImageSearchEngine, photos: Path) -> None:
    assert engine.index(photos, exclude="circle").added == 8
    assert {m.name for m in engine.search(picture("square", 0), 100, names="square")} == {"square"}


def test_large_pictures_are_skipped_with_a_way_out(engine: ImageSearchEngine, photos: Path) -> None:
    report = engine.index(photos, max_megapixels=0.01)
    assert {s.reason for s in report.skipped} == {"too many pixels"} and "max_megapixels=" in report.skipped[0].hint
    assert engine.index(photos).added == 12  # another limit: tried again


def test_progress_counts_what_is_safe(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []

    def progress(done: int, total: int, skipped: int) -> None:
        seen.append((done, total, skipped))
        other = Catalog.open(tmp_path / "library")
        assert other.rows("SELECT count(*) FROM files WHERE state = 'present'")[0][0] == done
        other.close()

    engine.index(photos, progress=progress)
    assert seen[-1] == (12, 12, 0)


def test_stopping_from_the_progress_keeps_what_was_counted(
    engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("image_search.index.run.COMMIT_SECONDS", 0.0)

    class StopError(Exception):
        pass

    def stop(done: int, total: int, skipped: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        engine.index(photos, progress=stop)
    kept = len(ids(engine))
    assert 1 <= kept < 12
    report = engine.index(photos)
    assert report.embedded == 12 - kept and len(ids(engine)) == 12


def test_vectors_are_unit_and_the_same_in_the_catalog_and_from_embed(engine: ImageSearchEngine, photos: Path) -> None:
    paths = sorted(photos.rglob("*.png"))
    alone = engine.embed(paths)
    engine.index(photos)
    assert alone.dtype == np.float32 and np.allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-6)
    assert np.array_equal(alone, engine.embed(paths))  # now from the catalog


def test_a_restored_backup_is_not_taken_for_the_catalog_of_the_store(photos: Path, tmp_path: Path) -> None:
    """The catalog goes back in time and then as many commits forward: the store must not answer for it, nor be patched up to it."""
    library = tmp_path / "library"
    with quick_engine(library, store="chroma") as engine:
        engine.index(photos)
    backup = (library / "catalog.sqlite").read_bytes()
    fill(photos, 1, first=50)
    with quick_engine(library, store="chroma") as engine:
        engine.index(photos)
    (library / "catalog.sqlite").write_bytes(backup)
    for path in photos.rglob("50.png"):
        path.unlink()
    fill(photos, 1, first=60)
    with quick_engine(library, store="chroma") as engine:
        engine.index(photos)
        assert engine.status()["store_ready"]
        by_store = {m.path for m in engine.search("id:1", 100, how="store")}
        assert by_store == {str(p) for p in photos.rglob("*.png")}


def test_a_folder_whose_name_begins_like_another_s_is_another(engine: ImageSearchEngine, photos: Path) -> None:
    for name in ("2024", "2024-summer"):
        (photos / name).mkdir()
        for number in range(2):
            picture("circle", 700 + number + 10 * len(name)).save(photos / name / f"{number}.png")
    engine.index(photos)
    before = ids(engine)
    shutil.copy(photos / "2024-summer" / "0.png", photos / "2024" / "copy.png")
    assert engine.index(photos / "2024").moved == 0
    shutil.rmtree(photos / "2024")
    assert engine.index(photos / "2024", prune=True).missing == 3
    after = ids(engine)
    assert {path: after.get(path) for path in before if "2024-summer" in path} == {p: i for p, i in before.items() if "2024-summer" in p}


def test_times_and_inodes_that_no_database_holds(engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = image_search.images.pool.FileStat.of
    huge = lambda size, *_: real(size, 2**80, -(2**80), 2**64 - 1)  # noqa: E731
    monkeypatch.setattr(image_search.images.pool.FileStat, "of", huge)  # as some file systems say
    monkeypatch.setattr(image_search.images.worker, "_is_the_one", lambda *_: True)  # this one gives other numbers
    assert engine.index(photos).added == 12
    assert engine.index(photos).unchanged == 12


@pytest.mark.parametrize("store", ["exact", "chroma"])
def test_a_first_run_that_finds_nothing_to_keep_leaves_nothing(tmp_path: Path, store: str) -> None:
    (tmp_path / "links").mkdir()
    picture("circle", 1).save(tmp_path / "picture.png")
    (tmp_path / "links" / "a.png").symlink_to(tmp_path / "picture.png")
    fill(tmp_path / "photos", 1)
    with quick_engine(tmp_path / "library", store=store, notify=lambda _: None) as engine:
        assert engine.index(tmp_path / "links").skipped
        assert not (tmp_path / "library").exists()
        assert engine.index(tmp_path / "photos").added == 3


def test_a_store_that_does_not_exist_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="croma"):
        ImageSearchEngine(tmp_path / "library", store="croma")


def test_a_file_that_was_forgotten_comes_back_by_its_own_name(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    file = photos / "circle" / "0.png"
    engine.forget(file)
    assert engine.index(photos).added == 0
    with pytest.raises(UsageError, match="a file, not a folder"):
        engine.index(photos / "circle" / "1.png")
    assert engine.index(file).added == 1
    assert str(file) in ids(engine)


def test_a_folder_is_forgotten_by_the_name_of_a_link_to_it(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    engine.index(tmp_path / "link")
    assert engine.forget(tmp_path / "link" / "circle" / "0.png") == 1
    assert engine.forget(tmp_path / "link") == 11


def test_forget_can_be_given_again_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the catalog and the store: the images are out, and the store follows when the command is repeated."""
    paths = fill(tmp_path / "photos", 2)
    with quick_engine(tmp_path / "library", store="chroma", notify=lambda _: None) as engine:
        engine.index(tmp_path / "photos")
        number = next(match.id for match in engine.search(paths[0], 1))
    for what in (paths[0], tmp_path / "photos" / "square", number):
        with monkeypatch.context() as patch, quick_engine(tmp_path / "library", store="chroma") as engine:
            patch.setattr(image_search.stores.sync, "bring_up_to_date", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                engine.forget(what)
            assert what == number or not engine.status()["store_ready"]
        with quick_engine(tmp_path / "library", store="chroma") as engine:
            assert engine.forget(what) == 0 and engine.forget(what) == 0
            assert engine.status()["store_ready"]
    with quick_engine(tmp_path / "library") as engine:
        with pytest.raises(UsageError, match="not in the library"):
            engine.forget(tmp_path / "never.png")
        with pytest.raises(UsageError, match="no image id:99 in the library"):
            engine.forget("id:99")


def test_each_offline_folder_is_told_with_its_own_number(tmp_path: Path) -> None:
    said: list[str] = []
    with quick_engine(tmp_path / "library", notify=said.append) as engine:
        folders = [tmp_path / "a", tmp_path / "b"]
        for number, folder in enumerate(folders):
            folder.mkdir()
            for seed in range(4 + number):
                picture("circle", 10 * number + seed).save(folder / f"{seed}.png")
        engine.index(folders)
        for folder in folders:
            for file in folder.iterdir():
                file.unlink()
        engine.index(folders)
    assert ["Its 4 images" in said[0], "Its 5 images" in said[1]] == [True, True]


def test_a_link_in_the_place_of_a_known_folder_is_that_folder_to_forget(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    fill(tmp_path / "big", 1)
    engine.index([photos, tmp_path / "big"])
    shutil.rmtree(photos / "circle")
    (photos / "circle").symlink_to(tmp_path / "big")
    before = ids(engine)
    assert engine.forget(photos / "circle") == 4
    assert ids(engine) == {path: id for path, id in before.items() if not path.startswith(str(photos / "circle"))}
    with pytest.raises(UsageError, match="not in the library"):
        engine.forget(tmp_path / "photo")


def test_two_dots_after_a_link_mean_what_they_mean_to_the_system(engine: ImageSearchEngine, tmp_path: Path) -> None:
    fill(tmp_path / "data" / "photos", 1)
    (tmp_path / "data" / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data" / "b")
    fill(tmp_path / "photos", 2)
    engine.index(f"{tmp_path}/link/../photos")
    assert all(path.startswith(f"{tmp_path}/data/photos/") for path in ids(engine))
    assert engine.search(f"{tmp_path}/link/../photos/circle/0.png", 1)[0].identical
    assert ImageSearchEngine(f"{tmp_path}/link/../lib").library.resolve() == tmp_path / "data" / "lib"


def test_what_lies_in_a_forgotten_folder_comes_back_with_that_folder_only(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    engine.forget(photos / "circle" / "0.png")
    engine.forget(photos / "circle")
    (photos / "circle" / "deeper").mkdir()
    for inner in ("0.png", "deeper"):
        with pytest.raises(UsageError, match="a folder that was taken out"):
            engine.index(photos / "circle" / inner)
    assert engine.index(photos / "circle").added == 3
    assert engine.index(photos / "circle" / "0.png").added == 1


def test_a_wrong_name_inside_a_known_folder_is_wrong_usage(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    with pytest.raises(UsageError, match="there is no such folder"):
        engine.index(photos / "circel")
    shutil.rmtree(photos / "circle")
    engine.index(photos / "circle")  # known: it may be away


def test_the_root_of_all_and_no_name_at_all_are_not_the_current_folder(
    engine: ImageSearchEngine, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.index(photos)
    monkeypatch.chdir(photos / "circle")
    for nothing in ("", Path("/nowhere"), f"{photos}/circle/nothing/"):
        with pytest.raises(UsageError):
            engine.forget(nothing)
    with pytest.raises(UsageError, match="empty name"):
        engine.index("")
    assert len(ids(engine)) == 12
    assert engine.forget("/") == 12  # everything lies there


def test_a_folder_of_its_own_comes_back_alone_when_the_one_above_was_forgotten(engine: ImageSearchEngine, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    for folder in ("2023", "2024", "private"):
        fill(usb / folder, 1)
    engine.index([usb / "2023", usb / "2024"])
    assert engine.forget(usb) == 6
    assert engine.index(usb / "2023").added == 3
    assert {Path(path).parents[1].name for path in ids(engine)} == {"2023"}
    with pytest.raises(UsageError, match="taken out"):
        engine.index(usb / "2024" / "circle")
    assert engine.index(tmp_path, exclude=["library"]).added == 3  # private; 2023 is there already, 2024 is still forgotten
    assert {Path(path).parents[1].name for path in ids(engine)} == {"2023", "private"}
    assert engine.index(usb / "2024").added == 3


def test_prune_forgets_only_what_is_missing_in_the_folder_it_is_told(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos)
    (photos / "circle").rename(tmp_path / "away")
    assert engine.index(photos).missing == 4
    engine.index(photos / "square", prune=True)
    (tmp_path / "away").rename(photos / "circle")
    assert engine.index(photos).embedded == 0
    (photos / "circle").rename(tmp_path / "away")
    engine.index(photos)
    assert engine.status()["missing"] == 4
    engine.index(photos / "circle", prune=True)  # known to be missing, so no mistake
    assert engine.status()["missing"] == 0
    (tmp_path / "away").rename(photos / "circle")
    assert engine.index(photos).embedded == 4


def test_a_known_folder_that_moved_and_left_a_link_is_not_another_one(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos)
    new = tmp_path / "disk" / "photos"
    new.parent.mkdir()
    photos.rename(new)
    photos.symlink_to(new)
    with pytest.raises(UsageError, match="has moved") as told:
        engine.index(photos)
    assert f"relocate({str(photos)!r}, {str(new)!r})" in str(told.value)
    assert engine.relocate(photos, new) == 12
    assert engine.index(photos).unchanged == 12


def test_the_old_place_may_be_named_through_a_link(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    engine.index(tmp_path / "link" / "photos")
    photos.rename(tmp_path / "new")
    assert engine.relocate(tmp_path / "link" / "photos", tmp_path / "link" / "new") == 12


def test_a_file_is_forgotten_by_a_link_to_it_and_twice_named_is_once(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos)
    (tmp_path / "link.png").symlink_to(photos / "circle" / "0.png")
    assert engine.forget(tmp_path / "link.png", photos / "circle" / "0.png") == 1
    assert engine.forget("id:2", "id:2") == 1
    assert engine.forget(photos / "square", photos / "square" / "0.png") == 4
    with pytest.raises(UsageError, match="not in the library"):
        engine.forget(photos / "stripes", tmp_path / "never.png")
    assert len(ids(engine)) == 6


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_that_is_none_is_wrong_use(engine: ImageSearchEngine, photos: Path, limit: float) -> None:
    with pytest.raises(UsageError, match=r"more than 0 megapixels|a finite number"):
        engine.index(photos, max_megapixels=limit, progress=False)
