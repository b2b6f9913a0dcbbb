"""One row a format: whatever needs to know of formats asks the table."""

from __future__ import annotations

import io
import re
import sys
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hostile import encoded, scene
from PIL import Image
from rawfiles import fuji_file, lossless_jpeg, raw_file

from image_search import ImageSearchEngine
from image_search.errors import DecodeError, SkipReason
from image_search.images import formats
from image_search.images.formats import FORMATS, Format, Refused, sniff
from image_search.images.scan import ImageFile, scan
from image_search.images.sizes import jxl_size
from image_search.testing import InProcessPool
from image_search.types import Decoded, Preprocess


def test_a_new_format_is_one_row(tmp_path: Path, engine: ImageSearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def accept(prefix: bytes) -> bool:
        return prefix.startswith(b"toy!")

    def opened(file: io.BytesIO, filename: str) -> Image.Image:
        file.seek(4)
        return Image.open(io.BytesIO(file.read()), formats=["PNG"])

    plugin = ModuleType("toy_plugin")
    monkeypatch.setitem(sys.modules, "toy_plugin", plugin)
    monkeypatch.setattr(plugin, "register", lambda: Image.register_open("TOY", opened, accept), raising=False)
    Image.init()  # what registers itself from here on is forgotten afterwards
    for name in ("OPEN", "ID"):
        monkeypatch.setattr(Image, name, getattr(Image, name).copy())
    toy = Format("TOY", (b"toy!",), plugin="toy_plugin", prepare=lambda module: module.register(), extensions=(".toy",), changes=1)
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "a.toy").write_bytes(b"toy!" + encoded(scene(60, 40), "PNG"))
    (folder / "a.png").write_bytes(encoded(scene(60, 40), "PNG"))
    with InProcessPool(1, Preprocess(size=(8, 8))) as pool:
        with pytest.raises(DecodeError) as caught:
            pool.decode(str(folder / "a.toy"))
        assert caught.value.reason == SkipReason.NOT_AN_IMAGE
        assert [Path(found.path).name for found in scan(str(folder)) if isinstance(found, ImageFile)] == ["a.png"]
        before = formats.rules()
        monkeypatch.setattr(formats, "FORMATS", (toy, *FORMATS))
        assert sniff(b"toy!") is toy
        paths = [found.path for found in scan(str(folder)) if isinstance(found, ImageFile)]
        assert [Path(path).name for path in paths] == ["a.png", "a.toy"]
        png, told = (pool.decode(path) for path in paths)
        assert isinstance(told.pixels, type(png.pixels)) and (told.pixels == png.pixels).all()
        assert formats.rules() == before + 1  # so what was refused before is tried again
    assert engine.index(folder, progress=False).embedded == 2


def test_the_table_says_each_thing_once() -> None:
    names = Counter(row.name for row in FORMATS)
    suffixes = Counter(extension for row in FORMATS for extension in row.extensions)
    magic = Counter(start for row in FORMATS for start in row.magic)
    assert {1} == set(names.values()) == set(suffixes.values()) == set(magic.values())
    assert all(re.fullmatch(r"\.[a-z0-9]+", extension) for extension in suffixes)
    for row in FORMATS:
        assert row.needs or not row.extra
        assert row.magic or row.fits, f"nothing tells {row.name}"
        assert row.extensions or not row.plugin, f"{row.name}: what is read is looked at"


@pytest.mark.parametrize("row", [row for row in FORMATS if row.magic], ids=lambda row: row.name)
def test_first_bytes_tell_the_format(row: Format) -> None:
    for magic in row.magic:
        if row.plugin:
            assert sniff(magic + bytes(40)) is row
        else:
            with pytest.raises(Refused) as caught:
                sniff(magic + bytes(40))
            assert (caught.value.reason, caught.value.detail) == (SkipReason.UNSUPPORTED, row.name)


@pytest.mark.parametrize(("head", "name"), [
    (b"RIFF\x10\0\0\0WEBP", "WEBP"), (b"\0\0\0\x1cftypavif", "AVIF"), (b"\0\0\0\x1cftypheic", "HEIF"),
    (b"\0\0\0\x14ftypmif1\0\0\0\0avif", "AVIF"), (b"\0\0\0\x14ftypmif1\0\0\0\0heic", "HEIF"), (b"\x28\0\0\0" + bytes(36), "DIB"),
    (b"\0\0\0\x18ftypcrx ", "CR3"), (b"II*\0\x10\0\0\0CR\2\0", "CR2"),
])  # fmt: skip
def test_what_stands_behind_the_first_bytes_tells_the_others(head: bytes, name: str) -> None:
    assert sniff(head).name == name


