"""One model from several that began with the same weights: the mean of their weights, exported like any other.

    python -m training.average --work WORK --states WORK/runs/RUN/last.pt ... [--init mini.onnx] --whiten 0.3 --side 96 --to new.onnx

After Wortsman et al., "Model soups" (2022): what was trained on from one start, with other pictures or in another order, lies in one
valley, and the mean finds better than each, at the cost of one. The means and spreads of the normalisation are averaged, too: measured
anew on 2,000 whole pictures they cost .014 of the held-out share. The projection is fitted anew, since runs may have learnt other target
spaces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training import augment, data
from training.config import Config
from training.export import WHITENED, export, load_student, tell, whiten
from training.student import Student, fit_projection, start_from

_START_SIDE = 80  # px at which the normalisation of `--init` is set: the runs began like this


def mean(students: list[Student]) -> Student:
    """A student whose numbers are the means of theirs. They must be of one shape."""
    states = [student.state_dict() for student in students]
    out = Student(Config())
    out.load_state_dict(
        {name: torch.stack([state[name].double() for state in states]).mean(0).to(states[0][name].dtype) for name in states[0]}
    )
    return out.eval()


def begun(model: Path, pictures: Tensor) -> Student:
    """What a run that begins with this model begins with."""
    student = Student(Config())
    start_from(student, model, augment.whole(pictures[:512], _START_SIDE))
    return student


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--states", type=Path, nargs="+", required=True, help="last.pt of each run")
    parser.add_argument("--init", type=Path, help="the model that they began with, which then counts as one of them")
    parser.add_argument("--whiten", type=float, default=0.3, help="as of training.export")
    parser.add_argument("--side", type=int, default=96, help="of the pictures that projection and whitening are fitted on")
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    pictures = data.load(args.work)
    rows = data.drawn(pictures.usable, WHITENED)
    pixels = torch.from_numpy(pictures.pixels(rows))
    students = [load_student(state) for state in args.states]
    student = mean(students if args.init is None else [begun(args.init, pixels), *students])
    seen = augment.whole(pixels, args.side)
    targets = torch.from_numpy(np.load(args.work / "gathered" / "targets.npy", mmap_mode="r")[rows])
    with torch.no_grad():
        pooled = torch.cat([student.features(part).mean((2, 3)) for part in seen.split(64)])
    fit_projection(student, pooled, targets)
    if args.whiten:
        whiten(student, seen, args.whiten)
    export(student, args.to)
    tell(args.to)


if __name__ == "__main__":
    main()
