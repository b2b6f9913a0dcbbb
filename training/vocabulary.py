"""The words of `mini`: a direction in its space for each thing and colour that we have names for (see concepts.py, colours.py).

    python -m training.vocabulary --work WORK --held HELD --vectors VECTORS --wordnet DICT [--model mini.onnx] [--to vocabulary.npz]

Everything is fitted on the training pictures whose vectors are there (training.vectors); run it again after the model was replaced or more
were made. How sure it may be is taken from HELD, whose pictures the model never saw: by the teacher's opinion, not by their labels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training import colours, concepts, teachers
from training.concepts import Concept
from training.vectors import MINI, folder_of

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

_SHRINK = 0.003  # added to the covariance's diagonal (whose eigenvalues go from .0008 to .05); .0003 to .01 are within .005 of P@10
_SOFT = 0.3  # of a picture whose class is known, what is left to the teacher's opinion: 0 costs .01 on pictures without a label
_HELD = 5  # every fifth picture is left out where the probabilities are fitted
_COLOURED = 30_000  # pictures whose colours are looked at


@dataclass(frozen=True)
class Pile:
    """N pictures: their vectors and what they show.

    vectors (N, D) float64, shows (N, K) float32 0 to 1, colours (M, C) float32 shares of the first M.
    """

    vectors: Float64
    shows: Float32
    colours: Float32


def gather(things: list[Concept], named: list[colours.Colour], work: Path, vectors: Path, labelled: bool = True) -> Pile:
    """All parts whose vectors are there. `labelled`: their labels count, not the teacher's opinion alone."""
    files = [file for file in sorted(vectors.glob("*.npy")) if (work / "parts" / file.stem).exists()]
    files.sort(key=lambda file: hashlib.sha256(file.stem.encode()).digest())  # mixed: the first ones' colours are looked at
    found, shows, looks = [], [], []
    for file in files:
        part = work / "parts" / file.stem
        rows = np.load(file).astype(np.float64)
        found.append(rows)
        names = json.loads((part / "names.json").read_text())
        shows.append(shown(things, names if labelled else [("", "")] * len(names), part, work / "head.npz"))
        if sum(map(len, looks)) < _COLOURED:
            pixels = np.fromfile(part / "pixels.u8", np.uint8).reshape(len(rows), 128, 128, 3)
            looks += [colours.shares(pixels[start : start + 256], named) for start in range(0, len(rows), 256)]
    return Pile(np.concatenate(found), np.concatenate(shows), np.concatenate(looks))


