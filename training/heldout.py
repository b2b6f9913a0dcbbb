"""How well a model does on kinds of pictures that its training never saw: what every setting is chosen by.

    python -m training.heldout --held HELD --models mini.onnx:96 new.onnx:112    the files, each at its side in px
    python -m training.heldout --held HELD --targets WORK                        the target itself, by the weights of colour and texture

HELD is a folder of parts (`training.prepare --only SOURCE ...`) of sources with labels that no run sees. The figure is k1, leave-one-out,
by cosine, source by source; and its mean as a share of the mean of teacher V2.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from image_search.evaluate.metrics import leave_one_out
from training import data, looks, teachers
from training.evaluate import embed_all, open_model

_MOST = 2_500  # pictures of each source

Float32 = npt.NDArray[np.float32]


class HeldOut:
    def __init__(self, folder: Path, every: int = 1) -> None:
        self.pictures = data.load(folder)
        count = len(self.pictures)
        self.features = {kind: values[:count] for kind, values in teachers.crops(self.pictures).items()}  # of whole pictures
        self.rows = {}
        for place, (source, labels) in enumerate(self.pictures.names):
            blank = labels.index("") if "" in labels else -1  # pictures without a label are no class
            told = self.pictures.usable & (self.pictures.labels != blank)
            mine = np.flatnonzero((self.pictures.sources == place) & told)[:_MOST:every]
            if len(labels) > 1:
                self.rows[source] = mine

    def k1(self, vectors: Float32) -> dict[str, float]:
        """Of each source, from one vector (N, D) a picture."""
        return {source: leave_one_out(vectors[rows], self.pictures.labels[rows]).k1 for source, rows in self.rows.items()}

    def reference(self) -> dict[str, float]:
        return self.k1(self.features["v2"].astype(np.float32))

    def of_model(self, file: Path, side: int) -> dict[str, float]:
        return self.k1(self.vectors(file, side))

    def vectors(self, file: Path, side: int) -> Float32:
        """(N, D), of the pictures in `rows`; zeros elsewhere."""
        embed = open_model(file, side)
        vectors = np.zeros((len(self.pictures), 1), np.float32)
        for rows in self.rows.values():
            found = embed_all(embed, (Image.fromarray(self.pictures.pixels(rows[i : i + 1])[0]) for i in range(len(rows))))
            if vectors.shape[1] != found.shape[1]:
                vectors = np.zeros((len(vectors), found.shape[1]), np.float32)
            vectors[rows] = found
        return vectors


def line(name: str, figures: dict[str, float], reference: dict[str, float]) -> str:
    share = np.mean(list(figures.values())) / np.mean(list(reference.values()))
    return f"| {name} | " + " | ".join(f"{figures[source]:.3f}" for source in reference) + f" | {share:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="4: every fourth picture, for a quick look")
    parser.add_argument("--models", nargs="*", default=[], metavar="FILE:SIDE")
    parser.add_argument("--targets", type=Path, metavar="WORK", help="whose pictures the target spaces are fitted on")
    parser.add_argument("--colour", type=float, nargs="*", default=[0.0, 0.35, 0.5, 0.7])
    parser.add_argument("--grain", type=float, nargs="*", default=[0.0, 0.25, 0.4])
    args = parser.parse_args()
    held = HeldOut(args.held, args.every)
    reference = held.reference()
    print("| | " + " | ".join(f"{source.split('/')[1]} ({len(held.rows[source])})" for source in reference) + " | share of V2 |")
    print("|---|" + "---|" * (len(reference) + 1))
    print(line("teacher V2", reference, reference), flush=True)
    for each in args.models:
        file, _, side = each.rpartition(":")
        print(line(f"{Path(file).stem} at {side} px", held.of_model(Path(file), int(side)), reference), flush=True)
    if args.targets is not None:
        known = data.load(args.targets)
        features = teachers.sample(teachers.crops(known), known.usable[known.owners])
        for colour, grain, target in targets(features, args.colour, args.grain):
            print(line(f"colour {colour}, texture {grain}", held.k1(target(held.features)), reference), flush=True)


def targets(features: teachers.Features, colours: list[float], grains: list[float]) -> Iterator[tuple[float, float, teachers.Target]]:
    """The target space for each pair of weights. The covariance is taken once: the weights only scale its rows and columns."""
    one = teachers.fit_target(features, 1, 1.0, 1.0)
    joined = one.joined(features) - one.mean
    covariance = joined.T @ joined / len(joined)  # (F, F)
    for colour in colours:
        for grain in grains:
            scale = np.repeat(np.float32([1, 1, colour, grain]), [1024, 1280, looks.COLOURS, looks.TEXTURE])  # (F,)
            values, axes = teachers.principal(scale[:, None] * covariance * scale, 256)
            basis = (axes / np.maximum(values, 1e-12) ** 0.25).astype(np.float32)
            yield colour, grain, replace(one, colour=colour, grain=grain, mean=scale * one.mean, basis=basis)


if __name__ == "__main__":
    main()
