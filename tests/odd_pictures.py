"""Pictures in odd encodings, drawn here: what cameras, editors, scanners and old programs leave in files."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import odd_encodings as odd
import pillow_heif
from numpy.typing import NDArray
from odd_encodings import Pixels, jpeg, png, saved
from PIL import Image, ImageCms, ImageDraw, ImageFilter

W, H = 120, 88


class Odd(NamedTuple):
    name: str
    data: bytes
    wanted: Pixels | None = None  # what is seen, where no browser can say


@cache
def scene(seed: int = 0, width: int = W, height: int = H) -> Pixels:
    """Sky, ground, round and square things in many colours; no symmetry, so that a turned one differs."""
    random = np.random.default_rng(seed)
    down = np.linspace(0, 1, height)[:, None, None]
    sky = np.array([90, 150, 230]) * (1 - down) + np.array([230, 190, 120]) * down
    image = Image.fromarray(np.broadcast_to(sky, (height, width, 3)).astype(np.uint8).copy())
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, side = int(random.integers(0, width)), int(random.integers(height // 2, height)), int(random.integers(5, 24))
        colour = tuple(int(value) for value in random.integers(0, 255, 3))
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)((x, y - side, x + side, y + side // 2), fill=colour)
    draw.ellipse((width * 0.7, height * 0.05, width * 0.85, height * 0.3), fill=(255, 240, 120))
    draw.polygon([(0, height * 0.6), (width * 0.25, height * 0.2), (width * 0.5, height * 0.62)], fill=(60, 110, 60))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)))


def image(seed: int = 0, width: int = W, height: int = H) -> Image.Image:
    return Image.fromarray(scene(seed, width, height))


def grey() -> Pixels:
    return np.asarray(image().convert("L"))


def veil() -> Pixels:
    """Alpha from left to right, with a clear hole."""
    alpha = np.broadcast_to(np.linspace(0, 255, W), (H, W)).astype(np.uint8).copy()
    alpha[20:50, 30:60] = 0
    return alpha


def rgba() -> Pixels:
    return np.dstack([scene(), veil()])


def palette() -> tuple[Pixels, bytes]:
    small = image().quantize(64)
    return np.asarray(small), bytes(small.getpalette() or [])[:192]


def encoded_for(profile: bytes, mode: str = "RGB") -> Image.Image:
    """The scene in the numbers of this profile."""
    srgb = ImageCms.createProfile("sRGB")
    done = ImageCms.profileToProfile(image(), srgb, ImageCms.ImageCmsProfile(io.BytesIO(profile)), outputMode=mode)
    assert done is not None
    return done


PROFILES = {
    "Display P3": odd.rgb_profile(odd.DISPLAY_P3, odd.srgb_curve()),
    "Adobe RGB": odd.rgb_profile(odd.ADOBE_RGB, odd.gamma_curve(2.19921875)),
    "ProPhoto": odd.rgb_profile(odd.PROPHOTO, odd.gamma_curve(1.8)),
    "BT.2020": odd.rgb_profile(odd.REC2020, odd.gamma_curve(2.4)),
    "linear sRGB": odd.rgb_profile(odd.SRGB, odd.gamma_curve(1.0)),
    "sRGB": odd.rgb_profile(odd.SRGB, odd.srgb_curve()),
    "sRGB in a table": odd.rgb_profile(odd.SRGB, odd.table_curve(odd.linear(np.linspace(0, 1, 1024)).tolist())),
    "other order": odd.rgb_profile((odd.SRGB[2], odd.SRGB[0], odd.SRGB[1]), odd.gamma_curve(2.2)),
}


INKS = np.array([[0.08, 0.35, 0.75], [0.75, 0.06, 0.30], [0.88, 0.80, 0.04], [0.03, 0.03, 0.03]])  # light of the full inks


def printed(inks: NDArray[np.float64]) -> NDArray[np.float64]:
    """An offset press in a few numbers: inks overlap as colour filters. CMYK 0..1 (N, 4) -> light in sRGB's primaries (N, 3)."""
    return np.prod(1 - inks[:, :, None] ** 0.8 * (1 - INKS[None]), axis=1)


