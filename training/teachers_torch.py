"""The teachers where the student learns, so that they can be asked about each view: their ONNX graphs as torch modules, and the target.

B views, S their side, D the target's dimensions. What `teachers.py` asks of a picture once, on a CPU.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, its usual name
from torch import Tensor, nn

from training import looks
from training.teachers import SIDE

_TRIED = 512  # pictures, to see what is faster
_SAME = (0, 1, 0, 1)  # TensorFlow's padding before a step of 2 at an even side: right and below


class Teacher(nn.Module):
    """A MobileNet as `DATA/teachers` has it: convolutions, bounds, sums, and the mean at the end. Held to these; float16 on a GPU."""

    def __init__(self, file: Path) -> None:
        import onnx
        from onnx import numpy_helper

        super().__init__()
        graph = onnx.load(str(file)).graph
        values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "Cast" and node.input[0] in values:
                values[node.output[0]] = values[node.input[0]]
        self.steps: list[tuple[str, list[str], str, list[float]]] = []  # kind, inputs, output, bounds
        self.convs = nn.ModuleList()
        known = {"pixels"}
        for node in graph.node:
            inputs = [name for name in node.input if name in known]
            kind = node.op_type
            if not inputs or kind not in ("Conv", "Pad", "Clip", "Add", "ReduceMean"):
                continue
            if kind == "Conv":
                options: dict[str, Any] = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
                weight, bias = (torch.from_numpy(np.asarray(values[name], np.float32).copy()) for name in node.input[1:3])
                stride, pad, group = options["strides"][0], options["pads"][0], options["group"]
                conv = nn.Conv2d(weight.shape[1] * group, len(weight), weight.shape[-1], stride, pad, groups=group)
                conv.weight.data.copy_(weight)
                conv.bias.data.copy_(bias)  # type: ignore[union-attr]
                self.convs.append(conv)
            bounds = [float(values[name]) for name in node.input[1:3]] if kind == "Clip" else []
            self.steps.append((kind, inputs, node.output[0], bounds))
            known.add(node.output[0])
        self.requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1], S a multiple of 32 -> (B, F)"""
        found = {"pixels": pixels}
        left = {name: sum(name in inputs for _, inputs, *_ in self.steps) for _, _, name, *_ in self.steps}
        out = pixels
        convs = iter(self.convs)
        for kind, inputs, name, bounds in self.steps:
            x = found[inputs[0]]
            if kind == "Conv":
                out = next(convs)(x)
            elif kind == "Pad":
                out = F.pad(x, _SAME)
            elif kind == "Clip":
                out = x.clamp_(*bounds) if left[inputs[0]] == 1 else x.clamp(*bounds)  # nobody else reads it
            elif kind == "Add":
                out = x + found[inputs[1]]
            else:
                return x.float().mean((2, 3))
            found[name] = out
            for used in inputs:  # nothing is kept longer than it is needed
                if used in left:
                    left[used] -= 1
                    if not left[used]:
                        del found[used]
        return out


def colours(pixels: Tensor, to_xyz: Tensor) -> Tensor:
    """(B, 3, S, S) in [0, 1] -> (B, 245): `looks.colours`, but for rounding. `to_xyz` is that of looks, on the pixels' device."""
    small = F.interpolate(pixels, (looks.SIDE, looks.SIDE), mode="bilinear", antialias=True, align_corners=False)[:, :, ::2, ::2]
    flat = small.flatten(2).transpose(1, 2)  # (B, P, 3)
    linear = torch.where(flat <= 10 / 255, flat / 12.92, ((flat + 0.055) / 1.055) ** 2.4)
    xyz = linear @ to_xyz
    f = torch.where(xyz > 0.008856, xyz.clamp_min(1e-9) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(2)
    lab = torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 2)
    bent = lab / (lab.abs() + looks.BEND)
    share = torch.cat([lab[..., :1] / 100, (bent[..., 1:] + 0.75) / 1.5], 2)
    places = [share[..., axis].clamp(0, 1) * (bins - 1) for axis, bins in enumerate(looks.BINS)]  # (B, P) each
    lows = [place.long().clamp_max(bins - 2) for place, bins in zip(places, looks.BINS, strict=True)]
    found = torch.zeros(len(flat), looks.COLOURS, device=flat.device)
    for corner in itertools.product((0, 1), repeat=3):  # each pixel is shared between the bins around it
        weight, at = 1.0, 0
        for up, place, low, bins in zip(corner, places, lows, looks.BINS, strict=True):
            weight = weight * (place - low if up else 1 - (place - low))
            at = at * bins + low + up
        found.scatter_add_(1, at, weight)
    return (found / flat.shape[1]).sqrt()


