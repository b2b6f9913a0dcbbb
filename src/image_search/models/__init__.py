"""The model table: a model is a row of data. `load_model(name)` turns a row, a hub id or a folder into an `Embedder`.

    load_model(name) -> resolve: which row -> files.py / hub.py: which files -> recipe.py: how it wants its pixels
                     -> onnx.py | openvino.py | torch.py: one runtime each -> Embedder

To add a model, add a row. Nothing heavy is imported until a model is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ModelDamagedError, ModelError, ModelMissingError, UnknownModelError, UsageError
from ..types import Embedder, Preprocess
from .files import ModelFiles, Runtime, files_in, has_trained_pooler, read_architecture, read_json, weights_digest
from .recipe import read_recipe
from .vectors import canonical_pictures, check_same_vectors

__all__ = [
    "MODELS",
    "ModelRow",
    "canonical_pictures",
    "check_same_vectors",
    "choose_auto",
    "exact_of",
    "is_available",
    "load_model",
    "loss_in_int8",
    "resolve",
]

BUNDLED = "bundled"
RUNTIMES = ("onnx", "openvino", "torch")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model, as data.

    Attributes:
        name: what people type.
        source: hub id, "bundled", or the absolute path of a local folder.
        revision: commit or branch of `source`; "" for bundled and folders.
        onnx_repo, onnx_revision: a hub repository that holds the same model as ONNX; None if there is none.
        onnx_file: the ONNX file in it (or in the package).
        output: "auto" (a trained pooler if the checkpoint has one, else the class token), "cls", "pooler" or "embedding".
        dim: D; None: what the file says.
        preprocess: None: what its preprocessor_config.json says.
        sha256: the only weights that may carry this name; None: any (they go into the fingerprint).
        licence: of the weights.
        megabytes: to fetch and to keep; None if unknown.
        about: one line for people.
        near_identical: similarity from which two pictures count as near-identical; None: not calibrated.
        int8_of: the row whose ONNX file this model is in 8-bit numbers; None: a model of its own.
    """

    name: str
    source: str
    revision: str = "main"
    onnx_repo: str | None = None
    onnx_revision: str = "main"
    onnx_file: str | None = None
    output: Literal["auto", "cls", "pooler", "embedding"] = "auto"
    dim: int | None = None
    preprocess: Preprocess | None = None
    sha256: str | None = None
    licence: str = "unknown"
    megabytes: float | None = None
    about: str = ""
    near_identical: float | None = None
    int8_of: str | None = None

    @property
    def is_bundled(self) -> bool:
        return self.source == BUNDLED

    @property
    def is_folder(self) -> bool:
        return not self.is_bundled and HUB_ID.fullmatch(self.source) is None


MODELS: tuple[ModelRow, ...] = (
    ModelRow(
        name="mini",
        source=BUNDLED,
        revision="",
        onnx_file="mini.onnx",
        output="embedding",
        dim=256,
        preprocess=Preprocess(size=(96, 96)),  # the graph holds mean, std and unit length
        # The next two change with the file: see mini/README.md.
        sha256="c96b1048a97638ebbf4e1df42d03c33032c45e6cb1e5b5024fd691bd7bfdebae",
        megabytes=9.1,
        licence="see its card: trained on research-use pictures",
        about="small and built in; quick, no download",
        near_identical=0.975,  # benchmarks/near_identical.py over clothing, grocery, scenes, tiny-imagenet and the sample gallery
    ),
    ModelRow(
        name="dino",
        source="facebook/dino-vits16",
        onnx_repo="Xenova/dino-vits16",
        onnx_file="onnx/model.onnx",
        output="cls",  # the checkpoint has no pooler; what ViTModel puts in its place is random, anew in each process
        dim=384,
        licence="Apache-2.0",
        megabytes=87,
        about="DINO ViT-S/16, the original program's model",
    ),
    ModelRow(
        name="dinov2-s",
        source="facebook/dinov2-small",
        onnx_repo="Xenova/dinov2-small",
        onnx_file="onnx/model.onnx",
        output="cls",
        dim=384,
        licence="Apache-2.0",
        megabytes=89,
        about="DINOv2 ViT-S/14; takes 1.5 times as long as dino",
    ),
    ModelRow(
        name="vit-in21k",
        source="google/vit-base-patch16-224-in21k",
        output="pooler",  # trained with it
        dim=768,
        licence="Apache-2.0",
        megabytes=346,
        about="ViT-B/16 trained on ImageNet-21k's classes; takes 4 times as long as dino; needs the torch extra",
    ),
    ModelRow(
        name="dino-int8",
        source="facebook/dino-vits16",
        onnx_repo="Xenova/dino-vits16",
        onnx_file="onnx/model.onnx",
        output="cls",
        dim=384,
        licence="Apache-2.0",
        megabytes=87,
        about="dino in 8-bit numbers: twice as quick, less exact (evaluate shows how much); needs the int8 extra",
        int8_of="dino",
    ),
)


