"""Colour spaces: what is converted, where, how often, and what it must not cost. How it looks is judged in test_as_browsers_show.py."""

from __future__ import annotations

import io

import numpy as np
import odd_encodings as odd
import odd_pictures
import pytest
from odd_encodings import Pixels, jpeg, png
from odd_pictures import PROFILES, encoded_for, image, scene
from PIL import Image, ImageCms

from image_search.config import LIBRARY_LIMITS
from image_search.images import colour, frames, headers
from image_search.images.pixels import Picture, RenderSpec, render
from image_search.images.pool import DecodePool
from image_search.search.query import encoded
from image_search.types import Preprocess, Region

WIDE = PROFILES["other order"]  # whoever does not follow it sees other colours


def seen(data: bytes, **spec: object) -> Picture:
    return render(data, RenderSpec(**({"max_side": 400} | spec)), LIBRARY_LIMITS)  # type: ignore[arg-type]


def distance(a: Image.Image | Pixels, b: Image.Image | Pixels) -> float:
    return float(np.abs(np.asarray(a).astype(int) - np.asarray(b)).mean())


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each way to sRGB that LittleCMS works out."""
    for memory in (colour._of_profile, colour._of_numbers, colour._of_measures):
        memory.cache_clear()
    calls: list[int] = []
    build = ImageCms.buildTransform

    def counting(*args: object) -> object:
        calls.append(1)
        return build(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageCms, "buildTransform", counting)
    return calls


@pytest.mark.parametrize(
    "data",
    [
        jpeg(image()),
        jpeg(image(), icc_profile=PROFILES["sRGB"]),
        jpeg(image(), icc_profile=PROFILES["sRGB in a table"]),
        jpeg(image(), icc_profile=b"no profile at all"),
        png(scene(), odd.chunk(b"sRGB", b"\0"), odd.gama(0.45455)),
        png(scene(), odd.gama(0.45455)),
        png(scene(), odd.cicp(1, 13)),
        odd.with_nclx(odd.saved(image(), "AVIF", quality=80), 1, 13),
    ],
    ids=["none", "sRGB", "table", "words", "chunk", "gamma", "cICP", "nclx"],
)
def test_srgb_costs_nothing(data: bytes, built: list[int]) -> None:
    seen(data)
    assert built == []


def test_a_profile_that_has_the_effect_of_srgb_leaves_the_numbers_alone(built: list[int]) -> None:
    """LittleCMS's own sRGB is told by its tags; one with other curves of the same effect after it was tried, once."""
    curve = odd.table_curve(odd.linear(np.linspace(0, 1, 200)).tolist())
    odd_srgb = odd.rgb_profile(odd.SRGB, curve)
    for profile in (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), odd_srgb, odd_srgb):
        assert np.array_equal(seen(png(scene(), odd.iccp(profile))).pixels, scene())
    assert len(built) == 1


def test_the_way_of_a_profile_is_worked_out_once(built: list[int]) -> None:
    for seed in range(3):
        seen(jpeg(image(seed), icc_profile=WIDE))
    assert len(built) == 1
    seen(jpeg(image(), icc_profile=PROFILES["ProPhoto"]))
    assert len(built) == 2


def test_a_broken_profile_is_tried_once(built: list[int]) -> None:
    for _ in range(2):
        assert distance(seen(jpeg(image(), icc_profile=WIDE[:200])).pixels, scene()) < 2
    assert len(built) <= 1


def test_a_damaged_profile_never_costs_the_picture() -> None:
    chance = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(WIDE)
        for _ in range(3):
            damaged[chance.integers(0, len(damaged))] = chance.integers(0, 256)
        assert seen(jpeg(image(), icc_profile=bytes(damaged[: chance.integers(0, 2 * len(damaged))]))).pixels.size == image().size


def test_photo_thumbnail_part_and_page_picture_have_the_same_colours() -> None:
    data = jpeg(encoded_for(WIDE), icc_profile=WIDE, quality=98)
    with DecodePool(1, Preprocess(size=(48, 64)), thumbnail_side=100) as pool:
        told, page = pool.decode(data), pool.picture(data, max_side=120)
    assert told.thumbnail is not None
    thumbnail = Image.open(io.BytesIO(told.thumbnail))
    assert "icc_profile" not in thumbnail.info
    assert distance(told.pixels, image().resize((64, 48), Image.Resampling.BILINEAR)) < 3
    assert distance(thumbnail.convert("RGB"), image().resize(thumbnail.size)) < 6
    assert distance(page.pixels, scene()) < 3


