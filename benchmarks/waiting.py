"""A model that waits as for a card beside the processor; in a file of its own: a cluster's workers import it by name."""

from __future__ import annotations

import time

from image_search.testing import QuickModel
from image_search.types import Float32, UInt8


class WaitingModel(QuickModel):
    """So many milliseconds a picture, in which the processor has nothing to do."""

    def __init__(self, milliseconds: float) -> None:
        self.milliseconds = milliseconds

    def embed(self, pixels: UInt8) -> Float32:
        time.sleep(self.milliseconds / 1000 * len(pixels))
        return super().embed(pixels)
