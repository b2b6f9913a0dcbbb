"""Train on a GPU for some minutes, while the pictures still arrive there.

    python -m training.gpu training/runs/RUN.toml --kit KIT --packs PACKS --seconds 480 --to OUT

KIT holds the teachers (`DATA/teachers`), names.json (`training.pack`) and the run's `init`. Whatever pack-NN.npz appears in PACKS is taken
in. As in `training.train`, but: the teachers are asked, while the student learns, about just what each view of a neighbour shows
("Knowledge distillation: A good teacher is patient and consistent", Beyer et al. 2022); there are no parts; and the stages of the run's
file are shares of the time. A run cannot be gone on with. OUT gets log.jsonl and, at times, AT.pt: the averaged student, as
`training.export` reads it.
"""

from __future__ import annotations

import argparse
import json
import queue
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812, its usual name
from torch import Tensor, nn

from training import augment, pack
from training.config import Config, Plan, changed, read
from training.optimise import Optimisers, follow
from training.student import Student, fit_projection, ridge, start_from
from training.teachers import SIDE
from training.teachers_torch import Board
from training.train import PAIR_TEMPERATURE, TEMPERATURE, neighbours, relation, weighted

_ASKED = 512  # pictures that the teachers see at once
_FITTED = 30_000  # crops, and as many whole pictures, that the target space is fitted on
_KEPT = (0.6, 0.7, 0.8, 0.9, 1.0)  # of the time: when the averaged student is written down
_TICK = 25  # steps between two lines of the log


class Heads(nn.Module):
    """`student.Heads`, all sources' labels as one table: a picture is compared with those of its own source."""

    def __init__(self, names: list[tuple[str, str]], dim: int, soft: int) -> None:
        super().__init__()
        sources = {source: i for i, source in enumerate(dict.fromkeys(source for source, _ in names))}
        self.register_buffer("source", torch.tensor([sources[source] for source, _ in names]))  # (C,)
        self.register_buffer("alone", torch.bincount(self.source)[self.source] < 2)  # (C,): these teach nothing
        self.weight = nn.Parameter(torch.randn(len(names), dim) * dim**-0.5)
        self.soft = nn.Linear(dim, soft)

    def label_loss(self, unit: Tensor, names: Tensor, scale: float, smoothing: float) -> Tensor:
        """unit (B, D), names (B,) -> mean cross entropy over those whose source has several labels."""
        mine = self.source[names][:, None] == self.source  # (B, C)
        likely = (scale * unit @ F.normalize(self.weight, dim=1).T).masked_fill(~mine, -1e4).log_softmax(1)
        own = likely.gather(1, names[:, None])[:, 0]
        every = (likely * mine).sum(1) / mine.sum(1)
        taught = ~self.alone[names]
        return -(((1 - smoothing) * own + smoothing * every) * taught).sum() / taught.sum().clamp_min(1)


