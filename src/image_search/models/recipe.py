"""A checkpoint's preprocessor_config.json -> our `Preprocess`.

It says what transformers' image processors of the ViT family would do with it, old spellings included ("size": 224,
"feature_extractor_type"). What the file leaves out takes the defaults of the processor it names (transformers 5 source).
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from ..config import MODEL_DIM, MODEL_SIDE
from ..errors import ModelError
from ..types import Fingerprint, Preprocess, Resample
from .vectors import number_table

__all__ = ["check_fingerprint", "check_recipe", "read_recipe"]

_HALF = (0.5, 0.5, 0.5)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_SHORTER_SIDE: dict[str, Any] = {
    "size": {"shortest_edge": 224},
    "crop_size": 224,
    "do_center_crop": True,
    "resample": 3,
    "image_mean": _CLIP[0],
    "image_std": _CLIP[1],
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "ViT": {"size": 224, "resample": 2, "image_mean": _HALF, "image_std": _HALF},
    "Bit": _SHORTER_SIDE,
    "CLIP": _SHORTER_SIDE,
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
    if odd := [key for key in ("do_resize", "do_rescale", "do_normalize", "do_center_crop") if not isinstance(asked.get(key, True), bool)]:
        raise ModelError(f"this preprocessing cannot be followed ({odd[0]} is neither true nor false)", path=path)
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
        check_recipe(recipe)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"this preprocessing cannot be followed ({error})", path=path) from error
    return recipe


def check_recipe(recipe: Preprocess) -> None:
    """ValueError unless pixels can be made by it: what came from a stranger may be of any kind, infinite, or no number."""
    for name, sides in (("size", recipe.size), ("crop", recipe.crop)):
        if sides is not None and not (isinstance(sides, tuple) and len(sides) == 2 and all(map(_is_side, sides))):
            raise ValueError(f"{name} {sides}")
    if recipe.shortest_edge is not None and not _is_side(recipe.shortest_edge):
        raise ValueError(f"a shortest edge of {recipe.shortest_edge} pixels")
    if (recipe.size is None) == (recipe.shortest_edge is None):
        raise ValueError("either a size or a shortest edge is needed")
    if recipe.shortest_edge is not None and recipe.crop is None:
        raise ValueError("shortest_edge without a crop gives pictures of different sizes")
    if recipe.resample not in _RESAMPLE.values():
        raise ValueError(f"resample {recipe.resample}")
    for name, numbers in (("rescale", (recipe.rescale,)), ("image_mean", recipe.mean), ("image_std", recipe.std)):
        plain = isinstance(numbers, tuple) and all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers)
        if not plain or len(numbers) != (1 if name == "rescale" else 3) or not all(map(math.isfinite, numbers)):
            raise ValueError(f"{name} {numbers}")
    if 0 in recipe.std:
        raise ValueError("image_std is zero")
    with np.errstate(all="ignore"):
        if not np.isfinite(number_table(recipe)).all():
            raise ValueError("its numbers are too large")


def check_fingerprint(made: Fingerprint) -> None:
    """ValueError unless it can be that of a model: see `check_recipe`."""
    for name in ("name", "source", "revision", "weights_sha256", "output"):
        if not isinstance(getattr(made, name), str):
            raise ValueError(f"{name} {getattr(made, name)}")
    if not made.name or type(made.dim) is not int or not 1 <= made.dim <= MODEL_DIM:
        raise ValueError(f"a model {made.name!r} of {made.dim} dimensions")
    if not isinstance(made.preprocess, Preprocess):
        raise ValueError(f"preprocess {made.preprocess}")
    check_recipe(made.preprocess)


def _is_side(value: object) -> bool:
    return type(value) is int and 1 <= value <= MODEL_SIDE


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