@cache
def cmyk_profile() -> bytes:
    return odd.lut_profile(b"CMYK", lambda inks: odd.lab_of_xyz(printed(inks) @ np.array(odd.SRGB)), 9)


def on_paper(inks: Image.Image) -> Pixels:
    """What that press makes of a CMYK picture."""
    light = printed(np.asarray(inks).reshape(-1, 4) / 255)
    return np.rint(odd.encoded(light) * 255).astype(np.uint8).reshape(H, W, 3)


def cmyk_of_scene(amount: float = 1.0) -> Image.Image:
    """Inks by the plain rule, black taken out."""
    rgb = scene().astype(float) / 255
    k = 1 - rgb.max(axis=2)
    cmy = (1 - rgb - k[..., None]) / np.maximum(1 - k[..., None], 1e-6)
    return Image.fromarray(np.rint(np.dstack([cmy, k]) * 255 * amount).astype(np.uint8), "CMYK")


def xyb_like() -> tuple[Image.Image, bytes]:
    """Numbers that mean nothing without their profile: opponent colours in a table profile, as XYB JPEG has them."""

    def to_lab(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([values[:, 1] * 100, (values[:, 0] - 0.5) * 220, (values[:, 2] - 0.5) * 220], axis=1)

    lab = odd.lab_of_xyz(odd.linear(scene().reshape(-1, 3) / 255) @ np.array(odd.SRGB))
    values = np.stack([lab[:, 1] / 220 + 0.5, lab[:, 0] / 100, lab[:, 2] / 220 + 0.5], axis=1)
    pixels = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8).reshape(H, W, 3)
    return Image.fromarray(pixels), odd.lut_profile(b"RGB ", to_lab, 17)


def profiles() -> Iterator[Odd]:
    for name, icc in PROFILES.items():
        coded = encoded_for(icc)
        yield Odd(f"JPEG, {name}", jpeg(coded, icc_profile=icc))
        if name in ("Adobe RGB", "linear sRGB", "other order"):
            yield Odd(f"PNG, {name}", png(np.asarray(coded), odd.iccp(icc)))
        if name in ("Display P3", "ProPhoto", "other order"):
            yield Odd(f"WebP, {name}", saved(coded, "WEBP", quality=95, icc_profile=icc))
        if name in ("Display P3", "BT.2020", "other order"):
            yield Odd(f"AVIF, {name}", saved(coded, "AVIF", quality=95, icc_profile=icc, subsampling="4:4:4"))
        if name in ("Display P3", "linear sRGB", "other order"):
            yield Odd(f"TIFF, {name}", saved(coded, "TIFF", icc_profile=icc), scene())
            yield Odd(f"HEIF, {name}", saved(coded, "HEIF", quality=95, icc_profile=icc, chroma="444"), scene())
    other = PROFILES["other order"]
    broken = {"cut": other[:200], "of zeros": bytes(400), "with tags out of reach": other[:128] + struct.pack(">I", 9999) + other[132:]}
    for name, icc in broken.items():
        yield Odd(f"JPEG, profile {name}", jpeg(image(), icc_profile=icc))
    yield Odd("PNG, broken profile beside gAMA", png(scene(), odd.iccp(bytes(400)), odd.gama(1.0)))
    yield Odd("JPEG, RGB profile in a grey picture", jpeg(Image.fromarray(grey()), icc_profile=PROFILES["ProPhoto"]))
    yield Odd("JPEG, grey profile in a colour picture", jpeg(image(), icc_profile=odd.grey_profile(odd.gamma_curve(1.0))))
    for gamma in (1.0, 1.8):
        icc = odd.grey_profile(odd.gamma_curve(gamma))
        yield Odd(f"JPEG, grey of gamma {gamma}", jpeg(Image.fromarray(grey()), icc_profile=icc))
        yield Odd(f"PNG, grey of gamma {gamma}", png(grey(), odd.iccp(icc)))
    icc = odd.grey_profile(odd.gamma_curve(1.0))
    yield Odd("PNG, 16-bit grey of gamma 1", png(grey().astype(np.uint16) * 257, odd.iccp(icc), depth=16))
    yield Odd("PNG, grey and alpha of gamma 1", png(np.dstack([grey(), veil()]), odd.iccp(icc)))
    linear = PROFILES["linear sRGB"]
    coded = np.asarray(encoded_for(linear))
    yield Odd("PNG, alpha over linear light", png(np.dstack([coded, veil()]), odd.iccp(linear)))
    yield Odd(
        "WebP, alpha over linear light", saved(Image.fromarray(np.dstack([coded, veil()])), "WEBP", lossless=True, icc_profile=linear)
    )
    yield Odd("PNG, 16-bit of another order", png(np.asarray(encoded_for(other)).astype(np.uint16) * 257, odd.iccp(other), depth=16))
    indices, colours = palette()
    yield Odd("PNG, palette of another order", png(indices, odd.iccp(other), palette=colours))
    pixels, icc = xyb_like()
    yield Odd("JPEG, opponent colours", jpeg(pixels, icc_profile=icc, keep_rgb=True))
    yield Odd("JPEG, opponent colours, subsampled", jpeg(pixels, icc_profile=icc, subsampling=2))
    yield Odd("PNG, opponent colours", png(np.asarray(pixels), odd.iccp(icc)))


