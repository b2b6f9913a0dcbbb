"""The words of a safetensors checkpoint on torch: its text tower alone, from the files that hold both towers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..types import Float32
from .checkpoint import Checkpoint
from .files import TextFiles
from .torch import load_part, on_device

__all__ = ["open_text"]

_CLASSES = {"clip": "CLIPTextModelWithProjection", "siglip": "SiglipTextModel"}


def open_text(checkpoint: Checkpoint, files: TextFiles, tokens: int) -> tuple[Callable[[npt.NDArray[np.int64]], Float32], str]:
    """As `onnx_text.open_text`; in float32 on every device. Errors as in `torch.open_torch`."""
    import torch

    family = str(checkpoint.model_type)
    model = on_device(load_part(files.folder, _CLASSES[family], tower="text"))

    def text(ids: npt.NDArray[np.int64]) -> Float32:
        with torch.inference_mode():
            out = model(input_ids=torch.from_numpy(ids).to(model.device))
            chosen = out.text_embeds if family == "clip" else out.pooler_output
            found: Float32 = chosen.float().cpu().numpy()
        return found

    return text, checkpoint.weights_sha256
