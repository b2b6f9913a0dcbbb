"""Numbers that are no bytes: TIFF, PSD, BMP and arrays of every kind are shown as the picture that was encoded, whatever their range."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hostile import encoded, scene
from PIL import Image
from rawfiles import bmp_of, psd_of, tiff_of

from image_search import ImageSearchEngine
from image_search.errors import DecodeError, SkipReason
from image_search.images import ranges
from image_search.testing import InProcessPool
from image_search.types import Preprocess

PLAIN = scene(96, 64)
GREY = np.asarray(PLAIN.convert("L"))
RGB = np.asarray(PLAIN)
KINDS = {"u2": 65535, "f2": 1.0, "f4": 1.0, "f8": 1.0}


def seen(data: bytes) -> np.ndarray:
    with InProcessPool(1, Preprocess(size=(64, 96), resample="nearest")) as pool:
        pixels = pool.decode(data).pixels
    assert pixels is not None
    return pixels.astype(int)


def off(data: bytes, wanted: np.ndarray) -> float:
    """The largest difference from the wanted picture, 0 to 255."""
    wanted = wanted if wanted.ndim == 3 else np.repeat(wanted[:, :, None], 3, 2)
    return float(np.abs(seen(data) - wanted).max())


@pytest.mark.parametrize(("order", "kind", "separate"), list(itertools.product("<>", KINDS, [False, True])))
def test_tiffs_of_every_number_and_layout(order: str, kind: str, separate: bool) -> None:
    """Pillow mixes the bytes of separate 16-bit planes and swaps compressed big-endian floats."""
    white = KINDS[kind]
    dtype = np.dtype(order + kind)
    assert off(tiff_of((GREY / 255 * white).astype(dtype), 1), GREY) <= 1
    colours = (RGB / 255 * white).astype(dtype)
    assert off(tiff_of(colours, 2, separate=separate), RGB) <= 1
    clear = np.dstack([colours, np.full(GREY.shape, white, dtype)])
    clear[:32, :, 3] = 0
    shown = RGB.copy()
    shown[:32] = 255
    assert off(tiff_of(clear, 2, separate=separate, extra=(2,)), shown) <= 1
    assert off(tiff_of(np.dstack([colours, colours[:, :, :2]]), 2, separate=separate, extra=(0, 0)), RGB) <= 1


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize(("order", "kind"), [("<", "I;16"), (">", "I;16"), ("<", "F")])
def test_compression_and_predictor_are_undone(order: str, compression: str, kind: str) -> None:
    numbers = GREY.astype("u2") * 257 if kind == "I;16" else (GREY / 255).astype("f4")
    image = Image.frombytes("I;16B", PLAIN.size, numbers.astype(">u2").tobytes()) if order == ">" else Image.fromarray(numbers)
    data = encoded(image, "TIFF", compression=compression, tiffinfo={317: 2 if kind == "I;16" else 3})
    assert off(data, GREY) <= 1


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("extra", [(2,), (0,), (0, 0, 0)])
def test_grey_bytes_of_several_bands(extra: tuple[int, ...], separate: bool) -> None:
    bands = np.dstack([GREY, *[np.full_like(GREY, 255)] * len(extra)])
    assert off(tiff_of(bands, 1, separate=separate, extra=extra), GREY) <= 1


def test_unsigned_32_bits_do_not_wrap() -> None:
    numbers = GREY.astype(np.int64) * (2**32 // 256)
    for order in "<>":
        low, high = np.quantile(GREY, 0.001), np.quantile(GREY, 0.999)
        wanted = np.clip((GREY - low) * 255 / (high - low), 0, 255)
        assert off(tiff_of(numbers.astype(order + "u4"), 1), wanted) <= 4


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "colour TIFF"])
def test_lower_bits_of_sixteen_are_stretched(bits: int, form: str) -> None:
    """Microscopes, detectors, depth cameras: as they are, all would be black, and near-duplicates of each other."""
    numbers = np.rint(GREY / 255.0 * (2**bits - 1)).astype("u2")
    if form == "colour TIFF":
        data = tiff_of(np.rint(RGB / 255.0 * (2**bits - 1)).astype("u2"), 2)
        assert off(data, RGB) <= 1
    else:
        assert off(encoded(Image.fromarray(numbers), form), GREY) <= 1


def test_one_number_does_not_decide() -> None:
    hot = np.rint(GREY / 255.0 * 4095).astype("u2")
    hot[0, 0] = 65535
    wanted = GREY.copy()
    wanted[0, 0] = 255
    assert off(tiff_of(hot, 1), wanted) <= 1
    for stray in (1.5, 1e30, np.inf):
        floats = (GREY / 255).astype("f4")
        floats[0, 0] = stray
        wanted[0, 0] = 0 if stray == np.inf else 255
        assert off(tiff_of(floats, 1), wanted) <= 1
    floats[0, :2] = np.nan, -1e30
    assert off(tiff_of(floats, 1), np.where(np.indices(GREY.shape)[0] * 96 + np.indices(GREY.shape)[1] < 2, 0, GREY)) <= 1


@pytest.mark.parametrize(("values", "shown"), [
    (np.linspace(0, 1, 1000), (0, 1)),
    (np.linspace(-0.05, 1.1, 1000), (0, 1)),  # sharpened
    (np.linspace(0, 200, 1000), (0, 255)),
    (np.linspace(0, 0.01, 1000), None),  # as 0 to 1 it would be black
    (np.linspace(0, 20, 1000), None),
    (np.linspace(-1000, 3000, 1000), None),  # tomography
    (np.linspace(0, 900, 1000).astype("u2"), (0, 1023)),
    (np.linspace(0, 60000, 1000).astype("i4"), (0, 65535)),
    ((np.arange(1000) // 100).astype("u2"), None),  # classes of pixels
    (np.linspace(-30000, 30000, 1000).astype("i2"), None),
    (np.array([[0, 1]], bool), (0, 1)),
    (np.linspace(0, 9, 1000).astype("u1"), (0, 255)),  # bytes are bytes
])  # fmt: skip
def test_black_and_white_are_read_off_the_numbers(values: np.ndarray, shown: tuple[float, float] | None) -> None:
    low, high = ranges.shown_range(values)
    if shown is not None:
        assert (low, high) == shown
    else:  # its own, but for a thousandth at each end
        span = float(values.max()) - float(values.min())
        assert abs(low - values.min()) <= 0.005 * span and abs(high - values.max()) <= 0.005 * span


@pytest.mark.parametrize("values", [np.zeros((9, 9), "f4"), np.full((9, 9), np.nan), np.full((9, 9), 7e300), np.full((2, 2), 65535, "u2")])
def test_numbers_that_are_all_alike_are_a_picture(values: np.ndarray) -> None:
    eight = ranges.eight_bits(values, ranges.shown_range(values))
    assert eight.dtype == np.uint8 and len(np.unique(eight)) == 1


@pytest.mark.parametrize("make", [
    lambda: RGB.astype("u2") * 257, lambda: RGB / 255, lambda: (RGB / 255).astype(">f4"), lambda: RGB.astype("u2") * 16,
    lambda: RGB.astype("i8"), lambda: np.dstack([RGB / 255, np.ones(GREY.shape)]), lambda: RGB.astype("f4"),
])  # fmt: skip
def test_an_array_is_searched_as_the_picture_it_is(make: Callable[[], Any], engine: ImageSearchEngine) -> None:
    plain, array = engine.embed([RGB, make()])
    assert float(plain @ array) > 0.999


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_photoshop_s_flat_picture(kind: str, packed: bool, large: bool) -> None:
    white = {"u1": 255, "u2": 65535, "f4": 1.0}[kind]
    for values in (GREY, RGB):
        assert off(psd_of((values / 255.0 * white).round(6 if kind == "f4" else 0).astype(kind), packed=packed, large=large), values) <= 1


@pytest.mark.parametrize(("masks", "bits", "tolerance"), [
    ((0xF00, 0xF0, 0xF), 16, 9), ((0xF, 0xF0, 0xF00), 16, 9), ((0x3FF00000, 0xFFC00, 0x3FF), 32, 1), ((0x7C00, 0x3E0, 0x1F), 16, 5),
])  # fmt: skip
def test_bitmaps_with_masks_of_their_own(masks: tuple[int, ...], bits: int, tolerance: int) -> None:
    assert off(bmp_of(PLAIN, masks, bits), RGB) <= tolerance


def _changed(data: bytes, tag: int, value: int) -> bytes:
    """The TIFF with another short in the entry of this tag."""
    at = data.index(struct.pack("<HH", tag, 3), struct.unpack_from("<I", data, 4)[0])
    return data[: at + 8] + struct.pack("<H", value) + data[at + 10 :]


@pytest.mark.parametrize(("data", "words"), [
    (_changed(tiff_of(GREY, 1), 259, 34712), "34712"),  # JPEG 2000 within TIFF
    (_changed(tiff_of(GREY.astype("c8").view("f4"), 1), 339, 6), "format 6"),  # complex numbers
    (psd_of(RGB)[:24] + b"\0\x09" + psd_of(RGB)[26:], ""),  # Lab of 8 bits is read; see below
    (psd_of(RGB.astype("u2"))[:24] + b"\0\x04" + psd_of(RGB.astype("u2"))[26:], "mode 4"),  # 16-bit CMYK
])  # fmt: skip
def test_whole_files_that_are_not_read_are_not_called_damaged(data: bytes, words: str) -> None:
    with InProcessPool(1, Preprocess(size=(8, 8))) as pool:
        if not words:
            assert pool.decode(data).format == "PSD"
            return
        with pytest.raises(DecodeError) as caught:
            pool.decode(data)
    assert caught.value.reason == SkipReason.UNSUPPORTED and words in caught.value.detail


def test_a_broken_one_is_damaged() -> None:
    whole = tiff_of(GREY.astype("f4"), 1)
    lost = struct.pack("<I", len(whole) + 1000)
    with InProcessPool(1, Preprocess(size=(8, 8))) as pool, pytest.raises(DecodeError) as caught:
        pool.decode(whole[:4] + lost + whole[8:])  # its directory is not there
    assert caught.value.reason == SkipReason.DAMAGED


def test_memory_for_numbers_is_that_of_the_picture() -> None:
    """Blocks are read one after the other: what is unpacked at a time does not grow with the picture."""
    from image_search.images import tiff

    layout = tiff._layout(tiff_of(np.zeros((4000, 64, 3), "f8"), 2, rows=10))
    assert layout is not None
    heights = [len(rows) for rows in tiff._rows(tiff_of(np.zeros((4000, 64, 3), "f8"), 2, rows=10), layout, None)]
    assert sum(heights) == 4000
    before = tiff.BLOCK_BYTES
    try:
        tiff.BLOCK_BYTES = 64 * 3 * 8 * 10
        heights = [len(rows) for rows in tiff._rows(tiff_of(np.zeros((4000, 64, 3), "f8"), 2, rows=10), layout, None)]
    finally:
        tiff.BLOCK_BYTES = before
    assert heights == [10] * 400


def test_a_tiff_of_numbers_is_turned_as_it_says() -> None:
    values = tiff_of(RGB.astype("u2") * 257, 2)
    with InProcessPool(1, Preprocess(size=(8, 8))) as pool:
        plain = pool.decode(values)
        turned = pool.decode(_with_turn(RGB.astype("u2") * 257, 6))
    assert (plain.width, plain.height) == (96, 64) and (turned.width, turned.height) == (64, 96)


def _with_turn(values: np.ndarray, turn: int) -> bytes:
    from rawfiles import directory

    body = values.tobytes()
    entries = {256: (4, [values.shape[1]]), 257: (4, [values.shape[0]]), 258: (3, [16] * 3), 259: (3, [1]), 262: (3, [2]), 273: (4, [8]),
               274: (3, [turn]), 277: (3, [3]), 278: (4, [values.shape[0]]), 279: (4, [len(body)])}  # fmt: skip
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory(entries, 8 + len(body))
