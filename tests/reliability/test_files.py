"""Promises 3, 4, 5, 9 and 11 through the whole program: hostile files, what is seen, files that change, and words that are safe to show."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from harness import draw, small_disk
from hostile import encoded, make_hostile, scene
from PIL import Image

from image_search import ImageSearchEngine, SkipReason
from image_search.images.formats import extensions
from image_search.images.opening import FileInRoot
from image_search.library.vectors import Vectors

# --- 3, 11: hostile files ---------------------------------------------------------------------------------------------------------

RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")  # but tab and newline


def snapshot(folder: Path) -> dict[bytes, tuple[int, int, int, bytes]]:
    """Everything below: mode, size, time and, of small files, the hash."""
    found = {}
    for top, folders, files in os.walk(os.fsencode(folder)):
        for name in (*folders, *files):
            path = os.path.join(top, name)
            info = os.lstat(path)
            small = os.path.isfile(path) and not os.path.islink(path) and info.st_size < 1 << 24
            with open(path, "rb") if small else io.BytesIO() as file:
                found[path] = info.st_mode, info.st_size, info.st_mtime_ns, hashlib.sha256(file.read()).digest()
    return found


def index_hostile(folder: Path, library: Path, count: int, seed: int, program) -> Counter[str]:  # type: ignore[no-untyped-def]
    expected = make_hostile(folder, count=count, seed=seed)
    before = snapshot(folder)
    done = program("index", folder, "--library", library, "--model", "mini", "--store", "exact", "--json", timeout=6000)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not RAW.search(done.stdout) and not RAW.search(done.stderr), "a raw control character"
    assert snapshot(folder) == before  # not a byte, not a time of the user's files
    report = json.loads(done.stdout)
    pictures = sum(os.path.splitext(name)[1].lower() in extensions() and not os.path.basename(name).startswith(".") for name in expected)
    links_to_folders = sum(name.endswith("deep/up") for name in expected)
    assert report["added"] + len(report["skipped"]) == pictures + links_to_folders
    reasons = {reason.value for reason in SkipReason}
    assert all(skip["reason"] in reasons and skip["hint"] for skip in report["skipped"])
    again = json.loads(program("index", folder, "--library", library, "--json", timeout=6000).stdout)
    assert (again["added"], again["embedded"], again["unchanged"]) == (0, 0, report["added"])
    assert sorted(skip["path"] for skip in again["skipped"]) == sorted(skip["path"] for skip in report["skipped"])
    return Counter(skip["reason"] for skip in report["skipped"])


@pytest.mark.slow
def test_five_thousand_hostile_files_stop_nothing(tmp_path: Path, program) -> None:  # type: ignore[no-untyped-def]
    count = int(os.environ.get("IMAGE_SEARCH_TEST_HOSTILE", 5000))
    reasons = index_hostile(tmp_path / "hostile", tmp_path / "library", count, 7, program)
    print(f"\n{count} hostile files:", *reasons.most_common(), sep="\n  ")
    with ImageSearchEngine(tmp_path / "library") as engine:
        kept = Vectors(engine._open().reader.catalog)
        kept.refresh()
        matrix = kept.rows
        assert np.isfinite(matrix).all()
        assert np.abs(np.linalg.norm(matrix.astype(np.float64), axis=1) - 1).max() < 1e-5
        print(len(matrix), "vectors, all finite and of unit length")


def test_hostile_names_are_harmless_in_every_output(tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    """Table, JSON, picture, status, errors; by people and by machines."""
    folder = tmp_path / "na\u202eme\x1b[31m\n"
    make_hostile(folder, count=0, seed=0)
    for below in ("bombs", "valid", "impostors", "special"):
        shutil.rmtree(folder / below)
    (folder / "names" / "bad\x1b[2J\u202e.jpg").write_bytes(b"no picture")
    library = tmp_path / "lib\x1b[31m"
    name = next(p for p in (folder / "names").iterdir() if "\x1b" in p.name and "red" in p.name)
    runs = [
        ["index", folder, "--model", "mini", "--store", "exact"],
        ["search", name, "-n", "50"],
        ["search", name, "-n", "50", "--json"],
        ["search", folder / "nothing\u202e\x1b.jpg"],
        ["status", "--json"],
        ["index", folder / "missing\x1b\u202e"],
        ["forget", folder / "\x1bnothing"],
        ["salvage", "--to", tmp_path / "saved\x1b\u202e"],
        ["index", folder, "--library-is-wrong\x1b"],
    ]
    ends = []
    for words in runs:
        done = run(*words, "--library", library)
        ends.append(done.code)
        for text in (done.out, done.err):
            assert not RAW.search(text), (words, text)
        assert "Traceback" not in done.err and "unexpected" not in done.err, done.err
        if "--json" in words and done.code == 0:
            json.loads(done.out)
    assert ends == [0, 0, 0, 1, 0, 2, 2, 0, 2], ends


# --- 4: what is seen is what is searched ---------------------------------------------------------------------------------------------


def looks(image: Image.Image) -> dict[str, bytes]:
    """The same picture, stored in every way."""
    found: dict[str, bytes] = {}
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # tag -> Pillow's transpose that undoes what a viewer will do
    for tag in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = tag
        turned = image if tag == 1 else image.transpose(Image.Transpose(undo[tag]))
        found[f"orientation {tag}.jpg"] = encoded(turned, "JPEG", quality=95, exif=exif)
    grey = image.convert("L")
    alpha = image.convert("RGBA")
    wide = np.asarray(image).astype(np.uint16)
    found |= {
        "rgb.png": encoded(image, "PNG"),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG", quality=95),
        "cmyk.tif": encoded(image.convert("CMYK"), "TIFF"),
        "palette.png": encoded(image.quantize(256), "PNG"),
        "palette.gif": encoded(image.quantize(256), "GIF"),
        "rgba.png": encoded(alpha, "PNG"),
        "lossless.webp": encoded(image, "WEBP", lossless=True),
        "lossy.webp": encoded(image, "WEBP", quality=90),
        "still.avif": encoded(image, "AVIF", quality=90),
        "still.heic": encoded(image, "HEIF", quality=90),
        "plain.bmp": encoded(image, "BMP"),
        "plain.tif": encoded(image, "TIFF"),
        "blank first frame.gif": encoded(
            Image.new("P", image.size, 0), "GIF", save_all=True, append_images=[image.quantize(256)], duration=100
        ),
        "blank first frame.webp": encoded(
            Image.new("RGB", image.size, "white"), "WEBP", save_all=True, append_images=[image], lossless=True, duration=100
        ),
        "grey.png": encoded(grey, "PNG"),
        "grey 16.png": encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"),
        "grey 16.tif": encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "TIFF"),
        "grey.jpg": encoded(grey, "JPEG", quality=95),
        "grey alpha.png": encoded(grey.convert("LA"), "PNG"),
        "rgb 16.png": _rgb16(wide * 257),
    }
    return found


def _rgb16(pixels: np.ndarray) -> bytes:  # type: ignore[type-arg]
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    high, wide, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", wide, high, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def closest(tmp_path: Path, images: list[Image.Image]) -> dict[str, float]:
    """Smallest cosine between each way of storing and the plain one, over these pictures."""
    worst: dict[str, float] = {}
    with ImageSearchEngine(tmp_path / "none", model="mini", jobs=1) as engine:
        for number, image in enumerate(images):
            paths = {}
            for name, data in looks(image).items():
                paths[name] = tmp_path / f"{number} {name}"
                paths[name].write_bytes(data)
            vectors = dict(zip(paths, engine.embed([str(path) for path in paths.values()]), strict=True))
            for name, vector in vectors.items():
                same = vectors["grey.png" if name.startswith("grey") else "rgb.png"]
                worst[name] = min(worst.get(name, 1.0), float(vector @ same))
    return worst


def test_what_is_seen_is_what_is_searched(tmp_path: Path) -> None:
    worst = closest(tmp_path, [scene(320, 240), scene(240, 320, 3)])
    print("\nsmallest cosine:", {name: round(value, 4) for name, value in sorted(worst.items(), key=lambda pair: pair[1])})
    assert {name: value for name, value in worst.items() if value <= 0.98} == {}


def test_a_wrong_turn_would_show(tmp_path: Path) -> None:
    """The test above can fail: a picture turned the wrong way is another picture."""
    image = scene(320, 240)
    with ImageSearchEngine(tmp_path / "none", model="mini", jobs=1) as engine:
        paths = []
        for turn in range(4):
            image.rotate(90 * turn, expand=True).save(tmp_path / f"{turn}.png")
            paths.append(str(tmp_path / f"{turn}.png"))
        vectors = engine.embed(paths)
    assert max(vectors[1:] @ vectors[0]) < 0.98


# --- 5: files that change under our eyes ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain")
def test_files_that_vanish_and_change_while_they_are_indexed(tmp_path: Path) -> None:
    """A thread removes, replaces and rewrites files all through a run; the next run, in peace, sets everything right."""
    folder, library = tmp_path / "photos", tmp_path / "library"
    draw(folder, 0, 150)
    paths = sorted(folder.rglob("*.png"))
    other = [path.read_bytes() for path in paths]
    stop = threading.Event()

    def meddle() -> None:
        rng = np.random.default_rng(1)
        for number in rng.permutation(len(paths)):
            if stop.is_set():
                return
            path, data = paths[number], other[(number + 1) % len(other)]
            kind = number % 4
            if kind == 0:
                path.unlink()
            elif kind == 1:  # replaced by rename
                (tmp_path / "new").write_bytes(data)
                os.replace(tmp_path / "new", path)
            elif kind == 2:  # a slow copy
                with path.open("wb") as file:
                    file.write(data[: len(data) // 2])
                    file.flush()
                    time.sleep(0.004)
                    file.write(data[len(data) // 2 :])
            else:  # rewritten with its old time
                info = path.stat()
                path.write_bytes(data)
                os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
            time.sleep(0.002)

    thread = threading.Thread(target=meddle)
    with ImageSearchEngine(library, store="exact", jobs=2, notify=lambda line: None) as engine:
        thread.start()
        report = engine.index(folder, progress=False)
        stop.set()
        thread.join()
        allowed = {"vanished before it was read", "changed while it was read", "damaged image", "empty file"}
        assert {skip.reason for skip in report.skipped} <= allowed
        engine.index(folder, progress=False)
        left = [path for path in paths if path.exists()]
        found = {m.path: m for m in engine.search(left[0], 1000)}
        assert set(found) == {str(path) for path in left}
        for path in left:
            best = engine.search(path, 5)
            assert str(path) in {m.path for m in best if m.identical}, "the vector of other bytes"


@pytest.mark.usefixtures("plain")
def test_a_disk_that_is_unplugged_takes_nothing_with_it(tmp_path: Path) -> None:
    """Also in the middle of a run, and where an empty mount point stays behind."""
    library, point = tmp_path / "library", tmp_path / "disk"
    lines: list[str] = []
    with ImageSearchEngine(library, store="exact", jobs=1, notify=lines.append) as engine:
        with small_disk(point, "5m"):
            draw(point, 0, 40)
            engine.index(point, progress=False)
            draw(point, 40, 60)
            real = engine._model.of

            def unplugged(theirs, canonical):  # type: ignore[no-untyped-def]
                subprocess.run(["umount", "-l", point], check=True)
                subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)  # an empty one in its place
                return real(theirs, canonical)

            engine._model.of = unplugged  # type: ignore[method-assign]
            engine._model._embedder = None
            report = engine.index(point, progress=False)
            assert report.missing == 0
            assert {skip.reason for skip in report.skipped} <= {"vanished before it was read"}
        engine._model.of = real  # type: ignore[method-assign]
        report = engine.index(point, progress=False)
        assert (report.missing, report.offline >= 40) == (0, True)
        assert any("offline" in line for line in lines)
        assert engine.status()["images"] >= 40


@pytest.mark.usefixtures("plain")
def test_a_replaced_file_of_the_same_size_and_time_is_seen_by_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without inodes and change times, as far as the library can see."""
    from image_search.images import scan

    real = scan.stat_of
    for module in ("image_search.images.scan.stat_of",):
        monkeypatch.setattr(module, lambda status: _blind(real(status)))
    # There the one who opens the file sees no more either; here the worker would.
    monkeypatch.setattr("image_search.library.worklist.FileInRoot", lambda root, relative, _: FileInRoot(root, relative))
    folder = tmp_path / "photos"
    draw(folder, 0, 4)
    path = folder / "0" / "00001.png"
    data = path.read_bytes() + b"\0"
    path.write_bytes(data)
    with ImageSearchEngine(tmp_path / "library", store="exact", jobs=1) as engine, contextlib.ExitStack() as stack:
        monkeypatch.setattr("image_search.library.writing.place", _blind_place())
        stack.callback(monkeypatch.undo)
        engine.index(folder, progress=False)
        info = path.stat()
        path.write_bytes(data[:-1] + b"\1")
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
        assert engine.index(folder, progress=False).unchanged == 4  # blind, as it must be there
        assert engine.index(folder, progress=False, verify=True).updated == 1


def _blind(stat):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(stat, ctime_ns=0, inode=0)


def _blind_place():  # type: ignore[no-untyped-def]
    from image_search.library.writing import place as real

    def place(catalog, worklist, item, sha256, stat, generation):  # type: ignore[no-untyped-def]
        return real(catalog, worklist, item, sha256, _blind(stat), generation)

    return place