def inks() -> Iterator[Odd]:
    plain, icc = cmyk_of_scene(), cmyk_profile()
    yield Odd("JPEG, CMYK", jpeg(plain))
    yield Odd("JPEG, CMYK, half ink", jpeg(cmyk_of_scene(0.5)))
    # Chromium multiplies black into the other inks before it asks the profile: pure black and three full inks come out alike there.
    yield Odd("JPEG, CMYK with its profile", jpeg(plain, icc_profile=icc), on_paper(plain))
    yield Odd("JPEG, CMYK with an RGB profile", jpeg(plain, icc_profile=PROFILES["other order"]))
    yield Odd("JPEG, RGB with a CMYK profile", jpeg(image(), icc_profile=icc))
    colours = np.asarray(Image.fromarray(np.asarray(plain)[..., :3]).convert("YCbCr"))
    ycck = Image.fromarray(np.dstack([255 - colours, np.asarray(plain)[..., 3]]), "CMYK")
    yield Odd("JPEG, YCCK", odd.adobe(jpeg(ycck), 2))
    yield Odd("JPEG, YCCK with its profile", odd.adobe(jpeg(ycck, icc_profile=icc), 2), on_paper(plain))
    yield Odd("JPEG, CMYK without Adobe marker", odd.adobe(jpeg(plain), None))
    yield Odd("TIFF, CMYK with its profile", saved(plain, "TIFF", icc_profile=icc), on_paper(plain))
    yield Odd("TIFF, CMYK", saved(plain, "TIFF"), scene())
    lab = ImageCms.profileToProfile(image(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB")
    assert lab is not None
    yield Odd("TIFF, Lab", saved(lab, "TIFF"), scene())


def jpegs() -> Iterator[Odd]:
    ycc = np.asarray(image().convert("YCbCr"))
    yield Odd("JPEG, RGB marked by Adobe", odd.adobe(jpeg(image(), keep_rgb=True), 0))
    yield Odd("JPEG, RGB by component names", odd.adobe(jpeg(image(), keep_rgb=True), None))
    yield Odd("JPEG, YCbCr marked by Adobe", odd.adobe(jpeg(image()), 1))
    yield Odd("JPEG, YCbCr without JFIF", odd.adobe(jpeg(image()), None))
    yield Odd("JPEG, YCbCr that says RGB", odd.adobe(jpeg(Image.fromarray(ycc), keep_rgb=True), 1))
    yield Odd("JPEG, progressive", jpeg(image(), progressive=True))
    for name, kind in (("4:2:2", 1), ("4:2:0", 2)):
        yield Odd(f"JPEG, {name}, odd size", jpeg(image(1, 97, 61), subsampling=kind))
    yield Odd("JPEG, restart markers", jpeg(image(), restart_marker_blocks=3))
    yield Odd("JPEG, grey", jpeg(Image.fromarray(grey())))
    yield Odd("JPEG, one pixel wide", jpeg(image(2, 1, 40)))
    parts = odd.segments(jpeg(image()))
    junk = [(0xE1, b"Exif\0\0" + b"MM\0*" + b"\xff" * 40), (0xED, b"Photoshop 3.0\x00" + bytes(50)), (0xFE, b"words")]
    yield Odd("JPEG, broken EXIF and more", odd.from_segments([*junk, *parts]))
    first, second = jpeg(image()), jpeg(image(3))
    yield Odd("JPEG, another behind its end", first + second)


UPRIGHT = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90}


def upright(turn: int) -> Pixels:
    """What is seen of the scene if it is stored as it is, with this orientation."""
    return np.asarray(image().transpose(UPRIGHT[turn]))


def turned() -> Iterator[Odd]:
    for turn in range(2, 9):
        yield Odd(f"JPEG, EXIF {turn}", jpeg(image(), exif=b"Exif\0\0" + odd.exif(turn, "<" if turn % 2 else ">")))
        yield Odd(f"AVIF, boxes {turn}", saved(image(), "AVIF", quality=90, exif=odd.exif(turn)))
    for turn in (3, 6, 8):
        yield Odd(f"PNG, eXIf {turn}", png(scene(), odd.chunk(b"eXIf", odd.exif(turn, ">"))))
        # Chromium leaves a WebP as it lies; the format says that EXIF counts
        yield Odd(f"WebP, EXIF {turn}", saved(image(), "WEBP", lossless=True, exif=odd.exif(turn)), upright(turn))
    yield Odd("PNG, eXIf behind the pixels", png(scene(), after=odd.chunk(b"eXIf", odd.exif(6))))
    yield Odd("JPEG, EXIF 6 as a long number", jpeg(image(), exif=b"Exif\0\0" + odd.exif(6, kind=4)))
    yield Odd("JPEG, EXIF 9", jpeg(image(), exif=b"Exif\0\0" + odd.exif(9)))
    yield Odd("JPEG, EXIF 0", jpeg(image(), exif=b"Exif\0\0" + odd.exif(0)))
    other = odd.xmp(6)
    yield Odd("JPEG, XMP 6", jpeg(image(), xmp=other))
    yield Odd("JPEG, XMP 6 and EXIF 1", jpeg(image(), xmp=other, exif=b"Exif\0\0" + odd.exif(1)))
    yield Odd("JPEG, XMP 6 and EXIF 8", jpeg(image(), xmp=other, exif=b"Exif\0\0" + odd.exif(8)))
    yield Odd("WebP, XMP 6", saved(image(), "WEBP", quality=95, xmp=other))
    yield Odd("AVIF, XMP 6", saved(image(), "AVIF", quality=90, xmp=other))
    hidden = odd.exif(6).replace(b"\x12\x01", b"\x11\x01")  # Pillow would make a box of it
    yield Odd("AVIF, EXIF 6 without boxes", saved(image(), "AVIF", quality=90, exif=hidden).replace(hidden, odd.exif(6)))
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + other
    yield Odd("PNG, XMP 6", png(scene(), odd.chunk(b"iTXt", text)))
    raw = b"\nexif\n%8d\n" % (len(odd.exif(6)) + 6) + (b"Exif\0\0" + odd.exif(6)).hex().encode() + b"\n"
    yield Odd("PNG, raw profile 6", png(scene(), odd.chunk(b"tEXt", b"Raw profile type exif\0" + raw)))
    for turn in (3, 6, 7):
        for packing in ("raw", "tiff_lzw"):
            tiff = saved(image(), "TIFF", tiffinfo={0x0112: turn}, compression=packing)
            yield Odd(f"TIFF, own tag {turn}, {packing}", tiff, upright(turn))
    yield Odd("TIFF, XMP 6", saved(image(), "TIFF", tiffinfo={700: other}), scene())
    yield Odd("TIFF, XMP 6, LZW", saved(image(), "TIFF", tiffinfo={700: other}, compression="tiff_lzw"), scene())
    yield Odd("HEIF, boxes 6", saved(image(), "HEIF", quality=95, exif=b"Exif\0\0" + odd.exif(6)), upright(6))
    yield Odd("HEIF, XMP 6", saved(image(), "HEIF", quality=95, xmp=other).replace(b"irot", b"free"), scene())


def pngs() -> Iterator[Odd]:
    indices, colours = palette()
    clear = bytes(range(0, 256, 4))
    yield Odd("PNG, palette with alpha", png(indices, odd.chunk(b"tRNS", clear), palette=colours))
    yield Odd("PNG, palette of 4 bits", png(indices % 16, palette=colours, depth=4))
    yield Odd("PNG, 2-bit grey", png(grey() >> 6, depth=2))
    yield Odd("PNG, 1-bit grey", png(grey() >> 7, depth=1))
    yield Odd("PNG, interlaced", png(scene(), interlace=True))
    yield Odd("PNG, interlaced, 16 bits, alpha", png(rgba().astype(np.uint16) * 257, depth=16, interlace=True))
    yield Odd("PNG, 16-bit grey", png(grey().astype(np.uint16) * 257, depth=16))
    yield Odd("PNG, 16-bit grey and alpha", png(np.dstack([grey(), veil()]).astype(np.uint16) * 257, depth=16))
    yield Odd("PNG, 16-bit RGB", png(scene().astype(np.uint16) * 257, depth=16))
    yield Odd("PNG, a clear colour", png(scene(), odd.chunk(b"tRNS", struct.pack(">3H", *map(int, scene()[5, 5])))))
    yield Odd("PNG, a clear grey", png(grey(), odd.chunk(b"tRNS", struct.pack(">H", int(grey()[5, 5])))))
    yield Odd(
        "PNG, a clear 16-bit grey",
        png(grey().astype(np.uint16) * 257, odd.chunk(b"tRNS", struct.pack(">H", int(grey()[5, 5]) * 257)), depth=16),
    )
    yield Odd("PNG, background colour", png(rgba(), odd.chunk(b"bKGD", struct.pack(">3H", 255, 0, 0))))
    yield Odd("PNG, alpha", png(rgba()))


BT709 = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
WIDE = (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046)
SWAPPED = (0.3127, 0.329, 0.15, 0.06, 0.64, 0.33, 0.3, 0.6)


def png_chunks() -> Iterator[Odd]:
    srgb = odd.chunk(b"sRGB", b"\0")
    other = odd.iccp(PROFILES["other order"])
    for name, chunks in {
        "gAMA .45455": [odd.gama(0.45455)],
        "gAMA 1": [odd.gama(1.0)],
        "gAMA .55": [odd.gama(0.55)],
        "gAMA 0": [odd.gama(0)],
        "gAMA .45455 with cHRM of sRGB": [odd.gama(0.45455), odd.chrm(*BT709)],
        "gAMA .45455 with wide cHRM": [odd.gama(0.45455), odd.chrm(*WIDE)],
        "gAMA 1 with swapped cHRM": [odd.gama(1.0), odd.chrm(*SWAPPED)],
        "cHRM alone": [odd.chrm(*SWAPPED)],
        "cHRM without sense": [odd.gama(0.6), odd.chrm(0.3, 0.3, 0, 0, 0, 0, 0, 0)],
        "sRGB before gAMA 1": [odd.gama(1.0), odd.chrm(*SWAPPED), srgb],
        "profile before sRGB": [other, srgb],
        "profile before gAMA": [odd.gama(1.0), other],
        "cICP sRGB": [odd.cicp(1, 13)],
        "cICP BT.709": [odd.cicp(1, 1)],
        "cICP Display P3": [odd.cicp(12, 13)],
        "cICP BT.2020": [odd.cicp(9, 14)],
        "cICP linear": [odd.cicp(1, 8)],
        "cICP before profile and sRGB": [odd.cicp(12, 13), other, srgb],
        "cICP unknown before profile": [odd.cicp(99, 99), other],
        "cICP narrow range": [odd.cicp(12, 13, 0, 0)],
        "cICP unspecified": [odd.cicp(2, 2)],
        "cICP gamma 2.8 of BT.470": [odd.cicp(5, 5)],
    }.items():
        yield Odd(f"PNG, {name}", png(scene(), *chunks))
    yield Odd("PNG, grey with gAMA 1", png(grey(), odd.gama(1.0)))
    yield Odd("PNG, grey with cICP linear", png(grey(), odd.cicp(1, 8)))
    yield Odd("PNG, alpha with gAMA 1", png(rgba(), odd.gama(1.0)))
    indices, colours = palette()
    yield Odd("PNG, palette with gAMA 1", png(indices, odd.gama(1.0), palette=colours))


def hdr_light(peak: float = 1000.0) -> NDArray[np.float64]:
    """The scene in BT.2020 primaries in cd/m2 with white at 203, and a sun far brighter."""
    light = np.clip(odd.to_primaries(scene(), odd.REC2020), 0, None) * 203
    light[:26, 84:102] *= np.clip(peak / 203, 1, 20)
    return light


def hdr() -> Iterator[Odd]:
    coded = odd.pq(hdr_light())
    eight, sixteen = np.rint(coded * 255).astype(np.uint8), np.rint(coded * 65535).astype(np.uint16)
    yield Odd("PNG, PQ, 16 bits", png(sixteen, odd.cicp(9, 16), depth=16))
    yield Odd("PNG, PQ, 8 bits", png(eight, odd.cicp(9, 16)))
    yield Odd("PNG, PQ, P3", png(eight, odd.cicp(12, 16)))
    yield Odd("PNG, PQ, sRGB's primaries", png(eight, odd.cicp(1, 16)))
    yield Odd("PNG, PQ, grey", png(eight[..., 1], odd.cicp(9, 16)))
    yield Odd("PNG, PQ, alpha", png(np.dstack([eight, veil()]), odd.cicp(9, 16)))
    mild = np.rint(odd.pq(hdr_light(203)) * 255).astype(np.uint8)
    light_level = lambda nits: odd.chunk(b"cLLI", struct.pack(">II", nits * 10000, 100 * 10000))  # noqa: E731
    yield Odd("PNG, PQ up to 203 nits", png(mild, odd.cicp(9, 16), light_level(203)))
    yield Odd("PNG, PQ up to 500 nits", png(np.rint(odd.pq(hdr_light(500)) * 255).astype(np.uint8), odd.cicp(9, 16), light_level(500)))
    yield Odd("PNG, PQ up to 4000 nits", png(np.rint(odd.pq(hdr_light(4000)) * 255).astype(np.uint8), odd.cicp(9, 16), light_level(4000)))
    mastering = odd.chunk(b"mDCV", struct.pack(">8HII", 35400, 14600, 8500, 39850, 6550, 2300, 15635, 16450, 600 * 10000, 1))
    yield Odd("PNG, PQ mastered at 600 nits", png(eight, odd.cicp(9, 16), mastering))
    waves = np.rint(odd.hlg(hdr_light() / 1000 * 0.9) * 255).astype(np.uint8)
    yield Odd("PNG, HLG", png(waves, odd.cicp(9, 18)))
    yield Odd("PNG, HLG up to 400 nits", png(waves, odd.cicp(9, 18), light_level(400)))
    for name, primaries, transfer, pixels in (("PQ", 9, 16, eight), ("HLG", 9, 18, waves), ("PQ, P3", 12, 16, eight)):
        plain = saved(Image.fromarray(pixels), "AVIF", quality=98, subsampling="4:4:4")
        yield Odd(f"AVIF, {name}", odd.with_nclx(plain, primaries, transfer))
    icc = odd.rgb_profile(odd.REC2020, odd.gamma_curve(2.2), cicp=b"cicp" + bytes(4) + bytes((9, 16, 0, 1)))
    yield Odd("JPEG, PQ told by its profile", jpeg(Image.fromarray(eight), icc_profile=icc))
    yield Odd("PNG, PQ told by its profile", png(eight, odd.iccp(icc)))


DEEP = Path(__file__).parent / "deep"


def deep() -> Iterator[Odd]:
    """More than 8 bits. Pillow writes no such AVIF: the files are `scene()`, written once by libavif 1.3 (quality 85, 4:2:0)."""
    for name in ("pq_10_bits", "hlg_10_bits", "p3_12_bits"):
        yield Odd(f"AVIF, {name.replace('_', ' ')}", (DEEP / f"{name}.avif").read_bytes())
    light = np.clip(odd.to_primaries(scene(), odd.REC2020), 0, None) * 203
    coded = np.rint(odd.pq(light) * 65535).astype(np.uint16)
    numbers = {"color_primaries": 9, "transfer_characteristics": 16, "matrix_coefficients": 9, "full_range_flag": 1}
    out = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (W, H), coded.tobytes()).save(out, quality=90, chroma="444", **numbers)
    half = np.rint(odd.encoded(odd.linear(scene() / 255) / 2) * 255).astype(np.uint8)  # what is below white loses half of its light
    yield Odd("HEIF, PQ 10 bits", out.getvalue(), half)


