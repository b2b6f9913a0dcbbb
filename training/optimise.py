"""One step of the weights: Muon (Jordan et al. 2024) for the 3 x 3 kernels, AdamW for the rest."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.config import Config


def is_kernel(parameter: Tensor) -> bool:
    """Of a 3 x 3 convolution behind the stem: nearly all weights, and those that Muon is for."""
    return parameter.ndim == 4 and parameter.shape[1] > 3 and parameter.shape[-1] == 3


def matrix(kernel: Tensor) -> Tensor:
    """(outside, inside, 3, 3), channels last -> (outside, 9 * inside), the same memory."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


class Optimisers:
    def __init__(self, student: nn.Module, heads: nn.Module, config: Config) -> None:
        kernels, slow, free = [], [], []
        for parameter in student.parameters():
            (kernels if is_kernel(parameter) and config.muon else slow if parameter.ndim > 1 else free).append(parameter)
        groups = [{"params": slow, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
        rest = [{"params": list(heads.parameters()), "weight_decay": 0.0}]
        self.each: list[torch.optim.Optimizer] = [torch.optim.AdamW(some, lr=config.lr, betas=(0.9, 0.99)) for some in (groups, rest)]
        self.kernels, self.matrices = kernels, [matrix(kernel.detach()) for kernel in kernels]
        if kernels:
            self.each.append(
                torch.optim.Muon(self.matrices, lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")
            )

    def step(self, rate: float) -> None:
        """By the parameters' gradients, at this learning rate."""
        for kernel, as_matrix in zip(self.kernels, self.matrices, strict=True):
            assert kernel.grad is not None
            as_matrix.grad = matrix(kernel.grad)
        for optimiser in self.each:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()


@torch.no_grad()
def follow(average: nn.Module, student: nn.Module, decay: float, step: int) -> None:
    """average = keep * average + (1 - keep) * student, the normalisation's statistics, too; keep rises to `decay` in the first steps."""
    keep = min(decay, (1 + step) / (10 + step))
    mine, other = student.state_dict(), average.state_dict()
    floating = [name for name, value in other.items() if value.is_floating_point()]
    torch._foreach_lerp_([other[name] for name in floating], [mine[name] for name in floating], 1 - keep)
