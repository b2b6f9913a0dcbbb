"""The command line: one file a command; see app.py."""

from .app import main

__all__ = ["main"]
