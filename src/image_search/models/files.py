"""What a checkpoint's folder holds: which weights, which configuration, which architecture, whether a pooler was trained.

Only safetensors and ONNX are read. A pickle (pytorch_model.bin) can run code when it is opened, so it is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import ModelDamagedError, ModelError, ModelMissingError

__all__ = [
    "ARCHITECTURES",
    "ModelFiles",
    "Weights",
    "choose_weights",
    "files_in",
    "has_trained_pooler",
    "read_architecture",
    "read_json",
    "weights_digest",
]

Weights = Literal["onnx", "torch"]  # kinds of files: an ONNX graph; safetensors, which torch opens

ARCHITECTURES = ("vit", "dinov2", "dinov2_with_registers", "dinov3_vit")  # DINO's checkpoints are of type vit
ONNX_NAMES = ("onnx/model.onnx", "model.onnx")
ONNX_DATA = re.compile(r"\.data|_data(_\d+)?")  # what follows the ONNX file's name where its weights are kept beside it
SAFETENSORS = "model.safetensors"
SHARD = re.compile(r"model-\d+-of-(\d+)\.safetensors")
SHARD_INDEX = "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_LARGEST_HEADER = 100 * 1024 * 1024  # bytes; the limit of the safetensors format itself


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one model, of one kind of weights.

    `weights[0]` is what is opened, the rest (shards, external data) lies beside it. `folder` is the checkpoint's own.
    """

    kind: Weights
    folder: Path
    weights: tuple[Path, ...]
    config: Path | None
    preprocessor: Path | None


def choose_weights(names: Iterable[str], kind: Weights) -> list[str]:
    """Of a checkpoint's file names, the weights of this kind; empty if there are none, or not all of them."""
    present = set(names)
    if kind == "torch":
        if SAFETENSORS in present:
            return [SAFETENSORS]
        shards = sorted(n for n in present if SHARD.fullmatch(n))
        counts = {int(match[1]) for n in shards if (match := SHARD.fullmatch(n))}
        return shards if counts == {len(shards)} and SHARD_INDEX in present else []
    for onnx in ONNX_NAMES:
        if onnx in present:
            beside = sorted(n for n in present if n.startswith(onnx) and ONNX_DATA.fullmatch(n[len(onnx) :]))
            return [onnx, *beside]
    return []


def files_in(folder: Path, kind: Weights) -> ModelFiles | None:
    """What this folder (a local one, or a snapshot in the Hugging Face cache) holds of this kind; None without weights."""
    try:
        places = [place for place in (folder, folder / "onnx") if place.is_dir()]
        names = [p.relative_to(folder).as_posix() for place in places for p in place.iterdir() if p.is_file()]
    except OSError as error:
        raise ModelMissingError("this model's folder cannot be read", path=folder, hint="check its permissions") from error
    weights = choose_weights(names, kind)
    if not weights:
        return None
    config = folder / "config.json"
    preprocessor = folder / "preprocessor_config.json"
    return ModelFiles(
        kind=kind,
        folder=folder,
        weights=tuple(folder / name for name in weights),
        config=config if config.is_file() else None,
        preprocessor=preprocessor if preprocessor.is_file() else None,
    )


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
    if model_type not in ARCHITECTURES:
        raise ModelError(f"the architecture {model_type} is not supported (only {', '.join(ARCHITECTURES)})", path=path)
    return str(model_type)


def has_trained_pooler(weights: Iterable[Path]) -> bool:
    """Whether these safetensors files contain a ViT pooler. Without it, transformers would make one up, anew in each process."""
    names = {name for path in weights for name in _tensor_names(path)}
    return any(n.endswith("pooler.dense.weight") for n in names) and any(n.endswith("pooler.dense.bias") for n in names)


def _tensor_names(path: Path) -> list[str]:
    """From the header of a safetensors file: 8 bytes little-endian length, then JSON."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _LARGEST_HEADER:
                raise ValueError(f"header of {length} bytes")
            header = json.loads(file.read(length))
        return [name for name in header if name != "__metadata__"]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelDamagedError("this model file does not load", path=path, hint="fetch or copy it again") from error


def weights_digest(weights: tuple[Path, ...], first: bytes | None = None) -> str:
    """Hex sha256 of the weights: of the file, or of the digests of its parts in order. `first`: the first one's content, if already read.

    Raises:
        ModelDamagedError: a file of the Hugging Face cache whose content is not what its name there says.
    """
    digests: list[str] = []
    for i, path in enumerate(weights):
        if i == 0 and first is not None:
            found = hashlib.sha256(first).hexdigest()
        else:
            try:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise ModelMissingError("this model file cannot be read", path=path, hint="check its permissions") from error
        # Large files lie in the cache under their sha256, linked from the snapshot (not on Windows without links: nothing to compare).
        kept_as = path.resolve().name
        if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", kept_as) and kept_as != found:
            raise ModelDamagedError(
                "this model file is damaged", path=path.resolve(), hint="delete it; it is then downloaded again when asked for"
            )
        digests.append(found)
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
