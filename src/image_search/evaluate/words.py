"""What a model's words know of pictures: each picture's best label of a given list, and how often class names find their pictures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .. import given
from ..config import MOST_JOBS, available_cpus
from ..embedding import Embedded, embed_each, in_order
from ..errors import DecodeError, ImageSearchError, QueryError, UsageError
from ..images.pool import DecodePool
from ..images.scan import ImageFile, scan
from ..models import chances, check_runtime, checked_phrase, knowing_words, load_model, vocabulary_of
from ..paths import shown
from ..types import Embedder, Float32, TextEmbedder
from .metrics import top

__all__ = ["Labelled", "WordFigures", "class_names_found", "label", "phrases_of", "words_found"]

# CLIP's own, exp(4.6052): its logits are a hundred times the cosine (Radford et al. 2021), and labels compete by softmax.
_CLIP_SCALE = 100.0


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture and its best label.

    Attributes:
        path: where it lies.
        label: one of those given; "" where the picture could not be read, and `error` says why.
        probability: 0 to 1. Of a model with a trained scale and bias (SigLIP) that the label fits, each label for itself; of others
            (CLIP, mini) the share among the labels given, which is 1 in sum.
        similarity: cosine of picture and label.
    """

    path: str
    label: str
    probability: float
    similarity: float
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"path": shown(self.path)}


@dataclass(frozen=True, slots=True)
class WordFigures:
    """How well class names find their pictures; shares, 0 to 1.

    Attributes:
        accuracy: of all pictures, whose best class name is their own.
        p10, map: of each class name's search over all pictures: right ones among the first ten (fewer in a smaller class), and mean
            average precision over all; both the mean over the classes.
        classes, of: how many class names the model knows, and of how many; the figures are of these and their pictures alone.
    """

    accuracy: float
    p10: float
    map: float
    classes: int = 0
    of: int = 0


def phrases_of(names: Sequence[str], template: str) -> list[str]:
    """Each name in the template's place `{}`. UsageError without the place; QueryError for what is no phrase."""
    if "{}" not in template:
        raise UsageError("the template has no place for the label", hint="for example 'a photo of {}'")
    return [checked_phrase(template.replace("{}", name)) for name in names]


def label(
    folder: str | os.PathLike[str],
    labels: str | Sequence[str],
    *,
    model: str,
    template: str = "{}",
    runtime: str | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Labelled]:
    """Each picture's best label, in the order of the paths, as it goes. Nothing is written.

    Args:
        labels: one or several; blanks around them and repetitions do not count.
        model: a name as for an engine, of a model that knows words.
        template: how a label is said to the model, with `{}` for it.
        progress: gets (done, total), pictures.

    Raises:
        UsageError: no such folder, no label, a value of the wrong kind; at once. ModelError: the model cannot be used, or knows no words.
    """
    root = os.path.realpath(os.path.expanduser(given.path(folder, "the folder")))
    names = list(dict.fromkeys(checked_phrase(name) for name in given.texts(labels, "labels")))
    phrases = phrases_of(names, given.text(template, "template"))
    given.text(model, "the model")
    if runtime is not None:
        check_runtime(runtime)
    threads = available_cpus() if jobs is None else given.whole(jobs, "jobs", most=MOST_JOBS)
    if progress is not None:
        given.function(progress, "progress")
    if not os.path.isdir(root):
        raise UsageError("there is no such folder", path=folder, hint="give a folder with images")
    if not names:
        raise UsageError("no label was given", hint="for example 'cat,dog,a bowl of ramen'")
    paths = sorted(found.path for found in scan(root) if isinstance(found, ImageFile))
    if not paths:
        raise ImageSearchError("there are no images in this folder", path=folder)
    return _labelled(
        paths, dict(zip(names, phrases, strict=True)), lambda: load_model(model, runtime=runtime, threads=threads), threads, progress
    )


def _labelled(
    paths: Sequence[str],
    phrases: Mapping[str, str],
    load: Callable[[], Embedder],
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Labelled]:
    """`phrases`: label -> how it is said to the model."""
    names = list(phrases)
    with contextlib.closing(load()) as loaded:
        words = knowing_words(loaded)
        vectors = words.embed_text(list(phrases.values()))  # (L, D)
        vocabulary = vocabulary_of(loaded)
        sharpness = _CLIP_SCALE if vocabulary is None else vocabulary.scale
        with DecodePool(threads, words.fingerprint.preprocess) as pool:
            for done, (path, found) in enumerate(_embedded(paths, pool, words), 1):
                if progress is not None:
                    progress(done, len(paths))
                if isinstance(found, DecodeError):
                    yield Labelled(path, "", 0.0, 0.0, found.reason.value)
                elif found.vector is not None:
                    cosines = vectors @ found.vector  # (L,)
                    fits = probabilities(cosines, words.calibration, sharpness)
                    best = int(np.argmax(fits))
                    yield Labelled(path, names[best], float(fits[best]), float(cosines[best]))


def _embedded(paths: Sequence[str], pool: DecodePool, model: TextEmbedder) -> Iterator[tuple[str, Embedded | DecodeError]]:
    return zip(paths, in_order(paths, lambda each: embed_each(each, pool, model)), strict=True)


def probabilities(
    cosines: Float32, calibration: tuple[float, float] | None, sharpness: float = _CLIP_SCALE
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float32 (L,) cosines of one picture with the labels -> float64 (L,), see `Labelled.probability`; `sharpness`: of the softmax."""
    if calibration is not None:
        return chances(cosines, calibration)
    powers = np.exp(sharpness * (cosines.astype(np.float64) - float(cosines.max())))
    shares: np.ndarray[Any, np.dtype[np.float64]] = powers / powers.sum()
    return shares


def class_names_found(model: TextEmbedder, names: Sequence[str], template: str, pictures: Float32, labels: Sequence[str]) -> WordFigures:
    """`words_found` for folders' names said to a model; of a model with a vocabulary only for the names that are in it.

    Args:
        names: the classes, each once. labels: N of them, the pictures' own.

    Raises:
        QueryError: it knows none of them.
    """
    phrases = phrases_of([os.path.basename(name).replace("_", " ") for name in names], template)
    vocabulary = vocabulary_of(model)
    said = {name: phrase for name, phrase in zip(names, phrases, strict=True) if vocabulary is None or vocabulary.has(phrase)}
    known = list(said)
    if not known:
        what = f"model {model.fingerprint.name} knows none of these {len(names)} class names"
        raise QueryError(what, hint="use other names, or another model")
    own = [row for row, label in enumerate(labels) if label in set(known)]
    found = words_found(model.embed_text(list(said.values())), pictures[own], [known.index(labels[row]) for row in own])
    return replace(found, classes=len(known), of=len(names))


def words_found(words: Float32, pictures: Float32, labels: Sequence[int]) -> WordFigures:
    """Hold class names against pictures.

    Args:
        words: float32 (C, D), unit length, the class names. pictures: float32 (N, D). labels: N classes' numbers, none missing.
    """
    cosines = words @ pictures.T  # (C, N)
    own = np.asarray(labels)
    ranked = top(cosines, cosines.shape[1])  # (C, N)
    hits = own[ranked] == np.arange(len(words))[:, None]  # (C, N)
    sizes = hits.sum(axis=1)
    ten = [row[: min(10, size)].mean() for row, size in zip(hits, sizes, strict=True)]
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    average = (precision * hits).sum(axis=1) / sizes
    return WordFigures(float((cosines.argmax(axis=0) == own).mean()), float(np.mean(ten)), float(average.mean()))
