"""Train the student as a file says; stop it whenever you like, start it again and it goes on.

    python -m training.train training/runs/RUN.toml --work WORK

Run RUN keeps its state in WORK/runs/RUN. While a stage's rate is constant, a run can last as long as there is time; a run that branches
from it and ends with a `cooldown` stage lets the rate fall to nearly nothing, and that one is shipped. Every step's chance comes from
(seed, step): a run that was interrupted ends as one that was not. Parts prepared meanwhile are taken in at the next start.

WORK/target.npz            the target space, fitted on what there was at the first start
WORK/gathered/             what is the same for all runs: each crop's target and soft labels, each picture's neighbours
WORK/runs/RUN/last.pt      the state: student, heads, averaged student, optimisers, step, configuration
WORK/runs/RUN/log.jsonl    one line every `log_steps`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F  # noqa: N812, its usual name
from torch import Tensor

from training import augment, config, data, teachers
from training.config import Config, Plan
from training.optimise import Optimisers
from training.optimise import follow as follow_weights
from training.student import Heads, Student, fit_projection, ridge, start_from

TEMPERATURE = 0.1  # of similarities inside a batch
PAIR_TEMPERATURE = 0.03  # few negatives are near, and only they teach
_PATIENCE = 7200.0  # seconds that a process waits for the others before it gives up: someone may have paused them all
_GROUP = 32_768  # pictures among which each one's neighbours are sought: near enough, and the time grows with their number


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


@dataclass(frozen=True)
class Gathered:
    """What the teachers and the looks say, ready for use."""

    targets: Tensor  # (M, D) float32, unit rows
    labels: Tensor  # (M, 32) int64 and
    shares: Tensor  # (M, 32) float32: soft labels
    neighbours: Tensor  # (N, K) int64
    soft_weight: Tensor  # (1001, D) and
    soft_bias: Tensor  # (1001,): the linear map from targets to the teacher's logits


class Run:
    """Everything that a step needs and changes."""

    def __init__(self, work: Path, plan: Plan, step: int = 0, parts: Collection[str] | None = None) -> None:
        self.crew: Crew | None = None
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.plan, self.step, self.seconds = plan, step, 0.0
        config = self.config
        self.pictures = data.load(work, config.store_side, plan.held_out, parts)
        self.store: Tensor | None = None  # on a GPU: all pictures (N, S, S, 3)
        if self.device.type == "cuda":
            self.store = torch.cat([torch.from_numpy(np.array(store)).to(self.device) for store in self.pictures.stores])
        self.labels = torch.from_numpy(self.pictures.labels).to(self.device)
        self.sources = torch.from_numpy(self.pictures.sources).to(self.device)
        self.boxes = torch.from_numpy(self.pictures.boxes)  # (M, 4)
        count = len(self.pictures)
        owners = self.pictures.owners[count:]  # rising
        self.first_part = torch.from_numpy(count + np.searchsorted(owners, np.arange(count)))  # (N,)
        self.parts = torch.from_numpy(np.bincount(owners, minlength=count))  # (N,) how many each picture has
        self.known = gather(work, self.pictures, config)
        self.targets, self.soft = self.known.targets.to(self.device), (self.known.labels.to(self.device), self.known.shares.to(self.device))
        self.chances = torch.from_numpy(_chances(self.pictures, plan.sources))  # (N,), rising to 1
        torch.manual_seed(config.seed)
        self.student = Student(config).to(self.device, memory_format=torch.channels_last)
        self.heads = Heads(self.pictures.classes, config.dim, len(self.known.soft_bias)).to(self.device)
        for source, weight in enumerate(self.heads.weights):  # a class starts at the mean of its pictures
            for label in range(len(weight)):
                mine = self.targets[:count][(self.sources == source) & (self.labels == label)]
                weight.data[label] = F.normalize(mine.mean(0), dim=0) if len(mine) else weight.data[label]
        self.heads.soft.weight.data.copy_(self.known.soft_weight)
        self.heads.soft.bias.data.copy_(self.known.soft_bias)
        self.average: Student | None = Student(config).to(self.device, memory_format=torch.channels_last)
        self.average.load_state_dict(self.student.state_dict())
        self.optimisers = Optimisers(self.student, self.heads, config)

    @property
    def config(self) -> Config:
        return self.plan.at(self.step)[0]

    # ---- one step --------------------------------------------------------------------------------------------------------------

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (B,) of this step's pictures, their crops (B,), and their views (B, 3, V, V).

        Flock by flock: a whole picture unchanged, as a library holds it; a view of it; views of some of its neighbours: what tells a
        picture from those alike, in any view, is learnt where they meet. A neighbour's view may lie in a part that has a target of its own.
        """
        config = self.plan.at(step)[0]
        count, place = (self.crew.count, self.crew.place) if self.crew else (1, 0)
        chance = torch.Generator().manual_seed((config.seed * 1_000_003 + step) * 64 + place)
        flocks = config.batch // count // config.flock
        drawn = torch.searchsorted(self.chances, torch.rand(flocks, generator=chance, dtype=torch.float64)).clamp_max(len(self.chances) - 1)
        near = self.known.neighbours[drawn]  # (flocks, K)
        few = torch.rand(near.shape, generator=chance).argsort(1)[:, : config.flock - 2]
        rows = torch.cat([drawn[:, None], drawn[:, None], near.gather(1, few)], 1)  # (flocks, flock)
        inner = (torch.rand(rows.shape, generator=chance) < config.part_share) & (self.parts[rows] > 0)
        inner[:, :2] = False
        which = (torch.rand(rows.shape, generator=chance) * self.parts[rows]).long()
        crops = torch.where(inner, self.first_part[rows] + which, rows).flatten()  # (B,)
        rows = rows.flatten()
        seen = torch.ones(len(rows), dtype=torch.bool)
        seen[:: config.flock] = False
        pictures = self.pixels(rows)
        pixels = torch.empty(len(rows), 3, config.side, config.side, device=self.device)
        there = torch.Generator(self.device).manual_seed(chance.initial_seed())
        pixels[seen] = augment.views(pictures[seen], self.boxes[crops[seen]].to(self.device), config.side, config, there)
        pixels[~seen] = augment.whole(pictures[~seen], config.side)
        return rows.to(self.device), crops.to(self.device), pixels.contiguous(memory_format=torch.channels_last)

    def pixels(self, rows: Tensor) -> Tensor:
        """(B,) -> uint8 (B, S, S, 3)"""
        return self.store[rows.to(self.device)] if self.store is not None else torch.from_numpy(self.pictures.pixels(rows.numpy()))

    def rate(self, step: int) -> float:
        return self.plan.rate(step) * min(1.0, (step + 1) / self.plan.at(step)[0].warmup_steps)

    def losses(self, rows: Tensor, crops: Tensor, pixels: Tensor) -> dict[str, Tensor]:
        config, target = self.config, self.targets[crops]  # (B, D)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bf16):
            unit = F.normalize(self.student(pixels).float(), dim=1)  # (B, D)
        distil = (1 - (unit * target).sum(1)).mean()
        soft = self.heads.soft_loss(unit, self.soft[0][crops], self.soft[1][crops])
        label = self.heads.loss(unit, self.labels[rows], self.sources[rows], config.label_scale, config.label_smoothing)
        own = torch.arange(len(rows), device=unit.device)
        again = (rows[:, None] == rows) & (own[:, None] != own)  # another view of the same picture: neither right nor wrong
        contrast = F.cross_entropy((unit @ target.T / TEMPERATURE).masked_fill(again, -1e4), own)
        first = own[:: config.flock]  # (F,) where the flocks begin
        alike = (unit[first + 1] @ unit.T / PAIR_TEMPERATURE).masked_fill(own == first[:, None] + 1, -1e4)  # (F, B)
        pair = F.cross_entropy(alike, first)
        alike_to = relation(unit, target)
        return {"distil": distil, "soft": soft, "label": label, "relation": alike_to, "contrast": contrast, "pair": pair}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        return weighted(losses, self.config)

    def parameters(self) -> list[Tensor]:
        return [*self.student.parameters(), *self.heads.parameters()]

    def advance(self, stop: bool = False) -> tuple[dict[str, float], bool]:
        """One step. Returns the losses, and whether any of the processes wanted this step to be the last."""
        self.student.train()
        losses = self.losses(*self.batch(self.step))
        parameters = self.parameters()
        for parameter in parameters:
            parameter.grad = None
        self.total(losses).backward()
        if self.crew is not None:
            stop = self.crew.share(parameters, stop)
        self.update([parameter.grad if parameter.grad is not None else torch.zeros_like(parameter) for parameter in parameters])
        return {name: float(value.detach()) for name, value in losses.items()}, stop

    def update(self, gradients: list[Tensor]) -> None:
        parameters, config = self.parameters(), self.config
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        if bool(torch.isfinite(norm)):  # a step that would spoil the weights is left out
            self.optimisers.step(self.rate(self.step))
        if self.average is not None:
            follow_weights(self.average, self.student, config.ema_decay, self.step)
        self.step += 1

    # ---- start, keep, go on ----------------------------------------------------------------------------------------------------

    def start(self, model: Path) -> None:
        """First weights: from a shipped model, the projection fitted to the targets."""
        rows = torch.from_numpy(np.flatnonzero(self.pictures.usable))
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.config.seed))[:8192]]

        def seen(some: Tensor) -> Tensor:
            pixels = augment.whole(self.pixels(some), self.config.side)
            return pixels.contiguous(memory_format=torch.channels_last)

        start_from(self.student, model, seen(rows[:512]))
        self.student.eval()
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            pooled = [self.student.features(seen(part)).float().mean((2, 3)) for part in rows.split(256)]
        fit_projection(self.student, torch.cat(pooled).cpu(), self.known.targets[rows])
        assert self.average is not None
        self.average.load_state_dict(self.student.state_dict())

    def save(self, file: Path) -> None:
        assert self.average is not None
        heads = {
            source: (labels, weight.detach()) for (source, labels), weight in zip(self.pictures.names, self.heads.weights, strict=True)
        }
        state = {
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "heads": heads,
            "soft": self.heads.soft.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers.each],
            "step": self.step,
            "seconds": self.seconds,
            "config": asdict(self.config),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, file.with_suffix(".tmp"))
        os.replace(file.with_suffix(".tmp"), file)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Sources and labels that are new since then start afresh, and with them the heads' optimiser."""
        self.student.load_state_dict(state["student"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.heads.soft.load_state_dict(state["soft"])
        for (source, labels), weight in zip(self.pictures.names, self.heads.weights, strict=True):
            before, stored = state["heads"].get(source, ([], None))
            for i, label in enumerate(labels):
                if label in before:
                    weight.data[i] = stored[before.index(label)]
        same = {source: labels for source, (labels, _) in state["heads"].items()} == dict(self.pictures.names)
        for optimiser, own, kept in zip(self.optimisers.each, state["optimisers"], (True, same, True), strict=True):
            if kept:
                optimiser.load_state_dict(own)
        self.seconds = state["seconds"]


def weighted(losses: dict[str, Tensor], config: Config) -> Tensor:
    """Their sum, by the configuration's weights."""
    return torch.stack([getattr(config, f"{name}_weight") * loss for name, loss in losses.items()]).sum()


def relation(unit: Tensor, target: Tensor) -> Tensor:
    """Does the student see the same neighbours in the batch? KL divergence of the softmaxed rows of both similarity matrices."""
    self_out = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    wanted = (target @ target.T / TEMPERATURE).masked_fill(self_out, -1e4).log_softmax(1)  # (B, B)
    given = (unit @ unit.T / TEMPERATURE).masked_fill(self_out, -1e4).log_softmax(1)
    return F.kl_div(given, wanted, log_target=True, reduction="batchmean")


def _chances(pictures: data.Pictures, more: dict[str, float]) -> npt.NDArray[np.float64]:
    """Running sum of each picture's chance. A source of n pictures gets n ** .75 of the draws (times `more`): small ones are not lost."""
    sizes = np.bincount(pictures.sources[pictures.usable], minlength=len(pictures.names)).clip(1)
    factor = np.array([more.get(source, 1.0) for source, _ in pictures.names])
    weight = np.where(pictures.usable, (sizes**-0.25 * factor)[pictures.sources], 0.0)
    return np.cumsum(weight / weight.sum())


def gather(work: Path, pictures: data.Pictures, config: Config) -> Gathered:
    """Read from WORK/gathered where it is of these parts; else make it anew (the target space itself stays)."""
    folder, space = work / "gathered", work / "target.npz"
    here = {"parts": [part.name for part in pictures.parts], "usable": int(pictures.usable.sum()), "fitted": space.exists()}
    listing = folder / "of.json"
    if not (listing.exists() and json.loads(listing.read_text()) == here):
        folder.mkdir(exist_ok=True)
        listing.unlink(missing_ok=True)
        features = teachers.crops(pictures)
        usable = pictures.usable[pictures.owners]
        if not space.exists():
            teachers.fit_target(teachers.sample(features, usable), config.dim, config.colour, config.grain).save(space)
        targets = teachers.Target.load(space)(features)
        np.save(folder / "targets.npy", targets)
        head = work / "head.npz"
        soft = teachers.soft_labels(features["v2"], head)
        np.save(folder / "labels.npy", soft.labels)
        np.save(folder / "shares.npy", soft.shares)
        near = neighbours(torch.from_numpy(targets[: len(pictures)]), torch.from_numpy(pictures.usable), config.neighbours)
        np.save(folder / "neighbours.npy", near.numpy())
        some = np.sort(np.random.default_rng(1).choice(len(targets), min(len(targets), 20_000), replace=False))
        weight, bias = ridge(torch.from_numpy(targets[some]), torch.from_numpy(teachers.logits(features["v2"][some], head)))
        np.savez(folder / "soft.npz", weight=weight.numpy(), bias=bias.numpy())
        listing.write_text(json.dumps(here | {"fitted": True}))
    soft_map = np.load(folder / "soft.npz")
    names = ("targets", "labels", "shares", "neighbours")
    return Gathered(*(torch.from_numpy(np.load(folder / f"{name}.npy")) for name in names), *map(torch.from_numpy, soft_map.values()))


def neighbours(target: Tensor, usable: Tensor, count: int) -> Tensor:
    """(N, K): each picture's nearest usable others in the target space (N, D), in a group of 32,768 drawn by chance."""
    near = torch.empty(len(target), count, dtype=torch.int64, device=target.device)
    mixed = torch.randperm(len(target), generator=torch.Generator().manual_seed(0)).to(target.device)
    for group in mixed.chunk(max(1, round(len(target) / _GROUP))):
        others, barred = target[group].bfloat16(), ~usable[group]
        for rows in torch.arange(len(group), device=target.device).split(2048):
            alike = (others[rows] @ others.T).float().masked_fill(barred, -2.0)  # (2048, G)
            alike[torch.arange(len(rows), device=target.device), rows] = -2.0
            near[group[rows]] = group[alike.topk(count).indices]
    return near


def open_run(work: Path, plan: Plan, parts: Collection[str] | None = None) -> Run:
    """The run as its state has it, or at its start; on all parts that are ready, or on those named."""
    own = work / "runs" / plan.name / "last.pt"
    source = own if own.exists() else work / "runs" / plan.branch / "last.pt" if plan.branch else None
    if source is None:
        run = Run(work, plan, parts=parts)
        if plan.init is not None:
            run.start(plan.init)
        return run
    state = torch.load(source, map_location="cpu", weights_only=True)
    run = Run(work, plan, state["step"] if source == own else 0, parts)
    run.restore(state)
    return run


def train(run: Run, folder: Path, *, steps: int | None = None, minutes: float | None = None) -> None:
    """Go on to the plan's end, step `steps`, for `minutes`, or until told to stop (SIGINT, SIGTERM)."""
    stop: list[int] = []
    previous = {number: signal.signal(number, lambda got, _: stop.append(got)) for number in (signal.SIGINT, signal.SIGTERM)}
    end = run.plan.steps if steps is None else min(steps, run.plan.steps)
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


def follow(work: Path, plan: Plan, parts: list[str], crew: Crew) -> None:
    """What the other processes of a crew do: the same steps on their share of each batch; only the first one logs and saves."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first process hears it and tells the others
    torch.set_num_threads(1)
    run = open_run(work, plan, parts)
    run.crew = crew
    run.average = None
    over = False
    while not over:
        _, over = run.advance()


def train_together(run: Run, work: Path, processes: int, *, steps: int | None = None, minutes: float | None = None) -> None:
    """`train` with `processes` processes of one thread each; the batch is divided among them."""
    if run.config.batch % processes:
        raise SystemExit(f"a batch of {run.config.batch} cannot be divided among {processes} processes")
    folder = work / "runs" / run.plan.name
    run.save(folder / "last.pt")  # the others start from it, on the same parts, whatever has been prepared meanwhile
    parts = [part.name for part in run.pictures.parts]
    run.crew = Crew.of(processes, run.parameters())
    others = [
        mp.get_context("spawn").Process(target=follow, args=(work, run.plan, parts, replace(run.crew, place=place)), daemon=True)
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
    parser.add_argument("plan", type=Path, help="the run's file (TOML)")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="stop at this step")
    parser.add_argument("--minutes", type=float, help="stop after this time")
    parser.add_argument("--processes", type=int, default=1 if torch.cuda.is_available() else os.cpu_count(), help="one thread each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run = open_run(args.work, config.read(args.plan))
    print(json.dumps(asdict(run.config)), flush=True)
    if args.processes > 1:
        train_together(run, args.work, args.processes, steps=args.steps, minutes=args.minutes)
    else:
        train(run, args.work / "runs" / run.plan.name, steps=args.steps, minutes=args.minutes)


if __name__ == "__main__":
    main()
