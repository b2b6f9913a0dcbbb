"""Encoders of our own for the pictures of tests/odd_pictures.py: what Pillow does not write, byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

if "HEIF" not in Image.SAVE:
    pillow_heif.register_heif_opener()

Pixels = NDArray[np.uint8]
XYZ = tuple[float, float, float]

# Colourants of the primaries, adapted to D50 (columns red, green, blue), as profiles hold them.
SRGB: tuple[XYZ, XYZ, XYZ] = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
DISPLAY_P3: tuple[XYZ, XYZ, XYZ] = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB: tuple[XYZ, XYZ, XYZ] = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PROPHOTO: tuple[XYZ, XYZ, XYZ] = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
REC2020: tuple[XYZ, XYZ, XYZ] = ((0.67349, 0.27904, -0.00193), (0.16566, 0.67535, 0.02998), (0.12505, 0.04561, 0.79686))
D50: XYZ = (0.9642, 1.0, 0.8249)


# --- colour profiles (ICC.1:2010) --------------------------------------------------------------------------------------------


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(value: XYZ) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*value)


def gamma_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def table_curve(values: Sequence[float]) -> bytes:
    return b"curv" + bytes(4) + struct.pack(f">I{len(values)}H", len(values), *(round(value * 65535) for value in values))


def srgb_curve() -> bytes:
    """Parametric, as profiles of version 4 have it."""
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(space: bytes, tags: dict[bytes, bytes], *, pcs: bytes = b"XYZ ", kind: bytes = b"mntr", version: int = 0x02400000) -> bytes:
    """An ICC profile of these tags."""
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78), b"cprt": b"text" + bytes(4) + b"none\0"} | tags
    tags.setdefault(b"wtpt", _xyz(D50))
    at, table, data = 132 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4sI", 128 + len(body), bytes(4), version) + kind + space + pcs + struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp"
    return (head + bytes(28) + _fixed(*D50)).ljust(128, b"\0") + body


def rgb_profile(colourants: tuple[XYZ, XYZ, XYZ], curve: bytes, **more: bytes) -> bytes:
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, colourants), strict=True))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return profile(b"RGB ", tags | {name.encode(): value for name, value in more.items()})


def grey_profile(curve: bytes) -> bytes:
    return profile(b"GRAY", {b"kTRC": curve})


def lut_profile(space: bytes, to_lab: Callable[[NDArray[np.float64]], NDArray[np.float64]], grid: int) -> bytes:
    """A profile with one table from the device's values to Lab, 16 bits (lut16Type); `to_lab`: (N, channels) in 0..1 -> (N, 3)."""
    channels = len(space.strip())
    axes = np.meshgrid(*[np.linspace(0, 1, grid)] * channels, indexing="ij")
    lab = to_lab(np.stack([axis.ravel() for axis in axes], axis=1))
    coded = np.stack([lab[:, 0] * 652.8, (lab[:, 1] + 128) * 256, (lab[:, 2] + 128) * 256], axis=1)
    table = np.clip(np.rint(coded), 0, 65535).astype(">u2").tobytes()
    line = struct.pack(">2H", 0, 65535)
    lut = b"mft2" + bytes(4) + bytes((channels, 3, grid, 0)) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    return profile(space, {b"A2B0": lut + line * channels + table + line * 3}, pcs=b"Lab ", kind=b"prtr" if channels == 4 else b"mntr")


def lab_of_xyz(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE Lab of XYZ with the white D50."""
    ratio = xyz / np.array(D50)
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


# --- numbers of the transfer functions ---------------------------------------------------------------------------------------


def linear(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB 0..1 -> light 0..1 (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def encoded(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Its inverse."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_primaries(picture: Pixels, colourants: tuple[XYZ, XYZ, XYZ]) -> NDArray[np.float64]:
    """sRGB (H, W, 3) uint8 -> light in other primaries (H, W, 3), may lie outside 0..1."""
    matrix = np.linalg.inv(np.array(colourants).T) @ np.array(SRGB).T
    light: NDArray[np.float64] = linear(picture / 255.0) @ matrix.T
    return light


def pq(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084: light in cd/m2 -> 0..1."""
    y = np.clip(nits / 10000, 0, 1) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(scene: NDArray[np.float64]) -> NDArray[np.float64]:
    """ARIB STD-B67: light of the scene 0..1 -> 0..1."""
    scene = np.clip(scene, 0, 1)
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073)


