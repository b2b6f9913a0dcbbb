"""The program in the tests' own process: what a call printed, and a model that costs nothing under the bundled one's name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from image_search.testing import QuickModel


@dataclass
class Answer:
    code: int
    out: str
    err: str


class Quick(QuickModel):
    """Called as the bundled model, which a library is made with where nothing better is there."""

    fingerprint = replace(QuickModel.fingerprint, name="mini")
