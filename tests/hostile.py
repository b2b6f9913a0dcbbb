"""Hostile picture files, all made here by code: bombs, truncations, flipped bits, wrong names, special files, links, hostile names.

    expected = make_hostile(folder, count=5000, seed=1)      # relative path -> reasons allowed; None in the set: it may decode

The same count and seed give the same files. Every file is small on disk; what it costs a careless decoder is not.
"""

from __future__ import annotations

import importlib.util
import io
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from rawfiles import bmp_of, fuji_file, lossless_jpeg, psd_of, raw_file, tiff_of

from image_search.errors import SkipReason as R

Allowed = frozenset[R | None]

FINE: Allowed = frozenset({None})
COSTLY: Allowed = frozenset({R.TOO_MANY_PIXELS, R.TOOK_TOO_LONG, R.TOO_MUCH_MEMORY})
BROKEN: Allowed = (
    frozenset({None, R.DAMAGED, R.NOT_AN_IMAGE, R.UNSUPPORTED, R.EMPTY, R.TOO_SMALL}) | COSTLY
)  # a flipped bit can be anything
# A decoder in C may end its process on such bytes; that is what the cage is for, and a reason of the list.
ANYTHING = BROKEN | {R.CRASHED}


def make_hostile(folder: Path, *, count: int, seed: int) -> dict[str, Allowed]:
    """Write at least `count` files under `folder` (which may exist, empty). Paths in the answer are relative, as os.fsdecode gives them."""
    chance = random.Random(seed)
    found: dict[str, Allowed] = {}

    def write(name: str, data: bytes, allowed: Allowed) -> None:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        found[name] = allowed

    seeds = valid_files()
    for name, data in seeds.items():
        write(f"valid/{name}", data, FINE)
    for name, data, allowed in bombs():
        write(f"bombs/{name}", data, allowed)
    for name, data, allowed in impostors(seeds):
        write(f"impostors/{name}", data, allowed)
    found |= special_files(folder)
    found |= hostile_names(folder, seeds["baseline.jpg"])
    rest = max(0, count - len(found))
    cuts = [(name, percent) for name in seeds for percent in range(1, 100)]
    for name, percent in chance.sample(cuts, min(rest // 2, len(cuts))):
        data = seeds[name]
        write(f"truncated/{percent:02}_{name}", data[: len(data) * percent // 100], ANYTHING)
    names = sorted(seeds)
    number = 0
    while len(found) < count:
        name = names[number % len(names)]
        write(f"flipped/{number:05}_{name}", _flipped(seeds[name], chance), ANYTHING)
        number += 1
    return found


def _flipped(data: bytes, chance: random.Random) -> bytes:
    """1 to 20 bytes changed; half of them in the first 200, where headers are."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        where = chance.randrange(min(200, len(out)) if chance.random() < 0.5 else len(out))
        out[where] = chance.choice((0, 255, 127, 128, chance.randrange(256), out[where] ^ (1 << chance.randrange(8))))
    return bytes(out)


# --- good files, one of each kind ----------------------------------------------------------------------------------------------


def scene(width: int = 96, height: int = 64, seed: int = 0) -> Image.Image:
    """A small picture with a sky, a hill and a sun left of the middle: no symmetry, so a wrong turn shows."""
    image = Image.linear_gradient("L").resize((width, height))
    image = Image.merge(
        "RGB", (image.point(lambda v: 90 + v // 3), image.point(lambda v: 140 + v // 4), image.point(lambda v: 230 - v // 3))
    )
    draw = ImageDraw.Draw(image)
    draw.polygon([(0, height), (0, height * 0.7), (width * 0.6, height * 0.45), (width, height * 0.8), (width, height)], fill=(60, 110, 50))
    radius, x = height * 0.15, width * (0.2 + 0.05 * (seed % 5))
    draw.ellipse([x - radius, height * 0.12, x + radius, height * 0.12 + 2 * radius], fill=(250, 210, 60))
    draw.rectangle([width * 0.7, height * 0.5, width * 0.8, height * 0.75], fill=(150, 50, 40))
    return image.filter(ImageFilter.GaussianBlur(0.6))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    if form == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    if form == "JXL":
        import pillow_jxl  # noqa: F401
    out = io.BytesIO()
    others: list[Image.Image] = options.pop("append_images", [])  # type: ignore[assignment]
    image.copy().save(out, form, append_images=[other.copy() for other in others], **options)  # a save leaves settings on its image
    return out.getvalue()


def valid_files() -> dict[str, bytes]:
    image = scene()
    alpha = image.copy()
    alpha.putalpha(Image.radial_gradient("L").resize(image.size))
    more = [scene(seed=n) for n in (1, 2)]
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.frombytes("I;16", (64, 64), struct.pack("<4096H", *(n * 16 for n in range(4096))))
    files: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "baseline.jpg": (image, "JPEG", {"quality": 85}),
        "progressive.jpg": (image, "JPEG", {"progressive": True}),
        "turned.jpg": (image, "JPEG", {"exif": exif}),
        "grey.jpg": (image.convert("L"), "JPEG", {}),
        "cmyk.jpg": (image.convert("CMYK"), "JPEG", {}),
        "two.mpo": (image, "MPO", {"save_all": True, "append_images": more}),
        "rgb.png": (image, "PNG", {}),
        "rgba.png": (alpha, "PNG", {}),
        "palette.png": (image.quantize(64), "PNG", {"transparency": 3}),
        "bilevel.png": (image.convert("1"), "PNG", {}),
        "grey16.png": (grey16, "PNG", {}),
        "film.apng": (image, "PNG", {"save_all": True, "append_images": more}),
        "still.gif": (image, "GIF", {}),
        "film.gif": (image, "GIF", {"save_all": True, "append_images": more}),
        "lossy.webp": (alpha, "WEBP", {"quality": 80}),
        "lossless.webp": (image, "WEBP", {"lossless": True}),
        "film.webp": (image, "WEBP", {"save_all": True, "append_images": more}),
        "plain.bmp": (image, "BMP", {}),
        "palette.bmp": (image.quantize(16), "BMP", {}),
        "plain.tif": (image, "TIFF", {}),
        "lzw.tif": (image, "TIFF", {"compression": "tiff_lzw"}),
        "deflate.tif": (alpha, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "jpeg.tif": (image, "TIFF", {"compression": "jpeg"}),
        "pages.tif": (image, "TIFF", {"save_all": True, "append_images": more}),
        "grey16.tif": (grey16, "TIFF", {}),
        "still.avif": (image, "AVIF", {"speed": 10}),
        "film.avif": (image, "AVIF", {"save_all": True, "append_images": more, "speed": 10}),
        "still.heic": (image, "HEIF", {}),
    }
    found = {name: encoded(picture, form, **options) for name, (picture, form, options) in files.items()}
    numbers, photo = np.asarray(image), scene(640, 480)
    found |= {
        "wavelet.jp2": encoded(image, "JPEG2000"),
        "lossless.jpg": lossless_jpeg(numbers),
        "floats.tif": tiff_of(numbers / np.float32(255), 2),
        "planes16.tif": tiff_of(numbers.astype(">u2") * 257, 2, separate=True),
        "masks.bmp": bmp_of(image, (0xF00, 0xF0, 0xF)),
        "flat.psd": psd_of(numbers),
        "deep.psd": psd_of(numbers.astype("u2") * 257, packed=True),
        "preview.dng": raw_file(photo, photo),
        "developed.dng": raw_file(image, None),
        "preview.nef": raw_file(photo, photo, dng=False, make=b"NIKON\0"),
        "preview.raf": fuji_file(image),
    }
    if importlib.util.find_spec("pillow_jxl") is not None:
        found["plain.jxl"] = encoded(image, "JXL")
    return found


# --- bombs -----------------------------------------------------------------------------------------------------------------------


def bombs() -> Iterator[tuple[str, bytes, Allowed]]:
    """Tiny files that want gigabytes or minutes."""
    over = frozenset({R.TOO_MANY_PIXELS})
    yield "lossless_178MP.webp", webp_of_one_colour(16383, 10900), COSTLY | {None}  # where the machine has the memory
    yield "lossless_268MP.webp", webp_of_one_colour(16384, 16384), over
    yield "rgba16_176MP.png", png_of_zeros(13300, 13300, depth=16, colour=6), COSTLY | {None}
    yield "bilevel_3600MP.png", png_of_zeros(60000, 60000, depth=1, colour=0, whole=False), over
    yield "text.png", png_with_text(64 << 20), frozenset({None, R.DAMAGED, R.TOO_MUCH_MEMORY})
    yield "scans_20000.jpg", jpeg_of_many_scans(4000, 4000, 20000), frozenset({R.TOOK_TOO_LONG})
    yield "huge_3scans.jpg", jpeg_of_many_scans(13300, 13300, 3), COSTLY | {None, R.DAMAGED}
    yield "dimensions.jpg", jpeg_with_size(scene(), 65500, 65500), over
    yield "hollow.jpg", jpeg_with_size(scene(), 14000, 14000), COSTLY | {None, R.DAMAGED}  # libjpeg fills it with grey
    yield "deflate_177MP.tif", tiff_of_zeros(13300, 13300), COSTLY | {None, R.DAMAGED}
    yield "endless.tif", tiff_with_endless_pages(), FINE
    yield "pages_100000.tif", tiff_with_pages(100_000), FINE
    yield "film_2000x81MP.gif", gif_giant(9000, 9000, 2000), COSTLY | {None}
    yield "dimensions.gif", gif_giant(65535, 65535, 1), over
    yield "hollow.bmp", bmp_hollow(14000, 14000), frozenset({R.DAMAGED, R.TOO_MUCH_MEMORY})
    yield "dimensions.bmp", bmp_hollow(2_000_000, 2_000_000), over
    for form, ending in (("AVIF", "avif"), ("HEIF", "heic")):
        yield f"dimensions.{ending}", boxes_with_size(encoded(scene(), form), 60000, 60000), over | BROKEN


def _bits(*fields: tuple[int, int]) -> bytes:
    """(value, width) pairs, lowest bit first."""
    total = shift = 0
    for value, width in fields:
        total |= value << shift
        shift += width
    return total.to_bytes((shift + 7) // 8, "little")


def webp_of_one_colour(width: int, height: int) -> bytes:
    """34 bytes: every one of the five prefix codes has one symbol, so no pixel costs a bit."""
    one_symbol = ((1, 1), (0, 1), (0, 1), (0, 1))
    body = b"\x2f" + _bits((width - 1, 14), (height - 1, 14), (0, 1), (0, 3), (0, 1), (0, 1), (0, 1), *(one_symbol * 5))
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def deflated_zeros(length: int) -> bytes:
    """A zlib stream of so many zero bytes, without ever holding or compressing them: one block, repeated."""
    step = 1 << 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(step)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    tail = last.compress(bytes(length % step)) + last.flush()
    return b"\x78\x9c" + block * (length // step) + tail + struct.pack(">HH", length % 65521, 1)


def _png(width: int, height: int, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    out = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), *chunks, (b"IEND", b"")):
        out.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(out)


def png_of_zeros(width: int, height: int, *, depth: int, colour: int, whole: bool = True) -> bytes:
    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = 1 + (width * channels * depth + 7) // 8
    return _png(width, height, depth, colour, (b"IDAT", deflated_zeros(row * height if whole else row)))


def png_with_text(length: int) -> bytes:
    text = (b"zTXt", b"Comment\0\0" + deflated_zeros(length))
    return _png(8, 8, 8, 2, text, text, text, (b"IDAT", zlib.compress(bytes(25 * 8))))


def jpeg_with_size(image: Image.Image, width: int, height: int, **options: object) -> bytes:
    data = bytearray(encoded(image, "JPEG", **options))
    for start, marker, _ in _segments(bytes(data)):
        if marker in (0xC0, 0xC2):
            data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_of_many_scans(width: int, height: int, scans: int) -> bytes:
    """A small progressive JPEG with other dimensions and its last scan repeated: each costs a walk over all blocks."""
    data = jpeg_with_size(scene(64, 64).convert("L"), width, height, progressive=True)
    last = [start for start, marker, _ in _segments(data) if marker == 0xDA][-1]
    return data[:last] + data[last:-2] * scans + data[-2:]


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(start, marker, end) of each marker segment; a scan's end is the next marker."""
    at = 2
    while at < len(data) - 1:
        marker = data[at + 1]
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") if marker != 0xD9 else at + 2
        if marker == 0xDA:
            while not (data[end] == 0xFF and data[end + 1] not in (0, *range(0xD0, 0xD8))):
                end += 1
        yield at, marker, end
        at = end


def _ifd(entries: list[tuple[int, int, int, int]], following: int) -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def _page(width: int, height: int, offset: int, length: int, compression: int = 1) -> list[tuple[int, int, int, int]]:
    return [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (273, 4, 1, offset),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, length),
    ]


def tiff_of_zeros(width: int, height: int) -> bytes:
    data = deflated_zeros(width * height)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + _ifd(_page(width, height, 8, len(data), 8), 0)


def tiff_with_endless_pages() -> bytes:
    """Blank pages that point at each other for ever."""
    size = len(_ifd(_page(8, 8, 8, 64), 0))
    first, second = 72, 72 + size
    pages = _ifd(_page(8, 8, 8, 64), second) + _ifd(_page(8, 8, 8, 64), first)
    return struct.pack("<2sHI", b"II", 42, first) + bytes(64) + pages


def tiff_with_pages(count: int) -> bytes:
    page = _page(8, 8, 8, 64)
    size = len(_ifd(page, 0))
    entries = _ifd(page, 0)[:-4]
    links = (72 + size * (n + 1) if n + 1 < count else 0 for n in range(count))
    return struct.pack("<2sHI", b"II", 42, 72) + bytes(64) + b"".join(entries + struct.pack("<I", link) for link in links)


def gif_giant(width: int, height: int, frames: int) -> bytes:
    """Blank frames of one pixel each on a giant canvas."""
    frame = b"\x21\xf9\x04\x08\x01\x00\x00\x00\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\xff\xff\xff\xff\xff\xff"
    return head + frame * frames + b";"


def bmp_hollow(width: int, height: int) -> bytes:
    return (
        b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100)
    )


def boxes_with_size(data: bytes, width: int, height: int) -> bytes:
    """AVIF or HEIF that says another size (box `ispe`)."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


# --- files that are something else -----------------------------------------------------------------------------------------------


def impostors(seeds: dict[str, bytes]) -> Iterator[tuple[str, bytes, Allowed]]:
    nothing, other = frozenset({R.NOT_AN_IMAGE}), frozenset({R.UNSUPPORTED})
    yield "empty.jpg", b"", frozenset({R.EMPTY})
    yield "page.jpg", b"<!DOCTYPE html><html><body>404 not found</body></html>", nothing
    yield "notes.png", "메모: 사진이 아님\n".encode() * 20, nothing
    yield "zeros.webp", bytes(5000), nothing
    yield "noise.gif", random.Random(0).randbytes(5000), nothing
    yield "archive.jpg", b"PK\x03\x04" + bytes(200), nothing
    yield "program.jpg", b"\x7fELF" + bytes(200), nothing
    yield "film.heic", b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + bytes(200), nothing
    yield "drawing.png", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', other
    yield "layers.jpg", b"8BPS\0\x01" + bytes(200), frozenset({R.UNSUPPORTED, R.DAMAGED, R.TOO_SMALL})
    yield "vector.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run\n", other
    yield "document.png", b"%PDF-1.7\n" + bytes(200), other
    yield "one_byte.jpg", b"\xff", nothing
    yield "magic_only.jpg", b"\xff\xd8\xff", frozenset({R.DAMAGED})
    yield "no_size.png", _png(0, 0, 8, 2, (b"IDAT", zlib.compress(b""))), frozenset({R.DAMAGED, R.TOO_SMALL})
    endings = ["jpg", "png", "gif", "webp", "bmp", "tif", "avif", "heic", "dng", "jp2", "psd"]
    for number, (name, data) in enumerate(sorted(seeds.items())):  # the right picture under a wrong name
        yield f"{name.replace('.', '_')}.{endings[number % len(endings)]}", data, FINE


def special_files(folder: Path) -> dict[str, Allowed]:
    """What is no regular file. What the system cannot make is left out."""
    base = folder / "special"
    (base / "deep").mkdir(parents=True, exist_ok=True)
    (folder.parent / f"{folder.name}-outside.jpg").write_bytes(encoded(scene(), "JPEG"))
    found: dict[str, Allowed] = {}

    def attempt(name: str, make: Callable[[str], object], reason: R) -> None:
        try:
            make(os.path.join(base, name))
        except (OSError, AttributeError, NotImplementedError):
            return
        found[f"special/{name}"] = frozenset({reason})

    def listen(path: str) -> None:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(os.path.relpath(path))  # a socket's name has at most 107 bytes

    def sparse(path: str) -> None:
        with open(path, "wb") as file:
            file.truncate(5 << 30)

    attempt("fifo.jpg", lambda path: os.mkfifo(path), R.SPECIAL)
    attempt("socket.jpg", listen, R.SPECIAL)
    attempt("sparse_5GB.jpg", sparse, R.FILE_TOO_LARGE)
    attempt("loop_a.jpg", lambda path: os.symlink("loop_b.jpg", path), R.LINK)
    attempt("loop_b.jpg", lambda path: os.symlink("loop_a.jpg", path), R.LINK)
    attempt("self.jpg", lambda path: os.symlink("self.jpg", path), R.LINK)
    attempt("dangling.jpg", lambda path: os.symlink("nowhere.jpg", path), R.LINK)
    attempt("outside.jpg", lambda path: os.symlink(f"../../{folder.name}-outside.jpg", path), R.LINK)
    attempt("passwd.jpg", lambda path: os.symlink("/etc/passwd", path), R.LINK)
    attempt("deep/up", lambda path: os.symlink("..", path), R.LINK)  # a folder that holds itself
    return found


def hostile_names(folder: Path, picture: bytes) -> dict[str, Allowed]:
    """Good pictures under names that break programs."""
    base = os.fsencode(folder / "names")
    os.makedirs(base, exist_ok=True)
    names: list[bytes] = [
        b"caf\xe9.jpg",
        b"\xff\xfe\x80.jpg",
        b"line\nbreak.jpg",
        b"return\rback.jpg",
        b"tab\there.jpg",
        b"\x1b[31mred\x1b[0m.jpg",
        b"bell\x07.jpg",
        "right\u202egpj.exe.jpg".encode(),
        "zero\u200bwidth.jpg".encode(),
        "한국어.jpg".encode(),  # composed
        "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165.jpg".encode(),  # the same, decomposed, as macOS writes it
        b" leading and trailing .jpg ",
        b"-rf.jpg",
        b"--help.jpg",
        b"$(touch pwned).jpg",
        b"'; DROP TABLE files; --.jpg",
        b"<script>alert(1)</script>.jpg".replace(b"/", b"_"),
        b"%2e%2e%2fetc%2fpasswd.jpg",
        b"{0.__class__}.jpg",
        b"100%.jpg",
        b"*?[a].jpg",
        b"UPPER.JPG",
        b"upper.jpg",
        b"con.jpg",
        b"x" * 251 + b".jpg",
        b".hidden.jpg",
    ]
    found: dict[str, Allowed] = {}
    for name in names:
        try:
            with open(os.path.join(base, name), "wb") as file:
                file.write(picture)
        except (OSError, ValueError):  # file systems that want UTF-8, Windows
            continue
        found["names/" + os.fsdecode(name)] = FINE
    return found
