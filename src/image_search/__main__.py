"""The program's first lines: `image-search` and `python -m image_search` begin here, and so does `python ai_image_search_engine.py`."""

try:
    from .signals import leave, listen
except KeyboardInterrupt:  # so early that there is nobody else to say it
    import os

    os.write(2, b"interrupted\n")
    os._exit(130)


def main() -> None:
    """From its first line on Ctrl-C ends the program with a line and 130, also while the rest of it is still being imported."""
    import os

    listen(leave)
    # numpy's OpenBLAS lets its idle threads spin from its import on: .09 CPU s of every command that computes next to nothing with it.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")  # 2^10 cycles in place of 2^26
    from .cli import main as run

    try:
        run()
    except SystemExit as end:
        if end.code in (130, 143):  # the last of it is not left to the interpreter, which no longer hears a second Ctrl-C
            import contextlib
            import sys

            with contextlib.suppress(OSError, ValueError):  # its reader went away
                sys.stdout.flush()
            os._exit(end.code)
        raise


if __name__ == "__main__":
    main()