def resolve(name: str) -> ModelRow:
    """The row of a model: a name of the table, "auto", a hub id "org/name" or a local folder.

    Raises:
        UnknownModelError: none of these.
    """
    if name == "auto":
        name = choose_auto()[0]
    for row in MODELS:
        if name in (row.name, row.source) and name != BUNDLED:
            return row
    folder = Path(os.path.expanduser(name))
    looks_like_path = folder.is_absolute() or name.startswith((".", "~")) or "\\" in name
    holds_model = os.path.isfile(folder / "config.json") or _folder_files(folder, None) is not None
    if name and os.path.isdir(folder) and (holds_model or looks_like_path):
        path = os.path.realpath(folder)
        return ModelRow(name=path, source=path, revision="", about="a local folder")
    if HUB_ID.fullmatch(name) and not looks_like_path:
        return ModelRow(name=name, source=name, about="from the Hugging Face hub")
    rows = ", ".join(row.name for row in MODELS)
    raise UnknownModelError(
        f"there is no model {name!r}", hint=f"Use one of {rows}, a Hugging Face id (org/name) or a folder that holds a model"
    )


def choose_auto() -> tuple[str, str | None]:
    """The default model and, where it is the second choice, one line for people.

    "dino" if its files are on this machine and can be run, else "mini". Never a network call.
    """
    dino = resolve("dino")
    if _find(dino, None) is not None:
        return dino.name, None
    line = f"Using the small built-in model mini. Better matches: --model {dino.name} (downloads {dino.megabytes:.0f} MB, once)"
    return "mini", line


def is_available(row: ModelRow) -> bool:
    """Whether the row's files are on this machine, so that loading it needs no network."""
    return _find(row, None) is not None


def check_runtime(runtime: str) -> None:
    """UsageError unless it is one of RUNTIMES."""
    if runtime not in RUNTIMES:
        raise UsageError(f"there is no runtime {runtime!r}", hint=f"Use one of {', '.join(RUNTIMES)}")


def load_model(name: str, *, runtime: str | None = None, threads: int | None = None, download: bool = True) -> Embedder:
    """Load a model.

    Args:
        name: a row's name, "auto", a hub id or a local folder.
        runtime: "onnx", "openvino" (the same ONNX files, in bf16 where that gives the same vectors), "torch", or None: ONNX Runtime
            where the model has an ONNX file, else torch.
        threads: pictures embedded at once on the CPU; None: one for each CPU this process may use.
        download: fetch what is not on this machine. Never the network otherwise.

    Raises:
        UnknownModelError: no such model.
        ModelMissingError: its files are not here and were not to be, or could not be, fetched.
        ModelDamagedError: a file does not load or is not what it should be.
        ModelError: an architecture or a file format that is not supported.
        MissingExtraError: it needs torch and transformers, openvino or onnx.
    """
    if runtime is not None:
        check_runtime(runtime)
    wanted: Runtime | None = None if runtime is None else "torch" if runtime == "torch" else "onnx"
    row = resolve(name)
    if (row.is_bundled and wanted == "torch") or (row.int8_of and runtime not in (None, "onnx")):
        raise UsageError(f"model {row.name} does not run on {runtime}", hint="Leave out --runtime")
    if runtime == "openvino":
        from .openvino import import_openvino

        import_openvino()  # before anything is fetched for it
    if row.int8_of:
        from .int8 import import_quantiser

        import_quantiser()
    files = _find(row, wanted)
    if files is None:
        files = _fetch(row, wanted, download)
    model_type = None
    if files.config is not None:
        model_type = read_architecture(read_json(files.config), files.config)
    recipe = row.preprocess or _recipe(files, model_type)
    if files.runtime == "torch":
        return _open_torch(row, files, recipe, model_type)
    return _open_onnx(row, files, recipe, model_type, threads, runtime)


def exact_of(name: str) -> str | None:
    """The model that this one is in 8-bit numbers; None for any other."""
    return next((row.int8_of for row in MODELS if row.name == name), None)


def loss_in_int8(embedder: Embedder) -> str | None:
    """What a model in 8-bit numbers loses against its own exact one, measured here, as one line for people; None for any other."""
    exact_name = exact_of(embedder.fingerprint.name)
    if exact_name is None:
        return None
    from .int8 import loss

    pictures = canonical_pictures(embedder.fingerprint.preprocess)
    exact = load_model(exact_name, runtime="onnx", download=False)
    try:
        return loss(embedder.fingerprint.name, exact_name, embedder.embed(pictures), exact.embed(pictures))
    finally:
        exact.close()


