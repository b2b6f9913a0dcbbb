"""Filters by what is known of a file: when it was taken, how large it is, its format, its folder; each held to a plain search of all."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from inprocess import Answer
from pictures import picture
from PIL import Image

from image_search import ImageSearchEngine, Match, Region, UsageError
from image_search.library.catalog import Catalog
from image_search.library.reading import Reader
from image_search.search.filters import Filters
from image_search.search.sieve import Sieve
from image_search.testing import quick_engine

OLD = 1_000_000_000  # 2001-09-09, of the files that say nothing
MADE = [  # folder, file, size, format, date
    ("a/2023", "1.jpg", (160, 120), "JPEG", "2023:05:01 10:00:00"),
    ("a/2023", "2.jpg", (320, 240), "JPEG", "2023:12:31 23:59:59"),
    ("a/2024", "3.jpg", (640, 480), "JPEG", "2024:01:01 00:00:00"),
    ("a/2024", "4.png", (160, 120), "PNG", None),
    ("b/2024", "5.webp", (320, 240), "WEBP", "2024:05:01 23:30:05"),
    ("b/2024", "6.tif", (160, 120), "TIFF", None),
    ("b", "7.jpg", (160, 120), "JPEG", "1999:01:01 08:00:00"),
    ("b/deep [x]", "8.png", (64, 48), "PNG", None),
]


def make(folder: Path) -> None:
    for number, (below, name, size, format, date) in enumerate(MADE):
        (folder / below).mkdir(parents=True, exist_ok=True)
        block = Image.Exif()
        if date:
            block.get_ifd(0x8769)[0x9003] = date
        path = folder / below / name
        picture("circle", number, size).save(path, format, **({"exif": block.tobytes()} if date else {}))
        os.utime(path, (OLD, OLD))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ImageSearchEngine, list[str]]]:
    place = tmp_path_factory.mktemp("filters")
    make(place / "photos")
    lines: list[str] = []
    with quick_engine(place / "library", notify=lines.append) as engine:
        engine.index(place / "photos", progress=False)
        yield engine, lines


@pytest.fixture
def engine(made: tuple[ImageSearchEngine, list[str]]) -> ImageSearchEngine:
    made[1].clear()
    return made[0]


@pytest.fixture
def lines(made: tuple[ImageSearchEngine, list[str]]) -> list[str]:
    return made[1]


def names(matches: Any) -> set[str]:
    return {Path(match.path).name[0] for match in matches}


def taken(match: Match) -> str:
    return (match.captured or match.modified)[:19]


def test_a_match_says_what_is_known_of_its_file(engine: ImageSearchEngine) -> None:
    by_name = {Path(match.path).name: match for match in engine.search("id:1", 8)}
    one = by_name["5.webp"]
    assert (one.width, one.height, one.format, one.captured) == (320, 240, "WEBP", "2024-05-01T23:30:05")
    assert one.bytes == os.path.getsize(one.path)
    silent = by_name["4.png"]
    assert silent.captured == "" and datetime.datetime.fromisoformat(silent.modified).timestamp() == OLD
    row = engine.search("id:4", 1).to_dict()["matches"][0]
    assert (row["captured"], row["modified"], row["format"], row["width"], row["bytes"] > 0) == (None, silent.modified, "PNG", 160, True)


CASES: list[tuple[dict[str, Any], Callable[[Match], bool]]] = [
    ({"since": "2024"}, lambda m: taken(m) >= "2024"),
    ({"until": "2023"}, lambda m: taken(m) < "2024"),
    ({"since": "2023-12-31", "until": "2023-12-31"}, lambda m: taken(m).startswith("2023-12-31")),
    ({"since": "2023-12-31T23:59:59", "until": "2024-01-01T00:00"}, lambda m: "2023-12-31T23:59:59" <= taken(m) < "2024-01-01T00:01"),
    ({"since": datetime.date(2024, 5, 1)}, lambda m: taken(m) >= "2024-05-01"),
    ({"until": datetime.datetime(2024, 1, 1)}, lambda m: taken(m) <= "2024-01-01T00:00:00"),
    ({"min_pixels": 320 * 240}, lambda m: m.width * m.height >= 320 * 240),
    ({"formats": "jpg"}, lambda m: m.format == "JPEG"),
    ({"formats": ["PNG", ".tiff"]}, lambda m: m.format in ("PNG", "TIFF")),
    ({"not_names": ["2024"]}, lambda m: m.name != "2024"),
    ({"names": ["2024"], "not_path": "*/b/*"}, lambda m: m.name == "2024" and "/b/" not in m.path),
    ({"not_path": ["*.jpg", "*/deep*"]}, lambda m: not m.path.endswith(".jpg") and "/deep" not in m.path),
    ({"since": "2023", "formats": "jpeg", "min_pixels": 2}, lambda m: taken(m) >= "2023" and m.format == "JPEG"),
]


@pytest.mark.parametrize(("asked", "passes"), CASES, ids=[str(asked) for asked, _ in CASES])
def test_a_filter_lets_through_what_it_says_and_nothing_else(
    engine: ImageSearchEngine, asked: dict[str, Any], passes: Callable[[Match], bool]
) -> None:
    everything = list(engine.search("id:1", 8))
    assert len(everything) == 8
    wanted = [match.path for match in everything if passes(match)]
    assert 0 < len(wanted) < 8, "a case that shows nothing"
    found = engine.search("id:1", 8, **asked)
    assert [match.path for match in found] == wanted and found.exact


PATTERNS = [
    "*", "*/2024/*", "*/2024*", "*2024*", "*/a/*", "*/b/?.jpg", "*.jpg", "*/[ab]/*", "*/deep [[]x]/*", "*/deep [[]x]*", "*/[!a]/*", "*/4*",
    "/*", "*/photos/", "*/photos/*/2024/?.*", "nothing", "*/", "*[/]2024/*", "*x]/*",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_path_is_judged_by_its_folder_as_it_would_be_by_itself(engine: ImageSearchEngine, pattern: str) -> None:
    everything = engine.search("id:1", 8)
    wanted = {match.path for match in everything if fnmatchcase(match.path, pattern)}
    assert {match.path for match in engine.search("id:1", 8, path=pattern)} == wanted
    assert {match.path for match in engine.search("id:1", 8, not_path=pattern)} == {match.path for match in everything} - wanted


def test_the_file_s_time_stands_in_and_that_is_said(engine: ImageSearchEngine, lines: list[str]) -> None:
    assert names(engine.search("id:1", 8, until="2001")) == {"4", "6", "7", "8"}
    assert lines == ["3 of these 4 do not say when they were taken: the times of their files count"]
    lines.clear()
    assert len(engine.search("id:1", 8, since="2023")) == 4 and lines == []


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system has one time zone")
def test_the_camera_s_clock_counts_and_for_files_the_clock_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of the evening of May 1 is one of May 1 in every time zone; a file's time is what a clock here would have shown."""
    make(tmp_path / "photos")
    for zone, day in (("Asia/Seoul", "2001-09-09T10:46"), ("America/New_York", "2001-09-08T21:46")):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
                engine.index(tmp_path / "photos", progress=False)
                assert names(engine.search("id:1", 8, since="2024-05-01", until="2024-05-01")) == {"5"}
                assert names(engine.search("id:1", 8, since=day, until=day)) == {"4", "6", "8"}
        finally:
            monkeypatch.undo()
            time.tzset()


