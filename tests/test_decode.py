"""Decoding: what a person sees is what comes out, and no file hurts more than itself."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile
import numpy as np
import pytest
from hostile import encoded, scene
from PIL import Image, ImageCms
from rawfiles import bmp_of, fuji_file, lossless_jpeg, psd_of, raw_file, tiff_of

from image_search.config import LIBRARY_LIMITS, Limits
from image_search.errors import DecodeError, ImageSearchError, SkipReason, UsageError
from image_search.images import cage, formats, pixels
from image_search.images import process as decode_process
from image_search.images import worker as decode_worker
from image_search.images.pool import DecodePool
from image_search.types import Decoded, Preprocess, Region

SQUARE = Preprocess(size=(64, 64))
PLAIN = scene(240, 160)  # what is to be seen
posix = pytest.mark.skipif(os.name == "nt", reason="signals and pipes of POSIX")


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool(2, SQUARE) as pool:
        yield pool


def seen(data: bytes, size: tuple[int, int] = (64, 64), **spec: object) -> np.ndarray:
    return np.asarray(pixels.render(data, pixels.RenderSpec(size=size, **spec), LIBRARY_LIMITS).pixels)  # type: ignore[arg-type]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference in grey levels of 255."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


# --- what is seen is what comes out --------------------------------------------------------------------------------------------

# How a camera stores the upright picture under each orientation tag: the inverse of what a viewer then does.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("form", "options", "tolerance"), [
    ("PNG", {}, 0), ("WEBP", {"lossless": True}, 0), ("TIFF", {}, 0), ("JPEG", {"quality": 95}, 1),
    ("AVIF", {"quality": 95}, 1.5), ("HEIF", {"quality": 95}, 2),
])  # fmt: skip
def test_every_orientation_comes_out_upright(orientation: int, form: str, options: dict[str, object], tolerance: float) -> None:
    turn = STORED[orientation]
    stored = PLAIN if turn is None else PLAIN.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    tag = exif.tobytes() if form == "HEIF" else exif
    picture = pixels.render(encoded(stored, form, exif=tag, **options), pixels.RenderSpec(size=(64, 64)), LIBRARY_LIMITS)
    assert (picture.width, picture.height) == PLAIN.size
    assert distance(np.asarray(picture.pixels), seen(encoded(PLAIN, "PNG"))) <= tolerance


def _grey16(order: str) -> Image.Image:
    values = np.asarray(PLAIN.convert("L")).astype(order + "u2") * 257
    return Image.frombytes("I;16" if order == "<" else "I;16B", PLAIN.size, values.astype(order + "u2").tobytes())


def _floats(scale: float, shift: float = 0.0) -> Image.Image:
    return Image.fromarray(np.asarray(PLAIN.convert("L")).astype(np.float32) * scale + shift)


def _stretched() -> Image.Image:
    """Grey, from its darkest to its brightest."""
    grey = np.asarray(PLAIN.convert("L")).astype(float)
    return Image.fromarray(np.rint((grey - grey.min()) * 255 / (grey.max() - grey.min())).astype(np.uint8))


def _alpha() -> Image.Image:
    image = PLAIN.copy()
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    return image


def _clear_palette() -> Image.Image:
    image = PLAIN.quantize(32)
    image.info["transparency"] = 5
    return image


def _lab() -> bytes:
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    return encoded(ImageCms.applyTransform(PLAIN, transform), "TIFF")  # type: ignore[arg-type]


def _tiff(bits: int, photometric: int, data: bytes) -> bytes:
    changed = {258: (258, 3, 1, bits), 262: (262, 3, 1, photometric)}
    entries = [changed.get(entry[0], entry) for entry in hostile._page(*PLAIN.size, 8, len(data))]
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + hostile._ifd(entries, 0)


def _twelve_bits() -> bytes:
    grey = np.rint(np.asarray(GREY).astype(float) * 4095 / 255).astype(int).reshape(-1, 2)
    packed = np.stack([grey[:, 0] >> 4, (grey[:, 0] & 15) << 4 | grey[:, 1] >> 8, grey[:, 1] & 255], 1)
    return packed.astype(np.uint8).tobytes()


GREY = PLAIN.convert("L")
SAME: dict[str, tuple[Callable[[], bytes], Callable[[], Image.Image], float]] = {
    "lossless webp": (lambda: encoded(PLAIN, "WEBP", lossless=True), lambda: PLAIN, 0),
    "bmp": (lambda: encoded(PLAIN, "BMP"), lambda: PLAIN, 0),
    "tiff lzw": (lambda: encoded(PLAIN, "TIFF", compression="tiff_lzw"), lambda: PLAIN, 0),
    "jpeg": (lambda: encoded(PLAIN, "JPEG", quality=95), lambda: PLAIN, 1),
    "progressive jpeg": (lambda: encoded(PLAIN, "JPEG", quality=95, progressive=True), lambda: PLAIN, 1),
    "mpo": (lambda: encoded(PLAIN, "MPO", quality=95, save_all=True, append_images=[GREY.convert("RGB")]), lambda: PLAIN, 1),
    "avif": (lambda: encoded(PLAIN, "AVIF", quality=95), lambda: PLAIN, 1.5),
    "heic": (lambda: encoded(PLAIN, "HEIF", quality=95), lambda: PLAIN, 2),
    "cmyk jpeg": (lambda: encoded(PLAIN.convert("CMYK"), "JPEG", quality=95), lambda: PLAIN, 2),
    "cmyk tiff": (lambda: encoded(PLAIN.convert("CMYK"), "TIFF"), lambda: PLAIN, 0.5),
    "ycbcr tiff": (lambda: encoded(PLAIN.convert("YCbCr"), "TIFF"), lambda: PLAIN, 2),
    "grey jpeg": (lambda: encoded(GREY, "JPEG", quality=95), lambda: GREY, 1),
    "grey png": (lambda: encoded(GREY, "PNG"), lambda: GREY, 0),
    "bilevel": (lambda: encoded(PLAIN.convert("1"), "PNG"), lambda: PLAIN.convert("1"), 0),
    "palette png": (lambda: encoded(PLAIN.quantize(64), "PNG"), lambda: PLAIN.quantize(64), 0),
    "palette gif": (lambda: encoded(PLAIN.quantize(64), "GIF"), lambda: PLAIN.quantize(64), 0),
    "16-bit png": (lambda: encoded(_grey16("<"), "PNG"), lambda: GREY, 0),
    "16-bit tiff": (lambda: encoded(_grey16("<"), "TIFF"), lambda: GREY, 0),
    "16-bit tiff, big-endian": (lambda: encoded(_grey16(">"), "TIFF"), lambda: GREY, 0),
    "16-bit tiff, white is zero": (lambda: _tiff(16, 0, (65535 - np.asarray(GREY).astype("<u2") * 257).tobytes()), lambda: GREY, 0),
    "12-bit tiff": (lambda: _tiff(12, 1, _twelve_bits()), lambda: GREY, 0),
    "lab tiff": (_lab, lambda: PLAIN, 2),
    "dib": (lambda: encoded(PLAIN, "DIB"), lambda: PLAIN, 0),
    "float 0..1": (lambda: encoded(_floats(1 / 255), "TIFF"), lambda: GREY, 0),
    "float 0..255": (lambda: encoded(_floats(1), "TIFF"), lambda: GREY, 0),
    "float, own range": (lambda: encoded(_floats(37.5, -2000), "TIFF"), _stretched, 0.01),
    "32-bit integers": (lambda: encoded(Image.fromarray(np.asarray(GREY).astype(np.int32) * 7919), "TIFF"), _stretched, 0.01),
    "alpha png": (lambda: encoded(_alpha(), "PNG"), lambda: on_white(_alpha()), 0.5),
    "alpha webp": (lambda: encoded(_alpha(), "WEBP", lossless=True, exact=True), lambda: on_white(_alpha()), 0.5),
    "grey with alpha": (lambda: encoded(_alpha().convert("LA"), "PNG"), lambda: on_white(_alpha().convert("LA")), 0.5),
    "palette with a clear colour": (lambda: encoded(_clear_palette(), "PNG"), lambda: on_white(_clear_palette().convert("RGBA")), 0),
    "gif with a clear colour": (
        lambda: encoded(_clear_palette(), "GIF", transparency=5), lambda: on_white(_clear_palette().convert("RGBA")), 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAME)
def test_every_way_to_store_a_picture_gives_its_pixels(kind: str) -> None:
    data, visible, tolerance = SAME[kind]
    assert distance(seen(data()), seen(encoded(visible().convert("RGB"), "PNG"))) <= tolerance


def test_colours_hidden_under_alpha_stay_hidden() -> None:
    image = Image.merge("RGBA", (*PLAIN.split(), Image.new("L", PLAIN.size, 0)))
    assert (seen(encoded(image, "PNG")) == 255).all()


@pytest.mark.parametrize(
    ("form", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("AVIF", {"quality": 95})]
)
@pytest.mark.parametrize("blank", [1, 3])
def test_a_blank_first_frame_is_passed_over(form: str, options: dict[str, object], blank: int) -> None:
    white = [Image.new("RGB", PLAIN.size, (255 - n, 255, 255)) for n in range(blank)]  # not equal, or the encoder joins them
    told = seen(encoded(white[0], form, save_all=True, append_images=[*white[1:], PLAIN, GREY.convert("RGB")], **options))
    assert distance(told, seen(encoded(PLAIN, "PNG"))) < 8  # GIF has 256 colours


def test_a_film_of_blank_frames_is_its_first_frame() -> None:
    white = [Image.new("RGB", (40, 40), (255, 255, 255 - 20 * n)) for n in range(8)]
    told = seen(encoded(white[0], "WEBP", save_all=True, append_images=white[1:], lossless=True))
    assert (told == 255).all()


@pytest.fixture
def decoded_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Sizes of the upright pictures that came out of the decoders, before they were resized."""
    sizes: list[tuple[int, int]] = []
    cut = pixels._cut

    def noting(image: Image.Image, *rest: object) -> Image.Image:
        sizes.append(image.size)
        return cut(image, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(pixels, "_cut", noting)
    return sizes


def test_draft_decoding_is_as_good_as_full(decoded_sizes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(scene(800, 600), "JPEG", quality=90)
    fast = seen(data)
    monkeypatch.setattr(pixels, "DRAFT_MARGIN", 100)
    full = seen(data)
    assert decoded_sizes == [(200, 150), (800, 600)]  # not an eighth: at least twice the model's 64
    assert distance(fast, full) < 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2)])