def _find(row: ModelRow, runtime: Runtime | None) -> ModelFiles | None:
    """The row's files on this machine for this runtime; for None, the first that can run here."""
    if row.is_bundled:
        folder = Path(__file__).parent / row.name
        return ModelFiles("onnx", folder, (folder / str(row.onnx_file),), None, None) if runtime != "torch" else None
    if row.is_folder:
        return _folder_files(Path(row.source), runtime)
    from . import hub

    for candidate in _runtimes(row, runtime):
        if runtime is None and candidate == "torch" and row.onnx_repo and not _torch_is_installed():
            continue
        repo, revision = _repository(row, candidate)
        files = hub.cached(repo, revision, candidate)
        if files is not None:
            return files
    return None


def _fetch(row: ModelRow, runtime: Runtime | None, download: bool) -> ModelFiles:
    """Get files that are not on this machine, or say why not."""
    from . import hub

    if row.is_folder:
        names = os.listdir(row.source)
        if runtime is not None and _folder_files(Path(row.source), None) is not None:
            raise ModelMissingError(f"this folder holds no weights for the runtime {runtime}", path=row.source, hint="Leave out --runtime")
        return hub.refuse(names, row.source)
    if not download:
        size = f" ({row.megabytes:.0f} MB, once)" if row.megabytes else ""
        raise ModelMissingError(
            f"model {row.name} is not on this machine", hint=f"Fetch it{size} with: image-search index FOLDER --model {row.name}"
        )
    runtimes = _runtimes(row, runtime)
    repo, revision = _repository(row, runtimes[0])
    same_place = tuple(r for r in runtimes if _repository(row, r) == (repo, revision))
    return hub.fetch(repo, revision, same_place, name=row.name)


def _runtimes(row: ModelRow, runtime: Runtime | None) -> tuple[Runtime, ...]:
    """Which to try, best first: ONNX where the table knows a file, else torch, which opens every checkpoint of the family."""
    if runtime is not None:
        return (runtime,)
    if row.int8_of:
        return ("onnx",)
    return ("onnx", "torch") if row.onnx_repo else ("torch", "onnx")


def _repository(row: ModelRow, runtime: Runtime) -> tuple[str, str]:
    """(hub id, revision)."""
    return (row.onnx_repo, row.onnx_revision) if runtime == "onnx" and row.onnx_repo else (row.source, row.revision)


def _folder_files(folder: Path, runtime: Runtime | None) -> ModelFiles | None:
    order: tuple[Runtime, ...] = ("onnx", "torch") if runtime is None else (runtime,)
    found = (files_in(folder, candidate) for candidate in order) if os.path.isdir(folder) else ()
    return next((files for files in found if files is not None), None)


def _torch_is_installed() -> bool:
    return all(importlib.util.find_spec(package) is not None for package in ("torch", "transformers"))


def _recipe(files: ModelFiles, model_type: str | None) -> Preprocess:
    if files.preprocessor is None:
        raise ModelError("this model does not say how it wants its pictures (no preprocessor_config.json)", path=files.folder)
    return read_recipe(read_json(files.preprocessor), path=str(files.preprocessor), model_type=model_type)


def _open_onnx(
    row: ModelRow, files: ModelFiles, recipe: Preprocess, model_type: str | None, threads: int | None, runtime: str | None
) -> Embedder:
    if runtime == "openvino":
        from .openvino import open_openvino as open_model
    else:
        from .onnx import open_onnx as open_model

    path = files.weights[0]
    try:
        model = path.read_bytes()
    except OSError as error:
        raise ModelMissingError("this model file cannot be read", path=path, hint=_repair(row)) from error
    digest = weights_digest(files.weights, model)
    if row.sha256 is not None and digest != row.sha256:
        raise ModelDamagedError("this model file is damaged (its sha256 is another)", path=path, hint=_repair(row))
    if row.int8_of:
        from .int8 import in_8_bits

        model = in_8_bits(model, path)
        digest = hashlib.sha256(model).hexdigest()
    beside = files_in(files.folder, "torch") if row.is_folder else None  # the checkpoint it was made from
    return open_model(
        model,
        path,
        name=row.name,
        source=row.source,
        revision=row.revision,
        weights_sha256=digest,
        preprocess=recipe,
        output=row.output,
        model_type=model_type,
        pooler_is_trained=beside is None or has_trained_pooler(beside.weights),
        threads=threads,
    )


def _open_torch(row: ModelRow, files: ModelFiles, recipe: Preprocess, model_type: str | None) -> Embedder:
    from .torch import open_torch

    if model_type is None:
        raise ModelError("this model does not say what it is (no config.json)", path=files.folder)
    return open_torch(
        files, name=row.name, source=row.source, revision=row.revision, preprocess=recipe, output=row.output, model_type=model_type
    )


def _repair(row: ModelRow) -> str:
    return "Install this package again" if row.is_bundled else "Fetch or copy it again"
