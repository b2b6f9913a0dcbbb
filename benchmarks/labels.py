"""How well `check` finds wrong labels: `python -m benchmarks.labels FOLDER... [--model mini] [--wrong .05] [--seeds 5]`.

Classes are the folders in which pictures lie. A share of the labels is changed at random into another class of the same folder, with
several seeds, and the check is asked. Of the wrong labels is counted how many stand in the list among the first tenth of all pictures,
how many it lists at all, and for how many it says the right class; of all pictures, how many it lists.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from image_search import ImageSearchEngine
from image_search.tidy.labelled import Labelling, of_folder
from image_search.tidy.labels import Labelled

FIRST = 0.1  # of all pictures: as many as somebody may look through


def judged(pictures: Labelling, wrong: float, seed: int, model: str) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    classes = np.unique(pictures.names)
    changed = rng.choice(len(pictures.names), round(wrong * len(pictures.names)), replace=False).tolist()
    names = list(pictures.names)
    for number in changed:
        names[number] = str(rng.choice(classes[classes != names[number]]))
    told = lambda wanted: [Labelled(str(n), "", names[n]) for n in wanted]  # noqa: E731
    started = time.process_time()
    found = Labelling(pictures.vectors, pictures.contents, names, told).checked(model, None)
    seconds = time.process_time() - started
    listed = [int(one.id) for one in found.suspects]
    says = {int(one.id): one.says for one in found.suspects}
    first = set(listed[: round(FIRST * len(names))])
    return {
        "first tenth": sum(number in first for number in changed) / len(changed),
        "listed": sum(number in says for number in changed) / len(changed),
        "right class": sum(says.get(number) == pictures.names[number] for number in changed) / len(changed),
        "of all listed": len(listed) / len(names),
        "CPU s": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--wrong", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    columns = {"pictures": 10, "classes": 9, "first tenth": 13, "listed": 9, "right class": 13, "of all listed": 15, "CPU s": 8}
    print(f"{'folder':<16}" + "".join(f"{title:>{width}}" for title, width in columns.items()))
    with tempfile.TemporaryDirectory() as place, ImageSearchEngine(Path(place) / "none", model=given.model) as engine:
        for folder in given.folders:
            pictures = of_folder(str(folder), engine._reader(None))
            rows = [judged(pictures, given.wrong, seed, given.model) for seed in range(given.seeds)]
            figures: dict[str, str] = {"pictures": f"{len(pictures.names):,}", "classes": f"{len(set(pictures.names)):,}"}
            figures |= {key: f"{np.mean([row[key] for row in rows]):.3f}" for key in rows[0]}
            print(f"{folder.name:<16}" + "".join(f"{figures[title]:>{width}}" for title, width in columns.items()), flush=True)


if __name__ == "__main__":
    main()