@pytest.mark.parametrize(
    "recipe", [SQUARE, Preprocess(size=None, shortest_edge=72, crop=(64, 64)), Preprocess(size=None, shortest_edge=40, crop=(64, 65))]
)
def test_tiny_pictures_are_decoded_and_stable(size: tuple[int, int], recipe: Preprocess) -> None:
    data = encoded(PLAIN.resize(size), "PNG")
    spec = pixels.RenderSpec(recipe.size, recipe.shortest_edge, recipe.crop)
    first, second = (np.asarray(pixels.render(data, spec, LIBRARY_LIMITS).pixels) for _ in range(2))
    assert first.shape[:2] == recipe.output_size
    assert np.array_equal(first, second)


def test_a_very_long_picture_needs_no_giant_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = pixels.RenderSpec(shortest_edge=72, crop=(64, 64))
    data = encoded(PLAIN.resize((90, 60)), "PNG")
    whole = np.asarray(pixels.render(data, spec, LIBRARY_LIMITS).pixels)
    monkeypatch.setattr(pixels, "MAX_RESIZED", 0)
    assert distance(np.asarray(pixels.render(data, spec, LIBRARY_LIMITS).pixels), whole) < 0.5
    recipe, limits = Preprocess(size=None, shortest_edge=72, crop=(64, 64)), Limits(memory_bytes=200 << 20)
    with DecodePool(1, recipe, limits=limits) as pool:  # 72 x 4,320,000 pixels would be 1.2 GB
        assert pool.decode(encoded(Image.new("RGB", (1, 60_000)), "PNG")).height == 60_000


