"""How well the words find pictures of sources that no run saw: nothing is chosen by these figures but whether to ship.

    python -m training.words_heldout --held HELD --vectors VECTORS [--model mini.onnx] [--words vocabulary.npz]

Each source's labels as words ("a photo of ..."), only those whose words are all known; their number is said.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from image_search.evaluate.words import words_found
from image_search.models.vocabulary import Vocabulary, read_vocabulary
from training.vectors import MINI, folder_of


def judge(words: Vocabulary, vectors: np.ndarray, labels: list[str]) -> tuple[str, str]:
    """(one line of figures, its classes with their own P@10, best first)."""
    named = sorted(set(labels) - {""})
    known = {}
    for name in named:
        phrase = f"a photo of {name.replace('_', ' ')}"
        if words.has(phrase):
            known[name] = words.vector(phrase)
    if len(known) < 2:
        return f"{len(known)} of {len(named)} names known", ", ".join(known)
    own = [row for row, label in enumerate(labels) if label in known]
    names = list(known)
    places = [names.index(labels[row]) for row in own]
    found = words_found(np.stack(list(known.values())), vectors[own], places)
    each = {}
    for place, name in enumerate(names):
        first = np.argsort(-(vectors[own] @ known[name]))[: min(10, places.count(place))]
        each[name] = float(np.mean([places[row] == place for row in first]))
    chance = np.mean([places.count(place) / len(own) for place in range(len(names))])
    line = f"{len(known)} of {len(named)} names known: accuracy {found.accuracy:.3f}, P@10 {found.p10:.3f} (chance {chance:.3f})"
    return line, ", ".join(f"{name} {each[name]:.1f}" for name in sorted(each, key=lambda name: -each[name]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=MINI)
    parser.add_argument("--words", type=Path, default=MINI.with_name("vocabulary.npz"))
    args = parser.parse_args()
    with np.load(args.words) as stored:
        fitted = json.loads(stored["names"].tobytes())["weights_sha256"]
        dim = stored["vectors"].shape[1]
    words = read_vocabulary(args.words, fitted, dim)
    rows: dict[str, list[np.ndarray]] = defaultdict(list)
    labels: dict[str, list[str]] = defaultdict(list)
    for part in sorted((args.held / "parts").iterdir()):
        file = folder_of(args.vectors, args.model) / f"{part.name}.npy"
        if file.exists():
            pairs = json.loads((part / "names.json").read_text())
            rows[pairs[0][0]].append(np.load(file).astype(np.float32))
            labels[pairs[0][0]] += [label for _, label in pairs]
    for source in rows:
        line, each = judge(words, np.concatenate(rows[source]), labels[source])
        print(f"{source}: {line}\n    {each}")


if __name__ == "__main__":
    main()