@pytest.mark.parametrize(("head", "reason", "detail"), [
    (b"", SkipReason.EMPTY, ""), (b"hello", SkipReason.NOT_AN_IMAGE, "starts with b'hell'"),
    (b"\0\0\0\x1cftypisom", SkipReason.NOT_AN_IMAGE, "a media file, b'isom'"),
    (b'<?xml version="1.0"?><svg/>', SkipReason.UNSUPPORTED, "SVG"),
    (b"RIFF\x10\0\0\0WAVE", SkipReason.NOT_AN_IMAGE, "starts with b'RIFF'"),
])  # fmt: skip
def test_what_is_no_picture_is_said_to_be_what_it_is(head: bytes, reason: SkipReason, detail: str) -> None:
    with pytest.raises(Refused) as caught:
        sniff(head)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


def test_a_plugin_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(FORMATS[0], plugin="no_such_plugin")
    with pytest.raises(Refused) as caught:
        formats.open_as(b"", row)
    assert (caught.value.reason, caught.value.detail) == (SkipReason.UNSUPPORTED, "JPEG needs no_such_plugin")


def test_what_an_extra_would_read_is_told_by_its_ending(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ".jxl" not in formats.unread_extensions() and ".jxl" in formats.extensions()
    monkeypatch.setattr(formats, "FORMATS", tuple(replace(row, needs="no_such_module" if row.needs else "") for row in FORMATS))
    assert formats.unread_extensions()[".jxl"] == "JXL" and formats.unread_extensions()[".nef"] == "NEF"
    assert (formats.extra_for(".jxl"), formats.extra_for(".nef"), formats.extra_for(".jpg")) == ("jxl", "", "")
    assert not {".jxl", ".nef", ".dng"} & formats.extensions() and ".jpg" in formats.extensions()
    (tmp_path / "a.jxl").write_bytes(b"")
    (tmp_path / "a.jpg").write_bytes(b"")
    assert [Path(found.path).name for found in scan(str(tmp_path)) if isinstance(found, ImageFile)] == ["a.jpg"]


def test_without_its_extra_a_picture_is_refused_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pillow_jxl", reason="needs the jxl extra: pip install -e '.[jxl]'")
    data = encoded(scene(60, 40), "JXL")
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    monkeypatch.delitem(sys.modules, "image_search.images.jxl", raising=False)
    with InProcessPool(1, Preprocess(size=(8, 8))) as pool, pytest.raises(DecodeError) as caught:
        pool.decode(data)
    assert caught.value.reason == SkipReason.UNSUPPORTED
    assert 'pip install "ai-image-search-engine[jxl]"' in str(caught.value)


def test_the_page_s_file_dialogue_offers_every_format() -> None:
    script = files("image_search").joinpath("web/static/upload.js").read_text()
    (listed,) = re.findall(r'NAMED = "([^"]*)"', script)
    assert "ACCEPTED = `image/*,${NAMED}`" in script and "accept: ACCEPTED" in script
    named = {extension for row in FORMATS if row.chosen_by_name for extension in row.extensions}
    assert sorted(listed.split(",")) == sorted(named)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIF", "DIB", "JPEG2000", "JXL"])
def test_every_format_that_is_read_is_read(form: str) -> None:
    if form == "JXL":
        pytest.importorskip("pillow_jxl", reason="needs the jxl extra: pip install -e '.[jxl]'")
    data = encoded(scene(60, 40), form)
    assert sniff(data).name == form
    with InProcessPool(1, Preprocess(size=(8, 8))) as pool:
        told = pool.decode(data)
    assert isinstance(told, Decoded) and (told.width, told.height, told.format) == (60, 40, form)


# --- camera raw --------------------------------------------------------------------------------------------------------------

PHOTO = scene(1200, 800)
PREVIEW = PHOTO.resize((900, 600))
RAW = {
    "DNG": lambda **k: raw_file(PHOTO, PREVIEW, **k),
    "NEF": lambda **k: raw_file(PHOTO, PREVIEW, dng=False, make=b"NIKON CORPORATION\0", **k),
    "ARW": lambda **k: raw_file(PHOTO, PREVIEW, dng=False, make=b"SONY\0", **k),
    "camera raw": lambda **k: raw_file(PHOTO, PREVIEW, dng=False, make=b"PENTAX\0", **k),
}


def seen(data: bytes) -> tuple[Decoded, np.ndarray]:
    with InProcessPool(1, Preprocess(size=(48, 48))) as pool:
        told = pool.decode(data)
    assert told.pixels is not None
    return told, told.pixels.astype(int)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", RAW)
def test_camera_raw_is_its_preview(name: str, order: str) -> None:
    told, pixels = seen(RAW[name](order=order))
    assert (told.format, told.width, told.height) == (name, 900, 600)
    assert np.abs(pixels - seen(encoded(PHOTO, "PNG"))[1]).mean() < 1


TURNS = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("with_preview", [True, False])
def test_camera_raw_lies_as_it_says(turn: int, with_preview: bool) -> None:
    """Without a preview it is developed: colours and contrast are LibRaw's, so only a like picture can be wanted."""
    wanted = PHOTO if TURNS[turn] is None else PHOTO.transpose(TURNS[turn])
    told, pixels = seen(raw_file(PHOTO, PREVIEW if with_preview else None, turn=turn))
    assert (told.width > told.height) == (wanted.size[0] > wanted.size[1])
    assert np.abs(pixels - seen(encoded(wanted, "PNG"))[1]).mean() < (1 if with_preview else 15)


def test_a_preview_s_own_orientation_counts_before_the_file_s() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    told, pixels = seen(raw_file(PHOTO, PREVIEW, turn=6, exif=exif))
    assert (told.width, told.height) == (900, 600)
    assert np.abs(pixels - seen(encoded(PHOTO, "PNG"))[1]).mean() < 1


def test_of_a_camera_that_is_not_known_the_named_preview_is_taken() -> None:
    told, pixels = seen(fuji_file(PREVIEW))
    assert (told.format, told.width) == ("RAF", 900)
    assert np.abs(pixels - seen(encoded(PHOTO, "PNG"))[1]).mean() < 1


@pytest.mark.parametrize(("data", "name"), [
    (b"II*\0\x10\0\0\0CR\2\0" + bytes(200), "CR2"), (b"IIRO\x08\0\0\0" + bytes(200), "ORF"), (b"IIU\0\x08\0\0\0" + bytes(200), "RW2"),
    (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(200), "CR3"), (b"FUJIFILMCCD-RAW " + bytes(200), "RAF"),
    (raw_file(scene(64, 48), None, dng=False, make=b"NIKON\0").replace(b"\xfe\0\4\0", b"\xfd\0\4\0"), "NEF"),
])  # fmt: skip
def test_camera_raw_is_never_taken_for_tiff(data: bytes, name: str) -> None:
    assert sniff(data).name == name
    with InProcessPool(1, Preprocess(size=(8, 8))) as pool:
        try:
            assert pool.decode(data).format == name
        except DecodeError as error:
            assert error.reason in (SkipReason.UNSUPPORTED, SkipReason.DAMAGED)


@pytest.mark.parametrize("make", [b"NIKON CORPORATION\0", b"SONY\0", b"Canon\0"])
def test_a_camera_s_tiff_is_a_tiff(make: bytes) -> None:
    assert sniff(encoded(scene(60, 40), "TIFF", tiffinfo={271: make.decode().rstrip("\0")})).name == "TIFF"


# --- kinds of JPEG, reduced JPEG 2000 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("grey", [False, True])
def test_lossless_jpeg_is_read(grey: bool) -> None:
    values = np.asarray(PHOTO.convert("L") if grey else PHOTO)
    told, pixels = seen(lossless_jpeg(values))
    assert told.note == "" and (pixels == seen(encoded(Image.fromarray(values), "PNG"))[1]).all()


def test_jpeg_of_twelve_bits_is_unsupported() -> None:
    with pytest.raises(DecodeError) as caught:
        seen(lossless_jpeg(np.asarray(PHOTO.convert("L")).astype("u2") * 16, bits=12))
    assert caught.value.reason == SkipReason.UNSUPPORTED and "12 bits" in caught.value.detail


def test_jpeg_2000_is_decoded_no_larger_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    from image_search.images import jpeg2000

    seen_sizes = []
    load = jpeg2000._Reducible.load
    monkeypatch.setattr(jpeg2000._Reducible, "load", lambda self: (load(self), seen_sizes.append(self.size))[0])
    told, pixels = seen(encoded(PHOTO, "JPEG2000"))
    assert (told.width, told.height) == (1200, 800) and seen_sizes[0] == (150, 100)
    assert np.abs(pixels - seen(encoded(PHOTO, "PNG"))[1]).mean() < 2


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (300, 200), (333, 17), (160, 120), (160, 90), (1200, 800)])
def test_a_jpeg_xl_s_size_is_read_before_it_is_decoded(size: tuple[int, int]) -> None:
    pytest.importorskip("pillow_jxl", reason="needs the jxl extra: pip install -e '.[jxl]'")
    assert jxl_size(encoded(scene(*size), "JXL")) == size
    assert jxl_size(encoded(scene(*size), "JXL", use_container=True)) == size
