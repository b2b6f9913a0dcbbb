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

import pytest
from hostile import encoded, scene
from PIL import Image

from image_search import ImageSearchEngine
from image_search.errors import DecodeError, SkipReason
from image_search.images import formats
from image_search.images.formats import FORMATS, Format, Refused, sniff
from image_search.images.scan import ImageFile, scan
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
        assert [Path(found.path).name for found in scan(str(folder))] == ["a.png"]
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
        assert row.magic or row.fits, f"nothing tells {row.name}"
        assert bool(row.plugin) == bool(row.extensions), f"{row.name}: what is looked at is read, and the other way round"


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
])  # fmt: skip
def test_what_stands_behind_the_first_bytes_tells_the_others(head: bytes, name: str) -> None:
    assert sniff(head).name == name


@pytest.mark.parametrize(("head", "reason", "detail"), [
    (b"", SkipReason.EMPTY, ""), (b"hello", SkipReason.NOT_AN_IMAGE, "starts with b'hell'"),
    (b"\0\0\0\x1cftypisom", SkipReason.NOT_AN_IMAGE, "a media file, b'isom'"), (b"\0\0\0\x1cftypcrx ", SkipReason.UNSUPPORTED, "Canon raw"),
       (b'<?xml version="1.0"?><svg/>', SkipReason.UNSUPPORTED, "SVG"),
    (b"RIFF\x10\0\0\0WAVE", SkipReason.NOT_AN_IMAGE, "starts with b'RIFF'"),
])  # fmt: skip
def test_what_is_no_picture_is_said_to_be_what_it_is(head: bytes, reason: SkipReason, detail: str) -> None:
    with pytest.raises(Refused) as caught:
        sniff(head)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


def test_a_plugin_that_is_not_here_is_named() -> None:
    row = replace(FORMATS[0], plugin="no_such_plugin")
    with pytest.raises(Refused) as caught:
        formats.open_as(b"", row)
    assert (caught.value.reason, caught.value.detail) == (SkipReason.UNSUPPORTED, "JPEG needs no_such_plugin")


def test_the_page_s_file_dialogue_offers_every_format() -> None:
    script = files("image_search").joinpath("web/static/upload.js").read_text()
    (accepted,) = re.findall(r'accept: "([^"]*)"', script)
    assert accepted.split(",")[0] == "image/*"
    named = {extension for row in FORMATS if row.chosen_by_name for extension in row.extensions}
    assert sorted(accepted.split(",")[1:]) == sorted(named)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIF", "DIB"])
def test_every_format_that_is_read_is_read(form: str) -> None:
    data = encoded(scene(60, 40), form)
    assert sniff(data).name == form
    with InProcessPool(1, Preprocess(size=(8, 8))) as pool:
        told = pool.decode(data)
    assert isinstance(told, Decoded) and (told.width, told.height, told.format) == (60, 40, form)
