"""Which model is meant, and where its files are: in the package, in a folder, in the Hugging Face cache, or on the hub."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path

from .. import given
from ..advice import Advice, Setting, Verb
from ..errors import ModelError, ModelMissingError, UnknownModelError
from .files import TWO_TOWERS, ModelFiles, Weights, files_in, read_json
from .rows import BUNDLED, HUB_ID, MODELS, ModelRow
from .runtimes import runtimes_for

__all__ = ["choose_auto", "fetch", "find", "has_words", "is_available", "resolve", "words_are_here"]

log = logging.getLogger("image_search")

HERE = Path(__file__).parent  # bundled models lie beside this file, each in a folder of its name


def resolve(name: str) -> ModelRow:
    """The row of a model: a name of the table, "auto", a hub id "org/name" or a local folder.

    Raises:
        UnknownModelError: none of these. UsageError: it is no text.
    """
    if given.text(name, "the model") == "auto":
        name = choose_auto()[0]
    for row in MODELS:
        if name in (row.name, row.source) and name != BUNDLED:
            return row
    folder = Path(os.path.expanduser(name))
    looks_like_path = folder.is_absolute() or name.startswith((".", "~")) or "\\" in name
    holds_model = os.path.isfile(folder / "config.json") or _in_folder(folder, ("onnx", "torch")) is not None
    if name and os.path.isdir(folder) and (holds_model or looks_like_path):
        path = os.path.realpath(folder)
        return ModelRow(name=path, source=path, revision="", about="a local folder")
    if HUB_ID.fullmatch(name) and not looks_like_path:
        return ModelRow(name=name, source=name, about="from the Hugging Face hub")
    rows = ", ".join(row.name for row in MODELS)
    near = given.guess(name, [row.name for row in MODELS])
    raise UnknownModelError(
        f"there is no model {name!r}",
        hint=f"{f'did you mean {near}? ' if near else ''}use one of {rows}, a Hugging Face id (org/name) or a folder that holds a model",
    )


def choose_auto() -> tuple[str, str | None]:
    """The default model and, where it is the second choice, one line for people.

    "dino" if its files are on this machine and can be run, else "mini". Never a network call.
    """
    dino = resolve("dino")
    if find(dino, None) is not None:
        return dino.name, None
    better = Setting("model", dino.name)
    return "mini", Advice("Using the small built-in model mini. Better matches: ", better, f" (downloads {dino.megabytes:.0f} MB, once)")


def is_available(row: ModelRow) -> bool:
    """Whether the row's files are on this machine, so that loading it needs no network."""
    return find(row, None) is not None


def find(row: ModelRow, runtime: str | None) -> ModelFiles | None:
    """The row's files on this machine for the runtime of this name; for None, the first that can run here."""
    if row.is_bundled:
        folder = HERE / row.name
        return ModelFiles("onnx", folder, (folder / str(row.onnx_file),), None, None)
    kinds = _kinds(row, runtime)
    if row.is_folder:
        return _in_folder(Path(row.source), kinds)
    from . import hub

    for kind in kinds:
        if runtime is None and kind == "torch" and row.onnx_repo and not _torch_is_installed():
            continue
        repo, revision = _repository(row, kind)
        for place in dict.fromkeys((revision, "main")):  # caches that were filled before rows were pinned know the branch
            files = hub.cached(repo, place, kind)
            if files is not None:
                return files
    return None


def has_words(files: ModelFiles) -> bool | None:
    """Whether the files of its words are among these, which may have been put here by another program or by hand; None: it knows none."""
    if files.text is None or files.config is None or read_json(files.config).get("model_type") not in TWO_TOWERS:
        return None
    return bool(files.text.weights and files.text.tokenizer)


def words_are_here(name: str, runtime: str | None) -> bool | None:
    """`has_words` of the model of this name; None as well where there is no such model on this machine. Looks, asks nobody."""
    try:
        files = find(resolve(name), runtime)
        return None if files is None else has_words(files)
    except ModelError:
        return None


def fetch(row: ModelRow, runtime: str | None, download: bool) -> ModelFiles:
    """Get files that are not on this machine, or say why not. Errors as in `load_model`."""
    from . import hub

    kinds = _kinds(row, runtime)
    if row.is_folder:
        if runtime is not None and _in_folder(Path(row.source), ("onnx", "torch")) is not None:
            raise ModelMissingError(
                f"this folder holds no weights for the runtime {runtime}", path=row.source, hint=Advice("leave out ", Setting("runtime"))
            )
        raise hub.nothing_to_open(os.listdir(row.source), row.source)
    if not download:
        size = f" ({row.megabytes:.0f} MB, once)" if row.megabytes else ""
        index = Verb("index", ("FOLDER", Setting("model", row.name)))
        raise ModelMissingError(f"model {row.name} is not on this machine", hint=Advice(f"fetch it{size} with: ", index))
    if row.terms:
        log.warning("Model %s has conditions of its own, the %s: %s", row.name, row.licence, row.terms)
    repo, revision = _repository(row, kinds[0])
    same_place = tuple(kind for kind in kinds if _repository(row, kind) == (repo, revision))
    return hub.fetch(repo, revision, same_place, name=row.name)


def _kinds(row: ModelRow, runtime: str | None) -> tuple[Weights, ...]:
    """Kinds of weights to look for, best first: ONNX where the table knows a file, else torch's, which every checkpoint of the hub has."""
    first: tuple[Weights, ...] = ("onnx", "torch") if row.onnx_repo or row.is_folder else ("torch", "onnx")
    able = {able.weights for able in runtimes_for(row, runtime)}
    return tuple(kind for kind in first if kind in able)


def _repository(row: ModelRow, kind: Weights) -> tuple[str, str]:
    """(hub id, revision)."""
    return (row.onnx_repo, row.onnx_revision) if kind == "onnx" and row.onnx_repo else (row.source, row.revision)


def _in_folder(folder: Path, kinds: tuple[Weights, ...]) -> ModelFiles | None:
    found = (files_in(folder, kind) for kind in kinds) if os.path.isdir(folder) else ()
    return next((files for files in found if files is not None), None)


def _torch_is_installed() -> bool:
    return all(importlib.util.find_spec(package) is not None for package in ("torch", "transformers"))
