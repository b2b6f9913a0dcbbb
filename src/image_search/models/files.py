"""What a checkpoint's folder holds: which weights, which configuration, which architecture, whether a pooler was trained.

Only safetensors and ONNX are read. A pickle (pytorch_model.bin) can run code when it is opened, so it is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import ModelDamagedError, ModelError, ModelMissingError

__all__ = [
    "ARCHITECTURES",
    "TOKENIZER",
    "TOKENIZER_CONFIG",
    "TWO_TOWERS",
    "ModelFiles",
    "TextFiles",
    "Weights",
    "check_kept_as",
    "choose_text",
    "choose_weights",
    "files_in",
    "has_trained_pooler",
    "read_architecture",
    "read_calibration",
    "read_json",
    "weights_digest",
]

Weights = Literal["onnx", "torch"]  # kinds of files: an ONNX graph; safetensors, which torch opens

TWO_TOWERS = ("clip", "siglip")  # one for pictures, one for words; SigLIP 2 of fixed resolution is of type siglip
ARCHITECTURES = ("vit", "dinov2", "dinov2_with_registers", "dinov3_vit", *TWO_TOWERS)  # DINO's checkpoints are of type vit
# Of a model with two towers, `model.onnx` is both in one graph, which wants a picture and words at once: each alone comes first.
ONNX_NAMES = ("onnx/vision_model.onnx", "vision_model.onnx", "onnx/model.onnx", "model.onnx")
ONNX_TEXT_NAMES = {"onnx/vision_model.onnx": "onnx/text_model.onnx", "vision_model.onnx": "text_model.onnx"}  # beside which the words lie
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
ONNX_DATA = re.compile(r"\.data|_data(_\d+)?")  # what follows the ONNX file's name where its weights are kept beside it
SAFETENSORS = "model.safetensors"
SHARD = re.compile(r"model-\d+-of-(\d+)\.safetensors")
SHARD_INDEX = "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_LARGEST_HEADER = 100 * 1024 * 1024  # bytes; the limit of the safetensors format itself


@dataclass(frozen=True, slots=True)
class TextFiles:
    """The files of a model's words: weights as in `ModelFiles` (empty: they are not here), and the tokenizer's, if they are here."""

    folder: Path
    weights: tuple[Path, ...]
    tokenizer: Path | None
    tokenizer_config: Path | None


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one model, of one kind of weights.

    `weights[0]` is what is opened for pictures, the rest (shards, external data) lies beside it; torch's hold the words, too. `folder` is
    the checkpoint's own. `text`: what is opened for words, where the model is of a family that knows them.
    """

    kind: Weights
    folder: Path
    weights: tuple[Path, ...]
    config: Path | None
    preprocessor: Path | None
    text: TextFiles | None = None


def choose_weights(names: Iterable[str], kind: Weights) -> list[str]:
    """Of a checkpoint's file names, the weights of this kind; empty if there are none, or not all of them."""
    present = set(names)
    if kind == "torch":
        if SAFETENSORS in present:
            return [SAFETENSORS]
        shards = sorted(n for n in present if SHARD.fullmatch(n))
        counts = {int(match[1]) for n in shards if (match := SHARD.fullmatch(n))}
        return shards if counts == {len(shards)} and SHARD_INDEX in present else []
    return next((_onnx(name, present) for name in ONNX_NAMES if name in present), [])


def choose_text(names: Iterable[str], weights: list[str], kind: Weights) -> list[str]:
    """Of a checkpoint's file names, the weights of its words, given those of its pictures; empty if there are none apart from them."""
    present = set(names)
    text = ONNX_TEXT_NAMES.get(weights[0]) if kind == "onnx" and weights else None
    return _onnx(text, present) if text in present else []


def _onnx(name: str, present: set[str]) -> list[str]:
    return [name, *sorted(n for n in present if n.startswith(name) and ONNX_DATA.fullmatch(n[len(name) :]))]