@pytest.mark.slow
@pytest.mark.parametrize("resample", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_pixels_equal_the_reference_processors(resample: str) -> None:
    vit = pytest.importorskip("transformers.models.vit.image_processing_pil_vit").ViTImageProcessorPil
    bit = pytest.importorskip("transformers.models.bit.image_processing_pil_bit").BitImageProcessorPil
    number = Image.Resampling[resample.upper()]
    raw = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}
    chance = np.random.default_rng(0)
    for _ in range(25):
        image = Image.fromarray(chance.integers(0, 256, (*chance.integers(1, 400, 2), 3), dtype=np.uint8))
        data = encoded(image, "PNG")
        square = vit(size={"height": 64, "width": 48}, resample=number)(image, **raw)["pixel_values"][0]
        assert np.array_equal(seen(data, (64, 48), resample=resample), square.transpose(1, 2, 0))
        for edge, crop in ((60, (48, 48)), (60, (61, 57)), (48, (70, 50))):
            reference = bit(
                size={"shortest_edge": edge}, crop_size={"height": crop[0], "width": crop[1]}, resample=number, do_convert_rgb=False
            )
            ours = pixels.render(data, pixels.RenderSpec(shortest_edge=edge, crop=crop, resample=resample), LIBRARY_LIMITS).pixels
            assert np.array_equal(np.asarray(ours), reference(image, **raw)["pixel_values"][0].transpose(1, 2, 0))


# --- regions, thumbnails, pictures ---------------------------------------------------------------------------------------------


def test_a_region_is_the_cropped_file(pool: DecodePool) -> None:
    cropped = PLAIN.crop((30, 20, 130, 90))
    told = pool.decode(encoded(PLAIN, "PNG"), region=Region(30, 20, 100, 70))
    assert np.array_equal(told.pixels, seen(encoded(cropped, "PNG")))
    assert (told.width, told.height) == PLAIN.size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_of_a_turned_photo_is_meant_upright_and_decoded_finely(orientation: int, decoded_sizes: list[tuple[int, int]]) -> None:
    big = scene(1600, 1200)
    turn = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(big if turn is None else big.transpose(turn), "JPEG", quality=95, exif=exif)
    told = seen(data, region=Region(1000, 500, 400, 300))
    assert decoded_sizes == [(800, 600)]  # a half; the whole picture would do with an eighth
    assert distance(told, seen(encoded(big.crop((1000, 500, 1400, 800)), "PNG"))) < 1.5