def test_other_folders_are_other_than_those_of_the_query_and_its_copies(
    engine: ImageSearchEngine, lines: list[str], tmp_path: Path
) -> None:
    photos = engine.library.parent / "photos"
    assert names(engine.search(photos / "a/2023/1.jpg", 8, other_folders=True)) == {"3", "4", "5", "6", "7", "8"}
    assert names(engine.search("id:1", 8, other_folders=True)) == names(engine.search("id:1", 8)) - {
        Path(m.path).name[0] for m in engine.search("id:1", 8) if Path(m.path).parent == Path(engine.search("id:1", 1)[0].path).parent
    }
    # The same picture, elsewhere: its series lies where the library has it. A folder below is another one.
    copy = tmp_path / "copy.jpg"
    copy.write_bytes((photos / "b/7.jpg").read_bytes())
    assert names(engine.search(copy, 8, other_folders=True)) == {"1", "2", "3", "4", "5", "6", "8"}
    # A part of it has no bytes of its own, and a query that was made before has nothing to show.
    assert names(engine.search(photos / "b/7.jpg", 8, region=Region(0, 0, 60, 60), other_folders=True)) == {
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "8",
    }
    assert lines == []
    assert len(engine.search(picture("circle", 77), 8, other_folders=True)) == 8
    assert lines == ["What is searched with lies in no folder: none is left out"]
    assert names(engine.search([photos / "a/2023/1.jpg", photos / "b/7.jpg"], 8, other_folders=True)) == {"3", "4", "5", "6", "8"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"formats": "jepg"}, "Did you mean JPEG"),
        ({"formats": "docx"}, "no format that is read here"),
        ({"formats": "svg"}, "no format that is read here"),
        ({"since": "yesterday"}, "since is no date: 'yesterday'"),
        ({"until": "2024-02-30"}, "until is no date of the calendar: 2024-02-30"),
        ({"since": "2024-13"}, "no date of the calendar"),
        ({"since": "0000"}, "no date of the calendar"),
        ({"since": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)}, "takes no time zone"),
        ({"since": "2024-05-02", "until": "2024-05-01"}, "until is before since"),
        ({"min_pixels": 0}, "at least 1"),
    ],
)
def test_what_makes_no_sense_is_one_plain_line(engine: ImageSearchEngine, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        engine.search("id:1", **asked)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("date", ["9999", "9999-12", "9999-12-31", "9999-12-31T23:59:59", "0001"])
def test_the_ends_of_the_calendar(engine: ImageSearchEngine, date: str) -> None:
    assert len(engine.search("id:1", 8, until=date)) == (0 if date == "0001" else 8)


def test_what_no_file_can_pass_is_said_with_the_filters_that_are_on(engine: ImageSearchEngine, lines: list[str]) -> None:
    assert len(engine.search("id:1", since="2030")) == 0
    assert len(engine.search("id:1", since="2024", formats="tiff")) == 0
    assert len(engine.search("id:1", not_names="2O24")) == 3
    assert lines == [
        "No image in the library passes since=",
        "No image in the library passes since=, formats= together",
        "No image in the library has the class 2O24. Did you mean 2024?",
    ]


def test_a_store_answers_no_filtered_search(engine: ImageSearchEngine) -> None:
    with pytest.raises(UsageError, match="does not answer filtered"):
        engine.search("id:1", since="2024", how="store")


def test_columns_are_read_once_until_the_library_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "photos")
    with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
        engine.index(tmp_path / "photos", progress=False)
    with contextlib.closing(Catalog.open(tmp_path / "library")) as catalog:
        sieve = Sieve(Reader(catalog))
        asked: list[str] = []
        real = Catalog.pages
        monkeypatch.setattr(Catalog, "pages", lambda self, sql, *more, **others: asked.append(sql) or real(self, sql, *more, **others))
        all_filters = Filters.checked(since="2000", min_pixels=1, formats="jpeg", not_path="*/b/*", names=("2023", "2024"))
        assert len(sieve.passing(all_filters).files) == 3
        assert len(asked) == 3, "classes, places, pictures"
        for changed in ({"since": "2024"}, {"path": "*/a/*"}, {"formats": "png"}):
            sieve.passing(Filters.checked(**changed))
        assert len(asked) == 3
        with (
            contextlib.closing(sqlite3.connect(tmp_path / "library" / "catalog.sqlite")) as db,
            db,
        ):
            # dates are filled in: no new generation
            db.execute("UPDATE content SET captured = '2050-01-01T00:00:00'")
            db.execute("INSERT OR REPLACE INTO meta VALUES ('dated', 8)")
        assert len(sieve.passing(Filters.checked(since="2050")).files) == 8


