"""DINO ViT-S/16 with random weights, as the hub's checkpoint is laid out, and the same as ONNX; and the original program's loop over it.

Speed does not depend on the weights, what bf16 does to a vector does: at the architecture's own initial width (.02) its cosine is .99996,
at ten times that .956, and the program then runs the model in f32 by itself.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image

__all__ = ["dino", "original_loop", "torch_model"]

ARCHITECTURE = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
    "patch_size": 16,
    "image_size": 224,
}
PREPROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "size": 224,
}


def dino(cache: Path) -> Path:
    """The folder with config.json, preprocessor_config.json, model.safetensors and onnx/model.onnx; made if it is not there."""
    folder = cache / "dino-vits16-random"
    if not folder.exists():
        fresh = cache / "dino-vits16-random.part"
        shutil.rmtree(fresh, ignore_errors=True)
        _make(fresh)
        fresh.rename(folder)
    return folder


def _make(folder: Path) -> None:
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(7)
    model = transformers.ViTModel(transformers.ViTConfig(**ARCHITECTURE), add_pooling_layer=False).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    (folder / "onnx").mkdir()

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            return self.model(pixel_values=pixel_values).last_hidden_state

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated; the other one needs a further package
        torch.onnx.export(
            Hidden().eval(),
            (torch.zeros(1, 3, 224, 224),),
            str(folder / "onnx" / "model.onnx"),
            input_names=["pixel_values"],
            output_names=["last_hidden_state"],
            dynamic_axes={"pixel_values": {0: "batch"}, "last_hidden_state": {0: "batch"}},
            dynamo=False,
        )


def torch_model(folder: Path, threads: int = 1) -> Any:
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()


def original_loop(folder: Path) -> tuple[Callable[[Any], list[float]], Callable[[Iterable[Path]], list[list[float]]], Any]:
    """What the original program did with a picture: decoded in full, the reference processor, batch 1, gradients on, a list of floats.

    It ran with `pooler_output`, whose weights the checkpoint does not have; the class token costs the same.

    Returns:
        the model alone (pixel_values -> vector), the whole loop over files, and the processor.
    """
    import transformers

    model = torch_model(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")

    def embed(pixel_values: Any) -> list[float]:
        return model(pixel_values=pixel_values).last_hidden_state[:, 0].detach().cpu().numpy().squeeze().tolist()  # type: ignore[no-any-return]

    def loop(paths: Iterable[Path]) -> list[list[float]]:
        found = []
        for path in paths:
            with Image.open(path) as image:
                found.append(embed(processor(images=image, return_tensors="pt")["pixel_values"]))
        return found

    return embed, loop, processor
