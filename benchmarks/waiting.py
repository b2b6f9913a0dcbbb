"""A model that waits as for a card beside the processor; in a file of its own: a cluster's workers import it by name."""

from __future__ import annotations

import time

from image_search.testing import QuickModel
from image_search.types import Float32, UInt8

MILLISECONDS = 20


class WaitingModel(QuickModel):
    """20 ms a picture, of which the processor has nothing to do."""

    def embed(self, pixels: UInt8) -> Float32:
        time.sleep(MILLISECONDS / 1000 * len(pixels))
        return super().embed(pixels)
