"""What a runtime opens: one model's files and facts, read and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..types import Fingerprint, Preprocess
from .files import TWO_TOWERS, ModelFiles
from .graph import OnnxFile

__all__ = ["Checkpoint"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model as it lies on this machine, ready to be opened.

    Attributes:
        name, source, revision: of its row; they go into the fingerprint as they are.
        files: where it lies; `files.weights[0]` is what is opened.
        preprocess: how it wants its pixels.
        weights: what is in `files.weights`, where they were read (ONNX); None: the runtime reads the files itself (torch).
        weights_sha256: hex digest of what is opened.
        output: "auto", "cls", "pooler" or "embedding": what the row asks for.
        model_type: its architecture, one of `files.ARCHITECTURES`; None if unknown.
        config: its config.json; empty if there is none.
        calibration: as the row gives it.
        pooler_is_trained: False where the checkpoint shows that it has no pooler that was ever trained.
        threads: pictures embedded at once on the CPU, at least 1.
    """

    name: str
    source: str
    revision: str
    files: ModelFiles
    preprocess: Preprocess
    weights: OnnxFile | None = field(repr=False)
    weights_sha256: str
    output: str
    model_type: str | None
    pooler_is_trained: bool
    threads: int
    config: dict[str, Any] = field(default_factory=dict)
    calibration: tuple[float, float] | None = None

    @property
    def knows_words(self) -> bool:
        """Whether it is of a family with a text tower."""
        return self.model_type in TWO_TOWERS

    @property
    def path(self) -> Path:
        return self.files.weights[0]

    def fingerprint(self, output: str, dim: int) -> Fingerprint:
        """Of the model that a runtime made of it: `output` is the one it chose, `dim` its D."""
        return Fingerprint(self.name, self.source, self.revision, self.weights_sha256, output, dim, self.preprocess)
