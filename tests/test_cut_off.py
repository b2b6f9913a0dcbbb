"""Files without their end are shown as far as they go, if half of the rows are there, and are said to be cut off."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hostile import encoded, scene
from PIL import Image
from rawfiles import psd_of, tiff_of

from image_search.errors import DecodeError, SkipReason
from image_search.testing import InProcessPool
from image_search.types import Decoded, Preprocess

PLAIN = scene(320, 240)
NOISE = Image.effect_noise((320, 240), 60).convert("RGB")  # every row costs as many bytes
ROWS = 240
JPEG = {"quality": 90}


def seen(data: bytes) -> tuple[Decoded, np.ndarray]:
    with InProcessPool(1, Preprocess(size=(ROWS, 320), resample="nearest")) as pool:
        told = pool.decode(data)
    assert told.pixels is not None
    return told, told.pixels.astype(int)


def reason_of(data: bytes) -> SkipReason:
    with pytest.raises(DecodeError) as caught:
        seen(data)
    return caught.value.reason


# how it is made, how far its rows may be from the whole file's, does white follow (else a coarser picture, or the row above)
CUT: dict[str, tuple[Callable[[], bytes], float, bool]] = {
    "JPEG": (lambda: encoded(NOISE, "JPEG", **JPEG), 1, True),
    "grey JPEG": (lambda: encoded(NOISE.convert("L"), "JPEG", **JPEG), 1, True),
    "CMYK JPEG": (lambda: encoded(NOISE.convert("CMYK"), "JPEG", **JPEG), 1, True),
    "PNG": (lambda: encoded(NOISE, "PNG"), 0, True),
    "PNG with alpha": (lambda: encoded(NOISE.convert("RGBA"), "PNG"), 0, True),
    "palette PNG": (lambda: encoded(NOISE.quantize(64), "PNG"), 0, True),
    "16-bit PNG": (lambda: encoded(Image.fromarray(np.asarray(NOISE.convert("L")).astype("u2") * 257), "PNG"), 0, True),
    "GIF": (lambda: encoded(NOISE.quantize(64), "GIF", interlace=0), 0, True),
    "WebP": (lambda: encoded(NOISE, "WEBP", quality=90), 3, True),
    "HEIC": (lambda: encoded(NOISE, "HEIF", quality=90), 3, True),
    "TIFF": (lambda: encoded(NOISE, "TIFF"), 0, True),
    "TIFF of floats": (lambda: tiff_of(np.asarray(NOISE) / np.float32(255), 2, rows=ROWS), 1, True),
}  # fmt: skip


@pytest.mark.parametrize("kind", CUT)
@pytest.mark.parametrize("part", [0.995, 0.8, 0.6])
def test_a_file_without_its_end_is_shown_as_far_as_it_goes(kind: str, part: float) -> None:
    make, tolerance, white = CUT[kind]
    data = make()
    if kind == "TIFF of floats":  # its directory stands at its end; bring it to the front
        data = _directory_first(data)
    _, whole = seen(data)
    told, pixels = seen(data[: int(len(data) * part)])
    assert told.note == "cut off" and (told.width, told.height) == (320, ROWS)
    there = int((pixels != 255).any(axis=(1, 2)).sum())
    assert abs(there - part * ROWS) <= 0.06 * ROWS + 16
    sure = max(0, there - 16)  # a decoder may smooth the last block
    assert np.abs(pixels[:sure] - whole[:sure]).mean() <= tolerance
    assert (pixels[there:] == 255).all() == white


@pytest.mark.parametrize("kind", CUT)
def test_less_than_half_is_damaged(kind: str) -> None:
    data = CUT[kind][0]()
    if kind == "TIFF of floats":
        data = _directory_first(data)
    assert reason_of(data[: int(len(data) * 0.4)]) == SkipReason.DAMAGED
    assert reason_of(data[:40]) in (SkipReason.DAMAGED, SkipReason.UNSUPPORTED)


def _directory_first(data: bytes) -> bytes:
    """The TIFF of `tiff_of` of one strip, its directory before its strip."""
    start = struct.unpack_from("<I", data, 4)[0]
    move = len(data) - start
    count = struct.unpack_from("<H", data, start)[0]
    entries = bytearray(data[start:])
    for number in range(count):
        at = 2 + 12 * number
        tag, kind, length, value = struct.unpack_from("<HHII", entries, at)
        if tag == 273:
            struct.pack_into("<I", entries, at + 8, value + move)
        elif length * {3: 2, 4: 4}[kind] > 4:
            struct.pack_into("<I", entries, at + 8, value - start + 8)
    return data[:4] + struct.pack("<I", 8) + bytes(entries) + data[8:start]


def test_a_progressive_jpeg_is_coarser_and_whole() -> None:
    data = encoded(PLAIN, "JPEG", progressive=True)
    told, pixels = seen(data[: int(len(data) * 0.8)])
    assert told.note == "cut off" and np.abs(pixels - seen(data)[1]).mean() < 4


@pytest.mark.parametrize("part", [0.9, 0.6])
def test_a_jpeg_2000_is_coarser_and_whole(part: float) -> None:
    data = encoded(PLAIN, "JPEG2000")
    told, pixels = seen(data[: int(len(data) * part)])
    assert told.note == "cut off" and np.abs(pixels - seen(data)[1]).mean() < 6


def test_rows_between_others_are_those_above() -> None:
    data = encoded(NOISE.quantize(64), "GIF", interlace=1)
    told, pixels = seen(data[: int(len(data) * 0.7)])  # three of four passes, and part of the last
    assert told.note == "cut off" and not (pixels == 255).all(axis=(1, 2)).any()
    assert (pixels[::2] == seen(data)[1][::2]).all() and (pixels[-1] == pixels[-2]).all()
    assert reason_of(data[: int(len(data) * 0.45)]) == SkipReason.DAMAGED


def test_a_bitmap_lacks_its_top() -> None:
    told, pixels = seen(encoded(NOISE, "BMP")[: int(320 * 240 * 3 * 0.75)])
    assert told.note == "cut off" and (pixels[:50] == 255).all() and (pixels[-150:] == np.asarray(NOISE)[-150:]).all()


def test_a_cut_off_photo_is_still_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(NOISE, "JPEG", exif=exif)
    told, _ = seen(data[:-200])
    assert (told.width, told.height, told.note) == (240, 320, "cut off")


def test_only_the_end_marker_is_missing() -> None:
    data = encoded(PLAIN, "JPEG", quality=90)
    whole = seen(data)[1]
    for missing in (1, 2):
        told, pixels = seen(data[:-missing])
        assert told.note == "cut off" and (pixels == whole).all()


def test_a_wrong_checksum_beside_the_pixels_costs_nothing() -> None:
    data = encoded(PLAIN, "PNG", dpi=(72, 72))
    at = data.index(b"pHYs") + 4 + 9  # its checksum
    told, pixels = seen(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert told.note == "" and (pixels == np.asarray(PLAIN)).all()


@pytest.mark.parametrize("data", [encoded(PLAIN, "AVIF"), encoded(PLAIN, "WEBP", lossless=True), psd_of(np.asarray(PLAIN).astype("u2"))])
def test_what_gives_nothing_without_its_end_is_damaged(data: bytes) -> None:
    assert reason_of(data[: int(len(data) * 0.9)]) == SkipReason.DAMAGED


def test_a_whole_file_has_no_note() -> None:
    for make, _, _ in CUT.values():
        assert seen(make())[0].note == ""
