"""A model of pictures alone that was given a vocabulary: for each thing and colour that has a name in it, a direction in its space.

The file is learnt by `training.vocabulary` and lies beside the model. It is no part of the fingerprint: the pictures' vectors are the same
with and without it, so a library that was made before knows its words at once.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..advice import Advice, Setting, Verb
from ..errors import ModelDamagedError, WordsError
from ..types import Embedder, Float32, TextEmbedder
from .phrases import Names
from .rows import MODELS
from .words import NEUTRAL_PHRASES, PicturesToo

__all__ = ["Tag", "Vocabulary", "VocabularyEmbedder", "calibration_of", "centre_of_words", "read_vocabulary", "vocabulary_of"]

_LIKELY = 0.5  # a tag is said when it is more likely there than not
_TAGS = 3
_COLOUR = "colour"


@dataclass(frozen=True, slots=True)
class Tag:
    """A thing that a picture probably shows.

    Attributes:
        name, korean: what it is called.
        probability: 0 to 1, as often as it is there in pictures like those that the model learnt from.
    """

    name: str
    korean: str
    probability: float


@dataclass(frozen=True)
class Vocabulary:
    """K things and colours.

    Attributes:
        english, korean: K times its names, the one that is shown first. kinds: "class", "group", "source" or "colour".
        vectors: float32 (K, D) of unit length.
        chances: float32 (K, 3): scale and bias, so that sigmoid(scale * cosine + bias) is the probability that a picture shows it, and the
            share of the training pictures that do.
        sha256: hex digest of its file.
    """

    english: tuple[tuple[str, ...], ...]
    korean: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...]
    vectors: Float32
    chances: Float32
    sha256: str

    @functools.cached_property
    def names(self) -> Names:
        both = enumerate(zip(self.english, self.korean, strict=True))
        pairs = [(name, thing) for thing, (english, korean) in both for name in (*english, *korean)]
        return Names(pairs, before=[thing for thing, kind in enumerate(self.kinds) if kind == _COLOUR])

    @property
    def scale(self) -> float:
        """How far cosines are apart, as one number for all things: by it labels that compete share a picture (softmax)."""
        return float(np.median(self.chances[:, 0]))

    def things(self, phrase: str) -> list[tuple[int, ...]]:
        """For each name in a phrase the things that it may mean. WordsError: see `VocabularyEmbedder.embed_text`."""
        found, unknown = self.names.read(phrase)
        if unknown:
            near = self.names.near(unknown[0])
            meant = f"; near it: {', '.join(near)}" if near else ""
            raise WordsError(f"the built-in vocabulary does not know the word {unknown[0]!r}{meant}", hint=_all_words())
        if not found:
            raise WordsError("these words name nothing that a picture could show", hint="say what it shows, for example: a red car")
        if len(found) > 1:  # "orange car": the colour
            hues = [tuple(thing for thing in things if self.kinds[thing] == _COLOUR) for things in found]
            found = [hue or things for hue, things in zip(hues, found, strict=True)]
        return found

    def has(self, phrase: str) -> bool:
        """Whether this is one name that it has; a sum of names, "black berry", is none."""
        found, unknown = self.names.read(phrase)
        return len(found) == 1 and not unknown

    def vector(self, phrase: str) -> Float32:
        """float32 (D,) of unit length: the sum of its names' directions, each of length 1 (a colour and a thing: see mini/README.md)."""
        parts = [_unit(self.vectors[list(things)].sum(axis=0)) for things in self.things(phrase)]
        return _unit(np.sum(parts, axis=0))

    def calibration(self, phrase: str) -> tuple[float, float] | None:
        """(scale, bias) of a phrase that is one name of one thing; None for others: a sum has no probability of its own."""
        things = self.things(phrase)
        if len(things) != 1 or len(things[0]) != 1:
            return None
        scale, bias, _ = self.chances[things[0][0]]
        return float(scale), float(bias)

    def tags(self, vector: Float32, most: int = _TAGS) -> list[Tag]:
        """What a picture with this vector (float32 (D,)) shows: at most `most` things, none of them unlikely; empty: it cannot be told.

        Of what is likely that is said first which tells most: probability * log(probability / share of all pictures). So a dog is called a
        dog, and neither an animal nor a breed that is a guess (after Deng et al. 2012, "Hedging your bets").
        """
        scale, bias, share = self.chances.T.astype(np.float64)
        chance = 1 / (1 + np.exp(-(scale * (self.vectors @ vector) + bias)))
        tells = chance * np.log(np.maximum(chance, 1e-9) / np.maximum(share, 1e-9))
        likely = [int(thing) for thing in np.argsort(-tells, kind="stable") if chance[thing] >= _LIKELY and self.kinds[thing] != _COLOUR]
        return [Tag(self.english[thing][0], self.korean[thing][0], float(chance[thing])) for thing in likely[:most]]


