"""From which similarity on two pictures are "the same": `python benchmarks/near_identical.py FOLDER... [--model mini] [--images 400]`.

Pictures of the folders are edited as copies get edited on their way (saved again, made smaller, slightly cut, brighter, turned into WebP),
and their similarity to the original is set against the similarity of each picture to the nearest *other* one. Proposed is the lowest
threshold, in steps of .005, that folds at most one picture in 200 onto another one: near-identical is a promise that what is hidden is no
other picture, so it is false folding that is bounded, not missed copies. It goes into the model's row (`near_identical`).
"""

from __future__ import annotations

import argparse
import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from image_search.config import available_cpus
from image_search.errors import DecodeError
from image_search.images.formats import extensions
from image_search.images.pool import DecodePool
from image_search.models import load_model
from image_search.types import Float32

FALSE_FOLDS = 1 / 200
STEP = 0.005


def saved(picture: Image.Image, format: str, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, quality=quality)
    return out.getvalue()


def smaller(picture: Image.Image, share: float) -> Image.Image:
    return picture.resize((max(8, round(picture.width * share)), max(8, round(picture.height * share))), Image.Resampling.BICUBIC)


def cut(picture: Image.Image, share: float) -> Image.Image:
    dx, dy = picture.width * share, picture.height * share
    return picture.crop((round(dx), round(dy), round(picture.width - dx), round(picture.height - dy)))


EDITS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG, quality 50": lambda p: saved(p, "JPEG", 50),
    "WebP, quality 60": lambda p: saved(p, "WEBP", 60),
    "half as large": lambda p: saved(smaller(p, 0.5), "JPEG", 85),
    "1 % cut off each side": lambda p: saved(cut(p, 0.01), "JPEG", 85),
    "3 % cut off each side": lambda p: saved(cut(p, 0.03), "JPEG", 85),
    "10 % brighter": lambda p: saved(ImageEnhance.Brightness(p).enhance(1.1), "JPEG", 85),
}


def embed(pool: DecodePool, model: object, pictures: list[bytes]) -> Float32:
    """(N, D); a picture that cannot be decoded is a row of NaN."""
    rows = []
    for data in pictures:
        try:
            rows.append(model.embed(pool.decode(data).pixels[None])[0])  # type: ignore[attr-defined,index]
        except DecodeError:
            rows.append(np.full(model.fingerprint.dim, np.nan, np.float32))  # type: ignore[attr-defined]
    return np.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--images", type=int, default=400, help="of each folder at most")
    options = parser.parse_args()
    chosen: list[Path] = []
    for folder in options.folders:
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in extensions())
        random.Random(0).shuffle(found)
        chosen += found[: options.images]
    model = load_model(options.model)
    with DecodePool(available_cpus(), model.fingerprint.preprocess) as pool:
        originals = embed(pool, model, [p.read_bytes() for p in chosen])
        good = np.isfinite(originals).all(axis=1)
        chosen, originals = [p for p, g in zip(chosen, good, strict=True) if g], originals[good]
        others = originals @ originals.T
        np.fill_diagonal(others, -1)
        # Real duplicates are in every collection: pairs that a person would call the same must not count as false.
        nearest = np.sort(others.max(axis=1))[::-1]
        allowed = int(len(nearest) * FALSE_FOLDS)
        threshold = float(np.ceil(nearest[allowed] / STEP + 1e-6) * STEP)
        pictures = [Image.open(p).convert("RGB") for p in chosen]
        print(f"{model.fingerprint.name}, {len(chosen)} pictures")
        print(f"similarity to the nearest other one: p50 {np.median(nearest):.3f}, p99 {nearest[len(nearest) // 100]:.3f}")
        print(f"proposed near_identical: {threshold:.3f}\n\n| edit | similarity p50 | p5 | folded |\n|---|---:|---:|---:|")
        for words, edit in EDITS.items():
            similarity = (embed(pool, model, [edit(p) for p in pictures]) * originals).sum(axis=1)
            share = float((similarity >= threshold).mean())
            print(f"| {words} | {np.median(similarity):.3f} | {np.quantile(similarity, 0.05):.3f} | {share:.0%} |")
    pairs = np.argwhere(np.triu(others) >= threshold)[:12]
    for one, other in pairs:
        print(f"{others[one, other]:.3f}  {chosen[one]}  {chosen[other]}")


if __name__ == "__main__":
    main()
