"""How often the tags are right on pictures that the model never saw.

    python -m training.tags_heldout DATA/eval/tinyimagenet --wordnet DICT

The folder's sub-folders are synsets of ImageNet; a tag is right if the picture's class is one of those that it is made of. Tags that a
source's label taught, of which the folder says nothing, are not counted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from image_search import ImageSearchEngine
from image_search.errors import QueryError
from image_search.models import load_model, vocabulary_of
from training import concepts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wordnet", type=Path, required=True)
    args = parser.parse_args()
    made_of = {thing.name: set(thing.classes) for thing in concepts.read(args.wordnet)}
    numbers = {synset: number for number, (synset, *_) in enumerate(concepts.rows("imagenet"))}
    files = sorted(path for path in args.folder.rglob("*") if path.parent.name in numbers)
    words = vocabulary_of(load_model("mini"))
    assert words is not None
    said: Counter[float] = Counter()
    right: Counter[float] = Counter()
    silent = one_right = 0
    with ImageSearchEngine(args.folder / "no library", model="mini") as engine:
        for file, vector in zip(files, engine.embed_each(files), strict=True):
            if isinstance(vector, QueryError):
                continue
            tags = words.tags(vector)
            silent += not tags
            fits = [numbers[file.parent.name] in made_of[tag.name] for tag in tags]
            one_right += any(fits)
            for tag, fit in zip(tags, fits, strict=True):
                if made_of[tag.name]:
                    step = int(tag.probability * 10) / 10
                    said[step] += 1
                    right[step] += fit
    spoken = len(files) - silent
    print(f"{len(files)} pictures, {silent / len(files):.3f} without a tag; of the others {one_right / spoken:.3f} with a right one")
    print(f"{sum(said.values()) / len(files):.2f} tags a picture, {sum(right.values()) / sum(said.values()):.3f} of them right")
    for step in sorted(said):
        print(f"said {step:.1f} and more: {said[step]} tags, {right[step] / said[step]:.2f} right")


if __name__ == "__main__":
    main()