class VocabularyEmbedder(PicturesToo):
    """See `types.TextEmbedder`; any thread may ask.

    Args:
        pictures: the model, which says the fingerprint.
        open_vocabulary: reads the file; called once, when words are first asked for.
    """

    calibration: tuple[float, float] | None = None  # each thing has its own: `Vocabulary.calibration`

    def __init__(self, pictures: Embedder, open_vocabulary: Callable[[], Vocabulary]) -> None:
        super().__init__(pictures)
        self._open = open_vocabulary
        self._opened: Vocabulary | None = None
        self._turn = threading.Lock()

    @property
    def vocabulary(self) -> Vocabulary:
        with self._turn:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    @property
    def words_sha256(self) -> str:
        return self.vocabulary.sha256

    def embed_text(self, texts: Sequence[str]) -> Float32:
        """See `types.TextEmbedder`. WordsError for a phrase with a word that is not in the vocabulary; it names those nearest."""
        return np.stack([self.vocabulary.vector(text) for text in texts])

    def cuts(self, text: str) -> int | None:
        return None


def vocabulary_of(model: Embedder) -> Vocabulary | None:
    """The model's vocabulary; None: its words are any, or it has none."""
    return model.vocabulary if isinstance(model, VocabularyEmbedder) else None


def calibration_of(model: TextEmbedder, phrase: str) -> tuple[float, float] | None:
    """(scale, bias) for the probability that this phrase fits a picture; None: there is none. In a vocabulary each name has its own."""
    vocabulary = vocabulary_of(model)
    return model.calibration if vocabulary is None else vocabulary.calibration(phrase)


def centre_of_words(model: TextEmbedder) -> Float32:
    """float32 (D,): where this model keeps its words, the mean of neutral phrases.

    A vocabulary's words are directions from the middle of all pictures: it keeps them nowhere else, so their centre is 0.
    """
    if isinstance(model, VocabularyEmbedder):
        return np.zeros(model.fingerprint.dim, np.float32)
    return np.asarray(np.mean(model.embed_text(NEUTRAL_PHRASES), axis=0, dtype=np.float64), np.float32)


def read_vocabulary(path: Path, weights_sha256: str, dim: int) -> Vocabulary:
    """Read and check the file.

    Args:
        weights_sha256: of the model that it must have been learnt for. dim: its D.

    Raises:
        ModelDamagedError: it is not there, not what it should be, or another model's.
    """
    repair = "install this package again"
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            names = json.loads(stored["names"].tobytes())
            vectors, chances = stored["vectors"].astype(np.float32), stored["chances"].astype(np.float32)
        concepts = names["concepts"]
        english, korean = (tuple(tuple(map(str, concept[language])) for concept in concepts) for language in ("english", "korean"))
        kinds = tuple(str(concept["kind"]) for concept in concepts)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        good = vectors.shape == (len(concepts), dim) and chances.shape == (len(concepts), 3) and all(english) and all(korean)
        if not (good and lengths.all() and np.isfinite(chances).all()):
            raise ValueError("wrong shapes or numbers")
    except Exception as error:  # zipfile, numpy and json raise a dozen kinds for a bad file
        raise ModelDamagedError("this vocabulary cannot be read", path=path, hint=repair) from error
    if names["weights_sha256"] != weights_sha256:
        raise ModelDamagedError("this vocabulary was learnt for another model file", path=path, hint=repair)
    return Vocabulary(english, korean, kinds, vectors / lengths, chances, hashlib.sha256(content).hexdigest())


def _unit(vector: Float32) -> Float32:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _all_words() -> Advice:
    row = next(row for row in MODELS if row.onnx_text is not None)
    index = Verb("index", ("FOLDER", Setting("model", row.name), Setting("library", "OTHER")))
    return Advice(f"all words are known to {row.name} ({row.megabytes:,.0f} MB, fetched once): ", index)
