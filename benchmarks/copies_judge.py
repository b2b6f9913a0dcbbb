"""Are copies told from other pictures? `python -m benchmarks.copies_judge FOLDER... [--strangers 3000] [--originals 240] [--half judged]`.

The folders hold classes (a folder each); half of the classes, by the checksum of their names, is for choosing thresholds ("tuned"), the
other for judging ("judged"). From one half come the strangers; from some of them, spread evenly, copies are made in each of the ways below.
Each stranger and each copy is compared with its nearest strangers by `mini`, as a library would. A pair of strangers that passes is counted
as wrong, also where it is the same photograph twice: `--show FILE` draws what passed, to be looked at.
"""

from __future__ import annotations

import argparse
import io
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from image_search.config import available_cpus
from image_search.evaluate.distortions import crop, jpeg, text_over
from image_search.images.formats import extensions
from image_search.images.pool import DecodePool
from image_search.models import load_model
from image_search.tidy.copies import Kind, Prepared, compare, prepare
from image_search.types import Float32

Copy = Callable[[Image.Image, np.random.Generator], Image.Image]


def resized(picture: Image.Image, share: float) -> Image.Image:
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def bordered(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A frame of one colour, 3 to 12 % of the longer side."""
    width = max(1, int(max(picture.size) * rng.uniform(0.03, 0.12)))
    return ImageOps.expand(picture, width, tuple(int(value) for value in rng.integers(0, 256, 3)))


def recoloured(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    picture = ImageEnhance.Color(picture).enhance(rng.uniform(0.5, 1.6))
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.8, 1.25))
    return ImageEnhance.Contrast(picture).enhance(rng.uniform(0.8, 1.25))


def slanted(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """By 5 to 15 degrees to either side, of the same size, black corners."""
    return picture.rotate(rng.uniform(5, 15) * rng.choice([-1, 1]), Image.Resampling.BILINEAR)


SAME: dict[str, Copy] = {
    **{f"JPEG q{q}": lambda picture, rng, q=q: jpeg(picture, q) for q in (10, 30, 50, 70, 90)},
    **{f"size {share:.0%}": lambda picture, rng, share=share: resized(picture, share) for share in (0.25, 0.5, 0.75, 2)},
    "grey": lambda picture, rng: picture.convert("L").convert("RGB"),
    "colour": recoloured,
}
CHANGED: dict[str, Copy] = {
    **{f"crop {area:.0%}": lambda picture, rng, area=area: crop(picture, area, rng) for area in (0.6, 0.7, 0.8, 0.9)},
    "mirrored": lambda picture, rng: ImageOps.mirror(picture),
    **{f"turned {turn}°": lambda picture, rng, turn=turn: picture.rotate(-turn, expand=True) for turn in (90, 180, 270)},
    "turned ±15°": slanted,
    "border": bordered,
    "text": text_over,
}
SAVED = 85  # JPEG quality of copies whose way says nothing else


def chosen(folders: list[Path], half: str, most: int) -> list[Path]:
    """Pictures of one half of the classes, each folder's share alike, spread evenly."""
    found: list[Path] = []
    for folder in folders:
        classes = [
            c for c in sorted(folder.iterdir()) if c.is_dir() and zlib.crc32(f"{folder.name}/{c.name}".encode()) % 2 == (half == "judged")
        ]
        pictures = [p for c in classes for p in sorted(c.iterdir()) if p.suffix.lower() in extensions()]
        share = min(len(pictures), most // len(folders))
        found += [pictures[i * len(pictures) // share] for i in range(share)]
    return found


class Eye:
    """Vectors and prepared pictures of encoded bytes; counts what preparing costs."""

    def __init__(self) -> None:
        self.model = load_model("mini")
        self.pool = DecodePool(available_cpus(), self.model.fingerprint.preprocess)
        self.seconds, self.count = 0.0, 0

    def see(self, data: bytes) -> tuple[Float32, Prepared]:
        vector = self.model.embed(self.pool.decode(data).pixels[None])[0]
        small = self.pool.picture(data, max_side=256).pixels
        began = time.process_time()
        prepared = prepare(small)
        self.seconds += time.process_time() - began
        self.count += 1
        return vector, prepared


def saved(picture: Image.Image, how: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG") if how.startswith("JPEG") else picture.save(out, "JPEG", quality=SAVED)
    return out.getvalue()


def montage(pairs: list[tuple[Path, Path]], file: Path) -> None:
    side, columns = 160, 4
    sheet = Image.new("RGB", (columns * (2 * side + 20), -(-len(pairs) // columns) * (side + 10)))
    for k, pair in enumerate(pairs):
        for j, path in enumerate(pair):
            place = (k % columns) * (2 * side + 20) + j * side, (k // columns) * (side + 10)
            sheet.paste(Image.open(path).convert("RGB").resize((side - 2, side)), place)
    sheet.save(file)


def main() -> None:  # long: one table after the other
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--strangers", type=int, default=3000)
    parser.add_argument("--originals", type=int, default=240, help="of the strangers, of which copies are made")
    parser.add_argument("--half", choices=("tuned", "judged"), default="judged")
    parser.add_argument("--nearest", type=int, default=10, help="strangers that each picture is compared with")
    parser.add_argument("--show", type=Path, help="draws the pairs of strangers that passed")
    options = parser.parse_args()
    eye = Eye()
    paths = chosen(options.folders, options.half, options.strangers)
    seen = [eye.see(path.read_bytes()) for path in paths]
    matrix, prepared = np.stack([vector for vector, _ in seen]), [one for _, one in seen]
    nearest = np.argsort(-(matrix @ matrix.T), axis=1, kind="stable")[:, : options.nearest + 1]
    pairs = sorted({(min(i, int(j)), max(i, int(j))) for i in range(len(paths)) for j in nearest[i] if i != j})
    began = time.process_time()
    wrong = [(i, j) for i, j in pairs if compare(prepared[i], prepared[j]).kind is not None]
    each = (time.process_time() - began) / len(pairs) * 1000
    print(f"{len(paths):,} strangers, {len(pairs):,} pairs of near ones, {each:.1f} CPU ms a pair; passed: {len(wrong)}")
    for i, j in wrong:
        print(f"  {compare(prepared[i], prepared[j]).change or 'same picture'}: {paths[i]} {paths[j]}")
    known = set(wrong)
    print("\n| copy | found | kind as meant | near by the model | wrong pairs | CPU ms |\n|---|---:|---:|---:|---:|---:|")
    totals = [0, 0, 0]  # found, wrong, of those with a stranger that passes as the original's copy, too
    some = range(0, len(paths), max(1, len(paths) // options.originals))
    for how, make in {**SAME, **CHANGED}.items():
        found, meant, near, false, spent = 0, 0, 0, 0, 0.0
        for i in some:
            copy = make(Image.open(paths[i]).convert("RGB"), np.random.default_rng(i))
            vector, one = eye.see(saved(copy, how))
            candidates = np.argsort(-(matrix @ vector), kind="stable")[: options.nearest]
            near += i in candidates
            began = time.process_time()
            verdict = compare(prepared[i], one)
            spent += time.process_time() - began
            found += verdict.kind is not None
            meant += verdict.kind is (Kind.SAME_PICTURE if how in SAME else Kind.CHANGED_COPY)
            for j in candidates:
                if j != i and compare(prepared[j], one).kind is not None:
                    false += 1
                    totals[2] += (min(i, int(j)), max(i, int(j))) in known
        totals[0] += found
        totals[1] += false
        n = len(some)
        print(f"| {how} | {found / n:.3f} | {meant / n:.3f} | {near / n:.3f} | {false} | {spent / n * 1000:.1f} |", flush=True)
    right, false = totals[0], totals[1] + len(wrong)
    print(f"\nprecision {right / (right + false):.4f} of {right + false:,} pairs that passed", end="; ")
    print(f"{totals[2]} of the {totals[1]} wrong ones of copies are copies of pairs of strangers named above")
    print(f"preparing: {eye.seconds / eye.count * 1000:.1f} CPU ms a picture")
    if options.show and wrong:
        montage([(paths[i], paths[j]) for i, j in wrong], options.show)
    eye.pool.close()


if __name__ == "__main__":
    main()