def _held(sieve: Sieve) -> list[tuple[Any, ...]]:
    """Everything that its columns say of each file."""
    classes, places, pictures = sieve.classes, sieve.places, sieve.pictures
    folders = [places.folders[code] for code in places.codes]
    formats = [pictures.formats[code] for code in pictures.codes]
    arrays = (array.tolist() for array in (pictures.taken, pictures.own, pictures.pixels, pictures.unread))
    return list(zip(classes.rows(), folders, places.names, formats, *arrays, strict=True))


def test_what_changed_is_taken_in_as_if_all_had_been_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    make(photos)
    for number in range(40):  # so that a few changes are not worth reading all again
        picture("stripes", 100 + number, (64, 48)).save(photos / f"many {number}.png")
    asked: list[str] = []
    real = Catalog.pages

    def noted(catalog: Catalog, sql: str, *more: Any, **others: Any) -> Any:
        asked.append(sql)
        return real(catalog, sql, *more, **others)

    def paint(place: str, number: int, format: str = "PNG") -> None:
        (photos / place).parent.mkdir(parents=True, exist_ok=True)
        picture("circle", number, (96, 64)).save(photos / place, format)

    with quick_engine(tmp_path / "library", notify=lambda _: None) as engine:
        engine.index(photos, progress=False)
        with contextlib.closing(Catalog.open(tmp_path / "library")) as catalog:
            sieve = Sieve(Reader(catalog))
            assert len(_held(sieve)) == 48

            def changed(what: Callable[[], Any], *, all_again: bool = False) -> None:
                what()
                engine.index(photos, progress=False)
                asked.clear()
                with monkeypatch.context() as patch:
                    patch.setattr(Catalog, "pages", noted)
                    held = _held(sieve)
                assert len(asked) == 3 and all(("f.generation > ?" in sql) != all_again for sql in asked), asked
                assert held == _held(fresh := Sieve(Reader(catalog)))
                assert sieve.classes.names == fresh.classes.names and sieve.places.folders == fresh.places.folders

            changed(lambda: paint("c/new.png", 50))
            changed((photos / "a/2023/1.jpg").unlink)  # the first of all
            changed(lambda: paint("a/2023/1.jpg", 51, "JPEG"))  # back, another picture: its number is among the old ones
            changed(lambda: (photos / "b/2024").rename(photos / "b/2025"))  # class and folder go, new ones come
            changed(lambda: (photos / "a/2024/4.png").replace(photos / "c/new.png"))  # moved, and over another
            changed(lambda: paint("c/new.png", 52, "WEBP"))
            changed(lambda: engine.forget(str(photos / "b/7.jpg")))
            changed(lambda: [(photos / f"many {number}.png").unlink() for number in range(20)], all_again=True)


