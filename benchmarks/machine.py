"""The machine, and what one of its cores can do: the limits that the figures are held against."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

__all__ = ["VIT_S16_GFLOP", "facts", "limits", "milliseconds"]

VIT_S16_GFLOP = 9.196  # a 224 px picture: 4.598 billion multiply-adds in the patches, the linear layers and attention

PACKAGES = ["ai-image-search-engine", "numpy", "pillow", "onnxruntime", "openvino", "torch", "transformers", "chromadb", "faiss-cpu"]
SIDES = (1024, 2048)  # of the square matrices that are multiplied; the better of both is the limit


def facts() -> dict[str, str]:
    """What a reader must know of the machine."""
    return {
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores usable",
        "instructions": " ".join(flag for flag in ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16") if flag in _flags()),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load at the start": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?",
        "versions": ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name))),
    }


def limits() -> dict[str, float]:
    """Of one core, in the largest library kernel at hand: "fp32", "bf16", "int8" in GFLOP/s (GOP/s), "read" in GB/s."""
    big = np.ones(64 * 1024 * 1024, np.float32)  # 256 MB
    found = {"fp32": 0.0, "read": _best(lambda: big.max(), big.nbytes / 1e9)}
    for side in SIDES:
        products = [("fp32", _numpy_product(side))]
        if _version("torch"):
            products += _torch_products(side).items()
        for name, product in products:
            try:
                found[name] = max(found.get(name, 0), _best(product, 2 * side**3 / 1e9))
            except RuntimeError as error:  # this kernel is not built for this CPU
                print(f"no {name} product: {error}", file=sys.stderr)
    return found


def milliseconds(limits: dict[str, float], kind: str, amount: float) -> float | None:
    """How long `amount` (GFLOP or GB) takes at the limit; None where it was not measured."""
    return 1000 * amount / limits[kind] if limits.get(kind) else None


def _numpy_product(side: int) -> Callable[[], object]:
    one = np.random.default_rng(0).random((side, side), np.float32)
    return lambda: one @ one


def _torch_products(side: int) -> dict[str, Callable[[], object]]:
    import torch

    torch.set_num_threads(1)
    single = torch.rand(side, side)
    half = single.bfloat16()
    small = torch.randint(-9, 9, (side, side), dtype=torch.int8)
    return {"fp32": lambda: single @ single, "bf16": lambda: half @ half, "int8": lambda: torch._int_mm(small, small)}


def _best(call: Callable[[], object], amount: float) -> float:
    """The best of some runs: a limit is what the core can do when nothing is in its way."""
    call()
    seconds = []
    for _ in range(7):
        began = time.process_time()
        call()
        seconds.append(time.process_time() - began)
    return amount / min(seconds)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu_info(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def _cpu_model() -> str:
    return _cpu_info("model name") or platform.processor()


def _flags() -> list[str]:
    return _cpu_info("flags").split()