class Lesson:
    """What has arrived, the student, and the next step."""

    def __init__(self, plan: Plan, kit: Path, room: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.plan, self.kit, self.step, self.shown = plan, kit, 0, 0.0  # `shown`: share of the time that has passed
        first = self.config
        self.names = [(source, label) for source, label in json.loads((kit / "names.json").read_text())]
        self.board = Board(kit, first.colour).to(self.device)
        if self.device.type == "cuda":
            self.board.quick()
        self.count = 0
        self.pixels = torch.empty(room, pack.SIDE, pack.SIDE, 3, dtype=torch.uint8, device=self.device)
        self.name = torch.empty(room, dtype=torch.long, device=self.device)
        self.target = torch.empty(room, first.dim, device=self.device)
        self.logits = torch.empty(room, len(self.board.bias), dtype=torch.float16, device=self.device)
        self.chance = torch.Generator(self.device)
        self.box = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=self.device)  # the whole picture
        torch.manual_seed(first.seed)
        self.student = Student(first).to(self.device, memory_format=torch.channels_last)
        self.average = Student(first).to(self.device, memory_format=torch.channels_last)
        self.heads = Heads(self.names, first.dim, len(self.board.bias)).to(self.device)
        self.met = torch.zeros(len(self.names), dtype=torch.bool, device=self.device)  # labels that have pictures
        self.optimisers = Optimisers(self.student, self.heads, first)

    @property
    def config(self) -> Config:
        return self.plan.at(self.virtual)[0]

    @property
    def virtual(self) -> int:
        return min(int(self.shown * self.plan.steps), self.plan.steps - 1)

    # ---- what arrives ----------------------------------------------------------------------------------------------------------

    def take(self, pixels: npt.NDArray[np.uint8], names: npt.NDArray[np.int64]) -> None:
        """Ask the teachers about the whole pictures; the first time, make a space and a student of what they say."""
        new = slice(self.count, self.count + len(pixels))
        self.pixels[new] = torch.from_numpy(pixels).to(self.device)
        self.name[new] = torch.from_numpy(names).to(self.device)
        rows = torch.arange(new.start, new.stop, device=self.device)
        first = self.count == 0
        if first:
            self._fit(rows)
        for some in rows.split(_ASKED):
            self.target[some], logits = self.ask(augment.whole(self.pixels[some], SIDE))
            self.logits[some] = logits.half()
        self.count = new.stop
        self._meet(rows)
        if first:
            self._start(rows)
        known = slice(0, self.count)
        sizes = torch.bincount(self.heads.source[self.name[known]], minlength=int(self.heads.source.max()) + 1).clamp_min(1)
        factor = torch.ones(len(sizes), device=self.device)
        for name, source in zip(self.names, self.heads.source.tolist(), strict=True):
            factor[source] = self.plan.sources.get(name[0], 1.0)
        weight = (sizes**-0.25 * factor)[self.heads.source[self.name[known]]].double()
        self.chances = (weight / weight.sum()).cumsum(0)
        self.near = neighbours(self.target[known], torch.ones(self.count, dtype=torch.bool, device=self.device), self.config.neighbours)

    @torch.no_grad()
    def ask(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        joined, logits = self.board.joined(pixels)
        return self.board.target(joined), logits

    @torch.no_grad()
    def _fit(self, rows: Tensor) -> None:
        self.chance.manual_seed(0)
        some = rows[torch.randperm(len(rows), generator=self.chance, device=self.device)[:_FITTED]]
        joined = []
        for part in some.split(_ASKED):
            cuts = augment.draw_cuts(self._boxes(len(part)), self._own(), self.chance)
            for seen in (augment.whole(self.pixels[part], SIDE), augment.cut_out(self.pixels[part], cuts, SIDE)):
                joined.append(self.board.joined(seen)[0])
        self.board.fit(torch.cat(joined), self.config.dim)

    def _meet(self, rows: Tensor) -> None:
        """A label that is new starts at the mean of its pictures."""
        found = torch.zeros_like(self.heads.weight).index_add_(0, self.name[rows], self.target[rows])
        new = (found.abs().sum(1) > 0) & ~self.met
        self.heads.weight.data[new] = F.normalize(found[new], dim=1)
        self.met |= new

    @torch.no_grad()
    def _start(self, rows: Tensor) -> None:
        """First weights: of the run's `init`; its projection, and the soft labels' map, fitted to the targets."""
        some = rows[torch.randperm(len(rows), generator=self.chance, device=self.device)[:8192]]
        side = self.config.side
        if self.plan.init is not None:
            start_from(self.student, self.kit / self.plan.init.name, augment.whole(self.pixels[some[:1024]], side))
        self.student.eval()
        pooled = torch.cat([self.student.features(augment.whole(self.pixels[part], side)).float().mean((2, 3)) for part in some.split(256)])
        fit_projection(self.student, pooled.cpu(), self.target[some].cpu())
        weight, bias = ridge(self.target[some].cpu(), self.logits[some].float().cpu())
        self.heads.soft.weight.copy_(weight)
        self.heads.soft.bias.copy_(bias)
        self.student.train()
        self.average.load_state_dict(self.student.state_dict())

    # ---- one step --------------------------------------------------------------------------------------------------------------

    def _boxes(self, count: int) -> Tensor:
        return self.box.expand(count, 4)

    def _own(self) -> Config:
        return changed(self.config, {"crop_area": self.config.own_area})

    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """This step's pictures (B,), views (B, 3, V, V), targets (B, D) and shares of V2's labels (B, 1001).

        In four rows: B / 4 whole pictures, a view of each, whose target is the whole picture's, and views of two of their neighbours, whose
        targets are their own.
        """
        now = self.config
        self.chance.manual_seed(now.seed * 1_000_003 + self.step)
        count = now.batch // 4
        at = torch.rand(count, generator=self.chance, device=self.device, dtype=torch.float64)
        drawn = torch.searchsorted(self.chances, at).clamp_max(self.count - 1)
        few = torch.rand((count, self.near.shape[1]), generator=self.chance, device=self.device).argsort(1)[:, :2]
        others = self.near[drawn].gather(1, few).T.flatten()  # (B / 2,)
        pictures, strangers = self.pixels[drawn], self.pixels[others]
        again = augment.draw_cuts(self._boxes(count), now, self.chance)
        apart = augment.draw_cuts(self._boxes(2 * count), self._own(), self.chance)
        cuts = augment.Cuts(*(torch.cat([getattr(again, name), getattr(apart, name)]) for name in ("centre", "size", "mirror", "inner")))
        views = augment.change(torch.cat([pictures, strangers]), cuts, now.side, now, self.chance)
        target, logits = self.ask(augment.cut_out(strangers, apart, SIDE))
        rows = torch.cat([drawn, drawn, others])
        views = torch.cat([augment.whole(pictures, now.side), views]).contiguous(memory_format=torch.channels_last)
        target = torch.cat([self.target[drawn], self.target[drawn], target])
        logits = torch.cat([self.logits[drawn], self.logits[drawn], logits.half()]).float()
        return rows, views, target, logits.softmax(1)

    def losses(self, rows: Tensor, views: Tensor, target: Tensor, shares: Tensor) -> dict[str, Tensor]:
        now = self.config
        with torch.autocast(self.device.type, torch.bfloat16, enabled=now.bf16):
            unit = F.normalize(self.student(views).float(), dim=1)
        distil = (1 - (unit * target).sum(1)).mean()
        soft = -(shares * self.heads.soft(unit).log_softmax(1)).sum(1).mean()
        label = self.heads.label_loss(unit, self.name[rows], now.label_scale, now.label_smoothing)
        own = torch.arange(len(rows), device=unit.device)
        again = (rows[:, None] == rows) & (own[:, None] != own)  # another view of the same picture: neither right nor wrong
        contrast = F.cross_entropy((unit @ target.T / TEMPERATURE).masked_fill(again, -1e4), own)
        wholes = own[: len(rows) // 4]
        seconds = wholes + len(wholes)
        barred = again[seconds].scatter(1, wholes[:, None], False).scatter(1, seconds[:, None], True)  # a neighbour may be drawn itself
        pair = F.cross_entropy((unit[seconds] @ unit.T / PAIR_TEMPERATURE).masked_fill(barred, -1e4), wholes)
        return {"distil": distil, "soft": soft, "label": label, "relation": relation(unit, target), "contrast": contrast, "pair": pair}

    def advance(self) -> dict[str, Tensor]:
        losses = self.losses(*self.batch())
        parameters = [*self.student.parameters(), *self.heads.parameters()]
        for parameter in parameters:
            parameter.grad = None
        now = self.config
        weighted(losses, now).backward()
        torch.nn.utils.clip_grad_norm_(parameters, now.clip)
        self.optimisers.step(self.rate)
        follow(self.average, self.student, now.ema_decay, self.step)
        self.step += 1
        return {name: loss.detach() for name, loss in losses.items()}

    @property
    def rate(self) -> float:
        return self.plan.rate(self.virtual) * min(1.0, (self.step + 1) / self.config.warmup_steps)

    def save(self, file: Path) -> None:
        """The averaged student; large tables as float16, which they are shipped as."""
        state = {
            name: (value.half() if value.is_floating_point() and value.numel() > 10_000 else value).cpu().contiguous()
            for name, value in self.average.state_dict().items()
        }
        torch.save({"average": state, "config": asdict(self.config), "step": self.step}, file.with_suffix(".tmp"))
        file.with_suffix(".tmp").replace(file)


def watch(folder: Path, pool: ProcessPoolExecutor, found: queue.Queue[Any]) -> None:
    """Every pack that appears in the folder, decoded; for ever."""
    seen: set[str] = set()
    while True:
        for file in sorted(folder.glob("pack-*.npz")):
            if file.name not in seen:
                seen.add(file.name)
                try:
                    found.put((file.name, *pack.unpack(file, pool)))
                except Exception as error:  # the others may still be whole
                    print(f"{file.name}: {error!r}", flush=True)
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--kit", type=Path, required=True)
    parser.add_argument("--packs", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="from the first pack on")
    parser.add_argument("--room", type=int, default=230_000, help="pictures that there is room for")
    parser.add_argument("--processes", type=int, default=12, help="that decode")
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    found: queue.Queue[Any] = queue.Queue()
    pool = ProcessPoolExecutor(args.processes, mp_context=get_context("spawn"))
    threading.Thread(target=watch, args=(args.packs, pool, found), daemon=True).start()
    lesson = Lesson(read(args.plan), args.kit, args.room)
    name, pixels, names = found.get()
    started = time.monotonic()
    lesson.take(pixels, names)
    print(f"{name}: {lesson.count} pictures, {time.monotonic() - started:.1f} s", flush=True)
    kept, ticked, sums = 0, time.monotonic(), {}
    with (args.to / "log.jsonl").open("a") as log:
        while lesson.shown < 1:
            if not found.empty():
                before = time.monotonic()
                name, pixels, names = found.get()
                lesson.take(pixels, names)
                print(f"{name}: {lesson.count} pictures, {time.monotonic() - before:.1f} s", flush=True)
            for loss, value in lesson.advance().items():
                sums[loss] = sums.get(loss, 0) + value
            if lesson.step % _TICK == 0:
                line = {"step": lesson.step, "seconds": round(time.monotonic() - started, 1), "rate": round(lesson.rate, 6)}
                line |= {loss: round(float(value) / _TICK, 4) for loss, value in sums.items()}
                line |= {"pictures/s": round(_TICK * lesson.config.batch / (time.monotonic() - ticked))}
                print(json.dumps(line), file=log, flush=True)
                print(json.dumps(line), flush=True)
                ticked, sums = time.monotonic(), {}
            lesson.shown = (time.monotonic() - started) / args.seconds
            while kept < len(_KEPT) and lesson.shown >= _KEPT[kept]:
                lesson.save(args.to / f"{round(100 * _KEPT[kept])}.pt")
                kept += 1
    print(f"{lesson.step} steps, {lesson.step * lesson.config.batch} views", flush=True)
    pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    main()
