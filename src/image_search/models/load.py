"""`load_model(name)`: a name becomes a row, a row becomes a `Checkpoint`, a runtime opens it."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from .. import given
from ..advice import Advice, Setting, Verb
from ..config import MOST_JOBS, available_cpus
from ..errors import ModelDamagedError, ModelError, ModelMissingError
from ..types import Embedder, Preprocess
from .checkpoint import Checkpoint
from .files import ModelFiles, files_in, has_trained_pooler, read_architecture, read_calibration, read_json, weights_digest
from .find import fetch, find, has_words, resolve
from .graph import read_onnx
from .recipe import read_recipe
from .rows import ModelRow, full_precision_of
from .runtimes import Runtime, runtimes_for
from .tokenizer import read_tokenizer
from .vectors import canonical_pictures
from .vocabulary import VocabularyEmbedder, read_vocabulary
from .words import TextTower, WordsEmbedder

__all__ = ["load_model", "loss_in_int8", "open_row"]


def load_model(name: str, *, runtime: str | None = None, threads: int | None = None, download: bool = True) -> Embedder:
    """Load a model.

    Args:
        name: a row's name, "auto", a hub id or a local folder.
        runtime: "onnx", "openvino" (the same ONNX files, in bf16 where that gives the same vectors), "torch", or None: ONNX Runtime
            where the model has an ONNX file, else torch.
        threads: pictures embedded at once on the CPU; None: one for each CPU this process may use.
        download: fetch what is not on this machine. Never the network otherwise.

    Raises:
        UsageError: there is no such runtime, or the model does not run on it.
        UnknownModelError: no such model.
        ModelMissingError: its files are not here and were not to be, or could not be, fetched.
        ModelDamagedError: a file does not load or is not what it should be.
        ModelError: an architecture or a file format that is not supported.
        MissingExtraError: it needs torch and transformers, openvino or onnx.
    """
    if threads is not None:
        threads = given.whole(threads, "threads", most=MOST_JOBS)
    return open_row(resolve(name), runtime=runtime, threads=threads, download=given.truth(download, "download"))


def open_row(row: ModelRow, *, runtime: str | None = None, threads: int | None = None, download: bool = True) -> Embedder:
    """`load_model` for a row, of the table or not."""
    able = runtimes_for(row, runtime)
    able[0].check_installed()  # before anything is fetched for it
    files = _files(row, runtime, download)
    chosen = next(one for one in able if one.weights == files.kind)
    checkpoint = _read(row, files, threads or available_cpus())
    pictures = chosen.open(checkpoint)
    if row.vocabulary is not None:
        place, digest = files.folder / row.vocabulary, checkpoint.weights_sha256
        return VocabularyEmbedder(pictures, lambda: read_vocabulary(place, digest, pictures.fingerprint.dim))
    facts = replace(checkpoint, weights=None)  # what was read is not kept for the words' sake: 372 MB of SigLIP 2
    return WordsEmbedder(pictures, lambda: _text_tower(facts, chosen)) if checkpoint.knows_words else pictures


def _files(row: ModelRow, runtime: str | None, download: bool) -> ModelFiles:
    """Those of its pictures at least; those of its words, too, if they can be fetched and may be."""
    files = find(row, runtime)
    if files is None:
        return fetch(row, runtime, download)
    if download and not row.is_folder and has_words(files) is False:
        with contextlib.suppress(ModelError):  # no network, no such repository any more: its pictures are here
            return fetch(row, files.kind, download)
    return files


def loss_in_int8(embedder: Embedder) -> str | None:
    """What a model in 8-bit numbers loses against the one it was made of, measured here, as one line for people; None for any other."""
    full_name = full_precision_of(embedder.fingerprint.name)
    if full_name is None:
        return None
    from .int8 import loss

    pictures = canonical_pictures(embedder.fingerprint.preprocess)
    full = load_model(full_name, runtime="onnx", download=False)
    try:
        return loss(embedder.fingerprint.name, full_name, embedder.embed(pictures), full.embed(pictures))
    finally:
        full.close()


def _text_tower(checkpoint: Checkpoint, runtime: Runtime) -> TextTower:
    files = checkpoint.files.text
    if files is None or not files.weights or files.tokenizer is None:
        fetch = Verb("index", ("FOLDER", Setting("model", checkpoint.name)))
        raise ModelMissingError(f"the words of model {checkpoint.name} are not on this machine", hint=Advice("fetch them with: ", fetch))
    tokenizer = read_tokenizer(files, str(checkpoint.model_type), checkpoint.config)
    run, digest = runtime.open_text(checkpoint, files, tokenizer.length)
    return TextTower(run, tokenizer, digest, _calibration(checkpoint))


def _calibration(checkpoint: Checkpoint) -> tuple[float, float] | None:
    """By the safetensors that are opened, or that lie beside a folder's ONNX files; else as the row says."""
    if checkpoint.model_type != "siglip":
        return None
    beside = files_in(checkpoint.files.folder, "torch")
    return (None if beside is None else read_calibration(beside.weights)) or checkpoint.calibration


def _read(row: ModelRow, files: ModelFiles, threads: int) -> Checkpoint:
    """ONNX files are read whole, so that what is hashed is what is opened; torch's are too large for that and read by torch."""
    config = {} if files.config is None else read_json(files.config)
    model_type = None if files.config is None else read_architecture(config, files.config)
    recipe = row.preprocess or _recipe(files, model_type)
    repair = "install this package again" if row.is_bundled else "fetch or copy it again"
    read = read_onnx(files.weights, repair) if files.kind == "onnx" else None
    if files.kind == "torch" and model_type is None:
        raise ModelError("this model does not say what it is (no config.json)", path=files.folder)
    digest = weights_digest(files.weights, () if read is None else read.digests)
    if read is not None and row.sha256 not in (None, digest):
        raise ModelDamagedError("this model file is damaged (its sha256 is another)", path=files.weights[0], hint=repair)
    return Checkpoint(
        name=row.name,
        source=row.source,
        revision=row.revision,
        files=files,
        preprocess=recipe,
        weights=read,
        weights_sha256=digest,
        output=row.output,
        model_type=model_type,
        pooler_is_trained=_pooler_is_trained(row, files),
        threads=threads,
        config=config,
        calibration=row.calibration,
    )


def _pooler_is_trained(row: ModelRow, files: ModelFiles) -> bool:
    """By the safetensors: the ones that are opened, or those beside a folder's ONNX file, which it was made from. Without any: believed."""
    if files.kind == "torch":
        return has_trained_pooler(files.weights)
    beside = files_in(files.folder, "torch") if row.is_folder else None
    return beside is None or has_trained_pooler(beside.weights)


def _recipe(files: ModelFiles, model_type: str | None) -> Preprocess:
    if files.preprocessor is None:
        raise ModelError("this model does not say how it wants its pictures (no preprocessor_config.json)", path=files.folder)
    return read_recipe(read_json(files.preprocessor), path=str(files.preprocessor), model_type=model_type)
