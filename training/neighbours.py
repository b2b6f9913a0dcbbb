"""What a model finds first for pictures of things that no run saw, beside what another finds: ten rows for the card.

    python -m training.neighbours --held HELD --models before.onnx:96 after.onnx:96

HELD as in heldout.py. Of each source two pictures drawn by chance, of different classes; what is found are the three pictures of that
source most like it, told by their classes; a right one is bold.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.heldout import HeldOut

_OF_EACH = 2
_FOUND = 3


def drawn(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Two places, of different classes that have at least one more picture."""
    places = np.random.default_rng(18).permutation(np.flatnonzero(np.bincount(labels)[labels] > 1))
    _, first = np.unique(labels[places], return_index=True)
    return np.asarray(places[np.sort(first)][:_OF_EACH])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held", type=Path, required=True)
    parser.add_argument("--models", nargs="+", required=True, metavar="FILE:SIDE")
    args = parser.parse_args()
    held = HeldOut(args.held)
    models = [(Path(file), int(side)) for file, _, side in (each.rpartition(":") for each in args.models)]
    vectors = [held.vectors(file, side) for file, side in models]
    print("| a picture of | " + " | ".join(file.stem for file, _ in models) + " |")
    print("|---|" + "---|" * len(models))
    for source, rows in held.rows.items():
        names = held.pictures.names[held.pictures.sources[rows[0]]][1]
        labels = held.pictures.labels[rows]
        for place in drawn(labels):
            cells = []
            for all_vectors in vectors:
                alike = all_vectors[rows] @ all_vectors[rows[place]]
                alike[place] = -np.inf
                found = labels[np.argsort(-alike)[:_FOUND]]
                cells.append(", ".join(f"**{names[label]}**" if label == labels[place] else names[label] for label in found))
            print(f"| {names[labels[place]]} ({source.split('/')[1]}) | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
