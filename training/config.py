"""Every number of a training run, in one place; and the files in `runs/` that say which of them a run changes, and when.

A run's file (TOML):

    init = "PATH"         a shipped model to start from; or
    branch = "RUN"        the run whose state it starts from
    held_out = [...]      sources that the run never sees: what settings are chosen by
    [settings]            fields of Config for the whole run
    [sources]             how much more or less often than its size says a source is drawn
    [[stage]]             in order; each for `steps` steps, with further fields of Config; the last ones may have
    cooldown = true       the rate falls to nearly nothing by the end
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Config:
    # student
    widths: tuple[int, ...] = (32, 64, 128, 224, 384)  # channels after each stage; strides 2, 4, 8, 16, 16
    depths: tuple[int, ...] = (1, 1, 2, 2, 1)  # residual blocks a stage
    dim: int = 256  # of the vector

    # what is kept of each picture
    store_side: int = 128  # px, squashed
    parts: int = 1  # parts of a larger picture that the teachers look at, beside the whole
    part_area: tuple[float, float] = (0.2, 0.7)  # share of the picture's area
    colour: float = 0.5  # length of the colours in the target, the teachers' being 1
    grain: float = 0.15  # likewise of the texture

    # samples
    side: int = 64  # px that the student sees while training
    batch: int = 256
    flock: int = 4  # views that enter a batch together: the whole of a picture drawn by chance, a view of it, and of some `neighbours`
    neighbours: int = 12
    part_share: float = 0.6  # of the neighbours' views lie in a part that the teachers looked at, where there is one
    crop_area: tuple[float, float] = (0.35, 1.0)  # of the whole picture
    inner_area: tuple[float, float] = (0.7, 1.0)  # of a part: near it, since the teachers speak of just it
    own_area: tuple[float, float] = (0.15, 1.0)  # of the whole picture, where the teachers are asked about just what is seen (training.gpu)
    crop_ratio: float = 4 / 3  # how much a crop may be squashed, either way
    whole_share: float = 0.2  # of the views are not cropped: that is what the shipped model sees
    rotate_share: float = 0.35
    rotate_degrees: float = 30.0
    pad_share: float = 0.1  # of the samples are zoomed out, the border filled with one colour
    grey_share: float = 0.15
    jitter_share: float = 0.5
    coarse_share: float = 0.2  # of the samples lose detail: blurred, reduced and enlarged again, or blocky as strong JPEG
    noise_share: float = 0.1
    sticker_share: float = 0.15  # boxes or lines of letter-like marks laid over

    # loss
    # Weights: larger ones for labels or relations (.5 and 1 against a distil_weight of 4) made a fresh run's vectors leave the teachers'.
    distil_weight: float = 10.0  # 1 - cosine to the target
    soft_weight: float = 0.5  # cross entropy to the teacher's soft labels
    label_weight: float = 0.5  # cosine softmax over the pictures' own labels, one a source
    relation_weight: float = 1.0  # differences between the two similarity matrices inside a batch
    contrast_weight: float = 1.0  # each view is to find its own picture's target among the batch's
    pair_weight: float = 1.0  # the second view of a flock is to find the whole picture among all views of the batch
    label_scale: float = 16.0
    label_smoothing: float = 0.1

    # optimiser
    muon: bool = True  # for the 3 x 3 kernels (Jordan et al. 2024); AdamW for the rest, and for all where false
    lr: float = 1.0e-3
    min_lr_share: float = 0.01  # what the cooldown ends at, of lr
    warmup_steps: int = 300
    weight_decay: float = 0.05
    clip: float = 5.0  # gradient norm
    ema_decay: float = 0.998
    bf16: bool = True  # convolutions only; twice as fast on a CPU that has it, and on a GPU

    seed: int = 7
    checkpoint_seconds: float = 180.0
    log_steps: int = 50


@dataclass(frozen=True)
class Stage:
    steps: int
    settings: dict[str, Any]
    cooldown: bool = False


@dataclass(frozen=True)
class Plan:
    """A run's file."""

    name: str
    settings: dict[str, Any]
    stages: tuple[Stage, ...]
    init: Path | None = None
    branch: str | None = None
    held_out: tuple[str, ...] = ()
    sources: dict[str, float] = field(default_factory=dict)

    def at(self, step: int) -> tuple[Config, tuple[int, int] | None]:
        """The configuration of a step (counted from the run's start), and (first step, steps) of the cooldown that it is in."""
        end = cooling = 0  # of the stage that the step is in; where a cooldown began, which several stages in a row may share
        for stage in self.stages:
            cooling = cooling if stage.cooldown else end + stage.steps
            end += stage.steps
            if step < end:
                break
        config = changed(Config(), self.settings | stage.settings)
        return config, (cooling, self.steps - cooling) if stage.cooldown else None

    def rate(self, step: int) -> float:
        """Learning rate of a step, but for the warming up at the start."""
        config, cooldown = self.at(step)
        if cooldown is None:
            return config.lr
        first, steps = cooldown
        return config.lr * max(config.min_lr_share, 1 - ((step - first + 1) / steps) ** 0.5)  # 1 - sqrt (Hägele et al. 2024)

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)


def read(file: Path) -> Plan:
    raw = tomllib.loads(file.read_text(encoding="utf8"))
    stages = []
    for stage in raw.pop("stage"):
        steps, cooldown = stage.pop("steps"), stage.pop("cooldown", False)
        stages.append(Stage(steps, stage, cooldown))
    init = raw.pop("init", None)
    held_out = tuple(raw.pop("held_out", ()))
    plan = Plan(file.stem, raw.pop("settings", {}), tuple(stages), Path(init) if init else None, held_out=held_out, **raw)
    plan.at(0)  # an unknown setting is said before anything is loaded
    return plan


def changed(config: Config, settings: dict[str, Any]) -> Config:
    """config with these fields set."""
    known = {each.name for each in fields(Config)}
    for name, value in settings.items():
        if name not in known:
            raise SystemExit(f"no such setting: {name}")
        config = replace(config, **{name: tuple(value) if isinstance(value, list) else value})
    return config
