"""A checkpoint's preprocessor_config.json -> our `Preprocess`.

It says what transformers' image processors of the ViT family would do with it, old spellings included ("size": 224,
"feature_extractor_type"). What the file leaves out takes the defaults of the processor it names (transformers 5 source).
"""

from __future__ import annotations

from typing import Any, cast

from ..config import MODEL_SIDE
from ..errors import ModelError
from ..types import Preprocess, Resample

__all__ = ["read_recipe"]

_HALF = (0.5, 0.5, 0.5)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_DEFAULTS: dict[str, dict[str, Any]] = {
    "ViT": {"size": 224, "resample": 2, "image_mean": _HALF, "image_std": _HALF},
    "Bit": {
        "size": {"shortest_edge": 224},
        "crop_size": 224,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": _CLIP[0],
        "image_std": _CLIP[1],
    },
    "CLIP": {
        "size": {"shortest_edge": 224},
        "crop_size": 224,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": _CLIP[0],
        "image_std": _CLIP[1],
    },
    "Siglip": {"size": {"height": 224, "width": 224}, "resample": 3, "image_mean": _HALF, "image_std": _HALF},
    # Its reference resizes in float; we resize the bytes, so a number may differ by half a grey level.
    "DINOv3ViT": {"size": 224, "resample": 2, "image_mean": _IMAGENET[0], "image_std": _IMAGENET[1]},
}
_FOR_MODEL = {"vit": "ViT", "dinov2": "Bit", "dinov2_with_registers": "Bit", "dinov3_vit": "DINOv3ViT", "clip": "CLIP", "siglip": "Siglip"}
_BY_SHORTER_SIDE = ("Bit", "CLIP")  # what a size of one number means
_RESAMPLE: dict[int, Resample] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def read_recipe(config: dict[str, Any], *, path: str, model_type: str | None = None) -> Preprocess:
    """The recipe that a preprocessor_config.json describes.

    Args:
        config: the file's content.
        path: where it lies, for the error.
        model_type: the checkpoint's architecture; decides the processor where the file names none.

    Raises:
        ModelError: an image processor or a value that we cannot follow exactly.
    """
    kind = _processor(config, model_type, path)
    given = {key: value for key, value in config.items() if value is not None}
    asked: dict[str, Any] = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255}
    asked |= _DEFAULTS[kind] | given
    if not asked["do_resize"]:
        raise ModelError("this model takes pictures of any size as they are, which is not supported", path=path)
    try:
        size, edge = _size(asked["size"], square=kind not in _BY_SHORTER_SIDE)
        crop = _size(asked["crop_size"], square=True)[0] if asked.get("do_center_crop") and "crop_size" in asked else None
        recipe = Preprocess(
            size=size,
            shortest_edge=edge,
            crop=None if crop == size else crop,
            resample=_RESAMPLE[int(asked["resample"])],
            rescale=float(asked["rescale_factor"]) if asked["do_rescale"] else 1.0,
            mean=_triple(asked["image_mean"]) if asked["do_normalize"] else (0.0, 0.0, 0.0),
            std=_triple(asked["image_std"]) if asked["do_normalize"] else (1.0, 1.0, 1.0),
        )
        if 0.0 in recipe.std:
            raise ValueError("image_std is zero")
        if edge is not None and crop is None:
            raise ValueError("shortest_edge without a crop gives pictures of different sizes")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"this preprocessing cannot be followed ({error})", path=path) from error
    return recipe


def _processor(config: dict[str, Any], model_type: str | None, path: str) -> str:
    named = config.get("image_processor_type") or config.get("feature_extractor_type")
    if named is None:
        return _FOR_MODEL.get(model_type or "", "ViT")
    kind = str(named)
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(ending)
    if kind not in _DEFAULTS:
        raise ModelError(
            f"its image processor {named} is not supported (those of ViT, DINO, DINOv2, DINOv3, CLIP and SigLIP are)", path=path
        )
    return kind


def _size(value: Any, *, square: bool) -> tuple[tuple[int, int] | None, int | None]:
    """((height, width), None) or (None, shortest edge)."""
    if isinstance(value, dict):
        if set(value) == {"height", "width"}:
            return (_side(value["height"]), _side(value["width"])), None
        if set(value) == {"shortest_edge"}:
            return None, _side(value["shortest_edge"])
        raise ValueError(f"size {value}")
    if isinstance(value, (list, tuple)):
        height, width = value
        return (_side(height), _side(width)), None
    return ((_side(value), _side(value)), None) if square else (None, _side(value))


def _side(value: Any) -> int:
    if isinstance(value, bool) or int(value) != value or not 1 <= value <= MODEL_SIDE:
        raise ValueError(f"a side of {value} pixels")
    return int(value)


def _triple(value: Any) -> tuple[float, float, float]:
    numbers = [float(v) for v in value] if isinstance(value, (list, tuple)) else [float(value)] * 3
    if len(numbers) != 3:
        raise ValueError(f"{len(numbers)} channels")
    return cast("tuple[float, float, float]", tuple(numbers))