# --- PNG ---------------------------------------------------------------------------------------------------------------------

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # x, y, dx, dy


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    pixels: NDArray[np.integer], *chunks: bytes, depth: int = 8, palette: bytes | None = None, interlace: bool = False, after: bytes = b""
) -> bytes:
    """(H, W) or (H, W, channels), values below 2**depth -> PNG with these chunks before its data, and `after` behind them."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    height, width, channels = pixels.shape
    kind = 3 if palette is not None else _COLOUR_TYPES[channels]
    passes = [pixels[y::dy, x::dx] for x, y, dx, dy in _ADAM7] if interlace else [pixels]
    raw = b"".join(_rows(part, depth) for part in passes if part.size)
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlace))
    middle = b"".join(chunks) if palette is None else b"".join((chunk(b"PLTE", palette), *chunks))
    return b"".join((b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), middle, chunk(b"IDAT", zlib.compress(raw, 6)), after, chunk(b"IEND", b"")))


def _rows(pixels: NDArray[np.integer], depth: int) -> bytes:
    flat = pixels.reshape(len(pixels), -1)
    if depth == 16:
        packed = flat.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = flat.astype(np.uint8)
    else:
        bits = (flat[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(len(flat), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in packed)


def iccp(icc: bytes) -> bytes:
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(icc))


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100000)))


def chrm(*xy: float) -> bytes:
    """White, red, green, blue, x and y of each."""
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100000) for value in xy)))


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes((primaries, transfer, matrix, full)))


# --- GIF ---------------------------------------------------------------------------------------------------------------------


def gif(size: tuple[int, int], palette: bytes, *frames: bytes, background: int = 0) -> bytes:
    """A GIF of this canvas with 256 colours (RGB bytes) and these frames."""
    return b"GIF89a" + struct.pack("<HHBBB", *size, 0xF7, background, 0) + palette.ljust(768, b"\0") + b"".join(frames) + b";"


def gif_frame(
    pixels: Pixels, at: tuple[int, int] = (0, 0), *, clear: int | None = None, disposal: int = 0, delay: int = 6000, interlace: bool = False
) -> bytes:
    """(H, W) palette indices -> a frame; LZW that never grows its codes: a clear code every 254 pixels."""
    height, width = pixels.shape
    control = b"!\xf9\x04" + struct.pack("<BHB", disposal << 2 | (clear is not None), delay, clear or 0) + b"\0"
    head = b"," + struct.pack("<4HB", *at, width, height, 0x40 if interlace else 0) + b"\x08"
    if interlace:
        pixels = np.concatenate([pixels[0::8], pixels[4::8], pixels[2::4], pixels[1::2]])
    codes: list[int] = []
    flat = pixels.ravel().tolist()
    for start in range(0, len(flat), 254):
        codes += [256, *flat[start : start + 254]]
    codes.append(257)
    bits = (np.array(codes)[:, None] >> np.arange(9)) & 1
    data = np.packbits(bits.ravel().astype(np.uint8), bitorder="little").tobytes()
    blocks = b"".join(bytes((len(part),)) + part for part in (data[i : i + 255] for i in range(0, len(data), 255)))
    return control + head + blocks + b"\0"


# --- BMP ---------------------------------------------------------------------------------------------------------------------


def bmp(
    pixels: Pixels,
    *,
    header: int = 40,
    masks: tuple[int, ...] = (),
    bits: int = 32,
    icc: bytes = b"",
    space: bytes = b"BGRs",
    calibrated: bytes = b"",
) -> bytes:
    """(H, W, 4) RGBA -> BMP of 32 or 16 bits; with masks (3 or 4), each pixel is put together by them, else it is B, G, R, A."""
    height, width, _ = pixels.shape
    if masks:
        value = np.zeros((height, width), np.uint32)
        for channel, mask in enumerate(masks):
            if mask:
                shift = (mask & -mask).bit_length() - 1
                top = mask >> shift
                value |= (np.rint(pixels[..., channel].astype(float) * top / 255).astype(np.uint32)) << shift
        rows = value.astype("<u4" if bits == 32 else "<u2").view(np.uint8).reshape(height, -1)
    else:
        rows = pixels[..., [2, 1, 0, 3]].reshape(height, -1)
    data = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))[::-1].tobytes()
    compression = 0 if not masks else 3 if header >= 52 or len(masks) == 3 else 6
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(data), 2835, 2835, 0, 0)
    mask_bytes = struct.pack(f"<{len(masks)}I", *masks)
    if header == 40:
        info += mask_bytes
    elif header in (52, 56):
        info += mask_bytes.ljust(header - 40, b"\0")
    else:
        info += mask_bytes.ljust(16, b"\0") + space + calibrated.ljust(48, b"\0")
        if header == 124:
            info += struct.pack("<IIII", 4, header + len(data) if icc else 0, len(icc), 0)
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(data) + len(icc), 0, 0, start) + info + data + icc


# --- JPEG --------------------------------------------------------------------------------------------------------------------


def jpeg(image: Image.Image, **options: object) -> bytes:
    return saved(image, "JPEG", **({"quality": 95, "subsampling": 0} | options))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """(marker, body) up to the scan; what follows comes last with marker 0."""
    found, at = [], 2
    while True:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            return [*found, (0, data[at:])]
        found.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length


def from_segments(parts: Sequence[tuple[int, bytes]]) -> bytes:
    return b"\xff\xd8" + b"".join(body if not marker else struct.pack(">BBH", 255, marker, len(body) + 2) + body for marker, body in parts)


def adobe(data: bytes, transform: int | None) -> bytes:
    """The JPEG with an Adobe marker that says so, or without one, and without JFIF."""
    parts = [part for part in segments(data) if part[0] not in (0xEE, 0xE0)]
    marker = [] if transform is None else [(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))]
    return from_segments(marker + parts)


# --- EXIF and XMP ------------------------------------------------------------------------------------------------------------


def exif(turn: int, order: str = "<", *, kind: int = 3) -> bytes:
    """A TIFF block that holds the orientation alone."""
    value = struct.pack(order + "HH", turn, 0) if kind == 3 else struct.pack(order + "I", turn)
    return (b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08") + struct.pack(order + "HHHI", 1, 0x0112, kind, 1) + value + bytes(4)


def xmp(turn: int) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{turn}"/></rdf:RDF></x:xmpmeta>'
    ).encode()


# --- boxes (AVIF, HEIF) ------------------------------------------------------------------------------------------------------


def with_nclx(data: bytes, primaries: int, transfer: int, matrix: int | None = None) -> bytes:
    """The AVIF or HEIF with other numbers in its colr box."""
    at = data.index(b"colrnclx") + 8
    old = struct.unpack(">HHH", data[at : at + 6])
    return data[:at] + struct.pack(">HHH", primaries, transfer, old[2] if matrix is None else matrix) + data[at + 6 :]
