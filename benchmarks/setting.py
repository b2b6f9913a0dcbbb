"""How large a run is, and where its things lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """Attributes:
    cache: folder for what is made once: pictures, the checkpoint.
    quick: to see that everything works; its figures are of small sizes and few rounds.
    store_vectors: images of the library that is asked through its store (a million take 20 CPU minutes to build).
    limits: what `machine.limits` measured; "" keys are absent where no library at hand can show them.
    """

    cache: Path
    quick: bool = False
    store_vectors: int = 100_000
    limits: dict[str, float] = field(default_factory=dict)

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @property
    def rounds(self) -> int:
        return self.size(9, 3)
