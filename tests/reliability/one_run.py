"""One index run with the plain model, for tools that need a program of its own: one_run.py PHOTOS LIBRARY SAID STORE [SABOTAGE]."""

from __future__ import annotations

import os
import sys

import sabotage
from harness import use_plain_model

from image_search import ImageSearchEngine, ImageSearchError


def main() -> None:
    photos, library, said, store, *off = sys.argv[1:]
    use_plain_model()
    for protection in off:
        getattr(sabotage, protection)()
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        with ImageSearchEngine(library, store=store, jobs=1, notify=print) as engine:
            report = engine.index(photos, progress=lambda done, total, skipped: os.write(out, b"done %d\n" % done) and None)
    except ImageSearchError as error:
        print(f"error: {type(error).__name__}: {error}")
        sys.exit(1)
    print(f"embedded {report.embedded}")


main()
