"""Words to numbers, as a model was trained to read them; the only file that knows the library `tokenizers`.

A checkpoint's `tokenizer.json` is data: how text is normalised, cut into tokens and framed. What the families do beside it:

    CLIP       lower case (in the file), at most 77 tokens; what follows the end is masked, so nothing is added
    SigLIP     lower case, without punctuation, blanks drawn together; 64 tokens, filled up with the padding token, which the model reads
    SigLIP 2   lower case (Gemma's tokenizer.json keeps capitals, the model never saw one); 64 tokens, filled up likewise
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelDamagedError, ModelError
from .files import TextFiles, check_kept_as, read_json

__all__ = ["Tokenizer", "read_tokenizer"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Reads words for one model; any thread may ask.

    Attributes:
        length: tokens that the model takes; longer text is cut.
        digest: hex sha256 of the tokenizer's files and of the rules above.
    """

    length: int
    digest: str
    _encoder: Any  # tokenizers.Tokenizer, which cuts and frames
    _normalise: Callable[[str], str]
    _filler: int | None  # token with which short text is filled up; None: not at all
    _before: bool  # it stands before the text, not after it

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """int64 (1, T), T <= `length`: always `length` where the model wants it filled up."""
        ids = self._encoder.encode(self._normalise(text)).ids
        if self._filler is not None:
            rest = [self._filler] * (self.length - len(ids))
            ids = [*rest, *ids] if self._before else [*ids, *rest]
        return np.array([ids], np.int64)

    def cuts(self, text: str) -> bool:
        """Whether the end of this text is beyond what the model reads."""
        return bool(self._encoder.encode(self._normalise(text)).overflowing)


def read_tokenizer(files: TextFiles, model_type: str, config: dict[str, Any]) -> Tokenizer:
    """The tokenizer of a checkpoint of the family `model_type` ("clip", "siglip").

    Args:
        config: of the whole checkpoint; its "text_config" says how many tokens it takes.

    Raises:
        ModelDamagedError: a file cannot be read. ModelError: it has none, or one that runs code of its own.
    """
    if files.tokenizer is None:
        raise ModelError("this model's words cannot be read (no tokenizer.json)", path=files.folder)
    facts = {} if files.tokenizer_config is None else read_json(files.tokenizer_config)
    if "auto_map" in facts:
        raise ModelError("its tokenizer runs code of its own, which is never done", path=files.tokenizer_config)
    length = _length(config, 77 if model_type == "clip" else 64, files.folder)
    try:
        from tokenizers import Tokenizer as Encoder

        content = files.tokenizer.read_bytes()
        check_kept_as(files.tokenizer, hashlib.sha256(content).hexdigest())
        encoder = Encoder.from_buffer(content)
        encoder.no_padding()
        encoder.enable_truncation(length)
        filler = None if model_type == "clip" else _filler(encoder, facts)
    except ModelDamagedError:
        raise
    except Exception as error:  # OSError; tokenizers raises bare Exceptions
        raise ModelDamagedError("this tokenizer does not load", path=files.tokenizer, hint="fetch or copy it again") from error
    before = facts.get("padding_side") == "left"
    rules = f"{model_type} {length} {filler} {before} {facts.get('tokenizer_class')}"
    digest = hashlib.sha256(content + rules.encode()).hexdigest()
    return Tokenizer(length, digest, encoder, _normaliser(model_type, facts), filler, before)


def _length(config: dict[str, Any], usual: int, folder: Path) -> int:
    text = config.get("text_config")
    found = text.get("max_position_embeddings", usual) if isinstance(text, dict) else usual
    if not isinstance(found, int) or isinstance(found, bool) or not 2 <= found <= 4096:
        raise ModelError(f"this model says that it takes {found} tokens", path=folder)
    return found


def _filler(encoder: Any, facts: dict[str, Any]) -> int:
    named = facts.get("pad_token", "<pad>")
    token = named.get("content") if isinstance(named, dict) else named
    found = encoder.token_to_id(token) if isinstance(token, str) else None
    if found is None:
        raise ValueError("no padding token")
    return int(found)


def _normaliser(model_type: str, facts: dict[str, Any]) -> Callable[[str], str]:
    if model_type == "clip":
        return str
    if facts.get("tokenizer_class") in ("SiglipTokenizer", "SiglipTokenizerFast"):  # the first generation, as its authors did it
        return lambda text: re.sub(r"\s+", " ", text.lower().translate(_PUNCTUATION)).strip()
    return str.lower
