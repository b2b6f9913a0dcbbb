"""Models: a name in, an `Embedder` out.

    load_model(name) -> rows.py, find.py: which row, which files -> files.py, hub.py: in a folder, the cache, the hub
                     -> recipe.py: how it wants its pixels       -> checkpoint.py: all of it, read and checked
                     -> runtimes.py: which runtime opens it      -> onnx.py | openvino.py | int8.py | torch.py -> Embedder
    prove(embedder, canonical) -> proof.py: it draws here the vectors that its library was made with

A model is a row of `rows.py`, a runtime a row of `runtimes.py`. Nothing heavy is imported until a model is loaded.
"""

from __future__ import annotations

from .find import choose_auto, is_available, resolve, words_are_here
from .load import load_model, loss_in_int8
from .proof import (
    canonical_vectors,
    check_embedder,
    drawn_before,
    draws_the_same,
    prove,
    prove_words,
    remember,
    remember_drawn,
    ways_out,
    words_record,
)
from .rows import MODELS, ModelRow, full_precision_of, near_identical, words_rows
from .runtimes import RUNTIMES, Runtime, check_runtime
from .vectors import canonical_pictures, check_same_vectors
from .vocabulary import Tag, Vocabulary, VocabularyEmbedder, calibration_of, centre_of_words, vocabulary_of
from .words import NEUTRAL_PHRASES, chances, checked_phrase, knowing_words

__all__ = [
    "MODELS",
    "NEUTRAL_PHRASES",
    "RUNTIMES",
    "ModelRow",
    "Runtime",
    "Tag",
    "Vocabulary",
    "VocabularyEmbedder",
    "calibration_of",
    "canonical_pictures",
    "canonical_vectors",
    "centre_of_words",
    "chances",
    "check_embedder",
    "check_runtime",
    "check_same_vectors",
    "checked_phrase",
    "choose_auto",
    "drawn_before",
    "draws_the_same",
    "full_precision_of",
    "is_available",
    "knowing_words",
    "load_model",
    "loss_in_int8",
    "near_identical",
    "prove",
    "prove_words",
    "remember",
    "remember_drawn",
    "resolve",
    "vocabulary_of",
    "ways_out",
    "words_are_here",
    "words_record",
    "words_rows",
]
