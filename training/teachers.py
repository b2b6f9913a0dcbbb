"""The teachers, and the space that the student learns: what they and a picture's looks say together, in 256 numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training import data, looks

SIDE = 192  # px; 224 costs 1.4 times as much, at 160 the teachers' mAP is .01 to .03 lower
WIDTH = {"v1": 1024, "v2": 1280}
_FIT = 60_000  # crops that the space is fitted on
_STRETCH = 8_192  # crops at once

Float32 = npt.NDArray[np.float32]
Features = dict[str, npt.NDArray[np.float16]]  # "v1" (M, 1024), "v2" (M, 1280), "looks" (M, 281)


def unit(rows: Float32) -> Float32:
    length: Float32 = np.linalg.norm(rows, axis=1, keepdims=True)
    out: Float32 = rows / np.maximum(length, 1e-12)
    return out


# ---- the target ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """Features -> unit(((joined - mean) @ basis)): the space the student learns and the model ships.

    Joined are four rows of unit length each: teacher V1, teacher V2, colours times `colour`, texture times `grain` (each number of it
    first divided by its spread).
    """

    colour: float
    grain: float
    texture: Float32  # (2, 36): mean and spread
    mean: Float32  # (F,)
    basis: Float32  # (F, D): principal axes, each divided by its spread to the power `whiten`

    def joined(self, features: Features) -> Float32:
        v1, v2, seen = (features[kind].astype(np.float32) for kind in ("v1", "v2", "looks"))
        colours, texture = seen[:, : looks.COLOURS], (seen[:, looks.COLOURS :] - self.texture[0]) / self.texture[1]
        return np.concatenate([unit(v1), unit(v2), self.colour * unit(colours), self.grain * unit(texture)], 1)

    def __call__(self, features: Features) -> Float32:
        """(M, D) unit rows."""
        stretches = range(0, len(features["v1"]), _STRETCH)
        pieces = [{kind: values[start : start + _STRETCH] for kind, values in features.items()} for start in stretches]
        return np.concatenate([unit((self.joined(piece) - self.mean) @ self.basis) for piece in pieces])

    def save(self, file: Path) -> None:
        np.savez(file, **self.__dict__)

    @classmethod
    def load(cls, file: Path) -> Target:
        with np.load(file) as stored:
            return cls(**{name: float(stored[name]) if stored[name].ndim == 0 else stored[name] for name in stored})


def fit_target(features: Features, dim: int, colour: float, grain: float, whiten: float = 0.5) -> Target:
    """Mean removed, `dim` principal axes, half whitened: spread s becomes s ** (1 - whiten).

    Half whitening of Jégou & Chum, "Negative evidences and co-occurrences in image retrieval" (2012), between none and full.
    """
    texture = features["looks"][:, looks.COLOURS :].astype(np.float32)
    scale = np.stack([texture.mean(0), texture.std(0) + 1e-6])
    raw = Target(colour, grain, scale, np.zeros(1, np.float32), np.zeros(1, np.float32))
    joined = raw.joined(features)
    mean = joined.mean(axis=0)
    centred = joined - mean
    values, axes = principal(centred.T @ centred / len(centred), dim)
    return Target(colour, grain, scale, mean, (axes / np.maximum(values, 1e-12) ** (whiten / 2)).astype(np.float32))


def principal(covariance: Float32, count: int, rounds: int = 12) -> tuple[Float32, Float32]:
    """The largest variances (count,), falling, and their axes (F, count), by subspace iteration: all axes would take a minute.

    Some more axes than wanted are iterated, so that the last ones wanted are right too.
    """
    start = np.random.default_rng(0).normal(size=(len(covariance), min(len(covariance), count + count // 4 + 8)))
    axes = np.linalg.qr(start.astype(np.float32))[0]
    for _ in range(rounds):
        axes = np.linalg.qr(covariance @ axes)[0]
    values, inner = np.linalg.eigh(axes.T @ covariance @ axes)
    return values[::-1][:count], (axes @ inner)[:, ::-1][:, :count]


def sample(features: Features, usable: npt.NDArray[np.bool_]) -> Features:
    rows = data.drawn(usable, _FIT)
    return {kind: values[rows] for kind, values in features.items()}


# ---- asking ----------------------------------------------------------------------------------------------------------------------


def open_teacher(path: Path) -> Callable[[Float32], Float32]:
    """The teacher as a function: (B, 3, S, S) -> (B, F). One thread (there is one process a core instead), bf16 where the CPU has it."""
    import openvino

    core = openvino.Core()
    model = core.read_model(str(path))
    model.reshape([-1, 3, SIDE, SIDE])  # it comes with 224
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False})
    return lambda pixels: np.asarray(compiled([pixels])[0], np.float32).reshape(len(pixels), -1)


def features_of(teacher: Callable[[Float32], Float32], pictures: list[npt.NDArray[np.uint8]]) -> Float32:
    """B pictures uint8 (S, S, 3) -> (B, F)"""
    pixels = np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1  # (B, 3, S, S)
    return teacher(np.ascontiguousarray(pixels))


# ---- labels ----------------------------------------------------------------------------------------------------------------------

TOP = 32  # labels kept a crop: together about 95 % of the probability


@dataclass(frozen=True)
class SoftLabels:
    """What V2's head makes of a crop: its 32 likeliest of 1,001 labels, their probabilities brought to a sum of 1."""

    labels: npt.NDArray[np.int64]  # (M, 32)
    shares: Float32  # (M, 32)


def logits(features: npt.NDArray[np.float16], head: Path) -> Float32:
    """(M, 1280) -> (M, 1001)"""
    with np.load(head) as stored:
        out: Float32 = features.astype(np.float32) @ stored["weight"].astype(np.float32).T + stored["bias"]
    return out


def soft_labels(features: npt.NDArray[np.float16], head: Path) -> SoftLabels:
    labels, shares = [], []
    for start in range(0, len(features), _STRETCH):
        raw = logits(features[start : start + _STRETCH], head)
        best = np.argpartition(raw, -TOP, axis=1)[:, -TOP:]
        likely = np.take_along_axis(raw, best, 1)
        likely = np.exp(likely - likely.max(1, keepdims=True))
        labels.append(best)
        shares.append(likely / likely.sum(1, keepdims=True))
    return SoftLabels(np.concatenate(labels), np.concatenate(shares).astype(np.float32))


def crops(pictures: data.Pictures) -> Features:
    """The features of every crop of all pictures."""
    return {kind: pictures.features(kind) for kind in data.FEATURES}
