"""Files of cameras and instruments, made here by code: raw files with a preview, lossless JPEG, TIFF and PSD of any numbers."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

Entries = dict[int, tuple[int, Any]]  # tag -> (field type, numbers or bytes)

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 5: "I", 10: "i"}


def directory(entries: Entries, at: int, order: str = "<") -> bytes:
    """A TIFF's directory as it stands at this offset, its longer values behind it."""
    more_at, more = at + 2 + 12 * len(entries) + 4, b""
    out = struct.pack(order + "H", len(entries))
    for tag, (kind, values) in sorted(entries.items()):
        raw = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
        count = len(raw) // _SIZES[kind]
        if len(raw) > 4:
            raw, more = struct.pack(order + "I", more_at + len(more)), more + raw + bytes(len(raw) % 2)
        out += struct.pack(order + "HHI", tag, kind, count) + raw.ljust(4, b"\0")
    return out + bytes(4) + more


def raw_file(
    picture: Image.Image,
    preview: Image.Image | None,
    *,
    dng: bool = True,
    make: bytes = b"Toy\0",
    turn: int = 1,
    order: str = "<",
    exif: Image.Exif | None = None,
) -> bytes:
    """A camera's file as TIFF/EP and DNG have it: a 64-pixel thumbnail first, and below it (SubIFDs) the sensor's numbers (RGGB, 12
    bits) and a JPEG of the preview."""
    light = (np.asarray(picture).astype(float) / 255) ** 2.2 * 4000 + 50  # (h, w, 3); sides even
    high, wide = light.shape[:2]
    sensor = light[:, :, 1].astype(order + "u2")
    sensor[::2, ::2], sensor[1::2, 1::2] = light[::2, ::2, 0], light[1::2, 1::2, 2]
    jpeg = io.BytesIO()
    if preview is not None:
        preview.save(jpeg, "JPEG", quality=90, **({"exif": exif} if exif else {}))
    if exif:  # as cameras do: no JFIF segment before the EXIF
        jpeg = io.BytesIO(b"\xff\xd8" + jpeg.getvalue()[20:])
    thumbnail = picture.resize((64, 48)).tobytes()
    thumbnail_at = 8
    jpeg_at = thumbnail_at + len(thumbnail)
    sensor_at = jpeg_at + len(jpeg.getvalue()) + len(jpeg.getvalue()) % 2
    raw_at = sensor_at + sensor.nbytes

    def page(size: tuple[int, int], photometric: int, compression: int, at: int, length: int, bits: list[int]) -> Entries:
        return {254: (4, [1]), 256: (4, [size[0]]), 257: (4, [size[1]]), 258: (3, bits), 259: (3, [compression]), 262: (3, [photometric]),
                273: (4, [at]), 277: (3, [len(bits)]), 278: (4, [size[1]]), 279: (4, [length]), 284: (3, [1])}  # fmt: skip

    raw = page((wide, high), 32803, 1, sensor_at, sensor.nbytes, [16])
    raw |= {254: (4, [0]), 33421: (3, [2, 2]), 33422: (1, [0, 1, 1, 2]), 50713: (3, [1, 1]), 50714: (3, [50]), 50717: (4, [4050])}
    below = [raw_at]
    parts = [directory(raw, raw_at, order)]
    if preview is not None:
        below.append(raw_at + len(parts[0]))
        shown = page(preview.size, 6, 7, jpeg_at, len(jpeg.getvalue()), [8, 8, 8])
        parts.append(directory(shown, below[1], order))
    first_at = raw_at + sum(map(len, parts))
    to_srgb = (32406, -15372, -4986, -9689, 18758, 415, 557, -2040, 10570)  # XYZ to linear sRGB, in 10,000ths
    first = page((64, 48), 2, 1, thumbnail_at, len(thumbnail), [8, 8, 8])
    first |= {271: (2, make), 272: (2, b"One\0"), 274: (3, [turn]), 330: (4, below), 50708: (2, b"Toy One\0"), 50778: (3, [21]),
              50721: (10, [part for value in to_srgb for part in (value, 10000)]), 50728: (5, [1] * 6)}  # fmt: skip
    if dng:
        first[50706] = (1, [1, 4, 0, 0])
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first_at)
    body = thumbnail + jpeg.getvalue().ljust(sensor_at - jpeg_at, b"\0") + sensor.tobytes()
    return head + body + b"".join(parts) + directory(first, first_at, order)


def fuji_file(preview: Image.Image) -> bytes:
    """The header of a RAF, which says where its JPEG is; no sensor's numbers."""
    jpeg = io.BytesIO()
    preview.save(jpeg, "JPEG", quality=90)
    head = b"FUJIFILMCCD-RAW 0201FF389501X-Toy".ljust(84, b"\0") + struct.pack(">II", 148, len(jpeg.getvalue()))
    return head.ljust(148, b"\0") + jpeg.getvalue()


