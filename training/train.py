"""Train the student; stop it whenever you like, start it again and it goes on.

    python -m training.train --work DIR --run main --init mini-v0.onnx          (goes on where it stopped)
    python -m training.train --work DIR --run final --branch main --cooldown 3000 --set side=96

The rate stays constant, so that a run can last as long as there is time; a branch with `--cooldown` then lets it fall to
nearly nothing within the given steps, and that one is shipped. Every step's chance comes from (seed, step): a run that was
interrupted ends as one that was not.

DIR/runs/RUN/last.pt    the state: student, heads, averaged student, optimiser, step, configuration
DIR/runs/RUN/log.jsonl  one line every `log_steps`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F  # noqa: N812, its usual name
from torch import Tensor

from training import augment, data, teachers
from training.config import Config
from training.student import Heads, Student, fit_projection, start_from

_TEMPERATURE = 0.1  # of similarities inside a batch
_PAIR_TEMPERATURE = 0.03  # few negatives are near, and only they teach
_PATIENCE = 900.0  # seconds that a process waits for the others before it gives up


@dataclass
class Crew:
    """Several processes of one thread each that share every step's batch. On cores that others use too, one process with two threads
    is four times slower: its threads spin at each convolution until the other is there. Here they meet once a step, asleep.
    """

    count: int
    place: int
    sums: Tensor  # (count, P + 1) shared: each one's gradient, and 1 if it wants to stop
    barrier: Any

    @classmethod
    def of(cls, count: int, parameters: list[Tensor]) -> Crew:
        size = sum(parameter.numel() for parameter in parameters)
        return cls(count, 0, torch.zeros(count, size + 1).share_memory_(), mp.get_context("spawn").Barrier(count))

    def share(self, parameters: list[Tensor], stop: bool) -> bool:
        """Replace each gradient by the mean of all processes'; tells whether anyone wants to stop. The same bits in all of them."""
        mine = self.sums[self.place]
        torch.cat([p.grad.flatten() if p.grad is not None else p.new_zeros(p.numel()) for p in parameters], out=mine[:-1])
        mine[-1] = float(stop)
        self.barrier.wait(_PATIENCE)
        total = self.sums.sum(0)
        self.barrier.wait(_PATIENCE)  # nobody overwrites what another still reads
        for parameter, part in zip(parameters, (total[:-1] / self.count).split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)
        return bool(total[-1] > 0)


