"""torch + transformers (extra [torch]): every safetensors checkpoint of the ViT family, on CUDA, Apple's MPS or the CPU.

In float32; on CUDA in bfloat16 where a model's canonical pictures then come out the same (cosine >= .9999), tried each time it is loaded.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..config import TORCH_BATCH
from ..errors import MissingExtraError, ModelDamagedError, ModelError
from ..types import Fingerprint, Float32, UInt8
from .checkpoint import Checkpoint
from .vectors import canonical_pictures, check_pixels, matches_reference, number_table, unit_row

__all__ = ["TorchEmbedder", "load_part", "on_device", "open_torch"]

_CLASSES = {
    "vit": "ViTModel",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
    "clip": "CLIPVisionModelWithProjection",
    "siglip": "SiglipVisionModel",
}


_OUTPUTS: dict[str, Callable[[Any], Any]] = {
    "embedding": lambda out: out.image_embeds,
    "pooler": lambda out: out.pooler_output,
    "cls": lambda out: out.last_hidden_state[:, 0],  # (B, T, D): the class token is the first; registers come after it
}


class TorchEmbedder:
    """See `types.Embedder`. Calls from several threads take turns: torch itself uses all cores.

    On CUDA two batches are under way: while one is computed the next is copied to pinned memory and, on a stream of its own, to the
    card. Pixels cross as bytes, a quarter of the numbers they become there. Decoding goes on in its own processes meanwhile.

    Args:
        batch: pictures a run; None: what suits the device.
        bf16: compute the matrix products in bfloat16; what is added up and normalised stays float32.
    """

    def __init__(
        self, model: Any, device: str, fingerprint: Fingerprint, forward: dict[str, bool], *, batch: int | None = None, bf16: bool = False
    ) -> None:
        self._model = model
        self._device = device
        self._fingerprint = fingerprint
        self._forward = forward
        self._bf16 = bf16
        self._table = number_table(fingerprint.preprocess)
        self._batch = batch or TORCH_BATCH[device]
        self._lanes: list[_Lane] = []
        self._turn = threading.Lock()

    @property
    def fingerprint(self) -> Fingerprint:
        return self._fingerprint

    @property
    def runtime(self) -> str:
        return f"torch ({self._device}, bf16)" if self._bf16 else f"torch ({self._device})"

    def embed(self, pixels: UInt8) -> Float32:
        check_pixels(pixels, self._fingerprint.preprocess)
        vectors = np.empty((len(pixels), self._fingerprint.dim), dtype=np.float32)
        with self._turn:
            if not self._lanes:
                self._lanes = [_Lane(self, self._batch) for _ in range(2 if self._device == "cuda" else 1)]
            under_way: list[tuple[int, int, _Lane]] = []
            for number, start in enumerate(range(0, len(pixels), self._batch)):
                if len(under_way) == len(self._lanes):
                    self._collect(vectors, *under_way.pop(0))
                lane, part = self._lanes[number % len(self._lanes)], pixels[start : start + self._batch]
                self._begin(lane, part)
                under_way.append((start, len(part), lane))
            for one in under_way:
                self._collect(vectors, *one)
        return vectors

    def close(self) -> None:
        with self._turn:
            self._model = None
            self._lanes = []

    def _begin(self, lane: _Lane, pictures: UInt8) -> None:
        """uint8 (n <= batch, H, W, 3) on its way to `lane.found`; on CUDA it is not there yet."""
        import torch

        # TF32 in the patch convolution would be a tenth of a percent off the other runtimes.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact, torch.autocast(self._device, dtype=torch.bfloat16, enabled=self._bf16):
            out = self._model(pixel_values=lane.numbers(pictures), **self._forward)
            lane.take(_OUTPUTS[self._fingerprint.output](out).float())

    def _collect(self, vectors: Float32, start: int, count: int, lane: _Lane) -> None:
        for i, row in enumerate(lane.rows()[:count]):
            vectors[start + i] = unit_row(row)


class _Lane:
    """What one batch needs on its way to the device and back; used again only when its vectors were collected."""

    def __init__(self, embedder: TorchEmbedder, batch: int) -> None:
        import torch

        recipe, self.device, self.cuda = embedder.fingerprint.preprocess, embedder._device, embedder._device == "cuda"
        self.table = torch.from_numpy(embedder._table).to(self.device)  # (3, 256)
        self.channel = torch.arange(3, device=self.device)
        self.bytes = torch.zeros((batch, *recipe.output_size, 3), dtype=torch.uint8, pin_memory=self.cuda)
        self.found = torch.zeros((batch, embedder.fingerprint.dim), dtype=torch.float32, pin_memory=self.cuda)
        if self.cuda:
            self.there = torch.empty_like(self.bytes, device=self.device)
            self.copies = torch.cuda.Stream()
            self.done = torch.cuda.Event()
            torch.cuda.synchronize()  # `there` may be memory that kernels under way still read; the copies' stream does not wait for them

    def numbers(self, pictures: UInt8) -> Any:
        """float32 (batch, 3, H, W) on the device, equal to `vectors.model_input` bit for bit: looked up in the same table."""
        import torch

        host = self.bytes.numpy()
        host[: len(pictures)] = pictures
        host[len(pictures) :] = 0
        if self.cuda:
            with torch.cuda.stream(self.copies):
                self.there.copy_(self.bytes, non_blocking=True)
            torch.cuda.current_stream().wait_stream(self.copies)
        here = self.there if self.cuda else self.bytes.to(self.device)
        return self.table[self.channel, here.int()].permute(0, 3, 1, 2).contiguous()

    def take(self, vectors: Any) -> None:
        self.found.copy_(vectors, non_blocking=self.cuda)
        if self.cuda:
            self.done.record()

    def rows(self) -> Float32:
        """float32 (batch, D), not yet of unit length."""
        if self.cuda:
            self.done.synchronize()
        found: Float32 = self.found.numpy()
        return found


def open_torch(checkpoint: Checkpoint) -> TorchEmbedder:
    """Load a safetensors checkpoint; on a card that knows bfloat16 in that, if its vectors stay the same, else in float32.

    A pooler is used only if the checkpoint has its weights; none is ever made up.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelDamagedError: the weights do not load, or not all of them are there.
        ModelError: "pooler" was asked for and the checkpoint has none.
    """
    preprocess, model_type = checkpoint.preprocess, str(checkpoint.model_type)
    chosen = _choose_output(checkpoint)
    options = {"add_pooling_layer": chosen == "pooler"} if model_type == "vit" else {}
    tower = "vision" if checkpoint.knows_words else ""
    model = load_part(checkpoint.files.folder, _CLASSES[model_type], tower=tower, **options)
    forward = {}
    if model_type in ("vit", "clip", "siglip"):  # their positions are drawn for one size; the others adapt by themselves
        image_size = model.config.image_size
        native = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        forward["interpolate_pos_encoding"] = native != preprocess.output_size
    dim = model.config.projection_dim if chosen == "embedding" else model.config.hidden_size
    fingerprint = checkpoint.fingerprint(chosen, int(dim))
    model = on_device(model)
    device = model.device.type
    exact = TorchEmbedder(model, device, fingerprint, forward)
    if not _has_bf16(device):
        return exact
    quick = TorchEmbedder(model, device, fingerprint, forward, bf16=True)
    return quick if matches_reference(quick, exact.embed(canonical_pictures(preprocess))) else exact


def _choose_output(checkpoint: Checkpoint) -> str:
    """A two-tower model has one that is a vector among its words; else the trained pooler, or the class token."""
    if checkpoint.model_type in ("clip", "siglip"):
        return "embedding" if checkpoint.model_type == "clip" else "pooler"
    has_pooler = checkpoint.model_type == "vit" and checkpoint.pooler_is_trained
    if checkpoint.output == "pooler" and not has_pooler:
        raise ModelError("this checkpoint has no trained pooler", path=checkpoint.files.folder)
    if checkpoint.output == "embedding":
        raise ModelError(f"model {checkpoint.name} has no output 'embedding' on torch")
    return "pooler" if checkpoint.output != "cls" and has_pooler else "cls"


def on_device(model: Any) -> Any:
    return model.to(_device())


def load_part(folder: Path, class_name: str, *, tower: str = "", **options: Any) -> Any:
    """A transformers model of this class, in float32. `tower`: "vision" or "text", that of a checkpoint with both; "": all of it.

    Raises:
        MissingExtraError, ModelDamagedError, ModelError: as for `open_torch`.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError("torch and transformers", "torch", "This model") from error
    model_class = getattr(transformers, class_name, None)
    if model_class is None:
        raise ModelError(f"transformers {transformers.__version__} does not know {class_name}", hint="pip install -U transformers")
    try:
        with _quiet(transformers):
            whole = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True) if tower else None
            if whole is not None:
                options["config"] = part = getattr(whole, f"{tower}_config")
                if hasattr(whole, "projection_dim"):  # CLIP's, which is said once for both
                    part.projection_dim = whole.projection_dim
            model, loaded = model_class.from_pretrained(
                str(folder),
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                attn_implementation="sdpa",
                **options,
            )
    except Exception as error:  # SafetensorError, RuntimeError (shapes), OSError, KeyError, ... by what is broken
        raise ModelDamagedError("this model does not load", path=folder, hint="fetch or copy it again") from error
    missing = sorted(key for key in loaded["missing_keys"] if not key.endswith("mask_token"))  # used in training only
    if missing or loaded.get("mismatched_keys"):
        what = missing[0] if missing else str(next(iter(loaded["mismatched_keys"])))
        raise ModelDamagedError(f"this model lacks weights ({what})", path=folder, hint="fetch or copy it again")
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


def _has_bf16(device: str) -> bool:
    """Whether bfloat16 is quick there: on NVIDIA's cards from Ampere on."""
    import torch

    return device == "cuda" and torch.cuda.get_device_capability() >= (8, 0)


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def card_name() -> str:
    """The CUDA card's, for what was proved on it."""
    import torch

    return str(torch.cuda.get_device_name())