def numbers() -> Iterator[Odd]:
    """AVIF whose colours are told by four numbers (ITU-T H.273), without a profile."""
    for name, primaries, transfer in (
        ("P3", 12, 13), ("BT.2020", 9, 14), ("BT.709", 1, 1), ("linear", 1, 8), ("unspecified", 2, 2), ("BT.470 gamma 2.8", 5, 5),
        ("reserved", 99, 99), ("P3, unspecified transfer", 12, 2), ("unspecified primaries, linear", 2, 8),
    ):  # fmt: skip
        yield Odd(f"AVIF, nclx {name}", odd.with_nclx(saved(image(), "AVIF", quality=95, subsampling="4:4:4"), primaries, transfer))
    yield Odd("AVIF, grey with nclx linear", odd.with_nclx(saved(Image.fromarray(grey()), "AVIF", quality=95), 1, 8))
    yield Odd("AVIF, alpha", saved(Image.fromarray(rgba()), "AVIF", quality=95))
    yield Odd("AVIF, odd size, 4:2:0", saved(image(1, 97, 61), "AVIF", quality=95))
    yield Odd("AVIF, narrow range", saved(image(), "AVIF", quality=95, range="limited"))


def moving() -> Iterator[Odd]:
    indices, colours = palette()
    part = indices[20:60, 10:70]
    yield Odd("GIF, frame smaller than its canvas", odd.gif((W, H), colours, odd.gif_frame(part, (10, 20)), background=7))
    yield Odd("GIF, small frame with a clear colour", odd.gif((W, H), colours, odd.gif_frame(part, (10, 20), clear=int(part[9, 9]))))
    yield Odd("GIF, small frame, clear background", odd.gif((W, H), colours, odd.gif_frame(part, (10, 20), clear=3), background=3))
    yield Odd("GIF, frame larger than its canvas", odd.gif((60, 40), colours, odd.gif_frame(indices)))
    yield Odd("GIF, frame that leaves its canvas", odd.gif((W, H), colours, odd.gif_frame(indices, (40, 30))))
    yield Odd("GIF, interlaced", odd.gif((W, H), colours, odd.gif_frame(indices, interlace=True)))
    more = odd.gif_frame(part[::-1], (30, 30), disposal=2)
    yield Odd("GIF, two frames", odd.gif((W, H), colours, odd.gif_frame(indices, disposal=2, clear=5), more))
    yield Odd("GIF, canvas of no size", odd.gif((0, 0), colours, odd.gif_frame(indices)))
    frames = [image(seed) for seed in (0, 1)]
    yield Odd("WebP, film", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=60000, quality=95))
    with_alpha = [Image.fromarray(np.dstack([scene(seed), veil()])) for seed in (0, 1)]
    yield Odd(
        "WebP, film with alpha", saved(with_alpha[0], "WEBP", save_all=True, append_images=with_alpha[1:], duration=60000, quality=95)
    )
    yield Odd("WebP, alpha", saved(with_alpha[0], "WEBP", quality=95))
    yield Odd("WebP, lossless, odd size", saved(image(1, 97, 61), "WEBP", lossless=True))
    yield Odd("PNG, film", saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=60000))
    yield Odd(
        "PNG, film, first picture not part of it",
        saved(frames[0], "PNG", save_all=True, append_images=[frames[1], image(4)], duration=60000, default_image=True),
    )
    # Chromium takes the full range of Pillow's films for a narrow one
    yield Odd(
        "AVIF, film",
        saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], duration=60000, quality=100, subsampling="4:4:4"),
        scene(),
    )