def test_a_picture_in_memory_has_the_colours_of_its_file() -> None:
    data = jpeg(encoded_for(WIDE), icc_profile=WIDE, quality=98)
    assert distance(seen(encoded(Image.open(io.BytesIO(data)))).pixels, scene()) < 3


def test_a_picture_in_memory_is_not_turned_by_xmp() -> None:
    assert seen(encoded(Image.open(io.BytesIO(jpeg(image(), xmp=odd.xmp(6)))))).pixels.size == image().size


def test_linear_light_is_converted_before_it_is_scaled() -> None:
    """Black and white lines become the grey of sRGB's middle, as for any other picture, not that of half the light."""
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[::2] = 255
    plain, linear = (seen(png(lines, *chunks), size=(8, 8), max_side=None).pixels for chunks in ([], [odd.gama(1.0)]))
    assert distance(plain, linear) <= 1


@pytest.mark.parametrize("side", [8, 40, 63])
def test_tiny_thumbnails_keep_their_colours(side: int) -> None:
    """One red pixel in two: halved chroma would blend them."""
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[..., 2] = 255
    pixels[::2, ::2] = (255, 0, 0)
    thumbnail = Image.open(io.BytesIO(seen(png(pixels), thumbnail_side=256).thumbnail or b""))
    assert np.array_equal(thumbnail.convert("RGB"), pixels)


# --- films -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_covers_all", [True, False])
def test_what_no_frame_of_a_gif_has_drawn_on_is_white(first_covers_all: bool) -> None:
    """The first frame is flat, so the second is shown: on what the first has left there, or on a bare canvas."""
    indices, colours = odd_pictures.palette()
    white = len(colours) // 3
    flat = np.full_like(indices, 9) if first_covers_all else np.full((4, 4), white, np.uint8)
    data = odd.gif((120, 88), colours + b"\xff\xff\xff", odd.gif_frame(flat), odd.gif_frame(indices[20:60, 10:70], (10, 20)))
    shown = np.asarray(seen(data).pixels)
    colour_of = np.frombuffer(colours, np.uint8).reshape(-1, 3)
    assert np.array_equal(shown[80, 100], colour_of[9] if first_covers_all else (255, 255, 255))
    assert np.array_equal(shown[20:60, 10:70], colour_of[indices[20:60, 10:70]])


def test_a_film_with_a_flat_beginning_keeps_its_colour_space() -> None:
    flat = Image.new("RGB", (120, 88), (200, 200, 200))
    film = {"save_all": True, "append_images": [encoded_for(WIDE)], "duration": 100, "icc_profile": WIDE}
    assert distance(seen(odd.saved(flat, "PNG", **film)).pixels, scene()) < 3
    assert distance(seen(odd.saved(flat, "TIFF", **film)).pixels, scene()) < 3


# --- high dynamic range ------------------------------------------------------------------------------------------------------


def pq_picture(width: int, height: int) -> tuple[bytes, Pixels]:
    """A picture that stays below white, and what is to be seen: it loses half of its light."""
    plain = scene(0, width, height)
    light = np.clip(odd.to_primaries(plain, odd.REC2020), 0, None) * 203
    half = np.rint(odd.encoded(odd.linear(plain / 255) / 2) * 255).astype(np.uint8)
    return png(np.rint(odd.pq(light) * 255).astype(np.uint8), odd.cicp(9, 16)), half


def test_a_large_hdr_picture_is_scaled_down_first_and_keeps_its_size_and_parts() -> None:
    data, half = pq_picture(800, 600)
    whole = seen(data, size=(60, 80), max_side=None)
    assert (whole.width, whole.height) == (800, 600)
    assert distance(whole.pixels, Image.fromarray(half).resize((80, 60), Image.Resampling.BILINEAR)) < 3
    part = seen(data, size=(60, 80), max_side=None, region=Region(400, 300, 160, 120))
    wanted = Image.fromarray(half).crop((400, 300, 560, 420)).resize((80, 60), Image.Resampling.BILINEAR)
    assert distance(part.pixels, wanted) < 3


