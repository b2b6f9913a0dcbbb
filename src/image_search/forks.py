"""What happens when the process that uses this package forks (multiprocessing's default on Linux before Python 3.14).

A fork copies memory and open files, and of all threads only the one that forked. So what rests on threads, on a lock that another
thread held, or on a file shared with the parent does not work in the child; and what the child tidies up it may end for its parent.
Whoever holds such a thing is told of it. Libraries that were loaded when the process was forked may have lost threads of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import weakref
from typing import Any, Protocol

__all__ = ["Forkable", "Lock", "keep_for_ever", "loaded_before_fork", "watch"]


class Forkable(Protocol):
    """It may also have `before_fork()`, called in the parent: nothing may be in the middle of anything when that has returned."""

    def after_fork(self, in_child: bool) -> None:
        """In the thread that forked; in the child there is no other."""
        ...


_watched: weakref.WeakSet[Any] = weakref.WeakSet()
_told: list[Any] = []  # those of the fork that is under way
_loaded: frozenset[str] = frozenset()


def watch(thing: Forkable) -> None:
    """Tell it of every fork from now on, as long as it lives."""
    _watched.add(thing)


def loaded_before_fork(module: str) -> bool:
    """This process was forked from one that had this module loaded."""
    return module in _loaded


class Lock:
    """A `threading.RLock` that is free in a child, if another thread held it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        watch(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def after_fork(self, in_child: bool) -> None:
        if in_child and not self._lock.acquire(blocking=False):
            self._lock = threading.RLock()
        elif in_child:
            self._lock.release()


def keep_for_ever(thing: object) -> None:
    """It is never taken apart, not even when the interpreter ends: a child must not end for its parent what they share."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _before() -> None:
    _told[:] = list(_watched)
    for thing in _told:
        with contextlib.suppress(Exception):  # it is the caller's fork, and goes on
            if hasattr(thing, "before_fork"):
                thing.before_fork()


def _after(in_child: bool) -> None:
    global _loaded
    if in_child:
        _loaded |= frozenset(sys.modules)
    told, _told[:] = list(_told), []
    for thing in told:
        with contextlib.suppress(Exception):
            thing.after_fork(in_child)


if hasattr(os, "register_at_fork"):  # else nothing forks
    os.register_at_fork(before=_before, after_in_parent=lambda: _after(False), after_in_child=lambda: _after(True))