RGB_MASKS = (0xFF0000, 0xFF00, 0xFF)
FIVES = (0x7C00, 0x3E0, 0x1F, 0x8000)


def bitmaps() -> Iterator[Odd]:
    opaque, clear = np.dstack([scene(), np.full((H, W), 255, np.uint8)]), np.dstack([scene(), np.zeros((H, W), np.uint8)])
    alpha = (*RGB_MASKS, 0xFF000000)
    for name, pixels in (("alpha", rgba()), ("no alpha", clear), ("full alpha", opaque)):
        yield Odd(f"BMP, 32 bits, {name}", odd.bmp(pixels))
        yield Odd(f"BMP, masks of V3, {name}", odd.bmp(pixels, header=56, masks=alpha))
        yield Odd(f"BMP, masks of V4, {name}", odd.bmp(pixels, header=108, masks=alpha))
        yield Odd(f"BMP, masks of V5, {name}", odd.bmp(pixels, header=124, masks=alpha))
        yield Odd(f"BMP, alpha bitfields, {name}", odd.bmp(pixels, masks=alpha))
        yield Odd(f"BMP, 1-5-5-5 masks, {name}", odd.bmp(pixels, header=108, masks=FIVES, bits=16))
        yield Odd(f"BMP, 1-5-5-5 alpha bitfields, {name}", odd.bmp(pixels, masks=FIVES, bits=16))
    yield Odd("BMP, V4 without masks, alpha", odd.bmp(rgba(), header=108))
    yield Odd("BMP, V5 without alpha mask", odd.bmp(rgba(), header=124, masks=(*RGB_MASKS, 0)))
    yield Odd("BMP, masks, no alpha", odd.bmp(rgba(), masks=RGB_MASKS))
    yield Odd("BMP, masks of RGBA order, alpha", odd.bmp(rgba(), header=124, masks=(0xFF, 0xFF00, 0xFF0000, 0xFF000000)))
    yield Odd("BMP, masks of ARGB order, alpha", odd.bmp(rgba(), header=124, masks=(0xFF00, 0xFF0000, 0xFF000000, 0xFF)))
    yield Odd("BMP, 5-6-5", odd.bmp(opaque, masks=(0xF800, 0x7E0, 0x1F), bits=16))
    yield Odd("BMP, 1-5-5-5 alpha", odd.bmp(rgba(), header=124, masks=(0x7C00, 0x3E0, 0x1F, 0x8000), bits=16))
    yield Odd("BMP, 4-4-4-4 alpha", odd.bmp(rgba(), header=124, masks=(0xF00, 0xF0, 0xF, 0xF000), bits=16))
    yield Odd("BMP, 10-10-10-2", odd.bmp(opaque, header=124, masks=(0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)))
    yield Odd("BMP, profile inside", odd.bmp(opaque, header=124, masks=alpha, icc=PROFILES["other order"], space=b"DEBM"))
    xyz = struct.pack("<9i", *(round(v * (1 << 30)) for c in odd.REC2020 for v in c))
    yield Odd(
        "BMP, calibrated",
        odd.bmp(opaque, header=108, masks=alpha, space=bytes(4), calibrated=xyz + struct.pack("<3I", *[round(1.0 * 65536)] * 3)),
    )


def all_pictures() -> list[Odd]:
    kinds = (profiles, inks, jpegs, turned, pngs, png_chunks, hdr, deep, numbers, moving, bitmaps)
    return [picture for kind in kinds for picture in kind()]
