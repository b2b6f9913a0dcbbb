"""A trained student as one ONNX file: what the package ships.

    python -m training.export --work DIR --run final --whiten 0.3 --to mini.onnx

input   pixels     (N, 3, H, W) float32 RGB in [0, 1], the whole picture resized to H x W
output  embedding  (N, D) float32, unit length
output  patches    (N, ceil(H / 16), ceil(W / 16), D) float32, the last map in the same space; its normalised mean is `embedding`

Weights are stored as float16 and computed in float32, so that every CPU gives the same vectors. The graph is written node by node:
it is small, and no exporter's version changes it.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from training import augment, data
from training.config import Config
from training.student import Block, ConvNorm, Student

OPSET = 17
WHITENED = 10_000  # pictures that the whitening is fitted on
_TINY = 1e-12  # keeps an all-zero map from dividing by zero


def folded(pair: ConvNorm) -> tuple[Tensor, Tensor]:
    """Convolution and normalisation as one convolution's (weight, bias)."""
    conv, norm = pair[0], pair[1]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # (outside,)
    return conv.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:  # type: ignore[type-arg]
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def half(self, name: str, values: Tensor) -> str:
        """Stored as float16, computed in float32."""
        stored = values.detach().cpu().numpy().astype(np.float16)
        if not np.isfinite(stored).all():
            raise ValueError(f"{name} does not fit into float16")
        self.constant(f"{name}.f16", stored)
        return self.node("Cast", [f"{name}.f16"], name, to=TensorProto.FLOAT)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def conv(self, x: str, name: str, weight: Tensor, bias: Tensor, stride: int) -> str:
        pad = weight.shape[-1] // 2
        inputs = [x, self.half(f"{name}.weight", weight), self.constant(f"{name}.bias", bias.detach().cpu().float().numpy())]
        kernel = list(weight.shape[-2:])
        return self.node("Conv", inputs, name, kernel_shape=kernel, strides=[stride, stride], pads=[pad] * 4)

    def pair(self, x: str, name: str, pair: ConvNorm) -> str:
        return self.conv(x, name, *folded(pair), pair[0].stride[0])

    def unit(self, x: str, axis: int, name: str) -> str:
        length = self.node("ReduceL2", [x], f"{name}.length", axes=[axis], keepdims=1)
        return self.node("Div", [x, self.node("Max", [length, "tiny"], f"{name}.safe")], name)


def export(student: Student, target: Path) -> None:
    """Write the graph. The student is not changed."""
    g = _Graph()
    g.constant("tiny", np.float32(_TINY))
    mean, std = (getattr(student, name).detach().cpu().numpy() for name in ("mean", "std"))
    x = g.node("Sub", ["pixels", g.constant("mean", mean)], "centred")
    x = g.node("Div", [x, g.constant("std", std)], "scaled")
    x = g.node("Relu", [g.pair(x, "stem", student.stem)], "stem.out")
    for i, block in enumerate(student.blocks):
        assert isinstance(block, Block)
        name = f"block{i}"
        y = g.node("Relu", [g.pair(x, f"{name}.a", block.a)], f"{name}.a.out")
        y = g.pair(y, f"{name}.b", block.b)
        side = x if block.shortcut is None else g.pair(x, f"{name}.shortcut", block.shortcut)
        x = g.node("Relu", [g.node("Add", [y, side], f"{name}.sum")], f"{name}.out")
    assert student.project.bias is not None
    x = g.conv(x, "project", student.project.weight, student.project.bias, 1)  # (N, D, h, w)
    g.node("Transpose", [x], "patches", perm=[0, 2, 3, 1])
    pooled = g.node("ReduceMean", [x], "pooled", axes=[2, 3], keepdims=0)  # (N, D)
    g.unit(pooled, 1, "embedding")
    dim = student.project.weight.shape[0]
    graph = helper.make_graph(
        g.nodes,
        "mini",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", dim]),
            helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["N", "h", "w", dim]),
        ],
        g.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="image_search training")
    onnx.checker.check_model(model, full_check=True)
    target.write_bytes(model.SerializeToString(deterministic=True))


def whiten(student: Student, pictures: Tensor, power: float) -> None:
    """Fold the removal of the mean and a partial whitening of the student's own vectors into its projection.

    Each principal axis is divided by its variance to the power of `power` (.5 would be all of it). It evens out what the student has not
    learnt to tell apart as strongly as its teachers do.

    Args:
        pictures: float32 (N, 3, H, W) whole training pictures, as the shipped model sees them; N well above D.
    """
    with torch.no_grad():
        raw = torch.cat([student(part).double() for part in pictures.split(64)])  # (N, D)
        mean = raw.mean(0)
        spread, axes = torch.linalg.eigh(torch.cov((raw - mean).T))
        change = axes @ torch.diag(spread.clamp_min(1e-9) ** -power) @ axes.T
        change /= change.diagonal().mean()  # only directions matter: keep the numbers in float16's range
        weight, bias = student.project.weight, student.project.bias
        assert bias is not None
        bias.copy_((change @ (bias.double() - mean)).float())
        weight.copy_((change @ weight.flatten(1).double()).float().view_as(weight))


def load_student(file: Path, which: str = "average") -> Student:
    """The student in a run's state; `which`: "average" (of the last steps) or "student" (the last step's)."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    config = Config(**{key: tuple(value) if isinstance(value, list) else value for key, value in state["config"].items()})
    student = Student(config)
    student.load_state_dict(state[which])
    return student.eval()


def tell(file: Path) -> None:
    raw = file.read_bytes()
    print(f"{file}: {len(raw):,} bytes, sha256 {hashlib.sha256(raw).hexdigest()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--weights", choices=["average", "student"], default="average")
    parser.add_argument("--whiten", type=float, default=0.0, help="power of the variance by which each axis is divided; 0: none")
    parser.add_argument("--side", type=int, default=112, help="of the pictures that the whitening is fitted on")
    args = parser.parse_args()
    student = load_student(args.work / "runs" / args.run / "last.pt", args.weights)
    if args.whiten:
        pictures = data.load(args.work)
        pixels = torch.from_numpy(pictures.pixels(data.drawn(pictures.usable, WHITENED)))
        whiten(student, augment.whole(pixels, args.side), args.whiten)
    export(student, args.to)
    tell(args.to)


if __name__ == "__main__":
    main()
