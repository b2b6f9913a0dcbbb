"""torch + transformers (extra [torch]): every safetensors checkpoint of the ViT family, on CUDA, Apple's MPS or the CPU, in fp32."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import MissingExtraError, ModelDamagedError, ModelError
from ..types import Fingerprint, Float32, Preprocess, UInt8
from .files import ModelFiles, has_trained_pooler, weights_digest
from .vectors import check_pixels, model_input, number_table, unit_row

__all__ = ["TorchEmbedder", "open_torch"]

_CLASSES = {
    "vit": "ViTModel",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
}
# One picture a call on the CPU (a batch gains 12-18 % and makes the bits depend on the neighbours); on an accelerator always this
# many, the last ones blank if need be: another batch size may choose another kernel, and with it other bits.
_ACCELERATOR_BATCH = 16


class TorchEmbedder:
    """See `types.Embedder`. Calls from several threads take turns: torch itself uses all cores."""

    def __init__(self, model: Any, device: str, fingerprint: Fingerprint, forward: dict[str, bool]) -> None:
        self._model = model
        self._device = device
        self._fingerprint = fingerprint
        self._forward = forward
        self._table = number_table(fingerprint.preprocess)
        self._batch = 1 if device == "cpu" else _ACCELERATOR_BATCH
        self._turn = threading.Lock()

    @property
    def fingerprint(self) -> Fingerprint:
        return self._fingerprint

    @property
    def runtime(self) -> str:
        return f"torch ({self._device})"

    def embed(self, pixels: UInt8) -> Float32:
        check_pixels(pixels, self._fingerprint.preprocess)
        vectors = np.empty((len(pixels), self._fingerprint.dim), dtype=np.float32)
        for start in range(0, len(pixels), self._batch):
            part = pixels[start : start + self._batch]
            for i, row in enumerate(self._run(part)[: len(part)]):
                vectors[start + i] = unit_row(row)
        return vectors

    def close(self) -> None:
        with self._turn:
            self._model = None

    def _run(self, pictures: UInt8) -> Float32:
        """uint8 (n <= batch, H, W, 3) -> float32 (batch, D), not yet of unit length."""
        import torch

        height, width = self._fingerprint.preprocess.output_size
        numbers = np.zeros((self._batch, 3, height, width), dtype=np.float32)
        for i, picture in enumerate(pictures):
            numbers[i] = model_input(picture, self._table)
        # TF32 in the patch convolution would be a tenth of a percent off the other runtimes.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with self._turn, torch.inference_mode(), exact:
            out = self._model(pixel_values=torch.from_numpy(numbers).to(self._device), **self._forward)
            # (B, T, D): the class token is the first; DINOv2's and v3's registers come after it.
            chosen = out.pooler_output if self._fingerprint.output == "pooler" else out.last_hidden_state[:, 0]
            raw: Float32 = chosen.float().cpu().numpy()
        return raw


def open_torch(
    files: ModelFiles,
    *,
    name: str,
    source: str,
    revision: str,
    preprocess: Preprocess,
    output: str,
    model_type: str,
) -> TorchEmbedder:
    """Load a safetensors checkpoint.

    Args:
        files: its folder and weights.
        name, source, revision, preprocess: go into the fingerprint as they are.
        output: "auto", "cls" or "pooler". A pooler is used only if the checkpoint has its weights; none is ever made up.
        model_type: its architecture, one of `files.ARCHITECTURES`.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelDamagedError: the weights do not load, or not all of them are there.
        ModelError: "pooler" was asked for and the checkpoint has none.
    """
    has_pooler = model_type == "vit" and has_trained_pooler(files.weights)
    if output == "pooler" and not has_pooler:
        raise ModelError("this checkpoint has no trained pooler", path=files.folder)
    if output == "embedding":
        raise ModelError(f"model {name} has no output 'embedding' on torch")
    chosen = "pooler" if output == "pooler" or (output == "auto" and has_pooler) else "cls"
    digest = weights_digest(files.weights)
    model = _load(files, model_type, with_pooler=chosen == "pooler")
    forward = {}
    if model_type == "vit":  # its positions are drawn for one size; the others adapt by themselves
        image_size = model.config.image_size
        native = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        forward["interpolate_pos_encoding"] = native != preprocess.output_size
    fingerprint = Fingerprint(name, source, revision, digest, chosen, int(model.config.hidden_size), preprocess)
    device = _device()
    return TorchEmbedder(model.to(device), device, fingerprint, forward)


def _load(files: ModelFiles, model_type: str, *, with_pooler: bool) -> Any:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError("torch and transformers", "torch", "This model") from error
    model_class = getattr(transformers, _CLASSES[model_type], None)
    if model_class is None:
        raise ModelError(f"transformers {transformers.__version__} does not know {model_type}", hint="pip install -U transformers")
    options: dict[str, Any] = {"add_pooling_layer": with_pooler} if model_type == "vit" else {}
    try:
        with _quiet(transformers):
            model, loaded = model_class.from_pretrained(
                str(files.folder), dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True, **options
            )
    except Exception as error:  # SafetensorError, RuntimeError (shapes), OSError, KeyError, ... by what is broken
        raise ModelDamagedError("this model does not load", path=files.folder, hint="fetch or copy it again") from error
    missing = sorted(key for key in loaded["missing_keys"] if not key.endswith("mask_token"))  # used in training only
    if missing or loaded.get("mismatched_keys"):
        what = missing[0] if missing else str(next(iter(loaded["mismatched_keys"])))
        raise ModelDamagedError(f"this model lacks weights ({what})", path=files.folder, hint="fetch or copy it again")
    return model.eval()


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No load report and no bar from transformers: what matters in them we check ourselves. Put back as it was."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
