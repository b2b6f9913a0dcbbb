"""A model that knows words: its picture tower, whatever runs it, and a text tower that is opened when words are first asked for."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..advice import Advice, Setting, Verb
from ..config import PHRASE_LENGTH, PHRASES_KEPT
from ..errors import ModelError, ModelMismatchError, NoWordsError, UsageError, WordsError
from ..types import Embedder, Fingerprint, Float32, TextEmbedder, UInt8
from .rows import words_rows
from .tokenizer import Tokenizer
from .vectors import unit_row

__all__ = ["NEUTRAL_PHRASES", "PicturesToo", "TextTower", "WordsEmbedder", "chances", "checked_phrase", "knowing_words"]

# int64 (1, T) -> float32 (1, D), not yet of unit length.
RunText = Callable[[npt.NDArray[np.int64]], Float32]

# Phrases that fit any picture: their mean is where this model keeps its words, and their vectors prove that two text towers are one.
NEUTRAL_PHRASES = ("a photo", "a picture", "an image", "a thing", "something", "a photo of something", "사진", "그림")


@dataclass(frozen=True, slots=True)
class TextTower:
    """What is opened for words.

    Attributes:
        weights_sha256: hex digest of its weights.
        calibration: (scale, bias), see `rows.ModelRow`; None: none was trained.
    """

    run: RunText
    tokenizer: Tokenizer
    weights_sha256: str
    calibration: tuple[float, float] | None


class PicturesToo:
    """What a model that also knows words passes on to the one of its pictures."""

    def __init__(self, pictures: Embedder) -> None:
        self._pictures = pictures

    @property
    def fingerprint(self) -> Fingerprint:
        return self._pictures.fingerprint

    @property
    def runtime(self) -> str:
        return self._pictures.runtime

    def embed(self, pixels: UInt8) -> Float32:
        return self._pictures.embed(pixels)

    def close(self) -> None:
        self._pictures.close()


class WordsEmbedder(PicturesToo):
    """See `types.TextEmbedder`; any thread may ask.

    Args:
        pictures: the picture tower, which says the fingerprint.
        open_text: opens the text tower; called once, when words are first asked for.
    """

    def __init__(self, pictures: Embedder, open_text: Callable[[], TextTower]) -> None:
        super().__init__(pictures)
        self._open_text = open_text
        self._tower: TextTower | None = None
        self._kept: OrderedDict[str, Float32] = OrderedDict()
        self._turn = threading.Lock()

    def close(self) -> None:
        super().close()
        with self._turn:
            self._tower = None
            self._kept.clear()

    def embed_text(self, texts: Sequence[str]) -> Float32:
        vectors = np.empty((len(texts), self.fingerprint.dim), np.float32)
        with self._turn:
            for row, text in zip(vectors, texts, strict=True):
                row[:] = self._embed_one(text)
        return vectors

    def cuts(self, text: str) -> int | None:
        with self._turn:
            tokenizer = self._opened().tokenizer
            return tokenizer.length if tokenizer.cuts(text) else None

    @property
    def calibration(self) -> tuple[float, float] | None:
        with self._turn:
            return self._opened().calibration

    @property
    def words_sha256(self) -> str:
        with self._turn:
            tower = self._opened()
            return hashlib.sha256((tower.weights_sha256 + tower.tokenizer.digest).encode()).hexdigest()

    def _opened(self) -> TextTower:
        if self._tower is None:
            self._tower = self._open_text()
        return self._tower

    def _embed_one(self, text: str) -> Float32:
        kept = self._kept.get(text)
        if kept is None:
            tower = self._opened()
            raw = tower.run(tower.tokenizer.encode(text))
            if raw.shape != (1, self.fingerprint.dim):
                raise ModelMismatchError(
                    f"the words of model {self.fingerprint.name} have {raw.shape[-1]} numbers, its pictures {self.fingerprint.dim}",
                    hint="its files do not belong together: fetch or copy them again",
                )
            kept = unit_row(raw[0])
            if not np.isfinite(kept).all():
                raise ModelError("the model can make nothing of these words", hint="use others")
            self._kept[text] = kept
            while len(self._kept) > PHRASES_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(text)
        return kept


def knowing_words(model: Embedder) -> TextEmbedder:
    """This model, if it knows words. NoWordsError, which names the rows that do, if not."""
    if hasattr(model, "embed_text"):  # asked plainly, as in embedding.py
        return model  # type: ignore[return-value]
    able = words_rows()
    rows = " or ".join(f"{row.name} ({row.megabytes:,.0f} MB, fetched once)" for row in able)
    index = Verb("index", ("FOLDER", Setting("model", able[0].name), Setting("library", "OTHER")))
    raise NoWordsError(f"model {model.fingerprint.name} knows no words; {rows} does", hint=Advice("make a library with it: ", index))


def chances(cosines: npt.ArrayLike, calibration: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Cosines of words and pictures -> float64 of the same shape, 0 to 1: the probability that they fit, as the model was trained.

    sigmoid(scale * cosine + bias), with the (scale, bias) that SigLIP learns beside its towers (Zhai et al. 2023, "Sigmoid Loss for
    Language Image Pre-Training", equation 1).
    """
    scale, bias = calibration
    logits = np.clip(scale * np.asarray(cosines, np.float64) + bias, -500, 500)  # beyond them 0 and 1
    found: npt.NDArray[np.float64] = 1 / (1 + np.exp(-logits))
    return found


def checked_phrase(text: object) -> str:
    """A phrase to search with, its blanks at both ends off.

    Raises:
        UsageError: it is no text. WordsError: there is nothing in it, or far more than any model reads, or what no keyboard types.
    """
    if not isinstance(text, str):
        raise UsageError(f"words are a text, not a {type(text).__name__}", hint="for example 'a red bicycle'")
    phrase = text.strip()
    if not phrase:
        raise WordsError("there are no words to search with", hint="say what the picture shows, for example: a red bicycle")
    if len(phrase) > PHRASE_LENGTH:
        raise WordsError(f"these are {len(phrase):,} letters; a model reads a sentence or two", hint="say it shorter")
    # Line ends and tabs come with what is pasted, and are blanks to every model; the others are no words, lone surrogates no text.
    if any((ord(c) < 32 and not c.isspace()) or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in phrase):
        raise WordsError("there are control characters among these words", hint="type them again")
    return phrase