@pytest.mark.parametrize(("asked", "grown"), [
    ((50, 80, 100, 10), (50, 60, 100, 50)),  # in the middle: both sides
    ((50, 0, 100, 10), (50, 0, 100, 50)),  # at the edge: shifted
    ((0, 20, 240, 1), (0, 0, 240, 120)),
    ((100, 0, 1, 160), (61, 0, 80, 160)),
    ((10, 10, 100, 50), (10, 10, 100, 50)),  # 2:1 is not thin
])  # fmt: skip
def test_thin_regions_grow_to_two_to_one(pool: DecodePool, asked: tuple[int, ...], grown: tuple[int, int, int, int]) -> None:
    x, y, w, h = grown
    told = pool.decode(encoded(PLAIN, "PNG"), region=Region(*asked))
    assert np.array_equal(told.pixels, seen(encoded(PLAIN.crop((x, y, x + w, y + h)), "PNG")))


@pytest.mark.parametrize(
    "region", [Region(0, 0, 241, 10), Region(240, 0, 1, 1), Region(-1, 0, 5, 5), Region(0, 0, 0, 5), Region(0, 150, 5, 11)]
)
def test_a_region_outside_the_picture_names_the_pictures_size(pool: DecodePool, region: Region) -> None:
    for call in (pool.decode, lambda source, region: pool.picture(source, max_side=50, region=region)):
        with pytest.raises(UsageError, match="240x160 pixels"):
            call(encoded(PLAIN, "PNG"), region=region)


def test_the_thumbnail_is_the_upright_picture_and_carries_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "secret"
    data = encoded(scene(800, 600).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)
    with DecodePool(1, SQUARE, thumbnail_side=100) as pool:
        told = pool.decode(data)
        small = pool.decode(encoded(PLAIN.resize((30, 20)), "PNG"))
    thumbnail, tiny = (Image.open(io.BytesIO(each.thumbnail or b"")) for each in (told, small))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (100, 75))
    assert distance(np.asarray(thumbnail), np.asarray(scene(800, 600).resize((100, 75)))) < 5
    assert "exif" not in thumbnail.info
    assert tiny.size == (30, 20)


def test_a_picture_keeps_its_proportions_and_is_never_enlarged(pool: DecodePool) -> None:
    data = encoded(PLAIN, "PNG")
    array, wide, high, digest = pool.picture(data, max_side=60)
    assert digest == hashlib.sha256(data).digest()
    assert (array.shape, wide, high) == ((40, 60, 3), 240, 160)
    assert np.array_equal(pool.picture(data, max_side=5000)[0], np.asarray(PLAIN))
    assert pool.picture(data, max_side=50, region=Region(0, 0, 100, 80))[0].shape == (40, 50, 3)


# --- the pool ------------------------------------------------------------------------------------------------------------------


def test_a_decoded_file_knows_its_hash_size_and_stat(pool: DecodePool, tmp_path: Path) -> None:
    path = tmp_path / "사진\n\x1b[31m.jpg"
    path.write_bytes(encoded(PLAIN, "JPEG"))
    told = pool.decode(str(path))
    assert told.sha256 == hashlib.sha256(path.read_bytes()).digest()
    assert (told.width, told.height, told.format) == (240, 160, "JPEG")
    assert told.stat is not None
    found = path.stat()
    assert (told.stat.size, told.stat.mtime_ns, told.stat.inode) == (found.st_size, found.st_mtime_ns, found.st_ino)
    assert np.array_equal(told.pixels, pool.decode(path.read_bytes()).pixels)
    assert np.array_equal(told.pixels, seen(path.read_bytes()))  # the same in this process


def test_a_relative_path_is_of_the_callers_folder(pool: DecodePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here.png").write_bytes(encoded(PLAIN, "PNG"))
    monkeypatch.chdir(tmp_path)
    assert pool.decode("here.png").format == "PNG"


@posix
def test_a_name_that_is_no_unicode(pool: DecodePool, tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        Path(os.fsdecode(raw)).write_bytes(encoded(PLAIN, "PNG"))
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert pool.decode(os.fsdecode(raw)).format == "PNG"


@pytest.mark.parametrize("name", ["missing.jpg", "a\0b.jpg", "\ud800.jpg", "missing/missing.jpg"])
def test_a_missing_file_has_vanished(pool: DecodePool, tmp_path: Path, name: str) -> None:
    with pytest.raises(DecodeError) as caught:
        pool.decode(str(tmp_path / name))
    assert caught.value.reason == SkipReason.VANISHED


# A worker with strings attached: it dies, prints or counts when a file's bytes ask for it.
HOOKED = """
import os, sys
sys.path.extend(sys.argv[1:])
from image_search.images import worker as decode_worker
from image_search.images import pixels
render = pixels.render
def hooked(data, *rest):
    print("a decoder's own words", flush=True)
    os.write(1, b"and of its C library")
    with open(os.environ["DECODED"], "ab") as file:
        file.write(b".")
    if b"ABORT" in data: os.abort()
    if b"SLEEP" in data: import time; time.sleep(60)
    if b"BURN" in data:
        while True: pass
    return render(data, *rest)
pixels.render = hooked
decode_worker.main()
"""


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], int]:
    """Workers get hooks; the fixture's value tells how many files were decoded."""
    monkeypatch.setattr(decode_process, "_BOOT", HOOKED)
    monkeypatch.setenv("DECODED", str(tmp_path / "decoded"))
    (tmp_path / "decoded").touch()
    return lambda: (tmp_path / "decoded").stat().st_size


