"""A model in 8-bit numbers (extra [int8]): another model, with other vectors, made on this machine from the one it is called after.

Dynamic quantisation of ONNX Runtime: the weights of the matrix products, one scale an output channel, are rounded once, what flows
through them (unsigned 8 bits) at each picture. The weights get 7 bits, -64 to 64: processors without VNNI add two products of a weight
and an unsigned byte in 16 bits, which saturate, and with 8-bit weights such a processor makes other, worse vectors (cosine .970 to .995
to the full model's, in place of .9993 to .9999; 2 * 255 * 64 = 32,640 fits in 16 bits, 2 * 255 * 127 does not). With 7 bits every processor
comes to the same integers.

ViT-S/16: 37 CPU ms a picture in place of 92 (one core with VNNI), and 2 s at each start. What rounding costs depends on the weights
(cosines below .9 were seen for random ones drawn wide): so it is measured on this machine when a library is made, and by `evaluate` on
people's own pictures.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..advice import Advice, Setting, Verb
from ..errors import MissingExtraError, ModelError, ModelMissingError
from ..types import Float32
from .checkpoint import Checkpoint
from .graph import OnnxFile
from .onnx import OnnxEmbedder, open_onnx

__all__ = ["import_quantiser", "in_8_bits", "loss", "open_int8"]


def open_int8(checkpoint: Checkpoint) -> OnnxEmbedder:
    """Round an ONNX model's weights and load what came out. Errors as for `in_8_bits` and `open_onnx`."""
    try:
        rounded = in_8_bits(checkpoint.path.read_bytes(), checkpoint.path)
    except OSError as error:
        raise ModelMissingError("this model file cannot be read", path=checkpoint.path, hint="fetch or copy it again") from error
    return open_onnx(replace(checkpoint, weights=OnnxFile(rounded), weights_sha256=hashlib.sha256(rounded).hexdigest()))


def import_quantiser() -> tuple[Any, Any]:
    """The package onnx and ONNX Runtime's `quantize_dynamic`.

    Raises:
        MissingExtraError: the package onnx is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # see onnx.py
    try:
        import onnx
        from onnxruntime.quantization import quantize_dynamic
    except ImportError as error:
        raise MissingExtraError("onnx", "int8", "A model in 8-bit numbers") from error
    return onnx, quantize_dynamic


def in_8_bits(model: bytes, path: Path) -> bytes:
    """An ONNX file's content with rounded weights; the same bytes for the same file and the same versions of onnx and ONNX Runtime.

    Raises:
        MissingExtraError: the package onnx is not installed.
        ModelError: this file cannot be quantised.
    """
    onnx, quantize_dynamic = import_quantiser()
    try:
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / "int8.onnx"
            graph = onnx.load_model_from_string(model)
            onnx.helper.set_model_props(graph, {"onnx.quant.pre_process": "onnxruntime.quant"})  # else it advises, on the root logger
            quantize_dynamic(graph, written, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, reduce_range=True)
            return written.read_bytes()
    except Exception as error:  # protobuf's, onnx's, ValueError, ... by what it does not like
        raise ModelError("this model file cannot be turned into 8-bit numbers", path=path, hint="use the model itself") from error


def loss(name: str, full_name: str, found: Float32, full: Float32) -> str:
    """One line for people. `found`, `full`: float32 (8, D), the canonical pictures' vectors of the two models, unit length."""
    cosines = np.sum(found.astype(np.float64) * full.astype(np.float64), axis=1)
    return Advice(
        f"{name} is {full_name} in 8-bit numbers: its vectors differ (cosine {cosines.min():.5f} to {cosines.max():.5f} on eight test "
        "pictures). What that costs on yours: ",
        Verb("evaluate", ("FOLDER", Setting("model", full_name), Setting("model", name))),
    )
