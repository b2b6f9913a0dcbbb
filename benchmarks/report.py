"""Rows and tables of figures, and how they become Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Row", "Table", "as_json", "markdown", "read", "verdict"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report.

    Attributes:
        section, what, unit: where it belongs, what was measured, in what.
        ours: the figure; None: it was not run, and `note` says why.
        baselines: name -> figure in the same unit, measured in the same run.
        limit: what the machine allows, from its measured limits.
        goal: to be reached; `more`: by being higher, else by being lower.
        note: size, cosines, what a reader must know.
    """

    section: str
    what: str
    unit: str
    ours: float | None = None
    baselines: dict[str, float] = field(default_factory=dict)
    limit: float | None = None
    goal: float | None = None
    more: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of its own, below the rows."""

    section: str
    title: str
    head: list[str]
    rows: list[list[str]]


def verdict(row: Row) -> str:
    if row.ours is None:
        return "not run"
    if row.goal is None:
        return ""
    over = 1 - row.ours / row.goal if row.more else row.ours / row.goal - 1
    return "met" if over <= 0 else f"missed by {over:.0%}"


def number(value: float | None) -> str:
    if value is None:
        return ""
    if 0.99 <= value < 1:  # cosines and recalls: the nines count
        return f"{value:.6f}".rstrip("0")
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(row: Row) -> list[str]:
    goal = "" if row.goal is None else f"{'≥' if row.more else '≤'} {number(row.goal)}"
    beside, share = "", ""
    if row.ours:
        beside = "; ".join(f"{name} {number(v)} ({(row.ours / v if row.more else v / row.ours):.2g}×)" for name, v in row.baselines.items())
        share = "" if row.limit is None else f"{row.ours / row.limit if row.more else row.limit / row.ours:.0%} of {number(row.limit)}"
    return [f"{row.what}, {row.unit}", number(row.ours), beside, share, goal, verdict(row), row.note]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def markdown(facts: dict[str, str], rows: Sequence[Row], tables: Sequence[Table]) -> str:
    parts = ["# Benchmarks", _table(["machine", ""], [[k, v] for k, v in facts.items()])]
    if rows:
        head = ["what", "ours", "beside it (how many times ours)", "of the limit", "goal", "", "note"]
        parts.append(_table(head, [_line(row) for row in rows]))
    parts += [f"## {table.title}\n\n{_table(table.head, table.rows)}" for table in tables]
    return "\n\n".join(parts) + "\n"


def as_json(facts: dict[str, str], rows: Sequence[Row], tables: Sequence[Table]) -> str:
    data = {
        "machine": facts,
        "rows": [asdict(row) | {"verdict": verdict(row)} for row in rows],
        "tables": [asdict(table) for table in tables],
    }
    return json.dumps(data, indent=1, ensure_ascii=False)


def read(text: str) -> tuple[list[Row], list[Table]]:
    """What `as_json` wrote."""
    data: dict[str, Any] = json.loads(text)
    rows = [Row(**{k: v for k, v in row.items() if k != "verdict"}) for row in data["rows"]]
    return rows, [Table(**table) for table in data["tables"]]
