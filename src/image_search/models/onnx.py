"""ONNX Runtime on the CPU: the default engine (import to first vector .2 to .4 CPU seconds; torch + transformers take 5)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelDamagedError, ModelError
from ..types import Fingerprint, Float32, Preprocess, UInt8
from .checkpoint import Checkpoint
from .graph import OnnxFile
from .vectors import check_pixels, model_input, number_table, unit_row

__all__ = ["OnnxEmbedder", "open_onnx"]

# Names of the outputs we know, by what they are to us.
OUTPUTS = {"embedding": ("embedding", "image_embeds"), "pooler": ("pooler_output",), "cls": ("last_hidden_state",)}


# float32 (1, 3, H, W) -> the chosen output as float32, (1, D) or (1, T, D).
Run = Callable[[Float32], Float32]


class OnnxEmbedder:
    """See `types.Embedder`. An ONNX file, run by ONNX Runtime or by OpenVINO.

    One picture a run and one thread a run: the bits of a vector then cannot depend on the batch or on the number of threads, and
    it costs nothing (batches of 8 or 32 are no faster on a CPU: 109 against 119 and 126 ms a picture for ViT-S/16). The cores are
    kept busy by several pictures at once.
    """

    def __init__(self, run: Run, runtime: str, fingerprint: Fingerprint, threads: int) -> None:
        """`run` may be called from `threads` threads at once, or more; `threads`: pictures at once."""
        self._run = run
        self._runtime = runtime
        self._table = number_table(fingerprint.preprocess)
        self._fingerprint = fingerprint
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()

    @property
    def fingerprint(self) -> Fingerprint:
        return self._fingerprint

    @property
    def runtime(self) -> str:
        return self._runtime

    def embed(self, pixels: UInt8) -> Float32:
        check_pixels(pixels, self._fingerprint.preprocess)
        vectors = np.empty((len(pixels), self._fingerprint.dim), dtype=np.float32)
        rows = map(self._embed_one, pixels) if len(pixels) < 2 or self._threads < 2 else self._threads_pool().map(self._embed_one, pixels)
        for i, row in enumerate(rows):
            vectors[i] = row
        return vectors

    def close(self) -> None:
        with self._pool_lock:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._pool = None

    def _embed_one(self, picture: UInt8) -> Float32:
        out = self._run(model_input(picture, self._table)[None])
        return unit_row(out[0, 0] if out.ndim == 3 else out[0])  # (1, T, D): the class token is the first, registers come after it

    def _threads_pool(self) -> ThreadPoolExecutor:
        with self._pool_lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="embed")
            return self._pool


def open_session(model: OnnxFile, path: Path, *, soon: bool = False) -> Any:
    """An ONNX Runtime session over what was read of `path`. ModelDamagedError: it does not load, or asks for another file's weights.

    Args:
        soon: for a few runs only: the weights are used as they lie, not laid out anew first. SigLIP 2's words are then ready after .63
            CPU s in place of .96, CLIP's after .21 in place of .38; a phrase takes .16 s in place of .12, and .09 in place of .07.
    """
    # From 1.29 on it reports its use to its maker over the network, with an id of this machine that it keeps in the user's cache folder.
    # Read when it is loaded.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised; its own lines would stand beside ours
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads must not eat the decoders' cores
    options.add_session_config_entry("session.disable_prepacking", "1" if soon else "0")
    try:
        arrays = [ort.OrtValue.ortvalue_from_numpy(array) for array in model.arrays.values()]  # aligned, so no copy yet
        options.add_external_initializers(list(model.arrays), arrays)
        _give_weights_beside(options, model.beside, path)
        session = ort.InferenceSession(model.content, options, providers=["CPUExecutionProvider"], enable_fallback=False)  # it would print
        session.arrays = arrays  # which it uses; they must not go before it
        _ = [(end.name, end.shape) for end in (*session.get_inputs(), *session.get_outputs())]  # names that are no UTF-8 fail here
        return session
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types for a bad file
        raise ModelDamagedError("this model file does not load", path=path, hint="fetch or copy it again") from error


def _give_weights_beside(options: Any, beside: Mapping[str, bytes], path: Path) -> None:
    """What was hashed, and nothing else, whatever names the graph holds.

    ONNX Runtime (1.32, tried) reads any file of the folder it is told, of the current one where it is told none; and no link that leads
    out of it, as every file of the Hugging Face cache is one. A table of contents keeps it from both; it must not be empty.
    """
    give = getattr(options, "add_external_initializers_from_files_in_memory", None)
    if give is not None:
        table = beside or {"-": b"-"}
        give(list(table), list(table.values()), [len(content) for content in table.values()])
        return
    with contextlib.suppress(TypeError):  # before 1.24 (Macs with Intel); a folder whose name is no Unicode: nothing beside it
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))


def run(session: Any, output: str, feed: Mapping[str, npt.NDArray[Any]], path: Path) -> Float32:
    try:
        found: Float32 = session.run([output], feed)[0]
    except Exception as error:  # as above
        raise ModelDamagedError("this model file does not run", path=path, hint="fetch or copy it again") from error
    return found


def choose_output(session: Any, checkpoint: Checkpoint) -> str:
    """Which output is the vector: what the row asks for, or by our rule: an embedding, a trained ViT pooler, else the class token."""
    names = [output.name for output in session.get_outputs()]
    candidates = (checkpoint.output,) if checkpoint.output != "auto" else _by_rule(checkpoint)
    for output in candidates:
        if any(name in names for name in OUTPUTS[output]):
            return output
    wanted = " or ".join(name for output in candidates for name in OUTPUTS[output])
    raise ModelError(f"this ONNX file has the outputs {', '.join(names)}, not {wanted}", path=checkpoint.path)


def _by_rule(checkpoint: Checkpoint) -> Sequence[str]:
    if checkpoint.model_type == "clip":
        return ("embedding",)  # its pooler is not yet in the space of its words
    if checkpoint.model_type == "siglip":
        return ("embedding", "pooler")  # its pooler is
    return ("embedding", "pooler", "cls") if checkpoint.model_type == "vit" and checkpoint.pooler_is_trained else ("embedding", "cls")


def output_name(session: Any, output: str) -> str:
    """What this file calls the output that was chosen."""
    names = {end.name for end in session.get_outputs()}
    return next(name for name in OUTPUTS[output] if name in names)


def open_onnx(checkpoint: Checkpoint) -> OnnxEmbedder:
    """Load an ONNX model from its bytes.

    Raises:
        ModelDamagedError: the file does not load, or does not run on a picture of the recipe's size.
        ModelError: its inputs or outputs are not those of an image model.
    """
    path = checkpoint.path
    assert checkpoint.weights is not None
    session = open_session(checkpoint.weights, path)
    chosen = choose_output(session, checkpoint)
    output = output_name(session, chosen)
    dim = _dimension(session, output, checkpoint.preprocess, path)
    feed = session.get_inputs()[0].name
    return OnnxEmbedder(
        lambda numbers: run(session, output, {feed: numbers}, path),
        "onnx (cpu)",
        checkpoint.fingerprint(chosen, dim),
        checkpoint.threads,
    )


def _dimension(session: Any, output: str, preprocess: Preprocess, path: Path) -> int:
    """D, as the file declares it; where it does not, one picture is run to see."""
    height, width = preprocess.output_size
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        raise ModelError("this ONNX file does not take one batch of pictures as float32 (N, 3, H, W)", path=path)
    for declared, ours in zip(inputs[0].shape, (1, 3, height, width), strict=True):
        if isinstance(declared, int) and declared != ours:
            raise ModelError(f"this ONNX file takes pictures of {inputs[0].shape}, its recipe gives {(1, 3, height, width)}", path=path)
    shape = next(o.shape for o in session.get_outputs() if o.name == output)
    rank = 3 if output in OUTPUTS["cls"] else 2
    if not shape or not isinstance(shape[-1], int) or len(shape) != rank:
        shape = run(session, output, {inputs[0].name: np.zeros((1, 3, height, width), np.float32)}, path).shape
    if len(shape) != rank:
        raise ModelError(f"the output {output} of this ONNX file has the shape {tuple(shape)}", path=path)
    return int(shape[-1])
