"""Checkpoints with random weights, saved as the real ones are, and a Hugging Face cache to put them in. For tests; most need torch."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

# As the real checkpoints' files say it, old spellings included.
DINO_PREPROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "size": 224,
}
DINOV2_PREPROCESSOR = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "BitImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
}
DINO_VIT_S16 = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
    "patch_size": 16,
    "image_size": 224,
}
SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96, "patch_size": 16, "image_size": 64}
SMALL_PREPROCESSOR = DINO_PREPROCESSOR | {"size": 64}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def save(kind: str, folder: Path, *, preprocessor: dict[str, Any], pooler: bool = False, spread: float = 0.2, **config: Any) -> Path:
    """Save a randomly initialised `kind` ("ViT", "Dinov2", "Dinov2WithRegisters", "DINOv3ViT") and return its folder.

    The weights are drawn wider than for training (`spread`: .2, not .02), so that different pictures get clearly different vectors.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(7)
    made = getattr(transformers, f"{kind}Config")(initializer_range=spread, **config)
    options = {"add_pooling_layer": pooler} if kind == "ViT" else {}
    model = getattr(transformers, f"{kind}Model")(made, **options)
    with torch.no_grad():  # as if trained: no parameter keeps the value it was made with
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def export_onnx(checkpoint: Path, folder: Path, *, outputs: tuple[str, ...] = ("last_hidden_state",)) -> Path:
    """The checkpoint as a folder like those on the hub: onnx/model.onnx, config.json, preprocessor_config.json."""
    import torch
    import transformers

    (folder / "onnx").mkdir(parents=True)
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(checkpoint / name, folder / name)
    kind = json.loads((folder / "config.json").read_text())
    model = getattr(transformers, kind["architectures"][0]).from_pretrained(checkpoint).eval()

    class Outputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            found = self.model(pixel_values=pixel_values)
            return tuple(found[name] for name in outputs)

    if kind["model_type"] == "dinov2_with_registers":  # at its own size its positions are not stretched; the exporter does not see that
        model.embeddings.interpolate_pos_encoding = lambda *_: model.embeddings.position_embeddings
    side = kind["image_size"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, and needs neither onnxscript nor 5 seconds
        torch.onnx.export(
            Outputs().eval(),
            (torch.zeros(1, 3, side, side),),
            str(folder / "onnx" / "model.onnx"),
            input_names=["pixel_values"],
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in ("pixel_values", *outputs)},
            dynamo=False,
        )
    return folder


def tiny_onnx(folder: Path, *, preprocessor: dict[str, object] | None = None, config: dict[str, object] | None = None) -> Path:
    """A folder with an ONNX "model" of 8 x 8 pictures: mean red, green, blue, of which it takes the logarithm."""
    import onnx
    from onnx import TensorProto, helper

    node = [
        helper.make_node("ReduceMean", ["pixel_values"], ["mean"], axes=[2, 3], keepdims=0),  # (N, 3)
        helper.make_node("Log", ["mean"], ["embedding"]),  # black: -inf
    ]
    graph = helper.make_graph(
        node,
        "tiny",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3])],
    )
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    recipe = DINO_PREPROCESSOR | {"size": 8, "do_normalize": False} if preprocessor is None else preprocessor
    (folder / "preprocessor_config.json").write_text(json.dumps(recipe))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def put_in_cache(cache: Path, repo: str, checkpoint: Path) -> Path:
    """Lay a folder into a Hugging Face cache as a download would; returns its snapshot folder."""
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    (home / "blobs").mkdir()
    for file in sorted(p for p in checkpoint.rglob("*") if p.is_file()):
        content = file.read_bytes()
        blob = home / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        link = snapshot / file.relative_to(checkpoint)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return snapshot
