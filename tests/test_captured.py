"""When a picture was taken: read from its EXIF block in every format, kept in the catalog, filled in where an older version did not ask."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import picture
from PIL import Image
from rawfiles import raw_file

from image_search import LibraryDamagedError
from image_search.config import LIBRARY_LIMITS
from image_search.images.captured import in_exif, is_captured
from image_search.images.pixels import RenderSpec, render
from image_search.library.catalog import Catalog
from image_search.library.reading import Reader
from image_search.testing import InProcessPool, quick_engine

ORIGINAL, DIGITISED, WRITTEN = 0x9003, 0x9004, 0x0132


def exif(date: str | None = "2024:05:01 23:30:05", *, tag: int = ORIGINAL, **more: str) -> Image.Exif:
    """`more`: tags of the EXIF directory by their hexadecimal number."""
    block = Image.Exif()
    below = block.get_ifd(0x8769)
    if date is not None:
        (block if tag == WRITTEN else below)[tag] = date
    for name, value in more.items():
        below[int(name[1:], 16)] = value
    return block


def jpeg(block: Image.Exif | None, seed: int = 1) -> bytes:
    out = io.BytesIO()
    picture("circle", seed).save(out, "JPEG", **({"exif": block.tobytes()} if block is not None else {}))
    return out.getvalue()


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (exif(), "2024-05-01T23:30:05"),
        (exif(x9291="25", x9011="+09:00"), "2024-05-01T23:30:05.25+09:00"),
        (exif(x9291="250 ", x9011="-03:30"), "2024-05-01T23:30:05.250-03:30"),
        (exif(x9011="Z"), "2024-05-01T23:30:05+00:00"),
        (exif(x9291="abc", x9011="+25:00"), "2024-05-01T23:30:05"),
        (exif("2024-05-01T23:30"), "2024-05-01T23:30:00"),
        (exif("2024:05:01 23:30:05.5+02:00"), "2024-05-01T23:30:05.5+02:00"),
        (exif(tag=DIGITISED), "2024-05-01T23:30:05"),
        (exif(tag=WRITTEN), "2024-05-01T23:30:05"),
        (exif("0000:00:00 00:00:00", x9004="2023:01:02 03:04:05"), "2023-01-02T03:04:05"),
        *((exif(none), "") for none in ("0000:00:00 00:00:00", "    :  :     :  :  ", "", "2024:02:30 10:00:00", "2024:05:01 25:00:00")),
        *((exif(none), "") for none in ("1970:01:01 00:00:00", "0001:01:01 00:00:00", "1980:01:01 00:00:00", "yesterday", "2024:05:01")),
        (exif("1970:01:01 00:00:01"), "1970-01-01T00:00:01"),
        (exif(None), ""),
    ],
)
def test_what_an_exif_block_says(block: Image.Exif, said: str) -> None:
    assert in_exif(block.tobytes()) == said and is_captured(said)


def test_a_broken_block_says_nothing_or_what_can_be_read_of_it() -> None:
    whole = exif(x9291="25").tobytes()
    for end in range(len(whole)):
        said = in_exif(whole[:end])
        assert is_captured(said) and said[:19] in ("", "2024-05-01T23:30:05")
    for at in range(len(whole)):
        assert is_captured(in_exif(whole[:at] + b"\xff" + whole[at + 1 :]))
    assert in_exif(b"") == in_exif(b"II*\0\xff\xff\xff\xff") == in_exif(b"MM\0*\0\0\0\x08\xff\xff") == ""


@pytest.mark.parametrize(
    "value", ["2024-05-01", "2024-02-30T10:00:00", "2024-05-01T10:00:00<b>", "x", 5, None, b"", "2024-05-01T10:00:00+99:00"]
)
def test_what_cannot_have_been_said(value: object) -> None:
    assert not is_captured(value)


def saved(format: str) -> bytes:
    out = io.BytesIO()
    picture("circle", 1).save(out, format, exif=exif(x9011="+09:00").tobytes())
    return out.getvalue()


def png_with_exif_last() -> bytes:
    """As some editors write it: behind the pixels."""
    data = saved("PNG")
    at = data.index(b"eXIf") - 4
    length = 12 + int.from_bytes(data[at : at + 4], "big")
    chunk, rest = data[at : at + length], data[:at] + data[at + length :]
    return rest[:-12] + chunk + rest[-12:]


def heif() -> bytes:
    import pillow_heif

    out = io.BytesIO()
    pillow_heif.from_pillow(picture("circle", 1)).save(out, exif=exif(x9011="+09:00").tobytes())
    return out.getvalue()


def photoshop() -> bytes:
    block = exif(x9011="+09:00").tobytes().removeprefix(b"Exif\0\0")
    resource = b"8BIM" + struct.pack(">HHI", 1058, 0, len(block)) + block + bytes(len(block) % 2)
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 8, 8, 8, 3)
    rows = bytes(range(64)) * 3
    return head + struct.pack(">I", 0) + struct.pack(">I", len(resource)) + resource + struct.pack(">I", 0) + b"\0\0" + rows


FILES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved("JPEG"),
    "PNG": lambda: saved("PNG"),
    "PNG, behind the pixels": png_with_exif_last,
    "WEBP": lambda: saved("WEBP"),
    "TIFF": lambda: saved("TIFF"),
    "AVIF": lambda: saved("AVIF"),
    "HEIF": heif,
    "PSD": photoshop,
    "DNG": lambda: raw_file(*[picture("circle", 1, (640, 480))] * 2, exif=exif("2024:05:01 23:30:05+09:00", tag=WRITTEN)),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_that_can_say_it_does_so_with_its_pixels_and_by_its_header(name: str, tmp_path: Path) -> None:
    data = FILES[name]()
    said = render(data, RenderSpec(size=(16, 16)), LIBRARY_LIMITS).captured
    assert said == "2024-05-01T23:30:05+09:00"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(data)
    with quick_engine(tmp_path / "library") as engine:
        engine.index(tmp_path / "photos", progress=False)
    forget_dates(tmp_path / "library")
    with quick_engine(tmp_path / "library") as engine:
        assert engine.index(tmp_path / "photos", progress=False).dated == 1
    assert dates(tmp_path / "library") == {"a.jpg": said}


# --- in the library -------------------------------------------------------------------------------------------------------------


def forget_dates(library: Path) -> None:
    """As a library is that an older version made."""
    with contextlib.closing(sqlite3.connect(library / "catalog.sqlite")) as db, db:
        db.execute("UPDATE content SET captured = NULL")


def dates(library: Path) -> dict[str, str]:
    with contextlib.closing(Catalog.open(library)) as catalog:
        return {Path(item.path).name: item.captured for item in Reader(catalog).page()}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        block = exif(f"2024:05:0{number + 1} 10:00:00") if number else None
        (folder / f"{number}.jpg").write_bytes(jpeg(block, number))
    return folder


WANTED = {"0.jpg": "", **{f"{n}.jpg": f"2024-05-0{n + 1}T10:00:00" for n in (1, 2, 3)}}


def test_dates_are_filled_in_without_the_model_or_the_pixels_and_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    (photos / "copy.jpg").write_bytes((photos / "1.jpg").read_bytes())
    with quick_engine(library) as engine:
        assert (engine.index(photos, progress=False).dated, dates(library)) == (0, {**WANTED, "copy.jpg": WANTED["1.jpg"]})
    with contextlib.closing(Catalog.open(library)) as catalog:
        generation = catalog.generation
    forget_dates(library)
    assert set(dates(library).values()) == {""}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InProcessPool, "decode", lambda *_, **__: pytest.fail("a picture was decoded"))
        told: list[tuple[int, int, int]] = []
        with quick_engine(library) as engine:
            report = engine.index(photos, progress=lambda *far: told.append(far))
            assert (report.unchanged, report.embedded, report.dated) == (5, 0, 4)
            assert told[-1] == (4, 4, 0)
            assert engine.index(photos, progress=False).dated == 0
    assert dates(library) == {**WANTED, "copy.jpg": WANTED["1.jpg"]}
    with contextlib.closing(Catalog.open(library)) as catalog:
        assert catalog.generation == generation, "no store has to follow"
        assert catalog.meta("dated") == 4


def test_a_run_that_is_stopped_keeps_what_it_has_read(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "library"
    with quick_engine(library) as engine:
        engine.index(photos, progress=False)
    forget_dates(library)
    monkeypatch.setattr("image_search.index.dates.COMMIT_SECONDS", 0)

    def stop(done: int, total: int, skipped: int) -> None:
        if total == 4 and done == 2:
            raise KeyboardInterrupt

    with quick_engine(library) as engine:
        with pytest.raises(KeyboardInterrupt):
            engine.index(photos, progress=stop)
        assert engine.index(photos, progress=False).dated in (1, 2)
    assert dates(library) == WANTED


def test_a_file_that_cannot_be_read_now_is_asked_again(photos: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    with quick_engine(library) as engine:
        engine.index(photos, progress=False)
        forget_dates(library)
        os.chmod(photos / "2.jpg", 0)
        readable = os.access(photos / "2.jpg", os.R_OK)  # to root everything is
        assert engine.index(photos, progress=False).dated == (4 if readable else 3)
        os.chmod(photos / "2.jpg", 0o644)
        engine.index(photos, progress=False)
    assert dates(library) == WANTED


def test_files_that_are_hashed_anew_at_every_run_are_asked_as_well(photos: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    with quick_engine(library) as engine:
        engine.index(photos, progress=False)
        forget_dates(library)
        for file in photos.iterdir():
            os.utime(file, (1, 1))
        assert engine.index(photos, progress=False).dated == 4
    assert dates(library) == WANTED


def test_a_stranger_s_date_is_damage_and_salvage_leaves_it_out(photos: Path, tmp_path: Path) -> None:
    from image_search.library.salvage import salvage

    library = tmp_path / "library"
    with quick_engine(library) as engine:
        engine.index(photos, progress=False)
    with contextlib.closing(sqlite3.connect(library / "catalog.sqlite")) as db, db:
        db.execute("UPDATE content SET captured = '<b>2024' WHERE id = 2")
    with quick_engine(library) as engine:
        assert [line for line in engine.verify() if "capture date '<b>2024' makes no sense" in line]
        with pytest.raises(LibraryDamagedError, match="make no sense"):
            dates(library)
    assert salvage(library, tmp_path / "saved").images == 4
    with contextlib.closing(Catalog.open(tmp_path / "saved")) as catalog:
        assert [date for (date,) in catalog.rows("SELECT captured FROM content ORDER BY id")].count(None) == 1


def test_no_file_is_read_twice_for_its_date(tmp_path: Path) -> None:
    """A JPEG says it at its beginning: of a long one no more than that is read."""
    from image_search.images.worker import answer

    data = jpeg(exif()) + bytes(1 << 20)
    (tmp_path / "a.jpg").write_bytes(data)
    job = {"job": "below", "seen": None, "ask": False, "region": None, "max_side": None, "header": True}
    reads: list[int] = []
    real = os.fdopen

    def counted(*args: Any, **kwargs: Any) -> Any:
        file = real(*args, **kwargs)
        file_read = file.read

        class Counting:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def read(self, most: int) -> bytes:
                found: bytes = file_read(most)
                reads.append(len(found))
                return found

        return Counting()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdopen", counted)
        reply, _ = answer(job, os.fsencode(tmp_path) + b"\0a.jpg", RenderSpec(size=(1, 1)), LIBRARY_LIMITS, lambda _: True)
    assert reply["captured"] == "2024-05-01T23:30:05" and sum(reads) <= 1 << 17