def files_in(folder: Path, kind: Weights) -> ModelFiles | None:
    """What this folder (a local one, or a snapshot in the Hugging Face cache) holds of this kind; None without all of its weights."""
    try:
        places = [place for place in (folder, folder / "onnx") if place.is_dir()]
        # A link that leads nowhere is a file that was taken out of the cache's store: it belongs to the weights, and is not here.
        names = [p.relative_to(folder).as_posix() for place in places for p in place.iterdir() if p.is_file() or p.is_symlink()]
    except OSError as error:
        raise ModelMissingError("this model's folder cannot be read", path=folder, hint="check its permissions") from error
    weights = choose_weights(names, kind)
    opened = _all_there(folder, weights)
    if not opened:
        return None
    text = _all_there(folder, choose_text(names, weights, kind)) if kind == "onnx" else opened
    return ModelFiles(
        kind=kind,
        folder=folder,
        weights=opened,
        config=_if_there(folder / "config.json"),
        preprocessor=_if_there(folder / "preprocessor_config.json"),
        text=TextFiles(folder, text, _if_there(folder / TOKENIZER), _if_there(folder / TOKENIZER_CONFIG)),
    )


def _all_there(folder: Path, names: Iterable[str]) -> tuple[Path, ...]:
    paths = tuple(folder / name for name in names)
    return paths if all(path.is_file() for path in paths) else ()


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelDamagedError("this model's configuration cannot be read", path=path, hint="fetch or copy it again") from error
    if not isinstance(content, dict):
        raise ModelDamagedError("this model's configuration is not a JSON object", path=path, hint="fetch or copy it again")
    return content


def read_architecture(config: dict[str, Any], path: Path) -> str:
    """The config's model_type; ModelError naming it if it is none of the ViT family."""
    model_type = config.get("model_type")
    if model_type == "siglip2":
        raise ModelError("this SigLIP 2 takes pictures of any shape, which is not supported (those of a fixed size are)", path=path)
    if model_type not in ARCHITECTURES:
        raise ModelError(f"the architecture {model_type} is not supported (only {', '.join(ARCHITECTURES)})", path=path)
    return str(model_type)


def has_trained_pooler(weights: Iterable[Path]) -> bool:
    """Whether these safetensors files contain a ViT pooler. Without it, transformers would make one up, anew in each process."""
    names = {name for path in weights for name in _tensor_names(path)}
    return any(n.endswith("pooler.dense.weight") for n in names) and any(n.endswith("pooler.dense.bias") for n in names)


def read_calibration(weights: Iterable[Path]) -> tuple[float, float] | None:
    """(scale, bias) of SigLIP's sigmoid (Zhai et al. 2023, the scale kept as its logarithm) in these safetensors files; None: not there."""
    found: dict[str, float] = {}
    for path in weights:
        header, start = _header(path)
        for name in ("logit_scale", "logit_bias"):
            tensor = header.get(name)
            if isinstance(tensor, dict) and tensor.get("dtype") == "F32":
                with path.open("rb") as file:
                    file.seek(start + int(tensor["data_offsets"][0]))
                    (found[name],) = struct.unpack("<f", file.read(4))
    if len(found) < 2 or not math.isfinite(scale := math.exp(min(found["logit_scale"], 100))) or not math.isfinite(found["logit_bias"]):
        return None
    return scale, found["logit_bias"]


def _tensor_names(path: Path) -> list[str]:
    return [name for name in _header(path)[0] if name != "__metadata__"]


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Of a safetensors file (8 bytes little-endian length, then JSON), and where its numbers begin."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _LARGEST_HEADER:
                raise ValueError(f"header of {length} bytes")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("no JSON object")
        return header, 8 + length
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelDamagedError("this model file does not load", path=path, hint="fetch or copy it again") from error


def weights_digest(weights: tuple[Path, ...], known: tuple[str, ...] = ()) -> str:
    """Hex sha256 of the weights: of the file, or of the digests of its parts in order. `known`: those of all parts, if already read.

    Raises:
        ModelDamagedError: a file of the Hugging Face cache whose content is not what its name there says.
    """
    digests: list[str] = []
    for number, path in enumerate(weights):
        if known:
            found = known[number]
        else:
            try:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise ModelMissingError("this model file cannot be read", path=path, hint="check its permissions") from error
        check_kept_as(path, found)
        digests.append(found)
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def check_kept_as(path: Path, sha256: str) -> None:
    """ModelDamagedError where the Hugging Face cache keeps this file under another hash than that of its content.

    Large files lie there under their sha256, linked from the snapshot (not on Windows without links: nothing to compare).
    """
    kept_as = path.resolve().name
    if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", kept_as) and kept_as != sha256:
        raise ModelDamagedError(
            "this model file is damaged", path=path.resolve(), hint="delete it; it is then downloaded again when asked for"
        )