def test_an_older_library_is_filtered_by_the_times_of_its_files_and_says_so(tmp_path: Path) -> None:
    make(tmp_path / "photos")
    lines: list[str] = []
    with quick_engine(tmp_path / "library", notify=lines.append) as engine:
        engine.index(tmp_path / "photos", progress=False)
        with contextlib.closing(sqlite3.connect(tmp_path / "library" / "catalog.sqlite")) as db, db:
            db.execute("UPDATE content SET captured = NULL")
    with quick_engine(tmp_path / "library", notify=lines.append) as engine:
        assert len(engine.search("id:1", 8, until="2001")) == 8
        assert "8 images have no date read yet" in lines[0] and "index again" in lines[0]
        assert engine.index(tmp_path / "photos", progress=False).dated == 8
        assert names(engine.search("id:1", 8, until="2001")) == {"4", "6", "7", "8"}, "the same engine sees it"


def test_in_the_shell(engine: ImageSearchEngine, run: Callable[..., Answer]) -> None:
    """Every filter has its option, and the options their words."""
    library = ["--library", str(engine.library)]
    photo = str(engine.library.parent / "photos/a/2023/1.jpg")
    for options, wanted in (
        (["--since", "2024-05", "--until", "2024-05"], {"5"}),
        (["--min-pixels", "0.3MP"], {"3"}),
        (["--min-pixels", "640x480"], {"3"}),
        (["--format", "webp", "--format", "tif"], {"5", "6"}),
        (["--not-path", "*.jpg", "--not-name", "2024"], {"8"}),
        (["--other-folders", "--format", "jpg"], {"3", "7"}),
    ):
        answer = run("search", photo, *library, "-n", "8", *options, "--json")
        assert {Path(row["uri"]).name[0] for row in json.loads(answer.out)["matches"]} == wanted, options
    assert "For example 2MP" in run("search", photo, *library, "--min-pixels", "many").err
    assert "--since 2024-05-01" in run("search", photo, *library, "--since", "soon").err
    said = run("search", photo, *library, "--since", "2030", "--format", "png").err
    assert "No image in the library passes --since, --format together" in said