def test_a_smooth_sky_in_8_bits_of_pq_has_no_bands() -> None:
    """65 levels become more than twice as many, each within half a level of the one that was stored."""
    ramp = np.linspace(20, 120, 512)[None, :, None] * np.ones((64, 1, 3))
    coded = np.rint(odd.pq(ramp) * 255).astype(np.uint8)
    shown = np.asarray(seen(png(coded, odd.cicp(9, 16)), max_side=512).pixels)
    assert len(np.unique(shown[32, :, 1])) > 1.5 * len(np.unique(coded))
    wanted = odd.encoded(ramp / 203 / 2) * 255
    assert np.abs(shown - wanted).max() < 3


def test_a_giant_is_scaled_down_before_its_colours_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    kept = frames._early

    def noting(picture: Image.Image, space: colour.Conversion) -> Image.Image:
        sizes.append(kept(picture, space).size)
        return kept(picture, space)

    monkeypatch.setattr(frames, "MAX_EARLY", 2000)
    monkeypatch.setattr(frames, "_early", noting)
    veiled = np.dstack([np.asarray(encoded_for(WIDE)), np.full((88, 120), 254, np.uint8)])
    whole = seen(png(veiled, odd.iccp(WIDE)), size=(22, 30), max_side=None)
    assert sizes == [(40, 30)]
    assert (whole.width, whole.height) == (120, 88)
    assert distance(whole.pixels, image().resize((30, 22), Image.Resampling.BILINEAR)) < 6


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (9, 7)])
def test_tiny_hdr_pictures(size: tuple[int, int]) -> None:
    data, half = pq_picture(*size)
    assert distance(seen(data).pixels, half) < 4


# --- headers -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_from_exif(order: str) -> None:
    for turn in range(1, 9):
        assert headers.orientation(odd.exif(turn, order)) == headers.orientation(b"Exif\0\0" + odd.exif(turn, order)) == turn


def test_a_broken_orientation_is_none() -> None:
    good = odd.exif(6)
    broken = [
        None,
        b"",
        b"Exif\0\0",
        b"II*\0",
        good[:9],
        odd.exif(9),
        odd.exif(0),
        odd.exif(6, kind=4),
        b"II*\0\xff\xff\xff\xff",
        good[:8] + b"\xff\xff",
    ]
    broken += [good[:length] for length in range(20)]
    assert [headers.orientation(block) for block in broken] == [1] * len(broken)


def test_chromaticities_without_sense_do_not_cost_the_picture() -> None:
    for xy in ((0.3, 1e-5, 0.6, 0.3, 0.3, 0.6, 0.1, 0.05), (0.3, 0.3, 0.6, 0.3, 0.3, 0.6, 0.1, 1e-5), (0.3, 0.3, *[0.3, 0.3] * 3)):
        assert seen(png(scene(), odd.gama(0.6), odd.chrm(*xy))).pixels.size == image().size


def test_broken_headers_say_nothing_and_raise_nothing() -> None:
    avif = odd.with_nclx(odd.saved(image(), "AVIF", quality=50), 12, 13)
    assert headers.colour_boxes(avif)[b"nclx"][:4] == b"\0\x0c\0\x0d"
    chunks = png(scene(), odd.cicp(12, 13))
    bitmap = odd.bmp(np.dstack([scene(), scene()[..., :1]]), header=124, icc=WIDE, space=b"DEBM")
    assert headers.bmp_profile(bitmap) == WIDE
    random = np.random.default_rng(0)
    for data, read in (
        (avif[:400], headers.colour_boxes),
        (chunks[:80], lambda data: headers.png_chunks(data, frozenset({b"cICP"}))),
        (bitmap[:200], headers.bmp_profile),
    ):
        for _ in range(300):
            changed = bytearray(data[: random.integers(0, len(data))])
            for _ in range(3):
                if changed:
                    changed[random.integers(0, len(changed))] = random.integers(0, 256)
            read(bytes(changed))
