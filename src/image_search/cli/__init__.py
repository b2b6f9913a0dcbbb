"""The command line: a file for each command; see app.py."""

from .app import main

__all__ = ["main"]