def marked(word: str) -> bytes:
    return encoded(PLAIN, "JPEG", comment=word)


def write_all(folder: Path, files: dict[str, bytes]) -> list[str]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [str(folder / name) for name in files]


@posix
def test_a_dead_worker_costs_the_one_image_it_held(decoded: Callable[[], int], tmp_path: Path) -> None:
    good = {f"{n}.jpg": marked(f"number {n}") for n in range(8)}
    paths = write_all(tmp_path, {**good, "abort.jpg": marked("ABORT"), "abort2.jpg": marked("ABORT")})
    with DecodePool(2, SQUARE) as pool:
        results = dict(pool.decode_each([*paths[8:], *paths[:8]]))
        reasons = {Path(path).name: result.reason for path, result in results.items() if isinstance(result, DecodeError)}
        assert reasons == {"abort.jpg": SkipReason.CRASHED, "abort2.jpg": SkipReason.CRASHED}
        assert len(results) == 10
        assert decoded() == 10  # none was tried twice


COMPUTED = "SIGXCPU" if Path("/proc/self/stat").exists() else "SIGKILL"  # without /proc the clock has the word


@posix
@pytest.mark.parametrize(("word", "limits", "end"), [
    ("SLEEP", Limits(wall_seconds=0.5), "SIGKILL"), ("BURN", Limits(cpu_seconds=1, wall_seconds=1), COMPUTED),
])  # fmt: skip
def test_too_long_is_too_long_by_the_clock_if_it_waits_and_by_the_processor_if_it_computes(
    decoded: Callable[[], int], word: str, limits: Limits, end: str
) -> None:
    with DecodePool(1, SQUARE, limits=limits) as pool:
        with pytest.raises(DecodeError) as caught:
            pool.decode(marked(word))
        assert caught.value.reason == SkipReason.TOOK_TOO_LONG
        assert caught.value.detail == f"worker ended with {-getattr(signal, end)}"
        assert pool.decode(marked("fine")).format == "JPEG"