class Run:
    """Everything that a step needs and changes."""

    def __init__(self, work: Path, config: Config) -> None:
        self.crew: Crew | None = None
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.pictures = data.load(work, config.store_side)
        pixels = torch.from_numpy(np.asarray(self.pictures.pixels))
        self.pixels = pixels.to(self.device)  # (N, S, S, 3): a memory map on the CPU, all of it on a GPU
        self.labels = torch.from_numpy(self.pictures.labels).to(self.device)
        self.sources = torch.from_numpy(self.pictures.sources).to(self.device)
        self.targets = torch.from_numpy(targets(work, self.pictures, config)).to(self.device)  # (N, D)
        self.neighbours = neighbours(work, self.targets, self.pictures, config) if config.flock > 1 else None  # (N, K)
        self.chances = torch.from_numpy(_chances(self.pictures))  # (N,), rising to 1
        self.step = 0
        self.seconds = 0.0
        self.cooldown: tuple[int, int] | None = None  # (first step, steps)
        self.config = config
        torch.manual_seed(config.seed)
        self.student = Student(config).to(self.device, memory_format=torch.channels_last)
        self.heads = Heads(self.pictures.classes, config.dim).to(self.device)
        for source, weight in enumerate(self.heads.weights):  # a class starts at the mean of its pictures
            for label in range(len(weight)):
                mine = self.targets[(self.sources == source) & (self.labels == label)]
                weight.data[label] = F.normalize(mine.mean(0), dim=0) if len(mine) else weight.data[label]
        self.average: Student | None = Student(config).to(self.device, memory_format=torch.channels_last)
        self.average.load_state_dict(self.student.state_dict())
        kernels, slow, free = [], [], []
        for parameter in (*self.student.parameters(), *self.heads.parameters()):
            (kernels if _is_kernel(parameter) and config.muon else slow if parameter.ndim > 1 else free).append(parameter)
        groups = [{"params": slow, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
        self.optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.99))]
        self.kernels, self.matrices = kernels, [_matrix(kernel.detach()) for kernel in kernels]
        if kernels:
            muon = torch.optim.Muon(self.matrices, lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")
            self.optimisers.append(muon)

    # ---- one step --------------------------------------------------------------------------------------------------------------

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Rows (B,) of this step's pictures and their views (B, 3, V, V)."""
        count, place = (self.crew.count, self.crew.place) if self.crew else (1, 0)
        chance = torch.Generator().manual_seed((self.config.seed * 1_000_003 + step) * 64 + place)
        flocks = self.config.batch // count // self.config.flock
        rows = torch.searchsorted(self.chances, torch.rand(flocks, generator=chance, dtype=torch.float64))
        rows = rows.clamp_max(len(self.chances) - 1)
        if self.neighbours is not None:  # what tells a picture from those alike, in any view, is learnt where they meet
            near = self.neighbours[rows]  # (flocks, K)
            few = torch.rand(near.shape, generator=chance).argsort(1)[:, : self.config.flock - 2]
            rows = torch.cat([rows[:, None], rows[:, None], near.gather(1, few)], 1).flatten()
        rows = rows.to(self.device)
        pixels = augment.views(self.pixels[rows], self.config.side, self.config, chance)
        if self.config.anchors:
            pixels[:: self.config.flock] = augment.whole(self.pixels[rows[:: self.config.flock]], self.config.side)
        return rows, pixels.contiguous(memory_format=torch.channels_last)

    def rate(self, step: int) -> float:
        config = self.config
        rate = config.lr * min(1.0, (step + 1) / config.warmup_steps)
        if self.cooldown is not None:
            first, steps = self.cooldown
            rate *= max(config.min_lr_share, 1 - ((step - first + 1) / steps) ** 0.5)  # 1 - sqrt (Hägele et al. 2024)
        return rate

    def losses(self, rows: Tensor, pixels: Tensor) -> dict[str, Tensor]:
        config, target = self.config, self.targets[rows]  # (B, D)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bf16):
            unit = F.normalize(self.student(pixels).float(), dim=1)  # (B, D)
        distil = (1 - (unit * target).sum(1)).mean()
        label = self.heads.loss(unit, self.labels[rows], self.sources[rows], config.label_scale, config.label_smoothing)
        own = torch.arange(len(rows), device=unit.device)
        again = (rows[:, None] == rows) & (own[:, None] != own)  # another view of the same picture: neither right nor wrong
        contrast = F.cross_entropy((unit @ target.T / _TEMPERATURE).masked_fill(again, -1e4), own)
        losses = {"distil": distil, "label": label, "relation": _relation(unit, target), "contrast": contrast}
        if config.pair_weight:
            first = own[:: config.flock]  # (F,) where the flocks begin
            alike = (unit[first + 1] @ unit.T / _PAIR_TEMPERATURE).masked_fill(own == first[:, None] + 1, -1e4)  # (F, B)
            losses["pair"] = F.cross_entropy(alike, first)
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        weighted = [getattr(self.config, f"{name}_weight") * loss for name, loss in losses.items()]
        return torch.stack(weighted).sum()

    def parameters(self) -> list[Tensor]:
        return [*self.student.parameters(), *self.heads.parameters()]

    def advance(self, stop: bool = False) -> tuple[dict[str, float], bool]:
        """One step. Returns the losses, and whether any of the processes wanted this step to be the last."""
        config = self.config
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.rate(self.step)
        self.student.train()
        losses = self.losses(*self.batch(self.step))
        total = self.total(losses)
        parameters = self.parameters()
        for parameter in parameters:
            parameter.grad = None
        total.backward()
        if self.crew is not None:
            stop = self.crew.share(parameters, stop)
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        if bool(torch.isfinite(norm)):  # a step that would spoil the weights is left out
            for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
                assert kernel.grad is not None
                matrix.grad = _matrix(kernel.grad)
            for optimiser in self.optimisers:
                optimiser.step()
        if self.average is not None:
            keep = min(config.ema_decay, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                mine, other = self.student.state_dict(), self.average.state_dict()
                floating = [name for name, value in other.items() if value.is_floating_point()]
                torch._foreach_lerp_([other[name] for name in floating], [mine[name] for name in floating], 1 - keep)
        self.step += 1
        return {name: float(value.detach()) for name, value in losses.items()}, stop

    # ---- start, keep, go on ----------------------------------------------------------------------------------------------------

    def start(self, model: Path | None) -> None:
        """First weights: from a shipped model if given, and the projection fitted to the targets."""
        if model is None:
            return
        rows = torch.from_numpy(np.flatnonzero(self.pictures.usable))
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.config.seed))[:8192]].to(self.device)

        def seen(some: Tensor) -> Tensor:
            pixels = augment.whole(self.pixels[some], self.config.side)
            return pixels.contiguous(memory_format=torch.channels_last)

        start_from(self.student, model, seen(rows[:512]))
        self.student.eval()
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            pooled = [self.student.features(seen(part)).float().mean((2, 3)) for part in rows.split(256)]
        fit_projection(self.student, torch.cat(pooled).cpu(), self.targets[rows].cpu())
        assert self.average is not None
        self.average.load_state_dict(self.student.state_dict())

    def save(self, file: Path) -> None:
        assert self.average is not None
        state = {
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "heads": self.heads.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "cooldown": self.cooldown,
            "config": asdict(self.config),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, file.with_suffix(".tmp"))
        os.replace(file.with_suffix(".tmp"), file)

    def restore(self, file: Path) -> None:
        state = torch.load(file, map_location=self.device, weights_only=True)
        self.student.load_state_dict(state["student"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.heads.load_state_dict(state["heads"])
        if len(state.get("optimisers", [])) == len(self.optimisers):  # else the run goes on with another optimiser, which starts afresh
            for optimiser, own in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(own)
        self.step, self.seconds = state["step"], state["seconds"]
        self.cooldown = tuple(state["cooldown"]) if state["cooldown"] else None


def _is_kernel(parameter: Tensor) -> bool:
    """Of a 3 x 3 convolution behind the stem: nearly all weights, and those that Muon is for."""
    return parameter.ndim == 4 and parameter.shape[1] > 3 and parameter.shape[-1] == 3


def _matrix(kernel: Tensor) -> Tensor:
    """(outside, inside, 3, 3), channels last -> (outside, 9 * inside), the same memory."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def _relation(unit: Tensor, target: Tensor) -> Tensor:
    """Does the student see the same neighbours in the batch? KL divergence of the softmaxed rows of both similarity matrices."""
    self_out = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    wanted = (target @ target.T / _TEMPERATURE).masked_fill(self_out, -1e4).log_softmax(1)  # (B, B)
    given = (unit @ unit.T / _TEMPERATURE).masked_fill(self_out, -1e4).log_softmax(1)
    return F.kl_div(given, wanted, log_target=True, reduction="batchmean")


def _chances(pictures: data.Pictures) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Running sum of each picture's chance. A source of n pictures gets n ** .75 of the draws, so that small ones are not lost."""
    sizes = np.bincount(pictures.sources[pictures.usable], minlength=len(pictures.names)).clip(1)
    weight = np.where(pictures.usable, sizes[pictures.sources] ** -0.25, 0.0)
    return np.cumsum(weight / weight.sum())


def targets(work: Path, pictures: data.Pictures, config: Config) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 (N, D) unit rows; fitted on the usable pictures, kept in DIR/targets.npy."""
    file = work / "targets.npy"
    if not file.exists():
        features = teachers.joined(work)
        target = teachers.fit_target(features[pictures.usable], config.dim)
        np.save(file, target(features))
    out: np.ndarray[Any, np.dtype[np.float32]] = np.load(file)
    return out


def neighbours(work: Path, target: Tensor, pictures: data.Pictures, config: Config) -> Tensor:
    """int64 (N, K): each picture's nearest usable others in the target space, on the CPU; DIR/neighbours.npy keeps the first run's."""
    file = work / "neighbours.npy"
    if not file.exists():
        barred = torch.from_numpy(~pictures.usable).to(target.device)
        near = []
        for start in range(0, len(target), 4096):
            alike = target[start : start + 4096] @ target.T  # (4096, N)
            alike[:, barred] = -2.0
            alike[torch.arange(len(alike)), torch.arange(start, start + len(alike))] = -2.0
            near.append(alike.topk(config.neighbours).indices.cpu())
        np.save(file, torch.cat(near).numpy())
    return torch.from_numpy(np.load(file))[:, : config.neighbours]


def changed(config: Config, settings: list[str]) -> Config:
    """["side=96", "bf16=true"] -> config with these fields set; values as JSON."""
    known = {field.name for field in fields(Config)}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in known:
            raise SystemExit(f"no such setting: {name}")
        parsed = json.loads(value)
        config = replace(config, **{name: tuple(parsed) if isinstance(parsed, list) else parsed})
    return config


def open_run(work: Path, name: str, *, init: Path | None, branch: str | None, cooldown: int | None, settings: list[str]) -> Run:
    own = work / "runs" / name / "last.pt"
    source = own if own.exists() else work / "runs" / branch / "last.pt" if branch else None
    config = Config()
    if source is not None:
        stored = torch.load(source, map_location="cpu", weights_only=True)["config"]
        config = Config(**{key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()})
    run = Run(work, changed(config, settings))
    if source is None:
        run.start(init)
    else:
        run.restore(source)
        if source != own:
            run.cooldown = (run.step, cooldown) if cooldown else None
    return run


def train(run: Run, folder: Path, *, steps: int | None = None, minutes: float | None = None) -> None:
    """Go on until step `steps`, for `minutes`, to the end of the cooldown, or until told to stop (SIGINT, SIGTERM)."""
    stop: list[int] = []
    previous = {number: signal.signal(number, lambda got, _: stop.append(got)) for number in (signal.SIGINT, signal.SIGTERM)}
    end = steps if steps is not None else 1 << 60
    if run.cooldown is not None:
        end = min(end, sum(run.cooldown))
    started = saved = ticked = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    sums: dict[str, float] = {}
    seen = 0
    over = run.step >= end
    while not over:
        late = minutes is not None and time.monotonic() - started > minutes * 60
        losses, over = run.advance(stop=bool(stop) or late or run.step + 1 >= end)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value
        seen += 1
        now = time.monotonic()
        if run.step % run.config.log_steps == 0:
            run.seconds += now - ticked
            line: dict[str, Any] = {"step": run.step, "seconds": round(run.seconds), "rate": round(run.rate(run.step), 6)}
            line |= {"pictures/s": round(seen * run.config.batch / (now - ticked), 1)}
            line |= {name: round(value / seen, 4) for name, value in sums.items()}
            with (folder / "log.jsonl").open("a") as log:
                print(json.dumps(line), file=log)
            print(json.dumps(line), flush=True)
            ticked, seen = now, 0
            sums.clear()
        if now - saved > run.config.checkpoint_seconds:
            run.save(folder / "last.pt")
            saved = now
    run.save(folder / "last.pt")
    for number, handler in previous.items():
        signal.signal(number, handler)


def follow(work: Path, name: str, crew: Crew) -> None:
    """What the other processes of a crew do: the same steps on their share of each batch; only the first one logs and saves."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first process hears it and tells the others
    torch.set_num_threads(1)
    run = open_run(work, name, init=None, branch=None, cooldown=None, settings=[])
    run.crew = crew
    run.average = None
    over = False
    while not over:
        _, over = run.advance()


def train_together(run: Run, work: Path, name: str, processes: int, *, steps: int | None = None, minutes: float | None = None) -> None:
    """`train` with `processes` processes of one thread each; the batch is divided among them."""
    if run.config.batch % processes:
        raise SystemExit(f"a batch of {run.config.batch} cannot be divided among {processes} processes")
    folder = work / "runs" / name
    run.save(folder / "last.pt")  # the others start from it
    run.crew = Crew.of(processes, run.parameters())
    others = [
        mp.get_context("spawn").Process(target=follow, args=(work, name, replace(run.crew, place=place)), daemon=True)
        for place in range(1, processes)
    ]
    for other in others:
        other.start()
    try:
        train(run, folder, steps=steps, minutes=minutes)
    except BaseException:
        run.crew.barrier.abort()  # else they would wait
        raise
    for other in others:
        other.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--init", type=Path, help="a shipped model of the same widths to start from")
    parser.add_argument("--branch", help="a run to start from")
    parser.add_argument("--cooldown", type=int, help="steps within which the rate falls")
    parser.add_argument("--steps", type=int, help="stop at this step")
    parser.add_argument("--minutes", type=float, help="stop after this time")
    parser.add_argument("--processes", type=int, default=1 if torch.cuda.is_available() else os.cpu_count(), help="one thread each")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="fields of Config")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run = open_run(args.work, args.run, init=args.init, branch=args.branch, cooldown=args.cooldown, settings=args.set)
    print(json.dumps(asdict(run.config)), flush=True)
    if args.processes > 1:
        train_together(run, args.work, args.run, args.processes, steps=args.steps, minutes=args.minutes)
    else:
        train(run, args.work / "runs" / args.run, steps=args.steps, minutes=args.minutes)


if __name__ == "__main__":
    main()
