"""The student: a small residual network of plain 3 x 3 convolutions, and its start from an earlier model's weights.

Dense 3 x 3 convolutions at low resolution are what both a CPU trains fastest and ONNX Runtime runs fastest (46 GFLOP/s a core against
about 20 for depthwise ones), so there is nothing else in it. Batch normalisation is folded into them for shipping.

Letters: B batch, H and W the input's size, h = ceil(H / 16), w = ceil(W / 16), D = Config.dim.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, its usual name
from torch import Tensor, nn

from training.config import Config

MEAN = (0.485, 0.456, 0.406)  # of ImageNet's pixels, in 0..1
STD = (0.229, 0.224, 0.225)


class ConvNorm(nn.Sequential):
    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1) -> None:
        conv = nn.Conv2d(inside, outside, kernel, stride, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        super().__init__(conv, nn.BatchNorm2d(outside))


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al., "Deep residual learning", 2015)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.a = ConvNorm(inside, outside, 3, stride)
        self.b = ConvNorm(outside, outside, 3)
        self.shortcut = ConvNorm(inside, outside, 1, stride) if stride > 1 or inside != outside else None
        nn.init.zeros_(self.b[1].weight)  # starts as its shortcut: a block can be added to a trained network

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(F.relu(self.a(x)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Student(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.stem = ConvNorm(3, config.widths[0], 3, 2)
        blocks, inside = [], config.widths[0]
        strides = (1, 2, 2, 2, 1)  # after the stem's 2: 2, 4, 8, 16, 16
        for width, depth, stride in zip(config.widths, config.depths, strides, strict=True):
            for i in range(depth):
                blocks.append(Block(inside, width, stride if i == 0 else 1))
                inside = width
        self.blocks = nn.Sequential(*blocks)
        self.project = nn.Conv2d(inside, config.dim, 1)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def features(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, C, h, w), the last map before the projection."""
        x = F.relu(self.stem((pixels - self.mean) / self.std))
        out: Tensor = self.blocks(x)
        return out

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, D), not yet of unit length.

        The mean over the map is taken before the projection, which is linear: the same as after it, and cheaper.
        """
        pooled = self.features(pixels).float().mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        with torch.autocast(pooled.device.type, enabled=False):
            out: Tensor = self.project(pooled)
        return out.flatten(1)


class Heads(nn.Module):
    """Classifiers on the vector itself: a cosine one a source, for the pictures' own labels, and a linear one for the teacher's.

    Sources with one label teach nothing here.
    """

    def __init__(self, classes: list[int], dim: int, soft: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(count, dim) * dim**-0.5) for count in classes])
        self.soft = nn.Linear(dim, soft)

    def loss(self, unit: Tensor, labels: Tensor, sources: Tensor, scale: float, smoothing: float) -> Tensor:
        """unit (B, D), labels and sources (B,) -> mean cross entropy over the samples whose source has several labels."""
        total, seen = unit.new_zeros(()), 0
        for source in sources.unique().tolist():
            weight = self.weights[source]
            if len(weight) < 2:
                continue
            mine = sources == source
            logits = scale * unit[mine] @ F.normalize(weight, dim=1).T
            total = total + F.cross_entropy(logits, labels[mine], label_smoothing=smoothing, reduction="sum")
            seen += int(mine.sum())
        return total / max(seen, 1)

    def soft_loss(self, unit: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
        """unit (B, D), labels and shares (B, 32) -> mean cross entropy to the teacher's labels, shared as it shares them."""
        likely = self.soft(unit).log_softmax(1).gather(1, labels)  # (B, 32)
        return -(shares * likely).sum(1).mean()


# ---- start from a model already shipped --------------------------------------------------------------------------------------------


def start_from(student: Student, model: Path, pixels: Tensor) -> None:
    """Take over the convolutions of an exported model of the same widths (its strides may differ), stage by stage.

    Where the student has more blocks in a stage than the model, the last ones stay as they are: they start as their shortcuts.

    Its normalisation is folded away, so that of the student is set anew, from what `pixels` (B, 3, H, W) cause at each place, such that
    the network gives what the shipped one gives. Each filter is brought to the length that a fresh one has, since the learning rate
    is meant for that.
    """
    donors = _convolutions(model)
    shifts: dict[nn.Module, Tensor] = {}
    scales: dict[nn.Module, Tensor] = {}

    def take(pair: ConvNorm) -> None:
        conv = pair[0]
        weight, bias = (values.to(conv.weight.device) for values in donors.pop(0))
        if conv.weight.shape != weight.shape:
            raise ValueError(f"{model}: a convolution of shape {tuple(weight.shape)} where {tuple(conv.weight.shape)} is needed")
        length = weight.flatten(1).norm(dim=1).clamp_min(1e-6)  # (outside,)
        fresh = conv.weight.detach().flatten(1).norm(dim=1).mean()
        conv.weight.data.copy_(weight * (fresh / length).view(-1, 1, 1, 1))
        shifts[pair[1]], scales[pair[1]] = bias, length / fresh

    take(student.stem)
    for block in student.blocks:
        assert isinstance(block, Block)
        if block.shortcut is None and donors[0][0].shape != block.a[0].weight.shape:
            continue  # a block that the model does not have
        for pair in (block.a, block.b, block.shortcut):
            if pair is not None:
                take(pair)

    def settle(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        var, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
        norm.weight.data.copy_((var + norm.eps).sqrt() * scales[norm])
        norm.bias.data.copy_(mean * scales[norm] + shifts[norm])

    hooks = [norm.register_forward_pre_hook(settle) for norm in shifts]
    with torch.no_grad():
        student.train()
        student.features(pixels)
    for hook in hooks:
        hook.remove()


def _convolutions(model: Path) -> list[tuple[Tensor, Tensor]]:
    """(weight, bias) of each convolution, in the order in which the graph runs them."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(model)).graph
    values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    found = []
    for node in graph.node:
        if node.op_type == "Conv":
            weight, bias = (torch.from_numpy(np.asarray(values[name], np.float32).copy()) for name in node.input[1:3])
            found.append((weight, bias))
    return found


def ridge(x: Tensor, y: Tensor, strength: float = 1e-2) -> tuple[Tensor, Tensor]:
    """Weight (Y, X) and bias (Y,) of the linear map from x (N, X) to y (N, Y) with least squares."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    left, right = (x - mean_x).double(), (y - mean_y).double()
    gram = left.T @ left / len(left)
    gram += strength * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    weight = torch.linalg.solve(gram, left.T @ right / len(left)).T.float()
    return weight, mean_y - weight @ mean_x


def fit_projection(student: Student, features: Tensor, targets: Tensor) -> None:
    """Set the projection by ridge regression: features (N, C) pooled maps -> targets (N, D). A start worth an hour of training."""
    weight, bias = ridge(features, targets)
    student.project.weight.data.copy_(weight[:, :, None, None])
    assert student.project.bias is not None
    student.project.bias.data.copy_(bias)
