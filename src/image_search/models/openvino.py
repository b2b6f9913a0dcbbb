"""OpenVINO on the CPU (extra [openvino], picked with --runtime openvino): the same ONNX file in bf16 where processor and model allow it.

ViT-S/16 takes 49 CPU ms a picture in bf16 against 93 with ONNX Runtime (AVX-512 BF16, one core). bf16 keeps 8
bits of a number; what that does to a vector depends on the weights (mini's lowest cosine is .9995: too far). So it is not believed but
tried, each time a model is loaded: the canonical pictures must come out as from ONNX Runtime (cosine >= .9999 each), else the model
runs in f32, as exact and about as fast as on ONNX Runtime. That costs 8 pictures on each, which is why this runtime is for indexing
and for the page, not for single searches.
"""

from __future__ import annotations

import contextlib
import importlib
import queue
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..advice import Advice, Setting
from ..config import available_cpus
from ..errors import MissingExtraError, ModelDamagedError, ModelError, ModelMismatchError
from ..types import Float32, Preprocess
from .checkpoint import Checkpoint
from .onnx import OUTPUTS, OnnxEmbedder, Run, open_onnx
from .vectors import canonical_pictures, check_same_vectors, matches_reference

__all__ = ["import_openvino", "open_openvino"]

_REPORTING = "openvino.tools.ovc"
_WAY_OUT = Advice("leave out ", Setting("runtime"))
_alone = threading.Lock()


def import_openvino() -> Any:
    """The package, without its reports.

    Imported plainly it tells Google Analytics of it, in a thread of its own, with an id of this user that it writes to ~/intel. That
    happens in its model converter, which it can do without and we do not need: it is hidden while the package is imported.

    Raises:
        MissingExtraError: it is not installed, or not for this machine.
    """
    with _alone:
        hidden = "openvino" not in sys.modules and _REPORTING not in sys.modules
        if hidden:
            sys.modules[_REPORTING] = None  # type: ignore[assignment]  # what `import` takes for "there is no such module"
        try:
            return importlib.import_module("openvino")
        except ImportError as error:
            raise MissingExtraError("openvino", "openvino", "The runtime openvino") from error
        finally:
            if hidden:
                del sys.modules[_REPORTING]


def open_openvino(checkpoint: Checkpoint) -> OnnxEmbedder:
    """Load an ONNX model. Errors as for `open_onnx`, which opens it first: to say what is wrong with the file, and as judge.

    Raises:
        MissingExtraError: openvino is not installed.
        ModelError: OpenVINO cannot run this file.
        ModelMismatchError: not even in f32 does it give the vectors that ONNX Runtime gives.
    """
    openvino = import_openvino()
    judge = open_onnx(checkpoint)
    fingerprint, recipe = judge.fingerprint, checkpoint.preprocess
    expected = judge.embed(canonical_pictures(recipe))
    judge.close()
    del judge  # its copy of the weights, before there are two more
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # a file that is replaced later must not matter
    streams = min(checkpoint.threads, available_cpus())
    precisions = ("bf16", "f32") if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else ("f32",)
    for precision in precisions:
        with _as_plain_files(checkpoint) as path:
            run = _compile(core, path, OUTPUTS[fingerprint.output], recipe, precision, streams)
        embedder = OnnxEmbedder(run, f"openvino (cpu, {precision})", fingerprint, checkpoint.threads)
        if precision == "bf16" and matches_reference(embedder, expected):
            return embedder
    try:
        check_same_vectors(embedder, expected)
    except ModelMismatchError as error:
        embedder.close()
        raise ModelMismatchError(error.what, hint=_WAY_OUT) from error
    return embedder


@contextlib.contextmanager
def _as_plain_files(checkpoint: Checkpoint) -> Iterator[Path]:
    """The graph's path, with plain files beside it: OpenVINO follows no link out of a folder; in the Hugging Face cache all are links."""
    beside = {} if checkpoint.weights is None else checkpoint.weights.beside
    if not beside:
        yield checkpoint.path
        return
    with tempfile.TemporaryDirectory(prefix="image-search-") as place:
        graph = Path(shutil.copyfile(checkpoint.path, Path(place) / checkpoint.path.name))
        for name, content in beside.items():
            (Path(place) / name).write_bytes(content)
        yield graph


def _compile(core: Any, path: Path, outputs: Sequence[str], preprocess: Preprocess, precision: str, streams: int) -> Run:
    """One thread a picture, `streams` pictures at once, over one copy of the weights: 25.5 ms a picture on two cores, against 39
    with two threads a picture, whose bits would depend on how many there are."""
    try:
        graph = core.read_model(str(path))
        graph.reshape([1, 3, *preprocess.output_size])
        compiled = core.compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": streams,
                "ENABLE_CPU_PINNING": False,  # the decoders need the cores as well
                "ENABLE_HYPER_THREADING": True,  # or it may make fewer streams than were asked for
            },
        )
        output = next(name for end in compiled.outputs for name in outputs if name in end.names)
        free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(streams):
            free.put(compiled.create_infer_request())
    except Exception as error:  # RuntimeError for whatever it does not like
        raise ModelError("OpenVINO cannot run this model file", path=path, hint=_WAY_OUT) from error

    def run(numbers: Float32) -> Float32:
        request = free.get()
        try:
            request.infer([numbers], share_inputs=True)
            found: Float32 = request.get_tensor(output).data.copy()  # the next picture is written over it
        except Exception as error:
            raise ModelDamagedError("this model file does not run", path=path, hint=_WAY_OUT) from error
        finally:
            free.put(request)
        return found

    # Its first call in a process sets up tables inside: two threads at once can then wait for each other for ever (a C++ static's
    # guard against Python's lock; seen with 2026.4). So the first one is alone.
    with _alone:
        run(np.zeros((1, 3, *preprocess.output_size), np.float32))
    return run
