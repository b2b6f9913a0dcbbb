"""The table of runtimes: what can open which model. To add a runtime, add a row and a file with its open function.

The first row that supports a model and opens the files that are here is taken; the others are picked by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

from .. import given
from ..advice import Advice, Setting
from ..errors import ModelError, UsageError
from ..forks import loaded_before_fork
from ..types import Embedder, Float32
from .checkpoint import Checkpoint
from .files import TextFiles, Weights
from .rows import ModelRow

__all__ = ["RUNTIMES", "Runtime", "check_runtime", "runtimes_for"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """One way to run a model.

    Attributes:
        name: what people type, and the first word of `Embedder.runtime`.
        weights: the kind of files it opens.
        opens: "module:function" beside this file; the function takes a `Checkpoint` and returns an `Embedder`.
        packages: the libraries it runs on, as they are imported; their versions are part of a proof.
        numbers: "full" precision, or the weights rounded to 8 bits, which makes another model of them (`ModelRow.full_precision`).
        opens_text: likewise for a model's words; takes the `Checkpoint`, its `TextFiles` and the number of tokens, returns what maps
            int64 (1, T) to float32 (1, D), and the hex sha256 of its weights.
        needs: "module:function" that raises MissingExtraError where its extra is not installed; "": nothing to ask before a download.
        forks: a process that was forked from one where it is in use can use it as well. Where threads are kept for the computing it
            cannot: it would wait for them for ever (torch 2.13 and OpenVINO 2026.4, tried).
    """

    name: str
    weights: Weights
    opens: str
    packages: tuple[str, ...]
    opens_text: str = "onnx_text:open_text"
    numbers: Literal["full", "int8"] = "full"
    needs: str = ""
    forks: bool = True

    def supports(self, row: ModelRow) -> bool:
        """Whether it can run this model: rounded or not as the row wants it, and `mini` is an ONNX file only."""
        return (self.numbers == "int8") == (row.full_precision is not None) and (self.weights == "onnx" or not row.is_bundled)

    def check_installed(self) -> None:
        """MissingExtraError, with its pip line, unless its extra is installed."""
        if self.needs:
            _function(self.needs)()

    def open(self, checkpoint: Checkpoint) -> Embedder:
        if not self.forks and loaded_before_fork(f"{__package__}.{self.opens.partition(':')[0]}"):
            raise ModelError(
                f"{self.name} was in use when this process was forked, and would wait for ever",
                hint='start the other process with multiprocessing\'s method "spawn", or before a model is used',
            )
        return cast(Embedder, _function(self.opens)(checkpoint))

    def open_text(self, checkpoint: Checkpoint, files: TextFiles, tokens: int) -> tuple[Callable[[Any], Float32], str]:
        return cast("tuple[Callable[[Any], Float32], str]", _function(self.opens_text)(checkpoint, files, tokens))


RUNTIMES: tuple[Runtime, ...] = (
    Runtime("onnx", weights="onnx", opens="onnx:open_onnx", packages=("onnxruntime",)),
    Runtime("onnx", weights="onnx", opens="int8:open_int8", packages=("onnxruntime",), numbers="int8", needs="int8:import_quantiser"),
    Runtime(
        "openvino", weights="onnx", opens="openvino:open_openvino", packages=("openvino",), needs="openvino:import_openvino", forks=False
    ),
    Runtime(
        "torch",
        weights="torch",
        opens="torch:open_torch",
        packages=("torch", "transformers"),
        opens_text="torch_text:open_text",
        forks=False,
    ),
)


def check_runtime(name: str) -> None:
    """UsageError unless it is the name of a runtime."""
    names = tuple(dict.fromkeys(runtime.name for runtime in RUNTIMES))
    if given.text(name, "runtime") not in names:
        raise UsageError(f"there is no runtime {name!r}", hint=f"use one of {', '.join(names)}")


def runtimes_for(row: ModelRow, asked: str | None) -> tuple[Runtime, ...]:
    """Those that can run this model, best first, at least one. `asked`: only of this name; None: of any.

    Raises:
        UsageError: none of them can, or there is no such runtime.
    """
    if asked is not None:
        check_runtime(asked)
    able = tuple(runtime for runtime in RUNTIMES if runtime.supports(row) and asked in (None, runtime.name))
    if not able:
        raise UsageError(f"model {row.name} does not run on {asked}", hint=Advice("leave out ", Setting("runtime")))
    return able


def _function(where: str) -> Callable[..., Any]:
    """Imported only now: each brings a heavy library."""
    module, name = where.split(":")
    return cast(Callable[..., Any], getattr(importlib.import_module(f".{module}", __package__), name))