@posix
def test_the_cpu_limit_is_of_one_file_not_of_the_workers_life(decoded: Callable[[], int]) -> None:
    hard = hostile.jpeg_of_many_scans(500, 500, 4000)
    with DecodePool(1, SQUARE, limits=Limits(cpu_seconds=1)) as pool:
        began, used = time.monotonic(), 0.0
        while used < 2.3 and time.monotonic() - began < 120:
            pool.decode(hard)
            assert len(pool._jobs.all) == 1
            fields = Path(f"/proc/{pool._jobs.all[0].process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        assert used >= 2.3


@pytest.mark.skipif(not decode_process.SYSTEM_CAPS_MEMORY, reason="RLIMIT_AS holds on Linux only")
@pytest.mark.parametrize("data", [
    hostile.png_of_zeros(6000, 6000, depth=16, colour=6), hostile.webp_of_one_colour(9000, 9000), hostile.tiff_of_zeros(12000, 12000),
])  # fmt: skip
def test_too_much_memory_is_said_to_be_that(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cage, "available_bytes", lambda: 64 << 20)  # nor is there more for one that is large
    with DecodePool(1, SQUARE, limits=Limits(memory_bytes=128 << 20)) as pool:
        with pytest.raises(DecodeError) as caught:
            pool.decode(data)
        assert caught.value.reason == SkipReason.TOO_MUCH_MEMORY
        assert caught.value.sha256 == hashlib.sha256(data).digest()
        assert pool.decode(encoded(PLAIN, "PNG")).format == "PNG"


@pytest.mark.skipif(not decode_process.SYSTEM_CAPS_MEMORY, reason="RLIMIT_AS holds on Linux only")
def test_a_large_picture_gets_more_memory_if_the_machine_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data, asked = hostile.png_of_zeros(6000, 6000, depth=8, colour=2), []
    ask = decode_process.WorkerProcess.ask
    monkeypatch.setattr(decode_process.WorkerProcess, "ask", lambda self, job, *rest: asked.append(job["memory"]) or ask(self, job, *rest))
    known = []
    with DecodePool(1, SQUARE, limits=Limits(memory_bytes=100 << 20, megapixels=40)) as pool:
        told = pool.decode(data, known=lambda digest: bool(known.append(digest)))
        assert (told.width, told.height) == (6000, 6000)
        assert asked[0] == 100 << 20 < asked[1] <= 40e6 * 16 + 2 * (500 << 20)
        assert known == [told.sha256]  # asked once: the second try is of the same file
        pool.decode(encoded(PLAIN, "PNG"))
        assert asked[2:] == [100 << 20]


@posix
def test_where_the_system_has_no_cap_the_parent_watches_the_memory(decoded: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode_process.resident_bytes(os.getpid()) > 10 << 20
    monkeypatch.setattr(decode_process, "SYSTEM_CAPS_MEMORY", False)
    monkeypatch.setattr(decode_process, "resident_bytes", lambda pid: 1 << 40)
    with DecodePool(1, SQUARE) as pool:
        with pytest.raises(DecodeError) as caught:
            pool.decode(marked("SLEEP"))
        assert caught.value.reason == SkipReason.TOO_MUCH_MEMORY


@pytest.mark.parametrize(("limits", "reason"), [
    (Limits(megapixels=0.03), SkipReason.TOO_MANY_PIXELS), (Limits(file_bytes=1000), SkipReason.FILE_TOO_LARGE),
])  # fmt: skip
def test_limits_hold_for_files_and_bytes(limits: Limits, reason: SkipReason, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(PLAIN, "JPEG"))
    with DecodePool(1, SQUARE, limits=limits) as pool:
        for source in (str(tmp_path / "a.jpg"), encoded(PLAIN, "JPEG")):
            with pytest.raises(DecodeError) as caught:
                pool.decode(source)
            assert caught.value.reason == reason


def test_known_content_is_not_decoded(decoded: Callable[[], int], tmp_path: Path) -> None:
    paths = write_all(tmp_path, {f"{n}.jpg": marked(str(n)) for n in range(6)})
    held = {hashlib.sha256(Path(path).read_bytes()).digest() for path in paths[:4]}
    with DecodePool(2, SQUARE) as pool:
        results = {path: result for path, result in pool.decode_each(paths, known=held.__contains__) if isinstance(result, Decoded)}
        assert [results[path].pixels is None for path in paths] == [True] * 4 + [False] * 2
        assert all(result.stat is not None for result in results.values())
        assert pool.decode(marked("0"), known=lambda _: True).pixels is None
    assert decoded() == 2


@pytest.mark.parametrize(("seconds", "processes"), [(1e6, 1), (0.0, 2)])
def test_another_process_decodes_too_where_waiting_costs_more(
    seconds: float, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("image_search.images.pool.DECODER_PAYS_SECONDS", seconds)
    paths = write_all(tmp_path, {f"{n}.jpg": marked(str(n)) for n in range(20)})
    with DecodePool(2, SQUARE) as pool:
        assert {path for path, _ in pool.decode_each(paths)} == set(paths)
        assert len(pool._jobs.all) == processes  # type: ignore[attr-defined]


def test_what_known_raises_reaches_the_caller_and_the_pool_lives_on(pool: DecodePool, tmp_path: Path) -> None:
    path = write_all(tmp_path, {"a.png": encoded(PLAIN, "PNG")})[0]

    def broken(digest: bytes) -> bool:
        raise RuntimeError("the catalog is gone")

    with pytest.raises(RuntimeError, match="catalog"):
        pool.decode(path, known=broken)
    with pytest.raises(RuntimeError, match="catalog"):
        list(pool.decode_each([path], known=broken))

    def sources() -> Iterator[str]:
        yield path
        raise OSError("the folder is gone")

    with pytest.raises(OSError, match="folder"):
        list(pool.decode_each(sources()))
    assert pool.decode(path).format == "PNG"


def test_looking_ahead_is_bounded_and_stopping_early_stops(pool: DecodePool, tmp_path: Path) -> None:
    path = write_all(tmp_path, {"a.png": encoded(PLAIN, "PNG")})[0]
    taken = 0

    def sources() -> Iterator[str]:
        nonlocal taken
        for _ in range(10_000):
            taken += 1
            yield path

    stream = pool.decode_each(sources(), prefetch=5)
    for number in range(20):
        next(stream)
        assert taken <= number + 1 + 5 + 1
    time.sleep(0.2)
    assert taken <= 20 + 5
    stream.close()
    time.sleep(0.2)
    before = taken
    assert pool.decode(path).format == "PNG"
    assert taken == before


def test_many_threads_share_a_pool(pool: DecodePool) -> None:
    pictures = [encoded(scene(60 + n, 40, seed=n), "PNG") for n in range(12)]
    expected = [seen(data) for data in pictures]
    with ThreadPoolExecutor(6) as threads:
        for told, wanted in zip(threads.map(pool.decode, pictures * 5), expected * 5, strict=True):
            assert np.array_equal(told.pixels, wanted)


def test_workers_are_replaced_after_so_many_files() -> None:
    data = encoded(PLAIN, "PNG")
    with DecodePool(1, SQUARE, limits=Limits(files_per_worker=3)) as pool:
        workers = []
        for _ in range(7):
            assert pool.decode(data).format == "PNG"
            workers += [worker.process.pid for worker in pool._jobs.all if worker.process.pid not in workers]
        assert len(workers) == 3 and len(pool._jobs.all) == 1


def test_an_idle_worker_that_died_blames_no_image() -> None:
    with DecodePool(1, SQUARE) as pool:
        pool.decode(encoded(PLAIN, "PNG"))
        process = pool._jobs.all[0].process
        process.kill()
        process.wait()
        assert pool.decode(encoded(PLAIN, "PNG")).format == "PNG"


def test_heif_and_16_bit_do_not_wear_a_worker_out() -> None:
    heic, deep = encoded(scene(1200, 900), "HEIF"), encoded(_grey16("<"), "PNG")
    with DecodePool(1, SQUARE) as pool:
        for _ in range(6):
            pool.decode(heic)
            pool.decode(deep)
            first = pool._jobs.all[0].process.pid
        assert [worker.process.pid for worker in pool._jobs.all] == [first] and pool._jobs.all[0].served == 12


def test_a_worker_that_cannot_start_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_process, "_BOOT", "raise SystemExit(7)")
    with DecodePool(1, SQUARE) as pool, pytest.raises(ImageSearchError, match=r"does not start \(exit code 7\)"):
        pool.decode(encoded(PLAIN, "PNG"))


@posix
def test_closing_ends_all_workers_also_busy_ones(decoded: Callable[[], int]) -> None:
    pool = DecodePool(3, SQUARE)
    errors: list[BaseException] = []

    def stuck() -> None:
        try:
            pool.decode(marked("SLEEP"))
        except ImageSearchError as error:
            errors.append(error)

    threads = [threading.Thread(target=stuck) for _ in range(2)]
    for thread in threads:
        thread.start()
    pool.decode(marked("fine"))
    while decoded() < 3:
        time.sleep(0.01)
    processes = [worker.process for worker in pool._jobs.all]
    assert len(processes) == 3
    pool.close()
    assert all(process.returncode is not None for process in processes)
    for thread in threads:
        thread.join(60)
    assert [str(error) for error in errors] == ["decoding was stopped"] * 2
    with pytest.raises(ImageSearchError, match="closed"):
        pool.decode(encoded(PLAIN, "PNG"))
    pool.close()


def run_script(script: str, *arguments: str, stdin: bool = False, cwd: Path | None = None) -> str:
    command = [sys.executable, "-P", "-W", "error", *(["-"] if stdin else ["-c", script]), *arguments]
    answer = subprocess.run(command, input=script if stdin else None, capture_output=True, text=True, timeout=120, cwd=cwd)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    return answer.stdout


SCRIPT = """
import sys
from image_search.images.pool import DecodePool
from image_search.types import Preprocess
pool = DecodePool(2, Preprocess(size=(8, 8)))
print(sorted(type(result).__name__ for _, result in pool.decode_each(sys.argv[1:])))
"""


@pytest.mark.parametrize("stdin", [False, True])
def test_it_works_from_a_script_without_a_main_guard_and_without_closing(tmp_path: Path, stdin: bool) -> None:
    paths = write_all(tmp_path, {"a.png": encoded(PLAIN, "PNG"), "b.png": b"<html>"})
    assert run_script(SCRIPT, *paths, stdin=stdin).strip() == "['DecodeError', 'Decoded']"


def test_python_files_beside_the_pictures_are_not_run(tmp_path: Path) -> None:
    paths = write_all(tmp_path, {"a.png": encoded(PLAIN, "PNG")})
    for name in ("PIL.py", "json.py", "image_search.py", "pillow_heif.py"):
        (tmp_path / name).write_text("open('pwned', 'w'); raise SystemExit(9)")
    assert run_script(SCRIPT, *paths, cwd=tmp_path).strip() == "['Decoded']"
    assert not (tmp_path / "pwned").exists()


@posix
def test_killing_the_parent_leaves_no_worker(tmp_path: Path) -> None:
    script = SCRIPT + "print(*(worker.process.pid for worker in pool._jobs.all), flush=True); import time; time.sleep(60)"
    path = write_all(tmp_path, {"a.png": encoded(PLAIN, "PNG")})[0]
    with subprocess.Popen([sys.executable, "-P", "-c", script, path, path], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert workers
        parent.kill()
        parent.wait()
        gone = time.monotonic() + 60
        while time.monotonic() < gone and any(_runs(pid) for pid in workers):
            time.sleep(0.02)
    assert not any(_runs(pid) for pid in workers)


def _runs(pid: int) -> bool:
    """Not ended; a zombie that nobody has waited for yet has ended."""
    answer = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return bool(answer) and not answer.startswith("Z")


def test_a_cheap_import_knows_the_decoders_version() -> None:
    script = "import sys, image_search.images.pool as d; print(d.decoder_name(200.0), 'PIL' in sys.modules, 'pillow_heif' in sys.modules)"
    version, *loaded = run_script(script).rsplit(maxsplit=2)
    assert loaded == ["False", "False"]
    assert re.match(r"\d+/pillow ", version) and all(f"/{name} " in version for name in ("heif", "raw", "jxl"))


# --- files that are not what they should be ------------------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_read_is_said_to_have_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "growing.jpg"
    path.write_bytes(marked("first half"))
    data, _ = decode_worker.read_file(os.fsencode(path), 1 << 20)
    assert data == path.read_bytes()
    fstat, calls = os.fstat, Counter[str]()

    def growing(handle: int) -> os.stat_result:
        calls["fstat"] += 1
        if calls["fstat"] == 2:
            with path.open("ab") as file:
                file.write(b"more")
        return fstat(handle)

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(formats.Refused) as caught:
        decode_worker.read_file(os.fsencode(path), 1 << 20)
    assert caught.value.reason == SkipReason.CHANGED


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_cannot_be_read(pool: DecodePool, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(PLAIN, "PNG"))
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(DecodeError) as caught:
        pool.decode(str(tmp_path / "a.png"))
    assert caught.value.reason == SkipReason.UNREADABLE


def check_hostile(folder: Path, count: int, seed: int, limits: Limits) -> Counter[SkipReason | None]:
    expected = hostile.make_hostile(folder, count=count, seed=seed)
    assert len(expected) >= count
    outcomes: dict[str, SkipReason | None] = {}
    with DecodePool(2, SQUARE, limits=limits) as pool:
        for path, result in pool.decode_each(os.path.join(folder, name) for name in expected):
            name = os.path.relpath(path, folder)
            assert name not in outcomes
            outcomes[name] = result.reason if isinstance(result, DecodeError) else None
            if isinstance(result, Decoded):
                assert result.pixels is not None and result.pixels.shape == (64, 64, 3)
        processes = [worker.process for worker in pool._jobs.all]
    assert all(process.returncode is not None for process in processes)
    assert len(outcomes) == len(expected)
    wrong = {name: outcome for name, outcome in outcomes.items() if outcome not in expected[name]}
    assert wrong == {}
    return Counter(outcomes.values())


def test_hostile_files_get_a_reason_or_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cage, "available_bytes", lambda: 0)  # no memory to spare for large ones
    counted = check_hostile(tmp_path / "h", 200, 1, Limits(cpu_seconds=1, wall_seconds=10, memory_bytes=400 << 20))
    assert {None, SkipReason.EMPTY, SkipReason.NOT_AN_IMAGE, SkipReason.UNSUPPORTED, SkipReason.DAMAGED} <= set(counted)
    assert {SkipReason.TOO_MANY_PIXELS, SkipReason.TOOK_TOO_LONG, SkipReason.TOO_MUCH_MEMORY, SkipReason.FILE_TOO_LARGE} <= set(counted)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_many_hostile_files(tmp_path: Path, seed: int) -> None:
    check_hostile(tmp_path / "h", 8000, seed, LIBRARY_LIMITS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["raw", "wavelet", "jxl", "psd", "numbers", "lossless"])
def test_a_file_cut_off_or_changed_at_every_tenth_byte(kind: str) -> None:
    """Of the formats whose decoders have been looked at least. No worker may be lost to them."""
    small = scene(24, 16)
    numbers = np.asarray(small)
    chosen = {
        "raw": [raw_file(scene(64, 48), None), raw_file(scene(64, 48), small, dng=False, make=b"NIKON\0"), fuji_file(small)],
        "wavelet": [encoded(small, "JPEG2000"), encoded(small.convert("L"), "JPEG2000", tile_size=(16, 16))],
        "jxl": [encoded(small, "JXL")] if importlib.util.find_spec("pillow_jxl") else [],
        "psd": [psd_of(numbers), psd_of(numbers.astype("u2"), packed=True), psd_of(numbers.astype("u2"), packed=True, large=True)],
        "numbers": [
            tiff_of(numbers.astype(">u2"), 2, separate=True),
            tiff_of(numbers / np.float32(255), 2),
            bmp_of(small, (0xF00, 0xF0, 0xF)),
        ],
        "lossless": [lossless_jpeg(numbers)],
    }[kind]
    found: Counter[str | None] = Counter()
    with DecodePool(1, SQUARE) as pool:
        for data in chosen:
            for at in range(0, len(data), 10):
                changed = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
                for broken in (data[:at], changed):
                    try:
                        pool.decode(broken)
                        found[None] += 1
                    except DecodeError as error:
                        found[error.reason.value] += 1
    assert found.keys() <= {reason and reason.value for reason in hostile.BROKEN}, found
