"""The words of an ONNX model on ONNX Runtime: `text_model.onnx` beside `vision_model.onnx`, as the hub's exports have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelError
from ..types import Float32
from .checkpoint import Checkpoint
from .files import TextFiles, weights_digest
from .graph import read_onnx
from .onnx import open_session, run

__all__ = ["open_text"]

_OUTPUTS = ("text_embeds", "embedding")
_INPUTS = ("input_ids", "attention_mask")


def open_text(checkpoint: Checkpoint, files: TextFiles, tokens: int) -> tuple[Callable[[npt.NDArray[np.int64]], Float32], str]:
    """What maps tokens, int64 (1, T), to float32 (1, D), not yet of unit length; and the hex sha256 of its weights.

    Args:
        tokens: how many the model takes at most, for the check that it fits the tokenizer.

    Raises:
        ModelDamagedError: the file does not load. ModelError: it does not take tokens, or takes another number of them.
    """
    path = files.weights[0]
    read = read_onnx(files.weights)
    digest = weights_digest(files.weights, read.digests)
    session = open_session(read, path, soon=True)
    inputs = {end.name: end for end in session.get_inputs()}
    names = [end.name for end in session.get_outputs()]
    if "input_ids" not in inputs or not set(inputs) <= set(_INPUTS):
        raise ModelError(f"this ONNX file takes {', '.join(inputs)}, not the tokens of a text", path=path)
    declared = inputs["input_ids"].shape
    if len(declared) != 2 or (isinstance(declared[1], int) and declared[1] != tokens):
        raise ModelError(f"this ONNX file takes tokens of the shape {declared}, its tokenizer gives {tokens}", path=path)
    # SigLIP's pooled output is in the space of its pictures; CLIP's is not.
    wanted = (*_OUTPUTS, "pooler_output") if checkpoint.model_type == "siglip" else _OUTPUTS
    output = next((name for name in wanted if name in names), None)
    if output is None:
        raise ModelError(f"this ONNX file has the outputs {', '.join(names)}, not {' or '.join(wanted)}", path=path)

    def text(ids: npt.NDArray[np.int64]) -> Float32:
        feed: dict[str, Any] = {"input_ids": ids}
        if "attention_mask" in inputs:
            feed["attention_mask"] = np.ones_like(ids)  # the filled-up part, too: SigLIP was trained to read it
        return run(session, output, feed, path)

    return text, digest