def shown(things: list[Concept], pairs: list[tuple[str, str]], part: Path, head: Path) -> Float32:
    """(n, K): how far each thing is on each picture of a part: by its label where that says so, else by the teacher's probabilities."""
    features = np.fromfile(part / "v2.f16", np.float16).reshape(-1, teachers.WIDTH["v2"])[: len(pairs)]
    raw = teachers.logits(features, head)[:, 1:]  # the first label is "background"
    chances = np.exp(raw - raw.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    labelled: dict[tuple[str, str], list[int]] = {}
    for row, (source, label) in enumerate(pairs):
        for key in ((source, label or "-"), (source, "*")):
            labelled.setdefault(key, []).append(row)
    for thing in things:
        rows = [row for label in thing.labels for row in labelled.get(label, ())]
        if thing.kind == "class" and rows:
            chances[rows] *= _SOFT
            chances[rows, thing.classes[0]] += 1 - _SOFT
    found = np.stack([chances[:, thing.classes].sum(1) for thing in things], 1)
    for column, thing in enumerate(things):
        if thing.kind != "class":
            found[[row for label in thing.labels for row in labelled.get(label, ())], column] = 1
    return np.minimum(found, 1).astype(np.float32)


def directions(vectors: Float64, shows: Float32) -> Float64:
    """(N, D), (N, K) -> (K, D) of unit length: where the pictures that show a thing lie, seen from all pictures (Fisher 1936).

    The covariance's inverse times the difference of the means: what sets the thing apart counts, not what varies anyway.
    """
    centred = vectors - vectors.mean(0)
    covariance = centred.T @ centred / len(vectors) + _SHRINK * np.eye(vectors.shape[1])
    found: Float64 = np.linalg.solve(covariance, centred.T @ (shows - shows.mean(0)).astype(np.float64)).T
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def calibrate(cosines: Float32, shows: Float32) -> Float64:
    """(N, K), (N, K) -> (K, 2): scale and bias, so that sigmoid(scale * cosine + bias) is the share of such pictures that show it.

    Platt 1999, each thing drawn towards the mean of all, the more the rarer it is. Newton's method.
    """
    count = cosines.shape[1]
    line = np.stack([np.full(count, 12.0), np.log(shows.mean(0) + 1e-5) - 3], 1)  # (K, 2)
    for _ in range(12):
        gradient, curve = np.zeros((count, 2)), np.zeros((count, 2, 2))
        for start in range(0, len(cosines), 4096):
            near, fits = cosines[start : start + 4096], shows[start : start + 4096]
            chance = 1 / (1 + np.exp(-np.clip(near * line[:, 0].astype(np.float32) + line[:, 1].astype(np.float32), -30, 30)))
            wrong, slope = fits - chance, chance * (1 - chance)
            gradient += np.stack([(wrong * near).sum(0), wrong.sum(0)], 1)
            both = (slope * near).sum(0)
            curve += np.stack([np.stack([(slope * near * near).sum(0), both], 1), np.stack([both, slope.sum(0)], 1)], 1)
        middle = np.median(line[:, 0])
        gradient[:, 0] -= _PULL * (line[:, 0] - middle)
        curve[:, 0, 0] += _PULL
        curve[:, 1, 1] += 1e-3
        step = np.linalg.solve(curve, gradient[:, :, None])[:, :, 0]
        line += np.clip(step, -4, 4)
    return line


_PULL = 0.02  # of a scale towards the median: about the weight of two pictures that show the thing


def temper(line: Float64, cosines: Float32, shows: Float32) -> Float64:
    """The lines, all bent alike so that they hold for pictures that the model did not learn from: (K, 2)."""
    logits = cosines * line[:, 0].astype(np.float32) + line[:, 1].astype(np.float32)
    bend = calibrate(logits.reshape(-1, 1) / 12, shows.reshape(-1, 1))[0]  # / 12: so that the start, 12, is 1
    return np.stack([line[:, 0] * bend[0] / 12, line[:, 1] * bend[0] / 12 + bend[1]], 1)


def write(to: Path, model: Path, things: list[Concept], named: list[colours.Colour], vectors: Float64, chances: Float64) -> None:
    """One file: `names` (JSON as bytes), `vectors` int8 (K, D), to be brought to unit length,
    `chances` float32 (K, 3): scale, bias, share."""
    entries = [{"english": thing.english, "korean": thing.korean, "kind": thing.kind} for thing in things]
    entries += [{"english": colour.english, "korean": colour.korean, "kind": "colour"} for colour in named]
    names = {"weights_sha256": hashlib.sha256(model.read_bytes()).hexdigest(), "concepts": entries}
    steps = 127 / np.abs(vectors).max(1, keepdims=True)
    np.savez_compressed(
        to,
        names=np.frombuffer(json.dumps(names, ensure_ascii=False, separators=(",", ":")).encode(), np.uint8),
        vectors=np.round(vectors * steps).astype(np.int8),
        chances=chances.astype(np.float32),
    )


def fit(pile: Pile, strangers: Pile) -> tuple[Float64, Float64]:
    """(K + C, D) directions, of all pictures; (K + C, 3) scale, bias and share of pictures, from directions of four fifths."""
    held = np.arange(len(pile.vectors)) % _HELD == 0
    first = len(pile.colours)
    trial = directions(pile.vectors[~held], pile.shows[~held])
    near = (pile.vectors[held] @ trial.T).astype(np.float32)
    new = (strangers.vectors @ trial.T).astype(np.float32)
    line = temper(calibrate(near, pile.shows[held]), new, strangers.shows)
    judge(line, {"seen by the model": (near, pile.shows[held]), "new to it": (new, strangers.shows)})
    hues = directions(pile.vectors[:first], pile.colours)
    there = (pile.colours > _ENOUGH).astype(np.float32)
    coloured = calibrate((pile.vectors[:first] @ hues.T).astype(np.float32), there)
    chances = np.concatenate([line, coloured]), np.concatenate([pile.shows.mean(0), there.mean(0)])
    return np.concatenate([directions(pile.vectors, pile.shows), hues]), np.column_stack(chances)


_ENOUGH = 0.25  # of a picture has a colour: people would name it


def judge(line: Float64, piles: dict[str, tuple[Float32, Float32]]) -> None:
    """Prints how often what is said to be likely is there, and how many things are found at all. A pile: cosines, shows (N, K)."""
    for name, (near, true) in piles.items():
        said = 1 / (1 + np.exp(-(near * line[:, 0] + line[:, 1])))
        bins = [(low, (said >= low) & (said < low + 0.2)) for low in (0.1, 0.3, 0.5, 0.7, 0.9)]
        shares = [f"{low}: said {said[where].mean():.2f}, true {true[where].mean():.2f};" for low, where in bins if where.any()]
        print(name, len(near), *shares)
    near, shows = next(iter(piles.values()))
    order = np.argsort(-near, axis=0)[: max(10, len(near) // 100)]
    lift = np.take_along_axis(shows, order, 0).mean(0) / np.maximum(shows.mean(0), 1e-9)
    mass = shows.sum(0)
    print("in the first hundredth, times as often as in all:", np.percentile(lift, [5, 25, 50, 75]).round(1))
    print("things with less than two pictures' worth among these:", (mass < 2).sum())


def judge_colours(pile: Pile, things: list[Concept], named: list[colours.Colour]) -> None:
    """Prints what colours find, alone and beside a thing, in pictures that they were not learnt from.

    A pair counts where ten pictures at least show the thing (.4) in the colour (.2 of the picture); its figure is P@10.
    """
    count = len(pile.colours)
    held = np.arange(count) % _HELD == 0
    vectors, shows, looks = pile.vectors[:count], pile.shows[:count], pile.colours
    hues, nouns = directions(vectors[~held], looks[~held]), directions(vectors[~held], shows[~held])
    rest, theirs, there = vectors[held], looks[held], shows[held]
    for colour, hue, share in zip(named, hues, theirs.T, strict=True):
        first = share[np.argsort(-(rest @ hue))[:10]].mean()
        best = np.sort(share)[-10:].mean()
        print(f"{colour.english[0]}: share of all {share.mean():.3f}, of the first ten {first:.2f}, of the best ten {best:.2f}")
    pairs = []
    for thing, concept in enumerate(things):
        for hue in range(len(named)):
            true = (there[:, thing] > 0.4) & (theirs[:, hue] > 0.2)
            if concept.kind == "group" and true.sum() >= 10:
                pairs.append((nouns[thing], hues[hue], true))
    for part in (0.0, 0.5, 1.0, 1.5, 100.0):
        found = [true[np.argsort(-(rest @ (noun + part * hue)))[:10]].mean() for noun, hue, true in pairs]
        print(f"a thing and {part:g} times a colour, {len(pairs)} pairs: P@10 {np.mean(found):.3f}")
    print(f"by chance {np.mean([true.mean() for *_, true in pairs]):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder that holds parts/ and head.npz")
    parser.add_argument("--held", type=Path, required=True, help="the same of sources that the model never saw")
    parser.add_argument("--vectors", type=Path, required=True, help="what training.vectors made")
    parser.add_argument("--wordnet", type=Path, required=True, help="folder that holds data.noun of WordNet 3.1")
    parser.add_argument("--model", type=Path, default=MINI)
    parser.add_argument("--to", type=Path, default=MINI.with_name("vocabulary.npz"))
    args = parser.parse_args()
    things, named = concepts.read(args.wordnet), colours.read()
    pile = gather(things, named, args.work, folder_of(args.vectors, args.model))
    enough = pile.shows.sum(0) >= _LEAST
    print(len(pile.vectors), "pictures; without any of its own:", ", ".join(t.name for t, ok in zip(things, enough, strict=True) if not ok))
    things = [thing for thing, ok in zip(things, enough, strict=True) if ok]
    strangers = gather(things, named, args.held, folder_of(args.vectors, args.model), labelled=False)
    pile = Pile(pile.vectors, pile.shows[:, enough], pile.colours)
    found, chances = fit(pile, strangers)
    judge_colours(pile, things, named)
    write(args.to, args.model, things, named, found, chances)
    print(len(things) + len(named), "entries,", args.to.stat().st_size, "bytes")


_LEAST = 1.0  # pictures' worth of a thing: below it there is nothing to learn from


if __name__ == "__main__":
    main()
