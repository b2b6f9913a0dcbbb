"""A model that takes its time, for tests that end things in the middle. In a file of its own: a cluster's workers import it by name."""

from __future__ import annotations

import time

from image_search.testing import QuickModel
from image_search.types import Float32, UInt8


class SlowModel(QuickModel):
    """`QuickModel`, 20 ms a picture."""

    def embed(self, pixels: UInt8) -> Float32:
        time.sleep(0.02 * len(pixels))
        return super().embed(pixels)
