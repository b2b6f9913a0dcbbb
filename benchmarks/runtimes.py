"""The program's own ways to run one model: rows of data for whoever compares them."""

from __future__ import annotations

from pathlib import Path

from image_search.errors import ImageSearchError
from image_search.models import load_model
from image_search.types import Embedder

__all__ = ["RUNTIMES", "load"]

# words, `runtime` of load_model, number type whose peak is its limit
RUNTIMES = (("ONNX Runtime", "onnx", "fp32"), ("OpenVINO", "openvino", "bf16"))


def load(folder: Path, runtime: str, threads: int) -> tuple[Embedder | None, str]:
    """The model, or None and why not."""
    try:
        return load_model(str(folder), runtime=runtime, threads=threads), ""
    except ImageSearchError as error:
        return None, f"not run: {error}"