class Board(nn.Module):
    """All teachers as one: what the student is to make of a view, and which of V2's labels it shows."""

    mean: Tensor  # (F,)
    basis: Tensor  # (F, D)

    def __init__(self, folder: Path, colour: float) -> None:
        super().__init__()
        self.v1, self.v2 = (Teacher(folder / f"mobilenet_{name}_imagenet.onnx") for name in ("v1", "v2"))
        self.colour = colour
        self.kinds: list[dict[str, Any]] = [{"dtype": torch.float32}] * 2  # how each wants its pixels
        with np.load(folder / "mobilenet_v2_imagenet_head.npz") as head:
            self.register_buffer("weight", torch.from_numpy(head["weight"].T.astype(np.float32)))
            self.register_buffer("bias", torch.from_numpy(head["bias"].astype(np.float32)))
        self.register_buffer("to_xyz", torch.from_numpy(looks.TO_XYZ))

    def joined(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in [0, 1] -> (B, F) V1, V2 and colours side by side; V2's logits (B, 1001)."""
        asked = pixels * 2 - 1
        v1, v2 = (teacher(asked.to(**kind)) for teacher, kind in zip((self.v1, self.v2), self.kinds, strict=True))
        parts = [F.normalize(v1, dim=1), F.normalize(v2, dim=1), self.colour * F.normalize(colours(pixels, self.to_xyz), dim=1)]
        return torch.cat(parts, 1), v2 @ self.weight + self.bias

    def fit(self, joined: Tensor, dim: int, whiten: float = 0.5) -> None:
        """Set the target space: see `teachers.fit_target`. joined (N, F), N well above F."""
        mean = joined.mean(0)
        centred = (joined - mean).double()
        values, axes = torch.linalg.eigh(centred.T @ centred / len(centred))  # rising
        basis = axes[:, -dim:] / values[-dim:].clamp_min(1e-12) ** (whiten / 2)
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis.float())

    def target(self, joined: Tensor) -> Tensor:
        """(B, F) -> (B, D) of unit length."""
        return F.normalize((joined - self.mean) @ self.basis, dim=1)

    def quick(self) -> Board:
        """Convolutions in float16, each teacher in the order of memory that is the faster one: for a GPU."""
        self.kinds = []
        for teacher in (self.v1, self.v2):
            took = {}
            for order in (torch.channels_last, torch.contiguous_format):
                kind = {"dtype": torch.float16, "memory_format": order}
                teacher.to(**kind)
                pixels = torch.rand(_TRIED, 3, SIDE, SIDE, device=self.bias.device).to(**kind)
                for _ in range(3):  # the last one counts
                    torch.cuda.synchronize()
                    began = time.perf_counter()
                    teacher(pixels)
                    torch.cuda.synchronize()
                    took[order] = time.perf_counter() - began
            best = min(took, key=lambda order: took[order])
            print(f"a teacher: {', '.join(f'{order} {_TRIED / seconds:.0f}/s' for order, seconds in took.items())}", flush=True)
            self.kinds.append({"dtype": torch.float16, "memory_format": best})
            teacher.to(**self.kinds[-1])
        return self
