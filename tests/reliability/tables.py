"""A library's catalog, read by plain SQL and not by the program, and how it differs from what the oracle says."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass

from oracle import Library, Row

__all__ = ["Seen", "differences", "seen"]


@dataclass
class Seen:
    """The catalog's tables, read by plain SQL."""

    roots: dict[str, tuple[str, bool]]
    rows: dict[str, Row]
    homes: dict[str, str]
    forgotten: set[str]
    passed: dict[tuple[str, str, str], int]
    unusable: dict[tuple[str, str], str]
    vectors: set[str]
    numbers: set[int]


def seen(library: str) -> Seen:
    file = os.path.join(library, "catalog.sqlite")
    if not os.path.exists(file):
        return Seen({}, {}, {}, set(), {}, {}, set(), set())
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as catalog:
        ask = lambda sql: catalog.execute(sql).fetchall()  # noqa: E731
        files = ask(
            "SELECT f.id, r.path, f.path, f.state, f.name, lower(hex(c.sha256)), f.size, f.mtime_ns, f.inode"
            " FROM files f JOIN roots r ON r.id = f.root_id LEFT JOIN content c ON c.id = f.content_id"
        )
        rows, homes = {}, {}
        for number, root, path, state, name, sha256, *facts in files:
            if b"\0" in path:  # an empty row that keeps a number from being used again
                continue
            whole = os.fsdecode(root + b"/" + path)
            assert whole not in rows, f"{whole} is there twice"
            rows[whole], homes[whole] = Row(number, state, sha256 or None, name, tuple(facts)), os.fsdecode(root)
        at = lambda root, path: os.fsdecode(root + b"/" + path if path else root)  # noqa: E731
        return Seen(
            {os.fsdecode(path): (kind, bool(offline)) for path, kind, offline in ask("SELECT path, name_from, offline FROM roots")},
            rows,
            homes,
            {os.fsdecode(path) for (path,) in ask("SELECT path FROM forgotten")},
            {
                (os.fsdecode(root), at(root, path), rule): files
                for root, path, rule, files in ask("SELECT r.path, p.path, rule, files FROM passed p JOIN roots r ON r.id = root_id")
            },
            {
                (os.fsdecode(root), at(root, path)): why
                for root, path, why in ask("SELECT r.path, u.path, reason FROM unusable u JOIN roots r ON r.id = root_id")
            },
            {sha256 for (sha256,) in ask("SELECT lower(hex(sha256)) FROM content")},
            {number for number, *_ in files},
        )


def differences(wanted: Library, found: Seen) -> list[str]:
    lines = []
    for what, ours, theirs in (
        ("roots", {path: (root.names, root.offline) for path, root in wanted.roots.items()}, found.roots),
        ("forgotten", wanted.forgotten, found.forgotten),
        ("passed", wanted.passed, found.passed),
        ("unusable", wanted.unusable, found.unusable),
        ("vectors", wanted.vectors, found.vectors),
        ("rows", _facts(wanted.rows), _facts(found.rows)),
        ("homes", {path: wanted.root_of(path) for path in wanted.rows}, found.homes),
    ):
        if ours != theirs:
            both = isinstance(ours, dict) and isinstance(theirs, dict)
            keys = ours.keys() | theirs.keys() if both else ours ^ theirs
            lines += [f"{what}: {key}" for key in keys] if not both else []
            lines += (
                [f"{what}: {k}: wanted {ours.get(k)}, is {theirs.get(k)}" for k in keys if ours.get(k) != theirs.get(k)] if both else []
            )
    return lines


def _facts(rows: dict[str, Row]) -> dict[str, tuple[object, ...]]:
    return {
        path: (row.number, row.state, row.content and row.content[:6], row.name if row.state == "present" else "")
        for path, row in rows.items()
    }
