"""A model in 8-bit numbers (extra [int8]): another model, with other vectors, made on this machine from the one it is called after.

Dynamic quantisation of ONNX Runtime: the weights of the matrix products, one scale an output channel, are rounded to 8 bits once, what
flows through them at each picture. ViT-S/16: 37 CPU ms a picture in place of 92 (one core with VNNI), and 2 s at each start. The
cosine to the exact vectors was .9994 to .9998 for random weights as they are drawn for training, and down to .87 for wider ones: it
depends on the weights, so what is lost is measured on this machine when a library is made, and by `evaluate` on people's own pictures.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingExtraError, ModelError
from ..types import Float32

__all__ = ["import_quantiser", "in_8_bits", "loss"]


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
    """An ONNX file's content with 8-bit weights; the same bytes for the same file and the same versions of onnx and ONNX Runtime.

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
            quantize_dynamic(graph, written, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True)
            return written.read_bytes()
    except Exception as error:  # protobuf's, onnx's, ValueError, ... by what it does not like
        raise ModelError("this model file cannot be turned into 8-bit numbers", path=path, hint="Use the model itself") from error


def loss(name: str, exact_name: str, found: Float32, exact: Float32) -> str:
    """One line for people. `found`, `exact`: float32 (8, D), the canonical pictures' vectors of the two models, unit length."""
    cosines = np.sum(found.astype(np.float64) * exact.astype(np.float64), axis=1)
    return (
        f"{name} is {exact_name} in 8-bit numbers: its vectors differ (cosine {cosines.min():.5f} to {cosines.max():.5f} on eight test "
        f"pictures). What that costs on yours: image-search evaluate FOLDER --model {exact_name} --model {name}"
    )