def lossless_jpeg(values: np.ndarray, bits: int = 8) -> bytes:
    """(H, W) or (H, W, 3) -> JPEG of the kind SOF3: differences from the left neighbour, categories of 5 bits each."""
    values = values.reshape(*values.shape[:2], -1).astype(int)
    high, wide, bands = values.shape
    before = np.empty_like(values)
    before[:, 1:], before[1:, 0], before[0, 0] = values[:, :-1], values[:-1, 0], 1 << bits - 1
    coded = []
    for difference in (values - before).reshape(-1).tolist():
        category = abs(difference).bit_length()
        coded.append(f"{category:05b}")
        if category:
            coded.append(f"{difference if difference > 0 else difference + (1 << category) - 1:0{category}b}")
    stream = "".join(coded)
    stream += "1" * (-len(stream) % 8)
    body = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content

    adobe = segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0)) if bands == 3 else b""  # RGB, not YCbCr
    frame = struct.pack(">BHHB", bits, high, wide, bands) + b"".join(bytes([band + 1, 0x11, 0]) for band in range(bands))
    table = b"\0" + bytes([0, 0, 0, 0, 17, *[0] * 11]) + bytes(range(17))
    scan = bytes([bands]) + b"".join(bytes([band + 1, 0]) for band in range(bands)) + b"\1\0\0"
    return b"\xff\xd8" + adobe + segment(0xC3, frame) + segment(0xC4, table) + segment(0xDA, scan) + body + b"\xff\xd9"


def tiff_of(values: np.ndarray, photometric: int, *, separate: bool = False, extra: tuple[int, ...] = (), rows: int = 7) -> bytes:
    """(H, W) or (H, W, bands) of any numbers and byte order -> TIFF in strips of so many rows."""
    values = values.reshape(*values.shape[:2], -1)
    high, wide, bands = values.shape
    order = ">" if values.dtype.byteorder == ">" else "<"
    planes = [values[:, :, band] for band in range(bands)] if separate else [values]
    strips = [plane[top : top + rows].tobytes() for plane in planes for top in range(0, high, rows)]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    ends = np.cumsum([8, *map(len, strips)]).tolist()
    entries: Entries = {
        256: (4, [wide]), 257: (4, [high]), 258: (3, [values.dtype.itemsize * 8] * bands), 259: (3, [1]), 262: (3, [photometric]),
        273: (4, ends[:-1]), 277: (3, [bands]), 278: (4, [rows]), 279: (4, [len(strip) for strip in strips]),
        284: (3, [2 if separate else 1]), 339: (3, [kind] * bands),
    }  # fmt: skip
    if extra:
        entries[338] = (3, list(extra))
    start = ends[-1] + ends[-1] % 2
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + b"".join(strips).ljust(start - 8, b"\0") + directory(entries, start, order)


def psd_of(values: np.ndarray, *, packed: bool = False, large: bool = False) -> bytes:
    """(H, W) or (H, W, 3) of uint8, uint16 or float32 -> PSD (`large`: PSB) without layers."""
    values = values.reshape(*values.shape[:2], -1)
    high, wide, bands = values.shape
    planes = values.astype(values.dtype.newbyteorder(">")).transpose(2, 0, 1)
    mode = 3 if bands == 3 else 1
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 2 if large else 1, bands, high, wide, values.dtype.itemsize * 8, mode)
    head += bytes(8) + bytes(8 if large else 4)  # no colours, no resources, no layers
    rows = [_packbits(row.tobytes()) if packed else row.tobytes() for plane in planes for row in plane]
    counts = struct.pack(f">{len(rows)}{'I' if large else 'H'}", *map(len, rows)) if packed else b""
    return head + struct.pack(">H", packed) + counts + b"".join(rows)


def _packbits(row: bytes) -> bytes:
    """In literal runs, which every reader has to know."""
    return b"".join(bytes([len(row[at : at + 128]) - 1]) + row[at : at + 128] for at in range(0, len(row), 128))


def bmp_of(picture: Image.Image, masks: tuple[int, ...], bits: int = 16) -> bytes:
    """With masks of its own for red, green, blue and perhaps alpha."""
    pixels = np.asarray(picture).astype(int)
    number = np.zeros(pixels.shape[:2], int)
    for channel, mask in enumerate(masks):
        low = (mask & -mask).bit_length() - 1
        number |= np.rint(pixels[:, :, channel] * ((mask >> low) / 255)).astype(int) << low
    rows = number[::-1].astype(f"<u{bits // 8}")
    stride = -(-picture.size[0] * bits // 32) * 4
    body = b"".join(row.tobytes().ljust(stride, b"\0") for row in rows)
    head = struct.pack("<IiiHHIIiiII", 56, *picture.size, 1, bits, 3, len(body), 2835, 2835, 0, 0)
    head += struct.pack("<4I", *(*masks, 0)[:4])
    return b"BM" + struct.pack("<IHHI", 14 + 56 + len(body), 0, 0, 70) + head + body
